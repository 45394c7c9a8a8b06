//! Values of the domain: identifiers, offsets, epochs, times and names.
//!
//! Home: pure; no clock, no randomness, no I/O (tier T1).

pub mod ids;
pub mod offset;
pub mod time;
pub mod topic_name;
