//! How this shard's runtime fares: counted where it happens, read where it is shown.
//!
//! In:   durations, measured by the caller.
//! Out:  a copy of the counts.
//! Home: one set a thread, and so a shard, like `commits.rs`.

use std::cell::RefCell;

use super::shard::ReactorMetrics;

thread_local! {
    static REACTOR: RefCell<ReactorMetrics> = RefCell::default();
}

/// Counts a message of another shard, from its sending there to its arrival here.
pub fn hopped(hop_us: u64) {
    REACTOR.with_borrow_mut(|reactor| reactor.hop_us.record(hop_us));
}

/// Counts one poll of a task that kept the others waiting.
pub fn stalled(stall_us: u64) {
    REACTOR.with_borrow_mut(|reactor| reactor.stall_us.record(stall_us));
}

/// The counts of this thread; what the runtime counts itself is not in it.
pub fn counted() -> ReactorMetrics {
    REACTOR.with_borrow(ReactorMetrics::clone)
}
