//! One thread that looks after the heartbeats of all shards, and wakes a shard that lost its own.
//!
//! In:   when each shard's heart is to beat next, as it said at the last beat.
//! Out:  a wake-up from outside for a shard whose beat is overdue.
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
//!   P1  A shard that sleeps with a runnable task and missed its beat is woken within 5 ms and
//!       the longest nap of any shard, two [`PACE`]s when none is idle, and again until it beats.
//!   P2  At most [`KICKS_MAX`] wake-ups wait in a shard: the runtime counts a task's wakers in
//!       16 bits. A shard that is busy for so long gets no more until it beats.
//!
//! Not here: the heartbeat itself (`timers.rs`).

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::timers;
use crate::model::time::Micros;

/// How often the pacer looks, unless no beat is due before.
pub const PACE: Duration = Duration::from_millis(5);
/// How late a beat may be.
const GRACE_US: u64 = 5_000;
/// How soon it looks again at a shard that it had to wake, the first time: the same may happen to
/// that wake-up. Later more seldom, up to [`PACE`]: the shard may just wait for a processor.
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
    /// When the next beat is due, in microseconds of the shards' clock.
    due_us: AtomicU64,
    /// Locked by the shard at its start and its end, and by who asks it to end.
    target: Mutex<Target>,
}

impl Pulse {
    pub(super) fn new() -> Arc<Pulse> {
        Arc::new(Pulse {
            beats: AtomicU64::new(0),
            due_us: AtomicU64::new(0),
            target: Mutex::new(Target::Starting),
        })
    }

    /// The shard's executor has run a task just now, and is to run one at `next` again.
    pub(super) fn beat(&self, next: Micros) {
        self.due_us.store(next.0, Ordering::Relaxed);
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Wakes the shard's [`Pulse::listen`], from any thread.
    pub(super) fn kick(&self) {
        let target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        if let Target::Running(waker) = &*target {
            waker.wake_by_ref();
        }
    }

    fn set(&self, target: Target) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }

    /// Is the task that is woken from outside; for ever. `at_wake` is called each time.
    pub(super) async fn listen(self: Arc<Pulse>, at_wake: impl Fn()) {
        let mut listens = false;
        poll_fn(|context| {
            if !std::mem::replace(&mut listens, true) {
                self.set(Target::Running(context.waker().clone()));
            }
            timers::note_timekeeping();
            self.beats.fetch_add(1, Ordering::Relaxed);
            at_wake();
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
    /// When a look at this shard is worth it: its next beat is overdue then.
    fn overdue_us(&self) -> u64 {
        self.pulse.due_us.load(Ordering::Relaxed) + GRACE_US
    }

    /// Looks once; false when the shard has ended.
    fn look(&mut self, now: Micros) -> bool {
        let beats = self.pulse.beats.load(Ordering::Relaxed);
        if beats != self.beats {
            self.beats = beats;
            self.kicks = 0;
        }
        if now.0 < self.overdue_us() {
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
            std::thread::sleep(pause(&watched, timers::now()));
            let now = timers::now();
            watched.retain_mut(|watched| watched.look(now));
        }
    };
    std::thread::Builder::new().name("pacer".into()).spawn(pace).map(drop)
}

/// How long the pacer sleeps: while all shards nap, as long as they do.
fn pause(watched: &[Watched], now: Micros) -> Duration {
    let kicks = watched.iter().map(|watched| watched.kicks).filter(|&kicks| kicks > 0).min();
    if let Some(kicks) = kicks {
        return PACE_AFTER_KICK.saturating_mul(u32::try_from(kicks).unwrap_or(u32::MAX)).min(PACE);
    }
    let overdue_us = watched.iter().map(Watched::overdue_us).min().unwrap_or(0);
    Duration::from_micros(overdue_us.saturating_sub(now.0)).max(PACE)
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
    fn only_a_shard_whose_beat_is_overdue_is_woken_and_not_for_ever() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let pulse = Pulse::new();
        let mut watched = Watched { pulse: Arc::clone(&pulse), beats: 0, kicks: 0 };
        let late = Micros(64_000 + GRACE_US);
        assert!(watched.look(late), "a shard that starts is left alone");
        pulse.set(Target::Running(Waker::from(Arc::clone(&count))));
        pulse.beat(Micros(64_000));
        for now in [0, 3_000, 64_000, late.0 - 1] {
            assert!(watched.look(Micros(now)));
        }
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        for _ in 0..KICKS_MAX + 10 {
            assert!(watched.look(late));
        }
        let kicks = u64::try_from(count.0.load(Ordering::Relaxed)).expect("few");
        assert_eq!(kicks, KICKS_MAX, "P2");
        pulse.beat(Micros(late.0 + 3_000));
        assert!(watched.look(late));
        assert!(watched.look(Micros(late.0 + 3_000 + GRACE_US)));
        assert_eq!(count.0.load(Ordering::Relaxed) as u64, KICKS_MAX + 1);
        pulse.end();
        assert!(!watched.look(Micros(u64::MAX)));
    }

    #[test]
    fn the_pacer_sleeps_as_long_as_the_shards_and_looks_again_soon_after_a_kick() {
        let pulse = Pulse::new();
        pulse.beat(Micros(70_000));
        let mut watched = vec![Watched { pulse: Arc::clone(&pulse), beats: 1, kicks: 0 }];
        assert_eq!(pause(&watched, Micros(6_000)), Duration::from_millis(69));
        assert_eq!(pause(&watched, Micros(74_000)), PACE);
        for (kicks, expected) in [(1, PACE_AFTER_KICK), (3, PACE_AFTER_KICK * 3), (9, PACE)] {
            watched[0].kicks = kicks;
            assert_eq!(pause(&watched, Micros(6_000)), expected);
        }
    }
}
