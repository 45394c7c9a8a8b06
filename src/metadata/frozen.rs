//! The bytes of metadata records: one frozen struct for each `(type, version)`.
//!
//! In:   records from `record.rs`.
//! Out:  rkyv bytes and back; `codec.rs` frames them.
//! Home: pure.
//!
//! Invariants
//!   F1  A struct here never changes once a release has written it: a new field is a new
//!       struct of the next version, with its own conversion. Golden bytes in `codec.rs` hold it.
//!   F2  Bytes are validated before they are looked at, and become domain types or an error.
//!
//! rkyv's format depends on its features (little-endian, 64-bit lengths, unaligned): they are
//! named in `Cargo.toml`, and the golden bytes fail if a dependency changes them.

use std::collections::BTreeMap;

use rkyv::rancor::Failure;
use rkyv::{Archive, Deserialize, Serialize};

use crate::metadata::record::{
    BrokerRegistration, ConfigResource, Endpoint, PartitionState, Record,
};
use crate::model::ids::{BrokerId, PartitionIndex, TopicId};
use crate::model::offset::LeaderEpoch;
use crate::model::topic_name::TopicName;

/// Type of a record's bytes, stable for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TypeAndVersion(pub u16, pub u16);

const CLUSTER_FORMED_V1: TypeAndVersion = TypeAndVersion(1, 1);
const FEATURE_LEVEL_V1: TypeAndVersion = TypeAndVersion(2, 1);
const BROKER_REGISTERED_V1: TypeAndVersion = TypeAndVersion(3, 1);
const TOPIC_CREATED_V1: TypeAndVersion = TypeAndVersion(4, 1);
const PARTITION_CHANGED_V1: TypeAndVersion = TypeAndVersion(5, 1);
const TOPIC_DELETED_V1: TypeAndVersion = TypeAndVersion(6, 1);
const CONFIG_SET_V1: TypeAndVersion = TypeAndVersion(7, 1);
const PRODUCER_IDS_ALLOCATED_V1: TypeAndVersion = TypeAndVersion(8, 1);
const GROUP_CONFIG_SET_V1: TypeAndVersion = TypeAndVersion(9, 1);

/// `leader` of a partition that has none.
const NO_LEADER: i32 = -1;

#[derive(Archive, Serialize, Deserialize)]
struct ClusterFormedV1 {
    cluster_id: String,
}

#[derive(Archive, Serialize, Deserialize)]
struct FeatureLevelV1 {
    name: String,
    level: i16,
}

#[derive(Archive, Serialize, Deserialize)]
struct BrokerRegisteredV1 {
    id: i32,
    epoch: i64,
    rack: Option<String>,
    /// Ascending by listener.
    endpoints: Vec<EndpointV1>,
}

#[derive(Archive, Serialize, Deserialize)]
struct EndpointV1 {
    listener: String,
    host: String,
    port: u16,
}

#[derive(Archive, Serialize, Deserialize)]
struct TopicCreatedV1 {
    topic: [u8; 16],
    name: String,
}

#[derive(Archive, Serialize, Deserialize)]
struct PartitionChangedV1 {
    topic: [u8; 16],
    partition: i32,
    leader: i32,
    leader_epoch: i32,
    partition_epoch: i32,
    replicas: Vec<i32>,
    isr: Vec<i32>,
    elr: Vec<i32>,
    last_known_elr: Vec<i32>,
}

#[derive(Archive, Serialize, Deserialize)]
struct TopicDeletedV1 {
    topic: [u8; 16],
}

#[derive(Archive, Serialize, Deserialize)]
struct ConfigSetV1 {
    resource: ConfigResourceV1,
    key: String,
    value: Option<String>,
}

#[derive(Archive, Serialize, Deserialize)]
enum ConfigResourceV1 {
    Topic([u8; 16]),
    Broker(i32),
    AllBrokers,
}

/// What [`ConfigSetV1`] has no resource for.
#[derive(Archive, Serialize, Deserialize)]
struct GroupConfigSetV1 {
    group: String,
    key: String,
    value: Option<String>,
}

#[derive(Archive, Serialize, Deserialize)]
struct ProducerIdsAllocatedV1 {
    broker: i32,
    broker_epoch: i64,
    next_producer_id: i64,
}

/// Why the bytes of one record are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ThawError {
    /// No struct here has this type and version: written by a newer release.
    UnknownType,
    /// The bytes are not such a struct, or hold a value that no controller writes.
    Malformed,
}

/// The type, version and bytes of `record`.
pub(super) fn freeze(record: &Record) -> (TypeAndVersion, rkyv::util::AlignedVec) {
    match record {
        Record::ClusterFormed { cluster_id } => {
            let frozen = ClusterFormedV1 { cluster_id: cluster_id.clone() };
            (CLUSTER_FORMED_V1, bytes(&frozen))
        }
        Record::FeatureLevel { name, level } => {
            let frozen = FeatureLevelV1 { name: name.clone(), level: *level };
            (FEATURE_LEVEL_V1, bytes(&frozen))
        }
        Record::BrokerRegistered(registration) => {
            (BROKER_REGISTERED_V1, bytes(&freeze_broker(registration)))
        }
        Record::TopicCreated { topic, name } => {
            let frozen = TopicCreatedV1 { topic: topic.0, name: name.as_str().to_owned() };
            (TOPIC_CREATED_V1, bytes(&frozen))
        }
        Record::PartitionChanged { topic, partition, state } => {
            (PARTITION_CHANGED_V1, bytes(&freeze_partition(*topic, *partition, state)))
        }
        Record::TopicDeleted { topic } => {
            (TOPIC_DELETED_V1, bytes(&TopicDeletedV1 { topic: topic.0 }))
        }
        Record::ConfigSet { resource, key, value } => {
            let resource = match resource {
                ConfigResource::Topic(id) => ConfigResourceV1::Topic(id.0),
                ConfigResource::Broker(id) => ConfigResourceV1::Broker(id.0),
                ConfigResource::AllBrokers => ConfigResourceV1::AllBrokers,
                ConfigResource::Group(group) => {
                    let (group, key, value) = (group.clone(), key.clone(), value.clone());
                    let frozen = GroupConfigSetV1 { group, key, value };
                    return (GROUP_CONFIG_SET_V1, bytes(&frozen));
                }
            };
            let frozen = ConfigSetV1 { resource, key: key.clone(), value: value.clone() };
            (CONFIG_SET_V1, bytes(&frozen))
        }
        Record::ProducerIdsAllocated { broker, broker_epoch, next_producer_id } => {
            let frozen = ProducerIdsAllocatedV1 {
                broker: broker.0,
                broker_epoch: *broker_epoch,
                next_producer_id: *next_producer_id,
            };
            (PRODUCER_IDS_ALLOCATED_V1, bytes(&frozen))
        }
    }
}

/// The record that `payload` holds. Errors: [`ThawError`]; any bytes may come.
pub(super) fn thaw(kind: TypeAndVersion, payload: &[u8]) -> Result<Record, ThawError> {
    match kind {
        CLUSTER_FORMED_V1 => {
            let ClusterFormedV1 { cluster_id } = parse(payload)?;
            Ok(Record::ClusterFormed { cluster_id })
        }
        FEATURE_LEVEL_V1 => {
            let FeatureLevelV1 { name, level } = parse(payload)?;
            Ok(Record::FeatureLevel { name, level })
        }
        BROKER_REGISTERED_V1 => Ok(Record::BrokerRegistered(thaw_broker(parse(payload)?))),
        TOPIC_CREATED_V1 => {
            let TopicCreatedV1 { topic, name } = parse(payload)?;
            let name = TopicName::parse(&name).map_err(|_| ThawError::Malformed)?;
            Ok(Record::TopicCreated { topic: TopicId(topic), name })
        }
        PARTITION_CHANGED_V1 => Ok(thaw_partition(parse(payload)?)),
        TOPIC_DELETED_V1 => {
            let TopicDeletedV1 { topic } = parse(payload)?;
            Ok(Record::TopicDeleted { topic: TopicId(topic) })
        }
        CONFIG_SET_V1 => {
            let ConfigSetV1 { resource, key, value } = parse(payload)?;
            let resource = match resource {
                ConfigResourceV1::Topic(id) => ConfigResource::Topic(TopicId(id)),
                ConfigResourceV1::Broker(id) => ConfigResource::Broker(BrokerId(id)),
                ConfigResourceV1::AllBrokers => ConfigResource::AllBrokers,
            };
            Ok(Record::ConfigSet { resource, key, value })
        }
        GROUP_CONFIG_SET_V1 => {
            let GroupConfigSetV1 { group, key, value } = parse(payload)?;
            Ok(Record::ConfigSet { resource: ConfigResource::Group(group), key, value })
        }
        PRODUCER_IDS_ALLOCATED_V1 => {
            let ProducerIdsAllocatedV1 { broker, broker_epoch, next_producer_id } = parse(payload)?;
            let broker = BrokerId(broker);
            Ok(Record::ProducerIdsAllocated { broker, broker_epoch, next_producer_id })
        }
        _ => Err(ThawError::UnknownType),
    }
}

fn freeze_broker(registration: &BrokerRegistration) -> BrokerRegisteredV1 {
    let endpoint = |(listener, endpoint): (&String, &Endpoint)| EndpointV1 {
        listener: listener.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
    };
    BrokerRegisteredV1 {
        id: registration.id.0,
        epoch: registration.epoch,
        rack: registration.rack.clone(),
        endpoints: registration.endpoints.iter().map(endpoint).collect(),
    }
}

fn thaw_broker(frozen: BrokerRegisteredV1) -> BrokerRegistration {
    let endpoint = |e: EndpointV1| (e.listener, Endpoint { host: e.host, port: e.port });
    BrokerRegistration {
        id: BrokerId(frozen.id),
        epoch: frozen.epoch,
        rack: frozen.rack,
        endpoints: frozen.endpoints.into_iter().map(endpoint).collect::<BTreeMap<_, _>>(),
    }
}

fn freeze_partition(
    topic: TopicId,
    partition: PartitionIndex,
    state: &PartitionState,
) -> PartitionChangedV1 {
    let ids = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect();
    PartitionChangedV1 {
        topic: topic.0,
        partition: partition.0,
        leader: state.leader.map_or(NO_LEADER, |id| id.0),
        leader_epoch: state.leader_epoch.0,
        partition_epoch: state.partition_epoch,
        replicas: ids(&state.replicas),
        isr: ids(&state.isr),
        elr: ids(&state.elr),
        last_known_elr: ids(&state.last_known_elr),
    }
}

fn thaw_partition(frozen: PartitionChangedV1) -> Record {
    let ids = |ids: Vec<i32>| ids.into_iter().map(BrokerId).collect();
    Record::PartitionChanged {
        topic: TopicId(frozen.topic),
        partition: PartitionIndex(frozen.partition),
        state: PartitionState {
            leader: (frozen.leader != NO_LEADER).then_some(BrokerId(frozen.leader)),
            leader_epoch: LeaderEpoch(frozen.leader_epoch),
            partition_epoch: frozen.partition_epoch,
            replicas: ids(frozen.replicas),
            isr: ids(frozen.isr),
            elr: ids(frozen.elr),
            last_known_elr: ids(frozen.last_known_elr),
        },
    }
}

fn bytes<T>(frozen: &T) -> rkyv::util::AlignedVec
where
    T: for<'a> Serialize<
        rkyv::api::high::HighSerializer<
            rkyv::util::AlignedVec,
            rkyv::ser::allocator::ArenaHandle<'a>,
            Failure,
        >,
    >,
{
    rkyv::to_bytes::<Failure>(frozen).expect("plain structs in memory always serialize")
}

fn parse<T>(payload: &[u8]) -> Result<T, ThawError>
where
    T: Archive,
    T::Archived: for<'a> rkyv::bytecheck::CheckBytes<rkyv::api::high::HighValidator<'a, Failure>>
        + Deserialize<T, rkyv::api::high::HighDeserializer<Failure>>,
{
    rkyv::from_bytes::<T, Failure>(payload).map_err(|Failure| ThawError::Malformed)
}
