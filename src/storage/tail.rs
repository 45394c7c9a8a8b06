//! The tail of a log in memory: the batches as they arrived, shared with those who read them.
//!
//! In:   staged batches; how far they are written; a budget shared by all logs of the shard.
//! Out:  [`TailRead`]s: the batches' own bytes, not copied.
//! Home: one shard.
//!
//! Invariants
//!   T1  A tail holds a contiguous run of batches that ends at the log's end, or nothing.
//!   T2  A batch that is not written yet is never evicted: nothing else holds it.
//!   T3  The budget's use is the sum of what its tails and chunks hold; above the limit only by T2.
//!
//! Eviction takes the oldest batch of the shard, whatever its log. Each batch has one entry in
//! the budget's queue; entries of batches that went otherwise (truncation, a deleted log) are
//! passed over when they come to the front.
//!
//! Cold reads leave their last chunks here, too (`reader.rs`), within a share of the budget, so
//! that consumers that follow one another read the disk once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use bytes::Bytes;

use crate::model::offset::Offset;
use crate::record::batch::BatchInfo;
use crate::storage::chunks::{Chunks, Place};

/// Pinned batches looked at before one eviction gives up; the next one goes on.
const EVICT_PINNED_MAX: usize = 32;
/// What a batch in the tail costs besides its bytes.
const ENTRY_BYTES: usize = 160;
/// Entries of the eviction queue that are not checked for being of use.
const ARRIVALS_FREE: usize = 1024;
/// A batch that shares a buffer of more than this many times its size is copied out of it.
const PINNED_FACTOR_MAX: usize = 4;
/// Buffers up to this size are pinned without regard to the batch's size.
const PINNED_BYTES_FREE: usize = 16 << 10;
/// The part of the budget that chunks of cold reads may take: one in so many.
const CHUNKS_SHARE: usize = 4;

/// A batch fit to be kept: `batch` itself, or a copy where it would pin a much larger buffer.
///
/// `frame_bytes` is the size of the buffer that `batch` is a part of.
pub fn detach(batch: Bytes, frame_bytes: usize) -> Bytes {
    let pins_little = frame_bytes <= PINNED_BYTES_FREE
        || frame_bytes <= batch.len().saturating_mul(PINNED_FACTOR_MAX);
    if pins_little { batch } else { Bytes::copy_from_slice(&batch) }
}

/// Batches read from memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailRead {
    /// The batches, in order.
    pub slices: Vec<Bytes>,
    /// The offset after them.
    pub next_offset: Offset,
    /// Bytes in all.
    pub bytes: usize,
}

/// One batch in memory, and where in its segment it lies.
#[derive(Clone, Debug)]
pub(super) struct TailBatch {
    pub(super) info: BatchInfo,
    pub(super) segment: Offset,
    pub(super) position: u64,
    pub(super) bytes: Bytes,
}

impl TailBatch {
    fn cost(&self) -> usize {
        self.bytes.len() + ENTRY_BYTES
    }
}

/// The memory that all tails and cold chunks of a shard share.
#[derive(Debug)]
pub struct TailBudget {
    limit: usize,
    used: Cell<usize>,
    next_log: Cell<u64>,
    arrivals: RefCell<VecDeque<(Weak<Tail>, Offset)>>,
    chunks: Chunks,
}

impl TailBudget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> TailBudget {
        TailBudget {
            limit,
            used: Cell::new(0),
            next_log: Cell::new(0),
            arrivals: RefCell::new(VecDeque::new()),
            chunks: Chunks::default(),
        }
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.used.get()
    }

    fn add(&self, bytes: usize) {
        self.used.set(self.used.get() + bytes);
    }

    fn sub(&self, bytes: usize) {
        self.used.set(self.used.get().checked_sub(bytes).expect("T3: never more than was added"));
    }

    /// Queues a batch for eviction; drops the entries of batches long gone when they are many.
    fn arrive(&self, tail: Weak<Tail>, base: Offset) {
        let mut arrivals = self.arrivals.borrow_mut();
        if arrivals.len() > ARRIVALS_FREE + 2 * self.used.get() / ENTRY_BYTES {
            arrivals.retain(|(tail, offset)| {
                let start = tail.upgrade().and_then(|tail| tail.start());
                start.is_some_and(|start| start <= *offset)
            });
        }
        arrivals.push_back((tail, base));
    }

    /// Evicts the oldest batches until the budget is kept, or all that is left is pinned (T2).
    fn evict(&self) {
        let mut arrivals = self.arrivals.borrow_mut();
        let mut pinned = 0;
        while self.used.get() > self.limit && pinned < arrivals.len().min(EVICT_PINNED_MAX) {
            let Some((tail, offset)) = arrivals.pop_front() else { return };
            let Some(log) = tail.upgrade() else { continue };
            match log.evict_front(offset) {
                Evicted::Gone => {}
                Evicted::Pinned => {
                    arrivals.push_back((tail, offset));
                    pinned += 1;
                }
            }
        }
    }

    /// What was read from the disk and is still held.
    pub(super) fn chunks(&self) -> &Chunks {
        &self.chunks
    }

    /// Whether `bytes` more may be read ahead.
    pub(super) fn may_read_ahead(&self, bytes: usize) -> bool {
        self.chunks.may_read_ahead(bytes, self.limit / CHUNKS_SHARE)
    }

    /// Keeps a chunk from the disk; others go for it.
    pub(super) fn keep_chunk(&self, place: Place, bytes: Bytes, ahead: bool) {
        self.add(bytes.len());
        self.sub(self.chunks.keep(place, bytes, ahead, self.limit / CHUNKS_SHARE));
        self.evict();
    }

    /// Drops the chunks of a log.
    pub(super) fn forget_chunks(&self, log: u64) {
        self.sub(self.chunks.forget(log));
    }
}

enum Evicted {
    /// The batch is not held any more.
    Gone,
    /// The batch is not written yet.
    Pinned,
}

/// The tail of one log.
#[derive(Debug)]
pub(super) struct Tail {
    budget: Rc<TailBudget>,
    /// This log's number among those of the budget.
    pub(super) log: u64,
    batches: RefCell<VecDeque<TailBatch>>,
    /// Batches that end at or before this are written.
    written_end: Cell<Offset>,
}

impl Tail {
    pub(super) fn new(budget: Rc<TailBudget>, written_end: Offset) -> Rc<Tail> {
        let log = budget.next_log.get();
        budget.next_log.set(log + 1);
        let batches = RefCell::new(VecDeque::new());
        Rc::new(Tail { budget, log, batches, written_end: Cell::new(written_end) })
    }

    pub(super) fn budget(&self) -> &TailBudget {
        &self.budget
    }

    /// Adds the batch at the log's end (T1).
    pub(super) fn push(self: &Rc<Tail>, batch: TailBatch) {
        let base = batch.info.base_offset;
        self.budget.add(batch.cost());
        let mut batches = self.batches.borrow_mut();
        assert!(batches.back().is_none_or(|last| last.info.end_offset() == base), "T1");
        batches.push_back(batch);
        drop(batches);
        self.budget.arrive(Rc::downgrade(self), base);
        self.budget.evict();
    }

    /// Notes that all before `end` is written, so that it may be evicted.
    pub(super) fn set_written(&self, end: Offset) {
        self.written_end.set(end);
        if self.budget.used.get() > self.budget.limit {
            self.budget.evict();
        }
    }

    /// Drops batches that end after `end`; the log was truncated.
    pub(super) fn truncate(&self, end: Offset) {
        let mut batches = self.batches.borrow_mut();
        while batches.back().is_some_and(|last| last.info.end_offset() > end) {
            let dropped = batches.pop_back().expect("there is a last one");
            self.budget.sub(dropped.cost());
        }
        self.written_end.set(self.written_end.get().min(end));
    }

    /// Drops batches that begin before `end`, all of them written: the disk holds others now.
    pub(super) fn forget_before(&self, end: Offset) {
        let mut batches = self.batches.borrow_mut();
        while batches.front().is_some_and(|first| first.info.base_offset < end) {
            let dropped = batches.pop_front().expect("there is a first one");
            assert!(dropped.info.end_offset() <= self.written_end.get(), "T2");
            self.budget.sub(dropped.cost());
        }
    }

    /// The batch that contains `offset`, if it is held.
    pub(super) fn find(&self, offset: Offset) -> Option<TailBatch> {
        let batches = self.batches.borrow();
        let at = batches.partition_point(|batch| batch.info.last_offset < offset);
        batches.get(at).filter(|batch| batch.info.base_offset <= offset).cloned()
    }

    /// The first batch that is held and satisfies `wanted`, by its numbers.
    pub(super) fn search(&self, wanted: impl Fn(&BatchInfo) -> bool) -> Option<TailBatch> {
        self.batches.borrow().iter().find(|batch| wanted(&batch.info)).cloned()
    }

    /// First offset held.
    pub(super) fn start(&self) -> Option<Offset> {
        self.batches.borrow().front().map(|first| first.info.base_offset)
    }

    /// Whole batches from the one that contains `from`, all of them before `upto`, up to
    /// `max_bytes`; `None` if the batch at `from` is not held.
    pub(super) fn read(
        &self,
        from: Offset,
        upto: Offset,
        max_bytes: usize,
        min_one: bool,
    ) -> Option<TailRead> {
        let batches = self.batches.borrow();
        if batches.front()?.info.base_offset > from {
            return None;
        }
        let first = batches.partition_point(|batch| batch.info.last_offset < from);
        let mut read = TailRead { slices: Vec::new(), next_offset: from, bytes: 0 };
        for batch in batches.range(first..) {
            let fits = read.bytes + batch.bytes.len() <= max_bytes;
            let allowed = fits || min_one && read.slices.is_empty();
            if batch.info.end_offset() > upto || !allowed {
                break;
            }
            read.bytes += batch.bytes.len();
            read.next_offset = batch.info.end_offset();
            read.slices.push(batch.bytes.clone());
        }
        Some(read)
    }

    fn evict_front(&self, offset: Offset) -> Evicted {
        let mut batches = self.batches.borrow_mut();
        let Some(front) = batches.front() else { return Evicted::Gone };
        if front.info.base_offset > offset {
            return Evicted::Gone;
        }
        if front.info.end_offset() > self.written_end.get() {
            return Evicted::Pinned;
        }
        // Arrivals are in order, so the front is the entry's own batch or one whose entry went
        // behind it because it was pinned: either may go.
        let dropped = batches.pop_front().expect("there is a front");
        self.budget.sub(dropped.cost());
        Evicted::Gone
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        for batch in self.batches.borrow().iter() {
            self.budget.sub(batch.cost());
        }
        self.budget.forget_chunks(self.log);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::fixtures::batch;
    use crate::storage::segment::{Chain, Key};

    fn tail_batch(base: i64, payload: usize) -> TailBatch {
        let (bytes, info) = batch(base, 2, 0, payload, 0);
        TailBatch { info, segment: Offset(0), position: 0, bytes }
    }

    #[test]
    fn reads_share_bytes_and_stop_at_whole_batches() {
        let tail = Tail::new(Rc::new(TailBudget::new(1 << 20)), Offset(10));
        for base in [10, 12, 14] {
            tail.push(tail_batch(base, 100));
        }
        let size = tail.find(Offset(10)).unwrap().bytes.len();
        let read = |from, upto, max, min_one| {
            tail.read(Offset(from), Offset(upto), max, min_one)
                .map(|r| (r.slices.len(), r.next_offset.0))
        };
        assert_eq!(read(9, 99, 9999, true), None);
        assert_eq!(read(10, 99, 9999, true), Some((3, 16)));
        assert_eq!(read(11, 99, 9999, true), Some((3, 16)));
        assert_eq!(read(10, 15, 9999, true), Some((2, 14)));
        assert_eq!(read(10, 99, 2 * size, false), Some((2, 14)));
        assert_eq!(read(10, 99, size - 1, false), Some((0, 10)));
        assert_eq!(read(10, 99, size - 1, true), Some((1, 12)));
        assert_eq!(read(16, 99, 9999, true), Some((0, 16)));
        let held = tail.find(Offset(13)).unwrap().bytes;
        let read = tail.read(Offset(12), Offset(99), 1, true).unwrap();
        assert_eq!(read.slices[0].as_ptr(), held.as_ptr());
    }

    #[test]
    fn the_oldest_written_batch_of_the_shard_goes_first() {
        let cost = tail_batch(0, 100).cost();
        let budget = Rc::new(TailBudget::new(3 * cost));
        let one = Tail::new(budget.clone(), Offset(0));
        let two = Tail::new(budget.clone(), Offset(0));
        one.push(tail_batch(0, 100));
        two.push(tail_batch(0, 100));
        one.push(tail_batch(2, 100));
        two.push(tail_batch(2, 100));
        // Nothing is written: all stays, above the limit (T2).
        assert_eq!(budget.used(), 4 * cost);
        two.set_written(Offset(4));
        assert_eq!((one.start(), two.start()), (Some(Offset(0)), Some(Offset(2))));
        one.set_written(Offset(4));
        one.push(tail_batch(4, 100));
        assert_eq!(budget.used(), 3 * cost);
        drop(one);
        drop(two);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_truncated_tail_ends_where_the_log_does() {
        let budget = Rc::new(TailBudget::new(1 << 20));
        let tail = Tail::new(budget.clone(), Offset(0));
        for base in [0, 2, 4] {
            tail.push(tail_batch(base, 10));
        }
        tail.truncate(Offset(2));
        tail.push(tail_batch(2, 50));
        assert_eq!(tail.find(Offset(3)).unwrap().info.last_offset, Offset(3));
        assert!(tail.find(Offset(4)).is_none());
    }

    #[test]
    fn chunks_count_in_the_budget_and_keep_to_their_share() {
        let budget = TailBudget::new(100 * CHUNKS_SHARE);
        let segment = Key { base: Offset(0), version: 0, chain: Chain::Unbroken };
        let place = |position| Place { log: 1, segment, position };
        budget.keep_chunk(place(0), Bytes::from(vec![1; 60]), false);
        budget.keep_chunk(place(60), Bytes::from(vec![2; 60]), true);
        assert!(!budget.may_read_ahead(1));
        assert_eq!(budget.used(), 60);
        assert!(budget.chunks().get(place(0)).is_none());
        budget.forget_chunks(1);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_small_part_of_a_large_frame_is_copied_out() {
        let frame = Bytes::from(vec![0; 1 << 20]);
        let small = frame.slice(0..100);
        assert_ne!(detach(small.clone(), frame.len()).as_ptr(), small.as_ptr());
        assert_eq!(detach(small.clone(), 4096).as_ptr(), small.as_ptr());
        let large = frame.slice(0..600_000);
        assert_eq!(detach(large.clone(), frame.len()).as_ptr(), large.as_ptr());
    }
}
