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

use glommio::{Latency, Shares, TaskQueueHandle};

use super::executor::PREEMPT_TIMER;

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
    let task = glommio::spawn_local_into(future, handle(queue)).expect("the queue lives for ever");
    JoinHandle(task.detach())
}

/// Starts `future` in the queue of the running task and runs it at once to its first wait.
///
/// Panics: outside a shard.
pub fn spawn_here<T: 'static>(future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    JoinHandle(glommio::spawn_local(future).detach())
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

/// What this shard has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardLoad {
    /// Microseconds spent running tasks and polling I/O, without sleep and spin.
    pub busy_us: u64,
    /// Tasks polled.
    pub tasks_executed: u64,
    /// Calls handed to the blocking threads.
    pub blocking_calls: u64,
}

/// The running shard's load since its start.
pub fn load() -> ShardLoad {
    let stats = glommio::executor().executor_stats();
    ShardLoad {
        busy_us: u64::try_from(stats.total_runtime().as_micros()).unwrap_or(u64::MAX),
        tasks_executed: stats.tasks_executed(),
        blocking_calls: BLOCKING_CALLS.with(Cell::get),
    }
}
