//! Chunks of logs that were read from the disk: kept for readers that follow one another, and
//! read ahead for those who go on.
//!
//! In:   bytes from files, with the log and the place they are of.
//! Out:  slices of them, not copied.
//! Home: one shard; all its logs share one.
//!
//! Invariants
//!   H1  What is held is within the share, the oldest goes first; chunks that were read ahead and
//!       not asked for yet take no more than half of it.
//!   H2  Chunks of bytes that change are forgotten before they do ([`Chunks::forget`]).
//!
//! Not here: which bytes are read ahead (`read_ahead.rs`).

use std::cell::RefCell;
use std::collections::VecDeque;

use bytes::Bytes;

use crate::storage::segment::Key;

/// Where a chunk is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The log, by its number in the budget.
    pub(super) log: u64,
    /// Which bytes.
    pub(super) segment: Key,
    /// Position of the first byte in the segment.
    pub(super) position: u64,
}

#[derive(Debug)]
struct Chunk {
    place: Place,
    bytes: Bytes,
    /// Read ahead and not asked for yet.
    ahead: bool,
}

impl Chunk {
    /// How far into the chunk `place` lies, if it does.
    fn skip(&self, place: Place) -> Option<usize> {
        let at_start = Place { position: self.place.position, ..place };
        let skip = usize::try_from(place.position.checked_sub(self.place.position)?).ok()?;
        (at_start == self.place && skip < self.bytes.len()).then_some(skip)
    }
}

/// The chunks of a shard.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    held: RefCell<VecDeque<Chunk>>,
}

impl Chunks {
    /// The longest piece of a chunk that begins at `place`.
    pub(super) fn get(&self, place: Place) -> Option<Bytes> {
        self.held.borrow_mut().iter_mut().rev().find_map(|chunk| {
            let skip = chunk.skip(place)?;
            chunk.ahead = false;
            Some(chunk.bytes.slice(skip..))
        })
    }

    /// Where the chunk that holds `place` ends.
    pub(super) fn end_of(&self, place: Place) -> Option<u64> {
        let held = self.held.borrow();
        let chunk = held.iter().rev().find(|chunk| chunk.skip(place).is_some())?;
        Some(chunk.place.position + chunk.bytes.len() as u64)
    }

    /// Whether `bytes` more may be read ahead within `share` (H1).
    pub(super) fn may_read_ahead(&self, bytes: usize, share: usize) -> bool {
        let held = self.held.borrow();
        let ahead = held.iter().filter(|chunk| chunk.ahead).map(|chunk| chunk.bytes.len());
        ahead.sum::<usize>() + bytes <= share / 2
    }

    /// Keeps a chunk and lets others go, down to `share`. Returns the bytes that went.
    pub(super) fn keep(&self, place: Place, bytes: Bytes, ahead: bool, share: usize) -> usize {
        let mut held = self.held.borrow_mut();
        let mut total = bytes.len() + held.iter().map(|chunk| chunk.bytes.len()).sum::<usize>();
        held.push_back(Chunk { place, bytes, ahead });
        let mut gone = 0;
        while total > share {
            let Some(chunk) = held.pop_front() else { break };
            total -= chunk.bytes.len();
            gone += chunk.bytes.len();
        }
        gone
    }

    /// Drops the chunks of a log. Returns their bytes.
    pub(super) fn forget(&self, log: u64) -> usize {
        let mut gone = 0;
        self.held.borrow_mut().retain(|chunk| {
            if chunk.place.log == log {
                gone += chunk.bytes.len();
            }
            chunk.place.log != log
        });
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::offset::Offset;
    use crate::storage::segment::Chain;

    const SHARE: usize = 100;

    fn place(log: u64, position: u64) -> Place {
        Place {
            log,
            segment: Key { base: Offset(0), version: 0, chain: Chain::Unbroken },
            position,
        }
    }

    fn bytes(length: usize) -> Bytes {
        Bytes::from(vec![7; length])
    }

    #[test]
    fn the_oldest_goes_and_the_rest_is_found_by_any_position() {
        let chunks = Chunks::default();
        assert_eq!(chunks.keep(place(1, 0), bytes(60), false, SHARE), 0);
        assert_eq!(chunks.keep(place(1, 60), bytes(60), false, SHARE), 60);
        assert_eq!(chunks.get(place(1, 59)), None);
        assert_eq!(chunks.get(place(1, 100)).unwrap().len(), 20);
        assert_eq!(chunks.end_of(place(1, 60)), Some(120));
        assert_eq!((chunks.get(place(2, 100)), chunks.end_of(place(1, 120))), (None, None));
        assert_eq!(chunks.forget(1), 60);
        assert_eq!(chunks.get(place(1, 100)), None);
    }

    #[test]
    fn what_was_read_ahead_takes_half_until_it_is_asked_for() {
        let chunks = Chunks::default();
        assert!(chunks.may_read_ahead(40, SHARE));
        chunks.keep(place(1, 0), bytes(40), true, SHARE);
        assert!(!chunks.may_read_ahead(40, SHARE) && chunks.may_read_ahead(10, SHARE));
        assert!(chunks.get(place(1, 0)).is_some());
        assert!(chunks.may_read_ahead(40, SHARE));
    }
}
