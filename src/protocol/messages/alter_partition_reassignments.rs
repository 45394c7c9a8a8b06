//! AlterPartitionReassignments: replicas move to other brokers (KIP-455).
//!
//! Version 1 can forbid to change the number of replicas (KIP-860).

use crate::protocol::message::message;

message! {
    api AlterPartitionReassignments, versions 0..=1, flexible 0..;

    /// Moves replicas of partitions to other brokers.
    request AlterPartitionReassignmentsRequest {
        /// How long to wait for it to be done, in milliseconds.
        timeout_ms: i32 = 60000, strict 0..;
        /// Whether the number of replicas may change.
        allow_replication_factor_change: bool = true, strict 1..;
        /// The topics.
        topics: Vec<ReassignableTopic>, strict 0..;
    }

    /// What became of it.
    response AlterPartitionReassignmentsResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, strict 0..;
        /// Whether the number of replicas may change.
        allow_replication_factor_change: bool = true, ignorable 1..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// What went wrong, in words.
        error_message: Option<String>, strict 0..;
        /// What became of each.
        responses: Vec<ReassignableTopicResponse>, strict 0..;
    }

    /// Partitions of a topic.
    struct ReassignableTopic {
        /// Its name.
        name: String, strict 0..;
        /// The partitions.
        partitions: Vec<ReassignablePartition>, strict 0..;
    }

    /// Where a partition's replicas go.
    struct ReassignablePartition {
        /// The partition's index.
        partition_index: i32, strict 0..;
        /// Brokers of its replicas, preferred leader first; null to cancel.
        replicas: Option<Vec<i32>> = None, strict 0..;
    }

    /// What became of a topic's partitions.
    struct ReassignableTopicResponse {
        /// Its name.
        name: String, strict 0..;
        /// The partitions.
        partitions: Vec<ReassignablePartitionResponse>, strict 0..;
    }

    /// What became of one partition.
    struct ReassignablePartitionResponse {
        /// The partition's index.
        partition_index: i32, strict 0..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// What went wrong, in words.
        error_message: Option<String>, strict 0..;
    }
}
