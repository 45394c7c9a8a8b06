//! How far groups have read, for those who watch them.
//!
//! In:   a group's name, or where to go on in the order of names.
//! Out:  committed positions, a bounded number at once.
//! Home: pure; part of the group coordinator.
//!
//! Not here: how far the partitions go, which their owners know.

use std::ops::Bound;
use std::sync::Arc;

use crate::group::coordinator::{Group, GroupCoordinator};
use crate::group::ids::GroupId;
use crate::model::ids::{PartitionIndex, TopicId};
use crate::model::offset::Offset;

/// Groups that one page looks at; the rest is on the pages that follow.
pub const GROUPS_PER_PAGE_MAX: usize = 1_000;
/// A page ends with the group that reaches so many positions.
pub const POSITIONS_PER_PAGE: usize = 5_000;

/// A committed position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The topic's name.
    pub topic: Arc<str>,
    /// Its id, if it was known, or zero.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// The next offset to read.
    pub offset: Offset,
}

/// A group and how far it has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPositions {
    /// Its id.
    pub id: GroupId,
    /// Whether somebody is in it.
    pub has_members: bool,
    /// Its positions, by topic and partition.
    pub positions: Vec<Position>,
}

/// Groups in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PositionsPage {
    /// Those of this page that have a position.
    pub groups: Vec<GroupPositions>,
    /// The last group that was looked at, after which the next page begins; none: that was all.
    pub next: Option<GroupId>,
}

impl GroupCoordinator {
    /// How far a group has read; none if it is not there.
    pub fn group_positions(&self, id: &GroupId) -> Option<GroupPositions> {
        self.groups.get(id).map(|group| group.positions(id))
    }

    /// The groups that follow `after`, or the first ones.
    pub fn positions_page(&self, after: Option<&GroupId>) -> PositionsPage {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.groups.range::<GroupId, _>((from, Bound::Unbounded));
        let (mut page, mut count) = (PositionsPage::default(), 0);
        for (id, group) in rest.by_ref().take(GROUPS_PER_PAGE_MAX) {
            page.next = Some(id.clone());
            if !group.offsets.is_empty() {
                let positions = group.positions(id);
                count += positions.positions.len();
                page.groups.push(positions);
            }
            if count >= POSITIONS_PER_PAGE {
                break;
            }
        }
        if rest.next().is_none() {
            page.next = None;
        }
        page
    }
}

impl Group {
    fn positions(&self, id: &GroupId) -> GroupPositions {
        let mut positions = Vec::with_capacity(self.offsets.count());
        for (topic, of_topic) in self.offsets.iter() {
            positions.extend(of_topic.map(|(partition, at)| Position {
                topic: topic.clone(),
                topic_id: at.topic_id,
                partition,
                offset: at.offset,
            }));
        }
        GroupPositions { id: id.clone(), has_members: !self.is_empty(), positions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::commit::CommitRequest;
    use crate::group::fixtures::{Bench, group, newcomer, simple_commit};

    fn commit(bench: &mut Bench, id: &str, partitions: i32) {
        let mut request = CommitRequest { group: id.into(), ..simple_commit(0, 7) };
        let one = request.topics[0].partitions[0].clone();
        request.topics[0].partitions = (0..partitions)
            .map(|index| {
                let partition = PartitionIndex(index);
                crate::group::commit::CommitPartition { partition, ..one.clone() }
            })
            .collect();
        bench.run(|core, now, step| core.commit_offsets(now, &request, step)).expect("accepted");
    }

    #[test]
    fn pages_have_each_group_once_in_the_order_of_names() {
        let mut bench = Bench::new();
        assert_eq!(bench.core.positions_page(None), PositionsPage::default());
        let names: Vec<String> = (0..2 * GROUPS_PER_PAGE_MAX).map(|n| format!("g{n:05}")).collect();
        names.iter().for_each(|name| commit(&mut bench, name, 1));
        let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = bench.core.positions_page(after.as_ref());
            assert!(page.groups.len() <= GROUPS_PER_PAGE_MAX);
            seen.extend(page.groups.into_iter().map(|group| group.id.as_str().to_owned()));
            pages += 1;
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!((seen, pages), (names, 2));
    }

    #[test]
    fn a_page_ends_with_the_group_that_fills_it() {
        let mut bench = Bench::new();
        let many = i32::try_from(POSITIONS_PER_PAGE).expect("fits");
        commit(&mut bench, "a", many - 1);
        commit(&mut bench, "b", 2);
        commit(&mut bench, "c", 1);
        let page = bench.core.positions_page(None);
        let names: Vec<&str> = page.groups.iter().map(|group| group.id.as_str()).collect();
        assert_eq!((names, page.next), (vec!["a", "b"], Some("b".into())));
    }

    #[test]
    fn a_group_is_told_with_its_members_and_positions() {
        let mut bench = Bench::new();
        assert_eq!(bench.core.group_positions(&group()), None);
        commit(&mut bench, group().as_str(), 2);
        let idle = bench.core.group_positions(&group()).expect("there");
        let at: Vec<(i32, i64)> =
            idle.positions.iter().map(|at| (at.partition.0, at.offset.0)).collect();
        assert_eq!((idle.has_members, at), (false, vec![(0, 7), (1, 7)]));
        bench.stable(vec![newcomer("a")]);
        assert!(bench.core.group_positions(&group()).expect("there").has_members);
    }
}
