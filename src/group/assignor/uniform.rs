//! The `uniform` assignor: as even as the subscriptions allow, moving little.
//!
//! In:   a [`GroupSpec`].
//! Out:  an assignment for each member (A3).
//! Home: pure.
//!
//! Every member keeps what it may; what is nobody's goes to whoever has least. Then, as long
//! as some member has at least two partitions more than another that it can pass one to,
//! perhaps by way of others (each passes on one of a topic that the next subscribes to), one is
//! passed along. When no such chain is left the loads are as even as can be: the sum of their
//! squares is a convex cost of a flow, and a chain is what its optimality lacks.
//!
//! Where all subscribe to the same topics, whoever may keep one more than the others is chosen
//! among those who have more, so nothing moves that could stay.
//!
//! Source: KIP-848 (balance, stickiness); Ahuja, Magnanti, Orlin, "Network Flows", 9.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::group::assignor::{Assignment, GroupSpec};
use crate::group::ids::MemberId;
use crate::model::ids::{PartitionIndex, TopicId};

/// The group by numbers: members and topics are indexes here.
struct Board<'a> {
    ids: Vec<&'a MemberId>,
    topics: Vec<TopicId>,
    /// Members that subscribe to a topic.
    subscribers: Vec<Vec<usize>>,
    /// What each member has, by topic.
    held: Vec<BTreeMap<usize, BTreeSet<PartitionIndex>>>,
    load: Vec<usize>,
    /// Who had a partition at the beginning.
    before: BTreeMap<(usize, PartitionIndex), usize>,
    /// What nobody has.
    free: Vec<(usize, PartitionIndex)>,
}

/// Assigns every partition evenly.
pub(super) fn assign(group: &GroupSpec) -> BTreeMap<MemberId, Assignment> {
    let mut board = Board::set(group);
    let first = group.members.values().next().map(|member| &member.topics);
    if group.members.values().all(|member| Some(&member.topics) == first) {
        board.level();
    }
    board.hand_out();
    board.balance();
    board.into_assignments()
}

impl<'a> Board<'a> {
    /// Members with what they have and may keep; each partition at most once.
    fn set(group: &'a GroupSpec) -> Board<'a> {
        let ids: Vec<&MemberId> = group.members.keys().collect();
        let topics: Vec<TopicId> = group.topics.keys().copied().collect();
        let subscribes = |topic: &TopicId| {
            let all = ids.iter().enumerate();
            let those = all.filter(|(_, id)| group.members[**id].topics.contains(topic));
            those.map(|(at, _)| at).collect::<Vec<_>>()
        };
        let mut board = Board {
            subscribers: topics.iter().map(subscribes).collect(),
            held: vec![BTreeMap::new(); ids.len()],
            load: vec![0; ids.len()],
            before: BTreeMap::new(),
            free: Vec::new(),
            ids,
            topics,
        };
        for (at, topic) in board.topics.clone().into_iter().enumerate() {
            for member in board.subscribers[at].clone() {
                let owned = group.members[board.ids[member]].owned.get(&topic);
                let there =
                    |partition: &PartitionIndex| (0..group.topics[&topic]).contains(&partition.0);
                for partition in owned.into_iter().flatten().copied().filter(there) {
                    if let Entry::Vacant(place) = board.before.entry((at, partition)) {
                        place.insert(member);
                        board.give(member, at, partition);
                    }
                }
            }
            if !board.subscribers[at].is_empty() {
                let unowned =
                    |partition: &PartitionIndex| !board.before.contains_key(&(at, *partition));
                let unowned: Vec<_> = group.partitions(topic).filter(unowned).collect();
                board.free.extend(unowned.into_iter().map(|partition| (at, partition)));
            }
        }
        board
    }

    fn give(&mut self, member: usize, topic: usize, partition: PartitionIndex) {
        let fresh = self.held[member].entry(topic).or_default().insert(partition);
        assert!(fresh, "A1");
        self.load[member] += 1;
    }

    fn take(&mut self, member: usize, topic: usize, partition: PartitionIndex) {
        let of_topic = self.held[member].get_mut(&topic).expect("it has one of the topic");
        assert!(of_topic.remove(&partition), "it has it");
        if of_topic.is_empty() {
            self.held[member].remove(&topic);
        }
        self.load[member] -= 1;
    }

    /// All subscribe to the same: takes from each what is beyond its part.
    fn level(&mut self) {
        if self.ids.is_empty() {
            return;
        }
        let total = self.load.iter().sum::<usize>() + self.free.len();
        let (part, mut extras) = (total / self.ids.len(), total % self.ids.len());
        for member in 0..self.ids.len() {
            let more = usize::from(self.load[member] > part && extras > 0);
            extras -= more;
            while self.load[member] > part + more {
                // The last partition of the topic it has most of: topics stay spread.
                let widest = self.held[member].iter().max_by_key(|(_, held)| held.len());
                let (topic, held) = widest.expect("it has more than nothing");
                let (topic, partition) = (*topic, *held.last().expect("not empty"));
                self.take(member, topic, partition);
                self.free.push((topic, partition));
            }
        }
        self.free.sort_unstable();
    }

    /// Gives what nobody has to whoever has least; topics that few subscribe to come first.
    fn hand_out(&mut self) {
        let mut free = std::mem::take(&mut self.free);
        free.sort_by_key(|(topic, partition)| (self.subscribers[*topic].len(), *topic, *partition));
        let mut queues: BTreeMap<&[usize], BTreeSet<(usize, usize)>> = BTreeMap::new();
        let subscribers = self.subscribers.clone();
        for (topic, partition) in free {
            // One queue by load for each set of subscribers; loads in it may have grown since.
            let queue = queues.entry(&subscribers[topic]).or_insert_with(|| {
                subscribers[topic].iter().map(|member| (self.load[*member], *member)).collect()
            });
            let member = loop {
                let (load, member) = queue.pop_first().expect("somebody subscribes");
                if load == self.load[member] {
                    break member;
                }
                queue.insert((self.load[member], member));
            };
            self.give(member, topic, partition);
            queue.insert((self.load[member], member));
        }
    }

    /// Passes partitions along chains until no chain helps.
    fn balance(&mut self) {
        loop {
            let mut richest: Vec<usize> = (0..self.ids.len()).collect();
            richest.sort_by_key(|member| std::cmp::Reverse(self.load[*member]));
            let poorest = self.load.iter().copied().min().unwrap_or(0);
            let mut passed = false;
            for member in richest {
                while self.load[member] >= poorest + 2 && self.pass_from(member) {
                    passed = true;
                }
            }
            if !passed {
                return;
            }
        }
    }

    /// Finds a shortest chain from a member to one that has at least two less, and passes one
    /// partition along it. False if there is none.
    fn pass_from(&mut self, from: usize) -> bool {
        let mut came_by: Vec<Option<(usize, usize)>> = vec![None; self.ids.len()];
        let mut seen_topics = BTreeSet::new();
        let mut queue = VecDeque::from([from]);
        while let Some(member) = queue.pop_front() {
            for topic in self.held[member].keys().copied().collect::<Vec<_>>() {
                if !seen_topics.insert(topic) {
                    continue; // who has it came earlier: its subscribers are in the queue
                }
                for next in self.subscribers[topic].iter().copied() {
                    if next == from || came_by[next].is_some() {
                        continue;
                    }
                    came_by[next] = Some((member, topic));
                    if self.load[next] + 2 <= self.load[from] {
                        self.pass_along(from, next, &came_by);
                        return true;
                    }
                    queue.push_back(next);
                }
            }
        }
        false
    }

    fn pass_along(&mut self, from: usize, to: usize, came_by: &[Option<(usize, usize)>]) {
        let mut receiver = to;
        while receiver != from {
            let (giver, topic) = came_by[receiver].expect("the chain begins at `from`");
            let partition = self.cheapest(giver, receiver, topic);
            self.take(giver, topic, partition);
            self.give(receiver, topic, partition);
            receiver = giver;
        }
    }

    /// The partition of a topic whose move costs least: one that returns to its owner, else
    /// one that has moved already.
    fn cheapest(&self, giver: usize, receiver: usize, topic: usize) -> PartitionIndex {
        let cost = |partition: &PartitionIndex| match self.before.get(&(topic, *partition)) {
            Some(owner) if *owner == receiver => 0,
            Some(owner) if *owner == giver => 2,
            _ => 1,
        };
        let held = self.held[giver].get(&topic).expect("it has one of the topic");
        held.iter().copied().min_by_key(cost).expect("not empty")
    }

    fn into_assignments(self) -> BTreeMap<MemberId, Assignment> {
        let Board { ids, topics, held, .. } = self;
        let named = held.into_iter().map(|held| {
            held.into_iter().map(|(topic, partitions)| (topics[topic], partitions)).collect()
        });
        ids.into_iter().cloned().zip(named).collect()
    }
}
