//! Plain per-shard counters and histograms, merged on read; exposition (tier T1).
//!
//! A shard owns its [`shard::ShardMetrics`] and adds to it without atomics; the control thread
//! asks for a clone once a scrape, merges, and prints with [`exposition`]. No clock is read here:
//! durations are handed in.

pub mod cleaning;
pub mod commits;
pub mod distribution;
pub mod group_lag;
pub mod reactor;
pub mod scrubbing;
pub mod shard;

pub mod exposition;
