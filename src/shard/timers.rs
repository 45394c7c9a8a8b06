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
//!   T4  A shard on which nothing happens naps twice as long each time, up to [`NAP_MAX`]: what is
//!       mislaid then is late by one nap, and so by no longer than the shard had been idle.
//!
//! Not here: what a deadline means (`crate::replica` purgatory, `crate::net` idle connections).

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use slab::Slab;

use super::tasks;
use crate::model::time::{Micros, Timestamp};

/// How often the heartbeat task of a shard runs on which something happens.
pub const HEARTBEAT: Duration = Duration::from_millis(3);
/// Longest time between two heartbeats, on a shard that is idle.
pub const NAP_MAX: Duration = Duration::from_millis(64);

const TICK_US: u64 = 1_000;
const HEARTBEAT_US: u64 = 3_000;
const NAP_MAX_US: u64 = 64_000;
const _: () = assert!(HEARTBEAT_US as u128 == HEARTBEAT.as_micros());
const _: () = assert!(NAP_MAX_US as u128 == NAP_MAX.as_micros());
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

    /// The first tick before `tick_end` at which a deadline is due.
    fn next_due(&self, tick_end: u64) -> Option<u64> {
        (self.tick_next..tick_end).find(|&tick| {
            self.slots[Self::slot_of(tick)].iter().any(|&key| self.entries[key].tick == tick)
        })
    }
}

thread_local! {
    static WHEEL: RefCell<Wheel> = RefCell::new(Wheel::new());
    static NAP: RefCell<Nap> = const { RefCell::new(Nap::new()) };
}

/// How long the heartbeat sleeps, and what cuts it short.
struct Nap {
    beats: u64,
    length_us: u64,
    /// When the heartbeat runs again.
    until: Micros,
    /// Tasks that the runtime had run at the last beat.
    tasks: u64,
    /// Those of them since the beat before that only kept time: the heartbeat's own, and those that
    /// it woke.
    timekeeping: u64,
    sleeper: Option<Waker>,
    cut_short: bool,
}

impl Nap {
    const fn new() -> Nap {
        Nap {
            beats: 0,
            length_us: HEARTBEAT_US,
            until: Micros(0),
            tasks: 0,
            timekeeping: 0,
            sleeper: None,
            cut_short: false,
        }
    }

    /// Chooses the length of the next nap (T4); `tasks` is the runtime's count.
    fn choose(&mut self, tasks: u64) {
        let happened = tasks - self.tasks > self.timekeeping;
        self.length_us = if happened { HEARTBEAT_US } else { (self.length_us * 2).min(NAP_MAX_US) };
        self.tasks = tasks;
        self.timekeeping = 1;
    }

    /// A task set a deadline: is the heartbeat there in time?
    fn hear_of(&mut self, deadline: Micros) {
        if deadline < self.until && !self.cut_short && self.length_us > HEARTBEAT_US {
            self.cut_short = true;
            if let Some(sleeper) = &self.sleeper {
                sleeper.wake_by_ref();
            }
        }
    }
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
        NAP.with_borrow_mut(|nap| nap.hear_of(self.at));
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

/// Runs for ever: turns the wheel (T1) and keeps the executor awake (T3, T4).
///
/// `at_beat` is called each time, with the moment of the next beat.
pub(super) async fn heartbeat(at_beat: impl Fn(Micros)) {
    let mut due = Vec::new();
    loop {
        nap().await;
        WHEEL.with_borrow_mut(|wheel| wheel.advance(now(), &mut due));
        let fired = due.len() as u64;
        for waker in due.drain(..) {
            waker.wake();
        }
        let (_, tasks) = tasks::totals();
        let now = now();
        let until = NAP.with_borrow_mut(|nap| {
            nap.beats += 1;
            nap.choose(tasks);
            nap.timekeeping += fired;
            let end = Micros(now.0 + nap.length_us);
            let next = WHEEL.with_borrow(|wheel| wheel.next_due(end.0 / TICK_US));
            let next_us = next.map_or(end.0, |tick| tick * TICK_US);
            nap.until = Micros(next_us.clamp(now.0 + HEARTBEAT_US, end.0));
            nap.until
        });
        at_beat(until);
    }
}

/// Sleeps as long as was chosen, or until a deadline cuts it short.
async fn nap() {
    let length_us = NAP.with_borrow(|nap| nap.until.0.saturating_sub(now().0));
    let mut timer = glommio::timer::Timer::new(Duration::from_micros(length_us));
    std::future::poll_fn(move |context| {
        let cut_short = NAP.with_borrow_mut(|nap| {
            nap.sleeper = Some(context.waker().clone());
            std::mem::take(&mut nap.cut_short)
        });
        if cut_short {
            return Poll::Ready(());
        }
        Pin::new(&mut timer).poll(context).map(drop)
    })
    .await;
}

/// A task that `pacer.rs` woke keeps time, too.
pub(super) fn note_timekeeping() {
    NAP.with_borrow_mut(|nap| nap.timekeeping += 1);
}

/// Heartbeats of this shard since its start.
pub fn beats() -> u64 {
    NAP.with_borrow(|nap| nap.beats)
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
    fn an_idle_shard_naps_longer_and_work_or_a_deadline_ends_that() {
        let mut nap = Nap::new();
        nap.choose(10);
        assert_eq!(nap.length_us, HEARTBEAT_US, "the start is work");
        let lengths: Vec<u64> = (11..=17)
            .map(|tasks| {
                nap.choose(tasks); // each beat is a task itself
                nap.length_us
            })
            .collect();
        assert_eq!(lengths, [6_000, 12_000, 24_000, 48_000, 64_000, 64_000, 64_000]);
        nap.timekeeping += 2;
        nap.choose(20);
        assert_eq!(nap.length_us, NAP_MAX_US, "what the wheel woke is no work");
        nap.until = Micros(100_000);
        nap.hear_of(Micros(100_000));
        assert!(!nap.cut_short, "in time");
        nap.hear_of(Micros(99_999));
        assert!(nap.cut_short);
        nap.choose(22);
        assert_eq!(nap.length_us, HEARTBEAT_US, "work");
    }

    #[test]
    fn a_deadline_set_on_an_idle_shard_is_kept() {
        let late_us = crate::shard::executor::run_alone(|| async {
            sleep(Duration::from_millis(400)).await; // naps of full length by now
            let at = Micros(now().0 + 5_000);
            sleep_until(at).await;
            let late_us = now().since(at);
            let beats_before = beats();
            sleep(Duration::from_millis(640)).await;
            (late_us, beats() - beats_before)
        });
        let (late_us, beats) = late_us.expect("it runs");
        assert!(late_us < NAP_MAX_US / 2, "{late_us} us late");
        assert!(beats < 40, "{beats} beats of an idle shard in 640 ms");
    }

    #[test]
    fn the_next_deadline_is_found_and_one_of_a_later_turn_is_not() {
        let mut wheel = Wheel::new();
        wheel.advance(Micros(10_000), &mut Vec::new());
        wheel.insert(Micros(20_000 + TICK_US * SLOTS as u64), Waker::noop().clone());
        assert_eq!(wheel.next_due(60), None);
        wheel.insert(Micros(30_000), Waker::noop().clone());
        assert_eq!((wheel.next_due(60), wheel.next_due(30)), (Some(30), None));
    }

    #[test]
    fn the_clock_moves_forward() {
        let earlier = now();
        assert!(earlier <= now());
        assert!(wall_clock() > Timestamp(1_600_000_000_000));
    }
}
