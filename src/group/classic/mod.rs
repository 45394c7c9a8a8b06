//! Classic groups: members that join, one of whom assigns (`JoinGroup`, `SyncGroup`).
//!
//! Home: pure; part of the group coordinator. [`group::Classic`] is one group's state;
//! `join`, `rebalance` and `sync` are what happens to it.
//!
//! Source: KIP-134, KIP-345, KIP-394, KIP-429, KIP-814; `protocol.md` P81-P86.

pub mod group;
pub mod join;
pub mod member;
mod rebalance;
pub mod state;
pub mod sync;
