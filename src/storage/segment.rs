//! One segment of a log: a file of batches, and how far each of its lives has come.
//!
//! In:   staged batches, completions of writes and syncs.
//! Out:  positions to write, to read and to prove.
//! Home: one shard.
//!
//! Invariants
//!   P1  synced <= written <= issued <= staged, as positions and as offsets.
//!   P2  `prefix` holds the bytes of the block in which `issued` lies, up to it (W2).
//!   P3  A segment that is not the last gets no more batches; sealed, its file ends with its data.

use std::cell::RefCell;
use std::rc::Rc;

use crate::constants::BLOCK_BYTES;
use crate::model::offset::Offset;
use crate::model::time::Timestamp;
use crate::storage::offset_index::SparseIndex;
use crate::storage::txn_index::OpenTransactions;

/// The block in which `position` lies begins here.
pub(super) fn block_floor(position: u64) -> u64 {
    position - position % BLOCK_BYTES as u64
}

/// The first block boundary at or after `position`.
pub(super) fn block_ceil(position: u64) -> u64 {
    position.next_multiple_of(BLOCK_BYTES as u64)
}

/// Whether the offsets of a segment's batches follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chain {
    /// Each batch begins where the one before ended.
    Unbroken,
    /// It was compacted: a batch may begin later.
    Holes,
}

/// Names one set of a segment's bytes: a compacted segment has the base offset of one before it,
/// and another version. What is looked up by a key is never of other bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) base: Offset,
    /// 0, or the number of the replacement that made it, counted since the log was opened.
    pub(super) version: u64,
    pub(super) chain: Chain,
}

/// A segment that gets no more batches, and where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) key: Key,
    pub(super) end: Offset,
}

/// A boundary between batches: where in the file, and the next batch's offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) position: u64,
    pub(super) offset: Offset,
}

/// Whether the segment's file is there and open.
#[derive(Debug)]
pub(super) enum Slot<F> {
    /// The appender has yet to make it.
    Wanted,
    /// It is there and not open.
    Closed,
    /// Open.
    Open(Rc<F>),
}

/// One segment.
#[derive(Debug)]
pub(super) struct Segment<F> {
    pub(super) base: Offset,
    pub(super) version: u64,
    pub(super) chain: Chain,
    pub(super) file: Slot<F>,
    /// Where the next batch goes.
    pub(super) staged: Mark,
    /// All before it has been handed to writes; may lie within a batch, then on a block boundary.
    pub(super) issued: u64,
    /// The last boundary of batches at or before `issued`.
    pub(super) issued_mark: Mark,
    /// All before it has been written.
    pub(super) written: u64,
    pub(super) written_mark: Mark,
    /// All before it is durable.
    pub(super) synced: u64,
    pub(super) synced_mark: Mark,
    /// Space the file has, a whole number of blocks; writes stay below it.
    pub(super) allocated: u64,
    /// Zeros have been written up to this block boundary, durably; behind the data, or 0.
    pub(super) ready: u64,
    pub(super) prefix: Vec<u8>,
    /// The index while the segment grows, or while it is held for lookups.
    pub(super) index: Option<Rc<RefCell<SparseIndex>>>,
    /// Bytes covered by the index as last written to its file.
    pub(super) index_saved: u64,
    /// Wall clock at the first append since it was opened.
    pub(super) first_append: Option<Timestamp>,
    pub(super) sealed: bool,
    /// Size and largest timestamp of a sealed segment, once known.
    pub(super) sums: Option<Sums>,
    /// Wall clock when it was last scrubbed, since the log was opened.
    pub(super) scrubbed: Option<Timestamp>,
}

/// What retention and lookups by time ask of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) bytes: u64,
    pub(super) max_timestamp: Timestamp,
    pub(super) max_timestamp_base: Offset,
}

impl<F> Segment<F> {
    /// A segment whose file is yet to be made.
    pub(super) fn wanted(base: Offset) -> Segment<F> {
        Segment::wanted_after(base, OpenTransactions::default())
    }

    /// The same where `open` are open.
    pub(super) fn wanted_after(base: Offset, open: OpenTransactions) -> Segment<F> {
        let start = Mark { position: 0, offset: base };
        Segment {
            base,
            version: 0,
            chain: Chain::Unbroken,
            file: Slot::Wanted,
            staged: start,
            issued: 0,
            issued_mark: start,
            written: 0,
            written_mark: start,
            synced: 0,
            synced_mark: start,
            allocated: 0,
            ready: 0,
            prefix: Vec::new(),
            index: Some(Rc::new(RefCell::new(SparseIndex::new(base, open)))),
            index_saved: 0,
            first_append: None,
            sealed: false,
            sums: None,
            scrubbed: None,
        }
    }

    /// A sealed segment whose file is there; its data ends with offset `end`.
    pub(super) fn sealed(base: Offset, end: Offset) -> Segment<F> {
        let mut segment = Segment::wanted(base);
        segment.file = Slot::Closed;
        segment.index = None;
        segment.sealed = true;
        segment.set_all(Mark { position: 0, offset: end });
        segment
    }

    /// What names its bytes as they are now.
    pub(super) fn key(&self) -> Key {
        Key { base: self.base, version: self.version, chain: self.chain }
    }

    /// Sets the end of data: all before `end` is staged, written and durable.
    pub(super) fn set_all(&mut self, end: Mark) {
        self.staged = end;
        self.issued = end.position;
        self.issued_mark = end;
        self.written = end.position;
        self.written_mark = end;
        self.synced = end.position;
        self.synced_mark = end;
    }

    /// The open file.
    pub(super) fn open_file(&self) -> Option<&Rc<F>> {
        match &self.file {
            Slot::Open(file) => Some(file),
            Slot::Wanted | Slot::Closed => None,
        }
    }

    /// Bytes of data.
    pub(super) fn bytes(&self) -> u64 {
        match self.sums {
            Some(sums) => sums.bytes,
            None => self.staged.position,
        }
    }

    pub(super) fn assert_invariants(&self) {
        assert!(self.synced <= self.written, "P1");
        assert!(self.written <= self.issued, "P1");
        assert!(self.issued <= self.staged.position, "P1");
        assert!(self.synced_mark.offset <= self.written_mark.offset, "P1");
        assert!(self.written_mark.offset <= self.issued_mark.offset, "P1");
        assert!(self.issued_mark.offset <= self.staged.offset, "P1");
        assert_eq!(self.prefix.len() as u64, self.issued - block_floor(self.issued), "P2");
    }
}
