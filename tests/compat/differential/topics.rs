//! Topics: created, described, deleted, with settings, in good and bad ways.

use yeoul::model::ids::TopicId;
use yeoul::protocol::messages::create_topics::*;
use yeoul::protocol::messages::delete_topics::*;
use yeoul::protocol::messages::describe_cluster::*;
use yeoul::protocol::messages::describe_configs::*;
use yeoul::protocol::messages::describe_topic_partitions::*;
use yeoul::protocol::messages::metadata::*;
use yeoul::testing::prng::Prng;

use crate::duo::{Duo, Side};

/// One of `choices`.
pub fn pick<'a, T: ?Sized>(prng: &mut Prng, choices: &[&'a T]) -> &'a T {
    choices[prng.index(choices.len())]
}

/// A name: of a topic that is there, or of none, or not a name at all.
pub fn any_name(prng: &mut Prng, topics: &[String]) -> String {
    match prng.below(12) {
        0 => "dt-none".to_owned(),
        1 => pick(prng, &["bad/name", "", ".", "..", "sp ace", "ünï"]).to_owned(),
        2 => "x".repeat(249 + prng.index(2)),
        _ => topics[prng.index(topics.len())].clone(),
    }
}

const SETTINGS: [(&str, Option<&str>); 22] = [
    ("cleanup.policy", Some("compact")),
    ("cleanup.policy", Some("compact,delete")),
    ("cleanup.policy", Some("bogus")),
    ("retention.ms", Some("60000")),
    ("retention.ms", Some("-1")),
    ("retention.ms", Some("-2")),
    ("retention.ms", Some("soon")),
    ("max.message.bytes", Some("2000")),
    ("max.message.bytes", Some("-1")),
    ("segment.bytes", Some("1048576")),
    ("segment.bytes", Some("1000")),
    ("compression.type", Some("zstd")),
    ("compression.type", Some("brotli")),
    ("min.insync.replicas", Some("1")),
    ("min.insync.replicas", Some("0")),
    ("message.timestamp.type", Some("LogAppendTime")),
    ("no.such.setting", Some("1")),
    ("retention.bytes", None),
    ("unclean.leader.election.enable", Some("maybe")),
    ("min.cleanable.dirty.ratio", Some("1.5")),
    ("delete.retention.ms", Some("99999999999999999999")),
    ("flush.messages", Some(" 7 ")),
];

fn creatable(prng: &mut Prng, name: String) -> CreatableTopic {
    let mut topic = CreatableTopic {
        name,
        num_partitions: [1, 1, 3, 3, -1, 0, -5][prng.index(7)],
        replication_factor: [1, 1, 1, 1, -1, 2, 0][prng.index(7)],
        ..Default::default()
    };
    if prng.chance(15) {
        if prng.chance(80) {
            (topic.num_partitions, topic.replication_factor) = (-1, -1);
        }
        for _ in 0..=prng.index(2) {
            topic.assignments.push(CreatableReplicaAssignment {
                partition_index: [0, 0, 1, 5][prng.index(4)],
                broker_ids: [vec![1], vec![1], vec![9], vec![], vec![1, 1]][prng.index(5)].clone(),
                ..Default::default()
            });
        }
    }
    for _ in 0..prng.index(3) {
        let (name, value) = SETTINGS[prng.index(SETTINGS.len())];
        topic.configs.push(CreatableTopicConfig {
            name: name.to_owned(),
            value: value.map(str::to_owned),
            ..Default::default()
        });
    }
    topic
}

/// Creates two good topics and random ones; gives the good ones.
pub fn create(duo: &mut Duo, prng: &mut Prng, round: u64) -> Vec<String> {
    let good: Vec<String> = (0..2).map(|at| format!("dt-{round}-{at}")).collect();
    let versions = duo.versions::<CreateTopicsRequest>();
    let newest = *versions.last().expect("it creates topics");
    let topic = |name: &String| CreatableTopic {
        name: name.clone(),
        num_partitions: 2,
        replication_factor: 1,
        // The records are of 2023: retention would delete them, each broker in its own time.
        configs: vec![CreatableTopicConfig {
            name: "retention.ms".to_owned(),
            value: Some("-1".to_owned()),
            ..Default::default()
        }],
        ..Default::default()
    };
    let topics: Vec<_> = good.iter().map(topic).collect();
    duo.ask("good", newest, |_| CreateTopicsRequest {
        topics: topics.clone(),
        ..Default::default()
    });
    duo.settle(&good, false);
    let mut made = Vec::new();
    for version in versions {
        let mut topics = Vec::new();
        for at in 0..=prng.index(3) {
            let name = match prng.below(10) {
                0 | 1 => any_name(prng, &good),
                2 => topics
                    .last()
                    .map_or(good[0].clone(), |topic: &CreatableTopic| topic.name.clone()),
                _ => format!("dt-{round}-v{version}-{at}"),
            };
            topics.push(creatable(prng, name));
        }
        let validate_only = prng.chance(25);
        let request =
            CreateTopicsRequest { topics, timeout_ms: 10_000, validate_only, ..Default::default() };
        let answers = duo.ask("random", version, |_| request.clone());
        if let Some([ours, theirs]) = answers.filter(|_| !validate_only) {
            let fine = |answer: &CreateTopicsResponse| -> Vec<String> {
                let fine = answer.topics.iter().filter(|topic| topic.error_code == 0);
                fine.map(|topic| topic.name.clone()).collect()
            };
            let both = fine(&ours).into_iter().filter(|name| fine(&theirs).contains(name));
            made.extend(both);
        }
    }
    duo.settle(&made, false);
    delete(duo, prng, &made);
    good
}

fn delete(duo: &mut Duo, prng: &mut Prng, made: &[String]) {
    let versions = duo.versions::<DeleteTopicsRequest>();
    for at in 0..made.len().max(versions.len()) {
        let none = "dt-none".to_owned();
        let name = made.get(at).unwrap_or(&none);
        let version = versions[at % versions.len()];
        let mut names = vec![name.clone()];
        if prng.chance(50) {
            let more = pick(prng, &["dt-none", "bad/name", "", name.as_str()]);
            names.push(more.to_owned());
        }
        let by_id = prng.chance(50);
        duo.ask("one and more", version, |side| {
            let state = |name: &String| DeleteTopicState {
                name: (!by_id).then(|| name.clone()),
                topic_id: if by_id { side.id(name) } else { TopicId::ZERO },
                ..Default::default()
            };
            DeleteTopicsRequest {
                topics: if version >= 6 { names.iter().map(state).collect() } else { Vec::new() },
                topic_names: if version < 6 { names.clone() } else { Vec::new() },
                timeout_ms: 10_000,
                ..Default::default()
            }
        });
    }
    // A name given twice, or with an id, may have been refused: then it stays, and is deleted plainly.
    for name in made {
        duo.ask("again", 5, |_| DeleteTopicsRequest {
            topic_names: vec![name.clone()],
            timeout_ms: 10_000,
            ..Default::default()
        });
    }
    duo.settle(made, true);
}

/// Asks for topics, brokers and settings.
pub fn describe(duo: &mut Duo, prng: &mut Prng, topics: &[String]) {
    for version in duo.versions::<MetadataRequest>() {
        let mut names: Vec<(String, bool)> = Vec::new();
        for _ in 0..=prng.index(3) {
            let name = match any_name(prng, topics) {
                // Old versions always create what is not there, each broker in its own time.
                name if version < 4 && !topics.contains(&name) => "bad/name".to_owned(),
                name => name,
            };
            names.push((name, version >= 12 && prng.chance(30)));
        }
        // Yeoul's own and Kafka's internal topics come and go with coordinators: never all topics.
        let none = version > 0 && prng.chance(15);
        let operations = prng.chance(50);
        duo.ask("topics", version, |side| MetadataRequest {
            topics: Some(if none {
                Vec::new()
            } else {
                names.iter().map(|name| asked(side, name)).collect()
            }),
            allow_auto_topic_creation: version < 4,
            include_cluster_authorized_operations: operations && (8..=10).contains(&version),
            include_topic_authorized_operations: operations && version >= 8,
            ..Default::default()
        });
    }
    for version in duo.versions::<DescribeClusterRequest>() {
        for endpoint_type in [1, 2, 0, 9] {
            duo.ask(&format!("endpoints {endpoint_type}"), version, |_| DescribeClusterRequest {
                include_cluster_authorized_operations: true,
                endpoint_type: if version >= 1 { endpoint_type } else { 1 },
                ..Default::default()
            });
        }
    }
    for version in duo.versions::<DescribeTopicPartitionsRequest>() {
        let names: Vec<String> = (0..=prng.index(3)).map(|_| any_name(prng, topics)).collect();
        for limit in [2000, 1, 2, 0, -1] {
            let cursor = prng.chance(40).then(|| Cursor {
                topic_name: any_name(prng, topics),
                partition_index: [0, 1, 7, -1][prng.index(4)],
                ..Default::default()
            });
            duo.ask(&format!("limit {limit}"), version, |_| DescribeTopicPartitionsRequest {
                topics: names
                    .iter()
                    .map(|name| TopicRequest { name: name.clone(), ..Default::default() })
                    .collect(),
                response_partition_limit: limit,
                cursor: cursor.clone(),
                ..Default::default()
            });
        }
    }
    configs(duo, prng, topics);
}

fn asked(side: &Side, (name, by_id): &(String, bool)) -> MetadataRequestTopic {
    MetadataRequestTopic {
        name: (!by_id).then(|| name.clone()),
        topic_id: if *by_id { side.id(name) } else { TopicId::ZERO },
        ..Default::default()
    }
}

fn configs(duo: &mut Duo, prng: &mut Prng, topics: &[String]) {
    let names = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect::<Vec<_>>());
    for version in duo.versions::<DescribeConfigsRequest>() {
        let kinds = [
            ("topic", 2, topics[0].clone(), None),
            (
                "any topic",
                2,
                any_name(prng, topics),
                names(&["retention.ms", "cleanup.policy", "no.such"]),
            ),
            ("no keys", 2, topics[1].clone(), names(&[])),
            (
                "broker",
                4,
                "1".to_owned(),
                names(&["num.partitions", "log.retention.ms", "compression.type"]),
            ),
            (
                "other broker",
                4,
                pick(prng, &["9", "x", "-1"]).to_owned(),
                names(&["num.partitions"]),
            ),
            ("all brokers", 4, String::new(), names(&["num.partitions"])),
            ("logger", 8, "1".to_owned(), names(&["root"])),
            ("strange", [0, 1, 3, 99, -1][prng.index(5)], "1".to_owned(), None),
        ];
        for (step, resource_type, resource_name, configuration_keys) in kinds {
            let include_synonyms = prng.chance(70);
            duo.ask(step, version, |_| DescribeConfigsRequest {
                resources: vec![DescribeConfigsResource {
                    resource_type,
                    resource_name: resource_name.clone(),
                    configuration_keys: configuration_keys.clone(),
                    ..Default::default()
                }],
                include_synonyms,
                ..Default::default()
            });
        }
    }
}
