//! ElectLeaders: leaders of partitions are elected (KIP-183).
//!
//! Version 1 adds unclean elections (KIP-460), 2 is flexible.

use crate::protocol::message::message;

message! {
    api ElectLeaders, versions 0..=2, flexible 2..;

    /// Elects leaders of partitions.
    request ElectLeadersRequest {
        /// 0 of the preferred leader, 1 also of one that was not in sync.
        election_type: i8, strict 1..;
        /// The partitions, by topic; null for all.
        topic_partitions: Option<Vec<TopicPartitions>>, strict 0..;
        /// How long to wait for it to be done, in milliseconds.
        timeout_ms: i32 = 60000, strict 0..;
    }

    /// What became of it.
    response ElectLeadersResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, strict 0..;
        /// 0, or what went wrong.
        error_code: i16, strict 1..;
        /// What became of each topic.
        replica_election_results: Vec<ReplicaElectionResult>, strict 0..;
    }

    /// Partitions of a topic.
    struct TopicPartitions {
        /// The topic's name.
        topic: String, strict 0..;
        /// The partitions.
        partitions: Vec<i32>, strict 0..;
    }

    /// What became of a topic's partitions.
    struct ReplicaElectionResult {
        /// The topic's name.
        topic: String, strict 0..;
        /// What became of each partition.
        partition_result: Vec<PartitionResult>, strict 0..;
    }

    /// What became of one partition.
    struct PartitionResult {
        /// The partition's index.
        partition_id: i32, strict 0..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// What went wrong, in words.
        error_message: Option<String>, strict 0..;
    }
}
