//! The rows of broker settings of shards and their disks, which Kafka has not.
//!
//! Home: pure, constant data of `keys.rs`, sorted by name.

use super::broker_keys::honoured;
use super::keys::{Kind, Legal, Setting, Unit};

/// Names that `reactor.poll` takes.
pub const POLL_MODES: &[&str] = &["park", "adaptive", "spin"];
/// Names that `storage.direct` takes.
pub const DIRECT_MODES: &[&str] = &["auto", "never"];

/// The rows.
pub const OWN_SETTINGS: &[Setting] = &[
    honoured(
        "reactor.poll",
        Kind::String,
        Some("adaptive"),
        "What an idle shard does: sleep at once (park), look again for \
         reactor.spin.us first (adaptive), or never sleep (spin).",
    )
    .legal(Legal::OneOf(POLL_MODES)),
    honoured("reactor.ring.depth", Kind::Int, Some("1024"), "Entries of each io_uring of a shard.")
        .legal(Legal::Between(32, 32_768)),
    honoured(
        "reactor.spin.us",
        Kind::Int,
        Some("50"),
        "How long an adaptive shard looks for work before it sleeps.",
    )
    .legal(Legal::Between(0, 1_000_000))
    .unit(Unit::Us),
    honoured("shards", Kind::String, Some("auto"), "Number of shards; 'auto': one a usable core.")
        .legal(Legal::NotEmpty),
    honoured(
        "storage.direct",
        Kind::String,
        Some("auto"),
        "O_DIRECT for log files: 'auto' where the file system takes it, 'never' \
         for buffered writes with the same syncs.",
    )
    .legal(Legal::OneOf(DIRECT_MODES)),
    honoured(
        "storage.disk.use.max.percent",
        Kind::Int,
        Some("95"),
        "How full the file system may be for clients to produce; 100: no limit but the disk.",
    )
    .legal(Legal::Between(0, 100))
    .dynamic(),
    honoured(
        "storage.scrub.interval.ms",
        Kind::Long,
        Some("604800000"),
        "How often a closed segment is read again and checked.",
    )
    .legal(Legal::AtLeast(1))
    .unit(Unit::Ms)
    .dynamic(),
    honoured(
        "storage.scrub.max.bytes.per.second",
        Kind::Long,
        Some("10485760"),
        "Bytes of closed segments that are read again a second, of all shards together; 0: none.",
    )
    .legal(Legal::AtLeast(0))
    .unit(Unit::Bytes)
    .dynamic(),
];
