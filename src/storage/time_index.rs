//! Looking up by time: the same sparse entries, read by their running maximum.
//!
//! In:   a wanted timestamp.
//! Out:  the entry from which a walk over headers meets the first batch that is late enough.
//! Home: pure.
//!
//! Timestamps of a segment are in no order; their running maximum is (N2 of `offset_index.rs`),
//! and the first batch whose own maximum reaches the wanted time is where the running one does.

use crate::model::time::Timestamp;
use crate::storage::offset_index::{Entry, SparseIndex};

impl SparseIndex {
    /// Where to start a walk for the first batch with a timestamp of `wanted` or later;
    /// `None` if the segment has no such batch.
    pub(super) fn before_time(&self, wanted: Timestamp) -> Option<Entry> {
        if self.max_timestamp < wanted {
            return None;
        }
        let early = self.entries.partition_point(|e| e.max_before < wanted);
        // The first entry has nothing before it, so with `wanted` above -1 one is early enough.
        self.entries.get(early.max(1) - 1).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::{ProducerEpoch, ProducerId};
    use crate::model::offset::{LeaderEpoch, Offset, Sequence};
    use crate::record::batch::{Attributes, BatchInfo};
    use crate::record::crc::crc32c;
    use crate::storage::checksums::Checksums;
    use crate::storage::txn_index::OpenTransactions;

    pub(super) fn info(base: i64, count: i64, max_timestamp: i64, bytes: u32) -> BatchInfo {
        BatchInfo {
            base_offset: Offset(base),
            last_offset: Offset(base + count - 1),
            leader_epoch: LeaderEpoch(0),
            base_timestamp: Timestamp(max_timestamp),
            max_timestamp: Timestamp(max_timestamp),
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch(-1),
            base_sequence: Sequence::NONE,
            last_sequence: Sequence::NONE,
            record_count: 1,
            bytes,
            attributes: Attributes(0),
        }
    }

    fn index(batches: &[(i64, i64, u32)]) -> SparseIndex {
        let mut index = SparseIndex::new(Offset(100), OpenTransactions::default());
        for &(base, time, bytes) in batches {
            index.note(&info(base, 1, time, bytes), &base.to_le_bytes(), None, 100);
        }
        index
    }

    #[test]
    fn a_walk_starts_at_or_before_the_first_late_batch() {
        let i = index(&[(100, 5, 90), (101, 9, 90), (102, 7, 90), (103, 20, 90), (104, 8, 90)]);
        let offsets: Vec<_> = i.entries.iter().map(|e| e.relative_offset).collect();
        assert_eq!(offsets, [0, 2, 4]);
        let check = |wanted, entry: Option<u32>| {
            let found = i.before_time(Timestamp(wanted)).map(|e| e.relative_offset);
            assert_eq!(found, entry, "{wanted}");
        };
        check(0, Some(0));
        check(9, Some(0));
        check(10, Some(2));
        check(20, Some(2));
        check(21, None);
        assert_eq!((i.max_timestamp, i.max_timestamp_base), (Timestamp(20), Offset(103)));
    }

    #[test]
    fn lookup_by_offset_and_by_bytes() {
        let i = index(&[(100, 5, 90), (101, 9, 90), (102, 7, 90), (103, 20, 90), (104, 8, 90)]);
        let at = |o| i.at_or_before(Offset(o)).map(|e| e.position);
        assert_eq!(
            (at(99), at(100), at(101), at(103), at(900)),
            (None, Some(0), Some(0), Some(180), Some(360))
        );
        assert_eq!(i.after(Offset(101)).map(|e| e.position), Some(180));
        let within = |from, to, upto| i.last_within(from, to, Offset(upto)).map(|e| e.position);
        assert_eq!(within(0, 400, 900), Some(360));
        assert_eq!(within(0, 400, 103), Some(180));
        assert_eq!(within(180, 300, 900), None);
    }

    #[test]
    fn the_file_survives_and_any_flipped_byte_is_noticed() {
        let i = index(&[(100, 5, 90), (101, 9, 90), (102, 7, 90)]);
        let bytes = i.encode();
        assert_eq!(SparseIndex::decode(Offset(100), &bytes), Some(i));
        assert_eq!(SparseIndex::decode(Offset(101), &bytes), None);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            assert_eq!(SparseIndex::decode(Offset(100), &bad), None, "byte {at}");
            assert_eq!(SparseIndex::decode(Offset(100), &bytes[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn files_of_older_versions_are_read_as_ones_without_what_came_later() {
        let i = index(&[(100, 5, 90), (101, 9, 90), (102, 7, 90)]);
        let whole = i.encode();
        let mut transactions = Vec::new();
        i.transactions.encode(&mut transactions);
        // The last is preceded by the count of checksums, none here.
        let entries = whole.len() - 4 - transactions.len() - 4;
        for (version, rest) in [(1u32, &[][..]), (2, &transactions)] {
            let mut bytes = [&whole[..entries], rest].concat();
            bytes[4..8].copy_from_slice(&version.to_le_bytes());
            let crc = crc32c(&bytes);
            bytes.extend(crc.to_le_bytes());
            assert_eq!(SparseIndex::decode(Offset(100), &bytes), Some(i.clone()), "{version}");
        }
    }

    #[test]
    fn checksums_are_of_all_batches_or_there_are_none() {
        let (zeros, mut i) = ([0; 90], index(&[]));
        let note = |i: &mut SparseIndex, base: i64| {
            i.note(&info(base, 1, 5, 90), &base.to_le_bytes(), None, 100);
        };
        for base in 100..105 {
            note(&mut i, base);
            assert!(i.checksums().is_none(), "not yet");
            i.cover(&zeros);
            assert_eq!(i.checksums().map(Checksums::bytes), Some(i.bytes));
            assert_eq!(SparseIndex::decode(Offset(100), &i.encode()).as_ref(), Some(&i));
        }
        // What is noted again may be other bytes; noted up to the same position, it must not count.
        let before = i.bytes;
        assert!(i.rewind(200) < before);
        while i.bytes < before {
            let next = i.end.0;
            note(&mut i, next);
        }
        assert!(i.checksums().is_none(), "made again by headers");
        let read = SparseIndex::decode(Offset(100), &i.encode());
        assert!(read.is_some_and(|read| read.checksums().is_none()));
        let end = i.end.0;
        note(&mut i, end);
        i.cover(&zeros);
        assert!(i.checksums().is_none(), "a gap is no cover");
        let mut all = Checksums::default();
        all.add(&[0; 89]);
        assert!(!i.set_checksums(all.clone()), "of fewer bytes");
        all.add(&[0; 451]);
        assert!(i.set_checksums(all) && i.checksums().is_some());
    }

    #[test]
    fn rewinding_and_noting_again_gives_the_same() {
        let batches = [(100, 5, 90), (101, 9, 90), (102, 7, 90), (103, 20, 90), (104, 8, 90)];
        for cut in 0..=batches.len() {
            let mut rewound = index(&batches);
            let position = cut as u64 * 90;
            let from = rewound.rewind(position.min(449)) / 90;
            for &(base, time, bytes) in &batches[usize::try_from(from).unwrap()..cut] {
                rewound.note(&info(base, 1, time, bytes), &base.to_le_bytes(), None, 100);
            }
            let mut want = index(&batches[..cut]);
            // Where the maximum was is known only to the entry; the walk refines it.
            assert!(rewound.max_timestamp_base <= want.max_timestamp_base, "cut {cut}");
            want.max_timestamp_base = rewound.max_timestamp_base;
            assert_eq!(rewound, want, "cut {cut}");
        }
    }
}
