//! The durable log of one partition, on any [`crate::io::directory::Directory`] (tier T3).
//!
//! `log` is the handle and its calls, `plan` and `appender` the writing, `tail` and `reader` the
//! reading, `recovery` the start, `retention`, `truncation` and `closing` what ends records or the
//! log. Rules W1 to W11 are those of the storage page: what is acknowledged is durable, a block is
//! never in two writes, names are synced, a failed write or sync stops the directory.

mod ahead;
mod appender;
pub mod disk_gate;
pub mod log;
pub mod offset_index;
pub mod options;
pub mod reader;
pub mod recovery;
pub mod retention;
pub mod scrub;
pub mod tail;

mod checkpoint;
pub mod checksums;
mod chunks;
mod closing;
pub mod compaction;
mod epochs;
pub mod lookup;
mod names;
mod plan;
mod read_ahead;
mod segment;
mod signal;
mod snapshot;
mod time_index;
pub mod transactions;
mod truncation;
mod two_slots;
pub mod txn_index;
mod walk;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod fixtures;
