//! Transactions of one segment: which are open at its ends, and which were aborted in it.
//!
//! In:   the numbers of each batch, and what its markers say, in order, with the sparse index.
//! Out:  the aborted transactions that a reader of committed records has to skip.
//! Home: one shard; a part of the segment's `%020d.index`, so written, removed and made again
//!       with it.
//!
//! Invariants
//!   T1  Derived: noting the segment's batches over what was open before it gives the same.
//!   T2  Aborted transactions stand in the order of their markers; at most [`ABORTED_MAX`] and as
//!       many as one batch adds, since a segment that has as many is closed.
//!   T3  A transaction that begins before an offset and is not ended in the segment that holds the
//!       offset is open at its end; if none is, later segments have nothing for a reader up to
//!       there.
//!
//! Kafka keeps a file of its own a segment (`.txnindex`), which does not say what is open: it makes
//! one again from a snapshot of the producers. Here what is open stands beside, so that a segment's
//! index is made again from the segment before it.
//!
//! Layout, little-endian, inside the index: changed i64 · three lists, each with its count u32: open
//! before and open after (producer i64 · first i64), aborted (producer · first · last · last
//! stable, i64 each).
//! Source: Kafka's `TransactionIndex`; `protocol.md` P47.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::ids::ProducerId;
use crate::model::offset::Offset;
use crate::record::batch::BatchInfo;
use crate::record::control::{EndMarker, Outcome};

/// Aborted transactions of a segment, from which on it is closed; 2 MiB of memory.
pub const ABORTED_MAX: usize = 1 << 16;

const OPEN_BYTES: usize = 16;
const ABORTED_BYTES: usize = 32;

/// A transaction whose records a reader of committed records skips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose.
    pub producer_id: ProducerId,
    /// Offset of its first record here.
    pub first_offset: Offset,
    /// Offset of its marker.
    pub last_offset: Offset,
    /// The last stable offset that there was once the marker could be read: no transaction that
    /// ended later begins before it.
    pub last_stable_offset: Offset,
}

/// Transactions without a marker yet, each with the offset of its first record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenTransactions {
    by_producer: BTreeMap<ProducerId, Offset>,
    firsts: BTreeSet<Offset>,
}

impl OpenTransactions {
    /// Offset of the first record of the oldest.
    pub(super) fn oldest(&self) -> Option<Offset> {
        self.firsts.first().copied()
    }

    fn begin(&mut self, producer_id: ProducerId, first: Offset) -> bool {
        if self.by_producer.contains_key(&producer_id) {
            return false;
        }
        self.by_producer.insert(producer_id, first);
        self.firsts.insert(first)
    }

    fn end(&mut self, producer_id: ProducerId) -> Option<Offset> {
        let first = self.by_producer.remove(&producer_id)?;
        self.firsts.remove(&first);
        Some(first)
    }

    /// Notes the next batch; the transaction that it aborts, and whether anything has changed.
    pub(super) fn note(
        &mut self,
        info: &BatchInfo,
        marker: Option<EndMarker>,
    ) -> (Option<AbortedTransaction>, bool) {
        let (producer_id, attributes) = (info.producer_id, info.attributes);
        if !attributes.is_transactional() || !info.has_producer_id() {
            return (None, false);
        }
        if !attributes.is_control() {
            return (None, self.begin(producer_id, info.base_offset));
        }
        let ended = marker.and_then(|marker| Some((marker, self.end(producer_id)?)));
        let Some((marker, first_offset)) = ended else { return (None, false) };
        let last_offset = info.last_offset;
        let last_stable_offset = self.oldest().unwrap_or(info.end_offset());
        let aborted =
            AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset };
        ((marker.outcome == Outcome::Abort).then_some(aborted), true)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_count(out, self.by_producer.len());
        for (producer_id, first) in &self.by_producer {
            out.extend(producer_id.0.to_le_bytes());
            out.extend(first.0.to_le_bytes());
        }
    }

    fn decode(reader: &mut Fields<'_>) -> Option<OpenTransactions> {
        let mut open = OpenTransactions::default();
        for _ in 0..reader.count(OPEN_BYTES)? {
            let (producer_id, first) = (ProducerId(reader.i64()?), Offset(reader.i64()?));
            if !open.begin(producer_id, first) {
                return None;
            }
        }
        Some(open)
    }
}

/// The transactions of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnIndex {
    /// What was open before the segment's first batch.
    before: OpenTransactions,
    /// What is open after the last batch noted.
    open: OpenTransactions,
    aborted: Vec<AbortedTransaction>,
    /// Offset after the last batch by which anything changed; -1: none.
    changed: Offset,
}

impl TxnIndex {
    /// Of a segment without batches, when `before` was open.
    pub(super) fn new(before: OpenTransactions) -> TxnIndex {
        let open = before.clone();
        TxnIndex { before, open, aborted: Vec::new(), changed: Offset::NONE }
    }

    /// Notes the next batch.
    pub(super) fn note(&mut self, info: &BatchInfo, marker: Option<EndMarker>) {
        let (aborted, changed) = self.open.note(info, marker);
        self.aborted.extend(aborted);
        if changed {
            self.changed = info.end_offset();
        }
    }

    /// Whether anything changed at or after `offset`: going back there loses what was before.
    pub(super) fn changed_after(&self, offset: Offset) -> bool {
        offset < self.changed
    }

    /// What was open before the segment.
    pub(super) fn before(&self) -> &OpenTransactions {
        &self.before
    }

    /// What is open after the last batch noted.
    pub(super) fn open(&self) -> &OpenTransactions {
        &self.open
    }

    /// Whether the segment has to be closed (T2).
    pub(super) fn is_full(&self) -> bool {
        self.aborted.len() >= ABORTED_MAX
    }

    /// Adds the aborted transactions that have a record or their marker at or after `from`, and
    /// begin before `upto`. False: no later segment has any, unless it begins before `upto` (T3).
    pub(super) fn collect(
        &self,
        from: Offset,
        upto: Offset,
        into: &mut Vec<AbortedTransaction>,
    ) -> bool {
        let start = self.aborted.partition_point(|aborted| aborted.last_offset < from);
        for aborted in &self.aborted[start..] {
            if aborted.first_offset < upto {
                into.push(*aborted);
            }
            if aborted.last_stable_offset >= upto {
                return false;
            }
        }
        self.open.oldest().is_some_and(|first| first < upto)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.changed.0.to_le_bytes());
        self.before.encode(out);
        self.open.encode(out);
        put_count(out, self.aborted.len());
        for aborted in &self.aborted {
            out.extend(aborted.producer_id.0.to_le_bytes());
            out.extend(aborted.first_offset.0.to_le_bytes());
            out.extend(aborted.last_offset.0.to_le_bytes());
            out.extend(aborted.last_stable_offset.0.to_le_bytes());
        }
    }

    /// What [`TxnIndex::encode`] wrote, all of `bytes`; `None` if it cannot be that.
    pub(super) fn decode(bytes: &[u8]) -> Option<TxnIndex> {
        let mut reader = Fields(bytes);
        let changed = Offset(reader.i64()?);
        let before = OpenTransactions::decode(&mut reader)?;
        let open = OpenTransactions::decode(&mut reader)?;
        let count = reader.count(ABORTED_BYTES)?;
        let mut aborted = Vec::with_capacity(count);
        for _ in 0..count {
            aborted.push(AbortedTransaction {
                producer_id: ProducerId(reader.i64()?),
                first_offset: Offset(reader.i64()?),
                last_offset: Offset(reader.i64()?),
                last_stable_offset: Offset(reader.i64()?),
            });
        }
        let sorted = aborted.is_sorted_by(|a, b| a.last_offset < b.last_offset);
        (sorted && reader.0.is_empty()).then_some(TxnIndex { before, open, aborted, changed })
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend(u32::try_from(count).expect("fewer than batches in a segment").to_le_bytes());
}

/// Bytes, read field by field.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn i64(&mut self) -> Option<i64> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i64::from_le_bytes(*taken))
    }

    /// A count of things of `bytes_each`, no more than there is room for.
    fn count(&mut self, bytes_each: usize) -> Option<usize> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        let count = usize::try_from(u32::from_le_bytes(*taken)).ok()?;
        (count <= rest.len() / bytes_each).then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::fixtures::{marker, transactional};

    /// Notes: of producer `id` at `offset`, data of two records or the end that is given.
    fn index(notes: &[(i64, i64, Option<Outcome>)]) -> TxnIndex {
        let mut index = TxnIndex::new(OpenTransactions::default());
        for &(id, offset, outcome) in notes {
            let (bytes, info) = match outcome {
                None => transactional(offset, 2, 0, id, 1),
                Some(outcome) => marker(offset, 0, id, outcome, 1),
            };
            index.note(&info, EndMarker::of_batch(&bytes));
        }
        index
    }

    const ABORT: Option<Outcome> = Some(Outcome::Abort);
    const COMMIT: Option<Outcome> = Some(Outcome::Commit);

    fn found(index: &TxnIndex, from: i64, upto: i64) -> (Vec<(i64, i64)>, bool) {
        let mut found = Vec::new();
        let further = index.collect(Offset(from), Offset(upto), &mut found);
        let pair = |a: &AbortedTransaction| (a.producer_id.0, a.first_offset.0);
        (found.iter().map(pair).collect(), further)
    }

    #[test]
    fn p47_every_aborted_transaction_that_overlaps_the_range_is_found() {
        // 1: 0-1 and 4-5, aborted at 6; 2: 2-3, committed at 7; 3: 8-9, aborted at 10.
        let index = index(&[
            (1, 0, None),
            (2, 2, None),
            (1, 4, None),
            (1, 6, ABORT),
            (2, 7, COMMIT),
            (3, 8, None),
            (3, 10, ABORT),
            (4, 11, ABORT),
        ]);
        assert_eq!(found(&index, 0, 12), (vec![(1, 0), (3, 8)], false));
        assert_eq!(found(&index, 0, 8), (vec![(1, 0)], false));
        assert_eq!(found(&index, 0, 9), (vec![(1, 0), (3, 8)], false));
        assert_eq!(found(&index, 6, 8), (vec![(1, 0)], false), "its marker is in the range");
        assert_eq!(found(&index, 7, 8), (vec![], false));
        assert_eq!(found(&index, 7, 9), (vec![(3, 8)], false));
        assert_eq!(found(&index, 5, 6), (vec![(1, 0)], false));
        let stable: Vec<i64> = index.aborted.iter().map(|a| a.last_stable_offset.0).collect();
        assert_eq!(stable, [2, 11], "producer 2 was open when 1 ended");
    }

    #[test]
    fn what_is_open_is_looked_for_in_later_segments() {
        let first = index(&[(1, 0, None), (2, 2, None), (2, 4, ABORT)]);
        assert_eq!(found(&first, 0, 5), (vec![(2, 2)], true), "1 begins before 5 and goes on");
        let mut second = TxnIndex::new(first.open().clone());
        let (bytes, info) = marker(5, 0, 1, Outcome::Abort, 1);
        second.note(&info, EndMarker::of_batch(&bytes));
        assert_eq!(found(&second, 0, 5), (vec![(1, 0)], false));
        assert_eq!(second.before(), first.open());
    }

    #[test]
    fn going_back_is_safe_only_where_nothing_changed_since() {
        let index = index(&[(1, 0, None), (1, 2, None), (1, 4, ABORT)]);
        assert!(index.changed_after(Offset(4)) && !index.changed_after(Offset(5)));
        assert!(!TxnIndex::new(OpenTransactions::default()).changed_after(Offset(0)));
    }

    #[test]
    fn its_bytes_are_read_back_and_never_half() {
        let index = index(&[(1, 0, None), (2, 2, None), (2, 4, ABORT), (3, 5, None)]);
        let mut later = TxnIndex::new(index.open().clone());
        let (bytes, info) = marker(7, 0, 3, Outcome::Abort, 1);
        later.note(&info, EndMarker::of_batch(&bytes));
        for index in [index, later] {
            let mut bytes = Vec::new();
            index.encode(&mut bytes);
            assert_eq!(TxnIndex::decode(&bytes).as_ref(), Some(&index));
            for cut in 0..bytes.len() {
                assert_eq!(TxnIndex::decode(&bytes[..cut]), None, "cut at {cut}");
            }
        }
    }
}
