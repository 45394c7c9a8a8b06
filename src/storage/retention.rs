//! The other end of a log: its start advances, segments before it go.
//!
//! In:   time and a bound (the high watermark); or an offset that an operator names.
//! Out:  a new, durable log start; files removed after it.
//! Home: the partition's shard; readers that hold a removed file finish with it.
//!
//! Invariants
//!   V1  The new start is durable before the first file before it is removed, so that no order of
//!       lost removals looks like a hole in the log.
//!   V2  The last segment is never removed; one that has expired whole is closed first.
//!
//! Works on a full disk: the checkpoint is overwritten in place. Source: Kafka's
//! `UnifiedLog.deleteOldSegments`, `storage.md` 4.5.

use crate::io::directory::Directory;
use crate::io::file::IoError;
use crate::model::offset::Offset;
use crate::model::time::Timestamp;
use crate::storage::appender::Derived;
use crate::storage::log::{Inner, Log, LogError};
use crate::storage::names;
use crate::storage::segment::{Key, Sums};
use crate::storage::truncation::remove_if_there;

impl<D: Directory> Log<D> {
    /// Removes segments that the topic's limits let go and that end at or before `bound`.
    ///
    /// The new log start, if it moved. Errors: [`LogError`].
    pub async fn retain(&self, now: Timestamp, bound: Offset) -> Result<Option<Offset>, LogError> {
        let held = self.inner.maintenance.enter().await;
        self.inner.check_open()?;
        let start = self.inner.expired_end(now, bound).await?;
        if start <= self.log_start() {
            return Ok(None);
        }
        self.inner.move_start(start).await?;
        drop(held);
        Ok(Some(start))
    }

    /// Lets the log begin at `offset`, durably; the start it has then. Lower than now: no change.
    ///
    /// Errors: `OutOfRange` past the log's end, `Offline`, `DiskFull`.
    pub async fn advance_log_start(&self, offset: Offset) -> Result<Offset, LogError> {
        let held = self.inner.maintenance.enter().await;
        self.inner.check_open()?;
        let (log_start, log_end) = (self.log_start(), self.log_end());
        if offset > log_end {
            return Err(LogError::OutOfRange { log_start, log_end });
        }
        if offset > log_start {
            self.wait_durable(offset).await?;
            self.inner.move_start(offset).await?;
        }
        drop(held);
        Ok(self.log_start())
    }
}

impl<D: Directory> Inner<D> {
    pub(super) fn check_open(&self) -> Result<(), LogError> {
        let closed = self.state.borrow().life != crate::storage::log::Life::Open;
        if closed || self.fail_stop.failed().is_some() { Err(LogError::Offline) } else { Ok(()) }
    }

    /// The end of the segments that may go; the log's start if none may.
    async fn expired_end(
        self: &std::rc::Rc<Self>,
        now: Timestamp,
        bound: Offset,
    ) -> Result<Offset, LogError> {
        let (options, segments, mut end) = {
            let state = self.state.borrow();
            let segments: Vec<(Key, Offset, bool)> =
                state.segments.iter().map(|s| (s.key(), s.staged.offset, s.sealed)).collect();
            (state.options, segments, state.log_start)
        };
        let mut surplus = match options.retention_bytes {
            None => None,
            Some(limit) => self.total_bytes(&segments).await?.checked_sub(limit),
        };
        for (key, segment_end, sealed) in segments {
            if segment_end > bound {
                break;
            }
            let sums = self.sums(key).await?;
            let too_much = surplus.is_some_and(|surplus| surplus >= sums.bytes);
            if !too_much && !is_expired(&sums, now, options.retention_ms) {
                break;
            }
            if !sealed {
                self.close_expired(key.base); // V2
                break;
            }
            surplus = surplus.and_then(|surplus| surplus.checked_sub(sums.bytes));
            end = end.max(segment_end);
        }
        Ok(end)
    }

    async fn total_bytes(
        self: &std::rc::Rc<Self>,
        segments: &[(Key, Offset, bool)],
    ) -> Result<u64, LogError> {
        let mut total = 0;
        for (key, ..) in segments {
            total += self.sums(*key).await?.bytes;
        }
        Ok(total)
    }

    /// Rolls the last segment, all of which has expired, so that it goes next time.
    fn close_expired(&self, base: Offset) {
        let mut state = self.state.borrow_mut();
        let log_end = state.log_end;
        let active = state.active();
        if active.base == base && active.staged.position > 0 && active.staged.offset == log_end {
            state.roll();
            drop(state);
            self.work.notify();
        }
    }

    /// Makes `start` the log's start, durably, then removes what lies before it.
    async fn move_start(&self, start: Offset) -> Result<(), LogError> {
        {
            let mut state = self.state.borrow_mut();
            state.log_start = start;
            state.epochs_dirty |= state.epochs.advance_start(start);
        }
        // V1. Without room even to make the file, removals become durable one by one instead.
        let one_by_one = match self.store_checkpoint(false, None, Derived::Leave).await {
            Ok(()) => false,
            Err(IoError::NoSpace) => true,
            Err(error) => return Err(self.fail_hard(error)),
        };
        let removed = {
            let mut state = self.state.borrow_mut();
            let mut removed = Vec::new();
            while state.segments.len() > 1
                && state.segments[0].sealed
                && state.segments[0].staged.offset <= start
            {
                let segment = state.segments.pop_front().expect("there are two");
                removed.push(segment.base);
            }
            removed
        };
        let gone = self.remove_segments(&removed, one_by_one).await;
        gone.map_err(|error| self.fail_hard(error))
    }

    async fn remove_segments(&self, bases: &[Offset], one_by_one: bool) -> Result<(), IoError> {
        for base in bases {
            remove_if_there(&self.directory, &names::segment(*base)).await?;
            remove_if_there(&self.directory, &names::index(*base)).await?;
            if one_by_one {
                self.directory.sync().await?;
            }
        }
        if bases.is_empty() { Ok(()) } else { self.directory.sync().await } // W6
    }
}

/// Whether all records of a segment are older than the limit.
fn is_expired(sums: &Sums, now: Timestamp, retention_ms: Option<u64>) -> bool {
    let Some(limit) = retention_ms else { return false };
    let age = now.0.saturating_sub(sums.max_timestamp.0);
    sums.bytes > 0
        && sums.max_timestamp != Timestamp::NONE
        && u64::try_from(age).is_ok_and(|age| age > limit)
}
