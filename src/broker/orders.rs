//! What travels between a shard and the control thread, and the types of all the shards' links.
//!
//! Home: values; whoever sends one gives it away.

use std::sync::Arc;

use crate::controller::driver::ExecuteError;
use crate::metadata::commands::{Answer, Command};
use crate::metadata::image::MetadataImage;
use crate::metrics::shard::ShardMetrics;
use crate::replica::request::{ShardReply, ShardRequest};
use crate::shard::executor::Links;
use crate::shard::threads::Thread;

use super::doors::BindError;

/// What the control thread tells a shard.
#[derive(Clone, Debug)]
pub enum ControlOrder {
    /// Take over this image: create, change and delete replicas, then answer.
    Apply(Arc<MetadataImage>),
    /// Open the doors: listeners accept from now on.
    Listen,
    /// Hand over a copy of the metrics.
    Metrics,
    /// Close the doors, answer what is under way, close the logs cleanly, then answer.
    Stop,
}

/// What a shard asks of the control thread.
pub type ControlRequest = Command;

/// What it answers.
pub type ControlReply = Result<Answer, ExecuteError>;

/// How a shard reaches its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskAccess {
    /// O_DIRECT.
    Direct,
    /// Through the page cache, with the same syncs.
    Buffered,
}

/// What a shard answers to a [`ControlOrder`].
#[derive(Debug)]
pub enum OrderDone {
    /// Carried out.
    Done,
    /// To [`ControlOrder::Listen`].
    Listening(Result<DiskAccess, BindError>),
    /// To [`ControlOrder::Metrics`]; and whose they are, for what the kernel counts.
    Metrics(Box<ShardMetrics>, Thread),
}

/// The types on the links of the broker's shards.
#[derive(Clone, Copy, Debug)]
pub struct BrokerLinks;

impl Links for BrokerLinks {
    type Request = ShardRequest;
    type Answer = ShardReply;
    type Call = ControlRequest;
    type CallAnswer = ControlReply;
    type Command = ControlOrder;
    type CommandAnswer = OrderDone;
}
