//! The states of a classic group and the legal moves between them.
//!
//! In:   -
//! Out:  [`State`].
//! Home: pure.
//!
//! ```text
//!            first member                    all joined, or time is up
//!   Empty ---------------> PreparingRebalance -----------------------> CompletingRebalance
//!     ^                       |  ^   ^                                   |  |
//!     +-- nobody is left -----+  |   +--- a member joins, leaves, dies --+  | leader assigns
//!                                +------- the same --------- Stable <-------+
//! ```
//!
//! Source: Kafka's `ClassicGroupState`.

/// Where a classic group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// No members; perhaps committed offsets.
    Empty,
    /// Members are asked to join the next generation.
    PreparingRebalance,
    /// A generation has begun, its leader has not assigned yet.
    CompletingRebalance,
    /// Every member may have its assignment.
    Stable,
    /// Deleted, or never was.
    Dead,
}

impl State {
    /// Every state.
    pub const ALL: [State; 5] = [
        State::Empty,
        State::PreparingRebalance,
        State::CompletingRebalance,
        State::Stable,
        State::Dead,
    ];

    /// Kafka's name, as `DescribeGroups` and `ListGroups` print it.
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
            State::Dead => "Dead",
        }
    }

    /// Whether a group in this state may come to `next`.
    pub fn may_become(self, next: State) -> bool {
        match next {
            State::Empty | State::CompletingRebalance => self == State::PreparingRebalance,
            State::PreparingRebalance => {
                matches!(self, State::Empty | State::CompletingRebalance | State::Stable)
            }
            State::Stable => self == State::CompletingRebalance,
            State::Dead => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_group_stays_dead() {
        for next in State::ALL {
            assert_eq!(State::Dead.may_become(next), next == State::Dead);
        }
    }
}
