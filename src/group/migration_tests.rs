//! Groups that change their protocol with members in them (`protocol.md` P90).

use std::sync::Arc;

use bytes::Bytes;

use crate::config::groups::MigrationPolicy;
use crate::group::classic::join::{JoinError, JoinRequest, Joined};
use crate::group::classic::state::State;
use crate::group::classic::sync::{HeartbeatError, SyncError, SyncRequest};
use crate::group::commit::{CommitError, CommitRequest};
use crate::group::consumer::group::ConsumerState;
use crate::group::consumer::heartbeat::ConsumerError;
use crate::group::consumer::member::EPOCH_LEAVE;
use crate::group::consumer_tests::{Cluster, beat, epoch_and_assignment, first, later, settings};
use crate::group::fixtures::{
    Bench, SESSION_MS, group, newcomer, simple_commit, static_newcomer, sync_request,
    with_protocols,
};
use crate::group::ids::{InstanceId, MemberId};
use crate::group::settings::GroupSettings;
use crate::group::subscription::{
    NamedPartitions, assignment, owning_subscription, parse_assignment,
};

/// A consumer of the classic protocol that reads `t` and says what it has.
fn reads_t(request: JoinRequest, owned: &[i32]) -> JoinRequest {
    let owned: NamedPartitions = match owned {
        [] => Vec::new(),
        some => vec![("t".into(), some.to_vec())],
    };
    with_protocols(request, &[("cooperative-sticky", &owning_subscription(1, &["t"], &owned))])
}

fn again(request: JoinRequest, member: &MemberId) -> JoinRequest {
    JoinRequest { member: member.clone(), ..request }
}

/// Partitions of `t` that a `SyncGroup` gives.
fn partitions(assignment: &Bytes) -> Vec<i32> {
    let assigned = parse_assignment(assignment).expect("an assignment");
    assigned.partitions.into_iter().flat_map(|(_, partitions)| partitions).collect()
}

/// A stable classic group whose members have these partitions of `t`; the first is its leader.
fn classic_group(
    bench: &mut Bench,
    cluster: &Cluster,
    members: Vec<(JoinRequest, Vec<i32>)>,
) -> Vec<MemberId> {
    bench.core.set_topics(Arc::new(cluster.clone()));
    let shares: Vec<Vec<i32>> = members.iter().map(|(_, share)| share.clone()).collect();
    let joined: Vec<(MemberId, Joined)> =
        bench.gather(members.into_iter().map(|(request, _)| request).collect());
    let all: Vec<(MemberId, Bytes)> = joined
        .iter()
        .zip(&shares)
        .map(|((id, _), share)| (id.clone(), assignment(1, &vec![("t".into(), share.clone())])))
        .collect();
    for (member, joined) in joined.iter().rev() {
        let assignments = if *member == joined.leader { all.clone() } else { Vec::new() };
        bench.send_sync(SyncRequest { assignments, ..sync_request(member, joined.generation) });
    }
    joined.into_iter().map(|(member, _)| member).collect()
}

fn sync(bench: &mut Bench, member: &MemberId, generation: i32) -> Result<Vec<i32>, SyncError> {
    let id = bench.send_sync(sync_request(member, generation));
    let reply = bench.synced(id).expect("answered at once");
    reply.map(|synced| partitions(&synced.assignment))
}

fn consumer_state(bench: &Bench) -> ConsumerState {
    bench.core.consumer_group(&group()).expect("a KIP-848 group").state()
}

#[test]
fn p90_a_classic_group_is_taken_over_and_given_back() {
    let (mut bench, cluster) = (Bench::with(settings()), Cluster::of(&[("t", 4)]));
    let two =
        vec![(reads_t(newcomer("a"), &[]), vec![0, 1]), (reads_t(newcomer("b"), &[]), vec![2, 3])];
    let members = classic_group(&mut bench, &cluster, two);
    let told = epoch_and_assignment(&mut bench, &cluster, &first("n", &["t"]));
    assert_eq!(told.0, 2, "one more than the generation");
    assert!(told.1.expect("a first heartbeat").is_empty(), "all is held");
    bench.crash();
    assert_eq!(consumer_state(&bench), ConsumerState::Reconciling);

    // Both are asked to join, and say what they have; one of them has to give up a partition.
    let mut kept = 0;
    for (member, owned) in members.iter().zip([[0, 1], [2, 3]]) {
        assert_eq!(bench.beat(member, 1), Err(HeartbeatError::RebalanceInProgress));
        assert_eq!(sync(&mut bench, member, 1), Err(SyncError::RebalanceInProgress));
        let reply = bench.join_now(again(reads_t(newcomer("x"), &owned), member));
        let joined = reply.result.expect("it is known");
        assert_eq!((joined.leader, joined.members.len()), (MemberId::none(), 0));
        assert_eq!(joined.protocol.as_deref(), Some("cooperative-sticky"));
        let mine = sync(&mut bench, member, joined.generation).expect("joined");
        kept += mine.len();
        if mine.len() < 2 {
            assert_eq!(joined.generation, 1, "it has to give up first");
            assert_eq!(bench.beat(member, 1), Err(HeartbeatError::RebalanceInProgress));
            let reply = bench.join_now(again(reads_t(newcomer("x"), &mine), member));
            assert_eq!(reply.result.expect("it is known").generation, 2);
            assert_eq!(sync(&mut bench, member, 2), Ok(mine));
        }
        assert_eq!(bench.beat(member, 2), Ok(()));
    }
    let (epoch, given) = epoch_and_assignment(&mut bench, &cluster, &later("n", 2));
    assert_eq!((epoch, given.expect("what was given up")[&cluster.id("t")].len()), (2, 4 - kept));
    assert_eq!(consumer_state(&bench), ConsumerState::Stable);

    let mut commit = |member: &MemberId, generation| {
        let request = CommitRequest { member: member.clone(), generation, ..simple_commit(0, 5) };
        bench.run(|core, now, step| core.commit_offsets(now, &request, step)).map(|_| ())
    };
    assert_eq!(commit(&members[0], 2), Ok(()));
    assert_eq!(commit(&members[0], 1), Err(CommitError::IllegalGeneration));

    beat(&mut bench, &cluster, &later("n", EPOCH_LEAVE)).expect("it leaves");
    let classic = bench.core.describe_group(&group()).expect("classic again");
    assert_eq!((classic.state, classic.members.len()), (State::PreparingRebalance, 2));
    assert_eq!(bench.position(0), Some(5));
    let joins: Vec<_> = members
        .iter()
        .map(|member| bench.send_join(again(reads_t(newcomer("x"), &[]), member)))
        .collect();
    for id in joins {
        let joined = bench.joined(id).expect("both are there").result.expect("joined");
        assert_eq!(joined.generation, 4, "the leaver's epoch was 3");
    }
    assert!(bench.parked.is_empty());
}

#[test]
fn p90_a_group_given_back_is_stable_after_a_crash_until_somebody_joins() {
    let (mut bench, cluster) = (Bench::with(settings()), Cluster::of(&[("t", 2)]));
    let one = vec![(reads_t(static_newcomer("s"), &[]), vec![0, 1])];
    let members = classic_group(&mut bench, &cluster, one);
    beat(&mut bench, &cluster, &first("n", &["t"])).expect("it joins");
    bench.pass(i64::from(SESSION_MS) - 1);
    assert_eq!(bench.beat(&members[0], 1), Err(HeartbeatError::RebalanceInProgress));
    beat(&mut bench, &cluster, &later("n", EPOCH_LEAVE)).expect("it leaves");
    bench.crash();
    let classic = bench.core.describe_group(&group()).expect("classic again");
    assert_eq!(classic.state, State::Stable);
    assert_eq!(partitions(&classic.members[0].assignment), [0, 1]);
    assert_eq!(classic.members[0].instance, Some(InstanceId::from("s")));
    assert_eq!(bench.beat(&members[0], 3), Ok(()));
}

#[test]
fn p90_classic_members_join_a_kip_848_group() {
    let (mut bench, cluster) = (Bench::with(settings()), Cluster::of(&[("t", 2)]));
    beat(&mut bench, &cluster, &first("n", &["t"])).expect("it joins");
    let asked = bench.join_now(reads_t(newcomer("c"), &[]));
    assert_eq!(asked.result, Err(JoinError::MemberIdRequired));
    let unreadable = with_protocols(newcomer("c"), &[("range", b"?")]);
    assert_eq!(bench.join_now(unreadable).result, Err(JoinError::InconsistentProtocol));
    let reply = bench.join_now(again(reads_t(newcomer("c"), &[]), &asked.member));
    assert_eq!(reply.result.expect("it joins").generation, 3);
    assert_eq!(sync(&mut bench, &asked.member, 3), Ok(vec![]), "n has all");
    assert_eq!(sync(&mut bench, &asked.member, 2), Err(SyncError::IllegalGeneration));
    assert_eq!(sync(&mut bench, &MemberId::from("n"), 3), Err(SyncError::UnknownMember));
    let wrong = SyncRequest { protocol: Some("range".into()), ..sync_request(&asked.member, 3) };
    let wrong = bench.send_sync(wrong);
    assert_eq!(bench.synced(wrong), Some(Err(SyncError::InconsistentProtocol)));

    let kept = epoch_and_assignment(&mut bench, &cluster, &later("n", 2)).1.expect("less");
    let owning = crate::group::consumer_tests::owning("n", 2, kept);
    assert_eq!(epoch_and_assignment(&mut bench, &cluster, &owning).0, 3);
    assert_eq!(
        bench.beat(&asked.member, 3),
        Err(HeartbeatError::RebalanceInProgress),
        "what it waits for is free"
    );
    let reply = bench.join_now(again(reads_t(newcomer("c"), &[]), &asked.member));
    assert_eq!(reply.result.expect("it joins").generation, 3);
    assert_eq!(sync(&mut bench, &asked.member, 3).map(|mine| mine.len()), Ok(1));
    assert_eq!(bench.leave(&[(asked.member.as_str(), None), ("ghost", None)])[0], Ok(()));
    assert_eq!(consumer_state(&bench), ConsumerState::Assigning);
}

#[test]
fn p90_classic_members_that_do_not_take_their_next_step_are_fenced() {
    let (mut bench, cluster) = (Bench::with(settings()), Cluster::of(&[("t", 2)]));
    beat(&mut bench, &cluster, &first("n", &["t"])).expect("it joins");
    let quick = JoinRequest { requires_known_member_id: false, ..reads_t(newcomer("c"), &[]) };
    let member = bench.join_now(JoinRequest { rebalance_timeout_ms: 20_000, ..quick }).member;
    for _ in 0..4 {
        bench.pass(4_900);
        assert_eq!(bench.beat(&member, 3), Ok(()), "it lives");
    }
    bench.pass(400);
    assert_eq!(bench.beat(&member, 3), Err(HeartbeatError::UnknownMember), "but never syncs");
    assert!(beat(&mut bench, &cluster, &later("n", 2)).is_ok());
}

#[test]
fn p90_a_static_member_changes_its_protocol_and_back() {
    let (mut bench, cluster) = (Bench::with(settings()), Cluster::of(&[("t", 2)]));
    let one = vec![(reads_t(static_newcomer("s"), &[]), vec![0, 1])];
    let members = classic_group(&mut bench, &cluster, one);
    let mut modern = first("n", &["t"]);
    modern.instance = Some(InstanceId::from("s"));
    let refused = beat(&mut bench, &cluster, &modern);
    assert_eq!(refused, Err(ConsumerError::UnreleasedInstance), "the other has not left");
    assert_eq!(bench.beat(&members[0], 1), Ok(()), "nothing has changed");
    bench.leave(&[(members[0].as_str(), Some("s"))]);
    beat(&mut bench, &cluster, &modern).expect("it joins");
    let reply = bench.join_now(reads_t(static_newcomer("s"), &[]));
    let joined = reply.result.expect("it takes its own place");
    let classic = bench.core.describe_group(&group()).expect("nobody else is left");
    assert_eq!((classic.members.len(), classic.state), (1, State::PreparingRebalance));
    assert_eq!(
        bench.beat(&reply.member, joined.generation),
        Err(HeartbeatError::RebalanceInProgress)
    );
}

#[test]
fn p90_the_policy_decides_and_foreign_assignors_stay() {
    let cluster = Cluster::of(&[("t", 2)]);
    for policy in [MigrationPolicy::Disabled, MigrationPolicy::Downgrade] {
        let settings = GroupSettings { consumer_migration_policy: policy, ..settings() };
        let mut bench = Bench::with(settings);
        let one = vec![(reads_t(newcomer("a"), &[]), vec![0, 1])];
        let members = classic_group(&mut bench, &cluster, one);
        let refused = beat(&mut bench, &cluster, &first("n", &["t"]));
        assert_eq!(refused, Err(ConsumerError::NoGroup));
        assert_eq!(bench.beat(&members[0], 1), Ok(()), "nothing has changed");
    }
    let settings =
        GroupSettings { consumer_migration_policy: MigrationPolicy::Upgrade, ..settings() };
    let mut bench = Bench::with(settings);
    let one = vec![(reads_t(newcomer("a"), &[]), vec![0, 1])];
    classic_group(&mut bench, &cluster, one);
    beat(&mut bench, &cluster, &first("n", &["t"])).expect("upwards it may");
    beat(&mut bench, &cluster, &later("n", EPOCH_LEAVE)).expect("it leaves");
    assert_eq!(bench.core.describe_group(&group()), None, "downwards it may not");

    let mut bench = Bench::new();
    let members = bench.stable(vec![newcomer("a")]);
    let refused = beat(&mut bench, &cluster, &first("n", &["t"]));
    assert_eq!(refused, Err(ConsumerError::NoGroup), "its assignment cannot be read");
    assert_eq!(bench.beat(&members[0].0, 1), Ok(()));
}

#[test]
fn p90_whoever_waits_when_the_group_is_taken_over_is_told_to_join_again() {
    let (mut bench, cluster) = (Bench::with(settings()), Cluster::of(&[("t", 2)]));
    let two = vec![(reads_t(newcomer("a"), &[]), vec![0]), (reads_t(newcomer("b"), &[]), vec![1])];
    let members = classic_group(&mut bench, &cluster, two);
    let parked = bench.send_join(again(reads_t(newcomer("a"), &[0]), &members[0]));
    assert_eq!(bench.joined(parked), None);
    beat(&mut bench, &cluster, &first("n", &["t"])).expect("it joins");
    assert_eq!(bench.joined(parked).expect("told").result, Err(JoinError::Superseded));
    assert!(bench.parked.is_empty());
}
