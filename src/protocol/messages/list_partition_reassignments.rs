//! ListPartitionReassignments: which replicas are being moved (KIP-455).

use crate::protocol::message::message;

message! {
    api ListPartitionReassignments, versions 0..=0, flexible 0..;

    /// Asks which replicas are being moved.
    request ListPartitionReassignmentsRequest {
        /// How long to wait for it to be done, in milliseconds.
        timeout_ms: i32 = 60000, strict 0..;
        /// The topics; null for all.
        topics: Option<Vec<ListPartitionReassignmentsTopics>> = None, strict 0..;
    }

    /// The partitions that are being moved.
    response ListPartitionReassignmentsResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, strict 0..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// What went wrong, in words.
        error_message: Option<String>, strict 0..;
        /// The topics.
        topics: Vec<OngoingTopicReassignment>, strict 0..;
    }

    /// Partitions of a topic.
    struct ListPartitionReassignmentsTopics {
        /// Its name.
        name: String, strict 0..;
        /// The partitions' indexes.
        partition_indexes: Vec<i32>, strict 0..;
    }

    /// Partitions of a topic.
    struct OngoingTopicReassignment {
        /// Its name.
        name: String, strict 0..;
        /// The partitions.
        partitions: Vec<OngoingPartitionReassignment>, strict 0..;
    }

    /// A partition that is being moved.
    struct OngoingPartitionReassignment {
        /// The partition's index.
        partition_index: i32, strict 0..;
        /// Brokers of its replicas, preferred leader first.
        replicas: Vec<i32>, strict 0..;
        /// Brokers that are added.
        adding_replicas: Vec<i32>, strict 0..;
        /// Brokers that are removed.
        removing_replicas: Vec<i32>, strict 0..;
    }
}
