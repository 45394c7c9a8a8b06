//! Writes in a transaction: before the first in a partition, its coordinator is asked.
//!
//! In:   the partitions that a request writes to, and who it says it is.
//! Out:  what goes with each write to its owner, or why it may not be made.
//! Home: the connection's shard.
//!
//! In order: each owner gives a guard where the transaction has not written yet; the coordinator is
//! asked of those; then the write goes with its guard. If the transaction ends in between, its
//! marker uses the guard up. A transaction that has written to the partition costs one question to
//! the owner; what is in no transaction costs nothing.
//!
//! Source: KIP-890; `protocol.md` P102, P103.

use std::rc::Rc;

use crate::coordinator::call::Unavailable;
use crate::model::ids::{
    PartitionIndex, ProducerEpoch, ProducerId, TopicPartition, TransactionVersion,
};
use crate::model::offset::Sequence;
use crate::model::topic_name::TopicName;
use crate::partition::leader::Verification;
use crate::partition::verification::{Begun, FirstBatch, Guard};
use crate::replica::request::{BeginItem, ShardReply, ShardRequest};
use crate::transaction::partitions::TransactionError;

use super::context::Shard;
use super::scatter::Scatter;
use super::transactions::Joining;

/// Who writes.
#[derive(Clone, Debug)]
pub struct Writer {
    /// Its transactional id.
    pub transactional_id: String,
    /// Its id.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
    /// Whether its writes add partitions to its transaction.
    pub how: Joining,
}

/// Where it writes.
#[derive(Clone, Debug)]
pub struct Write {
    /// The partition.
    pub partition: TopicPartition,
    /// Its topic's name.
    pub topic: TopicName,
    /// Sequence of the first record; none of a coordinator's own batches.
    pub base_sequence: Sequence,
}

/// Why a write may not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinFailure {
    /// The transaction's coordinator cannot be asked now.
    Unavailable(Unavailable),
    /// It says no.
    Refused(TransactionError),
}

/// What goes with each write, or why it may not be made; in their order.
pub async fn verify(
    shard: &Rc<Shard>,
    writer: &Writer,
    writes: &[Write],
) -> Vec<Result<Verification, JoinFailure>> {
    let enabled = shard.config().transactions.partition_verification;
    let ongoing = match enabled {
        true => Verification::Guarded(None),
        false => Verification::Off,
    };
    let mut verified = vec![Ok(ongoing); writes.len()];
    if !enabled && writer.how == Joining::Verify {
        return verified;
    }
    let first: Vec<(usize, Guard)> = begin(shard, writer, writes).await;
    if first.is_empty() {
        return verified;
    }
    let named = |(at, _): &(usize, Guard)| {
        let write = &writes[*at];
        (write.topic.clone(), write.partition.partition)
    };
    let partitions: Vec<(TopicName, PartitionIndex)> = first.iter().map(named).collect();
    let (id, epoch) = (writer.producer_id, writer.producer_epoch);
    let joined = shard
        .join_transaction(&writer.transactional_id, id, epoch, partitions, writer.how)
        .await
        .map_err(JoinFailure::Unavailable);
    for (place, (at, guard)) in first.into_iter().enumerate() {
        verified[at] = match &joined {
            Err(failure) => Err(*failure),
            Ok(joined) => match joined[place] {
                Err(error) => Err(JoinFailure::Refused(error)),
                Ok(()) if enabled => Ok(Verification::Guarded(Some(guard))),
                Ok(()) => Ok(Verification::Off),
            },
        };
    }
    verified
}

/// The writes that are their transaction's first in their partition, with their guards.
async fn begin(shard: &Rc<Shard>, writer: &Writer, writes: &[Write]) -> Vec<(usize, Guard)> {
    let mut scatter = Scatter::new(shard);
    for (at, write) in writes.iter().enumerate() {
        let first = FirstBatch {
            producer_id: writer.producer_id,
            producer_epoch: writer.producer_epoch,
            base_sequence: write.base_sequence,
            version: match writer.how {
                Joining::Verify => TransactionVersion::V1,
                Joining::Add => TransactionVersion::V2,
            },
        };
        scatter.add(write.partition, at, BeginItem { partition: write.partition, first });
    }
    let begun = scatter.gather(ShardRequest::BeginTransactions, |reply| match reply {
        ShardReply::TransactionsBegun(begun) => begun,
        other => panic!("beginnings were asked for, not {other:?}"),
    });
    let guard = |(at, begun): (usize, Option<Option<Begun>>)| match begun.flatten()? {
        Begun::Verify(guard) => Some((at, guard)),
        Begun::Ongoing => None,
    };
    let mut first: Vec<(usize, Guard)> = begun.await.into_iter().filter_map(guard).collect();
    first.sort_unstable_by_key(|(at, _)| *at);
    first
}
