//! Settings of transactions and of the topic that keeps them.
//!
//! In: the resolved table. Out: [`TransactionConfig`]. Home: pure.

/// `transaction.*` and `transactional.*`. Times are milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionConfig {
    /// `transaction.max.timeout.ms`.
    pub max_timeout_ms: i32,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`.
    pub abort_interval_ms: i64,
    /// `transactional.id.expiration.ms`.
    pub id_expiration_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`.
    pub expiry_interval_ms: i64,
    /// `transaction.partition.verification.enable`.
    pub partition_verification: bool,
    /// `transaction.state.log.num.partitions`.
    pub topic_num_partitions: i32,
    /// `transaction.state.log.replication.factor`, fewer where there are fewer brokers.
    pub topic_replication_factor: i16,
    /// `transaction.state.log.segment.bytes`.
    pub topic_segment_bytes: i32,
}
