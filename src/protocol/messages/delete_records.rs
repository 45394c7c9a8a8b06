//! DeleteRecords: the first records of partitions are deleted (KIP-107).
//!
//! Version 2 is flexible.

use crate::protocol::message::message;

message! {
    api DeleteRecords, versions 0..=2, flexible 2..;

    /// Deletes the first records of partitions.
    request DeleteRecordsRequest {
        /// The topics.
        topics: Vec<DeleteRecordsTopic>, strict 0..;
        /// How long to wait for it to be done, in milliseconds.
        timeout_ms: i32, strict 0..;
    }

    /// What became of it.
    response DeleteRecordsResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, strict 0..;
        /// The topics.
        topics: Vec<DeleteRecordsTopicResult>, strict 0..;
    }

    /// Partitions of a topic.
    struct DeleteRecordsTopic {
        /// Its name.
        name: String, strict 0..;
        /// The partitions.
        partitions: Vec<DeleteRecordsPartition>, strict 0..;
    }

    /// Up to where to delete in a partition.
    struct DeleteRecordsPartition {
        /// The partition's index.
        partition_index: i32, strict 0..;
        /// The first offset to keep; -1 for the high watermark.
        offset: i64, strict 0..;
    }

    /// What became of a topic's partitions.
    struct DeleteRecordsTopicResult {
        /// Its name.
        name: String, strict 0..;
        /// The partitions.
        partitions: Vec<DeleteRecordsPartitionResult>, strict 0..;
    }

    /// What became of one partition.
    struct DeleteRecordsPartitionResult {
        /// The partition's index.
        partition_index: i32, strict 0..;
        /// The first offset there is now; -1 on an error.
        low_watermark: i64, strict 0..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
    }
}
