//! Idempotent producers of a partition: what each wrote last, so that a retry is not a copy.
//!
//! In:   the numbers of batches: a client's before the append (checked), the log's after it
//!       or at recovery (noted, unchecked).
//! Out:  new, duplicate or refused; the first offset of the oldest open transaction.
//! Home: pure; a part of `leader.rs`.
//!
//! Invariants
//!   P1  Of each producer the last batches are kept, as `producer.rs` says.
//!   P2  At most [`PRODUCERS_MAX`] producers. One more drives out the sixteenth part that has
//!       been silent longest and has no open transaction: their next batch is taken as from
//!       an unknown producer, with any sequence. If all have open transactions, the newcomer
//!       is refused.
//!   P3  A state restored from a snapshot and the batches after it answers as the one that
//!       saw every batch.
//!
//! Not here: one producer (`producer.rs`), whether a transaction may be written to (its coordinator knows).
//! Source: KIP-98, KIP-360; Kafka's `ProducerStateManager`; `protocol.md` P32-P34.

use std::collections::BTreeMap;
use std::fmt;

use crate::model::ids::{ProducerEpoch, ProducerId, TransactionVersion};
use crate::model::offset::{Offset, Sequence};
use crate::model::time::Timestamp;
use crate::partition::producer::{COORDINATOR_EPOCH_NONE, KeptBatch, PRODUCER_BYTES_MIN, Producer};
use crate::partition::snapshot::{SnapshotReader, SnapshotWriter};
use crate::record::batch::BatchInfo;
use crate::record::control::EndMarker;

pub use crate::partition::snapshot::SnapshotError;

/// Producers remembered a partition (P2); about 2.5 MiB when full.
pub const PRODUCERS_MAX: usize = 10_000;
/// The part of the producers that is driven out at once, so that the search is paid rarely.
const EVICTED_PART: usize = 16;

/// `YEPS`, at the front of a snapshot.
const MAGIC: u32 = 0x5945_5053;
/// Version 2 adds each producer's coordinator epoch and last timestamp; version 1 is still read.
const VERSION: u16 = 2;
const COMPLETED_BYTES: usize = 16;

/// The end of a transaction, as a coordinator wants it written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionEnd {
    /// What is written.
    pub marker: EndMarker,
    /// Whose rules hold for the producer's epoch in the marker.
    pub version: TransactionVersion,
}

/// A transaction that has its marker, but whose marker consumers cannot read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Completed {
    first: Offset,
    marker: Offset,
}

/// What a batch of a producer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sequenced {
    /// To be appended.
    New,
    /// The same as one that is in the log already.
    Duplicate {
        /// Where that one begins.
        base_offset: Offset,
        /// Where it ends, inclusive.
        last_offset: Offset,
        /// Its largest timestamp; the time of its append under `LogAppendTime`.
        max_timestamp: Timestamp,
    },
}

/// A producer that a partition knows, as administrators see it. Source: KIP-664.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub id: ProducerId,
    /// Its newest epoch.
    pub epoch: ProducerEpoch,
    /// The last sequence it wrote; -1 if none in this epoch.
    pub last_sequence: Sequence,
    /// Largest timestamp of its last batch, or its marker's if that came later.
    pub last_timestamp: Timestamp,
    /// Epoch of the coordinator that wrote its last marker; -1 before any.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction; -1 if none is.
    pub open_from: Offset,
}

/// Why a producer's batch is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProducerError {
    /// A newer instance of the producer has written already.
    StaleEpoch {
        /// The batch's.
        epoch: ProducerEpoch,
        /// The newest seen.
        current: ProducerEpoch,
    },
    /// Not the sequence that follows the last one.
    OutOfOrderSequence {
        /// The batch's.
        base_sequence: Sequence,
        /// The one that would have been next.
        expected: Sequence,
    },
    /// A batch outside any transaction, from a producer whose transaction is open.
    TransactionOpen {
        /// The producer.
        producer_id: ProducerId,
    },
    /// [`PRODUCERS_MAX`] producers have open transactions (P2).
    TooManyProducers,
    /// A marker of a coordinator that another has taken over from. Source: `protocol.md` P104.
    CoordinatorFenced {
        /// The marker's.
        coordinator_epoch: i32,
        /// The newest seen.
        current: i32,
    },
    /// A marker of transactions v2 whose epoch is not above the producer's, which has a transaction
    /// open: the marker is of an earlier one. Source: KIP-890, `protocol.md` P103.
    MarkerNotNewer {
        /// The marker's, and the producer's.
        epoch: ProducerEpoch,
    },
    /// A transactional batch of a transaction that the coordinator has not confirmed for this
    /// partition, or that has ended since. Source: KIP-890, `protocol.md` P102.
    NotVerified {
        /// The producer.
        producer_id: ProducerId,
    },
}

impl fmt::Display for ProducerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StaleEpoch { epoch, current } => {
                write!(f, "producer epoch {} is older than {}", epoch.0, current.0)
            }
            Self::OutOfOrderSequence { base_sequence, expected } => {
                write!(f, "sequence {} came where {} was due", base_sequence.0, expected.0)
            }
            Self::TransactionOpen { producer_id } => {
                write!(f, "producer {} has an open transaction", producer_id.0)
            }
            Self::TooManyProducers => {
                write!(f, "{PRODUCERS_MAX} producers have open transactions in the partition")
            }
            Self::CoordinatorFenced { coordinator_epoch, current } => {
                write!(f, "coordinator epoch {coordinator_epoch} is older than {current}")
            }
            Self::MarkerNotNewer { epoch } => write!(
                f,
                "marker with the epoch {} of a transaction that is open (v2: it would be above it)",
                epoch.0
            ),
            Self::NotVerified { producer_id } => {
                write!(f, "producer {} has no ongoing transaction here", producer_id.0)
            }
        }
    }
}

impl std::error::Error for ProducerError {}

/// The producers of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerState {
    /// Ordered, so that no answer depends on a hash.
    producers: BTreeMap<ProducerId, Producer>,
    /// First offsets of the open transactions.
    open: BTreeMap<Offset, ProducerId>,
    /// Ended transactions whose marker is at or above the high watermark, by first offset.
    completed: BTreeMap<Offset, Completed>,
}

impl ProducerState {
    /// A state that knows no producer.
    pub fn new() -> ProducerState {
        ProducerState::default()
    }

    /// How many producers are known.
    pub fn count(&self) -> usize {
        self.producers.len()
    }

    /// All producers, by id.
    pub fn active(&self) -> impl Iterator<Item = ActiveProducer> + '_ {
        self.producers.iter().map(|(&id, producer)| {
            let last = producer.kept().last();
            ActiveProducer {
                id,
                epoch: producer.epoch,
                last_sequence: last.map_or(Sequence::NONE, |batch| batch.last_sequence),
                last_timestamp: producer.last_timestamp,
                coordinator_epoch: producer.coordinator_epoch,
                open_from: producer.open.unwrap_or(Offset::NONE),
            }
        })
    }

    /// What each producer goes on from: its epoch, and the last offset of its last batch in it;
    /// `None` if only a marker is of that epoch. Compaction keeps these batches (P35).
    pub fn last_writes(
        &self,
    ) -> impl Iterator<Item = (ProducerId, ProducerEpoch, Option<Offset>)> + '_ {
        self.producers.iter().map(|(&id, producer)| {
            let last = producer.kept().last();
            let end = last.map(|batch| batch.base_offset.plus(i64::from(batch.offset_delta)));
            (id, producer.epoch, end)
        })
    }

    /// Judges a client's batch before its append; its offsets are not looked at.
    /// Errors: [`ProducerError`], the producer's doing. Source: `protocol.md` P32, P33.
    pub fn check(&self, info: &BatchInfo) -> Result<Sequenced, ProducerError> {
        if !info.has_producer_id() {
            return Ok(Sequenced::New);
        }
        let Some(producer) = self.producers.get(&info.producer_id) else {
            return self.check_room();
        };
        if let Some(duplicate) = find_duplicate(producer, info) {
            return Ok(duplicate);
        }
        if info.producer_epoch < producer.epoch {
            let (epoch, current) = (info.producer_epoch, producer.epoch);
            return Err(ProducerError::StaleEpoch { epoch, current });
        }
        // A coordinator's own batches are in no sequence.
        let sequenced = info.base_sequence != Sequence::NONE;
        let same_epoch = info.producer_epoch == producer.epoch;
        let last = if same_epoch { producer.last_sequence() } else { None };
        let expected = last.map_or(Sequence(0), |last| last.plus(1));
        if sequenced && info.base_sequence != expected {
            let base_sequence = info.base_sequence;
            return Err(ProducerError::OutOfOrderSequence { base_sequence, expected });
        }
        if producer.open.is_some() && !info.attributes.is_transactional() {
            return Err(ProducerError::TransactionOpen { producer_id: info.producer_id });
        }
        Ok(Sequenced::New)
    }

    /// Judges a coordinator's control batch: it ends what its producer's epoch began, or a
    /// later epoch fences it.
    ///
    /// Under transactions v2 each transaction has an epoch, and its marker the one after: an equal
    /// one is a marker of the transaction before, or one that is sent again, which is harmless once
    /// nothing is open.
    /// Errors: [`ProducerError::StaleEpoch`], `MarkerNotNewer`, `CoordinatorFenced`,
    /// `TooManyProducers`. Source: KIP-890; Kafka's `ProducerAppendInfo.appendEndTxnMarker`.
    pub fn check_marker(
        &self,
        info: &BatchInfo,
        end: &TransactionEnd,
    ) -> Result<(), ProducerError> {
        let Some(producer) = self.producers.get(&info.producer_id) else {
            let (coordinator_epoch, current) =
                (end.marker.coordinator_epoch, COORDINATOR_EPOCH_NONE);
            if coordinator_epoch < current {
                return Err(ProducerError::CoordinatorFenced { coordinator_epoch, current });
            }
            return self.check_room().map(|_| ());
        };
        let (epoch, current) = (info.producer_epoch, producer.epoch);
        if epoch < current {
            return Err(ProducerError::StaleEpoch { epoch, current });
        }
        if end.version >= TransactionVersion::V2 && epoch == current && producer.open.is_some() {
            return Err(ProducerError::MarkerNotNewer { epoch });
        }
        let (coordinator_epoch, current) =
            (end.marker.coordinator_epoch, producer.coordinator_epoch);
        if coordinator_epoch < current {
            return Err(ProducerError::CoordinatorFenced { coordinator_epoch, current });
        }
        Ok(())
    }

    /// Whether `id` has a transaction open in `epoch`.
    pub fn has_open(&self, id: ProducerId, epoch: ProducerEpoch) -> bool {
        let producer = self.producers.get(&id);
        producer.is_some_and(|producer| producer.open.is_some() && producer.epoch == epoch)
    }

    /// Whether anything is known of `id`'s batches.
    pub fn knows(&self, id: ProducerId) -> bool {
        self.producers.contains_key(&id)
    }

    /// Largest timestamp of the producer whose transaction has been open longest, by offset.
    pub fn oldest_open_timestamp(&self) -> Option<Timestamp> {
        let (_, id) = self.open.first_key_value()?;
        self.producers.get(id).map(|producer| producer.last_timestamp)
    }

    /// An unknown producer may begin with any sequence, if there is room for it (P2).
    fn check_room(&self) -> Result<Sequenced, ProducerError> {
        if self.producers.len() >= PRODUCERS_MAX && self.open.len() >= PRODUCERS_MAX {
            return Err(ProducerError::TooManyProducers);
        }
        Ok(Sequenced::New)
    }

    /// Notes a batch that is in the log, at the offsets of `info`; nothing is checked.
    ///
    /// `now` is the shard's wall clock. `marker` is what a control batch says, if it ends a
    /// transaction; other control batches mean nothing.
    pub fn note(&mut self, now: Timestamp, info: &BatchInfo, marker: Option<EndMarker>) {
        let ends = info.attributes.is_control();
        if !info.has_producer_id() || (ends && marker.is_none()) {
            return;
        }
        if !self.producers.contains_key(&info.producer_id) {
            self.make_room();
        }
        let epoch = info.producer_epoch;
        let producer =
            self.producers.entry(info.producer_id).or_insert_with(|| Producer::new(epoch, now));
        producer.last_used = producer.last_used.max(now);
        producer.last_timestamp = info.max_timestamp;
        producer.enter(epoch);
        if let Some(marker) = marker.filter(|_| ends) {
            producer.coordinator_epoch = marker.coordinator_epoch.max(COORDINATOR_EPOCH_NONE);
            if let Some(first) = producer.open.take() {
                self.open.remove(&first);
                self.completed.insert(first, Completed { first, marker: info.last_offset });
            }
            return;
        }
        if info.base_sequence.0 >= 0 {
            producer.keep(KeptBatch::of(info));
        }
        if info.attributes.is_transactional() && producer.open.is_none() {
            producer.open = Some(info.base_offset);
            self.open.insert(info.base_offset, info.producer_id);
        }
    }

    /// Drives out the longest silent if there is no room for one more (P2).
    fn make_room(&mut self) {
        if self.producers.len() < PRODUCERS_MAX {
            return;
        }
        let idle = self.producers.iter().filter(|(_, producer)| producer.open.is_none());
        let mut by_use: Vec<(Timestamp, ProducerId)> =
            idle.map(|(&id, producer)| (producer.last_used, id)).collect();
        let evicted = (PRODUCERS_MAX / EVICTED_PART).min(by_use.len());
        if evicted < by_use.len() {
            by_use.select_nth_unstable(evicted);
        }
        for (_, id) in &by_use[..evicted] {
            self.producers.remove(id);
        }
    }

    /// Forgets producers that wrote nothing for `expiration_ms` and have no open transaction;
    /// returns how many. Source: `producer.id.expiration.ms`, KIP-360.
    pub fn expire(&mut self, now: Timestamp, expiration_ms: i64) -> usize {
        let before = self.producers.len();
        self.producers.retain(|_, producer| {
            let silent_ms = now.0.saturating_sub(producer.last_used.0);
            producer.open.is_some() || silent_ms < expiration_ms
        });
        before - self.producers.len()
    }

    /// First offset of the oldest transaction that is open, or ended by a marker that
    /// consumers cannot read yet: the last stable offset is not above it.
    pub fn first_unstable(&self) -> Option<Offset> {
        let open = self.open.keys().next();
        let completed = self.completed.keys().next();
        open.into_iter().chain(completed).min().copied()
    }

    /// Forgets the ended transactions whose markers are below the high watermark now.
    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        if !self.completed.is_empty() {
            self.completed.retain(|_, transaction| transaction.marker >= high_watermark);
        }
    }

    /// The state as bytes for a snapshot of the log up to `covers_end`, exclusive.
    pub fn encode(&self, covers_end: Offset) -> Vec<u8> {
        let mut out = SnapshotWriter::new(MAGIC, VERSION);
        out.put(&covers_end.0.to_be_bytes());
        out.put_count(self.producers.len());
        for (id, producer) in &self.producers {
            producer.encode(*id, &mut out);
        }
        out.put_count(self.completed.len());
        for transaction in self.completed.values() {
            out.put(&transaction.first.0.to_be_bytes());
            out.put(&transaction.marker.0.to_be_bytes());
        }
        out.finish()
    }

    /// The state of a snapshot, and the offset from which batches are to be noted.
    /// Errors: [`SnapshotError`]; then an older snapshot or the whole log has to do.
    pub fn decode(bytes: &[u8]) -> Result<(ProducerState, Offset), SnapshotError> {
        let (mut reader, version) = SnapshotReader::up_to(bytes, MAGIC, VERSION)?;
        let covers_end = Offset(reader.take_i64()?);
        let mut state = ProducerState::new();
        let count = reader.take_count(PRODUCER_BYTES_MIN)?;
        for _ in 0..count {
            let (id, producer) = Producer::decode(&mut reader, version)?;
            let ascends = state.producers.last_key_value().is_none_or(|(last, _)| *last < id);
            let opens = producer.open.is_none_or(|first| state.open.insert(first, id).is_none());
            if !ascends || !opens {
                return Err(SnapshotError::BadValue);
            }
            state.producers.insert(id, producer);
        }
        let count = reader.take_count(COMPLETED_BYTES)?;
        for _ in 0..count {
            let first = Offset(reader.take_i64()?);
            let marker = Offset(reader.take_i64()?);
            let ascends = state.completed.last_key_value().is_none_or(|(last, _)| *last < first);
            if first.0 < 0 || marker < first || !ascends {
                return Err(SnapshotError::BadValue);
            }
            state.completed.insert(first, Completed { first, marker });
        }
        reader.finish()?;
        let fits = covers_end.0 >= 0 && state.producers.len() <= PRODUCERS_MAX;
        if fits { Ok((state, covers_end)) } else { Err(SnapshotError::BadValue) }
    }

    /// Holds P1 of the producer that wrote last, and P2.
    pub fn assert_invariants(&self, last_writer: ProducerId) {
        assert!(self.producers.len() <= PRODUCERS_MAX, "P2");
        assert!(self.open.len() <= self.producers.len(), "a producer has one open transaction");
        let Some(producer) = self.producers.get(&last_writer) else { return };
        producer.assert_invariants();
    }
}

fn find_duplicate(producer: &Producer, info: &BatchInfo) -> Option<Sequenced> {
    if info.producer_epoch != producer.epoch {
        return None;
    }
    // A batch without a sequence is never kept, so never found.
    let same = |batch: &&KeptBatch| {
        batch.base_sequence == info.base_sequence && batch.last_sequence == info.last_sequence
    };
    producer.kept().iter().find(same).map(|batch| Sequenced::Duplicate {
        base_offset: batch.base_offset,
        last_offset: batch.base_offset.plus(i64::from(batch.offset_delta)),
        max_timestamp: batch.max_timestamp,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::simulation::{batch, marker};
    use crate::record::control::Outcome;
    use crate::testing::prng::Prng;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn noted(batches: &[(BatchInfo, i64)]) -> ProducerState {
        let mut state = ProducerState::new();
        for (info, offset) in batches {
            state.note(NOW, &info.at(Offset(*offset), crate::model::offset::LeaderEpoch(0)), None);
        }
        state
    }

    fn end(coordinator_epoch: i32, version: TransactionVersion) -> TransactionEnd {
        let marker = EndMarker { outcome: Outcome::Commit, coordinator_epoch };
        TransactionEnd { marker, version }
    }

    #[test]
    fn sequences_follow_one_another() {
        let state = noted(&[(batch(7, 2, 10, 5), 100)]);
        let check = |info: BatchInfo, want: Result<Sequenced, ProducerError>| {
            assert_eq!(state.check(&info), want, "{info:?}");
        };
        let order = |base_sequence, expected| ProducerError::OutOfOrderSequence {
            base_sequence: Sequence(base_sequence),
            expected: Sequence(expected),
        };
        check(batch(7, 2, 15, 3), Ok(Sequenced::New));
        check(batch(7, 2, 16, 3), Err(order(16, 15)));
        check(batch(7, 2, 14, 3), Err(order(14, 15)));
        check(batch(7, 2, 10, 4), Err(order(10, 15)));
        check(batch(7, 3, 0, 1), Ok(Sequenced::New));
        check(batch(7, 3, 15, 1), Err(order(15, 0)));
        let (epoch, current) = (ProducerEpoch(1), ProducerEpoch(2));
        check(batch(7, 1, 15, 1), Err(ProducerError::StaleEpoch { epoch, current }));
        check(batch(8, 5, 99, 1), Ok(Sequenced::New));
        check(batch(-1, -1, -1, 1), Ok(Sequenced::New));
        let original = Sequenced::Duplicate {
            base_offset: Offset(100),
            last_offset: Offset(104),
            max_timestamp: batch(7, 2, 10, 5).max_timestamp,
        };
        check(batch(7, 2, 10, 5), Ok(original));
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let state = noted(&[(batch(7, 0, i32::MAX - 1, 2), 0)]);
        assert_eq!(state.check(&batch(7, 0, 0, 1)), Ok(Sequenced::New));
        let state = noted(&[(batch(7, 0, i32::MAX - 1, 4), 0)]);
        assert_eq!(state.check(&batch(7, 0, 2, 1)), Ok(Sequenced::New));
        let again = state.check(&batch(7, 0, i32::MAX - 1, 4));
        assert!(matches!(again, Ok(Sequenced::Duplicate { .. })), "{again:?}");
    }

    #[test]
    fn five_batches_are_remembered() {
        let batches: Vec<_> = (0..7).map(|n| (batch(7, 0, n, 1), i64::from(n))).collect();
        let state = noted(&batches);
        for n in 0..7 {
            let got = state.check(&batch(7, 0, n, 1));
            let known = matches!(got, Ok(Sequenced::Duplicate { base_offset, .. })
                if base_offset == Offset(i64::from(n)));
            assert_eq!(known, n >= 2, "{n}: {got:?}");
        }
    }

    #[test]
    fn a_transaction_holds_the_end_until_its_marker_can_be_read() {
        let mut info = batch(7, 0, 0, 3);
        info.attributes = info.attributes.with_transactional();
        let mut state = noted(&[(info, 10), (batch(8, 0, 0, 1), 13)]);
        assert_eq!(state.first_unstable(), Some(Offset(10)));
        let outside = state.check(&batch(7, 0, 3, 1));
        let producer_id = ProducerId(7);
        assert_eq!(outside, Err(ProducerError::TransactionOpen { producer_id }));
        let ended = marker(7, 0).at(Offset(14), crate::model::offset::LeaderEpoch(0));
        let v1 = end(3, TransactionVersion::V1);
        state.check_marker(&ended, &v1).unwrap();
        state.note(NOW, &ended, Some(v1.marker));
        assert_eq!(state.first_unstable(), Some(Offset(10)), "nobody can read the marker yet");
        state.on_high_watermark(Offset(14));
        assert_eq!(state.first_unstable(), Some(Offset(10)));
        state.on_high_watermark(Offset(15));
        assert_eq!(state.first_unstable(), None);
        assert_eq!(state.check(&batch(7, 0, 3, 1)), Ok(Sequenced::New), "v1 keeps the epoch");
        let newer = marker(7, 1).at(Offset(16), crate::model::offset::LeaderEpoch(0));
        state.note(NOW, &newer, Some(v1.marker));
        assert_eq!(state.check(&batch(7, 1, 0, 1)), Ok(Sequenced::New), "v2 begins anew");
        assert!(state.check_marker(&ended, &v1).is_err(), "its epoch is stale now");
    }

    #[test]
    fn p103_a_v2_marker_is_above_the_epoch_of_what_it_ends() {
        let mut info = batch(7, 4, 0, 3);
        info.attributes = info.attributes.with_transactional();
        let mut state = noted(&[(info, 10)]);
        let (v1, v2) = (end(0, TransactionVersion::V1), end(0, TransactionVersion::V2));
        let (epoch, current) = (ProducerEpoch(3), ProducerEpoch(4));
        let stale = Err(ProducerError::StaleEpoch { epoch, current });
        assert_eq!(state.check_marker(&marker(7, 3), &v1), stale);
        assert_eq!(state.check_marker(&marker(7, 3), &v2), stale);
        assert_eq!(state.check_marker(&marker(7, 4), &v1), Ok(()));
        let old = Err(ProducerError::MarkerNotNewer { epoch: current });
        assert_eq!(state.check_marker(&marker(7, 4), &v2), old, "of the transaction before");
        assert_eq!(state.check_marker(&marker(7, 5), &v2), Ok(()));
        let placed = marker(7, 5).at(Offset(13), crate::model::offset::LeaderEpoch(0));
        state.note(NOW, &placed, Some(v2.marker));
        assert_eq!(state.check_marker(&marker(7, 5), &v2), Ok(()), "sent again");
        assert_eq!(state.check_marker(&marker(8, 0), &v2), Ok(()), "without data here");
    }

    #[test]
    fn p104_markers_of_an_older_coordinator_are_fenced() {
        let mut state = noted(&[]);
        let check = |state: &ProducerState, epoch| {
            state.check_marker(&marker(7, 2), &end(epoch, TransactionVersion::V1))
        };
        assert_eq!(check(&state, 5), Ok(()));
        let placed = marker(7, 2).at(Offset(0), crate::model::offset::LeaderEpoch(0));
        state.note(NOW, &placed, Some(end(5, TransactionVersion::V1).marker));
        assert_eq!(check(&state, 5), Ok(()), "the same coordinator again");
        let (coordinator_epoch, current) = (4, 5);
        let fenced = Err(ProducerError::CoordinatorFenced { coordinator_epoch, current });
        assert_eq!(check(&state, 4), fenced);
        let active: Vec<ActiveProducer> = state.active().collect();
        assert_eq!((active[0].coordinator_epoch, active[0].epoch), (5, ProducerEpoch(2)));
        let (kept, _) = ProducerState::decode(&state.encode(Offset(1))).unwrap();
        assert_eq!(check(&kept, 4), fenced, "a restart does not forget");
    }

    #[test]
    fn p107_the_oldest_transaction_says_when_its_producer_was_last_heard() {
        let at = |id, offset, time| {
            let mut info = batch(id, 0, 0, 1);
            info.attributes = info.attributes.with_transactional();
            (BatchInfo { max_timestamp: Timestamp(time), ..info }, offset)
        };
        assert_eq!(noted(&[(batch(9, 0, 0, 1), 0)]).oldest_open_timestamp(), None);
        let mut state = noted(&[at(7, 1, 500), at(8, 2, 300)]);
        assert_eq!(state.oldest_open_timestamp(), Some(Timestamp(500)), "by offset, not by time");
        let ended = marker(7, 0).at(Offset(3), crate::model::offset::LeaderEpoch(0));
        state.note(NOW, &ended, Some(end(0, TransactionVersion::V1).marker));
        assert_eq!(state.oldest_open_timestamp(), Some(Timestamp(300)));
    }

    #[test]
    fn snapshots_of_the_first_version_are_read() {
        let mut open = batch(7, 3, 0, 2);
        open.attributes = open.attributes.with_transactional();
        let state = noted(&[(open, 0), (batch(8, 0, 0, 1), 2)]);
        let mut out = SnapshotWriter::new(MAGIC, 1);
        out.put(&3i64.to_be_bytes());
        out.put_count(state.producers.len());
        for (id, producer) in &state.producers {
            let mut of_one = SnapshotWriter::new(MAGIC, 1);
            producer.encode(*id, &mut of_one);
            let bytes = of_one.finish();
            // Between the open transaction and the batches, version 2 has 12 bytes more.
            let (head, at) = (6, 6 + 26);
            out.put(&bytes[head..at]);
            out.put(&bytes[at + 12..bytes.len() - 4]);
        }
        out.put_count(0);
        assert_eq!(ProducerState::decode(&out.finish()), Ok((state, Offset(3))));
    }

    #[test]
    fn silent_producers_expire_but_for_open_transactions() {
        let mut open = batch(7, 0, 0, 1);
        open.attributes = open.attributes.with_transactional();
        let mut state = noted(&[(open, 0), (batch(8, 0, 0, 1), 1)]);
        assert_eq!(state.expire(Timestamp(NOW.0 + 99), 100), 0);
        assert_eq!(state.expire(Timestamp(NOW.0 + 100), 100), 1);
        assert_eq!(state.count(), 1);
        assert_eq!(state.check(&batch(8, 0, 50, 1)), Ok(Sequenced::New), "unknown again");
        assert_eq!(state.expire(Timestamp(i64::MAX), 100), 0);
    }

    #[test]
    fn the_longest_silent_make_room() {
        let mut state = ProducerState::new();
        let (max, part) = (PRODUCERS_MAX, PRODUCERS_MAX / EVICTED_PART);
        for n in 0..=max {
            let n = i64::try_from(n).unwrap();
            let info = batch(n, 0, 0, 1).at(Offset(n), crate::model::offset::LeaderEpoch(0));
            state.note(Timestamp(n), &info, None);
            state.assert_invariants(info.producer_id);
        }
        assert_eq!(state.count(), max + 1 - part);
        let known = |n: usize| {
            let again = state.check(&batch(i64::try_from(n).unwrap(), 0, 0, 1));
            matches!(again, Ok(Sequenced::Duplicate { .. }))
        };
        assert!(!known(0) && !known(part - 1) && known(part) && known(max));
    }

    #[test]
    fn with_every_transaction_open_a_newcomer_is_refused() {
        let mut state = ProducerState::new();
        for n in 0..PRODUCERS_MAX {
            let n = i64::try_from(n).unwrap();
            let mut info = batch(n, 0, 0, 1).at(Offset(n), crate::model::offset::LeaderEpoch(0));
            info.attributes = info.attributes.with_transactional();
            state.note(NOW, &info, None);
        }
        let newcomer = batch(i64::MAX, 0, 0, 1);
        assert_eq!(state.check(&newcomer), Err(ProducerError::TooManyProducers));
        assert_eq!(state.check(&batch(-1, -1, -1, 1)), Ok(Sequenced::New));
    }

    #[test]
    fn damaged_snapshots_are_refused() {
        let mut open = batch(7, 3, 0, 1);
        open.attributes = open.attributes.with_transactional();
        let state = noted(&[(open, 0), (batch(8, 0, 0, 1), 1), (batch(8, 0, 1, 9), 2)]);
        let bytes = state.encode(Offset(11));
        assert_eq!(ProducerState::decode(&bytes), Ok((state, Offset(11))));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(ProducerState::decode(&damaged).is_err(), "{at}");
            assert!(ProducerState::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
        let version = 3u16.to_be_bytes();
        let mut newer = bytes.clone();
        newer[4..6].copy_from_slice(&version);
        let error = ProducerState::decode(&newer);
        assert_eq!(error, Err(SnapshotError::UnknownVersion { version: 3 }));
    }

    /// Damage under a checksum that fits: an error or a sane state, never a panic.
    #[test]
    fn resealed_damage_never_panics() {
        let state =
            noted(&[(batch(7, 3, 0, 1), 0), (batch(8, 0, 0, 1), 1), (batch(8, 0, 1, 9), 2)]);
        let bytes = state.encode(Offset(11));
        let mut prng = Prng::new(3);
        let mut refused = 0;
        for _ in 0..5_000 {
            let mut damaged = bytes.clone();
            let body = bytes.len() - 4;
            for _ in 0..=prng.below(2) {
                damaged[prng.index(body)] ^= 1 << prng.below(8);
            }
            let crc = crate::record::crc::crc32c(&damaged[..body]);
            damaged[body..].copy_from_slice(&crc.to_be_bytes());
            match ProducerState::decode(&damaged) {
                Ok((state, covers)) => {
                    let again = ProducerState::decode(&state.encode(covers)).unwrap();
                    assert_eq!(again, (state, covers));
                }
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 500, "vacuous: {refused}");
    }
}
