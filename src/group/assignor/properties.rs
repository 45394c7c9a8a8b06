//! Properties of the assignors over random groups, and against every possible assignment of
//! small ones.

use std::collections::{BTreeMap, BTreeSet};

use crate::group::assignor::{Assignment, Assignor, GroupSpec, MemberSpec};
use crate::group::ids::{InstanceId, MemberId};
use crate::model::ids::{PartitionIndex, TopicId};
use crate::testing::prng::Prng;
use crate::testing::seeds::seeds;

fn topic(number: usize) -> TopicId {
    let mut id = [0; 16];
    id[15] = u8::try_from(number + 1).unwrap();
    TopicId(id)
}

fn member(number: usize) -> MemberId {
    MemberId::from(format!("m{number:02}").as_str())
}

/// Members that all subscribe to all topics, or each to some.
fn group(
    prng: &mut Prng,
    members: usize,
    topics: usize,
    partitions: u64,
    alike: bool,
) -> GroupSpec {
    let mut group = GroupSpec::default();
    for number in 0..topics {
        let count = i32::try_from(prng.below(partitions + 1)).unwrap();
        group.topics.insert(topic(number), count);
    }
    for number in 0..members {
        let subscribed = (0..topics).filter(|_| alike || prng.chance(60)).map(topic).collect();
        let instance = prng.chance(30).then(|| InstanceId::from(format!("i{number}").as_str()));
        let spec = MemberSpec { instance, topics: subscribed, owned: Assignment::new() };
        group.members.insert(member(number), spec);
    }
    group
}

/// Partitions handed out at random, some to nobody, some twice, some that are not there.
fn shuffle_owned(prng: &mut Prng, group: &mut GroupSpec) {
    for (topic, count) in group.topics.clone() {
        for partition in 0..count + 1 {
            if prng.chance(20) {
                continue;
            }
            let at = prng.index(group.members.len());
            let spec = group.members.values_mut().nth(at).unwrap();
            spec.owned.entry(topic).or_default().insert(PartitionIndex(partition));
        }
    }
}

fn loads(assigned: &BTreeMap<MemberId, Assignment>) -> Vec<usize> {
    assigned.values().map(|topics| topics.values().map(BTreeSet::len).sum()).collect()
}

/// A1 and A2.
fn check_complete(group: &GroupSpec, assigned: &BTreeMap<MemberId, Assignment>) {
    assert_eq!(assigned.len(), group.members.len());
    let mut seen = BTreeSet::new();
    for (id, topics) in assigned {
        for (topic, partitions) in topics {
            assert!(group.members[id].topics.contains(topic), "A2: {id} {topic}");
            for partition in partitions {
                assert!(seen.insert((*topic, *partition)), "A1: {topic} {partition:?} twice");
            }
        }
    }
    for topic in group.topics.keys() {
        let read = group.members.values().any(|spec| spec.topics.contains(topic));
        let expected: BTreeSet<_> =
            group.partitions(*topic).filter(|_| read).map(|index| (*topic, index)).collect();
        let found: BTreeSet<_> = seen.iter().filter(|(of, _)| of == topic).copied().collect();
        assert_eq!(found, expected, "A1");
    }
}

/// How many partitions are where they were.
fn kept(group: &GroupSpec, assigned: &BTreeMap<MemberId, Assignment>) -> usize {
    let mut kept = 0;
    for (id, topics) in assigned {
        for (topic, partitions) in topics {
            let owned = group.members[id].owned.get(topic);
            kept += owned.map_or(0, |owned| owned.intersection(partitions).count());
        }
    }
    kept
}

/// The least sum of squared loads of any assignment, and the most that one of those keeps.
fn best_of_all(group: &GroupSpec) -> (usize, usize) {
    let mut partitions = Vec::new();
    for topic in group.topics.keys() {
        partitions.extend(group.partitions(*topic).map(|index| (*topic, index)));
    }
    let members: Vec<&MemberSpec> = group.members.values().collect();
    let mut best = (usize::MAX, 0);
    let mut load = vec![0_usize; members.len()];
    search(&members, &partitions, &mut load, 0, &mut best);
    best
}

fn search(
    members: &[&MemberSpec],
    left: &[(TopicId, PartitionIndex)],
    load: &mut [usize],
    kept: usize,
    best: &mut (usize, usize),
) {
    let Some(((topic, partition), rest)) = left.split_first() else {
        let squares = load.iter().map(|load| load * load).sum();
        if squares < best.0 || (squares == best.0 && kept > best.1) {
            *best = (squares, kept);
        }
        return;
    };
    let mut read = false;
    for at in 0..members.len() {
        if members[at].topics.contains(topic) {
            read = true;
            let stays = members[at].owned.get(topic).is_some_and(|owned| owned.contains(partition));
            load[at] += 1;
            search(members, rest, load, kept + usize::from(stays), best);
            load[at] -= 1;
        }
    }
    if !read {
        search(members, rest, load, kept, best);
    }
}

#[test]
fn every_assignor_assigns_every_partition_exactly_once() {
    let mut assigned_in_all = 0;
    for seed in seeds(400) {
        let mut prng = Prng::new(seed.0);
        let alike = prng.chance(50);
        let (members, topics) = (1 + prng.index(12), prng.index(6));
        let mut group = group(&mut prng, members, topics, 20, alike);
        shuffle_owned(&mut prng, &mut group);
        for assignor in Assignor::ALL {
            let assigned = assignor.assign(&group);
            check_complete(&group, &assigned);
            assigned_in_all += loads(&assigned).iter().sum::<usize>();
        }
    }
    assert!(assigned_in_all > 1_000, "vacuous: {assigned_in_all}");
}

#[test]
fn uniform_is_balanced_within_one_where_all_subscribe_alike() {
    for seed in seeds(300) {
        let mut prng = Prng::new(seed.0);
        let members = 1 + prng.index(9);
        let mut group = group(&mut prng, members, 4, 12, true);
        shuffle_owned(&mut prng, &mut group);
        let loads = loads(&Assignor::Uniform.assign(&group));
        let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
        assert!(most - least <= 1, "{loads:?}");
    }
}

#[test]
fn uniform_moves_the_fewest_partitions_that_balance_allows() {
    let mut moved = 0;
    for seed in seeds(300) {
        let mut prng = Prng::new(seed.0);
        let members = 1 + prng.index(3);
        let mut group = group(&mut prng, members, 2, 3, true);
        // Each partition had at most one owner, as in a group that lost and gained members.
        let owners = prng.index(members) + 1;
        for (topic, count) in group.topics.clone() {
            for partition in (0..count).map(PartitionIndex) {
                let owner = group.members.get_mut(&member(prng.index(owners))).unwrap();
                if prng.chance(85) {
                    owner.owned.entry(topic).or_default().insert(partition);
                }
            }
        }
        let assigned = Assignor::Uniform.assign(&group);
        let squares: usize = loads(&assigned).iter().map(|load| load * load).sum();
        assert_eq!((squares, kept(&group, &assigned)), best_of_all(&group), "{group:?}");
        moved += loads(&assigned).iter().sum::<usize>() - kept(&group, &assigned);
    }
    assert!(moved > 100, "vacuous: {moved}");
}

#[test]
fn uniform_is_as_even_as_any_assignment_whoever_subscribes_to_what() {
    for seed in seeds(300) {
        let mut prng = Prng::new(seed.0);
        let members = 1 + prng.index(4);
        let mut group = group(&mut prng, members, 3, 2, false);
        shuffle_owned(&mut prng, &mut group);
        let squares: usize =
            loads(&Assignor::Uniform.assign(&group)).iter().map(|load| load * load).sum();
        assert_eq!(squares, best_of_all(&group).0, "{group:?}");
    }
}

#[test]
fn uniform_moves_nothing_when_nothing_has_changed() {
    for seed in seeds(200) {
        let mut prng = Prng::new(seed.0);
        let members = 1 + prng.index(10);
        let mut group = group(&mut prng, members, 5, 15, seed.0.is_multiple_of(2));
        shuffle_owned(&mut prng, &mut group);
        let first = Assignor::Uniform.assign(&group);
        for (id, assignment) in &first {
            group.members.get_mut(id).unwrap().owned = assignment.clone();
        }
        assert_eq!(Assignor::Uniform.assign(&group), first);
    }
}

#[test]
fn range_gives_contiguous_ranges_and_the_same_of_topics_alike() {
    for seed in seeds(200) {
        let mut prng = Prng::new(seed.0);
        let members = 1 + prng.index(7);
        let mut group = group(&mut prng, members, 4, 15, false);
        for topic in [topic(0), topic(1)] {
            group.topics.insert(topic, 11);
            for spec in group.members.values_mut() {
                spec.topics.insert(topic);
            }
        }
        let assigned = Assignor::Range.assign(&group);
        for (id, topics) in &assigned {
            assert_eq!(topics.get(&topic(0)), topics.get(&topic(1)), "{id}");
            for partitions in topics.values() {
                let span = partitions.last().unwrap().0 - partitions.first().unwrap().0 + 1;
                assert_eq!(usize::try_from(span).unwrap(), partitions.len(), "contiguous");
            }
        }
        let sizes: Vec<usize> = assigned
            .values()
            .map(|topics| topics.get(&topic(0)).map_or(0, BTreeSet::len))
            .collect();
        assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
    }
}

#[test]
fn range_keeps_a_static_member_its_range_under_a_new_id() {
    let mut group = GroupSpec::default();
    group.topics.insert(topic(0), 9);
    let spec = |instance: &str| MemberSpec {
        instance: Some(InstanceId::from(instance)),
        topics: BTreeSet::from([topic(0)]),
        owned: Assignment::new(),
    };
    for (id, instance) in [("x", "i0"), ("y", "i1"), ("z", "i2")] {
        group.members.insert(MemberId::from(id), spec(instance));
    }
    let before = Assignor::Range.assign(&group)[&MemberId::from("y")].clone();
    group.members.remove(&MemberId::from("y"));
    group.members.insert(MemberId::from("a"), spec("i1"));
    assert_eq!(Assignor::Range.assign(&group)[&MemberId::from("a")], before);
}

#[test]
fn assignors_are_known_by_name() {
    assert_eq!(Assignor::named("uniform"), Some(Assignor::Uniform));
    assert_eq!(Assignor::named("range"), Some(Assignor::Range));
    assert_eq!(Assignor::named("sticky"), None);
}

/// A group of fifty over five hundred partitions, as the figures of issue 4 have it.
#[test]
fn fifty_members_over_five_hundred_partitions() {
    let mut group = GroupSpec::default();
    for number in 0..5 {
        group.topics.insert(topic(number), 100);
    }
    for number in 0..50 {
        let topics = (0..5).map(topic).collect();
        group.members.insert(member(number), MemberSpec { topics, ..MemberSpec::default() });
    }
    let assigned = Assignor::Uniform.assign(&group);
    assert!(loads(&assigned).iter().all(|load| *load == 10));
    for (id, assignment) in &assigned {
        group.members.get_mut(id).unwrap().owned = assignment.clone();
    }
    group.members.remove(&member(7));
    let after = Assignor::Uniform.assign(&group);
    assert_eq!(kept(&group, &after), 490, "only what the member that left had is moved");
}
