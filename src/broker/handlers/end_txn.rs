//! EndTxn (key 26), versions 0-5: a transaction is committed or aborted.
//!
//! Version 5 is of clients that speak transactions of version 2: the answer says who the
//! producer is in the next one.
//!
//! Source: KIP-98, KIP-890; protocol.md P101, P103.

use std::rc::Rc;

use crate::model::ids::{ProducerEpoch, ProducerId};
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::end_txn::{EndTxnRequest, EndTxnResponse};
use crate::record::control::Outcome;
use crate::transaction::end::EndRequest;
use crate::transaction::ids::{Identity, TransactionLevel, TransactionalId};

use super::super::context::Shard;
use super::super::errors::{transaction_code, understood};
use super::is_transactional_id;

/// First version that knows PRODUCER_FENCED.
const FENCED_VERSION: i16 = 2;
/// First version that tells the next identity.
const BUMP_VERSION: i16 = 5;

/// Answers one request.
pub async fn handle(shard: &Rc<Shard>, request: EndTxnRequest, version: i16) -> EndTxnResponse {
    let bumps = version >= BUMP_VERSION;
    match end(shard, request, bumps).await {
        Ok(next) if bumps => EndTxnResponse {
            producer_id: next.id.0,
            producer_epoch: next.epoch.0,
            ..EndTxnResponse::default()
        },
        Ok(_) => EndTxnResponse::default(),
        Err(code) => EndTxnResponse {
            error_code: understood(code, version, FENCED_VERSION).code(),
            ..EndTxnResponse::default()
        },
    }
}

async fn end(shard: &Shard, request: EndTxnRequest, bumps: bool) -> Result<Identity, ErrorCode> {
    if !is_transactional_id(&request.transactional_id) {
        return Err(ErrorCode::InvalidRequest);
    }
    let id = TransactionalId::from(request.transactional_id.as_str());
    let end = EndRequest {
        id: id.clone(),
        producer: Identity {
            id: ProducerId(request.producer_id),
            epoch: ProducerEpoch(request.producer_epoch),
        },
        outcome: if request.committed { Outcome::Commit } else { Outcome::Abort },
        version: if bumps { TransactionLevel::V2 } else { TransactionLevel::V0 },
    };
    let ended = shard.ask_with_producer_id(id.as_str(), move |core, now, fresh, step| {
        core.end_transaction(now, &end, fresh, step)
    });
    ended.await.map_err(|told| told.code)?.map_err(transaction_code)
}
