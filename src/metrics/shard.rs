//! What one shard counts.
//!
//! In:   events, with durations and sizes that the caller measured.
//! Out:  a clone on request; `merge` adds the shards together.
//! Home: one shard, plain fields; the control thread sees clones only.
//!
//! Invariants
//!   M1  Counters only grow; gauges are named so and set to what holds now.
//!   M2  One entry for each API key ever seen, so memory is bounded by the API table.
//!
//! Not here: names and units of the exposition (`exposition.rs`).

use std::collections::BTreeMap;

use super::distribution::Distribution;

/// Requests of one API.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ApiMetrics {
    /// Answered requests that carried an error code anywhere.
    pub errors: u64,
    /// From the last byte of the request read to the response handed to the socket, in
    /// microseconds; its count is the count of requests.
    pub latency_us: Distribution,
    /// Bytes of requests, frame length included.
    pub request_bytes: u64,
    /// Bytes of responses, frame length included.
    pub response_bytes: u64,
}

/// One answered request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnsweredRequest {
    /// Its API key.
    pub api_key: i16,
    /// Whether the response carries an error code.
    pub failed: bool,
    /// Microseconds from read to answered.
    pub latency_us: u64,
    /// Bytes of the request frame.
    pub request_bytes: u64,
    /// Bytes of the response frame.
    pub response_bytes: u64,
}

/// Connections of the shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionMetrics {
    /// Gauge: connections open now.
    pub open: u64,
    /// Connections accepted.
    pub accepted: u64,
}

/// Records that came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProduceMetrics {
    /// Record batches appended.
    pub batches: u64,
    /// Records appended.
    pub records: u64,
    /// Bytes appended.
    pub bytes: u64,
    /// Batches refused, whatever the reason.
    pub refused_batches: u64,
}

/// Records that went out, by the path they took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchMetrics {
    /// Bytes sent from memory, where they were or where a read of the disk put them.
    pub tail_bytes: u64,
    /// Bytes sent by `sendfile`.
    pub sendfile_bytes: u64,
    /// Fetches that had to wait for records.
    pub waited: u64,
    /// Gauge: fetch sessions held now.
    pub sessions: u64,
}

/// Writes and syncs of the shard's logs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CommitMetrics {
    /// Microseconds of one write of log bytes.
    pub write_us: Distribution,
    /// Microseconds of one sync.
    pub sync_us: Distribution,
    /// Record batches made durable by one sync.
    pub batches_a_sync: Distribution,
    /// Bytes made durable by one sync.
    pub bytes_a_sync: Distribution,
    /// Writes and syncs that failed.
    pub failures: u64,
}

/// Compaction of the shard's logs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CleanerMetrics {
    /// Bytes read from segments.
    pub read_bytes: u64,
    /// Bytes written to new segments.
    pub written_bytes: u64,
    /// Microseconds of one pass over one log.
    pub pass_us: Distribution,
    /// Gauge: how full the map of keys was in the last pass, in percent.
    pub map_percent: u64,
    /// Gauge: the largest dirty part of a log, in percent, rounded up.
    pub max_dirty_percent: u64,
    /// Gauge: the longest time that a record has waited past `max.compaction.lag.ms`.
    pub max_compaction_delay_ms: u64,
    /// Gauge: logs that cannot be compacted because they are damaged.
    pub uncleanable_partitions: u64,
    /// Gauge: when the cleaner last looked for work, in milliseconds since 1970.
    pub last_run_ms: u64,
}

/// What the scrub of the shard's logs has read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubMetrics {
    /// Bytes read.
    pub read_bytes: u64,
    /// Segments read to their end.
    pub segments: u64,
    /// Damaged ranges found.
    pub damaged_ranges: u64,
}

/// How the shard spends its time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReactorMetrics {
    /// Microseconds spent in tasks.
    pub busy_us: u64,
    /// Tasks polled.
    pub polls: u64,
    /// Times that the runtime ran by itself, with nothing to do, to look after its timers.
    pub heartbeats: u64,
    /// Calls handed to the blocking threads.
    pub blocking_calls: u64,
    /// Microseconds of a message from another shard, from sent there to received here.
    pub hop_us: Distribution,
    /// Microseconds of polls that took longer than the time slice of a task.
    pub stall_us: Distribution,
    /// Times that the shard's thread slept.
    pub parks: u64,
    /// Times that the shard's thread lost its processor to another.
    pub preemptions: u64,
    /// Microseconds of processor time of the shard's thread, spinning included.
    pub cpu_us: u64,
    /// Microseconds that the shard's thread waited for a processor.
    pub cpu_wait_us: u64,
}

/// What the shard holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HoldingMetrics {
    /// Gauge: partition replicas.
    pub partitions: u64,
    /// Gauge: bytes of logs on disk.
    pub log_bytes: u64,
    /// Gauge: ranges of records on disk that are damaged and not served.
    pub quarantined_ranges: u64,
    /// Gauge: bytes of recent records in memory.
    pub tail_bytes: u64,
    /// Gauge: coordinators of groups and transactions that serve.
    pub coordinators: u64,
    /// Gauge: coordinators whose logs are being read.
    pub coordinators_loading: u64,
    /// Partitions with a transaction that should have ended long ago.
    pub late_transactions: u64,
    /// Gauge: whose appends are refused for want of space: 0 nobody's, 1 clients', 2 all.
    pub space_alert: u64,
    /// Gauge: transactional ids that coordinators know.
    pub transactional_ids: u64,
    /// Gauge: transactions that are open, by their coordinators.
    pub open_transactions: u64,
}

/// Everything one shard counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShardMetrics {
    /// Which shard.
    pub shard: u16,
    /// By API key.
    pub apis: BTreeMap<i16, ApiMetrics>,
    /// Connections.
    pub connections: ConnectionMetrics,
    /// Records in.
    pub produce: ProduceMetrics,
    /// Records out.
    pub fetch: FetchMetrics,
    /// Writes and syncs.
    pub commit: CommitMetrics,
    /// Compaction.
    pub cleaner: CleanerMetrics,
    /// Scrub.
    pub scrub: ScrubMetrics,
    /// Time.
    pub reactor: ReactorMetrics,
    /// Holdings.
    pub holding: HoldingMetrics,
}

impl ShardMetrics {
    /// Nothing counted yet by `shard`.
    pub fn new(shard: u16) -> ShardMetrics {
        ShardMetrics { shard, ..ShardMetrics::default() }
    }

    /// Counts one answered request. `api_key` is one that the broker serves (M2).
    pub fn answered(&mut self, request: AnsweredRequest) {
        let api = self.apis.entry(request.api_key).or_default();
        api.latency_us.record(request.latency_us);
        api.errors += u64::from(request.failed);
        api.request_bytes += request.request_bytes;
        api.response_bytes += request.response_bytes;
    }

    /// Counts one appended record batch.
    pub fn appended(&mut self, records: u64, bytes: u64) {
        self.produce.batches += 1;
        self.produce.records += records;
        self.produce.bytes += bytes;
    }

    /// Adds what `other` counted; the sum of gauges is what the process holds.
    pub fn merge(&mut self, other: &ShardMetrics) {
        for (api_key, theirs) in &other.apis {
            let ours = self.apis.entry(*api_key).or_default();
            ours.errors += theirs.errors;
            ours.latency_us.merge(&theirs.latency_us);
            ours.request_bytes += theirs.request_bytes;
            ours.response_bytes += theirs.response_bytes;
        }
        merge_connections(&mut self.connections, &other.connections);
        merge_produce(&mut self.produce, &other.produce);
        merge_fetch(&mut self.fetch, &other.fetch);
        merge_commit(&mut self.commit, &other.commit);
        merge_cleaner(&mut self.cleaner, &other.cleaner);
        self.scrub.read_bytes += other.scrub.read_bytes;
        self.scrub.segments += other.scrub.segments;
        self.scrub.damaged_ranges += other.scrub.damaged_ranges;
        merge_reactor(&mut self.reactor, &other.reactor);
        self.holding.partitions += other.holding.partitions;
        self.holding.log_bytes += other.holding.log_bytes;
        self.holding.quarantined_ranges += other.holding.quarantined_ranges;
        self.holding.tail_bytes += other.holding.tail_bytes;
        self.holding.coordinators += other.holding.coordinators;
        self.holding.coordinators_loading += other.holding.coordinators_loading;
        self.holding.late_transactions += other.holding.late_transactions;
        self.holding.space_alert = self.holding.space_alert.max(other.holding.space_alert);
        self.holding.transactional_ids += other.holding.transactional_ids;
        self.holding.open_transactions += other.holding.open_transactions;
    }
}

/// All shards together; the `shard` of the result says nothing.
pub fn merged(shards: &[ShardMetrics]) -> ShardMetrics {
    let mut total = ShardMetrics::default();
    shards.iter().for_each(|shard| total.merge(shard));
    total
}

fn merge_connections(ours: &mut ConnectionMetrics, theirs: &ConnectionMetrics) {
    ours.open += theirs.open;
    ours.accepted += theirs.accepted;
}

fn merge_produce(ours: &mut ProduceMetrics, theirs: &ProduceMetrics) {
    ours.batches += theirs.batches;
    ours.records += theirs.records;
    ours.bytes += theirs.bytes;
    ours.refused_batches += theirs.refused_batches;
}

fn merge_fetch(ours: &mut FetchMetrics, theirs: &FetchMetrics) {
    ours.tail_bytes += theirs.tail_bytes;
    ours.sendfile_bytes += theirs.sendfile_bytes;
    ours.waited += theirs.waited;
    ours.sessions += theirs.sessions;
}

fn merge_commit(ours: &mut CommitMetrics, theirs: &CommitMetrics) {
    ours.write_us.merge(&theirs.write_us);
    ours.sync_us.merge(&theirs.sync_us);
    ours.batches_a_sync.merge(&theirs.batches_a_sync);
    ours.bytes_a_sync.merge(&theirs.bytes_a_sync);
    ours.failures += theirs.failures;
}

/// The worst log, and the shard that looked last, say how all fare.
fn merge_cleaner(ours: &mut CleanerMetrics, theirs: &CleanerMetrics) {
    ours.read_bytes += theirs.read_bytes;
    ours.written_bytes += theirs.written_bytes;
    ours.pass_us.merge(&theirs.pass_us);
    ours.map_percent = ours.map_percent.max(theirs.map_percent);
    ours.max_dirty_percent = ours.max_dirty_percent.max(theirs.max_dirty_percent);
    let delay_ms = theirs.max_compaction_delay_ms;
    ours.max_compaction_delay_ms = ours.max_compaction_delay_ms.max(delay_ms);
    ours.uncleanable_partitions += theirs.uncleanable_partitions;
    ours.last_run_ms = ours.last_run_ms.max(theirs.last_run_ms);
}

fn merge_reactor(ours: &mut ReactorMetrics, theirs: &ReactorMetrics) {
    ours.busy_us += theirs.busy_us;
    ours.polls += theirs.polls;
    ours.heartbeats += theirs.heartbeats;
    ours.blocking_calls += theirs.blocking_calls;
    ours.hop_us.merge(&theirs.hop_us);
    ours.stall_us.merge(&theirs.stall_us);
    ours.parks += theirs.parks;
    ours.preemptions += theirs.preemptions;
    ours.cpu_us += theirs.cpu_us;
    ours.cpu_wait_us += theirs.cpu_wait_us;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_add_up() {
        let mut shards = [ShardMetrics::new(0), ShardMetrics::new(1)];
        for (shard, latency_us) in shards.iter_mut().zip([100, 300]) {
            shard.connections.open += 1;
            shard.connections.accepted += 1;
            shard.appended(10, 1_000);
            shard.commit.sync_us.record(120);
            shard.commit.batches_a_sync.record(4);
            shard.commit.bytes_a_sync.record(4_000);
            shard.reactor.hop_us.record(20);
            shard.cleaner.read_bytes += 5;
            shard.scrub.damaged_ranges += 2;
            shard.holding.quarantined_ranges += 3;
            shard.cleaner.max_dirty_percent = latency_us / 10;
            shard.cleaner.uncleanable_partitions = 1;
            shard.reactor.parks += 7;
            shard.holding.space_alert = 1;
            shard.answered(AnsweredRequest {
                api_key: 0,
                failed: latency_us == 300,
                latency_us,
                request_bytes: 50,
                response_bytes: 60,
            });
        }
        shards[1].connections.open -= 1;
        let total = merged(&shards);
        assert_eq!(total.apis[&0].latency_us.count(), 2);
        assert_eq!(total.apis[&0].latency_us.sum(), 400);
        assert_eq!(total.apis[&0].errors, 1);
        assert_eq!((total.connections.open, total.connections.accepted), (1, 2));
        assert_eq!((total.produce.records, total.produce.bytes), (20, 2_000));
        assert_eq!(total.commit.bytes_a_sync.sum(), 8_000);
        assert_eq!((total.cleaner.read_bytes, total.cleaner.uncleanable_partitions), (10, 2));
        assert_eq!((total.cleaner.max_dirty_percent, total.holding.space_alert), (30, 1));
        let damage = (total.scrub.damaged_ranges, total.holding.quarantined_ranges);
        assert_eq!(damage, (4, 6));
        assert_eq!((total.reactor.hop_us.count(), total.reactor.parks), (2, 14));
    }
}
