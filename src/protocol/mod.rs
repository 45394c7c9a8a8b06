//! The Kafka wire protocol: bytes to values and back, for requests and responses alike.
//!
//! In:   frames without their length prefix, from `crate::net` or the client.
//! Out:  typed headers and messages; typed errors, never a panic.
//! Home: pure; no clock, no randomness, no I/O (tier T1).
//!
//! `primitives` reads and writes single values, `message` declares whole messages, `messages` holds one
//! file an API, `produce` and `fetch` are the hot paths, `api` is the table of keys and versions, and
//! `records` is what coordinators keep in their topics.
//!
//! Invariants
//!   C1  No length from the wire sizes an allocation before it is checked against the remaining bytes.
//!   C2  A decoder allocates at most what [`primitives::memory_limit`] allows for its input.
//!   C3  Bytes after a body are ignored: real clients send some.
//!
//! Not here: what a request means (`crate::broker`), record batches (`crate::record`).

pub mod api;
pub mod error;
pub mod fetch;
pub mod frame;
pub mod header;
pub mod message;
pub mod messages;
pub mod primitives;
pub mod produce;
pub mod records;
pub mod wire;

#[cfg(test)]
pub(crate) mod golden;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod probe;
