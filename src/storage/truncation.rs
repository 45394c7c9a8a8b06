//! Cutting a log's end off, so that a crash never brings it back.
//!
//! In:   the offset that the log is to end at (at most).
//! Out:  the log, ending at a boundary of batches at or before it.
//! Home: the partition's shard; the appender is still meanwhile.
//!
//! Invariants
//!   U1  Before anything on disk changes, the checkpoint says what is being cut; recovery then
//!       finishes it. After it has been zeroed, removed and synced, the checkpoint says so.
//!   U2  No batch is appended before that last checkpoint is durable (W7).

use crate::constants::BLOCK_BYTES;
use crate::io::directory::Directory;
use crate::io::file::{Durability, File, IoError};
use crate::model::offset::Offset;
use crate::record::batch::HEADER_BYTES;
use crate::record::control::EndMarker;
use crate::storage::appender::Derived;
use crate::storage::log::{Inner, Log, LogError, State};
use crate::storage::names;
use crate::storage::segment::{Mark, block_ceil, block_floor};
use crate::storage::snapshot;
use crate::storage::walk::{Course, walk};

/// What a cut leaves to be done on disk.
struct Remains {
    segments: Vec<Offset>,
    snapshots: Vec<Offset>,
    /// The cut segment's file holds bytes behind the cut.
    dirty_file: bool,
}

impl<D: Directory> Log<D> {
    /// Ends the log at `offset`, or at the base of the batch that contains it; the end it has then.
    ///
    /// Errors: `OutOfRange`, `DiskFull` (nothing has changed), `Damaged`, `Offline`.
    pub async fn truncate_to(&self, offset: Offset) -> Result<Offset, LogError> {
        let inner = &self.inner;
        let held = inner.maintenance.enter().await;
        let pause = inner.pause().await?;
        let (log_start, log_end) = (self.log_start(), self.log_end());
        if offset < log_start || offset > log_end {
            return Err(LogError::OutOfRange { log_start, log_end });
        }
        if offset == log_end {
            return Ok(log_end);
        }
        if !inner.checkpoint.exists() {
            let stored = inner.store_checkpoint(false, None, Derived::Save).await;
            stored.map_err(|error| inner.fail(error))?;
        }
        let (segment, cut) = inner.locate(offset).await?;
        let remains = inner.state.borrow_mut().cut(segment, cut);
        inner.tail.truncate(cut.offset);
        inner.tail.budget().forget_chunks(inner.tail.log);
        inner.state.borrow_mut().read_ahead.forget();
        let done = inner.finish_cut(segment, cut, remains).await;
        done.map_err(|error| inner.fail_hard(error))?;
        drop((pause, held));
        inner.moved.notify();
        Ok(cut.offset)
    }
}

impl<F: File> State<F> {
    /// Cuts the log in memory. Nothing is in flight, so all that was issued is written.
    fn cut(&mut self, base: Offset, cut: Mark) -> Remains {
        let mut remains =
            Remains { segments: Vec::new(), snapshots: Vec::new(), dirty_file: false };
        assert!(self.writes.is_empty(), "the appender is still");
        while self.queue.back().is_some_and(|queued| queued.end.offset > cut.offset) {
            let dropped = self.queue.pop_back().expect("there is a last one");
            self.queued_bytes -= dropped.bytes.len();
        }
        while self.segments.back().is_some_and(|segment| segment.base > base) {
            let segment = self.segments.pop_back().expect("there is a last one");
            remains.segments.push(segment.base);
        }
        let segment = self.active();
        assert_eq!(segment.base, base, "L2: the cut segment is the last one now");
        remains.dirty_file = segment.sealed || segment.issued > cut.position;
        if segment.sealed {
            segment.set_all(cut);
        } else {
            segment.staged = cut;
            for (position, mark) in [
                (&mut segment.issued, &mut segment.issued_mark),
                (&mut segment.written, &mut segment.written_mark),
                (&mut segment.synced, &mut segment.synced_mark),
            ] {
                if *position > cut.position {
                    *position = cut.position;
                    *mark = cut;
                }
            }
        }
        if remains.dirty_file {
            segment.ready = 0;
        }
        segment.sealed = false;
        segment.sums = None;
        segment.index_saved = segment.index_saved.min(cut.position);
        let kept = self.snapshots.partition_point(|offset| *offset <= cut.offset);
        remains.snapshots = self.snapshots.split_off(kept);
        self.epochs_dirty |= self.epochs.truncate(cut.offset);
        self.quarantined.retain(|range| range.from < cut.offset);
        self.cuts += 1;
        self.log_end = cut.offset;
        self.durable_end = self.durable_end.min(cut.offset);
        remains
    }
}

impl<D: Directory> Inner<D> {
    async fn finish_cut(&self, base: Offset, cut: Mark, remains: Remains) -> Result<(), IoError> {
        self.store_checkpoint(false, Some(cut.offset), Derived::Leave).await?; // U1
        for segment in &remains.segments {
            remove_if_there(&self.directory, &names::segment(*segment)).await?;
            remove_if_there(&self.directory, &names::index(*segment)).await?;
        }
        for offset in &remains.snapshots {
            snapshot::remove(&self.directory, *offset).await?; // Z1
        }
        remove_if_there(&self.directory, &names::index(base)).await?;
        if remains.dirty_file {
            let key = self.state.borrow_mut().active().key();
            let file = self.file_of(key).await?;
            let size = file.size().await?;
            zero_after(&*file, cut.position, size).await?;
            let block = block_floor(cut.position);
            let ragged = usize::try_from(cut.position - block).expect("below a block");
            let prefix = file.read_at(block, ragged).await?.to_vec();
            let mut state = self.state.borrow_mut();
            let segment = state.active();
            segment.prefix = prefix;
            segment.allocated = block_floor(size);
        }
        self.directory.sync().await?;
        self.reindex(base, cut).await?;
        self.uncompact(cut.offset).await?;
        self.store_checkpoint(false, None, Derived::Leave).await // U2
    }

    /// What comes behind the cut has not been compacted, whatever was there before.
    async fn uncompact(&self, cut: Offset) -> Result<(), IoError> {
        let compacted = self.state.borrow().compacted;
        if compacted.end <= cut {
            return Ok(());
        }
        let compacted = compacted.within(cut);
        self.manifest.store(&self.directory, &compacted).await?;
        self.state.borrow_mut().compacted = compacted;
        Ok(())
    }

    /// Brings the cut segment's index to the cut: from the disk what is written, the rest from
    /// the tail, where all that is not written is held.
    async fn reindex(&self, base: Offset, cut: Mark) -> Result<(), IoError> {
        let index = self.index_to_extend(base).await?;
        index.borrow_mut().rewind(cut.position);
        let (interval, written, key) = {
            let mut state = self.state.borrow_mut();
            let interval = state.options.index_interval_bytes;
            let segment = state.active();
            segment.index = Some(index.clone());
            (interval, segment.written_mark, segment.key())
        };
        let from = Mark { position: index.borrow().bytes, offset: index.borrow().end };
        if from.position < written.position {
            let file = self.file_of(key).await?;
            let limit = written.position;
            let course = Course::headers(from, limit, key.chain);
            walk(&*file, course, |met| {
                index.borrow_mut().note(met.info, met.header, met.marker, interval);
                true
            })
            .await?;
        }
        let mut index = index.borrow_mut();
        while let Some(batch) = self.tail.find(index.end).filter(|_| index.end < cut.offset) {
            let marker = EndMarker::of_batch_with(&batch.info, &batch.bytes);
            index.note(&batch.info, &batch.bytes[..HEADER_BYTES], marker, interval);
        }
        if index.bytes < cut.position {
            index.skip_to(cut.position, cut.offset); // damage in between
        }
        Ok(())
    }
}

/// Makes all of a file from `position` to its `size` read as zeros, durably (W7).
pub(super) async fn zero_after<F: File>(file: &F, position: u64, size: u64) -> Result<(), IoError> {
    let block = block_floor(position);
    let ragged = usize::try_from(position - block).expect("below a block");
    if ragged > 0 {
        let before = file.read_at(block, ragged).await?;
        let mut buffer = file.buffer(BLOCK_BYTES);
        buffer.fill(0);
        buffer[..before.len()].copy_from_slice(&before); // W2
        file.write_at(buffer, block, Durability::Synced).await?;
    }
    let (from, to) = (block_ceil(position), block_ceil(size));
    if from < to {
        file.zero(from, to).await?;
    }
    file.sync().await
}

/// Removes a file, if it is there.
pub(super) async fn remove_if_there<D: Directory>(
    directory: &D,
    name: &str,
) -> Result<(), IoError> {
    match directory.remove(name).await {
        Ok(()) | Err(IoError::NotFound) => Ok(()),
        Err(error) => Err(error),
    }
}
