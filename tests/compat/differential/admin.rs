//! Administration: partitions, records, settings, folders, producers, the quorum, features, replicas.

use yeoul::protocol::messages::alter_configs;
use yeoul::protocol::messages::alter_partition_reassignments::*;
use yeoul::protocol::messages::create_partitions::*;
use yeoul::protocol::messages::delete_records::*;
use yeoul::protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use yeoul::protocol::messages::describe_log_dirs::*;
use yeoul::protocol::messages::describe_producers::*;
use yeoul::protocol::messages::describe_quorum::*;
use yeoul::protocol::messages::elect_leaders::*;
use yeoul::protocol::messages::incremental_alter_configs as incremental;
use yeoul::protocol::messages::list_config_resources::*;
use yeoul::protocol::messages::list_partition_reassignments::*;
use yeoul::protocol::messages::update_features::*;
use yeoul::testing::prng::Prng;

use crate::duo::Duo;
use crate::topics::any_name;

/// Every call of this kind that is served, in every version.
pub fn play(duo: &mut Duo, prng: &mut Prng, topics: &[String]) {
    partitions(duo, prng, topics);
    records(duo, prng, topics);
    single_settings(duo, prng, topics);
    settings_of_groups(duo);
    all_settings(duo, prng, topics);
    describe(duo, prng, topics);
    replicas(duo, prng, topics);
}

fn partitions(duo: &mut Duo, prng: &mut Prng, topics: &[String]) {
    for version in duo.versions::<CreatePartitionsRequest>() {
        for _ in 0..4 {
            let count = [0, -1, 1, 2, 3, 4, 5][prng.index(7)];
            let brokers =
                [None, None, Some(vec![1]), Some(vec![9]), Some(vec![]), Some(vec![1, 1])]
                    [prng.index(6)]
                .clone();
            let topic = CreatePartitionsTopic {
                name: any_name(prng, topics),
                count,
                assignments: brokers.map(|broker_ids| {
                    vec![CreatePartitionsAssignment { broker_ids, ..Default::default() }]
                }),
                ..Default::default()
            };
            let mut asked = vec![topic.clone()];
            if prng.chance(15) {
                asked.push(topic);
            }
            let validate_only = prng.chance(40);
            duo.ask(&format!("count {count}"), version, |_| CreatePartitionsRequest {
                topics: asked.clone(),
                timeout_ms: 10_000,
                validate_only,
                ..Default::default()
            });
        }
        duo.settle(topics, false);
    }
}

fn records(duo: &mut Duo, prng: &mut Prng, topics: &[String]) {
    for version in duo.versions::<DeleteRecordsRequest>() {
        for offset in [1, 0, -1, -2, 1_000_000] {
            let name = any_name(prng, topics);
            let partition_index = [0, 1, 9, -1][prng.index(4)];
            duo.ask(&format!("offset {offset}"), version, |_| DeleteRecordsRequest {
                topics: vec![DeleteRecordsTopic {
                    name: name.clone(),
                    partitions: vec![DeleteRecordsPartition {
                        partition_index,
                        offset,
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                timeout_ms: 5000,
                ..Default::default()
            });
        }
    }
}

/// Settings to change, good and bad.
const VALUES: [(&str, Option<&str>); 8] = [
    ("retention.ms", Some("70000")),
    ("retention.ms", Some("-9")),
    ("retention.ms", None),
    ("cleanup.policy", Some("compact")),
    ("cleanup.policy", Some("bogus")),
    ("no.such.setting", Some("1")),
    ("", Some("1")),
    ("max.message.bytes", Some("words")),
];

/// A resource to change: its type and its name.
fn target(prng: &mut Prng, topics: &[String]) -> (i8, String) {
    let kind = [2, 2, 2, 2, 4, 8, 0, 99, 32][prng.index(9)];
    let name = match kind {
        2 => any_name(prng, topics),
        4 => ["9", "x"][prng.index(2)].to_owned(),
        _ => "1".to_owned(),
    };
    (kind, name)
}

fn single_settings(duo: &mut Duo, prng: &mut Prng, topics: &[String]) {
    for version in duo.versions::<incremental::IncrementalAlterConfigsRequest>() {
        for (name, value) in VALUES {
            for config_operation in [0, 1, 2, 3, 9] {
                let (resource_type, resource_name) = target(prng, topics);
                let validate_only = prng.chance(40);
                let step = format!("{resource_type}: {name} {value:?} {config_operation}");
                duo.ask(&step, version, |_| incremental::IncrementalAlterConfigsRequest {
                    resources: vec![incremental::AlterConfigsResource {
                        resource_type,
                        resource_name: resource_name.clone(),
                        configs: vec![incremental::AlterableConfig {
                            name: name.to_owned(),
                            config_operation,
                            value: value.map(str::to_owned),
                            ..Default::default()
                        }],
                        ..Default::default()
                    }],
                    validate_only,
                    ..Default::default()
                });
            }
        }
    }
}

/// Settings of a group, good and bad, one after another; then what it has.
fn settings_of_groups(duo: &mut Duo) {
    const VALUES: [(&str, &str, i8); 16] = [
        ("consumer.session.timeout.ms", "50000", 0),
        ("consumer.session.timeout.ms", "44999", 0),
        ("consumer.session.timeout.ms", "60001", 0),
        ("consumer.session.timeout.ms", "0", 0),
        ("consumer.heartbeat.interval.ms", " 6000 ", 0),
        ("consumer.heartbeat.interval.ms", "words", 0),
        ("consumer.assignment.interval.ms", "15001", 0),
        ("consumer.assignment.interval.ms", "1", 2),
        ("share.auto.offset.reset", "by_duration:PT1H", 0),
        ("share.auto.offset.reset", "by_duration:1", 0),
        ("share.delivery.count.limit", "11", 0),
        ("share.isolation.level", "read_committed", 0),
        ("streams.num.standby.replicas", "3", 0),
        ("streams.initial.rebalance.delay.ms", "0", 0),
        ("no.such.setting", "1", 0),
        ("no.such.setting", "", 1),
    ];
    for version in duo.versions::<incremental::IncrementalAlterConfigsRequest>() {
        for (group, (name, value, config_operation)) in
            VALUES.iter().map(|value| ("settings", value)).chain([("", &VALUES[0])])
        {
            let step = format!("group '{group}': {name}={value} {config_operation}");
            duo.ask(&step, version, |_| incremental::IncrementalAlterConfigsRequest {
                resources: vec![incremental::AlterConfigsResource {
                    resource_type: 32,
                    resource_name: group.to_owned(),
                    configs: vec![incremental::AlterableConfig {
                        name: (*name).to_owned(),
                        config_operation: *config_operation,
                        value: Some((*value).to_owned()),
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                ..Default::default()
            });
        }
    }
    for version in duo.versions::<DescribeConfigsRequest>() {
        for group in ["settings", "no such group", ""] {
            for name in [
                "consumer.session.timeout.ms",
                "consumer.heartbeat.interval.ms",
                "share.auto.offset.reset",
                "share.renew.acknowledge.enable",
                "streams.session.timeout.ms",
            ] {
                duo.ask(&format!("group '{group}': {name}"), version, |_| DescribeConfigsRequest {
                    resources: vec![DescribeConfigsResource {
                        resource_type: 32,
                        resource_name: group.to_owned(),
                        configuration_keys: Some(vec![name.to_owned()]),
                        ..Default::default()
                    }],
                    include_synonyms: version >= 1,
                    ..Default::default()
                });
            }
        }
    }
}

fn all_settings(duo: &mut Duo, prng: &mut Prng, topics: &[String]) {
    for version in duo.versions::<alter_configs::AlterConfigsRequest>() {
        for (name, value) in VALUES {
            let (resource_type, resource_name) = target(prng, topics);
            duo.ask(&format!("{resource_type}: {name} {value:?}"), version, |_| {
                alter_configs::AlterConfigsRequest {
                    resources: vec![alter_configs::AlterConfigsResource {
                        resource_type,
                        resource_name: resource_name.clone(),
                        configs: vec![alter_configs::AlterableConfig {
                            name: name.to_owned(),
                            value: value.map(str::to_owned),
                            ..Default::default()
                        }],
                        ..Default::default()
                    }],
                    validate_only: false,
                    ..Default::default()
                }
            });
        }
    }
    for version in duo.versions::<ListConfigResourcesRequest>() {
        for types in [&[][..], &[16], &[32], &[2, 4], &[99]] {
            if version == 0 && !types.is_empty() {
                continue;
            }
            duo.ask(&format!("types {types:?}"), version, |_| ListConfigResourcesRequest {
                resource_types: types.to_vec(),
                ..Default::default()
            });
        }
    }
}

fn describe(duo: &mut Duo, prng: &mut Prng, topics: &[String]) {
    for version in duo.versions::<DescribeLogDirsRequest>() {
        let topic = any_name(prng, topics);
        duo.ask("some", version, |_| DescribeLogDirsRequest {
            topics: Some(vec![DescribableLogDirTopic {
                topic: topic.clone(),
                partitions: vec![0, 9],
                ..Default::default()
            }]),
            ..Default::default()
        });
    }
    for version in duo.versions::<DescribeProducersRequest>() {
        for partition in [0, 1, 9, -1] {
            let name = any_name(prng, topics);
            duo.ask(&format!("partition {partition}"), version, |_| DescribeProducersRequest {
                topics: vec![TopicRequest {
                    name: name.clone(),
                    partition_indexes: vec![partition],
                    ..Default::default()
                }],
                ..Default::default()
            });
        }
    }
    for version in duo.versions::<DescribeQuorumRequest>() {
        for (name, partition_index) in
            [("__cluster_metadata", 0), ("__cluster_metadata", 1), (&topics[0], 0)]
        {
            duo.ask(&format!("{name} {partition_index}"), version, |_| DescribeQuorumRequest {
                topics: vec![DescribeQuorumTopic {
                    topic_name: name.to_owned(),
                    partitions: vec![DescribeQuorumPartition {
                        partition_index,
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                ..Default::default()
            });
        }
    }
    for version in duo.versions::<UpdateFeaturesRequest>() {
        for (feature, max_version_level) in [
            ("no.such", 1),
            ("metadata.version", 99),
            ("transaction.version", 2),
            ("group.version", 1),
            ("group.version", 2),
            ("", 1),
        ] {
            duo.ask(&format!("{feature} {max_version_level}"), version, |_| {
                UpdateFeaturesRequest {
                    feature_updates: vec![FeatureUpdateKey {
                        feature: feature.to_owned(),
                        max_version_level,
                        ..Default::default()
                    }],
                    validate_only: version >= 1,
                    ..Default::default()
                }
            });
        }
    }
}

fn replicas(duo: &mut Duo, prng: &mut Prng, topics: &[String]) {
    for version in duo.versions::<ElectLeadersRequest>() {
        for election_type in [0, 1, 9] {
            if version == 0 && election_type != 0 {
                continue;
            }
            let topic = any_name(prng, topics);
            duo.ask(&format!("election {election_type}"), version, |_| ElectLeadersRequest {
                election_type,
                topic_partitions: Some(vec![TopicPartitions {
                    topic: topic.clone(),
                    partitions: vec![0, 9],
                    ..Default::default()
                }]),
                timeout_ms: 5000,
                ..Default::default()
            });
        }
    }
    for version in duo.versions::<AlterPartitionReassignmentsRequest>() {
        for replicas in [None, Some(vec![1]), Some(vec![9]), Some(vec![]), Some(vec![1, 1])] {
            let name = any_name(prng, topics);
            duo.ask(&format!("replicas {replicas:?}"), version, |_| {
                AlterPartitionReassignmentsRequest {
                    timeout_ms: 5000,
                    topics: vec![ReassignableTopic {
                        name: name.clone(),
                        partitions: [0, 9]
                            .map(|partition_index| ReassignablePartition {
                                partition_index,
                                replicas: replicas.clone(),
                                ..Default::default()
                            })
                            .to_vec(),
                        ..Default::default()
                    }],
                    ..Default::default()
                }
            });
        }
    }
    for version in duo.versions::<ListPartitionReassignmentsRequest>() {
        let name = any_name(prng, topics);
        for all in [true, false] {
            duo.ask(&format!("all {all}"), version, |_| ListPartitionReassignmentsRequest {
                topics: (!all).then(|| {
                    vec![ListPartitionReassignmentsTopics {
                        name: name.clone(),
                        partition_indexes: vec![0, 9],
                        ..Default::default()
                    }]
                }),
                ..Default::default()
            });
        }
    }
}
