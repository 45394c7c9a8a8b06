//! InitProducerId (key 22), versions 0-5: ids for idempotent producers.
//!
//! A transactional id is refused: there is no transaction coordinator yet.
//!
//! Source: KIP-98, KIP-360 (epoch bump by the client), KIP-730 (blocks of ids).

use std::rc::Rc;

use crate::model::ids::ProducerId;
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use super::super::context::Shard;

/// Id and epoch of a producer that has none yet.
const NONE: i64 = -1;

/// Answers one request.
pub async fn handle(shard: &Rc<Shard>, request: InitProducerIdRequest) -> InitProducerIdResponse {
    if (request.producer_id == NONE) != (i64::from(request.producer_epoch) == NONE) {
        return refused(ErrorCode::InvalidRequest); // both, or neither
    }
    match request.transactional_id.as_deref() {
        Some("") => refused(ErrorCode::InvalidRequest),
        Some(_) => refused(ErrorCode::TransactionalIdAuthorizationFailed),
        None => match shard.next_producer_id().await {
            Ok(ProducerId(id)) => InitProducerIdResponse {
                producer_id: id,
                producer_epoch: 0,
                ..InitProducerIdResponse::default()
            },
            Err(told) => refused(told.code),
        },
    }
}

fn refused(error: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse {
        error_code: error.code(),
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdResponse::default()
    }
}
