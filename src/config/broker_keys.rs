//! The rows of broker settings: those Yeoul acts on, and those tools expect to find described.
//!
//! Home: pure, constant data of `keys.rs`, sorted by name.

use super::groups::MIGRATION_POLICIES;
use super::keys::{Effect, Kind, Legal, Scope, Setting, Unit};
use super::topic_keys::{
    CLEANUP_POLICIES, COMPRESSION_TYPES, FLUSH_POLICIES, LONG_MAX, SEGMENT_BYTES_MIN,
    TIMESTAMP_TYPES,
};

/// A setting that Yeoul acts on.
pub(super) const fn honoured(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    doc: &'static str,
) -> Setting {
    Setting {
        name,
        scope: Scope::Broker,
        kind,
        default,
        legal: Legal::Any,
        unit: Unit::None,
        synonym: None,
        effect: Effect::Now,
        dynamic: false,
        doc,
    }
}

/// A bound of what consumer groups set for themselves, in milliseconds.
const fn of_own(name: &'static str, default: &'static str, least: i64) -> Setting {
    let doc = "Bounds what a consumer group may set for itself.";
    honoured(name, Kind::Int, Some(default), doc).legal(Legal::AtLeast(least)).unit(Unit::Ms)
}

/// A setting that is told, taken and does nothing.
pub(super) const fn described(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
) -> Setting {
    honoured(name, kind, default, "").described_only()
}

/// A setting that is told and only taken at its default.
pub(super) const fn refused(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
) -> Setting {
    let mut setting = honoured(name, kind, default, "");
    setting.effect = Effect::DefaultOnly;
    setting
}

impl Setting {
    pub(super) const fn dynamic(mut self) -> Setting {
        self.dynamic = true;
        self
    }
}

/// Names that `fetch.path` takes.
pub const FETCH_PATHS: &[&str] = &["auto", "memory", "sendfile"];

/// The rows.
pub const BROKER_SETTINGS: &[Setting] = &[
    honoured(
        "admin.listener",
        Kind::String,
        Some("127.0.0.1:9644"),
        "Address of the admin endpoint, HOST:PORT; empty: none.",
    ),
    honoured(
        "advertised.listeners",
        Kind::List,
        None,
        "Addresses given to clients, NAME://HOST:PORT; empty: the listeners \
         themselves.",
    ),
    honoured(
        "auto.create.topics.enable",
        Kind::Boolean,
        Some("true"),
        "Whether asking for a topic's metadata may create it.",
    ),
    described("auto.leader.rebalance.enable", Kind::Boolean, Some("true")),
    described("background.threads", Kind::Int, Some("10")).dynamic(),
    honoured("broker.id", Kind::Int, Some("-1"), "Older name of node.id."),
    honoured("broker.rack", Kind::String, None, "Rack or zone of this broker, told to clients."),
    honoured(
        "compression.gzip.level",
        Kind::Int,
        Some("-1"),
        "Default of the topic setting of the same name.",
    )
    .legal(Legal::LevelOrDefault(1, 9))
    .dynamic(),
    described("compression.lz4.level", Kind::Int, Some("9")).legal(Legal::Between(1, 17)).dynamic(),
    honoured(
        "compression.type",
        Kind::String,
        Some("producer"),
        "Default of the topic setting of the same name.",
    )
    .legal(Legal::OneOf(COMPRESSION_TYPES))
    .dynamic(),
    honoured(
        "compression.zstd.level",
        Kind::Int,
        Some("3"),
        "Default of the topic setting of the same name.",
    )
    .legal(Legal::Between(-131_072, 22))
    .dynamic(),
    honoured(
        "connections.max.idle.ms",
        Kind::Long,
        Some("600000"),
        "How long a connection may be idle before it is closed; below 0: for \
         ever.",
    )
    .unit(Unit::Ms),
    described("controller.listener.names", Kind::List, None),
    honoured(
        "cpus",
        Kind::String,
        Some("auto"),
        "Processors for shards as a cpuset list (2-5,8); 'auto': those this \
         process may use.",
    )
    .legal(Legal::NotEmpty),
    honoured(
        "default.replication.factor",
        Kind::Int,
        Some("1"),
        "Replicas of a topic whose creator did not say.",
    )
    .legal(Legal::Between(1, 32_767)),
    honoured("delete.topic.enable", Kind::Boolean, Some("true"), "Whether topics can be deleted."),
    honoured(
        "fetch.max.bytes",
        Kind::Int,
        Some("57671680"),
        "Most bytes one fetch answer carries.",
    )
    .legal(Legal::AtLeast(1024))
    .unit(Unit::Bytes),
    honoured(
        "fetch.path",
        Kind::String,
        Some("auto"),
        "How older records reach a consumer: read into memory, by sendfile, or \
         (auto) chosen by peer.",
    )
    .legal(Legal::OneOf(FETCH_PATHS)),
    honoured(
        "group.consumer.assignment.interval.ms",
        Kind::Int,
        Some("1000"),
        "How often a consumer group's assignment is computed at most.",
    )
    .legal(Legal::AtLeast(0))
    .unit(Unit::Ms),
    described("group.consumer.assignors", Kind::List, Some("uniform,range")),
    honoured(
        "group.consumer.heartbeat.interval.ms",
        Kind::Int,
        Some("5000"),
        "How often members of a consumer group are told to be heard.",
    )
    .legal(Legal::AtLeast(1))
    .unit(Unit::Ms),
    of_own("group.consumer.max.assignment.interval.ms", "15000", 0),
    of_own("group.consumer.max.heartbeat.interval.ms", "15000", 1),
    of_own("group.consumer.max.session.timeout.ms", "60000", 1),
    honoured(
        "group.consumer.max.size",
        Kind::Int,
        Some("2147483647"),
        "Members of a consumer group at most.",
    )
    .legal(Legal::AtLeast(1)),
    honoured(
        "group.consumer.migration.policy",
        Kind::String,
        Some("bidirectional"),
        "Whether groups with members may change between the classic and the consumer protocol.",
    )
    .legal(Legal::OneOf(MIGRATION_POLICIES)),
    of_own("group.consumer.min.assignment.interval.ms", "0", 0),
    of_own("group.consumer.min.heartbeat.interval.ms", "5000", 1),
    of_own("group.consumer.min.session.timeout.ms", "45000", 1),
    honoured(
        "group.consumer.session.timeout.ms",
        Kind::Int,
        Some("45000"),
        "How long a member of a consumer group may be silent.",
    )
    .legal(Legal::AtLeast(1))
    .unit(Unit::Ms),
    described("group.coordinator.append.linger.ms", Kind::Int, Some("-1")).unit(Unit::Ms),
    described("group.coordinator.background.threads", Kind::Int, Some("2")),
    described("group.coordinator.cached.buffer.max.bytes", Kind::Int, Some("1048588"))
        .unit(Unit::Bytes)
        .dynamic(),
    described(
        "group.coordinator.rebalance.protocols",
        Kind::List,
        Some("classic,consumer,streams"),
    ),
    described("group.coordinator.threads", Kind::Int, Some("4")),
    honoured(
        "group.initial.rebalance.delay.ms",
        Kind::Int,
        Some("3000"),
        "How long the first rebalance of an empty group waits for more members.",
    )
    .legal(Legal::AtLeast(0))
    .unit(Unit::Ms),
    honoured(
        "group.max.session.timeout.ms",
        Kind::Int,
        Some("1800000"),
        "Longest session timeout that a member of a classic group may ask for.",
    )
    .legal(Legal::AtLeast(1))
    .unit(Unit::Ms),
    honoured(
        "group.max.size",
        Kind::Int,
        Some("2147483647"),
        "Members of a classic group at most.",
    )
    .legal(Legal::AtLeast(1)),
    honoured(
        "group.min.session.timeout.ms",
        Kind::Int,
        Some("6000"),
        "Shortest session timeout that a member of a classic group may ask for.",
    )
    .legal(Legal::AtLeast(1))
    .unit(Unit::Ms),
    described("inter.broker.listener.name", Kind::String, None),
    described("leader.imbalance.check.interval.seconds", Kind::Long, Some("300"))
        .unit(Unit::Seconds),
    honoured(
        "listener.security.protocol.map",
        Kind::String,
        Some("PLAINTEXT:PLAINTEXT"),
        "Security protocol of each listener name; today PLAINTEXT alone is \
         served.",
    ),
    honoured(
        "listeners",
        Kind::List,
        Some("PLAINTEXT://127.0.0.1:9092"),
        "Addresses to listen on, NAME://HOST:PORT; port 0 takes any free one.",
    )
    .legal(Legal::NotEmpty),
    honoured(
        "log.cleaner.backoff.ms",
        Kind::Long,
        Some("15000"),
        "How long a shard's cleaner sleeps when no log is to be compacted.",
    )
    .legal(Legal::AtLeast(0))
    .unit(Unit::Ms)
    .dynamic(),
    honoured(
        "log.cleaner.dedupe.buffer.size",
        Kind::Long,
        Some("134217728"),
        "Memory for the keys of logs that are being compacted, of all shards together.",
    )
    .unit(Unit::Bytes)
    .dynamic(),
    honoured(
        "log.cleaner.delete.retention.ms",
        Kind::Long,
        Some("86400000"),
        "Default of the topic setting delete.retention.ms.",
    )
    .legal(Legal::AtLeast(0))
    .unit(Unit::Ms)
    .dynamic(),
    honoured(
        "log.cleaner.enable",
        Kind::Boolean,
        Some("true"),
        "Whether logs with cleanup.policy=compact are compacted.",
    ),
    honoured(
        "log.cleaner.io.buffer.load.factor",
        Kind::Double,
        Some("0.9"),
        "How full the memory for keys may become.",
    )
    .dynamic(),
    honoured(
        "log.cleaner.io.max.bytes.per.second",
        Kind::Double,
        Some("1.7976931348623157E308"),
        "Bytes that compaction reads and writes a second, of all shards together.",
    )
    .dynamic(),
    honoured(
        "log.cleaner.max.compaction.lag.ms",
        Kind::Long,
        Some(LONG_MAX),
        "Default of the topic setting max.compaction.lag.ms.",
    )
    .legal(Legal::AtLeast(1))
    .unit(Unit::Ms)
    .dynamic(),
    honoured(
        "log.cleaner.min.cleanable.ratio",
        Kind::Double,
        Some("0.5"),
        "Default of the topic setting min.cleanable.dirty.ratio.",
    )
    .legal(Legal::Ratio)
    .dynamic(),
    honoured(
        "log.cleaner.min.compaction.lag.ms",
        Kind::Long,
        Some("0"),
        "Default of the topic setting min.compaction.lag.ms.",
    )
    .legal(Legal::AtLeast(0))
    .unit(Unit::Ms)
    .dynamic(),
    described("log.cleaner.threads", Kind::Int, Some("1")).dynamic(),
    honoured(
        "log.cleanup.policy",
        Kind::List,
        Some("delete"),
        "Default of the topic setting cleanup.policy.",
    )
    .legal(Legal::EachOf(CLEANUP_POLICIES))
    .dynamic(),
    honoured(
        "log.dir",
        Kind::List,
        Some("./yeoul-data"),
        "The data directory, when log.dirs is not set.",
    ),
    honoured("log.dirs", Kind::List, None, "The data directory; today exactly one."),
    honoured("log.flush", Kind::String, Some("per-ack"), "Default of the topic setting flush.")
        .legal(Legal::OneOf(FLUSH_POLICIES)),
    honoured(
        "log.flush.interval.messages",
        Kind::Long,
        Some(LONG_MAX),
        "Default of the topic setting flush.messages.",
    )
    .legal(Legal::AtLeast(1))
    .dynamic(),
    honoured("log.flush.interval.ms", Kind::Long, None, "Default of the topic setting flush.ms.")
        .legal(Legal::AtLeast(0))
        .unit(Unit::Ms)
        .dynamic(),
    honoured(
        "log.index.interval.bytes",
        Kind::Int,
        Some("4096"),
        "Default of the topic setting index.interval.bytes.",
    )
    .legal(Legal::AtLeast(0))
    .unit(Unit::Bytes)
    .dynamic(),
    honoured(
        "log.index.size.max.bytes",
        Kind::Int,
        Some("10485760"),
        "Default of the topic setting segment.index.bytes.",
    )
    .legal(Legal::AtLeast(4))
    .unit(Unit::Bytes)
    .dynamic(),
    described("log.local.retention.bytes", Kind::Long, Some("-2"))
        .legal(Legal::AtLeast(-2))
        .unit(Unit::Bytes)
        .dynamic(),
    described("log.local.retention.ms", Kind::Long, Some("-2"))
        .legal(Legal::AtLeast(-2))
        .unit(Unit::Ms)
        .dynamic(),
    honoured(
        "log.message.timestamp.after.max.ms",
        Kind::Long,
        Some("3600000"),
        "Default of the topic setting message.timestamp.after.max.ms.",
    )
    .legal(Legal::AtLeast(0))
    .unit(Unit::Ms)
    .dynamic(),
    honoured(
        "log.message.timestamp.before.max.ms",
        Kind::Long,
        Some(LONG_MAX),
        "Default of the topic setting message.timestamp.before.max.ms.",
    )
    .legal(Legal::AtLeast(0))
    .unit(Unit::Ms)
    .dynamic(),
    honoured(
        "log.message.timestamp.type",
        Kind::String,
        Some("CreateTime"),
        "Default of the topic setting message.timestamp.type.",
    )
    .legal(Legal::OneOf(TIMESTAMP_TYPES))
    .dynamic(),
    described("log.preallocate", Kind::Boolean, Some("false")).dynamic(),
    honoured(
        "log.retention.bytes",
        Kind::Long,
        Some("-1"),
        "Default of the topic setting retention.bytes.",
    )
    .unit(Unit::Bytes)
    .dynamic(),
    honoured(
        "log.retention.check.interval.ms",
        Kind::Long,
        Some("300000"),
        "How often segments are looked at for retention.",
    )
    .legal(Legal::AtLeast(1))
    .unit(Unit::Ms),
    honoured(
        "log.retention.hours",
        Kind::Int,
        Some("168"),
        "Default of retention.ms, in hours, when log.retention.ms and \
         log.retention.minutes are not set.",
    )
    .unit(Unit::Hours),
    honoured(
        "log.retention.minutes",
        Kind::Int,
        None,
        "Default of retention.ms, in minutes, when log.retention.ms is not set.",
    )
    .unit(Unit::Minutes),
    honoured("log.retention.ms", Kind::Long, None, "Default of the topic setting retention.ms.")
        .legal(Legal::AtLeast(-1))
        .unit(Unit::Ms)
        .dynamic(),
    honoured(
        "log.roll.hours",
        Kind::Int,
        Some("168"),
        "Default of segment.ms, in hours, when log.roll.ms is not set.",
    )
    .legal(Legal::AtLeast(1))
    .unit(Unit::Hours),
    honoured(
        "log.roll.jitter.hours",
        Kind::Int,
        Some("0"),
        "Default of segment.jitter.ms, in hours, when log.roll.jitter.ms is not \
         set.",
    )
    .legal(Legal::AtLeast(0))
    .unit(Unit::Hours),
    honoured(
        "log.roll.jitter.ms",
        Kind::Long,
        None,
        "Default of the topic setting segment.jitter.ms.",
    )
    .legal(Legal::AtLeast(0))
    .unit(Unit::Ms)
    .dynamic(),
    honoured("log.roll.ms", Kind::Long, None, "Default of the topic setting segment.ms.")
        .legal(Legal::AtLeast(1))
        .unit(Unit::Ms)
        .dynamic(),
    honoured(
        "log.segment.bytes",
        Kind::Int,
        Some("1073741824"),
        "Default of the topic setting segment.bytes.",
    )
    .legal(Legal::AtLeast(SEGMENT_BYTES_MIN))
    .unit(Unit::Bytes)
    .dynamic(),
    honoured(
        "log.segment.delete.delay.ms",
        Kind::Long,
        Some("60000"),
        "Default of the topic setting file.delete.delay.ms.",
    )
    .legal(Legal::AtLeast(0))
    .unit(Unit::Ms)
    .described_only()
    .dynamic(),
    described("max.connection.creation.rate", Kind::Int, Some("2147483647")).dynamic(),
    honoured(
        "max.connections",
        Kind::Int,
        Some("2147483647"),
        "Most connections of this broker; one more is closed at once.",
    )
    .legal(Legal::AtLeast(0)),
    described("max.connections.per.ip", Kind::Int, Some("2147483647")).dynamic(),
    described("max.connections.per.ip.overrides", Kind::String, Some("")).dynamic(),
    honoured(
        "max.incremental.fetch.session.cache.slots",
        Kind::Int,
        Some("1000"),
        "Most fetch sessions held; one more is answered without a session.",
    )
    .legal(Legal::AtLeast(0)),
    honoured(
        "max.request.partition.size.limit",
        Kind::Int,
        Some("2000"),
        "Most partitions one DescribeTopicPartitions answer carries.",
    )
    .legal(Legal::AtLeast(1)),
    honoured(
        "memory.tail.bytes",
        Kind::Long,
        Some("-1"),
        "Memory of recent records that all shards together keep for consumers; -1: a \
         quarter of the memory the process may use.",
    )
    .legal(Legal::AtLeast(-1))
    .unit(Unit::Bytes),
    honoured(
        "message.max.bytes",
        Kind::Int,
        Some("1048588"),
        "Default of the topic setting max.message.bytes.",
    )
    .legal(Legal::AtLeast(0))
    .unit(Unit::Bytes)
    .dynamic(),
    described("metadata.log.dir", Kind::String, None),
    described("metadata.log.max.record.bytes.between.snapshots", Kind::Long, Some("20971520")),
    described("metadata.log.max.snapshot.interval.ms", Kind::Long, Some("3600000")).unit(Unit::Ms),
    described("metadata.log.segment.bytes", Kind::Int, Some("1073741824")).unit(Unit::Bytes),
    described("metadata.log.segment.ms", Kind::Long, Some("604800000")).unit(Unit::Ms),
    described("metadata.max.idle.interval.ms", Kind::Int, Some("500")).unit(Unit::Ms),
    described("metadata.max.retention.bytes", Kind::Long, Some("104857600")).unit(Unit::Bytes),
    described("metadata.max.retention.ms", Kind::Long, Some("604800000")).unit(Unit::Ms),
    honoured(
        "min.insync.replicas",
        Kind::Int,
        Some("1"),
        "Default of the topic setting of the same name.",
    )
    .legal(Legal::AtLeast(1))
    .dynamic(),
    honoured("node.id", Kind::Int, Some("1"), "Id of this broker in its cluster.")
        .legal(Legal::AtLeast(0)),
    described("num.io.threads", Kind::Int, Some("8")).dynamic(),
    described("num.network.threads", Kind::Int, Some("3")).dynamic(),
    honoured(
        "num.partitions",
        Kind::Int,
        Some("1"),
        "Partitions of a topic whose creator did not say.",
    )
    .legal(Legal::AtLeast(1)),
    described("num.recovery.threads.per.data.dir", Kind::Int, Some("2")).dynamic(),
    described("num.replica.fetchers", Kind::Int, Some("1")).dynamic(),
    honoured(
        "offset.metadata.max.bytes",
        Kind::Int,
        Some("4096"),
        "Longest text that may be committed beside a position.",
    )
    .legal(Legal::AtLeast(0))
    .unit(Unit::Bytes),
    described("offsets.commit.timeout.ms", Kind::Int, Some("5000")).unit(Unit::Ms),
    described("offsets.load.buffer.size", Kind::Int, Some("5242880")).unit(Unit::Bytes),
    honoured(
        "offsets.retention.check.interval.ms",
        Kind::Long,
        Some("600000"),
        "How often expired positions are looked for.",
    )
    .legal(Legal::AtLeast(1))
    .unit(Unit::Ms),
    honoured(
        "offsets.retention.minutes",
        Kind::Int,
        Some("10080"),
        "How long positions are kept after their group has become empty.",
    )
    .legal(Legal::AtLeast(1))
    .unit(Unit::Minutes),
    described("offsets.topic.compression.codec", Kind::Int, Some("0")),
    honoured(
        "offsets.topic.num.partitions",
        Kind::Int,
        Some("50"),
        "Partitions of the topic that keeps positions, fixed when it is made.",
    )
    .legal(Legal::AtLeast(1)),
    honoured(
        "offsets.topic.replication.factor",
        Kind::Short,
        Some("3"),
        "Replicas of the topic that keeps positions; fewer where there are fewer brokers.",
    )
    .legal(Legal::AtLeast(1)),
    honoured(
        "offsets.topic.segment.bytes",
        Kind::Int,
        Some("104857600"),
        "Segment size of the topic that keeps positions.",
    )
    .legal(Legal::AtLeast(1_048_576))
    .unit(Unit::Bytes),
    described("process.roles", Kind::List, None),
    honoured(
        "producer.id.expiration.ms",
        Kind::Int,
        Some("86400000"),
        "How long the state of a silent idempotent producer is kept.",
    )
    .legal(Legal::AtLeast(1))
    .unit(Unit::Ms)
    .dynamic(),
    honoured(
        "queued.max.request.bytes",
        Kind::Long,
        Some("-1"),
        "Memory that request bodies being read or waiting may hold in all; -1: \
         four of the largest request or 256 MiB, whichever is more.",
    )
    .unit(Unit::Bytes),
    described("queued.max.requests", Kind::Int, Some("500")),
    described("replica.fetch.backoff.ms", Kind::Int, Some("1000")).unit(Unit::Ms),
    described("replica.fetch.max.bytes", Kind::Int, Some("1048576")).unit(Unit::Bytes),
    described("replica.fetch.min.bytes", Kind::Int, Some("1")).unit(Unit::Bytes),
    described("replica.fetch.response.max.bytes", Kind::Int, Some("10485760")).unit(Unit::Bytes),
    described("replica.fetch.wait.max.ms", Kind::Int, Some("500")).unit(Unit::Ms),
    described("replica.high.watermark.checkpoint.interval.ms", Kind::Long, Some("5000"))
        .unit(Unit::Ms),
    described("replica.lag.time.max.ms", Kind::Long, Some("30000")).unit(Unit::Ms),
    described("request.timeout.ms", Kind::Int, Some("30000")).unit(Unit::Ms),
    honoured(
        "socket.congestion.control",
        Kind::String,
        Some("auto"),
        "TCP congestion control of connections: a kernel name such as cubic, 'host' for the \
         host's, or 'auto': cubic for peers on loopback, the host's for others.",
    )
    .legal(Legal::NotEmpty),
    honoured(
        "socket.listen.backlog.size",
        Kind::Int,
        Some("50"),
        "Connections the kernel holds until they are accepted.",
    )
    .legal(Legal::AtLeast(1)),
    honoured(
        "socket.receive.buffer.bytes",
        Kind::Int,
        Some("-1"),
        "Receive buffer of a connection; -1: the system's.",
    )
    .legal(Legal::AtLeast(-1))
    .unit(Unit::Bytes),
    honoured(
        "socket.request.max.bytes",
        Kind::Int,
        Some("104857600"),
        "Largest request taken; a larger one closes its connection.",
    )
    .legal(Legal::AtLeast(1))
    .unit(Unit::Bytes),
    honoured(
        "socket.send.buffer.bytes",
        Kind::Int,
        Some("-1"),
        "Send buffer of a connection; -1: the system's.",
    )
    .legal(Legal::AtLeast(-1))
    .unit(Unit::Bytes),
    honoured(
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        Kind::Int,
        Some("10000"),
        "How often open transactions are looked at for being too old.",
    )
    .legal(Legal::AtLeast(1))
    .unit(Unit::Ms),
    honoured(
        "transaction.max.timeout.ms",
        Kind::Int,
        Some("900000"),
        "Longest time for which a producer may ask that its transactions may be open.",
    )
    .legal(Legal::AtLeast(1))
    .unit(Unit::Ms),
    honoured(
        "transaction.partition.verification.enable",
        Kind::Boolean,
        Some("true"),
        "Whether a partition asks the coordinator before a transaction's first write.",
    )
    .dynamic(),
    honoured(
        "transaction.remove.expired.transaction.cleanup.interval.ms",
        Kind::Int,
        Some("3600000"),
        "How often transactional ids are looked at for being unused.",
    )
    .legal(Legal::AtLeast(1))
    .unit(Unit::Ms),
    described("transaction.state.log.load.buffer.size", Kind::Int, Some("5242880"))
        .unit(Unit::Bytes),
    described("transaction.state.log.min.isr", Kind::Int, Some("2")),
    honoured(
        "transaction.state.log.num.partitions",
        Kind::Int,
        Some("50"),
        "Partitions of the topic that keeps transactions, fixed when it is made.",
    )
    .legal(Legal::AtLeast(1)),
    honoured(
        "transaction.state.log.replication.factor",
        Kind::Short,
        Some("3"),
        "Replicas of the topic that keeps transactions; fewer where there are fewer brokers.",
    )
    .legal(Legal::AtLeast(1)),
    honoured(
        "transaction.state.log.segment.bytes",
        Kind::Int,
        Some("104857600"),
        "Segment size of the topic that keeps transactions.",
    )
    .legal(Legal::AtLeast(1_048_576))
    .unit(Unit::Bytes),
    honoured(
        "transactional.id.expiration.ms",
        Kind::Int,
        Some("604800000"),
        "How long an unused transactional id is kept.",
    )
    .legal(Legal::AtLeast(1))
    .unit(Unit::Ms),
    described("unclean.leader.election.enable", Kind::Boolean, Some("false")).dynamic(),
];
