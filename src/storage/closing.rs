//! The end of a log's use: closed in order, or deleted.
//!
//! In:   the caller's wish; the appender must be running.
//! Out:  a directory that opens without a scan, or one with nothing of the log in it.
//! Home: the partition's shard.
//!
//! Invariants
//!   C1  The mark of an orderly end is written last, after all it stands for is durable.

use crate::io::directory::Directory;
use crate::io::file::{File, IoError};
use crate::model::offset::Offset;
use crate::storage::appender::Derived;
use crate::storage::checkpoint::CHECKPOINT_NAME;
use crate::storage::compaction::manifest::MANIFEST_NAME;
use crate::storage::epochs::EPOCHS_NAME;
use crate::storage::log::{Inner, Life, Log, LogError};
use crate::storage::names::{self, Name};
use crate::storage::truncation::remove_if_there;

impl<D: Directory> Log<D> {
    /// Writes what is queued, then leaves the log so that it opens without a scan.
    ///
    /// The caller writes its snapshot first ([`Log::write_snapshot`] at the log's end). Appends
    /// are refused from the call on; [`Log::run`] ends. Errors: `Offline`; `DiskFull` if not all
    /// could be written: what was not acknowledged is then lost, and the next start scans.
    pub async fn close(&self) -> Result<(), LogError> {
        let inner = &self.inner;
        inner.check_open()?;
        inner.state.borrow_mut().life = Life::Closing;
        inner.work.notify();
        let still = inner.compaction.enter().await; // it sees the log closing, and ends
        let flushed = inner.flush_or_full(self.log_end()).await;
        let held = inner.maintenance.enter().await;
        let pause = inner.pause().await?;
        let result = match flushed {
            Ok(()) => inner.leave_clean().await.map_err(|error| inner.fail(error)),
            Err(error) => Err(error),
        };
        inner.end();
        drop((pause, held, still));
        result
    }

    /// Removes all files of the log, durably; the directory itself is the caller's to remove.
    ///
    /// Errors: `Offline`. Waiters get `Offline`, readers finish with what they hold.
    pub async fn delete(&self) -> Result<(), LogError> {
        let inner = &self.inner;
        inner.check_open()?;
        inner.state.borrow_mut().life = Life::Closing;
        let still = inner.compaction.enter().await;
        let held = inner.maintenance.enter().await;
        let pause = inner.pause().await?;
        let result = inner.remove_all().await.map_err(|error| inner.fail_hard(error));
        inner.end();
        drop((pause, held, still));
        result
    }
}

impl<D: Directory> Inner<D> {
    /// Waits until all below `end` is durable; gives up when the disk is full.
    pub(super) async fn flush_or_full(&self, end: Offset) -> Result<(), LogError> {
        loop {
            let moved = self.moved.listen();
            if self.fail_stop.failed().is_some() {
                return Err(LogError::Offline);
            }
            {
                let mut state = self.state.borrow_mut();
                let end = end.min(state.log_end); // what was cut meanwhile is no more to be written
                state.jobs.sync_wanted = state.jobs.sync_wanted.max(end);
                if state.synced_end() >= end {
                    return Ok(());
                }
                if state.life == Life::Ended {
                    return Err(LogError::Offline);
                }
                if state.disk_full.is_some() && state.jobs.in_flight == 0 {
                    return Err(LogError::DiskFull);
                }
            }
            self.work.notify();
            moved.await;
        }
    }

    async fn leave_clean(&self) -> Result<(), IoError> {
        let active = {
            let mut state = self.state.borrow_mut();
            state.jobs.spare = None;
            let segment = state.active();
            let index = segment.index.as_ref().map(|index| index.borrow().encode());
            let (base, bytes) = (segment.base, segment.staged.position);
            segment.open_file().cloned().zip(index).map(|(file, index)| (base, file, bytes, index))
        };
        remove_if_there(&self.directory, names::SPARE_NAME).await?;
        if let Some((base, file, bytes, index)) = active {
            file.set_size(bytes).await?;
            file.sync().await?;
            self.directory.write_small(&names::index(base), &index).await?;
        }
        self.directory.sync().await?;
        self.store_checkpoint(true, None, Derived::Save).await // C1
    }

    async fn remove_all(&self) -> Result<(), IoError> {
        for name in self.directory.list().await? {
            let ours = match names::parse(&name) {
                Name::Segment(_) | Name::Index(_) | Name::Snapshot(_) => true,
                Name::Spare | Name::Cleaned(_) => true,
                Name::Other => [CHECKPOINT_NAME, EPOCHS_NAME, MANIFEST_NAME].contains(&&*name),
            };
            if ours {
                remove_if_there(&self.directory, &name).await?;
            }
        }
        self.directory.sync().await
    }

    fn end(&self) {
        self.state.borrow_mut().life = Life::Ended;
        self.work.notify();
        self.moved.notify();
    }
}
