//! ListTransactions: the transactions of a coordinator (KIP-664).
//!
//! Version 1 filters by duration (KIP-994), 2 by a regular expression (KIP-1152).

use crate::protocol::message::message;

message! {
    api ListTransactions, versions 0..=2, flexible 0..;

    /// Asks for all transactions of a coordinator.
    request ListTransactionsRequest {
        /// States to show; empty for all.
        state_filters: Vec<String>, strict 0..;
        /// Producers to show; empty for all.
        producer_id_filters: Vec<i64>, strict 0..;
        /// Show what has been open for longer than this, in milliseconds; -1 for all.
        duration_filter: i64 = -1, strict 1..;
        /// A regular expression that ids match; null or empty for all.
        transactional_id_pattern: Option<String> = None, strict 2..;
    }

    /// The transactions.
    response ListTransactionsResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, strict 0..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// States of the filter that nobody knows.
        unknown_state_filters: Vec<String>, strict 0..;
        /// The transactions.
        transaction_states: Vec<TransactionState>, strict 0..;
    }

    /// A transaction.
    struct TransactionState {
        /// The transactional id.
        transactional_id: String, strict 0..;
        /// The producer's id.
        producer_id: i64, strict 0..;
        /// The transaction's state, by name.
        transaction_state: String, strict 0..;
    }
}
