//! Settings of the transaction coordinator, and the limits that no setting covers.
//!
//! In:   `crate::config`'s broker settings, by the driver.
//! Out:  [`TransactionSettings`].
//! Home: pure.

/// Ids of one coordinator partition; a further one is told to try again until some have expired.
pub const IDS_PER_PARTITION_MAX: usize = 1_000_000;

/// Partitions in the transactions of one coordinator partition; beyond it, a producer that adds
/// one is told to try again.
pub const PARTITIONS_PER_PARTITION_MAX: usize = 4_000_000;

/// Ids that one tick looks at, or transactions that it aborts, so that it never holds its shard.
pub const IDS_PER_TICK: usize = 1_000;

/// What a broker's administrator decides about transactions. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionSettings {
    /// `transaction.max.timeout.ms`.
    pub timeout_ms_max: i32,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`; 1 or more.
    pub abort_interval_ms: i64,
    /// `transactional.id.expiration.ms`.
    pub id_expiration_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`; 1 or more.
    pub expiry_interval_ms: i64,
    /// Longest record that the partition takes, in bytes.
    pub record_bytes_max: usize,
}

impl Default for TransactionSettings {
    /// Kafka's.
    fn default() -> TransactionSettings {
        TransactionSettings {
            timeout_ms_max: 900_000,
            abort_interval_ms: 10_000,
            id_expiration_ms: 7 * 24 * 3_600_000,
            expiry_interval_ms: 3_600_000,
            record_bytes_max: 1 << 20,
        }
    }
}
