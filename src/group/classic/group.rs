//! One classic group: its members, generation and state.
//!
//! In:   records, and the steps of `join.rs`, `rebalance.rs` and `sync.rs`.
//! Out:  records and replies, into the context of a step.
//! Home: pure; part of the group coordinator.
//!
//! Invariants
//!   C1  A group is Empty if and only if it has no members and no rebalance runs.
//!   C2  `joined` counts the members whose `JoinGroup` is parked; only a rebalance parks one.
//!   C3  A `SyncGroup` is parked only while the leader has not assigned.
//!   C4  The leader is a member; static members and instance ids correspond one to one.
//!   C5  A parked request is answered exactly once.
//!   C6  `supported` counts, for each protocol, the members that support it.
//!
//! Not here: committed offsets (`crate::group::offsets`), other groups.
//! Source: Kafka's `ClassicGroup`; `protocol.md` P81-P86.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::group::classic::join::{JoinError, JoinReply};
use crate::group::classic::member::{Member, Protocol, metadata_bytes};
use crate::group::classic::state::State;
use crate::group::classic::sync::SyncError;
use crate::group::coordinator::Context;
use crate::group::ids::{InstanceId, MemberId};
use crate::group::record::{GroupMetadata, Record};
use crate::group::step::Reply;
use crate::group::subscription::{self, CONSUMER_PROTOCOL_TYPE};
use crate::model::time::Timestamp;

/// What ends the wait for members to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JoinTimer {
    /// The first rebalance of an empty group: everybody gets a little time.
    Initial {
        /// When it fires.
        deadline: Timestamp,
        /// For how long it was set.
        delay_ms: i64,
        /// How much longer it may be extended while members keep joining.
        remaining_ms: i64,
    },
    /// Any other: those who are not back by then are out.
    Rebalance {
        /// When it fires.
        deadline: Timestamp,
    },
}

/// A classic group.
#[derive(Clone, Debug)]
pub struct Classic {
    pub(super) state: State,
    pub(super) state_since: Timestamp,
    pub(super) protocol_type: Option<Box<str>>,
    pub(super) generation: i32,
    pub(super) protocol: Option<Box<str>>,
    pub(super) leader: Option<MemberId>,
    pub(super) members: BTreeMap<MemberId, Member>,
    pub(super) statics: BTreeMap<InstanceId, MemberId>,
    /// Ids given out and not joined with yet, with the time at which they lapse.
    pub(super) pending: BTreeMap<MemberId, Timestamp>,
    /// Members that have not sent `SyncGroup` in this generation.
    pub(super) unsynced: BTreeSet<MemberId>,
    pub(super) supported: BTreeMap<Box<str>, usize>,
    pub(super) joined: usize,
    /// What its members' protocols hold, in bytes.
    pub(super) metadata_bytes: usize,
    /// Whether the rebalance that runs began in an empty group.
    pub(super) initial: bool,
    /// Whether somebody joined since the initial delay was last set.
    pub(super) new_member_added: bool,
    pub(super) join_timer: Option<JoinTimer>,
    pub(super) sync_deadline: Option<Timestamp>,
    subscribed: Option<BTreeSet<Box<str>>>,
}

impl Classic {
    /// A group that nobody has joined.
    pub(in crate::group) fn unjoined() -> Classic {
        Classic {
            state: State::Empty,
            state_since: Timestamp::NONE,
            protocol_type: None,
            generation: 0,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            pending: BTreeMap::new(),
            unsynced: BTreeSet::new(),
            supported: BTreeMap::new(),
            joined: 0,
            metadata_bytes: 0,
            initial: false,
            new_member_added: false,
            join_timer: None,
            sync_deadline: None,
            subscribed: None,
        }
    }

    /// A stable group with the members of a KIP-848 group, none of which is waiting.
    pub(in crate::group) fn taken_over(
        now: Timestamp,
        generation: i32,
        members: Vec<Member>,
    ) -> Classic {
        assert!(!members.is_empty(), "C1: a stable group has members");
        let mut classic = Classic::unjoined();
        classic.state = State::Stable;
        classic.state_since = now;
        classic.generation = generation;
        classic.protocol_type = Some(CONSUMER_PROTOCOL_TYPE.into());
        members.into_iter().for_each(|member| classic.insert_member(member));
        classic.protocol = Some(classic.elect_protocol());
        classic
    }

    /// Its record, while it is stable.
    pub(in crate::group) fn stable_record(&self) -> GroupMetadata {
        assert_eq!(self.state, State::Stable);
        self.to_record(self.state_since, |member| member.assignment.clone())
    }

    /// Begins the life of a group that was taken over: it is recorded, and rebalances.
    pub(in crate::group) fn begin_taken_over(&mut self, cx: &mut Context<'_>) {
        let record = self.stable_record();
        self.persist(cx, record);
        let ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for id in &ids {
            self.reset_session(cx, id);
        }
        self.prepare_rebalance(cx);
    }

    /// Where the group stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// When it came there, or none if its records do not say.
    pub fn state_since(&self) -> Timestamp {
        self.state_since
    }

    /// Its generation.
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// Its protocol type, unless nobody has ever joined.
    pub fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    /// The protocol of its generation.
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// Its members, by id.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.members.values()
    }

    /// Whether ids are given out that nobody has joined with yet.
    pub fn has_pending_members(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether its members are consumers, whose subscriptions the broker can read.
    pub fn is_of_consumers(&self) -> bool {
        self.protocol_type() == Some(CONSUMER_PROTOCOL_TYPE)
    }

    /// Whether the topics that its members subscribe to are known.
    pub fn knows_subscription(&self) -> bool {
        self.subscribed.is_some()
    }

    /// Whether a member subscribes to a topic. Consumers whose subscription cannot be read
    /// count as subscribed to everything. Source: `protocol.md` P85.
    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.is_of_consumers(),
        }
    }

    /// Brings the group to what a record says: the only way in which a generation's members,
    /// assignments and numbers become persistent. Members that are known keep their requests
    /// and timers, which records do not hold.
    pub(in crate::group) fn replay(&mut self, value: &GroupMetadata) {
        self.protocol_type.clone_from(&value.protocol_type);
        self.generation = value.generation;
        self.protocol.clone_from(&value.protocol);
        self.leader.clone_from(&value.leader);
        self.state_since = value.state_timestamp;
        let named: BTreeSet<&MemberId> = value.members.iter().map(|member| &member.id).collect();
        let gone: Vec<MemberId> =
            self.members.keys().filter(|id| !named.contains(id)).cloned().collect();
        for id in gone {
            let member = self.remove_member(&id).expect("it is a member");
            assert!(!member.is_waiting(), "C5: only a load finds members that are gone");
        }
        let protocol = value.protocol.as_deref().unwrap_or("");
        for record in &value.members {
            match self.members.get_mut(&record.id) {
                Some(member) => member.assignment = record.assignment.clone(),
                None => self.insert_member(Member::loaded(record, protocol)),
            }
        }
        // Should the record name a leader that is no member, the first one leads (C4).
        let known = value.leader.as_ref().filter(|leader| self.members.contains_key(*leader));
        self.leader = known.or(self.members.keys().next()).cloned();
        self.state = if self.members.is_empty() { State::Empty } else { State::Stable };
        self.initial = false;
        self.subscribed = self.read_subscriptions();
    }

    /// The group's generation as a record, with these assignments (empty where none is given).
    pub(super) fn to_record(
        &self,
        state_timestamp: Timestamp,
        mut assignment_of: impl FnMut(&Member) -> Bytes,
    ) -> GroupMetadata {
        let protocol = self.protocol.as_deref().unwrap_or("");
        GroupMetadata {
            protocol_type: self.protocol_type.clone(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_timestamp,
            members: self
                .members
                .values()
                .map(|member| member.to_record(protocol, assignment_of(member)))
                .collect(),
        }
    }

    /// Makes a record part of the step and of the state.
    pub(super) fn persist(&mut self, cx: &mut Context<'_>, value: GroupMetadata) {
        self.replay(&value);
        cx.step.records.push(Record::GroupMetadata { group: cx.group.clone(), value: Some(value) });
    }

    /// Moves to another state.
    pub(super) fn become_state(&mut self, now: Timestamp, next: State) {
        assert!(self.state.may_become(next), "{:?} cannot become {next:?}", self.state);
        self.state = next;
        self.state_since = now;
    }

    /// Adds a member, which may have a parked `JoinGroup`.
    pub(super) fn insert_member(&mut self, member: Member) {
        self.pending.remove(&member.id);
        self.joined += usize::from(member.join.is_some());
        self.count_protocols(&member.protocols, true);
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), member.id.clone());
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        let before = self.members.insert(member.id.clone(), member);
        assert!(before.is_none(), "a member is added once");
    }

    /// Takes a member out; its parked requests are the caller's to answer.
    pub(super) fn remove_member(&mut self, id: &MemberId) -> Option<Member> {
        let member = self.members.remove(id)?;
        self.joined -= usize::from(member.join.is_some());
        self.count_protocols(&member.protocols, false);
        self.unsynced.remove(id);
        if let Some(instance) = &member.instance
            && self.statics.get(instance) == Some(id)
        {
            self.statics.remove(instance);
        }
        if self.leader.as_ref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// Takes a member out and answers what it has parked.
    pub(super) fn drop_member(&mut self, cx: &mut Context<'_>, id: &MemberId) {
        if let Some(member) = self.remove_member(id) {
            if let Some(request) = member.join {
                let reply = JoinReply::refused(MemberId::none(), JoinError::UnknownMember);
                cx.step.reply(request, Reply::Join(reply));
            }
            if let Some(request) = member.sync {
                cx.step.reply(request, Reply::Sync(Err(SyncError::UnknownMember)));
            }
        }
    }

    /// Gives a member new protocols.
    pub(super) fn set_protocols(&mut self, id: &MemberId, protocols: Vec<Protocol>) {
        let member = self.members.get_mut(id).expect("the caller looked it up");
        let before = std::mem::replace(&mut member.protocols, protocols.clone());
        self.count_protocols(&before, false);
        self.count_protocols(&protocols, true);
    }

    fn count_protocols(&mut self, protocols: &[Protocol], more: bool) {
        let bytes = metadata_bytes(protocols);
        if more {
            self.metadata_bytes += bytes;
        } else {
            self.metadata_bytes -= bytes;
        }
        for protocol in protocols {
            if more {
                *self.supported.entry(protocol.name.clone()).or_default() += 1;
            } else {
                let count = self.supported.get_mut(&protocol.name).expect("C6");
                *count -= 1;
                if *count == 0 {
                    self.supported.remove(&protocol.name);
                }
            }
        }
    }

    /// Whether every member supports a protocol.
    pub(super) fn all_support(&self, name: &str) -> bool {
        self.supported.get(name).copied().unwrap_or(0) == self.members.len()
    }

    /// The protocol that all members support and most prefer; among equals, the one that the
    /// leader prefers. There are members, and admission kept one protocol in common.
    pub(super) fn elect_protocol(&self) -> Box<str> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let choice = member.protocols.iter().find(|protocol| self.all_support(&protocol.name));
            *votes.entry(&choice.expect("one in common").name).or_default() += 1;
        }
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id)).expect("C4");
        let mut best: (usize, &str) = (0, "");
        for protocol in &leader.protocols {
            let count = votes.get(protocol.name.as_ref()).copied().unwrap_or(0);
            if best.0 < count {
                best = (count, &protocol.name);
            }
        }
        assert!(best.0 > 0, "the leader votes too");
        best.1.into()
    }

    /// The longest time that a member may take to rejoin.
    pub(super) fn rebalance_timeout_ms(&self) -> i64 {
        let longest = self.members.values().map(|member| member.rebalance_timeout_ms).max();
        i64::from(longest.unwrap_or(0).max(0))
    }

    /// Topics that the members subscribe to; `None` if that cannot be told.
    pub(super) fn read_subscriptions(&self) -> Option<BTreeSet<Box<str>>> {
        if !self.is_of_consumers() {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let metadata = member.metadata(self.protocol.as_deref()?);
            topics.extend(subscription::topics(&metadata)?);
        }
        Some(topics)
    }

    /// Notes what the members of a new generation subscribe to.
    pub(super) fn refresh_subscriptions(&mut self) {
        self.subscribed = self.read_subscriptions();
    }

    /// The earliest time at which the group has something to do.
    pub(in crate::group) fn next_deadline(&self) -> Option<Timestamp> {
        let join = self.join_timer.map(|timer| match timer {
            JoinTimer::Initial { deadline, .. } | JoinTimer::Rebalance { deadline } => deadline,
        });
        let sessions = self.members.values().map(|member| member.session_deadline);
        let earliest = sessions.chain(self.pending.values().copied()).chain(join);
        earliest.chain(self.sync_deadline).min().filter(|deadline| deadline.0 < i64::MAX)
    }

    /// Panics if an invariant does not hold.
    pub(in crate::group) fn assert_invariants(&self) {
        let idle = matches!(self.state, State::Empty | State::Dead);
        assert!(!idle || self.members.is_empty(), "C1: {:?} has members", self.state);
        let running = matches!(self.state, State::CompletingRebalance | State::Stable);
        assert!(!running || !self.members.is_empty(), "C1: {:?} without members", self.state);
        let preparing = self.state == State::PreparingRebalance;
        assert!(preparing || self.joined == 0, "C2");
        assert_eq!(preparing, self.join_timer.is_some(), "a rebalance has a deadline");
        let leader = self.leader.as_ref();
        assert!(leader.is_none_or(|leader| self.members.contains_key(leader)), "C4");
        assert!(leader.is_some() || self.members.is_empty(), "C4");
    }

    /// The slow half of the invariants, for simulations.
    #[cfg(test)]
    pub(in crate::group) fn assert_counts(&self) {
        let waiting = self.members.values().filter(|member| member.join.is_some()).count();
        assert_eq!(self.joined, waiting, "C2");
        let bytes: usize = self.members.values().map(Member::metadata_bytes).sum();
        assert_eq!(self.metadata_bytes, bytes);
        let syncing = self.members.values().any(|member| member.sync.is_some());
        assert!(!syncing || self.state == State::CompletingRebalance, "C3");
        let statics = self.members.values().filter(|member| member.instance.is_some()).count();
        assert_eq!(self.statics.len(), statics, "C4");
        for (instance, id) in &self.statics {
            assert_eq!(self.members[id].instance.as_ref(), Some(instance), "C4");
        }
        for (name, count) in &self.supported {
            let supports =
                |member: &&Member| member.protocols.iter().any(|known| known.name == *name);
            assert_eq!(self.members.values().filter(supports).count(), *count, "C6");
        }
        assert!(self.pending.keys().all(|id| !self.members.contains_key(id)));
        assert!(self.unsynced.iter().all(|id| self.members.contains_key(id)));
    }
}
