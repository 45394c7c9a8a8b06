//! FindCoordinator (key 10), versions 0-6: which broker coordinates a group.
//!
//! The topic that keeps positions is created when the first group asks; until it is there the
//! answer is COORDINATOR_NOT_AVAILABLE, and clients ask again. There is no coordinator of
//! transactions or share groups yet: their keys are refused for good.
//!
//! Source: KIP-699 (batches), protocol.md P80.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::controller::random_id::random_topic_id;
use crate::metadata::commands::{Command, Mode};
use crate::metadata::create_topics::NewTopic;
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};

use super::super::connection::Connection;
use super::super::context::Shard;
use super::super::coordinators::coordinator_partition;
use super::super::groups::OFFSETS_TOPIC;
use super::super::hints;

/// First version with a list of keys.
const BATCH_VERSION: i16 = 4;
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// Answers one request.
pub async fn handle(
    shard: &Rc<Shard>,
    connection: &Connection,
    request: FindCoordinatorRequest,
    version: i16,
) -> FindCoordinatorResponse {
    let keys = match version >= BATCH_VERSION {
        true => request.coordinator_keys,
        false => vec![request.key],
    };
    let wants_group = request.key_type == GROUP && !keys.is_empty();
    if wants_group && shard.image().topic_by_name(OFFSETS_TOPIC).is_none() {
        create_offsets_topic(shard).await;
    }
    let find = |key: String| find(shard, connection, request.key_type, key);
    let found: Vec<Coordinator> = keys.into_iter().map(find).collect();
    if version >= BATCH_VERSION {
        return FindCoordinatorResponse {
            coordinators: found,
            ..FindCoordinatorResponse::default()
        };
    }
    let one = found.into_iter().next().unwrap_or_default();
    let error = ErrorCode::from_code(one.error_code).unwrap_or(ErrorCode::None);
    FindCoordinatorResponse {
        error_code: one.error_code,
        error_message: Some(match error {
            ErrorCode::None => "NONE".to_owned(), // as Kafka says it
            error => error.message().to_owned(),
        }),
        node_id: one.node_id,
        host: one.host,
        port: one.port,
        ..FindCoordinatorResponse::default()
    }
}

fn find(shard: &Shard, connection: &Connection, key_type: i8, key: String) -> Coordinator {
    let found = match key_type {
        GROUP => coordinator_of(shard, connection, &key),
        TRANSACTION => Err(ErrorCode::TransactionalIdAuthorizationFailed),
        _ => Err(ErrorCode::InvalidRequest),
    };
    let empty = Some(String::new());
    match found {
        Ok((node_id, host, port)) => {
            Coordinator { key, node_id, host, port, error_message: empty, ..Coordinator::default() }
        }
        Err(error) => Coordinator {
            key,
            node_id: -1,
            port: -1,
            error_code: error.code(),
            error_message: empty,
            ..Coordinator::default()
        },
    }
}

fn coordinator_of(
    shard: &Shard,
    connection: &Connection,
    group: &str,
) -> Result<(i32, String, i32), ErrorCode> {
    let image = shard.image();
    let topic = image.topic_by_name(OFFSETS_TOPIC).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let partition = coordinator_partition(topic, group);
    let state = topic.partition(partition.partition);
    let leader = state.and_then(|state| state.leader).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let address = hints::address(&image, leader, &connection.listener);
    let (endpoint, _) = address.ok_or(ErrorCode::CoordinatorNotAvailable)?;
    Ok((leader.0, endpoint.host.clone(), i32::from(endpoint.port)))
}

/// Creates the topic that keeps positions. A refusal is not told: the next request meets it.
async fn create_offsets_topic(shard: &Rc<Shard>) {
    let groups = &shard.static_config.groups;
    let brokers = i16::try_from(shard.image().brokers().len()).unwrap_or(i16::MAX).max(1);
    let configs = [
        ("cleanup.policy", "compact".to_owned()),
        ("compression.type", "producer".to_owned()),
        ("segment.bytes", groups.offsets_topic_segment_bytes.to_string()),
    ];
    let topic = NewTopic {
        id: random_topic_id(),
        name: OFFSETS_TOPIC.to_owned(),
        num_partitions: groups.offsets_topic_num_partitions,
        replication_factor: groups.offsets_topic_replication_factor.min(brokers),
        assignments: Vec::new(),
        configs: BTreeMap::from(configs.map(|(name, value)| (name.to_owned(), value))),
        valueless: Vec::new(),
    };
    let create = Command::CreateTopics { topics: vec![topic], mode: Mode::Commit };
    let _ = shard.execute(create).await;
}
