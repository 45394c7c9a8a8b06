//! The rules of classic membership, one by one (`protocol.md` P81-P85).

use bytes::Bytes;

use crate::group::classic::join::{JoinError, JoinRequest};
use crate::group::classic::state::State;
use crate::group::classic::sync::{HeartbeatError, MemberError, SyncError, SyncRequest};
use crate::group::fixtures::{
    Bench, REBALANCE_MS, SESSION_MS, group, newcomer, own_assignment, static_newcomer,
    sync_request, with_protocols,
};
use crate::group::ids::{GroupId, InstanceId, MemberId};
use crate::group::settings::{GroupSettings, PENDING_MEMBERS_PER_GROUP_MAX};

fn state(bench: &Bench) -> State {
    bench.core.describe_group(&group()).map_or(State::Dead, |group| group.state)
}

fn again(request: &JoinRequest, member: &MemberId) -> JoinRequest {
    JoinRequest { member: member.clone(), ..request.clone() }
}

#[test]
fn p81_a_dynamic_member_is_given_an_id_first() {
    let mut bench = Bench::new();
    let reply = bench.join_now(newcomer("app"));
    assert_eq!(reply.result, Err(JoinError::MemberIdRequired));
    let id = reply.member.as_str();
    let uuid = id.strip_prefix("app-").expect("the client's id comes first");
    assert_eq!((uuid.len(), uuid.matches('-').count()), (36, 4), "{id}");
    assert_eq!(state(&bench), State::Empty, "an id is not a member");

    let parked = bench.send_join(again(&newcomer("app"), &reply.member));
    bench.pass(0);
    assert_eq!(bench.joined(parked).expect("joined").member, reply.member);
}

#[test]
fn p81_versions_below_4_join_in_one_step() {
    let mut bench = Bench::new();
    let id = bench.send_join(JoinRequest { requires_known_member_id: false, ..newcomer("old") });
    bench.pass(0);
    let reply = bench.joined(id).expect("joined");
    assert!(reply.member.as_str().starts_with("old-"));
    assert_eq!(reply.result.expect("joined").generation, 1);
}

#[test]
fn p81_an_id_that_nobody_joins_with_lapses() {
    let mut bench = Bench::new();
    let member = bench.join_now(newcomer("app")).member;
    bench.pass(i64::from(SESSION_MS) - 1);
    let other = bench.join_now(newcomer("app")).member;
    bench.pass(1);
    let reply = bench.join_now(again(&newcomer("app"), &member));
    assert_eq!(reply.result, Err(JoinError::UnknownMember));
    assert_eq!(reply.member, member);
    let parked = bench.send_join(again(&newcomer("app"), &other));
    bench.pass(0);
    assert!(bench.joined(parked).expect("joined").result.is_ok(), "its time is not over");
}

#[test]
fn p81_a_pending_id_holds_a_rebalance_up_until_it_lapses() {
    let mut bench = Bench::new();
    let members = bench.stable(vec![newcomer("a")]);
    bench.join_now(newcomer("b"));
    let rejoin = bench.send_join(again(&newcomer("a"), &members[0].0));
    assert_eq!(bench.joined(rejoin), None, "b may come");
    bench.pass(i64::from(SESSION_MS));
    assert_eq!(bench.joined(rejoin).expect("b did not").result.expect("joined").generation, 2);
}

#[test]
fn p81_session_timeouts_have_bounds() {
    let mut bench = Bench::new();
    for (session_timeout_ms, fine) in [
        (i32::MIN, false),
        (-1, false),
        (5_999, false),
        (6_000, true),
        (1_800_000, true),
        (1_800_001, false),
    ] {
        let error = bench.join_now(JoinRequest { session_timeout_ms, ..newcomer("a") }).result;
        let expected =
            if fine { JoinError::MemberIdRequired } else { JoinError::InvalidSessionTimeout };
        assert_eq!(error, Err(expected), "{session_timeout_ms}");
    }
}

#[test]
fn p81_unknown_ids_and_bad_names_are_refused() {
    let mut bench = Bench::new();
    let unknown = again(&newcomer("a"), &MemberId::from("ghost"));
    assert_eq!(bench.join_now(unknown.clone()).result, Err(JoinError::UnknownMember), "no group");
    assert_eq!(bench.core.group_count(), 0, "and none is made");
    bench.stable(vec![newcomer("a")]);
    assert_eq!(bench.join_now(unknown).result, Err(JoinError::UnknownMember));
    let nameless = JoinRequest { group: GroupId::from(""), ..newcomer("a") };
    assert_eq!(bench.join_now(nameless).result, Err(JoinError::InvalidGroupId));
    let long = "x".repeat(40_000);
    let long_group = JoinRequest { group: GroupId::from(long.as_str()), ..newcomer("a") };
    assert_eq!(bench.join_now(long_group).result, Err(JoinError::InvalidGroupId));
    assert_eq!(bench.join_now(newcomer(&long)).result, Err(JoinError::NameTooLong));
    let longest = "é".repeat(16_383);
    let id = bench.join_now(newcomer(&longest)).member;
    assert!(id.as_str().len() <= 32_767, "an id made from the longest name can be stored");
}

#[test]
fn p82_the_first_rebalance_waits_for_others_and_longer_if_they_come() {
    let mut bench = Bench::with(GroupSettings::default());
    let (_, first) = bench.enter(newcomer("a"));
    bench.pass(2_999);
    assert_eq!(state(&bench), State::PreparingRebalance);
    let (_, second) = bench.enter(newcomer("b"));
    bench.pass(1);
    assert_eq!(bench.joined(first), None, "b came: 3 s more");
    bench.pass(2_999);
    assert_eq!(bench.joined(first), None);
    bench.pass(1);
    let joined = bench.joined(first).expect("nobody else came").result.expect("joined");
    assert_eq!((joined.generation, joined.members.len()), (1, 2));
    assert!(bench.joined(second).is_some());
    assert_eq!(state(&bench), State::CompletingRebalance);
}

#[test]
fn p82_the_initial_delay_ends_with_the_rebalance_timeout() {
    let mut bench = Bench::with(GroupSettings::default());
    let request = |name: &str| JoinRequest { rebalance_timeout_ms: 7_000, ..newcomer(name) };
    let (_, first) = bench.enter(request("a"));
    for second in 1..7 {
        bench.pass(1_000);
        bench.enter(request(&second.to_string()));
        assert_eq!(bench.joined(first), None, "second {second}");
    }
    bench.pass(1_000);
    let joined = bench.joined(first).expect("7 s are over").result.expect("joined");
    assert_eq!(joined.members.len(), 7);
}

#[test]
fn p82_members_that_do_not_return_are_out_after_the_largest_rebalance_timeout() {
    let mut bench = Bench::new();
    let slow = JoinRequest { rebalance_timeout_ms: 90_000, ..newcomer("slow") };
    let members = bench.stable(vec![newcomer("a"), slow]);
    let (a, slow) = if members[0].0.as_str().starts_with("a-") {
        (members[0].0.clone(), members[1].0.clone())
    } else {
        (members[1].0.clone(), members[0].0.clone())
    };
    let (_, newest) = bench.enter(newcomer("c"));
    let rejoin = bench.send_join(again(&newcomer("a"), &a));
    for _ in 0..89 {
        bench.pass(1_000);
        assert_eq!(bench.beat(&slow, 1), Err(HeartbeatError::RebalanceInProgress), "alive");
    }
    assert_eq!(bench.joined(rejoin), None);
    bench.pass(1_000);
    let joined = bench.joined(rejoin).expect("90 s are over").result.expect("joined");
    let newest = bench.joined(newest).expect("the same").result.expect("joined");
    assert_eq!((joined.generation, newest.generation), (2, 2));
    assert_eq!(joined.members.len() + newest.members.len(), 2, "one leads, and slow is out");
    assert_eq!(bench.beat(&slow, 1), Err(HeartbeatError::UnknownMember));
}

#[test]
fn p82_the_protocol_is_the_one_that_all_support_and_most_prefer() {
    let mut bench = Bench::new();
    let (x, y, z): (&[u8], &[u8], &[u8]) = (b"x", b"y", b"z");
    let members = bench.gather(vec![
        with_protocols(newcomer("a"), &[("only-a", x), ("both", x), ("shared", x)]),
        with_protocols(newcomer("b"), &[("shared", y), ("both", y)]),
        with_protocols(newcomer("c"), &[("shared", z), ("only-c", z), ("both", z)]),
    ]);
    let leader = &members[0].1;
    assert_eq!(leader.protocol.as_deref(), Some("shared"));
    assert_eq!(leader.protocol_type.as_deref(), Some("consumer"));
    let mut metadata: Vec<Bytes> = leader.members.iter().map(|m| m.metadata.clone()).collect();
    metadata.sort();
    assert_eq!(metadata, [x, y, z]);
    for (_, follower) in &members[1..] {
        assert_eq!(follower.members, [], "only the leader gets the members");
    }
    let stranger = with_protocols(newcomer("d"), &[("only-a", x)]);
    assert_eq!(bench.join_now(stranger).result, Err(JoinError::InconsistentProtocol));
    let connect = JoinRequest { protocol_type: "connect".into(), ..newcomer("d") };
    assert_eq!(bench.join_now(connect).result, Err(JoinError::InconsistentProtocol));
    let none = with_protocols(newcomer("d"), &[]);
    assert_eq!(bench.join_now(none).result, Err(JoinError::InconsistentProtocol));
}

#[test]
fn p82_groups_of_any_protocol_type_work() {
    let mut bench = Bench::new();
    let connect = |name: &str| JoinRequest {
        protocol_type: "connect".into(),
        ..with_protocols(newcomer(name), &[("sessioned", b"\xff\xfe")])
    };
    let members = bench.stable(vec![connect("w1"), connect("w2")]);
    assert_eq!(members[0].1.protocol_type.as_deref(), Some("connect"));
    assert_eq!(state(&bench), State::Stable);
}

#[test]
fn p82_a_group_has_at_most_its_maximum_of_members() {
    let mut bench = Bench::with(GroupSettings {
        initial_rebalance_delay_ms: 0,
        group_size_max: 2,
        ..GroupSettings::default()
    });
    let members = bench.stable(vec![newcomer("a"), newcomer("b")]);
    let reply = bench.join_now(newcomer("c"));
    assert_eq!(reply.result, Err(JoinError::GroupFull));
    assert_eq!(reply.member, MemberId::none());
    let leader = again(&newcomer("a"), &members[0].0);
    let first = bench.send_join(leader);
    let second = bench.send_join(again(&newcomer("b"), &members[1].0));
    assert!(bench.joined(first).expect("there").result.is_ok(), "a known member is let in");
    assert!(bench.joined(second).expect("there").result.is_ok());
}

#[test]
fn p82_a_group_loaded_above_its_maximum_rebalances_and_sheds_members() {
    let mut bench = Bench::new();
    let members = bench.stable(vec![newcomer("a"), newcomer("b"), newcomer("c")]);
    bench.settings.group_size_max = 2;
    bench.crash();
    assert_eq!(state(&bench), State::PreparingRebalance);
    let replies: Vec<_> =
        members.iter().map(|(member, _)| bench.send_join(again(&newcomer("x"), member))).collect();
    bench.pass(i64::from(REBALANCE_MS));
    let results: Vec<_> =
        replies.into_iter().map(|id| bench.joined(id).expect("answered").result).collect();
    assert!(results[0].is_ok() && results[1].is_ok());
    assert_eq!(results[2], Err(JoinError::GroupFull));
}

#[test]
fn p83_heartbeats_by_state() {
    let mut bench = Bench::with(GroupSettings::default());
    let ghost = MemberId::from("ghost");
    assert_eq!(bench.beat(&ghost, 0), Err(HeartbeatError::UnknownMember), "no group");
    let nameless = bench.core.heartbeat(
        crate::model::time::Timestamp(bench.now),
        &GroupId::from(""),
        &ghost,
        None,
        0,
    );
    assert_eq!(nameless, Err(HeartbeatError::InvalidGroupId));

    let (member, parked) = bench.enter(newcomer("a"));
    assert_eq!(state(&bench), State::PreparingRebalance);
    assert_eq!(bench.beat(&member, 0), Err(HeartbeatError::RebalanceInProgress));
    bench.pass(3_000);
    let joined = bench.joined(parked).expect("over").result.expect("joined");
    assert_eq!(state(&bench), State::CompletingRebalance);
    assert_eq!(bench.beat(&member, 1), Ok(()));
    assert_eq!(bench.beat(&member, 0), Err(HeartbeatError::IllegalGeneration));
    bench.assign(&[(member.clone(), joined)]);
    assert_eq!(state(&bench), State::Stable);
    assert_eq!(bench.beat(&member, 1), Ok(()));
    assert_eq!(bench.beat(&member, 2), Err(HeartbeatError::IllegalGeneration));
    assert_eq!(bench.beat(&ghost, 1), Err(HeartbeatError::UnknownMember));
    assert_eq!(bench.leave(&[(member.as_str(), None)]), [Ok(())]);
    assert_eq!(state(&bench), State::Empty);
    assert_eq!(bench.beat(&member, 1), Err(HeartbeatError::UnknownMember));
}

#[test]
fn p83_a_silent_member_is_removed_and_every_sign_of_life_counts() {
    let mut bench = Bench::new();
    let members = bench.stable(vec![newcomer("a"), newcomer("b")]);
    let (leader, other) = (&members[0].0, &members[1].0);
    for round in 0..6 {
        bench.pass(i64::from(SESSION_MS) - 1);
        match round {
            0 | 3 => assert_eq!(bench.beat(other, 1), Ok(())),
            1 => {
                let sync = bench.send_sync(sync_request(other, 1));
                assert!(bench.synced(sync).is_some());
            }
            2 => {
                let join = bench.send_join(again(&newcomer("b"), other));
                assert!(bench.joined(join).is_some(), "a follower that repeats itself");
            }
            _ => {
                let commit = crate::group::commit::CommitRequest {
                    member: other.clone(),
                    generation: 1,
                    ..crate::group::fixtures::simple_commit(0, round)
                };
                let done = bench.run(|core, now, step| core.commit_offsets(now, &commit, step));
                assert!(done.is_ok());
            }
        }
        assert_eq!(bench.beat(leader, 1), Ok(()));
    }
    bench.pass(i64::from(SESSION_MS) - 1);
    assert_eq!(bench.beat(leader, 1), Ok(()));
    bench.pass(1);
    assert_eq!(bench.beat(other, 1), Err(HeartbeatError::UnknownMember), "silent too long");
    assert_eq!(bench.beat(leader, 1), Err(HeartbeatError::RebalanceInProgress));
}

#[test]
fn p83_members_that_never_sync_are_removed() {
    let mut bench = Bench::new();
    let members = bench.gather(vec![newcomer("a"), newcomer("b")]);
    let (leader, other) = (&members[0].0, &members[1].0);
    let all = vec![(leader.clone(), own_assignment(leader))];
    let sync = SyncRequest { assignments: all, ..sync_request(leader, 1) };
    let sync = bench.send_sync(sync);
    assert!(bench.synced(sync).is_some());
    for _ in 0..59 {
        bench.pass(1_000);
        assert_eq!(bench.beat(leader, 1), Ok(()));
        assert_eq!(bench.beat(other, 1), Ok(()), "it lives, but never asks");
    }
    bench.pass(1_000);
    assert_eq!(bench.beat(other, 1), Err(HeartbeatError::UnknownMember));
    assert_eq!(bench.beat(leader, 1), Err(HeartbeatError::RebalanceInProgress));
}

#[test]
fn p83_sync_is_checked_and_waits_for_the_leader() {
    let mut bench = Bench::new();
    let members = bench.gather(vec![newcomer("a"), newcomer("b")]);
    let (leader, other) = (&members[0].0, &members[1].0);
    let mut refused = |request: SyncRequest| {
        let id = bench.send_sync(request);
        bench.synced(id).expect("refused at once").expect_err("refused")
    };
    let good = sync_request(other, 1);
    let nameless = SyncRequest { group: GroupId::from(""), ..good.clone() };
    assert_eq!(refused(nameless), SyncError::InvalidGroupId);
    let elsewhere = SyncRequest { group: GroupId::from("h"), ..good.clone() };
    assert_eq!(refused(elsewhere), SyncError::UnknownMember);
    assert_eq!(refused(sync_request(&MemberId::from("x"), 1)), SyncError::UnknownMember);
    assert_eq!(refused(sync_request(other, 2)), SyncError::IllegalGeneration);
    let wrong = SyncRequest { protocol: Some("sticky".into()), ..good.clone() };
    assert_eq!(refused(wrong), SyncError::InconsistentProtocol);
    let wrong = SyncRequest { protocol_type: Some("connect".into()), ..good.clone() };
    assert_eq!(refused(wrong), SyncError::InconsistentProtocol);

    let parked = bench.send_sync(good.clone());
    assert_eq!(bench.synced(parked), None);
    let second = bench.send_sync(good);
    assert_eq!(bench.synced(parked), Some(Err(SyncError::RebalanceInProgress)), "superseded");
    let records = bench.log.len();
    let assignments = vec![(other.clone(), Bytes::from_static(b"yours"))];
    let lead = bench.send_sync(SyncRequest { assignments, ..sync_request(leader, 1) });
    assert_eq!(bench.log.len(), records + 1, "the generation is recorded");
    let synced = bench.synced(second).expect("assigned").expect("assigned");
    assert_eq!((&*synced.assignment, synced.protocol.as_deref()), (&b"yours"[..], Some("range")));
    let synced = bench.synced(lead).expect("assigned").expect("assigned");
    assert_eq!(synced.assignment, Bytes::new(), "the leader forgot itself");
}

#[test]
fn p83_a_rebalance_cancels_waiting_syncs() {
    let mut bench = Bench::new();
    let members = bench.gather(vec![newcomer("a"), newcomer("b")]);
    let parked = bench.send_sync(sync_request(&members[1].0, 1));
    bench.enter(newcomer("c"));
    assert_eq!(bench.synced(parked), Some(Err(SyncError::RebalanceInProgress)));
    let late = bench.send_sync(sync_request(&members[0].0, 1));
    assert_eq!(bench.synced(late), Some(Err(SyncError::RebalanceInProgress)));
}

#[test]
fn p83_a_join_repeated_while_completing_is_answered_from_the_generation() {
    let mut bench = Bench::new();
    let members = bench.gather(vec![newcomer("a"), newcomer("b")]);
    let repeated = bench.join_now(again(&newcomer("a"), &members[0].0));
    assert_eq!(repeated.result.as_ref(), Ok(&members[0].1));
    let changed = with_protocols(newcomer("b"), &[("range", b"changed")]);
    let changed = bench.send_join(again(&changed, &members[1].0));
    assert_eq!(bench.joined(changed), None);
    assert_eq!(state(&bench), State::PreparingRebalance, "new metadata: a new generation");
}

#[test]
fn p84_a_static_member_takes_its_place_without_rebalance() {
    let mut bench = Bench::new();
    let members = bench.stable(vec![static_newcomer("s1"), static_newcomer("s2")]);
    let leads = members[0].0.as_str().starts_with("s1-");
    let (leader, follower) = if leads { ("s1", "s2") } else { ("s2", "s1") };
    let (old_leader, old_follower) = (members[0].0.clone(), members[1].0.clone());

    let records = bench.log.len();
    let reply = bench.join_now(static_newcomer(follower));
    let joined = reply.result.expect("it is back");
    assert_ne!(reply.member, old_follower);
    assert_eq!((joined.generation, state(&bench)), (1, State::Stable));
    assert!(!joined.skip_assignment && joined.members.is_empty());
    assert_eq!(bench.log.len(), records + 1, "its new id is recorded");
    let sync = bench.send_sync(sync_request(&reply.member, 1));
    let assignment = bench.synced(sync).expect("stable").expect("synced").assignment;
    assert_eq!(assignment, own_assignment(&old_follower), "it keeps what it had");

    let with_instance = |member: &MemberId| SyncRequest {
        instance: Some(InstanceId::from(follower)),
        ..sync_request(member, 1)
    };
    let fenced = bench.send_sync(with_instance(&old_follower));
    assert_eq!(bench.synced(fenced), Some(Err(SyncError::FencedInstance)));
    let fenced = JoinRequest { member: old_follower.clone(), ..static_newcomer(follower) };
    assert_eq!(bench.join_now(fenced).result, Err(JoinError::FencedInstance));
    assert_eq!(bench.beat(&old_follower, 1), Err(HeartbeatError::UnknownMember));

    let reply = bench.join_now(static_newcomer(leader));
    let joined = reply.result.expect("the leader is back");
    assert!(joined.skip_assignment, "v9: there is nothing to assign");
    assert_eq!((joined.leader, joined.members.len()), (reply.member.clone(), 2));
    let old = JoinRequest { supports_skip_assignment: false, ..static_newcomer(leader) };
    let again = bench.join_now(old);
    let joined = again.result.expect("it is back once more");
    assert_eq!(joined.leader, reply.member, "before v9: another id seems to lead");
    assert_ne!(joined.leader, old_leader);
    assert!(!joined.skip_assignment && joined.members.is_empty());
}

#[test]
fn p84_a_static_member_with_other_protocols_rebalances() {
    let mut bench = Bench::new();
    let both: &[(&str, &[u8])] = &[("range", b"r"), ("sticky", b"s")];
    let s1 = with_protocols(static_newcomer("s1"), both);
    bench.stable(vec![s1, with_protocols(static_newcomer("s2"), both)]);
    let sticky = with_protocols(static_newcomer("s2"), &[("sticky", b"s")]);
    let parked = bench.send_join(sticky);
    assert_eq!(bench.joined(parked), None);
    assert_eq!(state(&bench), State::PreparingRebalance);
}

#[test]
fn p84_a_static_member_that_returns_while_completing_rebalances() {
    let mut bench = Bench::new();
    let members = bench.gather(vec![static_newcomer("s1"), static_newcomer("s2")]);
    let waiting = bench.send_sync(sync_request(&members[1].0, 1));
    let instance = members[1].0.as_str()[..2].to_owned();
    let parked = bench.send_join(static_newcomer(&instance));
    assert_eq!(bench.synced(waiting), Some(Err(SyncError::FencedInstance)));
    assert_eq!(bench.joined(parked), None);
    assert_eq!(state(&bench), State::PreparingRebalance);
    let second = bench.send_join(static_newcomer(&instance));
    let fenced = bench.joined(parked).expect("its successor waits now");
    assert_eq!(fenced.result, Err(JoinError::FencedInstance));
    assert_eq!(bench.joined(second), None);
}

#[test]
fn p84_static_members_outlive_a_rebalance_they_miss() {
    let mut bench = Bench::new();
    let long = |request| JoinRequest { session_timeout_ms: 600_000, ..request };
    let members = bench.stable(vec![long(static_newcomer("s1")), long(newcomer("d"))]);
    let is_static = |(id, _): &&(MemberId, _)| id.as_str().starts_with("s1-");
    let fixed = members.iter().find(is_static).expect("there").0.clone();
    let dynamic = members.iter().find(|m| !is_static(m)).expect("there").0.clone();
    let (_, newest) = bench.enter(long(newcomer("c")));
    bench.pass(i64::from(REBALANCE_MS));
    let joined = bench.joined(newest).expect("time is up").result.expect("joined");
    let ids: Vec<&MemberId> = joined.members.iter().map(|member| &member.id).collect();
    assert!(ids.contains(&&fixed), "the newcomer leads, and is told of the static member");
    assert!(!ids.contains(&&dynamic), "a dynamic member is out");
}

#[test]
fn p84_leaving_is_batched_and_may_name_instances() {
    let mut bench = Bench::new();
    let members = bench.stable(vec![static_newcomer("s1"), static_newcomer("s2"), newcomer("d")]);
    let id = |prefix: &str| {
        let found = members.iter().find(|(id, _)| id.as_str().starts_with(prefix));
        found.expect("there").0.as_str().to_owned()
    };
    let pending = bench.join_now(newcomer("p")).member;
    let results = bench.leave(&[
        ("", Some("s1")),
        ("", Some("nobody")),
        ("", None),
        (&id("s1-"), Some("s1")),
        ("wrong", Some("s2")),
        (&id("d-"), None),
        ("ghost", None),
        (pending.as_str(), None),
    ]);
    let unknown = Err(MemberError::UnknownMember);
    let fenced = Err(MemberError::FencedInstance);
    assert_eq!(results, [Ok(()), unknown, unknown, unknown, fenced, Ok(()), unknown, Ok(())]);
    assert_eq!(state(&bench), State::PreparingRebalance, "s2 remains");
    assert_eq!(bench.leave(&[("", Some("s2"))]), [Ok(())]);
    assert_eq!(state(&bench), State::Empty);
    let mut elsewhere = Bench::new();
    assert_eq!(elsewhere.leave(&[("a", None), ("b", None)]), [unknown, unknown], "no group");
}

#[test]
fn p84_whoever_leaves_gets_an_answer_to_what_it_waits_for() {
    let mut bench = Bench::new();
    let members = bench.gather(vec![newcomer("a"), newcomer("b")]);
    let sync = bench.send_sync(sync_request(&members[1].0, 1));
    bench.leave(&[(members[1].0.as_str(), None)]);
    assert_eq!(bench.synced(sync), Some(Err(SyncError::UnknownMember)));
    let join = bench.send_join(again(&newcomer("a"), &members[0].0));
    assert!(bench.joined(join).expect("alone now").result.is_ok());
    let (member, join) = bench.enter(newcomer("c"));
    bench.leave(&[(member.as_str(), None)]);
    assert_eq!(bench.joined(join).expect("answered").result, Err(JoinError::UnknownMember));
    assert!(bench.parked.is_empty());
}

#[test]
fn p85_the_leader_rebalances_when_it_joins_again_and_bytes_stay_opaque() {
    let mut bench = Bench::new();
    let odd = with_protocols(newcomer("a"), &[("cooperative-sticky", &[0xff; 9])]);
    let members = bench.stable(vec![odd.clone(), odd.clone()]);
    let follower = bench.join_now(again(&odd, &members[1].0)).result.expect("stable");
    assert_eq!(follower.generation, 1, "a follower that repeats itself changes nothing");
    let leader = bench.send_join(again(&odd, &members[0].0));
    assert_eq!(bench.joined(leader), None);
    assert_eq!(bench.beat(&members[1].0, 1), Err(HeartbeatError::RebalanceInProgress));
    let follower = bench.send_join(again(&odd, &members[1].0));
    let first = bench.joined(leader).expect("all are back").result.expect("joined");
    assert_eq!(first.generation, 2, "quickly, since both are there");
    assert!(first.members.iter().all(|member| member.metadata == [0xff; 9][..]));
    assert!(bench.joined(follower).is_some());
}

#[test]
fn a_new_member_that_waits_five_minutes_is_told_to_start_over() {
    let mut bench = Bench::new();
    let slow = JoinRequest { rebalance_timeout_ms: 900_000, ..newcomer("slow") };
    let slow = JoinRequest { session_timeout_ms: 1_800_000, ..slow };
    bench.stable(vec![slow]);
    let (_, parked) = bench.enter(newcomer("new"));
    bench.pass(299_999);
    assert_eq!(bench.joined(parked), None);
    bench.pass(1);
    let reply = bench.joined(parked).expect("five minutes are over");
    assert_eq!(reply.result, Err(JoinError::UnknownMember));
}

#[test]
fn a_group_that_does_not_fit_a_record_is_not_assigned() {
    let mut bench = Bench::with(GroupSettings {
        initial_rebalance_delay_ms: 0,
        record_bytes_max: 2_000,
        ..GroupSettings::default()
    });
    let huge = with_protocols(newcomer("a"), &[("range", &[0; 2_001])]);
    assert_eq!(bench.join_now(huge).result, Err(JoinError::MetadataTooLarge));
    let large = |name| with_protocols(newcomer(name), &[("range", &[0; 900])]);
    let members = bench.gather(vec![large("a"), large("b"), large("c")]);
    let follower = bench.send_sync(sync_request(&members[1].0, 1));
    let leader = bench.send_sync(sync_request(&members[0].0, 1));
    assert_eq!(bench.synced(leader), Some(Err(SyncError::GroupTooLarge)));
    assert_eq!(bench.synced(follower), Some(Err(SyncError::GroupTooLarge)));
    assert_eq!(state(&bench), State::PreparingRebalance);
}

#[test]
fn a_group_holds_a_bounded_amount_of_metadata() {
    let mut bench = Bench::with(GroupSettings {
        initial_rebalance_delay_ms: 0,
        record_bytes_max: 1_000,
        ..GroupSettings::default()
    });
    let mut accepted = 0;
    for _ in 0..40 {
        let request = with_protocols(newcomer("a"), &[("range", &[0; 900])]);
        match bench.join_now(request.clone()) {
            reply if reply.result == Err(JoinError::MemberIdRequired) => {
                bench.send_join(again(&request, &reply.member));
                accepted += 1;
            }
            reply => assert_eq!(reply.result, Err(JoinError::GroupFull)),
        }
    }
    assert_eq!(accepted, 17, "16 records' worth, and the protocol's name");
}

#[test]
fn ids_that_nobody_joins_with_are_limited() {
    let mut bench = Bench::new();
    for _ in 0..PENDING_MEMBERS_PER_GROUP_MAX {
        let reply = bench.join_now(newcomer("a"));
        assert_eq!(reply.result, Err(JoinError::MemberIdRequired));
    }
    assert_eq!(bench.join_now(newcomer("a")).result, Err(JoinError::Busy));
    bench.pass(i64::from(SESSION_MS));
    assert_eq!(bench.join_now(newcomer("a")).result, Err(JoinError::MemberIdRequired));
}

#[test]
fn unloading_answers_everything() {
    let mut bench = Bench::new();
    let members = bench.gather(vec![newcomer("a"), newcomer("b")]);
    let sync = bench.send_sync(sync_request(&members[1].0, 1));
    let elsewhere = JoinRequest { group: GroupId::from("h"), ..newcomer("c") };
    let (_, join) = bench.enter(elsewhere);
    bench.run(|core, _, step| core.unload(step));
    assert_eq!(bench.synced(sync), Some(Err(SyncError::Unloaded)));
    assert_eq!(bench.joined(join).expect("answered").result, Err(JoinError::Unloaded));
    assert!(bench.parked.is_empty());
}

#[test]
fn a_generation_survives_a_crash_with_its_assignments() {
    let mut bench = Bench::new();
    let members = bench.stable(vec![newcomer("a"), static_newcomer("s")]);
    bench.crash();
    assert_eq!(state(&bench), State::Stable);
    for (member, _) in &members {
        assert_eq!(bench.beat(member, 1), Ok(()));
        let sync = bench.send_sync(sync_request(member, 1));
        let synced = bench.synced(sync).expect("stable").expect("synced");
        assert_eq!(synced.assignment, own_assignment(member));
    }
    bench.pass(i64::from(SESSION_MS));
    assert_eq!(state(&bench), State::Empty, "sessions begin anew after a load");
    bench.crash();
    assert_eq!(state(&bench), State::Empty);
}
