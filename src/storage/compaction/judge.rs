//! Which records of a batch survive compaction.
//!
//! In:   batches in the order of the log, from its first on; the newest offsets by key; who was
//!       aborted; the last batch of each producer; the time.
//! Out:  a verdict on each batch, and its new bytes where they change.
//! Home: one pass over one log; it decides by what it is given, at the pass's pace.
//!
//! Invariants
//!   J1  A record below the mapped end stays only if it has a key and is the newest of it; a
//!       tombstone, moreover, only until the horizon that its first compaction set.
//!   J2  A record at or behind the mapped end stays, unless its transaction was aborted.
//!   J3  A marker stays until none of its transaction's batches is left in the log, and then until
//!       the horizon that the first pass to find so sets: a reader in the midst of the transaction
//!       still meets its end, and a restart finds none open that has ended.
//!   J4  The last batch of every active producer stays, without records if need be; a marker, with
//!       its record: its sequence, or its epoch, is what the producer goes on from.
//!
//! Source: Kafka's `Cleaner.cleanInto`, `CleanedTransactionMetadata`; KIP-534.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::model::ids::{ProducerEpoch, ProducerId};
use crate::model::offset::Offset;
use crate::model::time::Timestamp;
use crate::record::batch::BatchInfo;
use crate::record::sieve::{BadBatch, Left, Sieve, put_empty};
use crate::storage::compaction::aborted::Aborted;
use crate::storage::compaction::map::KeyMap;
use crate::storage::compaction::pass::{Pace, batch_of, open, rebuild};

/// What an active producer wrote last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastWrite {
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// Last offset of its last batch of records in this epoch; `None`: a marker is all there is.
    pub last_offset: Option<Offset>,
}

/// The active producers of a log.
pub type LastWrites = BTreeMap<ProducerId, LastWrite>;

/// When what is marked as deleted goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// Wall clock of the pass.
    pub(super) now: Timestamp,
    /// `delete.retention.ms`.
    pub(super) delete_retention_ms: u64,
}

impl Clock {
    fn horizon(&self) -> Timestamp {
        let after = i64::try_from(self.delete_retention_ms).unwrap_or(i64::MAX);
        Timestamp(self.now.0.saturating_add(after))
    }

    /// Whether the batch has a delete horizon and it is past.
    fn is_past(&self, info: &BatchInfo) -> bool {
        info.attributes.has_delete_horizon() && info.base_timestamp <= self.now
    }
}

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It stays as it is.
    Keep,
    /// It stays with fewer records, or none, or a horizon: its new bytes were appended.
    Change,
    /// Nothing of it stays.
    Drop,
}

/// Judges the batches of one log.
pub(super) struct Judge<'a> {
    pub(super) map: &'a KeyMap,
    /// All keys before this are in the map, as far as they were not compacted before.
    pub(super) mapped_end: Offset,
    pub(super) aborted: &'a Aborted,
    pub(super) producers: &'a LastWrites,
    pub(super) clock: Clock,
    /// Producers of whose running transaction a batch was there.
    pub(super) seen: BTreeSet<ProducerId>,
    pub(super) sieve: &'a mut Sieve,
}

impl Judge<'_> {
    /// Judges the next batch; what it becomes, if it changes, is appended to `out`.
    ///
    /// Errors: [`BadBatch`]; nothing was appended.
    pub(super) async fn judge(
        &mut self,
        pace: &impl Pace,
        bytes: &Bytes,
        info: &BatchInfo,
        out: &mut Vec<u8>,
    ) -> Result<Verdict, BadBatch> {
        let (gone, horizon) = if info.attributes.is_control() {
            let unneeded = !self.seen.remove(&info.producer_id); // J3
            let last = self.is_last_of_producer(info); // J4: an empty marker says nothing
            let gone = unneeded && !last && self.clock.is_past(info);
            (gone, unneeded && !gone && !info.attributes.has_delete_horizon())
        } else {
            let transactional = info.attributes.is_transactional();
            if transactional {
                self.seen.insert(info.producer_id);
            }
            let aborted = self.aborted.holds(info.producer_id, info.base_offset);
            (transactional && aborted, false)
        };
        let left = self.sift(pace, bytes, info, gone).await?;
        if left.count == 0 {
            return Ok(match self.is_last_of_producer(info) {
                true if info.record_count == 0 => Verdict::Keep,
                true => {
                    put_empty(info, out); // J4
                    Verdict::Change
                }
                false => Verdict::Drop,
            });
        }
        let marks = !info.attributes.is_control() && left.has_tombstone;
        let horizon = horizon || marks && !info.attributes.has_delete_horizon();
        if left.count == info.record_count && !horizon {
            return Ok(Verdict::Keep);
        }
        let horizon = horizon.then(|| self.clock.horizon());
        rebuild(pace, self.sieve, info, horizon, out).await;
        Ok(Verdict::Change)
    }

    /// Keeps the records of a batch that stay; none of one that is `gone`.
    async fn sift(
        &mut self,
        pace: &impl Pace,
        bytes: &Bytes,
        info: &BatchInfo,
        gone: bool,
    ) -> Result<Left, BadBatch> {
        let past = self.clock.is_past(info);
        open(pace, self.sieve, bytes).await?;
        loop {
            let (map, mapped_end) = (self.map, self.mapped_end);
            let more = self.sieve.sift(&batch_of(bytes), |offset, record| {
                if gone || info.attributes.is_control() || offset >= mapped_end {
                    return !gone; // J2
                }
                let Some(key) = record.key else { return false };
                let newest = map.get(key).is_none_or(|newest| newest <= offset);
                newest && (record.value.is_some() || !past) // J1
            })?;
            if !more {
                return Ok(self.sieve.left());
            }
            pace.breathe().await;
        }
    }

    /// Whether the batch is what its producer goes on from (J4).
    fn is_last_of_producer(&self, info: &BatchInfo) -> bool {
        let last = self.producers.get(&info.producer_id).filter(|_| info.has_producer_id());
        last.is_some_and(|last| match last.last_offset {
            Some(offset) => offset == info.last_offset,
            None => info.attributes.is_control() && info.producer_epoch == last.epoch,
        })
    }
}
