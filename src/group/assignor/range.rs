//! The `range` assignor: contiguous ranges of each topic, in the order of members.
//!
//! In:   a [`GroupSpec`].
//! Out:  an assignment for each member (A4).
//! Home: pure.
//!
//! The order is by instance id, then by member id, so that a static member keeps its ranges
//! when it returns under another id. Topics with the same subscribers and as many partitions
//! are cut alike, which is what joins of such topics rest on.
//!
//! Source: Kafka's `RangeAssignor`, KIP-848.

use std::collections::BTreeMap;

use crate::group::assignor::{Assignment, GroupSpec};
use crate::group::ids::MemberId;
use crate::model::ids::TopicId;

/// Assigns every partition by ranges.
pub(super) fn assign(group: &GroupSpec) -> BTreeMap<MemberId, Assignment> {
    let mut assigned: BTreeMap<MemberId, Assignment> =
        group.members.keys().map(|id| (id.clone(), Assignment::new())).collect();
    let mut ordered: Vec<&MemberId> = group.members.keys().collect();
    ordered.sort_by_key(|id| {
        let instance = group.members[*id].instance.as_ref();
        (instance.is_none(), instance.cloned(), (*id).clone())
    });
    for topic in group.topics.keys() {
        let subscribers = ordered.iter().filter(|id| group.members[**id].topics.contains(topic));
        let subscribers: Vec<&MemberId> = subscribers.copied().collect();
        assign_topic(group, *topic, &subscribers, &mut assigned);
    }
    assigned
}

fn assign_topic(
    group: &GroupSpec,
    topic: TopicId,
    subscribers: &[&MemberId],
    assigned: &mut BTreeMap<MemberId, Assignment>,
) {
    let mut partitions = group.partitions(topic).peekable();
    let count = group.partitions(topic).count();
    for (at, id) in subscribers.iter().enumerate() {
        let extra = usize::from(at < count % subscribers.len());
        let range: std::collections::BTreeSet<_> =
            partitions.by_ref().take(count / subscribers.len() + extra).collect();
        if !range.is_empty() {
            assigned.get_mut(*id).expect("every member has one").insert(topic, range);
        }
    }
    assert!(subscribers.is_empty() || partitions.peek().is_none(), "A1");
}
