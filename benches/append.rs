//! Claim: batches that are appended while a sync runs share the next one: 32 at once cost far less
//! than 32 times one. On a real file under the target folder, which is removed afterwards.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use yeoul::config::topic::FlushPolicy;
use yeoul::io::real_directory::RealDirectory;
use yeoul::model::ids::{ProducerEpoch, ProducerId, ShardId};
use yeoul::model::offset::{LeaderEpoch, Offset, Sequence};
use yeoul::model::time::Timestamp;
use yeoul::record::batch::{Attributes, BatchHeader, BatchInfo, HeaderFields, header_bytes, seal};
use yeoul::shard::executor::{Links, ShardContext, ShardSettings, start};
use yeoul::shard::tasks::{self, Queue};
use yeoul::storage::log::{Log, LogShared};
use yeoul::storage::options::LogOptions;

const BATCH_BYTES: usize = 16 << 10;
const NOW: Timestamp = Timestamp(1_700_000_000_000);
const OPTIONS: LogOptions = LogOptions {
    segment_bytes: 64 << 20,
    segment_ms: u64::MAX,
    index_bytes: 10 << 20,
    index_interval_bytes: 4_096,
    flush: FlushPolicy::PerAck,
    retention_ms: None,
    retention_bytes: Some(128 << 20),
};

struct Rounds;

impl Links for Rounds {
    type Request = ();
    type Answer = ();
    type Call = ();
    type CallAnswer = ();
    type Command = (u64, u64);
    type CommandAnswer = Duration;
}

fn batch(offset: Offset) -> (Bytes, BatchInfo) {
    let fields = HeaderFields {
        base_offset: offset,
        leader_epoch: LeaderEpoch(0),
        attributes: Attributes(0),
        last_offset_delta: 0,
        base_timestamp: NOW,
        max_timestamp: NOW,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch(-1),
        base_sequence: Sequence::NONE,
        record_count: 1,
    };
    let mut bytes = header_bytes(&fields).to_vec();
    bytes.resize(BATCH_BYTES, 7);
    seal(&mut bytes);
    let info = BatchHeader::peek(&bytes).expect("a whole header").info().expect("a sound header");
    (Bytes::from(bytes), info)
}

/// Appends `at_once` batches and waits until they are durable, `rounds` times.
#[allow(clippy::disallowed_methods)] // a bench reads the clock
async fn append(log: Log<RealDirectory>, rounds: u64, at_once: u64) -> Duration {
    let begin = Instant::now();
    for _ in 0..rounds {
        for _ in 0..at_once {
            let (bytes, info) = batch(log.log_end());
            log.append(bytes, &info, NOW).expect("room for it");
        }
        log.wait_durable(log.log_end()).await.expect("the disk holds");
    }
    let took = begin.elapsed();
    log.retain(NOW, log.durable_end()).await.expect("old segments can be removed");
    took
}

async fn serve(context: ShardContext<Rounds>, folder: PathBuf) {
    let directory = RealDirectory::open(&folder).await.expect("a folder of our own");
    let log = Log::open(directory, OPTIONS, LogShared::new(16 << 20), NOW)
        .await
        .expect("an empty log")
        .log;
    let writer = log.clone();
    let writing = tasks::spawn(Queue::Network, async move { writer.run().await });
    let of_commands = log.clone();
    context.commands.serve(move |(rounds, at_once)| {
        let log = of_commands.clone();
        Box::pin(async move { append(log, rounds, at_once).await })
    });
    context.stop.wait().await;
    log.close().await.expect("the disk holds");
    writing.await.expect("the disk held");
}

fn group_commit(criterion: &mut Criterion) {
    let folder = tempfile::Builder::new()
        .prefix("bench-append-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .expect("a folder under target");
    let path = folder.path().to_owned();
    let settings = ShardSettings { shards: Some(1), ..ShardSettings::default() };
    let body = move |context: ShardContext<Rounds>| serve(context, path.clone());
    let (shards, control) = start(&settings, body).expect("the shard starts");
    let mut group = criterion.benchmark_group("append_16k");
    for at_once in [1, 32] {
        group.throughput(Throughput::Bytes(at_once * BATCH_BYTES as u64));
        group.bench_function(at_once.to_string(), |bencher| {
            bencher.iter_custom(|rounds| {
                let appended = control.shards.send_blocking(ShardId(0), (rounds, at_once));
                appended.expect("the shard lives")
            });
        });
    }
    group.finish();
    shards.stop();
    shards.wait().expect("no shard panicked");
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = group_commit
}
criterion_main!(benches);
