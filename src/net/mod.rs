//! Listeners, connections, frames, responses (tier T3).
//!
//! The broker implements [`service::Service`].

pub mod plain;
pub mod service;
