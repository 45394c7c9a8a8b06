//! Names and numbers of transactions.
//!
//! Home: pure.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::model::ids::{PartitionIndex, ProducerEpoch, ProducerId};
use crate::model::topic_name::TopicName;

/// Longest transactional id, in bytes: records hold it behind a 16-bit length.
pub const TRANSACTIONAL_ID_BYTES_MAX: usize = i16::MAX as usize;

/// The largest epoch. No client is ever given it: with it the coordinator can fence whoever has
/// the one before.
pub const EPOCH_LAST: ProducerEpoch = ProducerEpoch(i16::MAX);

/// "No epoch".
pub const NO_EPOCH: ProducerEpoch = ProducerEpoch(-1);

/// A producer's `transactional.id`; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionalId(Arc<str>);

impl TransactionalId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for TransactionalId {
    fn from(text: &str) -> TransactionalId {
        TransactionalId(text.into())
    }
}

impl Borrow<str> for TransactionalId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TransactionalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who a producer is: its id, and which of the producers with this id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The id.
    pub id: ProducerId,
    /// The epoch.
    pub epoch: ProducerEpoch,
}

/// Whether no client may be given an epoch after this one.
pub fn is_exhausted(epoch: ProducerEpoch) -> bool {
    epoch.0 >= EPOCH_LAST.0 - 1
}

/// The epoch after this one; the largest stays.
pub fn next_epoch(epoch: ProducerEpoch) -> ProducerEpoch {
    ProducerEpoch(epoch.0.saturating_add(1))
}

/// A partition, by its topic's name: records name topics so.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition within it.
    pub partition: PartitionIndex,
}

/// How client and coordinator speak of transactions: a level of the feature `transaction.version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TransactionLevel {
    /// The first, with records of version 0.
    V0,
    /// The first, with records of version 1.
    V1,
    /// KIP-890: each transaction has an epoch of its own.
    V2,
}

impl TransactionLevel {
    /// Of a feature's level, or of a record's field; higher ones, of later releases, as the
    /// highest known.
    pub fn from_level(level: i16) -> TransactionLevel {
        match level {
            i16::MIN..=0 => TransactionLevel::V0,
            1 => TransactionLevel::V1,
            2.. => TransactionLevel::V2,
        }
    }

    /// The level.
    pub fn level(self) -> i16 {
        match self {
            TransactionLevel::V0 => 0,
            TransactionLevel::V1 => 1,
            TransactionLevel::V2 => 2,
        }
    }

    /// Whether the epoch is bumped at the end of every transaction.
    pub fn bumps_epochs(self) -> bool {
        self == TransactionLevel::V2
    }
}
