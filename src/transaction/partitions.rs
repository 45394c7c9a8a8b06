//! Partitions of a transaction: added, or looked for.
//!
//! In:   a producer's identity and partitions.
//! Out:  the transaction is open and has them; or whether it has.
//! Home: pure; part of the transaction coordinator.
//!
//! Source: KIP-98, KIP-890; `protocol.md` P102, P103.

use crate::model::ids::ProducerEpoch;
use crate::model::time::Timestamp;
use crate::transaction::coordinator::{Transaction, TransactionCoordinator};
use crate::transaction::ids::{
    EPOCH_LAST, Identity, NamedPartition, TransactionLevel, TransactionalId,
};
use crate::transaction::record::TransactionValue;
use crate::transaction::settings::PARTITIONS_PER_PARTITION_MAX;
use crate::transaction::state::State;
use crate::transaction::step::Step;

/// Why a producer may not do that with its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionError {
    /// The id is not known, or has another producer id.
    InvalidPidMapping,
    /// Another producer has the id now, or this one's transaction was aborted for it.
    ProducerFenced,
    /// The transaction before is being completed: try again.
    ConcurrentTransactions,
    /// The transaction is in a state that does not allow it.
    InvalidTxnState,
    /// The partition is not in the transaction: the producer can abort, and go on.
    TransactionAbortable,
    /// A record cannot hold so many partitions.
    TooManyPartitions,
    /// The coordinator has too many partitions in its transactions: try again.
    Busy,
}

/// What a record takes beside its partitions, at most, without the id.
const RECORD_OVERHEAD_BYTES: usize = 128;
/// What a partition takes: its number.
const PARTITION_BYTES: usize = 4;
/// What a topic takes beside its name: two lengths.
const TOPIC_BYTES: usize = 8;

/// Partitions that a producer adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddRequest {
    /// Its transactional id.
    pub id: TransactionalId,
    /// Who it is.
    pub producer: Identity,
    /// The partitions.
    pub partitions: Vec<NamedPartition>,
    /// How it speaks.
    pub version: TransactionLevel,
    /// The entry of the metadata log by which they were found.
    pub metadata_index: u64,
}

impl TransactionCoordinator {
    /// Adds partitions to a producer's transaction, which is open from now on.
    ///
    /// A partition that this coordinator cannot have heard of yet is to be added later: it would
    /// pass for deleted, and never get a marker.
    ///
    /// Errors: [`TransactionError`], of all of them.
    pub fn add_partitions(
        &mut self,
        now: Timestamp,
        request: &AddRequest,
        step: &mut Step,
    ) -> Result<(), TransactionError> {
        let now = self.advance(now);
        let AddRequest { id, producer, partitions, version, metadata_index } = request;
        let is_completing = |known: &Transaction| known.value.state.is_completing();
        if self.transactions.get(id).is_some_and(is_completing) {
            // First of all, as Kafka has it: the producer may come under the id that is its next.
            return Err(TransactionError::ConcurrentTransactions);
        }
        let (value, last_epoch) = self.owned(id, *producer)?;
        if self.metadata_index < *metadata_index {
            return Err(TransactionError::ConcurrentTransactions);
        }
        if value.producer_epoch == EPOCH_LAST {
            return Err(TransactionError::ProducerFenced); // that epoch was given to nobody
        }
        let is_open = value.state == State::Ongoing;
        if is_open && partitions.iter().all(|at| value.partitions.contains(at)) {
            return Ok(());
        }
        let mut with = value.moved(State::Ongoing, now);
        with.partitions.extend(partitions.iter().cloned());
        with.client_version = *version;
        if !is_open {
            with.start = now;
        }
        let more = with.partitions.len() - value.partitions.len();
        if record_bytes(id, &with) > self.settings.record_bytes_max {
            return Err(TransactionError::TooManyPartitions);
        }
        if self.partition_count + more > PARTITIONS_PER_PARTITION_MAX {
            return Err(TransactionError::Busy);
        }
        self.persist(step, id, with, last_epoch);
        Ok(())
    }

    /// Whether partitions are in a producer's transaction: one answer each.
    ///
    /// Errors: [`TransactionError`], of all of them; within: `TransactionAbortable`.
    pub fn verify_partitions(
        &self,
        id: &TransactionalId,
        producer: Identity,
        partitions: &[NamedPartition],
    ) -> Result<Vec<Result<(), TransactionError>>, TransactionError> {
        let (value, _) = self.owned(id, producer)?;
        if value.state.is_completing() {
            return Err(TransactionError::ConcurrentTransactions);
        }
        let verify = |at: &NamedPartition| match value.partitions.contains(at) {
            true => Ok(()),
            false => Err(TransactionError::TransactionAbortable),
        };
        Ok(partitions.iter().map(verify).collect())
    }

    /// The id's value, and its last epoch, if `producer` has it.
    fn owned(
        &self,
        id: &TransactionalId,
        producer: Identity,
    ) -> Result<(&TransactionValue, ProducerEpoch), TransactionError> {
        let known = self.transactions.get(id).ok_or(TransactionError::InvalidPidMapping)?;
        if known.value.producer_id != producer.id {
            return Err(TransactionError::InvalidPidMapping);
        }
        if known.value.producer_epoch != producer.epoch {
            return Err(TransactionError::ProducerFenced);
        }
        Ok((&known.value, known.last_epoch))
    }
}

/// At most so many bytes does a record of it take.
fn record_bytes(id: &TransactionalId, value: &TransactionValue) -> usize {
    let mut bytes = RECORD_OVERHEAD_BYTES + id.as_str().len();
    let mut topic = None;
    for at in &value.partitions {
        if topic != Some(&at.topic) {
            bytes += TOPIC_BYTES + at.topic.as_str().len();
            topic = Some(&at.topic);
        }
        bytes += PARTITION_BYTES;
    }
    bytes
}
