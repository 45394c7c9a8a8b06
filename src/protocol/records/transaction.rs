//! Transactions in `__transaction_state`.
//!
//! Version 1 is written from transaction version 1 on, 0 before. Source: KIP-98, KIP-890; Kafka 4.3's schemas.

use crate::protocol::message::NEVER;
use crate::protocol::records::{RecordKey, data};

/// The version in which Kafka 4.3 writes a transaction.
pub const TRANSACTION_LOG_VALUE_VERSION: i16 = 1;

data! {
    versions 0..=0, flexible NEVER;

    /// A transactional id.
    root TransactionLogKey {
        /// The transactional id.
        transactional_id: String, strict 0..=0;
    }
}

impl RecordKey for TransactionLogKey {
    const TYPE: i16 = 0;
}

data! {
    versions 0..=1, flexible 1..;

    /// How its transaction stands.
    root TransactionLogValue {
        /// The producer id.
        producer_id: i64, strict 0..;
        /// The producer id before this one; -1 if there is none.
        previous_producer_id: i64 = -1, strict 1.., tag 0;
        /// The producer id of the transaction to come; -1 if it stays.
        next_producer_id: i64 = -1, strict 1.., tag 1;
        /// The producer's epoch.
        producer_epoch: i16, strict 0..;
        /// The producer epoch of the transaction to come; -1 if it stays.
        next_producer_epoch: i16 = -1, strict 1.., tag 3;
        /// How long it may be open, in milliseconds.
        transaction_timeout_ms: i32, strict 0..;
        /// The transaction's state, as a number.
        transaction_status: i8, strict 0..;
        /// The partitions in it; null if there are none.
        transaction_partitions: Option<Vec<PartitionsSchema>>, strict 0..;
        /// When it last changed, in milliseconds since 1970.
        transaction_last_update_timestamp_ms: i64, strict 0..;
        /// When it began, in milliseconds since 1970; -1 if it has not.
        transaction_start_timestamp_ms: i64, strict 0..;
        /// The transaction version that the client speaks.
        client_transaction_version: i16, strict 1.., tag 2;
    }

    /// Partitions of a topic.
    struct PartitionsSchema {
        /// The topic's name.
        topic: String, strict 0..;
        /// The partitions' indexes.
        partition_ids: Vec<i32>, strict 0..;
    }
}
