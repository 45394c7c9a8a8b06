//! Compaction of one log: of each key only the newest record stays (tier T3).
//!
//! `candidate` says what there is to do, `pass` does it segment by segment with `map` (newest
//! offsets by key), `aborted` (transactions that do not count) and `judge` (which records survive); `output`
//! writes what is left, `swap` puts it in the place of what was there, by `manifest`.
//!
//! Source: Kafka's `Cleaner`, `LogCleanerManager`, `SkimpyOffsetMap`; KIP-58, KIP-354, KIP-534.

pub mod candidate;
pub mod pass;

mod aborted;
mod judge;
pub(super) mod manifest;
mod map;
mod output;
pub(super) mod swap;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod model;
#[cfg(test)]
mod model_tests;
