//! Metadata: brokers, topics, partitions and who leads them.
//!
//! Version 0 asks for all topics by an empty list, later ones by null. Version 4 adds auto-creation,
//! 7 leader epochs (KIP-320), 8 authorized operations (KIP-430), 9 is flexible, 10 adds topic ids
//! (KIP-516), 11 drops the cluster's authorized operations (KIP-700), 12 asks by id, 13 adds an error
//! for the whole answer (KIP-1102).

use crate::model::ids::TopicId;
use crate::protocol::message::message;

message! {
    api Metadata, versions 0..=13, flexible 9..;

    /// Asks for some topics, or all, and the brokers.
    request MetadataRequest {
        /// The topics; `None` is all of them.
        topics: Option<Vec<MetadataRequestTopic>>, strict 0.., nullable 1..;
        /// Whether a topic that is not there may be created.
        allow_auto_topic_creation: bool = true, strict 4..;
        /// Whether to say what the caller may do to the cluster.
        include_cluster_authorized_operations: bool, strict 8..=10;
        /// Whether to say what the caller may do to each topic.
        include_topic_authorized_operations: bool, strict 8..;
    }

    /// Brokers and topics.
    response MetadataResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, ignorable 3..;
        /// The brokers that are alive.
        brokers: Vec<MetadataResponseBroker>, strict 0..;
        /// The cluster's id.
        cluster_id: Option<String> = None, ignorable 2..;
        /// The broker to send administrative requests to; -1 if there is none.
        controller_id: i32 = -1, ignorable 1..;
        /// The topics.
        topics: Vec<MetadataResponseTopic>, strict 0..;
        /// A bit for each operation allowed; `i32::MIN` if not asked for.
        cluster_authorized_operations: i32 = i32::MIN, strict 8..=10;
        /// 0, or why there is no answer.
        error_code: i16, ignorable 13..;
    }

    /// A topic that is asked for.
    struct MetadataRequestTopic {
        /// Its id, or zero.
        topic_id: TopicId, ignorable 10..;
        /// Its name; null if it is asked for by id.
        name: Option<String>, strict 0.., nullable 10..;
    }

    /// A broker.
    struct MetadataResponseBroker {
        /// Its id.
        node_id: i32, strict 0..;
        /// Its host, on the listener of this connection.
        host: String, strict 0..;
        /// Its port.
        port: i32, strict 0..;
        /// Its rack.
        rack: Option<String> = None, ignorable 1..;
    }

    /// A topic, or why it cannot be shown.
    struct MetadataResponseTopic {
        /// 0, or why the topic cannot be shown.
        error_code: i16, strict 0..;
        /// Its name; null if it was asked for by an id that is not known.
        name: Option<String>, strict 0.., nullable 12..;
        /// Its id, or zero.
        topic_id: TopicId, ignorable 10..;
        /// Whether it belongs to the broker itself.
        is_internal: bool, ignorable 1..;
        /// Its partitions.
        partitions: Vec<MetadataResponsePartition>, strict 0..;
        /// A bit for each operation allowed; `i32::MIN` if not asked for.
        topic_authorized_operations: i32 = i32::MIN, strict 8..;
    }

    /// A partition.
    struct MetadataResponsePartition {
        /// 0, or why it cannot be used.
        error_code: i16, strict 0..;
        /// Its index.
        partition_index: i32, strict 0..;
        /// The leader's broker id; -1 if there is none.
        leader_id: i32, strict 0..;
        /// The leader's epoch; -1 if not known.
        leader_epoch: i32 = -1, ignorable 7..;
        /// Brokers with a replica, preferred leader first.
        replica_nodes: Vec<i32>, strict 0..;
        /// Brokers with a replica in sync.
        isr_nodes: Vec<i32>, strict 0..;
        /// Brokers with a replica that is offline.
        offline_replicas: Vec<i32>, ignorable 5..;
    }
}
