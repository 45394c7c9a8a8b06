//! Claim: what one connection gets of a whole broker, the built binary on a folder under target:
//! durable produce with one and with 32 requests of 16 KiB in flight, and fetches of 1 MiB.
//!
//! The client is our own and of one thread; its work (CRC and walk of what is fetched) is included.
//! `YEOUL_BENCH_SET='reactor.poll=park shards=1'` starts the broker with other settings.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tempfile::TempDir;
use yeoul::client::cluster::{Client, ClientOptions};
use yeoul::client::connection::Connection;
use yeoul::client::consumer::{Consumer, FetchOptions};
use yeoul::config::listener::HostPort;
use yeoul::model::ids::TopicId;
use yeoul::model::time::Timestamp;
use yeoul::protocol::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use yeoul::record::batch::Codec;
use yeoul::record::builder::{BatchBuilder, NewRecord};

const TOPIC: &str = "bench";
const BATCH_BYTES: usize = 16 << 10;
const FETCH_BYTES: i32 = 1 << 20;
const TIMEOUT: Duration = Duration::from_secs(30);

/// A broker, ended by its own pid when it is dropped.
struct Broker {
    child: Child,
    address: HostPort,
    _folder: TempDir,
}

impl Broker {
    #[allow(clippy::disallowed_methods)] // a bench waits as it likes
    fn start() -> Broker {
        let folder = tempfile::Builder::new()
            .prefix("bench-loopback-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .expect("a folder under target");
        let ready_file = folder.path().join("ready.json");
        let settings = std::env::var("YEOUL_BENCH_SET").unwrap_or_default();
        let child = Command::new(env!("CARGO_BIN_EXE_yeoul"))
            .args(["start", "--kafka", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data"])
            .arg(folder.path().join("data"))
            .arg("--ready-file")
            .arg(&ready_file)
            .args(settings.split_whitespace().flat_map(|setting| ["--set", setting]))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary runs");
        let began = Instant::now();
        let address = loop {
            let text = std::fs::read_to_string(&ready_file).unwrap_or_default();
            let ready = serde_json::from_str::<serde_json::Value>(&text).unwrap_or_default();
            if let Some(address) = ready["kafka"].as_str() {
                break HostPort::parse(address).expect("host and port");
            }
            assert!(began.elapsed() < TIMEOUT, "the broker is not ready");
            std::thread::sleep(Duration::from_millis(1));
        };
        Broker { child, address, _folder: folder }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn request(id: TopicId) -> ProduceRequest {
    let mut builder = BatchBuilder::new(Codec::None);
    while builder.record_bytes() < BATCH_BYTES {
        let timestamp = Timestamp(1_700_000_000_000);
        let record = NewRecord { timestamp, key: None, value: Some(&[7; 1_000]), headers: &[] };
        builder.push(&record).expect("a few KiB fit");
    }
    let records: Option<BytesMut> = Some(builder.build());
    let topics = vec![TopicProduceData {
        name: TOPIC.to_owned(),
        topic_id: id,
        partitions: vec![PartitionProduceData { index: 0, records }],
    }];
    ProduceRequest { acks: -1, timeout_ms: 30_000, topics, ..Default::default() }
}

#[allow(clippy::disallowed_methods)] // a bench reads the clock
fn produce(
    connection: &mut Connection,
    request: &ProduceRequest,
    rounds: u64,
    at_once: u64,
) -> Duration {
    let begin = Instant::now();
    for _ in 0..rounds {
        let sent: Vec<_> = (0..at_once).map(|_| connection.send(request).expect("sent")).collect();
        for sent in sent {
            let answer: ProduceResponse = connection.receive(sent).expect("answered");
            assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
        }
    }
    begin.elapsed()
}

#[allow(clippy::disallowed_methods)] // a bench reads the clock
fn fetch(client: &mut Client, rounds: u64) -> Duration {
    let options = FetchOptions { partition_bytes_max: FETCH_BYTES, ..FetchOptions::default() };
    let begin = Instant::now();
    for _ in 0..rounds {
        let mut consumer = Consumer::new(TOPIC, BTreeMap::from([(0, 0)]), options);
        assert!(!consumer.poll(client).expect("answered").is_empty());
    }
    begin.elapsed()
}

fn loopback(criterion: &mut Criterion) {
    let broker = Broker::start();
    let options = ClientOptions {
        brokers: vec![broker.address.clone()],
        client_id: "bench".to_owned(),
        timeout: TIMEOUT,
    };
    let mut client = Client::connect(options).expect("the broker is ready");
    let topic = client.topic(TOPIC, true).expect("made by asking for it");
    let request = request(topic.id);
    let leader = client.leader(TOPIC, 0).expect("it has a leader");
    let mut connection = Connection::open(&leader, "bench", TIMEOUT).expect("connected");
    // What the fetches read, whichever of these benches are chosen.
    produce(&mut connection, &request, 80, 1);
    let mut group = criterion.benchmark_group("loopback");
    for at_once in [1, 32] {
        group.throughput(Throughput::Bytes(at_once * BATCH_BYTES as u64));
        group.bench_function(format!("produce_16k/{at_once}"), |bencher| {
            bencher.iter_custom(|rounds| produce(&mut connection, &request, rounds, at_once));
        });
    }
    group.throughput(Throughput::Bytes(FETCH_BYTES.unsigned_abs().into()));
    group.bench_function("fetch_1m", |bencher| {
        bencher.iter_custom(|rounds| fetch(&mut client, rounds));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = loopback
}
criterion_main!(benches);
