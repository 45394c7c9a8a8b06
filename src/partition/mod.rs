//! One replica's rules: append, watermarks, epochs, producers (tier T2).
//!
//! Home: pure and synchronous; owned by the partition's shard. State, `now` and an input go
//! in, a decision and effects come out; the driver in `crate::replica` performs them.
//!
//! Not here: bytes of batches (`crate::record`), files (`crate::storage`), who leads
//! (`crate::metadata`).

pub mod epochs;
pub mod isr;
pub mod leader;
mod producer;
pub mod producers;
mod snapshot;
pub mod verification;
pub mod watermark;

#[cfg(test)]
mod simulation;
