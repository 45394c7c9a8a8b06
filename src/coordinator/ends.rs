//! Ends of transactions for one shard's partitions, those of coordinators among them.
//!
//! In:   markers, in the order in which a transaction coordinator or an administrator sent them.
//! Out:  one result each: it is durable, and a coordinator's core has taken it over.
//! Home: the owner's shard.
//!
//! Source: KIP-98; `protocol.md` P104, P106.

use crate::group::coordinator::GroupCoordinator;
use crate::replica::markers::marker_result;
use crate::replica::request::{
    AppendFailure, AppendResult, MarkerFailure, MarkerItem, MarkerResult,
};
use crate::replica::table::Replicas;
use crate::shard::sync::OnceReceiver;
use crate::shard::tasks::LocalFuture;
use crate::shard::timers;

use super::call::CoordinatorReply;
use super::coordinators::Coordinators;

/// A marker on its way.
enum Pending {
    Refused(MarkerFailure),
    /// In a partition that is a coordinator.
    AtCoordinator(OnceReceiver<CoordinatorReply>),
    InLog(OnceReceiver<AppendResult>),
}

/// Takes in all markers now, in order; the future resolves once all are durable and taken over.
pub fn write(
    replicas: &Replicas,
    groups: &Coordinators<GroupCoordinator>,
    items: &[MarkerItem],
) -> LocalFuture<Vec<MarkerResult>> {
    let now = timers::wall_clock();
    let take = |item: &MarkerItem| match groups.end_transaction(item) {
        Some(Ok(reply)) => Pending::AtCoordinator(reply),
        Some(Err(failure)) => Pending::Refused(failure),
        None => match replicas.get(item.partition) {
            Some(replica) => Pending::InLog(replica.append_marker(now, item)),
            None => Pending::Refused(MarkerFailure::NotHere),
        },
    };
    let pending: Vec<Pending> = items.iter().map(take).collect();
    Box::pin(async move {
        let mut results = Vec::with_capacity(pending.len());
        for one in pending {
            results.push(match one {
                Pending::Refused(failure) => Err(failure),
                Pending::AtCoordinator(reply) => match reply.await {
                    Ok(Ok(_)) => Ok(()),
                    // It ended: whoever asks again meets what its log says.
                    Ok(Err(_)) | Err(_) => Err(MarkerFailure::NotHere),
                },
                Pending::InLog(reply) => {
                    marker_result(reply.await.unwrap_or(Err(AppendFailure::NotHere)))
                }
            });
        }
        results
    })
}
