//! The sparse index of one segment: where batches lie, and how late their records are.
//!
//! In:   the numbers of each batch, in order, as it is staged or scanned.
//! Out:  positions to start a walk from, by offset and (`time_index.rs`) by time.
//! Home: one shard; written to `%020d.index` when the segment is sealed and at checkpoints.
//!
//! Invariants
//!   N1  Entries grow in offset and position; the first is the segment's first batch.
//!   N2  An entry's `max_before` is the largest timestamp of the segment's batches before it.
//!   N3  The index is derived: wrong or missing means rebuilt, never trusted.
//!
//! Beside the entries stand the segment's transactions (`txn_index.rs`) and checksums over all its
//! bytes (`checksums.rs`), these only while they cover just the batches noted: an index made again
//! from headers has none.
//!
//! Layout of the file, little-endian: magic u32 · version u32 · base i64 · end i64 · bytes u64 ·
//! max timestamp i64 · its batch's base i64 · count u32 · entries (relative offset u32 ·
//! position u32 · max before i64 · CRC-32C u32 of the batch's 61-byte header, W10) · count u32 ·
//! checksums u32 of pieces of 64 KiB · transactions · CRC-32C u32. Version 2 has no checksums, and
//! version 1 no transactions either: it was written when there were none.

use crate::model::offset::Offset;
use crate::model::time::Timestamp;
use crate::record::batch::BatchInfo;
use crate::record::control::EndMarker;
use crate::record::crc::crc32c;
use crate::storage::checksums::Checksums;
use crate::storage::txn_index::{OpenTransactions, TxnIndex};

const MAGIC: u32 = 0x5844_4959;
const VERSION: u32 = 3;
/// The last version without checksums.
const UNCOVERED_VERSION: u32 = 2;
/// The last version without transactions.
const PLAIN_VERSION: u32 = 1;
const HEAD_BYTES: usize = 52;
const ENTRY_BYTES: usize = 20;
const CHECKSUM_BYTES: usize = 4;
const CRC_BYTES: usize = 4;

/// One indexed batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Base offset less the segment's.
    pub(super) relative_offset: u32,
    /// Where the batch begins in the file.
    pub(super) position: u32,
    /// Largest timestamp before it (N2); `NONE` for the first.
    pub(super) max_before: Timestamp,
    /// CRC-32C of its header (W10).
    pub(super) header_crc: u32,
}

/// The index with the sums of its segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SparseIndex {
    /// The segment's base offset.
    pub(super) base: Offset,
    /// Offset after the last batch noted.
    pub(super) end: Offset,
    /// Bytes of all batches noted.
    pub(super) bytes: u64,
    /// Largest timestamp, or `NONE`.
    pub(super) max_timestamp: Timestamp,
    /// Base offset of the first batch that has it.
    pub(super) max_timestamp_base: Offset,
    /// The sparse entries.
    pub(super) entries: Vec<Entry>,
    /// Open and aborted transactions.
    pub(super) transactions: TxnIndex,
    /// Of the first bytes noted; of all of them, or of no use.
    covered: Checksums,
    /// The next batch gets an entry, whatever lies between.
    after_gap: bool,
}

impl SparseIndex {
    /// An index without entries of the segment that begins at `base`, where `open` are open.
    pub fn new(base: Offset, open: OpenTransactions) -> SparseIndex {
        SparseIndex {
            base,
            end: base,
            bytes: 0,
            max_timestamp: Timestamp::NONE,
            max_timestamp_base: Offset::NONE,
            entries: Vec::new(),
            transactions: TxnIndex::new(open),
            covered: Checksums::default(),
            after_gap: false,
        }
    }

    /// Notes the next batch; every `interval_bytes` or so one gets an entry. `marker` is what it
    /// says if it ends a transaction.
    pub fn note(
        &mut self,
        info: &BatchInfo,
        header: &[u8],
        marker: Option<EndMarker>,
        interval_bytes: u32,
    ) {
        assert!(self.end <= info.base_offset, "batches come in order");
        let position = u32::try_from(self.bytes).expect("a segment is below 4 GiB");
        let relative = info.base_offset.0 - self.base.0;
        let relative_offset = u32::try_from(relative).expect("the roll keeps it in range");
        let due = std::mem::take(&mut self.after_gap)
            || self.entries.last().is_none_or(|last| position - last.position >= interval_bytes);
        if due {
            self.entries.push(Entry {
                relative_offset,
                position,
                max_before: self.max_timestamp,
                header_crc: crc32c(header),
            });
        }
        if info.max_timestamp > self.max_timestamp {
            self.max_timestamp = info.max_timestamp;
            self.max_timestamp_base = info.base_offset;
        }
        self.transactions.note(info, marker);
        self.end = info.end_offset();
        self.bytes += u64::from(info.bytes);
    }

    /// Reckons with the bytes of the batch just noted.
    pub(super) fn cover(&mut self, batch: &[u8]) {
        if self.covered.bytes() + batch.len() as u64 == self.bytes {
            self.covered.add(batch);
        }
    }

    /// Checksums over all bytes noted, if they are known.
    pub(super) fn checksums(&self) -> Option<&Checksums> {
        (self.covered.bytes() == self.bytes).then_some(&self.covered)
    }

    /// Takes checksums that were reckoned from the file; false if they are of other bytes.
    pub(super) fn set_checksums(&mut self, checksums: Checksums) -> bool {
        let all = checksums.bytes() == self.bytes;
        if all {
            self.covered = checksums;
        }
        all
    }

    /// The last entry at or before `offset`.
    pub fn at_or_before(&self, offset: Offset) -> Option<Entry> {
        let after = self.entries.partition_point(|e| self.offset_of(e) <= offset);
        after.checked_sub(1).map(|at| self.entries[at])
    }

    /// Whether `header` may be that of the batch at `position`: false only if the batch is indexed
    /// and had another. A batch's own checksum covers neither base offset nor epoch (W10).
    pub(super) fn confirms(&self, position: u64, header: &[u8]) -> bool {
        let at = self.entries.binary_search_by_key(&position, |e| u64::from(e.position));
        at.ok().is_none_or(|at| self.entries[at].header_crc == crc32c(header))
    }

    /// The first entry after `offset`.
    pub(super) fn after(&self, offset: Offset) -> Option<Entry> {
        let after = self.entries.partition_point(|e| self.offset_of(e) <= offset);
        self.entries.get(after).copied()
    }

    /// The last entry that begins after `from` and at or before `position`, and at or before `upto`.
    pub(super) fn last_within(&self, from: u64, position: u64, upto: Offset) -> Option<Entry> {
        let after = self
            .entries
            .partition_point(|e| u64::from(e.position) <= position && self.offset_of(e) <= upto);
        let entry = *self.entries.get(after.checked_sub(1)?)?;
        (u64::from(entry.position) > from).then_some(entry)
    }

    pub(super) fn offset_of(&self, entry: &Entry) -> Offset {
        self.base.plus(i64::from(entry.relative_offset))
    }

    /// Goes back to the state before the last entry at or before `position` was noted, so that
    /// the caller notes again from that entry's position on (the result). If the transactions have
    /// changed since, that is the segment's beginning.
    pub(super) fn rewind(&mut self, position: u64) -> u64 {
        let kept = self.entries.partition_point(|e| u64::from(e.position) <= position);
        self.entries.truncate(kept);
        let last = self.entries.pop();
        let unchanged = |last: &Entry| !self.transactions.changed_after(self.offset_of(last));
        let Some(last) = last.filter(unchanged) else {
            *self = SparseIndex::new(self.base, self.transactions.before().clone());
            return 0;
        };
        self.end = self.base.plus(i64::from(last.relative_offset));
        self.bytes = u64::from(last.position);
        if self.covered.bytes() > self.bytes {
            self.covered = Checksums::default(); // what comes here next may be other bytes
        }
        if self.max_timestamp != last.max_before {
            self.max_timestamp = last.max_before;
            // Where it was is not known any more: the walk's start is a safe answer's start.
            self.max_timestamp_base = self.base_of_max(last.max_before);
        }
        self.bytes
    }

    /// Leaves out what could not be read up to `bytes`; the next batch noted gets an entry.
    pub(super) fn skip_to(&mut self, bytes: u64, end: Offset) {
        assert!(self.bytes <= bytes, "an index goes forward");
        self.bytes = bytes;
        self.end = end;
        self.after_gap = true;
    }

    /// Base offset of an entry at or before the first batch with timestamp `max`.
    fn base_of_max(&self, max: Timestamp) -> Offset {
        if max == Timestamp::NONE {
            return Offset::NONE;
        }
        let before = self.entries.partition_point(|e| e.max_before < max);
        before.checked_sub(1).map_or(self.base, |at| self.offset_of(&self.entries[at]))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let size = HEAD_BYTES + self.entries.len() * ENTRY_BYTES + CRC_BYTES;
        let mut out = Vec::with_capacity(size);
        out.extend(MAGIC.to_le_bytes());
        out.extend(VERSION.to_le_bytes());
        out.extend(self.base.0.to_le_bytes());
        out.extend(self.end.0.to_le_bytes());
        out.extend(self.bytes.to_le_bytes());
        out.extend(self.max_timestamp.0.to_le_bytes());
        out.extend(self.max_timestamp_base.0.to_le_bytes());
        let count = u32::try_from(self.entries.len()).expect("entries are fewer than bytes");
        out.extend(count.to_le_bytes());
        for entry in &self.entries {
            out.extend(entry.relative_offset.to_le_bytes());
            out.extend(entry.position.to_le_bytes());
            out.extend(entry.max_before.0.to_le_bytes());
            out.extend(entry.header_crc.to_le_bytes());
        }
        let checksums = self.checksums().map_or(&[][..], Checksums::pieces);
        let count = u32::try_from(checksums.len()).expect("pieces are fewer than bytes");
        out.extend(count.to_le_bytes());
        checksums.iter().for_each(|checksum| out.extend(checksum.to_le_bytes()));
        self.transactions.encode(&mut out);
        let crc = crc32c(&out);
        out.extend(crc.to_le_bytes());
        out
    }

    /// The index of the segment `base` in `bytes`; `None` if they are not whole (N3).
    pub(super) fn decode(base: Offset, bytes: &[u8]) -> Option<SparseIndex> {
        let body = bytes.len().checked_sub(CRC_BYTES)?;
        let u32_at = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let u64_at = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let i64_at = |at: usize| u64_at(at).map(u64::cast_signed);
        let count = usize::try_from(u32_at(48)?).ok()?;
        let entries_end = HEAD_BYTES.checked_add(count.checked_mul(ENTRY_BYTES)?)?;
        let whole = u32_at(0)? == MAGIC
            && i64_at(8)? == base.0
            && entries_end <= body
            && u32_at(body)? == crc32c(&bytes[..body]);
        if !whole {
            return None;
        }
        let noted = u64_at(24)?;
        let (mut pieces, mut rest) = (Vec::new(), entries_end);
        if u32_at(4)? == VERSION {
            let count = usize::try_from(u32_at(entries_end)?).ok()?;
            let from = entries_end + CHECKSUM_BYTES;
            rest = from.checked_add(count.checked_mul(CHECKSUM_BYTES)?)?;
            if rest > body {
                return None;
            }
            pieces = (from..rest).step_by(CHECKSUM_BYTES).filter_map(u32_at).collect();
        }
        let covered = match pieces.is_empty() {
            true => Checksums::default(),
            false => Checksums::of_pieces(noted, pieces)?,
        };
        let transactions = match u32_at(4)? {
            PLAIN_VERSION if entries_end == body => TxnIndex::new(OpenTransactions::default()),
            UNCOVERED_VERSION | VERSION => TxnIndex::decode(&bytes[rest..body])?,
            _ => return None,
        };
        let mut entries = Vec::with_capacity(count);
        for at in (HEAD_BYTES..entries_end).step_by(ENTRY_BYTES) {
            entries.push(Entry {
                relative_offset: u32_at(at)?,
                position: u32_at(at + 4)?,
                max_before: Timestamp(i64_at(at + 8)?),
                header_crc: u32_at(at + 16)?,
            });
        }
        Some(SparseIndex {
            base,
            end: Offset(i64_at(16)?),
            bytes: noted,
            max_timestamp: Timestamp(i64_at(32)?),
            max_timestamp_base: Offset(i64_at(40)?),
            entries,
            transactions,
            covered,
            after_gap: false,
        })
    }
}

/// The checksums over all bytes of the segment `base`, from the content of its index file.
pub fn checksums_in(base: Offset, index: &[u8]) -> Option<Checksums> {
    SparseIndex::decode(base, index)?.checksums().cloned()
}
