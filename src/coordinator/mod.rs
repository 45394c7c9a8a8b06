//! Coordinators of groups on their shards: cores and their logs introduced to each other (tier T4).
//!
//! Each partition of `__consumer_offsets` is a coordinator. `groups` knows which a shard has,
//! `load` reads a log into a core, `running` serves one: appends what its steps persist, and
//! releases what they answer when that is durable. `call` is what travels between shards.
//!
//! Not here: the rules (`crate::group`), who asks (`crate::broker`).

pub mod call;
pub mod groups;
pub mod settings;

mod load;
mod running;
mod topics;
