//! Limits of the whole broker, each with its unit in its name.
//!
//! A limit that only one module knows stands in that module; here stand those that two or
//! more agree on, with the relations between them proved at compile time.

/// Unit of direct I/O: positions, lengths and memory of log writes are multiples of it.
pub const BLOCK_BYTES: usize = 4096;

const _: () = assert!(BLOCK_BYTES.is_power_of_two());
