//! Plain per-shard counters and histograms, merged on read; exposition (tier T1).
