//! InitProducerId: an id and epoch for an idempotent or transactional producer.
//!
//! Version 2 is flexible, 3 lets a producer keep its id (KIP-360), 4 tells a fenced producer so (KIP-588),
//! 5 is for transactions of the second kind (KIP-890). Version 6 is not stable in Kafka 4.3.

use crate::protocol::message::message;

message! {
    api InitProducerId, versions 0..=5, flexible 2..;

    /// Asks for a producer id.
    request InitProducerIdRequest {
        /// The transactional id; null for an idempotent producer.
        transactional_id: Option<String>, strict 0..;
        /// After how long an open transaction is aborted, in milliseconds.
        transaction_timeout_ms: i32, strict 0..;
        /// The id to keep; -1 for a new one.
        producer_id: i64 = -1, strict 3..;
        /// The epoch of the id to keep; -1 for a new one.
        producer_epoch: i16 = -1, strict 3..;
    }

    /// The producer id, or why there is none.
    response InitProducerIdResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, ignorable 0..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// The producer id; -1 for none.
        producer_id: i64 = -1, strict 0..;
        /// The epoch of the producer id.
        producer_epoch: i16, strict 0..;
    }
}
