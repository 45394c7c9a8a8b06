//! The durable log of one partition (tier T3).
