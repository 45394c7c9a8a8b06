//! One coordinator at work: steps of its core, in order, and what they persist.
//!
//! In:   calls of connections' shards; time; the durability of what was appended.
//! Out:  records in the partition's log; answers, and what else the core asks for, each when all
//!       it rests on is durable.
//! Home: the partition's shard; in an `Rc`, never sent.
//!
//! Invariants
//!   C1  Records reach the log in the order of the steps; answers leave in that order, too, but
//!       for those of parked requests, which leave with the step that finds them.
//!   C2  If something cannot be stored, state and log have parted: everything that waits is
//!       answered, and this coordinator ends. Whoever runs it loads the log anew.
//!   C3  No `RefCell` borrow lives across an await.
//!   C4  What waits here is bounded by the requests that connections may have in flight.
//!
//! Not here: loading (`load.rs`), which coordinators there are (`coordinators.rs`).

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use bytes::Bytes;

use crate::group::commit::DeletedTopic;
use crate::group::ids::RequestId;
use crate::metadata::image::MetadataImage;
use crate::model::offset::LeaderEpoch;
use crate::model::time::{Micros, Timestamp};
use crate::partition::leader::{Acks, Verification};
use crate::protocol::records::Encoded;
use crate::record::batch::{BatchHeader, Codec};
use crate::record::builder::{BatchBuilder, NewRecord, Producer};
use crate::replica::local::Replica;
use crate::replica::request::{AppendItem, AppendResult};
use crate::shard::sync::{Event, OnceReceiver, OnceSender, oneshot};
use crate::shard::{tasks, timers};

use super::call::{Answer, Call, CoordinatorReply, Unavailable};
use super::core::{Consequences, Core, Effect};

/// Records of one step go into batches of about this size, well below `max.message.bytes`, unless
/// they are to be one.
const BATCH_BYTES: usize = 256 << 10;

/// Takes what a core asks for beside answers, and may call back whoever asked.
pub type Outlet<C> = Rc<dyn Fn(Weak<Running<C>>, <C as Core>::Action)>;

/// A coordinator whose log has been read.
pub struct Running<C: Core> {
    me: Weak<Running<C>>,
    replica: Rc<Replica>,
    core: RefCell<C>,
    /// The newest metadata that the core has taken over.
    image: RefCell<Arc<MetadataImage>>,
    outlet: Outlet<C>,
    /// Requests that the core will answer by an effect.
    parked: RefCell<HashMap<RequestId, OnceSender<CoordinatorReply>>>,
    /// Steps whose records are on their way, oldest first.
    unsettled: RefCell<VecDeque<Unsettled<C::Action>>>,
    last_request: Cell<u64>,
    /// When the timer will wake, so that only an earlier deadline disturbs it.
    armed: Cell<Option<Timestamp>>,
    ended: Cell<bool>,
    added: Event,
    sooner: Event,
}

/// In whose name records are written.
pub(super) struct Writer {
    /// Whose transaction they are in.
    pub(super) producer: Option<Producer>,
    /// What stands for the transaction's coordinator.
    pub(super) verification: Verification,
    /// Whether the records are one batch, however many bytes they are.
    pub(super) whole: bool,
}

impl Writer {
    /// In no transaction.
    const NOBODY: Writer = Writer { producer: None, verification: Verification::Off, whole: false };

    fn builder(&self) -> BatchBuilder {
        let builder = BatchBuilder::new(Codec::None);
        match self.producer {
            Some(producer) => builder.producer(producer).transactional(),
            None => builder,
        }
    }

    /// The batches that `records` make.
    fn batches(&self, records: &[Encoded], now: Timestamp) -> Vec<BatchBuilder> {
        let mut batches = Vec::new();
        let mut builder = self.builder();
        for Encoded { key, value } in records {
            let bytes = key.len() + value.as_ref().map_or(0, Bytes::len);
            let full = !self.whole && builder.record_bytes() + bytes > BATCH_BYTES;
            if builder.record_count() > 0 && full {
                batches.push(std::mem::replace(&mut builder, self.builder()));
            }
            let record =
                NewRecord { timestamp: now, key: Some(key), value: value.as_deref(), headers: &[] };
            builder.push(&record).expect("a record of the core fits a batch");
        }
        if builder.record_count() > 0 {
            batches.push(builder);
        }
        batches
    }
}

/// The consequences of a step, and what must be durable before they are released.
struct Unsettled<A> {
    stored: Vec<OnceReceiver<AppendResult>>,
    effects: Vec<Effect<A>>,
    answer: Option<(OnceSender<CoordinatorReply>, Answer)>,
}

impl<C: Core> Running<C> {
    /// A coordinator with the state that its log gave; its clocks begin now.
    pub(super) fn start(
        replica: Rc<Replica>,
        mut core: C,
        image: Arc<MetadataImage>,
        outlet: Outlet<C>,
    ) -> Rc<Running<C>> {
        core.set_image(&image);
        let running = Rc::new_cyclic(|me| Running {
            me: Weak::clone(me),
            replica,
            core: RefCell::new(core),
            image: RefCell::new(image),
            outlet,
            parked: RefCell::default(),
            unsettled: RefCell::default(),
            last_request: Cell::new(0),
            armed: Cell::new(None),
            ended: Cell::new(false),
            added: Event::new(),
            sooner: Event::new(),
        });
        let mut step = C::Step::default();
        running.core.borrow_mut().loaded(timers::wall_clock(), &mut step);
        running.follow(step, None);
        running
    }

    /// Epoch of the partition that this coordinator is: a later one's is higher.
    pub fn epoch(&self) -> LeaderEpoch {
        self.replica.core.borrow().epoch()
    }

    /// The newest metadata that the core has taken over.
    pub fn image(&self) -> Arc<MetadataImage> {
        Arc::clone(&self.image.borrow())
    }

    /// Whether it has ended: nothing more comes of what it asked for.
    pub fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Takes over the metadata that there is now, and that topics are gone.
    pub(super) fn set_image(&self, image: &Arc<MetadataImage>, deleted: &[DeletedTopic]) {
        let mut step = C::Step::default();
        {
            let mut core = self.core.borrow_mut();
            core.set_image(image);
            *self.image.borrow_mut() = Arc::clone(image);
            if !deleted.is_empty() {
                core.topics_deleted(deleted, &mut step);
            }
        }
        self.follow(step, None);
    }

    /// Carries out a call; the answer comes when it may leave.
    pub fn call(&self, call: Call<C>) -> OnceReceiver<CoordinatorReply> {
        let (reply, receiver) = oneshot();
        if self.ended.get() {
            let _ = reply.send(Err(Unavailable::NotHere)); // the asker may have gone
            return receiver;
        }
        let now = timers::wall_clock();
        let mut step = C::Step::default();
        match call {
            Call::Now(work) => {
                let answer = work(&mut self.core.borrow_mut(), now, &mut step);
                self.follow(step, Some((reply, answer)));
            }
            Call::Parked(work) => {
                let id = RequestId(self.last_request.get() + 1);
                self.last_request.set(id.0);
                self.parked.borrow_mut().insert(id, reply);
                work(&mut self.core.borrow_mut(), now, id, &mut step);
                self.follow(step, None);
            }
            Call::InTransaction(work) => {
                let (stored, answer) = self.write_in_transaction(now, work);
                self.settle_after(stored, Vec::new(), Some((reply, answer)));
            }
        }
        receiver
    }

    /// Appends a step's records, and releases the rest when they, and all before, are durable.
    fn follow(&self, step: C::Step, answer: Option<(OnceSender<CoordinatorReply>, Answer)>) {
        let Consequences { records, whole, effects } = self.core.borrow().consequences(step);
        let stored = self.append(&records, &Writer { whole, ..Writer::NOBODY });
        self.settle_after(stored, effects, answer);
    }

    /// Releases effects and an answer when `stored`, and all before, is durable.
    pub(super) fn settle_after(
        &self,
        stored: Vec<OnceReceiver<AppendResult>>,
        effects: Vec<Effect<C::Action>>,
        answer: Option<(OnceSender<CoordinatorReply>, Answer)>,
    ) {
        let next = self.core.borrow().next_deadline();
        if next.is_some_and(|next| self.armed.get().is_none_or(|armed| next < armed)) {
            self.sooner.notify();
        }
        let unsettled = Unsettled { stored, effects, answer };
        if unsettled.stored.is_empty() && self.unsettled.borrow().is_empty() {
            self.release(unsettled.effects, unsettled.answer);
            return;
        }
        self.unsettled.borrow_mut().push_back(unsettled);
        self.added.notify();
    }

    /// The core.
    pub(super) fn core(&self) -> &RefCell<C> {
        &self.core
    }

    /// The partition.
    pub(super) fn replica(&self) -> &Rc<Replica> {
        &self.replica
    }

    /// Appends records in `writer`'s name, in one batch or in as many as are needed.
    pub(super) fn append(
        &self,
        records: &[Encoded],
        writer: &Writer,
    ) -> Vec<OnceReceiver<AppendResult>> {
        let now = timers::wall_clock();
        let batches = writer.batches(records, now).into_iter();
        batches.map(|batch| self.append_batch(batch, now, writer)).collect()
    }

    fn append_batch(
        &self,
        builder: BatchBuilder,
        now: Timestamp,
        writer: &Writer,
    ) -> OnceReceiver<AppendResult> {
        let batch = builder.build();
        let header = BatchHeader::peek(&batch).expect("the builder writes a header");
        let info = header.info().expect("the builder writes sane numbers");
        let item = AppendItem {
            partition: self.replica.partition,
            frame_bytes: batch.len(),
            batch,
            info,
            log_append_time: Timestamp::NONE,
            acks: Acks::All,
            verification: writer.verification,
        };
        self.replica.append(now, item)
    }

    fn release(
        &self,
        effects: Vec<Effect<C::Action>>,
        answer: Option<(OnceSender<CoordinatorReply>, Answer)>,
    ) {
        for effect in effects {
            match effect {
                Effect::Answer(request, reply) => {
                    let waiting = self.parked.borrow_mut().remove(&request);
                    let waiting = waiting.expect("the core answers a parked request once");
                    let _ = waiting.send(Ok(reply)); // the client may have gone
                }
                Effect::Act(action) => (self.outlet)(Weak::clone(&self.me), action),
            }
        }
        if let Some((reply, answer)) = answer {
            let _ = reply.send(Ok(answer));
        }
    }

    /// Settles steps until this coordinator ends. Returns whether it ended by a failure (C2).
    pub(super) async fn settle(&self) -> Ended {
        loop {
            let added = self.added.listen();
            if self.ended.get() {
                return Ended::Stopped;
            }
            // The front stays in its place while it is waited for, so that nothing overtakes it.
            let stored = match self.unsettled.borrow_mut().front_mut() {
                Some(front) => Some(std::mem::take(&mut front.stored)),
                None => None,
            };
            let Some(stored) = stored else {
                added.await;
                continue;
            };
            for one in stored {
                if !matches!(one.await, Ok(Ok(_))) {
                    // A partition that goes fails what waits at it, too; it was told to end then.
                    return match self.end(Unavailable::NotStored) {
                        true => Ended::Failed,
                        false => Ended::Stopped,
                    };
                }
            }
            let settled = self.unsettled.borrow_mut().pop_front();
            if let Some(Unsettled { effects, answer, .. }) = settled {
                self.release(effects, answer);
            }
        }
    }

    /// Lets time pass in the core until this coordinator ends.
    pub(super) async fn keep_time(&self) {
        while !self.ended.get() {
            let sooner = self.sooner.listen();
            let deadline = self.core.borrow().next_deadline();
            self.armed.set(deadline);
            let Some(deadline) = deadline else {
                sooner.await;
                continue;
            };
            let wait_ms = deadline.0.saturating_sub(timers::wall_clock().0);
            match u64::try_from(wait_ms) {
                Ok(wait_ms) if wait_ms > 0 => {
                    let wait_us = wait_ms.saturating_mul(1_000).min(TIMER_US_MAX);
                    let _ = timers::timeout_at(Micros(timers::now().0 + wait_us), sooner).await;
                }
                _ => {
                    let mut step = C::Step::default();
                    self.core.borrow_mut().tick(timers::wall_clock(), &mut step);
                    self.follow(step, None);
                    tasks::yield_now().await;
                }
            }
        }
    }

    /// Ends this coordinator and answers all that waits. False: it had ended before.
    pub(super) fn end(&self, why: Unavailable) -> bool {
        if self.ended.replace(true) {
            return false;
        }
        let mut step = C::Step::default();
        self.core.borrow_mut().unload(&mut step);
        for Unsettled { effects, answer, .. } in self.unsettled.take() {
            for effect in effects {
                match effect {
                    Effect::Answer(request, _) => self.refuse(request, why),
                    Effect::Act(_) => {} // its records are in doubt: whoever loads asks anew
                }
            }
            if let Some((reply, _)) = answer {
                let _ = reply.send(Err(why));
            }
        }
        let Consequences { effects, .. } = self.core.borrow().consequences(step);
        self.release(effects, None);
        for (_, reply) in self.parked.take() {
            let _ = reply.send(Err(why));
        }
        self.added.notify();
        self.sooner.notify();
        true
    }

    fn refuse(&self, request: RequestId, why: Unavailable) {
        if let Some(reply) = self.parked.borrow_mut().remove(&request) {
            let _ = reply.send(Err(why));
        }
    }
}

/// Longest wait at once: a clock that is set back is noticed then.
const TIMER_US_MAX: u64 = 60_000_000;

/// How a coordinator ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was told to.
    Stopped,
    /// Something could not be stored.
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_a_whole_step_are_one_batch_however_many_they_are() {
        let record = Encoded { key: Bytes::from_static(&[7; 100]), value: None };
        let records = vec![record; 9_000];
        let batches = |whole| {
            let writer = Writer { whole, ..Writer::NOBODY };
            let batches = writer.batches(&records, Timestamp(1));
            let count: i32 = batches.iter().map(BatchBuilder::record_count).sum();
            assert_eq!(count, 9_000);
            batches.iter().map(BatchBuilder::record_bytes).collect::<Vec<_>>()
        };
        let many = batches(false);
        assert!(many.len() > 3 && many.iter().all(|bytes| *bytes < BATCH_BYTES + 20), "{many:?}");
        assert_eq!(batches(true).len(), 1);
    }
}
