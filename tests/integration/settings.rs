//! Settings over the wire: the whole table of topics set, read back, kept over a crash; effects at
//! once; refusals in Kafka's words; settings of brokers; features.
//!
//! In:   requests in the codec of the `kafka-protocol` crate, against the built binary.
//! Out:  Kafka's codes and words, and what the settings do.
//! Home: the test's thread.

use std::time::{Duration, Instant};

use kafka_protocol::messages::{
    AlterConfigsRequest, ApiVersionsRequest, ConsumerGroupDescribeRequest,
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, DescribeConfigsRequest,
    FindCoordinatorRequest, GroupId, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
    UpdateFeaturesRequest, alter_configs_request, describe_configs_request,
    incremental_alter_configs_request, update_features_request,
};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::TimestampType;
use yeoul::config::keys::{Scope, settings};

use crate::broker::{Broker, Options};
use crate::wire::{Connection, NOBODY, batch_of, is_retriable, topic_name};

/// `resource_type` of topics.
const TOPIC: i8 = 2;
/// The same of brokers.
pub const BROKER: i8 = 4;
/// The same of groups.
const GROUP: i8 = 32;
/// Kinds of resources that are not here: loggers and client metrics.
const NOT_HERE: [i8; 2] = [8, 16];
/// Operations of IncrementalAlterConfigs.
/// Sets a value.
pub const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;
/// Longest wait for an effect in the background.
const PATIENCE: Duration = Duration::from_secs(30);

/// Setting, operation, value.
pub type Operation<'a> = (&'a str, i8, Option<&'a str>);
/// A code and its words.
pub type Told = (i16, String);

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// No error.
pub fn fine() -> Told {
    (0, String::new())
}

fn told(code: i16, words: &str) -> Told {
    (code, words.to_owned())
}

fn change_of(kind: i8, name: &str, operations: &[Operation<'_>]) -> IncrementalAlterConfigsRequest {
    let configs = operations.iter().map(|(name, operation, value)| {
        incremental_alter_configs_request::AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    });
    let resource = incremental_alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(configs.collect());
    IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
}

/// Changes settings of a topic or broker.
pub fn change(client: &mut Connection, kind: i8, name: &str, operations: &[Operation<'_>]) -> Told {
    let answer = client.ask(&change_of(kind, name, operations), 1);
    let result = &answer.responses[0];
    (result.error_code, result.error_message.as_ref().map(ToString::to_string).unwrap_or_default())
}

fn set(client: &mut Connection, topic: &str, setting: &str, value: &str) -> Told {
    change(client, TOPIC, topic, &[(setting, SET, Some(value))])
}

/// Value and source of one setting; `None` where it is not told.
fn describe(
    client: &mut Connection,
    kind: i8,
    name: &str,
    setting: &str,
) -> Option<(Option<String>, i8)> {
    let resource = describe_configs_request::DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(Some(vec![text(setting)]));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let answer = client.ask(&request, 4);
    let row = answer.results[0].configs.first()?;
    Some((row.value.as_ref().map(ToString::to_string), row.config_source))
}

fn is(value: &str, source: i8) -> Option<(Option<String>, i8)> {
    Some((Some(value.to_owned()), source))
}

/// A legal value of a topic setting that is not its default.
fn another_value(name: &str) -> &'static str {
    match name {
        "cleanup.policy" => "compact,delete",
        "compression.gzip.level" | "compression.lz4.level" | "compression.zstd.level" => "7",
        "compression.type" => "zstd",
        "flush" => "interval",
        "follower.replication.throttled.replicas" | "leader.replication.throttled.replicas" => {
            "0:1"
        }
        "message.timestamp.type" => "LogAppendTime",
        "min.cleanable.dirty.ratio" => "0.25",
        "min.insync.replicas" => "2",
        "preallocate"
        | "remote.log.copy.disable"
        | "remote.log.delete.on.disable"
        | "unclean.leader.election.enable" => "true",
        "remote.storage.enable" => "false", // the only value there is
        "segment.bytes" => "2097152",
        _ => "4321",
    }
}

/// The whole table: set, read back, killed and started again, read back, taken away.
#[test]
fn every_topic_setting_is_set_read_back_and_kept() {
    let mut broker = Broker::start();
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, &[]), 0);
    let rows = settings(Scope::Topic);
    assert!(rows.len() > 30);
    for row in rows {
        assert_eq!(
            set(&mut client, "t", row.name, another_value(row.name)),
            fine(),
            "{}",
            row.name
        );
        let told = describe(&mut client, TOPIC, "t", row.name);
        assert_eq!(told, is(another_value(row.name), 1), "{}", row.name);
    }
    broker.kill();
    broker.restart();
    let mut client = broker.connect();
    for row in rows {
        let told = describe(&mut client, TOPIC, "t", row.name);
        assert_eq!(told, is(another_value(row.name), 1), "{} after a crash", row.name);
        let gone = change(&mut client, TOPIC, "t", &[(row.name, DELETE, None)]);
        assert_eq!(gone, fine(), "{}", row.name);
        let told = describe(&mut client, TOPIC, "t", row.name);
        assert_eq!(told, is(row.default.unwrap(), 5), "{}", row.name);
    }
}

#[test]
fn settings_that_cannot_be_are_refused_in_kafkas_words() {
    let broker = Broker::start();
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, &[]), 0);
    let limit = |name: &str, value: &str, why: &str| {
        told(40, &format!("Invalid value {value} for configuration {name}: {why}"))
    };
    let mut check = |name: &str, value: &str, why: &str| {
        assert_eq!(set(&mut client, "t", name, value), limit(name, value, why));
    };
    check("segment.bytes", "1048575", "Value must be at least 1048576");
    check("retention.ms", "-2", "Value must be at least -1");
    check("min.insync.replicas", "0", "Value must be at least 1");
    check("max.message.bytes", "abc", "Not a number of type INT");
    check("preallocate", "maybe", "Expected value to be either true or false");
    check("cleanup.policy", "x", "String must be one of: compact, delete");
    let words = "conflict topic config setting min.compaction.lag.ms (9) > \
                 max.compaction.lag.ms (8)";
    let both =
        [("min.compaction.lag.ms", SET, Some("9")), ("max.compaction.lag.ms", SET, Some("8"))];
    assert_eq!(change(&mut client, TOPIC, "t", &both), told(40, words));
    let words = "Tiered Storage functionality is disabled in the broker. Topic cannot be \
                 configured with remote log storage.";
    assert_eq!(set(&mut client, "t", "remote.storage.enable", "true"), told(40, words));
    let mut check = |topic: &str, operation: Operation<'_>, want: Told| {
        assert_eq!(change(&mut client, TOPIC, topic, &[operation]), want);
    };
    check("t", ("nope", SET, Some("1")), told(40, "Unknown topic config name: nope"));
    check("u", ("retention.ms", SET, Some("1")), told(3, "The topic 'u' does not exist."));
    let words = "Null value not supported for : retention.ms";
    check("t", ("retention.ms", SET, None), told(42, words));
    let words = "Can't APPEND to key retention.ms because its type is not LIST.";
    check("t", ("retention.ms", APPEND, Some("1")), told(40, words));
    let words = "Topic name is invalid: 'a/b' contains one or more characters other than ASCII \
                 alphanumerics, '.', '_' and '-'";
    check("a/b", ("retention.ms", SET, Some("1")), told(17, words));
    let words = "Default topic resources are not allowed.";
    check("", ("retention.ms", SET, Some("1")), told(42, words));
    let twice = [("retention.ms", SET, Some("1")), ("retention.ms", SET, Some("2"))];
    let words = "Error due to duplicate config keys";
    assert_eq!(change(&mut client, TOPIC, "t", &twice), told(42, words));
    let unknown = change(&mut client, 99, "t", &[("a", SET, Some("1"))]);
    assert_eq!(unknown, told(42, "Unknown resource type 99"));
    let mut repeated = change_of(TOPIC, "t", &[("retention.ms", SET, Some("1"))]);
    repeated.resources.push(repeated.resources[0].clone());
    let answer = client.ask(&repeated, 0);
    let words = "Each resource must appear at most once.";
    assert_eq!(answer.responses.len(), 2);
    assert!(answer.responses.iter().all(|one| one.error_message.as_deref() == Some(words)));
    assert_eq!(describe(&mut client, TOPIC, "t", "retention.ms"), is("604800000", 5));
}

#[test]
fn lists_change_by_item_checks_change_nothing_and_the_older_request_replaces_all() {
    let broker = Broker::start();
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, &[]), 0);
    let mut policy = |operation: i8, items: &str| {
        let one = [("cleanup.policy", operation, Some(items))];
        assert_eq!(change(&mut client, TOPIC, "t", &one), fine());
        describe(&mut client, TOPIC, "t", "cleanup.policy").unwrap().0.unwrap()
    };
    assert_eq!(policy(APPEND, "compact"), "delete,compact");
    assert_eq!(policy(APPEND, "compact"), "delete,compact");
    assert_eq!(policy(SUBTRACT, "delete"), "compact");
    for version in 0..=1 {
        let request = change_of(TOPIC, "t", &[("retention.ms", SET, Some("5"))]);
        let answer = client.ask(&request.with_validate_only(true), version);
        assert_eq!(answer.responses[0].error_code, 0);
    }
    assert_eq!(describe(&mut client, TOPIC, "t", "retention.ms"), is("604800000", 5));
    for version in 0..=2 {
        let value = format!("{}", 1000 + version);
        let config = alter_configs_request::AlterableConfig::default()
            .with_name(text("retention.ms"))
            .with_value(Some(text(&value)));
        let resource = alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text("t"))
            .with_configs(vec![config]);
        let request = AlterConfigsRequest::default().with_resources(vec![resource]);
        assert_eq!(client.ask(&request, version).responses[0].error_code, 0);
        assert_eq!(describe(&mut client, TOPIC, "t", "retention.ms"), is(&value, 1));
        assert_eq!(describe(&mut client, TOPIC, "t", "cleanup.policy"), is("delete", 5));
    }
}

/// The next request after the answer meets the new setting.
#[test]
fn topic_settings_act_at_once() {
    let options = Options::set(&["log.retention.check.interval.ms=50"]);
    let broker = Broker::with(options);
    let mut client = broker.connect();
    // The records of the test are years old.
    assert_eq!(client.create_topic("t", 1, &[("retention.ms", "-1")]), 0);
    let batch = || batch_of(&vec![vec![7; 1000]; 100], NOBODY);
    let reset = |client: &mut Connection, name: &str| {
        assert_eq!(change(client, TOPIC, "t", &[(name, DELETE, None)]), fine());
    };
    assert_eq!(set(&mut client, "t", "max.message.bytes", "1000"), fine());
    assert_eq!(client.produce("t", 0, batch()), Err(10), "MESSAGE_TOO_LARGE");
    reset(&mut client, "max.message.bytes");
    assert_eq!(set(&mut client, "t", "message.timestamp.before.max.ms", "1"), fine());
    assert_eq!(client.produce("t", 0, batch()), Err(32), "INVALID_TIMESTAMP");
    reset(&mut client, "message.timestamp.before.max.ms");
    assert_eq!(client.produce("t", 0, batch()), Ok(0));
    let stamped_by = |client: &mut Connection, offset: i64| {
        client.fetch("t", 0, offset).unwrap()[0].timestamp_type
    };
    assert_eq!(stamped_by(&mut client, 0), TimestampType::Creation);
    assert_eq!(set(&mut client, "t", "message.timestamp.type", "LogAppendTime"), fine());
    assert_eq!(client.produce("t", 0, batch()), Ok(100));
    assert_eq!(stamped_by(&mut client, 100), TimestampType::LogAppend, "the broker's time");
    reset(&mut client, "message.timestamp.type");
    let plain = log_bytes(&mut client);
    assert_eq!(set(&mut client, "t", "compression.type", "gzip"), fine());
    assert_eq!(client.produce("t", 0, batch()), Ok(200));
    assert!(log_bytes(&mut client) - plain < 10_000, "stored in gzip");
    reset(&mut client, "compression.type");
    assert_eq!(set(&mut client, "t", "segment.bytes", "1048576"), fine());
    for count in 3..33 {
        assert_eq!(client.produce("t", 0, batch()), Ok(count * 100));
    }
    assert_eq!(client.offset_of("t", 0, -2), 0);
    assert_eq!(set(&mut client, "t", "retention.bytes", "1"), fine());
    let began = Instant::now();
    while client.offset_of("t", 0, -2) == 0 {
        assert!(began.elapsed() < PATIENCE, "segments go by the new limit");
        std::thread::sleep(Duration::from_millis(5)); // the log's start is polled
    }
}

fn log_bytes(client: &mut Connection) -> i64 {
    let request = kafka_protocol::messages::DescribeLogDirsRequest::default().with_topics(None);
    client.ask(&request, 1).results[0].topics[0].partitions[0].partition_size
}

#[test]
fn settings_of_brokers_change_act_on_topics_and_last() {
    let mut broker = Broker::start();
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, &[]), 0);
    let large = || batch_of(&vec![vec![7; 1000]; 3], NOBODY);
    let one = |value| [("message.max.bytes", SET, Some(value))];
    assert_eq!(change(&mut client, BROKER, "", &one("2000")), fine());
    assert_eq!(client.produce("t", 0, large()), Err(10), "the default of every topic, at once");
    assert_eq!(describe(&mut client, BROKER, "1", "message.max.bytes"), is("2000", 3));
    assert_eq!(describe(&mut client, BROKER, "", "message.max.bytes"), is("2000", 3));
    assert_eq!(change(&mut client, BROKER, "1", &one("5000")), fine());
    assert_eq!(describe(&mut client, BROKER, "1", "message.max.bytes"), is("5000", 2));
    assert_eq!(describe(&mut client, TOPIC, "t", "max.message.bytes"), is("5000", 2));
    assert_eq!(client.produce("t", 0, large()), Ok(0));
    broker.kill();
    broker.restart();
    let mut client = broker.connect();
    assert_eq!(describe(&mut client, BROKER, "1", "message.max.bytes"), is("5000", 2));
    let gone = [("message.max.bytes", DELETE, None)];
    assert_eq!(change(&mut client, BROKER, "1", &gone), fine());
    assert_eq!(client.produce("t", 0, large()), Err(10));
    assert_eq!(change(&mut client, BROKER, "", &gone), fine());
    assert_eq!(client.produce("t", 0, large()), Ok(3));
    assert_eq!(describe(&mut client, BROKER, "1", "message.max.bytes"), is("1048588", 5));
    let mut check = |broker: &str, name: &str, value: &str, words: &str| {
        let refusal = change(&mut client, BROKER, broker, &[(name, SET, Some(value))]);
        assert_eq!(refusal, told(42, words));
    };
    check("1", "num.partitions", "5", "Cannot update these configs dynamically: [num.partitions]");
    let words = "Unexpected broker id, expected 1, but received 99";
    check("99", "message.max.bytes", "5", words);
    check("abc", "message.max.bytes", "5", "Node id must be an integer, but it is: abc");
    let words = "Invalid value x for configuration log.retention.ms: Not a number of type LONG";
    check("1", "log.retention.ms", "x", words);
}

/// One heartbeat of the member `m` of the group `g`, which joins in epoch 0.
fn beat(client: &mut Connection, epoch: i32) -> ConsumerGroupHeartbeatResponse {
    let mut request = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_member_id(text("m"))
        .with_member_epoch(epoch);
    if epoch == 0 {
        request = request
            .with_rebalance_timeout_ms(30_000)
            .with_subscribed_topic_names(Some(vec![topic_name("t")]))
            .with_topic_partitions(Some(Vec::new()));
    }
    let began = Instant::now();
    loop {
        let _ = client.ask(&FindCoordinatorRequest::default().with_key(text("g")), 3);
        let answer = client.ask(&request, 1);
        if !is_retriable(answer.error_code) {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "error {} does not pass", answer.error_code);
        std::thread::sleep(Duration::from_millis(5)); // a client's backoff
    }
}

#[test]
fn settings_of_groups_act_on_running_groups_and_last() {
    const SESSION: &str = "consumer.session.timeout.ms";
    const INTERVAL: &str = "consumer.heartbeat.interval.ms";
    let mut broker = Broker::start();
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, &[]), 0);
    let joined = beat(&mut client, 0);
    assert_eq!((joined.error_code, joined.heartbeat_interval_ms), (0, 5_000));
    assert_eq!(describe(&mut client, GROUP, "g", SESSION), is("45000", 5));
    let both = [(SESSION, SET, Some(" 51000 ")), (INTERVAL, SET, Some("7000"))];
    assert_eq!(change(&mut client, GROUP, "g", &both), fine());
    assert_eq!(describe(&mut client, GROUP, "g", SESSION), is("51000", 8));
    assert_eq!(describe(&mut client, GROUP, "other", INTERVAL), is("5000", 5));
    let told_ms = |client: &mut Connection| beat(client, joined.member_epoch).heartbeat_interval_ms;
    assert_eq!(told_ms(&mut client), 7_000, "at once");
    broker.kill();
    broker.restart();
    let mut client = broker.connect();
    assert_eq!(describe(&mut client, GROUP, "g", SESSION), is("51000", 8));
    assert_eq!(told_ms(&mut client), 7_000, "after a crash, too");
    // What AlterConfigs does not name goes.
    let config = alter_configs_request::AlterableConfig::default()
        .with_name(text(INTERVAL))
        .with_value(Some(text("6000")));
    let resource = alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(GROUP)
        .with_resource_name(text("g"))
        .with_configs(vec![config]);
    let request = AlterConfigsRequest::default().with_resources(vec![resource]);
    assert_eq!(client.ask(&request, 2).responses[0].error_code, 0);
    assert_eq!(describe(&mut client, GROUP, "g", SESSION), is("45000", 5));
    assert_eq!(told_ms(&mut client), 6_000);
    let gone = [(INTERVAL, DELETE, None), ("no.such", DELETE, None)];
    assert_eq!(change(&mut client, GROUP, "g", &gone), fine());
    assert_eq!(told_ms(&mut client), 5_000);
}

/// Codes and words are those of Apache Kafka 4.3.1.
#[test]
fn settings_of_groups_are_held_against_the_brokers() {
    let limit = "group.consumer.max.heartbeat.interval.ms=9000";
    let broker = Broker::with(Options::set(&[limit]));
    let mut client = broker.connect();
    let mut check = |name: &str, operation, (setting, value): (&str, &str), want: Told| {
        let done = change(&mut client, GROUP, name, &[(setting, operation, Some(value))]);
        assert_eq!(done, want, "{setting}={value}");
    };
    let interval = "consumer.heartbeat.interval.ms";
    check("", SET, (interval, "6000"), told(42, "Default group resources are not allowed."));
    check("g", SET, ("nope", "1"), told(40, "Unknown group config name: nope"));
    check("g", SET, (interval, "9000"), fine());
    let words = "consumer.heartbeat.interval.ms must be less than or equal to \
                 group.consumer.max.heartbeat.interval.ms";
    check("g", SET, (interval, "9001"), told(40, words));
    let words = "consumer.heartbeat.interval.ms must be greater than or equal to \
                 group.consumer.min.heartbeat.interval.ms";
    check("g", SET, (interval, "4999"), told(40, words));
    let words = "Can't APPEND to key consumer.heartbeat.interval.ms because its type is not LIST.";
    check("g", APPEND, (interval, "1"), told(40, words));
    check("g", SET, ("share.auto.offset.reset", "earliest"), fine());
    check("g", SET, ("streams.num.standby.replicas", "2"), fine());
    let resource = describe_configs_request::DescribeConfigsResource::default()
        .with_resource_type(GROUP)
        .with_resource_name(text(""));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let refused = &client.ask(&request, 4).results[0];
    let words = refused.error_message.as_ref().map(ToString::to_string);
    assert_eq!((refused.error_code, words.as_deref()), (42, Some("Group name must not be empty")));
    for kind in NOT_HERE {
        assert_eq!(change(&mut client, kind, "1", &[("a", SET, Some("1"))]).0, 42);
    }
}

/// Without the feature there are no groups of the consumer protocol, as Kafka has it.
#[test]
fn group_version_turns_the_consumer_protocol_on_and_off() {
    const UNSUPPORTED_VERSION: i16 = 35;
    let mut broker = Broker::start();
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, &[]), 0);
    let epoch = beat(&mut client, 0).member_epoch;
    assert!(epoch > 0);
    let level = |client: &mut Connection, level: i16, upgrade_type: i8| {
        let update = update_features_request::FeatureUpdateKey::default()
            .with_feature(text("group.version"))
            .with_max_version_level(level)
            .with_upgrade_type(upgrade_type);
        let request = UpdateFeaturesRequest::default().with_feature_updates(vec![update]);
        client.ask(&request, 1).error_code
    };
    assert_eq!(level(&mut client, 0, 1), 95, "an upgrade does not go down");
    assert_eq!(level(&mut client, 0, 2), 0);
    let check = |client: &mut Connection| {
        assert_eq!(beat(client, epoch).error_code, UNSUPPORTED_VERSION);
        let describe =
            ConsumerGroupDescribeRequest::default().with_group_ids(vec![GroupId(text("g"))]);
        assert_eq!(client.ask(&describe, 1).groups[0].error_code, UNSUPPORTED_VERSION);
    };
    check(&mut client);
    broker.kill();
    broker.restart();
    let mut client = broker.connect();
    check(&mut client);
    assert_eq!(level(&mut client, 1, 1), 0);
    assert_eq!(beat(&mut client, epoch).error_code, 0, "the group is as it was");
}

#[test]
fn resources_with_settings_are_listed() {
    let broker = Broker::start();
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, &[]), 0);
    let own = [("share.isolation.level", SET, Some("read_committed"))];
    assert_eq!(change(&mut client, GROUP, "g", &own), fine());
    let mut ask = |types: Vec<i8>, version: i16| {
        let request = ListConfigResourcesRequest::default().with_resource_types(types);
        let answer = client.ask(&request, version);
        let named = answer.config_resources.iter();
        let named =
            named.map(|one| format!("{}:{}", one.resource_type, one.resource_name.as_str()));
        (answer.error_code, named.collect::<Vec<String>>())
    };
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<String>>();
    assert_eq!(ask(vec![], 1), (0, names(&["32:g", "4:1", "2:t"])));
    assert_eq!(ask(vec![32], 1), (0, names(&["32:g"])));
    assert_eq!(ask(vec![2], 1), (0, names(&["2:t"])));
    assert_eq!(ask(vec![16], 1), (0, names(&[])));
    assert_eq!(ask(vec![99], 1), (35, names(&[])));
    assert_eq!(ask(vec![], 0), (0, names(&[])));
}

#[test]
fn features_are_told_and_their_levels_guarded() {
    let broker = Broker::start();
    let mut client = broker.connect();
    for version in 3..=4 {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(text("t"))
            .with_client_software_version(text("1"));
        let answer = client.ask(&request, version);
        let finalized: Vec<(&str, i16)> = answer
            .finalized_features
            .iter()
            .map(|one| (one.name.as_str(), one.max_version_level))
            .collect();
        assert!(finalized.contains(&("metadata.version", 30)), "{finalized:?}");
        assert!(answer.finalized_features_epoch > 0);
        for (name, level) in finalized {
            let supported = answer.supported_features.iter().find(|one| one.name.as_str() == name);
            match supported {
                Some(one) => assert!((one.min_version..=one.max_version).contains(&level)),
                // As Kafka does: clients of version 3 are not told of a feature that may be off.
                None => assert!(
                    version == 3 && ["group.version", "transaction.version"].contains(&name),
                    "{name} in version {version}"
                ),
            }
        }
    }
    for version in 0..=2 {
        let mut ask = |name: &str, level: i16| {
            let update = update_features_request::FeatureUpdateKey::default()
                .with_feature(text(name))
                .with_max_version_level(level);
            let request = UpdateFeaturesRequest::default().with_feature_updates(vec![update]);
            client.ask(&request, version)
        };
        let answer = ask("metadata.version", 30);
        assert_eq!((answer.error_code, answer.results.len()), (0, usize::from(version < 2)));
        assert_eq!(ask("metadata.version", 1).error_code, 95);
        let words = ask("nope", 1).error_message.unwrap_or_default();
        assert!(words.contains("Invalid update version 1 for feature nope."), "{}", words.as_str());
    }
}
