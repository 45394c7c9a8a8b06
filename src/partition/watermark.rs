//! High watermark: how far consumers may read, because every replica in sync holds it.
//!
//! In:   the smallest log end in sync. Out: whether the watermark moved.
//! Home: pure; a part of `leader.rs`.
//!
//! Invariants
//!   W2  Within one leader epoch the watermark never moves back.
//!
//! W2 rests on admission: a replica joins the ISR only once its log end has reached the
//! watermark, so the smallest in-sync log end cannot fall below it when the set grows.
//!
//! Source: KIP-101 and KIP-279 (epochs, not watermarks, decide truncation), KIP-966.

use crate::model::offset::Offset;

/// The high watermark of one leader epoch; exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermark(Offset);

impl Watermark {
    /// A watermark that stands at `offset`.
    pub fn at(offset: Offset) -> Watermark {
        assert!(offset.0 >= 0, "a watermark lies within a log");
        Watermark(offset)
    }

    /// Where it stands.
    pub fn offset(self) -> Offset {
        self.0
    }

    /// Moves on to the smallest in-sync log end; tells whether that was a step.
    pub fn advance(&mut self, in_sync_end_min: Offset) -> bool {
        assert!(self.0 <= in_sync_end_min, "W2");
        let moved = self.0 < in_sync_end_min;
        self.0 = in_sync_end_min;
        moved
    }
}
