//! What administrators ask of replicas: records deleted, sizes of logs, known producers.
//!
//! In:   questions of the admin APIs, each item for one replica of this shard.
//! Out:  typed results, in the order of the items.
//! Home: the owner's shard.
//!
//! Invariants
//!   A1  Deleted records are answered once the new start of the log is durable: no restart brings
//!       them back.
//!
//! Source: KIP-107 (DeleteRecords), KIP-113 (sizes), KIP-664 (producers).

use std::rc::Rc;

use crate::model::ids::TopicPartition;
use crate::model::offset::Offset;
use crate::partition::producers::ActiveProducer;

use super::local::Replica;
use super::request::{DeleteRecordsFailure, DeleteRecordsItem, ReadFailure};
use super::table::Replicas;

/// Deletes the first records of partitions; the first offset that each has then.
pub async fn delete_records(
    replicas: &Replicas,
    items: &[DeleteRecordsItem],
) -> Vec<Result<Offset, DeleteRecordsFailure>> {
    let mut results = Vec::with_capacity(items.len());
    for item in items {
        results.push(match replicas.get(item.partition) {
            Some(replica) => delete_before(&replica, item.before).await,
            None => Err(DeleteRecordsFailure::NotHere),
        });
    }
    results
}

async fn delete_before(
    replica: &Rc<Replica>,
    before: Offset,
) -> Result<Offset, DeleteRecordsFailure> {
    let mut effects = Vec::new();
    let decided = replica.core.borrow_mut().delete_records(before, &mut effects);
    let log_start = decided.map_err(|_| DeleteRecordsFailure::OffsetOutOfRange)?;
    replica.perform(&effects);
    // A1; also where an earlier request has moved the start, and its write is under way.
    let durable = replica.log.advance_log_start(log_start).await;
    durable.map(|_| log_start).map_err(|error| {
        tracing::warn!(topic = %replica.topic, %error, "log start not persisted");
        DeleteRecordsFailure::Storage
    })
}

/// Bytes of every log of this shard.
pub fn log_sizes(replicas: &Replicas) -> Vec<(TopicPartition, u64)> {
    replicas.all().iter().map(|replica| (replica.partition, replica.log.bytes())).collect()
}

/// The producers that partitions know.
pub fn producers(
    replicas: &Replicas,
    partitions: &[TopicPartition],
) -> Vec<Result<Vec<ActiveProducer>, ReadFailure>> {
    let known = |partition: &TopicPartition| {
        let replica = replicas.get(*partition).ok_or(ReadFailure::NotHere)?;
        let core = replica.core.borrow();
        Ok(core.producers().active().collect())
    };
    partitions.iter().map(known).collect()
}
