//! From a transactional id to its coordinator, wherever on this broker's shards that is.
//!
//! In:   handlers' work on the core.
//! Out:  what it returned, once what it rests on is durable.
//! Home: the connection's shard.
//!
//! Source: KIP-890 (verification, and adding by the first write); `protocol.md` P102, P103.

use std::time::Duration;

use crate::coordinator::call::Unavailable;
use crate::model::ids::{PartitionIndex, ProducerEpoch, ProducerId, TopicPartition};
use crate::model::time::Timestamp;
use crate::model::topic_name::TopicName;
use crate::shard::timers;
use crate::transaction::coordinator::{NeedsProducerId, TransactionCoordinator};
use crate::transaction::ids::{Identity, NamedPartition, TransactionLevel, TransactionalId};
use crate::transaction::partitions::{AddRequest, TransactionError};
use crate::transaction::step::Step;

use super::context::Shard;
use super::coordinators::{Asked, coordinator_partition};
use super::errors::Told;

/// The topic whose partitions coordinate transactions.
pub const TRANSACTIONS_TOPIC: &str = "__transaction_state";

/// How often adding by a first write is tried while the transaction before is being completed;
/// then the client tries again. Kafka's `add.partitions.to.txn.retry.backoff.max.ms`, in steps
/// of `add.partitions.to.txn.retry.backoff.ms`.
const ADD_TRIES: usize = 5;
/// The pause between two tries.
const ADD_PAUSE: Duration = Duration::from_millis(20);

/// How a first write joins its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joining {
    /// The client has added the partition before: it is looked for (Produce below 12).
    Verify,
    /// The write adds it (Produce from 12 on, TxnOffsetCommit from 5 on).
    Add,
}

/// Whether each partition is in the transaction.
pub type Joined = Vec<Result<(), TransactionError>>;

impl Shard {
    /// Runs `work` on the core that coordinates `id`, and returns what it returned when all that
    /// was appended before is durable. Errors: [`Unavailable`].
    pub async fn ask_transaction<R: Send + 'static>(
        &self,
        id: &str,
        work: impl FnOnce(&mut TransactionCoordinator, Timestamp, &mut Step) -> R + Send + 'static,
    ) -> Result<R, Unavailable> {
        let asked: Asked<R> = match self.transaction_partition(id) {
            Some(partition) => self.begin_at_coordinator(partition, work).await,
            None => Asked::nobody(),
        };
        asked.answer().await
    }

    /// As [`Shard::ask_transaction`], of work that may need a new producer id: it is fetched
    /// when the core says so. Errors: what the client is told.
    pub async fn ask_with_producer_id<R: Send + 'static>(
        &self,
        id: &str,
        work: impl Fn(
            &mut TransactionCoordinator,
            Timestamp,
            Option<ProducerId>,
            &mut Step,
        ) -> Result<R, NeedsProducerId>
        + Clone
        + Send
        + 'static,
    ) -> Result<R, Told> {
        let mut fresh = None;
        loop {
            let work = work.clone();
            let asked =
                self.ask_transaction(id, move |core, now, step| work(core, now, fresh, step));
            match asked.await.map_err(Told::from)? {
                Ok(result) => return Ok(result),
                Err(NeedsProducerId) => {
                    assert!(fresh.is_none(), "with a new id there is no need of one");
                    fresh = Some(self.next_producer_id().await?);
                }
            }
        }
    }

    /// Whether a producer may write to these partitions in its open transaction, one answer
    /// each, in their order. Where the write adds them and the transaction before is still being
    /// completed, some time is spent on waiting for that.
    ///
    /// Errors: no coordinator of `transactional_id` can be asked now.
    pub async fn join_transaction(
        &self,
        transactional_id: &str,
        producer_id: ProducerId,
        epoch: ProducerEpoch,
        partitions: Vec<(TopicName, PartitionIndex)>,
        how: Joining,
    ) -> Result<Joined, Unavailable> {
        let id = TransactionalId::from(transactional_id);
        let producer = Identity { id: producer_id, epoch };
        let named = |(topic, partition)| NamedPartition { topic, partition };
        let partitions: Vec<NamedPartition> = partitions.into_iter().map(named).collect();
        let count = partitions.len();
        let joined = match how {
            Joining::Verify => {
                let verify = move |core: &mut TransactionCoordinator, _, _: &mut Step| {
                    core.verify_partitions(&id, producer, &partitions)
                };
                self.ask_transaction(transactional_id, verify).await?
            }
            Joining::Add => {
                let request = AddRequest {
                    id,
                    producer,
                    partitions,
                    version: TransactionLevel::V2,
                    metadata_index: self.image().applied_index(),
                };
                self.add_with_patience(request).await?.map(|()| vec![Ok(()); count])
            }
        };
        Ok(joined.unwrap_or_else(|error| vec![Err(error); count]))
    }

    async fn add_with_patience(
        &self,
        request: AddRequest,
    ) -> Result<Result<(), TransactionError>, Unavailable> {
        for _ in 1..ADD_TRIES {
            let added = self.add_to_transaction(request.clone()).await?;
            if added != Err(TransactionError::ConcurrentTransactions) {
                return Ok(added);
            }
            timers::sleep(ADD_PAUSE).await;
        }
        self.add_to_transaction(request).await
    }

    /// Adds partitions to a transaction. Errors: [`Unavailable`], [`TransactionError`].
    pub async fn add_to_transaction(
        &self,
        request: AddRequest,
    ) -> Result<Result<(), TransactionError>, Unavailable> {
        let id = request.id.clone();
        let add = move |core: &mut TransactionCoordinator, now, step: &mut Step| {
            core.add_partitions(now, &request, step)
        };
        self.ask_transaction(id.as_str(), add).await
    }

    fn transaction_partition(&self, id: &str) -> Option<TopicPartition> {
        let image = self.image();
        Some(coordinator_partition(image.topic_by_name(TRANSACTIONS_TOPIC)?, id))
    }
}
