//! One file an API: a decoded request and the shard's view become an answer.
//!
//! A handler chooses no error code but for what its own API defines; what replicas, logs and the
//! controller refuse is translated in [`super::errors`].

pub mod add_offsets_to_txn;
pub mod add_partitions_to_txn;
pub mod alter_configs;
pub mod api_versions;
pub mod consumer_group_describe;
pub mod consumer_group_heartbeat;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod describe_transactions;
pub mod elect_leaders;
pub mod end_txn;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod list_transactions;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod partition_reassignments;
pub mod produce;
pub mod sync_group;
pub mod txn_offset_commit;
pub mod update_features;
pub mod write_txn_markers;

mod by_topic;

use crate::model::ids::BrokerId;
use crate::transaction::ids::TRANSACTIONAL_ID_BYTES_MAX;

/// `*_authorized_operations` when they were not asked for; 0 would mean "none allowed".
pub const AUTHORIZED_NONE: i32 = i32::MIN;
/// Every operation on a topic: there is no authorizer yet. Bits are Kafka's `AclOperation`.
pub const AUTHORIZED_TOPIC: i32 = 0b1101_1111_1000;
/// Every operation on a group.
pub const AUTHORIZED_GROUP: i32 = 0b1101_0100_1000;
/// Every operation on the cluster.
pub const AUTHORIZED_CLUSTER: i32 = 0b1_1111_1010_0000;

/// `resource_type` of topics.
pub const RESOURCE_TOPIC: i8 = 2;
/// `resource_type` of brokers.
pub const RESOURCE_BROKER: i8 = 4;
/// A broker's loggers, of which there are none here that clients could set.
pub const RESOURCE_BROKER_LOGGER: i8 = 8;
/// A subscription to clients' metrics, of which there are none here.
pub const RESOURCE_CLIENT_METRICS: i8 = 16;
/// A group, as a resource of settings.
pub const RESOURCE_GROUP: i8 = 32;

/// Kafka's words for a topic or partition that is not there.
pub const UNKNOWN_PARTITION: &str = "This server does not host this topic-partition.";

/// Whether a transactional id can be one: there is something of it, and a record holds it.
pub fn is_transactional_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= TRANSACTIONAL_ID_BYTES_MAX
}

/// Broker ids as the wire has them.
pub fn node_ids(ids: &[BrokerId]) -> Vec<i32> {
    ids.iter().map(|id| id.0).collect()
}

#[cfg(test)]
mod fixtures {
    use crate::metadata::image::MetadataImage;
    use crate::metadata::record::{PartitionState, Record};
    use crate::model::ids::{BrokerId, PartitionIndex, TopicId};
    use crate::model::topic_name::TopicName;

    /// The id of the topic `t` in [`image`].
    pub const TOPIC: TopicId = TopicId([7; 16]);

    /// Metadata with a topic `t` of one partition.
    pub fn image() -> MetadataImage {
        let (topic, partition) = (TOPIC, PartitionIndex(0));
        let name = TopicName::parse("t").expect("legal");
        let state = PartitionState::new(vec![BrokerId(0)]);
        let records = [
            Record::TopicCreated { topic, name },
            Record::PartitionChanged { topic, partition, state },
        ];
        MetadataImage::empty().apply_entry(1, &records).expect("applies")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the real broker without an authorizer answers.
    #[test]
    fn all_operations_are_authorized() {
        assert_eq!(AUTHORIZED_TOPIC, 3576);
        assert_eq!(AUTHORIZED_GROUP, 3400);
        assert_eq!(AUTHORIZED_CLUSTER, 8096);
    }
}
