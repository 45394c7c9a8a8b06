//! Groups as their administrators see them: the command line and the admin endpoint.
//!
//! In:   members over the wire, `yeoul group ...` as it would be typed, requests to `/v1/groups`.
//! Out:  lags, and groups that are moved while they run.

use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest,
    JoinGroupRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
    join_group_request, offset_commit_request, offset_fetch_request, sync_group_request,
};
use kafka_protocol::protocol::StrBytes;
use serde_json::Value;

use crate::broker::{Broker, Options};
use crate::wire::{Connection, NOBODY, batch_of, is_retriable, topic_name};

const PATIENCE: Duration = Duration::from_secs(60);
const UNKNOWN_MEMBER_ID: i16 = 25;
const MEMBER_ID_REQUIRED: i16 = 79;
/// When the records of `batch_of` were made.
const MADE_S: f64 = 1_700_000_000.0;
const RECORDS: i64 = 10;

/// How a command ended, and what it printed.
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

/// `yeoul group WORDS`, against this broker.
fn yeoul(broker: &Broker, words: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_yeoul"));
    command.arg("group").args(words).stdin(std::process::Stdio::null());
    command.env("YEOUL_BROKERS", &broker.kafka).env("YEOUL_ADMIN", &broker.admin);
    let output = command.output().expect("the binary runs");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    Ended { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// What it prints as JSON, having ended well.
fn json(broker: &Broker, words: &[&str]) -> Value {
    let ended = yeoul(broker, &[words, &["--format", "json"]].concat());
    assert_eq!(ended.code, Some(0), "{words:?}: {}", ended.err);
    serde_json::from_str(&ended.out).expect("JSON")
}

fn refused(broker: &Broker, words: &[&str], code: i32, err: &str) {
    let ended = yeoul(broker, words);
    assert_eq!((ended.code, ended.err.trim_end()), (Some(code), err), "{words:?}: {}", ended.out);
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

/// A broker without initial delay, and the topic `t` with ten records in each of two partitions.
fn filled(configs: &[(&str, &str)]) -> (Broker, Connection) {
    let broker = Broker::with(Options::set(&["group.initial.rebalance.delay.ms=0"]));
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 2, configs), 0);
    let values: Vec<Vec<u8>> = (0..10).map(|n: u8| vec![n; 100]).collect();
    for partition in [0, 1] {
        assert_eq!(client.produce("t", partition, batch_of(&values, NOBODY)), Ok(0));
    }
    find_coordinator(&mut client);
    (broker, client)
}

/// Waits until there are coordinators.
fn find_coordinator(client: &mut Connection) {
    let request = FindCoordinatorRequest::default().with_key(text("g"));
    let began = Instant::now();
    while client.ask(&request, 3).error_code != 0 {
        assert!(began.elapsed() < PATIENCE, "there is no coordinator");
        std::thread::sleep(Duration::from_millis(5)); // a client's backoff
    }
}

/// A member, as its commits name it.
#[derive(Clone)]
struct Member {
    id: StrBytes,
    generation: i32,
}

fn nobody() -> Member {
    Member { id: StrBytes::default(), generation: -1 }
}

/// The code of one commit in `t`; a coordinator that is not ready is asked again.
fn commit(client: &mut Connection, name: &str, member: &Member, at: &[(i32, i64)]) -> i16 {
    let position = |(partition, offset): &(i32, i64)| {
        offset_commit_request::OffsetCommitRequestPartition::default()
            .with_partition_index(*partition)
            .with_committed_offset(*offset)
            .with_committed_metadata(None)
    };
    let topic = offset_commit_request::OffsetCommitRequestTopic::default()
        .with_name(topic_name("t"))
        .with_partitions(at.iter().map(position).collect());
    let request = OffsetCommitRequest::default()
        .with_group_id(group(name))
        .with_member_id(member.id.clone())
        .with_generation_id_or_member_epoch(member.generation)
        .with_topics(vec![topic]);
    let began = Instant::now();
    loop {
        let answer = client.ask(&request, 9);
        let code = answer.topics[0].partitions[0].error_code;
        if !is_retriable(code) {
            return code;
        }
        assert!(began.elapsed() < PATIENCE, "error {code} does not pass");
        std::thread::sleep(Duration::from_millis(5)); // a client's backoff
    }
}

/// A group's positions in `t`.
fn positions(client: &mut Connection, name: &str) -> Vec<i64> {
    let asked = offset_fetch_request::OffsetFetchRequestGroup::default()
        .with_group_id(group(name))
        .with_topics(None);
    let answer = client.ask(&OffsetFetchRequest::default().with_groups(vec![asked]), 8);
    let topics = answer.groups[0].topics.iter();
    topics.flat_map(|topic| &topic.partitions).map(|one| one.committed_offset).collect()
}

/// Joins a classic group alone, and leads it.
fn join_classic(client: &mut Connection, name: &str) -> Member {
    let protocol = join_group_request::JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff"));
    let mut request = JoinGroupRequest::default()
        .with_group_id(group(name))
        .with_session_timeout_ms(30_000)
        .with_rebalance_timeout_ms(30_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    let began = Instant::now();
    let joined = loop {
        let answer = client.ask(&request, 5);
        match answer.error_code {
            0 => break answer,
            MEMBER_ID_REQUIRED => request.member_id = answer.member_id,
            code => assert!(is_retriable(code) && began.elapsed() < PATIENCE, "error {code}"),
        }
    };
    let member = Member { id: joined.member_id, generation: joined.generation_id };
    let assignment = sync_group_request::SyncGroupRequestAssignment::default()
        .with_member_id(member.id.clone())
        .with_assignment(Bytes::from_static(b"\0\0\0\0\0\0\xff\xff\xff\xff"));
    let sync = SyncGroupRequest::default()
        .with_group_id(group(name))
        .with_generation_id(member.generation)
        .with_member_id(member.id.clone())
        .with_assignments(vec![assignment]);
    assert_eq!(client.ask(&sync, 3).error_code, 0);
    member
}

/// Beats for a member of a KIP-848 group; epoch 0 joins.
fn beat(client: &mut Connection, name: &str, id: &str, epoch: i32) -> (i16, i32) {
    let mut request = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group(name))
        .with_member_id(text(id))
        .with_member_epoch(epoch);
    if epoch == 0 {
        request = request
            .with_rebalance_timeout_ms(30_000)
            .with_subscribed_topic_names(Some(vec![topic_name("t")]))
            .with_topic_partitions(Some(Vec::new()));
    }
    let began = Instant::now();
    loop {
        let answer = client.ask(&request, 0);
        if !is_retriable(answer.error_code) {
            return (answer.error_code, answer.member_epoch);
        }
        assert!(began.elapsed() < PATIENCE, "error {} does not pass", answer.error_code);
        std::thread::sleep(Duration::from_millis(5)); // a client's backoff
    }
}

fn now_s() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

#[test]
fn lag_is_told_in_records_and_seconds() {
    let (broker, mut client) = filled(&[]);
    assert_eq!(commit(&mut client, "g/1", &nobody(), &[(0, 4), (1, RECORDS)]), 0);
    let rows = json(&broker, &["lag", "g/1"]);
    let of = |index: usize, name: &str| rows[index][name].clone();
    assert_eq!((of(0, "position"), of(0, "end"), of(0, "lag")), (4.into(), 10.into(), 6.into()));
    let age = of(0, "lag_seconds").as_f64().expect("known");
    let expected = now_s() - MADE_S;
    assert!((expected - age).abs() < 60.0, "the record is {expected} s old, not {age}");
    assert_eq!((of(1, "lag"), of(1, "lag_seconds")), (0.into(), 0.0.into()));
    assert_eq!(rows.as_array().map(Vec::len), Some(2));
    assert_eq!(json(&broker, &["lag"])[0]["lag"], 6);

    // What was measured for us is what a scrape shows.
    let labels = "group=\"g/1\",topic=\"t\",partition=\"0\"";
    assert_eq!(broker.metric(&["kafka_consumergroup_lag{", labels]), 6.0);
    assert!((broker.metric(&["yeoul_kafka_group_lag_seconds{", labels]) - expected).abs() < 60.0);
    assert_eq!(broker.metric(&["yeoul_kafka_group_lag_truncated"]), 0.0);

    assert_eq!(commit(&mut client, "g/1", &nobody(), &[(0, RECORDS)]), 0);
    assert_eq!(json(&broker, &["lag", "g/1"])[0]["lag_seconds"], 0.0);
    refused(&broker, &["lag", "other"], 1, "yeoul: group 'other' does not exist");
    let partly = yeoul(&broker, &["lag", "other", "g/1", "--format", "json"]);
    let told: Value = serde_json::from_str(&partly.out).expect("JSON");
    assert_eq!((partly.code, &told[0]["group"]), (Some(3), &"g/1".into()), "{}", partly.err);
    assert_eq!(partly.err, "yeoul: group 'other' does not exist\nyeoul: 1 of 2 failed\n");
}

#[test]
fn before_the_first_group_there_is_none() {
    let broker = Broker::with(Options::set(&[]));
    let none = "yeoul: group 'g' does not exist";
    refused(&broker, &["lag", "g"], 1, none);
    refused(&broker, &["seek", "g", "--to", "end", "--yes"], 1, none);
    assert_eq!(broker.connect().create_topic("t", 1, &[]), 0);
    refused(&broker, &["seek", "g", "--to", "end", "--topic", "t", "--yes"], 1, none);
}

/// The one batch that a move is holds as many positions as `message.max.bytes` lets it.
#[test]
fn a_move_that_could_be_half_done_is_refused() {
    let small = "message.max.bytes=4000";
    let broker = Broker::with(Options::set(&["group.initial.rebalance.delay.ms=0", small]));
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 60, &[]), 0);
    find_coordinator(&mut client);
    assert_eq!(commit(&mut client, "g", &nobody(), &[(0, 0), (59, 0)]), 0);
    let tried = yeoul(&broker, &["seek", "g", "--to", "start", "--yes"]);
    assert_eq!(tried.code, Some(1), "{}", tried.out);
    let words = "yeoul: group 'g' cannot be moved in 60 partitions at once: one batch of \
                 __consumer_offsets (message.max.bytes) takes about ";
    let rest = tried.err.strip_prefix(words).unwrap_or_else(|| panic!("{}", tried.err));
    let most: usize = rest.split(';').next().and_then(|most| most.parse().ok()).expect("a number");
    let some = |count: usize| {
        let list: Vec<String> = (0..count).map(|partition| partition.to_string()).collect();
        format!("t:{}", list.join(","))
    };
    let moved = json(&broker, &["seek", "g", "--to", "start", "--yes", "--topic", &some(most)]);
    assert_eq!(moved["moves"].as_array().map(Vec::len), Some(most));
    let over = ["seek", "g", "--to", "start", "--dry-run", "--topic", &some(most + 2)];
    assert_eq!(yeoul(&broker, &over).code, Some(1), "a plan is refused as the move would be");
}

#[test]
fn the_time_of_an_append_counts_where_the_topic_stamps_it() {
    let (broker, mut client) = filled(&[("message.timestamp.type", "LogAppendTime")]);
    assert_eq!(commit(&mut client, "g", &nobody(), &[(0, 4)]), 0);
    let age = json(&broker, &["lag", "g"])[0]["lag_seconds"].as_f64().expect("known");
    assert!((0.0..600.0).contains(&age), "{age}");
}

/// The background follows groups by itself: a scrape shows one that nobody has asked about.
#[test]
fn lags_are_followed_without_being_asked_for() {
    let (mut broker, mut client) = filled(&[]);
    assert_eq!(commit(&mut client, "g", &nobody(), &[(0, 4)]), 0);
    broker.kill();
    broker.restart();
    let began = Instant::now();
    while json(&broker, &["lag"]).as_array().is_none_or(Vec::is_empty) {
        assert!(began.elapsed() < PATIENCE, "no round shows the group");
        std::thread::sleep(Duration::from_millis(50)); // a round is waited for
    }
    assert_eq!(broker.metric(&["kafka_consumergroup_lag{", "group=\"g\""]), 6.0);
    let history = &json(&broker, &["lag", "g"])[0]["history"];
    assert_eq!((history.as_array().map(Vec::len), &history[0]["lag"]), (Some(1), &6.into()));
}

#[test]
fn groups_are_listed_described_and_deleted() {
    let (broker, mut client) = filled(&[]);
    assert_eq!(yeoul(&broker, &["list"]).out, "GROUP  KIND  PROTOCOL  STATE\n");
    refused(&broker, &["describe", "g"], 1, "yeoul: DescribeGroups of 'g': GROUP_ID_NOT_FOUND");
    assert_eq!(commit(&mut client, "g", &nobody(), &[(0, 4), (1, 7)]), 0);
    let member = join_classic(&mut client, "busy");
    assert_eq!(commit(&mut client, "busy", &member, &[(0, 1)]), 0);
    assert_eq!(
        yeoul(&broker, &["list"]).out,
        "GROUP  KIND     PROTOCOL  STATE\nbusy   classic  consumer  Stable\ng      classic  -         \
         Empty\n"
    );
    let listed = json(&broker, &["list", "--states", "empty"]);
    assert_eq!((listed.as_array().map(Vec::len), &listed[0]["group"]), (Some(1), &"g".into()));
    let described = json(&broker, &["describe", "g", "busy"]);
    assert_eq!(described[0]["partitions"][1]["lag"], 3);
    assert_eq!(described[1]["members"][0]["member"], member.id.to_string());
    assert_eq!(
        (&described[1]["state"], &described[1]["assignor"]),
        (&"Stable".into(), &"range".into())
    );
    let text = yeoul(&broker, &["describe", "g", "--format", "text"]).out;
    assert!(text.contains("g      t      0          4         10   6    -"), "{text}");

    refused(
        &broker,
        &["delete", "g"],
        2,
        "yeoul: nothing was changed: without a terminal say --yes",
    );
    refused(
        &broker,
        &["delete-offsets", "busy", "--topic", "t:0", "--yes"],
        1,
        "yeoul: OffsetDelete of 'busy' in t/0: GROUP_SUBSCRIBED_TO_TOPIC",
    );
    json(&broker, &["delete-offsets", "g", "--topic", "t:1", "--yes"]);
    assert_eq!(positions(&mut client, "g"), [4]);
    let lines = [
        ("g", "t:1", "yeoul: group 'g' has no position in t/1"),
        ("g", "u", "yeoul: group 'g' has no position in topic 'u'"),
        ("other", "t", "yeoul: DescribeGroups of 'other': GROUP_ID_NOT_FOUND"),
    ];
    for (group, topic, err) in lines {
        refused(&broker, &["delete-offsets", group, "--topic", topic, "--yes"], 1, err);
    }
    refused(
        &broker,
        &["delete", "g", "busy", "--yes"],
        3,
        "yeoul: DeleteGroups of 'busy': NON_EMPTY_GROUP\nyeoul: 1 of 2 failed",
    );
    let left = json(&broker, &["list"]);
    assert_eq!((left.as_array().map(Vec::len), &left[0]["group"]), (Some(1), &"busy".into()));
}

#[test]
fn a_classic_group_is_moved_while_it_runs() {
    let (mut broker, mut client) = filled(&[]);
    let member = join_classic(&mut client, "g");
    assert_eq!(commit(&mut client, "g", &member, &[(0, 8), (1, 9)]), 0);

    let plan = json(&broker, &["seek", "g", "--to", "start", "--dry-run"]);
    assert_eq!((&plan["members"], &plan["moves"][0]["again"]), (&1.into(), &8.into()));
    assert_eq!(positions(&mut client, "g"), [8, 9], "nothing has moved");
    assert_eq!(commit(&mut client, "g", &member, &[(0, 8)]), 0, "nor was the member put out");
    refused(
        &broker,
        &["seek", "g", "--to", "start"],
        2,
        "yeoul: nothing was changed: without a terminal say --yes",
    );

    let done = json(&broker, &["seek", "g", "--to", "start", "--yes"]);
    assert_eq!((&done["members"], &done["dry_run"]), (&1.into(), &false.into()));
    assert_eq!(commit(&mut client, "g", &member, &[(0, 9)]), UNKNOWN_MEMBER_ID, "a late commit");
    let beat = HeartbeatRequest::default()
        .with_group_id(group("g"))
        .with_generation_id(member.generation)
        .with_member_id(member.id.clone());
    assert_eq!(client.ask(&beat, 3).error_code, UNKNOWN_MEMBER_ID);
    assert_eq!(positions(&mut client, "g"), [0, 0]);

    // It rejoins, and goes on from there; and a crash brings nothing back.
    let again = join_classic(&mut client, "g");
    assert!(again.generation > member.generation);
    assert_eq!(commit(&mut client, "g", &again, &[(0, 3)]), 0);
    assert_eq!(commit(&mut client, "g", &member, &[(0, 9)]), UNKNOWN_MEMBER_ID);
    broker.kill();
    broker.restart();
    let mut client = broker.connect();
    assert_eq!(commit(&mut client, "g", &member, &[(0, 9)]), UNKNOWN_MEMBER_ID);
    assert_eq!(positions(&mut client, "g"), [3, 0]);
}

#[test]
fn a_group_of_the_consumer_protocol_is_moved_while_it_runs() {
    let (broker, mut client) = filled(&[]);
    let (code, epoch) = beat(&mut client, "g", "m", 0);
    assert_eq!(code, 0);
    let member = Member { id: text("m"), generation: epoch };
    assert_eq!(commit(&mut client, "g", &member, &[(0, 8)]), 0);
    assert_eq!(json(&broker, &["describe", "g"])[0]["kind"], "consumer");
    let done = json(&broker, &["seek", "g", "--to", "-5", "--yes"]);
    assert_eq!(done["moves"].as_array().map(Vec::len), Some(1), "it has one position");
    assert_eq!((&done["moves"][0]["from"], &done["moves"][0]["to"]), (&8.into(), &3.into()));
    assert_eq!(commit(&mut client, "g", &member, &[(0, 9)]), UNKNOWN_MEMBER_ID, "a late commit");
    assert_eq!(beat(&mut client, "g", "m", epoch).0, UNKNOWN_MEMBER_ID);
    let (code, epoch) = beat(&mut client, "g", "m", 0);
    assert_eq!((code, positions(&mut client, "g")), (0, vec![3]));
    let member = Member { id: text("m"), generation: epoch };
    assert_eq!(commit(&mut client, "g", &member, &[(0, 4)]), 0);
}

#[test]
fn a_group_is_moved_where_it_is_asked_to() {
    let (broker, mut client) = filled(&[]);
    assert_eq!(commit(&mut client, "g", &nobody(), &[(0, 8), (1, 9)]), 0);
    let mut check = |words: &[&str], expected: [i64; 2]| {
        json(&broker, &[&["seek", "g", "--yes"], words].concat());
        assert_eq!(positions(&mut client, "g"), expected, "{words:?}");
    };
    check(&["--to", "end"], [10, 10]);
    check(&["--to", "5"], [5, 5]);
    check(&["--to", "99", "--topic", "t:1"], [5, 10]);
    check(&["--to", "-3", "--topic", "t:0", "--topic", "t:1"], [2, 7]);
    check(&["--to", "@2001-01-01"], [0, 0]);
    check(&["--to", "@2100-01-01T00:00:00Z", "--topic", "t:0"], [10, 0]);
    check(&["--to", "@1700000000000", "--topic", "t"], [0, 0]);
    let lines = [
        (vec!["other", "--to", "end"], "yeoul: group 'other' does not exist"),
        (vec!["g", "--to", "end", "--topic", "u"], "yeoul: topic 'u' does not exist"),
        (vec!["g", "--to", "end", "--topic", "t:2"], "yeoul: topic 't' has no partition 2"),
    ];
    for (words, err) in lines {
        refused(&broker, &[&["seek", "--yes"][..], &words].concat(), 1, err);
    }
    assert_eq!(client.create_topic("u", 1, &[]), 0);
    let no_position = "yeoul: group 'g' has no position in u/0";
    refused(&broker, &["seek", "g", "--to", "-1", "--topic", "u", "--yes"], 1, no_position);
}
