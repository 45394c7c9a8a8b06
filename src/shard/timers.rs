//! Time on a shard: the two clocks, precise sleeps, and a coarse wheel for deadlines.
//!
//! In:   deadlines of this shard's tasks.
//! Out:  wake-ups; [`now`] and [`wall_clock`], the only reads of a clock in the broker.
//! Home: one wheel and one heartbeat a shard.
//!
//! Invariants
//!   T1  A deadline on the wheel fires at most [`HEARTBEAT`] and one tick late, never early.
//!   T2  Setting and dropping a deadline costs the same however many there are.
//!   T3  While it is not busy, the executor runs a task every [`HEARTBEAT`]: it bounds a wake-up
//!       that the runtime mislays. What it mislays of the heartbeat, `pacer.rs` brings back.
//!
//! Not here: what a deadline means (`crate::replica` purgatory, `crate::net` idle connections).

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use slab::Slab;

use crate::model::time::{Micros, Timestamp};

/// How often the heartbeat task of each shard runs.
pub const HEARTBEAT: Duration = Duration::from_millis(3);

const TICK_US: u64 = 1_000;
const SLOTS: usize = 4_096;
const _: () = assert!(SLOTS.is_power_of_two());

static START: OnceLock<Instant> = OnceLock::new();

/// The monotonic clock all shards share: microseconds since its first use in this process.
#[allow(clippy::disallowed_methods)] // the one place that reads it
pub fn now() -> Micros {
    let start = *START.get_or_init(Instant::now);
    Micros(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX))
}

/// The wall clock, in milliseconds since 1970; may jump.
#[allow(clippy::disallowed_methods)] // the one place that reads it
pub fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Waits for `duration` by the runtime's own timer (tens of microseconds late at best).
pub async fn sleep(duration: Duration) {
    glommio::timer::sleep(duration).await;
}

/// A deadline passed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// The result of `future`, or [`Elapsed`] when `deadline` passes first (T1); for long polls.
///
/// On `Elapsed` the future is dropped.
pub async fn timeout_at<F: Future>(deadline: Micros, future: F) -> Result<F::Output, Elapsed> {
    let mut timer = Deadline::new(deadline);
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(move |context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(&mut timer).poll(context).map(|()| Err(Elapsed))
    })
    .await
}

/// Waits until `deadline` by the coarse wheel (T1): cheap, late by a few milliseconds.
pub async fn sleep_until(deadline: Micros) {
    Deadline::new(deadline).await;
}

struct Entry {
    tick: u64,
    slot: usize,
    place: usize,
    fired: bool,
    waker: Option<Waker>,
}

struct Wheel {
    /// All ticks below it have been fired.
    tick_next: u64,
    slots: Vec<Vec<usize>>,
    entries: Slab<Entry>,
}

impl Wheel {
    fn new() -> Wheel {
        Wheel { tick_next: 0, slots: vec![Vec::new(); SLOTS], entries: Slab::new() }
    }

    fn slot_of(tick: u64) -> usize {
        usize::try_from(tick % SLOTS as u64).expect("below the number of slots")
    }

    fn insert(&mut self, deadline: Micros, waker: Waker) -> usize {
        // Rounded up, and never into a tick already swept.
        let tick = deadline.0.div_ceil(TICK_US).max(self.tick_next);
        let slot = Self::slot_of(tick);
        let place = self.slots[slot].len();
        let key =
            self.entries.insert(Entry { tick, slot, place, fired: false, waker: Some(waker) });
        self.slots[slot].push(key);
        key
    }

    fn remove(&mut self, key: usize) {
        let entry = self.entries.remove(key);
        if !entry.fired {
            self.unlink(entry.slot, entry.place);
        }
    }

    fn unlink(&mut self, slot: usize, place: usize) {
        self.slots[slot].swap_remove(place);
        if let Some(&moved) = self.slots[slot].get(place) {
            self.entries[moved].place = place;
        }
    }

    /// Fires what is due at `now` into `due`.
    fn advance(&mut self, now: Micros, due: &mut Vec<Waker>) {
        let tick_now = now.0 / TICK_US;
        if tick_now < self.tick_next {
            return;
        }
        // One turn of the wheel sees every entry, however long the shard was away.
        let ticks = (tick_now - self.tick_next + 1).min(SLOTS as u64);
        for tick in tick_now + 1 - ticks..=tick_now {
            let slot = Self::slot_of(tick);
            let mut place = 0;
            while let Some(&key) = self.slots[slot].get(place) {
                if self.entries[key].tick > tick_now {
                    place += 1;
                    continue;
                }
                self.unlink(slot, place);
                let entry = &mut self.entries[key];
                entry.fired = true;
                due.extend(entry.waker.take());
            }
        }
        self.tick_next = tick_now + 1;
    }
}

thread_local! {
    static WHEEL: RefCell<Wheel> = RefCell::new(Wheel::new());
    static BEATS: Cell<u64> = const { Cell::new(0) };
}

/// A future of a deadline on this shard's wheel.
#[derive(Debug)]
pub struct Deadline {
    at: Micros,
    key: Option<usize>,
}

impl Deadline {
    /// Resolves when the shard's clock reaches `at`.
    pub fn new(at: Micros) -> Deadline {
        Deadline { at, key: None }
    }
}

impl Future for Deadline {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Some(key) = self.key {
            return WHEEL.with(|wheel| {
                let entry = &mut wheel.borrow_mut().entries[key];
                if entry.fired {
                    return Poll::Ready(());
                }
                entry.waker = Some(context.waker().clone());
                Poll::Pending
            });
        }
        if self.at <= now() {
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        self.key = Some(WHEEL.with(|wheel| wheel.borrow_mut().insert(self.at, waker)));
        Poll::Pending
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            // The wheel may be gone when the thread ends; then so is the entry.
            let _ = WHEEL.try_with(|wheel| wheel.borrow_mut().remove(key));
        }
    }
}

/// Runs for ever: turns the wheel (T1) and keeps the executor awake (T3). `at_beat` is called
/// each time.
pub(super) async fn heartbeat(at_beat: impl Fn()) {
    let mut due = Vec::new();
    loop {
        sleep(HEARTBEAT).await;
        BEATS.with(|beats| beats.set(beats.get() + 1));
        WHEEL.with(|wheel| wheel.borrow_mut().advance(now(), &mut due));
        for waker in due.drain(..) {
            waker.wake();
        }
        at_beat();
    }
}

/// Heartbeats of this shard since its start.
pub fn beats() -> u64 {
    BEATS.with(Cell::get)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::prng::Prng;
    use crate::testing::seeds::seeds;

    #[test]
    fn the_wheel_agrees_with_a_sorted_list() {
        for seed in seeds(100) {
            let mut prng = Prng::new(seed.0);
            let mut wheel = Wheel::new();
            let mut model: Vec<(usize, u64)> = Vec::new();
            let mut now_us = 0;
            for _ in 0..300 {
                match prng.below(3) {
                    0 => {
                        let at = now_us + prng.below(12_000_000);
                        let key = wheel.insert(Micros(at), Waker::noop().clone());
                        model.push((key, at));
                    }
                    1 if !model.is_empty() => {
                        let (key, _) = model.swap_remove(prng.index(model.len()));
                        wheel.remove(key);
                    }
                    _ => {
                        let step_max = if prng.chance(5) { 20_000_000 } else { 50_000 };
                        now_us += prng.below(step_max);
                        let mut due = Vec::new();
                        wheel.advance(Micros(now_us), &mut due);
                        let fired: Vec<_> =
                            model.iter().filter(|(key, _)| wheel.entries[*key].fired).collect();
                        assert_eq!(fired.len(), due.len());
                        assert!(fired.iter().all(|(_, at)| *at <= now_us), "T1: early");
                        model.retain(|(key, at)| {
                            let fired = wheel.entries[*key].fired;
                            assert!(fired || now_us < at + TICK_US, "T1: late");
                            if fired {
                                wheel.remove(*key);
                            }
                            !fired
                        });
                    }
                }
                assert_eq!(wheel.slots.iter().map(Vec::len).sum::<usize>(), model.len());
            }
        }
    }

    #[test]
    fn the_clock_moves_forward() {
        let earlier = now();
        assert!(earlier <= now());
        assert!(wall_clock() > Timestamp(1_600_000_000_000));
    }
}
