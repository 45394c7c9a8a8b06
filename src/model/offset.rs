//! Positions in a partition's log, and the epochs and sequences that order its writers.

/// Offset of a record; 0 or more in a log, -1 where the wire means "none".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub i64);

impl Offset {
    /// The first offset of a new log.
    pub const ZERO: Offset = Offset(0);
    /// "No offset" on the wire.
    pub const NONE: Offset = Offset(-1);

    /// The offset `records` further on. Panics: if it passes the end of 63 bits, our own bug.
    #[must_use]
    pub fn plus(self, records: i64) -> Offset {
        Offset(self.0.checked_add(records).expect("offset passed 2^63"))
    }
}

/// Epoch of a partition's leadership; grows with each leader, -1 means "unknown" on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaderEpoch(pub i32);

impl LeaderEpoch {
    /// "Not known" or "do not check" on the wire.
    pub const NONE: LeaderEpoch = LeaderEpoch(-1);
}

/// Sequence number of a producer's record in a partition; wraps from 2^31-1 to 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sequence(pub i32);

impl Sequence {
    /// A batch without producer id carries this.
    pub const NONE: Sequence = Sequence(-1);

    /// The sequence `count` further on, wrapping as Kafka does. `count` is 0 or more.
    #[must_use]
    pub fn plus(self, count: i32) -> Sequence {
        assert!(self.0 >= 0, "only a real sequence has a next one");
        assert!(count >= 0, "sequences only go forward");
        let sum = i64::from(self.0) + i64::from(count);
        let wrapped = sum % (i64::from(i32::MAX) + 1);
        Sequence(i32::try_from(wrapped).expect("below 2^31"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_wraps_to_zero() {
        assert_eq!(Sequence(i32::MAX).plus(1), Sequence(0));
        assert_eq!(Sequence(i32::MAX - 1).plus(3), Sequence(1));
        assert_eq!(Sequence(7).plus(0), Sequence(7));
    }
}
