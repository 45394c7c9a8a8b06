//! What this shard's logs write and sync: counted where it happens, read where it is shown.
//!
//! In:   durations and sizes, measured by the caller.
//! Out:  a copy of the counts.
//! Home: one set a thread, and so a shard: files and logs need no handle for it.

use std::cell::RefCell;

use super::shard::CommitMetrics;

thread_local! {
    static COMMITS: RefCell<CommitMetrics> = RefCell::default();
}

/// Counts a write that was not synced by itself.
pub fn wrote(write_us: u64) {
    COMMITS.with_borrow_mut(|commits| commits.write_us.record(write_us));
}

/// Counts a sync, or a write that is synced by itself; `bytes` is what it wrote.
pub fn synced(sync_us: u64, bytes: u64) {
    COMMITS.with_borrow_mut(|commits| {
        commits.sync_us.record(sync_us);
        commits.bytes_a_sync.record(bytes);
    });
}

/// Counts the record batches that became durable together.
pub fn committed(batches: u64) {
    COMMITS.with_borrow_mut(|commits| commits.batches_a_sync.record(batches));
}

/// Counts a failed write or sync.
pub fn failed() {
    COMMITS.with_borrow_mut(|commits| commits.failures += 1);
}

/// The counts of this thread.
pub fn counted() -> CommitMetrics {
    COMMITS.with_borrow(CommitMetrics::clone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_counted_on_its_own_thread() {
        wrote(10);
        synced(200, 4_096);
        committed(3);
        failed();
        let here = counted();
        assert_eq!((here.write_us.count(), here.sync_us.count(), here.failures), (1, 1, 1));
        let there = std::thread::spawn(|| counted().sync_us.count()).join().unwrap();
        assert_eq!(there, 0);
    }
}
