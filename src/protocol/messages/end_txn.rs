//! EndTxn: a transaction is committed or aborted.
//!
//! Version 3 is flexible, 4 may answer that a transaction can be aborted, 5 answers with the epoch to come
//! (KIP-890).

use crate::protocol::message::message;

message! {
    api EndTxn, versions 0..=5, flexible 3..;

    /// Commits or aborts a transaction.
    request EndTxnRequest {
        /// The transactional id.
        transactional_id: String, strict 0..;
        /// The producer's id.
        producer_id: i64, strict 0..;
        /// The producer's epoch.
        producer_epoch: i16, strict 0..;
        /// True to commit, false to abort.
        committed: bool, strict 0..;
    }

    /// What became of it.
    response EndTxnResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, strict 0..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// The producer's id.
        producer_id: i64 = -1, ignorable 5..;
        /// The producer's epoch.
        producer_epoch: i16 = -1, ignorable 5..;
    }
}
