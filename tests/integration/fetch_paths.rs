//! Every way by which a record reaches a consumer gives the same bytes: from memory, by reads of
//! the disk, by `sendfile` of sealed segments; over one shard, two, and more than there are cores.
//!
//! In:   records of known content in segments of 1 MiB, with little memory for the tail.
//! Out:  what the client reads back, and what the broker counts as sent by `sendfile`.

use std::collections::BTreeMap;
use std::time::Duration;

use yeoul::client::admin::{NewTopic, create_topics};
use yeoul::client::cluster::{Client, ClientOptions};
use yeoul::client::consumer::{Consumer, FetchOptions};
use yeoul::client::producer::{Acks, OutgoingRecord, Producer, ProducerOptions};
use yeoul::config::listener::HostPort;
use yeoul::record::batch::Codec;
use yeoul::testing::prng::Prng;

use crate::broker::{Broker, Options};

const TOPIC: &str = "paths";
const PARTITIONS: i32 = 3;
const RECORDS: u64 = 6_000;

fn value_of(number: u64) -> Vec<u8> {
    let mut prng = Prng::new(number);
    let length = 500 + prng.index(1_500);
    prng.bytes(length)
}

fn client(broker: &Broker) -> Client {
    let address = HostPort::parse(&broker.kafka).expect("host and port");
    let options = ClientOptions {
        brokers: vec![address],
        client_id: "paths".to_owned(),
        timeout: Duration::from_secs(30),
    };
    Client::connect(options).expect("the broker is ready")
}

fn produce(client: &mut Client) {
    let configs = vec![("segment.bytes".to_owned(), "1048576".to_owned())];
    let topic =
        NewTopic { name: TOPIC.to_owned(), partitions: PARTITIONS, replication_factor: 1, configs };
    create_topics(client, &[topic], false).expect("a request").remove(0).expect("a new topic");
    let mut producer = Producer::new(ProducerOptions {
        acks: Acks::All,
        codec: Codec::None,
        idempotent: true,
        batch_bytes: 64 << 10,
        delivery_timeout: Duration::from_secs(60),
    });
    for number in 0..RECORDS {
        let value = value_of(number);
        let record = OutgoingRecord {
            topic: TOPIC,
            partition: Some(i32::try_from(number % 3).expect("below 3")),
            timestamp_ms: 1_700_000_000_000,
            key: Some(&number.to_be_bytes()),
            value: Some(&value),
            headers: &[],
        };
        producer.send(client, &record).expect("taken");
    }
    producer.flush(client).expect("acknowledged");
}

fn read_all_back(client: &mut Client) {
    let positions: BTreeMap<i32, i64> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
    let mut consumer = Consumer::new(TOPIC, positions, FetchOptions::default());
    let mut next = [0_u64, 1, 2];
    let mut read = 0;
    while read < RECORDS {
        for record in consumer.poll(client).expect("readable") {
            let slot = usize::try_from(record.partition).expect("a partition");
            let number = next[slot];
            assert_eq!(record.key.as_deref(), Some(&number.to_be_bytes()[..]), "in order");
            assert_eq!(record.value.as_deref(), Some(&value_of(number)[..]), "record {number}");
            next[slot] += 3;
            read += 1;
        }
    }
}

/// Bytes that went out by `sendfile`, all shards added up.
fn sendfile_bytes(broker: &Broker) -> f64 {
    broker.metric(&["fetched_bytes", "\"sendfile\""])
}

fn check(path: &str, shards: u16) {
    let mut options = Options::set(&[&format!("fetch.path={path}"), "memory.tail.bytes=1048576"]);
    options.shards = Some(shards);
    let mut broker = Broker::with(options);
    produce(&mut client(&broker));
    read_all_back(&mut client(&broker));
    broker.stop();
    broker.restart();
    read_all_back(&mut client(&broker));
    let by_sendfile = sendfile_bytes(&broker);
    assert_eq!(by_sendfile > 0.0, path == "sendfile", "{path}: {by_sendfile} bytes by sendfile");
}

#[test]
fn from_memory_and_disk() {
    check("memory", 1);
}

#[test]
fn by_sendfile() {
    check("sendfile", 2);
}

#[test]
fn as_the_peer_suggests_over_more_shards_than_cores() {
    check("auto", 5);
}

/// Whole batches do not fill a limit to the byte: what is asked for at least can then never come,
/// and a broker that waited for it would wait in vain.
#[test]
fn a_read_that_a_limit_ended_does_not_wait_for_more() {
    let broker = Broker::start();
    let mut client = client(&broker);
    produce(&mut client);
    let options = FetchOptions {
        wait_max: Duration::from_secs(24 * 3600), // far beyond the client's patience
        bytes_min: 1 << 20,
        bytes_max: 1 << 20,
        partition_bytes_max: 1 << 20,
    };
    let mut consumer = Consumer::new(TOPIC, BTreeMap::from([(0, 0)]), options);
    let records = consumer.poll(&mut client).expect("answered at once");
    assert!(!records.is_empty());
}
