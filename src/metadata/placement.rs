//! Which brokers hold a new topic's partitions.
//!
//! In:   brokers with their racks, partition and replica counts, a start.
//! Out:  one list of replicas a partition, the preferred leader first.
//! Home: pure; the same arguments always give the same answer.
//!
//! Invariants
//!   P1  No partition has a broker twice.
//!   P2  Leaders differ by at most one between brokers.
//!   P3  Neighbours in the order are of different racks as long as there are such.
//!
//! Leaders go round robin over an order that alternates racks; followers stand next to the
//! leader in that order, shifted by one each full round, so that the load of a failed broker
//! does not fall on one neighbour alone.

use std::collections::BTreeMap;

use crate::model::ids::BrokerId;

/// A broker that can hold replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The broker.
    pub id: BrokerId,
    /// Its rack, if it named one.
    pub rack: Option<&'a str>,
}

/// How much to place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Partitions to place; at least 1.
    pub partitions: usize,
    /// Replicas of each; at least 1, at most the number of candidates.
    pub replicas: usize,
    /// Where the round robin starts; any number, taken modulo the candidates.
    pub start: u64,
}

/// Replicas of each partition, the preferred leader first.
///
/// Panics: if `demand.replicas` is 0 or above the number of candidates, the caller's bug.
pub fn place(candidates: &[Candidate<'_>], demand: Demand) -> Vec<Vec<BrokerId>> {
    assert!(demand.replicas >= 1, "a partition has a replica");
    assert!(demand.replicas <= candidates.len(), "more replicas than brokers");
    let order = rack_alternating(candidates);
    let count = order.len();
    let start = usize::try_from(demand.start % count as u64).expect("below a usize");
    let replicas_of = |partition: usize| {
        let leader = (start + partition) % count;
        let shift = partition / count;
        let follower = |i: usize| order[(leader + 1 + (shift + i) % (count - 1)) % count];
        let mut replicas = vec![order[leader]];
        replicas.extend((0..demand.replicas - 1).map(follower));
        replicas
    };
    (0..demand.partitions).map(replicas_of).collect()
}

/// The candidates by id, one of each rack in turn.
fn rack_alternating(candidates: &[Candidate<'_>]) -> Vec<BrokerId> {
    let mut racks: BTreeMap<Option<&str>, Vec<BrokerId>> = BTreeMap::new();
    for candidate in candidates {
        racks.entry(candidate.rack).or_default().push(candidate.id);
    }
    for ids in racks.values_mut() {
        ids.sort_unstable();
    }
    let longest = racks.values().map(Vec::len).max().unwrap_or(0);
    let row = |i: usize| racks.values().filter_map(move |ids| ids.get(i).copied());
    (0..longest).flat_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(racks: &[Option<&'static str>]) -> Vec<Candidate<'static>> {
        (0..).map(BrokerId).zip(racks).map(|(id, &rack)| Candidate { id, rack }).collect()
    }

    #[test]
    fn one_broker_holds_everything() {
        let demand = Demand { partitions: 3, replicas: 1, start: 17 };
        assert_eq!(place(&candidates(&[None]), demand), vec![vec![BrokerId(0)]; 3]);
    }

    #[test]
    fn leaders_are_even_and_replicas_distinct() {
        for brokers in 1..7 {
            let all = candidates(&vec![None; brokers]);
            for replicas in 1..=brokers {
                for start in 0..brokers as u64 {
                    let demand = Demand { partitions: 20, replicas, start };
                    let placed = place(&all, demand);
                    let led = |id: BrokerId| placed.iter().filter(|r| r[0] == id).count();
                    let counts: Vec<usize> = all.iter().map(|c| led(c.id)).collect();
                    let spread = counts.iter().max().unwrap() - counts.iter().min().unwrap();
                    assert!(spread <= 1, "P2: {counts:?}");
                    for ids in &placed {
                        assert_eq!(ids.len(), replicas);
                        assert!((1..ids.len()).all(|i| !ids[..i].contains(&ids[i])), "P1");
                    }
                }
            }
        }
    }

    #[test]
    fn followers_of_one_leader_vary_between_rounds() {
        let demand = Demand { partitions: 8, replicas: 2, start: 0 };
        let placed = place(&candidates(&[None; 4]), demand);
        assert_eq!(placed[0][0], placed[4][0]);
        assert_ne!(placed[0][1], placed[4][1]);
    }

    #[test]
    fn replicas_spread_over_racks() {
        let all = candidates(&[Some("a"), Some("a"), Some("b"), Some("b")]);
        let rack = |id: &BrokerId| all[usize::try_from(id.0).unwrap()].rack;
        let placed = place(&all, Demand { partitions: 4, replicas: 2, start: 0 });
        assert!(placed.iter().all(|ids| rack(&ids[0]) != rack(&ids[1])), "P3: {placed:?}");
    }
}
