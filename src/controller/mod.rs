//! The metadata quorum, its files, and the publishing of images (tier T4, control thread).
//!
//! A [`driver::Controller`] takes commands one batch at a time, has `crate::metadata` decide
//! them, proposes the records to a [`quorum::Quorum`] and answers once the entry is durable,
//! applied and published. The quorum is openraft ([`raft`]) over our own log
//! (`log_file`, `log_store`) and snapshots (`snapshot_file`, `state_machine`); one broker
//! is a quorum of one and runs the same code as many.
//!
//! [`data_directory`] is what makes a directory ours: its marker and its lock.

pub mod data_directory;
pub mod driver;
mod log_file;
mod log_store;
pub mod publisher;
pub mod quorum;
pub mod raft;
pub mod random_id;
mod snapshot_file;
mod state_machine;
