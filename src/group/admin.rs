//! What administrators ask of groups: list, describe, delete.
//!
//! In:   `ListGroups`, `DescribeGroups`, `DeleteGroups`.
//! Out:  descriptions; tombstones.
//! Home: pure; part of the group coordinator.
//!
//! Source: KIP-518 (state filter), KIP-848 (type filter), KIP-1043; `protocol.md` P89.

use bytes::Bytes;

use crate::group::assignor::Assignment;
use crate::group::classic::member::Member;
use crate::group::classic::state::State;
use crate::group::consumer::group::ConsumerState;
use crate::group::consumer::member::{MemberMetadata, without_epochs};
use crate::group::coordinator::{Group, GroupCoordinator, Kind};
use crate::group::ids::{GroupId, InstanceId, MemberId};
use crate::group::record::Record;
use crate::group::step::Step;
use crate::group::subscription::CONSUMER_PROTOCOL_TYPE;
use crate::model::ids::{PartitionIndex, TopicId};

/// The kinds of groups, as `ListGroups` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupType {
    /// `classic`.
    Classic,
    /// `consumer`: KIP-848.
    Consumer,
}

impl GroupType {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            GroupType::Classic => "classic",
            GroupType::Consumer => "consumer",
        }
    }
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// Its id.
    pub id: GroupId,
    /// Its protocol type; empty if nobody has joined.
    pub protocol_type: Box<str>,
    /// Its state's name.
    pub state: &'static str,
    /// Its kind.
    pub kind: GroupType,
}

/// A classic group, described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its state.
    pub state: State,
    /// Its protocol type; empty if nobody has joined.
    pub protocol_type: Box<str>,
    /// Its protocol; empty unless it is stable.
    pub protocol: Box<str>,
    /// Its members; their metadata and assignments are empty unless it is stable.
    pub members: Vec<DescribedMember>,
}

/// A member, described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub id: MemberId,
    /// Its instance id, if it is static.
    pub instance: Option<InstanceId>,
    /// Its client id.
    pub client_id: Box<str>,
    /// Where it connects from.
    pub client_host: Box<str>,
    /// What it sent with the group's protocol.
    pub metadata: Bytes,
    /// What was assigned to it.
    pub assignment: Bytes,
}

/// A KIP-848 group, described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerDescription {
    /// Its state's name.
    pub state: &'static str,
    /// Its epoch.
    pub epoch: i32,
    /// The epoch of its target.
    pub target_epoch: i32,
    /// The assignor that its target is computed by.
    pub assignor: &'static str,
    /// Its members, by id.
    pub members: Vec<DescribedConsumer>,
}

/// A member of a KIP-848 group, described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedConsumer {
    /// Its id.
    pub id: MemberId,
    /// What it says about itself.
    pub metadata: MemberMetadata,
    /// Its epoch.
    pub epoch: i32,
    /// What it has.
    pub assigned: Vec<DescribedTopic>,
    /// What it is to have.
    pub target: Vec<DescribedTopic>,
}

/// Partitions of a topic, described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedTopic {
    /// The topic's id.
    pub id: TopicId,
    /// Its name.
    pub name: Box<str>,
    /// The partitions.
    pub partitions: Vec<PartitionIndex>,
}

/// Why a group is not deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteGroupError {
    /// There is no such group: GROUP_ID_NOT_FOUND.
    NoGroup,
    /// It has members, or a rebalance runs: NON_EMPTY_GROUP.
    NonEmpty,
}

impl Group {
    /// Whether it has no members and nobody is joining.
    pub(super) fn is_empty(&self) -> bool {
        match &self.kind {
            Kind::Simple => true,
            Kind::Classic(classic) => classic.state() == State::Empty,
            Kind::Consumer(consumer) => consumer.state() == ConsumerState::Empty,
        }
    }

    fn state_name(&self) -> &'static str {
        match &self.kind {
            Kind::Simple => State::Empty.name(),
            Kind::Classic(classic) => classic.state().name(),
            Kind::Consumer(consumer) => consumer.state().name(),
        }
    }

    fn group_type(&self) -> GroupType {
        match &self.kind {
            Kind::Simple | Kind::Classic(_) => GroupType::Classic,
            Kind::Consumer(_) => GroupType::Consumer,
        }
    }

    /// Whether somebody was given an id and may join with it.
    pub(super) fn has_pending_members(&self) -> bool {
        match &self.kind {
            Kind::Simple | Kind::Consumer(_) => false,
            Kind::Classic(classic) => classic.has_pending_members(),
        }
    }

    /// Whether its members are consumers.
    pub(super) fn is_of_consumers(&self) -> bool {
        match &self.kind {
            Kind::Simple => false,
            Kind::Classic(classic) => classic.is_of_consumers(),
            Kind::Consumer(_) => true,
        }
    }

    /// Whether a member reads a topic, as far as the broker can tell.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.kind {
            Kind::Simple => false,
            Kind::Classic(classic) => classic.is_subscribed_to(topic),
            Kind::Consumer(consumer) => consumer.is_subscribed_to(topic),
        }
    }

    fn protocol_type(&self) -> &str {
        match &self.kind {
            Kind::Simple => "",
            Kind::Classic(classic) => classic.protocol_type().unwrap_or(""),
            Kind::Consumer(_) => CONSUMER_PROTOCOL_TYPE,
        }
    }

    fn describe(&self) -> Option<Description> {
        let state = match &self.kind {
            Kind::Simple => State::Empty,
            Kind::Classic(classic) => classic.state(),
            Kind::Consumer(_) => return None,
        };
        let mut description = Description {
            state,
            protocol_type: self.protocol_type().into(),
            protocol: "".into(),
            members: Vec::new(),
        };
        let Kind::Classic(classic) = &self.kind else { return Some(description) };
        let stable = state == State::Stable;
        let protocol = classic.protocol().filter(|_| stable).unwrap_or("");
        description.protocol = protocol.into();
        description.members =
            classic.members().map(|member| member.describe(stable.then_some(protocol))).collect();
        Some(description)
    }
}

impl Member {
    /// The member with its data under `protocol`, or without data.
    fn describe(&self, protocol: Option<&str>) -> DescribedMember {
        DescribedMember {
            id: self.id().clone(),
            instance: self.instance().cloned(),
            client_id: self.client_id().into(),
            client_host: self.client_host().into(),
            metadata: protocol.map_or_else(Bytes::new, |protocol| self.metadata(protocol)),
            assignment: protocol.map_or_else(Bytes::new, |_| self.assignment().clone()),
        }
    }
}

impl GroupCoordinator {
    /// Answers `ListGroups`: groups in one of these states and of one of these kinds, both by
    /// name in any case; an empty filter lets everything pass.
    pub fn list_groups(&self, states: &[Box<str>], kinds: &[Box<str>]) -> Vec<ListedGroup> {
        let passes = |filter: &[Box<str>], name: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        let listed = self.groups.iter().map(|(id, group)| ListedGroup {
            id: id.clone(),
            protocol_type: group.protocol_type().into(),
            state: group.state_name(),
            kind: group.group_type(),
        });
        listed
            .filter(|group| passes(states, group.state) && passes(kinds, group.kind.name()))
            .collect()
    }

    /// Answers `DescribeGroups`; none of a group that is not there, or not classic, which is
    /// described as [`State::Dead`], with GROUP_ID_NOT_FOUND from version 6 on.
    pub fn describe_group(&self, group: &GroupId) -> Option<Description> {
        self.groups.get(group).and_then(Group::describe)
    }

    /// Answers `ConsumerGroupDescribe` for one group; none of a group that is not there or of
    /// another kind, which is GROUP_ID_NOT_FOUND. Topics that are gone are left out.
    pub fn describe_consumer_group(&self, id: &GroupId) -> Option<ConsumerDescription> {
        let consumer = self.consumer_group(id)?;
        let named = |assignment: &Assignment| -> Vec<DescribedTopic> {
            let named = assignment.iter().filter_map(|(topic, partitions)| {
                let name = self.topics.name(*topic)?.into();
                let partitions = partitions.iter().copied().collect();
                Some(DescribedTopic { id: *topic, name, partitions })
            });
            named.collect()
        };
        let members = consumer.members().map(|member| DescribedConsumer {
            id: member.id().clone(),
            metadata: member.metadata().clone(),
            epoch: member.current().epoch,
            assigned: named(&without_epochs(&member.current().assigned)),
            target: consumer.target_of(member.id()).map(named).unwrap_or_default(),
        });
        Some(ConsumerDescription {
            state: consumer.state().name(),
            epoch: consumer.epoch(),
            target_epoch: consumer.target_epoch(),
            assignor: consumer.assignor(&self.settings).name(),
            members: members.collect(),
        })
    }

    /// Answers `DeleteGroups` for one group.
    ///
    /// Errors: [`DeleteGroupError`]; nothing has changed.
    pub fn delete_group(&mut self, id: &GroupId, step: &mut Step) -> Result<(), DeleteGroupError> {
        let group = self.groups.get(id).ok_or(DeleteGroupError::NoGroup)?;
        if !group.is_empty() {
            return Err(DeleteGroupError::NonEmpty);
        }
        self.bury(id, self.positions_of(id), step);
        self.end_group(id, step);
        Ok(())
    }

    /// Writes what ends a group that is empty.
    pub(super) fn end_group(&mut self, id: &GroupId, step: &mut Step) {
        match self.groups.get(id).map(|group| &group.kind) {
            Some(Kind::Consumer(_)) => self.end_empty_consumer(id, step),
            _ => {
                let value = None;
                self.persist(step, Record::GroupMetadata { group: id.clone(), value });
            }
        }
    }
}
