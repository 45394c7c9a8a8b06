//! openraft as our quorum: its types, its configuration, and the network of a quorum of one.
//!
//! In:   encoded records to propose.
//! Out:  the index of the entry that holds them, once applied and published here.
//! Home: the control thread's tokio runtime.
//!
//! A voter's Raft id is `node.id << 32 | disk generation`: a broker with another disk is another
//! voter, for it has forgotten what the first promised (KIP-853's directory ids).
//!
//! With one voter nobody is waited for: no timer runs. It is elected by `initialize` on an empty
//! log, and later resumes as the leader it was.
//!
//! Source: the Raft paper (Ongaro and Ousterhout 2014), openraft 0.9.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use openraft::error::{ClientWriteError, InstallSnapshotError, RPCError, RaftError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{
    EmptyNode, LogId, Membership, Raft, RaftNetwork, RaftNetworkFactory, ServerState,
    SnapshotPolicy,
};
use serde::{Deserialize, Serialize};

use crate::controller::log_file::{FrameLogId, LogError};
use crate::controller::log_store::LogStore;
use crate::controller::publisher::Publisher;
use crate::controller::quorum::{ProposeError, Quorum, QuorumStatus, StatusProbe};
use crate::controller::state_machine::{RestoreError, StateMachine};
use crate::metadata::codec::encode_records;
use crate::metadata::record::Record;

/// Most bytes of one entry.
pub const ENTRY_BYTES_MAX: usize = 64 << 20;

/// A snapshot is taken after this many bytes of entries.
const SNAPSHOT_EVERY_BYTES: usize = 64 << 20;

/// A snapshot is taken after this many entries.
const SNAPSHOT_EVERY_ENTRIES: usize = 10_000;

/// How long a quorum of one may take from start to leadership: it is a matter of a few syncs.
const LEADERSHIP_WAIT: Duration = Duration::from_secs(30);

openraft::declare_raft_types!(
    /// The types openraft is used with.
    pub TypeConfig:
        D = EntryRecords,
        R = (),
        NodeId = u64,
        Node = EmptyNode,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = Cursor<Vec<u8>>,
        AsyncRuntime = openraft::TokioRuntime,
);

/// Encoded metadata records (`crate::metadata::codec`): what an entry carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRecords(pub Vec<u8>);

/// The Raft id of the voter that is broker `node_id` with the disk of that generation.
pub fn raft_id(node_id: i32, disk_generation: u32) -> u64 {
    let node_id = u64::try_from(node_id).expect("node.id is 0 or more, as the configuration says");
    node_id << 32 | u64::from(disk_generation)
}

/// Why the quorum cannot start.
#[derive(Debug)]
pub enum QuorumStartError {
    /// The log.
    Log(LogError),
    /// The snapshots.
    Restore(RestoreError),
    /// openraft gave up.
    Raft {
        /// What it was asked.
        action: &'static str,
        /// Its words.
        message: String,
    },
}

impl fmt::Display for QuorumStartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(error) => error.fmt(f),
            Self::Restore(error) => error.fmt(f),
            Self::Raft { action, message } => {
                write!(f, "the metadata quorum did not {action}: {message}")
            }
        }
    }
}

impl std::error::Error for QuorumStartError {}

/// The running quorum, seen from its one voter.
pub struct RaftQuorum {
    raft: Raft<TypeConfig>,
    /// Bytes and entries proposed since the last snapshot was asked for.
    bytes: usize,
    entries: usize,
}

impl RaftQuorum {
    /// Opens or creates the log in `directory`, which exists, and returns once this voter leads
    /// and has applied all that was committed.
    ///
    /// Errors: [`QuorumStartError`]; nothing runs then.
    pub async fn start(
        directory: &Path,
        raft_id: u64,
        publisher: Publisher,
    ) -> Result<RaftQuorum, QuorumStartError> {
        let log = LogStore::open(directory, raft_id).map_err(QuorumStartError::Log)?;
        let machine = StateMachine::restore(directory, log.purged(), publisher)
            .map_err(QuorumStartError::Restore)?;
        // Nothing may be left to apply, and then nothing else would publish it.
        machine.publish().await;
        let entries = log.entry_count();
        let failed = |action| move |message| QuorumStartError::Raft { action, message };
        let config = Arc::new(config());
        let raft = Raft::new(raft_id, config, Unconnected, log, machine)
            .await
            .map_err(|e| failed("start")(e.to_string()))?;
        let initialized =
            raft.is_initialized().await.map_err(|e| failed("start")(e.to_string()))?;
        if !initialized {
            let voters = BTreeMap::from([(raft_id, EmptyNode::new())]);
            raft.initialize(voters).await.map_err(|e| failed("form")(e.to_string()))?;
        } else if raft.current_leader().await != Some(raft_id) {
            let triggered = raft.trigger().elect().await;
            triggered.map_err(|e| failed("elect")(e.to_string()))?;
        }
        let leads = |metrics: &openraft::RaftMetrics<u64, EmptyNode>| {
            metrics.state == ServerState::Leader
                && metrics.last_log_index.is_some()
                && metrics.last_applied.map(|id| id.index) == metrics.last_log_index
        };
        raft.wait(Some(LEADERSHIP_WAIT))
            .metrics(leads, "leader, everything applied")
            .await
            .map_err(|e| failed("elect a leader")(e.to_string()))?;
        Ok(RaftQuorum { raft, bytes: 0, entries })
    }

    /// Asks for a snapshot where enough has come together since the last.
    async fn snapshot_if_due(&mut self) {
        if self.bytes < SNAPSHOT_EVERY_BYTES && self.entries < SNAPSHOT_EVERY_ENTRIES {
            return;
        }
        (self.bytes, self.entries) = (0, 0);
        // It fails only if Raft is stopping; the next proposal says so.
        let _ = self.raft.trigger().snapshot().await;
    }
}

impl Quorum for RaftQuorum {
    async fn propose(&mut self, records: &[Record]) -> Result<u64, ProposeError> {
        let bytes = encode_records(records);
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(ProposeError::TooLarge { bytes: bytes.len() });
        }
        self.bytes += bytes.len();
        self.entries += 1;
        let written = self.raft.client_write(EntryRecords(bytes)).await;
        self.snapshot_if_due().await;
        match written {
            Ok(response) => Ok(response.log_id.index),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
                Err(ProposeError::NotLeader { leader: forward.leader_id })
            }
            Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(_))) => {
                unreachable!("records change no membership")
            }
            Err(RaftError::Fatal(_)) => Err(ProposeError::Stopped),
        }
    }

    fn probe(&self) -> StatusProbe {
        let metrics = self.raft.metrics();
        Arc::new(move || {
            let metrics = metrics.borrow();
            let end = |index: Option<u64>| index.map_or(0, |index| index + 1);
            QuorumStatus {
                leader: metrics.current_leader,
                term: metrics.current_term,
                log_end: end(metrics.last_log_index),
                committed_end: end(metrics.last_applied.map(|id| id.index)),
            }
        })
    }

    async fn stop(&mut self) {
        // An error means that its task has ended already.
        let _ = self.raft.shutdown().await;
    }
}

fn config() -> openraft::Config {
    openraft::Config {
        cluster_name: "yeoul".to_owned(),
        // A quorum of one waits for nobody, so an idle broker is not woken by ticks.
        enable_tick: false,
        enable_heartbeat: false,
        enable_elect: false,
        // `snapshot_if_due` asks, by bytes as well as entries.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: 0,
        ..openraft::Config::default()
    }
}

/// An entry's id as the files hold it.
pub fn frame_id(id: &LogId<u64>) -> FrameLogId {
    FrameLogId { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
}

/// An entry's id as openraft holds it.
pub fn log_id(id: FrameLogId) -> LogId<u64> {
    LogId::new(openraft::CommittedLeaderId::new(id.term, id.node), id.index)
}

/// The voters, and all members, as the files hold them: ascending.
pub fn membership_parts(membership: &Membership<u64, EmptyNode>) -> (Vec<Vec<u64>>, Vec<u64>) {
    let voters = membership.get_joint_config().iter();
    let voters = voters.map(|set| set.iter().copied().collect()).collect();
    (voters, membership.nodes().map(|(id, _)| *id).collect())
}

/// The membership as openraft holds it.
pub fn membership(voters: &[Vec<u64>], nodes: &[u64]) -> Membership<u64, EmptyNode> {
    let voters = voters.iter().map(|set| set.iter().copied().collect::<BTreeSet<u64>>()).collect();
    let nodes: BTreeMap<u64, EmptyNode> = nodes.iter().map(|&id| (id, EmptyNode::new())).collect();
    Membership::new(voters, nodes)
}

/// The network of a quorum of one: there is nobody to reach.
struct Unconnected;

/// A peer of a quorum of one, which there cannot be.
struct NoPeer {
    target: u64,
}

/// Why a peer is not reached.
#[derive(Debug)]
struct NotConnected {
    target: u64,
}

impl fmt::Display for NotConnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this quorum has one voter; {:#x} is not connected", self.target)
    }
}

impl std::error::Error for NotConnected {}

impl NoPeer {
    fn unreachable(&self) -> Unreachable {
        Unreachable::new(&NotConnected { target: self.target })
    }
}

impl RaftNetworkFactory<TypeConfig> for Unconnected {
    type Network = NoPeer;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> NoPeer {
        NoPeer { target }
    }
}

impl RaftNetwork<TypeConfig> for NoPeer {
    async fn append_entries(
        &mut self,
        _rpc: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RPCError<u64, EmptyNode, RaftError<u64>>> {
        Err(self.unreachable().into())
    }

    async fn install_snapshot(
        &mut self,
        _rpc: InstallSnapshotRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<
        InstallSnapshotResponse<u64>,
        RPCError<u64, EmptyNode, RaftError<u64, InstallSnapshotError>>,
    > {
        Err(self.unreachable().into())
    }

    async fn vote(
        &mut self,
        _rpc: VoteRequest<u64>,
        _option: RPCOption,
    ) -> Result<VoteResponse<u64>, RPCError<u64, EmptyNode, RaftError<u64>>> {
        Err(self.unreachable().into())
    }
}

#[cfg(test)]
mod tests {
    use openraft::StorageError;
    use openraft::testing::{StoreBuilder, Suite};

    use super::*;
    use crate::controller::snapshot_file;
    use crate::metadata::record::PartitionState;
    use crate::model::ids::{BrokerId, PartitionIndex, TopicId};
    use crate::model::topic_name::TopicName;

    const RAFT_ID: u64 = 1 << 32 | 5;

    struct Stores;

    impl StoreBuilder<TypeConfig, LogStore, StateMachine, tempfile::TempDir> for Stores {
        async fn build(
            &self,
        ) -> Result<(tempfile::TempDir, LogStore, StateMachine), StorageError<u64>> {
            let place = tempfile::tempdir().unwrap();
            let log = LogStore::open(place.path(), RAFT_ID).unwrap();
            let publisher = Publisher::start();
            let machine = StateMachine::restore(place.path(), None, publisher).unwrap();
            Ok((place, log, machine))
        }
    }

    /// openraft's own suite for storage implementations.
    #[test]
    fn log_and_state_machine_are_what_openraft_expects() {
        Suite::test_all(Stores).unwrap();
    }

    fn topic(number: u8) -> [Record; 2] {
        let topic = TopicId([number; 16]);
        let name = TopicName::parse(&format!("t{number}")).unwrap();
        let state = PartitionState::new(vec![BrokerId(0)]);
        let partition = PartitionIndex(0);
        [Record::TopicCreated { topic, name }, Record::PartitionChanged { topic, partition, state }]
    }

    async fn started(path: &Path) -> (RaftQuorum, Publisher) {
        let publisher = Publisher::start();
        (RaftQuorum::start(path, RAFT_ID, publisher.clone()).await.unwrap(), publisher)
    }

    /// Forces a snapshot and waits until the log before it is gone.
    async fn snapshot(quorum: &mut RaftQuorum) {
        quorum.entries = SNAPSHOT_EVERY_ENTRIES;
        quorum.snapshot_if_due().await;
        let purged = |m: &openraft::RaftMetrics<u64, EmptyNode>| {
            m.purged.is_some() && m.purged == m.snapshot && m.snapshot == m.last_applied
        };
        quorum.raft.wait(Some(LEADERSHIP_WAIT)).metrics(purged, "purged").await.unwrap();
    }

    #[tokio::test]
    async fn a_snapshot_replaces_the_log_and_a_restart_reads_both() {
        let place = tempfile::tempdir().unwrap();
        let (mut quorum, publisher) = started(place.path()).await;
        for number in 1..=3 {
            quorum.propose(&topic(number)).await.unwrap();
        }
        snapshot(&mut quorum).await;
        quorum.propose(&topic(4)).await.unwrap();
        quorum.stop().await;
        let before = publisher.image();
        assert_eq!(before.topic_count(), 4);

        let log = LogStore::open(place.path(), RAFT_ID).unwrap();
        assert_eq!(log.entry_count(), 1, "only what came after the snapshot");
        let (mut quorum, publisher) = started(place.path()).await;
        assert_eq!(publisher.image(), before);
        snapshot(&mut quorum).await;
        quorum.stop().await;
        let (mut quorum, publisher) = started(place.path()).await;
        assert_eq!(publisher.image(), before, "from a snapshot alone");
        quorum.propose(&topic(5)).await.unwrap();
        assert_eq!(publisher.image().topic_count(), 5);
        quorum.stop().await;
    }

    #[tokio::test]
    async fn a_log_without_its_snapshot_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let (mut quorum, _) = started(place.path()).await;
        quorum.propose(&topic(1)).await.unwrap();
        snapshot(&mut quorum).await;
        quorum.stop().await;
        let newest = snapshot_file::load_newest(place.path()).unwrap().unwrap();
        let index = newest.meta.last.unwrap().index;
        let file = place.path().join(format!("snapshot-{index:020}"));
        #[allow(clippy::disallowed_methods)] // a test
        std::fs::write(file, b"damaged").unwrap();
        let error = RaftQuorum::start(place.path(), RAFT_ID, Publisher::start()).await.err();
        let Some(QuorumStartError::Restore(RestoreError::Gap { purged, snapshot, .. })) = error
        else {
            panic!("{error:?}");
        };
        assert_eq!((purged, snapshot), (index, None));
    }

    #[tokio::test]
    async fn a_torn_last_write_costs_that_write_alone() {
        let place = tempfile::tempdir().unwrap();
        let (mut quorum, publisher) = started(place.path()).await;
        quorum.propose(&topic(1)).await.unwrap();
        let durable = publisher.image();
        quorum.propose(&topic(2)).await.unwrap();
        quorum.stop().await;
        let file = place.path().join("log");
        #[allow(clippy::disallowed_methods)] // a test
        let mut bytes = std::fs::read(&file).unwrap();
        let end = bytes.iter().rposition(|&b| b != 0).unwrap();
        bytes[end - 20..].fill(0);
        #[allow(clippy::disallowed_methods)] // a test
        std::fs::write(&file, bytes).unwrap();
        let (mut quorum, publisher) = started(place.path()).await;
        assert_eq!(publisher.image(), durable);
        quorum.propose(&topic(3)).await.unwrap();
        quorum.stop().await;
        let (mut quorum, publisher) = started(place.path()).await;
        assert_eq!(publisher.image().topic_count(), 2);
        quorum.stop().await;
    }

    #[tokio::test]
    async fn a_change_that_no_entry_can_hold_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let (mut quorum, _) = started(place.path()).await;
        let set = |key: usize| Record::ConfigSet {
            resource: crate::metadata::record::ConfigResource::AllBrokers,
            key: key.to_string(),
            value: Some("x".repeat(1_000_000)),
        };
        let records: Vec<Record> = (0..70).map(set).collect();
        let refused = quorum.propose(&records).await;
        assert!(matches!(refused, Err(ProposeError::TooLarge { .. })), "{refused:?}");
        quorum.propose(&topic(1)).await.unwrap();
        quorum.stop().await;
    }

    #[tokio::test]
    async fn a_quorum_of_one_reaches_nobody() {
        let mut network = Unconnected;
        let mut peer = network.new_client(9, &EmptyNode::new()).await;
        let request = VoteRequest::new(openraft::Vote::new(1, 9), None);
        let option = RPCOption::new(Duration::from_secs(1));
        let answer = peer.vote(request, option).await;
        assert!(matches!(answer, Err(RPCError::Unreachable(_))), "{answer:?}");
    }
}
