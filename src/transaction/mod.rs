//! The rules of transactions' coordinators: ids, epochs, open transactions (tier T2).
//!
//! Home: pure and synchronous; one [`coordinator::TransactionCoordinator`] per partition of
//! `__transaction_state`, owned by the shard that owns the partition.
//!
//! A request becomes *records and an answer*: the core changes its state by
//! [`coordinator::TransactionCoordinator::replay`], which start-up and service share, and hands
//! the same records to the driver in a [`step::Step`]. The driver releases the answer, and
//! writes the markers that the step asks for, once everything appended so far is durable; when
//! all markers of a transaction are written it says so to the core, which completes it.
//!
//! Not here: bytes of records (`crate::protocol`), the log, which partition coordinates an id,
//! how a marker gets into a partition, error codes (`crate::broker`).
//! Source: KIP-98, KIP-360, KIP-447, KIP-664, KIP-890; `protocol.md` 2.6.

pub mod admin;
pub mod codec;
pub mod coordinator;
pub mod end;
pub mod ids;
pub mod partitions;
pub mod producer;
pub mod record;
pub mod settings;
pub mod state;
pub mod step;

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod rules_tests;
#[cfg(test)]
mod simulation;
