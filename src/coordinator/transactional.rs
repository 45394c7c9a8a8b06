//! Transactions in a coordinator's own partition: their records, and their ends.
//!
//! In:   records that a producer's transaction is to hold; markers for this partition.
//! Out:  both in the log, and in the core what they come to there.
//! Home: a part of `running.rs`.
//!
//! Invariants
//!   E1  What the log refuses at once has not reached the core. What it refuses later, having had no
//!       room when it was asked, ends the coordinator (C2): the log is read anew.
//!   E2  A marker is answered once it is durable and all steps before it are: then whoever asks the
//!       core is told what the transaction came to.
//!
//! Source: KIP-98, KIP-447; Kafka's `CoordinatorRuntime.scheduleTransactionCompletion`; P104, P106.

use crate::model::offset::Sequence;
use crate::model::time::Timestamp;
use crate::record::builder::Producer;
use crate::replica::markers::marker_result;
use crate::replica::request::{AppendResult, MarkerFailure, MarkerItem};
use crate::shard::sync::{OnceReceiver, oneshot};
use crate::shard::timers;

use super::call::{Answer, CoordinatorReply, InTransaction, WorkInTransaction};
use super::core::Core;
use super::running::{Running, Writer};

impl<C: Core> Running<C> {
    /// Carries out work that writes in a transaction: what must be durable before its answer, and
    /// that.
    pub(super) fn write_in_transaction(
        &self,
        now: Timestamp,
        work: WorkInTransaction<C>,
    ) -> (Vec<OnceReceiver<AppendResult>>, Answer) {
        let asked = work(&mut self.core().borrow_mut(), now);
        let InTransaction { producer_id, producer_epoch, verification, records, answer } =
            match asked {
                Ok(asked) => asked,
                Err(answer) => return (Vec::new(), answer),
            };
        let producer =
            Producer { id: producer_id, epoch: producer_epoch, base_sequence: Sequence::NONE };
        let writer = Writer { producer: Some(producer), verification, whole: true };
        let mut stored = self.append(&records, &writer);
        assert!(stored.len() == 1, "a transaction's records are one batch");
        match stored[0].try_take() {
            Some(Err(failure)) => return (Vec::new(), answer(Err(failure))), // E1
            Some(Ok(_)) => stored.clear(),
            None => {}
        }
        for record in &records {
            let key = &record.key;
            let replayed = self.core().borrow_mut().replay_record(
                key,
                record.value.as_deref(),
                Some(producer_id),
            );
            replayed.expect("the core reads what it writes");
        }
        (stored, answer(Ok(())))
    }

    /// Writes the end of a transaction into this partition, and into the core (E2).
    ///
    /// Errors: why the log does not take it; the core has not heard of it.
    pub(super) fn end_transaction(
        &self,
        item: &MarkerItem,
    ) -> Result<OnceReceiver<CoordinatorReply>, MarkerFailure> {
        if self.has_ended() {
            return Err(MarkerFailure::NotHere); // until its log has been read anew
        }
        let marker = self.replica().append_marker(timers::wall_clock(), item);
        let mut stored = Vec::new();
        match marker.try_take() {
            Some(refused @ Err(_)) => {
                marker_result(refused)?;
                return Err(MarkerFailure::NotHere);
            }
            Some(Ok(_)) => {}
            None => stored.push(marker),
        }
        self.core().borrow_mut().replay_end(item.producer_id, item.outcome);
        let (reply, receiver) = oneshot();
        self.settle_after(stored, Vec::new(), Some((reply, Box::new(()))));
        Ok(receiver)
    }
}
