//! Finding things in a log: files, indexes, batches by offset and by time.
//!
//! In:   offsets and timestamps.
//! Out:  batches with their bytes; the caller looks at records within them.
//! Home: the partition's shard.
//!
//! Invariants
//!   O1  At most `INDEXES_HELD_MAX` indexes of sealed segments are held per log.
//!   O2  A bad or missing index is made again from the segment, and saved.
//!   O3  What is found by a `Key` is of the bytes it names: once compaction has replaced a
//!       segment, its old key finds nothing, quarantines nothing, and who held it looks again.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;

use crate::io::directory::Directory;
use crate::io::file::{File, IoError};
use crate::model::offset::Offset;
use crate::model::time::Timestamp;
use crate::record::batch::{Batch, BatchInfo};
use crate::storage::log::{Inner, Log, LogError, OffsetRange};
use crate::storage::names;
use crate::storage::offset_index::SparseIndex;
use crate::storage::recovery::load_index;
use crate::storage::segment::{Key, Mark, Sealed, Segment, Slot, Sums};
use crate::storage::tail::TailBatch;
use crate::storage::transactions::open_at;
use crate::storage::walk::{Course, Stop, walk};

/// Indexes of sealed segments held in memory per log.
const INDEXES_HELD_MAX: usize = 4;

/// A batch found by its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its numbers.
    pub info: BatchInfo,
    /// The whole batch; its records tell the exact offset.
    pub bytes: Bytes,
}

/// Where a batch was found.
enum Hit<F> {
    /// In the tail.
    Held(TailBatch),
    /// In this file, at this position.
    Written(Rc<F>, BatchInfo, u64),
}

/// An index that several may hold.
pub(super) type SharedIndex = Rc<RefCell<SparseIndex>>;

impl<D: Directory> Log<D> {
    /// The first batch that ends after `from`, at or before `upto`, and holds a timestamp of
    /// `wanted` or later. If no record of it that the caller may show is late enough, the caller
    /// asks again from the batch's end. Errors: `Damaged`, `Offline`.
    pub async fn batch_for_timestamp(
        &self,
        wanted: Timestamp,
        from: Offset,
        upto: Offset,
    ) -> Result<Option<Found>, LogError> {
        loop {
            let replaced = self.inner.replaced();
            let found = self.inner.find_by_time(wanted, from.max(self.log_start()), upto).await;
            if replaced == self.inner.replaced() {
                return found;
            }
        }
    }

    /// The numbers of the first batch of clients' records that ends after `from`, at or before
    /// `upto`; none if there is none: ends of transactions and what compaction left empty do not count. Of what is no longer in memory headers alone are read.
    /// Errors: `Damaged`, `Offline`.
    pub async fn batch_after(
        &self,
        from: Offset,
        upto: Offset,
    ) -> Result<Option<BatchInfo>, LogError> {
        let from = from.max(self.log_start());
        loop {
            let replaced = self.inner.replaced();
            let found = self.inner.find_after(from, upto).await;
            if replaced == self.inner.replaced() {
                return found;
            }
        }
    }

    /// The first batch with the largest timestamp of the log, as far as it has been appended;
    /// `None` if it is empty. Errors: `Damaged`, `Offline`.
    pub async fn batch_with_max_timestamp(&self) -> Result<Option<Found>, LogError> {
        loop {
            let replaced = self.inner.replaced();
            let found = self.inner.find_latest(self.log_start(), self.log_end()).await;
            if replaced == self.inner.replaced() {
                return found;
            }
        }
    }
}

fn start_of(key: Key) -> Mark {
    Mark { position: 0, offset: key.base }
}

impl<D: Directory> Inner<D> {
    /// Segments replaced so far: who sees it move looks again.
    pub(super) fn replaced(&self) -> u64 {
        self.state.borrow().replaced
    }

    async fn find_by_time(
        &self,
        wanted: Timestamp,
        from: Offset,
        upto: Offset,
    ) -> Result<Option<Found>, LogError> {
        for key in self.keys_within(from, upto) {
            let sums = match self.sums(key).await {
                Err(LogError::OutOfRange { .. }) => continue, // removed meanwhile
                sums => sums?,
            };
            if sums.max_timestamp < wanted {
                continue;
            }
            let late = |info: &BatchInfo| {
                info.end_offset() > from
                    && info.end_offset() <= upto
                    && info.max_timestamp >= wanted
            };
            let index = self.index(key).await?;
            let entry = index.borrow().before_time(wanted);
            let start = entry.map(|entry| self.mark_of(&index, entry.position));
            let found = self.find_from(key, start.unwrap_or(start_of(key)), late).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    async fn find_after(&self, from: Offset, upto: Offset) -> Result<Option<BatchInfo>, LogError> {
        let after = |info: &BatchInfo| {
            let within = info.end_offset() > from && info.end_offset() <= upto;
            within && info.record_count > 0 && !info.attributes.is_control()
        };
        if let Some(batch) = self.tail.find(from).filter(|batch| after(&batch.info)) {
            return Ok(Some(batch.info));
        }
        for key in self.keys_within(from, upto) {
            let index = match self.index(key).await {
                Err(LogError::OutOfRange { .. }) => continue, // removed meanwhile
                index => index?,
            };
            let entry = index.borrow().at_or_before(from);
            let start = entry.map(|entry| self.mark_of(&index, entry.position));
            match self.hit_from(key, start.unwrap_or(start_of(key)), after).await? {
                Some(Hit::Held(batch)) => return Ok(Some(batch.info)),
                Some(Hit::Written(_, info, _)) => return Ok(Some(info)),
                None => {}
            }
        }
        Ok(None)
    }

    async fn find_latest(&self, from: Offset, upto: Offset) -> Result<Option<Found>, LogError> {
        let mut best: Option<(Key, Sums)> = None;
        for key in self.keys_within(from, upto) {
            let sums = self.sums(key).await?;
            if best.is_none_or(|(_, best)| sums.max_timestamp > best.max_timestamp) {
                best = Some((key, sums));
            }
        }
        let Some((key, sums)) = best.filter(|(_, sums)| sums.bytes > 0) else { return Ok(None) };
        let index = self.index(key).await?;
        let entry = index.borrow().at_or_before(sums.max_timestamp_base);
        let start = entry.map(|entry| self.mark_of(&index, entry.position));
        let start = start.unwrap_or(start_of(key));
        self.find_from(key, start, |info| info.max_timestamp == sums.max_timestamp).await
    }

    /// The segments that hold any of `[from, upto)`.
    pub(super) fn keys_within(&self, from: Offset, upto: Offset) -> Vec<Key> {
        let state = self.state.borrow();
        let within = |s: &&Segment<D::File>| s.base < upto && s.staged.offset > from;
        state.segments.iter().filter(within).map(Segment::key).collect()
    }

    fn mark_of(&self, index: &SharedIndex, position: u32) -> Mark {
        let index = index.borrow();
        let entry = index.entries.iter().find(|entry| entry.position == position);
        let offset = entry.map_or(index.base, |entry| index.offset_of(entry));
        Mark { position: u64::from(position), offset }
    }

    /// The first batch from `start` on that is `wanted`, with its bytes.
    async fn find_from(
        &self,
        key: Key,
        start: Mark,
        wanted: impl Fn(&BatchInfo) -> bool,
    ) -> Result<Option<Found>, LogError> {
        Ok(match self.hit_from(key, start, wanted).await? {
            Some(Hit::Held(batch)) => Some(Found { info: batch.info, bytes: batch.bytes }),
            Some(Hit::Written(file, info, position)) => {
                let bytes = self.whole_batch(key, &*file, &info, position).await?;
                Some(Found { info, bytes })
            }
            None => None,
        })
    }

    /// The first batch from `start` on that is `wanted`: on disk what is written, then the tail.
    async fn hit_from(
        &self,
        key: Key,
        start: Mark,
        wanted: impl Fn(&BatchInfo) -> bool,
    ) -> Result<Option<Hit<D::File>>, LogError> {
        let in_tail = self.tail.start().is_some_and(|tail| tail <= start.offset);
        if !in_tail {
            let mut hit = None;
            let limit = self.readable(key).await?;
            let file = self.file_of(key).await.map_err(|e| self.read_error(e, key, start))?;
            let course = Course::headers(start, limit, key.chain);
            let walked = walk(&*file, course, |met| {
                let found = wanted(met.info);
                if found {
                    hit = Some((*met.info, met.position));
                }
                !found
            });
            let (end, stop) = walked.await.map_err(|e| self.read_error(e, key, start))?;
            if let Some((info, position)) = hit {
                return Ok(Some(Hit::Written(file, info, position)));
            }
            if stop != Stop::Limit {
                return Err(self.damaged(key, end.offset));
            }
        }
        let found = self.tail.search(|info| info.base_offset >= start.offset && wanted(info));
        Ok(found.map(Hit::Held))
    }

    /// Reads one batch, whole and checked.
    async fn whole_batch(
        &self,
        key: Key,
        file: &D::File,
        info: &BatchInfo,
        position: u64,
    ) -> Result<Bytes, LogError> {
        let mark = Mark { position, offset: info.base_offset };
        let length = usize::try_from(info.bytes).unwrap_or(usize::MAX);
        let bytes = file.read_at(position, length).await;
        let bytes = bytes.map_err(|e| self.read_error(e, key, mark))?;
        if !Batch::first(&bytes).is_ok_and(|batch| batch.verify_crc().is_ok()) {
            let range = OffsetRange { from: info.base_offset, to: info.end_offset() };
            return Err(self.quarantine(key, range));
        }
        Ok(bytes)
    }

    /// Where the batch that contains `offset` begins; the log's end if `offset` is that.
    pub(super) async fn locate(&self, offset: Offset) -> Result<(Offset, Mark), LogError> {
        if let Some(batch) = self.tail.find(offset) {
            let mark = Mark { position: batch.position, offset: batch.info.base_offset };
            return Ok((batch.segment, mark));
        }
        let key = self.state.borrow().segment_of(offset).map(Segment::key);
        let key = key.ok_or_else(|| self.out_of_range())?;
        let index = self.index(key).await?;
        let entry = index.borrow().at_or_before(offset);
        let from = entry.map_or(start_of(key), |entry| self.mark_of(&index, entry.position));
        let limit = self.readable(key).await?;
        let file = self.file_of(key).await.map_err(|e| self.read_error(e, key, from))?;
        let course = Course::headers(from, limit, key.chain);
        let walked = walk(&*file, course, |met| met.info.end_offset() <= offset).await;
        let (mark, stop) = walked.map_err(|e| self.read_error(e, key, from))?;
        match stop {
            Stop::Enough => Ok((key.base, mark)),
            Stop::Limit | Stop::Zeros | Stop::Bad => Err(self.damaged(key, mark.offset)),
        }
    }

    /// The open file of a segment. A name opens the bytes of `key` as long as the key holds:
    /// compaction changes the name only after it.
    pub(super) async fn file_of(&self, key: Key) -> Result<Rc<D::File>, IoError> {
        let open = {
            let mut state = self.state.borrow_mut();
            let segment = state.keyed(key).ok_or(IoError::NotFound)?;
            segment.open_file().cloned()
        };
        if let Some(file) = open {
            return Ok(file);
        }
        let file = Rc::new(self.directory.open(&names::segment(key.base)).await?);
        let mut state = self.state.borrow_mut();
        let segment = state.keyed(key).ok_or(IoError::NotFound)?;
        if matches!(segment.file, Slot::Closed) {
            segment.file = Slot::Open(file.clone());
        }
        Ok(segment.open_file().cloned().unwrap_or(file))
    }

    /// Position up to which a segment can be read from its file.
    pub(super) async fn readable(&self, key: Key) -> Result<u64, LogError> {
        let written = {
            let mut state = self.state.borrow_mut();
            let segment = state.keyed(key);
            segment.map(|segment| (!segment.sealed).then_some(segment.written_mark.position))
        };
        match written.ok_or_else(|| self.out_of_range())? {
            Some(position) => Ok(position),
            None => Ok(self.sums(key).await?.bytes),
        }
    }

    /// Size and largest timestamp of a segment.
    pub(super) async fn sums(&self, key: Key) -> Result<Sums, LogError> {
        let known = {
            let mut state = self.state.borrow_mut();
            let segment = state.keyed(key);
            segment.map(|segment| (segment.sums, segment.index.clone()))
        };
        match known.ok_or_else(|| self.out_of_range())? {
            (Some(sums), _) => Ok(sums),
            (None, Some(index)) => Ok(sums_of(&index.borrow())),
            (None, None) => Ok(sums_of(&self.index(key).await?.borrow())),
        }
    }

    /// The index of a segment, from memory, its file, or made again (O2).
    pub(super) async fn index(&self, key: Key) -> Result<SharedIndex, LogError> {
        let (held, end) = {
            let mut state = self.state.borrow_mut();
            let segment = state.keyed(key);
            let segment = segment.ok_or_else(|| self.out_of_range())?;
            (segment.index.clone(), segment.staged.offset)
        };
        if let Some(index) = held {
            return Ok(index);
        }
        let loaded = load_index(&self.directory, key.base).await;
        let loaded = loaded.map_err(|e| self.read_error(e, key, start_of(key)))?;
        let index = match loaded.filter(|index| index.end == end) {
            Some(index) => index,
            None => self.rebuild_index(key, end).await?,
        };
        let index = Rc::new(RefCell::new(index));
        // A key that does not hold any more: the file may have been the other's (O3).
        if self.hold_index(key, &index) { Ok(index) } else { Err(self.out_of_range()) }
    }

    /// The index of a segment that is about to grow again; empty if it cannot be read.
    pub(super) async fn index_to_extend(&self, base: Offset) -> Result<SharedIndex, IoError> {
        let held = self.state.borrow_mut().segment(base).and_then(|s| s.index.clone());
        if let Some(held) = held {
            return Ok(held);
        }
        let open = open_at(&self.directory, &self.before(base)).await?;
        Ok(Rc::new(RefCell::new(SparseIndex::new(base, open))))
    }

    /// The segments before the one at `base`.
    fn before(&self, base: Offset) -> Vec<Sealed> {
        let state = self.state.borrow();
        let before = state.segments.iter().take_while(|segment| segment.base < base);
        before.map(|s| Sealed { key: s.key(), end: s.staged.offset }).collect()
    }

    async fn rebuild_index(&self, key: Key, end: Offset) -> Result<SparseIndex, LogError> {
        let start = start_of(key);
        let interval = self.state.borrow().options.index_interval_bytes;
        let replaced = self.replaced();
        let file = self.file_of(key).await.map_err(|e| self.read_error(e, key, start))?;
        let limit = file.size().await.map_err(|e| self.read_error(e, key, start))?;
        let before = self.before(key.base);
        let open = open_at(&self.directory, &before).await;
        let open = open.map_err(|e| self.read_error(e, key, start))?;
        let mut index = SparseIndex::new(key.base, open);
        let course = Course::headers(start, limit, key.chain);
        let walked = walk(&*file, course, |met| {
            index.note(met.info, met.header, met.marker, interval);
            true
        });
        walked.await.map_err(|e| self.read_error(e, key, start))?;
        if replaced != self.replaced() {
            return Err(self.out_of_range()); // what was open before it may be another's (O3)
        }
        if index.end != end {
            // What follows cannot be found any more: from here to the segment's end is damage.
            let _ = self.quarantine(key, OffsetRange { from: index.end, to: end });
            return Ok(index);
        }
        let held = self.index_gate.enter().await;
        if self.state.borrow_mut().keyed(key).is_none() {
            return Err(self.out_of_range()); // the name is that of another's index now
        }
        let saved = self.directory.write_small(&names::index(key.base), &index.encode()).await;
        drop(held);
        match saved {
            Ok(()) | Err(IoError::NoSpace) => Ok(index),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Keeps the index of a sealed segment for the next look-up, within O1; whether it is there.
    fn hold_index(&self, key: Key, index: &SharedIndex) -> bool {
        let mut state = self.state.borrow_mut();
        let Some(segment) = state.keyed(key) else { return false };
        segment.sums = Some(sums_of(&index.borrow()));
        segment.index = Some(index.clone());
        let held = |s: &Segment<D::File>| s.sealed && s.index.is_some();
        let surplus = state.segments.iter().filter(|s| held(s)).count();
        let surplus = surplus.saturating_sub(INDEXES_HELD_MAX);
        let others = state.segments.iter_mut().filter(|s| held(s) && s.base != key.base);
        for segment in others.take(surplus) {
            segment.index = None;
        }
        true
    }

    /// A failed read: what begins at `mark` cannot be served; the directory goes on.
    pub(super) fn read_error(&self, error: IoError, key: Key, mark: Mark) -> LogError {
        match error {
            IoError::NotFound if mark.offset < self.state.borrow().log_start => self.out_of_range(),
            _ => self.damaged(key, mark.offset),
        }
    }

    pub(super) fn out_of_range(&self) -> LogError {
        let state = self.state.borrow();
        LogError::OutOfRange { log_start: state.log_start, log_end: state.log_end }
    }

    /// The batch at `from` in the segment is bad: damage up to the next indexed batch.
    pub(super) fn damaged(&self, key: Key, from: Offset) -> LogError {
        let to = {
            let mut state = self.state.borrow_mut();
            let segment = state.keyed(key);
            segment.map(|segment| {
                let next = segment.index.as_ref().and_then(|index| {
                    let index = index.borrow();
                    index.after(from).map(|entry| index.offset_of(&entry))
                });
                next.unwrap_or(segment.staged.offset)
            })
        };
        match to {
            Some(to) => self.quarantine(key, OffsetRange { from, to }),
            None => self.out_of_range(),
        }
    }

    /// Notes a damaged range of a segment that is still there.
    pub(super) fn quarantine(&self, key: Key, range: OffsetRange) -> LogError {
        let mut state = self.state.borrow_mut();
        if state.keyed(key).is_none() {
            drop(state);
            return self.out_of_range(); // O3
        }
        if range.from < range.to && !state.quarantined.contains(&range) {
            state.quarantined.push(range);
        }
        LogError::Damaged { from: range.from, to: range.to }
    }
}

fn sums_of(index: &SparseIndex) -> Sums {
    Sums {
        bytes: index.bytes,
        max_timestamp: index.max_timestamp,
        max_timestamp_base: index.max_timestamp_base,
    }
}
