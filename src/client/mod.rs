//! A small Kafka client for cli, load and tests (tier T5).
