//! DescribeLogDirs: what lies in a broker's data folders (KIP-113).
//!
//! Version 2 is flexible, 3 adds an error for the whole answer, 4 the size of the volume (KIP-827), 5 whether
//! a folder is cordoned.

use crate::protocol::message::message;

message! {
    api DescribeLogDirs, versions 1..=5, flexible 2..;

    /// Asks what lies in the broker's data folders.
    request DescribeLogDirsRequest {
        /// The topics; null for all.
        topics: Option<Vec<DescribableLogDirTopic>>, strict 0..;
    }

    /// The folders.
    response DescribeLogDirsResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, strict 0..;
        /// 0, or what went wrong.
        error_code: i16, ignorable 3..;
        /// What became of each.
        results: Vec<DescribeLogDirsResult>, strict 0..;
    }

    /// Partitions of a topic.
    struct DescribableLogDirTopic {
        /// The topic's name.
        topic: String, strict 0..;
        /// The partitions.
        partitions: Vec<i32>, strict 0..;
    }

    /// A folder.
    struct DescribeLogDirsResult {
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// The folder, as an absolute path.
        log_dir: String, strict 0..;
        /// The topics.
        topics: Vec<DescribeLogDirsTopic>, strict 0..;
        /// The size of the volume, in bytes; -1 if not known.
        total_bytes: i64 = -1, ignorable 4..;
        /// What is free of it, in bytes; -1 if not known.
        usable_bytes: i64 = -1, ignorable 4..;
        /// Whether it takes no new partitions.
        is_cordoned: bool, ignorable 5..;
    }

    /// What a folder has of a topic.
    struct DescribeLogDirsTopic {
        /// Its name.
        name: String, strict 0..;
        /// The partitions.
        partitions: Vec<DescribeLogDirsPartition>, strict 0..;
    }

    /// The log of one partition.
    struct DescribeLogDirsPartition {
        /// The partition's index.
        partition_index: i32, strict 0..;
        /// How large its log is, in bytes.
        partition_size: i64, strict 0..;
        /// How far it is behind the high watermark, or a future replica behind the current one.
        offset_lag: i64, strict 0..;
        /// Whether it is to replace the replica in another folder.
        is_future_key: bool, strict 0..;
    }
}
