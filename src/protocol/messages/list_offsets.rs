//! ListOffsets: an offset for a time, or for the start or the end of a partition.
//!
//! Version 2 adds isolation (KIP-98), 4 leader epochs (KIP-320), 6 is flexible, 7 knows the record of the
//! largest timestamp (KIP-734), 8 the local start of a tiered log (KIP-405), 9 its tiered end (KIP-1005),
//! 10 a time limit for asking the tier (KIP-1075), 11 the earliest offset not yet tiered (KIP-1023).

use crate::protocol::message::message;

message! {
    api ListOffsets, versions 1..=11, flexible 6..;

    /// Asks for offsets of some partitions.
    request ListOffsetsRequest {
        /// The asking replica's broker id; -1 from a consumer.
        replica_id: i32, strict 0..;
        /// 0: below the high watermark; 1: below the last stable offset.
        isolation_level: i8, strict 2..;
        /// The topics.
        topics: Vec<ListOffsetsTopic>, strict 0..;
        /// How long the tier may take, in milliseconds.
        timeout_ms: i32, ignorable 10..;
    }

    /// Offsets, or why there are none.
    response ListOffsetsResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, ignorable 2..;
        /// The topics.
        topics: Vec<ListOffsetsTopicResponse>, strict 0..;
    }

    /// Partitions of a topic.
    struct ListOffsetsTopic {
        /// Its name.
        name: String, strict 0..;
        /// The partitions.
        partitions: Vec<ListOffsetsPartition>, strict 0..;
    }

    /// What is asked of a partition.
    struct ListOffsetsPartition {
        /// The partition's index.
        partition_index: i32, strict 0..;
        /// The leader's epoch as the client knows it; -1 to skip the check.
        current_leader_epoch: i32 = -1, ignorable 4..;
        /// Milliseconds since 1970, or -1 latest, -2 earliest, and the others of the head.
        timestamp: i64, strict 0..;
    }

    /// Offsets of a topic.
    struct ListOffsetsTopicResponse {
        /// Its name.
        name: String, strict 0..;
        /// The partitions.
        partitions: Vec<ListOffsetsPartitionResponse>, strict 0..;
    }

    /// The offset of a partition.
    struct ListOffsetsPartitionResponse {
        /// The partition's index.
        partition_index: i32, strict 0..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// The timestamp of the record found; -1 if not asked for by time.
        timestamp: i64 = -1, strict 1..;
        /// The offset; -1 if there is none.
        offset: i64 = -1, strict 1..;
        /// The epoch of the record found; -1 if not known.
        leader_epoch: i32 = -1, strict 4..;
    }
}
