//! Requests to answers: dispatch, handlers, errors, fetch sessions, start-up (tier T4).

pub mod connection;
pub mod context;
pub mod coordinators;
pub mod dispatch;
pub mod doors;
pub mod errors;
pub mod fetch_session;
pub mod fetch_wait;
pub mod group_orders;
pub mod groups;
pub mod handlers;
pub mod hints;
pub mod lag_sampler;
pub mod markers;
pub mod orders;
pub mod scatter;
pub mod service;
pub mod shard_main;
pub mod start;
pub mod transactions;
pub mod validation;
pub mod verification;
