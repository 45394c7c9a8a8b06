//! Leader epochs of a log: which leader wrote from which offset on.
//!
//! In:   a new leader's epoch and first offset; cuts of the log at either end.
//! Out:  where an epoch ends, which decides where two histories part.
//! Home: pure; owned by the partition's shard.
//!
//! Invariants
//!   E1  Epochs and start offsets both grow strictly from entry to entry.
//!   E2  No entry starts at or after the log end, but for the last: a leader that has not
//!       written yet starts at the log end.
//!
//! Source: KIP-101, KIP-279, KIP-320; Kafka's `LeaderEpochFileCache`; `protocol.md` P49.

use crate::model::offset::{LeaderEpoch, Offset};
use crate::partition::snapshot::{SnapshotReader, SnapshotWriter};

pub use crate::partition::snapshot::SnapshotError;

/// `YEEP`, at the front of a checkpoint.
const MAGIC: u32 = 0x5945_4550;
const VERSION: u16 = 1;
const ENTRY_BYTES: usize = 12;

/// From `start` on, up to the next entry, the leader of `epoch` wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    /// The leader's epoch, 0 or more.
    pub epoch: LeaderEpoch,
    /// Its first offset.
    pub start: Offset,
}

/// The answer to "where does this epoch end?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest known epoch not above the one asked for, or that one, or -1 if unknown.
    pub epoch: LeaderEpoch,
    /// The offset after its last, or -1 if unknown.
    pub end: Offset,
}

impl EpochEnd {
    /// Nothing is known about the epoch asked for.
    pub const UNKNOWN: EpochEnd = EpochEnd { epoch: LeaderEpoch::NONE, end: Offset::NONE };
}

/// The epochs of one log, oldest first.
///
/// Its length is bounded by the number of leader changes within the log's retention.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochTable {
    entries: Vec<EpochEntry>,
}

impl EpochTable {
    /// A table that knows no epoch.
    pub fn new() -> EpochTable {
        EpochTable::default()
    }

    /// The entries, oldest first.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The newest entry.
    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    /// The epoch that `offset` was written in.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|entry| entry.start <= offset);
        after.checked_sub(1).map(|index| self.entries[index].epoch)
    }

    /// Notes that the leader of `epoch` writes from `start` on.
    ///
    /// The newest epoch again changes nothing. Entries that the new one contradicts, or that
    /// turn out to have no record, go (E1). Panics: if `epoch` or `start` is negative.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) {
        assert!(epoch.0 >= 0, "a leader has an epoch");
        assert!(start.0 >= 0, "an epoch starts within a log");
        if self.latest().is_some_and(|latest| latest.epoch == epoch && latest.start <= start) {
            return;
        }
        let kept = self.entries.partition_point(|old| old.epoch < epoch && old.start < start);
        self.entries.truncate(kept);
        self.entries.push(EpochEntry { epoch, start });
        self.assert_invariants();
    }

    /// Forgets what was written at `log_end` and after: the log was cut there.
    pub fn truncate_from_end(&mut self, log_end: Offset) {
        let kept = self.entries.partition_point(|entry| entry.start < log_end);
        self.entries.truncate(kept);
    }

    /// Forgets what was written before `log_start`; the epoch in which it lies starts there.
    pub fn truncate_from_start(&mut self, log_start: Offset) {
        let before = self.entries.partition_point(|entry| entry.start <= log_start);
        let Some(last_before) = before.checked_sub(1) else { return };
        self.entries[last_before].start = log_start;
        self.entries.drain(..last_before);
        self.assert_invariants();
    }

    /// Where `requested` ends, for a log that ends at `log_end`. Source: `protocol.md` P49.
    pub fn end_offset_for(&self, requested: LeaderEpoch, log_end: Offset) -> EpochEnd {
        let Some(latest) = self.latest() else { return EpochEnd::UNKNOWN };
        if requested == LeaderEpoch::NONE || requested > latest.epoch {
            return EpochEnd::UNKNOWN;
        }
        if requested == latest.epoch {
            return EpochEnd { epoch: requested, end: log_end };
        }
        let higher = self.entries.partition_point(|entry| entry.epoch <= requested);
        let end = self.entries[higher].start;
        // Older than all that is known: it ends, at the latest, where the oldest known begins.
        let epoch = higher.checked_sub(1).map_or(requested, |floor| self.entries[floor].epoch);
        EpochEnd { epoch, end }
    }

    /// The table as bytes for a checkpoint.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = SnapshotWriter::new(MAGIC, VERSION);
        out.put_count(self.entries.len());
        for entry in &self.entries {
            out.put(&entry.epoch.0.to_be_bytes());
            out.put(&entry.start.0.to_be_bytes());
        }
        out.finish()
    }

    /// The table of a checkpoint.
    /// Errors: [`SnapshotError`]; then the table is to be rebuilt from the log's batches.
    pub fn decode(bytes: &[u8]) -> Result<EpochTable, SnapshotError> {
        let mut reader = SnapshotReader::new(bytes, MAGIC, VERSION)?;
        let count = reader.take_count(ENTRY_BYTES)?;
        let mut entries: Vec<EpochEntry> = Vec::with_capacity(count);
        for _ in 0..count {
            let epoch = LeaderEpoch(reader.take_i32()?);
            let start = Offset(reader.take_i64()?);
            let grows = entries.last().is_none_or(|last| last.epoch < epoch && last.start < start);
            if !grows || epoch.0 < 0 || start.0 < 0 {
                return Err(SnapshotError::BadValue);
            }
            entries.push(EpochEntry { epoch, start });
        }
        reader.finish()?;
        Ok(EpochTable { entries })
    }

    fn assert_invariants(&self) {
        let Some((newest, older)) = self.entries.split_last() else { return };
        let Some(before) = older.last() else { return };
        assert!(before.epoch < newest.epoch, "E1");
        assert!(before.start < newest.start, "E1");
    }
}
