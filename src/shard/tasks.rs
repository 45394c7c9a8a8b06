//! Tasks of a shard: four queues with shares, spawning, yielding, blocking calls.
//!
//! In:   futures of this shard; closures that block.
//! Out:  their results.
//! Home: one set of queues a shard, made by `executor.rs` before the body runs.
//!
//! Invariants
//!   K1  A queue with work gets processor time in proportion to its shares, however busy the
//!       others are.
//!   K2  A call that may block runs on the shard's blocking threads, never on the shard.
//!
//! Not here: timers (`timers.rs`), waiting (`sync.rs`).

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use glommio::{Latency, Shares, TaskQueueHandle};

use super::executor::PREEMPT_TIMER;
use super::timers;
use crate::metrics::reactor;
use crate::metrics::shard::ReactorMetrics;

/// Boxed future of one shard.
pub type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// Which kind of work a task is; each kind has its own queue and shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Connections, produce, everything a client waits for. 1,000 shares.
    Network,
    /// Reads for consumers that are behind. 500 shares.
    Fetch,
    /// Timers' work, retention, checkpoints. 200 shares.
    Housekeeping,
    /// What may take its time: recovery, compaction, deletion. 100 shares.
    Background,
}

impl Queue {
    const ALL: [Queue; 4] = [Self::Network, Self::Fetch, Self::Housekeeping, Self::Background];

    fn index(self) -> usize {
        match self {
            Self::Network => 0,
            Self::Fetch => 1,
            Self::Housekeeping => 2,
            Self::Background => 3,
        }
    }

    fn shares(self) -> usize {
        match self {
            Self::Network => 1_000,
            Self::Fetch => 500,
            Self::Housekeeping => 200,
            Self::Background => 100,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Fetch => "fetch",
            Self::Housekeeping => "housekeeping",
            Self::Background => "background",
        }
    }
}

thread_local! {
    static SERVICES: RefCell<Vec<JoinHandle<()>>> = const { RefCell::new(Vec::new()) };
    static QUEUES: RefCell<Option<[TaskQueueHandle; 4]>> = const { RefCell::new(None) };
    static BLOCKING_CALLS: Cell<u64> = const { Cell::new(0) };
    static TOTALS: Cell<(Duration, u64)> = const { Cell::new((Duration::ZERO, 0)) };
}

/// Makes this shard's queues; called once, inside its executor, before anything is spawned.
pub(super) fn create_queues() {
    let handles = Queue::ALL.map(|queue| {
        glommio::executor().create_task_queue(
            Shares::Static(queue.shares()),
            Latency::Matters(PREEMPT_TIMER),
            queue.name(),
        )
    });
    QUEUES.with(|queues| *queues.borrow_mut() = Some(handles));
}

fn handle(queue: Queue) -> TaskQueueHandle {
    QUEUES.with(|queues| queues.borrow().expect("spawned outside a shard")[queue.index()])
}

/// A spawned task; awaiting it gives its result, dropping it lets it run on.
pub struct JoinHandle<T>(glommio::task::JoinHandle<T>);

impl<T> JoinHandle<T> {
    /// Stops the task at its next await; its future is dropped.
    pub fn cancel(self) {
        self.0.cancel();
    }
}

impl<T> std::fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JoinHandle")
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // `None` would mean cancelled or panicked: the handle is consumed by `cancel`, and a
        // panic takes the shard down.
        Pin::new(&mut self.0).poll(context).map(|output| output.expect("the task ran to its end"))
    }
}

/// Starts `future` as a task of this shard in `queue`; it runs on when the handle is dropped.
///
/// Panics: outside a shard.
pub fn spawn<T: 'static>(queue: Queue, future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    let task = glommio::spawn_local_into(watched(future), handle(queue));
    let task = task.expect("the queue lives for ever");
    JoinHandle(task.detach())
}

/// `future`, each of its polls timed: one longer than a time slice is counted as a stall.
///
/// A second look at the clock is taken only when the time slice is over or something has arrived.
async fn watched<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(move |context| {
        let began = timers::now();
        let polled = future.as_mut().poll(context);
        if glommio::executor().need_preempt() {
            let took_us = timers::now().since(began);
            if u128::from(took_us) > PREEMPT_TIMER.as_micros() {
                reactor::stalled(took_us);
            }
        }
        polled
    })
    .await
}

/// Starts `future` in the queue of the running task and runs it at once to its first wait.
///
/// Panics: outside a shard.
pub fn spawn_here<T: 'static>(future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    JoinHandle(glommio::spawn_local(watched(future)).detach())
}

/// Starts a task that serves until the shard ends, and drops its future then.
///
/// The runtime leaks tasks that still wait when an executor ends; one that holds an end of a
/// channel must let it go, or the other end waits for ever. Panics: outside a shard.
pub fn spawn_service(queue: Queue, future: impl Future<Output = ()> + 'static) {
    let handle = spawn(queue, future);
    SERVICES.with(|services| services.borrow_mut().push(handle));
}

/// Ends the services of this shard and waits until their futures are dropped.
pub(super) async fn end_services() {
    let services = SERVICES.with(|services| std::mem::take(&mut *services.borrow_mut()));
    for service in services {
        service.0.cancel();
        service.0.await;
    }
}

/// Lets others run if this task's time slice is over; for loops over partitions or batches.
pub async fn yield_if_needed() {
    glommio::yield_if_needed().await;
}

/// Lets every other runnable task of this queue run once.
pub async fn yield_now() {
    glommio::executor().yield_now().await;
}

/// Runs a call that may block on one of the shard's blocking threads (K2).
///
/// At most 4,096 calls wait; beyond that the caller waits.
pub async fn spawn_blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    BLOCKING_CALLS.with(|calls| calls.set(calls.get() + 1));
    glommio::executor().spawn_blocking(call).await
}

/// Time in tasks and tasks polled, since the shard started.
///
/// The runtime forgets what it has told, so this is the only place that asks it.
pub(super) fn totals() -> (Duration, u64) {
    let stats = glommio::executor().executor_stats();
    let (busy, polls) = TOTALS.get();
    TOTALS.set((busy + stats.total_runtime(), polls + stats.tasks_executed()));
    TOTALS.get()
}

/// The running shard's counts since its start, but for what [`threads`](super::threads) knows.
pub fn load() -> ReactorMetrics {
    let (busy, polls) = totals();
    ReactorMetrics {
        busy_us: u64::try_from(busy.as_micros()).unwrap_or(u64::MAX),
        polls,
        heartbeats: timers::beats(),
        blocking_calls: BLOCKING_CALLS.get(),
        ..reactor::counted()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // a task that holds its shard up is what is tested
mod tests {
    use super::*;
    use crate::shard::executor::run_alone;

    #[test]
    fn what_a_shard_does_is_counted_and_a_stall_with_its_length() {
        let counted = run_alone(|| async {
            spawn(Queue::Network, async { std::thread::sleep(Duration::from_micros(50)) }).await;
            load();
            let before = load();
            spawn(Queue::Network, async { std::thread::sleep(Duration::from_millis(20)) }).await;
            spawn_blocking(|| ()).await;
            timers::sleep(Duration::from_millis(20)).await;
            (before, load())
        });
        let (before, after) = counted.expect("it runs");
        assert!(after.stall_us.count() > before.stall_us.count());
        assert!(after.stall_us.max() >= 19_000, "{} us", after.stall_us.max());
        assert!(after.busy_us >= before.busy_us + 19_000);
        assert!(after.polls > before.polls && after.heartbeats > before.heartbeats);
        assert_eq!(after.blocking_calls, before.blocking_calls + 1);
    }
}
