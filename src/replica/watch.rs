//! Readers that wait for bytes: the purgatory of fetches, without polling.
//!
//! In:   watches of fetches that found too little, and the growth of partitions.
//! Out:  one wake a watch: when enough is readable, when a partition goes, or never (the waiter
//!       itself keeps the deadline and drops its [`Watch`]).
//! Home: the owner's shard; a watch hangs in the list of each partition it names.
//!
//! Invariants
//!   P1  A watch fires at most once.
//!   P2  A list holds at most twice as many watches as are alive, plus `SLACK`: dead ones are
//!       swept when it has grown to that, so an idle partition collects no garbage.
//!
//! Not here: the deadline and the read itself (`fetch.rs`).
//! Source: `fetch.min.bytes`, `fetch.max.wait.ms`.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use crate::shard::sync::Event;

/// Dead watches that a list may always hold.
const SLACK: usize = 16;

/// One waiting fetch. Dropping the last handle withdraws it.
#[derive(Debug)]
pub struct Watch {
    missing: Cell<usize>,
    event: Event,
}

impl Watch {
    /// A watch that fires once `bytes` further bytes are readable; `bytes` is 1 or more.
    pub fn new(bytes: usize) -> Rc<Watch> {
        assert!(bytes > 0, "who wants nothing does not wait");
        Rc::new(Watch { missing: Cell::new(bytes), event: Event::new() })
    }

    /// Whether it has fired.
    pub fn fired(&self) -> bool {
        self.missing.get() == 0
    }

    /// Fires it now: a partition it names has gone or changed.
    pub fn fire(&self) {
        self.missing.set(0);
        self.event.notify();
    }

    /// Resolves once it has fired.
    pub async fn wait(&self) {
        while !self.fired() {
            self.event.listen().await;
        }
    }

    /// Counts `bytes` that have become readable.
    fn grow(&self, bytes: usize) {
        let missing = self.missing.get().saturating_sub(bytes);
        self.missing.set(missing);
        if missing == 0 {
            self.event.notify();
        }
    }
}

/// The watches of one partition.
#[derive(Debug, Default)]
pub struct Watchers {
    list: RefCell<Vec<Weak<Watch>>>,
    sweep_at: Cell<usize>,
}

impl Watchers {
    /// Adds a watch.
    pub fn add(&self, watch: &Rc<Watch>) {
        let mut list = self.list.borrow_mut();
        if list.len() >= self.sweep_at.get() {
            list.retain(|watch| watch.upgrade().is_some_and(|watch| !watch.fired()));
            self.sweep_at.set(list.len() * 2 + SLACK);
        }
        list.push(Rc::downgrade(watch));
    }

    /// Tells all that `bytes` more are readable.
    pub fn grow(&self, bytes: usize) {
        let mut list = self.list.borrow_mut();
        list.retain(|watch| match watch.upgrade() {
            Some(watch) => {
                watch.grow(bytes);
                !watch.fired()
            }
            None => false,
        });
    }

    /// Fires all: the partition has gone.
    pub fn fire(&self) {
        for watch in self.list.take() {
            if let Some(watch) = watch.upgrade() {
                watch.fire();
            }
        }
    }

    /// Watches in the list, dead ones included.
    pub fn len(&self) -> usize {
        self.list.borrow().len()
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_fires_once_enough_is_readable_over_several_partitions() {
        let (one, two) = (Watchers::default(), Watchers::default());
        let watch = Watch::new(100);
        one.add(&watch);
        two.add(&watch);
        one.grow(60);
        assert!(!watch.fired());
        two.grow(40);
        assert!(watch.fired());
        assert!(two.is_empty(), "a fired watch leaves the list it fired from");
    }

    #[test]
    fn abandoned_watches_do_not_pile_up() {
        let watchers = Watchers::default();
        for _ in 0..10_000 {
            watchers.add(&Watch::new(1));
        }
        assert!(watchers.len() <= SLACK + 1, "{}", watchers.len());
    }

    #[test]
    fn a_partition_that_goes_fires_its_watches() {
        let watchers = Watchers::default();
        let watch = Watch::new(1 << 20);
        watchers.add(&watch);
        watchers.fire();
        assert!(watch.fired());
    }
}
