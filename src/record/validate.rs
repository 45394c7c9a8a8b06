//! What a leader demands of the records that a client produces to one partition.
//!
//! In:   the bytes of one partition in a Produce request, and the topic's rules.
//! Out:  the batch to be stored, with its numbers; or why it is refused, record by record
//!       where that is known.
//! Home: pure; runs on the connection's shard, so that a hot partition's owner does not.
//!       Offsets and leader epoch are the owner's to stamp (`batch::stamp`).
//!
//! Invariants
//!   V1  What comes out is exactly one batch of magic 2 with a valid CRC, base offset 0, and
//!       as many records as offsets.
//!   V2  Its max timestamp is that of its records.
//!
//! Cost: the usual batch (not compressed, timestamps of the producer) is read twice, once for
//! the CRC and once by the walk over its records, and never copied. A compressed one is
//! unpacked into `Scratch`, as in Kafka. A header that has to change is changed in place.
//!
//! Not here: the refusals as values (`refusal.rs`), sequences and epochs of producers
//! (`crate::partition`), which Kafka code answers which error (`broker/errors.rs`).
//! Source: Kafka's `ProduceRequest.validateRecords`, `UnifiedLog.analyzeAndValidateRecords`,
//! `LogValidator` in their order of checks; `protocol.md` P20-P27.

use bytes::{Bytes, BytesMut};

use crate::model::time::Timestamp;
use crate::record::batch::{
    self, Batch, BatchError, BatchHeader, BatchInfo, Codec, HEADER_BYTES, MAGIC, TimestampType,
};
use crate::record::builder::put_part;
use crate::record::compression::{Decompressor, compress_at};
use crate::record::records::{Record, Records};
use crate::record::refusal::{REFUSALS_MAX, Refusal, RefusalReason, ValidationError};
use crate::record::varint::{put_i32, put_i64};

/// First Produce version that may carry zstd. Source: KIP-110.
pub const ZSTD_PRODUCE_VERSION_MIN: i16 = 7;
/// Memory a [`Scratch`] keeps between batches; more is given back after each.
pub const SCRATCH_KEPT_BYTES: usize = 4 << 20;

/// Whether records must have a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// They may.
    Optional,
    /// They must: `cleanup.policy` has `compact`.
    Required,
}

/// `compression.type` of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As the producer chose.
    Producer,
    /// Always this one; others are packed anew, at this level or (`None`) the codec's own.
    Codec(Codec, Option<i32>),
}

/// What the topic, the request and the clock say.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Version of the Produce request.
    pub produce_version: i16,
    /// Wall-clock time of the append.
    pub now: Timestamp,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`, 0 or more.
    pub timestamp_before_ms_max: i64,
    /// `message.timestamp.after.max.ms`, 0 or more.
    pub timestamp_after_ms_max: i64,
    /// From `cleanup.policy`.
    pub keys: Keys,
    /// `compression.type`.
    pub compression: Compression,
    /// `max.message.bytes`: of the whole batch, its first 12 bytes included.
    pub batch_bytes_max: usize,
    /// `segment.bytes`.
    pub segment_bytes: usize,
    /// Most bytes that a batch's records may unpack to.
    pub unpacked_bytes_max: usize,
}

/// Memory for unpacked records, kept from batch to batch.
#[derive(Debug, Default)]
pub struct Scratch {
    decompressor: Decompressor,
    unpacked: Vec<u8>,
    reordered: Vec<u8>,
}

/// A batch fit to be stored.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The batch (V1): the client's bytes, or new ones where the rules asked for a change.
    pub batch: BytesMut,
    /// Its numbers, at base offset 0.
    pub info: BatchInfo,
    /// The first record that has `info.max_timestamp`, counted from the batch's first.
    pub max_timestamp_delta: i32,
    /// Time of the append if the topic wants that; else [`Timestamp::NONE`].
    pub log_append_time: Timestamp,
}

/// Checks the records that a client produces to one partition, and changes what the topic's
/// rules say: timestamps, codec. Errors: [`ValidationError`], the client's doing.
pub fn check(
    batch: BytesMut,
    rules: &Rules,
    scratch: &mut Scratch,
) -> Result<Checked, ValidationError> {
    let checked = check_and_change(batch, rules, scratch);
    scratch.give_back();
    checked
}

fn check_and_change(
    mut batch: BytesMut,
    rules: &Rules,
    scratch: &mut Scratch,
) -> Result<Checked, ValidationError> {
    let bytes = sole_batch_bytes(&batch, rules)?;
    batch.truncate(bytes);
    let codec = check_header(&batch, rules)?;
    let walk = walk_records(&batch, codec, rules, scratch)?;
    let (target, level) = match rules.compression {
        Compression::Producer => (codec, None),
        Compression::Codec(target, level) => (target, level),
    };
    let max_timestamp = match rules.timestamp_type {
        TimestampType::CreateTime => walk.max_timestamp,
        TimestampType::LogAppendTime => rules.now,
    };
    if target != codec || !walk.deltas_in_order {
        batch = rebuild(&batch, codec, (target, level), !walk.deltas_in_order, scratch);
        check_size(batch.len(), rules)?;
    }
    let header = header_of(&batch);
    let as_it_should = header.max_timestamp() == max_timestamp
        && header.attributes().timestamp_type() == rules.timestamp_type;
    if !as_it_should {
        batch::set_timestamps(&mut batch, rules.timestamp_type, max_timestamp);
    }
    if batch.len() > rules.segment_bytes {
        let (bytes, segment_bytes) = (batch.len(), rules.segment_bytes);
        return Err(ValidationError::LargerThanSegment { bytes, segment_bytes });
    }
    let info = header_of(&batch).info().expect("V1: offsets and counts were checked");
    assert_eq!(info.bytes as usize, batch.len(), "V1");
    let (max_timestamp_delta, log_append_time) = match rules.timestamp_type {
        TimestampType::CreateTime => (walk.max_timestamp_delta, Timestamp::NONE),
        TimestampType::LogAppendTime => (0, rules.now),
    };
    Ok(Checked { batch, info, max_timestamp_delta, log_append_time })
}

/// Bytes of the one batch at the front. Less than another batch after it is cut off, as Kafka
/// does.
fn sole_batch_bytes(bytes: &[u8], rules: &Rules) -> Result<usize, ValidationError> {
    let first = match Batch::first(bytes) {
        Ok(first) => first,
        Err(BatchError::Cut { .. }) => return Err(ValidationError::NoBatch),
        Err(BatchError::BadMagic { magic }) if (0..MAGIC).contains(&magic) => {
            return Err(ValidationError::OldMagic { magic });
        }
        Err(error) => return Err(ValidationError::Corrupt(error)),
    };
    let codec = first.header().attributes().codec();
    if codec == Ok(Codec::Zstd) && rules.produce_version < ZSTD_PRODUCE_VERSION_MIN {
        let produce_version = rules.produce_version;
        return Err(ValidationError::ZstdTooEarly { produce_version });
    }
    let whole = first.bytes().len();
    match Batch::first(&bytes[whole..]) {
        Err(BatchError::Cut { .. }) => Ok(whole),
        Ok(_) => Err(ValidationError::MoreThanOneBatch),
        Err(BatchError::BadMagic { magic }) if (0..MAGIC).contains(&magic) => {
            Err(ValidationError::MoreThanOneBatch)
        }
        Err(error) => Err(ValidationError::Corrupt(error)),
    }
}

/// All that can be said without reading a record.
fn check_header(bytes: &[u8], rules: &Rules) -> Result<Codec, ValidationError> {
    let batch = Batch::first(bytes).expect("framed just before");
    let header = batch.header();
    if header.base_offset().0 != 0 {
        return Err(ValidationError::BaseOffset { base_offset: header.base_offset().0 });
    }
    check_size(bytes.len(), rules)?;
    batch.verify_crc().map_err(ValidationError::Corrupt)?;
    let codec = header.attributes().codec().map_err(|id| ValidationError::UnknownCodec { id })?;
    let (delta, count) = (header.last_offset_delta(), header.record_count());
    if delta < 0 || count <= 0 || i64::from(delta) + 1 != i64::from(count) {
        let (last_offset_delta, record_count) = (delta, count);
        return Err(ValidationError::BadCounts { last_offset_delta, record_count });
    }
    if header.attributes().is_control() {
        return Err(ValidationError::Control);
    }
    let base_sequence = header.base_sequence().0;
    if header.producer_id().0 >= 0 && base_sequence < 0 {
        return Err(ValidationError::BadSequence { base_sequence });
    }
    Ok(codec)
}

fn check_size(bytes: usize, rules: &Rules) -> Result<(), ValidationError> {
    let bytes_max = rules.batch_bytes_max;
    if bytes > bytes_max { Err(ValidationError::TooLarge { bytes, bytes_max }) } else { Ok(()) }
}

/// What the walk over the records found.
struct Walk {
    max_timestamp: Timestamp,
    max_timestamp_delta: i32,
    /// Whether the offset deltas are 0, 1, 2 ...; Kafka repairs those that are not.
    deltas_in_order: bool,
}

fn walk_records(
    bytes: &[u8],
    codec: Codec,
    rules: &Rules,
    scratch: &mut Scratch,
) -> Result<Walk, ValidationError> {
    let header = header_of(bytes);
    let packed = &bytes[HEADER_BYTES..];
    let payload = match codec {
        Codec::None => packed,
        Codec::Gzip | Codec::Snappy | Codec::Lz4 | Codec::Zstd => {
            scratch
                .decompressor
                .decompress(codec, packed, rules.unpacked_bytes_max, &mut scratch.unpacked)
                .map_err(ValidationError::Decompress)?;
            &scratch.unpacked
        }
    };
    let bounds = Bounds::new(header, rules);
    let mut walk =
        Walk { max_timestamp: Timestamp::NONE, max_timestamp_delta: 0, deltas_in_order: true };
    for (index, record) in (0..).zip(Records::new(payload, header.record_count())) {
        let record = record.map_err(ValidationError::Record)?;
        let timestamp = bounds.timestamp_of(&record);
        if bounds.refusal(&record, timestamp).is_some() {
            return Err(bounds.refuse_all(payload, header.record_count()));
        }
        if timestamp > walk.max_timestamp {
            walk.max_timestamp = timestamp;
            walk.max_timestamp_delta = index;
        }
        walk.deltas_in_order &= record.offset_delta == index;
    }
    Ok(walk)
}

/// The rules for single records, worked out once a batch.
struct Bounds {
    keys: Keys,
    topic_type: TimestampType,
    batch_type: TimestampType,
    base_timestamp: Timestamp,
    batch_max_timestamp: Timestamp,
    first: Timestamp,
    last: Timestamp,
}

impl Bounds {
    fn new(header: &BatchHeader, rules: &Rules) -> Bounds {
        // The largest setting means "no bound", also for timestamps far before 1970.
        let first = match rules.timestamp_before_ms_max {
            i64::MAX => i64::MIN,
            bound => rules.now.0.saturating_sub(bound),
        };
        Bounds {
            keys: rules.keys,
            topic_type: rules.timestamp_type,
            batch_type: header.attributes().timestamp_type(),
            base_timestamp: header.base_timestamp(),
            batch_max_timestamp: header.max_timestamp(),
            first: Timestamp(first),
            last: Timestamp(rules.now.0.saturating_add(rules.timestamp_after_ms_max)),
        }
    }

    fn timestamp_of(&self, record: &Record<'_>) -> Timestamp {
        match self.batch_type {
            // It may wrap; consumers' arithmetic does the same.
            TimestampType::CreateTime => {
                Timestamp(self.base_timestamp.0.wrapping_add(record.timestamp_delta))
            }
            TimestampType::LogAppendTime => self.batch_max_timestamp,
        }
    }

    fn refusal(&self, record: &Record<'_>, timestamp: Timestamp) -> Option<RefusalReason> {
        if self.keys == Keys::Required && record.key.is_none() {
            return Some(RefusalReason::NoKey);
        }
        // Kafka lets a claim of LogAppendTime pass where the topic has CreateTime and the
        // record a timestamp; the claim is then taken out of the header.
        if self.topic_type == TimestampType::CreateTime && timestamp != Timestamp::NONE {
            let (first, last) = (self.first, self.last);
            let within = first <= timestamp && timestamp <= last;
            let refusal = RefusalReason::TimestampOutOfRange { timestamp, first, last };
            return if within { None } else { Some(refusal) };
        }
        match self.batch_type {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(RefusalReason::LogAppendTimeClaimed),
        }
    }

    /// Walks once more, now that the batch is refused, and names the records.
    fn refuse_all(&self, payload: &[u8], record_count: i32) -> ValidationError {
        let mut refusals = Vec::new();
        let (mut count, mut any_timestamp) = (0, false);
        for (index, record) in (0..).zip(Records::new(payload, record_count)) {
            let record = match record {
                Ok(record) => record,
                Err(error) => return ValidationError::Record(error),
            };
            let Some(reason) = self.refusal(&record, self.timestamp_of(&record)) else { continue };
            count += 1;
            any_timestamp |= reason.is_timestamp();
            if refusals.len() < REFUSALS_MAX {
                refusals.push(Refusal { index, reason });
            }
        }
        assert!(count > 0, "a second walk finds what the first one found");
        ValidationError::Refused { refusals, count, any_timestamp }
    }
}

/// The batch packed with `target`, a codec and its level; its records numbered 0, 1, 2 ... if `renumber`.
fn rebuild(
    bytes: &[u8],
    codec: Codec,
    (target, level): (Codec, Option<i32>),
    renumber: bool,
    scratch: &mut Scratch,
) -> BytesMut {
    let packed = &bytes[HEADER_BYTES..];
    let header = header_of(bytes);
    let unpacked = if codec == Codec::None { packed } else { &scratch.unpacked[..] };
    let records = if renumber {
        scratch.reordered.clear();
        for (index, record) in (0..).zip(Records::new(unpacked, header.record_count())) {
            let record = record.expect("walked just before");
            put_record(&mut scratch.reordered, &record, index);
        }
        &scratch.reordered
    } else {
        unpacked
    };
    let mut rebuilt = Vec::with_capacity(bytes.len());
    rebuilt.extend_from_slice(&bytes[..HEADER_BYTES]);
    batch::set_codec(&mut rebuilt, target);
    compress_at(target, level, records, &mut rebuilt);
    batch::seal(&mut rebuilt);
    BytesMut::from(Bytes::from(rebuilt))
}

/// Appends `record` as the one at `offset_delta` of its batch.
fn put_record(out: &mut Vec<u8>, record: &Record<'_>, offset_delta: i32) {
    let mut body = Vec::with_capacity(64);
    body.push(0);
    put_i64(&mut body, record.timestamp_delta);
    put_i32(&mut body, offset_delta);
    put_part(&mut body, record.key);
    put_part(&mut body, record.value);
    put_i64(&mut body, i64::try_from(record.headers.count()).expect("counted in 31 bits"));
    for header in record.headers {
        put_part(&mut body, Some(header.key));
        put_part(&mut body, header.value);
    }
    put_part(out, Some(&body));
}

fn header_of(bytes: &[u8]) -> &BatchHeader {
    BatchHeader::peek(bytes).expect("B1: a batch holds its header")
}

impl Scratch {
    /// Memory for no batch yet.
    pub fn new() -> Scratch {
        Scratch::default()
    }

    /// One large batch must not hold its memory for ever.
    fn give_back(&mut self) {
        for buffer in [&mut self.unpacked, &mut self.reordered] {
            if buffer.capacity() > SCRATCH_KEPT_BYTES {
                *buffer = Vec::new();
            }
        }
    }
}

/// A topic's default rules, at the time of the golden batches. For the tests of this folder.
#[cfg(test)]
pub(super) fn tests_rules() -> Rules {
    Rules {
        produce_version: 13,
        now: Timestamp(1_700_000_100_000),
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_ms_max: i64::MAX,
        timestamp_after_ms_max: 3_600_000,
        keys: Keys::Optional,
        compression: Compression::Producer,
        batch_bytes_max: 1_048_588,
        segment_bytes: 1 << 30,
        unpacked_bytes_max: 16 << 20,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::{ProducerEpoch, ProducerId};
    use crate::model::offset::Sequence;
    use crate::record::batch::seal;
    use crate::record::builder::{BatchBuilder, NewRecord, Producer};
    use crate::record::varint::put_i64;

    const NOW: i64 = 1_700_000_100_000;

    fn batch_of(codec: Codec, records: &[(i64, Option<&[u8]>)]) -> BytesMut {
        let mut builder = BatchBuilder::new(codec);
        for &(timestamp, key) in records {
            let timestamp = Timestamp(timestamp);
            builder.push(&NewRecord { timestamp, key, value: Some(b"v"), headers: &[] }).unwrap();
        }
        builder.build()
    }

    fn run(batch: BytesMut, rules: &Rules) -> Result<Checked, ValidationError> {
        check(batch, rules, &mut Scratch::new())
    }

    /// A batch changed at `at`, with a checksum that fits again.
    fn changed(at: usize, bytes: &[u8]) -> BytesMut {
        let mut batch = batch_of(Codec::None, &[(NOW, None), (NOW, None)]);
        batch[at..at + bytes.len()].copy_from_slice(bytes);
        seal(&mut batch);
        batch
    }

    #[test]
    fn headers_are_refused_as_kafka_refuses_them() {
        let refused = |batch, want: ValidationError| {
            assert_eq!(run(batch, &tests_rules()).unwrap_err(), want);
        };
        let counts = |last_offset_delta, record_count| ValidationError::BadCounts {
            last_offset_delta,
            record_count,
        };
        refused(BytesMut::new(), ValidationError::NoBatch);
        refused(changed(0, &5i64.to_be_bytes()), ValidationError::BaseOffset { base_offset: 5 });
        refused(changed(23, &2i32.to_be_bytes()), counts(2, 2));
        refused(changed(23, &(-1i32).to_be_bytes()), counts(-1, 2));
        refused(changed(57, &0i32.to_be_bytes()), counts(1, 0));
        refused(changed(57, &i32::MIN.to_be_bytes()), counts(1, i32::MIN));
        refused(changed(22, &[1 << 5]), ValidationError::Control);
        refused(changed(22, &[6]), ValidationError::UnknownCodec { id: 6 });
        refused(
            changed(43, &9i64.to_be_bytes()),
            ValidationError::BadSequence { base_sequence: -1 },
        );
        refused(changed(16, &[1]), ValidationError::OldMagic { magic: 1 });
        let bad_magic = ValidationError::Corrupt(BatchError::BadMagic { magic: 3 });
        refused(changed(16, &[3]), bad_magic);
    }

    #[test]
    fn more_than_one_batch_is_refused_and_less_than_one_more_is_cut() {
        let one = batch_of(Codec::None, &[(NOW, None)]);
        let mut two = one.clone();
        two.extend_from_slice(&one);
        assert_eq!(
            run(two.clone(), &tests_rules()).unwrap_err(),
            ValidationError::MoreThanOneBatch
        );
        two.truncate(two.len() - 1);
        assert_eq!(run(two, &tests_rules()).unwrap().batch, one);
        let cut = BytesMut::from(&one[..one.len() - 1]);
        assert_eq!(run(cut, &tests_rules()).unwrap_err(), ValidationError::NoBatch);
    }

    #[test]
    fn sizes_are_held() {
        let batch = batch_of(Codec::None, &[(NOW, Some(&[7; 100]))]);
        let bytes = batch.len();
        let rules = |batch_bytes_max, segment_bytes| Rules {
            batch_bytes_max,
            segment_bytes,
            ..tests_rules()
        };
        run(batch.clone(), &rules(bytes, bytes)).unwrap();
        let error = run(batch.clone(), &rules(bytes - 1, bytes)).unwrap_err();
        assert_eq!(error, ValidationError::TooLarge { bytes, bytes_max: bytes - 1 });
        let error = run(batch, &rules(bytes, bytes - 1)).unwrap_err();
        let segment_bytes = bytes - 1;
        assert_eq!(error, ValidationError::LargerThanSegment { bytes, segment_bytes });
        // Packed it fits, but the topic wants it plain.
        let packed = batch_of(Codec::Zstd, &[(NOW, Some(&[7; 1000]))]);
        let plain = Rules {
            compression: Compression::Codec(Codec::None, None),
            batch_bytes_max: 500,
            ..tests_rules()
        };
        let error = run(packed, &plain).unwrap_err();
        assert!(matches!(error, ValidationError::TooLarge { bytes_max: 500, .. }), "{error:?}");
    }

    #[test]
    fn zstd_needs_produce_7() {
        let batch = batch_of(Codec::Zstd, &[(NOW, None)]);
        let rules = |produce_version| Rules { produce_version, ..tests_rules() };
        let error = run(batch.clone(), &rules(6)).unwrap_err();
        assert_eq!(error, ValidationError::ZstdTooEarly { produce_version: 6 });
        run(batch, &rules(7)).unwrap();
    }

    #[test]
    fn compacted_topics_want_keys() {
        let batch = batch_of(Codec::Lz4, &[(NOW, Some(b"k")), (NOW, None), (0, None)]);
        let rules = Rules { keys: Keys::Required, timestamp_before_ms_max: 1000, ..tests_rules() };
        let error = run(batch, &rules).unwrap_err();
        let reason = RefusalReason::NoKey;
        let refusals = vec![Refusal { index: 1, reason }, Refusal { index: 2, reason }];
        assert_eq!(error, ValidationError::Refused { refusals, count: 2, any_timestamp: false });
        run(batch_of(Codec::Lz4, &[(NOW, Some(b""))]), &rules).unwrap();
    }

    #[test]
    fn timestamps_are_held_within_bounds() {
        let rules =
            Rules { timestamp_before_ms_max: 1000, timestamp_after_ms_max: 500, ..tests_rules() };
        let check_one = |timestamp: i64, want: bool| {
            let result = run(batch_of(Codec::None, &[(NOW, None), (timestamp, None)]), &rules);
            assert_eq!(result.is_ok(), want, "{timestamp}: {result:?}");
            let Err(ValidationError::Refused { refusals, count, any_timestamp }) = result else {
                return;
            };
            let (first, last) = (Timestamp(NOW - 1000), Timestamp(NOW + 500));
            let timestamp = Timestamp(timestamp);
            let reason = RefusalReason::TimestampOutOfRange { timestamp, first, last };
            assert_eq!(refusals, [Refusal { index: 1, reason }]);
            assert_eq!((count, any_timestamp), (1, true));
        };
        check_one(NOW - 1000, true);
        check_one(NOW - 1001, false);
        check_one(NOW + 500, true);
        check_one(NOW + 501, false);
        check_one(-1, true);
        check_one(-2, false);
        check_one(i64::MAX, false);
        check_one(i64::MIN, false);
        // Without a bound before, any past will do.
        run(batch_of(Codec::None, &[(i64::MIN, None)]), &tests_rules()).unwrap();
    }

    #[test]
    fn the_first_refusals_are_named_and_all_counted() {
        let records = vec![(0, None); REFUSALS_MAX + 50];
        let rules = Rules { timestamp_before_ms_max: 1, ..tests_rules() };
        let error = run(batch_of(Codec::Gzip, &records), &rules).unwrap_err();
        let ValidationError::Refused { refusals, count, any_timestamp: true } = error else {
            panic!("{error:?}")
        };
        assert_eq!((refusals.len(), count), (REFUSALS_MAX, REFUSALS_MAX + 50));
    }

    #[test]
    fn log_append_time_is_written_into_the_header() {
        let rules = Rules { timestamp_type: TimestampType::LogAppendTime, ..tests_rules() };
        for codec in Codec::ALL {
            let checked = run(batch_of(codec, &[(5, None), (9, None)]), &rules).unwrap();
            Batch::first(&checked.batch).unwrap().verify_crc().unwrap();
            assert_eq!(checked.log_append_time, rules.now);
            assert_eq!(checked.info.max_timestamp, rules.now);
            assert_eq!(checked.info.attributes.timestamp_type(), TimestampType::LogAppendTime);
            assert_eq!(checked.info.base_timestamp, Timestamp(5));
            // Now it claims what only the broker may.
            let error = run(checked.batch, &rules).unwrap_err();
            let reason = RefusalReason::LogAppendTimeClaimed;
            let refusals = vec![Refusal { index: 0, reason }, Refusal { index: 1, reason }];
            let want = ValidationError::Refused { refusals, count: 2, any_timestamp: true };
            assert_eq!(error, want, "{codec:?}");
        }
    }

    #[test]
    fn a_claim_of_log_append_time_is_taken_out() {
        let mut batch = batch_of(Codec::None, &[(NOW, None)]);
        let clean = batch.clone();
        batch::set_timestamps(&mut batch, TimestampType::LogAppendTime, Timestamp(NOW));
        assert_eq!(run(batch.clone(), &tests_rules()).unwrap().batch, clean);
        batch::set_timestamps(&mut batch, TimestampType::LogAppendTime, Timestamp::NONE);
        let error = run(batch, &tests_rules()).unwrap_err();
        assert!(matches!(error, ValidationError::Refused { any_timestamp: true, .. }));
    }

    #[test]
    fn a_wrong_max_timestamp_is_put_right() {
        let records = [(NOW, None), (NOW + 7, None), (NOW + 7, None), (NOW + 3, None)];
        for codec in Codec::ALL {
            let good = batch_of(codec, &records);
            let mut batch = good.clone();
            batch::set_timestamps(&mut batch, TimestampType::CreateTime, Timestamp::NONE);
            let checked = run(batch, &tests_rules()).unwrap();
            assert_eq!(checked.batch, good);
            assert_eq!(checked.info.max_timestamp, Timestamp(NOW + 7));
            assert_eq!(checked.max_timestamp_delta, 1, "the first of the largest");
        }
    }

    #[test]
    fn wrong_offset_deltas_are_put_right() {
        for codec in Codec::ALL {
            let good = batch_of(codec, &[(NOW, None), (NOW + 1, Some(b"k"))]);
            let mut records = Vec::new();
            for (delta, key) in [(0, None), (1, Some(&b"k"[..]))] {
                let mut body = vec![0];
                put_i64(&mut body, delta);
                put_i32(&mut body, 0);
                put_part(&mut body, key);
                put_part(&mut body, Some(b"v"));
                put_i64(&mut body, 0);
                put_part(&mut records, Some(&body));
            }
            let mut batch = good[..HEADER_BYTES].to_vec();
            compress_at(codec, None, &records, &mut batch);
            seal(&mut batch);
            let checked = run(BytesMut::from(&batch[..]), &tests_rules()).unwrap();
            assert_eq!(checked.batch, good, "{codec:?}");
        }
    }

    #[test]
    fn numbers_of_the_batch_come_out() {
        let mut builder = BatchBuilder::new(Codec::None).producer(Producer {
            id: ProducerId(7),
            epoch: ProducerEpoch(2),
            base_sequence: Sequence(5),
        });
        for _ in 0..3 {
            let timestamp = Timestamp(NOW);
            builder.push(&NewRecord { timestamp, key: None, value: None, headers: &[] }).unwrap();
        }
        let checked = run(builder.build(), &tests_rules()).unwrap();
        assert_eq!(checked.info.offset_count(), 3);
        assert_eq!(checked.info.last_sequence, Sequence(7));
        assert_eq!(checked.info.bytes as usize, checked.batch.len());
    }

    #[test]
    fn a_large_batch_leaves_little_memory_behind() {
        let mut scratch = Scratch::new();
        let value = vec![0; SCRATCH_KEPT_BYTES + 1];
        let rules = Rules { batch_bytes_max: 64 << 20, ..tests_rules() };
        let batch = batch_of(Codec::Zstd, &[(NOW, Some(&value))]);
        check(batch, &rules, &mut scratch).unwrap();
        assert!(scratch.unpacked.capacity() <= SCRATCH_KEPT_BYTES);
    }
}
