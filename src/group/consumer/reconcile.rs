//! How a member comes from what it has to what it is to have.
//!
//! In:   a member, its target, who holds which partition, what it says it owns.
//! Out:  its next [`CurrentAssignment`].
//! Home: pure; no state of its own.
//!
//! Invariants
//!   R1  A partition is given to a member only when nobody holds it.
//!   R2  A member comes to the target's epoch only when it has given up all that it has to.
//!
//! A member first gives up what its target lacks (`UnrevokedPartitions`), and is believed when
//! its heartbeat no longer names it. Then it comes to the target's epoch and is given what is
//! free; for the rest it waits (`UnreleasedPartitions`), asking with every heartbeat.
//!
//! Source: KIP-848; Kafka's `CurrentAssignmentBuilder`.

use std::collections::{BTreeMap, BTreeSet};

use crate::group::assignor::Assignment;
use crate::group::consumer::member::{CurrentAssignment, Held, MemberState};
use crate::model::ids::{PartitionIndex, TopicId};

/// What a member is to come to.
#[derive(Debug)]
pub(super) struct Target<'a> {
    /// The target's epoch.
    pub epoch: i32,
    /// What it is to have.
    pub assignment: &'a Assignment,
    /// The topics that it subscribes to now: it keeps nothing of others.
    pub subscribed: &'a BTreeSet<TopicId>,
    /// What its heartbeat says it owns; `None` if the heartbeat says nothing.
    pub owned: Option<&'a Assignment>,
    /// Whether its subscription has just changed.
    pub subscription_changed: bool,
}

impl Target<'_> {
    /// Whether the member still owns some of these, for all that is known.
    fn still_owns(&self, revoking: &Held) -> bool {
        let Some(owned) = self.owned else { return true };
        revoking.iter().any(|(topic, partitions)| {
            let owned = owned.get(topic);
            owned.is_some_and(|owned| owned.iter().any(|index| partitions.contains_key(index)))
        })
    }
}

/// The member's next state; the same if it cannot go on. `is_held` says whether anybody holds
/// a partition, the member itself included.
pub(super) fn next(
    current: &CurrentAssignment,
    target: &Target<'_>,
    is_held: &dyn Fn(TopicId, PartitionIndex) -> bool,
) -> CurrentAssignment {
    match current.state {
        MemberState::Stable if current.epoch == target.epoch => keep_subscribed(current, target),
        MemberState::UnrevokedPartitions if target.still_owns(&current.revoking) => {
            keep_subscribed(current, target)
        }
        _ => step(current, target, is_held),
    }
}

/// Takes from a member what it no longer subscribes to, and leaves the rest.
fn keep_subscribed(current: &CurrentAssignment, target: &Target<'_>) -> CurrentAssignment {
    let mut next = current.clone();
    if !target.subscription_changed {
        return next;
    }
    let gone: Held = std::mem::take(&mut next.assigned);
    let (kept, gone) = gone.into_iter().partition(|(topic, _)| target.subscribed.contains(topic));
    next.assigned = kept;
    let gone: Held = gone;
    if gone.is_empty() {
        return next;
    }
    for (topic, partitions) in gone {
        next.revoking.entry(topic).or_default().extend(partitions);
    }
    if target.still_owns(&next.revoking) {
        next.state = MemberState::UnrevokedPartitions;
    } else {
        next.revoking.clone_from(&current.revoking);
    }
    next
}

fn step(
    current: &CurrentAssignment,
    target: &Target<'_>,
    is_held: &dyn Fn(TopicId, PartitionIndex) -> bool,
) -> CurrentAssignment {
    let nothing = BTreeSet::new();
    let (mut kept, mut revoking, mut fresh) = (Held::new(), Held::new(), Held::new());
    let mut unreleased = false;
    let topics: BTreeSet<&TopicId> =
        target.assignment.keys().chain(current.assigned.keys()).collect();
    for topic in topics {
        let wanted = target.assignment.get(topic).filter(|_| target.subscribed.contains(topic));
        let wanted = wanted.unwrap_or(&nothing);
        let held = current.assigned.get(topic);
        for (index, epoch) in held.into_iter().flatten() {
            let into = if wanted.contains(index) { &mut kept } else { &mut revoking };
            into.entry(*topic).or_default().insert(*index, *epoch);
        }
        for index in wanted.iter().filter(|index| held.is_none_or(|held| !held.contains_key(index)))
        {
            // What the member itself was asked to give up, and has, is free for it.
            let own = current.revoking.get(topic).is_some_and(|of| of.contains_key(index));
            if is_held(*topic, *index) && !own {
                unreleased = true;
            } else {
                fresh.entry(*topic).or_default().insert(*index, target.epoch);
            }
        }
    }
    if !revoking.is_empty() && target.still_owns(&revoking) {
        return CurrentAssignment {
            state: MemberState::UnrevokedPartitions,
            assigned: kept,
            revoking,
            // The epoch stays (R2), and is now one that an answer has carried.
            previous_epoch: current.epoch,
            ..*current
        };
    }
    for (topic, partitions) in fresh {
        kept.entry(topic).or_default().extend(partitions);
    }
    CurrentAssignment {
        epoch: target.epoch,
        previous_epoch: current.epoch,
        state: if unreleased { MemberState::UnreleasedPartitions } else { MemberState::Stable },
        assigned: kept,
        revoking: BTreeMap::new(),
    }
}
