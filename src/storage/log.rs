//! The durable log of one partition: what it is made of, and the calls that change its end.
//!
//! In:   stamped batches; times, handed in.
//! Out:  a durable end that only grows, and all that `reader.rs` and `retention.rs` give.
//! Home: the partition's shard; handles are cheap to clone and never leave it.
//!
//! Invariants
//!   L1  log_start <= durable_end <= log_end.
//!   L2  Segments are in order and contiguous; the last one takes the appends.
//!   L3  What is queued for writing is exactly what lies between `issued` and `staged`.
//!   L4  No borrow of the state lives across an await; after each await the state is looked at anew.
//!
//! `append` only stages: into the tail and the queue. One task, [`Log::run`], does the writing;
//! what disturbs it (truncation, closing) stops it first (`Pause`).
//!
//! Not here: writing (`appender.rs`), reading (`reader.rs`), the start (`recovery.rs`).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;

use crate::io::directory::Directory;
use crate::io::file::IoError;
use crate::model::offset::{LeaderEpoch, Offset};
use crate::model::time::Timestamp;
use crate::record::batch::{BatchInfo, HEADER_BYTES};
use crate::record::control::EndMarker;
use crate::storage::appender::WriteInFlight;
use crate::storage::checkpoint::CheckpointFile;
use crate::storage::compaction::manifest::{Compacted, ManifestFile};
use crate::storage::disk_gate::{DiskGate, Writer};
use crate::storage::epochs::EpochTable;
use crate::storage::options::{FailStop, LogOptions, PROVEN_BYTES_MAX, QUEUED_BYTES_MAX};
use crate::storage::plan::Jobs;
use crate::storage::read_ahead::ReadAhead;
use crate::storage::segment::{Key, Mark, Segment, Slot};
use crate::storage::signal::{Gate, Signal};
use crate::storage::tail::{Tail, TailBatch, TailBudget, TailRead};

/// A handle on the log of one partition.
pub struct Log<D: Directory> {
    pub(super) inner: Rc<Inner<D>>,
}

impl<D: Directory> Clone for Log<D> {
    fn clone(&self) -> Self {
        Log { inner: self.inner.clone() }
    }
}

/// What all logs of a shard (and of a directory) share.
#[derive(Clone)]
pub struct LogShared {
    /// Memory of the shard's tails.
    pub tail: Rc<TailBudget>,
    /// The stop of the directory.
    pub fail_stop: Rc<FailStop>,
    /// Whose appends are taken while its disk is nearly full.
    pub gate: Rc<DiskGate>,
}

impl LogShared {
    /// That of a directory in good health, with `tail_bytes` of memory for tails.
    pub fn new(tail_bytes: usize) -> LogShared {
        LogShared {
            tail: Rc::new(TailBudget::new(tail_bytes)),
            fail_stop: Rc::new(FailStop::new()),
            gate: Rc::new(DiskGate::default()),
        }
    }
}

/// What an append did besides staging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Much was appended since the last snapshot: the caller writes one of its state as it is
    /// after this batch ([`Log::write_snapshot`]), so that a restart replays little.
    pub snapshot_due: bool,
}

/// Why an append was refused; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendRefused {
    /// No space on the disk, or hardly any. Retriable: reads go on, and space may come back.
    DiskFull,
    /// More than [`QUEUED_BYTES_MAX`] wait to be written. Retriable: see [`Log::reserve`].
    QueueFull,
    /// The directory has failed, or the log is closed or deleted.
    Offline,
}

/// Why a call that changes the log could not be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogError {
    /// The directory has failed, or the log is closed or deleted.
    Offline,
    /// No space on the disk; nothing has changed that a repetition would not mend.
    DiskFull,
    /// The offset is not between log start and log end.
    OutOfRange {
        /// First offset of the log.
        log_start: Offset,
        /// The offset after its last record.
        log_end: Offset,
    },
    /// The bytes that had to be read are damaged.
    Damaged {
        /// First offset that cannot be read.
        from: Offset,
        /// The first that can be again.
        to: Offset,
    },
}

impl std::fmt::Display for LogError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Offline => f.write_str("the log directory is offline"),
            Self::DiskFull => f.write_str("no space left on the log directory's disk"),
            Self::OutOfRange { log_start, log_end } => {
                write!(f, "offset is not within {} to {}", log_start.0, log_end.0)
            }
            Self::Damaged { from, to } => {
                write!(f, "records from {} to {} are damaged", from.0, to.0)
            }
        }
    }
}

impl std::error::Error for LogError {}

/// A range of offsets; `to` is exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetRange {
    /// First offset.
    pub from: Offset,
    /// The offset after the last.
    pub to: Offset,
}

pub(super) struct Inner<D: Directory> {
    pub(super) directory: D,
    pub(super) state: RefCell<State<D::File>>,
    pub(super) tail: Rc<Tail>,
    /// Wakes the appender.
    pub(super) work: Signal,
    /// Wakes those who wait for the durable end, for room, or for the appender to be still.
    pub(super) moved: Signal,
    pub(super) checkpoint: CheckpointFile<D::File>,
    /// Held while the checkpoint is written.
    pub(super) checkpoint_gate: Gate,
    /// Held by truncation, retention, snapshots, closing: one at a time.
    pub(super) maintenance: Gate,
    /// Held by compaction as long as it goes on; closing waits for it.
    pub(super) compaction: Gate,
    /// Held while an index that had to be made again is saved, and while a segment is replaced.
    pub(super) index_gate: Gate,
    pub(super) manifest: ManifestFile<D::File>,
    pub(super) fail_stop: Rc<FailStop>,
    pub(super) gate: Rc<DiskGate>,
    #[allow(clippy::type_complexity)] // a callback, named once
    pub(super) on_durable: RefCell<Option<Rc<dyn Fn(Offset)>>>,
}

/// A part of a batch that waits to be written.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) bytes: Bytes,
    pub(super) segment: Offset,
    /// The boundary behind the batch.
    pub(super) end: Mark,
}

pub(super) struct State<F> {
    pub(super) options: LogOptions,
    pub(super) now: Timestamp,
    pub(super) segments: VecDeque<Segment<F>>,
    pub(super) queue: VecDeque<Queued>,
    pub(super) queued_bytes: usize,
    pub(super) writes: VecDeque<WriteInFlight>,
    pub(super) jobs: Jobs<F>,
    pub(super) log_start: Offset,
    pub(super) log_end: Offset,
    pub(super) durable_end: Offset,
    pub(super) epochs: EpochTable,
    pub(super) epochs_dirty: bool,
    /// Ranges found damaged.
    pub(super) quarantined: Vec<OffsetRange>,
    /// Offsets of the snapshots on disk, oldest first.
    pub(super) snapshots: Vec<Offset>,
    pub(super) bytes_since_snapshot: u64,
    /// When an attempt to get space last failed.
    pub(super) disk_full: Option<Timestamp>,
    pub(super) life: Life,
    pub(super) read_ahead: ReadAhead,
    /// Truncations since the log was opened.
    pub(super) cuts: u64,
    /// Segments replaced by compaction since the log was opened.
    pub(super) replaced: u64,
    /// What compaction has done so far.
    pub(super) compacted: Compacted,
}

/// Whether the log takes appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Open,
    /// Takes none; what is queued is still written.
    Closing,
    /// The appender ends.
    Ended,
}

impl<F> State<F> {
    pub(super) fn active(&mut self) -> &mut Segment<F> {
        self.segments.back_mut().expect("L2: a log has a last segment")
    }

    /// The segment with the base offset `base`; it may have been removed meanwhile.
    pub(super) fn segment(&mut self, base: Offset) -> Option<&mut Segment<F>> {
        let at = self.segments.binary_search_by_key(&base, |segment| segment.base).ok()?;
        self.segments.get_mut(at)
    }

    /// The segment whose bytes `key` names; it may have been removed or replaced meanwhile.
    pub(super) fn keyed(&mut self, key: Key) -> Option<&mut Segment<F>> {
        self.segment(key.base).filter(|segment| segment.version == key.version)
    }

    /// The segment that holds `offset`, if any does.
    pub(super) fn segment_of(&self, offset: Offset) -> Option<&Segment<F>> {
        let after = self.segments.partition_point(|segment| segment.base <= offset);
        self.segments.get(after.checked_sub(1)?)
    }

    /// Whether the next batch must begin a new segment.
    fn must_roll(&self, info: &BatchInfo) -> bool {
        let active = self.segments.back().expect("L2: a log has a last segment");
        if active.staged.position == 0 {
            return false;
        }
        let bytes = active.staged.position + u64::from(info.bytes);
        let age = active.first_append.map_or(0, |first| self.now.0.saturating_sub(first.0));
        let index = active.index.as_ref().map(|index| index.borrow());
        let entries = index.as_ref().map_or(0, |index| index.entries.len());
        let aborts = index.is_some_and(|index| index.transactions.is_full());
        bytes > u64::from(self.options.segment_bytes)
            || u64::try_from(age).is_ok_and(|age| age >= self.options.segment_ms)
            || entries >= self.options.index_entries_max()
            || aborts
            || info.last_offset.0 - active.base.0 > i64::from(i32::MAX)
    }

    /// Begins a segment at the log's end; the appender makes its file.
    pub(super) fn roll(&mut self) {
        let base = self.log_end;
        let active = self.active();
        assert!(active.base < base, "L2: a segment that is left holds something");
        let index = active.index.as_ref().expect("the segment that grows has its index");
        let open = index.borrow().transactions.open().clone();
        self.segments.push_back(Segment::wanted_after(base, open));
    }

    /// Whether a batch of `bytes` may be staged.
    fn admits(&self, bytes: usize) -> Result<(), AppendRefused> {
        if self.queued_bytes > 0 && self.queued_bytes + bytes > QUEUED_BYTES_MAX {
            return Err(AppendRefused::QueueFull);
        }
        if self.disk_full.is_some() {
            let active = self.segments.back().expect("L2: a log has a last segment");
            let fits = active.staged.position + bytes as u64 <= active.allocated;
            if !fits || matches!(active.file, Slot::Wanted) {
                return Err(AppendRefused::DiskFull);
            }
        }
        Ok(())
    }

    /// Puts an admitted batch at the log's end.
    fn stage(&mut self, batch: Bytes, info: &BatchInfo) -> TailBatch {
        let interval = self.options.index_interval_bytes;
        let now = self.now;
        let active = self.active();
        let (segment, position) = (active.base, active.staged.position);
        let end = Mark { position: position + batch.len() as u64, offset: info.end_offset() };
        let index = active.index.clone().expect("the segment that grows has its index");
        let marker = EndMarker::of_batch_with(info, &batch);
        index.borrow_mut().note(info, &batch[..HEADER_BYTES], marker, interval);
        index.borrow_mut().cover(&batch);
        active.first_append.get_or_insert(now);
        active.staged = end;
        self.queued_bytes += batch.len();
        self.queue.push_back(Queued { bytes: batch.clone(), segment, end });
        self.log_end = end.offset;
        self.bytes_since_snapshot += batch.len() as u64;
        self.epochs_dirty |= self.epochs.assign(info.leader_epoch, info.base_offset);
        TailBatch { info: *info, segment, position, bytes: batch }
    }
}

impl<D: Directory> Log<D> {
    /// Stages one whole, stamped batch at the log's end; the durable end follows later.
    ///
    /// `info` is the batch's own header; its base offset is the log's end. `now` is wall-clock.
    /// Errors: [`AppendRefused`]. Panics: if `info` is not of `batch` or not at the end, our own bug.
    pub fn append(
        &self,
        batch: Bytes,
        info: &BatchInfo,
        now: Timestamp,
    ) -> Result<Appended, AppendRefused> {
        assert_eq!(batch.len(), usize::try_from(info.bytes).unwrap_or(0), "one whole batch");
        let (staged, snapshot_due) = {
            let mut state = self.inner.state.borrow_mut();
            if state.life != Life::Open || self.inner.fail_stop.failed().is_some() {
                return Err(AppendRefused::Offline);
            }
            state.now = now;
            state.admits(batch.len())?;
            assert_eq!(info.base_offset, state.log_end, "a batch is staged at the log's end");
            let rolls = state.must_roll(info);
            if rolls {
                state.roll();
            }
            let staged = state.stage(batch, info);
            let due = state.bytes_since_snapshot >= PROVEN_BYTES_MAX;
            if due || rolls {
                state.bytes_since_snapshot = 0;
            }
            (staged, due || rolls)
        };
        self.inner.tail.push(staged);
        self.inner.work.notify();
        Ok(Appended { snapshot_due })
    }

    /// Whether a batch of `bytes` of `writer` would be staged now: an [`Log::append`] that follows
    /// in the same turn is not refused. Errors: why it would be.
    pub fn check_room(&self, bytes: usize, writer: Writer) -> Result<(), AppendRefused> {
        let state = self.inner.state.borrow_mut();
        if state.life != Life::Open || self.inner.fail_stop.failed().is_some() {
            return Err(AppendRefused::Offline);
        }
        if !self.inner.gate.admits(writer) {
            return Err(AppendRefused::DiskFull);
        }
        state.admits(bytes)
    }

    /// Whether `bytes` more may be staged without waiting.
    pub fn has_room(&self, bytes: usize) -> bool {
        let queued = self.inner.state.borrow().queued_bytes;
        queued == 0 || queued + bytes <= QUEUED_BYTES_MAX
    }

    /// Waits until `bytes` more may be staged. Errors: `Offline`.
    pub async fn reserve(&self, bytes: usize) -> Result<(), AppendRefused> {
        loop {
            let moved = self.inner.moved.listen();
            if self.is_offline() {
                return Err(AppendRefused::Offline);
            }
            if self.has_room(bytes) {
                return Ok(());
            }
            moved.await;
        }
    }

    /// Whether the log takes no appends any more.
    pub fn is_offline(&self) -> bool {
        self.inner.fail_stop.failed().is_some() || self.inner.state.borrow().life != Life::Open
    }

    /// Notes that a leader of `epoch` writes from the log's end on, before its first batch.
    pub fn begin_epoch(&self, epoch: LeaderEpoch) {
        let mut state = self.inner.state.borrow_mut();
        let end = state.log_end;
        state.epochs_dirty |= state.epochs.assign(epoch, end);
    }

    /// Leader epochs, each with its first offset.
    pub fn epochs(&self) -> Vec<(LeaderEpoch, Offset)> {
        self.inner.state.borrow().epochs.entries().to_vec()
    }

    /// First offset that can be read.
    pub fn log_start(&self) -> Offset {
        self.inner.state.borrow().log_start
    }

    /// The offset after the last staged record.
    pub fn log_end(&self) -> Offset {
        self.inner.state.borrow().log_end
    }

    /// All before this is durable by the topic's flush policy; never falls but by truncation.
    pub fn durable_end(&self) -> Offset {
        self.inner.state.borrow().durable_end
    }

    /// Bytes on disk that hold batches, as far as known.
    pub fn bytes(&self) -> u64 {
        self.inner.state.borrow().segments.iter().map(Segment::bytes).sum()
    }

    /// Ranges that were found damaged.
    pub fn quarantined(&self) -> Vec<OffsetRange> {
        self.inner.state.borrow().quarantined.clone()
    }

    /// Calls `callback` with each new durable end, from within the appender.
    ///
    /// It may call any method of the log that is not async.
    pub fn set_on_durable(&self, callback: impl Fn(Offset) + 'static) {
        *self.inner.on_durable.borrow_mut() = Some(Rc::new(callback));
    }

    /// Waits until all before `offset` is durable. Errors: `Offline`, if it never will be.
    pub async fn wait_durable(&self, offset: Offset) -> Result<(), LogError> {
        loop {
            let moved = self.inner.moved.listen();
            {
                let state = self.inner.state.borrow();
                if state.durable_end >= offset {
                    return Ok(());
                }
                let ended = state.life == Life::Ended || offset > state.log_end;
                if ended || self.inner.fail_stop.failed().is_some() {
                    return Err(LogError::Offline);
                }
            }
            moved.await;
        }
    }

    /// Changes the settings; what is written from now on follows the new ones.
    pub fn set_options(&self, options: LogOptions) {
        self.inner.state.borrow_mut().options = options;
        self.inner.work.notify();
    }

    /// Tells the log the time: syncs, checkpoints and new attempts on a full disk become due.
    pub fn tick(&self, now: Timestamp) {
        let due = {
            let mut state = self.inner.state.borrow_mut();
            state.now = now;
            let due = state.has_pending();
            if state.may_try_space() {
                // Whatever needs space tries again, and says so if there is still none.
                state.disk_full = None;
            }
            due
        };
        if due {
            self.inner.work.notify();
        }
    }

    /// Batches from memory, whole, from the one that contains `from`; none ends after `upto`.
    ///
    /// The first may be larger than `max_bytes` with `min_one`. `None`: not in memory, or damaged
    /// or out of range: ask [`Log::read`].
    pub fn read_tail(
        &self,
        from: Offset,
        upto: Offset,
        max_bytes: usize,
        min_one: bool,
    ) -> Option<TailRead> {
        if from < self.inner.state.borrow().log_start {
            return None;
        }
        self.inner.tail.read(from, upto, max_bytes, min_one)
    }
}

impl<D: Directory> Inner<D> {
    /// Turns an error of a write, sync or change of names into the stop of the directory.
    pub(super) fn fail(&self, error: IoError) -> LogError {
        if error == IoError::NoSpace {
            return LogError::DiskFull;
        }
        self.fail_stop.fail(error);
        self.moved.notify();
        self.work.notify();
        LogError::Offline
    }

    /// The same where no space, too, leaves the log in a state that only a restart can mend.
    pub(super) fn fail_hard(&self, error: IoError) -> LogError {
        self.fail_stop.fail(error);
        self.fail(IoError::ShortWrite)
    }

    /// Stops the appender: waits until nothing is in flight; nothing starts while this lives.
    pub(super) async fn pause(self: &Rc<Self>) -> Result<Pause<D>, LogError> {
        let pause = Pause { inner: self.clone() };
        self.state.borrow_mut().jobs.pauses += 1;
        loop {
            let moved = self.moved.listen();
            if self.fail_stop.failed().is_some() {
                return Err(LogError::Offline);
            }
            if self.state.borrow().jobs.in_flight == 0 {
                return Ok(pause);
            }
            moved.await;
        }
    }
}

/// The appender is still while this lives.
pub(super) struct Pause<D: Directory> {
    inner: Rc<Inner<D>>,
}

impl<D: Directory> Drop for Pause<D> {
    fn drop(&mut self) {
        self.inner.state.borrow_mut().jobs.pauses -= 1;
        self.inner.work.notify();
    }
}
