//! The record batch: its 61-byte header, its frame in a run of batches, its checksum.
//!
//! In:   bytes of a client, a peer or a disk, trusted in nothing.
//! Out:  [`Batch`], a slice that is one whole batch by its own length; [`BatchInfo`], its
//!       numbers as a value, for those who pass batches around without their bytes.
//! Home: pure.
//!
//! Layout (big-endian):
//!   0 base offset i64 · 8 length i32, of what follows it · 12 partition leader epoch i32 ·
//!   16 magic i8 · 17 CRC-32C u32 over 21.. · 21 attributes i16 · 23 last offset delta i32 ·
//!   27 base timestamp i64 · 35 max timestamp i64 · 43 producer id i64 · 51 producer epoch i16 ·
//!   53 base sequence i32 · 57 record count i32 · 61 records
//! Attributes: 0-2 codec, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon.
//!
//! Invariants
//!   B1  A `Batch` holds at least a header, and exactly the bytes its length field says.
//!   B2  Base offset and leader epoch lie outside the CRC, so `stamp` never touches it.
//!
//! Not here: what a leader demands of a client's batch (`validate.rs`), records (`records.rs`).
//! Source: Kafka's `DefaultRecordBatch` (format), KIP-98, KIP-534 (delete horizon).

use std::fmt;

use zerocopy::byteorder::big_endian::{I16, I32, I64, U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::model::ids::{ProducerEpoch, ProducerId};
use crate::model::offset::{LeaderEpoch, Offset, Sequence};
use crate::model::time::Timestamp;
use crate::record::crc::crc32c;
use crate::record::records::Records;

/// Bytes of a batch's header.
pub const HEADER_BYTES: usize = 61;
/// Bytes before those that the length field counts: base offset and length.
pub const FRAME_BYTES: usize = 12;
/// The only magic that is stored and served.
pub const MAGIC: i8 = 2;
/// First byte under the CRC.
pub const CRC_START: usize = 21;
/// Smallest value of the length field at which Kafka goes on to look at the magic.
const LENGTH_MIN: i32 = 14;
/// Bytes up to and with the magic.
const MAGIC_END: usize = 17;

const _: () = assert!(size_of::<BatchHeader>() == HEADER_BYTES);

/// A batch's header over the bytes that hold it; any bytes have some meaning.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct BatchHeader {
    base_offset: I64,
    length: I32,
    leader_epoch: I32,
    magic: i8,
    crc: U32,
    attributes: U16,
    last_offset_delta: I32,
    base_timestamp: I64,
    max_timestamp: I64,
    producer_id: I64,
    producer_epoch: I16,
    base_sequence: I32,
    record_count: I32,
}

/// How the records of a batch are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// As they are.
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy blocks in snappy-java's framing, or one raw block.
    Snappy,
    /// LZ4 frame format with independent blocks.
    Lz4,
    /// Zstandard frames.
    Zstd,
}

impl Codec {
    /// All of them, in the order of their ids.
    pub const ALL: [Codec; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The number in a batch's attributes, 0 to 4.
    pub fn id(self) -> u16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The name in Kafka's settings and tools (`compression.type`).
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// Whose clock a batch's timestamps are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The leader's, at the append; then all records have the batch's max timestamp.
    LogAppendTime,
}

/// The 16 attribute bits of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attributes(pub u16);

impl Attributes {
    const CODEC: u16 = 0b111;
    const LOG_APPEND_TIME: u16 = 1 << 3;
    const TRANSACTIONAL: u16 = 1 << 4;
    const CONTROL: u16 = 1 << 5;
    const DELETE_HORIZON: u16 = 1 << 6;

    /// The codec, or its unknown id (5 to 7).
    pub fn codec(self) -> Result<Codec, u16> {
        let id = self.0 & Self::CODEC;
        Codec::ALL.get(usize::from(id)).copied().ok_or(id)
    }

    /// Whose clock the timestamps are of.
    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the batch belongs to a transaction (its markers do, too).
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the batch holds control records, not a client's.
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp is a delete horizon (set by compaction, KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// The same with another codec.
    #[must_use]
    pub fn with_codec(self, codec: Codec) -> Attributes {
        Attributes(self.0 & !Self::CODEC | codec.id())
    }

    /// The same with another timestamp type.
    #[must_use]
    pub fn with_timestamp_type(self, timestamp_type: TimestampType) -> Attributes {
        match timestamp_type {
            TimestampType::CreateTime => Attributes(self.0 & !Self::LOG_APPEND_TIME),
            TimestampType::LogAppendTime => Attributes(self.0 | Self::LOG_APPEND_TIME),
        }
    }

    /// The same, marked as part of a transaction.
    #[must_use]
    pub fn with_transactional(self) -> Attributes {
        Attributes(self.0 | Self::TRANSACTIONAL)
    }

    /// The same, its base timestamp being a delete horizon.
    #[must_use]
    pub fn with_delete_horizon(self) -> Attributes {
        Attributes(self.0 | Self::DELETE_HORIZON)
    }

    /// The same without a delete horizon.
    #[must_use]
    pub fn without_delete_horizon(self) -> Attributes {
        Attributes(self.0 & !Self::DELETE_HORIZON)
    }

    /// The same, marked as holding control records.
    #[must_use]
    pub fn with_control(self) -> Attributes {
        Attributes(self.0 | Self::CONTROL)
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

/// What is wrong with bytes that should begin with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// The bytes end before the batch does: inside its header, or before its stated length.
    Cut {
        /// Bytes there are.
        bytes: usize,
        /// Bytes there would have to be, as far as is known.
        needed: usize,
    },
    /// A length that no batch has.
    BadLength {
        /// The length field.
        length: i32,
    },
    /// A magic other than 2; 0 and 1 are the formats before Kafka 0.11.
    BadMagic {
        /// The magic field.
        magic: i8,
    },
    /// The checksum does not fit the bytes.
    BadCrc {
        /// In the header.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// Offsets or counts that no batch has: negative, past 2^63, or more records than offsets.
    BadOffsets {
        /// The header's base offset.
        base_offset: i64,
        /// The header's last offset delta.
        last_offset_delta: i32,
        /// The header's record count.
        record_count: i32,
    },
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { bytes, needed } => {
                write!(f, "record batch is cut: {bytes} bytes of {needed}")
            }
            Self::BadLength { length } => write!(f, "record batch has the length {length}"),
            Self::BadMagic { magic } => write!(f, "record batch has the magic {magic}"),
            Self::BadCrc { stored, computed } => write!(
                f,
                "record batch is corrupt (stored crc = {stored}, computed crc = {computed})"
            ),
            Self::BadOffsets { base_offset, last_offset_delta, record_count } => write!(
                f,
                "record batch at offset {base_offset} claims the last offset delta \
                 {last_offset_delta} and {record_count} records"
            ),
        }
    }
}

impl std::error::Error for BatchError {}

/// The numbers of one batch, for all who handle batches without their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchInfo {
    /// Offset of the first record (kept by compaction even if that record is gone).
    pub base_offset: Offset,
    /// Offset of the last record; `base_offset` or more.
    pub last_offset: Offset,
    /// Epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
    /// Timestamp that the records' are relative to (or the delete horizon).
    pub base_timestamp: Timestamp,
    /// Largest timestamp of the records.
    pub max_timestamp: Timestamp,
    /// Who wrote it, or `NONE`.
    pub producer_id: ProducerId,
    /// The writer's epoch, or -1.
    pub producer_epoch: ProducerEpoch,
    /// Sequence of the first record, or `NONE`.
    pub base_sequence: Sequence,
    /// Sequence of the last record, wrapping after 2^31-1, or `NONE`.
    pub last_sequence: Sequence,
    /// Records inside; 0 only after compaction.
    pub record_count: u32,
    /// Bytes of the whole batch, header included.
    pub bytes: u32,
    /// Codec, timestamp type, transactional, control.
    pub attributes: Attributes,
}

impl BatchInfo {
    /// The offset after the last.
    pub fn end_offset(&self) -> Offset {
        self.last_offset.plus(1)
    }

    /// Offsets the batch takes up, 1 or more.
    pub fn offset_count(&self) -> i64 {
        self.last_offset.0 - self.base_offset.0 + 1
    }

    /// Whether an idempotent or transactional producer wrote it.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id.0 > ProducerId::NONE.0
    }

    /// The same batch moved to `base_offset` under `leader_epoch`, as [`stamp`] does to bytes.
    #[must_use]
    pub fn at(mut self, base_offset: Offset, leader_epoch: LeaderEpoch) -> BatchInfo {
        let delta = self.last_offset.0 - self.base_offset.0;
        self.base_offset = base_offset;
        self.last_offset = base_offset.plus(delta);
        self.leader_epoch = leader_epoch;
        self
    }
}

impl BatchHeader {
    /// The header at the front of `bytes`. Errors: [`BatchError::Cut`].
    pub fn peek(bytes: &[u8]) -> Result<&BatchHeader, BatchError> {
        match BatchHeader::ref_from_prefix(bytes) {
            Ok((header, _)) => Ok(header),
            Err(_) => Err(BatchError::Cut { bytes: bytes.len(), needed: HEADER_BYTES }),
        }
    }

    /// Offset of the first record.
    pub fn base_offset(&self) -> Offset {
        Offset(self.base_offset.get())
    }

    /// The length field: bytes after the first [`FRAME_BYTES`]; negative in damaged bytes.
    pub fn length(&self) -> i32 {
        self.length.get()
    }

    /// Epoch of the leader that appended the batch; -1 from a client.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.leader_epoch.get())
    }

    /// The format's version.
    pub fn magic(&self) -> i8 {
        self.magic
    }

    /// The stored checksum.
    pub fn crc(&self) -> u32 {
        self.crc.get()
    }

    /// Codec, timestamp type, transactional, control.
    pub fn attributes(&self) -> Attributes {
        Attributes(self.attributes.get())
    }

    /// Last offset less the base offset; negative in damaged bytes.
    pub fn last_offset_delta(&self) -> i32 {
        self.last_offset_delta.get()
    }

    /// Timestamp that the records' are relative to, or the delete horizon.
    pub fn base_timestamp(&self) -> Timestamp {
        Timestamp(self.base_timestamp.get())
    }

    /// Largest timestamp of the records.
    pub fn max_timestamp(&self) -> Timestamp {
        Timestamp(self.max_timestamp.get())
    }

    /// Who wrote the batch, or -1.
    pub fn producer_id(&self) -> ProducerId {
        ProducerId(self.producer_id.get())
    }

    /// The writer's epoch, or -1.
    pub fn producer_epoch(&self) -> ProducerEpoch {
        ProducerEpoch(self.producer_epoch.get())
    }

    /// Sequence of the first record, or -1.
    pub fn base_sequence(&self) -> Sequence {
        Sequence(self.base_sequence.get())
    }

    /// Records inside; negative in damaged bytes.
    pub fn record_count(&self) -> i32 {
        self.record_count.get()
    }

    /// The header's numbers as a value.
    /// Errors: [`BatchError::BadLength`], [`BatchError::BadOffsets`].
    pub fn info(&self) -> Result<BatchInfo, BatchError> {
        let (base, delta, count) =
            (self.base_offset.get(), self.last_offset_delta.get(), self.record_count.get());
        let bad = BatchError::BadOffsets {
            base_offset: base,
            last_offset_delta: delta,
            record_count: count,
        };
        let sane =
            base >= 0 && delta >= 0 && count >= 0 && i64::from(count) <= i64::from(delta) + 1;
        // The offset after the last one must exist, too: it is a log's end.
        let end = base.checked_add(i64::from(delta) + 1).ok_or(bad)?;
        if !sane {
            return Err(bad);
        }
        let base_sequence = self.base_sequence();
        let last_sequence =
            if base_sequence.0 < 0 { base_sequence } else { base_sequence.plus(delta) };
        Ok(BatchInfo {
            base_offset: Offset(base),
            last_offset: Offset(end - 1),
            leader_epoch: self.leader_epoch(),
            base_timestamp: self.base_timestamp(),
            max_timestamp: self.max_timestamp(),
            producer_id: self.producer_id(),
            producer_epoch: self.producer_epoch(),
            base_sequence,
            last_sequence,
            record_count: u32::try_from(count).map_err(|_| bad)?,
            bytes: self.bytes()?,
            attributes: self.attributes(),
        })
    }

    /// Bytes of the whole batch by its length field. Errors: [`BatchError::BadLength`].
    pub fn bytes(&self) -> Result<u32, BatchError> {
        let length = self.length.get();
        let total = i64::from(length) + FRAME_BYTES as i64;
        match u32::try_from(total) {
            Ok(bytes) if bytes as usize >= HEADER_BYTES => Ok(bytes),
            _ => Err(BatchError::BadLength { length }),
        }
    }
}

impl fmt::Debug for BatchHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchHeader")
            .field("base_offset", &self.base_offset.get())
            .field("length", &self.length.get())
            .field("magic", &self.magic)
            .field("attributes", &self.attributes())
            .field("record_count", &self.record_count.get())
            .finish_non_exhaustive()
    }
}

/// One whole batch, framed by its own length (B1); its checksum is checked when asked for.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// The batch at the front of `bytes`, which may go on after it.
    /// Errors: [`BatchError`] but for `BadCrc` and `BadOffsets`, which are not looked at.
    pub fn first(bytes: &'a [u8]) -> Result<Batch<'a>, BatchError> {
        let bytes_there = bytes.len();
        if bytes_there < FRAME_BYTES {
            return Err(BatchError::Cut { bytes: bytes_there, needed: HEADER_BYTES });
        }
        let length = be_i32(bytes, 8);
        if length < LENGTH_MIN {
            return Err(BatchError::BadLength { length });
        }
        if bytes_there < MAGIC_END {
            return Err(BatchError::Cut { bytes: bytes_there, needed: HEADER_BYTES });
        }
        let magic = bytes[MAGIC_END - 1].cast_signed();
        if magic != MAGIC {
            return Err(BatchError::BadMagic { magic });
        }
        let total = usize::try_from(length).map_err(|_| BatchError::BadLength { length })?;
        let total = total.checked_add(FRAME_BYTES).ok_or(BatchError::BadLength { length })?;
        if bytes_there < total {
            return Err(BatchError::Cut { bytes: bytes_there, needed: total });
        }
        if total < HEADER_BYTES {
            return Err(BatchError::BadLength { length });
        }
        Ok(Batch { bytes: &bytes[..total] })
    }

    /// The whole batch, header included.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The header.
    pub fn header(&self) -> &'a BatchHeader {
        BatchHeader::peek(self.bytes).expect("B1: a batch holds its header")
    }

    /// What follows the header: records, packed by the batch's codec.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES..]
    }

    /// The header's numbers. Errors: [`BatchError::BadOffsets`].
    pub fn info(&self) -> Result<BatchInfo, BatchError> {
        self.header().info()
    }

    /// Errors: [`BatchError::BadCrc`].
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let stored = self.header().crc();
        let computed = crc32c(&self.bytes[CRC_START..]);
        if stored == computed { Ok(()) } else { Err(BatchError::BadCrc { stored, computed }) }
    }

    /// The records of a batch that is not compressed; with a codec, unpack the payload first
    /// and walk it with [`Records::new`]. Panics: if the batch has a codec, our own bug.
    pub fn records(&self) -> Records<'a> {
        assert_eq!(self.header().attributes().codec(), Ok(Codec::None), "packed records");
        Records::new(self.payload(), self.header().record_count())
    }
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.header(), f)
    }
}

/// The batches that lie one after another in `bytes`.
///
/// Ends at the end of `bytes`, or after the first error; bytes left over that are not a whole
/// batch are [`BatchError::Cut`]. [`Batches::position`] says where it stands.
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { bytes, position: 0, failed: false }
}

/// Iterator of [`batches`].
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    position: usize,
    failed: bool,
}

impl Batches<'_> {
    /// Bytes taken by the whole batches so far: where the next one begins, or the error.
    pub fn position(&self) -> usize {
        self.position
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<Batch<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.position == self.bytes.len() {
            return None;
        }
        let first = Batch::first(&self.bytes[self.position..]);
        match &first {
            Ok(batch) => self.position += batch.bytes.len(),
            Err(_) => self.failed = true,
        }
        Some(first)
    }
}

/// Writes base offset and leader epoch into the batch at the front of `bytes` (B2).
///
/// Panics: if `bytes` is shorter than a header, our own bug.
pub fn stamp(bytes: &mut [u8], base_offset: Offset, leader_epoch: LeaderEpoch) {
    assert!(bytes.len() >= HEADER_BYTES, "B1: only a whole batch is stamped");
    let header = header_mut(bytes);
    header.base_offset.set(base_offset.0);
    header.leader_epoch.set(leader_epoch.0);
}

/// Sets what a leader may change of a valid batch, then computes the checksum anew.
///
/// `bytes` is exactly one batch. Panics: if it is not, our own bug.
pub fn set_timestamps(bytes: &mut [u8], timestamp_type: TimestampType, max_timestamp: Timestamp) {
    let header = header_mut(bytes);
    let attributes = Attributes(header.attributes.get()).with_timestamp_type(timestamp_type);
    header.attributes.set(attributes.0);
    header.max_timestamp.set(max_timestamp.0);
    seal(bytes);
}

/// Names another codec in the header at the front of `bytes`; the checksum is left to [`seal`].
///
/// Panics: if `bytes` is shorter than a header, our own bug.
pub fn set_codec(bytes: &mut [u8], codec: Codec) {
    let header = header_mut(bytes);
    let attributes = Attributes(header.attributes.get()).with_codec(codec);
    header.attributes.set(attributes.0);
}

/// Sets the length field and the checksum of a batch whose bytes are complete.
///
/// Panics: if `bytes` is shorter than a header or longer than 2^31, our own bug.
pub fn seal(bytes: &mut [u8]) {
    assert!(bytes.len() >= HEADER_BYTES, "B1: only a whole batch is sealed");
    let length = i32::try_from(bytes.len() - FRAME_BYTES).expect("a batch is below 2 GiB");
    // The checksum covers neither itself nor the length.
    let crc = crc32c(&bytes[CRC_START..]);
    let header = header_mut(bytes);
    header.length.set(length);
    header.crc.set(crc);
}

/// All that a header says but length and checksum, which [`seal`] sets.
#[derive(Clone, Copy, Debug)]
pub struct HeaderFields {
    /// 0 from a client.
    pub base_offset: Offset,
    /// -1 from a client.
    pub leader_epoch: LeaderEpoch,
    /// Codec, timestamp type, transactional, control.
    pub attributes: Attributes,
    /// Last offset less the base offset.
    pub last_offset_delta: i32,
    /// Timestamp that the records' are relative to.
    pub base_timestamp: Timestamp,
    /// Largest timestamp of the records.
    pub max_timestamp: Timestamp,
    /// Who writes, or `NONE`.
    pub producer_id: ProducerId,
    /// The writer's epoch, or -1.
    pub producer_epoch: ProducerEpoch,
    /// Sequence of the first record, or `NONE`.
    pub base_sequence: Sequence,
    /// Records inside.
    pub record_count: i32,
}

/// The header bytes of `fields`, with length and checksum 0 until [`seal`].
pub fn header_bytes(fields: &HeaderFields) -> [u8; HEADER_BYTES] {
    let header = BatchHeader {
        base_offset: I64::new(fields.base_offset.0),
        length: I32::new(0),
        leader_epoch: I32::new(fields.leader_epoch.0),
        magic: MAGIC,
        crc: U32::new(0),
        attributes: U16::new(fields.attributes.0),
        last_offset_delta: I32::new(fields.last_offset_delta),
        base_timestamp: I64::new(fields.base_timestamp.0),
        max_timestamp: I64::new(fields.max_timestamp.0),
        producer_id: I64::new(fields.producer_id.0),
        producer_epoch: I16::new(fields.producer_epoch.0),
        base_sequence: I32::new(fields.base_sequence.0),
        record_count: I32::new(fields.record_count),
    };
    let mut bytes = [0; HEADER_BYTES];
    bytes.copy_from_slice(header.as_bytes());
    bytes
}

fn header_mut(bytes: &mut [u8]) -> &mut BatchHeader {
    let (header, _) = BatchHeader::mut_from_prefix(bytes)
        .unwrap_or_else(|_| panic!("B1: a batch holds its header"));
    header
}

fn be_i32(bytes: &[u8], at: usize) -> i32 {
    let four: [u8; 4] = bytes[at..at + 4].try_into().expect("four bytes were checked for");
    i32::from_be_bytes(four)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::builder::{BatchBuilder, NewRecord, Producer};

    fn one(value: &[u8]) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Codec::None).producer(Producer {
            id: ProducerId(7),
            epoch: ProducerEpoch(2),
            base_sequence: Sequence(i32::MAX),
        });
        for timestamp in [50, 40] {
            let record = NewRecord {
                timestamp: Timestamp(timestamp),
                key: None,
                value: Some(value),
                headers: &[],
            };
            builder.push(&record).unwrap();
        }
        builder.build().to_vec()
    }

    #[test]
    fn stamping_leaves_the_checksum_valid() {
        let mut bytes = one(b"hello");
        let before = BatchHeader::peek(&bytes).unwrap().crc();
        stamp(&mut bytes, Offset(1 << 40), LeaderEpoch(9));
        let batch = Batch::first(&bytes).unwrap();
        batch.verify_crc().unwrap();
        assert_eq!(batch.header().crc(), before);
        let info = batch.info().unwrap();
        assert_eq!(info.base_offset, Offset(1 << 40));
        assert_eq!(info.last_offset, Offset((1 << 40) + 1));
        assert_eq!(info.leader_epoch, LeaderEpoch(9));
        assert_eq!((info.base_timestamp, info.max_timestamp), (Timestamp(50), Timestamp(50)));
        assert_eq!((info.base_sequence, info.last_sequence), (Sequence(i32::MAX), Sequence(0)));
        assert_eq!(info.bytes as usize, bytes.len());
        let unstamped = Batch::first(&one(b"hello")).unwrap().info().unwrap();
        assert_eq!(unstamped.at(Offset(1 << 40), LeaderEpoch(9)), info);
    }

    #[test]
    fn new_timestamps_come_with_a_new_checksum() {
        let mut bytes = one(b"hello");
        set_timestamps(&mut bytes, TimestampType::LogAppendTime, Timestamp(99));
        let batch = Batch::first(&bytes).unwrap();
        batch.verify_crc().unwrap();
        assert_eq!(batch.header().max_timestamp(), Timestamp(99));
        assert_eq!(batch.header().attributes().timestamp_type(), TimestampType::LogAppendTime);
    }

    #[test]
    fn a_run_of_batches_is_walked_to_its_cut_end() {
        let (first, second) = (one(b"a"), one(b"bcd"));
        let whole = [first.clone(), second.clone()].concat();
        for end in 0..=whole.len() {
            let mut walk = batches(&whole[..end]);
            let count = walk.by_ref().filter(|batch| batch.is_ok()).count();
            let want = usize::from(end >= first.len()) + usize::from(end == whole.len());
            assert_eq!(count, want, "cut at {end}");
            let position = [0, first.len(), whole.len()][want];
            assert_eq!(walk.position(), position, "cut at {end}");
        }
    }

    #[test]
    fn frames_that_no_batch_has_are_refused() {
        let check = |change: &dyn Fn(&mut Vec<u8>), want: BatchError| {
            let mut bytes = one(b"x");
            change(&mut bytes);
            assert_eq!(Batch::first(&bytes).err(), Some(want));
        };
        let set = |bytes: &mut Vec<u8>, length: i32| {
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
        };
        for length in [-1, i32::MIN, 0, 13, 48] {
            check(&|bytes| set(bytes, length), BatchError::BadLength { length });
        }
        let needed = 0x8000_000b;
        let bytes = one(b"x").len();
        check(&|bytes| set(bytes, i32::MAX), BatchError::Cut { bytes, needed });
        check(&|bytes| bytes[16] = 1, BatchError::BadMagic { magic: 1 });
        check(&|bytes| bytes.truncate(5), BatchError::Cut { bytes: 5, needed: 61 });
        check(&|bytes| bytes.truncate(0), BatchError::Cut { bytes: 0, needed: 61 });
    }

    #[test]
    fn numbers_that_no_batch_has_are_refused() {
        let check = |at: usize, value: &[u8]| {
            let mut bytes = one(b"x");
            bytes[at..at + value.len()].copy_from_slice(value);
            let info = Batch::first(&bytes).unwrap().info();
            assert!(matches!(info, Err(BatchError::BadOffsets { .. })), "{info:?}");
        };
        check(0, &(-1i64).to_be_bytes());
        check(0, &(i64::MAX - 1).to_be_bytes());
        check(23, &(-1i32).to_be_bytes());
        check(23, &0i32.to_be_bytes());
        check(57, &(-1i32).to_be_bytes());
        check(57, &3i32.to_be_bytes());
    }
}
