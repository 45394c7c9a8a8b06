//! DescribeTopicPartitions: topics page by page, with eligible leaders (KIP-966).

use crate::model::ids::TopicId;
use crate::protocol::message::message;

message! {
    api DescribeTopicPartitions, versions 0..=0, flexible 0..;

    /// Asks for a page of topics.
    request DescribeTopicPartitionsRequest {
        /// The topics; empty is all of them.
        topics: Vec<TopicRequest>, strict 0..;
        /// How many partitions the page may have.
        response_partition_limit: i32 = 2000, strict 0..;
        /// Where the page begins; null for the first.
        cursor: Option<Cursor> = None, strict 0..;
    }

    /// A page of topics.
    response DescribeTopicPartitionsResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, ignorable 0..;
        /// The topics.
        topics: Vec<DescribeTopicPartitionsResponseTopic>, strict 0..;
        /// Where the next page begins; null after the last.
        next_cursor: Option<Cursor> = None, strict 0..;
    }

    /// A topic asked for.
    struct TopicRequest {
        /// Its name.
        name: String, strict 0..;
    }

    /// Where a page begins.
    struct Cursor {
        /// The first topic of the page.
        topic_name: String, strict 0..;
        /// Its first partition of the page.
        partition_index: i32, strict 0..;
    }

    /// A topic, or why it cannot be shown.
    struct DescribeTopicPartitionsResponseTopic {
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// Its name; null if not known.
        name: Option<String>, strict 0..;
        /// The topic's id, or zero.
        topic_id: TopicId, ignorable 0..;
        /// Whether it belongs to the broker itself.
        is_internal: bool, ignorable 0..;
        /// The partitions.
        partitions: Vec<DescribeTopicPartitionsResponsePartition>, strict 0..;
        /// A bit for each operation allowed; `i32::MIN` if not asked for.
        topic_authorized_operations: i32 = i32::MIN, strict 0..;
    }

    /// A partition.
    struct DescribeTopicPartitionsResponsePartition {
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// The partition's index.
        partition_index: i32, strict 0..;
        /// The leader's broker id; -1 if there is none.
        leader_id: i32, strict 0..;
        /// The leader's epoch; -1 if not known.
        leader_epoch: i32 = -1, ignorable 0..;
        /// Brokers with a replica, preferred leader first.
        replica_nodes: Vec<i32>, strict 0..;
        /// Brokers with a replica in sync.
        isr_nodes: Vec<i32>, strict 0..;
        /// Brokers that may lead though not in sync (KIP-966).
        eligible_leader_replicas: Option<Vec<i32>> = None, strict 0..;
        /// The last brokers known to be eligible.
        last_known_elr: Option<Vec<i32>> = None, strict 0..;
        /// Brokers with a replica that is offline.
        offline_replicas: Vec<i32>, ignorable 0..;
    }
}
