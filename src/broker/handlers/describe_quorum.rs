//! DescribeQuorum (key 55), versions 0-2: the metadata quorum, of one voter.
//!
//! Kafka's quorum is that of the partition `__cluster_metadata-0`; tools ask for it by this name.
//! Its offsets are the indexes of the metadata log.
//!
//! Source: KIP-595, KIP-836 (times), KIP-853 (nodes, directories).

use std::rc::Rc;

use crate::model::ids::TopicId;
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, DescribeQuorumTopic, Listener, Node,
    PartitionData, ReplicaState, TopicData,
};
use crate::shard::timers;

use super::super::context::Shard;
use super::super::errors::Told;
use super::super::orders::QuorumView;
use super::UNKNOWN_PARTITION;

/// Version from which nodes and the ids of directories are told.
const DIRECTORIES_VERSION: i16 = 2;
/// Kafka's name of the metadata log.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// Answers one request.
pub async fn handle(
    shard: &Rc<Shard>,
    request: DescribeQuorumRequest,
    version: i16,
) -> DescribeQuorumResponse {
    let view = match shard.quorum().await {
        Ok(view) => view,
        Err(told) => return refused(told),
    };
    if !asks_for_metadata(&request.topics) {
        let topics = request.topics.into_iter().map(unknown).collect();
        return DescribeQuorumResponse { topics, ..fine() };
    }
    let mut partition = quorum(shard, view);
    let mut nodes = nodes(shard);
    if version < DIRECTORIES_VERSION {
        nodes.clear();
        let voters = partition.current_voters.iter_mut();
        voters.for_each(|voter| voter.replica_directory_id = TopicId::ZERO);
    }
    let topic = TopicData {
        topic_name: METADATA_TOPIC.to_owned(),
        partitions: vec![partition],
        ..TopicData::default()
    };
    DescribeQuorumResponse { topics: vec![topic], nodes, ..fine() }
}

/// No error for the whole; Kafka's words are then empty, not null.
fn fine() -> DescribeQuorumResponse {
    DescribeQuorumResponse {
        error_message: Some(String::new()),
        ..DescribeQuorumResponse::default()
    }
}

/// Whether exactly the metadata log is asked for.
fn asks_for_metadata(topics: &[DescribeQuorumTopic]) -> bool {
    let [topic] = topics else { return false };
    let [partition] = &topic.partitions[..] else { return false };
    topic.topic_name == METADATA_TOPIC && partition.partition_index == 0
}

fn quorum(shard: &Shard, view: QuorumView) -> PartitionData {
    let status = view.status;
    let offset = |index: u64| i64::try_from(index).expect("an index is below 2^63");
    let leader = status.leader.and_then(|raft_id| i32::try_from(raft_id >> 32).ok());
    let now = timers::wall_clock().0;
    let voter = ReplicaState {
        replica_id: shard.static_config.node_id.0,
        replica_directory_id: TopicId(view.directory_id),
        log_end_offset: offset(status.log_end),
        // The leader has, by definition, all it has.
        last_fetch_timestamp: now,
        last_caught_up_timestamp: now,
        ..ReplicaState::default()
    };
    PartitionData {
        partition_index: 0,
        error_code: ErrorCode::None.code(),
        error_message: Some(String::new()),
        leader_id: leader.unwrap_or(-1),
        leader_epoch: i32::try_from(status.term).unwrap_or(i32::MAX),
        high_watermark: offset(status.committed_end),
        current_voters: vec![voter],
        ..PartitionData::default()
    }
}

/// The voter's listeners: controller requests are taken where all others are.
fn nodes(shard: &Shard) -> Vec<Node> {
    let image = shard.image();
    let Some(broker) = image.broker(shard.static_config.node_id) else { return Vec::new() };
    let listeners = broker.endpoints.iter().map(|(name, endpoint)| Listener {
        name: name.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
        ..Listener::default()
    });
    vec![Node { node_id: broker.id.0, listeners: listeners.collect(), ..Node::default() }]
}

fn unknown(topic: DescribeQuorumTopic) -> TopicData {
    let partitions = topic.partitions.into_iter().map(|partition| PartitionData {
        partition_index: partition.partition_index,
        error_code: ErrorCode::UnknownTopicOrPartition.code(),
        error_message: Some(UNKNOWN_PARTITION.to_owned()),
        ..PartitionData::default()
    });
    TopicData {
        topic_name: topic.topic_name,
        partitions: partitions.collect(),
        ..TopicData::default()
    }
}

fn refused(told: Told) -> DescribeQuorumResponse {
    DescribeQuorumResponse {
        error_code: told.code.code(),
        error_message: told.message,
        ..DescribeQuorumResponse::default()
    }
}
