//! What tasks of one shard wait on: events, one answer, a bounded queue, a budget.
//!
//! In:   tasks of one shard; nothing here is `Send`, so nothing is atomic.
//! Out:  wake-ups in the order of waiting.
//! Home: the shard that made it.
//!
//! Invariants
//!   Y1  [`Event::listen`] resolves for every `notify` after its call, awaited or not.
//!   Y2  [`Budget`] grants in the order of asking; a large request is not overtaken for ever.
//!   Y3  The sum of a budget's permits and what is available is its capacity.
//!
//! Not here: links between shards (`mesh.rs`) and to other threads (`bridge.rs`).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use slab::Slab;

/// Something that happens again and again; wakes all who listen.
#[derive(Debug, Default)]
pub struct Event {
    generation: Cell<u64>,
    waiting: RefCell<Slab<Waker>>,
}

impl Event {
    /// An event nobody listens to yet.
    pub fn new() -> Event {
        Event::default()
    }

    /// Wakes all that called `listen` before.
    pub fn notify(&self) {
        self.generation.set(self.generation.get().wrapping_add(1));
        // Taken out first: a waker may run code that listens again.
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        for (_, waker) in waiting {
            waker.wake();
        }
    }

    /// A future that resolves at the next `notify` after this call (Y1).
    ///
    /// To wait for a condition: call it, look at the condition, then await it.
    pub fn listen(&self) -> Listen<'_> {
        Listen { event: self, generation: self.generation.get(), key: None }
    }
}

/// Waits for one notification of an [`Event`].
#[derive(Debug)]
pub struct Listen<'event> {
    event: &'event Event,
    generation: u64,
    key: Option<usize>,
}

impl Future for Listen<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.event.generation.get() != self.generation {
            return Poll::Ready(());
        }
        let mut waiting = self.event.waiting.borrow_mut();
        match self.key {
            Some(key) => waiting[key].clone_from(context.waker()),
            None => {
                let key = waiting.insert(context.waker().clone());
                drop(waiting);
                self.key = Some(key);
            }
        }
        Poll::Pending
    }
}

impl Drop for Listen<'_> {
    fn drop(&mut self) {
        // After a notification the key names nothing of ours any more.
        if let Some(key) = self.key
            && self.event.generation.get() == self.generation
        {
            self.event.waiting.borrow_mut().remove(key);
        }
    }
}

#[derive(Debug)]
struct Once<T> {
    value: Option<T>,
    waker: Option<Waker>,
    closed: bool,
}

/// The giving end of [`oneshot`].
#[derive(Debug)]
pub struct OnceSender<T>(Rc<RefCell<Once<T>>>);

/// The waiting end of [`oneshot`]: a future of the value, or [`Closed`].
#[derive(Debug)]
pub struct OnceReceiver<T>(Rc<RefCell<Once<T>>>);

/// The other end is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the other end is gone")
    }
}

impl std::error::Error for Closed {}

/// A channel for one value between two tasks of a shard.
pub fn oneshot<T>() -> (OnceSender<T>, OnceReceiver<T>) {
    let shared = Rc::new(RefCell::new(Once { value: None, waker: None, closed: false }));
    (OnceSender(Rc::clone(&shared)), OnceReceiver(shared))
}

impl<T> OnceSender<T> {
    /// Gives the value. Errors: the value back when nobody waits any more.
    pub fn send(self, value: T) -> Result<(), T> {
        if self.is_closed() {
            return Err(value);
        }
        self.0.borrow_mut().value = Some(value);
        Ok(()) // the drop of `self` wakes
    }

    /// Whether the waiting end is gone.
    pub fn is_closed(&self) -> bool {
        Rc::strong_count(&self.0) == 1
    }
}

impl<T> Drop for OnceSender<T> {
    fn drop(&mut self) {
        let waker = {
            let mut once = self.0.borrow_mut();
            once.closed = true;
            once.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> OnceReceiver<T> {
    /// The value if it is there already.
    pub fn try_take(&self) -> Option<T> {
        self.0.borrow_mut().value.take()
    }
}

impl<T> Future for OnceReceiver<T> {
    type Output = Result<T, Closed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, Closed>> {
        let mut once = self.0.borrow_mut();
        if let Some(value) = once.value.take() {
            return Poll::Ready(Ok(value));
        }
        if once.closed {
            return Poll::Ready(Err(Closed));
        }
        once.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

#[derive(Debug)]
struct Waiter {
    want: u64,
    granted: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Debug)]
struct BudgetState {
    capacity: u64,
    available: Cell<u64>,
    waiters: RefCell<VecDeque<Rc<Waiter>>>,
}

impl BudgetState {
    fn release(&self, units: u64) {
        self.available.set(self.available.get() + units);
        assert!(self.available.get() <= self.capacity, "Y3");
        self.grant();
    }

    /// Serves waiters from the front while there is enough (Y2).
    fn grant(&self) {
        loop {
            let waiter = {
                let mut waiters = self.waiters.borrow_mut();
                match waiters.front() {
                    Some(front) if front.want <= self.available.get() => waiters.pop_front(),
                    _ => None,
                }
            };
            let Some(waiter) = waiter else { return };
            self.available.set(self.available.get() - waiter.want);
            waiter.granted.set(true);
            if let Some(waker) = waiter.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }
}

/// A number of units (bytes, places) lent out by RAII permits, in the order of asking.
#[derive(Clone, Debug)]
pub struct Budget(Rc<BudgetState>);

impl Budget {
    /// A budget of `capacity` units, all available; `capacity` is above 0.
    pub fn new(capacity: u64) -> Budget {
        assert!(capacity > 0, "a budget of nothing grants nothing");
        Budget(Rc::new(BudgetState {
            capacity,
            available: Cell::new(capacity),
            waiters: RefCell::new(VecDeque::new()),
        }))
    }

    /// Waits for `units`; more than the capacity counts as the capacity, so that one too-large
    /// request passes alone instead of never.
    pub fn acquire(&self, units: u64) -> Acquire {
        let want = units.min(self.0.capacity);
        Acquire { state: Rc::clone(&self.0), want, waiter: None, done: false }
    }

    /// `units` at once, or `None` if they are not there or somebody waits already.
    pub fn try_acquire(&self, units: u64) -> Option<Permit> {
        let want = units.min(self.0.capacity);
        if !self.0.waiters.borrow().is_empty() || self.0.available.get() < want {
            return None;
        }
        self.0.available.set(self.0.available.get() - want);
        Some(Permit { state: Rc::clone(&self.0), units: want })
    }

    /// Units not lent out.
    pub fn available(&self) -> u64 {
        self.0.available.get()
    }

    /// Units in all.
    pub fn capacity(&self) -> u64 {
        self.0.capacity
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.0.waiters.borrow().len()
    }
}

/// Waits for a permit; dropping it gives up the place in the line.
#[derive(Debug)]
pub struct Acquire {
    state: Rc<BudgetState>,
    want: u64,
    waiter: Option<Rc<Waiter>>,
    done: bool,
}

impl Future for Acquire {
    type Output = Permit;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Permit> {
        assert!(!self.done, "polled after completion");
        let granted = match &self.waiter {
            Some(waiter) if waiter.granted.get() => true,
            Some(waiter) => {
                *waiter.waker.borrow_mut() = Some(context.waker().clone());
                false
            }
            None => {
                let waiter = Rc::new(Waiter {
                    want: self.want,
                    granted: Cell::new(false),
                    waker: RefCell::new(None),
                });
                self.state.waiters.borrow_mut().push_back(Rc::clone(&waiter));
                self.state.grant();
                let granted = waiter.granted.get();
                *waiter.waker.borrow_mut() = Some(context.waker().clone());
                self.waiter = Some(waiter);
                granted
            }
        };
        if !granted {
            return Poll::Pending;
        }
        self.done = true;
        Poll::Ready(Permit { state: Rc::clone(&self.state), units: self.want })
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter.take() else { return };
        if self.done {
            return;
        }
        if waiter.granted.get() {
            self.state.release(self.want);
        } else {
            self.state.waiters.borrow_mut().retain(|other| !Rc::ptr_eq(other, &waiter));
            self.state.grant();
        }
    }
}

/// Units of a [`Budget`]; given back on drop.
#[derive(Debug)]
pub struct Permit {
    state: Rc<BudgetState>,
    units: u64,
}

impl Permit {
    /// Units held.
    pub fn units(&self) -> u64 {
        self.units
    }

    /// Gives back all but `units`; asking for more than is held changes nothing.
    pub fn shrink_to(&mut self, units: u64) {
        if units < self.units {
            let surplus = self.units - units;
            self.units = units;
            self.state.release(surplus);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.units > 0 {
            self.state.release(self.units);
        }
    }
}

#[derive(Debug)]
struct QueueState<T> {
    items: RefCell<VecDeque<(T, Permit)>>,
    readable: Event,
    senders: Cell<usize>,
    receiver: Cell<bool>,
}

/// The pushing end of a [`queue`]; may be cloned.
#[derive(Debug)]
pub struct QueueSender<T> {
    state: Rc<QueueState<T>>,
    room: Budget,
}

/// The popping end of a [`queue`].
#[derive(Debug)]
pub struct QueueReceiver<T>(Rc<QueueState<T>>);

/// A first-in first-out queue of at most `items_max` items between tasks of a shard; when it is
/// full, `push` waits in order and `try_push` refuses.
pub fn queue<T>(items_max: usize) -> (QueueSender<T>, QueueReceiver<T>) {
    let state = Rc::new(QueueState {
        items: RefCell::new(VecDeque::new()),
        readable: Event::new(),
        senders: Cell::new(1),
        receiver: Cell::new(true),
    });
    let room = Budget::new(items_max as u64);
    (QueueSender { state: Rc::clone(&state), room }, QueueReceiver(state))
}

impl<T> QueueSender<T> {
    /// Adds an item, waiting for room. Errors: the item back when the receiver is gone.
    pub async fn push(&self, item: T) -> Result<(), T> {
        let permit = self.room.acquire(1).await;
        self.add(item, permit)
    }

    /// Adds an item now. Errors: the item back when the queue is full or the receiver gone.
    pub fn try_push(&self, item: T) -> Result<(), T> {
        match self.room.try_acquire(1) {
            Some(permit) => self.add(item, permit),
            None => Err(item),
        }
    }

    fn add(&self, item: T, permit: Permit) -> Result<(), T> {
        if !self.state.receiver.get() {
            return Err(item);
        }
        self.state.items.borrow_mut().push_back((item, permit));
        self.state.readable.notify();
        Ok(())
    }
}

impl<T> Clone for QueueSender<T> {
    fn clone(&self) -> Self {
        self.state.senders.set(self.state.senders.get() + 1);
        QueueSender { state: Rc::clone(&self.state), room: self.room.clone() }
    }
}

impl<T> Drop for QueueSender<T> {
    fn drop(&mut self) {
        self.state.senders.set(self.state.senders.get() - 1);
        self.state.readable.notify();
    }
}

impl<T> QueueReceiver<T> {
    /// The oldest item, waiting for one; `None` when it is empty and all senders are gone.
    pub async fn pop(&self) -> Option<T> {
        loop {
            let readable = self.0.readable.listen();
            if let Some(item) = self.try_pop() {
                return Some(item);
            }
            if self.0.senders.get() == 0 {
                return None;
            }
            readable.await;
        }
    }

    /// The oldest item if there is one.
    pub fn try_pop(&self) -> Option<T> {
        let popped = self.0.items.borrow_mut().pop_front();
        popped.map(|(item, _permit)| item)
    }
}

impl<T> Drop for QueueReceiver<T> {
    fn drop(&mut self) {
        self.0.receiver.set(false);
        // Outside the borrow: the items' permits wake senders, which then see the receiver gone.
        let items = std::mem::take(&mut *self.0.items.borrow_mut());
        drop(items);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::prng::Prng;
    use crate::testing::seeds::seeds;

    fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_notification_between_listen_and_await_is_not_lost() {
        let event = Event::new();
        let mut before = event.listen();
        event.notify();
        let mut after = event.listen();
        assert!(poll(&mut before).is_ready());
        assert!(poll(&mut after).is_pending());
        drop(after);
        assert!(event.waiting.borrow().is_empty(), "a dropped listener leaves its place");
    }

    #[test]
    fn a_listener_dropped_after_the_notification_removes_nobody_else() {
        let event = Event::new();
        let mut old = event.listen();
        assert!(poll(&mut old).is_pending());
        event.notify();
        let mut new = event.listen();
        assert!(poll(&mut new).is_pending());
        drop(old);
        assert_eq!(event.waiting.borrow().len(), 1);
    }

    #[test]
    fn one_value_passes_once_and_a_dropped_end_is_seen() {
        let (sender, mut receiver) = oneshot();
        assert!(poll(&mut receiver).is_pending());
        assert_eq!(sender.send(7), Ok(()));
        assert_eq!(poll(&mut receiver), Poll::Ready(Ok(7)));
        let (sender, mut receiver) = oneshot::<u8>();
        drop(sender);
        assert_eq!(poll(&mut receiver), Poll::Ready(Err(Closed)));
        let (sender, receiver) = oneshot();
        drop(receiver);
        assert_eq!(sender.send(7), Err(7));
    }

    #[test]
    fn a_budget_grants_in_order_and_a_large_request_is_not_overtaken() {
        let budget = Budget::new(10);
        let held = budget.try_acquire(6).expect("room");
        let mut large = budget.acquire(9);
        let mut small = budget.acquire(1);
        assert!(poll(&mut large).is_pending());
        assert!(poll(&mut small).is_pending());
        assert!(budget.try_acquire(1).is_none(), "the line is kept");
        drop(held);
        let Poll::Ready(large) = poll(&mut large) else { panic!("granted") };
        assert_eq!(large.units(), 9);
        assert!(poll(&mut small).is_ready());
    }

    #[test]
    fn more_than_all_counts_as_all() {
        let budget = Budget::new(10);
        let Poll::Ready(mut permit) = poll(&mut budget.acquire(1_000)) else { panic!("granted") };
        assert_eq!(permit.units(), 10);
        permit.shrink_to(3);
        assert_eq!(budget.available(), 7);
    }

    #[test]
    fn units_are_never_lost_under_random_cancellation() {
        for seed in seeds(200) {
            let mut prng = Prng::new(seed.0);
            let budget = Budget::new(20);
            let mut waiting: Vec<Acquire> = Vec::new();
            let mut held: Vec<Permit> = Vec::new();
            for _ in 0..200 {
                match prng.below(4) {
                    0 => waiting.push(budget.acquire(prng.below(25))),
                    1 if !waiting.is_empty() => {
                        let index = prng.index(waiting.len());
                        if let Poll::Ready(permit) = poll(&mut waiting[index]) {
                            waiting.swap_remove(index);
                            held.push(permit);
                        }
                    }
                    2 if !waiting.is_empty() => {
                        let index = prng.index(waiting.len());
                        waiting.swap_remove(index);
                    }
                    _ if !held.is_empty() => {
                        let index = prng.index(held.len());
                        held.swap_remove(index);
                    }
                    _ => {}
                }
            }
            waiting.clear();
            held.clear();
            assert_eq!(budget.available(), 20);
            assert_eq!(budget.waiting(), 0);
        }
    }

    #[test]
    fn a_full_queue_refuses_and_waits_in_order() {
        let (sender, receiver) = queue(1);
        assert_eq!(sender.try_push(1), Ok(()));
        assert_eq!(sender.try_push(2), Err(2));
        let mut second = Box::pin(sender.push(2));
        assert!(poll(&mut second).is_pending());
        assert_eq!(receiver.try_pop(), Some(1));
        assert_eq!(poll(&mut second), Poll::Ready(Ok(())));
        drop(second);
        drop(sender);
        assert_eq!(poll(&mut Box::pin(receiver.pop())), Poll::Ready(Some(2)));
        assert_eq!(poll(&mut Box::pin(receiver.pop())), Poll::Ready(None));
    }
}
