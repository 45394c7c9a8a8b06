//! Appends for one shard's replicas, in the order they were handed in.

use std::future::Future;

use crate::model::time::Timestamp;
use crate::shard::sync::OnceReceiver;

use super::request::{AppendFailure, AppendItem, AppendResult};
use super::table::Replicas;

/// Takes in all `items` now, in order; the future resolves once each is as durable as promised.
///
/// The order is settled when this returns: two calls on one partition keep theirs whatever
/// happens to their futures.
pub fn append(
    replicas: &Replicas,
    now: Timestamp,
    items: Vec<AppendItem>,
) -> impl Future<Output = Vec<AppendResult>> + use<> {
    let take = |item: AppendItem| Some(replicas.get(item.partition)?.append(now, item));
    let pending: Vec<Option<OnceReceiver<AppendResult>>> = items.into_iter().map(take).collect();
    async move {
        let mut results = Vec::with_capacity(pending.len());
        for one in pending {
            results.push(match one {
                Some(reply) => reply.await.unwrap_or(Err(AppendFailure::NotHere)),
                None => Err(AppendFailure::NotHere),
            });
        }
        results
    }
}
