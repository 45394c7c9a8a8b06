//! Fakes for tests: seeded randomness, simulated disk. Named only by tests and benches.

pub mod disk;
pub mod prng;
pub mod run;
pub mod seeds;
