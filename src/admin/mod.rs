//! The admin endpoint on the control thread (tier T5).
//!
//! In:   HTTP requests; an [`source::AdminSource`] that asks the shards.
//! Out:  `/v1/live`, `/v1/ready`, `/v1/health`, `/v1/version`, `/v1/groups/...`,
//!       `/public_metrics`, `/metrics`.
//!
//! Nothing here runs on a shard: a slow scrape costs the data path one message a shard.

pub mod source;

pub mod groups;
pub mod routes;
pub mod server;
