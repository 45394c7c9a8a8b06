//! Counters as OpenMetrics text.
//!
//! In:   clones of the shards' metrics, lags of groups, and facts of the process.
//! Out:  text for `/public_metrics` (shards added up) or `/metrics` (one series a shard).
//! Home: pure; runs on the control thread.
//!
//! Names are `yeoul_<area>_<what>_<unit>[_total]` in base units, and follow those of Redpanda's
//! public metrics behind the prefix, so that its dashboards convert by search and replace.
//! `kafka_consumergroup_lag` alone has no prefix: it is what lag exporters call it.
//! Source: OpenMetrics 1.0.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::distribution::Distribution;
use super::group_lag::{PartitionLag, ShownLags};
use super::shard::{ShardMetrics, merged};

/// Content type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of latency buckets, in microseconds.
const LATENCY_BOUNDS_US: &[u64] = &[
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 5_000_000, 30_000_000,
];
/// Upper bounds of the buckets of hops between shards, in microseconds.
const HOP_BOUNDS_US: &[u64] =
    &[5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 100_000];
/// Upper bounds of count buckets.
const COUNT_BOUNDS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 1_024];
/// Upper bounds of size buckets, in bytes.
const SIZE_BOUNDS: &[u64] =
    &[4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 50_331_648];

/// What the process knows beside its shards.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessFacts {
    /// Version of the program.
    pub version: &'static str,
    /// Seconds since start.
    pub uptime_seconds: f64,
    /// Topics of the cluster.
    pub topics: u64,
    /// Bytes of the file system that holds the data directory.
    pub disk_total_bytes: u64,
    /// Bytes of it that are free.
    pub disk_free_bytes: u64,
    /// Log lines dropped because the writer could not keep up.
    pub log_lines_dropped: u64,
}

/// Whether series carry the shard they come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Shards added up.
    Whole,
    /// One series a shard, with a label `shard`.
    ByShard,
}

/// Prints everything. `api_name` gives the label `request` of an API key.
pub fn text(
    shards: &[ShardMetrics],
    process: &ProcessFacts,
    lags: &ShownLags,
    detail: Detail,
    api_name: fn(i16) -> &'static str,
) -> String {
    let sources = match detail {
        Detail::Whole => vec![Source { shard: None, metrics: merged(shards) }],
        Detail::ByShard => shards
            .iter()
            .map(|metrics| Source { shard: Some(metrics.shard), metrics: metrics.clone() })
            .collect(),
    };
    let mut registry = Registry::default();
    let scrape = Scrape { sources, process: process.clone(), lags: lags.clone(), api_name };
    registry.sub_registry_with_prefix("yeoul").register_collector(Box::new(scrape));
    registry.register_collector(Box::new(KafkaLag(lags.clone())));
    let mut text = String::new();
    encode(&mut text, &registry).expect("a String takes any text");
    without_empty_labels(&text)
}

/// An empty set of labels is legal, and reads better absent. A label's value may hold `{} `, but
/// comes after the line's first brace.
fn without_empty_labels(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for line in text.lines() {
        match line.split_once('{') {
            Some((name, rest)) if !line.starts_with('#') && rest.starts_with("} ") => {
                plain.push_str(name);
                plain.push_str(&rest[1..]);
            }
            _ => plain.push_str(line),
        }
        plain.push('\n');
    }
    plain
}

#[derive(Debug)]
struct Source {
    shard: Option<u16>,
    metrics: ShardMetrics,
}

type Labels = Vec<(&'static str, String)>;

impl Source {
    fn labels(&self) -> Labels {
        self.shard.map(|shard| ("shard", shard.to_string())).into_iter().collect()
    }
}

struct Scrape {
    sources: Vec<Source>,
    process: ProcessFacts,
    lags: ShownLags,
    api_name: fn(i16) -> &'static str,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrape").field("sources", &self.sources.len()).finish_non_exhaustive()
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut families = Families { encoder, scrape: self };
        families.requests()?;
        families.connections()?;
        families.records()?;
        families.commits()?;
        families.cleaner()?;
        families.scrub()?;
        families.reactors()?;
        families.holdings()?;
        families.group_lags()?;
        families.process()
    }
}

/// Lag in records under the name and labels that lag exporters for Kafka have.
#[derive(Debug)]
struct KafkaLag(ShownLags);

impl Collector for KafkaLag {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let help = "Records that a group has not consumed";
        let mut metric =
            encoder.encode_descriptor("kafka_consumergroup_lag", help, None, MetricType::Gauge)?;
        for lag in &self.0.lags {
            let mut labels = lag_labels(lag);
            labels.insert(0, ("consumergroup", lag.group.to_string()));
            metric.encode_family(&labels)?.encode_gauge(&lag.records())?;
        }
        Ok(())
    }
}

fn lag_labels(lag: &PartitionLag) -> Labels {
    vec![
        ("group", lag.group.to_string()),
        ("topic", lag.topic.to_string()),
        ("partition", lag.partition.to_string()),
    ]
}

/// Name, help and unit of a family.
type Family = (&'static str, &'static str, Option<Unit>);

struct Families<'a, 'e> {
    encoder: DescriptorEncoder<'e>,
    scrape: &'a Scrape,
}

impl Families<'_, '_> {
    fn requests(&mut self) -> fmt::Result {
        let seconds = Some(Unit::Seconds);
        let bytes = Some(Unit::Bytes);
        let family = ("kafka_request_latency", "Time from request read to answered", seconds);
        let scrape = self.scrape;
        let mut metric = self.describe(&family, MetricType::Histogram)?;
        for (labels, api) in scrape.apis() {
            put_histogram(&mut metric, &labels, &api.latency_us, &LATENCY)?;
        }
        let family = ("kafka_request_errors", "Requests answered with an error code", None);
        self.api_counter(&family, |api| api.errors)?;
        let family = ("kafka_request", "Bytes of requests", bytes.clone());
        self.api_counter(&family, |api| api.request_bytes)?;
        let family = ("kafka_response", "Bytes of responses", bytes);
        self.api_counter(&family, |api| api.response_bytes)
    }

    fn connections(&mut self) -> fmt::Result {
        self.gauge(&("rpc_active_connections", "Open connections", None), |m| m.connections.open)?;
        let family = ("rpc_connections_accepted", "Connections accepted", None);
        self.counter(&family, |m| m.connections.accepted)
    }

    fn records(&mut self) -> fmt::Result {
        self.counter(&("kafka_records_produced", "Records appended", None), |m| m.produce.records)?;
        let family = ("kafka_batches_produced", "Record batches appended", None);
        self.counter(&family, |m| m.produce.batches)?;
        let family = ("kafka_produced", "Bytes of records appended", Some(Unit::Bytes));
        self.counter(&family, |m| m.produce.bytes)?;
        let family = ("kafka_batches_refused", "Record batches refused", None);
        self.counter(&family, |m| m.produce.refused_batches)?;
        let family =
            ("kafka_fetched", "Bytes of records sent, by the path they took", Some(Unit::Bytes));
        let scrape = self.scrape;
        let mut metric = self.describe(&family, MetricType::Counter)?;
        for source in &scrape.sources {
            let fetch = &source.metrics.fetch;
            let paths = [("memory", fetch.tail_bytes), ("sendfile", fetch.sendfile_bytes)];
            for (path, bytes) in paths {
                let mut labels = source.labels();
                labels.push(("path", path.to_owned()));
                put_counter(&mut metric, &labels, bytes)?;
            }
        }
        let family = ("kafka_fetch_waited", "Fetches that waited for records", None);
        self.counter(&family, |m| m.fetch.waited)?;
        self.gauge(&("kafka_fetch_sessions", "Fetch sessions held", None), |m| m.fetch.sessions)
    }

    fn commits(&mut self) -> fmt::Result {
        let seconds = Some(Unit::Seconds);
        let family = ("storage_write_latency", "Time of one write of log bytes", seconds.clone());
        self.histogram(&family, &LATENCY, |m| &m.commit.write_us)?;
        let family = ("storage_sync_latency", "Time of one sync of a log", seconds);
        self.histogram(&family, &LATENCY, |m| &m.commit.sync_us)?;
        let family = ("storage_sync_batches", "Record batches made durable by one sync", None);
        self.histogram(&family, &COUNT, |m| &m.commit.batches_a_sync)?;
        let family = ("storage_sync", "Bytes made durable by one sync", Some(Unit::Bytes));
        self.histogram(&family, &SIZE, |m| &m.commit.bytes_a_sync)?;
        let family = ("storage_failures", "Writes and syncs that failed", None);
        self.counter(&family, |m| m.commit.failures)
    }

    /// Kafka's names of its `LogCleaner` and `LogCleanerManager`, in base units.
    fn cleaner(&mut self) -> fmt::Result {
        let bytes = Some(Unit::Bytes);
        let family = ("kafka_log_cleaner_read", "Bytes read by compaction", bytes.clone());
        self.counter(&family, |m| m.cleaner.read_bytes)?;
        let family = ("kafka_log_cleaner_written", "Bytes written by compaction", bytes);
        self.counter(&family, |m| m.cleaner.written_bytes)?;
        let family = ("kafka_log_cleaner_clean_time", "One pass over one log", Some(Unit::Seconds));
        self.histogram(&family, &LATENCY, |m| &m.cleaner.pass_us)?;
        let name = "kafka_log_cleaner_max_buffer_utilization_percent";
        self.gauge(&(name, "Fill of the last map of keys", None), |m| m.cleaner.map_percent)?;
        let family = ("kafka_log_cleaner_max_dirty_percent", "Largest dirty part of a log", None);
        self.gauge(&family, |m| m.cleaner.max_dirty_percent)?;
        let name = "kafka_log_cleaner_max_compaction_delay_ms";
        let family = (name, "Longest wait past max.compaction.lag.ms", None);
        self.gauge(&family, |m| m.cleaner.max_compaction_delay_ms)?;
        let name = "kafka_log_cleaner_uncleanable_partitions_count";
        let family = (name, "Logs not compacted because they are damaged", None);
        self.gauge(&family, |m| m.cleaner.uncleanable_partitions)?;
        let name = "kafka_log_cleaner_last_run_timestamp_ms";
        self.gauge(&(name, "When work was last looked for", None), |m| m.cleaner.last_run_ms)
    }

    fn scrub(&mut self) -> fmt::Result {
        let family = ("storage_scrub_read", "Bytes read by the scrub", Some(Unit::Bytes));
        self.counter(&family, |m| m.scrub.read_bytes)?;
        let family = ("storage_scrub_segments", "Segments scrubbed to their end", None);
        self.counter(&family, |m| m.scrub.segments)?;
        let family = ("storage_scrub_damaged_ranges", "Damaged ranges the scrub found", None);
        self.counter(&family, |m| m.scrub.damaged_ranges)?;
        let words = "Ranges of records on disk that are damaged and not served";
        let family = ("storage_quarantined_ranges", words, None);
        self.gauge(&family, |m| m.holding.quarantined_ranges)
    }

    fn reactors(&mut self) -> fmt::Result {
        let family = ("cpu_busy", "Time shards spent in tasks", Some(Unit::Seconds));
        self.seconds_counter(&family, |m| m.reactor.busy_us)?;
        let family = ("cpu", "Processor time of shards, with spinning", Some(Unit::Seconds));
        self.seconds_counter(&family, |m| m.reactor.cpu_us)?;
        let family = ("cpu_wait", "Time shards waited for a processor", Some(Unit::Seconds));
        self.seconds_counter(&family, |m| m.reactor.cpu_wait_us)?;
        let family = ("reactor_parks", "Times a shard slept", None);
        self.counter(&family, |m| m.reactor.parks)?;
        let family = ("reactor_preemptions", "Times a shard lost its processor", None);
        self.counter(&family, |m| m.reactor.preemptions)?;
        self.counter(&("reactor_polls", "Tasks polled", None), |m| m.reactor.polls)?;
        let family = ("reactor_heartbeats", "Rounds that only kept time", None);
        self.counter(&family, |m| m.reactor.heartbeats)?;
        let family = ("reactor_blocking_calls", "Calls handed to blocking threads", None);
        self.counter(&family, |m| m.reactor.blocking_calls)?;
        let family = (
            "reactor_stall_latency",
            "Polls of a task longer than its time slice of 0.5 ms",
            Some(Unit::Seconds),
        );
        self.histogram(&family, &LATENCY, |m| &m.reactor.stall_us)?;
        let family = (
            "reactor_hop_latency",
            "Messages from other shards, from sent to received",
            Some(Unit::Seconds),
        );
        self.histogram(&family, &HOP, |m| &m.reactor.hop_us)
    }

    fn holdings(&mut self) -> fmt::Result {
        self.gauge(&("kafka_replicas", "Partition replicas", None), |m| m.holding.partitions)?;
        let bytes = Some(Unit::Bytes);
        let family = ("storage_log", "Bytes of logs on disk", bytes.clone());
        self.gauge(&family, |m| m.holding.log_bytes)?;
        let words = "Appends refused for want of space: 0 none, 1 of clients, 2 all";
        let family = ("storage_disk_free_space_alert", words, None);
        self.gauge(&family, |m| m.holding.space_alert)?;
        let family = ("memory_tail", "Bytes of recent records in memory", bytes);
        self.gauge(&family, |m| m.holding.tail_bytes)?;
        let family = ("kafka_coordinators_serving", "Coordinators that serve", None);
        self.gauge(&family, |m| m.holding.coordinators)?;
        let family = ("kafka_coordinators_loading", "Coordinators whose logs are read", None);
        self.gauge(&family, |m| m.holding.coordinators_loading)?;
        let words = "Partitions whose oldest transaction is open 5 minutes longer than any may be";
        let family = ("partitions_with_late_transactions", words, None);
        self.gauge(&family, |m| m.holding.late_transactions)?;
        let family = ("kafka_transactional_ids", "Ids that transaction coordinators know", None);
        self.gauge(&family, |m| m.holding.transactional_ids)?;
        let family = ("kafka_transactions_open", "Transactions that are open", None);
        self.gauge(&family, |m| m.holding.open_transactions)
    }

    fn group_lags(&mut self) -> fmt::Result {
        let scrape = self.scrape;
        let help = "Age of the first record that a group has not consumed";
        let family = ("kafka_group_lag", help, Some(Unit::Seconds));
        let mut metric = self.describe(&family, MetricType::Gauge)?;
        for lag in &scrape.lags.lags {
            if let Some(seconds) = lag.seconds {
                metric.encode_family(&lag_labels(lag))?.encode_gauge(&seconds)?;
            }
        }
        let help = "Partitions of groups whose lag is not shown, because there are too many";
        self.one_gauge(&("kafka_group_lag_truncated", help, None), scrape.lags.truncated)
    }

    fn process(&mut self) -> fmt::Result {
        let facts = self.scrape.process.clone();
        let bytes = Some(Unit::Bytes);
        self.one_gauge(&("cluster_topics", "Topics", None), facts.topics)?;
        let family = ("storage_disk_total", "Bytes of the data file system", bytes.clone());
        self.one_gauge(&family, facts.disk_total_bytes)?;
        let family = ("storage_disk_free", "Bytes of it that are free", bytes);
        self.one_gauge(&family, facts.disk_free_bytes)?;
        let family = ("log_lines_dropped", "Log lines dropped by a full writer", None);
        let mut metric = self.describe(&family, MetricType::Counter)?;
        put_counter(&mut metric, &Labels::new(), facts.log_lines_dropped)?;
        let family = ("application_uptime", "Time since start", Some(Unit::Seconds));
        self.describe(&family, MetricType::Gauge)?.encode_gauge(&facts.uptime_seconds)?;
        let family = ("application_build", "Which program this is", None);
        let labels = vec![("version", facts.version.to_owned())];
        self.describe(&family, MetricType::Gauge)?.encode_family(&labels)?.encode_gauge(&1_u64)
    }

    fn describe<'s>(
        &'s mut self,
        family: &'s Family,
        metric_type: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        let (name, help, unit) = family;
        self.encoder.encode_descriptor(name, help, unit.as_ref(), metric_type)
    }

    fn counter(&mut self, family: &Family, value: fn(&ShardMetrics) -> u64) -> fmt::Result {
        let scrape = self.scrape;
        let mut metric = self.describe(family, MetricType::Counter)?;
        for source in &scrape.sources {
            put_counter(&mut metric, &source.labels(), value(&source.metrics))?;
        }
        Ok(())
    }

    fn seconds_counter(&mut self, family: &Family, us: fn(&ShardMetrics) -> u64) -> fmt::Result {
        let scrape = self.scrape;
        let mut metric = self.describe(family, MetricType::Counter)?;
        for source in &scrape.sources {
            let labels = source.labels();
            let value = seconds_of(us(&source.metrics));
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, f64, f64>(&value, None)?;
        }
        Ok(())
    }

    fn gauge(&mut self, family: &Family, value: fn(&ShardMetrics) -> u64) -> fmt::Result {
        let scrape = self.scrape;
        let mut metric = self.describe(family, MetricType::Gauge)?;
        for source in &scrape.sources {
            metric.encode_family(&source.labels())?.encode_gauge(&value(&source.metrics))?;
        }
        Ok(())
    }

    fn one_gauge(&mut self, family: &Family, value: u64) -> fmt::Result {
        self.describe(family, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn histogram(
        &mut self,
        family: &Family,
        scale: &Scale,
        value: fn(&ShardMetrics) -> &Distribution,
    ) -> fmt::Result {
        let scrape = self.scrape;
        let mut metric = self.describe(family, MetricType::Histogram)?;
        for source in &scrape.sources {
            put_histogram(&mut metric, &source.labels(), value(&source.metrics), scale)?;
        }
        Ok(())
    }

    fn api_counter(
        &mut self,
        family: &Family,
        value: fn(&super::shard::ApiMetrics) -> u64,
    ) -> fmt::Result {
        let scrape = self.scrape;
        let mut metric = self.describe(family, MetricType::Counter)?;
        for (labels, api) in scrape.apis() {
            put_counter(&mut metric, &labels, value(api))?;
        }
        Ok(())
    }
}

impl Scrape {
    fn apis(&self) -> impl Iterator<Item = (Labels, &super::shard::ApiMetrics)> {
        self.sources.iter().flat_map(|source| {
            source.metrics.apis.iter().map(|(api_key, api)| {
                let mut labels = source.labels();
                labels.push(("request", (self.api_name)(*api_key).to_owned()));
                (labels, api)
            })
        })
    }
}

/// Bucket bounds of a distribution and what one of its units is in the exposed unit.
struct Scale {
    bounds: &'static [u64],
    unit: f64,
}

const LATENCY: Scale = Scale { bounds: LATENCY_BOUNDS_US, unit: 1e-6 };
const HOP: Scale = Scale { bounds: HOP_BOUNDS_US, unit: 1e-6 };
const COUNT: Scale = Scale { bounds: COUNT_BOUNDS, unit: 1.0 };
const SIZE: Scale = Scale { bounds: SIZE_BOUNDS, unit: 1.0 };

fn put_counter(metric: &mut MetricEncoder, labels: &Labels, value: u64) -> fmt::Result {
    metric.encode_family(labels)?.encode_counter::<NoLabelSet, u64, f64>(&value, None)
}

#[allow(clippy::cast_precision_loss)] // a scrape shows 53 bits
fn put_histogram(
    metric: &mut MetricEncoder,
    labels: &Labels,
    distribution: &Distribution,
    scale: &Scale,
) -> fmt::Result {
    // Bounds are divided, not multiplied, by a power of ten: 0.0001 and not 0.000099999.
    let per_unit = (1.0 / scale.unit).round();
    let bounds = scale.bounds.iter().map(|&bound| bound as f64 / per_unit);
    let counts = distribution.buckets(scale.bounds);
    let buckets: Vec<(f64, u64)> =
        bounds.chain(std::iter::once(f64::INFINITY)).zip(counts).collect();
    let sum = distribution.sum() as f64 / per_unit;
    let mut one = metric.encode_family(labels)?;
    one.encode_histogram::<NoLabelSet>(sum, distribution.count(), &buckets, None)
}

#[allow(clippy::cast_precision_loss)] // a scrape shows 53 bits
fn seconds_of(us: u64) -> f64 {
    us as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::shard::AnsweredRequest;

    fn name(api_key: i16) -> &'static str {
        if api_key == 0 { "produce" } else { "other" }
    }

    fn sample() -> Vec<ShardMetrics> {
        let mut shards = vec![ShardMetrics::new(0), ShardMetrics::new(1)];
        for shard in &mut shards {
            shard.connections.open += 1;
            shard.commit.sync_us.record(120);
            shard.commit.batches_a_sync.record(4);
            shard.commit.bytes_a_sync.record(5_000);
            shard.reactor.busy_us = 1_500_000;
            shard.reactor.hop_us.record(9);
            shard.reactor.stall_us.record(700);
            shard.reactor.parks = 40;
            shard.fetch.tail_bytes = 7;
            shard.answered(AnsweredRequest {
                api_key: 0,
                failed: true,
                latency_us: 90,
                request_bytes: 50,
                response_bytes: 60,
            });
        }
        shards
    }

    fn lags() -> ShownLags {
        let lag = |group: &str, seconds| PartitionLag {
            group: group.into(),
            has_members: true,
            topic: "t".into(),
            partition: 3,
            position: 5,
            end: 12,
            seconds,
        };
        let lags = vec![lag("g", Some(2.5)), lag("a{} \"b\"", None)];
        ShownLags { lags, truncated: 4 }
    }

    #[test]
    fn the_whole_adds_shards_up() {
        let process = ProcessFacts { version: "1.2.3", topics: 5, ..ProcessFacts::default() };
        let text = text(&sample(), &process, &lags(), Detail::Whole, name);
        for line in [
            "# UNIT yeoul_kafka_request_latency_seconds seconds",
            "yeoul_kafka_request_latency_seconds_bucket{le=\"0.0001\",request=\"produce\"} 2",
            "yeoul_kafka_request_latency_seconds_bucket{le=\"+Inf\",request=\"produce\"} 2",
            "yeoul_kafka_request_latency_seconds_count{request=\"produce\"} 2",
            "yeoul_kafka_request_errors_total{request=\"produce\"} 2",
            "yeoul_kafka_request_bytes_total{request=\"produce\"} 100",
            "yeoul_rpc_active_connections 2",
            "yeoul_kafka_fetched_bytes_total{path=\"memory\"} 14",
            "yeoul_storage_sync_batches_bucket{le=\"4.0\"} 2",
            "yeoul_cpu_busy_seconds_total 3.0",
            "yeoul_reactor_hop_latency_seconds_bucket{le=\"0.00001\"} 2",
            "yeoul_reactor_stall_latency_seconds_count 2",
            "yeoul_reactor_parks_total 80",
            "yeoul_kafka_group_lag_seconds{group=\"g\",topic=\"t\",partition=\"3\"} 2.5",
            "yeoul_kafka_group_lag_truncated 4",
            "kafka_consumergroup_lag{consumergroup=\"g\",group=\"g\",topic=\"t\",partition=\"3\"} 7",
            concat!(
                "kafka_consumergroup_lag{consumergroup=\"a{} \\\"b\\\"\",group=\"a{} \\\"b\\\"\",",
                "topic=\"t\",partition=\"3\"} 7"
            ),
            "yeoul_cluster_topics 5",
            "yeoul_application_build{version=\"1.2.3\"} 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|got| got == line), "{line}\n---\n{text}");
        }
    }

    #[test]
    fn by_shard_each_series_names_its_shard() {
        let process = ProcessFacts::default();
        let text = text(&sample(), &process, &lags(), Detail::ByShard, name);
        for line in [
            "yeoul_rpc_active_connections{shard=\"0\"} 1",
            "yeoul_rpc_active_connections{shard=\"1\"} 1",
            "yeoul_kafka_request_errors_total{shard=\"1\",request=\"produce\"} 1",
        ] {
            assert!(text.lines().any(|got| got == line), "{line}\n---\n{text}");
        }
    }

    #[test]
    fn every_family_is_described_once_and_prefixed() {
        let process = ProcessFacts::default();
        let text = text(&sample(), &process, &lags(), Detail::ByShard, name);
        let mut types: Vec<&str> = text.lines().filter(|l| l.starts_with("# TYPE ")).collect();
        let count = types.len();
        types.sort_unstable();
        types.dedup();
        assert_eq!(types.len(), count);
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let prefixed =
            |line: &str| line.starts_with("yeoul_") || line.starts_with("kafka_consumergroup_lag{");
        samples.for_each(|line| assert!(prefixed(line), "{line}"));
    }
}
