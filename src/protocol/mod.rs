//! The Kafka wire codec (tier T1).
