//! InitProducerId (key 22), versions 0-5: ids for idempotent and transactional producers.
//!
//! Source: KIP-98, KIP-360 (the client names its identity), KIP-588, KIP-730 (blocks of ids);
//! protocol.md P100, P101.

use std::rc::Rc;

use crate::model::ids::{ProducerEpoch, ProducerId};
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::transaction::ids::{Identity, TransactionalId};
use crate::transaction::producer::InitRequest;

use super::super::context::Shard;
use super::super::errors::{init_code, understood};
use super::is_transactional_id;

/// Id and epoch of a producer that has none yet.
const NONE: i64 = -1;
/// First version that knows PRODUCER_FENCED.
const FENCED_VERSION: i16 = 4;

/// Answers one request.
pub async fn handle(
    shard: &Rc<Shard>,
    request: InitProducerIdRequest,
    version: i16,
) -> InitProducerIdResponse {
    if (request.producer_id == NONE) != (i64::from(request.producer_epoch) == NONE) {
        return refused(ErrorCode::InvalidRequest); // both, or neither
    }
    let given = match request.transactional_id.as_deref() {
        None => match shard.next_producer_id().await {
            Ok(id) => Ok(Identity { id, epoch: ProducerEpoch(0) }),
            Err(told) => Err(told.code),
        },
        Some(id) if !is_transactional_id(id) => Err(ErrorCode::InvalidRequest),
        Some(id) => {
            let given = transactional(shard, TransactionalId::from(id), &request).await;
            given.map_err(|code| understood(code, version, FENCED_VERSION))
        }
    };
    match given {
        Ok(Identity { id, epoch }) => InitProducerIdResponse {
            producer_id: id.0,
            producer_epoch: epoch.0,
            ..InitProducerIdResponse::default()
        },
        Err(code) => refused(code),
    }
}

async fn transactional(
    shard: &Shard,
    id: TransactionalId,
    request: &InitProducerIdRequest,
) -> Result<Identity, ErrorCode> {
    let (of, epoch) = (ProducerId(request.producer_id), ProducerEpoch(request.producer_epoch));
    let init = InitRequest {
        id: id.clone(),
        timeout_ms: request.transaction_timeout_ms,
        expected: (of.0 != NONE).then_some(Identity { id: of, epoch }),
    };
    let given = shard.ask_with_producer_id(id.as_str(), move |core, now, fresh, step| {
        core.init_producer_id(now, &init, fresh, step)
    });
    given.await.map_err(|told| told.code)?.map_err(init_code)
}

fn refused(error: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse {
        error_code: error.code(),
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdResponse::default()
    }
}
