//! InitProducerId: who the producer with a transactional id is from now on.
//!
//! In:   the id, how long its transactions may be open, and who the producer thinks it is.
//! Out:  its identity; whoever had one before is fenced.
//! Home: pure; part of the transaction coordinator.
//!
//! Source: KIP-98, KIP-360 (recovery with the own identity), KIP-588, KIP-890; `protocol.md` P100.

use std::collections::BTreeSet;

use crate::model::ids::{ProducerEpoch, ProducerId};
use crate::model::time::Timestamp;
use crate::transaction::coordinator::{NeedsProducerId, Transaction, TransactionCoordinator};
use crate::transaction::ids::{
    Identity, NO_EPOCH, TransactionLevel, TransactionalId, is_exhausted, next_epoch,
};
use crate::transaction::record::TransactionValue;
use crate::transaction::settings::IDS_PER_PARTITION_MAX;
use crate::transaction::state::State;
use crate::transaction::step::Step;

/// What a producer asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitRequest {
    /// Its transactional id.
    pub id: TransactionalId,
    /// How long a transaction may be open, in milliseconds.
    pub timeout_ms: i32,
    /// Who it was, if it wants to go on after an error.
    pub expected: Option<Identity>,
}

/// Why a producer gets no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitError {
    /// The timeout is not above 0, or above the broker's maximum.
    BadTimeout,
    /// Another producer has the id now.
    Fenced,
    /// A transaction is being completed, perhaps one that this request aborts: try again.
    Concurrent,
    /// There are too many ids: try again.
    Busy,
}

/// Who the producer would be, and the epoch that it is given another one for.
struct Next {
    identity: Identity,
    last_epoch: ProducerEpoch,
}

impl TransactionCoordinator {
    /// Gives a producer its identity. An open transaction is aborted first, and its producer
    /// fenced; the request is to be repeated then.
    ///
    /// Errors: [`NeedsProducerId`] unless `fresh` has one; [`InitError`].
    pub fn init_producer_id(
        &mut self,
        now: Timestamp,
        request: &InitRequest,
        fresh: Option<ProducerId>,
        step: &mut Step,
    ) -> Result<Result<Identity, InitError>, NeedsProducerId> {
        let now = self.advance(now);
        if request.timeout_ms <= 0 || request.timeout_ms > self.settings.timeout_ms_max {
            return Ok(Err(InitError::BadTimeout));
        }
        let Some(known) = self.transactions.get(&request.id) else {
            if self.transactions.len() >= IDS_PER_PARTITION_MAX {
                return Ok(Err(InitError::Busy));
            }
            let identity = Identity { id: fresh.ok_or(NeedsProducerId)?, epoch: ProducerEpoch(0) };
            let value = newcomer(identity, request.timeout_ms, now);
            self.persist(step, &request.id, value, NO_EPOCH);
            return Ok(Ok(identity));
        };
        let value = &known.value;
        if value.state.is_completing() {
            // First of all, as Kafka has it: the producer may come under the id that is its next.
            return Ok(Err(InitError::Concurrent));
        }
        if !request.expected.is_none_or(|expected| may_be(expected, value)) {
            return Ok(Err(InitError::Fenced));
        }
        match value.state {
            State::PrepareCommit | State::PrepareAbort => panic!("looked at before"),
            State::Ongoing => {
                // This epoch is told to nobody: the producer that asks again gets the next one.
                self.abort_and_fence(now, &request.id, step);
                return Ok(Err(InitError::Concurrent));
            }
            State::Empty | State::CompleteCommit | State::CompleteAbort => {}
            State::Dead | State::PrepareEpochFence => panic!("N1: a state that is never kept"),
        }
        let next = match next_identity(known, request.expected, fresh)? {
            Ok(next) => next,
            Err(error) => return Ok(Err(error)),
        };
        let value = TransactionValue {
            producer_id: next.identity.id,
            producer_epoch: next.identity.epoch,
            next_producer_id: ProducerId::NONE,
            timeout_ms: request.timeout_ms,
            partitions: BTreeSet::new(),
            start: Timestamp::NONE,
            ..value.moved(State::Empty, now)
        };
        self.persist(step, &request.id, value, next.last_epoch);
        Ok(Ok(next.identity))
    }
}

fn newcomer(identity: Identity, timeout_ms: i32, now: Timestamp) -> TransactionValue {
    TransactionValue {
        producer_id: identity.id,
        // As Kafka has it, which makes the id first and then moves to its first epoch.
        previous_producer_id: identity.id,
        next_producer_id: ProducerId::NONE,
        producer_epoch: identity.epoch,
        timeout_ms,
        state: State::Empty,
        partitions: BTreeSet::new(),
        start: Timestamp::NONE,
        last_update: now,
        client_version: TransactionLevel::V0,
    }
}

/// Whether a producer that says who it was may have the id still; its epoch is looked at later.
fn may_be(expected: Identity, value: &TransactionValue) -> bool {
    // The second: it has perhaps not heard of the id that it got when its epochs were used up.
    expected.id == value.producer_id
        || expected.id == value.previous_producer_id && is_exhausted(expected.epoch)
}

fn next_identity(
    known: &Transaction,
    expected: Option<Identity>,
    fresh: Option<ProducerId>,
) -> Result<Result<Next, InitError>, NeedsProducerId> {
    let has = known.value.identity();
    let is_current = expected.is_none_or(|expected| expected.epoch == has.epoch);
    let last_epoch = if expected.is_some() { has.epoch } else { NO_EPOCH };
    if is_exhausted(has.epoch) && is_current {
        let identity = Identity { id: fresh.ok_or(NeedsProducerId)?, epoch: ProducerEpoch(0) };
        return Ok(Ok(Next { identity, last_epoch }));
    }
    if is_current {
        let identity = Identity { epoch: next_epoch(has.epoch), ..has };
        return Ok(Ok(Next { identity, last_epoch }));
    }
    // A repeated request whose answer was lost: nobody else has asked since, or there would be
    // no last epoch.
    let is_repeated = expected
        .is_some_and(|expected| known.last_epoch != NO_EPOCH && expected.epoch == known.last_epoch);
    match is_repeated {
        // It has been fenced by the last epoch, which nobody is given.
        true if is_exhausted(has.epoch) => {
            let identity = Identity { id: fresh.ok_or(NeedsProducerId)?, epoch: ProducerEpoch(0) };
            Ok(Ok(Next { identity, last_epoch: NO_EPOCH }))
        }
        true => Ok(Ok(Next { identity: has, last_epoch: known.last_epoch })),
        false => Ok(Err(InitError::Fenced)),
    }
}
