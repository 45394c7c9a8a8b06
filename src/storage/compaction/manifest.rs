//! `compaction-checkpoint`: how far a log is compacted, and which replacement has been decided.
//!
//! In:   [`Compacted`] values, from `swap.rs` and `pass.rs`.
//! Out:  the newest whole one, after a restart.
//! Home: one shard.
//!
//! Invariants
//!   M1  Both slots unreadable: every segment may have holes, all of the log is to be compacted
//!       again, and no replacement is under way (`swap.rs` says why that is safe).
//!
//! Words of the record, in the slots of `two_slots.rs`: end i64 · holes end i64 · swap from i64 ·
//! swap to i64 (-1, -1: none).

use crate::model::offset::Offset;
use crate::storage::log::OffsetRange;
use crate::storage::segment::Chain;
use crate::storage::two_slots::{Newest, Record, TwoSlots};

/// Name of the file.
pub(in crate::storage) const MANIFEST_NAME: &str = "compaction-checkpoint";

/// The open file; its callers hold the log's maintenance gate.
pub(in crate::storage) type ManifestFile<F> = TwoSlots<F, Compacted>;

/// What compaction has done to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) struct Compacted {
    /// Before this, every key is there once: what a pass has looked at, Kafka's first dirty offset.
    pub(in crate::storage) end: Offset,
    /// Segments that begin before this may have holes.
    pub(in crate::storage) holes_end: Offset,
    /// The segments of this range are being replaced by one, which is whole and durable.
    pub(in crate::storage) swap: Option<OffsetRange>,
}

impl Compacted {
    /// Nothing yet.
    pub(in crate::storage) const NONE: Compacted =
        Compacted { end: Offset::ZERO, holes_end: Offset::ZERO, swap: None };
    /// Nobody can tell (M1).
    const UNKNOWN: Compacted =
        Compacted { end: Offset::ZERO, holes_end: Offset(i64::MAX), swap: None };

    /// Whether the segment that begins at `base` may have holes.
    pub(in crate::storage) fn chain_of(&self, base: Offset) -> Chain {
        if base < self.holes_end { Chain::Holes } else { Chain::Unbroken }
    }

    /// The same after the replacement.
    #[must_use]
    pub(in crate::storage) fn without_swap(self) -> Compacted {
        Compacted { swap: None, ..self }
    }

    /// The same of a log that ends at `log_end`.
    #[must_use]
    pub(in crate::storage) fn within(self, log_end: Offset) -> Compacted {
        Compacted { end: self.end.min(log_end), ..self }
    }
}

/// What is known of a log after a restart.
impl From<Newest<Compacted>> for Compacted {
    fn from(newest: Newest<Compacted>) -> Compacted {
        match newest {
            Newest::None => Compacted::NONE,
            Newest::Found(compacted) => compacted,
            Newest::Unreadable => Compacted::UNKNOWN,
        }
    }
}

impl Record for Compacted {
    const NAME: &'static str = MANIFEST_NAME;
    const MAGIC: u32 = 0x434d_4359;
    const VERSION: u16 = 1;
    const WORDS: usize = 4;

    fn to_words(&self) -> (u16, Vec<u64>) {
        let none = OffsetRange { from: Offset::NONE, to: Offset::NONE };
        let swap = self.swap.unwrap_or(none);
        let offsets = [self.end, self.holes_end, swap.from, swap.to];
        (0, offsets.map(|offset| offset.0.cast_unsigned()).to_vec())
    }

    fn of_words(_flags: u16, words: &[u64]) -> Option<Compacted> {
        let &[end, holes_end, from, to] = words else { return None };
        let offset = |word: u64| Offset(word.cast_signed());
        let swap = OffsetRange { from: offset(from), to: offset(to) };
        let compacted = Compacted {
            end: offset(end),
            holes_end: offset(holes_end),
            swap: Some(swap).filter(|swap| swap.from != Offset::NONE),
        };
        let swaps = compacted.swap.is_none_or(|s| Offset::ZERO <= s.from && s.from < s.to);
        let sane = compacted.end >= Offset::ZERO && compacted.holes_end >= Offset::ZERO && swaps;
        sane.then_some(compacted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_words_say_it_whole_and_a_replacement_of_nothing_is_refused() {
        let swap = OffsetRange { from: Offset(0), to: Offset(9) };
        let compacted = Compacted { end: Offset(5), holes_end: Offset(9), swap: Some(swap) };
        for compacted in [compacted, compacted.without_swap(), Compacted::NONE] {
            let (flags, words) = compacted.to_words();
            assert_eq!(Compacted::of_words(flags, &words), Some(compacted));
            assert_eq!(Compacted::of_words(flags, &words[1..]), None);
        }
        for bad in [[u64::MAX, 0, 0, 9], [0, u64::MAX, 0, 9], [0, 0, 9, 9], [0, 0, 9, 0]] {
            assert_eq!(Compacted::of_words(0, &bad), None, "{bad:?}");
        }
    }
}
