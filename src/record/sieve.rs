//! A batch with fewer records: what compaction leaves of it.
//!
//! In:   a whole batch, and which of its records are to stay.
//! Out:  the batch anew: same offsets, sequences, producer, codec; fewer records; perhaps a delete
//!       horizon. Or its header alone.
//! Home: pure.
//!
//! Invariants
//!   S1  Base offset and last offset delta stay, so that offsets and sequences of what is left do.
//!   S2  Every record that stays keeps its bytes, but for the timestamp delta where the base
//!       timestamp becomes the delete horizon; its time stays the same.
//!
//!   S3  A walk goes on from where it was left, and one step of it looks at about [`STEP_BYTES`].
//!
//! A batch is opened, then walked in steps, between which the caller may let others run; opening
//! and rebuilding may take long, and may be done on another thread.
//!
//! Working memory is kept between batches. Per record: none is allocated, its bytes are copied once
//! (twice where a horizon is set), if it stays.
//!
//! Source: Kafka's `MemoryRecords.filterTo`, `DefaultRecordBatch.writeEmptyHeader`; KIP-534.

use std::fmt;

use crate::model::offset::Offset;
use crate::model::time::Timestamp;
use crate::record::batch::{
    self, Attributes, Batch, BatchInfo, Codec, HeaderFields, TimestampType, header_bytes,
};
use crate::record::compression::{Decompressor, compress};
use crate::record::records::{Record, Records};
use crate::record::varint::{bytes_of_i64, put_i64, take_i32, take_i64};

/// Most bytes that a batch may unpack to: no produce request with usual limits packs more.
pub const UNPACKED_BYTES_MAX: usize = 1 << 30;

/// Bytes of records that one step looks at, and its last record more.
pub const STEP_BYTES: usize = 128 << 10;

/// A batch that passed its checksum and cannot be taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadBatch {
    /// Its base offset.
    pub base_offset: Offset,
}

impl fmt::Display for BadBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the batch at offset {} cannot be taken apart", self.base_offset.0)
    }
}

impl std::error::Error for BadBatch {}

/// What is left of a batch's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Records that stay.
    pub count: u32,
    /// Whether one of them is a tombstone.
    pub has_tombstone: bool,
    /// Largest timestamp of those that stay; `NONE` if none does.
    pub max_timestamp: Timestamp,
}

impl Default for Left {
    fn default() -> Left {
        Left { count: 0, has_tombstone: false, max_timestamp: Timestamp::NONE }
    }
}

/// Takes batches apart and puts what is left together again.
#[derive(Debug, Default)]
pub struct Sieve {
    decompressor: Decompressor,
    unpacked: Vec<u8>,
    /// Whether the records of the batch that is open are in `unpacked`, and not in the batch.
    was_packed: bool,
    /// Where the walk is: bytes and records.
    at: usize,
    found: i32,
    /// Bytes of the records that stay, as far as the walk has come.
    kept: Vec<u8>,
    left: Left,
    moved: Vec<u8>,
}

impl Sieve {
    /// Opens a batch: its records are unpacked, and the walk stands before the first.
    /// Errors: [`BadBatch`].
    pub fn open(&mut self, batch: &Batch<'_>) -> Result<(), BadBatch> {
        let header = batch.header();
        let bad = BadBatch { base_offset: header.base_offset() };
        let codec = header.attributes().codec().map_err(|_| bad)?;
        self.was_packed = codec != Codec::None && !batch.payload().is_empty();
        (self.at, self.found, self.left) = (0, 0, Left::default());
        self.kept.clear();
        if self.was_packed {
            let (payload, unpacked) = (batch.payload(), &mut self.unpacked);
            self.decompressor
                .decompress(codec, payload, UNPACKED_BYTES_MAX, unpacked)
                .map_err(|_| bad)?;
        }
        Ok(())
    }

    /// Shows the next records of the batch that is open with their offsets to `see`, until it says
    /// to stop, or the step ends. Returns whether there are more. Errors: [`BadBatch`].
    pub fn each(
        &mut self,
        batch: &Batch<'_>,
        mut see: impl FnMut(Offset, &Record<'_>) -> bool,
    ) -> Result<bool, BadBatch> {
        self.step(batch, |offset, record, _| match see(offset, record) {
            true => Onward::Pass,
            false => Onward::Stop,
        })
    }

    /// Keeps those of the next records of the batch that is open that `keep` says, for
    /// [`Sieve::rebuild`], until the step ends. Returns whether there are more.
    /// Errors: [`BadBatch`].
    pub fn sift(
        &mut self,
        batch: &Batch<'_>,
        mut keep: impl FnMut(Offset, &Record<'_>) -> bool,
    ) -> Result<bool, BadBatch> {
        let base_timestamp = batch.header().base_timestamp();
        let (mut left, mut kept) = (self.left, std::mem::take(&mut self.kept));
        let more = self.step(batch, |offset, record, bytes| {
            if keep(offset, record) {
                kept.extend_from_slice(bytes);
                left.count += 1;
                left.has_tombstone |= record.value.is_none();
                let time = base_timestamp.0.saturating_add(record.timestamp_delta);
                left.max_timestamp = left.max_timestamp.max(Timestamp(time));
            }
            Onward::Pass
        });
        (self.left, self.kept) = (left, kept);
        more
    }

    /// What [`Sieve::sift`] has kept of the batch that is open.
    pub fn left(&self) -> Left {
        self.left
    }

    /// Bytes of the records that [`Sieve::sift`] has kept of it.
    pub fn kept_bytes(&self) -> usize {
        self.kept.len()
    }

    /// Walks on for one step (S3).
    fn step(
        &mut self,
        batch: &Batch<'_>,
        mut look: impl FnMut(Offset, &Record<'_>, &[u8]) -> Onward,
    ) -> Result<bool, BadBatch> {
        let header = batch.header();
        let base = header.base_offset();
        let payload = if self.was_packed { &self.unpacked[..] } else { batch.payload() };
        let claimed = header.record_count().saturating_sub(self.found);
        let mut records = Records::new(&payload[self.at..], claimed);
        let end = self.at.saturating_add(STEP_BYTES);
        loop {
            let before = self.at;
            if before >= end {
                return Ok(true);
            }
            let Some(record) = records.next() else { return Ok(false) };
            let record = record.map_err(|_| BadBatch { base_offset: base })?;
            self.at = payload.len() - records.rest().len();
            self.found += 1;
            let offset = base.plus(i64::from(record.offset_delta));
            if let Onward::Stop = look(offset, &record, &payload[before..self.at]) {
                return Ok(true);
            }
        }
    }

    /// Appends to `out` the batch that is open and has been sifted, with what was kept; with
    /// `horizon`, marked with that delete horizon.
    ///
    /// Panics: if nothing was kept ([`put_empty`] is for that), our own bug.
    pub fn rebuild(&mut self, info: &BatchInfo, horizon: Option<Timestamp>, out: &mut Vec<u8>) {
        let left = self.left;
        assert!(left.count > 0, "a batch without records is written by put_empty");
        let max_timestamp = match info.attributes.timestamp_type() {
            TimestampType::CreateTime => left.max_timestamp,
            TimestampType::LogAppendTime => info.max_timestamp,
        };
        let (attributes, base_timestamp, records) = match horizon {
            None => (info.attributes, info.base_timestamp, &self.kept),
            Some(horizon) => {
                self.moved.clear();
                move_base(&self.kept, info.base_timestamp, horizon, &mut self.moved);
                (info.attributes.with_delete_horizon(), horizon, &self.moved)
            }
        };
        let fields = HeaderFields {
            attributes,
            base_timestamp,
            max_timestamp,
            record_count: i32::try_from(left.count).expect("as many as the batch had, or fewer"),
            ..fields_of(info)
        };
        let start = out.len();
        out.extend_from_slice(&header_bytes(&fields));
        let codec = info.attributes.codec().expect("it was unpacked");
        compress(codec, records, out);
        batch::seal(&mut out[start..]);
    }
}

/// Whether a walk goes on behind a record.
enum Onward {
    Pass,
    Stop,
}

/// Appends to `out` the header of a batch without any records.
pub fn put_empty(info: &BatchInfo, out: &mut Vec<u8>) {
    let fields = HeaderFields {
        attributes: info.attributes.with_codec(Codec::None).without_delete_horizon(),
        base_timestamp: Timestamp::NONE,
        max_timestamp: info.max_timestamp,
        record_count: 0,
        ..fields_of(info)
    };
    let start = out.len();
    out.extend_from_slice(&header_bytes(&fields));
    batch::seal(&mut out[start..]);
}

/// What stays the same (S1).
fn fields_of(info: &BatchInfo) -> HeaderFields {
    let delta = info.last_offset.0 - info.base_offset.0;
    HeaderFields {
        base_offset: info.base_offset,
        leader_epoch: info.leader_epoch,
        attributes: Attributes(0),
        last_offset_delta: i32::try_from(delta).expect("it was one"),
        base_timestamp: info.base_timestamp,
        max_timestamp: info.max_timestamp,
        producer_id: info.producer_id,
        producer_epoch: info.producer_epoch,
        base_sequence: info.base_sequence,
        record_count: 0,
    }
}

/// Appends `records` with timestamp deltas to another base timestamp (S2).
///
/// Panics: if the records are not whole; they were walked before.
fn move_base(records: &[u8], from: Timestamp, to: Timestamp, out: &mut Vec<u8>) {
    const WALKED: &str = "the records were walked before";
    let mut rest = records;
    while !rest.is_empty() {
        let length = take_i32(&mut rest).expect(WALKED);
        let (mut body, after) = rest.split_at(usize::try_from(length).expect(WALKED));
        rest = after;
        let attributes = *body.split_off_first().expect(WALKED);
        let delta = take_i64(&mut body).expect(WALKED);
        let delta = from.0.wrapping_add(delta).wrapping_sub(to.0);
        let length = 1 + bytes_of_i64(delta) + body.len();
        put_i64(out, i64::try_from(length).expect("a record is below 2 GiB"));
        out.push(attributes);
        put_i64(out, delta);
        out.extend_from_slice(body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::{ProducerEpoch, ProducerId};
    use crate::model::offset::{LeaderEpoch, Sequence};
    use crate::record::batch::stamp;
    use crate::record::builder::{BatchBuilder, NewRecord, Producer};

    const VALUES: [Option<&[u8]>; 4] = [Some(b"zero"), None, Some(b""), Some(b"three")];

    fn built(codec: Codec) -> Vec<u8> {
        let producer =
            Producer { id: ProducerId(7), epoch: ProducerEpoch(2), base_sequence: Sequence(100) };
        let mut builder = BatchBuilder::new(codec).producer(producer);
        for (value, at) in VALUES.into_iter().zip(0i64..) {
            let headers: &[(&str, Option<&[u8]>)] = &[("h", Some(b"1"))];
            let timestamp = Timestamp(1_000 + [0, 500, -300, 70_000][usize::try_from(at).unwrap()]);
            builder.push(&NewRecord { timestamp, key: Some(b"key"), value, headers }).unwrap();
        }
        let mut bytes = builder.build();
        stamp(&mut bytes, Offset(40), LeaderEpoch(3));
        bytes.to_vec()
    }

    /// Offset, time and value of each record.
    fn read(sieve: &mut Sieve, bytes: &[u8]) -> Vec<(i64, i64, Option<Vec<u8>>)> {
        let batch = Batch::first(bytes).unwrap();
        batch.verify_crc().unwrap();
        let base = batch.header().base_timestamp().0;
        let mut all = Vec::new();
        let mut see = |offset: Offset, record: &Record<'_>| {
            assert_eq!((record.key, record.headers.count()), (Some(&b"key"[..]), 1));
            all.push((offset.0, base + record.timestamp_delta, record.value.map(<[u8]>::to_vec)));
            true
        };
        sieve.open(&batch).unwrap();
        while sieve.each(&batch, &mut see).unwrap() {}
        all
    }

    /// Sifts the whole batch; the steps that it took, and what is left.
    fn sift(
        sieve: &mut Sieve,
        batch: &Batch<'_>,
        mut keep: impl FnMut(Offset) -> bool,
    ) -> Result<(usize, Left), BadBatch> {
        sieve.open(batch)?;
        let mut steps = 1;
        while sieve.sift(batch, |offset, _| keep(offset))? {
            steps += 1;
        }
        Ok((steps, sieve.left()))
    }

    #[test]
    fn a_large_batch_is_walked_in_steps_and_comes_out_the_same() {
        const COUNT: i64 = 1_000;
        let value = |at: i64| [u8::try_from(at % 251).unwrap(); 500];
        for codec in [Codec::None, Codec::Zstd] {
            let mut builder = BatchBuilder::new(codec);
            for at in 0..COUNT {
                let (timestamp, headers) = (Timestamp(1_000 + at), &[("h", None)][..]);
                let value = value(at);
                let record =
                    NewRecord { timestamp, key: Some(b"key"), value: Some(&value), headers };
                builder.push(&record).unwrap();
            }
            let bytes = builder.build();
            let batch = Batch::first(&bytes).unwrap();
            let mut sieve = Sieve::default();
            let (steps, left) = sift(&mut sieve, &batch, |offset| offset.0 % 2 == 1).unwrap();
            assert_eq!((steps, left.count), (4, 500), "of 128 KiB each");
            assert_eq!(left.max_timestamp, Timestamp(1_000 + COUNT - 1));
            let mut out = Vec::new();
            sieve.rebuild(&batch.info().unwrap(), None, &mut out);
            let odd = (0..COUNT).filter(|at| at % 2 == 1);
            let want: Vec<_> = odd.map(|at| (at, 1_000 + at, Some(value(at).to_vec()))).collect();
            assert_eq!(read(&mut sieve, &out), want);
        }
    }

    #[test]
    fn a_walk_that_was_stopped_goes_on_behind_that_record() {
        let bytes = built(Codec::None);
        let batch = Batch::first(&bytes).unwrap();
        let mut sieve = Sieve::default();
        sieve.open(&batch).unwrap();
        let mut seen = Vec::new();
        while sieve
            .each(&batch, |offset, _| {
                seen.push(offset.0);
                false
            })
            .unwrap()
        {}
        assert_eq!(seen, [40, 41, 42, 43]);
    }

    #[test]
    fn what_stays_keeps_offset_time_and_bytes_whatever_the_codec() {
        for codec in Codec::ALL {
            let bytes = built(codec);
            let mut sieve = Sieve::default();
            let all = read(&mut sieve, &bytes);
            assert_eq!(all.len(), 4);
            for kept in 1..16u32 {
                for horizon in [None, Some(Timestamp(999_999_999))] {
                    let batch = Batch::first(&bytes).unwrap();
                    let info = batch.info().unwrap();
                    let keep = |offset: i64| kept & 1 << (offset - 40) != 0;
                    let (_, left) = sift(&mut sieve, &batch, |offset| keep(offset.0)).unwrap();
                    let mut out = vec![9; 5];
                    sieve.rebuild(&info, horizon, &mut out);
                    let want: Vec<_> = all.iter().filter(|r| keep(r.0)).cloned().collect();
                    assert_eq!(read(&mut sieve, &out[5..]), want, "{codec:?} {kept:b}");
                    let new = Batch::first(&out[5..]).unwrap().info().unwrap();
                    let same = BatchInfo {
                        base_timestamp: horizon.unwrap_or(info.base_timestamp),
                        max_timestamp: Timestamp(want.iter().map(|r| r.1).max().unwrap()),
                        record_count: kept.count_ones(),
                        bytes: u32::try_from(out.len() - 5).unwrap(),
                        attributes: new.attributes,
                        ..info
                    };
                    assert_eq!(new, same);
                    assert_eq!(new.attributes.has_delete_horizon(), horizon.is_some());
                    assert_eq!(new.attributes.codec(), Ok(codec));
                    assert_eq!(left.has_tombstone, keep(41));
                }
            }
        }
    }

    #[test]
    fn an_empty_batch_keeps_all_but_records_and_can_be_sifted_again() {
        let bytes = built(Codec::Zstd);
        let info = Batch::first(&bytes).unwrap().info().unwrap();
        let mut out = Vec::new();
        put_empty(&info, &mut out);
        assert_eq!(out.len(), batch::HEADER_BYTES);
        let mut sieve = Sieve::default();
        assert_eq!(read(&mut sieve, &out), []);
        let empty = Batch::first(&out).unwrap().info().unwrap();
        let (ours, theirs) = (empty.last_sequence, info.last_sequence);
        assert_eq!((ours, empty.last_offset, empty.record_count), (theirs, info.last_offset, 0));
        let left = sift(&mut sieve, &Batch::first(&out).unwrap(), |_| true).unwrap();
        assert_eq!(left, (1, Left::default()));
    }

    #[test]
    fn a_batch_that_lies_is_refused() {
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let mut bytes = built(Codec::None);
            batch::set_codec(&mut bytes, codec);
            batch::seal(&mut bytes);
            let batch = Batch::first(&bytes).unwrap();
            let sifted = sift(&mut Sieve::default(), &batch, |_| true);
            assert_eq!(sifted, Err(BadBatch { base_offset: Offset(40) }), "{codec:?}");
        }
    }
}
