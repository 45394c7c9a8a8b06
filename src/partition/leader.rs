//! The leader of a partition: where a batch goes, who may read it, what may be forgotten.
//!
//! In:   batches' numbers from producers, durable ends from storage, epochs from the
//!       controller, log starts from retention and `DeleteRecords`.
//! Out:  an offset for each batch, or why not; [`Effect`]s.
//! Home: pure; owned by the partition's shard. `now` is handed in.
//!
//! Invariants
//!   L1  log_start <= last_stable <= high_watermark <= log_end.
//!   L2  Offsets are given out without gap and never twice within an epoch.
//!   L3  The high watermark never passes what is durable here, nor any replica in sync.
//!   L4  The newest entry of the epoch table is this leader's.
//!
//! A batch's life here: `admit` gives it an offset and moves `log_end`; storage writes it and
//! reports `on_durable`; the watermark follows the slowest replica in sync. If storage refuses
//! an admitted batch, the log and this core disagree: the driver asks storage for room before
//! it admits, so that only a failed write (which stops the directory for good) can do that.
//!
//! Not here: the rules of a batch's bytes (`crate::record::validate`), when followers fall out
//! of sync (`isr.rs`).
//! Source: KIP-98, KIP-101, KIP-320; `protocol.md` P28, P32-P33, P46-P49, P60-P61, P72.

use std::fmt;

use crate::model::ids::BrokerId;
use crate::model::offset::{LeaderEpoch, Offset};
use crate::model::time::Timestamp;
use crate::partition::epochs::{EpochEnd, EpochTable};
use crate::partition::isr::Replicas;
use crate::partition::producers::{ProducerError, ProducerState, Sequenced, TransactionEnd};
use crate::partition::verification::{Begun, FirstBatch, Guard, Verifications};
use crate::partition::watermark::Watermark;
use crate::record::batch::BatchInfo;
use crate::record::control::EndMarker;

/// What the driver has to do, or to tell others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Consumers may read below this offset; wake those that wait.
    AdvanceHighWatermark(Offset),
    /// Consumers of committed records may read below this offset.
    AdvanceLastStable(Offset),
    /// Records below this offset are gone for readers; persist it, free what lies below.
    AdvanceLogStart(Offset),
}

/// When a producer wants its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// Never.
    None,
    /// When the leader holds the batch, by the topic's flush rule.
    Leader,
    /// When every replica in sync does.
    All,
}

/// What an append has to obey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendRules {
    /// The request's `acks`.
    pub acks: Acks,
    /// `min.insync.replicas`, 1 or more; above the number of replicas, that number counts.
    pub min_insync_replicas: usize,
    /// Whether the first batch of a transaction needs its coordinator's word.
    pub verification: Verification,
}

/// What stands for a transaction's coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Nothing need: `transaction.partition.verification.enable` is off.
    Off,
    /// A guard that was given before the coordinator was asked and said yes; or none.
    Guarded(Option<Guard>),
}

/// Where an admitted batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is to be written with these offsets and this epoch stamped into it.
    Append(BatchInfo),
    /// It is in the log already, and nothing is to be written.
    Duplicate {
        /// Offset to answer with.
        base_offset: Offset,
        /// Last offset of the original: the answer waits for it as the original's did.
        last_offset: Offset,
        /// The original's largest timestamp, which Kafka answers as log append time.
        log_append_time: Timestamp,
    },
}

/// Why a batch is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// Too few replicas are in sync for `acks=all`.
    NotEnoughReplicas {
        /// How many are.
        in_sync: usize,
        /// How many have to be.
        required: usize,
    },
    /// The producer's epoch or sequence is wrong.
    Producer(ProducerError),
    /// The offsets of the log are used up (2^63 of them).
    LogFull,
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotEnoughReplicas { in_sync, required } => {
                write!(f, "{in_sync} replicas are in sync, {required} are required")
            }
            Self::Producer(error) => write!(f, "{error}"),
            Self::LogFull => write!(f, "the log has no offsets left"),
        }
    }
}

impl std::error::Error for AppendError {}

/// A request carries another leader epoch than ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochMismatch {
    /// Its sender knows an older leader.
    Fenced {
        /// The sender's.
        requested: LeaderEpoch,
        /// Ours.
        current: LeaderEpoch,
    },
    /// Its sender knows a newer leader than we do.
    Unknown {
        /// The sender's.
        requested: LeaderEpoch,
        /// Ours.
        current: LeaderEpoch,
    },
}

/// The watermark has not reached this leader's epoch yet; an answer could go backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetNotAvailable {
    /// Where the watermark stands.
    pub high_watermark: Offset,
    /// Where it has to get to.
    pub epoch_start: Offset,
}

/// An offset outside the log, or outside what may be asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetOutOfRange {
    /// The offset asked for.
    pub requested: Offset,
    /// The smallest that is allowed.
    pub log_start: Offset,
    /// The largest that is allowed.
    pub end: Offset,
}

/// Who reads, and so how far. Source: `protocol.md` P46.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Below the high watermark.
    ReadUncommitted,
    /// Below the last stable offset.
    ReadCommitted,
}

/// What recovery found: the state of a log that nobody leads yet.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// First offset that is still there.
    pub log_start: Offset,
    /// The offset after the last; all below it is durable.
    pub log_end: Offset,
    /// The last watermark that was persisted, within the log; the log start if none was.
    pub high_watermark: Offset,
    /// The epochs of its batches.
    pub epochs: EpochTable,
    /// Its producers, from a snapshot and the batches after it.
    pub producers: ProducerState,
}

/// The leader of one partition, for one leader epoch after another.
#[derive(Clone, Debug)]
pub struct Leader {
    broker: BrokerId,
    epoch: LeaderEpoch,
    /// Where this epoch's first batch goes, or went.
    epoch_start: Offset,
    log_start: Offset,
    log_end: Offset,
    replicas: Replicas,
    watermark: Watermark,
    last_stable: Offset,
    epochs: EpochTable,
    producers: ProducerState,
    verifications: Verifications,
}

impl Leader {
    /// Begins to lead in `epoch` a log that recovery has read; the leader is its only replica.
    ///
    /// Panics: if `epoch` is older than one in the log, or the offsets contradict one another.
    pub fn start(broker: BrokerId, epoch: LeaderEpoch, recovered: Recovered) -> Leader {
        let replicas = Replicas::leader_alone(broker, recovered.log_end);
        Leader::with_replicas(broker, epoch, recovered, replicas)
    }

    fn with_replicas(
        broker: BrokerId,
        epoch: LeaderEpoch,
        recovered: Recovered,
        replicas: Replicas,
    ) -> Leader {
        let Recovered { log_start, log_end, high_watermark, mut epochs, producers } = recovered;
        assert!(log_start.0 >= 0, "a log starts at an offset");
        assert!(log_start <= high_watermark && high_watermark <= log_end, "L1");
        let newest = epochs.latest().map_or(LeaderEpoch::NONE, |entry| entry.epoch);
        assert!(newest <= epoch, "the controller's epochs only grow");
        epochs.assign(epoch, log_end);
        let mut leader = Leader {
            broker,
            epoch,
            epoch_start: log_end,
            log_start,
            log_end,
            replicas,
            watermark: Watermark::at(high_watermark),
            last_stable: high_watermark,
            epochs,
            producers,
            verifications: Verifications::default(),
        };
        let _ = leader.advance_watermark();
        leader.producers.on_high_watermark(leader.watermark.offset());
        leader.last_stable = leader.stable_end();
        leader.assert_invariants();
        leader
    }

    /// Goes on leading under a newer epoch, for example after the controller's restart.
    ///
    /// Panics: if `epoch` is not newer.
    pub fn on_new_epoch(&mut self, epoch: LeaderEpoch) {
        assert!(self.epoch < epoch, "the controller's epochs only grow");
        self.epoch = epoch;
        self.epoch_start = self.log_end;
        self.epochs.assign(epoch, self.log_end);
        self.assert_invariants();
    }

    /// Gives a validated batch its place at the end of the log, or says why not.
    ///
    /// `now` is wall-clock time; `info` has the batch's numbers as the client sent it. On
    /// [`Admission::Append`] the log end has moved: the driver must write the batch.
    /// Errors: [`AppendError`]; nothing has changed.
    pub fn admit(
        &mut self,
        now: Timestamp,
        info: &BatchInfo,
        rules: &AppendRules,
    ) -> Result<Admission, AppendError> {
        assert!(!info.attributes.is_control(), "a client's control batch passed validation");
        let admission = self.check(info, rules)?;
        if let Admission::Append(placed) = &admission {
            self.append(now, placed, None);
            if placed.attributes.is_transactional() {
                self.verifications.end(placed.producer_id); // G1
            }
        }
        Ok(admission)
    }

    /// Writes a coordinator's control batch behind the log, as `admit` does a client's; also where
    /// the producer has no transaction open.
    /// Errors: [`AppendError`]; nothing has changed. Source: `protocol.md` P103, P104.
    pub fn admit_marker(
        &mut self,
        now: Timestamp,
        info: &BatchInfo,
        end: &TransactionEnd,
        rules: &AppendRules,
    ) -> Result<BatchInfo, AppendError> {
        assert!(info.attributes.is_control(), "a marker is a control batch");
        assert!(info.has_producer_id(), "a marker ends somebody's transaction");
        self.check_replicas(rules)?;
        self.producers.check_marker(info, end).map_err(AppendError::Producer)?;
        let placed = self.place(info)?;
        self.append(now, &placed, Some(end.marker));
        self.verifications.end(placed.producer_id); // G1
        Ok(placed)
    }

    /// What the first batch of a transaction needs before its append: to be asked before the
    /// coordinator is. Source: `protocol.md` P102.
    pub fn begin_transaction(&mut self, first: &FirstBatch) -> Begun {
        match self.producers.has_open(first.producer_id, first.producer_epoch) {
            true => Begun::Ongoing,
            false => Begun::Verify(self.verifications.begin(first)),
        }
    }

    fn check(&self, info: &BatchInfo, rules: &AppendRules) -> Result<Admission, AppendError> {
        self.check_replicas(rules)?;
        match self.producers.check(info).map_err(AppendError::Producer)? {
            Sequenced::New => {
                self.check_transaction(info, rules).map_err(AppendError::Producer)?;
                Ok(Admission::Append(self.place(info)?))
            }
            Sequenced::Duplicate { base_offset, last_offset, max_timestamp } => {
                assert!(last_offset < self.log_end, "an original is in the log");
                let log_append_time = max_timestamp;
                Ok(Admission::Duplicate { base_offset, last_offset, log_append_time })
            }
        }
    }

    fn check_replicas(&self, rules: &AppendRules) -> Result<(), AppendError> {
        if rules.acks == Acks::All {
            let in_sync = self.replicas.in_sync_count();
            let required = rules.min_insync_replicas.min(self.replicas.count());
            if in_sync < required {
                return Err(AppendError::NotEnoughReplicas { in_sync, required });
            }
        }
        Ok(())
    }

    /// A transaction begins here only with its coordinator's knowledge.
    fn check_transaction(
        &self,
        info: &BatchInfo,
        rules: &AppendRules,
    ) -> Result<(), ProducerError> {
        let (id, epoch) = (info.producer_id, info.producer_epoch);
        match rules.verification {
            Verification::Guarded(guard)
                if info.attributes.is_transactional() && !self.producers.has_open(id, epoch) =>
            {
                self.verifications.check(info, guard, self.producers.knows(id))
            }
            Verification::Guarded(_) | Verification::Off => Ok(()),
        }
    }

    fn place(&self, info: &BatchInfo) -> Result<BatchInfo, AppendError> {
        let end = self.log_end.0.checked_add(info.offset_count());
        end.ok_or(AppendError::LogFull)?;
        Ok(info.at(self.log_end, self.epoch))
    }

    fn append(&mut self, now: Timestamp, placed: &BatchInfo, marker: Option<EndMarker>) {
        assert_eq!(placed.base_offset, self.log_end, "L2");
        assert!(placed.last_offset >= placed.base_offset, "a batch takes up an offset");
        self.log_end = placed.end_offset();
        self.producers.note(now, placed, marker);
        self.producers.assert_invariants(placed.producer_id);
        self.assert_invariants();
    }

    /// Notes that storage holds everything below `durable_end`, by the topic's flush rule.
    ///
    /// An older report than the last changes nothing. Panics: if it passes the log end.
    pub fn on_durable(&mut self, durable_end: Offset, effects: &mut Vec<Effect>) {
        assert!(durable_end <= self.log_end, "storage holds what was never admitted");
        let known = self.replicas.note_end(self.broker, durable_end);
        assert!(known, "S1: the leader is a replica");
        if self.advance_watermark() {
            effects.push(Effect::AdvanceHighWatermark(self.watermark.offset()));
        }
        self.refresh_last_stable(effects);
        self.assert_invariants();
    }

    fn advance_watermark(&mut self) -> bool {
        let Some(end) = self.replicas.in_sync_end_min() else { return false };
        let moved = self.watermark.advance(end);
        if moved {
            self.producers.on_high_watermark(end);
        }
        moved
    }

    fn stable_end(&self) -> Offset {
        let high_watermark = self.watermark.offset();
        let unstable = self.producers.first_unstable().unwrap_or(high_watermark);
        unstable.clamp(self.log_start, high_watermark)
    }

    fn refresh_last_stable(&mut self, effects: &mut Vec<Effect>) {
        let last_stable = self.stable_end();
        assert!(self.last_stable <= last_stable, "the last stable offset moved back");
        if self.last_stable < last_stable {
            self.last_stable = last_stable;
            effects.push(Effect::AdvanceLastStable(last_stable));
        }
    }

    /// Lets records below `before` go, for `DeleteRecords`; -1 means all that consumers can
    /// read. Answers the new log start, which is the old one if that is further on.
    /// Errors: [`OffsetOutOfRange`], nothing has changed. Source: `protocol.md` P72.
    pub fn delete_records(
        &mut self,
        before: Offset,
        effects: &mut Vec<Effect>,
    ) -> Result<Offset, OffsetOutOfRange> {
        let end = self.watermark.offset();
        let target = if before == Offset::NONE { end } else { before };
        if target.0 < 0 || end < target {
            return Err(OffsetOutOfRange { requested: before, log_start: self.log_start, end });
        }
        self.advance_log_start(target, effects);
        Ok(self.log_start)
    }

    /// Moves the log start on because retention let go of what lies below it.
    ///
    /// Panics: if `log_start` passes the high watermark.
    pub fn advance_log_start(&mut self, log_start: Offset, effects: &mut Vec<Effect>) {
        assert!(log_start <= self.watermark.offset(), "L1: only what is committed may go");
        if self.log_start < log_start {
            self.log_start = log_start;
            self.epochs.truncate_from_start(log_start);
            effects.push(Effect::AdvanceLogStart(log_start));
            self.refresh_last_stable(effects);
        }
        self.assert_invariants();
    }

    /// Compares a request's leader epoch with ours; -1 asks for no check.
    /// Errors: [`EpochMismatch`]. Source: KIP-320, `protocol.md` P48.
    pub fn check_epoch(&self, requested: LeaderEpoch) -> Result<(), EpochMismatch> {
        let current = self.epoch;
        match requested {
            LeaderEpoch::NONE => Ok(()),
            _ if requested < current => Err(EpochMismatch::Fenced { requested, current }),
            _ if requested > current => Err(EpochMismatch::Unknown { requested, current }),
            _ => Ok(()),
        }
    }

    /// Where `requested` ends in this log. Source: `protocol.md` P49.
    pub fn offset_for_leader_epoch(&self, requested: LeaderEpoch) -> EpochEnd {
        self.epochs.end_offset_for(requested, self.log_end)
    }

    /// How far a consumer may read, exclusive.
    pub fn readable_end(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::ReadUncommitted => self.watermark.offset(),
            Isolation::ReadCommitted => self.last_stable,
        }
    }

    /// The "latest" offset for `ListOffsets`.
    /// Errors: [`OffsetNotAvailable`] while it could be smaller than one answered by the
    /// leader before. Source: KIP-207, `protocol.md` P61.
    pub fn latest_offset(&self, isolation: Isolation) -> Result<Offset, OffsetNotAvailable> {
        let high_watermark = self.watermark.offset();
        if high_watermark < self.epoch_start {
            return Err(OffsetNotAvailable { high_watermark, epoch_start: self.epoch_start });
        }
        Ok(self.readable_end(isolation))
    }

    /// Whether a fetch may begin at `offset`; at the log end it gets nothing, but no error.
    /// Errors: [`OffsetOutOfRange`]. Source: `protocol.md` P44.
    pub fn check_fetch_offset(&self, offset: Offset) -> Result<(), OffsetOutOfRange> {
        let (log_start, end) = (self.log_start, self.log_end);
        if log_start <= offset && offset <= end {
            Ok(())
        } else {
            Err(OffsetOutOfRange { requested: offset, log_start, end })
        }
    }

    /// Forgets producers silent for `expiration_ms`; returns how many.
    pub fn expire_producers(&mut self, now: Timestamp, expiration_ms: i64) -> usize {
        self.producers.expire(now, expiration_ms)
    }

    /// This leader's epoch.
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// First offset that may be read.
    pub fn log_start_offset(&self) -> Offset {
        self.log_start
    }

    /// The offset that the next batch gets.
    pub fn log_end_offset(&self) -> Offset {
        self.log_end
    }

    /// The offset below which this broker holds everything durably.
    pub fn durable_end(&self) -> Offset {
        self.replicas.leader_end()
    }

    /// How far consumers may read, exclusive.
    pub fn high_watermark(&self) -> Offset {
        self.watermark.offset()
    }

    /// How far consumers of committed records may read, exclusive.
    pub fn last_stable_offset(&self) -> Offset {
        self.last_stable
    }

    /// The epochs of the log, for checkpoints.
    pub fn epochs(&self) -> &EpochTable {
        &self.epochs
    }

    /// The producers of the log, for snapshots. Covers everything below the log end.
    pub fn producers(&self) -> &ProducerState {
        &self.producers
    }

    /// Holds L1, L3 and L4.
    pub fn assert_invariants(&self) {
        let high_watermark = self.watermark.offset();
        assert!(self.log_start <= self.last_stable, "L1");
        assert!(self.last_stable <= high_watermark, "L1");
        assert!(high_watermark <= self.log_end, "L1");
        assert!(high_watermark <= self.durable_end(), "L3");
        assert!(self.epoch_start <= self.log_end, "an epoch starts within the log");
        let newest = self.epochs.latest().map(|entry| entry.epoch);
        assert_eq!(newest, Some(self.epoch), "L4");
        self.replicas.assert_invariants();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::simulation::batch;

    const NOW: Timestamp = Timestamp(1_000);
    const RULES: AppendRules = AppendRules {
        acks: Acks::All,
        min_insync_replicas: 1,
        verification: Verification::Guarded(None),
    };

    fn recovered(log_end: i64) -> Recovered {
        Recovered {
            log_start: Offset(0),
            log_end: Offset(log_end),
            high_watermark: Offset(0),
            epochs: EpochTable::new(),
            producers: ProducerState::new(),
        }
    }

    fn leader(log_end: i64) -> Leader {
        Leader::start(BrokerId(1), LeaderEpoch(5), recovered(log_end))
    }

    #[test]
    fn offsets_are_given_at_once_and_readable_once_durable() {
        let mut leader = leader(0);
        let mut effects = Vec::new();
        for (base, end) in [(0, 3), (3, 6)] {
            let admission = leader.admit(NOW, &batch(-1, -1, -1, 3), &RULES).unwrap();
            let Admission::Append(placed) = admission else { panic!("{admission:?}") };
            assert_eq!((placed.base_offset, placed.end_offset()), (Offset(base), Offset(end)));
            assert_eq!(placed.leader_epoch, LeaderEpoch(5));
        }
        assert_eq!(leader.high_watermark(), Offset(0));
        leader.on_durable(Offset(3), &mut effects);
        leader.on_durable(Offset(3), &mut effects);
        let want = [Effect::AdvanceHighWatermark(Offset(3)), Effect::AdvanceLastStable(Offset(3))];
        assert_eq!(effects, want);
        assert_eq!((leader.durable_end(), leader.log_end_offset()), (Offset(3), Offset(6)));
        assert_eq!(leader.check_fetch_offset(Offset(6)), Ok(()));
        assert!(leader.check_fetch_offset(Offset(7)).is_err());
        assert!(leader.check_fetch_offset(Offset(-1)).is_err());
    }

    #[test]
    fn what_recovery_found_is_readable_when_nobody_else_has_to_hold_it() {
        let leader = leader(9);
        assert_eq!(leader.high_watermark(), Offset(9));
        assert_eq!(leader.latest_offset(Isolation::ReadCommitted), Ok(Offset(9)));
    }

    #[test]
    fn followers_hold_the_watermark_back() {
        let replicas = Replicas::new(BrokerId(1), Offset(9), &[BrokerId(2)]);
        let (broker, epoch) = (BrokerId(1), LeaderEpoch(5));
        let found = Recovered { high_watermark: Offset(4), ..recovered(9) };
        let mut leader = Leader::with_replicas(broker, epoch, found, replicas);
        assert_eq!(leader.high_watermark(), Offset(4));
        let latest = leader.latest_offset(Isolation::ReadUncommitted);
        let (high_watermark, epoch_start) = (Offset(4), Offset(9));
        assert_eq!(latest, Err(OffsetNotAvailable { high_watermark, epoch_start }));
        let mut effects = Vec::new();
        leader.on_durable(Offset(9), &mut effects);
        assert!(effects.is_empty(), "the follower has not reported");
    }

    #[test]
    fn min_insync_replicas_counts_up_to_the_replicas_there_are() {
        let mut leader = leader(0);
        for min_insync_replicas in [0, 1, 2, 9] {
            for acks in [Acks::All, Acks::Leader, Acks::None] {
                let rules = AppendRules { acks, min_insync_replicas, ..RULES };
                leader.admit(NOW, &batch(-1, -1, -1, 1), &rules).unwrap();
            }
        }
    }

    #[test]
    fn request_epochs_are_compared_with_ours() {
        let leader = leader(0);
        let current = LeaderEpoch(5);
        let check =
            |requested: i32, want: fn(LeaderEpoch, LeaderEpoch) -> Option<EpochMismatch>| {
                let requested = LeaderEpoch(requested);
                let got = leader.check_epoch(requested).err();
                assert_eq!(got, want(requested, current), "{requested:?}");
            };
        check(-1, |_, _| None);
        check(5, |_, _| None);
        check(4, |requested, current| Some(EpochMismatch::Fenced { requested, current }));
        check(6, |requested, current| Some(EpochMismatch::Unknown { requested, current }));
        check(-2, |requested, current| Some(EpochMismatch::Fenced { requested, current }));
    }

    #[test]
    fn records_are_deleted_up_to_the_watermark_and_never_back() {
        let mut leader = leader(9);
        leader.admit(NOW, &batch(-1, -1, -1, 1), &RULES).unwrap();
        let mut effects = Vec::new();
        assert_eq!(leader.delete_records(Offset(4), &mut effects), Ok(Offset(4)));
        assert_eq!(leader.delete_records(Offset(2), &mut effects), Ok(Offset(4)));
        assert_eq!(effects, [Effect::AdvanceLogStart(Offset(4))]);
        for requested in [Offset(10), Offset(-2)] {
            let refused = leader.delete_records(requested, &mut effects).unwrap_err();
            assert_eq!(
                refused,
                OffsetOutOfRange { requested, log_start: Offset(4), end: Offset(9) }
            );
        }
        assert_eq!(leader.delete_records(Offset::NONE, &mut effects), Ok(Offset(9)));
        assert_eq!(leader.log_start_offset(), Offset(9));
        assert!(leader.check_fetch_offset(Offset(8)).is_err());
    }

    #[test]
    fn a_log_without_offsets_left_refuses() {
        let found = Recovered { high_watermark: Offset(i64::MAX - 2), ..recovered(i64::MAX - 2) };
        let mut leader = Leader::start(BrokerId(1), LeaderEpoch(0), found);
        leader.admit(NOW, &batch(-1, -1, -1, 1), &RULES).unwrap();
        let refused = leader.admit(NOW, &batch(-1, -1, -1, 2), &RULES);
        assert_eq!(refused, Err(AppendError::LogFull));
    }

    #[test]
    #[should_panic(expected = "epochs only grow")]
    fn an_older_epoch_than_the_logs_is_our_bug() {
        let mut found = recovered(9);
        found.epochs.assign(LeaderEpoch(6), Offset(0));
        let _ = Leader::start(BrokerId(1), LeaderEpoch(5), found);
    }
}
