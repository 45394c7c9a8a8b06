//! The rules of committed offsets and of administrators, one by one (`protocol.md` P85-P89, P106).

use std::sync::Arc;

use crate::group::admin::{DeleteGroupError, GroupType};
use crate::group::classic::join::JoinRequest;
use crate::group::classic::state::State;
use crate::group::commit::{
    CommitError, CommitRequest, DeleteOffsetsError, DeletedTopic, FetchTopic, FetchedTopic,
    MetadataTooLarge, SubscribedToTopic, UnstableOffset,
};
use crate::group::fixtures::{
    Bench, SESSION_MS, group, newcomer, own_assignment, simple_commit, static_newcomer,
    with_protocols,
};
use crate::group::ids::{GroupId, InstanceId, MemberId};
use crate::group::settings::GroupSettings;
use crate::group::subscription::subscription;
use crate::model::ids::{PartitionIndex, ProducerId, TopicId};
use crate::model::offset::LeaderEpoch;
use crate::model::time::Timestamp;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

fn commit(bench: &mut Bench, request: &CommitRequest) -> Result<(), CommitError> {
    bench.run(|core, now, step| core.commit_offsets(now, request, step)).map(|_| ())
}

fn member_commit(member: &MemberId, generation: i32, offset: i64) -> CommitRequest {
    CommitRequest { member: member.clone(), generation, ..simple_commit(0, offset) }
}

fn fetch_all(bench: &Bench, require_stable: bool) -> Vec<FetchedTopic> {
    bench.core.fetch_offsets(&group(), None, require_stable)
}

#[test]
fn p86_who_may_commit_to_a_group_without_members() {
    let mut bench = Bench::new();
    let stale = member_commit(&MemberId::from("m"), 3, 1);
    assert_eq!(commit(&mut bench, &stale), Err(CommitError::NoGroup));
    assert_eq!(commit(&mut bench, &simple_commit(0, 7)), Ok(()), "a simple consumer");
    assert_eq!(bench.position(0), Some(7));
    assert_eq!(commit(&mut bench, &stale), Err(CommitError::UnknownMember));
    let named = member_commit(&MemberId::from("m"), -1, 8);
    assert_eq!(
        commit(&mut bench, &named),
        Ok(()),
        "an Empty group takes any commit of no generation"
    );
}

#[test]
fn p86_who_may_commit_to_a_group_with_members() {
    let mut bench = Bench::new();
    let members = bench.gather(vec![newcomer("a"), static_newcomer("s")]);
    let a = &members.iter().find(|m| m.0.as_str().starts_with("a-")).expect("there").0.clone();
    let s = &members.iter().find(|m| m.0.as_str().starts_with("s-")).expect("there").0.clone();
    let by_instance = |member: &MemberId, instance: &str| CommitRequest {
        instance: Some(InstanceId::from(instance)),
        ..member_commit(member, 1, 9)
    };
    assert_eq!(
        commit(&mut bench, &member_commit(a, 1, 5)),
        Err(CommitError::RebalanceInProgress),
        "CompletingRebalance"
    );
    bench.assign(&members);
    for (request, expected) in [
        (member_commit(a, 1, 5), Ok(())),
        (member_commit(a, 0, 6), Err(CommitError::IllegalGeneration)),
        (member_commit(a, -1, 6), Err(CommitError::IllegalGeneration)),
        (member_commit(&MemberId::from("x"), 1, 6), Err(CommitError::UnknownMember)),
        (simple_commit(0, 6), Err(CommitError::UnknownMember)),
        (by_instance(s, "s"), Ok(())),
        (by_instance(a, "s"), Err(CommitError::FencedInstance)),
        (by_instance(s, "other"), Err(CommitError::UnknownMember)),
    ] {
        assert_eq!(commit(&mut bench, &request), expected, "{request:?}");
    }
    bench.enter(newcomer("c"));
    assert_eq!(
        commit(&mut bench, &member_commit(a, 1, 11)),
        Ok(()),
        "PreparingRebalance: a member commits what it gives up"
    );
    assert_eq!(bench.position(0), Some(11));
}

#[test]
fn p86_metadata_has_a_limit_and_one_partition_does_not_fail_the_others() {
    let mut bench = Bench::new();
    let mut request = simple_commit(0, 1);
    let partitions = &mut request.topics[0].partitions;
    partitions[0].metadata = Some("x".repeat(4_096).into());
    let mut long = partitions[0].clone();
    long.partition = PartitionIndex(1);
    long.metadata = Some("x".repeat(4_097).into());
    let mut accents = long.clone();
    accents.partition = PartitionIndex(2);
    accents.metadata = Some("é".repeat(4_096).into());
    partitions.extend([long, accents]);
    let results = bench.run(|core, now, step| core.commit_offsets(now, &request, step));
    assert_eq!(results, Ok(vec![vec![Ok(()), Err(MetadataTooLarge), Ok(())]]));
    assert_eq!((bench.position(0), bench.position(1), bench.position(2)), (Some(1), None, Some(1)));
}

#[test]
fn p86_all_of_a_commit_is_kept() {
    let mut bench = Bench::new();
    let mut request = simple_commit(3, 42);
    request.topics[0].id = TopicId([7; 16]);
    request.topics[0].partitions[0].leader_epoch = LeaderEpoch(4);
    request.topics[0].partitions[0].metadata = Some("mine".into());
    assert_eq!(commit(&mut bench, &request), Ok(()));
    bench.crash();
    let fetched = fetch_all(&bench, false);
    let at = fetched[0].partitions[0].1.clone().expect("stable").expect("committed");
    assert_eq!((at.offset.0, at.leader_epoch, &*at.metadata), (42, LeaderEpoch(4), "mine"));
    assert_eq!(at.commit_timestamp, Timestamp(bench.now));
    assert_eq!((at.expire_timestamp, at.topic_id), (Timestamp::NONE, TopicId([7; 16])));

    let expiring = CommitRequest { retention_ms: Some(5_000), ..request };
    assert_eq!(commit(&mut bench, &expiring), Ok(()));
    bench.crash();
    let fetched = fetch_all(&bench, false);
    let at = fetched[0].partitions[0].1.clone().expect("stable").expect("committed");
    assert_eq!(at.expire_timestamp, Timestamp(bench.now + 5_000));
    assert_eq!((at.offset.0, &*at.metadata), (42, "mine"));
}

#[test]
fn p87_no_commit_is_no_error() {
    let mut bench = Bench::new();
    assert_eq!(bench.position(0), None, "no group");
    assert_eq!(fetch_all(&bench, true), []);
    commit(&mut bench, &simple_commit(1, 5)).expect("simple");
    assert_eq!((bench.position(0), bench.position(1)), (None, Some(5)));
    let all = fetch_all(&bench, true);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].partitions.len(), 1, "only what is committed");
}

#[test]
fn p87_a_position_in_another_topic_of_that_name_does_not_count() {
    let mut bench = Bench::new();
    let mut request = simple_commit(0, 5);
    request.topics[0].id = TopicId([1; 16]);
    commit(&mut bench, &request).expect("simple");
    let ask = |id| {
        let topic = FetchTopic { name: "t".into(), id, partitions: vec![PartitionIndex(0)] };
        let fetched = bench.core.fetch_offsets(&group(), Some(&[topic]), false);
        fetched[0].partitions[0].1.clone().expect("stable").map(|at| at.offset.0)
    };
    assert_eq!(ask(TopicId([1; 16])), Some(5));
    assert_eq!(ask(TopicId::ZERO), Some(5));
    assert_eq!(ask(TopicId([2; 16])), None, "the topic was made anew");
}

#[test]
fn p87_require_stable_waits_for_the_transaction() {
    let mut bench = Bench::new();
    commit(&mut bench, &simple_commit(0, 5)).expect("simple");
    bench.commit_in_transaction(ProducerId(1), &simple_commit(0, 9)).expect("simple");
    assert_eq!(fetch_all(&bench, true)[0].partitions, [(PartitionIndex(0), Err(UnstableOffset))]);
    assert_eq!(bench.position(0), Some(5), "without it, the committed one");
    bench.end_transaction(ProducerId(1), true);
    let (_, position) = &fetch_all(&bench, true)[0].partitions[0];
    assert_eq!(position.clone().expect("stable").expect("committed").offset.0, 9);
}

#[test]
fn p88_simple_groups_expire_from_the_commit() {
    let mut bench = Bench::new();
    commit(&mut bench, &simple_commit(0, 1)).expect("simple");
    bench.pass(DAY_MS);
    commit(&mut bench, &simple_commit(1, 2)).expect("simple");
    bench.pass(6 * DAY_MS - 600_000);
    assert_eq!(bench.position(0), Some(1), "not yet seven days");
    bench.pass(1_200_000);
    assert_eq!((bench.position(0), bench.position(1)), (None, Some(2)));
    bench.pass(DAY_MS);
    assert_eq!(bench.position(1), None);
    assert_eq!(bench.core.group_count(), 0, "and the group with its last position");
    assert_eq!(bench.reloaded().group_count(), 0);
}

#[test]
fn p88_groups_that_had_members_expire_from_when_they_became_empty() {
    let mut bench = Bench::new();
    let request = JoinRequest { session_timeout_ms: 1_800_000, ..newcomer("a") };
    let members = bench.stable(vec![request]);
    commit(&mut bench, &member_commit(&members[0].0, 1, 5)).expect("a member");
    for _ in 0..10 * 24 * 3 {
        bench.pass(DAY_MS / 72);
        assert_eq!(bench.beat(&members[0].0, 1), Ok(()));
    }
    assert_eq!(bench.position(0), Some(5), "subscribed topics do not expire while Stable");
    bench.leave(&[(members[0].0.as_str(), None)]);
    bench.pass(7 * DAY_MS - 600_000);
    assert_eq!(bench.position(0), Some(5));
    bench.crash();
    bench.pass(1_300_000);
    assert_eq!(bench.position(0), None, "a restart does not begin the retention anew");
    assert_eq!(bench.core.group_count(), 0);
}

#[test]
fn p88_stable_groups_lose_what_they_no_longer_read() {
    let mut bench = Bench::new();
    let reads = |topic: &str| JoinRequest {
        session_timeout_ms: 1_800_000,
        ..with_protocols(newcomer("a"), &[("range", &subscription(3, &[topic]))])
    };
    let unreadable = JoinRequest {
        group: GroupId::from("h"),
        session_timeout_ms: 1_800_000,
        ..with_protocols(newcomer("a"), &[("range", b"?")])
    };
    let members = bench.stable(vec![reads("other")]);
    commit(&mut bench, &member_commit(&members[0].0, 1, 5)).expect("a member");
    let odd = bench.gather(vec![unreadable]);
    let sync = crate::group::classic::sync::SyncRequest {
        group: GroupId::from("h"),
        assignments: vec![(odd[0].0.clone(), own_assignment(&odd[0].0))],
        ..crate::group::fixtures::sync_request(&odd[0].0, 1)
    };
    bench.send_sync(sync);
    let odd_commit = CommitRequest { group: GroupId::from("h"), ..member_commit(&odd[0].0, 1, 5) };
    commit(&mut bench, &odd_commit).expect("a member");
    for _ in 0..8 * 24 * 3 {
        bench.pass(DAY_MS / 72);
        assert_eq!(bench.beat(&members[0].0, 1), Ok(()));
        let now = Timestamp(bench.now);
        assert_eq!(bench.core.heartbeat(now, &GroupId::from("h"), &odd[0].0, None, 1), Ok(()));
    }
    assert_eq!(bench.position(0), None, "nobody reads t");
    assert_eq!(
        bench.core.fetch_offsets(&GroupId::from("h"), None, false).len(),
        1,
        "a subscription that cannot be read keeps everything"
    );
}

#[test]
fn p88_an_open_transaction_keeps_the_position_and_a_commit_may_say_when() {
    let mut bench = Bench::new();
    commit(&mut bench, &CommitRequest { retention_ms: Some(1_000), ..simple_commit(0, 1) })
        .expect("simple");
    commit(&mut bench, &simple_commit(1, 2)).expect("simple");
    bench.commit_in_transaction(ProducerId(1), &simple_commit(1, 3)).expect("simple");
    bench.pass(600_000);
    assert_eq!(bench.position(0), None, "it asked for one second");
    bench.pass(8 * DAY_MS);
    assert_eq!(bench.position(1), Some(2));
    bench.end_transaction(ProducerId(1), false);
    bench.pass(600_000);
    assert_eq!(bench.position(1), None);
}

#[test]
fn p88_a_sweep_looks_at_a_bounded_number_of_groups_at_a_time() {
    let mut bench = Bench::new();
    for number in 0..2_500 {
        let request =
            CommitRequest { group: GroupId::from(&*format!("g{number}")), ..simple_commit(0, 1) };
        commit(&mut bench, &request).expect("simple");
    }
    bench.pass(7 * DAY_MS - 1_000);
    bench.now += 600_000;
    let mut left = Vec::new();
    for _ in 0..3 {
        bench.run(|core, now, step| core.tick(now, step));
        left.push(bench.core.group_count());
    }
    assert_eq!(left, [1_500, 500, 0]);
    assert!(bench.core.next_deadline().expect("the next sweep").0 > bench.now);
}

#[test]
fn p89_a_missing_group_is_dead_and_descriptions_follow_the_state() {
    let mut bench = Bench::new();
    assert_eq!(bench.core.describe_group(&group()), None);
    commit(&mut bench, &simple_commit(0, 1)).expect("simple");
    let simple = bench.core.describe_group(&group()).expect("there");
    assert_eq!((simple.state, &*simple.protocol_type), (State::Empty, ""));
    let members = bench.gather(vec![newcomer("a"), static_newcomer("s")]);
    let completing = bench.core.describe_group(&group()).expect("there");
    assert_eq!((completing.state, &*completing.protocol), (State::CompletingRebalance, ""));
    assert!(completing.members.iter().all(|m| m.metadata.is_empty() && m.assignment.is_empty()));
    bench.assign(&members);
    let stable = bench.core.describe_group(&group()).expect("there");
    assert_eq!((stable.state, &*stable.protocol), (State::Stable, "range"));
    assert_eq!(&*stable.protocol_type, "consumer");
    for member in &stable.members {
        assert_eq!(member.metadata, subscription(3, &["t"]));
        assert_eq!(member.assignment, own_assignment(&member.id));
        assert_eq!(&*member.client_host, "/127.0.0.1");
    }
    assert!(stable.members.iter().any(|member| member.instance.is_some()));
}

#[test]
fn p89_lists_are_filtered_by_state_and_kind() {
    let mut bench = Bench::new();
    bench.stable(vec![newcomer("a")]);
    let simple = CommitRequest { group: GroupId::from("simple"), ..simple_commit(0, 1) };
    commit(&mut bench, &simple).expect("simple");
    let listed = |states: &[&str], kinds: &[&str]| {
        let of = |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect::<Vec<_>>();
        let groups = bench.core.list_groups(&of(states), &of(kinds));
        groups.into_iter().map(|group| group.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&[], &[]), ["g", "simple"]);
    assert_eq!(listed(&["stable"], &[]), ["g"]);
    assert_eq!(listed(&["Empty", "Dead"], &["Classic"]), ["simple"]);
    assert_eq!(listed(&["PreparingRebalance"], &[]), Vec::<String>::new());
    assert_eq!(listed(&[], &["consumer"]), Vec::<String>::new());
    let group = bench.core.list_groups(&[], &[]).remove(0);
    assert_eq!((&*group.protocol_type, group.state), ("consumer", "Stable"));
    assert_eq!(group.kind, GroupType::Classic);
}

#[test]
fn p89_only_groups_without_members_are_deleted() {
    let mut bench = Bench::new();
    let delete = |bench: &mut Bench| bench.run(|core, _, step| core.delete_group(&group(), step));
    assert_eq!(delete(&mut bench), Err(DeleteGroupError::NoGroup));
    let members = bench.stable(vec![newcomer("a")]);
    commit(&mut bench, &member_commit(&members[0].0, 1, 5)).expect("a member");
    bench.commit_in_transaction(ProducerId(1), &member_commit(&members[0].0, 1, 6)).expect("it");
    assert_eq!(delete(&mut bench), Err(DeleteGroupError::NonEmpty));
    bench.leave(&[(members[0].0.as_str(), None)]);
    assert_eq!(delete(&mut bench), Ok(()));
    bench.end_transaction(ProducerId(1), true);
    for core in [&bench.core, &bench.reloaded()] {
        assert_eq!(core.group_count(), 0, "with all its positions, also those that wait");
    }
}

#[test]
fn p85_p89_offsets_of_topics_that_are_read_are_not_deleted() {
    let mut bench = Bench::new();
    let topics: [(Arc<str>, Vec<PartitionIndex>); 2] = [
        ("t".into(), vec![PartitionIndex(0), PartitionIndex(1)]),
        ("u".into(), vec![PartitionIndex(0)]),
    ];
    let delete =
        |bench: &mut Bench| bench.run(|core, _, step| core.delete_offsets(&group(), &topics, step));
    assert_eq!(delete(&mut bench), Err(DeleteOffsetsError::NoGroup));
    let members = bench.stable(vec![newcomer("a")]);
    commit(&mut bench, &member_commit(&members[0].0, 1, 5)).expect("a member");
    let read = Err(SubscribedToTopic);
    assert_eq!(delete(&mut bench), Ok(vec![vec![read, read], vec![Ok(())]]));
    bench.leave(&[(members[0].0.as_str(), None)]);
    assert_eq!(delete(&mut bench), Ok(vec![vec![Ok(()), Ok(())], vec![Ok(())]]));
    assert_eq!(bench.position(0), None);
    assert_eq!(bench.core.group_count(), 1, "the group goes with the next sweep");

    let mut connect = Bench::new();
    let worker = with_protocols(newcomer("w"), &[("sessioned", b"")]);
    connect.stable(vec![JoinRequest { protocol_type: "connect".into(), ..worker }]);
    assert_eq!(delete(&mut connect), Err(DeleteOffsetsError::NonEmpty));

    let mut odd = Bench::new();
    odd.stable(vec![with_protocols(newcomer("a"), &[("range", b"?")])]);
    assert_eq!(delete(&mut odd), Ok(vec![vec![read, read], vec![read]]), "perhaps it reads them");
}

#[test]
fn p106_transactional_offsets_are_invisible_until_the_marker() {
    let mut bench = Bench::new();
    let producer = ProducerId(1);
    bench.commit_in_transaction(producer, &simple_commit(0, 5)).expect("simple");
    assert_eq!(bench.position(0), None);
    assert_eq!(bench.core.list_groups(&[], &[]).len(), 1, "the group is there, as in Kafka");
    bench.crash();
    assert_eq!(bench.position(0), None, "a crash does not show them");
    bench.end_transaction(producer, true);
    assert_eq!(bench.position(0), Some(5));
    bench.commit_in_transaction(producer, &simple_commit(0, 6)).expect("simple");
    bench.end_transaction(producer, false);
    bench.crash();
    assert_eq!(bench.position(0), Some(5), "aborted");
}

#[test]
fn p106_membership_is_checked_where_the_request_has_it() {
    let mut bench = Bench::new();
    let stale = member_commit(&MemberId::from("m"), 1, 1);
    assert_eq!(bench.commit_in_transaction(ProducerId(1), &stale), Err(CommitError::NoGroup));
    let members = bench.gather(vec![newcomer("a"), static_newcomer("s")]);
    let member = &members[0].0;
    for (request, expected) in [
        (simple_commit(0, 5), Ok(())),
        (member_commit(member, 1, 5), Ok(())),
        (member_commit(member, 2, 5), Err(CommitError::IllegalGeneration)),
        (member_commit(&MemberId::from("x"), 1, 5), Err(CommitError::UnknownMember)),
    ] {
        let result = bench.commit_in_transaction(ProducerId(1), &request);
        assert_eq!(result, expected, "while completing a rebalance: {request:?}");
    }
    let fenced = CommitRequest {
        instance: Some(InstanceId::from("s")),
        ..member_commit(&MemberId::from("x"), 1, 5)
    };
    assert_eq!(
        bench.commit_in_transaction(ProducerId(1), &fenced),
        Err(CommitError::FencedInstance)
    );
}

#[test]
fn p106_a_later_plain_commit_wins_over_an_earlier_transaction() {
    let mut bench = Bench::new();
    bench.commit_in_transaction(ProducerId(1), &simple_commit(0, 5)).expect("simple");
    bench.commit_in_transaction(ProducerId(2), &simple_commit(1, 6)).expect("simple");
    commit(&mut bench, &simple_commit(0, 9)).expect("simple");
    bench.end_transaction(ProducerId(1), true);
    bench.end_transaction(ProducerId(2), true);
    for _ in 0..2 {
        assert_eq!((bench.position(0), bench.position(1)), (Some(9), Some(6)));
        bench.crash();
    }
}

#[test]
fn deleted_topics_take_their_positions_along() {
    let mut bench = Bench::new();
    let with_id = |partition, offset| {
        let mut request = simple_commit(partition, offset);
        request.topics[0].id = TopicId([1; 16]);
        request
    };
    commit(&mut bench, &with_id(0, 5)).expect("simple");
    commit(&mut bench, &simple_commit(4, 5)).expect("an id that is not known");
    let mut other = simple_commit(1, 6);
    other.topics[0].name = "u".into();
    commit(&mut bench, &other).expect("simple");
    bench.commit_in_transaction(ProducerId(1), &with_id(3, 7)).expect("simple");
    let gone = |id| [DeletedTopic { name: "t".into(), id }];
    bench.run(|core, _, step| core.on_topics_deleted(&gone(TopicId([9; 16])), step));
    assert_eq!(fetch_all(&bench, false)[0].partitions.len(), 1, "a new topic of that name");
    bench.run(|core, _, step| core.on_topics_deleted(&gone(TopicId([1; 16])), step));
    bench.end_transaction(ProducerId(1), true);
    bench.crash();
    let left = fetch_all(&bench, false);
    assert_eq!(left.len(), 1);
    assert_eq!(&*left[0].name, "u");
}

#[test]
fn a_simple_group_costs_little_memory() {
    let size = std::mem::size_of::<crate::group::coordinator::Group>();
    assert!(size <= 64, "{size} bytes, before its positions");
    let settings = GroupSettings::default();
    assert_eq!(i64::from(settings.session_timeout_ms_min), 6_000);
    assert!(SESSION_MS >= settings.session_timeout_ms_min);
}
