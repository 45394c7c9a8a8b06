//! Executors, mesh, placement, timers, the bridge to the control thread (tier T3).
//!
//! The tier above never names the runtime: it starts shards by [`executor::start`], spawns by
//! [`tasks`], waits by [`timers`] and [`sync`], asks neighbours by [`mesh`] and the control
//! thread by [`bridge`].

pub mod bridge;
pub mod executor;
pub mod mesh;
mod pacer;
pub mod placement;
#[cfg(test)]
mod soak_tests;
pub mod sync;
pub mod tasks;
pub mod threads;
pub mod timers;
