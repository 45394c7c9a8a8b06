//! Settings: one table of keys, typed results for broker and topics (tier T1).
//!
//! Words come in as text (`yeoul.toml`, `--set k=v`, a CreateTopics request), are held against
//! the table in [`keys`], and leave as [`broker::BrokerConfig`] and [`topic::TopicConfig`].
//!
//! Not here: reading files (`crate::cli` hands the text in), choosing Kafka's error codes.

pub mod groups;
mod kafka_keys;
pub mod keys;
mod own_keys;
pub mod transactions;

pub mod broker_keys;
pub mod group_keys;
pub mod topic_keys;

pub mod error;
pub mod value;

pub mod layers;
pub mod listener;

pub mod broker;
pub mod topic;

pub mod describe;

pub mod process;
