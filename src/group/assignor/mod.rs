//! Server-side assignors: who reads which partitions of a KIP-848 group.
//!
//! In:   members with their subscriptions and what they have; topics with their partitions.
//! Out:  an assignment for each member.
//! Home: pure.
//!
//! Invariants
//!   A1  Each partition of a topic that somebody subscribes to is assigned exactly once.
//!   A2  A member is assigned only what it subscribes to.
//!   A3  `uniform` balances as well as the subscriptions allow, and where all subscribe to the
//!       same, moves as few partitions as such a balance allows.
//!   A4  `range` gives each member a contiguous range of each topic, sizes within one, and the
//!       same range of topics that have the same subscribers and partitions.
//!
//! Not here: racks. All brokers that there are so far are one.
//! Source: KIP-848; `protocol.md` P90.

pub mod range;
pub mod uniform;

use std::collections::{BTreeMap, BTreeSet};

use crate::group::ids::{InstanceId, MemberId};
use crate::model::ids::{PartitionIndex, TopicId};

/// Partitions of each topic.
pub type Assignment = BTreeMap<TopicId, BTreeSet<PartitionIndex>>;

/// What a member wants, and what it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberSpec {
    /// Its instance id, if it is static.
    pub instance: Option<InstanceId>,
    /// The topics it subscribes to; those that do not exist are left out.
    pub topics: BTreeSet<TopicId>,
    /// What it was to have so far.
    pub owned: Assignment,
}

/// What is to be assigned, and to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSpec {
    /// The members.
    pub members: BTreeMap<MemberId, MemberSpec>,
    /// Partitions of each topic that a member subscribes to.
    pub topics: BTreeMap<TopicId, i32>,
}

/// An assignor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignor {
    /// Spreads all partitions evenly, and moves few.
    Uniform,
    /// Spreads each topic by ranges, the same for topics alike.
    Range,
}

impl Assignor {
    /// Those that there are, the default first.
    pub const ALL: [Assignor; 2] = [Assignor::Uniform, Assignor::Range];

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    /// The assignor of this name.
    pub fn named(name: &str) -> Option<Assignor> {
        Assignor::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// Assigns every partition (A1, A2). Members without partitions are in the result too.
    pub fn assign(self, group: &GroupSpec) -> BTreeMap<MemberId, Assignment> {
        match self {
            Assignor::Uniform => uniform::assign(group),
            Assignor::Range => range::assign(group),
        }
    }
}

impl GroupSpec {
    /// Partitions of a topic, from 0.
    pub(super) fn partitions(&self, topic: TopicId) -> impl Iterator<Item = PartitionIndex> {
        let count = self.topics.get(&topic).copied().unwrap_or(0);
        (0..count).map(PartitionIndex)
    }
}

#[cfg(test)]
mod properties;
