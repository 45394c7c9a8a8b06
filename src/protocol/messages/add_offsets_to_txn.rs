//! AddOffsetsToTxn: a group's offsets become part of a transaction.
//!
//! Version 3 is flexible, 4 may answer that a transaction can be aborted (KIP-890).

use crate::protocol::message::message;

message! {
    api AddOffsetsToTxn, versions 0..=4, flexible 3..;

    /// Puts a group's offsets into a transaction.
    request AddOffsetsToTxnRequest {
        /// The transactional id.
        transactional_id: String, strict 0..;
        /// The producer's id.
        producer_id: i64, strict 0..;
        /// The producer's epoch.
        producer_epoch: i16, strict 0..;
        /// The group.
        group_id: String, strict 0..;
    }

    /// What became of it.
    response AddOffsetsToTxnResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, strict 0..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
    }
}
