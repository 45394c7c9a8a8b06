//! The aborted transactions of a range of the log, for looking up batches.
//!
//! In:   what the segments' indexes say (`storage::transactions`), segment by segment.
//! Out:  whether a batch was aborted.
//! Home: pure; one pass over one log.
//!
//! Invariants
//!   T1  A producer's transactions stand in order, each once.
//!
//! Not here: how many are remembered (`pass.rs` ends its range where they are too many).
//! Source: KIP-98; Kafka's `CleanedTransactionMetadata`.

use std::collections::BTreeMap;

use crate::model::ids::ProducerId;
use crate::model::offset::Offset;
use crate::storage::txn_index::AbortedTransaction;

/// The transactions.
#[derive(Debug, Default)]
pub(super) struct Aborted {
    /// First offset and marker, by producer.
    by_producer: BTreeMap<ProducerId, Vec<(Offset, Offset)>>,
    count: usize,
}

impl Aborted {
    /// Adds what a later range has; a transaction that lies in several ranges comes again.
    pub(super) fn add(&mut self, transactions: &[AbortedTransaction]) {
        for one in transactions {
            let known = self.by_producer.entry(one.producer_id).or_default();
            if known.last().is_none_or(|(_, last)| *last < one.last_offset) {
                known.push((one.first_offset, one.last_offset));
                self.count += 1;
            }
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Whether the transactional batch of `producer` at `offset` is of one of them.
    pub(super) fn holds(&self, producer: ProducerId, offset: Offset) -> bool {
        let Some(known) = self.by_producer.get(&producer) else { return false };
        let at = known.partition_point(|(_, last)| *last < offset);
        known.get(at).is_some_and(|(first, _)| *first <= offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aborted(producer: i64, first: i64, last: i64) -> AbortedTransaction {
        AbortedTransaction {
            producer_id: ProducerId(producer),
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable_offset: Offset(last),
        }
    }

    #[test]
    fn a_batch_is_aborted_from_the_first_offset_to_the_marker_of_its_own_producer() {
        let mut found = Aborted::default();
        found.add(&[aborted(1, 2, 5), aborted(2, 3, 6)]);
        found.add(&[aborted(2, 3, 6), aborted(1, 8, 9)]);
        assert_eq!(found.count(), 3);
        let of = |producer| {
            let holds = |at: &i64| found.holds(ProducerId(producer), Offset(*at));
            (0..12).filter(holds).collect::<Vec<_>>()
        };
        assert_eq!(of(1), [2, 3, 4, 5, 8, 9]);
        assert_eq!((of(2), of(3)), (vec![3, 4, 5, 6], vec![]));
    }
}
