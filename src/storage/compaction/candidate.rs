//! What there is to compact in one log.
//!
//! In:   the time, how far readers of committed records see, the topic's lags.
//! Out:  a [`Candidate`]: up to where, how much of it is dirty, whether it is overdue.
//! Home: the partition's shard.
//!
//! Invariants
//!   C1  Only sealed segments that end at or before the bound are compacted: never the one that
//!       grows, never a record whose transaction is open.
//!   C2  No segment from the first one on that holds records younger than `min.compaction.lag.ms`.
//!
//! Source: Kafka's `LogCleanerManager.cleanableOffsets`, `LogToClean`; KIP-58, KIP-354.

use crate::config::topic::TopicConfig;
use crate::io::directory::Directory;
use crate::io::file::File;
use crate::model::offset::Offset;
use crate::model::time::Timestamp;
use crate::record::batch::{BatchHeader, HEADER_BYTES};
use crate::storage::log::{Inner, Log, LogError};
use crate::storage::segment::{Key, Mark};

/// When a log is to be compacted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// `min.compaction.lag.ms`.
    pub min_lag_ms: u64,
    /// `max.compaction.lag.ms`; `None`: no limit.
    pub max_lag_ms: Option<u64>,
    /// `min.cleanable.dirty.ratio`, 0 to 1.
    pub min_dirty_ratio: f64,
    /// `delete.retention.ms`.
    pub delete_retention_ms: u64,
}

impl Limits {
    /// Those of a topic.
    pub fn from_topic(topic: &TopicConfig) -> Limits {
        let max_lag_ms = topic.max_compaction_lag_ms;
        Limits {
            min_lag_ms: topic.min_compaction_lag_ms,
            max_lag_ms: Some(max_lag_ms).filter(|ms| *ms < i64::MAX.cast_unsigned()),
            min_dirty_ratio: topic.min_cleanable_dirty_ratio,
            delete_retention_ms: topic.delete_retention_ms,
        }
    }
}

/// What a pass over a log would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// From here on records have not been looked at: Kafka's first dirty offset.
    pub dirty_from: Offset,
    /// End of the last segment that may be compacted.
    pub end: Offset,
    /// Bytes of the segments before the dirty ones.
    pub clean_bytes: u64,
    /// Bytes of the dirty segments.
    pub dirty_bytes: u64,
    /// Milliseconds by which a record has waited longer than `max.compaction.lag.ms`.
    pub overdue_ms: u64,
}

impl Candidate {
    /// The dirty part, 0 to 1.
    pub fn dirty_ratio(&self) -> f64 {
        let total = self.clean_bytes + self.dirty_bytes;
        if total == 0 { 0.0 } else { self.dirty_bytes as f64 / total as f64 }
    }

    /// Whether it is time for a pass.
    pub fn is_due(&self, limits: &Limits) -> bool {
        let dirty = self.dirty_bytes > 0;
        dirty && (self.overdue_ms > 0 || self.dirty_ratio() > limits.min_dirty_ratio)
    }
}

impl<D: Directory> Log<D> {
    /// What there is to compact before `upto`, the last stable offset. Errors: `Damaged`, `Offline`;
    /// `OutOfRange` if segments went meanwhile: ask again later.
    pub async fn compaction_candidate(
        &self,
        now: Timestamp,
        upto: Offset,
        limits: &Limits,
    ) -> Result<Candidate, LogError> {
        self.inner.check_open()?;
        let dirty_from = self.inner.dirty_from();
        let mut candidate = Candidate {
            dirty_from,
            end: dirty_from,
            clean_bytes: 0,
            dirty_bytes: 0,
            overdue_ms: 0,
        };
        let min_lag_ms = i64::try_from(limits.min_lag_ms).unwrap_or(i64::MAX);
        for (key, end) in self.inner.compactable(upto) {
            let sums = self.inner.sums(key).await?;
            let young = sums.max_timestamp.0 > now.0.saturating_sub(min_lag_ms);
            let dirty = end > dirty_from;
            if dirty && limits.min_lag_ms > 0 && young {
                break; // C2
            }
            if dirty {
                candidate.dirty_bytes += sums.bytes;
                if let Some(lag_ms) = limits.max_lag_ms {
                    let overdue_ms = self.inner.overdue_ms(key, now, lag_ms).await?;
                    candidate.overdue_ms = candidate.overdue_ms.max(overdue_ms);
                }
            } else {
                candidate.clean_bytes += sums.bytes;
            }
            candidate.end = candidate.end.max(end);
        }
        Ok(candidate)
    }
}

impl<D: Directory> Inner<D> {
    /// The first offset that no pass has looked at.
    pub(super) fn dirty_from(&self) -> Offset {
        let state = self.state.borrow();
        state.compacted.end.max(state.log_start)
    }

    /// The sealed segments that end at or before `upto`, with their ends (C1).
    pub(super) fn compactable(&self, upto: Offset) -> Vec<(Key, Offset)> {
        let state = self.state.borrow();
        let sealed = state.segments.iter().take_while(|s| s.sealed && s.staged.offset <= upto);
        sealed.map(|segment| (segment.key(), segment.staged.offset)).collect()
    }

    /// By how much the first batch of a segment has waited longer than `lag_ms`.
    async fn overdue_ms(&self, key: Key, now: Timestamp, lag_ms: u64) -> Result<u64, LogError> {
        let start = Mark { position: 0, offset: key.base };
        let file = self.file_of(key).await.map_err(|e| self.read_error(e, key, start))?;
        let header = file.read_at(0, HEADER_BYTES).await;
        let header = header.map_err(|e| self.read_error(e, key, start))?;
        let Ok(header) = BatchHeader::peek(&header) else { return Ok(0) };
        let waited = now.0.saturating_sub(header.max_timestamp().0);
        Ok(u64::try_from(waited).unwrap_or(0).saturating_sub(lag_ms))
    }
}
