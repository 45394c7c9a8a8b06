//! The coordinators that one shard has.
//!
//! In:   the newest metadata; calls from connections' shards.
//! Out:  a coordinator for every partition of the core's topic whose replica is here.
//! Home: one shard.
//!
//! Invariants
//!   S1  A partition has a slot from the moment its replica is seen until it is gone; while its
//!       log is read the slot says so, and only calls for it wait for nothing.
//!   S2  A coordinator that ended by a failure is loaded anew, after a pause.
//!   S3  Each coordinator that is here when a topic goes is told, as soon as its log has been
//!       read. A crash may keep one from being told.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::group::commit::DeletedTopic;
use crate::metadata::image::MetadataImage;
use crate::model::ids::{PartitionIndex, TopicPartition};
use crate::replica::local::Replica;
use crate::replica::request::{MarkerFailure, MarkerItem};
use crate::replica::table::Replicas;
use crate::shard::sync::OnceReceiver;
use crate::shard::tasks::{self, LocalFuture, Queue};
use crate::shard::timers;

use super::call::{CoordinatorReply, CoordinatorRequest, Unavailable};
use super::core::Core;
use super::load::load;
use super::running::{Ended, Outlet, Running};
use super::topics::deleted_between;

/// Before a log that could not be read, or written, is read again.
const RELOAD_PAUSE: Duration = Duration::from_secs(1);

enum Slot<C: Core> {
    /// The log is being read, by the load of this number; meanwhile these topics went (S3).
    Loading(u64, Vec<DeletedTopic>),
    Running(Rc<Running<C>>),
}

/// The coordinators of a shard that have one kind of core.
pub struct Coordinators<C: Core> {
    topic: &'static str,
    settings: C::Settings,
    replicas: Rc<Replicas>,
    outlet: Outlet<C>,
    slots: RefCell<HashMap<TopicPartition, Slot<C>>>,
    /// The newest metadata.
    image: RefCell<Arc<MetadataImage>>,
    loads: Cell<u64>,
}

impl<C: Core> Coordinators<C> {
    /// None yet; `topic` is the one whose partitions are coordinators, and `outlet` takes what
    /// they ask for beside answers.
    pub fn new(
        topic: &'static str,
        settings: C::Settings,
        replicas: Rc<Replicas>,
        outlet: Outlet<C>,
    ) -> Rc<Coordinators<C>> {
        let (slots, loads) = (RefCell::default(), Cell::new(0));
        let image = RefCell::new(Arc::new(MetadataImage::empty()));
        Rc::new(Coordinators { topic, settings, replicas, outlet, slots, image, loads })
    }

    /// Takes over metadata, after the replicas have: begins coordinators, ends
    /// others, and has them forget topics that are gone.
    pub fn apply(self: &Rc<Self>, image: &Arc<MetadataImage>) {
        let old = self.image.replace(Arc::clone(image));
        let deleted = deleted_between(&old, image);
        let mut here = HashMap::new();
        if let Some(topic) = image.topic_by_name(self.topic) {
            for index in (0..).take(topic.partitions.len()) {
                let at = TopicPartition { topic: topic.id, partition: PartitionIndex(index) };
                here.extend(self.replicas.get(at).map(|replica| (at, replica)));
            }
        }
        self.slots.borrow_mut().retain(|partition, slot| {
            let stays = here.contains_key(partition);
            if let (false, Slot::Running(running)) = (stays, slot) {
                running.end(Unavailable::NotHere);
            }
            stays
        });
        for slot in self.slots.borrow_mut().values_mut() {
            match slot {
                Slot::Loading(_, later) => later.extend_from_slice(&deleted),
                Slot::Running(running) => running.set_image(image, &deleted),
            }
        }
        for (partition, replica) in here {
            if !self.slots.borrow().contains_key(&partition) {
                self.begin(partition, replica);
            }
        }
    }

    /// Ends all of them: what is parked is answered.
    pub fn close(&self) {
        for (_, slot) in self.slots.take() {
            if let Slot::Running(running) = slot {
                running.end(Unavailable::NotHere);
            }
        }
    }

    /// How many have been loaded, and how many are being.
    pub fn counts(&self) -> (usize, usize) {
        let slots = self.slots.borrow();
        let running = slots.values().filter(|slot| matches!(slot, Slot::Running(_))).count();
        (running, slots.len() - running)
    }

    /// What `count` says of each core that has been loaded, added up.
    pub fn sum(&self, count: impl Fn(&C) -> usize) -> usize {
        let of_slot = |slot: &Slot<C>| match slot {
            Slot::Running(running) => count(&running.core().borrow()),
            Slot::Loading(..) => 0,
        };
        self.slots.borrow().values().map(of_slot).sum()
    }

    /// Carries out one call.
    pub fn handle(&self, request: CoordinatorRequest<C>) -> LocalFuture<CoordinatorReply> {
        let answer = match self.slots.borrow().get(&request.partition) {
            Some(Slot::Running(running)) => Ok(running.call(request.call)),
            Some(Slot::Loading(..)) => Err(Unavailable::Loading),
            None => Err(Unavailable::NotHere),
        };
        Box::pin(async move { answer?.await.unwrap_or(Err(Unavailable::NotHere)) })
    }

    /// Writes the end of a transaction into a partition that is one of these coordinators.
    ///
    /// `None`: it is not. Errors: why it is not written; `NotHere` while the log is being read.
    pub fn end_transaction(
        &self,
        item: &MarkerItem,
    ) -> Option<Result<OnceReceiver<CoordinatorReply>, MarkerFailure>> {
        Some(match self.slots.borrow().get(&item.partition)? {
            Slot::Running(running) => running.end_transaction(item),
            // It would reach the log behind what is being read, and the core never.
            Slot::Loading(..) => Err(MarkerFailure::NotHere),
        })
    }

    fn begin(self: &Rc<Self>, partition: TopicPartition, replica: Rc<Replica>) {
        let number = self.loads.get() + 1;
        self.loads.set(number);
        self.slots.borrow_mut().insert(partition, Slot::Loading(number, Vec::new()));
        let this = Rc::clone(self);
        tasks::spawn(Queue::Housekeeping, async move {
            while this.run(partition, &replica, number).await == Ended::Failed {
                timers::sleep(RELOAD_PAUSE).await;
            }
        });
    }

    /// Loads and serves one coordinator. Returns how it ended.
    async fn run(&self, partition: TopicPartition, replica: &Rc<Replica>, number: u64) -> Ended {
        let core: C = match load(replica, self.settings.clone()).await {
            Ok(core) => core,
            Err(error) if self.is_loading(partition, number) => {
                tracing::error!(%error, topic = self.topic, partition = partition.partition.0,
                    "coordinator not loaded");
                return Ended::Failed;
            }
            Err(_) => return Ended::Stopped,
        };
        if !self.is_loading(partition, number) {
            return Ended::Stopped;
        }
        let image = Arc::clone(&self.image.borrow());
        let running = Running::start(Rc::clone(replica), core, image, Rc::clone(&self.outlet));
        let slot = Slot::Running(Rc::clone(&running));
        if let Some(Slot::Loading(_, deleted)) = self.slots.borrow_mut().insert(partition, slot) {
            let image = Arc::clone(&self.image.borrow());
            running.set_image(&image, &deleted);
        }
        let timer = tasks::spawn(Queue::Housekeeping, {
            let running = Rc::clone(&running);
            async move { running.keep_time().await }
        });
        // Clients wait for it; the log was read in its own time.
        let settling = tasks::spawn(Queue::Network, {
            let running = Rc::clone(&running);
            async move { running.settle().await }
        });
        let ended = settling.await;
        let _ = timer.await; // ends with the coordinator
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get_mut(&partition) else { return Ended::Stopped };
        // C2 of `running`; the partition may have gone, or come again, while the timer ended.
        if !matches!(&*slot, Slot::Running(one) if Rc::ptr_eq(one, &running)) {
            return Ended::Stopped;
        }
        *slot = Slot::Loading(number, Vec::new());
        ended
    }

    fn is_loading(&self, partition: TopicPartition, number: u64) -> bool {
        matches!(self.slots.borrow().get(&partition), Some(Slot::Loading(n, _)) if *n == number)
    }
}
