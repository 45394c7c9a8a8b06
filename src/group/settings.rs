//! Settings of the group coordinator, and the limits that no setting covers.
//!
//! In:   `crate::config`'s broker settings, by the driver.
//! Out:  [`GroupSettings`].
//! Home: pure.
//!
//! Each limit says what happens when it is reached. Together they bound what one group, and
//! one coordinator partition, may cost in memory.

use crate::config::groups::{Limits, MigrationPolicy, OwnGroupSettings};
use crate::group::assignor::Assignor;
use crate::group::ids::GroupId;

/// Groups of one coordinator partition; a further one is refused until some are gone.
pub const GROUPS_PER_PARTITION_MAX: usize = 1_000_000;

/// Member ids that a group has given out and nobody has joined with yet; while there are so
/// many, a new member is told to try again.
pub const PENDING_MEMBERS_PER_GROUP_MAX: usize = 10_000;

/// Protocols of one `JoinGroup`; more count as "none in common".
pub const PROTOCOLS_PER_MEMBER_MAX: usize = 100;

/// How much more than one record a group's members may send as metadata together, since they
/// send one piece per protocol and only one is stored; beyond it the group is full.
pub const METADATA_RECORDS_PER_GROUP_MAX: usize = 16;

/// Offsets of open transactions in one coordinator partition; beyond it, `TxnOffsetCommit` is
/// told to try again.
pub const PENDING_OFFSETS_PER_PARTITION_MAX: usize = 1_000_000;

/// Groups that one tick looks at for expired offsets, so that a sweep never holds its shard.
pub const GROUPS_PER_SWEEP_TICK: usize = 1_000;

/// What a broker's administrator decides about groups. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// `group.min.session.timeout.ms`.
    pub session_timeout_ms_min: i32,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_ms_max: i32,
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`: members of a classic group.
    pub group_size_max: usize,
    /// How long a new member's `JoinGroup` may be parked; 5 minutes, as Kafka's constant.
    pub new_member_join_timeout_ms: i32,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_bytes_max: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_ms: i64,
    /// `group.consumer.session.timeout.ms`.
    pub consumer_session_timeout_ms: i32,
    /// `group.consumer.heartbeat.interval.ms`.
    pub consumer_heartbeat_interval_ms: i32,
    /// `group.consumer.assignment.interval.ms`: how often a target is computed at most.
    pub consumer_assignment_interval_ms: i32,
    /// `group.consumer.min.*` and `group.consumer.max.*`: bounds of what a group sets for itself.
    pub consumer_limits: Limits,
    /// `group.consumer.max.size`: members of a KIP-848 group.
    pub consumer_group_size_max: usize,
    /// `group.consumer.migration.policy`.
    pub consumer_migration_policy: MigrationPolicy,
    /// `group.consumer.assignors`; the first is the default. Not empty.
    pub consumer_assignors: Vec<Assignor>,
    /// The largest record that the coordinator's partition takes, in bytes: its
    /// `max.message.bytes` less what a batch adds.
    pub record_bytes_max: usize,
}

/// What groups have set for themselves.
pub trait OwnSettings: std::fmt::Debug {
    /// What `group` has; nothing if that is empty.
    fn of(&self, group: &GroupId) -> Option<OwnGroupSettings>;
}

/// No group has any.
#[derive(Clone, Copy, Debug)]
pub struct NoOwnSettings;

impl OwnSettings for NoOwnSettings {
    fn of(&self, _group: &GroupId) -> Option<OwnGroupSettings> {
        None
    }
}

impl GroupSettings {
    /// The settings as they are for a group with these of its own. What is outside of the limits,
    /// since they have been moved, counts as the nearest within.
    pub(super) fn with(&self, own: &OwnGroupSettings) -> GroupSettings {
        let or = |own: Option<i32>, all, (least, greatest): (i32, i32)| {
            own.map_or(all, |own| own.min(greatest).max(least))
        };
        let limits = &self.consumer_limits;
        GroupSettings {
            consumer_session_timeout_ms: or(
                own.session_timeout_ms,
                self.consumer_session_timeout_ms,
                limits.session_timeout_ms,
            ),
            consumer_heartbeat_interval_ms: or(
                own.heartbeat_interval_ms,
                self.consumer_heartbeat_interval_ms,
                limits.heartbeat_interval_ms,
            ),
            consumer_assignment_interval_ms: or(
                own.assignment_interval_ms,
                self.consumer_assignment_interval_ms,
                limits.assignment_interval_ms,
            ),
            ..self.clone()
        }
    }
}

impl Default for GroupSettings {
    /// Kafka's defaults.
    fn default() -> GroupSettings {
        GroupSettings {
            session_timeout_ms_min: 6_000,
            session_timeout_ms_max: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            group_size_max: i32::MAX as usize,
            new_member_join_timeout_ms: 300_000,
            offset_metadata_bytes_max: 4_096,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1_000,
            offsets_retention_check_ms: 600_000,
            consumer_session_timeout_ms: 45_000,
            consumer_heartbeat_interval_ms: 5_000,
            consumer_assignment_interval_ms: 1_000,
            consumer_limits: Limits {
                session_timeout_ms: (45_000, 60_000),
                heartbeat_interval_ms: (5_000, 15_000),
                assignment_interval_ms: (0, 15_000),
            },
            consumer_group_size_max: i32::MAX as usize,
            consumer_migration_policy: MigrationPolicy::Bidirectional,
            consumer_assignors: Assignor::ALL.to_vec(),
            record_bytes_max: 1_048_588 - 1_024,
        }
    }
}
