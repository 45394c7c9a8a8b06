//! The appender of one log: performs what `plan.rs` decides, and notes what came of it.
//!
//! In:   work; completions of the disk, in any order.
//! Out:  the durable end, in order; the stop of the directory on a failed write or sync.
//! Home: one task of the partition's shard, under any executor.
//!
//! Invariants
//!   A5  The written end moves over completed writes in the order of their issue, never past one
//!       that has not completed (W4).
//!   A6  After the directory has failed, nothing is noted as durable any more, and no sync is
//!       tried again.
//!
//! Source: `storage.md` 4.2 (W1-W6) and 4.5.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::config::topic::FlushPolicy;
use crate::io::directory::Directory;
use crate::io::file::{File, IoError};
use crate::model::offset::Offset;
use crate::storage::checkpoint::Checkpoint;
use crate::storage::epochs::EPOCHS_NAME;
use crate::storage::log::{Inner, Life, Log, LogError, State};
use crate::storage::names;
use crate::storage::options::PROVEN_BYTES_MAX;
use crate::storage::plan::{Proven, Spare, Work, Zeroing};
use crate::storage::read_ahead::Range;
use crate::storage::segment::{Mark, Slot, Sums};

/// A write under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct WriteInFlight {
    pub(super) id: u64,
    pub(super) segment: Offset,
    /// First byte that is new.
    pub(super) start: u64,
    /// End of data.
    pub(super) end: u64,
    /// The last boundary of batches at or before the end.
    pub(super) end_mark: Mark,
    /// Durable once complete.
    pub(super) synced: bool,
    pub(super) done: bool,
}

/// Whether storing the checkpoint also saves epochs and index, which takes space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Derived {
    /// Save what has changed.
    Save,
    /// Leave both as they are: the epochs on disk may then hold more than the log does.
    Leave,
}

/// What came of a work.
enum Done<F> {
    Written {
        id: u64,
    },
    Created {
        base: Offset,
        file: Rc<F>,
        allocated: u64,
        ready: u64,
    },
    SpareMade {
        spare: Option<Spare<F>>,
    },
    Allocated {
        base: Offset,
        allocated: u64,
    },
    Zeroed {
        range: Zeroing,
        /// False: no room to turn space into written space.
        written: bool,
    },
    Synced {
        base: Offset,
        written: u64,
        mark: Mark,
    },
    Sealed {
        base: Offset,
    },
    Checkpointed {
        stored: bool,
    },
    /// No space to make or extend a segment.
    DiskFull {
        creating: bool,
        spare: Option<Spare<F>>,
    },
    /// A range was read ahead; `None`: it could not be, and the reader finds out why.
    Prefetched {
        range: Range,
        bytes: Option<Bytes>,
    },
    Failed {
        error: IoError,
    },
}

type Flight<F> = Pin<Box<dyn Future<Output = Done<F>>>>;

impl<D: Directory> Log<D> {
    /// Writes what is appended until the log is closed or deleted; to be spawned once, and not to
    /// be dropped before it ends. Errors: `Offline`, when the directory has failed.
    pub async fn run(&self) -> Result<(), LogError> {
        let mut flights: Vec<Flight<D::File>> = Vec::new();
        poll_fn(|context| self.inner.poll_run(context, &mut flights)).await
    }

    /// Makes all that is appended so far durable, whatever the policy. Errors: `Offline`.
    pub async fn flush(&self) -> Result<(), LogError> {
        let end = self.log_end();
        self.inner.state.borrow_mut().jobs.sync_wanted = end;
        self.inner.work.notify();
        loop {
            let moved = self.inner.moved.listen();
            if self.inner.fail_stop.failed().is_some() {
                return Err(LogError::Offline);
            }
            {
                let state = self.inner.state.borrow();
                if state.synced_end() >= end.min(state.log_end) {
                    return Ok(());
                }
                if state.life == Life::Ended {
                    return Err(LogError::Offline);
                }
            }
            moved.await;
        }
    }
}

impl<D: Directory> Inner<D> {
    fn poll_run(
        self: &Rc<Self>,
        context: &mut Context<'_>,
        flights: &mut Vec<Flight<D::File>>,
    ) -> Poll<Result<(), LogError>> {
        self.work.register(context);
        self.fail_stop.changed().register(context);
        loop {
            let mut progress = false;
            let mut at = 0;
            while at < flights.len() {
                match flights[at].as_mut().poll(context) {
                    Poll::Ready(done) => {
                        drop(flights.swap_remove(at));
                        self.complete(done);
                        progress = true;
                    }
                    Poll::Pending => at += 1,
                }
            }
            if self.fail_stop.failed().is_some() {
                self.moved.notify();
                return if flights.is_empty() {
                    Poll::Ready(Err(LogError::Offline))
                } else {
                    Poll::Pending
                };
            }
            while let Some(work) = self.next_work() {
                flights.push(Box::pin(perform(self.clone(), work)));
                progress = true;
            }
            if flights.is_empty() && self.state.borrow().life == Life::Ended {
                return Poll::Ready(Ok(()));
            }
            if !progress {
                return Poll::Pending;
            }
        }
    }

    fn next_work(&self) -> Option<Work<D::File>> {
        self.state.borrow_mut().next_work()
    }

    /// Notes what came of a work, then tells those who wait.
    fn complete(&self, done: Done<D::File>) {
        let durable = {
            let mut state = self.state.borrow_mut();
            state.jobs.in_flight -= 1;
            if let Done::Prefetched { range, bytes } = done {
                state.read_ahead.done(range);
                drop(state);
                if let Some(bytes) = bytes {
                    self.tail.budget().keep_chunk(
                        self.place(range.segment, range.position),
                        bytes,
                        true,
                    );
                }
                self.moved.notify();
                return;
            }
            if let Done::Failed { error } = done {
                self.fail_stop.fail(error);
            }
            if self.fail_stop.failed().is_some() {
                None // A6
            } else {
                state.note(done);
                state.advance_durable_end().then_some((state.durable_end, state.written_end()))
            }
        };
        if let Some((durable_end, written_end)) = durable {
            self.tail.set_written(written_end);
            let callback = self.on_durable.borrow().clone();
            if let Some(callback) = callback {
                callback(durable_end);
            }
        }
        self.moved.notify();
    }

    /// Writes the epochs if they changed, the growing index if much was added, and the checkpoint.
    ///
    /// Values are taken inside the gate, so that an older one never overwrites a newer.
    pub(super) async fn store_checkpoint(
        &self,
        clean: bool,
        cut: Option<Offset>,
        derived: Derived,
    ) -> Result<(), IoError> {
        let held = self.checkpoint_gate.enter().await;
        let (epochs, index, checkpoint) = {
            let state = self.state.borrow();
            let proven = state.proven();
            let checkpoint = Checkpoint {
                clean,
                epochs_stale: derived == Derived::Leave && state.epochs_dirty,
                log_start: state.log_start,
                proven_segment: proven.segment,
                proven_position: proven.mark.position,
                proven_offset: proven.mark.offset,
                cut,
            };
            let save = derived == Derived::Save;
            let epochs = (save && state.epochs_dirty).then(|| state.epochs.clone());
            let index = if save { state.index_to_save(&proven) } else { None };
            (epochs, index, checkpoint)
        };
        if let Some(epochs) = &epochs {
            self.directory.write_small(EPOCHS_NAME, epochs.encode().as_bytes()).await?;
        }
        if let Some((base, content)) = &index {
            self.directory.write_small(&names::index(*base), content).await?;
        }
        self.checkpoint.store(&self.directory, &checkpoint).await?;
        let mut state = self.state.borrow_mut();
        if epochs.is_some_and(|epochs| epochs == state.epochs) {
            state.epochs_dirty = false;
        }
        if let Some((base, _)) = index
            && let Some(segment) = state.segment(base)
        {
            segment.index_saved = checkpoint.proven_position;
        }
        state.jobs.clean_on_disk = clean;
        state.jobs.proven = Some(Proven::of(&checkpoint));
        drop(held);
        Ok(())
    }
}

/// Carries out one work; touches the state only through the checkpoint's own rules.
async fn perform<D: Directory>(inner: Rc<Inner<D>>, work: Work<D::File>) -> Done<D::File> {
    let done = match work {
        Work::Write { id, file, buffer, position, durability } => {
            let written = file.write_at(buffer, position, durability).await;
            // Into space that was allocated: no space now is a broken disk, not a full one.
            written.map(|()| Done::Written { id })
        }
        Work::Create { base, spare, bytes } => create(&inner.directory, base, spare, bytes).await,
        Work::Spare { bytes, ready } => make_spare(&inner.directory, bytes, ready).await,
        Work::Zero { file, range } => {
            let written = write_zeros(&*file, range.from, range.to).await;
            written.map(|written| Done::Zeroed { range, written })
        }
        Work::Allocate { base, file, to, least } => match prepare(&*file, to, least).await {
            Ok(allocated) => Ok(Done::Allocated { base, allocated }),
            Err(IoError::NoSpace) => Ok(Done::DiskFull { creating: false, spare: None }),
            Err(error) => Err(error),
        },
        Work::Sync { base, file, written, mark } => {
            file.sync().await.map(|()| Done::Synced { base, written, mark })
        }
        Work::Seal { base, file, bytes, index } => {
            seal(&inner.directory, base, &*file, bytes, &index).await
        }
        Work::Prefetch { range } => {
            let bytes = inner.read_range(range).await.ok();
            Ok(Done::Prefetched { range, bytes })
        }
        Work::Checkpoint => match inner.store_checkpoint(false, None, Derived::Save).await {
            Ok(()) => Ok(Done::Checkpointed { stored: true }),
            Err(IoError::NoSpace) => Ok(Done::Checkpointed { stored: false }),
            Err(error) => Err(error),
        },
    };
    done.unwrap_or_else(|error| Done::Failed { error })
}

/// Gives a file space up to `to`, or on a nearly full disk up to `least`; the size it has then.
///
/// It is allocated then, reads as zeros and has its size, but its extents count as unwritten, which
/// costs a first write some metadata: see [`write_zeros`]. The sync takes the journal's work off
/// the writes.
pub(super) async fn prepare<F: File>(file: &F, to: u64, least: u64) -> Result<u64, IoError> {
    let allocated = match file.allocate(to).await {
        Ok(()) => to,
        Err(IoError::NoSpace) if least < to => file.allocate(least).await.map(|()| least)?,
        Err(error) => return Err(error),
    };
    file.sync().await?;
    Ok(allocated)
}

/// Turns allocated space into written space, durably, so that a write there is data alone (W5).
///
/// False: the file system had no room for that; the space is as good as before.
async fn write_zeros<F: File>(file: &F, from: u64, to: u64) -> Result<bool, IoError> {
    if from < to {
        match file.write_zeros(from, to).await {
            Ok(()) => {}
            Err(IoError::NoSpace) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    file.sync().await?;
    Ok(true)
}

/// Makes a segment's file and its name durable (W6).
async fn create<D: Directory>(
    directory: &D,
    base: Offset,
    spare: Option<Spare<D::File>>,
    bytes: u64,
) -> Result<Done<D::File>, IoError> {
    let name = names::segment(base);
    if let Some(Spare { file, allocated, ready }) = spare {
        return match directory.rename(names::SPARE_NAME, &name).await {
            Ok(()) => {
                directory.sync().await?;
                Ok(Done::Created { base, file, allocated, ready })
            }
            Err(IoError::NoSpace) => {
                let spare = Some(Spare { file, allocated, ready });
                Ok(Done::DiskFull { creating: true, spare })
            }
            Err(error) => Err(error),
        };
    }
    match create_with_space(directory, &name, bytes).await {
        Ok(file) => {
            directory.sync().await?;
            Ok(Done::Created { base, file: Rc::new(file), allocated: bytes, ready: 0 })
        }
        Err(IoError::NoSpace) => Ok(Done::DiskFull { creating: true, spare: None }),
        Err(error) => Err(error),
    }
}

async fn make_spare<D: Directory>(
    directory: &D,
    bytes: u64,
    ready: u64,
) -> Result<Done<D::File>, IoError> {
    match create_with_space(directory, names::SPARE_NAME, bytes).await {
        Ok(file) => {
            let written = write_zeros(&file, 0, ready).await?;
            if !written {
                file.sync().await?;
            }
            let ready = if written { ready } else { 0 };
            let spare = Spare { file: Rc::new(file), allocated: bytes, ready };
            Ok(Done::SpareMade { spare: Some(spare) })
        }
        // The roll will find out for itself.
        Err(IoError::NoSpace) => Ok(Done::SpareMade { spare: None }),
        Err(error) => Err(error),
    }
}

/// Creates a file with space; without space, no file stays behind.
pub(super) async fn create_with_space<D: Directory>(
    directory: &D,
    name: &str,
    bytes: u64,
) -> Result<D::File, IoError> {
    let file = directory.create(name).await?;
    match file.allocate(bytes).await {
        Ok(()) => Ok(file),
        Err(error) => {
            drop(file);
            directory.remove(name).await?;
            Err(error)
        }
    }
}

/// Ends a segment: its file ends with its data, durably; its index is beside it.
async fn seal<D: Directory>(
    directory: &D,
    base: Offset,
    file: &D::File,
    bytes: u64,
    index: &[u8],
) -> Result<Done<D::File>, IoError> {
    file.set_size(bytes).await?;
    file.sync().await?;
    match directory.write_small(&names::index(base), index).await {
        // The index is derived; without room for it, a later look-up makes it again.
        Ok(()) | Err(IoError::NoSpace) => Ok(Done::Sealed { base }),
        Err(error) => Err(error),
    }
}

impl<F: File> State<F> {
    fn note(&mut self, done: Done<F>) {
        match done {
            Done::Written { id } => self.note_written(id),
            Done::Created { base, file, allocated, ready } => {
                self.jobs.creating = false;
                self.disk_full = None;
                let segment = self.segment(base).expect("a segment stays while its file is made");
                segment.file = Slot::Open(file);
                segment.allocated = allocated;
                segment.ready = ready;
            }
            Done::SpareMade { spare } => {
                self.jobs.sparing = false;
                match spare {
                    Some(spare) => self.jobs.spare = Some(spare),
                    None => self.disk_full = Some(self.now),
                }
            }
            Done::Allocated { base, allocated } => {
                self.jobs.allocating = false;
                self.disk_full = None;
                let segment = self.segment(base).expect("a segment stays while it is extended");
                segment.allocated = allocated;
            }
            Done::Zeroed { range, written } => {
                self.jobs.zeroing = None;
                if !written {
                    self.jobs.ahead.stop();
                    return;
                }
                let segment = self.segment(range.base);
                let segment = segment.expect("A7: a segment stays while zeros are written");
                segment.ready = range.to;
            }
            Done::Synced { base, written, mark } => {
                self.jobs.syncing = false;
                self.jobs.synced_at = self.now;
                let segment = self.segment(base).expect("a segment stays while it is synced");
                if written > segment.synced {
                    segment.synced = written;
                    segment.synced_mark = mark;
                }
            }
            Done::Sealed { base } => self.note_sealed(base),
            Done::Checkpointed { stored } => {
                self.jobs.checkpointing = false;
                if !stored {
                    self.disk_full = Some(self.now);
                }
            }
            Done::DiskFull { creating, spare } => {
                self.disk_full = Some(self.now);
                if creating {
                    self.jobs.creating = false;
                    self.jobs.spare = spare;
                } else {
                    self.jobs.allocating = false;
                }
            }
            Done::Failed { .. } => unreachable!("A6: a failure stops the directory"),
            Done::Prefetched { .. } => unreachable!("it changes nothing of the log"),
        }
    }

    fn note_written(&mut self, id: u64) {
        let write = self.writes.iter_mut().find(|write| write.id == id);
        write.expect("a write completes once").done = true;
        // A5: only over the front.
        while let Some(write) = self.writes.front().copied().filter(|write| write.done) {
            self.writes.pop_front();
            let segment = self.segment(write.segment).expect("a segment stays while it is written");
            segment.written = write.end;
            segment.written_mark = write.end_mark;
            if write.synced && segment.synced == write.start {
                segment.synced = write.end;
                segment.synced_mark = write.end_mark;
            }
            segment.assert_invariants();
        }
    }

    fn note_sealed(&mut self, base: Offset) {
        self.jobs.sealing = false;
        let segment = self.segment(base).expect("a segment stays while it is sealed");
        segment.sealed = true;
        segment.synced = segment.written;
        segment.synced_mark = segment.written_mark;
        segment.allocated = 0;
        segment.prefix = Vec::new();
        let index = segment.index.clone().expect("the segment that grew has its index");
        let index = index.borrow();
        segment.sums = Some(Sums {
            bytes: index.bytes,
            max_timestamp: index.max_timestamp,
            max_timestamp_base: index.max_timestamp_base,
        });
        assert_eq!(index.bytes, segment.staged.position, "the index covers the segment");
    }

    /// Moves the durable end as far as the policy allows; true if it moved.
    fn advance_durable_end(&mut self) -> bool {
        let end = match self.options.flush {
            FlushPolicy::PerAck => self.synced_end(),
            FlushPolicy::Interval { .. } => self.written_end(),
        };
        let moved = end > self.durable_end;
        if moved {
            self.durable_end = end;
        }
        assert!(self.durable_end <= self.log_end, "L1");
        moved
    }

    /// The index of the growing segment, if much was added since it was saved.
    fn index_to_save(&self, proven: &Proven) -> Option<(Offset, Vec<u8>)> {
        let at = self.segments.partition_point(|segment| segment.base < proven.segment);
        let segment = self.segments.get(at).filter(|segment| segment.base == proven.segment)?;
        if proven.mark.position.saturating_sub(segment.index_saved) < PROVEN_BYTES_MAX {
            return None;
        }
        segment.index.as_ref().map(|index| (segment.base, index.borrow().encode()))
    }
}
