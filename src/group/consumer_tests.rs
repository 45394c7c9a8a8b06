//! The rules of KIP-848 groups, one by one (`protocol.md` P90), and a seeded simulation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::groups::OwnGroupSettings;
use crate::group::admin::DeleteGroupError;
use crate::group::assignor::Assignment;
use crate::group::classic::join::{JoinError, JoinRequest};
use crate::group::commit::{CommitError, CommitRequest, FetchError};
use crate::group::consumer::group::ConsumerState;
use crate::group::consumer::heartbeat::{ConsumerError, ConsumerHeartbeat, ConsumerReply};
use crate::group::consumer::member::{EPOCH_LEAVE, EPOCH_LEAVE_STATIC, MemberState};
use crate::group::consumer::topics::{TopicInfo, Topics};
use crate::group::fixtures::{Bench, group, newcomer, simple_commit};
use crate::group::ids::{GroupId, InstanceId, MemberId};
use crate::group::settings::{GroupSettings, OwnSettings};
use crate::model::ids::{PartitionIndex, TopicId};
use crate::testing::prng::Prng;
use crate::testing::seeds::seeds;

/// Topics that a test makes.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    topics: BTreeMap<String, TopicInfo>,
    version: i64,
}

impl Topics for Cluster {
    fn version(&self) -> i64 {
        self.version
    }

    fn topic(&self, name: &str) -> Option<TopicInfo> {
        self.topics.get(name).copied()
    }

    fn name(&self, id: TopicId) -> Option<String> {
        self.topics.iter().find(|(_, info)| info.id == id).map(|(name, _)| name.clone())
    }

    fn for_each_name(&self, visit: &mut dyn FnMut(&str)) {
        self.topics.keys().for_each(|name| visit(name));
    }
}

impl Cluster {
    pub fn of(topics: &[(&str, i32)]) -> Cluster {
        let mut cluster = Cluster::default();
        for (name, partitions) in topics {
            cluster.set(name, *partitions);
        }
        cluster
    }

    fn set(&mut self, name: &str, partitions: i32) {
        self.version += 1;
        let fresh = u8::try_from(self.topics.len() + 1).unwrap();
        let id = self.topics.get(name).map_or(TopicId([fresh; 16]), |info| info.id);
        self.topics.insert(name.to_owned(), TopicInfo { id, partitions });
    }

    pub fn id(&self, name: &str) -> TopicId {
        self.topics[name].id
    }

    pub fn some(&self, name: &str, partitions: &[i32]) -> Assignment {
        let partitions = partitions.iter().copied().map(PartitionIndex).collect();
        Assignment::from([(self.id(name), partitions)])
    }
}

pub fn settings() -> GroupSettings {
    GroupSettings {
        consumer_assignment_interval_ms: 0,
        initial_rebalance_delay_ms: 0,
        ..GroupSettings::default()
    }
}

/// A first heartbeat, by version 1 of the request.
pub fn first(member: &str, topics: &[&str]) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        group: group(),
        member: MemberId::from(member),
        names_itself: false,
        epoch: 0,
        instance: None,
        rack: None,
        rebalance_timeout_ms: 60_000,
        topics: Some(topics.iter().map(|name| Box::from(*name)).collect()),
        regex: None,
        assignor: None,
        owned: Some(Assignment::new()),
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        fresh: [9; 16],
    }
}

/// A later heartbeat with nothing new.
pub fn later(member: &str, epoch: i32) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        epoch,
        rebalance_timeout_ms: -1,
        topics: None,
        owned: None,
        ..first(member, &[])
    }
}

pub fn owning(member: &str, epoch: i32, owned: Assignment) -> ConsumerHeartbeat {
    ConsumerHeartbeat { owned: Some(owned), ..later(member, epoch) }
}

fn of_instance(request: ConsumerHeartbeat, instance: &str) -> ConsumerHeartbeat {
    ConsumerHeartbeat { instance: Some(InstanceId::from(instance)), ..request }
}

pub fn beat(
    bench: &mut Bench,
    cluster: &Cluster,
    request: &ConsumerHeartbeat,
) -> Result<ConsumerReply, ConsumerError> {
    bench.run(|core, now, step| {
        core.set_topics(Arc::new(cluster.clone()));
        core.consumer_heartbeat(now, request, step)
    })
}

pub fn epoch_and_assignment(
    bench: &mut Bench,
    cluster: &Cluster,
    request: &ConsumerHeartbeat,
) -> (i32, Option<Assignment>) {
    let reply = beat(bench, cluster, request).expect("accepted");
    (reply.epoch, reply.assignment)
}

fn state(bench: &Bench) -> ConsumerState {
    bench.core.consumer_group(&group()).expect("a KIP-848 group").state()
}

#[test]
fn p90_a_first_member_is_assigned_everything() {
    let (mut bench, cluster) = (Bench::with(settings()), Cluster::of(&[("t", 3), ("u", 1)]));
    let reply = beat(&mut bench, &cluster, &first("a", &["t", "nowhere"])).expect("it joins");
    assert_eq!((reply.epoch, reply.heartbeat_interval_ms), (2, 5_000));
    assert_eq!(reply.assignment, Some(cluster.some("t", &[0, 1, 2])));
    assert_eq!(state(&bench), ConsumerState::Stable);
    assert_eq!(epoch_and_assignment(&mut bench, &cluster, &later("a", 2)), (2, None), "no news");
    let all = ConsumerHeartbeat { epoch: 2, ..first("a", &["t", "nowhere"]) };
    let told = epoch_and_assignment(&mut bench, &cluster, &all);
    assert_eq!(told, (2, Some(cluster.some("t", &[0, 1, 2]))), "a full request is told all");
}

#[test]
fn p90_version_0_has_its_id_made_by_the_broker() {
    let (mut bench, cluster) = (Bench::with(settings()), Cluster::of(&[("t", 1)]));
    let reply = beat(&mut bench, &cluster, &first("", &["t"])).expect("it joins");
    assert_eq!(reply.member.as_str().len(), 22);
    let again = beat(&mut bench, &cluster, &later(reply.member.as_str(), 2));
    assert_eq!(again.map(|reply| reply.epoch), Ok(2));
}

#[test]
fn p90_a_partition_moves_only_when_it_is_given_up() {
    let (mut bench, cluster) = (Bench::with(settings()), Cluster::of(&[("t", 4)]));
    beat(&mut bench, &cluster, &first("a", &["t"])).expect("it joins");
    let told = epoch_and_assignment(&mut bench, &cluster, &first("b", &["t"]));
    assert_eq!(told, (3, Some(Assignment::new())), "all is held");
    assert_eq!(state(&bench), ConsumerState::Reconciling);
    let told = epoch_and_assignment(&mut bench, &cluster, &later("a", 2));
    let (epoch, kept) = (told.0, told.1.expect("its assignment has changed"));
    assert_eq!((epoch, kept[&cluster.id("t")].len()), (2, 2), "it stays at its epoch");
    let all = cluster.some("t", &[0, 1, 2, 3]);
    assert_eq!(epoch_and_assignment(&mut bench, &cluster, &owning("a", 2, all)), (2, None));
    assert_eq!(epoch_and_assignment(&mut bench, &cluster, &later("b", 3)), (3, None));
    assert_eq!(
        epoch_and_assignment(&mut bench, &cluster, &owning("a", 2, kept.clone())),
        (3, None)
    );
    let (epoch, given) = epoch_and_assignment(&mut bench, &cluster, &later("b", 3));
    let given = given.expect("what a gave up");
    assert_eq!((epoch, given[&cluster.id("t")].len()), (3, 2));
    assert!(given[&cluster.id("t")].is_disjoint(&kept[&cluster.id("t")]));
    assert_eq!(state(&bench), ConsumerState::Stable);
}

#[test]
fn p90_wrong_epochs_are_fenced_but_a_lost_answer_is_not() {
    let (mut bench, cluster) = (Bench::with(settings()), Cluster::of(&[("t", 2)]));
    assert_eq!(beat(&mut bench, &cluster, &later("a", 2)), Err(ConsumerError::NoGroup));
    let joined = epoch_and_assignment(&mut bench, &cluster, &first("a", &["t"]));
    let again = epoch_and_assignment(&mut bench, &cluster, &first("a", &["t"]));
    assert_eq!(joined, again, "the answer to its first heartbeat was lost");
    let fenced = Err(ConsumerError::FencedEpoch);
    assert_eq!(beat(&mut bench, &cluster, &later("a", 3)), fenced);
    assert_eq!(beat(&mut bench, &cluster, &later("x", 2)), Err(ConsumerError::UnknownMember));
    beat(&mut bench, &cluster, &first("b", &["t"])).expect("it joins");
    let (_, kept) = epoch_and_assignment(&mut bench, &cluster, &later("a", 2));
    let kept = kept.expect("one is to be given up");
    let all = cluster.some("t", &[0, 1]);
    let caught_up = beat(&mut bench, &cluster, &owning("a", 2, kept.clone())).expect("it has");
    assert_eq!(caught_up.epoch, 3);
    let repeated = beat(&mut bench, &cluster, &owning("a", 2, kept)).expect("that answer was lost");
    assert_eq!(repeated.epoch, 3);
    assert_eq!(beat(&mut bench, &cluster, &owning("a", 2, all)), fenced, "more than it may have");
    assert_eq!(beat(&mut bench, &cluster, &later("a", 2)), fenced, "it does not say what it has");
}

#[test]
fn p90_members_leave_expire_and_are_fenced_if_they_keep_what_they_should_not() {
    let (mut bench, cluster) = (Bench::with(settings()), Cluster::of(&[("t", 2)]));
    for member in ["a", "b"] {
        beat(&mut bench, &cluster, &first(member, &["t"])).expect("it joins");
    }
    let left = beat(&mut bench, &cluster, &later("b", EPOCH_LEAVE)).expect("it leaves");
    assert_eq!((left.epoch, left.assignment), (EPOCH_LEAVE, None));
    assert_eq!(beat(&mut bench, &cluster, &later("b", 3)), Err(ConsumerError::UnknownMember));
    assert_eq!(epoch_and_assignment(&mut bench, &cluster, &later("a", 2)).0, 4);

    let slow = ConsumerHeartbeat { rebalance_timeout_ms: 20_000, ..later("a", 4) };
    beat(&mut bench, &cluster, &slow).expect("it may take 20 s");
    beat(&mut bench, &cluster, &first("c", &["t"])).expect("it joins");
    let (epoch, kept) = epoch_and_assignment(&mut bench, &cluster, &later("a", 4));
    assert_eq!((epoch, kept.expect("less")[&cluster.id("t")].len()), (4, 1));
    bench.pass(19_999);
    assert_eq!(epoch_and_assignment(&mut bench, &cluster, &later("a", 4)).0, 4);
    assert_eq!(epoch_and_assignment(&mut bench, &cluster, &later("c", 5)).0, 5);
    bench.pass(1);
    assert_eq!(beat(&mut bench, &cluster, &later("a", 4)), Err(ConsumerError::UnknownMember));
    let (epoch, all) = epoch_and_assignment(&mut bench, &cluster, &later("c", 5));
    assert_eq!((epoch, all), (6, Some(cluster.some("t", &[0, 1]))));

    bench.pass(44_999);
    assert_eq!(bench.core.consumer_group(&group()).expect("there").members().len(), 1);
    bench.pass(1);
    assert_eq!(state(&bench), ConsumerState::Empty, "a silent member is out");
    bench.crash();
    assert_eq!(state(&bench), ConsumerState::Empty);
}

#[test]
fn p90_a_static_member_leaves_for_a_while() {
    let (mut bench, cluster) = (Bench::with(settings()), Cluster::of(&[("t", 2)]));
    let join = |member: &str| of_instance(first(member, &["t"]), "i");
    beat(&mut bench, &cluster, &join("a")).expect("it joins");
    assert_eq!(beat(&mut bench, &cluster, &join("b")), Err(ConsumerError::UnreleasedInstance));
    let stranger = of_instance(later("b", 2), "i");
    assert_eq!(beat(&mut bench, &cluster, &stranger), Err(ConsumerError::FencedInstance));
    let nobody = of_instance(later("a", 2), "other");
    assert_eq!(beat(&mut bench, &cluster, &nobody), Err(ConsumerError::UnknownMember));
    let away = of_instance(later("a", EPOCH_LEAVE_STATIC), "i");
    assert_eq!(beat(&mut bench, &cluster, &away).map(|r| r.epoch), Ok(EPOCH_LEAVE_STATIC));
    let back = of_instance(later("a", 2), "i");
    assert_eq!(beat(&mut bench, &cluster, &back), Err(ConsumerError::FencedEpoch));
    bench.crash();
    let reply = beat(&mut bench, &cluster, &join("b")).expect("it takes a's place");
    assert_eq!((reply.epoch, reply.assignment), (2, Some(cluster.some("t", &[0, 1]))));
    assert_eq!(bench.core.consumer_group(&group()).expect("there").epoch(), 2, "no rebalance");
    assert_eq!(beat(&mut bench, &cluster, &back), Err(ConsumerError::FencedInstance));

    let away = of_instance(later("b", EPOCH_LEAVE_STATIC), "i");
    beat(&mut bench, &cluster, &away).expect("it leaves");
    let reply = beat(&mut bench, &cluster, &join("b")).expect("the same process is back");
    assert_eq!((reply.epoch, reply.assignment), (2, Some(cluster.some("t", &[0, 1]))));
    beat(&mut bench, &cluster, &away).expect("it leaves");
    bench.pass(45_000);
    assert_eq!(state(&bench), ConsumerState::Empty, "its place is kept for a session");
}

#[test]
fn p90_expressions_follow_the_topics() {
    let mut cluster = Cluster::of(&[("foo1", 1), ("foo2", 1), ("bar", 1)]);
    let mut bench = Bench::with(settings());
    let by_regex = |regex: &str| ConsumerHeartbeat {
        topics: None,
        regex: Some(regex.into()),
        ..first("a", &[])
    };
    let invalid = beat(&mut bench, &cluster, &by_regex("foo("));
    assert_eq!(invalid, Err(ConsumerError::InvalidRegex));
    let (epoch, given) = epoch_and_assignment(&mut bench, &cluster, &by_regex("foo.*"));
    assert_eq!((epoch, given.map(|given| given.len())), (2, Some(2)));
    cluster.set("foo3", 1);
    bench.pass(9_999);
    assert_eq!(epoch_and_assignment(&mut bench, &cluster, &later("a", 2)), (2, None), "too soon");
    bench.pass(1);
    let (epoch, given) = epoch_and_assignment(&mut bench, &cluster, &later("a", 2));
    assert_eq!((epoch, given.map(|given| given.len())), (3, Some(3)));
    assert!(bench.core.groups[&group()].is_subscribed_to("foo3"));
    let named = ConsumerHeartbeat {
        topics: Some(vec!["bar".into()]),
        regex: Some("".into()),
        owned: Some(Assignment::new()),
        ..later("a", 3)
    };
    let (epoch, given) = epoch_and_assignment(&mut bench, &cluster, &named);
    assert_eq!((epoch, given), (4, Some(cluster.some("bar", &[0]))));
    assert!(!bench.core.groups[&group()].is_subscribed_to("foo3"));
}

#[test]
fn p90_more_partitions_make_a_new_epoch() {
    let mut cluster = Cluster::of(&[("t", 1), ("other", 1)]);
    let mut bench = Bench::with(settings());
    beat(&mut bench, &cluster, &first("a", &["t"])).expect("it joins");
    cluster.set("other", 2);
    assert_eq!(
        epoch_and_assignment(&mut bench, &cluster, &later("a", 2)),
        (2, None),
        "not its topic"
    );
    cluster.set("t", 2);
    let told = epoch_and_assignment(&mut bench, &cluster, &later("a", 2));
    assert_eq!(told, (3, Some(cluster.some("t", &[0, 1]))));
    bench.crash();
    assert_eq!(epoch_and_assignment(&mut bench, &cluster, &later("a", 3)), (3, None));
}

#[test]
fn p90_requests_that_contradict_themselves_are_refused() {
    let (mut bench, cluster) = (Bench::with(settings()), Cluster::of(&[("t", 1)]));
    let good = first("a", &["t"]);
    let one = cluster.some("t", &[0]);
    for request in [
        ConsumerHeartbeat { group: GroupId::from(""), ..good.clone() },
        ConsumerHeartbeat { rebalance_timeout_ms: -1, ..good.clone() },
        ConsumerHeartbeat { owned: None, ..good.clone() },
        ConsumerHeartbeat { owned: Some(one), ..good.clone() },
        ConsumerHeartbeat { topics: None, ..good.clone() },
        ConsumerHeartbeat { epoch: -3, ..good.clone() },
        ConsumerHeartbeat { names_itself: true, member: "".into(), ..good.clone() },
        ConsumerHeartbeat { epoch: 1, member: "".into(), ..good.clone() },
        ConsumerHeartbeat { epoch: EPOCH_LEAVE_STATIC, ..good.clone() },
        ConsumerHeartbeat { rack: Some("".into()), ..good.clone() },
        ConsumerHeartbeat { client_id: "x".repeat(40_000).into(), ..good.clone() },
        of_instance(good.clone(), ""),
        later("", 2),
    ] {
        let refused = beat(&mut bench, &cluster, &request);
        assert!(matches!(refused, Err(ConsumerError::Invalid(_))), "{request:?}: {refused:?}");
    }
    let odd = ConsumerHeartbeat { assignor: Some("sticky".into()), ..good.clone() };
    assert_eq!(beat(&mut bench, &cluster, &odd), Err(ConsumerError::UnsupportedAssignor));
    assert_eq!(bench.core.group_count(), 0, "and make no group");
    let wish = ConsumerHeartbeat { assignor: Some("range".into()), ..good };
    assert!(beat(&mut bench, &cluster, &wish).is_ok());
    let consumer = bench.core.consumer_group(&group()).expect("there");
    assert_eq!(consumer.assignor(&bench.settings).name(), "range");
}

/// What `group()` has set for itself.
#[derive(Debug)]
struct Own(OwnGroupSettings);

impl OwnSettings for Own {
    fn of(&self, id: &GroupId) -> Option<OwnGroupSettings> {
        (*id == group()).then_some(self.0)
    }
}

/// A session as long as the group has it set counts from the member's next heartbeat.
#[test]
fn p90_a_running_group_goes_by_its_own_session() {
    let cluster = Cluster::of(&[("t", 1)]);
    let mut bench = Bench::with(GroupSettings::default());
    let own = OwnGroupSettings { session_timeout_ms: Some(60_000), ..OwnGroupSettings::default() };
    beat(&mut bench, &cluster, &first("a", &["t"])).expect("it joins");
    bench.core.set_own_settings(Arc::new(Own(own)));
    beat(&mut bench, &cluster, &later("a", 2)).expect("a member");
    bench.pass(59_999);
    assert!(beat(&mut bench, &cluster, &later("a", 2)).is_ok(), "the broker's would be 45 s");
    bench.core.set_own_settings(Arc::new(Own(OwnGroupSettings::default())));
    assert!(beat(&mut bench, &cluster, &later("a", 2)).is_ok());
    bench.pass(45_000);
    assert_eq!(beat(&mut bench, &cluster, &later("a", 2)), Err(ConsumerError::UnknownMember));
}

#[test]
fn p90_a_group_has_at_most_its_maximum_of_members_and_settings_of_its_own() {
    let cluster = Cluster::of(&[("t", 1)]);
    let mut bench = Bench::with(GroupSettings { consumer_group_size_max: 1, ..settings() });
    let set = |bench: &mut Bench, interval: i32| {
        let heartbeat_interval_ms = Some(interval);
        bench.core.set_own_settings(Arc::new(Own(OwnGroupSettings {
            heartbeat_interval_ms,
            ..OwnGroupSettings::default()
        })));
    };
    set(&mut bench, 7_000);
    let reply = beat(&mut bench, &cluster, &first("a", &["t"])).expect("it joins");
    assert_eq!(reply.heartbeat_interval_ms, 7_000);
    for (own, told) in [(8_000, 8_000), (1, 5_000), (i32::MAX, 15_000)] {
        set(&mut bench, own);
        let reply = beat(&mut bench, &cluster, &later("a", 2)).expect("a member");
        assert_eq!(reply.heartbeat_interval_ms, told, "{own}: within the broker's limits");
    }
    let full = beat(&mut bench, &cluster, &first("b", &["t"]));
    assert_eq!(full, Err(ConsumerError::GroupFull));
    assert!(beat(&mut bench, &cluster, &later("a", 2)).is_ok());
}

#[test]
fn p90_targets_are_computed_no_more_often_than_the_interval() {
    let cluster = Cluster::of(&[("t", 4)]);
    let mut bench = Bench::with(GroupSettings::default());
    assert_eq!(epoch_and_assignment(&mut bench, &cluster, &first("a", &["t"])).0, 2);
    bench.pass(500);
    let told = epoch_and_assignment(&mut bench, &cluster, &first("b", &["t"]));
    assert_eq!(told, (2, Some(Assignment::new())), "the target is that of epoch 2");
    assert_eq!(state(&bench), ConsumerState::Assigning);
    bench.pass(499);
    assert_eq!(epoch_and_assignment(&mut bench, &cluster, &later("a", 2)), (2, None));
    bench.pass(1);
    let (_, kept) = epoch_and_assignment(&mut bench, &cluster, &later("a", 2));
    assert_eq!(kept.expect("less")[&cluster.id("t")].len(), 2);
}

#[test]
fn p90_empty_groups_change_their_kind() {
    let (mut bench, cluster) = (Bench::with(settings()), Cluster::of(&[("t", 1)]));
    let commit = |bench: &mut Bench| {
        let request = simple_commit(0, 5);
        bench.run(|core, now, step| core.commit_offsets(now, &request, step)).map(|_| ())
    };
    commit(&mut bench).expect("simple");
    beat(&mut bench, &cluster, &first("a", &["t"])).expect("a simple group is empty");
    assert_eq!(bench.position(0), Some(5), "its positions stay");
    let worker = JoinRequest { protocol_type: "connect".into(), ..newcomer("c") };
    let worker = bench.join_now(worker);
    assert_eq!(worker.result, Err(JoinError::InconsistentProtocol), "it has members");
    assert_eq!(bench.core.describe_group(&group()), None, "not a classic group");
    beat(&mut bench, &cluster, &later("a", EPOCH_LEAVE)).expect("it leaves");
    bench.crash();
    let members = bench.stable(vec![newcomer("c")]);
    assert!(bench.core.consumer_group(&group()).is_none());
    assert_eq!(bench.position(0), Some(5));
    bench.leave(&[(members[0].0.as_str(), None)]);
    bench.crash();
    beat(&mut bench, &cluster, &first("a", &["t"])).expect("empty again");
    bench.crash();
    assert_eq!(state(&bench), ConsumerState::Stable);
    assert_eq!(bench.position(0), Some(5));
}

#[test]
fn p90_commits_and_fetches_are_checked_against_the_epoch() {
    let (mut bench, cluster) = (Bench::with(settings()), Cluster::of(&[("t", 2)]));
    beat(&mut bench, &cluster, &first("a", &["t"])).expect("it joins");
    beat(&mut bench, &cluster, &first("b", &["t"])).expect("it joins");
    let (_, kept) = epoch_and_assignment(&mut bench, &cluster, &later("a", 2));
    let kept = kept.expect("less");
    let mine = kept[&cluster.id("t")].first().expect("one").0;
    assert_eq!(epoch_and_assignment(&mut bench, &cluster, &owning("a", 2, kept)).0, 3);
    let mut commit = |member: &str, epoch: i32, partition: i32| {
        let mut request = CommitRequest {
            member: MemberId::from(member),
            generation: epoch,
            ..simple_commit(partition, 5)
        };
        request.topics[0].id = cluster.id("t");
        bench.run(|core, now, step| core.commit_offsets(now, &request, step)).map(|_| ())
    };
    let stale = Err(CommitError::StaleMemberEpoch);
    assert_eq!(commit("a", 3, mine), Ok(()));
    assert_eq!(commit("a", 2, mine), Ok(()), "it has had it since epoch 2");
    assert_eq!(commit("a", 2, 1 - mine), stale, "it has not");
    assert_eq!(commit("a", 1, mine), stale);
    assert_eq!(commit("a", 4, mine), stale);
    assert_eq!(commit("x", 3, mine), Err(CommitError::UnknownMember));
    assert_eq!(commit("", -1, mine), Err(CommitError::UnknownMember), "the group has members");
    let fetch = |member: Option<&str>, epoch| {
        let member = member.map(MemberId::from);
        bench.core.check_fetch(&group(), member.as_ref(), epoch)
    };
    assert_eq!(fetch(None, -1), Ok(()));
    assert_eq!(fetch(Some("a"), 3), Ok(()));
    assert_eq!(fetch(Some("a"), 2), Err(FetchError::StaleMemberEpoch));
    assert_eq!(fetch(Some("x"), 2), Err(FetchError::UnknownMember));
}

#[test]
fn p90_groups_are_described_with_names() {
    let (mut bench, cluster) = (Bench::with(settings()), Cluster::of(&[("t", 2)]));
    assert_eq!(bench.core.describe_consumer_group(&group()), None);
    beat(&mut bench, &cluster, &first("a", &["t"])).expect("it joins");
    beat(&mut bench, &cluster, &first("b", &["t"])).expect("it joins");
    let described = bench.core.describe_consumer_group(&group()).expect("there");
    assert_eq!((described.state, described.assignor), ("Reconciling", "uniform"));
    assert_eq!((described.epoch, described.target_epoch), (3, 3));
    let member = &described.members[0];
    assert_eq!((member.id.as_str(), member.epoch), ("a", 2));
    assert_eq!((&*member.assigned[0].name, member.assigned[0].partitions.len()), ("t", 2));
    assert_eq!(member.target[0].partitions.len(), 1);
    assert_eq!(described.members[1].assigned, []);
    assert_eq!(&*member.metadata.client_host, "/127.0.0.1");
}

#[test]
fn p90_groups_are_listed_and_deleted_when_empty() {
    let (mut bench, cluster) = (Bench::with(settings()), Cluster::of(&[("t", 1)]));
    beat(&mut bench, &cluster, &first("a", &["t"])).expect("it joins");
    let listed = bench.core.list_groups(&["stable".into()], &["Consumer".into()]);
    assert_eq!(
        (listed.len(), &*listed[0].protocol_type, listed[0].state),
        (1, "consumer", "Stable")
    );
    let delete = |bench: &mut Bench| bench.run(|core, _, step| core.delete_group(&group(), step));
    assert_eq!(delete(&mut bench), Err(DeleteGroupError::NonEmpty));
    beat(&mut bench, &cluster, &later("a", EPOCH_LEAVE)).expect("it leaves");
    assert_eq!(delete(&mut bench), Ok(()));
    assert_eq!((bench.core.group_count(), bench.reloaded().group_count()), (0, 0));
}

/// A client as it sees itself.
#[derive(Clone, Debug, Default)]
struct Client {
    alive: bool,
    member: String,
    epoch: i32,
    owned: Assignment,
    target: Assignment,
    /// The answer to its last heartbeat was lost: the next one says all.
    told_all: bool,
}

#[derive(Default)]
struct Counts {
    moved: u64,
    fenced: u64,
    crashes: u64,
    lost_answers: u64,
}

struct World {
    bench: Bench,
    cluster: Cluster,
    clients: Vec<Client>,
    names: u64,
    counts: Counts,
}

impl World {
    fn heartbeat(&mut self, at: usize, prng: &mut Prng) {
        let client = self.clients[at].clone();
        let mut request = if client.epoch == 0 {
            first(&client.member, &["t", "u"])
        } else {
            owning(&client.member, client.epoch, client.owned.clone())
        };
        if client.told_all {
            request.topics = Some(vec!["t".into(), "u".into()]);
            request.rebalance_timeout_ms = 30_000;
        }
        if at == 0 {
            request.instance = Some(InstanceId::from("i"));
        }
        let result = beat(&mut self.bench, &self.cluster, &request);
        if prng.chance(4) {
            self.counts.crashes += 1;
            self.clients[at].told_all = client.epoch > 0;
            return self.bench.crash();
        }
        self.bench.flush();
        if prng.chance(5) {
            self.counts.lost_answers += 1;
            self.clients[at].told_all = client.epoch > 0;
            return;
        }
        self.hear(at, result);
    }

    fn hear(&mut self, at: usize, result: Result<ConsumerReply, ConsumerError>) {
        let client = &mut self.clients[at];
        client.told_all = false;
        match result {
            Ok(reply) => {
                client.epoch = reply.epoch;
                if let Some(assignment) = reply.assignment {
                    client.target = assignment;
                }
            }
            Err(ConsumerError::UnreleasedInstance) => {}
            Err(
                ConsumerError::FencedEpoch
                | ConsumerError::UnknownMember
                | ConsumerError::FencedInstance
                | ConsumerError::NoGroup,
            ) => {
                self.counts.fenced += 1;
                // It gives up all, and joins anew under another id.
                self.names += 1;
                let member = format!("m{}", self.names);
                *client = Client { alive: true, member, ..Client::default() };
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    /// The client does as it was told: first it gives up, in its own time, then it takes.
    fn work(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let before = client.owned.clone();
        for (topic, partitions) in &mut client.owned {
            let target = client.target.get(topic);
            partitions.retain(|index| target.is_some_and(|target| target.contains(index)));
        }
        client.owned.retain(|_, partitions| !partitions.is_empty());
        // While it does not know how its last heartbeat ended it takes nothing: what it was to
        // have may be another's by now, since it did not say that it had it.
        if client.owned == before && !client.told_all {
            client.owned = client.target.clone();
        }
        self.counts.moved += u64::from(client.owned != before);
    }

    fn kill(&mut self, at: usize) {
        self.clients[at] = Client::default();
    }

    fn start(&mut self, at: usize) {
        if !self.clients[at].alive {
            self.names += 1;
            let member = format!("m{}", self.names);
            self.clients[at] = Client { alive: true, member, ..Client::default() };
        }
    }

    fn step(&mut self, prng: &mut Prng) {
        let at = prng.index(self.clients.len());
        match prng.below(100) {
            0..60 if self.clients[at].alive => self.heartbeat(at, prng),
            60..80 => self.work(at),
            80..86 => self.start(at),
            86..88 => self.kill(at),
            88..90 if self.clients[at].alive && self.clients[at].epoch > 0 => {
                let leave = if at == 0 { EPOCH_LEAVE_STATIC } else { EPOCH_LEAVE };
                let mut request = later(&self.clients[at].member, leave);
                request.instance = (at == 0).then(|| InstanceId::from("i"));
                let _ = beat(&mut self.bench, &self.cluster, &request);
                self.bench.flush();
                self.kill(at);
            }
            90..91 => {
                let count = self.cluster.topics["t"].partitions;
                self.cluster.set("t", (count + 1).min(12));
            }
            91..99 => self.bench.pass(i64::try_from(prng.below(4_000)).unwrap()),
            99 => {
                self.bench.flush();
                self.bench.pass(46_000);
            }
            _ => {}
        }
        self.check();
    }

    /// No two clients that the coordinator has not fenced own one partition.
    fn check(&self) {
        let known = self.bench.core.consumer_group(&group());
        let mut owners = BTreeMap::new();
        for client in self.clients.iter().filter(|client| client.alive) {
            let id = MemberId::from(client.member.as_str());
            if known.is_none_or(|known| known.member(&id).is_none()) {
                continue; // fenced: it will hear of it
            }
            for (topic, partitions) in &client.owned {
                for partition in partitions {
                    let other = owners.insert((*topic, *partition), id.clone());
                    assert_eq!(other, None, "{topic} {partition:?} is owned twice");
                }
            }
        }
    }

    /// Left alone, the group comes to rest: everything owned once, and evenly.
    fn settle(&mut self) {
        self.bench.flush();
        let mut quiet = Prng::new(0);
        for _ in 0..20 {
            self.bench.pass(4_000);
            for at in 0..self.clients.len() {
                if self.clients[at].alive {
                    self.work(at);
                    let client = self.clients[at].clone();
                    let mut request = if client.epoch == 0 {
                        first(&client.member, &["t", "u"])
                    } else {
                        owning(&client.member, client.epoch, client.owned.clone())
                    };
                    request.instance = (at == 0).then(|| InstanceId::from("i"));
                    if quiet.chance(50) && client.epoch > 0 {
                        request.topics = Some(vec!["t".into(), "u".into()]);
                        request.rebalance_timeout_ms = 30_000;
                    }
                    let result = beat(&mut self.bench, &self.cluster, &request);
                    self.bench.flush();
                    self.hear(at, result);
                }
                self.check();
            }
        }
        let alive: Vec<&Client> = self.clients.iter().filter(|client| client.alive).collect();
        if alive.is_empty() {
            return;
        }
        let known = self.bench.core.consumer_group(&group()).expect("it has members");
        let rest: Vec<_> = known.members().map(|member| member.current().state).collect();
        assert_eq!(known.state(), ConsumerState::Stable, "{rest:?}");
        assert!(rest.iter().all(|state| *state == MemberState::Stable));
        let count = |client: &&Client| client.owned.values().map(BTreeSet::len).sum::<usize>();
        let counts: Vec<usize> = alive.iter().map(count).collect();
        let all: i32 = ["t", "u"].iter().map(|name| self.cluster.topics[*name].partitions).sum();
        assert_eq!(counts.iter().sum::<usize>(), usize::try_from(all).unwrap(), "{counts:?}");
        assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
    }
}

/// Whatever is lost and whoever dies, a partition is owned by one member, and in the end by one
/// exactly.
#[test]
fn a_kip_848_group_never_gives_a_partition_to_two_members() {
    let mut total = Counts::default();
    for seed in seeds(60) {
        let mut prng = Prng::new(seed.0);
        let mut bench = Bench::with(GroupSettings {
            consumer_assignment_interval_ms: i32::try_from(prng.below(2) * 1_000).unwrap(),
            ..GroupSettings::default()
        });
        bench.hold = true;
        let mut world = World {
            bench,
            cluster: Cluster::of(&[("t", 5), ("u", 3)]),
            clients: vec![Client::default(); 5],
            names: 0,
            counts: Counts::default(),
        };
        for _ in 0..400 {
            world.step(&mut prng);
        }
        world.settle();
        total.moved += world.counts.moved;
        total.fenced += world.counts.fenced;
        total.crashes += world.counts.crashes;
        total.lost_answers += world.counts.lost_answers;
    }
    if std::env::var("YEOUL_SEED").is_ok() {
        return;
    }
    for (name, count) in [
        ("partitions moved", total.moved),
        ("clients fenced", total.fenced),
        ("crashes", total.crashes),
        ("answers lost", total.lost_answers),
    ] {
        assert!(count > 50, "vacuous: {name} {count}");
    }
}
