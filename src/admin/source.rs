//! What the admin endpoint asks of the broker.
//!
//! Home: the control thread; implemented where the broker is wired.

use std::future::Future;

use serde::Serialize;

use crate::broker::group_orders::{SeekOrder, SeekRefused};
use crate::broker::lag_sampler::{GroupLag, LagError};
use crate::group::seek::Sought;
use crate::metrics::exposition::ProcessFacts;
use crate::metrics::group_lag::{PartitionLag, ShownLags};
use crate::metrics::shard::ShardMetrics;

/// Whether the broker may be given work, and if not, why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Listeners are open, logs are recovered, metadata has caught up, and nothing drains.
    pub ready: bool,
    /// What is missing; empty when ready.
    pub reasons: Vec<String>,
}

/// The broker's state in a few numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Nothing below is wrong.
    pub healthy: bool,
    /// The cluster's id.
    pub cluster_id: String,
    /// This broker's id.
    pub node_id: i32,
    /// The broker that leads the metadata quorum; -1 when none is known.
    pub controller_id: i32,
    /// Topics of the cluster.
    pub topics: u64,
    /// Partitions of the cluster.
    pub partitions: u64,
    /// Partitions without a leader.
    pub leaderless_partitions: u64,
    /// Partitions with fewer in-sync replicas than replicas.
    pub under_replicated_partitions: u64,
    /// Replicas of this broker whose directory failed.
    pub offline_replicas: u64,
    /// Free bytes of the data file system.
    pub disk_free_bytes: u64,
    /// What is wrong, in words.
    pub reasons: Vec<String>,
}

/// Everything a scrape prints.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    /// One clone a shard that answered.
    pub shards: Vec<ShardMetrics>,
    /// The process beside them.
    pub process: ProcessFacts,
    /// How far groups are behind.
    pub lags: ShownLags,
}

/// The broker as the admin endpoint sees it. Each future ends soon: it waits for messages of
/// shards, and [`super::routes::ANSWER_MAX`] cuts it off.
pub trait AdminSource: Send + Sync + 'static {
    /// The name of an API key, the label `request` of its counters.
    fn api_name(api_key: i16) -> &'static str;

    /// Ends when every shard has answered a ping.
    fn ping(&self) -> impl Future<Output = ()> + Send;

    /// Whether the broker is ready.
    fn readiness(&self) -> impl Future<Output = Readiness> + Send;

    /// The broker's state.
    fn health(&self) -> impl Future<Output = Health> + Send;

    /// Counters of all shards.
    fn metrics(&self) -> impl Future<Output = Gathered> + Send;

    /// How far all groups are behind, as it was last measured.
    fn group_lags(&self) -> impl Future<Output = Vec<PartitionLag>> + Send;

    /// How far one group is behind, measured now, and was in the last hour.
    /// Errors: [`LagError`].
    fn group_lag(&self, group: &str) -> impl Future<Output = Result<GroupLag, LagError>> + Send;

    /// Moves a group, or works the move out. Errors: [`SeekRefused`].
    fn seek_group(
        &self,
        order: SeekOrder,
    ) -> impl Future<Output = Result<Sought, SeekRefused>> + Send;
}
