//! One partition's replica on its shard: its rules and its log, introduced to each other.
//!
//! In:   batches (checked, unstamped) and durable ends.
//! Out:  answers once the durable end, or the watermark, has passed a batch; wakes of readers.
//! Home: the owner's shard alone; in an `Rc`, never sent.
//!
//! Invariants
//!   R1  Between two calls the core's log end is the log's own.
//!   R2  Waiting answers are in offset order, so a durable end releases a prefix of them.
//!   R3  No `RefCell` borrow lives across an await.
//!   R4  A batch is staged only when none is parked before it.
//!
//! Not here: which shard owns what (`table.rs`), reading (`fetch.rs`), ticks (`housekeeping.rs`).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use crate::config::topic::TopicConfig;
use crate::metrics::commits;
use crate::model::ids::TopicPartition;
use crate::model::offset::Offset;
use crate::model::time::Timestamp;
use crate::model::topic_name::{TopicName, is_internal};
use crate::partition::leader::{
    Acks, Admission, AppendRules, Effect, Isolation, Leader, Verification,
};
use crate::partition::producers::TransactionEnd;
use crate::record::batch::{self, BatchHeader, BatchInfo};
use crate::record::builder::end_marker;
use crate::record::control::EndMarker;
use crate::shard::sync::{OnceReceiver, OnceSender, oneshot};
use crate::shard::tasks::{self, Queue};
use crate::shard::timers;
use crate::storage::disk_gate::Writer;
use crate::storage::log::Log;
use crate::storage::tail::detach;

use super::Disk;
use super::request::{AppendFailure, AppendItem, AppendResult, Appended, MarkerItem};
use super::watch::Watchers;

/// A replica and all that waits for it.
pub struct Replica {
    /// Which partition.
    pub partition: TopicPartition,
    /// Its topic's name, for words to people.
    pub topic: TopicName,
    /// The rules.
    pub core: RefCell<Leader>,
    /// The bytes.
    pub log: Log<Disk>,
    /// The topic's settings; replaced whole when they change.
    pub config: RefCell<Rc<TopicConfig>>,
    /// Fetches that wait for the high watermark.
    pub uncommitted_watchers: Watchers,
    /// Fetches that wait for the last stable offset.
    pub committed_watchers: Watchers,
    waiting: RefCell<Waiting>,
}

/// What waits for a replica's progress.
#[derive(Default)]
struct Waiting {
    /// What came while the log's queue was full, in order of arrival (R4).
    parked: VecDeque<(Input, Reply)>,
    /// Producers with `acks=1`, answered by the durable end.
    leader: Answers,
    /// Producers with `acks=all`, answered by the high watermark.
    all: Answers,
    /// Ends and sizes of batches that readers cannot see yet.
    unseen: VecDeque<(Offset, usize)>,
}

/// Where one append's answer goes.
type Reply = OnceSender<AppendResult>;

/// What is to be written.
enum Input {
    /// A client's batch, or a coordinator's.
    Batch(AppendItem),
    /// The end of a transaction, built.
    Marker(TransactionEnd, BytesMut),
}

impl Input {
    fn bytes(&self) -> usize {
        match self {
            Self::Batch(item) => item.batch.len(),
            Self::Marker(_, batch) => batch.len(),
        }
    }

    fn acks(&self) -> Acks {
        match self {
            Self::Batch(item) => item.acks,
            Self::Marker(..) => Acks::All,
        }
    }
}

impl Replica {
    /// A replica whose log and core agree.
    pub fn new(
        partition: TopicPartition,
        topic: TopicName,
        core: Leader,
        log: Log<Disk>,
        config: Rc<TopicConfig>,
    ) -> Rc<Replica> {
        assert!(core.log_end_offset() == log.log_end(), "R1");
        Rc::new(Replica {
            partition,
            topic,
            core: RefCell::new(core),
            log,
            config: RefCell::new(config),
            uncommitted_watchers: Watchers::default(),
            committed_watchers: Watchers::default(),
            waiting: RefCell::default(),
        })
    }

    /// Takes in a batch: admits, stamps and stages it for writing in one turn, or parks it behind
    /// others while the log's queue is full; so batches keep the order they were handed in.
    ///
    /// The answer comes once the batch is as durable as promised. Parked batches are bounded by
    /// the request bytes that connections may hold.
    pub fn append(self: &Rc<Self>, now: Timestamp, item: AppendItem) -> OnceReceiver<AppendResult> {
        self.take_in(now, Input::Batch(item))
    }

    /// Takes in the end of a transaction, in order with all other batches; see [`Replica::append`].
    pub fn append_marker(
        self: &Rc<Self>,
        now: Timestamp,
        item: &MarkerItem,
    ) -> OnceReceiver<AppendResult> {
        let (outcome, coordinator_epoch) = (item.outcome, item.coordinator_epoch);
        let marker = EndMarker { outcome, coordinator_epoch };
        let batch = end_marker(item.producer_id, item.producer_epoch, marker, now);
        let end = TransactionEnd { marker, version: item.version };
        self.take_in(now, Input::Marker(end, batch))
    }

    fn take_in(self: &Rc<Self>, now: Timestamp, input: Input) -> OnceReceiver<AppendResult> {
        let (reply, receiver) = oneshot();
        let is_first = self.waiting.borrow().parked.is_empty();
        match is_first && self.log.has_room(input.bytes()) {
            true => self.stage(now, input, reply),
            false => self.waiting.borrow_mut().parked.push_back((input, reply)),
        }
        receiver
    }

    fn stage(self: &Rc<Self>, now: Timestamp, input: Input, reply: Reply) {
        let (acks, size) = (input.acks(), input.bytes());
        if let Err(refused) = self.log.check_room(size, self.writer(&input)) {
            let _ = reply.send(Err(AppendFailure::from(refused))); // the producer may have gone
            return;
        }
        let admitted = match input {
            Input::Batch(item) => self.admit(now, item),
            Input::Marker(end, batch) => self.admit_marker(now, &end, batch),
        };
        match admitted {
            Err(failure) => {
                let _ = reply.send(Err(failure));
            }
            Ok((end, answer)) => self.answer_at(acks, end, answer, reply),
        }
    }

    fn writer(&self, input: &Input) -> Writer {
        match input {
            Input::Batch(_) if !is_internal(self.topic.as_str()) => Writer::Client,
            Input::Batch(_) | Input::Marker(..) => Writer::Broker,
        }
    }

    /// Gives a batch its offsets and hands it to the log; the offset after it, and its answer.
    fn admit(
        self: &Rc<Self>,
        now: Timestamp,
        mut item: AppendItem,
    ) -> Result<(Offset, Appended), AppendFailure> {
        let rules = self.rules(item.acks, item.verification);
        let mut core = self.core.borrow_mut();
        let log_start = core.log_start_offset();
        let refused = |error| AppendFailure::Refused { error, log_start };
        let admission = core.admit(now, &item.info, &rules).map_err(refused)?;
        let placed = match admission {
            Admission::Duplicate { base_offset, last_offset, log_append_time } => {
                let answer = Appended { base_offset, log_append_time, log_start };
                return Ok((last_offset.plus(1), answer));
            }
            Admission::Append(placed) => placed,
        };
        batch::stamp(&mut item.batch, placed.base_offset, placed.leader_epoch);
        self.write(now, &core, &placed, detach(item.batch.freeze(), item.frame_bytes));
        let (base_offset, log_append_time) = (placed.base_offset, item.log_append_time);
        Ok((placed.end_offset(), Appended { base_offset, log_append_time, log_start }))
    }

    /// As [`Replica::admit`], for the end of a transaction.
    fn admit_marker(
        self: &Rc<Self>,
        now: Timestamp,
        end: &TransactionEnd,
        mut batch: BytesMut,
    ) -> Result<(Offset, Appended), AppendFailure> {
        let info = BatchHeader::peek(&batch).and_then(BatchHeader::info);
        let info = info.expect("a marker is built by us");
        let rules = self.rules(Acks::All, Verification::Off);
        let mut core = self.core.borrow_mut();
        let log_start = core.log_start_offset();
        let refused = |error| AppendFailure::Refused { error, log_start };
        let placed = core.admit_marker(now, &info, end, &rules).map_err(refused)?;
        batch::stamp(&mut batch, placed.base_offset, placed.leader_epoch);
        self.write(now, &core, &placed, batch.freeze());
        let (base_offset, log_append_time) = (placed.base_offset, Timestamp::NONE);
        Ok((placed.end_offset(), Appended { base_offset, log_append_time, log_start }))
    }

    /// Hands an admitted batch to the log.
    fn write(self: &Rc<Self>, now: Timestamp, core: &Leader, placed: &BatchInfo, batch: Bytes) {
        let staged = self.log.append(batch, placed, now);
        let staged = staged.expect("room was checked before the batch was admitted");
        assert!(core.log_end_offset() == self.log.log_end(), "R1");
        let bytes = usize::try_from(placed.bytes).expect("a batch fits memory");
        self.waiting.borrow_mut().unseen.push_back((placed.end_offset(), bytes));
        if staged.snapshot_due {
            self.write_snapshot(core.producers().encode(placed.end_offset()), placed.end_offset());
        }
    }

    /// Writes the producers' state beside the log, in the background: it is derived data, so a
    /// failure only costs the next restart time (and one that matters stops the directory).
    fn write_snapshot(self: &Rc<Self>, state: Vec<u8>, end: Offset) {
        let log = self.log.clone();
        let write = async move {
            if let Err(error) = log.write_snapshot(end, &state).await {
                tracing::warn!(%error, end = end.0, "producer snapshot not written");
            }
        };
        tasks::spawn(Queue::Housekeeping, write);
    }

    fn rules(&self, acks: Acks, verification: Verification) -> AppendRules {
        let required = self.config.borrow().min_insync_replicas;
        let min_insync_replicas = usize::try_from(required).expect("a count of replicas");
        AppendRules { acks, min_insync_replicas, verification }
    }

    fn answer_at(&self, acks: Acks, end: Offset, answer: Appended, reply: Reply) {
        let core = self.core.borrow();
        let mut waiting = self.waiting.borrow_mut();
        let (reached, answers) = match acks {
            Acks::None | Acks::Leader => (core.durable_end(), &mut waiting.leader),
            Acks::All => (core.high_watermark(), &mut waiting.all),
        };
        if end <= reached {
            let _ = reply.send(Ok(answer)); // a duplicate of what is long durable
        } else {
            answers.add(end, answer, reply);
        }
    }

    /// Notes that everything below `durable_end` is as durable as the topic promises; answers
    /// producers and wakes readers.
    pub fn on_durable(self: &Rc<Self>, durable_end: Offset) {
        let mut effects = Vec::new();
        self.core.borrow_mut().on_durable(durable_end, &mut effects);
        self.waiting.borrow_mut().leader.release(durable_end);
        self.perform(&effects);
        self.unpark(timers::wall_clock());
    }

    /// Stages parked batches while the log has room for them.
    fn unpark(self: &Rc<Self>, now: Timestamp) {
        loop {
            let mut waiting = self.waiting.borrow_mut();
            let fits = |(input, _): &(Input, Reply)| self.log.has_room(input.bytes());
            if !waiting.parked.front().is_some_and(fits) {
                return;
            }
            let (input, reply) = waiting.parked.pop_front().expect("just seen");
            drop(waiting);
            self.stage(now, input, reply);
        }
    }

    /// Performs what the core decided, in order.
    pub fn perform(self: &Rc<Self>, effects: &[Effect]) {
        for effect in effects {
            match *effect {
                Effect::AdvanceHighWatermark(end) => {
                    let seen = self.waiting.borrow_mut().advance(end);
                    self.uncommitted_watchers.grow(seen);
                }
                // How many bytes a reader of committed records gained depends on where it stood
                // among open transactions: it looks again.
                Effect::AdvanceLastStable(_) => self.committed_watchers.fire(),
                Effect::AdvanceLogStart(log_start) => self.persist_log_start(log_start),
            }
        }
    }

    /// Lets the log follow in the background; after retention it is there already.
    fn persist_log_start(&self, log_start: Offset) {
        if log_start <= self.log.log_start() {
            return;
        }
        let log = self.log.clone();
        let advance = async move {
            if let Err(error) = log.advance_log_start(log_start).await {
                tracing::warn!(%error, log_start = log_start.0, "log start not persisted");
            }
        };
        tasks::spawn(Queue::Housekeeping, advance);
    }

    /// The watchers for one isolation.
    pub fn watchers(&self, isolation: Isolation) -> &Watchers {
        match isolation {
            Isolation::ReadUncommitted => &self.uncommitted_watchers,
            Isolation::ReadCommitted => &self.committed_watchers,
        }
    }

    /// Answers all that waits, because the log takes or promises nothing more.
    pub fn fail(&self, failure: AppendFailure) {
        let mut waiting = self.waiting.take();
        waiting.leader.fail(failure);
        waiting.all.fail(failure);
        for (_, reply) in waiting.parked.drain(..) {
            let _ = reply.send(Err(failure));
        }
        self.uncommitted_watchers.fire();
        self.committed_watchers.fire();
    }
}

impl Waiting {
    /// Answers producers up to the high watermark `end`; returns how many bytes became visible.
    fn advance(&mut self, end: Offset) -> usize {
        self.all.release(end);
        let (mut seen, mut batches) = (0, 0);
        while let Some((batch_end, bytes)) = self.unseen.front().copied() {
            if end < batch_end {
                break;
            }
            seen += bytes;
            batches += 1;
            self.unseen.pop_front();
        }
        commits::committed(batches);
        seen
    }
}

/// Answers that wait for an offset, in its order (R2).
#[derive(Default)]
struct Answers(VecDeque<Answer>);

struct Answer {
    end: Offset,
    appended: Appended,
    reply: Reply,
}

impl Answers {
    fn add(&mut self, end: Offset, appended: Appended, reply: Reply) {
        // Only a duplicate belongs before the last one: its original is further ahead.
        let at = self.0.partition_point(|waiting| waiting.end <= end);
        self.0.insert(at, Answer { end, appended, reply });
    }

    fn release(&mut self, end: Offset) {
        while self.0.front().is_some_and(|answer| answer.end <= end) {
            let answer = self.0.pop_front().expect("just seen");
            let _ = answer.reply.send(Ok(answer.appended)); // the producer may have gone
        }
    }

    fn fail(&mut self, failure: AppendFailure) {
        for answer in self.0.drain(..) {
            let _ = answer.reply.send(Err(failure));
        }
    }
}
