//! AddOffsetsToTxn (key 25), versions 0-4: a group's offsets become part of a transaction.
//!
//! What is added is the partition that coordinates the group.
//!
//! Source: KIP-98, KIP-447; protocol.md P101, P102.

use std::rc::Rc;

use crate::model::ids::{ProducerEpoch, ProducerId};
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::add_offsets_to_txn::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse,
};
use crate::transaction::ids::{Identity, NamedPartition, TransactionLevel, TransactionalId};
use crate::transaction::partitions::AddRequest;

use super::super::context::Shard;
use super::super::coordinators::coordinator_partition;
use super::super::errors::{transaction_code, unavailable_code, understood};
use super::super::groups::OFFSETS_TOPIC;
use super::is_transactional_id;

/// First version that knows PRODUCER_FENCED.
const FENCED_VERSION: i16 = 2;

/// Answers one request.
pub async fn handle(
    shard: &Rc<Shard>,
    request: AddOffsetsToTxnRequest,
    version: i16,
) -> AddOffsetsToTxnResponse {
    let code = understood(add(shard, &request).await, version, FENCED_VERSION);
    AddOffsetsToTxnResponse { error_code: code.code(), ..AddOffsetsToTxnResponse::default() }
}

async fn add(shard: &Rc<Shard>, request: &AddOffsetsToTxnRequest) -> ErrorCode {
    if !is_transactional_id(&request.transactional_id) {
        return ErrorCode::InvalidRequest;
    }
    shard.create_coordinator_topic(OFFSETS_TOPIC).await;
    let image = shard.image();
    let Some(topic) = image.topic_by_name(OFFSETS_TOPIC) else {
        return ErrorCode::CoordinatorNotAvailable; // a refusal of the controller: asked again
    };
    let at = coordinator_partition(topic, &request.group_id);
    let request = AddRequest {
        id: TransactionalId::from(request.transactional_id.as_str()),
        producer: Identity {
            id: ProducerId(request.producer_id),
            epoch: ProducerEpoch(request.producer_epoch),
        },
        partitions: vec![NamedPartition { topic: topic.name.clone(), partition: at.partition }],
        version: TransactionLevel::V0, // clients of version 2 add by their first commit
        metadata_index: image.applied_index(),
    };
    match shard.add_to_transaction(request).await {
        Ok(added) => added.map_or_else(transaction_code, |()| ErrorCode::None),
        Err(unavailable) => unavailable_code(unavailable),
    }
}
