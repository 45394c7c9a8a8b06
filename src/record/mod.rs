//! Record batches v2: header, validation, records, compression (tier T1).
//!
//! Home: pure; bytes and rules in, values out. The stored form of a batch is Kafka's own,
//! byte for byte, so what is checked here is what is written, sent and replicated.
//!
//! Not here: offsets and sequences (`crate::partition`), files (`crate::storage`).
//! Source: Kafka's message format, version 2 (`protocol.md` P20-P27).

pub mod batch;
pub mod builder;
pub mod compression;
pub mod control;
pub mod crc;
pub mod records;
pub mod refusal;
pub mod sieve;
pub mod validate;
pub mod varint;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod hostile;
