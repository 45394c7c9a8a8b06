//! Coordinators on their shards: cores and their logs introduced to each other (tier T4).
//!
//! Each partition of `__consumer_offsets` coordinates groups, each of `__transaction_state`
//! transactional ids; one driver runs both kinds of `core`. `coordinators` knows which a shard
//! has, `load` reads a log into a core, `running` serves one: appends what its steps persist,
//! and releases what they answer when that is durable. `call` is what travels between shards.
//! `markers` ends transactions in their partitions, `ends` is where that arrives; `transactional`
//! is what transactions do to a coordinator's own partition.
//!
//! Not here: the rules (`crate::group`, `crate::transaction`), who asks (`crate::broker`).

pub mod call;
pub mod coordinators;
pub mod core;
pub mod ends;
pub mod markers;
pub mod running;
pub mod settings;

mod load;
mod topics;
mod transactional;

#[cfg(test)]
mod simulation;
