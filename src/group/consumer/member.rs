//! A member of a KIP-848 group.
//!
//! In:   its heartbeats, by records.
//! Out:  -
//! Home: pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::group::assignor::Assignment;
use crate::group::classic::member::Protocol;
use crate::group::ids::{InstanceId, MemberId};
use crate::model::ids::{PartitionIndex, TopicId};
use crate::model::time::Timestamp;

/// Epoch of a member that has just come, in its first heartbeat.
pub const EPOCH_JOIN: i32 = 0;
/// Epoch with which a member leaves.
pub const EPOCH_LEAVE: i32 = -1;
/// Epoch with which a static member leaves to come back.
pub const EPOCH_LEAVE_STATIC: i32 = -2;

/// Partitions of each topic, each with the epoch at which the member was assigned it.
pub type Held = BTreeMap<TopicId, BTreeMap<PartitionIndex, i32>>;

/// How far a member is on its way to its target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberState {
    /// It is there.
    #[default]
    Stable,
    /// It has to give up partitions first.
    UnrevokedPartitions,
    /// It waits for partitions that others have to give up.
    UnreleasedPartitions,
}

/// What a member says about itself: a record's value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberMetadata {
    /// Its instance id, if it is static.
    pub instance: Option<InstanceId>,
    /// Where it is.
    pub rack: Option<Box<str>>,
    /// Its client id.
    pub client_id: Box<str>,
    /// Where it connects from.
    pub client_host: Box<str>,
    /// Topics it names.
    pub topics: BTreeSet<Box<str>>,
    /// An expression for topics it does not name, or none.
    pub regex: Option<Box<str>>,
    /// How long it may take to give up partitions, in milliseconds.
    pub rebalance_timeout_ms: i32,
    /// The assignor that it wants, if it has a wish.
    pub assignor: Option<Box<str>>,
    /// What it says besides, if it speaks the classic protocol.
    pub classic: Option<ClassicMember>,
}

/// What a member of the classic protocol says besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassicMember {
    /// How long it may be silent, in milliseconds.
    pub session_timeout_ms: i32,
    /// What it supports, by preference.
    pub protocols: Vec<Protocol>,
}

/// What a member has, and how it came to it: a record's value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CurrentAssignment {
    /// The epoch it has come to; [`EPOCH_LEAVE_STATIC`] while a static member is away.
    pub epoch: i32,
    /// The epoch before, with which it may repeat itself if an answer was lost.
    pub previous_epoch: i32,
    /// How far it is.
    pub state: MemberState,
    /// What it has.
    pub assigned: Held,
    /// What it has to give up.
    pub revoking: Held,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub(super) id: MemberId,
    pub(super) metadata: MemberMetadata,
    pub(super) current: CurrentAssignment,
    /// It is fenced at this time, unless it is heard of.
    pub(super) session_deadline: Timestamp,
    /// It is fenced at this time, unless it has given up what it has to, and the epoch it had
    /// when that was asked of it.
    pub(super) revocation: Option<(Timestamp, i32)>,
    /// A member of the classic protocol is fenced at this time, unless it takes its next step:
    /// asks for its assignment, or joins again.
    pub(super) classic_deadline: Option<Timestamp>,
}

impl Member {
    /// A member of which nothing is known but its id.
    pub(super) fn new(id: MemberId) -> Member {
        Member {
            id,
            metadata: MemberMetadata { rebalance_timeout_ms: -1, ..MemberMetadata::default() },
            current: CurrentAssignment::default(),
            session_deadline: Timestamp(i64::MAX),
            revocation: None,
            classic_deadline: None,
        }
    }

    /// Its id.
    pub fn id(&self) -> &MemberId {
        &self.id
    }

    /// What it says about itself.
    pub fn metadata(&self) -> &MemberMetadata {
        &self.metadata
    }

    /// What it has.
    pub fn current(&self) -> &CurrentAssignment {
        &self.current
    }
}

/// Partitions without their epochs.
pub fn without_epochs(held: &Held) -> Assignment {
    held.iter().map(|(topic, partitions)| (*topic, partitions.keys().copied().collect())).collect()
}

/// Whether every partition of `part` is among `whole`.
pub(super) fn is_within(part: &Assignment, whole: &Held) -> bool {
    part.iter().all(|(topic, partitions)| {
        partitions.is_empty()
            || whole
                .get(topic)
                .is_some_and(|held| partitions.iter().all(|index| held.contains_key(index)))
    })
}
