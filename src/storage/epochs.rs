//! Leader epochs of one log, each with its first offset; kept in `leader-epoch-checkpoint`.
//!
//! In:   epochs of appended batches, and those a leader begins before its first append.
//! Out:  the table, as entries and as the text of the file.
//! Home: pure.
//!
//! Invariants
//!   E1  Epochs grow strictly, their first offsets never fall.
//!
//! The file is Kafka's own (version, count, `epoch offset` lines) and one line more with its
//! CRC-32C, because nothing else would notice a flipped digit.
//! Source: Kafka's `LeaderEpochCheckpointFile`, KIP-101.

use std::fmt::Write as _;

use crate::model::offset::{LeaderEpoch, Offset};
use crate::record::crc::crc32c;

/// Name of the file.
pub(super) const EPOCHS_NAME: &str = "leader-epoch-checkpoint";

/// The table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EpochTable {
    entries: Vec<(LeaderEpoch, Offset)>,
}

impl EpochTable {
    pub(super) fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    /// The newest epoch.
    pub(super) fn last(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.0)
    }

    /// Notes that `epoch` writes from `offset` on; true if the table changed.
    ///
    /// An entry that holds no record yet (same first offset) gives way, as in Kafka.
    pub(super) fn assign(&mut self, epoch: LeaderEpoch, offset: Offset) -> bool {
        if epoch < LeaderEpoch(0) || self.last().is_some_and(|last| epoch <= last) {
            return false;
        }
        while self.entries.last().is_some_and(|entry| entry.1 >= offset) {
            self.entries.pop();
        }
        self.entries.push((epoch, offset));
        true
    }

    /// Forgets what begins at or after `end`; true if the table changed.
    pub(super) fn truncate(&mut self, end: Offset) -> bool {
        let kept = self.entries.partition_point(|entry| entry.1 < end);
        let changed = kept < self.entries.len();
        self.entries.truncate(kept);
        changed
    }

    /// Forgets epochs that end at or before `start`; the one that covers it begins there.
    pub(super) fn advance_start(&mut self, start: Offset) -> bool {
        let covering = self.entries.partition_point(|entry| entry.1 <= start);
        if covering == 0 || self.entries[covering - 1].1 == start && covering == 1 {
            return false;
        }
        self.entries.drain(..covering - 1);
        self.entries[0].1 = start;
        true
    }

    pub(super) fn encode(&self) -> String {
        let mut text = format!("0\n{}\n", self.entries.len());
        for (epoch, offset) in &self.entries {
            let _ = writeln!(text, "{} {}", epoch.0, offset.0);
        }
        let crc = crc32c(text.as_bytes());
        let _ = writeln!(text, "crc32c {crc:08x}");
        text
    }

    /// The table in `bytes`; `None` if they are not whole.
    pub(super) fn decode(bytes: &[u8]) -> Option<EpochTable> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (body, crc) = text.strip_suffix('\n')?.rsplit_once("crc32c ")?;
        if u32::from_str_radix(crc, 16).ok()? != crc32c(body.as_bytes()) {
            return None;
        }
        let mut lines = body.lines();
        let version = lines.next()?;
        let count: usize = lines.next()?.parse().ok()?;
        let mut table = EpochTable::default();
        for line in lines {
            let (epoch, offset) = line.split_once(' ')?;
            let epoch = LeaderEpoch(epoch.parse().ok()?);
            let offset = Offset(offset.parse().ok()?);
            let grows = table.entries.last().is_none_or(|last| last.0 < epoch && last.1 <= offset);
            if !grows {
                return None;
            }
            table.entries.push((epoch, offset));
        }
        (version == "0" && table.entries.len() == count).then_some(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(i32, i64)]) -> EpochTable {
        let entries = entries.iter().map(|&(e, o)| (LeaderEpoch(e), Offset(o))).collect();
        EpochTable { entries }
    }

    #[test]
    fn survives_its_file_and_notices_a_flipped_digit() {
        for t in [table(&[]), table(&[(0, 0), (3, 17), (4, 90)])] {
            let text = t.encode();
            assert_eq!(EpochTable::decode(text.as_bytes()), Some(t.clone()));
            for at in 0..text.len() {
                let mut bad = text.clone().into_bytes();
                bad[at] ^= 1;
                assert_ne!(EpochTable::decode(&bad), Some(t.clone()), "byte {at}");
            }
        }
    }

    #[test]
    fn an_empty_epoch_gives_way_and_old_ones_are_refused() {
        let mut t = table(&[(0, 0), (1, 10)]);
        assert!(!t.assign(LeaderEpoch(1), Offset(20)));
        assert!(t.assign(LeaderEpoch(2), Offset(10)));
        assert_eq!(t, table(&[(0, 0), (2, 10)]));
        assert!(!t.assign(LeaderEpoch(-1), Offset(20)));
    }

    #[test]
    fn both_ends_can_be_cut() {
        let mut t = table(&[(0, 0), (1, 10), (2, 20)]);
        assert!(t.advance_start(Offset(12)));
        assert_eq!(t, table(&[(1, 12), (2, 20)]));
        assert!(!t.advance_start(Offset(12)));
        assert!(t.truncate(Offset(20)));
        assert_eq!(t, table(&[(1, 12)]));
        assert!(!t.truncate(Offset(20)));
    }
}
