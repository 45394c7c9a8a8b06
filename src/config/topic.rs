//! A topic's settings as types: its own values over the broker's over the built-in ones.
//!
//! In:   what CreateTopics stored for the topic (name -> text), and the broker's settings.
//! Out:  [`TopicConfig`], which the log, the produce path and housekeeping act on.
//! Home: pure; computed again when the topic or its settings change.
//!
//! Not here: the table of names, types and limits (`keys.rs`, `topic_keys.rs`).
//! Source: Kafka's topic settings; A5 in the architecture page for `flush`.

use std::collections::BTreeMap;

use super::error::ConfigError;
use super::keys::{Scope, Setting, find, nearest, settings};
use super::layers::{Layer, Layers};
use super::value;

/// Milliseconds between syncs under `flush=interval` when `flush.ms` is not set.
pub const FLUSH_INTERVAL_MS_DEFAULT: u64 = 1_000;

/// How old records leave a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Segments past `retention.ms` or `retention.bytes` go.
    pub delete: bool,
    /// Only the last record of each key stays.
    pub compact: bool,
}

/// Whose clock stamps a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's.
    LogAppendTime,
}

/// Codec that records are stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionType {
    /// As the producer sent them.
    Producer,
    /// None.
    Uncompressed,
    /// gzip at `compression.gzip.level`; `None` is the codec's own.
    Gzip {
        /// 1 to 9.
        level: Option<u32>,
    },
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd {
        /// -131072 to 22.
        level: i32,
    },
}

/// What an acknowledgement promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushPolicy {
    /// The record is on stable storage.
    PerAck,
    /// The write completed; a sync follows after so long or so many records, whichever is first.
    Interval {
        /// Milliseconds between syncs at most.
        flush_ms: u64,
        /// Records between syncs at most.
        flush_messages: u64,
    },
}

/// Every setting of a topic that Yeoul acts on.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    /// `cleanup.policy`.
    pub cleanup_policy: CleanupPolicy,
    /// `retention.ms`; `None`: no limit.
    pub retention_ms: Option<u64>,
    /// `retention.bytes`; `None`: no limit.
    pub retention_bytes: Option<u64>,
    /// `segment.bytes`, at least 1 MiB.
    pub segment_bytes: u32,
    /// `segment.ms`, at least 1.
    pub segment_ms: u64,
    /// `segment.jitter.ms`.
    pub segment_jitter_ms: u64,
    /// `segment.index.bytes`, at least 4.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// `max.message.bytes`: largest batch, header included.
    pub max_message_bytes: u32,
    /// `message.timestamp.type`.
    pub message_timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub message_timestamp_before_max_ms: u64,
    /// `message.timestamp.after.max.ms`.
    pub message_timestamp_after_max_ms: u64,
    /// `compression.type` with its level.
    pub compression_type: CompressionType,
    /// `min.insync.replicas`, at least 1.
    pub min_insync_replicas: u32,
    /// `flush`, `flush.ms` and `flush.messages` together.
    pub flush: FlushPolicy,
    /// `file.delete.delay.ms`.
    pub file_delete_delay_ms: u64,
    /// `delete.retention.ms`.
    pub delete_retention_ms: u64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: u64,
    /// `max.compaction.lag.ms`, at least 1.
    pub max_compaction_lag_ms: u64,
    /// `min.cleanable.dirty.ratio`, 0 to 1.
    pub min_cleanable_dirty_ratio: f64,
    /// `unclean.leader.election.enable`.
    pub unclean_leader_election_enable: bool,
}

/// Whether `text` is a legal value for the topic setting `name`.
///
/// Errors: an unknown name with the nearest one, or the limit that was broken, in Kafka's words.
pub fn validate(name: &str, text: &str) -> Result<(), ConfigError> {
    let setting = find(Scope::Topic, name).ok_or_else(|| ConfigError::Unknown {
        scope: Scope::Topic,
        name: name.to_owned(),
        nearest: nearest(Scope::Topic, name),
    })?;
    value::check(setting, text)?;
    if name == "remote.storage.enable" && value::boolean(setting, text)? {
        return Err(ConfigError::NoTieredStorage);
    }
    Ok(())
}

impl TopicConfig {
    /// The settings of a topic whose own values are `overrides`, over the broker's `layers`.
    ///
    /// Errors: as [`validate`], and values that cannot stand together.
    pub fn resolve(
        overrides: &BTreeMap<String, String>,
        layers: &Layers,
    ) -> Result<TopicConfig, ConfigError> {
        for (name, text) in overrides {
            validate(name, text)?;
        }
        let view = View { overrides, layers };
        let config = TopicConfig {
            cleanup_policy: view.cleanup_policy(),
            retention_ms: u64::try_from(view.integer("retention.ms")).ok(),
            retention_bytes: u64::try_from(view.integer("retention.bytes")).ok(),
            segment_bytes: view.number("segment.bytes"),
            segment_ms: view.number("segment.ms"),
            segment_jitter_ms: view.number("segment.jitter.ms"),
            segment_index_bytes: view.number("segment.index.bytes"),
            index_interval_bytes: view.number("index.interval.bytes"),
            max_message_bytes: view.number("max.message.bytes"),
            message_timestamp_type: view.timestamp_type(),
            message_timestamp_before_max_ms: view.number("message.timestamp.before.max.ms"),
            message_timestamp_after_max_ms: view.number("message.timestamp.after.max.ms"),
            compression_type: view.compression_type(),
            min_insync_replicas: view.number("min.insync.replicas"),
            flush: view.flush(),
            file_delete_delay_ms: view.number("file.delete.delay.ms"),
            delete_retention_ms: view.number("delete.retention.ms"),
            min_compaction_lag_ms: view.number("min.compaction.lag.ms"),
            max_compaction_lag_ms: view.number("max.compaction.lag.ms"),
            min_cleanable_dirty_ratio: view.double("min.cleanable.dirty.ratio"),
            unclean_leader_election_enable: view.boolean("unclean.leader.election.enable"),
        };
        config.check_together()?;
        Ok(config)
    }

    fn check_together(&self) -> Result<(), ConfigError> {
        if self.max_compaction_lag_ms < self.min_compaction_lag_ms {
            let (min_ms, max_ms) = (self.min_compaction_lag_ms, self.max_compaction_lag_ms);
            return Err(ConfigError::LagConflict { min_ms, max_ms });
        }
        Ok(())
    }
}

/// A value that holds for a topic, and who set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The value as text.
    pub text: String,
    /// Who set it.
    pub origin: Origin,
}

/// Who set a value that holds for a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The topic's creator.
    Topic,
    /// The broker's file or command line, under the broker's name for it.
    Broker(Layer),
    /// Nobody.
    BuiltIn,
}

/// The value that holds for `setting` of a topic.
///
/// Longer units of the broker (`log.retention.hours`) count where the shorter one is not set.
pub fn resolve_one(
    setting: &Setting,
    overrides: &BTreeMap<String, String>,
    layers: &Layers,
) -> Resolved {
    assert!(setting.scope == Scope::Topic, "only topic settings are resolved here");
    if let Some(text) = overrides.get(setting.name) {
        return Resolved { text: text.trim().to_owned(), origin: Origin::Topic };
    }
    let built_in = setting.default.unwrap_or("");
    let Some(synonym) = setting.synonym else {
        return Resolved { text: built_in.to_owned(), origin: Origin::BuiltIn };
    };
    if let Some(set) = layers.get(synonym) {
        return Resolved { text: set.text.clone(), origin: Origin::Broker(set.layer) };
    }
    for (name, ms) in longer_units(synonym) {
        let Some(set) = layers.get(name) else { continue };
        let count: i64 = set.text.parse().expect("L2: checked against the table");
        let total = if count < 0 { -1 } else { count.saturating_mul(*ms) };
        return Resolved { text: total.to_string(), origin: Origin::Broker(set.layer) };
    }
    Resolved { text: built_in.to_owned(), origin: Origin::BuiltIn }
}

/// Other names of a broker setting in longer units, with their milliseconds, in the order in
/// which they count.
pub fn longer_units(broker_name: &str) -> &'static [(&'static str, i64)] {
    const MINUTE_MS: i64 = 60_000;
    const HOUR_MS: i64 = 60 * MINUTE_MS;
    match broker_name {
        "log.retention.ms" => {
            &[("log.retention.minutes", MINUTE_MS), ("log.retention.hours", HOUR_MS)]
        }
        "log.roll.ms" => &[("log.roll.hours", HOUR_MS)],
        "log.roll.jitter.ms" => &[("log.roll.jitter.hours", HOUR_MS)],
        _ => &[],
    }
}

/// The broker's defaults held against every topic limit, since a broker setting in longer units
/// may break one.
///
/// Errors: as [`validate`].
pub fn check_broker_defaults(layers: &Layers) -> Result<(), ConfigError> {
    let none = BTreeMap::new();
    for setting in settings(Scope::Topic) {
        value::check(setting, &resolve_one(setting, &none, layers).text)?;
    }
    Ok(())
}

/// Typed reading of one topic's values; all of them have passed `value::check`.
struct View<'a> {
    overrides: &'a BTreeMap<String, String>,
    layers: &'a Layers,
}

impl View<'_> {
    fn resolved(&self, name: &str) -> (&'static Setting, Resolved) {
        let setting = find(Scope::Topic, name).expect("a name of the table");
        (setting, resolve_one(setting, self.overrides, self.layers))
    }

    fn text(&self, name: &str) -> String {
        self.resolved(name).1.text
    }

    fn integer(&self, name: &str) -> i64 {
        let (setting, resolved) = self.resolved(name);
        value::integer(setting, &resolved.text).expect("L2: checked against the table")
    }

    fn number<N: TryFrom<i64>>(&self, name: &str) -> N {
        let fits = N::try_from(self.integer(name)).ok();
        fits.expect("the table's bounds lie within the field's type")
    }

    fn double(&self, name: &str) -> f64 {
        let (setting, resolved) = self.resolved(name);
        value::double(setting, &resolved.text).expect("L2: checked against the table")
    }

    fn boolean(&self, name: &str) -> bool {
        let (setting, resolved) = self.resolved(name);
        value::boolean(setting, &resolved.text).expect("L2: checked against the table")
    }

    fn cleanup_policy(&self) -> CleanupPolicy {
        let text = self.text("cleanup.policy");
        let names = |word: &str| text.split(',').any(|item| item.trim() == word);
        CleanupPolicy { delete: names("delete"), compact: names("compact") }
    }

    fn timestamp_type(&self) -> TimestampType {
        match self.text("message.timestamp.type").as_str() {
            "LogAppendTime" => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        }
    }

    fn compression_type(&self) -> CompressionType {
        match self.text("compression.type").as_str() {
            "uncompressed" => CompressionType::Uncompressed,
            "gzip" => {
                let level = u32::try_from(self.integer("compression.gzip.level")).ok();
                CompressionType::Gzip { level }
            }
            "snappy" => CompressionType::Snappy,
            "lz4" => CompressionType::Lz4,
            "zstd" => CompressionType::Zstd { level: self.number("compression.zstd.level") },
            _ => CompressionType::Producer,
        }
    }

    /// `flush` decides when somebody set it. Otherwise `flush.ms` or `flush.messages`, set by
    /// somebody, ask for intervals, as they do in Kafka; one record an interval is each
    /// acknowledgement. Nothing set: durable before acknowledged (A5).
    fn flush(&self) -> FlushPolicy {
        let set = |name| self.resolved(name).1.origin != Origin::BuiltIn;
        let flush_messages = self.number("flush.messages");
        let asked = if set("flush") {
            self.text("flush") == "interval"
        } else {
            set("flush.ms") || set("flush.messages")
        };
        if !asked || flush_messages == 1 {
            return FlushPolicy::PerAck;
        }
        let flush_ms = if set("flush.ms") || set("flush.messages") {
            self.number("flush.ms")
        } else {
            FLUSH_INTERVAL_MS_DEFAULT
        };
        FlushPolicy::Interval { flush_ms, flush_messages }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(pairs: &[(&str, &str)], broker: &[&str]) -> Result<TopicConfig, ConfigError> {
        let own = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        let mut layers = Layers::new();
        for pair in broker {
            layers.set_pair(pair)?;
        }
        TopicConfig::resolve(&pairs.iter().map(own).collect(), &layers)
    }

    #[test]
    fn defaults_are_kafkas() {
        let config = resolve(&[], &[]).unwrap();
        assert_eq!(config.cleanup_policy, CleanupPolicy { delete: true, compact: false });
        assert_eq!(config.retention_ms, Some(604_800_000));
        assert_eq!(config.retention_bytes, None);
        assert_eq!(config.segment_bytes, 1 << 30);
        assert_eq!(config.max_message_bytes, 1_048_588);
        assert_eq!(config.compression_type, CompressionType::Producer);
        assert_eq!(config.message_timestamp_type, TimestampType::CreateTime);
        assert_eq!(config.message_timestamp_after_max_ms, 3_600_000);
        assert_eq!(config.flush, FlushPolicy::PerAck);
    }

    #[test]
    fn every_topic_default_resolves_alone_and_every_key_is_taken() {
        for setting in settings(Scope::Topic) {
            let default = setting.default.expect("every topic setting has a default");
            let config = resolve(&[(setting.name, default)], &[]);
            assert!(config.is_ok(), "{}: {config:?}", setting.name);
        }
        check_broker_defaults(&Layers::new()).unwrap();
    }

    #[test]
    fn the_topic_wins_over_the_broker_and_shorter_units_over_longer() {
        let retention =
            |own: &[(&str, &str)], broker: &[&str]| resolve(own, broker).unwrap().retention_ms;
        assert_eq!(retention(&[], &["log.retention.hours=2"]), Some(7_200_000));
        assert_eq!(retention(&[], &["log.retention.hours=-1"]), None);
        let both = ["log.retention.hours=2", "log.retention.minutes=3"];
        assert_eq!(retention(&[], &both), Some(180_000));
        assert_eq!(retention(&[], &["log.retention.minutes=3", "log.retention.ms=4"]), Some(4));
        assert_eq!(retention(&[("retention.ms", "5")], &["log.retention.ms=4"]), Some(5));
        assert_eq!(retention(&[("retention.ms", "-1")], &["log.retention.ms=4"]), None);
    }

    #[test]
    fn flush_is_relaxed_only_by_who_asks() {
        let check = |own: &[(&str, &str)], broker: &[&str], want: FlushPolicy| {
            assert_eq!(resolve(own, broker).unwrap().flush, want, "{own:?} {broker:?}");
        };
        let interval =
            |flush_ms, flush_messages| FlushPolicy::Interval { flush_ms, flush_messages };
        let never = u64::try_from(i64::MAX).unwrap();
        check(&[("flush", "interval")], &[], interval(1_000, never));
        check(&[("flush.ms", "50")], &[], interval(50, never));
        check(&[("flush.messages", "10")], &[], interval(never, 10));
        check(&[("flush.messages", "1")], &[], FlushPolicy::PerAck);
        check(&[("flush", "interval"), ("flush.messages", "1")], &[], FlushPolicy::PerAck);
        check(&[("flush", "per-ack"), ("flush.ms", "50")], &[], FlushPolicy::PerAck);
        check(&[], &["log.flush.interval.ms=7"], interval(7, never));
        check(&[("flush", "per-ack")], &["log.flush=interval"], FlushPolicy::PerAck);
    }

    #[test]
    fn codecs_carry_their_levels() {
        let check = |own: &[(&str, &str)], want| {
            assert_eq!(resolve(own, &[]).unwrap().compression_type, want, "{own:?}");
        };
        check(&[("compression.type", "gzip")], CompressionType::Gzip { level: None });
        let gzip = [("compression.type", "gzip"), ("compression.gzip.level", "7")];
        check(&gzip, CompressionType::Gzip { level: Some(7) });
        check(&[("compression.type", "zstd")], CompressionType::Zstd { level: 3 });
        check(&[("compression.type", "uncompressed")], CompressionType::Uncompressed);
    }

    #[test]
    fn bad_topic_settings_are_refused_in_kafkas_words() {
        let check = |name: &str, text: &str, want: &str| {
            let error = resolve(&[(name, text)], &[]).unwrap_err().to_string();
            assert!(error.starts_with(want), "{error}");
        };
        check("retention", "1", "Unknown topic config name: retention");
        check("segment.bytes", "1000", "Invalid value 1000 for configuration segment.bytes");
        check("remote.storage.enable", "true", "Tiered Storage functionality is disabled");
        let lags = [("min.compaction.lag.ms", "9"), ("max.compaction.lag.ms", "8")];
        let conflict = ConfigError::LagConflict { min_ms: 9, max_ms: 8 };
        assert_eq!(resolve(&lags, &[]), Err(conflict));
    }
}
