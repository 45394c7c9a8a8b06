//! What travels between a shard and the control thread, and the types of all the shards' links.
//!
//! Home: values; whoever sends one gives it away.

use std::sync::Arc;

use crate::controller::driver::ExecuteError;
use crate::controller::quorum::QuorumStatus;
use crate::coordinator::call::{CoordinatorReply, CoordinatorRequest};
use crate::group::coordinator::GroupCoordinator;
use crate::metadata::commands::{Answer, Command};
use crate::metadata::image::MetadataImage;
use crate::metrics::shard::ShardMetrics;
use crate::replica::request::{ShardReply, ShardRequest};
use crate::shard::executor::Links;
use crate::shard::threads::Thread;
use crate::transaction::coordinator::TransactionCoordinator;

use super::doors::BindError;
use super::group_orders::{GroupDone, GroupOrder};

/// What the control thread tells a shard.
#[derive(Clone, Debug)]
pub enum ControlOrder {
    /// Take over this image: create, change and delete replicas, then answer.
    Apply(Arc<MetadataImage>),
    /// Open the doors: listeners accept from now on.
    Listen,
    /// Hand over a copy of the metrics.
    Metrics,
    /// Something about groups.
    Groups(GroupOrder),
    /// Close the doors, answer what is under way, close the logs cleanly, then answer.
    Stop,
}

/// What a shard asks of the control thread.
#[derive(Clone, Debug)]
pub enum ControlRequest {
    /// Have the controller carry this out.
    Execute(Command),
    /// Tell how the metadata quorum stands.
    Quorum,
}

/// What it answers.
#[derive(Debug)]
pub enum ControlReply {
    /// To [`ControlRequest::Execute`].
    Executed(Result<Answer, ExecuteError>),
    /// To [`ControlRequest::Quorum`].
    Quorum(QuorumView),
}

/// The metadata quorum as this broker, its voter, sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuorumView {
    /// Leader, term and ends of the log.
    pub status: QuorumStatus,
    /// The id of this voter's data directory.
    pub directory_id: [u8; 16],
}

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
    /// To [`ControlOrder::Stop`]: whether every log was closed in order.
    Stopped {
        /// Else the next start recovers, and leader epochs rise.
        clean: bool,
    },
    /// To [`ControlOrder::Listen`].
    Listening(Result<DiskAccess, BindError>),
    /// To [`ControlOrder::Metrics`]; and whose they are, for what the kernel counts.
    Metrics(Box<ShardMetrics>, Thread),
    /// To [`ControlOrder::Groups`].
    Groups(GroupDone),
}

/// What a shard asks another, or itself.
#[derive(Debug)]
pub enum MeshRequest {
    /// Of its replicas.
    Replica(ShardRequest),
    /// Of one of its coordinators of groups.
    Group(CoordinatorRequest<GroupCoordinator>),
    /// Of one of its coordinators of transactions.
    Transaction(CoordinatorRequest<TransactionCoordinator>),
}

impl From<CoordinatorRequest<GroupCoordinator>> for MeshRequest {
    fn from(request: CoordinatorRequest<GroupCoordinator>) -> MeshRequest {
        MeshRequest::Group(request)
    }
}

impl From<CoordinatorRequest<TransactionCoordinator>> for MeshRequest {
    fn from(request: CoordinatorRequest<TransactionCoordinator>) -> MeshRequest {
        MeshRequest::Transaction(request)
    }
}

/// The answer.
#[derive(Debug)]
pub enum MeshReply {
    /// To [`MeshRequest::Replica`].
    Replica(ShardReply),
    /// To [`MeshRequest::Group`] and [`MeshRequest::Transaction`].
    Coordinator(CoordinatorReply),
}

impl MeshReply {
    /// The answer to what was asked of replicas.
    pub fn into_replica(self) -> ShardReply {
        match self {
            Self::Replica(reply) => reply,
            Self::Coordinator(_) => panic!("replicas were asked"),
        }
    }

    /// The answer to what was asked of a coordinator.
    pub fn into_coordinator(self) -> CoordinatorReply {
        match self {
            Self::Coordinator(reply) => reply,
            Self::Replica(_) => panic!("a coordinator was asked"),
        }
    }
}

/// The types on the links of the broker's shards.
#[derive(Clone, Copy, Debug)]
pub struct BrokerLinks;

impl Links for BrokerLinks {
    type Request = MeshRequest;
    type Answer = MeshReply;
    type Call = ControlRequest;
    type CallAnswer = ControlReply;
    type Command = ControlOrder;
    type CommandAnswer = OrderDone;
}
