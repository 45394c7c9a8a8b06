//! The broker's settings as types.
//!
//! In:   [`Layers`]: what the file and the command line set.
//! Out:  [`BrokerConfig`], read by the whole process and never changed while it runs.
//! Home: pure; built once at start.
//!
//! Invariants
//!   B1  At least one listener; as many advertised as listeners, in the same order.
//!   B2  No advertised address is a wildcard.
//!   B3  One request of the largest size fits into the budget of queued requests.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::ConfigError;
use super::group_keys::consumer_limits;
use super::groups::{GroupConfig, MigrationPolicy};
use super::keys::{Scope, Setting, find};
use super::layers::Layers;
use super::listener::{HostPort, Listener, parse_listeners};
use super::topic::{TopicConfig, check_broker_defaults};
use super::transactions::TransactionConfig;
use super::value;
use crate::model::ids::BrokerId;

/// Budget of queued request bytes when nobody set one, in bytes.
pub const QUEUED_REQUEST_BYTES_DEFAULT: u64 = 256 << 20;
/// Most shards of a process.
pub const SHARDS_MAX: u16 = 256;
/// Highest number of a processor, exclusive.
pub const CPUS_END: u32 = 8192;

/// What an idle shard does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollMode {
    /// Sleeps at once.
    Park,
    /// Looks for work for so long, then sleeps.
    Adaptive {
        /// Microseconds.
        spin_us: u32,
    },
    /// Never sleeps.
    Spin,
}

/// Congestion control of accepted connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Congestion {
    /// `cubic` for peers on loopback, where there is nothing to pace; the host's for others.
    Auto,
    /// The host's.
    Host,
    /// By its kernel name, `cubic` or `bbr` say.
    Named(String),
}

/// How older records reach a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchPath {
    /// Chosen by the peer: sendfile behind a real network card, memory on loopback.
    Auto,
    /// Read by O_DIRECT into memory, then a vectored send.
    Memory,
    /// `sendfile` of sealed segments.
    Sendfile,
}

/// Whether log files are written past the page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectMode {
    /// Where the file system takes it.
    Auto,
    /// Never; buffered, with the same syncs.
    Never,
}

/// Rates from here on are no limit: no disk is faster.
const IO_RATE_UNLIMITED: f64 = 1e15;

/// How logs are compacted; memory and rate are of all shards together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CleanerConfig {
    /// `log.cleaner.enable`.
    pub enable: bool,
    /// `log.cleaner.backoff.ms`.
    pub backoff_ms: u64,
    /// `log.cleaner.dedupe.buffer.size`, of all shards together.
    pub dedupe_buffer_bytes: u64,
    /// `log.cleaner.io.buffer.load.factor`, of a hundred, 1 to 99.
    pub fill_percent: usize,
    /// `log.cleaner.io.max.bytes.per.second`; `None`: no limit.
    pub io_max_bytes_per_second: Option<f64>,
}

/// Every broker setting that Yeoul acts on.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerConfig {
    /// `node.id` (or `broker.id`).
    pub node_id: BrokerId,
    /// `broker.rack`.
    pub broker_rack: Option<String>,
    /// `listeners`.
    pub listeners: Vec<Listener>,
    /// `advertised.listeners`, one for each of `listeners`; port 0 means the port that was bound.
    pub advertised_listeners: Vec<Listener>,
    /// `admin.listener`; `None`: no admin endpoint.
    pub admin_listener: Option<HostPort>,
    /// `log.dirs`, or `log.dir`.
    pub data_dir: PathBuf,
    /// `shards`, 1 to [`SHARDS_MAX`]; `None`: one a usable core.
    pub shards: Option<u16>,
    /// `cpus`, ascending; `None`: those the process may use.
    pub cpus: Option<Vec<u32>>,
    /// `reactor.poll` and `reactor.spin.us`.
    pub poll: PollMode,
    /// `reactor.ring.depth`.
    pub ring_depth: u32,
    /// `storage.direct`.
    pub direct: DirectMode,
    /// `fetch.path`.
    pub fetch_path: FetchPath,
    /// `memory.tail.bytes`, of all shards together; `None`: chosen from the machine's memory.
    pub memory_tail_bytes: Option<u64>,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// `auto.create.topics.enable`.
    pub auto_create_topics_enable: bool,
    /// `delete.topic.enable`.
    pub delete_topic_enable: bool,
    /// `fetch.max.bytes`.
    pub fetch_max_bytes: u32,
    /// `max.incremental.fetch.session.cache.slots`.
    pub fetch_session_slots: usize,
    /// `max.request.partition.size.limit`.
    pub max_request_partition_size_limit: i32,
    /// `storage.disk.use.max.percent`, 0 to 100.
    pub disk_use_max_percent: u8,
    /// `storage.scrub.interval.ms`.
    pub scrub_interval_ms: u64,
    /// `storage.scrub.max.bytes.per.second`, of all shards together; 0: there is no scrub.
    pub scrub_max_bytes_per_second: u64,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: u64,
    /// `log.retention.check.interval.ms`.
    pub log_retention_check_interval_ms: u64,
    /// `socket.request.max.bytes`.
    pub socket_request_max_bytes: u32,
    /// `queued.max.request.bytes`, resolved: memory of requests being read or waiting, in all.
    pub queued_max_request_bytes: u64,
    /// `connections.max.idle.ms`; `None`: for ever.
    pub connections_max_idle_ms: Option<u64>,
    /// `max.connections`.
    pub max_connections: u32,
    /// `socket.listen.backlog.size`.
    pub socket_listen_backlog_size: i32,
    /// `socket.congestion.control`.
    pub socket_congestion_control: Congestion,
    /// `socket.receive.buffer.bytes`; `None`: the system's.
    pub socket_receive_buffer_bytes: Option<u32>,
    /// `socket.send.buffer.bytes`; `None`: the system's.
    pub socket_send_buffer_bytes: Option<u32>,
    /// Compaction.
    pub cleaner: CleanerConfig,
    /// Groups and their positions.
    pub groups: GroupConfig,
    /// Transactions and the topic that keeps them.
    pub transactions: TransactionConfig,
    /// `message.max.bytes`.
    pub message_max_bytes: i32,
    /// What a topic without settings of its own has (`log.*`, `message.max.bytes`, ...).
    pub topic_defaults: TopicConfig,
    /// What was set and by whom; for topics with settings of their own and for DescribeConfigs.
    pub layers: Layers,
}

impl BrokerConfig {
    /// Types what `layers` set over the built-in values.
    ///
    /// Errors: an address, list or combination that cannot stand (single values were checked
    /// when they entered `layers`).
    pub fn resolve(layers: Layers) -> Result<BrokerConfig, ConfigError> {
        check_broker_defaults(&layers)?;
        let topic_defaults = TopicConfig::resolve(&BTreeMap::new(), &layers)?;
        let view = View { layers: &layers };
        let listeners = view.listeners()?;
        let advertised_listeners = view.advertised_listeners(&listeners)?;
        let socket_request_max_bytes = view.number("socket.request.max.bytes");
        let config = BrokerConfig {
            node_id: view.node_id()?,
            broker_rack: view.text("broker.rack").map(str::to_owned),
            listeners,
            advertised_listeners,
            admin_listener: view.admin_listener()?,
            data_dir: view.data_dir()?,
            shards: view.shards()?,
            cpus: view.cpus()?,
            poll: view.poll(),
            ring_depth: view.number("reactor.ring.depth"),
            direct: view.direct(),
            fetch_path: view.fetch_path(),
            memory_tail_bytes: u64::try_from(view.integer("memory.tail.bytes")).ok(),
            num_partitions: view.number("num.partitions"),
            default_replication_factor: view.number("default.replication.factor"),
            auto_create_topics_enable: view.boolean("auto.create.topics.enable"),
            delete_topic_enable: view.boolean("delete.topic.enable"),
            fetch_max_bytes: view.number("fetch.max.bytes"),
            fetch_session_slots: view.number("max.incremental.fetch.session.cache.slots"),
            max_request_partition_size_limit: view.number("max.request.partition.size.limit"),
            disk_use_max_percent: view.number("storage.disk.use.max.percent"),
            scrub_interval_ms: view.number("storage.scrub.interval.ms"),
            scrub_max_bytes_per_second: view.number("storage.scrub.max.bytes.per.second"),
            producer_id_expiration_ms: view.number("producer.id.expiration.ms"),
            log_retention_check_interval_ms: view.number("log.retention.check.interval.ms"),
            socket_request_max_bytes,
            queued_max_request_bytes: view.queued_max_request_bytes(socket_request_max_bytes)?,
            connections_max_idle_ms: u64::try_from(view.integer("connections.max.idle.ms")).ok(),
            max_connections: view.number("max.connections"),
            socket_congestion_control: view.congestion(),
            socket_listen_backlog_size: view.number("socket.listen.backlog.size"),
            socket_receive_buffer_bytes: view.buffer_bytes("socket.receive.buffer.bytes"),
            socket_send_buffer_bytes: view.buffer_bytes("socket.send.buffer.bytes"),
            cleaner: view.cleaner(),
            groups: view.groups(),
            transactions: view.transactions(),
            message_max_bytes: view.number("message.max.bytes"),
            topic_defaults,
            layers: Layers::new(),
        };
        let config = BrokerConfig { layers, ..config };
        config.assert_invariants();
        Ok(config)
    }

    /// These settings with what clients set laid over them: for all brokers, and for this one.
    /// `self` is what the process was started with.
    ///
    /// Errors: as [`BrokerConfig::resolve`].
    pub fn with_dynamic(
        &self,
        all: &BTreeMap<String, String>,
        own: &BTreeMap<String, String>,
    ) -> Result<BrokerConfig, ConfigError> {
        let mut layers = self.layers.clone();
        layers.overlay(all, own)?;
        let resolved = BrokerConfig::resolve(layers)?;
        // Chosen at the start where nobody set it.
        Ok(BrokerConfig { memory_tail_bytes: self.memory_tail_bytes, ..resolved })
    }

    /// The settings of a topic whose own values are `overrides`.
    ///
    /// Errors: as [`TopicConfig::resolve`].
    pub fn topic(&self, overrides: &BTreeMap<String, String>) -> Result<TopicConfig, ConfigError> {
        if overrides.is_empty() {
            return Ok(self.topic_defaults.clone());
        }
        TopicConfig::resolve(overrides, &self.layers)
    }

    fn assert_invariants(&self) {
        assert!(!self.listeners.is_empty(), "B1");
        assert!(self.listeners.len() == self.advertised_listeners.len(), "B1");
        assert!(self.advertised_listeners.iter().all(|l| !l.address.is_wildcard()), "B2");
        assert!(u64::from(self.socket_request_max_bytes) <= self.queued_max_request_bytes, "B3");
    }
}

impl Default for BrokerConfig {
    /// Nothing set.
    fn default() -> BrokerConfig {
        BrokerConfig::resolve(Layers::new()).expect("the built-in values stand together")
    }
}

/// Typed reading of the layers; single values have passed `value::check`.
struct View<'a> {
    layers: &'a Layers,
}

impl<'a> View<'a> {
    fn setting(name: &str) -> &'static Setting {
        find(Scope::Broker, name).expect("a name of the table")
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        match self.layers.get(name) {
            Some(set) => Some(set.text.as_str()),
            None => Self::setting(name).default,
        }
    }

    fn word(&self, name: &str) -> &'a str {
        self.text(name).expect("this row has a default")
    }

    fn integer(&self, name: &str) -> i64 {
        value::integer(Self::setting(name), self.word(name)).expect("L2: checked")
    }

    fn number<N: TryFrom<i64>>(&self, name: &str) -> N {
        let fits = N::try_from(self.integer(name)).ok();
        fits.expect("the table's bounds lie within the field's type")
    }

    fn boolean(&self, name: &str) -> bool {
        value::boolean(Self::setting(name), self.word(name)).expect("L2: checked")
    }

    fn buffer_bytes(&self, name: &str) -> Option<u32> {
        u32::try_from(self.integer(name)).ok()
    }

    fn refused(&self, name: &str, expected: &'static str) -> ConfigError {
        let value = self.text(name).unwrap_or("").to_owned();
        ConfigError::BadText { name: Self::setting(name).name, value, expected }
    }

    fn node_id(&self) -> Result<BrokerId, ConfigError> {
        let node = self.layers.get("node.id");
        let Some(broker) = self.layers.get("broker.id") else {
            return Ok(BrokerId(self.number("node.id")));
        };
        if node.is_some_and(|node| node.text != broker.text) {
            return Err(ConfigError::Conflict {
                name: "broker.id",
                value: broker.text.clone(),
                other: "node.id",
                other_value: self.word("node.id").to_owned(),
            });
        }
        let id: i32 = self.number("broker.id");
        if id < 0 {
            let value = broker.text.clone();
            return Err(ConfigError::BelowMinimum { name: "broker.id", value, minimum: 0 });
        }
        Ok(BrokerId(id))
    }

    fn listeners(&self) -> Result<Vec<Listener>, ConfigError> {
        let listeners = parse_listeners("listeners", self.word("listeners"))?;
        if listeners.is_empty() {
            return Err(ConfigError::Empty { name: "listeners" });
        }
        let map = self.word("listener.security.protocol.map");
        for listener in &listeners {
            let protocol = map
                .split(',')
                .filter_map(|pair| pair.split_once(':'))
                .find(|(name, _)| name.trim().eq_ignore_ascii_case(&listener.name))
                .map_or(listener.name.as_str(), |(_, protocol)| protocol.trim());
            if protocol != "PLAINTEXT" {
                let value = listener.to_string();
                let served = "the security protocol PLAINTEXT";
                return Err(ConfigError::Unsupported { name: "listeners", value, served });
            }
        }
        Ok(listeners)
    }

    fn advertised_listeners(&self, bound: &[Listener]) -> Result<Vec<Listener>, ConfigError> {
        let name = "advertised.listeners";
        let told = parse_listeners(name, self.text(name).unwrap_or(""))?;
        if let Some(stray) = told.iter().find(|t| bound.iter().all(|b| b.name != t.name)) {
            let value = stray.to_string();
            return Err(ConfigError::BadText { name, value, expected: "the name of a listener" });
        }
        let mut advertised = Vec::with_capacity(bound.len());
        for listener in bound {
            let own = told.iter().find(|told| told.name == listener.name).unwrap_or(listener);
            if own.address.is_wildcard() {
                return Err(ConfigError::AdvertisedWildcard { listener: listener.name.clone() });
            }
            advertised.push(own.clone());
        }
        Ok(advertised)
    }

    fn admin_listener(&self) -> Result<Option<HostPort>, ConfigError> {
        let text = self.word("admin.listener");
        if text.is_empty() {
            return Ok(None);
        }
        let address = HostPort::parse(text);
        address.map(Some).ok_or_else(|| self.refused("admin.listener", "HOST:PORT"))
    }

    fn data_dir(&self) -> Result<PathBuf, ConfigError> {
        let name = if self.layers.get("log.dirs").is_some() { "log.dirs" } else { "log.dir" };
        let text = self.word(name);
        if text.is_empty() || text.contains(',') {
            return Err(self.refused(name, "exactly one directory"));
        }
        Ok(PathBuf::from(text))
    }

    fn shards(&self) -> Result<Option<u16>, ConfigError> {
        let text = self.word("shards");
        if text == "auto" {
            return Ok(None);
        }
        let count = text.parse().ok().filter(|count| (1..=SHARDS_MAX).contains(count));
        count.map(Some).ok_or_else(|| self.refused("shards", "'auto' or a number from 1 to 256"))
    }

    fn cpus(&self) -> Result<Option<Vec<u32>>, ConfigError> {
        let text = self.word("cpus");
        if text == "auto" {
            return Ok(None);
        }
        let cpus = parse_cpus(text);
        cpus.map(Some).ok_or_else(|| self.refused("cpus", "'auto' or a list such as 0,2-5"))
    }

    fn groups(&self) -> GroupConfig {
        GroupConfig {
            min_session_timeout_ms: self.number("group.min.session.timeout.ms"),
            max_session_timeout_ms: self.number("group.max.session.timeout.ms"),
            initial_rebalance_delay_ms: self.number("group.initial.rebalance.delay.ms"),
            max_size: self.number("group.max.size"),
            consumer_session_timeout_ms: self.number("group.consumer.session.timeout.ms"),
            consumer_heartbeat_interval_ms: self.number("group.consumer.heartbeat.interval.ms"),
            consumer_assignment_interval_ms: self.number("group.consumer.assignment.interval.ms"),
            consumer_limits: consumer_limits(self.layers),
            consumer_max_size: self.number("group.consumer.max.size"),
            consumer_migration_policy: match self.word("group.consumer.migration.policy") {
                "disabled" => MigrationPolicy::Disabled,
                "upgrade" => MigrationPolicy::Upgrade,
                "downgrade" => MigrationPolicy::Downgrade,
                _ => MigrationPolicy::Bidirectional,
            },
            offset_metadata_max_bytes: self.number("offset.metadata.max.bytes"),
            offsets_retention_minutes: self.number("offsets.retention.minutes"),
            offsets_retention_check_interval_ms: self.number("offsets.retention.check.interval.ms"),
            offsets_topic_num_partitions: self.number("offsets.topic.num.partitions"),
            offsets_topic_replication_factor: self.number("offsets.topic.replication.factor"),
            offsets_topic_segment_bytes: self.number("offsets.topic.segment.bytes"),
        }
    }

    fn transactions(&self) -> TransactionConfig {
        TransactionConfig {
            max_timeout_ms: self.number("transaction.max.timeout.ms"),
            abort_interval_ms: self
                .integer("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
            id_expiration_ms: self.integer("transactional.id.expiration.ms"),
            expiry_interval_ms: self
                .integer("transaction.remove.expired.transaction.cleanup.interval.ms"),
            partition_verification: self.boolean("transaction.partition.verification.enable"),
            topic_num_partitions: self.number("transaction.state.log.num.partitions"),
            topic_replication_factor: self.number("transaction.state.log.replication.factor"),
            topic_segment_bytes: self.number("transaction.state.log.segment.bytes"),
        }
    }

    fn double(&self, name: &str) -> f64 {
        value::double(Self::setting(name), self.word(name)).expect("L2: checked")
    }

    fn cleaner(&self) -> CleanerConfig {
        let percents = 1..=99u32;
        let factor = self.double("log.cleaner.io.buffer.load.factor");
        let filled = percents.filter(|percent| f64::from(*percent) <= factor * 100.0 + 1e-6);
        CleanerConfig {
            enable: self.boolean("log.cleaner.enable"),
            backoff_ms: u64::try_from(self.integer("log.cleaner.backoff.ms")).unwrap_or(0),
            dedupe_buffer_bytes: u64::try_from(self.integer("log.cleaner.dedupe.buffer.size"))
                .unwrap_or(0),
            fill_percent: filled.count().max(1),
            io_max_bytes_per_second: Some(self.double("log.cleaner.io.max.bytes.per.second"))
                .filter(|rate| *rate < IO_RATE_UNLIMITED),
        }
    }

    fn congestion(&self) -> Congestion {
        match self.word("socket.congestion.control") {
            "auto" => Congestion::Auto,
            "host" => Congestion::Host,
            name => Congestion::Named(name.to_owned()),
        }
    }

    fn poll(&self) -> PollMode {
        match self.word("reactor.poll") {
            "park" => PollMode::Park,
            "spin" => PollMode::Spin,
            _ => PollMode::Adaptive { spin_us: self.number("reactor.spin.us") },
        }
    }

    fn direct(&self) -> DirectMode {
        match self.word("storage.direct") {
            "never" => DirectMode::Never,
            _ => DirectMode::Auto,
        }
    }

    fn fetch_path(&self) -> FetchPath {
        match self.word("fetch.path") {
            "memory" => FetchPath::Memory,
            "sendfile" => FetchPath::Sendfile,
            _ => FetchPath::Auto,
        }
    }

    fn queued_max_request_bytes(&self, request_max: u32) -> Result<u64, ConfigError> {
        let request_max = u64::from(request_max);
        match u64::try_from(self.integer("queued.max.request.bytes")) {
            Err(_) => Ok(QUEUED_REQUEST_BYTES_DEFAULT.max(request_max.saturating_mul(4))),
            Ok(bytes) if request_max <= bytes => Ok(bytes),
            Ok(bytes) => Err(ConfigError::Conflict {
                name: "queued.max.request.bytes",
                value: bytes.to_string(),
                other: "socket.request.max.bytes",
                other_value: request_max.to_string(),
            }),
        }
    }
}

/// Reads a cpuset list (`0,2-5`) into ascending numbers; `None` if it is none.
pub fn parse_cpus(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for item in text.split(',').map(str::trim) {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if last < first || CPUS_END <= last {
            return None;
        }
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    cpus.dedup();
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(pairs: &[&str]) -> Result<BrokerConfig, ConfigError> {
        let mut layers = Layers::new();
        for pair in pairs {
            layers.set_pair(pair)?;
        }
        BrokerConfig::resolve(layers)
    }

    #[test]
    fn the_built_in_values_are_loopback_and_kafkas() {
        let config = BrokerConfig::default();
        assert_eq!(config.node_id, BrokerId(1));
        assert_eq!(config.listeners[0].to_string(), "PLAINTEXT://127.0.0.1:9092");
        assert_eq!(config.advertised_listeners, config.listeners);
        assert_eq!(config.num_partitions, 1);
        assert!(config.auto_create_topics_enable);
        assert_eq!(config.socket_request_max_bytes, 100 << 20);
        assert_eq!(config.queued_max_request_bytes, 400 << 20);
        assert_eq!(config.connections_max_idle_ms, Some(600_000));
        assert_eq!(config.data_dir, PathBuf::from("./yeoul-data"));
        assert_eq!(config.poll, PollMode::Adaptive { spin_us: 50 });
    }

    #[test]
    fn every_broker_default_resolves_when_it_is_set() {
        for setting in crate::config::keys::settings(Scope::Broker) {
            let Some(default) = setting.default else { continue };
            if setting.name == "broker.id" {
                continue; // its default says "not set"
            }
            let config = resolve(&[&format!("{}={default}", setting.name)]);
            assert!(config.is_ok(), "{}: {config:?}", setting.name);
        }
    }

    #[test]
    fn what_is_set_arrives_typed() {
        let config = resolve(&[
            "broker.id=7",
            "listeners=PLAINTEXT://:9092,INSIDE://127.0.0.1:0",
            "listener.security.protocol.map=INSIDE:PLAINTEXT",
            "advertised.listeners=PLAINTEXT://broker.example:9092",
            "log.dirs=/var/lib/yeoul",
            "shards=3",
            "cpus=4-6,1",
            "reactor.poll=spin",
            "fetch.path=sendfile",
            "storage.direct=never",
            "connections.max.idle.ms=-1",
            "admin.listener=",
            "log.segment.bytes=1048576",
        ])
        .unwrap();
        assert_eq!(config.node_id, BrokerId(7));
        assert_eq!(config.advertised_listeners[0].address.host, "broker.example");
        assert_eq!(config.advertised_listeners[1].to_string(), "INSIDE://127.0.0.1:0");
        assert_eq!(config.shards, Some(3));
        assert_eq!(config.cpus, Some(vec![1, 4, 5, 6]));
        assert_eq!(config.poll, PollMode::Spin);
        assert_eq!(config.fetch_path, FetchPath::Sendfile);
        assert_eq!(config.direct, DirectMode::Never);
        assert_eq!(config.connections_max_idle_ms, None);
        assert_eq!(config.admin_listener, None);
        assert_eq!(config.topic_defaults.segment_bytes, 1 << 20);
    }

    #[test]
    fn what_cannot_stand_is_refused() {
        let check = |pairs: &[&str], want: &str| {
            let error = resolve(pairs).unwrap_err().to_string();
            assert!(error.contains(want), "{pairs:?}: {error}");
        };
        check(&["listeners=PLAINTEXT://:9092"], "set advertised.listeners=PLAINTEXT://");
        check(&["listeners=SSL://h:9092"], "only the security protocol PLAINTEXT is served");
        check(&["listeners=9092"], "expected NAME://HOST:PORT");
        check(&["listeners= "], "non-empty");
        check(&["advertised.listeners=X://h:1"], "the name of a listener");
        check(&["broker.id=1", "node.id=2"], "broker.id is 1 while node.id is 2");
        check(&["broker.id=-5"], "Value must be at least 0");
        check(&["shards=0"], "from 1 to 256");
        check(&["cpus=5-2"], "0,2-5");
        check(&["cpus=0-99999999"], "0,2-5");
        check(&["log.dirs=/a,/b"], "exactly one directory");
        check(&["queued.max.request.bytes=1000"], "socket.request.max.bytes is 104857600");
        check(&["log.roll.hours=0"], "Value must be at least 1");
        check(&["log.retention.ms=-2"], "Value must be at least -1");
    }
}
