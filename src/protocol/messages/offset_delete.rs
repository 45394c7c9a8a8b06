//! OffsetDelete: committed offsets are forgotten (KIP-496).

use crate::protocol::message::{NEVER, message};

message! {
    api OffsetDelete, versions 0..=0, flexible NEVER;

    /// Forgets how far a group has read some partitions.
    request OffsetDeleteRequest {
        /// The group.
        group_id: String, strict 0..;
        /// The topics.
        topics: Vec<OffsetDeleteRequestTopic>, strict 0..;
    }

    /// What became of it.
    response OffsetDeleteResponse {
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, ignorable 0..;
        /// The topics.
        topics: Vec<OffsetDeleteResponseTopic>, strict 0..;
    }

    /// Partitions of a topic.
    struct OffsetDeleteRequestTopic {
        /// Its name.
        name: String, strict 0..;
        /// The partitions.
        partitions: Vec<OffsetDeleteRequestPartition>, strict 0..;
    }

    /// A partition to forget.
    struct OffsetDeleteRequestPartition {
        /// The partition's index.
        partition_index: i32, strict 0..;
    }

    /// What became of a topic's partitions.
    struct OffsetDeleteResponseTopic {
        /// Its name.
        name: String, strict 0..;
        /// The partitions.
        partitions: Vec<OffsetDeleteResponsePartition>, strict 0..;
    }

    /// What became of one partition.
    struct OffsetDeleteResponsePartition {
        /// The partition's index.
        partition_index: i32, strict 0..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
    }
}
