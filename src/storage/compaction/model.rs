//! A log that is compacted on the simulated disk, and all that was ever written to it, for the
//! tests of this folder.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::config::topic::FlushPolicy;
use crate::io::slice::Slice;
use crate::model::ids::{ProducerEpoch, ProducerId};
use crate::model::offset::{LeaderEpoch, Offset, Sequence};
use crate::model::time::Timestamp;
use crate::record::batch::{Batch, BatchInfo, Codec, batches, stamp};
use crate::record::builder::{BatchBuilder, NewRecord, Producer, end_marker};
use crate::record::control::{EndMarker, Outcome};
use crate::record::records::Record;
use crate::record::sieve::Sieve;
use crate::storage::compaction::judge::{LastWrite, LastWrites};
use crate::storage::compaction::pass::{Order, Pace, Spent};
use crate::storage::log::{Log, LogShared};
use crate::storage::options::LogOptions;
use crate::storage::reader::{ReadPath, ReadRequest};
use crate::storage::recovery::Opened;
use crate::testing::disk::{Disk, SimDirectory};
use crate::testing::prng::Prng;
use crate::testing::run::{Crashed, Executor};

pub(super) type SimLog = Log<SimDirectory>;

pub(super) const RETENTION_MS: u64 = 10_000;
const KEYS: u64 = 40;

/// One record as it was written, or as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rec {
    pub(super) offset: i64,
    pub(super) time: i64,
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
}

/// A batch as it was written, or as it was read.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) info: BatchInfo,
    pub(super) records: Vec<Rec>,
    pub(super) bytes: Bytes,
}

/// All that was written.
#[derive(Clone, Default)]
pub(super) struct World {
    pub(super) batches: Vec<Written>,
    pub(super) end: i64,
    pub(super) now: i64,
    /// Batches of aborted transactions, by base offset.
    pub(super) aborted: BTreeSet<i64>,
    /// Marker of each batch of an ended transaction, by base offset.
    pub(super) marker_of: BTreeMap<i64, i64>,
    /// Base offsets of the batches of each open transaction.
    pub(super) open: BTreeMap<i64, Vec<i64>>,
    pub(super) sequences: BTreeMap<i64, i32>,
    pub(super) epochs: BTreeMap<i64, i16>,
    pub(super) producers: LastWrites,
}

impl World {
    /// The last stable offset, if all is below the high watermark.
    pub(super) fn stable_end(&self) -> Offset {
        let first = self.open.values().filter_map(|batches| batches.first()).min();
        Offset(first.copied().unwrap_or(self.end))
    }

    /// Writes something: records of some producer, or the end of a transaction.
    pub(super) fn write(&mut self, log: &SimLog, prng: &mut Prng) {
        self.now += 1;
        match prng.below(10) {
            0..=3 => self.write_records(log, prng, None),
            4 | 5 => {
                let producer = 1 + prng.below(3).cast_signed();
                self.write_records(log, prng, Some(producer));
            }
            6 | 7 => {
                let producer = 11 + prng.below(3).cast_signed();
                self.write_records(log, prng, Some(producer));
            }
            _ => {
                let at = prng.index(self.open.len().max(1));
                if let Some(producer) = self.open.keys().nth(at).copied() {
                    self.end_transaction(log, prng, producer);
                }
            }
        }
    }

    /// Ends all transactions, so that all can be compacted.
    pub(super) fn end_all(&mut self, log: &SimLog, prng: &mut Prng) {
        while let Some(producer) = self.open.keys().next().copied() {
            self.end_transaction(log, prng, producer);
        }
    }

    fn epoch(&self, producer: i64) -> ProducerEpoch {
        ProducerEpoch(self.epochs.get(&producer).copied().unwrap_or(0))
    }

    fn write_records(&mut self, log: &SimLog, prng: &mut Prng, producer: Option<i64>) {
        let codec = Codec::ALL[prng.index(Codec::ALL.len())];
        let mut builder = BatchBuilder::new(codec);
        let transactional = producer.is_some_and(|id| id > 10);
        if let Some(id) = producer {
            let sequence = self.sequences.get(&id).copied().unwrap_or(0);
            let (base_sequence, epoch) = (Sequence(sequence), self.epoch(id));
            builder = builder.producer(Producer { id: ProducerId(id), epoch, base_sequence });
        }
        if transactional {
            builder = builder.transactional();
        }
        let mut records = Vec::new();
        for at in 0..1 + prng.below(6).cast_signed() {
            let key = format!("key-{}", prng.below(KEYS)).into_bytes();
            let length = prng.index(400);
            let value = (!prng.chance(25)).then(|| prng.bytes(length));
            let time = self.now - prng.below(20).cast_signed();
            let headers: &[(&str, Option<&[u8]>)] = &[("h", None)];
            let record = NewRecord {
                timestamp: Timestamp(time),
                key: Some(&key),
                value: value.as_deref(),
                headers,
            };
            builder.push(&record).unwrap();
            records.push(Rec { offset: self.end + at, time, key, value });
        }
        let info = self.append(log, builder.build(), records);
        let Some(id) = producer else { return };
        let last = LastWrite { epoch: info.producer_epoch, last_offset: Some(info.last_offset) };
        self.producers.insert(ProducerId(id), last);
        self.sequences.insert(id, info.last_sequence.plus(1).0);
        if transactional {
            self.open.entry(id).or_default().push(info.base_offset.0);
        }
    }

    fn end_transaction(&mut self, log: &SimLog, prng: &mut Prng, producer: i64) {
        let outcome = if prng.chance(50) { Outcome::Commit } else { Outcome::Abort };
        // The second version of the protocol bumps the epoch with each end.
        if prng.chance(50) {
            *self.epochs.entry(producer).or_default() += 1;
            self.sequences.remove(&producer);
            let last = LastWrite { epoch: self.epoch(producer), last_offset: None };
            self.producers.insert(ProducerId(producer), last);
        }
        let marker = EndMarker { outcome, coordinator_epoch: 1 };
        let now = Timestamp(self.now);
        let batch = end_marker(ProducerId(producer), self.epoch(producer), marker, now);
        let info = self.append(log, batch, Vec::new());
        for base in self.open.remove(&producer).unwrap_or_default() {
            self.marker_of.insert(base, info.base_offset.0);
            if outcome == Outcome::Abort {
                self.aborted.insert(base);
            }
        }
    }

    /// A batch of `count` records of a thousand keys that packing makes no smaller.
    pub(super) fn write_large(&mut self, log: &SimLog, prng: &mut Prng, count: i64) {
        let mut builder = BatchBuilder::new(Codec::Zstd);
        let mut records = Vec::new();
        for at in 0..count {
            let key = format!("key-{}", at % 1_000).into_bytes();
            let (value, time, headers) = (prng.bytes(400), self.now, &[("h", None)][..]);
            let (timestamp, key_there) = (Timestamp(time), Some(&key[..]));
            let record = NewRecord { timestamp, key: key_there, value: Some(&value), headers };
            builder.push(&record).unwrap();
            records.push(Rec { offset: self.end + at, time, key, value: Some(value) });
        }
        self.append(log, builder.build(), records);
    }

    fn append(&mut self, log: &SimLog, mut batch: bytes::BytesMut, records: Vec<Rec>) -> BatchInfo {
        stamp(&mut batch, Offset(self.end), LeaderEpoch(0));
        let bytes = batch.freeze();
        let info = batches(&bytes).next().unwrap().unwrap().info().unwrap();
        log.append(bytes.clone(), &info, Timestamp(self.now)).expect("there is room");
        self.end = info.end_offset().0;
        self.batches.push(Written { info, records, bytes });
        info
    }

    /// The newest committed value of each key.
    pub(super) fn newest(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.fold(&self.batches)
    }

    /// What a reader of committed records makes of `batches`.
    pub(super) fn fold(&self, batches: &[Written]) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut newest = BTreeMap::new();
        let committed =
            batches.iter().filter(|batch| !self.aborted.contains(&batch.info.base_offset.0));
        for record in committed.flat_map(|batch| &batch.records) {
            match &record.value {
                Some(value) => drop(newest.insert(record.key.clone(), value.clone())),
                None => drop(newest.remove(&record.key)),
            }
        }
        newest
    }

    /// Every batch that was read is what is left of one that was written.
    pub(super) fn check_is_left_of(&self, read: &[Written]) {
        let mut last = -1;
        for batch in read {
            let base = batch.info.base_offset;
            assert!(base.0 > last, "in order");
            last = batch.info.last_offset.0;
            let at = self.batches.binary_search_by_key(&base, |b| b.info.base_offset);
            let old = &self.batches[at.expect("written at that offset")];
            let same = BatchInfo {
                base_timestamp: batch.info.base_timestamp,
                max_timestamp: batch.info.max_timestamp,
                record_count: batch.info.record_count,
                bytes: batch.info.bytes,
                attributes: batch.info.attributes,
                ..old.info
            };
            assert_eq!(batch.info, same, "offsets, sequences and producer stay");
            let bits = |info: &BatchInfo| {
                let attributes = info.attributes;
                (attributes.is_transactional(), attributes.is_control())
            };
            assert_eq!(bits(&batch.info), bits(&old.info));
            if batch.info.record_count > 0 {
                assert_eq!(batch.info.attributes.codec(), old.info.attributes.codec());
            }
            let known = batch.records.iter().all(|record| old.records.contains(record));
            assert!(known, "records stay as they were written");
        }
    }

    /// What every compacted log keeps: the newest values, markers of what is there, producers.
    pub(super) fn check_sound(&self, read: &[Written]) {
        self.check_is_left_of(read);
        assert_eq!(self.fold(read), self.newest(), "the newest value of each key is there");
        let there: BTreeSet<i64> = read.iter().map(|batch| batch.info.base_offset.0).collect();
        for (batch, marker) in &self.marker_of {
            let both = !there.contains(batch) || there.contains(marker);
            assert!(both, "the marker at {marker} of the batch at {batch} is there");
        }
        for (id, last) in &self.producers {
            let is_last = |batch: &&Written| {
                let info = &batch.info;
                let offset = last.last_offset.is_none_or(|last| last == info.last_offset);
                info.producer_id == *id && info.producer_epoch == last.epoch && offset
            };
            assert!(read.iter().any(|batch| is_last(&batch)), "the last batch of {id:?} is there");
        }
    }

    /// What exactly is left below `end` of a log all of which was compacted `passes` times,
    /// leaving out tombstones if they are `gone`.
    pub(super) fn survivors(&self, end: i64, gone: bool) -> Vec<Rec> {
        let committed = self
            .batches
            .iter()
            .filter(|batch| !self.aborted.contains(&batch.info.base_offset.0))
            .flat_map(|batch| &batch.records);
        let below: Vec<&Rec> = committed.filter(|record| record.offset < end).collect();
        let newest: BTreeMap<&[u8], i64> =
            below.iter().map(|record| (&record.key[..], record.offset)).collect();
        let stays = |r: &&&Rec| newest[&r.key[..]] == r.offset && !(gone && r.value.is_none());
        below.iter().filter(stays).map(|record| (*record).clone()).collect()
    }

    pub(super) fn order(&self, end: Offset) -> Order {
        Order {
            now: Timestamp(self.now),
            end,
            delete_retention_ms: RETENTION_MS,
            map_bytes: 1 << 20,
            map_fill_percent: 90,
            producers: self.producers.clone(),
        }
    }
}

/// Does not wait.
pub(super) struct Unhurried;

impl Pace for Unhurried {
    async fn breathe(&self) {}

    async fn spent(&self, _: Spent) {}

    async fn apart<T: Send + 'static>(&self, call: impl FnOnce() -> T + Send + 'static) -> T {
        call()
    }
}

pub(super) fn options(prng: &mut Prng) -> LogOptions {
    LogOptions {
        segment_bytes: [3_000, 9_000, 20_000][prng.index(3)],
        segment_ms: 1_000_000,
        index_bytes: 10 << 20,
        index_interval_bytes: [0, 1_000, 4_096][prng.index(3)],
        flush: FlushPolicy::PerAck,
        retention_ms: None,
        retention_bytes: None,
    }
}

/// One life of the log on a disk.
pub(super) struct Life {
    pub(super) log: SimLog,
    pub(super) executor: Executor,
}

pub(super) fn open(
    disk: &Disk,
    options: LogOptions,
    now: i64,
    seed: u64,
) -> Result<(Life, Opened<SimDirectory>), Crashed> {
    let mut executor = Executor::new(disk, seed);
    let budget = if seed.is_multiple_of(2) { 4_000 } else { 1 << 20 };
    let opened = Log::open(disk.root(), options, LogShared::new(budget), Timestamp(now));
    let opened = executor.block_on(opened)?.expect("the disk has no error of its own");
    let log = opened.log.clone();
    executor.spawn(async move {
        let _ = log.run().await;
    });
    Ok((Life { log: opened.log.clone(), executor }, opened))
}

/// Reads all batches from the one at or after `from` to the log's end, and takes them apart.
pub(super) async fn read_all(log: &SimLog, from: i64, max_bytes: usize) -> Vec<Written> {
    let mut sieve = Sieve::default();
    let read = read_bytes(log, from, max_bytes).await;
    read.into_iter().map(|(info, bytes)| written(&mut sieve, info, bytes)).collect()
}

/// Reads all batches from the one at or after `from` to the log's end.
pub(super) async fn read_bytes(
    log: &SimLog,
    from: i64,
    max_bytes: usize,
) -> Vec<(BatchInfo, Bytes)> {
    let (mut at, end) = (Offset(from), log.log_end());
    let mut all = Vec::new();
    while at < end {
        let path = ReadPath::Memory;
        let request = ReadRequest { from: at, upto: end, max_bytes, min_one: true, path };
        let read = log.read(request).await.expect("all can be read");
        assert!(read.next_offset > at, "a read with min_one moves on from {at:?}");
        for slice in read.slices {
            let Slice::Memory(slice) = slice else { panic!("memory was asked for") };
            for batch in batches(&slice) {
                let batch = batch.expect("whole batches");
                batch.verify_crc().expect("a good CRC");
                all.push((batch.info().unwrap(), slice.slice_ref(batch.bytes())));
            }
        }
        at = read.next_offset;
    }
    all
}

fn written(sieve: &mut Sieve, info: BatchInfo, bytes: Bytes) -> Written {
    let batch = Batch::first(&bytes).expect("a whole batch");
    let mut records = Vec::new();
    let mut see = |offset: Offset, record: &Record<'_>| {
        if !info.attributes.is_control() {
            assert_eq!(record.headers.count(), 1);
            records.push(Rec {
                offset: offset.0,
                time: info.base_timestamp.0 + record.timestamp_delta,
                key: record.key.expect("all have keys").to_vec(),
                value: record.value.map(<[u8]>::to_vec),
            });
        }
        true
    };
    sieve.open(&batch).expect("a good batch");
    while sieve.each(&batch, &mut see).expect("a good batch") {}
    Written { info, records, bytes }
}
