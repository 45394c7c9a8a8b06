//! How far zeros are written ahead of the data, so that a small durable write touches only extents
//! that count as written and waits for no metadata (W5).
//!
//! In:   the sizes of the log's writes.
//! Out:  a window in bytes; 0: none.
//! Home: one shard.
//!
//! Invariants
//!   B1  A log that has not just shown several small writes writes no zeros: an idle partition and
//!       one that streams pay nothing, neither space on the device nor traffic.
//!   B2  The window doubles with each use, so that what is written ahead stays in proportion to
//!       what has been written.
//!
//! A pool of retired segments to write over is left out: zeros must be written over them all the
//! same, or the Kafka CRC takes an old batch for a new one (W8).
//!
//! Source: `storage.md` 4.3, `performance.md` 6.2.

/// A write of at most so many bytes is small: its metadata would cost more than its bytes.
pub(super) const SMALL_WRITE_BYTES_MAX: usize = 128 << 10;
/// So many writes of the other kind in a row change what is done.
const RUN_WRITES: u32 = 4;
const WINDOW_BYTES_MIN: u64 = 64 << 10;
const WINDOW_BYTES_MAX: u64 = 4 << 20;

/// What the writes so far ask for.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Writes in a row of the kind that is not served now.
    against: u32,
    window: u64,
}

impl Ahead {
    /// Notes a write of `bytes`.
    pub(super) fn note(&mut self, bytes: usize) {
        let (small, on) = (bytes <= SMALL_WRITE_BYTES_MAX, self.window > 0);
        if small == on {
            self.against = 0;
            return;
        }
        self.against += 1;
        if self.against >= RUN_WRITES {
            self.against = 0;
            self.window = if on { 0 } else { WINDOW_BYTES_MIN };
        }
    }

    /// Bytes that should be ready ahead of the data; 0: none (B1).
    pub(super) fn window(&self) -> u64 {
        self.window
    }

    /// Notes that zeros are being written (B2).
    pub(super) fn used(&mut self) {
        self.window = (self.window * 2).min(WINDOW_BYTES_MAX);
    }

    /// Writes none until small writes are seen again.
    pub(super) fn stop(&mut self) {
        *self = Ahead::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_small_writes_begin_it_and_a_few_large_ones_end_it() {
        let mut ahead = Ahead::default();
        for _ in 0..3 {
            ahead.note(16 << 10);
            assert_eq!(ahead.window(), 0);
        }
        ahead.note(1 << 20);
        ahead.note(100);
        assert_eq!(ahead.window(), 0, "not in a row");
        for _ in 0..3 {
            ahead.note(16 << 10);
        }
        assert_eq!(ahead.window(), WINDOW_BYTES_MIN);
        for _ in 0..3 {
            ahead.note(1 << 20);
        }
        ahead.note(1);
        assert_eq!(ahead.window(), WINDOW_BYTES_MIN, "not in a row");
        for _ in 0..4 {
            ahead.note(1 << 20);
        }
        assert_eq!(ahead.window(), 0);
    }

    #[test]
    fn the_window_doubles_up_to_its_bound() {
        let mut ahead = Ahead::default();
        for _ in 0..4 {
            ahead.note(1);
        }
        let mut seen = Vec::new();
        for _ in 0..9 {
            seen.push(ahead.window() >> 10);
            ahead.used();
        }
        assert_eq!(seen, [64, 128, 256, 512, 1_024, 2_048, 4_096, 4_096, 4_096]);
        ahead.stop();
        assert_eq!(ahead.window(), 0);
    }
}
