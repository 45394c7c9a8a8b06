//! The rules of groups: membership, generations, committed offsets (tier T2).
//!
//! Home: pure and synchronous; one [`coordinator::GroupCoordinator`] per partition of
//! `__consumer_offsets`, owned by the shard that owns the partition.
//!
//! A request becomes *records and a reply*: the core changes its persisted state only by
//! [`coordinator::GroupCoordinator::replay`], which start-up and service share, hands the same
//! records to the driver in a [`step::Step`], and the driver releases the step's replies once
//! everything appended so far is durable. `JoinGroup` and `SyncGroup` are parked: their reply
//! is an effect of the step that finds it, which may be a later one, or a timer's.
//!
//! Not here: bytes of records (`crate::protocol`), the log, which partition coordinates a
//! group, whether topics exist, error codes (`crate::broker`).

pub mod admin;
pub mod assignor;
pub mod classic;
pub mod codec;
pub mod commit;
pub mod consumer;
pub mod coordinator;
pub mod ids;
pub mod lag;
mod migration;
pub mod offsets;
pub mod record;
pub mod seek;
pub mod settings;
pub mod step;
pub mod subscription;

#[cfg(test)]
mod consumer_tests;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod membership_tests;
#[cfg(test)]
mod migration_tests;
#[cfg(test)]
mod offset_tests;
#[cfg(test)]
mod simulation;
