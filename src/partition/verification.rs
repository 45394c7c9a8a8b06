//! Transactions that are being confirmed with their coordinator, before their first batch.
//!
//! In:   the first batches of producers' transactions, before the coordinator is asked.
//! Out:  a [`Guard`] to hand in with the batch, once the coordinator has said yes.
//! Home: pure; a part of `leader.rs`. Lost with the process, as the questions are.
//!
//! Invariants
//!   G1  A guard is accepted only while nothing of its producer was written since it was given:
//!       neither a batch nor a marker.
//!   G2  At most [`VERIFYING_MAX`] producers are being confirmed; one more drives out the one that
//!       has waited longest, whose batch is then refused and may be tried again.
//!
//! The race that G1 is for: the coordinator confirms a transaction, then aborts it by its timeout;
//! the marker reaches the partition before the batch does. Without the guard, the batch would open
//! a transaction that nobody ends, and the last stable offset would never move again.
//!
//! Source: KIP-890; Kafka's `VerificationGuard` and `VerificationStateEntry`; `protocol.md` P102.

use std::collections::BTreeMap;

use crate::model::ids::{ProducerEpoch, ProducerId, TransactionVersion};
use crate::model::offset::Sequence;
use crate::partition::producers::ProducerError;
use crate::record::batch::BatchInfo;

/// Producers that a partition waits for at most (G2).
pub const VERIFYING_MAX: usize = 10_000;

/// The right to begin one transaction in one partition; never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Guard(u64);

/// What is needed before a transactional batch may be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Nothing: its transaction has written here before.
    Ongoing,
    /// The coordinator's word; then the guard goes with the batch.
    Verify(Guard),
}

/// A first batch, of which the coordinator is about to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstBatch {
    /// Whose.
    pub producer_id: ProducerId,
    /// In which epoch.
    pub producer_epoch: ProducerEpoch,
    /// With which sequence it begins.
    pub base_sequence: Sequence,
    /// Whose rules the client follows.
    pub version: TransactionVersion,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    guard: Guard,
    epoch: ProducerEpoch,
    /// Smallest sequence asked about in this epoch: what is written first may not be above it.
    lowest_sequence: Sequence,
    version: TransactionVersion,
}

/// The confirmations under way in one partition.
#[derive(Clone, Debug, Default)]
pub struct Verifications {
    entries: BTreeMap<ProducerId, Entry>,
    /// The guards' producers, the oldest first.
    by_age: BTreeMap<Guard, ProducerId>,
    given: u64,
}

impl Verifications {
    /// A guard for the transaction that `first` begins; questions asked at the same time share it.
    pub fn begin(&mut self, first: &FirstBatch) -> Guard {
        let &FirstBatch { producer_id, producer_epoch, base_sequence, version } = first;
        if let Some(entry) = self.entries.get_mut(&producer_id) {
            if entry.epoch < producer_epoch {
                (entry.epoch, entry.lowest_sequence) = (producer_epoch, base_sequence);
            } else if entry.epoch == producer_epoch {
                let lowest = entry.lowest_sequence.0.min(base_sequence.0);
                entry.lowest_sequence = Sequence(lowest);
            }
            return entry.guard;
        }
        if self.entries.len() == VERIFYING_MAX {
            let (_, oldest) = self.by_age.pop_first().expect("as many as entries");
            self.entries.remove(&oldest);
        }
        self.given += 1;
        let guard = Guard(self.given);
        let entry = Entry { guard, epoch: producer_epoch, lowest_sequence: base_sequence, version };
        self.entries.insert(producer_id, entry);
        self.by_age.insert(guard, producer_id);
        assert!(self.entries.len() == self.by_age.len(), "G2");
        guard
    }

    /// Whether `guard` allows `info` to begin a transaction (G1); `known` says whether the partition
    /// knows its producer.
    /// Errors: [`ProducerError::NotVerified`], `OutOfOrderSequence`.
    pub fn check(
        &self,
        info: &BatchInfo,
        guard: Option<Guard>,
        known: bool,
    ) -> Result<(), ProducerError> {
        let producer_id = info.producer_id;
        let entry = self.entries.get(&producer_id).filter(|entry| Some(entry.guard) == guard);
        let entry = entry.ok_or(ProducerError::NotVerified { producer_id })?;
        let base_sequence = info.base_sequence;
        if base_sequence == Sequence::NONE {
            return Ok(());
        }
        let refused = |expected| ProducerError::OutOfOrderSequence { base_sequence, expected };
        // A producer whose epoch rises with each transaction begins each at 0.
        if entry.version >= TransactionVersion::V2 && !known && base_sequence != Sequence(0) {
            return Err(refused(Sequence(0)));
        }
        // Of batches in flight the first must not be overtaken.
        match base_sequence.0 > entry.lowest_sequence.0 {
            true => Err(refused(entry.lowest_sequence)),
            false => Ok(()),
        }
    }

    /// Something of `id` was written: its guard is used up (G1).
    pub fn end(&mut self, id: ProducerId) {
        if let Some(entry) = self.entries.remove(&id) {
            self.by_age.remove(&entry.guard);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::simulation::batch;

    fn first(id: i64, epoch: i16, sequence: i32, version: TransactionVersion) -> FirstBatch {
        FirstBatch {
            producer_id: ProducerId(id),
            producer_epoch: ProducerEpoch(epoch),
            base_sequence: Sequence(sequence),
            version,
        }
    }

    #[test]
    fn a_guard_is_for_one_beginning_of_its_producer() {
        let mut all = Verifications::default();
        let mine = all.begin(&first(7, 0, 5, TransactionVersion::V1));
        let again = all.begin(&first(7, 0, 3, TransactionVersion::V1));
        assert_eq!(mine, again, "two questions at once share it");
        let other = all.begin(&first(8, 0, 0, TransactionVersion::V1));
        let check = |all: &Verifications, guard, sequence| {
            all.check(&batch(7, 0, sequence, 1), guard, true)
        };
        let refused = Err(ProducerError::NotVerified { producer_id: ProducerId(7) });
        assert_eq!(check(&all, Some(mine), 3), Ok(()));
        assert_eq!(check(&all, None, 3), refused);
        assert_eq!(check(&all, Some(other), 3), refused);
        let (base_sequence, expected) = (Sequence(5), Sequence(3));
        let overtaken = Err(ProducerError::OutOfOrderSequence { base_sequence, expected });
        assert_eq!(check(&all, Some(mine), 5), overtaken);
        all.end(ProducerId(7));
        assert_eq!(check(&all, Some(mine), 3), refused, "G1");
        let later = all.begin(&first(7, 0, 3, TransactionVersion::V1));
        assert_ne!(later, mine, "G1: an old guard says nothing about a new transaction");
        assert_eq!(check(&all, Some(mine), 3), refused);
    }

    #[test]
    fn p103_a_v2_producer_that_is_not_known_begins_at_zero() {
        let mut all = Verifications::default();
        let guard = Some(all.begin(&first(7, 0, 5, TransactionVersion::V2)));
        let (base_sequence, expected) = (Sequence(5), Sequence(0));
        let gap = Err(ProducerError::OutOfOrderSequence { base_sequence, expected });
        assert_eq!(all.check(&batch(7, 0, 5, 1), guard, false), gap);
        assert_eq!(all.check(&batch(7, 0, 5, 1), guard, true), Ok(()));
        assert_eq!(all.check(&batch(7, 0, 0, 1), guard, false), Ok(()));
    }

    #[test]
    fn the_longest_wait_makes_room() {
        let mut all = Verifications::default();
        let guard =
            |all: &mut Verifications, id| all.begin(&first(id, 0, 0, TransactionVersion::V1));
        let oldest = guard(&mut all, -5);
        for id in 0..i64::try_from(VERIFYING_MAX).unwrap() {
            guard(&mut all, id);
        }
        assert_eq!((all.entries.len(), all.by_age.len()), (VERIFYING_MAX, VERIFYING_MAX));
        assert!(all.check(&batch(-5, 0, 0, 1), Some(oldest), true).is_err(), "G2");
    }
}
