//! Replicas of this shard: cores and logs introduced to each other (tier T4).
