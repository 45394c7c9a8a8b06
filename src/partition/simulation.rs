//! Seeded runs of a leader under retries, gaps, new epochs, transactions, crashes and
//! restarts, held against a model that keeps every batch and reads its answers off the log.

use std::collections::BTreeMap;

use crate::model::ids::{BrokerId, ProducerEpoch, ProducerId};
use crate::model::offset::{LeaderEpoch, Offset, Sequence};
use crate::model::time::Timestamp;
use crate::partition::epochs::{EpochEnd, EpochTable};
use crate::partition::leader::{
    Acks, Admission, AppendError, AppendRules, Effect, Isolation, Leader, Recovered,
};
use crate::partition::producers::{BATCHES_KEPT, ProducerError, ProducerState};
use crate::record::batch::{Attributes, BatchInfo};
use crate::testing::prng::Prng;
use crate::testing::seeds::seeds;

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const RULES: AppendRules = AppendRules { acks: Acks::All, min_insync_replicas: 2 };

/// A batch as a client sends it.
pub fn batch(id: i64, epoch: i16, sequence: i32, count: i32) -> BatchInfo {
    let base_sequence = Sequence(sequence);
    BatchInfo {
        base_offset: Offset(0),
        last_offset: Offset(i64::from(count) - 1),
        leader_epoch: LeaderEpoch::NONE,
        base_timestamp: NOW,
        max_timestamp: NOW,
        producer_id: ProducerId(id),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence,
        last_sequence: if sequence < 0 { base_sequence } else { base_sequence.plus(count - 1) },
        record_count: count.unsigned_abs(),
        bytes: 100,
        attributes: Attributes(0),
    }
}

/// A marker as a coordinator sends it.
pub fn marker(id: i64, epoch: i16) -> BatchInfo {
    let attributes = Attributes(0).with_transactional().with_control();
    BatchInfo { attributes, ..batch(id, epoch, -1, 1) }
}

#[derive(Debug, PartialEq)]
enum Verdict {
    New,
    Duplicate(Offset),
    Stale,
    OutOfOrder,
    TransactionOpen,
}

#[derive(Default)]
struct Counts {
    appended: u64,
    duplicates: u64,
    stale: u64,
    gaps: u64,
    refused_in_transaction: u64,
    crashes: u64,
    lost: u64,
    snapshots_used: u64,
    unstable: u64,
    deleted: u64,
}

struct World {
    leader: Leader,
    /// Every batch in the log, oldest first: the truth.
    log: Vec<BatchInfo>,
    /// What storage would have kept: snapshots of the producers, and the epoch table.
    snapshots: Vec<Vec<u8>>,
    epoch_start: Offset,
    counts: Counts,
}

impl World {
    fn new() -> World {
        let recovered = Recovered {
            log_start: Offset(0),
            log_end: Offset(0),
            high_watermark: Offset(0),
            epochs: EpochTable::new(),
            producers: ProducerState::new(),
        };
        World {
            leader: Leader::start(BrokerId(1), LeaderEpoch(0), recovered),
            log: Vec::new(),
            snapshots: Vec::new(),
            epoch_start: Offset(0),
            counts: Counts::default(),
        }
    }

    fn log_end(&self) -> Offset {
        self.log.last().map_or(Offset(0), BatchInfo::end_offset)
    }

    fn of(&self, id: ProducerId) -> impl DoubleEndedIterator<Item = &BatchInfo> {
        self.log.iter().filter(move |batch| batch.producer_id == id)
    }

    fn open_transactions(&self) -> BTreeMap<ProducerId, Offset> {
        let mut open = BTreeMap::new();
        for batch in self.log.iter().filter(|batch| batch.attributes.is_transactional()) {
            if batch.attributes.is_control() {
                open.remove(&batch.producer_id);
            } else {
                open.entry(batch.producer_id).or_insert(batch.base_offset);
            }
        }
        open
    }

    /// The model's judgement, read off the log alone.
    fn verdict(&self, info: &BatchInfo) -> Verdict {
        if info.producer_id == ProducerId::NONE {
            return Verdict::New;
        }
        let Some(current) = self.of(info.producer_id).next_back().map(|last| last.producer_epoch)
        else {
            return Verdict::New;
        };
        let mut recent: Vec<&BatchInfo> = self
            .of(info.producer_id)
            .rev()
            .take_while(|old| old.producer_epoch == current)
            .filter(|old| !old.attributes.is_control())
            .collect();
        recent.truncate(BATCHES_KEPT);
        if info.producer_epoch == current {
            let same = |old: &&&BatchInfo| {
                (old.base_sequence, old.last_sequence) == (info.base_sequence, info.last_sequence)
            };
            if let Some(original) = recent.iter().find(same) {
                return Verdict::Duplicate(original.base_offset);
            }
        }
        if info.producer_epoch < current {
            return Verdict::Stale;
        }
        let last = recent.first().filter(|_| info.producer_epoch == current);
        let next = last.map_or(Sequence(0), |last| last.last_sequence.plus(1));
        if info.base_sequence != next {
            return Verdict::OutOfOrder;
        }
        let open = self.open_transactions().contains_key(&info.producer_id);
        if open && !info.attributes.is_transactional() {
            return Verdict::TransactionOpen;
        }
        Verdict::New
    }

    fn produce(&mut self, info: &BatchInfo) {
        let want = self.verdict(info);
        let (log_end, epoch) = (self.log_end(), self.leader.epoch());
        let got = match self.leader.admit(NOW, info, &RULES) {
            Ok(Admission::Append(placed)) => {
                assert_eq!(placed, info.at(log_end, epoch), "L2");
                self.log.push(placed);
                self.counts.appended += 1;
                Verdict::New
            }
            Ok(Admission::Duplicate { base_offset, last_offset, log_append_time }) => {
                assert_eq!(last_offset.0 - base_offset.0, info.last_offset.0);
                assert_eq!(log_append_time, NOW);
                self.counts.duplicates += 1;
                Verdict::Duplicate(base_offset)
            }
            Err(AppendError::Producer(ProducerError::StaleEpoch { .. })) => {
                self.counts.stale += 1;
                Verdict::Stale
            }
            Err(AppendError::Producer(ProducerError::OutOfOrderSequence { .. })) => {
                self.counts.gaps += 1;
                Verdict::OutOfOrder
            }
            Err(AppendError::Producer(ProducerError::TransactionOpen { .. })) => {
                self.counts.refused_in_transaction += 1;
                Verdict::TransactionOpen
            }
            Err(error) => panic!("{error}"),
        };
        assert_eq!(got, want, "{info:?}");
        assert_eq!(self.leader.log_end_offset(), self.log_end());
    }

    /// A client's next move: mostly the right batch, often a retry, sometimes nonsense.
    fn random_batch(&self, prng: &mut Prng) -> BatchInfo {
        let id = prng.below(6).cast_signed();
        let transactional = id >= 4 && !prng.chance(5);
        let count = 1 + i32::try_from(prng.below(4)).unwrap();
        let last = self.of(ProducerId(id)).next_back();
        let mut info = match last {
            None => batch(id, 0, if prng.chance(30) { i32::MAX - 2 } else { 0 }, count),
            Some(last) => {
                let epoch = last.producer_epoch.0;
                let data = self
                    .of(ProducerId(id))
                    .rev()
                    .find(|old| old.producer_epoch.0 == epoch && !old.attributes.is_control());
                let next = data.map_or(0, |data| data.last_sequence.plus(1).0);
                let wild = i32::try_from(prng.below(8)).unwrap();
                match prng.below(20) {
                    0..11 => batch(id, epoch, next, count),
                    11..16 => self.retry(prng, ProducerId(id)),
                    16 => batch(id, epoch, wild, count),
                    17 => batch(id, epoch, Sequence(next).plus(wild).0, count),
                    18 => batch(id, epoch + 1, wild / 4, count),
                    _ => batch(id, (epoch - 1).max(0), next, count),
                }
            }
        };
        if transactional {
            info.attributes = info.attributes.with_transactional();
        }
        if prng.chance(3) {
            info = batch(-1, -1, -1, count);
        }
        info
    }

    /// One of the producer's last batches once more, as a client whose answer was lost sends it.
    fn retry(&self, prng: &mut Prng, id: ProducerId) -> BatchInfo {
        let data = self.of(id).filter(|old| !old.attributes.is_control());
        let old: Vec<&BatchInfo> = data.rev().take(BATCHES_KEPT + 2).collect();
        if old.is_empty() {
            return batch(id.0, 0, 0, 1);
        }
        let old = old[prng.index(old.len())];
        BatchInfo { leader_epoch: LeaderEpoch::NONE, ..old.at(Offset(0), LeaderEpoch::NONE) }
    }

    /// A coordinator ends a transaction, with the same epoch (v1) or the next one (v2).
    fn end_transaction(&mut self, prng: &mut Prng) {
        let open = self.open_transactions();
        let Some((&id, _)) = open.iter().nth(prng.index(3)) else { return };
        let current = self.of(id).next_back().unwrap().producer_epoch.0;
        let stale = self.leader.admit_marker(NOW, &marker(id.0, current - 1));
        assert!(stale.is_err(), "a marker of an older epoch");
        let epoch = current + i16::from(prng.chance(50));
        let placed = self.leader.admit_marker(NOW, &marker(id.0, epoch)).unwrap();
        self.log.push(placed);
    }

    fn sync(&mut self, prng: &mut Prng) {
        let (durable, log_end) = (self.leader.durable_end(), self.log_end());
        let mut ends: Vec<Offset> = self.log.iter().map(BatchInfo::end_offset).collect();
        ends.retain(|&end| durable < end && end <= log_end);
        if ends.is_empty() {
            return;
        }
        let end = ends[prng.index(ends.len())];
        let mut effects = Vec::new();
        self.leader.on_durable(end, &mut effects);
        assert_eq!(effects.first(), Some(&Effect::AdvanceHighWatermark(end)));
        self.leader.on_durable(durable, &mut effects);
        assert_eq!(self.leader.high_watermark(), end, "an old report changes nothing");
    }

    fn delete_records(&mut self, prng: &mut Prng) {
        let (start, end) = (self.leader.log_start_offset(), self.leader.high_watermark());
        let before =
            Offset(start.0 + prng.below((end.0 - start.0).unsigned_abs() + 1).cast_signed());
        let mut effects = Vec::new();
        assert_eq!(self.leader.delete_records(before, &mut effects), Ok(before));
        assert!(self.leader.delete_records(end.plus(1), &mut effects).is_err());
        self.counts.deleted += u64::from(start < before);
    }

    /// The power goes: of what was not durable, some prefix survives. Recovery takes the
    /// newest snapshot that the log still covers, and notes the batches after it.
    fn crash(&mut self, prng: &mut Prng) {
        let durable = self.leader.durable_end();
        let safe = self.log.iter().filter(|batch| batch.end_offset() <= durable).count();
        let kept = safe + prng.index(self.log.len() - safe + 1);
        self.counts.crashes += 1;
        self.counts.lost += (self.log.len() - kept) as u64;
        self.log.truncate(kept);
        let log_end = self.log_end();
        self.snapshots.retain(|bytes| ProducerState::decode(bytes).unwrap().1 <= log_end);
        let snapshot = self.snapshots.last().map(|bytes| ProducerState::decode(bytes).unwrap());
        self.counts.snapshots_used += u64::from(snapshot.is_some());
        let (mut producers, from) = snapshot.unwrap_or((ProducerState::new(), Offset(0)));
        let mut whole = ProducerState::new();
        for batch in &self.log {
            whole.note(NOW, batch);
            if batch.base_offset >= from {
                producers.note(NOW, batch);
            }
        }
        let high_watermark = self.leader.high_watermark();
        whole.on_high_watermark(high_watermark);
        producers.on_high_watermark(high_watermark);
        assert_eq!(producers, whole, "P3");
        let mut epochs = EpochTable::decode(&self.leader.epochs().encode()).unwrap();
        epochs.truncate_from_end(log_end);
        let recovered = Recovered {
            log_start: self.leader.log_start_offset(),
            log_end,
            high_watermark,
            epochs,
            producers,
        };
        let epoch = LeaderEpoch(self.leader.epoch().0 + 1);
        self.leader = Leader::start(BrokerId(1), epoch, recovered);
        self.epoch_start = log_end;
    }

    fn step(&mut self, prng: &mut Prng) {
        match prng.below(100) {
            0..70 => {
                let info = self.random_batch(prng);
                self.produce(&info);
            }
            70..74 => self.end_transaction(prng),
            74..88 => self.sync(prng),
            88..93 => {
                let bytes = self.leader.producers().encode(self.log_end());
                self.snapshots.push(bytes);
            }
            93..95 => self.delete_records(prng),
            95..96 => {
                let epoch = LeaderEpoch(self.leader.epoch().0 + 1);
                self.leader.on_new_epoch(epoch);
                self.epoch_start = self.log_end();
            }
            _ => self.crash(prng),
        }
        self.check_ends();
        self.check_epochs();
    }

    /// High watermark and last stable offset, from the log alone.
    fn check_ends(&mut self) {
        let high_watermark = self.leader.durable_end();
        assert_eq!(self.leader.readable_end(Isolation::ReadUncommitted), high_watermark);
        let (mut open, mut unstable) = (BTreeMap::new(), vec![high_watermark]);
        for batch in self.log.iter().filter(|batch| batch.attributes.is_transactional()) {
            if !batch.attributes.is_control() {
                open.entry(batch.producer_id).or_insert(batch.base_offset);
            } else if let Some(first) = open.remove(&batch.producer_id) {
                // Consumers must not pass a transaction before they can read how it ended.
                unstable.extend((batch.base_offset >= high_watermark).then_some(first));
            }
        }
        unstable.extend(open.values());
        let stable = unstable.into_iter().min().unwrap().max(self.leader.log_start_offset());
        assert_eq!(self.leader.readable_end(Isolation::ReadCommitted), stable);
        self.counts.unstable += u64::from(stable < high_watermark);
    }

    /// Where each epoch ends, from the epochs of the batches alone.
    fn check_epochs(&self) {
        let (current, start) = (self.leader.epoch(), self.leader.log_start_offset());
        for requested in -1..current.0 + 2 {
            let requested = LeaderEpoch(requested);
            let there = self.log.iter().filter(|batch| batch.end_offset() > start);
            let want = if requested == LeaderEpoch::NONE || requested > current {
                EpochEnd::UNKNOWN
            } else if requested == current {
                EpochEnd { epoch: requested, end: self.log_end() }
            } else {
                let later = there.clone().find(|batch| batch.leader_epoch > requested);
                let end = later.map_or(self.epoch_start, |batch| batch.base_offset).max(start);
                let floor = there.map(|batch| batch.leader_epoch).filter(|&old| old <= requested);
                EpochEnd { epoch: floor.max().unwrap_or(requested), end }
            };
            assert_eq!(self.leader.offset_for_leader_epoch(requested), want, "{requested:?}");
        }
    }
}

/// A leader, its producers and its restarts answer as a log that forgets nothing would.
#[test]
fn the_leader_agrees_with_a_log_that_forgets_nothing() {
    let mut total = Counts::default();
    for seed in seeds(200) {
        let mut prng = Prng::new(seed.0);
        let mut world = World::new();
        for _ in 0..200 {
            world.step(&mut prng);
        }
        let counts = world.counts;
        total.appended += counts.appended;
        total.duplicates += counts.duplicates;
        total.stale += counts.stale;
        total.gaps += counts.gaps;
        total.refused_in_transaction += counts.refused_in_transaction;
        total.crashes += counts.crashes;
        total.lost += counts.lost;
        total.snapshots_used += counts.snapshots_used;
        total.unstable += counts.unstable;
        total.deleted += counts.deleted;
    }
    if std::env::var("YEOUL_SEED").is_ok() {
        return;
    }
    for (name, count) in [
        ("appended", total.appended),
        ("duplicates", total.duplicates),
        ("stale", total.stale),
        ("gaps", total.gaps),
        ("refused in a transaction", total.refused_in_transaction),
        ("crashes", total.crashes),
        ("lost batches", total.lost),
        ("snapshots used", total.snapshots_used),
        ("unstable ends", total.unstable),
        ("deleted records", total.deleted),
    ] {
        assert!(count > 20, "vacuous: {name} {count}");
    }
}
