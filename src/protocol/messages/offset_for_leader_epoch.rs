//! OffsetForLeaderEpoch: where an epoch of a partition's leadership ended.
//!
//! Version 2 sends the caller's epoch (KIP-320), 3 its replica id (KIP-392), 4 is flexible.

use crate::protocol::message::message;

message! {
    api OffsetForLeaderEpoch, versions 2..=4, flexible 4..;

    /// Asks where epochs ended.
    request OffsetForLeaderEpochRequest {
        /// The asking replica's broker id; -1 from a consumer, -2 if it does not say.
        replica_id: i32 = -2, ignorable 3..;
        /// The topics.
        topics: Vec<OffsetForLeaderTopic>, strict 0..;
    }

    /// Where epochs ended.
    response OffsetForLeaderEpochResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, ignorable 2..;
        /// The topics.
        topics: Vec<OffsetForLeaderTopicResult>, strict 0..;
    }

    /// Partitions of a topic.
    struct OffsetForLeaderTopic {
        /// The topic's name.
        topic: String, strict 0..;
        /// The partitions.
        partitions: Vec<OffsetForLeaderPartition>, strict 0..;
    }

    /// The epoch asked for of a partition.
    struct OffsetForLeaderPartition {
        /// The partition's index.
        partition: i32, strict 0..;
        /// The leader's epoch as the client knows it; -1 to skip the check.
        current_leader_epoch: i32 = -1, ignorable 2..;
        /// The epoch asked for.
        leader_epoch: i32, strict 0..;
    }

    /// Ends of epochs of a topic.
    struct OffsetForLeaderTopicResult {
        /// The topic's name.
        topic: String, strict 0..;
        /// The partitions.
        partitions: Vec<EpochEndOffset>, strict 0..;
    }

    /// Where an epoch of a partition ended.
    struct EpochEndOffset {
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// The partition's index.
        partition: i32, strict 0..;
        /// The largest epoch not above the one asked for; -1 if there is none.
        leader_epoch: i32 = -1, ignorable 1..;
        /// The first offset after that epoch; -1 if there is none.
        end_offset: i64 = -1, strict 0..;
    }
}
