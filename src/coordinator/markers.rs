//! Ends of transactions, written into their partitions.
//!
//! In:   what a transaction coordinator asks for, once its decision is durable.
//! Out:  a marker in each partition that there is, then word to the coordinator.
//! Home: the coordinator's shard; one task a transaction.
//!
//! Invariants
//!   A1  The coordinator is told only when every partition has its marker, durably, or is gone.
//!   A2  A partition is gone only by metadata at least as new as what it was added by.
//!   A3  What cannot be written now is tried again, after pauses that grow up to
//!       [`PAUSE_MAX`], until it is written or the coordinator ends; one that is loaded anew asks
//!       anew. Meanwhile other transactions go on: a pause holds nothing but its own task.
//!   A4  Markers of one id are on their way for one task at a time, whichever coordinator it is of: what
//!       one that has ended had sent is written, or refused, before the one that was loaded after it
//!       sends its own. Otherwise a marker that was held up could come after its transaction was
//!       completed, and end the next one.
//!   A5  No task outlives [`MarkerTasks::close`]: a task holds ends of channels.
//!
//! Tasks are bounded by the ids that are being completed, each of which has one transaction.
//!
//! Not here: how a marker gets into a partition (`crate::replica`), what it means there
//! (`crate::partition`).
//! Source: KIP-98, KIP-890; `protocol.md` P104, P105.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::{Rc, Weak};
use std::time::Duration;

use crate::metadata::image::MetadataImage;
use crate::model::ids::{TopicPartition, TransactionVersion};
use crate::model::time::Micros;
use crate::replica::request::{MarkerFailure, MarkerItem, MarkerResult};
use crate::shard::sync::{Budget, Event};
use crate::shard::tasks::{self, LocalFuture, Queue};
use crate::shard::timers;
use crate::transaction::coordinator::TransactionCoordinator;
use crate::transaction::ids::{NamedPartition, TransactionalId};
use crate::transaction::step::{Markers, Step};

use super::call::Call;
use super::running::{Outlet, Running};

/// First pause before another try.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// Longest pause.
pub const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Tries under way at once on a shard; a further one waits for its turn.
const TRIES_MAX: u64 = 1_024;
/// Markers of one try that are under way at once.
const MARKERS_PER_TRY: usize = 1_024;

/// Writes markers, wherever their partitions are; one result each, in their order.
pub type Writer = Rc<dyn Fn(Vec<MarkerItem>) -> LocalFuture<Vec<MarkerResult>>>;

type Coordinator = Running<TransactionCoordinator>;

/// The ids whose markers are on their way (A4).
#[derive(Debug, Default)]
pub(super) struct Turns(BTreeSet<TransactionalId>);

impl Turns {
    /// Takes the turn of `id`; false: another task has it.
    pub(super) fn take(&mut self, id: &TransactionalId) -> bool {
        self.0.insert(id.clone())
    }

    /// Ends the turn of `id`.
    pub(super) fn end(&mut self, id: &TransactionalId) {
        assert!(self.0.remove(id), "A4: a turn is ended by who has it");
    }
}

/// The tasks of one shard.
pub struct MarkerTasks {
    writer: Writer,
    turns: RefCell<Turns>,
    tries: Budget,
    running: Cell<usize>,
    closing: Cell<bool>,
    changed: Event,
}

impl MarkerTasks {
    /// None yet.
    pub fn new(writer: Writer) -> Rc<MarkerTasks> {
        Rc::new(MarkerTasks {
            writer,
            turns: RefCell::default(),
            tries: Budget::new(TRIES_MAX),
            running: Cell::new(0),
            closing: Cell::new(false),
            changed: Event::new(),
        })
    }

    /// Takes the markers that the shard's coordinators ask for.
    pub fn outlet(self: &Rc<Self>) -> Outlet<TransactionCoordinator> {
        let tasks = Rc::clone(self);
        Rc::new(move |coordinator, markers| {
            let tasks_of = Rc::clone(&tasks);
            let driver = Driver { tasks: tasks_of, coordinator, markers, has_turn: false };
            tasks.running.set(tasks.running.get() + 1);
            tasks::spawn(Queue::Network, driver.run());
        })
    }

    /// Ends all tasks, once the coordinators have ended (A5).
    pub async fn close(&self) {
        self.closing.set(true);
        self.changed.notify();
        loop {
            let changed = self.changed.listen();
            if self.running.get() == 0 {
                return;
            }
            changed.await;
        }
    }

    /// Waits for `pause`, or until the tasks are to end.
    async fn pause(&self, pause: Duration) {
        let pause_us = u64::try_from(pause.as_micros()).expect("a second at most");
        let until = Micros(timers::now().0 + pause_us);
        loop {
            let changed = self.changed.listen();
            if self.closing.get() || timers::timeout_at(until, changed).await.is_err() {
                return;
            }
        }
    }
}

/// One transaction's end.
struct Driver {
    tasks: Rc<MarkerTasks>,
    coordinator: Weak<Coordinator>,
    markers: Markers,
    has_turn: bool,
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.has_turn {
            self.tasks.turns.borrow_mut().end(&self.markers.id);
        }
        self.tasks.running.set(self.tasks.running.get() - 1);
        self.tasks.changed.notify();
    }
}

impl Driver {
    async fn run(mut self) {
        if !self.take_turn().await {
            return;
        }
        let mut left = std::mem::take(&mut self.markers.partitions);
        let mut pause = PAUSE_MIN;
        while !left.is_empty() {
            {
                let _turn = self.tasks.tries.acquire(1).await;
                let Some(later) = self.write(left).await else { return };
                left = later;
            }
            if !left.is_empty() {
                tracing::debug!(id = %self.markers.id, left = left.len(), "markers are tried again");
                self.tasks.pause(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
        let Some(coordinator) = self.coordinator() else { return };
        let (id, producer) = (self.markers.id.clone(), self.markers.producer);
        let told =
            Call::Now(Box::new(move |core: &mut TransactionCoordinator, now, step: &mut Step| {
                core.markers_written(now, &id, producer, step);
                Box::new(())
            }));
        drop(coordinator.call(told)); // whether it is stored is the coordinator's to know
    }

    /// Waits until no other task has markers of this id on their way. False: the coordinator has
    /// ended meanwhile.
    async fn take_turn(&mut self) -> bool {
        let tasks = Rc::clone(&self.tasks);
        while self.coordinator().is_some() {
            let changed = tasks.changed.listen();
            self.has_turn = tasks.turns.borrow_mut().take(&self.markers.id);
            if self.has_turn {
                return true;
            }
            changed.await;
        }
        false
    }

    fn coordinator(&self) -> Option<Rc<Coordinator>> {
        self.coordinator.upgrade().filter(|running| !running.has_ended())
    }

    /// One try. Returns what is left, or nothing if the coordinator has ended.
    async fn write(&self, mut partitions: Vec<NamedPartition>) -> Option<Vec<NamedPartition>> {
        let mut left = Vec::new();
        while !partitions.is_empty() {
            let rest = partitions.split_off(partitions.len().min(MARKERS_PER_TRY));
            let some = std::mem::replace(&mut partitions, rest);
            let coordinator = self.coordinator()?;
            let (image, epoch) = (coordinator.image(), coordinator.epoch());
            drop(coordinator); // nothing keeps it alive while the disk works
            let located = some.into_iter().filter_map(|at| Some((locate(&image, &at)?, at)));
            let (places, names): (Vec<_>, Vec<_>) = located.unzip();
            let item = |partition| self.item(partition, epoch.0);
            let results = (self.tasks.writer)(places.iter().copied().map(item).collect()).await;
            assert!(results.len() == names.len(), "one result a marker");
            let newest = self.coordinator()?.image();
            for (at, result) in names.into_iter().zip(results) {
                if !self.is_settled(&newest, &at, result) {
                    left.push(at);
                }
            }
        }
        Some(left)
    }

    fn item(&self, partition: TopicPartition, coordinator_epoch: i32) -> MarkerItem {
        let markers = &self.markers;
        MarkerItem {
            partition,
            producer_id: markers.producer.id,
            producer_epoch: markers.producer.epoch,
            outcome: markers.outcome,
            coordinator_epoch,
            version: match markers.version.bumps_epochs() {
                true => TransactionVersion::V2,
                false => TransactionVersion::V1,
            },
        }
    }

    /// Whether nothing is left to do in a partition.
    fn is_settled(&self, image: &MetadataImage, at: &NamedPartition, result: MarkerResult) -> bool {
        match result {
            Ok(()) => true,
            Err(MarkerFailure::NotHere) => locate(image, at).is_none(), // A2
            Err(MarkerFailure::Retriable | MarkerFailure::Offline) => false,
            Err(MarkerFailure::Fenced(error)) => {
                // A later epoch of the producer has ended this transaction there already.
                let (topic, partition) = (at.topic.as_str(), at.partition.0);
                tracing::error!(id = %self.markers.id, topic, partition, ?error, "marker refused");
                true
            }
        }
    }
}

fn locate(image: &MetadataImage, at: &NamedPartition) -> Option<TopicPartition> {
    let topic = image.topic_by_name(at.topic.as_str())?;
    topic.partition(at.partition)?;
    Some(TopicPartition { topic: topic.id, partition: at.partition })
}
