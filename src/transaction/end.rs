//! The end of a transaction: decided, told to its partitions, complete.
//!
//! In:   EndTxn; a transaction that is too old, or whose id has a new producer; written markers.
//! Out:  the decision as a record, and the markers to write when it is durable; then completion.
//! Home: pure; part of the transaction coordinator.
//!
//! With version 2 the epoch rises with every decision, so a request that was decided before
//! comes with the epoch before, and one that comes with the epoch of now is another:
//!
//! | | abort, repeated | abort | commit, repeated | commit |
//! |---|---|---|---|---|
//! | `Empty` | fenced | epoch rises | fenced | invalid |
//! | `CompleteAbort` | done | epoch rises | invalid | invalid |
//! | `CompleteCommit` | invalid | epoch rises | done | invalid |
//!
//! Source: KIP-98, KIP-890; Kafka 4.3's `TransactionCoordinator`; `protocol.md` P103, P105.

use std::collections::BTreeSet;

use crate::model::ids::{ProducerEpoch, ProducerId};
use crate::model::time::Timestamp;
use crate::record::control::Outcome;
use crate::transaction::coordinator::{NeedsProducerId, Transaction, TransactionCoordinator};
use crate::transaction::ids::{
    EPOCH_LAST, Identity, NO_EPOCH, TransactionLevel, TransactionalId, is_exhausted, next_epoch,
};
use crate::transaction::partitions::TransactionError;
use crate::transaction::record::TransactionValue;
use crate::transaction::state::State;
use crate::transaction::step::Step;

/// What a producer asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndRequest {
    /// Its transactional id.
    pub id: TransactionalId,
    /// Who it is.
    pub producer: Identity,
    /// How its transaction is to end.
    pub outcome: Outcome,
    /// How it speaks.
    pub version: TransactionLevel,
}

/// What becomes of a request to end a transaction.
enum Verdict {
    /// The transaction ends so.
    Decide(State),
    /// It was decided so before.
    Done,
}

impl TransactionCoordinator {
    /// Decides a producer's transaction. The answer is who the producer is in the next one.
    ///
    /// Errors: [`NeedsProducerId`] unless `fresh` has one; [`TransactionError`].
    pub fn end_transaction(
        &mut self,
        now: Timestamp,
        request: &EndRequest,
        fresh: Option<ProducerId>,
        step: &mut Step,
    ) -> Result<Result<Identity, TransactionError>, NeedsProducerId> {
        let now = self.advance(now);
        let Some(known) = self.transactions.get(&request.id) else {
            return Ok(Err(TransactionError::InvalidPidMapping));
        };
        let bumps = request.version.bumps_epochs();
        let verdict = match bumps {
            true => judge(&known.value, request),
            false => judge_v1(&known.value, request),
        };
        let to = match verdict {
            Err(error) => return Ok(Err(error)),
            Ok(Verdict::Done) => return Ok(Ok(known.value.identity())),
            Ok(Verdict::Decide(to)) => to,
        };
        let has = known.value.identity();
        let rotates = bumps && is_exhausted(has.epoch);
        let next = if rotates { fresh.ok_or(NeedsProducerId)? } else { ProducerId::NONE };
        let (epoch, last_epoch) = match bumps {
            true => (next_epoch(has.epoch), has.epoch),
            false => (has.epoch, known.last_epoch),
        };
        let decided = TransactionValue {
            producer_epoch: epoch,
            next_producer_id: next,
            client_version: if bumps { request.version } else { TransactionLevel::V0 },
            start: started(&known.value, now),
            ..known.value.moved(to, now)
        };
        let answer = decided.identity_after();
        self.decide(now, &request.id, decided, last_epoch, step);
        Ok(Ok(answer))
    }

    /// Aborts an open transaction without its producer, which is fenced by a higher epoch.
    pub(super) fn abort_and_fence(
        &mut self,
        now: Timestamp,
        id: &TransactionalId,
        step: &mut Step,
    ) {
        let known = self.transactions.get(id).expect("the caller has seen it");
        let (epoch, version) = (known.value.producer_epoch, self.version);
        let fenced = TransactionValue {
            // With version 2 the producer may recover, and is told so by its own epoch.
            producer_epoch: next_epoch(epoch),
            next_producer_id: ProducerId::NONE,
            ..known.value.moved(State::PrepareEpochFence, now)
        };
        let (last_epoch, client_version) = match version.bumps_epochs() {
            true => (epoch, version),
            false => (NO_EPOCH, TransactionLevel::V0),
        };
        let decided = TransactionValue { client_version, ..fenced.moved(State::PrepareAbort, now) };
        self.decide(now, id, decided, last_epoch, step);
    }

    /// Makes a decision part of the state, and has its markers written; without a partition
    /// there are none, and the transaction is complete.
    fn decide(
        &mut self,
        now: Timestamp,
        id: &TransactionalId,
        decided: TransactionValue,
        last_epoch: ProducerEpoch,
        step: &mut Step,
    ) {
        assert!(decided.state.is_completing(), "N2");
        let has_partitions = !decided.partitions.is_empty();
        self.persist(step, id, decided, last_epoch);
        match has_partitions {
            true => self.ask_for_markers(id, step),
            false => self.complete(now, id, step),
        }
    }

    /// The markers of `producer`'s transaction stand in all its partitions that there are.
    pub fn markers_written(
        &mut self,
        now: Timestamp,
        id: &TransactionalId,
        producer: Identity,
        step: &mut Step,
    ) {
        let now = self.advance(now);
        let known = self.transactions.get(id).map(|known| &known.value);
        let is_it =
            |value: &&TransactionValue| value.state.is_completing() && value.identity() == producer;
        if known.filter(is_it).is_some() {
            self.complete(now, id, step);
        }
    }

    fn complete(&mut self, now: Timestamp, id: &TransactionalId, step: &mut Step) {
        let Transaction { value, last_epoch } = self.transactions.get(id).expect("it was decided");
        let to = match value.outcome().expect("it was decided") {
            Outcome::Commit => State::CompleteCommit,
            Outcome::Abort => State::CompleteAbort,
        };
        let Identity { id: producer_id, epoch: producer_epoch } = value.identity_after();
        let complete = TransactionValue {
            producer_id,
            producer_epoch,
            next_producer_id: ProducerId::NONE,
            partitions: BTreeSet::new(),
            ..value.moved(to, now)
        };
        let last_epoch = *last_epoch;
        self.persist(step, id, complete, last_epoch);
    }
}

/// When it began; an abort of nothing begins and ends now.
fn started(value: &TransactionValue, now: Timestamp) -> Timestamp {
    if value.state == State::Ongoing { value.start } else { now }
}

/// Of a client that speaks version 2; see the table above.
fn judge(value: &TransactionValue, request: &EndRequest) -> Result<Verdict, TransactionError> {
    use TransactionError as E;
    let (has, asks) = (value.identity(), request.producer);
    if value.state.is_completing() {
        // First of all, as Kafka has it: the producer may come under the identity that is its next.
        return Err(E::ConcurrentTransactions);
    }
    // The client has not heard of the identity that the same request gave it before.
    let after_rotation = value.previous_producer_id == asks.id
        && asks.epoch == ProducerEpoch(EPOCH_LAST.0 - 1)
        && has.epoch == ProducerEpoch(0)
        && has.id != asks.id;
    let after_bump = asks.epoch != EPOCH_LAST && has.epoch == next_epoch(asks.epoch);
    if has.id != asks.id && !after_rotation {
        return Err(E::InvalidPidMapping);
    }
    let is_current = asks.epoch == has.epoch && has.id == asks.id && has.epoch != EPOCH_LAST;
    let is_repeated = after_bump || after_rotation;
    let is_valid = match value.state {
        State::Ongoing | State::Empty => is_current,
        State::CompleteCommit | State::CompleteAbort => is_repeated || is_current,
        State::PrepareCommit | State::PrepareAbort => panic!("looked at before"),
        State::Dead | State::PrepareEpochFence => panic!("N1: a state that is never kept"),
    };
    if !is_valid {
        return Err(E::ProducerFenced);
    }
    match (value.state, request.outcome) {
        (State::Ongoing, Outcome::Commit) => Ok(Verdict::Decide(State::PrepareCommit)),
        (State::Ongoing, Outcome::Abort) => Ok(Verdict::Decide(State::PrepareAbort)),
        (State::CompleteCommit, Outcome::Commit) | (State::CompleteAbort, Outcome::Abort)
            if is_repeated =>
        {
            Ok(Verdict::Done)
        }
        (State::Empty | State::CompleteCommit | State::CompleteAbort, Outcome::Abort)
            if !is_repeated =>
        {
            Ok(Verdict::Decide(State::PrepareAbort))
        }
        _ => Err(E::InvalidTxnState),
    }
}

/// Of a client that speaks version 1: a repeated request cannot be told from the next one.
fn judge_v1(value: &TransactionValue, request: &EndRequest) -> Result<Verdict, TransactionError> {
    use TransactionError as E;
    if value.producer_id != request.producer.id {
        return Err(E::InvalidPidMapping);
    }
    if value.producer_epoch != request.producer.epoch {
        return Err(E::ProducerFenced);
    }
    match (value.state, request.outcome) {
        (State::Ongoing, Outcome::Commit) => Ok(Verdict::Decide(State::PrepareCommit)),
        (State::Ongoing, Outcome::Abort) => Ok(Verdict::Decide(State::PrepareAbort)),
        (State::PrepareCommit, Outcome::Commit) | (State::PrepareAbort, Outcome::Abort) => {
            Err(E::ConcurrentTransactions)
        }
        (State::CompleteCommit, Outcome::Commit) | (State::CompleteAbort, Outcome::Abort) => {
            Ok(Verdict::Done)
        }
        _ => Err(E::InvalidTxnState),
    }
}
