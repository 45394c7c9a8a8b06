//! DescribeTransactions (key 65), version 0: how transactional ids stand.
//!
//! Source: KIP-664; protocol.md P107.

use std::rc::Rc;

use crate::protocol::error::ErrorCode;
use crate::protocol::messages::describe_transactions::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, TopicData, TransactionState,
};
use crate::transaction::coordinator::TransactionCoordinator;
use crate::transaction::ids::TransactionalId;
use crate::transaction::record::TransactionValue;
use crate::transaction::step::Step;

use super::super::context::Shard;
use super::super::errors::unavailable_code;

/// Answers one request.
pub async fn handle(
    shard: &Rc<Shard>,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let mut transaction_states = Vec::with_capacity(request.transactional_ids.len());
    for transactional_id in request.transactional_ids {
        let state = match describe(shard, &transactional_id).await {
            Ok(value) => TransactionState { transactional_id, ..described(value) },
            Err(code) => TransactionState {
                error_code: code.code(),
                transactional_id,
                ..TransactionState::default()
            },
        };
        transaction_states.push(state);
    }
    DescribeTransactionsResponse { transaction_states, ..DescribeTransactionsResponse::default() }
}

async fn describe(shard: &Shard, id: &str) -> Result<TransactionValue, ErrorCode> {
    if id.is_empty() {
        return Err(ErrorCode::InvalidRequest);
    }
    let of = TransactionalId::from(id);
    let ask = move |core: &mut TransactionCoordinator, _, _: &mut Step| core.describe(&of);
    let found = shard.ask_transaction(id, ask).await.map_err(unavailable_code)?;
    found.ok_or(ErrorCode::TransactionalIdNotFound)
}

fn described(value: TransactionValue) -> TransactionState {
    let mut topics: Vec<TopicData> = Vec::new();
    for at in &value.partitions {
        let name = at.topic.as_str();
        match topics.last_mut().filter(|last| last.topic == name) {
            Some(last) => last.partitions.push(at.partition.0),
            None => topics.push(TopicData {
                topic: name.to_owned(),
                partitions: vec![at.partition.0],
                ..TopicData::default()
            }),
        }
    }
    TransactionState {
        transaction_state: value.state.name().to_owned(),
        transaction_timeout_ms: value.timeout_ms,
        transaction_start_time_ms: value.start.0,
        producer_id: value.producer_id.0,
        producer_epoch: value.producer_epoch.0,
        topics,
        ..TransactionState::default()
    }
}
