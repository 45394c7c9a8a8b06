//! AlterPartitionReassignments (key 45), versions 0-1, and ListPartitionReassignments (key 46),
//! version 0: of one broker, where every replica is where it can be and nothing moves.
//!
//! Source: KIP-455, KIP-860.

use std::rc::Rc;

use crate::model::ids::{BrokerId, PartitionIndex};
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartition,
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use crate::protocol::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use super::super::context::Shard;
use super::super::errors::Told;

/// Answers one AlterPartitionReassignments.
pub fn alter(
    shard: &Rc<Shard>,
    request: &AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let responses = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| reassign(shard, &topic.name, asked));
        ReassignableTopicResponse {
            name: topic.name.clone(),
            partitions: partitions.collect(),
            ..ReassignableTopicResponse::default()
        }
    });
    AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: request.allow_replication_factor_change,
        error_message: None,
        responses: responses.collect(),
        ..AlterPartitionReassignmentsResponse::default()
    }
}

fn reassign(
    shard: &Shard,
    topic: &str,
    asked: &ReassignablePartition,
) -> ReassignablePartitionResponse {
    let target: Option<Vec<BrokerId>> =
        asked.replicas.as_ref().map(|ids| ids.iter().copied().map(BrokerId).collect());
    let partition = PartitionIndex(asked.partition_index);
    let told = match shard.image().reassign(topic, partition, target.as_deref()) {
        Ok(()) => Told { code: ErrorCode::None, message: None },
        Err(error) => Told::from(&error),
    };
    ReassignablePartitionResponse {
        partition_index: asked.partition_index,
        error_code: told.code.code(),
        error_message: told.message,
        ..ReassignablePartitionResponse::default()
    }
}

/// Answers one ListPartitionReassignments: none is under way.
pub fn list(_: &ListPartitionReassignmentsRequest) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse {
        error_message: None,
        ..ListPartitionReassignmentsResponse::default()
    }
}
