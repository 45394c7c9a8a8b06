//! TxnOffsetCommit: how far a group has read, as part of a transaction.
//!
//! Version 2 adds leader epochs (KIP-320), 3 is flexible and names the member (KIP-447), 4 may answer that a
//! transaction can be aborted, 5 needs no AddOffsetsToTxn before (KIP-890).

use crate::protocol::message::message;

message! {
    api TxnOffsetCommit, versions 0..=5, flexible 3..;

    /// Notes, once the transaction commits, how far a group has read.
    request TxnOffsetCommitRequest {
        /// The transactional id.
        transactional_id: String, strict 0..;
        /// The group.
        group_id: String, strict 0..;
        /// The producer's id.
        producer_id: i64, strict 0..;
        /// The producer's epoch.
        producer_epoch: i16, strict 0..;
        /// The generation of the group.
        generation_id: i32 = -1, strict 3..;
        /// The member's id.
        member_id: String, strict 3..;
        /// The id of a static member; null of a dynamic one.
        group_instance_id: Option<String> = None, strict 3..;
        /// The topics.
        topics: Vec<TxnOffsetCommitRequestTopic>, strict 0..;
    }

    /// What became of it.
    response TxnOffsetCommitResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, strict 0..;
        /// The topics.
        topics: Vec<TxnOffsetCommitResponseTopic>, strict 0..;
    }

    /// Partitions of a topic.
    struct TxnOffsetCommitRequestTopic {
        /// Its name.
        name: String, strict 0..;
        /// The partitions.
        partitions: Vec<TxnOffsetCommitRequestPartition>, strict 0..;
    }

    /// How far a partition was read.
    struct TxnOffsetCommitRequestPartition {
        /// The partition's index.
        partition_index: i32, strict 0..;
        /// The next offset to read.
        committed_offset: i64, strict 0..;
        /// The epoch of the last record read; -1 if not known.
        committed_leader_epoch: i32 = -1, ignorable 2..;
        /// What the client noted with it.
        committed_metadata: Option<String>, strict 0..;
    }

    /// What became of a topic's partitions.
    struct TxnOffsetCommitResponseTopic {
        /// Its name.
        name: String, strict 0..;
        /// The partitions.
        partitions: Vec<TxnOffsetCommitResponsePartition>, strict 0..;
    }

    /// What became of one partition.
    struct TxnOffsetCommitResponsePartition {
        /// The partition's index.
        partition_index: i32, strict 0..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
    }
}
