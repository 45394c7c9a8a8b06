//! What this shard's scrubber reads and finds: counted where it happens, read where it is shown.
//!
//! In:   sizes, from the scrubber.
//! Out:  a copy of the counts.
//! Home: one set a thread, and so a shard, like `commits.rs`.

use std::cell::RefCell;

use super::shard::ScrubMetrics;

thread_local! {
    static SCRUBBER: RefCell<ScrubMetrics> = RefCell::default();
}

/// Counts bytes read; the segment's last, or not.
pub fn read(bytes: u64, is_last: bool) {
    SCRUBBER.with_borrow_mut(|scrub| {
        scrub.read_bytes += bytes;
        scrub.segments += u64::from(is_last);
    });
}

/// Counts a damaged range.
pub fn found() {
    SCRUBBER.with_borrow_mut(|scrub| scrub.damaged_ranges += 1);
}

/// The counts of this thread.
pub fn counted() -> ScrubMetrics {
    SCRUBBER.with_borrow(ScrubMetrics::clone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_counted() {
        read(10, false);
        read(5, true);
        found();
        assert_eq!(counted(), ScrubMetrics { read_bytes: 15, segments: 1, damaged_ranges: 1 });
    }
}
