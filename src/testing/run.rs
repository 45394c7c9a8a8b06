//! An executor for simulations: one thread, the order of everything drawn from a seed.
//!
//! In:   futures that wait on nothing but each other and a [`Disk`].
//! Out:  the main future's value, or that the disk crashed first.
//! Home: the test's thread.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::testing::disk::Disk;
use crate::testing::prng::Prng;

/// The disk reached its crash point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crashed;

struct Ready(AtomicBool);

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    ready: Arc<Ready>,
}

/// Tasks and the disk they use.
pub struct Executor {
    disk: Disk,
    prng: Prng,
    tasks: Vec<Task>,
}

impl Executor {
    /// An executor without tasks.
    pub fn new(disk: &Disk, seed: u64) -> Executor {
        Executor { disk: disk.clone(), prng: Prng::new(seed), tasks: Vec::new() }
    }

    /// Adds a task that runs whenever [`Executor::block_on`] does.
    pub fn spawn(&mut self, future: impl Future<Output = ()> + 'static) {
        let ready = Arc::new(Ready(AtomicBool::new(true)));
        self.tasks.push(Task { future: Box::pin(future), ready });
    }

    /// Runs `main` to its end beside the tasks. Errors: [`Crashed`].
    ///
    /// Panics: if nothing can go on, a lost wake-up or a deadlock.
    pub fn block_on<T>(&mut self, main: impl Future<Output = T>) -> Result<T, Crashed> {
        let mut main = std::pin::pin!(main);
        let main_ready = Arc::new(Ready(AtomicBool::new(true)));
        loop {
            if self.disk.crashed() {
                return Err(Crashed);
            }
            let mut ready: Vec<usize> = (0..self.tasks.len())
                .filter(|at| self.tasks[*at].ready.0.load(Ordering::Relaxed))
                .collect();
            if main_ready.0.load(Ordering::Relaxed) {
                ready.push(usize::MAX);
            }
            let disk_first = ready.is_empty() || self.prng.chance(30);
            if disk_first && self.disk.finish_one() {
                continue;
            }
            assert!(!ready.is_empty(), "nothing can go on: a wake-up was lost");
            let at = ready[self.prng.index(ready.len())];
            if at == usize::MAX {
                main_ready.0.store(false, Ordering::Relaxed);
                let waker = Waker::from(main_ready.clone());
                if let Poll::Ready(value) = main.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return if self.disk.crashed() { Err(Crashed) } else { Ok(value) };
                }
            } else {
                self.poll_task(at);
            }
        }
    }

    /// Runs the tasks until all of them wait for something that is not the disk.
    pub fn finish(&mut self) {
        loop {
            let ready = |task: &Task| task.ready.0.load(Ordering::Relaxed);
            match self.tasks.iter().position(ready) {
                Some(at) => self.poll_task(at),
                None if self.disk.finish_one() => {}
                None => return,
            }
        }
    }

    fn poll_task(&mut self, at: usize) {
        let task = &mut self.tasks[at];
        task.ready.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(task.ready.clone());
        if task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            drop(self.tasks.swap_remove(at));
        }
    }
}
