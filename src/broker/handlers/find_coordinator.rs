//! FindCoordinator (key 10), versions 0-6: which broker coordinates a group or a transactional id.
//!
//! The topic that keeps positions, or transactions, is created when the first group or
//! transactional id asks; until it is there the answer is COORDINATOR_NOT_AVAILABLE, and clients
//! ask again. There are no share groups yet: their keys are refused for good.
//!
//! Source: KIP-699 (batches), protocol.md P80.

use std::rc::Rc;

use crate::protocol::error::ErrorCode;
use crate::protocol::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};

use super::super::connection::Connection;
use super::super::context::Shard;
use super::super::coordinators::coordinator_partition;
use super::super::groups::OFFSETS_TOPIC;
use super::super::hints;
use super::super::transactions::TRANSACTIONS_TOPIC;

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
    let topic = match request.key_type {
        GROUP => Some(OFFSETS_TOPIC),
        TRANSACTION => Some(TRANSACTIONS_TOPIC),
        _ => None,
    };
    if let (Some(topic), false) = (topic, keys.is_empty()) {
        shard.create_coordinator_topic(topic).await;
    }
    let find = |key: String| find(shard, connection, topic, key);
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

fn find(shard: &Shard, connection: &Connection, topic: Option<&str>, key: String) -> Coordinator {
    let found = match topic {
        Some(topic) => coordinator_of(shard, connection, topic, &key),
        None => Err(ErrorCode::InvalidRequest),
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
    topic: &str,
    key: &str,
) -> Result<(i32, String, i32), ErrorCode> {
    let image = shard.image();
    let topic = image.topic_by_name(topic).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let partition = coordinator_partition(topic, key);
    let state = topic.partition(partition.partition);
    let leader = state.and_then(|state| state.leader).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let address = hints::address(&image, leader, &connection.listener);
    let (endpoint, _) = address.ok_or(ErrorCode::CoordinatorNotAvailable)?;
    Ok((leader.0, endpoint.host.clone(), i32::from(endpoint.port)))
}
