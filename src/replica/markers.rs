//! Both ends of a transaction in this shard's partitions: what its first batch needs, and what
//! became of its marker.
//!
//! In:   first batches before their append; what a log says to a marker.
//! Out:  guards; results.
//! Home: the owner's shard.
//!
//! Not here: whether a transaction is open (its coordinator knows), the rules for epochs
//! (`crate::partition::producers`), who is told (`crate::coordinator::ends`). Source: KIP-98, KIP-890; `protocol.md` P102-P104.

use crate::partition::leader::AppendError;
use crate::partition::producers::ProducerError;
use crate::partition::verification::Begun;

use super::request::{AppendFailure, AppendResult, BeginItem, MarkerFailure, MarkerResult};
use super::table::Replicas;

/// What became of a marker.
pub fn marker_result(written: AppendResult) -> MarkerResult {
    match written {
        Ok(_) => Ok(()),
        Err(AppendFailure::NotHere) => Err(MarkerFailure::NotHere),
        Err(AppendFailure::Offline) => Err(MarkerFailure::Offline),
        Err(AppendFailure::DiskFull) => Err(MarkerFailure::Retriable),
        Err(AppendFailure::Refused { error: refused, .. }) => Err(match refused {
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
