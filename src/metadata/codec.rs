//! Records and images as bytes: what an entry of the metadata log and a snapshot hold.
//!
//! In:   records, or bytes from a disk or a peer.
//! Out:  bytes, or records; never a panic, whatever the bytes.
//! Home: pure.
//!
//! A frame, little-endian, no padding; an entry's payload is frames back to back:
//! ```text
//!   0  u32  length of the payload in bytes, at most FRAME_PAYLOAD_BYTES_MAX
//!   4  u32  CRC-32C of bytes 0..4, 8..12 and of the payload
//!   8  u16  type          (`frozen.rs`; 0x7f00 and above: parts of a snapshot)
//!  10  u16  version of the type
//!  12       payload
//! ```
//! A snapshot is a header frame (index, number of records), the records of
//! `MetadataImage::to_records` in their order, and a footer frame (CRC-32C of all before it).
//!
//! Invariants
//!   D1  Decoding what was encoded gives it back; equal images encode to equal bytes.
//!   D2  Any single damaged byte is noticed.
//!
//! Not here: what records mean (`image.rs`), the files they lie in (`crate::controller`).

use std::fmt;

use crate::metadata::frozen::{ThawError, TypeAndVersion, freeze, thaw};
use crate::metadata::image::{ApplyError, MetadataImage};
use crate::metadata::record::Record;

/// Most bytes of one record: far above the largest (a partition of 128 replicas is 2 KiB).
pub const FRAME_PAYLOAD_BYTES_MAX: usize = 1 << 20;

const HEADER_BYTES: usize = 12;

const SNAPSHOT_HEADER_V1: TypeAndVersion = TypeAndVersion(0x7f00, 1);
const SNAPSHOT_FOOTER_V1: TypeAndVersion = TypeAndVersion(0x7f01, 1);
const SNAPSHOT_HEADER_BYTES: usize = 16;
const SNAPSHOT_FOOTER_BYTES: usize = 4;

/// Why bytes are not the records or the image they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodecError {
    /// The bytes end within a frame.
    Truncated {
        /// Where the frame starts.
        at: usize,
    },
    /// A frame is longer than [`FRAME_PAYLOAD_BYTES_MAX`].
    TooLong {
        /// Where the frame starts.
        at: usize,
        /// Its length field.
        bytes: u32,
    },
    /// The checksum does not fit.
    BadChecksum {
        /// Where the frame starts.
        at: usize,
    },
    /// A type or version that this release does not know: written by a newer one.
    UnknownType {
        /// Where the frame starts.
        at: usize,
        /// The type.
        kind: u16,
        /// Its version.
        version: u16,
    },
    /// The payload is not of its type.
    Malformed {
        /// Where the frame starts.
        at: usize,
    },
    /// A snapshot without header, footer or the records it announces.
    BadSnapshot,
    /// The records of a snapshot contradict one another.
    Contradiction(ApplyError),
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { at } => write!(f, "the record at byte {at} is cut off"),
            Self::TooLong { at, bytes } => {
                write!(f, "the record at byte {at} claims a length of {bytes} bytes")
            }
            Self::BadChecksum { at } => write!(f, "the record at byte {at} is damaged"),
            Self::UnknownType { at, kind, version } => write!(
                f,
                "the record at byte {at} is of type {kind} version {version}, written by a \
                 newer release"
            ),
            Self::Malformed { at } => write!(f, "the record at byte {at} makes no sense"),
            Self::BadSnapshot => write!(f, "the snapshot is incomplete"),
            Self::Contradiction(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CodecError {}

/// The bytes of `records`, frame after frame.
pub fn encode_records(records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        let (kind, payload) = freeze(record);
        put_frame(&mut bytes, kind, &payload);
    }
    bytes
}

/// The records that `bytes` hold, to the last byte. Errors: [`CodecError`].
pub fn decode_records(bytes: &[u8]) -> Result<Vec<Record>, CodecError> {
    let mut frames = Frames { bytes, at: 0 };
    let mut records = Vec::new();
    while let Some(frame) = frames.next()? {
        records.push(frame.record()?);
    }
    Ok(records)
}

/// The bytes of a snapshot of `image`; equal images give equal bytes.
pub fn encode_image(image: &MetadataImage) -> Vec<u8> {
    let records = image.to_records();
    let mut header = [0; SNAPSHOT_HEADER_BYTES];
    header[..8].copy_from_slice(&image.applied_index().to_le_bytes());
    header[8..].copy_from_slice(&(records.len() as u64).to_le_bytes());
    let mut bytes = Vec::new();
    put_frame(&mut bytes, SNAPSHOT_HEADER_V1, &header);
    bytes.extend_from_slice(&encode_records(&records));
    let crc = crc32c::crc32c(&bytes);
    put_frame(&mut bytes, SNAPSHOT_FOOTER_V1, &crc.to_le_bytes());
    bytes
}

/// The image whose snapshot `bytes` is. Errors: [`CodecError`].
pub fn decode_image(bytes: &[u8]) -> Result<MetadataImage, CodecError> {
    let mut frames = Frames { bytes, at: 0 };
    let header = frames.next()?.ok_or(CodecError::BadSnapshot)?;
    let header: [u8; SNAPSHOT_HEADER_BYTES] = header.payload_of(SNAPSHOT_HEADER_V1)?;
    let (index, count) = header.split_at(8);
    let index = u64::from_le_bytes(index.try_into().expect("half of 16 bytes"));
    let count = u64::from_le_bytes(count.try_into().expect("half of 16 bytes"));
    let mut records = Vec::new();
    while (records.len() as u64) < count {
        let frame = frames.next()?.ok_or(CodecError::BadSnapshot)?;
        records.push(frame.record()?);
    }
    let crc = crc32c::crc32c(&bytes[..frames.at]);
    let footer = frames.next()?.ok_or(CodecError::BadSnapshot)?;
    let footer: [u8; SNAPSHOT_FOOTER_BYTES] = footer.payload_of(SNAPSHOT_FOOTER_V1)?;
    if u32::from_le_bytes(footer) != crc || frames.next()?.is_some() {
        return Err(CodecError::BadSnapshot);
    }
    MetadataImage::from_records(index, &records).map_err(CodecError::Contradiction)
}

fn put_frame(bytes: &mut Vec<u8>, kind: TypeAndVersion, payload: &[u8]) {
    assert!(payload.len() <= FRAME_PAYLOAD_BYTES_MAX, "commands bound what a record holds");
    let length = u32::try_from(payload.len()).expect("below the maximum").to_le_bytes();
    let mut tail = [0; 4];
    tail[..2].copy_from_slice(&kind.0.to_le_bytes());
    tail[2..].copy_from_slice(&kind.1.to_le_bytes());
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&checksum(length, tail, payload).to_le_bytes());
    bytes.extend_from_slice(&tail);
    bytes.extend_from_slice(payload);
}

fn checksum(length: [u8; 4], tail: [u8; 4], payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&length);
    let crc = crc32c::crc32c_append(crc, &tail);
    crc32c::crc32c_append(crc, payload)
}

/// A frame whose checksum fits.
struct Frame<'a> {
    at: usize,
    kind: TypeAndVersion,
    payload: &'a [u8],
}

impl Frame<'_> {
    fn record(&self) -> Result<Record, CodecError> {
        let TypeAndVersion(kind, version) = self.kind;
        thaw(self.kind, self.payload).map_err(|error| match error {
            ThawError::UnknownType => CodecError::UnknownType { at: self.at, kind, version },
            ThawError::Malformed => CodecError::Malformed { at: self.at },
        })
    }

    fn payload_of<const N: usize>(&self, kind: TypeAndVersion) -> Result<[u8; N], CodecError> {
        if self.kind != kind {
            return Err(CodecError::BadSnapshot);
        }
        self.payload.try_into().map_err(|_| CodecError::Malformed { at: self.at })
    }
}

/// A walk over frames.
struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Frames<'a> {
    /// The next frame, `None` at the end.
    fn next(&mut self) -> Result<Option<Frame<'a>>, CodecError> {
        let at = self.at;
        let rest = &self.bytes[at..];
        if rest.is_empty() {
            return Ok(None);
        }
        let Some((header, rest)) = rest.split_first_chunk::<HEADER_BYTES>() else {
            return Err(CodecError::Truncated { at });
        };
        let word =
            |from: usize| [header[from], header[from + 1], header[from + 2], header[from + 3]];
        let length = u32::from_le_bytes(word(0));
        let payload_bytes = usize::try_from(length).unwrap_or(usize::MAX);
        if payload_bytes > FRAME_PAYLOAD_BYTES_MAX {
            return Err(CodecError::TooLong { at, bytes: length });
        }
        let Some(payload) = rest.get(..payload_bytes) else {
            return Err(CodecError::Truncated { at });
        };
        let tail = word(8);
        if checksum(word(0), tail, payload) != u32::from_le_bytes(word(4)) {
            return Err(CodecError::BadChecksum { at });
        }
        self.at += HEADER_BYTES + payload_bytes;
        let kind = u16::from_le_bytes([tail[0], tail[1]]);
        let version = u16::from_le_bytes([tail[2], tail[3]]);
        Ok(Some(Frame { at, kind: TypeAndVersion(kind, version), payload }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::metadata::record::{BrokerRegistration, ConfigResource, Endpoint, PartitionState};
    use crate::model::ids::{BrokerId, PartitionIndex, TopicId};
    use crate::model::offset::LeaderEpoch;
    use crate::model::topic_name::TopicName;
    use crate::testing::prng::Prng;
    use crate::testing::seeds::seeds;

    /// One record of each type, which apply to the empty image in this order.
    fn one_of_each() -> Vec<Record> {
        let topic = TopicId([7; 16]);
        let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect::<Vec<_>>();
        let state = PartitionState {
            leader: Some(BrokerId(1)),
            leader_epoch: LeaderEpoch(4),
            partition_epoch: 9,
            replicas: ids(&[1, 2, 3]),
            isr: ids(&[1]),
            elr: ids(&[2]),
            last_known_elr: ids(&[3]),
        };
        let endpoint = Endpoint { host: "localhost".into(), port: 9092 };
        vec![
            Record::ClusterFormed { cluster_id: "AAAAAAAAAAAAAAAAAAAAAA".into() },
            Record::FeatureLevel { name: "metadata.version".into(), level: 30 },
            Record::BrokerRegistered(BrokerRegistration {
                id: BrokerId(1),
                epoch: 5,
                rack: Some("a".into()),
                endpoints: BTreeMap::from([("PLAINTEXT".to_owned(), endpoint)]),
            }),
            Record::TopicCreated { topic, name: TopicName::parse("flights").unwrap() },
            Record::PartitionChanged { topic, partition: PartitionIndex(0), state },
            Record::ConfigSet {
                resource: ConfigResource::Topic(topic),
                key: "retention.ms".into(),
                value: Some("1000".into()),
            },
            Record::ConfigSet {
                resource: ConfigResource::Broker(BrokerId(1)),
                key: "a".into(),
                value: None,
            },
            Record::ConfigSet {
                resource: ConfigResource::AllBrokers,
                key: "b".into(),
                value: Some(String::new()),
            },
            Record::ProducerIdsAllocated {
                broker: BrokerId(1),
                broker_epoch: 5,
                next_producer_id: 1000,
            },
            Record::TopicDeleted { topic },
            Record::ConfigSet {
                resource: ConfigResource::Group("orders".into()),
                key: "consumer.session.timeout.ms".into(),
                value: Some("50000".into()),
            },
        ]
    }

    /// Those that releases wrote before groups had settings.
    const BEFORE_GROUPS: usize = 10;

    /// An image with all that a record of each type sets.
    fn image_of_each() -> MetadataImage {
        let mut records = one_of_each();
        records.retain(|record| !matches!(record, Record::TopicDeleted { .. }));
        MetadataImage::from_records(77, &records).unwrap()
    }

    #[test]
    fn every_record_reads_back() {
        let records = one_of_each();
        assert_eq!(decode_records(&encode_records(&records)), Ok(records), "D1");
        assert_eq!(decode_records(&[]), Ok(vec![]));
    }

    /// F1: what a release has written is read for ever. A change here is a broken upgrade.
    #[test]
    fn version_1_is_these_bytes() {
        let bytes = encode_records(&one_of_each()[..BEFORE_GROUPS]);
        assert_eq!((bytes.len(), crc32c::crc32c(&bytes)), (GOLDEN_BYTES, GOLDEN_CRC));
        let group = encode_records(&one_of_each()[BEFORE_GROUPS..]);
        assert_eq!((group.len(), crc32c::crc32c(&group)), (GROUP_BYTES, GROUP_CRC));
        let deleted = encode_records(&[Record::TopicDeleted { topic: TopicId([7; 16]) }]);
        let header = [16, 0, 0, 0, 0xe8, 0xe0, 0x34, 0xaa, 6, 0, 1, 0];
        assert_eq!(deleted[..12], header, "{deleted:x?}");
        assert_eq!(deleted[12..], [7; 16]);
    }

    const GOLDEN_BYTES: usize = 593;
    const GOLDEN_CRC: u32 = 3_959_059_100;
    const GROUP_BYTES: usize = 88;
    const GROUP_CRC: u32 = 611_549_944;

    /// A log and a snapshot from before groups had settings give an image in which none has.
    #[test]
    fn what_older_releases_wrote_is_read() {
        let old = &one_of_each()[..BEFORE_GROUPS - 1];
        let image = MetadataImage::from_records(77, &decode_records(&encode_records(old)).unwrap());
        let image = image.unwrap();
        assert_eq!(image.groups_with_configs().count(), 0);
        assert_eq!(decode_image(&encode_image(&image)), Ok(image));
    }

    #[test]
    fn each_damaged_byte_and_each_cut_is_noticed() {
        let records = one_of_each();
        let image = image_of_each();
        let check = |good: Vec<u8>, decode: &dyn Fn(&[u8]) -> bool, cuts_may_pass: &[usize]| {
            assert!(decode(&good));
            for at in 0..good.len() {
                let mut bad = good.clone();
                bad[at] ^= 1 << (at % 8);
                assert!(!decode(&bad), "D2: byte {at}");
                let whole = cuts_may_pass.contains(&at);
                assert_eq!(decode(&good[..at]), whole, "cut at {at}");
            }
        };
        let mut boundaries = vec![0];
        for record in &records {
            let bytes = encode_records(std::slice::from_ref(record)).len();
            boundaries.push(boundaries.last().unwrap() + bytes);
        }
        check(encode_records(&records), &|bytes| decode_records(bytes).is_ok(), &boundaries);
        check(encode_image(&image), &|bytes| decode_image(bytes).is_ok(), &[]);
    }

    #[test]
    fn a_snapshot_reads_back_and_equal_images_give_equal_bytes() {
        let image = image_of_each();
        let bytes = encode_image(&image);
        assert_eq!(decode_image(&bytes).as_ref(), Ok(&image), "D1");
        let again = MetadataImage::from_records(77, &image.to_records()).unwrap();
        assert_eq!(encode_image(&again), bytes, "D1");
        let twice = [bytes.clone(), bytes].concat();
        assert_eq!(decode_image(&twice), Err(CodecError::BadSnapshot));
        assert_eq!(decode_image(&[]), Err(CodecError::BadSnapshot));
    }

    #[test]
    fn a_newer_version_is_named_and_lengths_are_not_trusted() {
        let mut bytes = Vec::new();
        put_frame(&mut bytes, TypeAndVersion(4, 9), b"whatever");
        let want = CodecError::UnknownType { at: 0, kind: 4, version: 9 };
        assert_eq!(decode_records(&bytes), Err(want));
        bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(decode_records(&bytes), Err(CodecError::TooLong { at: 0, bytes: u32::MAX }));
    }

    /// Payloads that pass the checksum and are nonsense: an error or a record, never a panic.
    #[test]
    fn no_payload_panics() {
        let (mut refused, mut read) = (0, 0);
        for seed in seeds(2_000) {
            let mut prng = Prng::new(seed.0);
            let records = one_of_each();
            let record = &records[prng.index(records.len())];
            let (kind, payload) = freeze(record);
            let mut payload = payload.to_vec();
            for _ in 0..=prng.index(4) {
                let at = prng.index(payload.len());
                payload[at] = prng.next_u64().to_le_bytes()[0];
            }
            let mut bytes = Vec::new();
            put_frame(&mut bytes, kind, &payload);
            match decode_records(&bytes) {
                Ok(records) => read += records.len(),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 0 && read > 0, "vacuous: {refused} refused, {read} read");
    }
}
