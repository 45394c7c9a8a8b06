//! Read-ahead of one log: which bytes a sequential reader will want next.
//!
//! In:   where reads from the disk began and ended.
//! Out:  ranges to read before they are asked for; where a reader that goes on begins.
//! Home: one shard; synchronous.
//!
//! Invariants
//!   B1  Only a read that goes on where another ended is followed by read-ahead: a look-up here
//!       and there costs what it reads.
//!   B2  A range is wanted or in flight once; at most [`WANTED_MAX`] are wanted.
//!   B3  What is remembered of readers is a hint: forgotten or overtaken, it costs a look-up.
//!
//! Not here: reading (`reader.rs`), keeping what was read (`tail.rs`).

use std::collections::VecDeque;

use crate::model::offset::Offset;
use crate::storage::segment::{Key, Mark};

/// Chunks that are kept ready in front of a sequential reader.
pub(super) const CHUNKS_AHEAD: u64 = 2;
/// Readers remembered; one more replaces the oldest.
const READERS_MAX: usize = 32;
/// Ranges wanted; more are not asked for.
const WANTED_MAX: usize = 8;

/// A part of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// Which segment's bytes.
    pub(super) segment: Key,
    /// First byte.
    pub(super) position: u64,
    /// Bytes, 1 or more.
    pub(super) length: usize,
}

impl Range {
    fn holds(&self, segment: Key, position: u64) -> bool {
        let end = self.position + self.length as u64;
        self.segment == segment && (self.position..end).contains(&position)
    }
}

/// The readers of a log, and what is read for them.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    /// Where reads ended, the latest at the back.
    ends: VecDeque<(Key, Mark)>,
    wanted: VecDeque<Range>,
    in_flight: Vec<Range>,
}

impl ReadAhead {
    /// Where in `segment` a reader that asks for `offset` stopped before: it goes on.
    pub(super) fn resume(&self, segment: Key, offset: Offset) -> Option<Mark> {
        let known = self.ends.iter().rev();
        let mut ends = known.filter(|(key, end)| *key == segment && end.offset == offset);
        ends.next().map(|(_, end)| *end)
    }

    /// Notes that a read in `segment` ended at `end`.
    pub(super) fn ended(&mut self, segment: Key, end: Mark) {
        self.ends.retain(|known| *known != (segment, end));
        if self.ends.len() == READERS_MAX {
            self.ends.pop_front();
        }
        self.ends.push_back((segment, end));
    }

    /// Asks for `range`, unless it is on its way (B2). Returns whether it was new.
    pub(super) fn want(&mut self, range: Range) -> bool {
        let known = self.wanted.contains(&range) || self.reads(range.segment, range.position);
        if known || self.wanted.len() >= WANTED_MAX {
            return false;
        }
        self.wanted.push_back(range);
        true
    }

    /// The next range to read; it is in flight until [`Self::done`].
    pub(super) fn next(&mut self) -> Option<Range> {
        let range = self.wanted.pop_front()?;
        self.in_flight.push(range);
        Some(range)
    }

    /// Notes that `range` has been read, or could not be.
    pub(super) fn done(&mut self, range: Range) {
        let at = self.in_flight.iter().position(|flying| *flying == range);
        self.in_flight.swap_remove(at.expect("B2: a range in flight lands once"));
    }

    /// Whether the byte at `position` is being read.
    pub(super) fn reads(&self, segment: Key, position: u64) -> bool {
        self.in_flight.iter().any(|range| range.holds(segment, position))
    }

    /// Forgets the readers and what is wanted for them: the bytes are about to change.
    pub(super) fn forget(&mut self) {
        self.ends.clear();
        self.wanted.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::segment::Chain;

    fn key(base: i64) -> Key {
        Key { base: Offset(base), version: 0, chain: Chain::Unbroken }
    }

    fn mark(position: u64, offset: i64) -> Mark {
        Mark { position, offset: Offset(offset) }
    }

    fn range(position: u64) -> Range {
        Range { segment: key(0), position, length: 100 }
    }

    #[test]
    fn a_reader_resumes_where_it_ended_and_only_there() {
        let mut ahead = ReadAhead::default();
        ahead.ended(key(0), mark(300, 7));
        assert_eq!(ahead.resume(key(0), Offset(7)), Some(mark(300, 7)));
        assert_eq!(ahead.resume(key(0), Offset(8)), None);
        assert_eq!(ahead.resume(key(7), Offset(7)), None);
        for other in 0..READERS_MAX as i64 {
            ahead.ended(key(100), mark(0, other));
        }
        assert_eq!(ahead.resume(key(0), Offset(7)), None);
    }

    #[test]
    fn a_range_is_read_once_while_it_is_on_its_way() {
        let mut ahead = ReadAhead::default();
        assert!(ahead.want(range(0)) && !ahead.want(range(0)));
        assert_eq!(ahead.next(), Some(range(0)));
        assert!(!ahead.want(range(0)));
        assert!(ahead.reads(key(0), 99) && !ahead.reads(key(0), 100));
        assert!(!ahead.reads(key(1), 50));
        ahead.done(range(0));
        assert!(!ahead.reads(key(0), 50) && ahead.want(range(0)));
    }

    #[test]
    fn wants_are_bounded_and_forgotten() {
        let mut ahead = ReadAhead::default();
        let taken = (0..20).filter(|at| ahead.want(range(at * 100))).count();
        assert_eq!(taken, WANTED_MAX);
        ahead.forget();
        assert_eq!(ahead.next(), None);
    }
}
