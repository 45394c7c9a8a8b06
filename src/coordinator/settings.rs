//! The broker's settings as the cores take them.
//!
//! In: [`BrokerConfig`]. Out: [`GroupSettings`], [`TransactionSettings`]. Home: pure.

use crate::config::broker::BrokerConfig;
use crate::group::settings::GroupSettings;
use crate::transaction::settings::TransactionSettings;

/// What a batch adds to one record, at most: its header, the record's own and two lengths.
const BATCH_OVERHEAD_BYTES: usize = 1_024;

/// The group settings of a broker.
pub fn group_settings(config: &BrokerConfig) -> GroupSettings {
    let groups = &config.groups;
    let count = |number: i32| usize::try_from(number).expect("the table of settings says so");
    GroupSettings {
        session_timeout_ms_min: groups.min_session_timeout_ms,
        session_timeout_ms_max: groups.max_session_timeout_ms,
        initial_rebalance_delay_ms: groups.initial_rebalance_delay_ms,
        group_size_max: count(groups.max_size),
        consumer_session_timeout_ms: groups.consumer_session_timeout_ms,
        consumer_heartbeat_interval_ms: groups.consumer_heartbeat_interval_ms,
        consumer_assignment_interval_ms: groups.consumer_assignment_interval_ms,
        consumer_limits: groups.consumer_limits,
        consumer_group_size_max: count(groups.consumer_max_size),
        consumer_migration_policy: groups.consumer_migration_policy,
        offset_metadata_bytes_max: count(groups.offset_metadata_max_bytes),
        offsets_retention_ms: i64::from(groups.offsets_retention_minutes) * 60_000,
        offsets_retention_check_ms: groups.offsets_retention_check_interval_ms,
        record_bytes_max: record_bytes_max(config),
        ..GroupSettings::default()
    }
}

/// The transaction settings of a broker.
pub fn transaction_settings(config: &BrokerConfig) -> TransactionSettings {
    let transactions = &config.transactions;
    TransactionSettings {
        timeout_ms_max: transactions.max_timeout_ms,
        abort_interval_ms: transactions.abort_interval_ms,
        id_expiration_ms: transactions.id_expiration_ms,
        expiry_interval_ms: transactions.expiry_interval_ms,
        record_bytes_max: record_bytes_max(config),
    }
}

/// The longest record that a coordinator's partition takes.
fn record_bytes_max(config: &BrokerConfig) -> usize {
    let batch = usize::try_from(config.message_max_bytes).expect("the table of settings says so");
    batch.saturating_sub(BATCH_OVERHEAD_BYTES)
}
