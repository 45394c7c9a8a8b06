//! What the appender does next: one decision at a time, from the state alone.
//!
//! In:   the log's state.
//! Out:  [`Work`], with all it needs, so that performing it touches no state.
//! Home: one shard; synchronous.
//!
//! Invariants
//!   A1  Two writes in flight never share a block (W1): after a write that ends inside a block,
//!       no other starts in that segment until it has completed.
//!   A2  No write ends past the allocated space: the file never grows by a write.
//!   A3  A segment is written only after its name is durable (W6).
//!   A4  Nothing is written, made or extended while the checkpoint on disk says that the log was
//!       closed in order: a restart that believes it makes nothing durable that it finds.
//!   A7  Zeros are written only ahead of the data, into allocated space of the last segment, one
//!       work at a time; no write of data enters their range, and the segment is not sealed,
//!       before they are durable. They change no content: whatever a crash leaves of them, the
//!       range reads as before.
//!
//! When nothing is in flight, all that is queued is written, the ragged end too: one small append
//! pays one write. While writes are in flight, another starts only for full blocks, and only for
//! many of them; the rest waits and goes with what piles up (group commit).
//!
//! Per write: one copy of the batches into an aligned buffer, one allocation for its future.

use std::rc::Rc;

use bytes::Buf;

use crate::config::topic::FlushPolicy;
use crate::constants::BLOCK_BYTES;
use crate::io::file::{Durability, File};
use crate::model::offset::Offset;
use crate::model::time::Timestamp;
use crate::storage::ahead::Ahead;
use crate::storage::appender::WriteInFlight;
use crate::storage::checkpoint::Checkpoint;
use crate::storage::log::{Life, State};
use crate::storage::options::{
    ALLOCATE_BYTES_MAX, ALLOCATE_BYTES_MIN, DISK_FULL_RETRY_MS, PROVEN_BYTES_MAX, PROVEN_MS,
    WRITE_AHEAD_BYTES_MIN, WRITE_BYTES_MAX, WRITES_IN_FLIGHT_MAX,
};
use crate::storage::read_ahead::Range;
use crate::storage::segment::{Mark, Segment, Slot, block_ceil, block_floor};

/// Space asked for when no more can be had.
const ALLOCATE_BYTES_LEAST: u64 = 64 << 10;

/// A segment file made ahead of its use.
#[derive(Debug)]
pub(super) struct Spare<F> {
    pub(super) file: Rc<F>,
    pub(super) allocated: u64,
    /// Zeros have been written up to here.
    pub(super) ready: u64,
}

/// A range of a segment that is being filled with zeros.
#[derive(Clone, Copy, Debug)]
pub(super) struct Zeroing {
    pub(super) base: Offset,
    pub(super) from: u64,
    pub(super) to: u64,
}

/// One thing for the appender to do.
pub(super) enum Work<F: File> {
    /// Write a buffer.
    Write { id: u64, file: Rc<F>, buffer: F::Buffer, position: u64, durability: Durability },
    /// Make the file of a segment, from the spare if there is one.
    Create { base: Offset, spare: Option<Spare<F>>, bytes: u64 },
    /// Make a spare segment, its first `ready` bytes written.
    Spare { bytes: u64, ready: u64 },
    /// Write zeros ahead of the data, durably.
    Zero { file: Rc<F>, range: Zeroing },
    /// Add space to a segment: up to `to`, or at least `least`.
    Allocate { base: Offset, file: Rc<F>, to: u64, least: u64 },
    /// Make what is written of a segment durable.
    Sync { base: Offset, file: Rc<F>, written: u64, mark: Mark },
    /// Cut a segment's file to its data, make it durable, write its index.
    Seal { base: Offset, file: Rc<F>, bytes: u64, index: Vec<u8> },
    /// Write the checkpoint.
    Checkpoint,
    /// Reads a range before a reader asks for it.
    Prefetch { range: Range },
}

/// How far the log is proven to be durable: a segment, and a boundary in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Proven {
    pub(super) segment: Offset,
    pub(super) mark: Mark,
}

impl Proven {
    pub(super) fn of(checkpoint: &Checkpoint) -> Proven {
        let Checkpoint { proven_position: position, proven_offset: offset, .. } = *checkpoint;
        Proven { segment: checkpoint.proven_segment, mark: Mark { position, offset } }
    }
}

/// The size to give to a segment that has `allocated` bytes of space and needs `needed`.
///
/// Steps double from [`ALLOCATE_BYTES_MIN`] to [`ALLOCATE_BYTES_MAX`], bounded by the segment's.
fn size_after(allocated: u64, needed: u64, segment_bytes: u32) -> u64 {
    let limit = block_ceil(u64::from(segment_bytes));
    let step = allocated.clamp(ALLOCATE_BYTES_MIN, ALLOCATE_BYTES_MAX);
    block_floor(allocated + step).min(limit).max(block_ceil(needed))
}

impl<F: File> State<F> {
    /// The next thing to do, marked as in flight; `None` if nothing can be done now.
    pub(super) fn next_work(&mut self) -> Option<Work<F>> {
        if self.jobs.pauses > 0 || self.life == Life::Ended {
            return None;
        }
        if let Some(range) = self.read_ahead.next() {
            self.jobs.in_flight += 1;
            return Some(Work::Prefetch { range });
        }
        let checkpoint = self.plan_checkpoint();
        if checkpoint.is_none() && self.jobs.clean_on_disk {
            return None; // A4
        }
        let work = checkpoint
            .or_else(|| self.plan_create())
            .or_else(|| self.plan_write())
            .or_else(|| self.plan_allocate())
            .or_else(|| self.plan_sync())
            .or_else(|| self.plan_seal())
            .or_else(|| self.plan_zero())
            .or_else(|| self.plan_spare())?;
        self.jobs.in_flight += 1;
        Some(work)
    }

    /// Whether a tick could make something due.
    pub(super) fn has_pending(&self) -> bool {
        self.disk_full.is_some()
            || self.jobs.proven != Some(self.proven())
            || self.synced_end() < self.log_end
    }

    pub(super) fn may_try_space(&self) -> bool {
        self.disk_full.is_none_or(|since| self.now.0 - since.0 >= DISK_FULL_RETRY_MS)
    }

    /// Index of the first segment that is not sealed.
    fn first_unsealed(&self) -> usize {
        self.segments.partition_point(|segment| segment.sealed)
    }

    fn plan_create(&mut self) -> Option<Work<F>> {
        if self.jobs.creating || !self.may_try_space() {
            return None;
        }
        let first = self.first_unsealed();
        let segment_bytes = self.options.segment_bytes;
        let at = (first..self.segments.len())
            .find(|&at| matches!(self.segments[at].file, Slot::Wanted))?;
        let before = at.checked_sub(1).map_or(0, |at| self.segments[at].allocated);
        let segment = &self.segments[at];
        let start = if at == 0 { 0 } else { before.max(ALLOCATE_BYTES_MAX / 2) };
        let bytes = size_after(start, segment.staged.position, segment_bytes)
            .min(block_ceil(u64::from(segment_bytes)).max(block_ceil(segment.staged.position)));
        let base = segment.base;
        self.jobs.creating = true;
        Some(Work::Create { base, spare: self.jobs.spare.take(), bytes })
    }

    fn plan_write(&mut self) -> Option<Work<F>> {
        let base = self.queue.front()?.segment;
        if self.writes.len() >= WRITES_IN_FLIGHT_MAX {
            return None;
        }
        let in_segment = self.writes.iter().filter(|write| write.segment == base);
        let (mut busy, mut ragged) = (false, false);
        for write in in_segment {
            busy = true;
            ragged |= write.end % BLOCK_BYTES as u64 != 0;
        }
        let segment = self.segment(base).expect("L3: a queued batch has its segment");
        let file = segment.open_file()?.clone(); // A3
        let end = self.jobs.zeroing.filter(|range| range.base == base).map(|range| range.from);
        let segment = self.segment(base).expect("L3: a queued batch has its segment");
        let end = end.unwrap_or(segment.allocated); // A7
        let take = if ragged { 0 } else { bytes_to_write(segment, end, busy) }; // A1
        if take == 0 {
            return None;
        }
        Some(self.fill_write(base, file, take))
    }

    /// Copies the next `take` queued bytes of the segment `base` into a write.
    fn fill_write(&mut self, base: Offset, file: Rc<F>, take: usize) -> Work<F> {
        let durability = match self.options.flush {
            FlushPolicy::PerAck => Durability::Synced,
            FlushPolicy::Interval { .. } => Durability::Written,
        };
        let segment = self.segment(base).expect("L3: a queued batch has its segment");
        let start = segment.issued;
        let mut end_mark = segment.issued_mark;
        let prefix = std::mem::take(&mut segment.prefix);
        let data = prefix.len() + take;
        let mut buffer = file.buffer(data.next_multiple_of(BLOCK_BYTES));
        buffer[..prefix.len()].copy_from_slice(&prefix); // W2
        let mut at = prefix.len();
        while at < data {
            let queued = self.queue.front_mut().expect("L3: the queue holds what is staged");
            assert_eq!(queued.segment, base, "L3: one write is of one segment");
            let part = queued.bytes.len().min(data - at);
            buffer[at..at + part].copy_from_slice(&queued.bytes[..part]);
            queued.bytes.advance(part);
            at += part;
            if queued.bytes.is_empty() {
                end_mark = queued.end;
                self.queue.pop_front();
            }
        }
        buffer[data..].fill(0); // W3
        self.queued_bytes -= take;
        let end = start + take as u64;
        let ragged = data % BLOCK_BYTES;
        let segment = self.segment(base).expect("L3: a queued batch has its segment");
        segment.prefix = buffer[data - ragged..data].to_vec();
        segment.issued = end;
        segment.issued_mark = end_mark;
        segment.assert_invariants();
        self.jobs.ahead.note(data);
        let id = self.jobs.next_write;
        self.jobs.next_write += 1;
        let synced = durability == Durability::Synced;
        self.writes.push_back(WriteInFlight {
            id,
            segment: base,
            start,
            end,
            end_mark,
            synced,
            done: false,
        });
        Work::Write { id, file, buffer, position: block_floor(start), durability }
    }

    fn plan_allocate(&mut self) -> Option<Work<F>> {
        if self.jobs.allocating || !self.may_try_space() {
            return None;
        }
        let segment_bytes = self.options.segment_bytes;
        let last = self.segments.len() - 1;
        for at in self.first_unsealed()..self.segments.len() {
            let segment = &self.segments[at];
            let Some(file) = segment.open_file() else { continue };
            let (have, staged) = (segment.allocated, segment.staged.position);
            let step = have.clamp(ALLOCATE_BYTES_MIN, ALLOCATE_BYTES_MAX);
            let room = have < block_ceil(u64::from(segment_bytes));
            let grows = at == last && segment.first_append.is_some();
            let ahead = grows && room && staged + step / 2 > have;
            let lacks = segment.issued < staged && staged > have;
            if !lacks && !ahead {
                continue;
            }
            let to = size_after(have, staged, segment_bytes);
            let least = block_ceil(staged).max(have + ALLOCATE_BYTES_LEAST).min(to);
            let (base, file) = (segment.base, file.clone());
            self.jobs.allocating = true;
            return Some(Work::Allocate { base, file, to, least });
        }
        None
    }

    fn plan_sync(&mut self) -> Option<Work<F>> {
        if self.jobs.syncing || !self.sync_due() {
            return None;
        }
        let at = (self.first_unsealed()..self.segments.len())
            .find(|&at| self.segments[at].synced < self.segments[at].written)?;
        let segment = &self.segments[at];
        let file = segment.open_file()?.clone();
        let (base, written, mark) = (segment.base, segment.written, segment.written_mark);
        self.jobs.syncing = true;
        Some(Work::Sync { base, file, written, mark })
    }

    /// Whether written bytes that are not durable should be made so now.
    fn sync_due(&self) -> bool {
        let synced = self.synced_end();
        let unsynced = self.written_end().0 - synced.0;
        if synced < self.jobs.sync_wanted {
            return true;
        }
        match self.options.flush {
            // Written under another policy before: the durable end must get past it.
            FlushPolicy::PerAck => self.writes.is_empty(),
            FlushPolicy::Interval { flush_ms, flush_messages } => {
                let age = self.now.0.saturating_sub(self.jobs.synced_at.0);
                unsynced > 0
                    && (u64::try_from(unsynced).is_ok_and(|count| count >= flush_messages)
                        || u64::try_from(age).is_ok_and(|age| age >= flush_ms))
            }
        }
    }

    fn plan_seal(&mut self) -> Option<Work<F>> {
        let at = self.first_unsealed();
        if self.jobs.sealing || at + 1 >= self.segments.len() {
            return None;
        }
        let segment = &self.segments[at];
        let file = segment.open_file()?.clone();
        let zeroing = self.jobs.zeroing.is_some_and(|range| range.base == segment.base); // A7
        if zeroing || segment.written < segment.staged.position {
            return None;
        }
        let index = segment.index.as_ref().map(|index| index.borrow().encode()).unwrap_or_default();
        let (base, bytes) = (segment.base, segment.staged.position);
        self.jobs.sealing = true;
        Some(Work::Seal { base, file, bytes, index })
    }

    fn plan_spare(&mut self) -> Option<Work<F>> {
        let segment_bytes = u64::from(self.options.segment_bytes);
        let active = self.segments.back()?;
        let wanted = self.jobs.spare.is_none()
            && !self.jobs.sparing
            && !self.jobs.creating
            && self.disk_full.is_none()
            && self.life == Life::Open
            && active.staged.position > segment_bytes / 2;
        if !wanted {
            return None;
        }
        let bytes = active.allocated.min(ALLOCATE_BYTES_MAX).min(block_ceil(segment_bytes));
        self.jobs.sparing = true;
        let bytes = bytes.max(BLOCK_BYTES as u64);
        Some(Work::Spare { bytes, ready: self.zero_window().min(bytes) })
    }

    /// Bytes that should be written with zeros ahead of the data.
    fn zero_window(&self) -> u64 {
        match self.options.flush {
            FlushPolicy::PerAck => self.jobs.ahead.window(),
            FlushPolicy::Interval { .. } => 0, // no write waits for its metadata
        }
    }

    fn plan_zero(&mut self) -> Option<Work<F>> {
        let window = self.zero_window();
        if window == 0 || self.jobs.zeroing.is_some() || self.life != Life::Open {
            return None;
        }
        let segment = self.segments.back()?;
        let file = segment.open_file()?.clone();
        let (from, to) = range_to_zero(segment, window)?;
        let range = Zeroing { base: segment.base, from, to };
        self.jobs.zeroing = Some(range);
        self.jobs.ahead.used();
        Some(Work::Zero { file, range })
    }

    fn plan_checkpoint(&mut self) -> Option<Work<F>> {
        if self.jobs.checkpointing || !self.may_try_space() {
            return None;
        }
        let unmarked = self.jobs.clean_on_disk && !self.queue.is_empty(); // A4
        if !unmarked && !self.checkpoint_due() {
            return None;
        }
        self.jobs.checkpointing = true;
        self.jobs.checkpoint_tried_at = self.now;
        Some(Work::Checkpoint)
    }

    fn checkpoint_due(&self) -> bool {
        let proven = self.proven();
        let Some(last) = self.jobs.proven else {
            // Never written: the first one waits until there is much to prove, or for a tick.
            return proven.mark.position >= PROVEN_BYTES_MAX
                || self.segments.front().is_some_and(|first| first.base != proven.segment)
                || proven.mark.position > 0 && self.checkpoint_is_old();
        };
        if proven.segment != last.segment {
            return true;
        }
        proven.mark.position.saturating_sub(last.mark.position) >= PROVEN_BYTES_MAX
            || proven != last && self.checkpoint_is_old()
    }

    fn checkpoint_is_old(&self) -> bool {
        self.now.0.saturating_sub(self.jobs.checkpoint_tried_at.0) >= PROVEN_MS
    }

    /// How far the log is proven: a boundary of batches in the first segment not sealed.
    pub(super) fn proven(&self) -> Proven {
        let at = self.first_unsealed().min(self.segments.len() - 1);
        let segment = &self.segments[at];
        Proven { segment: segment.base, mark: segment.synced_mark }
    }

    /// All before this is written.
    pub(super) fn written_end(&self) -> Offset {
        self.frontier(|segment| (segment.written, segment.written_mark.offset))
    }

    /// All before this is durable, whatever the policy.
    pub(super) fn synced_end(&self) -> Offset {
        self.frontier(|segment| (segment.synced, segment.synced_mark.offset))
    }

    fn frontier(&self, reached: impl Fn(&Segment<F>) -> (u64, Offset)) -> Offset {
        let first = self.first_unsealed().min(self.segments.len() - 1);
        let mut end = self.segments[first].base;
        for segment in self.segments.range(first..) {
            let (position, offset) = reached(segment);
            end = offset;
            if position < segment.staged.position {
                break;
            }
        }
        end
    }
}

/// Where zeros are to be written, if less than a quarter of the window is ready (A7).
fn range_to_zero<F>(segment: &Segment<F>, window: u64) -> Option<(u64, u64)> {
    let (next, space) = (block_ceil(segment.issued), segment.allocated);
    if segment.ready >= (next + window / 4).min(space) {
        return None;
    }
    // What is staged now may be written before the zeros are, and not wait for them.
    let from = segment.ready.max(block_ceil(segment.staged.position) + block_floor(window / 8));
    let to = (next + window).min(space);
    let enough = from < to && (to == space || to - from >= window / 2);
    enough.then_some((from, to))
}

/// How many staged bytes of the segment the next write takes, which must end before the block
/// boundary `end`; 0: none now.
fn bytes_to_write<F>(segment: &Segment<F>, end: u64, busy: bool) -> usize {
    let prefix = segment.prefix.len();
    let space = usize::try_from(end - block_floor(segment.issued)).unwrap_or(usize::MAX);
    let waiting = segment.staged.position - segment.issued;
    let waiting = usize::try_from(waiting).unwrap_or(usize::MAX);
    let all = prefix.saturating_add(waiting);
    let most = all.min(WRITE_BYTES_MAX).min(space); // A2
    let full = most - most % BLOCK_BYTES;
    let ends_ragged = most == all && most > full;
    let data = if busy {
        if full >= WRITE_AHEAD_BYTES_MIN { full } else { 0 }
    } else if ends_ragged && full + BLOCK_BYTES > space {
        full // A2
    } else {
        most
    };
    data.saturating_sub(prefix)
}

/// What the appender has under way.
#[derive(Debug)]
pub(super) struct Jobs<F> {
    /// How many hold the appender still.
    pub(super) pauses: usize,
    /// Works begun and not completed.
    pub(super) in_flight: usize,
    pub(super) creating: bool,
    pub(super) allocating: bool,
    pub(super) sealing: bool,
    pub(super) syncing: bool,
    pub(super) sparing: bool,
    pub(super) checkpointing: bool,
    pub(super) spare: Option<Spare<F>>,
    pub(super) zeroing: Option<Zeroing>,
    pub(super) ahead: Ahead,
    pub(super) next_write: u64,
    /// All before this is to be made durable, whatever the policy.
    pub(super) sync_wanted: Offset,
    pub(super) synced_at: Timestamp,
    /// What the checkpoint on disk proves, if there is one.
    pub(super) proven: Option<Proven>,
    pub(super) checkpoint_tried_at: Timestamp,
    /// The checkpoint on disk says that the log was closed in order (A4).
    pub(super) clean_on_disk: bool,
}

impl<F> Jobs<F> {
    pub(super) fn new(proven: Option<Proven>, clean_on_disk: bool, now: Timestamp) -> Jobs<F> {
        Jobs {
            pauses: 0,
            in_flight: 0,
            creating: false,
            allocating: false,
            sealing: false,
            syncing: false,
            sparing: false,
            checkpointing: false,
            spare: None,
            zeroing: None,
            ahead: Ahead::default(),
            next_write: 0,
            sync_wanted: Offset::ZERO,
            synced_at: now,
            proven,
            checkpoint_tried_at: now,
            clean_on_disk,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_added_in_doubling_steps_up_to_the_segments_size() {
        const MIB: u64 = 1 << 20;
        let check = |allocated, needed, want: u64| {
            assert_eq!(size_after(allocated, needed, 1 << 30), want, "{allocated} {needed}");
        };
        check(0, 0, MIB);
        check(MIB, MIB, 2 * MIB);
        check(32 * MIB, 1, 64 * MIB);
        check(256 * MIB, 1, 320 * MIB);
        check(1000 * MIB, 1, 1024 * MIB);
        check(1024 * MIB, 1025 * MIB + 1, 1025 * MIB + 4096);
    }

    #[test]
    fn a_write_takes_what_blocks_and_space_allow() {
        let check = |issued: u64, staged: u64, allocated: u64, busy: bool, want: usize| {
            let mut segment: Segment<()> = Segment::wanted(Offset(0));
            segment.set_all(Mark { position: issued, offset: Offset(1) });
            segment.staged.position = staged;
            segment.allocated = allocated;
            segment.prefix = vec![0; usize::try_from(issued % 4096).unwrap()];
            assert_eq!(
                bytes_to_write(&segment, allocated, busy),
                want,
                "{issued} {staged} {allocated} {busy}"
            );
        };
        check(0, 100, 1 << 20, false, 100);
        check(100, 300, 1 << 20, false, 200);
        check(0, 100, 1 << 20, true, 0);
        check(0, 200_000, 1 << 20, true, 196_608);
        check(0, 2 << 20, 4 << 20, false, 1 << 20);
        check(100, 2 << 20, 4 << 20, false, (1 << 20) - 100);
        // At the end of the space only full blocks go, and a ragged rest waits for more space.
        check(0, 5000, 4096, false, 4096);
        check(4096, 5000, 4096, false, 0);
        check(4096 + 10, 9000, 8192, false, 4086);
    }

    #[test]
    fn zeros_go_where_data_comes_next_and_no_data_waits() {
        const KIB: u64 = 1 << 10;
        let check = |issued: u64, staged: u64, ready: u64, want: Option<(u64, u64)>| {
            let mut segment: Segment<()> = Segment::wanted(Offset(0));
            segment.issued = issued;
            segment.staged.position = staged;
            segment.ready = ready;
            segment.allocated = 512 * KIB;
            assert_eq!(range_to_zero(&segment, 128 * KIB), want, "{issued} {staged} {ready}");
        };
        check(0, 0, 0, Some((16 * KIB, 128 * KIB)));
        check(4_097, 4_097, 0, Some((24 * KIB, 136 * KIB)));
        check(4_097, 40_000, 0, Some((56 * KIB, 136 * KIB)));
        check(0, 0, 32 * KIB, None);
        check(0, 0, 28 * KIB, Some((28 * KIB, 128 * KIB)));
        // Much is staged: it will go in large writes.
        check(0, 60 * KIB, 0, None);
        // At the end of the space.
        check(480 * KIB, 480 * KIB, 496 * KIB, Some((496 * KIB, 512 * KIB)));
        check(480 * KIB, 480 * KIB, 512 * KIB, None);
        check(500 * KIB, 500 * KIB, 0, None);
    }
}
