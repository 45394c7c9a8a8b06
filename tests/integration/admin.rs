//! What administrators ask, over the wire: each API in every version it is served in.
//!
//! In:   requests in the codec of the `kafka-protocol` crate, against the built binary.
//! Out:  Kafka's codes and words, and that effects last.
//! Home: the test's thread.

use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, CreatePartitionsRequest, DeleteRecordsRequest,
    DescribeLogDirsRequest, DescribeProducersRequest, DescribeQuorumRequest, ElectLeadersRequest,
    ListPartitionReassignmentsRequest, MetadataRequest, OffsetForLeaderEpochRequest,
    describe_producers_request, describe_quorum_request, metadata_request,
    offset_for_leader_epoch_request,
};

use crate::broker::Broker;
use crate::wire::{Connection, NOBODY, Producer, batch_of, topic_name};

/// Ten records in partition 0 of a new topic.
fn filled(client: &mut Connection, topic: &str, settings: &[(&str, &str)]) {
    assert_eq!(client.create_topic(topic, 2, settings), 0);
    let values: Vec<Vec<u8>> = (0..10).map(|n: u8| vec![n; 100]).collect();
    assert_eq!(client.produce(topic, 0, batch_of(&values, NOBODY)), Ok(0));
}

fn leader_epoch(client: &mut Connection, topic: &str) -> i32 {
    let asked =
        metadata_request::MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
    let request = MetadataRequest::default().with_topics(Some(vec![asked]));
    client.ask(&request, 9).topics[0].partitions[0].leader_epoch
}

/// The epoch and the end that the broker tells for `epoch` in partition 0, or its refusal.
fn epoch_end(
    client: &mut Connection,
    topic: &str,
    epoch: i32,
    current: i32,
) -> Result<(i32, i64), i16> {
    let partition = offset_for_leader_epoch_request::OffsetForLeaderPartition::default()
        .with_partition(0)
        .with_current_leader_epoch(current)
        .with_leader_epoch(epoch);
    let asked = offset_for_leader_epoch_request::OffsetForLeaderTopic::default()
        .with_topic(topic_name(topic))
        .with_partitions(vec![partition]);
    let request = OffsetForLeaderEpochRequest::default().with_topics(vec![asked]);
    let answer = &client.ask(&request, 4).topics[0].partitions[0];
    match answer.error_code {
        0 => Ok((answer.leader_epoch, answer.end_offset)),
        code => Err(code),
    }
}

/// A crash raises leader epochs, as in Kafka; an orderly end does not, and clients go on.
#[test]
fn a_crash_raises_leader_epochs_and_an_orderly_end_does_not() {
    const FENCED_LEADER_EPOCH: i16 = 74;
    let mut broker = Broker::start();
    filled(&mut broker.connect(), "t", &[]);
    assert_eq!(leader_epoch(&mut broker.connect(), "t"), 0);
    broker.stop();
    broker.restart();
    assert_eq!(leader_epoch(&mut broker.connect(), "t"), 0, "an orderly end");
    for crashes in 1..=2 {
        broker.kill();
        broker.restart();
        let mut client = broker.connect();
        assert_eq!(leader_epoch(&mut client, "t"), crashes);
        let before = i64::from(crashes - 1);
        let end = 10 + before;
        assert_eq!(epoch_end(&mut client, "t", crashes - 1, -1), Ok((crashes - 1, end)));
        assert_eq!(epoch_end(&mut client, "t", crashes, crashes), Ok((crashes, end)));
        assert_eq!(epoch_end(&mut client, "t", 0, crashes - 1), Err(FENCED_LEADER_EPOCH));
        assert_eq!(client.produce("t", 0, batch_of(&[vec![1]], NOBODY)), Ok(end));
        assert_eq!(client.read_from("t", 0, 0).len(), usize::try_from(end).unwrap() + 1);
    }
    broker.stop();
    broker.restart();
    assert_eq!(leader_epoch(&mut broker.connect(), "t"), 2);
}

#[test]
fn partitions_are_added_in_every_version_and_refused_in_kafkas_words() {
    let broker = Broker::start();
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, &[]), 0);
    let more = |name: &str, count: i32, assigned: Option<&[i32]>| {
        let assignments = assigned.map(|ids| {
            let ids = ids.iter().map(|&id| id.into()).collect();
            vec![CreatePartitionsAssignment::default().with_broker_ids(ids)]
        });
        let name = topic_name(name);
        CreatePartitionsTopic::default()
            .with_name(name)
            .with_count(count)
            .with_assignments(assignments)
    };
    let mut ask = |topics: Vec<CreatePartitionsTopic>, validate_only: bool, version: i16| {
        let request = CreatePartitionsRequest::default()
            .with_topics(topics)
            .with_timeout_ms(30_000)
            .with_validate_only(validate_only);
        let results = client.ask(&request, version).results;
        assert_eq!(results.len(), 1);
        let words = results[0].error_message.as_ref().map(ToString::to_string);
        (results[0].error_code, words.unwrap_or_default())
    };
    let fine = (0, String::new());
    for version in 0..=3 {
        let count = 2 + i32::from(version);
        assert_eq!(ask(vec![more("t", count, None)], true, version), fine, "only checked");
        assert_eq!(ask(vec![more("t", count, None)], false, version), fine);
    }
    let told = |code: i16, words: &str| (code, words.to_owned());
    let words = "Topic already has 5 partition(s).";
    assert_eq!(ask(vec![more("t", 5, None)], false, 3), told(37, words));
    let words = "The topic t currently has 5 partition(s); 4 would not be an increase.";
    assert_eq!(ask(vec![more("t", 4, None)], false, 3), told(37, words));
    assert_eq!(ask(vec![more("u", 4, None)], false, 3), told(3, ""));
    let twice = vec![more("t", 9, None), more("t", 9, None)];
    assert_eq!(ask(twice, false, 3), told(42, "Duplicate topic name."));
    let words =
        "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.";
    assert_eq!(ask(vec![more("t", 7, Some(&[1]))], false, 3), told(39, words));
    let words =
        "The manual partition assignment includes broker 7, but no such broker is registered.";
    assert_eq!(ask(vec![more("t", 6, Some(&[7]))], false, 3), told(39, words));
    assert_eq!(ask(vec![more("t", 6, Some(&[1]))], false, 3), fine);
    let produced = broker.connect().produce("t", 5, batch_of(&[vec![1]], NOBODY));
    assert_eq!(produced, Ok(0), "the new partition is there when the answer is");
}

#[test]
fn deleted_records_stay_deleted_in_every_version() {
    let mut broker = Broker::start();
    filled(&mut broker.connect(), "t", &[]);
    assert_eq!(broker.connect().create_topic("compacted", 1, &[("cleanup.policy", "compact")]), 0);
    let ask = |broker: &Broker, topic: &str, index: i32, offset: i64, version: i16| {
        let partition =
            DeleteRecordsPartition::default().with_partition_index(index).with_offset(offset);
        let topic = DeleteRecordsTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(vec![partition]);
        let request =
            DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        let answer = broker.connect().ask(&request, version);
        let result = &answer.topics[0].partitions[0];
        (result.error_code, result.low_watermark)
    };
    for version in 0..=2 {
        let before = i64::from(version) + 2;
        assert_eq!(ask(&broker, "t", 0, before, version), (0, before));
        assert_eq!(broker.connect().offset_of("t", 0, -2), before);
        broker.kill();
        broker.restart();
        assert_eq!(broker.connect().offset_of("t", 0, -2), before, "durable when answered");
    }
    assert_eq!(ask(&broker, "t", 0, 1, 2), (0, 4), "what is gone is gone");
    assert_eq!(ask(&broker, "t", 0, 11, 2), (1, -1), "beyond the high watermark");
    assert_eq!(ask(&broker, "t", 0, -2, 2), (1, -1));
    assert_eq!(ask(&broker, "t", 7, 0, 2), (3, -1));
    assert_eq!(ask(&broker, "u", 0, 0, 2), (3, -1));
    assert_eq!(ask(&broker, "compacted", 0, 0, 2), (44, -1), "the policy keeps them");
    assert_eq!(broker.connect().fetch("t", 0, 3).unwrap_err(), 1);
    assert_eq!(broker.connect().read_from("t", 0, 4).len(), 6);
    assert_eq!(ask(&broker, "t", 0, -1, 2), (0, 10), "all that can be read");
    broker.kill();
    broker.restart();
    let mut client = broker.connect();
    assert_eq!((client.offset_of("t", 0, -2), client.offset_of("t", 0, -1)), (10, 10));
    assert_eq!(client.produce("t", 0, batch_of(&[vec![1]], NOBODY)), Ok(10));
}

#[test]
fn the_data_directory_tells_what_lies_in_it() {
    let broker = Broker::start();
    let mut client = broker.connect();
    filled(&mut client, "t", &[]);
    for version in 1..=4 {
        let answer = client.ask(&DescribeLogDirsRequest::default().with_topics(None), version);
        let [directory] = &answer.results[..] else { panic!("one directory: {answer:?}") };
        assert_eq!(directory.log_dir.as_str(), broker.data().to_str().unwrap());
        let [topic] = &directory.topics[..] else { panic!("one topic: {directory:?}") };
        let sizes: Vec<i64> = topic.partitions.iter().map(|p| p.partition_size).collect();
        assert!(sizes[0] > 1_000 && sizes[1] == 0, "{sizes:?}");
        if version >= 4 {
            assert!(directory.usable_bytes > 0 && directory.usable_bytes < directory.total_bytes);
        }
    }
    let none = client.ask(&DescribeLogDirsRequest::default().with_topics(Some(Vec::new())), 4);
    assert!(none.results[0].topics.is_empty());
}

#[test]
fn producers_of_a_partition_are_told() {
    let broker = Broker::start();
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, &[]), 0);
    let id = client.producer_id();
    let producer = Producer { id, sequence: 0 };
    assert_eq!(client.produce("t", 0, batch_of(&[vec![1], vec![2]], producer)), Ok(0));
    let mut ask = |name: &str, index: i32| {
        let topic = describe_producers_request::TopicRequest::default()
            .with_name(topic_name(name))
            .with_partition_indexes(vec![index]);
        let request = DescribeProducersRequest::default().with_topics(vec![topic]);
        client.ask(&request, 0).topics[0].partitions[0].clone()
    };
    let answer = ask("t", 0);
    let [known] = &answer.active_producers[..] else { panic!("one producer: {answer:?}") };
    assert_eq!((known.producer_id.0, known.producer_epoch, known.last_sequence), (id, 0, 1));
    assert_eq!((known.coordinator_epoch, known.current_txn_start_offset), (-1, -1));
    assert!(known.last_timestamp > 0);
    assert_eq!(ask("t", 1).error_code, 3);
    assert_eq!(ask("u", 0).error_code, 3);
    assert_eq!(ask("a/b", 0).error_code, 17);
}

#[test]
fn the_quorum_of_one_is_told_truthfully() {
    let broker = Broker::start();
    let mut client = broker.connect();
    let mut ask = |topic: &str, version: i16| {
        let partition = describe_quorum_request::PartitionData::default().with_partition_index(0);
        let topic = describe_quorum_request::TopicData::default()
            .with_topic_name(topic_name(topic))
            .with_partitions(vec![partition]);
        client.ask(&DescribeQuorumRequest::default().with_topics(vec![topic]), version)
    };
    for version in 0..=2 {
        let answer = ask("__cluster_metadata", version);
        let quorum = &answer.topics[0].partitions[0];
        assert_eq!((answer.error_code, quorum.error_code, quorum.leader_id.0), (0, 0, 1));
        assert!(quorum.leader_epoch > 0 && quorum.high_watermark > 0, "{quorum:?}");
        assert_eq!(quorum.current_voters.len(), 1);
        assert_eq!(quorum.current_voters[0].log_end_offset, quorum.high_watermark);
        assert!(quorum.observers.is_empty());
        assert_eq!(answer.nodes.len(), usize::from(version == 2));
    }
    let before = ask("__cluster_metadata", 2).topics[0].partitions[0].high_watermark;
    assert_eq!(broker.connect().create_topic("t", 1, &[]), 0);
    let after = ask("__cluster_metadata", 2).topics[0].partitions[0].high_watermark;
    assert!(before < after, "a topic is an entry of the metadata log: {before} {after}");
    assert_eq!(ask("other", 2).topics[0].partitions[0].error_code, 3);
}

#[test]
fn nothing_is_elected_and_nothing_moves_in_a_cluster_of_one() {
    let broker = Broker::start();
    let mut client = broker.connect();
    assert_eq!(client.create_topic("t", 1, &[]), 0);
    for version in 0..=2 {
        let asked = |topic: &str, partitions: Vec<i32>| {
            TopicPartitions::default().with_topic(topic_name(topic)).with_partitions(partitions)
        };
        let request = ElectLeadersRequest::default()
            .with_topic_partitions(Some(vec![asked("t", vec![0, 1]), asked("u", vec![0])]));
        let results = client.ask(&request, version).replica_election_results;
        let codes: Vec<i16> = results
            .iter()
            .flat_map(|topic| topic.partition_result.iter().map(|result| result.error_code))
            .collect();
        assert_eq!(codes, [84, 3, 3]);
        let all = client.ask(&ElectLeadersRequest::default().with_topic_partitions(None), version);
        assert!(all.replica_election_results.iter().all(|topic| topic.partition_result.is_empty()));
    }
    for version in 0..=1 {
        let targets = [Some(vec![1]), None, Some(vec![]), Some(vec![9]), Some(vec![1, 1])];
        let codes = targets.map(|target| {
            let target = target.map(|ids: Vec<i32>| ids.into_iter().map(Into::into).collect());
            let partition = ReassignablePartition::default().with_replicas(target);
            let topic = ReassignableTopic::default()
                .with_name(topic_name("t"))
                .with_partitions(vec![partition]);
            let request = AlterPartitionReassignmentsRequest::default().with_topics(vec![topic]);
            client.ask(&request, version).responses[0].partitions[0].error_code
        });
        assert_eq!(codes, [0, 85, 39, 39, 39]);
    }
    let request = ListPartitionReassignmentsRequest::default().with_topics(None);
    let answer = client.ask(&request, 0);
    assert!(answer.error_code == 0 && answer.topics.is_empty());
}
