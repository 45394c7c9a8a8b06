//! The transaction coordinator of one partition: ids, their timers, replay.
//!
//! In:   requests with the time at which they came; records; time.
//! Out:  a [`Step`] each, and the answers.
//! Home: pure; owned by the shard of the coordinator's partition.
//!
//! Life: `new`, `replay` of the whole log, `loaded`, requests and ticks. All that is kept is in
//! the log, but for the epoch that a producer had before: without it a repeated InitProducerId
//! is taken for a fenced one, as in Kafka.
//!
//! Invariants
//!   N1  An id has at most one transaction, and its state moves as the table in `state.rs` says.
//!   N2  Markers are asked for in the step that decides an outcome, or when a log is loaded that
//!       holds a decided one; so they are written after the decision is durable.
//!   N3  Every open transaction stands in `open` under its deadline.
//!   N4  An id's identity never goes back: epochs rise, or the producer id is a new one.
//!   N5  The clock never goes back: an earlier time counts as the latest one seen.
//!
//! Not here: ids (`producer.rs`), partitions (`partitions.rs`), ends (`end.rs`), questions
//! (`admin.rs`).
//! Source: `protocol.md` 2.6 P100, P105.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::model::ids::ProducerEpoch;
use crate::model::time::Timestamp;
use crate::transaction::ids::{NO_EPOCH, TransactionLevel, TransactionalId};
use crate::transaction::record::{Record, TransactionValue};
use crate::transaction::settings::{IDS_PER_TICK, TransactionSettings};
use crate::transaction::state::State;
use crate::transaction::step::{Effect, Markers, Step};

/// Never.
const NEVER: Timestamp = Timestamp(i64::MAX);

/// A transactional id.
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    pub(super) value: TransactionValue,
    /// The epoch before this one, if its owner was given this one in its place.
    pub(super) last_epoch: ProducerEpoch,
}

/// A new producer id is needed: the caller is to fetch one and ask again with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeedsProducerId;

/// The transactional ids of one coordinator partition.
#[derive(Clone, Debug)]
pub struct TransactionCoordinator {
    pub(super) settings: TransactionSettings,
    /// The cluster's level of the feature.
    pub(super) version: TransactionLevel,
    /// The entry of the metadata log that it is from, or a later one.
    pub(super) metadata_index: u64,
    pub(super) transactions: BTreeMap<TransactionalId, Transaction>,
    /// Open transactions by the time at which they are too old (N3).
    open: BTreeSet<(Timestamp, TransactionalId)>,
    /// Partitions in all transactions.
    pub(super) partition_count: usize,
    clock: Timestamp,
    /// When open transactions are looked at next.
    abort_at: Timestamp,
    /// When idle ids are looked at next, and where the look goes on.
    expire_at: Timestamp,
    expire_from: Option<TransactionalId>,
}

impl TransactionCoordinator {
    /// A coordinator without ids, to which the log is replayed next.
    pub fn new(settings: TransactionSettings) -> TransactionCoordinator {
        assert!(0 < settings.abort_interval_ms && 0 < settings.expiry_interval_ms);
        TransactionCoordinator {
            settings,
            version: TransactionLevel::V0,
            metadata_index: 0,
            transactions: BTreeMap::new(),
            open: BTreeSet::new(),
            partition_count: 0,
            clock: Timestamp(0),
            abort_at: NEVER,
            expire_at: NEVER,
            expire_from: None,
        }
    }

    /// Takes over the cluster's level of `transaction.version`, and how new the metadata is by
    /// which its driver finds partitions.
    pub fn set_metadata(&mut self, version: TransactionLevel, index: u64) {
        assert!(self.metadata_index <= index, "metadata never goes back");
        self.version = version;
        self.metadata_index = index;
    }

    /// The cluster's level of `transaction.version`.
    pub fn version(&self) -> TransactionLevel {
        self.version
    }

    /// Applies a record of the log. Records are applied in the order of the log, each once.
    pub fn replay(&mut self, record: &Record) {
        if let Some(old) = self.transactions.get(&record.id) {
            self.partition_count -= old.value.partitions.len();
            if old.value.state == State::Ongoing {
                self.open.remove(&(old.value.deadline(), record.id.clone()));
            }
        }
        let Some(value) = &record.value else {
            self.transactions.remove(&record.id);
            return;
        };
        self.partition_count += value.partitions.len();
        if value.state == State::Ongoing {
            self.open.insert((value.deadline(), record.id.clone()));
        }
        let transaction = Transaction { value: value.clone(), last_epoch: NO_EPOCH };
        self.transactions.insert(record.id.clone(), transaction);
    }

    /// Makes a move part of the step and of the state.
    pub(super) fn persist(
        &mut self,
        step: &mut Step,
        id: &TransactionalId,
        value: TransactionValue,
        last_epoch: ProducerEpoch,
    ) {
        if let Some(Transaction { value: old, .. }) = self.transactions.get(id) {
            assert!(old.state.may_become(value.state), "N1");
            let rises = old.producer_epoch <= value.producer_epoch;
            assert!(rises || old.producer_id != value.producer_id, "N4");
        }
        let record = Record { id: id.clone(), value: Some(value) };
        self.replay(&record);
        step.records.push(record);
        let kept = self.transactions.get_mut(id).expect("it has just been put there");
        kept.last_epoch = last_epoch;
    }

    /// Asks for the markers of an outcome that is decided.
    pub(super) fn ask_for_markers(&self, id: &TransactionalId, step: &mut Step) {
        let value = &self.transactions.get(id).expect("its outcome is decided").value;
        let outcome = value.outcome().expect("its outcome is decided");
        step.effects.push(Effect::WriteMarkers(Markers {
            id: id.clone(),
            producer: value.identity(),
            outcome,
            partitions: value.partitions.iter().cloned().collect(),
            version: value.client_version,
        }));
    }

    /// The log has been replayed: what is decided is carried on with (N2), and requests may come.
    pub fn loaded(&mut self, now: Timestamp, step: &mut Step) {
        let now = self.advance(now);
        self.abort_at = after(now, self.settings.abort_interval_ms);
        self.expire_at = after(now, self.settings.expiry_interval_ms);
        for (id, transaction) in &self.transactions {
            if transaction.value.state.is_completing() {
                self.ask_for_markers(id, step);
            }
        }
    }

    /// The latest time that has been seen.
    pub(super) fn advance(&mut self, now: Timestamp) -> Timestamp {
        self.clock = self.clock.max(now);
        self.clock
    }

    /// How many ids there are.
    pub fn id_count(&self) -> usize {
        self.transactions.len()
    }

    /// How many transactions are open.
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// When [`TransactionCoordinator::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let expire = if self.transactions.is_empty() { NEVER } else { self.expire_at };
        let next = self.abort_check().min(expire);
        (next < NEVER).then_some(next)
    }

    /// The first look at open transactions that finds one too old. Looks are at fixed intervals.
    fn abort_check(&self) -> Timestamp {
        let Some((deadline, _)) = self.open.first() else { return NEVER };
        let due = deadline.0.saturating_add(1);
        let interval = self.settings.abort_interval_ms;
        let late = due.saturating_sub(self.abort_at.0).max(0);
        let looks = late / interval + i64::from(late % interval > 0);
        after(self.abort_at, looks.saturating_mul(interval))
    }

    /// Does what has become due. Some of it may be left for a further call, in which case
    /// [`TransactionCoordinator::next_deadline`] is not in the future.
    pub fn tick(&mut self, now: Timestamp, step: &mut Step) {
        let now = self.advance(now);
        if self.abort_check() <= now {
            self.abort_old(now, step);
        }
        if self.expire_at <= now {
            self.expire(now, step);
        }
    }

    /// Aborts transactions that are too old (P105).
    fn abort_old(&mut self, now: Timestamp, step: &mut Step) {
        let old = self.open.iter().take_while(|(deadline, _)| *deadline < now);
        let old: Vec<TransactionalId> = old.take(IDS_PER_TICK).map(|(_, id)| id.clone()).collect();
        for id in &old {
            self.abort_and_fence(now, id, step);
        }
        if old.len() < IDS_PER_TICK {
            let interval = self.settings.abort_interval_ms;
            let looks = now.0.saturating_sub(self.abort_at.0) / interval + 1;
            self.abort_at = after(self.abort_at, looks.saturating_mul(interval));
        }
    }

    /// Forgets ids that nobody has used for long (P105).
    fn expire(&mut self, now: Timestamp, step: &mut Step) {
        let from = match self.expire_from.take() {
            Some(from) => Bound::Excluded(from),
            None => Bound::Unbounded,
        };
        let range = (from, Bound::Unbounded);
        let mut last = None;
        let mut expired = Vec::new();
        let looked = self.transactions.range::<TransactionalId, _>(range).take(IDS_PER_TICK);
        let mut count = 0;
        for (id, Transaction { value, .. }) in looked {
            let unused = now.0.saturating_sub(value.last_update.0);
            if value.state.is_idle() && unused >= self.settings.id_expiration_ms {
                assert!(value.state.may_become(State::Dead), "N1");
                expired.push(id.clone());
            }
            last = Some(id.clone());
            count += 1;
        }
        for id in expired {
            let record = Record { id, value: None };
            self.replay(&record);
            step.records.push(record);
        }
        match count == IDS_PER_TICK {
            true => self.expire_from = last,
            false => self.expire_at = after(now, self.settings.expiry_interval_ms),
        }
    }

    /// Holds the whole state against the invariants, for tests.
    #[cfg(test)]
    pub(super) fn assert_invariants(&self) {
        let mut partitions = 0;
        let mut open = 0;
        for (id, Transaction { value, .. }) in &self.transactions {
            partitions += value.partitions.len();
            if value.state == State::Ongoing {
                open += 1;
                assert!(self.open.contains(&(value.deadline(), id.clone())), "N3");
            }
            assert!(!matches!(value.state, State::Dead | State::PrepareEpochFence), "N1");
        }
        assert_eq!((partitions, open), (self.partition_count, self.open.len()), "N3");
    }
}

/// The time in `ms` milliseconds.
fn after(time: Timestamp, ms: i64) -> Timestamp {
    Timestamp(time.0.saturating_add(ms))
}
