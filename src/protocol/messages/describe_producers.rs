//! DescribeProducers: the producers that partitions know (KIP-664).

use crate::protocol::message::message;

message! {
    api DescribeProducers, versions 0..=0, flexible 0..;

    /// Asks which producers partitions know.
    request DescribeProducersRequest {
        /// The topics.
        topics: Vec<TopicRequest>, strict 0..;
    }

    /// The producers.
    response DescribeProducersResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, strict 0..;
        /// The topics.
        topics: Vec<TopicResponse>, strict 0..;
    }

    /// Partitions of a topic.
    struct TopicRequest {
        /// Its name.
        name: String, strict 0..;
        /// The partitions' indexes.
        partition_indexes: Vec<i32>, strict 0..;
    }

    /// Producers of a topic's partitions.
    struct TopicResponse {
        /// Its name.
        name: String, strict 0..;
        /// The partitions.
        partitions: Vec<PartitionResponse>, strict 0..;
    }

    /// Producers of one partition.
    struct PartitionResponse {
        /// The partition's index.
        partition_index: i32, strict 0..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// What went wrong, in words.
        error_message: Option<String> = None, strict 0..;
        /// The producers it knows.
        active_producers: Vec<ProducerState>, strict 0..;
    }

    /// A producer.
    struct ProducerState {
        /// The producer's id.
        producer_id: i64, strict 0..;
        /// The producer's epoch, 32 bits wide here.
        producer_epoch: i32, strict 0..;
        /// The last sequence number it appended; -1 if none.
        last_sequence: i32 = -1, strict 0..;
        /// When it last appended, in milliseconds since 1970.
        last_timestamp: i64 = -1, strict 0..;
        /// The epoch of the transaction coordinator.
        coordinator_epoch: i32, strict 0..;
        /// Where its open transaction starts; -1 if there is none.
        current_txn_start_offset: i64 = -1, strict 0..;
    }
}
