//! DescribeQuorum: the controllers' quorum (KIP-595).
//!
//! Version 1 adds times of the last fetch (KIP-836), 2 nodes, folders and messages (KIP-853).

use crate::model::ids::TopicId;
use crate::protocol::message::message;

message! {
    api DescribeQuorum, versions 0..=2, flexible 0..;

    /// Asks for the controllers' quorum.
    request DescribeQuorumRequest {
        /// The topics.
        topics: Vec<DescribeQuorumTopic>, strict 0..;
    }

    /// The quorum.
    response DescribeQuorumResponse {
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// What went wrong, in words.
        error_message: Option<String>, ignorable 2..;
        /// The topics.
        topics: Vec<TopicData>, strict 0..;
        /// The voters and observers that have listeners.
        nodes: Vec<Node>, strict 2..;
    }

    /// Partitions of a topic.
    struct DescribeQuorumTopic {
        /// The topic's name.
        topic_name: String, strict 0..;
        /// The partitions.
        partitions: Vec<DescribeQuorumPartition>, strict 0..;
    }

    /// A partition that is asked for.
    struct DescribeQuorumPartition {
        /// The partition's index.
        partition_index: i32, strict 0..;
    }

    /// The quorum of a topic's partitions.
    struct TopicData {
        /// The topic's name.
        topic_name: String, strict 0..;
        /// The partitions.
        partitions: Vec<PartitionData>, strict 0..;
    }

    /// A node and its listeners.
    struct Node {
        /// The node's id.
        node_id: i32, strict 2..;
        /// Its listeners.
        listeners: Vec<Listener>, strict 2..;
    }

    /// The quorum of one partition.
    struct PartitionData {
        /// The partition's index.
        partition_index: i32, strict 0..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// What went wrong, in words.
        error_message: Option<String>, ignorable 2..;
        /// The leader's id; -1 if there is none.
        leader_id: i32, strict 0..;
        /// The leader's epoch.
        leader_epoch: i32, strict 0..;
        /// The high watermark.
        high_watermark: i64, strict 0..;
        /// The voters.
        current_voters: Vec<ReplicaState>, strict 0..;
        /// The observers.
        observers: Vec<ReplicaState>, strict 0..;
    }

    /// A listener.
    struct Listener {
        /// Its name.
        name: String, strict 2..;
        /// Its host.
        host: String, strict 2..;
        /// Its port.
        port: u16, strict 2..;
    }

    /// How far a voter or observer is.
    struct ReplicaState {
        /// The node's id.
        replica_id: i32, strict 0..;
        /// The id of its folder, or zero.
        replica_directory_id: TopicId, strict 2..;
        /// The end of its log; -1 if not known.
        log_end_offset: i64, strict 0..;
        /// When it last fetched, in milliseconds since 1970; -1 if not known.
        last_fetch_timestamp: i64 = -1, ignorable 1..;
        /// When it last had all, in milliseconds since 1970; -1 if not known.
        last_caught_up_timestamp: i64 = -1, ignorable 1..;
    }
}
