//! Ends of transactions, written into their partitions wherever on this broker's shards they are.
//!
//! In:   one item a partition, from a transaction coordinator or an administrator.
//! Out:  what became of each, once it is durable there.
//! Home: the asking shard.
//!
//! Source: KIP-98; `protocol.md` P104.

use std::rc::Rc;

use crate::replica::request::{MarkerFailure, MarkerItem, MarkerResult, ShardReply, ShardRequest};

use super::context::Shard;
use super::scatter::Scatter;

/// Writes all markers; one result an item, in their order.
///
/// Errors of each: [`MarkerFailure`]; `NotHere` where the partition has been deleted, or the shard
/// that has it has ended.
pub async fn write_markers(shard: &Rc<Shard>, items: Vec<MarkerItem>) -> Vec<MarkerResult> {
    let mut results = vec![Err(MarkerFailure::NotHere); items.len()];
    let mut scatter = Scatter::new(shard);
    for (place, item) in items.into_iter().enumerate() {
        scatter.add(item.partition, place, item);
    }
    let written = scatter.gather(ShardRequest::WriteMarkers, |reply| match reply {
        ShardReply::MarkersWritten(results) => results,
        other => panic!("markers were asked for, not {other:?}"),
    });
    for (place, result) in written.await {
        results[place] = result.unwrap_or(Err(MarkerFailure::NotHere));
    }
    results
}
