//! Listeners, connections, frames, responses (tier T3).
//!
//! The broker implements [`service::Service`]; `listener.rs` accepts on every shard and runs one
//! `connection.rs` a socket. Bytes move by `socket.rs`, requests come in by `reader.rs` and
//! answers leave in order by `writer.rs`.

mod chunk;
mod connection;
pub mod listener;
#[cfg(test)]
mod loopback_tests;
mod reader;
pub mod request_budget;
pub mod service;
mod socket;
mod writer;
