//! What this shard's cleaner does: counted where it happens, read where it is shown.
//!
//! In:   sizes, durations and states, measured by the caller.
//! Out:  a copy of the counts.
//! Home: one set a thread, and so a shard, like `commits.rs`.

use std::cell::RefCell;

use super::shard::CleanerMetrics;
use crate::model::time::Timestamp;

thread_local! {
    static CLEANER: RefCell<CleanerMetrics> = RefCell::default();
}

/// Counts bytes read and written by compaction.
pub fn moved(read_bytes: u64, written_bytes: u64) {
    CLEANER.with_borrow_mut(|cleaner| {
        cleaner.read_bytes += read_bytes;
        cleaner.written_bytes += written_bytes;
    });
}

/// Notes that the cleaner looked for work at `now`, and how many logs it has given up.
pub fn looked(now: Timestamp, uncleanable: u64) {
    CLEANER.with_borrow_mut(|cleaner| {
        cleaner.last_run_ms = u64::try_from(now.0).unwrap_or(0);
        cleaner.uncleanable_partitions = uncleanable;
    });
}

/// Notes the largest dirty part of a log, 0 to 1, and the longest delay of compaction.
pub fn dirtiest(ratio: f64, delay_ms: u64) {
    CLEANER.with_borrow_mut(|cleaner| {
        cleaner.max_dirty_percent =
            (0..100).filter(|at| f64::from(*at) < ratio * 100.0).count() as u64;
        cleaner.max_compaction_delay_ms = delay_ms;
    });
}

/// Counts one pass over one log, and how full its map of keys was.
pub fn passed(pass_us: u64, map_percent: u64) {
    CLEANER.with_borrow_mut(|cleaner| {
        cleaner.pass_us.record(pass_us);
        cleaner.map_percent = map_percent;
    });
}

/// The counts of this thread.
pub fn counted() -> CleanerMetrics {
    CLEANER.with_borrow(CleanerMetrics::clone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_counted() {
        moved(10, 4);
        moved(1, 1);
        looked(Timestamp(77_000), 2);
        dirtiest(0.5, 9);
        passed(1_000, 40);
        let counted = counted();
        assert_eq!((counted.read_bytes, counted.written_bytes), (11, 5));
        assert_eq!((counted.last_run_ms, counted.uncleanable_partitions), (77_000, 2));
        assert_eq!((counted.max_dirty_percent, counted.max_compaction_delay_ms), (50, 9));
        assert_eq!((counted.pass_us.count(), counted.map_percent), (1, 40));
        for (ratio, percent) in [(0.0, 0), (0.001, 1), (0.999, 100), (1.0, 100)] {
            dirtiest(ratio, 0);
            assert_eq!(super::counted().max_dirty_percent, percent);
        }
    }
}
