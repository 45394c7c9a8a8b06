//! What the group coordinator writes to its partition: typed keys and values.
//!
//! In:   decisions of the core; records read back by the driver.
//! Out:  [`Record`], of which the last one of each key is the state.
//! Home: pure.
//!
//! Not here: their bytes, which are Kafka's (`crate::protocol`).
//! Source: Kafka 4.3 `OffsetCommitKey/Value`, `GroupMetadataKey/Value`, `ConsumerGroup*`.

use std::sync::Arc;

use bytes::Bytes;

use crate::group::assignor::Assignment;
use crate::group::consumer;
use crate::group::consumer::group::{GroupEpoch, TargetEpoch};
use crate::group::consumer::member::CurrentAssignment;
use crate::group::consumer::topics::ResolvedRegex;
use crate::group::ids::{GroupId, InstanceId, MemberId};
use crate::group::offsets::CommittedOffset;
use crate::model::ids::PartitionIndex;
use crate::model::time::Timestamp;

/// One record of `__consumer_offsets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A position of a group in a partition.
    OffsetCommit {
        /// Whose, and where.
        key: OffsetKey,
        /// The position; none (a tombstone) if it is forgotten.
        value: Option<CommittedOffset>,
    },
    /// A classic group's generation and its members.
    GroupMetadata {
        /// Whose.
        group: GroupId,
        /// The generation; none (a tombstone) if the group is gone.
        value: Option<GroupMetadata>,
    },
    /// A part of a KIP-848 group.
    Consumer {
        /// Whose.
        group: GroupId,
        /// Which part.
        record: ConsumerRecord,
    },
}

/// One part of a KIP-848 group; without a value it is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerRecord {
    /// `ConsumerGroupMetadata`: the group's epoch; its tombstone ends the group.
    Epoch(Option<GroupEpoch>),
    /// `ConsumerGroupMemberMetadata`: a member; its tombstone is the last of that member.
    Member {
        /// Which.
        member: MemberId,
        /// What it says about itself.
        value: Option<consumer::member::MemberMetadata>,
    },
    /// `ConsumerGroupTargetAssignmentMetadata`: the target's epoch.
    TargetEpoch(Option<TargetEpoch>),
    /// `ConsumerGroupTargetAssignmentMember`: what a member is to have.
    Target {
        /// Which.
        member: MemberId,
        /// Its partitions.
        value: Option<Assignment>,
    },
    /// `ConsumerGroupCurrentMemberAssignment`: what a member has.
    Current {
        /// Which.
        member: MemberId,
        /// Its partitions and epochs.
        value: Option<CurrentAssignment>,
    },
    /// `ConsumerGroupRegularExpression`: topics that an expression chose.
    Regex {
        /// The expression.
        regex: Box<str>,
        /// Its topics.
        value: Option<ResolvedRegex>,
    },
}

impl ConsumerRecord {
    /// Whether it is a tombstone.
    pub fn is_tombstone(&self) -> bool {
        match self {
            ConsumerRecord::Epoch(value) => value.is_none(),
            ConsumerRecord::Member { value, .. } => value.is_none(),
            ConsumerRecord::TargetEpoch(value) => value.is_none(),
            ConsumerRecord::Target { value, .. } => value.is_none(),
            ConsumerRecord::Current { value, .. } => value.is_none(),
            ConsumerRecord::Regex { value, .. } => value.is_none(),
        }
    }
}

/// Key of a committed offset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OffsetKey {
    /// The group.
    pub group: GroupId,
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: PartitionIndex,
}

/// Value of a classic group's record: one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadata {
    /// `consumer`, `connect`, ...; none of a group that nobody has joined.
    pub protocol_type: Option<Box<str>>,
    /// The generation's number, from 0.
    pub generation: i32,
    /// The protocol that its members agreed on; none if it has no members.
    pub protocol: Option<Box<str>>,
    /// Who assigned; none if it has no members.
    pub leader: Option<MemberId>,
    /// When the group came to its state, or [`Timestamp::NONE`].
    pub state_timestamp: Timestamp,
    /// Its members, by id.
    pub members: Vec<MemberMetadata>,
}

/// A member as a classic group's record has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberMetadata {
    /// Its id.
    pub id: MemberId,
    /// Its instance id, if it is static.
    pub instance: Option<InstanceId>,
    /// Its client id.
    pub client_id: Box<str>,
    /// Where it connects from, as Kafka prints it.
    pub client_host: Box<str>,
    /// How long it may take to rejoin, in milliseconds.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent, in milliseconds.
    pub session_timeout_ms: i32,
    /// What it sent along with the protocol that was chosen.
    pub subscription: Bytes,
    /// What the leader assigned to it.
    pub assignment: Bytes,
}

/// More than the bytes of a member's fixed fields and length prefixes in a record.
const MEMBER_BYTES_FIXED: usize = 64;

impl GroupMetadata {
    /// The value of a group that nobody has joined yet.
    pub fn unjoined(state_timestamp: Timestamp) -> GroupMetadata {
        GroupMetadata {
            protocol_type: None,
            generation: 0,
            protocol: None,
            leader: None,
            state_timestamp,
            members: Vec::new(),
        }
    }

    /// Whether it says that nobody has joined yet.
    pub fn is_unjoined(&self) -> bool {
        *self == GroupMetadata::unjoined(self.state_timestamp)
    }

    /// An upper bound of the record's bytes, key included, for a group named `group`.
    pub fn bytes_bound(&self, group: &GroupId) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        let fixed = MEMBER_BYTES_FIXED
            + group.as_str().len()
            + text(&self.protocol_type)
            + text(&self.protocol)
            + self.leader.as_ref().map_or(0, |leader| leader.as_str().len());
        self.members.iter().map(MemberMetadata::bytes_bound).sum::<usize>() + fixed
    }
}

impl MemberMetadata {
    fn bytes_bound(&self) -> usize {
        MEMBER_BYTES_FIXED
            + self.id.as_str().len()
            + self.instance.as_ref().map_or(0, |instance| instance.as_str().len())
            + self.client_id.len()
            + self.client_host.len()
            + self.subscription.len()
            + self.assignment.len()
    }
}
