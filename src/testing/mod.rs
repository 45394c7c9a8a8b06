//! Fakes for tests: seeded randomness, simulated disk. Named only by tests and benches.

pub mod prng;
pub mod seeds;
