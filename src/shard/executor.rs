//! Starts one executor a shard, runs the same body on each, and stops them cleanly.
//!
//! In:   [`ShardSettings`], a body that makes a future from its [`ShardContext`].
//! Out:  [`Shards`] to stop and wait for, [`ControlEnd`] for the control thread.
//! Home: called on the starting thread; bodies run one on each shard.
//!
//! Invariants
//!   X1  A body runs only when every shard's executor is up and every mesh ring connected.
//!   X2  A shard whose body ends or panics stops all: never half a process.
//!   X3  Runtime traps (architecture.md 5): preempt timer 500 us, heartbeat and pacer, lockable
//!       memory sized from the limit, io_uring probed before the runtime asserts on it.
//!
//! Not here: placement and limits (`placement.rs`), what a shard does (`crate::broker`).

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use glommio::{CpuSet, ExecutorJoinHandle, LocalExecutorBuilder, Placement, PoolPlacement};

use super::bridge::{self, Commands, ControlEnd, ControlLink};
use super::mesh::{self, Mesh, MeshSeed};
use super::pacer::{self, Pulse};
use super::placement::{self, Memlock, Place};
use super::sync::Event;
use super::tasks::{self, Queue};
use super::timers;
use crate::model::ids::ShardId;

/// Shards of one process, at most; the mesh has a ring for each ordered pair.
pub const SHARDS_MAX: usize = 128;
/// A task of another queue runs at the latest after this.
pub(super) const PREEMPT_TIMER: Duration = Duration::from_micros(500);
/// The same for the runtime's own queue, where only the start and the end of a shard run. In its
/// first round an executor has nothing that could wake it yet: were it preempted before its first
/// task, because the thread lost its processor for that long, it would sleep for ever (1 of 40
/// starts at 500 us on a busy machine).
const PREEMPT_TIMER_AT_START: Duration = Duration::from_secs(10);
/// Entries of each ring where nothing else is asked for; one is in use for each connection that
/// waits.
const RING_DEPTH: usize = 1_024;
/// Threads a shard for calls that block: the second so that one slow unlink holds up no roll.
const BLOCKING_THREADS: usize = 2;

/// The types that travel on the links of a process's shards.
pub trait Links: 'static {
    /// What a shard asks another.
    type Request: Send + 'static;
    /// What that one answers.
    type Answer: Send + 'static;
    /// What a shard asks the control thread.
    type Call: Send + 'static;
    /// What it answers.
    type CallAnswer: Send + 'static;
    /// What the control thread tells a shard.
    type Command: Send + 'static;
    /// What the shard answers.
    type CommandAnswer: Send + 'static;
}

/// Links that carry nothing, for one shard alone.
#[derive(Clone, Copy, Debug)]
pub struct NoLinks;

impl Links for NoLinks {
    type Request = ();
    type Answer = ();
    type Call = ();
    type CallAnswer = ();
    type Command = ();
    type CommandAnswer = ();
}

/// How many shards, where, and how eager.
#[derive(Clone, Debug, Default)]
pub struct ShardSettings {
    /// Number of shards; `None`: one for each usable processor.
    pub shards: Option<usize>,
    /// Processors to use; `None`: all that the process may.
    pub cpus: Option<Vec<usize>>,
    /// How long an idle shard spins before it sleeps; `None` (the default) never spins. 50 us
    /// cuts an idle round trip by two thirds and costs a core that a client may need. Has no
    /// effect on shards that are not pinned.
    pub spin: Option<Duration>,
    /// Entries of each of a shard's rings; `None`: 1,024.
    pub ring_depth: Option<usize>,
}

/// Why the shards did not start or did not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// `--cpus` is not a list of processors.
    CpuList {
        /// As given.
        list: String,
    },
    /// A processor this process may not use.
    CpuNotUsable {
        /// The one asked for.
        cpu: usize,
        /// Those there are.
        usable: Vec<usize>,
    },
    /// No shards, or more than [`SHARDS_MAX`].
    ShardCount {
        /// As asked for.
        shards: usize,
    },
    /// Too little lockable memory.
    Memlock {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// The kernel refuses io_uring.
    IoUringRefused {
        /// The operating system's error number.
        errno: i32,
    },
    /// The executor of a shard could not be made.
    Executor {
        /// Which one.
        shard: ShardId,
        /// The runtime's words.
        reason: String,
    },
    /// A shard panicked; the panic's message has been printed.
    Panicked {
        /// Which one.
        shard: ShardId,
    },
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::CpuList { list } => {
                write!(f, "'{list}' is no list of processors; write it like 0-3,6")
            }
            Self::CpuNotUsable { cpu, usable } => {
                write!(f, "processor {cpu} is not usable here; usable are {usable:?}")
            }
            Self::ShardCount { shards } => {
                write!(f, "{shards} shards asked for; 1 to {SHARDS_MAX} are possible")
            }
            Self::Memlock { limit_bytes } => write!(
                f,
                "the limit on locked memory is {limit_bytes} bytes and at least {} are needed; \
                 raise it with 'ulimit -l 8192' or LimitMEMLOCK=8M in the service's unit",
                placement::MEMLOCK_BYTES_MIN
            ),
            Self::IoUringRefused { errno } => write!(
                f,
                "the kernel refuses io_uring ({}); {}",
                std::io::Error::from_raw_os_error(*errno),
                io_uring_remedy(*errno)
            ),
            Self::Executor { shard, reason } => {
                write!(f, "shard {} could not start: {reason}", shard.0)
            }
            Self::Panicked { shard } => write!(f, "shard {} panicked", shard.0),
        }
    }
}

impl std::error::Error for StartError {}

fn io_uring_remedy(errno: i32) -> &'static str {
    match errno {
        libc::ENOSYS => "a kernel of 5.8 or later with CONFIG_IO_URING is needed",
        libc::ENOMEM => "raise the limit on locked memory: 'ulimit -l 8192'",
        libc::EMFILE | libc::ENFILE => "raise the limit on open files: 'ulimit -n 65536'",
        _ => {
            "set sysctl kernel.io_uring_disabled=0; in a container, use a seccomp profile that \
             allows io_uring (for Docker: --security-opt seccomp=unconfined)"
        }
    }
}

/// Told when the shards are to end; cheap to clone.
#[derive(Clone, Debug)]
pub struct StopSignal {
    switch: Stopper,
    event: Rc<Event>,
}

impl StopSignal {
    /// Whether the end has been asked for.
    pub fn is_set(&self) -> bool {
        self.switch.is_set()
    }

    /// Waits until it is.
    pub async fn wait(&self) {
        loop {
            let heard = self.event.listen();
            if self.is_set() {
                return;
            }
            heard.await;
        }
    }

    /// Asks all shards to end, this one included.
    pub fn set(&self) {
        self.switch.stop();
        self.event.notify();
    }
}

/// What a shard's body gets.
pub struct ShardContext<L: Links> {
    /// This shard.
    pub shard: ShardId,
    /// How many there are.
    pub shards: usize,
    /// Links to the other shards, and to itself.
    pub mesh: Mesh<L::Request, L::Answer>,
    /// Link to the control thread.
    pub control: ControlLink<L::Call, L::CallAnswer>,
    /// What the control thread sends here.
    pub commands: Commands<L::Command, L::CommandAnswer>,
    /// When to end.
    pub stop: StopSignal,
}

impl<L: Links> std::fmt::Debug for ShardContext<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ShardContext({} of {})", self.shard.0, self.shards)
    }
}

/// Running shards.
pub struct Shards {
    handles: Vec<ExecutorJoinHandle<()>>,
    stop: Stopper,
    /// Where each runs.
    pub places: Vec<Place>,
    /// What was found and done about lockable memory; worth a line at start.
    pub memlock: Memlock,
}

impl std::fmt::Debug for Shards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shards({:?})", self.places)
    }
}

impl Shards {
    /// Asks all shards to end.
    pub fn stop(&self) {
        self.stop.stop();
    }

    /// A switch that asks all shards to end, for other threads.
    pub fn stopper(&self) -> Stopper {
        self.stop.clone()
    }

    /// Waits until all have ended. Errors: the first that panicked.
    pub fn wait(self) -> Result<(), StartError> {
        let mut result = Ok(());
        for (shard, handle) in self.handles.into_iter().enumerate() {
            if handle.join().is_err() && result.is_ok() {
                result = Err(StartError::Panicked { shard: shard_id(shard) });
            }
        }
        // A shard that panicked, or never came up, has not said so itself.
        self.stop.pulses.iter().for_each(|pulse| pulse.end());
        result
    }
}

/// Asks all shards to end; for signal handlers and the control thread.
#[derive(Clone)]
pub struct Stopper {
    requested: Arc<AtomicBool>,
    pulses: Arc<[Arc<Pulse>]>,
}

impl std::fmt::Debug for Stopper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stopper({})", self.is_set())
    }
}

impl Stopper {
    fn new(shards: usize) -> Stopper {
        let pulses = (0..shards).map(|_| Pulse::new()).collect();
        Stopper { requested: Arc::default(), pulses }
    }

    /// Asks, and wakes every shard for it.
    pub fn stop(&self) {
        self.requested.store(true, Ordering::Release);
        self.pulses.iter().for_each(|pulse| pulse.kick());
    }

    fn is_set(&self) -> bool {
        self.requested.load(Ordering::Acquire)
    }
}

fn shard_id(index: usize) -> ShardId {
    ShardId(u16::try_from(index).expect("at most SHARDS_MAX"))
}

/// Whether the kernel lets this process make a ring (X3).
fn probe_io_uring() -> Result<(), StartError> {
    match io_uring::IoUring::new(8) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(StartError::IoUringRefused { errno: error.raw_os_error().unwrap_or(libc::EIO) })
        }
    }
}

fn placement_of(place: &Place) -> Placement {
    match place {
        Place::Pinned(cpu) => Placement::Fixed(*cpu),
        Place::Among(cpus) => match CpuSet::online() {
            Ok(online) => Placement::Fenced(online.filter(|cpu| cpus.contains(&cpu.cpu))),
            Err(_) => Placement::Unbound,
        },
    }
}

/// Stops all when a shard ends for whatever reason (X2), and leaves the shard to itself.
struct StopAtEnd {
    stop: Stopper,
    shard: ShardId,
}

impl Drop for StopAtEnd {
    fn drop(&mut self) {
        self.stop.pulses[self.shard.index()].end();
        self.stop.stop();
    }
}

struct Seed<L: Links> {
    shard: ShardId,
    shards: usize,
    mesh: MeshSeed<L::Request, L::Answer>,
    control: ControlLink<L::Call, L::CallAnswer>,
    commands: Commands<L::Command, L::CommandAnswer>,
    stop: Stopper,
    started: flume::Sender<()>,
}

/// Starts the shards and runs `body` on each; returns once all executors are up.
///
/// Errors: [`StartError`]; then no shard runs.
pub fn start<L, F, Fut>(
    settings: &ShardSettings,
    body: F,
) -> Result<(Shards, ControlEnd<L>), StartError>
where
    L: Links,
    F: Fn(ShardContext<L>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let usable = placement::usable_cpus();
    let places = placement::places(settings.shards, settings.cpus.as_deref(), &usable)?;
    start_at(places, settings, body)
}

fn start_at<L, F, Fut>(
    places: Vec<Place>,
    settings: &ShardSettings,
    body: F,
) -> Result<(Shards, ControlEnd<L>), StartError>
where
    L: Links,
    F: Fn(ShardContext<L>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    probe_io_uring()?;
    let memlock = placement::raise_memlock()?;
    let io_memory = placement::io_memory_bytes(memlock, places.len());

    let stop = Stopper::new(places.len());
    let (control_end, links) = bridge::links::<L>(places.len());
    pacer::start(stop.pulses.to_vec())
        .map_err(|error| StartError::Executor { shard: shard_id(0), reason: error.to_string() })?;
    let mut shards = Shards { handles: Vec::new(), stop, places, memlock };
    let mut starting = Vec::new();
    let seeds = mesh::seeds(shards.places.len()).into_iter().zip(links);
    for (index, (mesh, (control, commands))) in seeds.enumerate() {
        let (started, is_up) = flume::bounded(1);
        let seed = Seed::<L> {
            shard: shard_id(index),
            shards: shards.places.len(),
            mesh,
            control,
            commands,
            stop: shards.stop.clone(),
            started,
        };
        let body = body.clone();
        let builder = builder(&shards.places[index], io_memory, settings);
        match builder.spawn(move || run(seed, body)) {
            Ok(handle) => shards.handles.push(handle),
            Err(error) => return Err(give_up(shards, shard_id(index), error.to_string())),
        }
        starting.push(is_up);
    }
    for (index, is_up) in starting.into_iter().enumerate() {
        if is_up.recv().is_err() {
            let failed = shards.handles.remove(index).join();
            let reason = failed.err().map_or_else(|| "it ended".into(), |error| error.to_string());
            return Err(give_up(shards, shard_id(index), reason));
        }
    }
    Ok((shards, control_end))
}

fn builder(place: &Place, io_memory: usize, settings: &ShardSettings) -> LocalExecutorBuilder {
    let builder = LocalExecutorBuilder::new(placement_of(place))
        .name("shard")
        .io_memory(io_memory)
        .ring_depth(settings.ring_depth.unwrap_or(RING_DEPTH))
        .preempt_timer(PREEMPT_TIMER_AT_START)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(BLOCKING_THREADS));
    match settings.spin {
        Some(spin) => builder.spin_before_park(spin),
        None => builder,
    }
}

/// Ends the shards that came up when one did not.
fn give_up(shards: Shards, shard: ShardId, reason: String) -> StartError {
    shards.stop();
    let _ = shards.wait();
    StartError::Executor { shard, reason }
}

async fn run<L, F, Fut>(seed: Seed<L>, body: F)
where
    L: Links,
    F: Fn(ShardContext<L>) -> Fut,
    Fut: Future<Output = ()> + 'static,
{
    let pulse = Arc::clone(&seed.stop.pulses[seed.shard.index()]);
    let _at_end = StopAtEnd { stop: seed.stop.clone(), shard: seed.shard };
    tasks::create_queues();
    let stop = StopSignal { switch: seed.stop, event: Rc::new(Event::new()) };
    let heard = stop.clone();
    let hear = move || {
        if heard.is_set() {
            heard.event.notify();
        }
    };
    // At every beat, too: an early stop finds nobody to wake.
    let beat = (Arc::clone(&pulse), hear.clone());
    tasks::spawn_service(Queue::Network, pulse.listen(hear));
    tasks::spawn_service(
        Queue::Network,
        timers::heartbeat(move |next| {
            beat.0.beat(next);
            beat.1();
        }),
    );
    // Told before the rings connect: they wait for every other shard to come up.
    let _ = seed.started.send(());
    // If another shard never comes up, the rings never connect; then the stop flag is set.
    let connected = futures_lite::future::or(async { Some(seed.mesh.connect().await) }, async {
        stop.wait().await;
        None
    })
    .await;
    if let Some(mesh) = connected {
        let context = ShardContext {
            shard: seed.shard,
            shards: seed.shards,
            mesh: mesh.clone(),
            control: seed.control,
            commands: seed.commands,
            stop: stop.clone(),
        };
        tasks::spawn(Queue::Network, body(context)).await;
        mesh.close();
    }
    tasks::end_services().await;
}

/// Runs one future on one unpinned shard and returns its result; for tests, benches and tools.
///
/// Errors: [`StartError`].
pub fn run_alone<T, F, Fut>(body: F) -> Result<T, StartError>
where
    T: Send + 'static,
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = T> + 'static,
{
    let (result_sender, result) = flume::bounded(1);
    let body = Arc::new(std::sync::Mutex::new(Some(body)));
    let places = vec![Place::Among(placement::usable_cpus())];
    let settings = ShardSettings::default();
    let (shards, _control) = start_at::<NoLinks, _, _>(places, &settings, move |_context| {
        let body = body.lock().ok().and_then(|mut body| body.take());
        let result_sender = result_sender.clone();
        async move {
            if let Some(body) = body {
                let _ = result_sender.send(body().await);
            }
        }
    })?;
    shards.wait()?;
    result.recv().map_err(|_| StartError::Panicked { shard: ShardId(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_future_runs_alone_and_gives_its_result() {
        let slept = run_alone(|| async {
            let before = timers::now();
            timers::sleep_until(crate::model::time::Micros(before.0 + 2_000)).await;
            let blocked = tasks::spawn_blocking(|| 7).await;
            let elapsed = timers::timeout_at(
                crate::model::time::Micros(timers::now().0 + 5_000),
                std::future::pending::<()>(),
            )
            .await;
            assert_eq!(elapsed, Err(timers::Elapsed));
            (timers::now().since(before), blocked)
        })
        .expect("it runs");
        assert!(slept.0 >= 7_000, "slept {} us", slept.0);
        assert_eq!(slept.1, 7);
    }

    #[test]
    fn a_shard_that_panics_stops_the_others_and_is_named() {
        let settings = ShardSettings { shards: Some(3), ..ShardSettings::default() };
        let (running, _control) = start(&settings, |context: ShardContext<NoLinks>| async move {
            assert_ne!(context.shard, ShardId(1), "planted");
            context.stop.wait().await;
        })
        .expect("the shards start");
        assert_eq!(running.wait(), Err(StartError::Panicked { shard: ShardId(1) }));
    }

    #[test]
    fn every_queue_gets_its_turn_beside_a_busy_one() {
        run_alone(|| async {
            let stop = Rc::new(std::cell::Cell::new(false));
            let busy = Rc::clone(&stop);
            let spinning = tasks::spawn(Queue::Network, async move {
                while !busy.get() {
                    tasks::yield_if_needed().await;
                }
            });
            for queue in [Queue::Fetch, Queue::Housekeeping, Queue::Background] {
                tasks::spawn(queue, async {}).await;
            }
            stop.set(true);
            spinning.await;
        })
        .expect("it runs");
    }
}
