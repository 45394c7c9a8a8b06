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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::prng::Prng;

    fn table(entries: &[(i32, i64)]) -> EpochTable {
        let mut table = EpochTable::new();
        for &(epoch, start) in entries {
            table.assign(LeaderEpoch(epoch), Offset(start));
        }
        table
    }

    fn entries(table: &EpochTable) -> Vec<(i32, i64)> {
        table.entries().iter().map(|entry| (entry.epoch.0, entry.start.0)).collect()
    }

    #[test]
    fn entries_without_records_go() {
        let check = |given: &[(i32, i64)], want: &[(i32, i64)]| {
            assert_eq!(entries(&table(given)), want, "{given:?}");
        };
        check(&[(0, 0), (2, 10)], &[(0, 0), (2, 10)]);
        check(&[(0, 0), (2, 10), (3, 10)], &[(0, 0), (3, 10)]);
        check(&[(0, 0), (2, 10), (2, 20)], &[(0, 0), (2, 10)]);
        check(&[(0, 0), (2, 10), (3, 5)], &[(0, 0), (3, 5)]);
        check(&[(0, 0), (1, 0)], &[(1, 0)]);
        check(&[(5, 7), (5, 3)], &[(5, 3)]);
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let table = table(&[(2, 10), (4, 20), (7, 30)]);
        let check = |requested: i32, epoch: i32, end: i64| {
            let want = EpochEnd { epoch: LeaderEpoch(epoch), end: Offset(end) };
            let got = table.end_offset_for(LeaderEpoch(requested), Offset(35));
            assert_eq!(got, want, "{requested}");
        };
        check(-1, -1, -1);
        check(0, 0, 10);
        check(1, 1, 10);
        check(2, 2, 20);
        check(3, 2, 20);
        check(4, 4, 30);
        check(6, 4, 30);
        check(7, 7, 35);
        check(8, -1, -1);
        let empty = EpochTable::new().end_offset_for(LeaderEpoch(0), Offset(0));
        assert_eq!(empty, EpochEnd::UNKNOWN);
    }

    #[test]
    fn offsets_know_their_epoch() {
        let table = table(&[(2, 10), (4, 20)]);
        let check = |offset: i64, want: Option<i32>| {
            assert_eq!(table.epoch_at(Offset(offset)), want.map(LeaderEpoch), "{offset}");
        };
        check(9, None);
        check(10, Some(2));
        check(19, Some(2));
        check(20, Some(4));
        check(99, Some(4));
    }

    #[test]
    fn cuts_at_either_end() {
        let given = [(2, 10), (4, 20), (7, 30)];
        let from_end = |end: i64, want: &[(i32, i64)]| {
            let mut table = table(&given);
            table.truncate_from_end(Offset(end));
            assert_eq!(entries(&table), want, "{end}");
        };
        from_end(31, &given);
        from_end(30, &given[..2]);
        from_end(11, &given[..1]);
        from_end(10, &[]);
        let from_start = |start: i64, want: &[(i32, i64)]| {
            let mut table = table(&given);
            table.truncate_from_start(Offset(start));
            assert_eq!(entries(&table), want, "{start}");
        };
        from_start(5, &given);
        from_start(10, &given);
        from_start(15, &[(2, 15), (4, 20), (7, 30)]);
        from_start(20, &[(4, 20), (7, 30)]);
        from_start(99, &[(7, 99)]);
    }

    #[test]
    fn checkpoints_survive_the_round_trip_and_damage_is_refused() {
        let mut prng = Prng::new(1);
        for _ in 0..200 {
            let mut table = EpochTable::new();
            let (mut epoch, mut start) = (0, 0);
            for _ in 0..prng.below(10) {
                epoch += i32::try_from(prng.below(5)).unwrap();
                start += prng.below(50).cast_signed();
                table.assign(LeaderEpoch(epoch), Offset(start));
            }
            let bytes = table.encode();
            assert_eq!(EpochTable::decode(&bytes), Ok(table));
            let mut damaged = bytes.clone();
            damaged[prng.index(bytes.len())] ^= 1 << prng.below(8);
            assert!(EpochTable::decode(&damaged).is_err());
            assert!(EpochTable::decode(&bytes[..prng.index(bytes.len())]).is_err());
            let noise = prng.bytes(40);
            assert!(EpochTable::decode(&noise).is_err());
        }
    }

    #[test]
    fn values_that_contradict_one_another_are_refused() {
        let check = |entries: &[(i32, i64)], count: u32| {
            let mut out = SnapshotWriter::new(MAGIC, VERSION);
            out.put(&count.to_be_bytes());
            for (epoch, start) in entries {
                out.put(&epoch.to_be_bytes());
                out.put(&start.to_be_bytes());
            }
            let got = EpochTable::decode(&out.finish());
            assert_eq!(got, Err(SnapshotError::BadValue), "{entries:?}");
        };
        check(&[(1, 5), (1, 6)], 2);
        check(&[(1, 5), (2, 5)], 2);
        check(&[(-1, 5)], 1);
        check(&[(1, -5)], 1);
        check(&[(1, 5)], 2);
        check(&[(1, 5)], u32::MAX);
        check(&[(1, 5)], 0);
    }
}
