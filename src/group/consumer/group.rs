//! One KIP-848 group: its members, target and epochs, as its records have them.
//!
//! In:   records.
//! Out:  -
//! Home: pure; part of the group coordinator.
//!
//! Invariants
//!   K1  No partition is held by two members.
//!   K2  target epoch <= group epoch; a member's epoch <= target epoch.
//!   K3  `holders` is what the members' current assignments say.
//!   K4  Static members and instance ids correspond one to one.
//!
//! Not here: what members ask (`heartbeat.rs`).
//! Source: KIP-848; Kafka's `ConsumerGroup`.

use std::collections::{BTreeMap, BTreeSet};

use crate::group::assignor::Assignment;
use crate::group::consumer::member::{
    CurrentAssignment, Held, Member, MemberMetadata, MemberState,
};
use crate::group::consumer::topics::{ResolvedRegex, Topics};
use crate::group::coordinator::Context;
use crate::group::ids::{InstanceId, MemberId};
use crate::group::record::{ConsumerRecord, Record};
use crate::model::ids::{PartitionIndex, TopicId};
use crate::model::time::Timestamp;

/// The group's epoch, and what topics it rests on: a record's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupEpoch {
    /// The epoch.
    pub epoch: i32,
    /// A number that differs when a subscribed topic or its partitions differ; 0 for none.
    pub metadata_hash: i64,
}

/// The group epoch that the target was computed for: a record's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetEpoch {
    /// The epoch.
    pub epoch: i32,
    /// When the target was computed.
    pub timestamp: Timestamp,
}

/// Where a group stands, in Kafka's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConsumerState {
    /// It has no members.
    Empty,
    /// Its target is to be computed anew.
    Assigning,
    /// Not every member has come to the target.
    Reconciling,
    /// Every member has what it is to have.
    Stable,
}

impl ConsumerState {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            ConsumerState::Empty => "Empty",
            ConsumerState::Assigning => "Assigning",
            ConsumerState::Reconciling => "Reconciling",
            ConsumerState::Stable => "Stable",
        }
    }
}

/// A KIP-848 group.
#[derive(Clone, Debug, Default)]
pub struct Consumer {
    pub(super) epoch: GroupEpoch,
    pub(super) target_epoch: TargetEpoch,
    pub(super) members: BTreeMap<MemberId, Member>,
    pub(super) target: BTreeMap<MemberId, Assignment>,
    pub(super) regexes: BTreeMap<Box<str>, ResolvedRegex>,
    pub(super) statics: BTreeMap<InstanceId, MemberId>,
    /// Who holds a partition: has it, or has not given it up yet.
    holders: BTreeMap<(TopicId, PartitionIndex), MemberId>,
    /// [`Topics::version`] when the subscribed topics were last looked at.
    pub(super) seen_version: Option<i64>,
    /// Whether a member has gone since.
    pub(super) hash_is_stale: bool,
    /// [`Topics::version`] when expressions were last evaluated, and when that was.
    pub(super) regexes_seen: Option<i64>,
    pub(super) regexes_seen_at: Timestamp,
}

impl Consumer {
    /// The group's epoch.
    pub fn epoch(&self) -> i32 {
        self.epoch.epoch
    }

    /// The epoch of its target.
    pub fn target_epoch(&self) -> i32 {
        self.target_epoch.epoch
    }

    /// Its members, by id.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.members.values()
    }

    /// The member of this id.
    pub fn member(&self, id: &MemberId) -> Option<&Member> {
        self.members.get(id)
    }

    /// What a member is to have.
    pub fn target_of(&self, member: &MemberId) -> Option<&Assignment> {
        self.target.get(member)
    }

    /// Where it stands.
    pub fn state(&self) -> ConsumerState {
        let settled = |member: &Member| {
            member.current.state == MemberState::Stable
                && member.current.epoch == self.target_epoch.epoch
        };
        if self.members.is_empty() {
            ConsumerState::Empty
        } else if self.epoch.epoch > self.target_epoch.epoch {
            ConsumerState::Assigning
        } else if self.members.values().all(settled) {
            ConsumerState::Stable
        } else {
            ConsumerState::Reconciling
        }
    }

    /// Whether a member reads a topic.
    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        let by_regex = |member: &Member| {
            let resolved = member.metadata.regex.as_ref().and_then(|regex| self.regexes.get(regex));
            resolved.is_some_and(|resolved| resolved.topics.contains(topic))
        };
        self.members.values().any(|m| m.metadata.topics.contains(topic) || by_regex(m))
    }

    /// Names of the topics that a member reads, by name and by its expression.
    pub(super) fn names_of<'a>(
        &'a self,
        metadata: &'a MemberMetadata,
    ) -> impl Iterator<Item = &'a str> {
        let resolved = metadata.regex.as_ref().and_then(|regex| self.regexes.get(regex));
        let by_regex = resolved.into_iter().flat_map(|resolved| &resolved.topics);
        metadata.topics.iter().chain(by_regex).map(AsRef::as_ref)
    }

    /// Ids of the topics that a member reads and that are there.
    pub(super) fn topic_ids_of(
        &self,
        metadata: &MemberMetadata,
        topics: &dyn Topics,
    ) -> BTreeSet<TopicId> {
        self.names_of(metadata)
            .filter_map(|name| topics.topic(name))
            .map(|topic| topic.id)
            .collect()
    }

    /// Whether anybody holds a partition.
    pub(super) fn is_held(&self, topic: TopicId, partition: PartitionIndex) -> bool {
        self.holders.contains_key(&(topic, partition))
    }

    /// Brings the group to what a record says: the only way in which it changes, but for timers.
    pub(in crate::group) fn replay(&mut self, record: &ConsumerRecord) {
        match record {
            ConsumerRecord::Epoch(value) => self.epoch = value.unwrap_or_default(),
            ConsumerRecord::TargetEpoch(value) => self.target_epoch = value.unwrap_or_default(),
            ConsumerRecord::Member { member, value: Some(value) } => {
                self.replay_member(member, value);
            }
            ConsumerRecord::Member { member, value: None } => self.remove(member),
            ConsumerRecord::Target { member, value: Some(value) } => {
                self.target.insert(member.clone(), value.clone());
            }
            ConsumerRecord::Target { member, value: None } => {
                self.target.remove(member);
            }
            ConsumerRecord::Current { member, value } => {
                self.replay_current(member, value.as_ref())
            }
            ConsumerRecord::Regex { regex, value: Some(value) } => {
                self.regexes.insert(regex.clone(), value.clone());
            }
            ConsumerRecord::Regex { regex, value: None } => {
                self.regexes.remove(regex);
            }
        }
    }

    fn member_or_new(&mut self, id: &MemberId) -> &mut Member {
        self.members.entry(id.clone()).or_insert_with(|| Member::new(id.clone()))
    }

    fn replay_member(&mut self, id: &MemberId, value: &MemberMetadata) {
        let member = self.member_or_new(id);
        let before = std::mem::replace(&mut member.metadata, value.clone());
        if let Some(instance) = before.instance
            && self.statics.get(&instance) == Some(id)
        {
            self.statics.remove(&instance);
        }
        if let Some(instance) = &value.instance {
            self.statics.insert(instance.clone(), id.clone());
        }
    }

    fn replay_current(&mut self, id: &MemberId, value: Option<&CurrentAssignment>) {
        if value.is_none() && !self.members.contains_key(id) {
            return;
        }
        let value = value.cloned().unwrap_or_default();
        let member = self.member_or_new(id);
        let before = std::mem::replace(&mut member.current, value);
        let after = member.current.clone();
        self.release(id, &before);
        for (topic, partition) in pairs(&after.assigned).chain(pairs(&after.revoking)) {
            let holder = self.holders.insert((topic, partition), id.clone());
            // A log that was compacted may name the old holder's end later than the new one's
            // beginning; what counts is how it ends.
            drop(holder);
        }
    }

    fn release(&mut self, id: &MemberId, before: &CurrentAssignment) {
        for held in pairs(&before.assigned).chain(pairs(&before.revoking)) {
            if self.holders.get(&held) == Some(id) {
                self.holders.remove(&held);
            }
        }
    }

    fn remove(&mut self, id: &MemberId) {
        let Some(member) = self.members.remove(id) else { return };
        self.release(id, &member.current);
        if let Some(instance) = member.metadata.instance
            && self.statics.get(&instance) == Some(id)
        {
            self.statics.remove(&instance);
        }
    }

    /// Makes a record part of the step and of the state.
    pub(super) fn persist(&mut self, cx: &mut Context<'_>, record: ConsumerRecord) {
        self.replay(&record);
        cx.step.records.push(Record::Consumer { group: cx.group.clone(), record });
    }

    /// The records that end the group. It has no members.
    pub(in crate::group) fn tombstones(&self) -> Vec<ConsumerRecord> {
        assert!(self.members.is_empty(), "members are removed one by one");
        let regexes = self.regexes.keys().cloned();
        let mut records: Vec<ConsumerRecord> =
            regexes.map(|regex| ConsumerRecord::Regex { regex, value: None }).collect();
        records.extend([ConsumerRecord::TargetEpoch(None), ConsumerRecord::Epoch(None)]);
        records
    }

    /// Begins every member's session after a load.
    pub(in crate::group) fn loaded(&mut self, cx: &mut Context<'_>) {
        if self.epoch.epoch < self.target_epoch.epoch {
            // Nobody writes that, but should a log say so, the group goes on from there (K2).
            let value = GroupEpoch { epoch: self.target_epoch.epoch, ..self.epoch };
            self.persist(cx, ConsumerRecord::Epoch(Some(value)));
        }
        let ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for id in &ids {
            self.reset_timers(cx, id);
        }
    }

    /// Sets a member's deadlines anew.
    pub(super) fn reset_timers(&mut self, cx: &mut Context<'_>, id: &MemberId) {
        let Some(member) = self.members.get_mut(id) else { return };
        let classic = member.metadata.classic.as_ref();
        let session_ms = classic
            .map_or(cx.settings.consumer_session_timeout_ms, |classic| classic.session_timeout_ms);
        member.session_deadline = cx.after(session_ms);
        cx.wake_at(member.session_deadline);
        if member.current.state == MemberState::UnrevokedPartitions {
            let epoch = member.current.epoch;
            if member.revocation.is_none_or(|(_, since)| since != epoch) {
                let deadline = cx.after(member.metadata.rebalance_timeout_ms);
                cx.wake_at(deadline);
                member.revocation = Some((deadline, epoch));
            }
        } else {
            member.revocation = None;
        }
    }

    /// The earliest time at which the group has something to do.
    pub(in crate::group) fn next_deadline(&self) -> Option<Timestamp> {
        let members = self.members.values();
        let deadlines = members.flat_map(|member| {
            let revocation = member.revocation.map(|(deadline, _)| deadline);
            let all = [Some(member.session_deadline), revocation, member.classic_deadline];
            all.into_iter().flatten()
        });
        deadlines.min().filter(|deadline| deadline.0 < i64::MAX)
    }

    /// Panics if an invariant does not hold.
    pub(in crate::group) fn assert_invariants(&self) {
        assert!(self.target_epoch.epoch <= self.epoch.epoch, "K2");
    }

    /// The slow half of the invariants, for simulations.
    #[cfg(test)]
    pub(in crate::group) fn assert_all(&self) {
        let mut holders = BTreeMap::new();
        for member in self.members.values() {
            assert!(member.current.epoch <= self.target_epoch.epoch, "K2: {member:?}");
            let held = pairs(&member.current.assigned).chain(pairs(&member.current.revoking));
            for held in held {
                assert_eq!(holders.insert(held, member.id.clone()), None, "K1: {held:?}");
            }
        }
        assert_eq!(holders, self.holders, "K3");
        for (instance, id) in &self.statics {
            assert_eq!(self.members[id].metadata.instance.as_ref(), Some(instance), "K4");
        }
        assert!(self.target.keys().all(|id| self.members.contains_key(id)));
    }
}

/// Each partition of a held set.
fn pairs(held: &Held) -> impl Iterator<Item = (TopicId, PartitionIndex)> {
    held.iter().flat_map(|(topic, of)| of.keys().map(|partition| (*topic, *partition)))
}
