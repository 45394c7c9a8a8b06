//! Seeded runs of a leader under retries, gaps, new epochs, transactions, crashes and
//! restarts, held against a model that keeps every batch and reads its answers off the log.

use std::collections::BTreeMap;

use crate::model::ids::{BrokerId, ProducerEpoch, ProducerId, TransactionVersion};
use crate::model::offset::{LeaderEpoch, Offset, Sequence};
use crate::model::time::Timestamp;
use crate::partition::epochs::{EpochEnd, EpochTable};
use crate::partition::leader::{
    Acks, Admission, AppendError, AppendRules, Effect, Isolation, Leader, Recovered, Verification,
};
use crate::partition::producer::BATCHES_KEPT;
use crate::partition::producers::{ProducerError, ProducerState, TransactionEnd};
use crate::partition::verification::{Begun, FirstBatch, Guard};
use crate::record::batch::{Attributes, BatchInfo};
use crate::record::control::{EndMarker, Outcome};
use crate::testing::prng::Prng;
use crate::testing::seeds::seeds;

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const RULES: AppendRules = AppendRules {
    acks: Acks::All,
    min_insync_replicas: 2,
    verification: Verification::Guarded(None),
};

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
    NotVerified,
}

#[derive(Default)]
struct Counts {
    appended: u64,
    duplicates: u64,
    stale: u64,
    gaps: u64,
    refused_in_transaction: u64,
    not_verified: u64,
    begun_by_guard: u64,
    markers: u64,
    markers_fenced: u64,
    markers_not_newer: u64,
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
    /// What the control batches say, by offset.
    markers: BTreeMap<Offset, EndMarker>,
    /// Guards by which a transaction may begin: each with the smallest sequence asked about.
    guards: BTreeMap<ProducerId, (Guard, ProducerEpoch, Sequence)>,
    /// Every guard that was ever given.
    given: Vec<Guard>,
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
            markers: BTreeMap::new(),
            guards: BTreeMap::new(),
            given: Vec::new(),
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
    fn verdict(&self, info: &BatchInfo, guard: Option<Guard>) -> Verdict {
        if info.producer_id == ProducerId::NONE {
            return Verdict::New;
        }
        let Some(current) = self.of(info.producer_id).next_back().map(|last| last.producer_epoch)
        else {
            return self.verified(info, guard);
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
        if open && info.producer_epoch == current {
            return Verdict::New;
        }
        self.verified(info, guard)
    }

    /// Whether the batch, if it begins a transaction, has its coordinator's word (G1).
    fn verified(&self, info: &BatchInfo, guard: Option<Guard>) -> Verdict {
        if !info.attributes.is_transactional() {
            return Verdict::New;
        }
        match self.guards.get(&info.producer_id) {
            Some((known, _, lowest)) if Some(*known) == guard => {
                let overtaken = info.base_sequence.0 > lowest.0;
                if overtaken { Verdict::OutOfOrder } else { Verdict::New }
            }
            _ => Verdict::NotVerified,
        }
    }

    /// What a client's broker does before a transactional batch: mostly it asks, and takes the
    /// answer along; sometimes it has an old one, or none.
    fn ask(&mut self, info: &BatchInfo, prng: &mut Prng) -> Option<Guard> {
        if !info.attributes.is_transactional() || prng.chance(10) {
            return None;
        }
        if !self.given.is_empty() && prng.chance(15) {
            return Some(self.given[prng.index(self.given.len())]);
        }
        let first = FirstBatch {
            producer_id: info.producer_id,
            producer_epoch: info.producer_epoch,
            base_sequence: info.base_sequence,
            version: TransactionVersion::V1,
        };
        let (id, epoch) = (info.producer_id, info.producer_epoch);
        let current = self.of(id).next_back().map(|last| last.producer_epoch);
        let ongoing = self.open_transactions().contains_key(&id) && current == Some(epoch);
        match self.leader.begin_transaction(&first) {
            Begun::Ongoing => {
                assert!(ongoing);
                None
            }
            Begun::Verify(guard) => {
                assert!(!ongoing);
                let sequence = info.base_sequence;
                let known = self.guards.entry(id).or_insert((guard, epoch, sequence));
                assert_eq!(known.0, guard, "questions at the same time share a guard");
                if known.1 < epoch {
                    (known.1, known.2) = (epoch, sequence);
                } else if known.1 == epoch {
                    known.2 = Sequence(known.2.0.min(sequence.0));
                }
                self.given.push(guard);
                Some(guard)
            }
        }
    }

    fn produce(&mut self, info: &BatchInfo, prng: &mut Prng) {
        let guard = self.ask(info, prng);
        let want = self.verdict(info, guard);
        let (log_end, epoch) = (self.log_end(), self.leader.epoch());
        let rules = AppendRules { verification: Verification::Guarded(guard), ..RULES };
        let got = match self.leader.admit(NOW, info, &rules) {
            Ok(Admission::Append(placed)) => {
                assert_eq!(placed, info.at(log_end, epoch), "L2");
                if placed.attributes.is_transactional() {
                    let used = self.guards.remove(&placed.producer_id).is_some();
                    self.counts.begun_by_guard += u64::from(used && guard.is_some());
                }
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
            Err(AppendError::Producer(ProducerError::NotVerified { .. })) => {
                self.counts.not_verified += 1;
                Verdict::NotVerified
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

    /// A coordinator, sometimes one that has lost its office, ends a producer's transaction,
    /// whether one is open or not, with any epoch around the right one.
    fn end_transaction(&mut self, prng: &mut Prng) {
        let id = ProducerId(4 + prng.below(2).cast_signed());
        let last = self.of(id).next_back().map(|last| last.producer_epoch.0);
        let current = last.unwrap_or(0);
        let open = self.open_transactions().contains_key(&id);
        let epoch = (current + [0, 0, 0, 1, 1, -1][prng.index(6)]).max(0);
        let outcome = if prng.chance(50) { Outcome::Commit } else { Outcome::Abort };
        let v2 = prng.chance(40);
        let version = if v2 { TransactionVersion::V2 } else { TransactionVersion::V1 };
        let of_id = |(at, _): &(&Offset, &EndMarker)| {
            self.log.iter().any(|batch| batch.base_offset == **at && batch.producer_id == id)
        };
        let newest = self.markers.iter().rfind(of_id);
        let newest = newest.map_or(-1, |(_, marker)| marker.coordinator_epoch);
        let coordinator_epoch = (newest + [0, 0, 1, -1][prng.index(4)]).max(0);
        let end = TransactionEnd { marker: EndMarker { outcome, coordinator_epoch }, version };
        let got = self.leader.admit_marker(NOW, &marker(id.0, epoch), &end, &RULES);
        let (stale, fenced) = (epoch < current, coordinator_epoch < newest);
        match got {
            Ok(placed) => {
                let not_newer = v2 && open && epoch == current;
                assert!(!(stale || fenced || not_newer), "{end:?}");
                assert_eq!(placed.base_offset, self.log_end(), "L2");
                self.markers.insert(placed.base_offset, end.marker);
                self.log.push(placed);
                self.guards.remove(&id);
                self.counts.markers += 1;
            }
            Err(AppendError::Producer(ProducerError::StaleEpoch { .. })) => assert!(stale),
            Err(AppendError::Producer(ProducerError::MarkerNotNewer { .. })) => {
                assert!(v2 && open && epoch == current);
                self.counts.markers_not_newer += 1;
            }
            Err(AppendError::Producer(ProducerError::CoordinatorFenced { .. })) => {
                assert!(fenced && !stale);
                self.counts.markers_fenced += 1;
            }
            Err(error) => panic!("{error}"),
        }
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
        self.markers.split_off(&log_end);
        self.guards.clear();
        self.given.clear();
        self.snapshots.retain(|bytes| ProducerState::decode(bytes).unwrap().1 <= log_end);
        let snapshot = self.snapshots.last().map(|bytes| ProducerState::decode(bytes).unwrap());
        self.counts.snapshots_used += u64::from(snapshot.is_some());
        let (mut producers, from) = snapshot.unwrap_or((ProducerState::new(), Offset(0)));
        let mut whole = ProducerState::new();
        for batch in &self.log {
            let marker = self.markers.get(&batch.base_offset).copied();
            whole.note(NOW, batch, marker);
            if batch.base_offset >= from {
                producers.note(NOW, batch, marker);
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
                self.produce(&info, prng);
            }
            70..76 => self.end_transaction(prng),
            76..88 => self.sync(prng),
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
        total.not_verified += counts.not_verified;
        total.begun_by_guard += counts.begun_by_guard;
        total.markers += counts.markers;
        total.markers_fenced += counts.markers_fenced;
        total.markers_not_newer += counts.markers_not_newer;
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
        ("not verified", total.not_verified),
        ("begun by a guard", total.begun_by_guard),
        ("markers", total.markers),
        ("fenced markers", total.markers_fenced),
        ("markers not newer", total.markers_not_newer),
        ("crashes", total.crashes),
        ("lost batches", total.lost),
        ("snapshots used", total.snapshots_used),
        ("unstable ends", total.unstable),
        ("deleted records", total.deleted),
    ] {
        assert!(count > 20, "vacuous: {name} {count}");
    }
}
