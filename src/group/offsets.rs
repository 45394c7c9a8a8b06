//! Committed offsets of one group, and those that wait for their transaction's end.
//!
//! In:   records of commits, and transaction markers.
//! Out:  positions by topic and partition.
//! Home: pure; part of the group coordinator.
//!
//! Invariants
//!   O1  Topics are sorted and not empty, partitions of a topic sorted: what a group costs is
//!       what it has committed and nothing more, since there may be a million groups.
//!   O2  Of a commit and a transaction's commit to one partition, the later *record* wins,
//!       whenever the transaction ends. Source: Kafka's `OffsetMetadataManager`.
//!
//! Not here: who may commit (`commit.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::group::ids::GroupId;
use crate::model::ids::{PartitionIndex, ProducerId, TopicId};
use crate::model::offset::{LeaderEpoch, Offset};
use crate::model::time::Timestamp;

/// A group's position in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: Offset,
    /// Epoch of the record before it, or none. Source: KIP-320.
    pub leader_epoch: LeaderEpoch,
    /// The client's own words.
    pub metadata: Box<str>,
    /// When it was committed.
    pub commit_timestamp: Timestamp,
    /// When it expires, if the commit said so (versions 2 to 4), or none.
    pub expire_timestamp: Timestamp,
    /// The topic's id, if it was known, or zero.
    pub topic_id: TopicId,
}

/// A position and the number of the record that has it, which orders records.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    partition: PartitionIndex,
    order: u64,
    value: CommittedOffset,
}

/// Offsets by topic and partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    topics: Vec<(Arc<str>, Vec<Entry>)>,
}

impl Offsets {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.topics.iter().map(|(_, entries)| entries.len()).sum()
    }

    /// The position in one partition.
    pub fn get(&self, topic: &str, partition: PartitionIndex) -> Option<&CommittedOffset> {
        self.entry(topic, partition).map(|entry| &entry.value)
    }

    /// Every topic with its positions, sorted.
    pub fn iter(
        &self,
    ) -> impl Iterator<Item = (&Arc<str>, impl Iterator<Item = (PartitionIndex, &CommittedOffset)>)>
    {
        self.topics.iter().map(|(topic, entries)| {
            (topic, entries.iter().map(|entry| (entry.partition, &entry.value)))
        })
    }

    /// A topic's positions, sorted.
    pub fn of_topic(
        &self,
        topic: &str,
    ) -> impl Iterator<Item = (PartitionIndex, &CommittedOffset)> {
        let at = self.topics.binary_search_by(|(name, _)| name.as_ref().cmp(topic));
        let entries = at.map_or(&[][..], |at| &self.topics[at].1);
        entries.iter().map(|entry| (entry.partition, &entry.value))
    }

    fn entry(&self, topic: &str, partition: PartitionIndex) -> Option<&Entry> {
        let at = self.topics.binary_search_by(|(name, _)| name.as_ref().cmp(topic)).ok()?;
        let entries = &self.topics[at].1;
        let at = entries.binary_search_by_key(&partition, |entry| entry.partition).ok()?;
        Some(&entries[at])
    }

    /// Sets a position; `order` is the number of its record. True if there was none before.
    fn put(&mut self, topic: &Arc<str>, entry: Entry) -> bool {
        let at = match self.topics.binary_search_by(|(name, _)| name.cmp(topic)) {
            Ok(at) => at,
            Err(at) => {
                self.topics.insert(at, (topic.clone(), Vec::with_capacity(1)));
                at
            }
        };
        let entries = &mut self.topics[at].1;
        match entries.binary_search_by_key(&entry.partition, |entry| entry.partition) {
            Ok(at) => {
                entries[at] = entry;
                false
            }
            Err(at) => {
                entries.insert(at, entry);
                true
            }
        }
    }

    /// Forgets a position. True if there was one.
    fn remove(&mut self, topic: &str, partition: PartitionIndex) -> bool {
        let Ok(at) = self.topics.binary_search_by(|(name, _)| name.as_ref().cmp(topic)) else {
            return false;
        };
        let entries = &mut self.topics[at].1;
        let Ok(found) = entries.binary_search_by_key(&partition, |entry| entry.partition) else {
            return false;
        };
        entries.remove(found);
        if entries.is_empty() {
            self.topics.remove(at);
        }
        true
    }

    /// Sets a position that is valid at once.
    pub(super) fn commit(
        &mut self,
        order: u64,
        topic: &Arc<str>,
        partition: PartitionIndex,
        value: CommittedOffset,
    ) {
        self.put(topic, Entry { partition, order, value });
    }

    /// Forgets a position that is valid.
    pub(super) fn forget(&mut self, topic: &str, partition: PartitionIndex) {
        self.remove(topic, partition);
    }

    /// Takes over a transaction's positions, except where a later record has spoken (O2).
    pub(super) fn merge(&mut self, committed: Offsets) {
        for (topic, entries) in committed.topics {
            for entry in entries {
                let known = self.entry(&topic, entry.partition).map(|known| known.order);
                if known.is_none_or(|known| known < entry.order) {
                    self.put(&topic, entry);
                }
            }
        }
    }
}

/// Offsets of open transactions, by producer and group; invisible until they commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PendingOffsets {
    producers: BTreeMap<ProducerId, BTreeMap<GroupId, Offsets>>,
    /// Which producers have a group in an open transaction, so that no fetch asks them all.
    by_group: BTreeMap<GroupId, Vec<ProducerId>>,
    count: usize,
}

impl PendingOffsets {
    /// How many positions wait.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether a transaction with this group is open.
    pub fn has_group(&self, group: &GroupId) -> bool {
        self.by_group.contains_key(group)
    }

    /// Whether an open transaction has a position of this group in this partition.
    pub fn contains(&self, group: &GroupId, topic: &str, partition: PartitionIndex) -> bool {
        self.of_group(group).any(|offsets| offsets.get(topic, partition).is_some())
    }

    /// What each open transaction has for a group.
    pub fn of_group(&self, group: &GroupId) -> impl Iterator<Item = &Offsets> {
        let producers = self.by_group.get(group).map_or(&[][..], Vec::as_slice);
        producers.iter().filter_map(|producer| self.producers.get(producer)?.get(group))
    }

    /// Groups that have a position in an open transaction.
    pub fn groups(&self) -> impl Iterator<Item = &GroupId> {
        self.by_group.keys()
    }

    /// Adds a position to a producer's open transaction.
    pub(super) fn add(
        &mut self,
        producer: ProducerId,
        order: u64,
        key: &crate::group::record::OffsetKey,
        value: CommittedOffset,
    ) {
        let groups = self.producers.entry(producer).or_default();
        let offsets = groups.entry(key.group.clone()).or_default();
        if offsets.put(&key.topic, Entry { partition: key.partition, order, value }) {
            self.count += 1;
        }
        let producers = self.by_group.entry(key.group.clone()).or_default();
        if !producers.contains(&producer) {
            producers.push(producer);
        }
    }

    /// Forgets a position in every open transaction: a tombstone is about them as well.
    pub(super) fn forget(&mut self, group: &GroupId, topic: &str, partition: PartitionIndex) {
        let producers = self.by_group.get(group).map_or(&[][..], Vec::as_slice);
        for producer in producers {
            let offsets = self.producers.get_mut(producer).and_then(|groups| groups.get_mut(group));
            if offsets.is_some_and(|offsets| offsets.remove(topic, partition)) {
                self.count -= 1;
            }
        }
    }

    /// Ends a producer's transaction; what it had, by group.
    pub(super) fn end(&mut self, producer: ProducerId) -> BTreeMap<GroupId, Offsets> {
        let groups = self.producers.remove(&producer).unwrap_or_default();
        for (group, offsets) in &groups {
            self.count -= offsets.count();
            let open = self.by_group.get_mut(group).expect("each producer's groups are indexed");
            open.retain(|other| *other != producer);
            if open.is_empty() {
                self.by_group.remove(group);
            }
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::record::OffsetKey;

    fn at(offset: i64) -> CommittedOffset {
        CommittedOffset {
            offset: Offset(offset),
            leader_epoch: LeaderEpoch::NONE,
            metadata: "".into(),
            commit_timestamp: Timestamp(0),
            expire_timestamp: Timestamp::NONE,
            topic_id: TopicId::ZERO,
        }
    }

    fn listed(offsets: &Offsets) -> Vec<(String, Vec<(i32, i64)>)> {
        offsets
            .iter()
            .map(|(topic, entries)| {
                (topic.to_string(), entries.map(|(p, value)| (p.0, value.offset.0)).collect())
            })
            .collect()
    }

    #[test]
    fn offsets_are_sorted_replaced_and_forgotten() {
        let mut offsets = Offsets::default();
        for (order, (topic, partition)) in
            [("b", 2), ("a", 0), ("b", 1), ("b", 2)].into_iter().enumerate()
        {
            let order = order as u64;
            offsets.commit(order, &topic.into(), PartitionIndex(partition), at(10 + order as i64));
        }
        assert_eq!(
            listed(&offsets),
            [("a".into(), vec![(0, 11)]), ("b".into(), vec![(1, 12), (2, 13)])]
        );
        assert_eq!(offsets.count(), 3);
        offsets.forget("b", PartitionIndex(1));
        offsets.forget("b", PartitionIndex(7));
        offsets.forget("c", PartitionIndex(0));
        offsets.forget("a", PartitionIndex(0));
        assert_eq!(listed(&offsets), [("b".into(), vec![(2, 13)])]);
        offsets.forget("b", PartitionIndex(2));
        assert!(offsets.is_empty());
    }

    #[test]
    fn p106_the_later_record_wins_whenever_the_transaction_ends() {
        let (topic, partition) = (Arc::from("t"), PartitionIndex(0));
        let mut transaction = Offsets::default();
        transaction.commit(5, &topic, partition, at(50));
        for (order, expected) in [(4, 50), (6, 60)] {
            let mut offsets = Offsets::default();
            offsets.commit(order, &topic, partition, at(order as i64 * 10));
            offsets.merge(transaction.clone());
            assert_eq!(offsets.get("t", partition), Some(&at(expected)));
        }
    }

    #[test]
    fn p106_pending_offsets_are_counted_and_leave_with_their_transaction() {
        let mut pending = PendingOffsets::default();
        let group = GroupId::from("g");
        let key = |partition| OffsetKey {
            group: group.clone(),
            topic: "t".into(),
            partition: PartitionIndex(partition),
        };
        for (order, (producer, partition)) in [(1, 0), (1, 1), (2, 0), (1, 0)].iter().enumerate() {
            pending.add(ProducerId(*producer), order as u64, &key(*partition), at(1));
        }
        assert_eq!(pending.count(), 3);
        assert!(pending.contains(&group, "t", PartitionIndex(1)));
        pending.forget(&group, "t", PartitionIndex(0));
        assert_eq!(pending.count(), 1);
        assert_eq!(pending.end(ProducerId(1)).len(), 1);
        assert!(pending.has_group(&group), "producer 2 is still open");
        assert!(!pending.contains(&group, "t", PartitionIndex(1)));
        pending.end(ProducerId(2));
        pending.end(ProducerId(3));
        assert!(!pending.has_group(&group));
        assert_eq!(pending.count(), 0);
    }
}
