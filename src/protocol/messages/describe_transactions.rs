//! DescribeTransactions: transactions and their partitions (KIP-664).

use crate::protocol::message::message;

message! {
    api DescribeTransactions, versions 0..=0, flexible 0..;

    /// Asks for transactions.
    request DescribeTransactionsRequest {
        /// The transactional ids.
        transactional_ids: Vec<String>, strict 0..;
    }

    /// The transactions.
    response DescribeTransactionsResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, strict 0..;
        /// The transactions.
        transaction_states: Vec<TransactionState>, strict 0..;
    }

    /// A transaction.
    struct TransactionState {
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// The transactional id.
        transactional_id: String, strict 0..;
        /// The transaction's state, by name.
        transaction_state: String, strict 0..;
        /// How long it may be open, in milliseconds.
        transaction_timeout_ms: i32, strict 0..;
        /// When it began, in milliseconds since 1970; -1 if it has not.
        transaction_start_time_ms: i64, strict 0..;
        /// The producer's id.
        producer_id: i64, strict 0..;
        /// The producer's epoch.
        producer_epoch: i16, strict 0..;
        /// The topics.
        topics: Vec<TopicData>, strict 0..;
    }

    /// The quorum of a topic's partitions.
    struct TopicData {
        /// The topic's name.
        topic: String, strict 0..;
        /// The partitions.
        partitions: Vec<i32>, strict 0..;
    }
}
