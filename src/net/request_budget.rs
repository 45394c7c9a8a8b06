//! The memory of a shard's requests: those being read, waiting, or being answered.
//!
//! In:   the length of a frame, as its client announced it.
//! Out:  the budget that it is reserved in before its body is read.
//! Home: one shard; shared by its listeners and connections.
//!
//! Invariants
//!   R1  Large frames, announced and then held back, take nothing from small ones: a handful of
//!       them could otherwise keep every client waiting until their deadline passes, one after
//!       another.
//!   R2  While large frames wait for what others hold, those must come on: one that does not is
//!       closed after `stall_contended_max`, and bytes that trickle are no coming on.
//!
//! Not here (R2 too): the deadline of a frame that does not come (`listener.rs`).

use crate::shard::sync::Budget;

/// A frame up to so many bytes is small: what clients send with their defaults (about 1 MiB a
/// partition) and every request that carries no records.
pub const SMALL_REQUEST_BYTES: usize = 2 << 20;

/// One part in so many is kept for small frames.
const SMALL_PART: u64 = 4;

/// Byte budgets of one shard, by the size of the frame.
#[derive(Clone, Debug)]
pub struct RequestBudget {
    small: Budget,
    large: Budget,
}

impl RequestBudget {
    /// A budget of `bytes` in all; above 0.
    pub fn new(bytes: u64) -> RequestBudget {
        let small = (bytes / SMALL_PART).max(1);
        RequestBudget {
            small: Budget::new(small),
            large: Budget::new(bytes.saturating_sub(small).max(1)),
        }
    }

    /// Whether large frames wait for what others hold.
    pub(super) fn is_contended(&self) -> bool {
        self.large.waiting() > 0
    }

    /// Where a frame of `length` bytes is reserved.
    pub(super) fn of(&self, length: usize) -> &Budget {
        if length <= SMALL_REQUEST_BYTES { &self.small } else { &self.large }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announced_large_frames_leave_small_ones_their_part() {
        let budget = RequestBudget::new(400 << 20);
        let large = 100 << 20;
        let held: Vec<_> =
            std::iter::from_fn(|| budget.of(large).try_acquire(large as u64)).collect();
        assert_eq!(held.len(), 3);
        assert!(budget.of(SMALL_REQUEST_BYTES + 1).try_acquire(2 << 20).is_none());
        let small: Vec<_> = std::iter::from_fn(|| budget.of(1000).try_acquire(1 << 20)).collect();
        assert_eq!(small.len(), 100);
    }

    #[test]
    fn the_parts_are_the_whole() {
        for bytes in [1, 3, 4, 1 << 20, 400 << 20] {
            let budget = RequestBudget::new(bytes);
            let parts = budget.small.capacity() + budget.large.capacity();
            assert_eq!(parts, bytes.max(2), "{bytes}");
        }
    }
}
