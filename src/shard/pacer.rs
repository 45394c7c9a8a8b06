//! One thread that looks after the heartbeats of all shards, and wakes a shard that lost its own.
//!
//! In:   each shard's count of heartbeats.
//! Out:  a wake-up from outside for a shard that has not beaten since the last look.
//! Home: a thread of its own; it holds no shard's state but a waker.
//!
//! The runtime parks while a task is runnable when it is preempted before the first task of a
//! round. A heartbeat by timer bounds that only while its timer stands. Seen in a test of the
//! net, on a busy machine: the timer fires and makes the heartbeat's task runnable; the thread
//! loses its processor for longer than the preempt timer; the round ends before its first task;
//! no timer is left, and the shard sleeps until a client happens to send something. So the last
//! word comes from outside, where no round can swallow it.
//!
//! Invariants
//!   P1  A shard that sleeps with a runnable task is woken within two [`PACE`]s, again and again
//!       until it beats.
//!   P2  At most [`KICKS_MAX`] wake-ups wait in a shard: the runtime counts a task's wakers in
//!       16 bits. A shard that is busy for so long gets no more until it beats.
//!
//! Not here: the heartbeat itself (`timers.rs`).

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

/// How often the pacer looks.
pub const PACE: Duration = Duration::from_millis(5);
/// How soon it looks again at a shard that it had to wake: the same may happen to that wake-up.
const PACE_AFTER_KICK: Duration = Duration::from_millis(1);
/// Wake-ups on their way to one shard.
const KICKS_MAX: u64 = 10_000;

enum Target {
    /// The shard has not come so far.
    Starting,
    /// Wakes a task of it.
    Running(Waker),
    /// The shard has ended.
    Ended,
}

/// What a shard and the pacer share.
pub(super) struct Pulse {
    beats: AtomicU64,
    /// Locked by the shard at its start and its end only.
    target: Mutex<Target>,
}

impl Pulse {
    pub(super) fn new() -> Arc<Pulse> {
        Arc::new(Pulse { beats: AtomicU64::new(0), target: Mutex::new(Target::Starting) })
    }

    /// The shard's executor has run a task just now.
    pub(super) fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    fn set(&self, target: Target) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }

    /// Is the task that the pacer wakes; for ever.
    pub(super) async fn listen(self: Arc<Pulse>) {
        poll_fn(|context| {
            if self.beats.load(Ordering::Relaxed) == 0 {
                self.set(Target::Running(context.waker().clone()));
            }
            self.beat();
            Poll::<()>::Pending
        })
        .await;
    }

    /// The shard ends: from now on nothing wakes it.
    pub(super) fn end(&self) {
        self.set(Target::Ended);
    }
}

struct Watched {
    pulse: Arc<Pulse>,
    beats: u64,
    kicks: u64,
}

impl Watched {
    /// Looks once; false when the shard has ended.
    fn look(&mut self) -> bool {
        let beats = self.pulse.beats.load(Ordering::Relaxed);
        if beats != self.beats {
            self.beats = beats;
            self.kicks = 0;
            return true;
        }
        match &*self.pulse.target.lock().unwrap_or_else(PoisonError::into_inner) {
            Target::Starting => {}
            Target::Running(waker) if self.kicks < KICKS_MAX => {
                self.kicks += 1;
                waker.wake_by_ref();
            }
            Target::Running(_) => {}
            Target::Ended => return false,
        }
        true
    }
}

/// Starts the pacer of these shards; it ends when they all have. Errors: no thread can be made.
#[allow(clippy::disallowed_methods)] // a thread of its own, which may sleep
pub(super) fn start(pulses: Vec<Arc<Pulse>>) -> std::io::Result<()> {
    let mut watched: Vec<Watched> =
        pulses.into_iter().map(|pulse| Watched { pulse, beats: 0, kicks: 0 }).collect();
    let pace = move || {
        while !watched.is_empty() {
            let kicked = watched.iter().any(|watched| watched.kicks > 0);
            std::thread::sleep(if kicked { PACE_AFTER_KICK } else { PACE });
            watched.retain_mut(Watched::look);
        }
    };
    std::thread::Builder::new().name("pacer".into()).spawn(pace).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_a_shard_that_has_not_beaten_is_woken_and_not_for_ever() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let pulse = Pulse::new();
        let mut watched = Watched { pulse: Arc::clone(&pulse), beats: 0, kicks: 0 };
        assert!(watched.look(), "a shard that starts is left alone");
        pulse.set(Target::Running(Waker::from(Arc::clone(&count))));
        for _ in 0..5 {
            pulse.beat();
            assert!(watched.look());
        }
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        for _ in 0..KICKS_MAX + 10 {
            assert!(watched.look());
        }
        let kicks = u64::try_from(count.0.load(Ordering::Relaxed)).expect("few");
        assert_eq!(kicks, KICKS_MAX, "P2");
        pulse.beat();
        assert!(watched.look());
        assert!(watched.look());
        assert_eq!(count.0.load(Ordering::Relaxed) as u64, KICKS_MAX + 1);
        pulse.end();
        assert!(!watched.look());
    }
}
