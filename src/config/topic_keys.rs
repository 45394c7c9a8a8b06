//! The rows of topic settings: all that Apache Kafka 4.3.1 has, and Yeoul's own `flush`.
//!
//! Home: pure, constant data of `keys.rs`, sorted by name.

use super::keys::{Effect, Kind, Legal, Scope, Setting, Unit};

const fn row(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Setting {
    Setting {
        name,
        scope: Scope::Topic,
        kind,
        default: Some(default),
        legal: Legal::Any,
        unit: Unit::None,
        synonym: None,
        effect: Effect::Now,
        dynamic: true,
        doc,
    }
}

impl Setting {
    pub(super) const fn legal(mut self, legal: Legal) -> Setting {
        self.legal = legal;
        self
    }

    pub(super) const fn unit(mut self, unit: Unit) -> Setting {
        self.unit = unit;
        self
    }

    const fn synonym(mut self, name: &'static str) -> Setting {
        self.synonym = Some(name);
        self
    }

    pub(super) const fn described_only(mut self) -> Setting {
        self.effect = Effect::DescribedOnly;
        self
    }
}

/// Names of codecs that `compression.type` takes.
pub const COMPRESSION_TYPES: &[&str] =
    &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
/// Names that `message.timestamp.type` takes.
pub const TIMESTAMP_TYPES: &[&str] = &["CreateTime", "LogAppendTime"];
/// Names that `cleanup.policy` takes, one, both or none.
pub const CLEANUP_POLICIES: &[&str] = &["compact", "delete"];
/// Names that `flush` takes.
pub const FLUSH_POLICIES: &[&str] = &["per-ack", "interval"];
/// Kafka's "never" of 64-bit settings.
pub const LONG_MAX: &str = "9223372036854775807";
/// Smallest legal segment, in bytes. Source: KIP-1030.
pub const SEGMENT_BYTES_MIN: i64 = 1 << 20;

/// Every topic setting.
pub const TOPIC_SETTINGS: &[Setting] = &[
    row(
        "cleanup.policy",
        Kind::List,
        "delete",
        "How old records leave: 'delete' by age and size, 'compact' keeps the \
         last of each key, both, or (empty) never.",
    )
    .legal(Legal::EachOf(CLEANUP_POLICIES))
    .synonym("log.cleanup.policy"),
    row(
        "compression.gzip.level",
        Kind::Int,
        "-1",
        "Level of gzip when the broker compresses: 1 to 9, or -1 for the codec's \
         own.",
    )
    .legal(Legal::LevelOrDefault(1, 9))
    .synonym("compression.gzip.level"),
    row(
        "compression.lz4.level",
        Kind::Int,
        "9",
        "Level of lz4 when the broker compresses: 1 to 17.",
    )
    .legal(Legal::Between(1, 17))
    .synonym("compression.lz4.level")
    .described_only(),
    row(
        "compression.type",
        Kind::String,
        "producer",
        "Codec records are stored in; 'producer' keeps what came.",
    )
    .legal(Legal::OneOf(COMPRESSION_TYPES))
    .synonym("compression.type"),
    row(
        "compression.zstd.level",
        Kind::Int,
        "3",
        "Level of zstd when the broker compresses: -131072 to 22.",
    )
    .legal(Legal::Between(-131_072, 22))
    .synonym("compression.zstd.level"),
    row(
        "delete.retention.ms",
        Kind::Long,
        "86400000",
        "How long a compacted topic keeps the mark of a deleted key.",
    )
    .legal(Legal::AtLeast(0))
    .unit(Unit::Ms)
    .synonym("log.cleaner.delete.retention.ms"),
    row(
        "file.delete.delay.ms",
        Kind::Long,
        "60000",
        "In Kafka, how long a removed segment stays for its readers; here they \
         keep it open, and its files go at once.",
    )
    .legal(Legal::AtLeast(0))
    .unit(Unit::Ms)
    .synonym("log.segment.delete.delay.ms")
    .described_only(),
    row(
        "flush",
        Kind::String,
        "per-ack",
        "Yeoul's own: 'per-ack' makes a record durable before it is \
         acknowledged; 'interval' acknowledges a completed write and syncs after \
         flush.ms or flush.messages.",
    )
    .legal(Legal::OneOf(FLUSH_POLICIES))
    .synonym("log.flush"),
    row(
        "flush.messages",
        Kind::Long,
        LONG_MAX,
        "When set: sync after so many records instead of at each \
         acknowledgement; 1 is each acknowledgement.",
    )
    .legal(Legal::AtLeast(1))
    .synonym("log.flush.interval.messages"),
    row(
        "flush.ms",
        Kind::Long,
        LONG_MAX,
        "When set: sync after so long instead of at each acknowledgement.",
    )
    .legal(Legal::AtLeast(0))
    .unit(Unit::Ms)
    .synonym("log.flush.interval.ms"),
    row("follower.replication.throttled.replicas", Kind::List, "", "")
        .legal(Legal::Replicas)
        .described_only(),
    row(
        "index.interval.bytes",
        Kind::Int,
        "4096",
        "Bytes of log between two entries of the offset index.",
    )
    .legal(Legal::AtLeast(0))
    .unit(Unit::Bytes)
    .synonym("log.index.interval.bytes"),
    row("leader.replication.throttled.replicas", Kind::List, "", "")
        .legal(Legal::Replicas)
        .described_only(),
    row("local.retention.bytes", Kind::Long, "-2", "")
        .legal(Legal::AtLeast(-2))
        .unit(Unit::Bytes)
        .synonym("log.local.retention.bytes")
        .described_only(),
    row("local.retention.ms", Kind::Long, "-2", "")
        .legal(Legal::AtLeast(-2))
        .unit(Unit::Ms)
        .synonym("log.local.retention.ms")
        .described_only(),
    row(
        "max.compaction.lag.ms",
        Kind::Long,
        LONG_MAX,
        "How long a record of a compacted topic may wait for compaction.",
    )
    .legal(Legal::AtLeast(1))
    .unit(Unit::Ms)
    .synonym("log.cleaner.max.compaction.lag.ms"),
    row(
        "max.message.bytes",
        Kind::Int,
        "1048588",
        "Largest record batch taken, its header included.",
    )
    .legal(Legal::AtLeast(0))
    .unit(Unit::Bytes)
    .synonym("message.max.bytes"),
    row(
        "message.timestamp.after.max.ms",
        Kind::Long,
        "3600000",
        "How far a record's timestamp may lie after the broker's clock.",
    )
    .legal(Legal::AtLeast(0))
    .unit(Unit::Ms)
    .synonym("log.message.timestamp.after.max.ms"),
    row(
        "message.timestamp.before.max.ms",
        Kind::Long,
        LONG_MAX,
        "How far a record's timestamp may lie before the broker's clock.",
    )
    .legal(Legal::AtLeast(0))
    .unit(Unit::Ms)
    .synonym("log.message.timestamp.before.max.ms"),
    row(
        "message.timestamp.type",
        Kind::String,
        "CreateTime",
        "Whether records keep the producer's timestamp or get the broker's.",
    )
    .legal(Legal::OneOf(TIMESTAMP_TYPES))
    .synonym("log.message.timestamp.type"),
    row(
        "min.cleanable.dirty.ratio",
        Kind::Double,
        "0.5",
        "Share of uncompacted bytes from which a log is compacted.",
    )
    .legal(Legal::Ratio)
    .synonym("log.cleaner.min.cleanable.ratio"),
    row(
        "min.compaction.lag.ms",
        Kind::Long,
        "0",
        "How long a record of a compacted topic stays uncompacted.",
    )
    .legal(Legal::AtLeast(0))
    .unit(Unit::Ms)
    .synonym("log.cleaner.min.compaction.lag.ms"),
    row(
        "min.insync.replicas",
        Kind::Int,
        "1",
        "Replicas that must hold a record before acks=all is answered.",
    )
    .legal(Legal::AtLeast(1))
    .synonym("min.insync.replicas"),
    row("preallocate", Kind::Boolean, "false", "Yeoul always preallocates segments.")
        .synonym("log.preallocate")
        .described_only(),
    row("remote.log.copy.disable", Kind::Boolean, "false", "").described_only(),
    row("remote.log.delete.on.disable", Kind::Boolean, "false", "").described_only(),
    row("remote.storage.enable", Kind::Boolean, "false", "").described_only(),
    row(
        "retention.bytes",
        Kind::Long,
        "-1",
        "Bytes a partition keeps before its oldest segments go; -1: no limit.",
    )
    .unit(Unit::Bytes)
    .synonym("log.retention.bytes"),
    row("retention.ms", Kind::Long, "604800000", "Age from which a segment goes; -1: no limit.")
        .legal(Legal::AtLeast(-1))
        .unit(Unit::Ms)
        .synonym("log.retention.ms"),
    row("segment.bytes", Kind::Int, "1073741824", "Bytes of one segment file.")
        .legal(Legal::AtLeast(SEGMENT_BYTES_MIN))
        .unit(Unit::Bytes)
        .synonym("log.segment.bytes"),
    row("segment.index.bytes", Kind::Int, "10485760", "Most bytes of a segment's offset index.")
        .legal(Legal::AtLeast(4))
        .unit(Unit::Bytes)
        .synonym("log.index.size.max.bytes"),
    row(
        "segment.jitter.ms",
        Kind::Long,
        "0",
        "Most that is taken off segment.ms at random, so that segments do not \
         roll together.",
    )
    .legal(Legal::AtLeast(0))
    .unit(Unit::Ms)
    .synonym("log.roll.jitter.ms"),
    row(
        "segment.ms",
        Kind::Long,
        "604800000",
        "Age from which a segment is closed and a new one begun.",
    )
    .legal(Legal::AtLeast(1))
    .unit(Unit::Ms)
    .synonym("log.roll.ms"),
    row(
        "unclean.leader.election.enable",
        Kind::Boolean,
        "false",
        "Whether a replica that is not in sync may lead, losing records.",
    )
    .synonym("unclean.leader.election.enable")
    .described_only(),
];
