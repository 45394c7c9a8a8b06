//! The states of a transactional id, and the one table of legal moves between them.
//!
//! In:   -
//! Out:  [`State`]; whether one may follow another.
//! Home: pure.
//!
//! | from | may become |
//! |---|---|
//! | `Empty` | `Empty`, `Ongoing`, `PrepareAbort`, `Dead` |
//! | `Ongoing` | `Ongoing`, `PrepareCommit`, `PrepareAbort`, `PrepareEpochFence` |
//! | `PrepareCommit` | `CompleteCommit` |
//! | `PrepareAbort` | `CompleteAbort` |
//! | `CompleteCommit` | as `Empty` |
//! | `CompleteAbort` | as `Empty` |
//! | `PrepareEpochFence` | `PrepareAbort` |
//! | `Dead` | - |
//!
//! `Dead` is written as a tombstone, and `PrepareEpochFence` is passed within one step: neither
//! is ever in a log.
//! Source: Kafka's `TransactionState`; KIP-890 (an abort of nothing bumps the epoch).

/// Where a transactional id stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It has a producer, and has had no transaction under its epoch.
    Empty,
    /// A transaction is open.
    Ongoing,
    /// It will be committed, whatever happens: markers are being written.
    PrepareCommit,
    /// It will be aborted, whatever happens: markers are being written.
    PrepareAbort,
    /// The last one was committed, in every partition.
    CompleteCommit,
    /// The last one was aborted, in every partition.
    CompleteAbort,
    /// It is being forgotten.
    Dead,
    /// The producer is being fenced, on the way to an abort.
    PrepareEpochFence,
}

impl State {
    /// Every state, by number.
    pub const ALL: &'static [State] = &[
        State::Empty,
        State::Ongoing,
        State::PrepareCommit,
        State::PrepareAbort,
        State::CompleteCommit,
        State::CompleteAbort,
        State::Dead,
        State::PrepareEpochFence,
    ];

    /// Whether `next` may follow.
    pub fn may_become(self, next: State) -> bool {
        use State as S;
        match self {
            S::Empty | S::CompleteCommit | S::CompleteAbort => {
                matches!(next, S::Empty | S::Ongoing | S::PrepareAbort | S::Dead)
            }
            S::Ongoing => matches!(
                next,
                S::Ongoing | S::PrepareCommit | S::PrepareAbort | S::PrepareEpochFence
            ),
            S::PrepareCommit => next == S::CompleteCommit,
            S::PrepareAbort => next == S::CompleteAbort,
            S::PrepareEpochFence => next == S::PrepareAbort,
            S::Dead => false,
        }
    }

    /// Its number in records.
    pub fn code(self) -> i8 {
        match self {
            State::Empty => 0,
            State::Ongoing => 1,
            State::PrepareCommit => 2,
            State::PrepareAbort => 3,
            State::CompleteCommit => 4,
            State::CompleteAbort => 5,
            State::Dead => 6,
            State::PrepareEpochFence => 7,
        }
    }

    /// The state of this number that a log may hold.
    pub fn from_log(code: i8) -> Option<State> {
        let known = State::ALL.iter().copied().find(|state| state.code() == code)?;
        (!matches!(known, State::Dead | State::PrepareEpochFence)).then_some(known)
    }

    /// Kafka's name of it.
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::Ongoing => "Ongoing",
            State::PrepareCommit => "PrepareCommit",
            State::PrepareAbort => "PrepareAbort",
            State::CompleteCommit => "CompleteCommit",
            State::CompleteAbort => "CompleteAbort",
            State::Dead => "Dead",
            State::PrepareEpochFence => "PrepareEpochFence",
        }
    }

    /// The state of this name, written exactly so.
    pub fn from_name(name: &str) -> Option<State> {
        State::ALL.iter().copied().find(|state| state.name() == name)
    }

    /// Whether the outcome is decided and its markers are being written.
    pub fn is_completing(self) -> bool {
        matches!(self, State::PrepareCommit | State::PrepareAbort)
    }

    /// Whether no transaction is open or being completed.
    pub fn is_idle(self) -> bool {
        matches!(self, State::Empty | State::CompleteCommit | State::CompleteAbort)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decided_outcome_is_never_changed() {
        for &next in State::ALL {
            assert_eq!(State::PrepareCommit.may_become(next), next == State::CompleteCommit);
            assert_eq!(State::PrepareAbort.may_become(next), next == State::CompleteAbort);
            assert!(!State::Dead.may_become(next));
        }
    }

    #[test]
    fn a_commit_follows_an_open_transaction_alone() {
        for &from in State::ALL {
            assert_eq!(from.may_become(State::PrepareCommit), from == State::Ongoing);
            assert_eq!(from.may_become(State::Dead), from.is_idle());
        }
    }

    #[test]
    fn numbers_and_names_are_kafkas() {
        for (number, &state) in (0..).zip(State::ALL) {
            assert_eq!(state.code(), number);
            assert_eq!(State::from_name(state.name()), Some(state));
        }
        assert_eq!(State::from_name("ongoing"), None);
        assert_eq!(
            (State::from_log(6), State::from_log(7), State::from_log(-1)),
            (None, None, None)
        );
        assert_eq!(State::from_log(3), Some(State::PrepareAbort));
    }
}
