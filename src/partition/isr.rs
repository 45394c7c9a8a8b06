//! The replicas of a partition as its leader sees them, and which of them are in sync.
//!
//! In:   the assignment, and log ends: the leader's own as far as it is durable, and those
//!       that followers report.
//! Out:  the smallest in-sync log end, how many are in sync.
//! Home: pure; a part of `leader.rs`.
//!
//! Invariants
//!   S1  The leader itself is always a replica and in sync.
//!   S2  A replica's log end never moves back within one leader epoch.
//!
//! Today the assignment is the leader alone; a follower is one more member here.
//!
//! Source: KIP-497, KIP-966.

use crate::model::ids::BrokerId;
use crate::model::offset::Offset;

/// One replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Member {
    broker: BrokerId,
    /// `None` until it has reported in this leader epoch.
    log_end: Option<Offset>,
    in_sync: bool,
}

/// The replicas of one partition, in the order of the assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replicas {
    leader: BrokerId,
    members: Vec<Member>,
}

impl Replicas {
    /// The leader alone, which holds everything below `log_end`.
    pub fn leader_alone(leader: BrokerId, log_end: Offset) -> Replicas {
        Replicas::new(leader, log_end, &[])
    }

    /// The leader, and `followers` that are in sync but have not reported yet.
    pub fn new(leader: BrokerId, log_end: Offset, followers: &[BrokerId]) -> Replicas {
        assert!(!followers.contains(&leader), "the leader does not follow itself");
        let own = Member { broker: leader, log_end: Some(log_end), in_sync: true };
        let follower = |&broker| Member { broker, log_end: None, in_sync: true };
        let members = std::iter::once(own).chain(followers.iter().map(follower)).collect();
        Replicas { leader, members }
    }

    /// Replicas in the assignment, in sync or not.
    pub fn count(&self) -> usize {
        self.members.len()
    }

    /// Replicas in sync.
    pub fn in_sync_count(&self) -> usize {
        self.members.iter().filter(|member| member.in_sync).count()
    }

    /// The leader's own log end, as far as it counts: durable, by the topic's rule.
    pub fn leader_end(&self) -> Offset {
        let own = self.members.iter().find(|member| member.broker == self.leader);
        own.and_then(|member| member.log_end).expect("S1: the leader knows its own log end")
    }

    /// Notes that `broker` holds everything below `log_end`; false if it is no replica.
    ///
    /// Reports overtake one another; the furthest is the truth (S2).
    pub fn note_end(&mut self, broker: BrokerId, log_end: Offset) -> bool {
        let Some(member) = self.members.iter_mut().find(|member| member.broker == broker) else {
            return false;
        };
        member.log_end = member.log_end.max(Some(log_end));
        true
    }

    /// The smallest log end in sync; `None` while one in sync has not reported.
    pub fn in_sync_end_min(&self) -> Option<Offset> {
        // `None` sorts before every offset, so one unknown end makes the whole unknown.
        self.members.iter().filter(|member| member.in_sync).map(|member| member.log_end).min()?
    }

    /// Holds S1.
    pub fn assert_invariants(&self) {
        let own = self.members.iter().find(|member| member.broker == self.leader);
        assert!(own.is_some_and(|member| member.in_sync), "S1");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_in_sync_decides() {
        let mut replicas = Replicas::new(BrokerId(1), Offset(10), &[BrokerId(2), BrokerId(3)]);
        assert_eq!(replicas.in_sync_end_min(), None, "two have not reported");
        assert!(replicas.note_end(BrokerId(2), Offset(7)));
        assert_eq!(replicas.in_sync_end_min(), None, "one has not reported");
        assert!(replicas.note_end(BrokerId(3), Offset(4)));
        assert_eq!(replicas.in_sync_end_min(), Some(Offset(4)));
        assert!(replicas.note_end(BrokerId(3), Offset(12)));
        assert_eq!(replicas.in_sync_end_min(), Some(Offset(7)));
        assert!(replicas.note_end(BrokerId(3), Offset(2)), "an old report that came late");
        assert_eq!(replicas.in_sync_end_min(), Some(Offset(7)));
        assert!(!replicas.note_end(BrokerId(4), Offset(2)), "a stranger");
        assert_eq!((replicas.count(), replicas.in_sync_count()), (3, 3));
        replicas.assert_invariants();
    }

    #[test]
    fn alone_the_leader_decides() {
        let mut replicas = Replicas::leader_alone(BrokerId(1), Offset(3));
        assert_eq!(replicas.in_sync_end_min(), Some(Offset(3)));
        assert!(replicas.note_end(BrokerId(1), Offset(9)));
        assert_eq!(replicas.leader_end(), Offset(9));
        assert_eq!(replicas.in_sync_end_min(), Some(Offset(9)));
    }
}
