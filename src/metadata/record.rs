//! Metadata records: the facts that make up the metadata log.
//!
//! In:   the decisions of `commands.rs`.
//! Out:  values that `image.rs` applies and `codec.rs` encodes.
//! Home: pure.
//!
//! A record carries the whole new value of what it names, so applying it twice changes nothing.
//!
//! Source: KIP-631 (the controller's records), KIP-966 (eligible leader replicas).

use std::collections::BTreeMap;

use crate::model::ids::{BrokerId, PartitionIndex, TopicId};
use crate::model::offset::LeaderEpoch;
use crate::model::topic_name::TopicName;

/// One fact of the metadata log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The cluster got its id; the first record of every metadata log.
    ClusterFormed {
        /// 22 characters of URL-safe base64.
        cluster_id: String,
    },
    /// A feature of the cluster is at this level.
    FeatureLevel {
        /// Kafka's name of the feature, as `metadata.version`.
        name: String,
        /// The finalized level; 0 takes the feature away.
        level: i16,
    },
    /// A broker joined, or came back as a new incarnation.
    BrokerRegistered(BrokerRegistration),
    /// A topic exists; its partitions follow in the same entry.
    TopicCreated {
        /// The topic's id, never zero and never used before.
        topic: TopicId,
        /// The topic's name.
        name: TopicName,
    },
    /// The state of one partition; creates it if its index is the next one of its topic.
    PartitionChanged {
        /// The topic.
        topic: TopicId,
        /// The partition within it.
        partition: PartitionIndex,
        /// Its whole new state.
        state: PartitionState,
    },
    /// A topic and all its partitions and settings are gone.
    TopicDeleted {
        /// The topic.
        topic: TopicId,
    },
    /// A setting was overridden, or its override taken away.
    ConfigSet {
        /// Whose setting.
        resource: ConfigResource,
        /// Kafka's name of the setting.
        key: String,
        /// The override; `None` takes it away.
        value: Option<String>,
    },
    /// Producer ids below `next_producer_id` are given out.
    ProducerIdsAllocated {
        /// Who got the block.
        broker: BrokerId,
        /// That broker's epoch then.
        broker_epoch: i64,
        /// First id that is still free.
        next_producer_id: i64,
    },
}

/// A broker as it announced itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerRegistration {
    /// `node.id`.
    pub id: BrokerId,
    /// Epoch of this registration; a later one of the same broker is greater.
    pub epoch: i64,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Advertised addresses by listener name.
    pub endpoints: BTreeMap<String, Endpoint>,
}

/// An advertised address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address, as clients are to use it.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// One partition's leader, replicas and in-sync set.
///
/// Invariants: `replicas` is not empty and has no broker twice; `isr`, `elr` and `leader` are
/// among the replicas; `isr` and `elr` share none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// The leader; `None` while none can be elected.
    pub leader: Option<BrokerId>,
    /// Grows with every change of leader; never goes back.
    pub leader_epoch: LeaderEpoch,
    /// Grows with every change of this state.
    pub partition_epoch: i32,
    /// All replicas, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Those in sync.
    pub isr: Vec<BrokerId>,
    /// Eligible leader replicas: out of the ISR, yet known to hold all that was committed.
    pub elr: Vec<BrokerId>,
    /// The last members of the ELR or ISR, kept for an unclean recovery.
    pub last_known_elr: Vec<BrokerId>,
}

/// Whose settings a [`Record::ConfigSet`] is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigResource {
    /// One topic.
    Topic(TopicId),
    /// One broker.
    Broker(BrokerId),
    /// Every broker that has no override of its own.
    AllBrokers,
    /// One group, by name; it need not be there.
    Group(String),
}
