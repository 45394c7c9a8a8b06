//! What a log is told: its topic's settings, the shard's budgets, and the stop of its directory.
//!
//! In:   `TopicConfig`, again whenever it changes.
//! Out:  [`LogOptions`] (copied into the log), [`FailStop`] (shared by all logs of a directory).
//! Home: one shard.
//!
//! Invariants
//!   S1  A [`FailStop`] that has failed stays so until the process ends.

use std::cell::Cell;

use crate::config::topic::{CleanupPolicy, FlushPolicy, TopicConfig};
use crate::io::file::IoError;
use crate::storage::signal::Signal;

/// Largest write, in bytes: what one in-flight buffer may hold.
pub const WRITE_BYTES_MAX: usize = 1 << 20;
/// Writes of one log in flight at most.
pub const WRITES_IN_FLIGHT_MAX: usize = 4;
/// While a write is in flight, another starts once so many bytes of full blocks are queued.
pub const WRITE_AHEAD_BYTES_MIN: usize = 128 << 10;
/// Bytes queued for writing at most, unless one batch alone is larger: then only it.
pub const QUEUED_BYTES_MAX: usize = 16 << 20;
/// Space that a new partition's first segment gets.
pub const ALLOCATE_BYTES_MIN: u64 = 1 << 20;
/// The largest step by which space is added.
pub const ALLOCATE_BYTES_MAX: u64 = 64 << 20;
/// Bytes proven durable before the checkpoint says so at the latest, if `tick` is called.
pub const PROVEN_BYTES_MAX: u64 = 64 << 20;
/// Milliseconds after which a tick writes the checkpoint of a log that has grown.
pub const PROVEN_MS: i64 = 5_000;
/// Milliseconds between attempts to get space on a full disk.
pub const DISK_FULL_RETRY_MS: i64 = 1_000;

/// Settings of one log; may change while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// A segment is closed before it would grow past this; one larger batch stands alone.
    pub segment_bytes: u32,
    /// A segment is closed this many milliseconds after its first append.
    pub segment_ms: u64,
    /// A segment is closed when its index would have more than this, at 8 bytes an entry.
    pub index_bytes: u32,
    /// Bytes of log between entries of the index.
    pub index_interval_bytes: u32,
    /// What an acknowledgement promises.
    pub flush: FlushPolicy,
    /// Milliseconds that records are kept; `None`: no limit.
    pub retention_ms: Option<u64>,
    /// Bytes that are kept; `None`: no limit.
    pub retention_bytes: Option<u64>,
}

impl LogOptions {
    /// The part of a topic's settings that its logs act on.
    pub fn from_topic(topic: &TopicConfig) -> LogOptions {
        let CleanupPolicy { delete, compact } = topic.cleanup_policy;
        // A record can be compacted only once its segment is closed.
        let age_ms_max = if compact { topic.max_compaction_lag_ms } else { u64::MAX };
        LogOptions {
            segment_bytes: topic.segment_bytes,
            segment_ms: topic.segment_ms.min(age_ms_max),
            index_bytes: topic.segment_index_bytes,
            index_interval_bytes: topic.index_interval_bytes,
            flush: topic.flush,
            retention_ms: topic.retention_ms.filter(|_| delete),
            retention_bytes: topic.retention_bytes.filter(|_| delete),
        }
    }

    /// Entries of an index at most, 1 or more.
    pub(super) fn index_entries_max(&self) -> usize {
        usize::try_from(self.index_bytes / 8).unwrap_or(usize::MAX).max(1)
    }
}

/// The stop of a log directory: one failed write or sync, and no log in it acknowledges again.
///
/// One per directory and shard; the broker carries a failure to the other shards.
#[derive(Debug, Default)]
pub struct FailStop {
    failed: Cell<Option<IoError>>,
    changed: Signal,
}

impl FailStop {
    /// A directory in good health.
    pub fn new() -> FailStop {
        FailStop::default()
    }

    /// Stops all logs that share this; the first reason is kept (S1).
    pub fn fail(&self, error: IoError) {
        if self.failed.get().is_none() {
            self.failed.set(Some(error));
            self.changed.notify();
        }
    }

    /// The reason, once it has failed.
    pub fn failed(&self) -> Option<IoError> {
        self.failed.get()
    }

    /// Waits until it has failed.
    pub async fn wait(&self) -> IoError {
        loop {
            let changed = self.changed.listen();
            if let Some(error) = self.failed.get() {
                return error;
            }
            changed.await;
        }
    }

    pub(super) fn changed(&self) -> &Signal {
        &self.changed
    }
}
