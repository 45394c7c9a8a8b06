#![doc = include_str!("ARCHITECTURE.md")]

pub mod admin;
pub mod broker;
pub mod cli;
pub mod client;
pub mod config;
pub mod constants;
pub mod controller;
pub mod coordinator;
pub mod fatal;
pub mod group;
pub mod io;
pub mod metadata;
pub mod metrics;
pub mod model;
pub mod net;
pub mod partition;
pub mod protocol;
pub mod record;
pub mod replica;
pub mod shard;
pub mod storage;
#[doc(hidden)]
pub mod testing;
pub mod transaction;
