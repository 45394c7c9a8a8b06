//! OffsetCommit: how far a group has read.
//!
//! Version 5 drops the retention time (KIP-211), 6 adds leader epochs (KIP-320), 7 static members (KIP-345),
//! 8 is flexible, 9 serves the consumer protocol (KIP-848), 10 has topic ids in place of names.

use crate::model::ids::TopicId;
use crate::protocol::message::message;

message! {
    api OffsetCommit, versions 2..=10, flexible 8..;

    /// Notes how far a group has read.
    request OffsetCommitRequest {
        /// The group.
        group_id: String, strict 0..;
        /// The generation, or the epoch of a member of the consumer protocol; -1 if no member.
        generation_id_or_member_epoch: i32 = -1, ignorable 1..;
        /// The member's id.
        member_id: String, ignorable 1..;
        /// The id of a static member; null of a dynamic one.
        group_instance_id: Option<String> = None, strict 7..;
        /// How long to keep the offsets, in milliseconds; -1 for the broker's own setting.
        retention_time_ms: i64 = -1, ignorable 2..=4;
        /// The topics.
        topics: Vec<OffsetCommitRequestTopic>, strict 0..;
    }

    /// What became of it.
    response OffsetCommitResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, ignorable 3..;
        /// The topics.
        topics: Vec<OffsetCommitResponseTopic>, strict 0..;
    }

    /// Partitions of a topic.
    struct OffsetCommitRequestTopic {
        /// Its name.
        name: String, ignorable 0..=9;
        /// Its id, or zero.
        topic_id: TopicId, ignorable 10..;
        /// The partitions.
        partitions: Vec<OffsetCommitRequestPartition>, strict 0..;
    }

    /// How far a partition was read.
    struct OffsetCommitRequestPartition {
        /// The partition's index.
        partition_index: i32, strict 0..;
        /// The next offset to read.
        committed_offset: i64, strict 0..;
        /// The epoch of the last record read; -1 if not known.
        committed_leader_epoch: i32 = -1, ignorable 6..;
        /// What the client noted with it.
        committed_metadata: Option<String>, strict 0..;
    }

    /// What became of a topic's partitions.
    struct OffsetCommitResponseTopic {
        /// Its name.
        name: String, ignorable 0..=9;
        /// Its id, or zero.
        topic_id: TopicId, ignorable 10..;
        /// The partitions.
        partitions: Vec<OffsetCommitResponsePartition>, strict 0..;
    }

    /// What became of one partition.
    struct OffsetCommitResponsePartition {
        /// The partition's index.
        partition_index: i32, strict 0..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
    }
}
