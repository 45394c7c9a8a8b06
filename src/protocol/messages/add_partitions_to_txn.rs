//! AddPartitionsToTxn: partitions become part of a transaction.
//!
//! Version 3 is flexible, 4 is between brokers: many transactions, or a check only (KIP-890), 5 may answer that
//! a transaction can be aborted.

use crate::protocol::message::message;

message! {
    api AddPartitionsToTxn, versions 0..=5, flexible 3..;

    /// Puts partitions into transactions, or checks that they are there.
    request AddPartitionsToTxnRequest {
        /// The transactions, from version 4 on.
        transactions: Vec<AddPartitionsToTxnTransaction>, strict 4..;
        /// The transactional id, up to version 3.
        v3_and_below_transactional_id: String, strict 0..=3;
        /// The producer's id, up to version 3.
        v3_and_below_producer_id: i64, strict 0..=3;
        /// The producer's epoch, up to version 3.
        v3_and_below_producer_epoch: i16, strict 0..=3;
        /// The topics, up to version 3.
        v3_and_below_topics: Vec<AddPartitionsToTxnTopic>, strict 0..=3;
    }

    /// What became of it.
    response AddPartitionsToTxnResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, strict 0..;
        /// 0, or what went wrong with all of it.
        error_code: i16, ignorable 4..;
        /// What became of each transaction, from version 4 on.
        results_by_transaction: Vec<AddPartitionsToTxnResult>, strict 4..;
        /// What became of each topic, up to version 3.
        results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult>, strict 0..=3;
    }

    /// A transaction.
    struct AddPartitionsToTxnTransaction {
        /// The transactional id.
        transactional_id: String, strict 4..;
        /// The producer's id.
        producer_id: i64, strict 4..;
        /// The producer's epoch.
        producer_epoch: i16, strict 4..;
        /// Whether to check only that they are in the transaction.
        verify_only: bool, strict 4..;
        /// The topics.
        topics: Vec<AddPartitionsToTxnTopic>, strict 4..;
    }

    /// Partitions of a topic.
    struct AddPartitionsToTxnTopic {
        /// Its name.
        name: String, strict 0..;
        /// The partitions.
        partitions: Vec<i32>, strict 0..;
    }

    /// What became of one transaction.
    struct AddPartitionsToTxnResult {
        /// The transactional id.
        transactional_id: String, strict 4..;
        /// What became of each topic.
        topic_results: Vec<AddPartitionsToTxnTopicResult>, strict 4..;
    }

    /// What became of a topic's partitions.
    struct AddPartitionsToTxnTopicResult {
        /// Its name.
        name: String, strict 0..;
        /// What became of each partition.
        results_by_partition: Vec<AddPartitionsToTxnPartitionResult>, strict 0..;
    }

    /// What became of one partition.
    struct AddPartitionsToTxnPartitionResult {
        /// The partition's index.
        partition_index: i32, strict 0..;
        /// 0, or what went wrong.
        partition_error_code: i16, strict 0..;
    }
}
