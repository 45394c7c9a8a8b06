//! Waiting within one shard, under any executor: a repeated event, and a lock held across await.
//!
//! In:   `notify` and releases, by tasks of the same shard.
//! Out:  wake-ups.
//! Home: one shard; nothing here is `Send`.
//!
//! Invariants
//!   G1  A [`Listen`] made before a `notify` resolves, whether it was polled before or not.
//!   G2  At most one [`Held`] of a [`Gate`] exists.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Something that happens again and again.
#[derive(Debug, Default)]
pub(super) struct Signal {
    generation: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Signal {
    /// Wakes all who listen.
    pub(super) fn notify(&self) {
        self.generation.set(self.generation.get().wrapping_add(1));
        // Taken out first: a waker may run code that listens again.
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        for waker in waiting {
            waker.wake();
        }
    }

    /// Resolves at the next `notify` after this call: listen, look at the condition, then await.
    pub(super) fn listen(&self) -> Listen<'_> {
        Listen { signal: self, generation: self.generation.get() }
    }

    /// Asks for one wake-up of the task behind `context` at the next `notify`.
    pub(super) fn register(&self, context: &Context<'_>) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
    }
}

/// Waits for one notification.
#[derive(Debug)]
pub(super) struct Listen<'a> {
    signal: &'a Signal,
    generation: u64,
}

impl Future for Listen<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.signal.generation.get() != self.generation {
            return Poll::Ready(());
        }
        self.signal.register(context);
        Poll::Pending
    }
}

/// A lock whose holder may await.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate {
    shared: Rc<GateShared>,
}

#[derive(Debug, Default)]
struct GateShared {
    held: Cell<bool>,
    released: Signal,
}

/// The lock is held as long as this lives.
#[derive(Debug)]
pub(super) struct Held {
    shared: Rc<GateShared>,
}

impl Gate {
    /// Waits until no one holds it, then holds it.
    pub(super) async fn enter(&self) -> Held {
        loop {
            let released = self.shared.released.listen();
            if !self.shared.held.replace(true) {
                return Held { shared: self.shared.clone() };
            }
            released.await;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.held.set(false);
        self.shared.released.notify();
    }
}
