//! OffsetFetch: how far groups have read.
//!
//! Version 2 can ask for all topics, 5 adds leader epochs (KIP-320), 6 is flexible, 7 can insist on offsets
//! without open transactions (KIP-447), 8 asks for many groups (KIP-709), 9 serves the consumer protocol
//! (KIP-848), 10 has topic ids in place of names.

use crate::model::ids::TopicId;
use crate::protocol::message::message;

message! {
    api OffsetFetch, versions 1..=10, flexible 6..;

    /// Asks how far groups have read.
    request OffsetFetchRequest {
        /// The group, up to version 7.
        group_id: String, strict 0..=7;
        /// The topics, up to version 7; null for all.
        topics: Option<Vec<OffsetFetchRequestTopic>>, strict 0..=7, nullable 2..=7;
        /// The groups, from version 8 on.
        groups: Vec<OffsetFetchRequestGroup>, strict 8..;
        /// Whether offsets of open transactions are an error.
        require_stable: bool, strict 7..;
    }

    /// How far they have.
    response OffsetFetchResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, ignorable 3..;
        /// The topics, up to version 7.
        topics: Vec<OffsetFetchResponseTopic>, strict 0..=7;
        /// 0, or what went wrong, up to version 7.
        error_code: i16, ignorable 2..=7;
        /// The groups, from version 8 on.
        groups: Vec<OffsetFetchResponseGroup>, strict 8..;
    }

    /// Partitions of a topic, up to version 7.
    struct OffsetFetchRequestTopic {
        /// Its name.
        name: String, strict 0..=7;
        /// The partitions' indexes.
        partition_indexes: Vec<i32>, strict 0..=7;
    }

    /// What is asked of one group.
    struct OffsetFetchRequestGroup {
        /// The group.
        group_id: String, strict 8..;
        /// The member's id.
        member_id: Option<String> = None, ignorable 9..;
        /// The member's epoch; -1 if it is none.
        member_epoch: i32 = -1, ignorable 9..;
        /// The topics; null for all.
        topics: Option<Vec<OffsetFetchRequestTopics>>, strict 8..;
    }

    /// Partitions of a topic.
    struct OffsetFetchRequestTopics {
        /// Its name.
        name: String, ignorable 8..=9;
        /// Its id, or zero.
        topic_id: TopicId, ignorable 10..;
        /// The partitions' indexes.
        partition_indexes: Vec<i32>, strict 8..;
    }

    /// Partitions of a topic, up to version 7.
    struct OffsetFetchResponseTopic {
        /// Its name.
        name: String, strict 0..=7;
        /// The partitions.
        partitions: Vec<OffsetFetchResponsePartition>, strict 0..=7;
    }

    /// How far one group has read.
    struct OffsetFetchResponseGroup {
        /// The group.
        group_id: String, strict 8..;
        /// The topics.
        topics: Vec<OffsetFetchResponseTopics>, strict 8..;
        /// 0, or what went wrong.
        error_code: i16, strict 8..;
    }

    /// How far a partition was read, up to version 7.
    struct OffsetFetchResponsePartition {
        /// The partition's index.
        partition_index: i32, strict 0..=7;
        /// The next offset to read; -1 if there is none.
        committed_offset: i64, strict 0..=7;
        /// The epoch of the last record read; -1 if not known.
        committed_leader_epoch: i32 = -1, ignorable 5..=7;
        /// What the client noted with it.
        metadata: Option<String>, strict 0..=7;
        /// 0, or what went wrong.
        error_code: i16, strict 0..=7;
    }

    /// Partitions of a topic.
    struct OffsetFetchResponseTopics {
        /// Its name.
        name: String, ignorable 8..=9;
        /// Its id, or zero.
        topic_id: TopicId, ignorable 10..;
        /// The partitions.
        partitions: Vec<OffsetFetchResponsePartitions>, strict 8..;
    }

    /// How far a partition was read.
    struct OffsetFetchResponsePartitions {
        /// The partition's index.
        partition_index: i32, strict 8..;
        /// The next offset to read; -1 if there is none.
        committed_offset: i64, strict 8..;
        /// The epoch of the last record read; -1 if not known.
        committed_leader_epoch: i32 = -1, ignorable 8..;
        /// What the client noted with it.
        metadata: Option<String>, strict 8..;
        /// 0, or what went wrong.
        error_code: i16, strict 8..;
    }
}
