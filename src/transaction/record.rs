//! What the coordinator writes to its partition: a transactional id and how it stands.
//!
//! In:   decisions of the core; records read back by the driver.
//! Out:  [`Record`], of which the last one of each id is its state.
//! Home: pure.
//!
//! Not here: their bytes (`codec.rs`).
//! Source: Kafka 4.3 `TransactionLogKey`, `TransactionLogValue`.

use std::collections::BTreeSet;

use crate::model::ids::{ProducerEpoch, ProducerId};
use crate::model::time::Timestamp;
use crate::record::control::Outcome;
use crate::transaction::ids::{Identity, NamedPartition, TransactionLevel, TransactionalId};
use crate::transaction::state::State;

/// A record of `__transaction_state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The id.
    pub id: TransactionalId,
    /// How it stands; `None`: it is forgotten.
    pub value: Option<TransactionValue>,
}

/// How a transactional id stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionValue {
    /// The producer's id.
    pub producer_id: ProducerId,
    /// The producer's id before the last move; none at first.
    pub previous_producer_id: ProducerId,
    /// The producer's id once the transaction is complete; none if it stays.
    pub next_producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: ProducerEpoch,
    /// How long a transaction may be open, in milliseconds.
    pub timeout_ms: i32,
    /// Where it stands.
    pub state: State,
    /// The partitions in the transaction.
    pub partitions: BTreeSet<NamedPartition>,
    /// When the transaction began; none between two.
    pub start: Timestamp,
    /// When it last changed.
    pub last_update: Timestamp,
    /// How the client spoke when it last moved.
    pub client_version: TransactionLevel,
}

impl TransactionValue {
    /// Who its producer is.
    pub fn identity(&self) -> Identity {
        Identity { id: self.producer_id, epoch: self.producer_epoch }
    }

    /// Who its producer will be once the transaction is complete.
    pub fn identity_after(&self) -> Identity {
        let rotates = self.client_version.bumps_epochs()
            && ![ProducerId::NONE, self.producer_id].contains(&self.next_producer_id)
            && self.state.is_completing();
        match rotates {
            true => Identity { id: self.next_producer_id, epoch: ProducerEpoch(0) },
            false => self.identity(),
        }
    }

    /// A copy of it in `state`, as of `now`.
    ///
    /// Panics: if `state` may not follow, our own bug.
    pub fn moved(&self, state: State, now: Timestamp) -> TransactionValue {
        assert!(self.state.may_become(state), "{:?} may not become {state:?}", self.state);
        TransactionValue {
            previous_producer_id: self.producer_id,
            state,
            last_update: now,
            ..self.clone()
        }
    }

    /// The outcome that is decided, if one is and not every partition knows it yet.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.state {
            State::PrepareCommit => Some(Outcome::Commit),
            State::PrepareAbort => Some(Outcome::Abort),
            State::Empty
            | State::Ongoing
            | State::CompleteCommit
            | State::CompleteAbort
            | State::Dead
            | State::PrepareEpochFence => None,
        }
    }

    /// When the open transaction is too old.
    pub fn deadline(&self) -> Timestamp {
        Timestamp(self.start.0.saturating_add(i64::from(self.timeout_ms)))
    }
}
