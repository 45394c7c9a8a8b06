//! Committed offsets of a simple consumer, and groups as administrators see them.
//!
//! In:   commits over the wire, kills, topics deleted.
//! Out:  what OffsetFetch, ListGroups, DescribeGroups, OffsetDelete and DeleteGroups say.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, GroupId, ListGroupsRequest,
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, offset_commit_request,
    offset_delete_request, offset_fetch_request,
};
use kafka_protocol::protocol::StrBytes;

use crate::broker::Broker;
use crate::wire::{Connection, is_retriable, topic_name};

/// Longest wait for a coordinator. Generous: the machine may be building at the same time.
const PATIENCE: Duration = Duration::from_secs(60);
/// The topic whose positions are committed.
pub const TOPIC: &str = "read";
/// Enough groups to be on every shard.
const GROUPS: usize = 12;

const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
const GROUP_ID_NOT_FOUND: i16 = 69;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

fn name_of(number: usize) -> String {
    format!("group-{number}")
}

/// Repeats `step` while its error code is one that passes by itself.
fn until_final<T>(mut step: impl FnMut() -> (i16, T)) -> (i16, T) {
    let began = Instant::now();
    loop {
        let (code, value) = step();
        if !is_retriable(code) {
            return (code, value);
        }
        assert!(began.elapsed() < PATIENCE, "error {code} does not pass");
        std::thread::sleep(Duration::from_millis(5)); // a client's backoff
    }
}

/// Waits until the group has a coordinator.
/// Waits until the group's coordinator serves.
pub fn find_coordinator(connection: &mut Connection, name: &str) {
    let request = FindCoordinatorRequest::default().with_key(text(name));
    let (code, ()) = until_final(|| (connection.ask(&request, 3).error_code, ()));
    assert_eq!(code, 0);
}

/// A commit of `offset` in each of these partitions.
fn commit_of(name: &str, partitions: &[i32], offset: i64) -> OffsetCommitRequest {
    let position = |partition: &i32| {
        offset_commit_request::OffsetCommitRequestPartition::default()
            .with_partition_index(*partition)
            .with_committed_offset(offset)
            .with_committed_leader_epoch(2)
            .with_committed_metadata(Some(text("a note")))
    };
    let topic = offset_commit_request::OffsetCommitRequestTopic::default()
        .with_name(topic_name(TOPIC))
        .with_partitions(partitions.iter().map(position).collect());
    OffsetCommitRequest::default().with_group_id(group(name)).with_topics(vec![topic])
}

/// Commits `offset`, and waits until that is done.
pub fn commit(connection: &mut Connection, name: &str, partitions: &[i32], offset: i64) {
    let request = commit_of(name, partitions, offset);
    let (code, ()) = until_final(|| {
        let answer = connection.ask(&request, 8);
        let codes = answer.topics[0].partitions.iter().map(|one| one.error_code);
        (codes.max().expect("a partition"), ())
    });
    assert_eq!(code, 0, "commit of {name}");
}

/// Every position of these groups: name, then partition and offset.
fn positions(connection: &mut Connection, names: &[String]) -> Vec<(String, Vec<(i32, i64)>)> {
    let asked = names.iter().map(|name| {
        offset_fetch_request::OffsetFetchRequestGroup::default()
            .with_group_id(group(name))
            .with_topics(None)
    });
    let request =
        OffsetFetchRequest::default().with_groups(asked.collect()).with_require_stable(true);
    let (code, groups) = until_final(|| {
        let answer = connection.ask(&request, 8);
        let code = answer.groups.iter().map(|group| group.error_code).max();
        (code.unwrap_or(0), answer.groups)
    });
    assert_eq!(code, 0);
    let plain = groups.into_iter().map(|group| {
        let partitions = group.topics.iter().flat_map(|topic| &topic.partitions);
        let of = partitions.map(|one| {
            assert_eq!((one.error_code, one.committed_leader_epoch), (0, 2));
            assert_eq!(one.metadata.as_deref(), Some("a note"));
            (one.partition_index, one.committed_offset)
        });
        (group.group_id.to_string(), of.collect())
    });
    plain.collect()
}

fn listed(connection: &mut Connection) -> Vec<String> {
    let (code, groups) = until_final(|| {
        let answer = connection.ask(&ListGroupsRequest::default(), 5);
        (answer.error_code, answer.groups)
    });
    assert_eq!(code, 0);
    for group in &groups {
        assert_eq!((&*group.group_state, &*group.group_type), ("Empty", "classic"));
    }
    let mut names: Vec<String> = groups.iter().map(|group| group.group_id.to_string()).collect();
    names.sort();
    names
}

fn names() -> Vec<String> {
    let mut names: Vec<String> = (0..GROUPS).map(name_of).collect();
    names.sort();
    names
}

/// A broker with the topic and a commit of every group.
fn committed() -> (Broker, Connection) {
    let broker = Broker::start();
    let mut connection = broker.connect();
    assert_eq!(connection.create_topic(TOPIC, 3, &[]), 0);
    for (number, name) in names().iter().enumerate() {
        find_coordinator(&mut connection, name);
        commit(&mut connection, name, &[0, 2], i64::try_from(number).expect("small"));
    }
    (broker, connection)
}

fn expected() -> Vec<(String, Vec<(i32, i64)>)> {
    let offset = |number: usize| i64::try_from(number).expect("small");
    let one = |(number, name)| (name, vec![(0, offset(number)), (2, offset(number))]);
    names().into_iter().enumerate().map(one).collect()
}

#[test]
fn commits_outlive_a_kill() {
    let (mut broker, mut connection) = committed();
    assert_eq!(positions(&mut connection, &names()), expected());
    for _ in 0..2 {
        broker.kill();
        broker.restart();
        let mut connection = broker.connect();
        assert_eq!(positions(&mut connection, &names()), expected());
        assert_eq!(listed(&mut connection), names());
    }
    let nobody = vec!["nobody".to_owned()];
    let mut connection = broker.connect();
    assert_eq!(positions(&mut connection, &nobody), [("nobody".to_owned(), vec![])]);
    assert_eq!(listed(&mut connection), names(), "to ask for a group does not make one");
}

/// A client does not wait for one commit's answer before it sends the next.
#[test]
fn the_last_commit_sent_is_the_one_that_counts() {
    const COMMITS: i64 = 300;
    let (broker, mut connection) = committed();
    let name = name_of(0);
    let sent: Vec<i32> = (1..=COMMITS)
        .map(|offset| connection.send(&commit_of(&name, &[1], offset), 8).expect("taken"))
        .collect();
    for id in sent {
        let answer = connection.receive::<OffsetCommitRequest>(8, id).expect("answered");
        assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    }
    let all = positions(&mut broker.connect(), &[name]);
    assert!(all[0].1.contains(&(1, COMMITS)), "{all:?}");
}

#[test]
fn deleted_topics_groups_and_offsets_stay_deleted() {
    let (mut broker, mut connection) = committed();
    let gone = name_of(3);
    let deletion = DeleteGroupsRequest::default().with_groups_names(vec![
        group(&gone),
        group("nobody"),
        group(&gone),
    ]);
    let answer = connection.ask(&deletion, 2);
    let codes: Vec<i16> = answer.results.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [0, GROUP_ID_NOT_FOUND]);

    let partition =
        offset_delete_request::OffsetDeleteRequestPartition::default().with_partition_index(2);
    let topic = offset_delete_request::OffsetDeleteRequestTopic::default()
        .with_name(topic_name(TOPIC))
        .with_partitions(vec![partition]);
    let forget =
        OffsetDeleteRequest::default().with_group_id(group(&name_of(4))).with_topics(vec![topic]);
    let answer = connection.ask(&forget, 0);
    assert_eq!((answer.error_code, answer.topics[0].partitions[0].error_code), (0, 0));

    broker.kill();
    broker.restart();
    let mut connection = broker.connect();
    let mut left = names();
    left.retain(|name| *name != gone);
    assert_eq!(listed(&mut connection), left);
    let found = positions(&mut connection, &[gone.clone(), name_of(4)]);
    assert_eq!(found[0].1, []);
    assert_eq!(found[1].1.iter().map(|(partition, _)| *partition).collect::<Vec<_>>(), [0]);

    assert_eq!(connection.delete_topic(TOPIC), 0);
    assert!(positions(&mut connection, &left).iter().all(|(_, of)| of.is_empty()));
    assert_eq!(connection.create_topic(TOPIC, 3, &[]), 0);
    commit(&mut connection, &name_of(5), &[1], 77);
    broker.kill();
    broker.restart();
    let found = positions(&mut broker.connect(), &left);
    let with: Vec<_> = found.iter().filter(|(_, of)| !of.is_empty()).collect();
    assert_eq!(with, [&(name_of(5), vec![(1, 77)])]);
}

#[test]
fn groups_are_described_or_dead() {
    let (_broker, mut connection) = committed();
    let request = DescribeGroupsRequest::default()
        .with_groups(vec![group(&name_of(0)), group("nobody")])
        .with_include_authorized_operations(true);
    let old = connection.ask(&request, 5);
    let of: Vec<(i16, &str)> =
        old.groups.iter().map(|group| (group.error_code, &*group.group_state)).collect();
    assert_eq!(of, [(0, "Empty"), (0, "Dead")]);
    assert_eq!(old.groups[0].authorized_operations, 3400, "as the real broker says");
    let new = connection.ask(&request, 6);
    assert_eq!(new.groups[1].error_code, GROUP_ID_NOT_FOUND);
    assert_eq!(new.groups[1].error_message.as_deref(), Some("Group nobody not found."));
}

/// While logs are read, the answer is that, and nothing false.
#[test]
fn a_broker_that_loads_says_so_or_knows_everything() {
    let (mut broker, _) = committed();
    broker.kill();
    broker.restart();
    let mut connection = broker.connect();
    let began = Instant::now();
    loop {
        let answer = connection.ask(&ListGroupsRequest::default(), 5);
        match answer.error_code {
            0 => break assert_eq!(answer.groups.len(), GROUPS),
            code => assert_eq!((code, answer.groups.len()), (COORDINATOR_LOAD_IN_PROGRESS, 0)),
        }
        assert!(began.elapsed() < PATIENCE, "it does not load");
    }
}

/// Waits until no coordinator reads its log any more.
fn loaded(broker: &Broker) {
    let began = Instant::now();
    while broker.metric(&["coordinators_loading"]) > 0.0 {
        assert!(began.elapsed() < PATIENCE, "a coordinator loads for ever");
    }
}

/// The topic of positions goes while commits are on their way: its coordinators go with it, and
/// those of the topic that takes its place know nothing, and serve.
#[test]
fn coordinators_go_with_their_topic_and_begin_anew() {
    const CLIENTS: usize = 4;
    /// Commits that each client sends before it looks for an answer.
    const AT_ONCE: usize = 100;
    let (broker, mut connection) = committed();
    let coordinators = broker.metric(&["coordinators_serving"]);
    let (committing, begun) = (AtomicBool::new(true), Barrier::new(CLIENTS + 1));
    std::thread::scope(|threads| {
        for _ in 0..CLIENTS {
            threads.spawn(|| {
                let mut connection = broker.connect();
                begun.wait();
                while committing.load(Ordering::Relaxed) {
                    let commits = (0..AT_ONCE).map(|at| commit_of(&name_of(at % GROUPS), &[1], 5));
                    let sent: Vec<i32> =
                        commits.map(|one| connection.send(&one, 8).expect("taken")).collect();
                    for id in sent {
                        connection.receive::<OffsetCommitRequest>(8, id).expect("answered");
                    }
                }
            });
        }
        begun.wait();
        assert_eq!(connection.delete_topic("__consumer_offsets"), 0);
        committing.store(false, Ordering::Relaxed);
    });
    loaded(&broker);
    assert_eq!(broker.metric(&["coordinators_serving"]), 0.0);
    let name = name_of(0);
    find_coordinator(&mut connection, &name);
    commit(&mut connection, &name, &[0], 9);
    assert_eq!(positions(&mut connection, &names())[0], (name, vec![(0, 9)]));
    loaded(&broker);
    assert_eq!(broker.metric(&["coordinators_serving"]), coordinators);
}
