//! Both ends of a transaction in this shard's partitions: what its first batch needs, its marker.
//!
//! In:   ends of transactions from their coordinators; first batches before their append.
//! Out:  markers in the logs, answered once durable; guards.
//! Home: the owner's shard.
//!
//! Not here: whether a transaction is open (its coordinator knows), the rules for epochs
//! (`crate::partition::producers`). Source: KIP-98, KIP-890; `protocol.md` P102-P104.

use std::future::Future;

use crate::model::time::Timestamp;
use crate::partition::leader::AppendError;
use crate::partition::producers::ProducerError;
use crate::partition::verification::Begun;
use crate::shard::sync::OnceReceiver;

use super::request::{
    AppendFailure, AppendResult, BeginItem, MarkerFailure, MarkerItem, MarkerResult,
};
use super::table::Replicas;

/// Takes in all markers now, in order; the future resolves once all are durable.
pub fn write(
    replicas: &Replicas,
    now: Timestamp,
    items: &[MarkerItem],
) -> impl Future<Output = Vec<MarkerResult>> + use<> {
    let take = |item: &MarkerItem| Some(replicas.get(item.partition)?.append_marker(now, item));
    let pending: Vec<Option<OnceReceiver<AppendResult>>> = items.iter().map(take).collect();
    async move {
        let mut results = Vec::with_capacity(pending.len());
        for one in pending {
            let written = match one {
                Some(reply) => reply.await.unwrap_or(Err(AppendFailure::NotHere)),
                None => Err(AppendFailure::NotHere),
            };
            results.push(marker_result(written));
        }
        results
    }
}

/// What became of a marker.
pub fn marker_result(written: AppendResult) -> MarkerResult {
    match written {
        Ok(_) => Ok(()),
        Err(AppendFailure::NotHere) => Err(MarkerFailure::NotHere),
        Err(AppendFailure::Offline) => Err(MarkerFailure::Offline),
        Err(AppendFailure::DiskFull) => Err(MarkerFailure::Retriable),
        Err(AppendFailure::Refused(refused)) => Err(match refused {
            // Until a transaction that is open here ends.
            AppendError::Producer(ProducerError::TooManyProducers)
            | AppendError::NotEnoughReplicas { .. } => MarkerFailure::Retriable,
            AppendError::Producer(error) => MarkerFailure::Fenced(error),
            AppendError::LogFull => MarkerFailure::Offline,
        }),
    }
}

/// What these first batches need; none where there is no such replica.
pub fn begin(replicas: &Replicas, items: &[BeginItem]) -> Vec<Option<Begun>> {
    let begin = |item: &BeginItem| {
        let replica = replicas.get(item.partition)?;
        let begun = replica.core.borrow_mut().begin_transaction(&item.first);
        Some(begun)
    };
    items.iter().map(begin).collect()
}
