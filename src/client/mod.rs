//! A small Kafka client for cli, load and tests (tier T5).
//!
//! Blocking, over `std::net`, for one thread that has nothing else to do. Assigned partitions,
//! no groups. Sees values and codecs alone, so that it can test any broker.

pub mod error;

pub mod cluster;
pub mod connection;

pub mod admin;
pub mod groups;
pub mod offsets;

pub mod partitioner;
pub mod producer;

pub mod consumer;

pub mod http;
