//! The gate before appends when a disk is nearly full: so early that all else still has room.
//!
//! In:   the space of the log directory's file system, looked at now and then; the setting.
//! Out:  whose appends are refused, retriably.
//! Home: one shard; its logs share one, as they share the directory.
//!
//! Invariants
//!   G1  Appends of clients are refused from the set share on; those of the broker itself (state of
//!       coordinators, ends of transactions) only in the last `KEPT_PERCENT`, which are for
//!       metadata, checkpoints, deletions and compaction.
//!   G2  Once closed, it opens only `APART_PERCENT` below: it does not flap.
//!   G3  What was taken in is written; reads, retention and compaction never ask here.
//!
//! Between two looks a fast producer may pass the gate and meet the end of the disk itself, which
//! is answered the same (`plan.rs`). Source: `storage.md` 4.5.

use std::cell::Cell;

use crate::io::directory::Space;

/// Percent of the file system that nobody's appends take.
const KEPT_PERCENT: u8 = 2;
/// Percent between closing and opening.
const APART_PERCENT: u8 = 1;

/// Who appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// A client, to a topic of its own.
    Client,
    /// A coordinator, or the end of a transaction.
    Broker,
}

/// Whose appends are refused; in order of use of the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// Nobody's.
    #[default]
    Nobody,
    /// Clients'.
    Clients,
    /// All.
    Everyone,
}

/// The gate.
#[derive(Debug, Default)]
pub struct DiskGate {
    refused: Cell<Refused>,
}

impl DiskGate {
    /// Closes or opens for `space`, where clients may use up to `max_percent` of it (100: there is
    /// no gate). The new state, if it is another.
    pub fn look(&self, space: Space, max_percent: u8) -> Option<Refused> {
        let before = self.refused.get();
        let closed = |who: Refused, limit: u8| {
            let limit = if before >= who { limit.saturating_sub(APART_PERCENT) } else { limit }; // G2
            is_used(space, limit)
        };
        let now = if max_percent >= 100 {
            Refused::Nobody
        } else if closed(Refused::Everyone, max_percent.max(100 - KEPT_PERCENT)) {
            Refused::Everyone
        } else if closed(Refused::Clients, max_percent) {
            Refused::Clients
        } else {
            Refused::Nobody
        };
        self.refused.set(now);
        (now != before).then_some(now)
    }

    /// Whose appends are refused now.
    pub fn refused(&self) -> Refused {
        self.refused.get()
    }

    /// The same as a number for metrics, 0 to 2; worse is more.
    pub fn alert(&self) -> u64 {
        match self.refused.get() {
            Refused::Nobody => 0,
            Refused::Clients => 1,
            Refused::Everyone => 2,
        }
    }

    /// Whether an append of `writer` may be taken in.
    pub fn admits(&self, writer: Writer) -> bool {
        match self.refused.get() {
            Refused::Nobody => true,
            Refused::Clients => writer == Writer::Broker,
            Refused::Everyone => false,
        }
    }
}

/// Whether at least `percent` of the space is used.
fn is_used(space: Space, percent: u8) -> bool {
    let used = u128::from(space.used_bytes);
    let whole = used + u128::from(space.available_bytes);
    used * 100 >= whole * u128::from(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at disks with so many of 1,000 bytes used, one after another.
    fn check(max_percent: u8, course: &[(u64, Refused)]) {
        let gate = DiskGate::default();
        for &(used_bytes, want) in course {
            let before = gate.refused();
            let space = Space { used_bytes, available_bytes: 1_000 - used_bytes };
            let change = gate.look(space, max_percent);
            assert_eq!(gate.refused(), want, "{used_bytes} of {course:?}");
            assert_eq!(change, (before != want).then_some(want));
            assert_eq!(gate.admits(Writer::Client), want == Refused::Nobody);
            assert_eq!(gate.admits(Writer::Broker), want != Refused::Everyone);
        }
    }

    #[test]
    fn it_closes_at_the_share_and_opens_only_below_it() {
        use Refused::{Clients, Everyone, Nobody};
        check(95, &[(0, Nobody), (949, Nobody), (950, Clients), (940, Clients), (939, Nobody)]);
        check(95, &[(979, Clients), (980, Everyone), (970, Everyone), (969, Clients)]);
        check(95, &[(1_000, Everyone), (100, Nobody), (949, Nobody)]);
        check(99, &[(989, Nobody), (990, Everyone), (980, Everyone), (979, Nobody)]);
        check(0, &[(0, Clients), (500, Clients), (980, Everyone), (0, Clients)]);
        check(100, &[(1_000, Nobody)]);
    }

    #[test]
    fn a_disk_of_any_size_is_reckoned_with() {
        let gate = DiskGate::default();
        let whole = u64::MAX / 2;
        let space = |used| Space { used_bytes: used, available_bytes: whole - used };
        assert_eq!(gate.look(space(whole / 100 * 94), 95), None);
        assert_eq!(gate.look(space(whole / 100 * 96), 95), Some(Refused::Clients));
        // A change of the setting acts at the next look.
        assert_eq!(gate.look(space(whole / 100 * 96), 100), Some(Refused::Nobody));
        let none = Space { used_bytes: 0, available_bytes: 0 };
        assert_eq!(gate.look(none, 100), None, "a file system that tells nothing");
    }
}
