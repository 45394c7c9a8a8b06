//! Claim: reading and writing the hot messages costs far less than the system calls around them,
//! and no more for large batches than for small ones.

use std::hint::black_box;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use yeoul::model::ids::TopicId;
use yeoul::protocol::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, FetchableTopicResponse, PartitionData,
};
use yeoul::protocol::message::Message;
use yeoul::protocol::messages::metadata::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use yeoul::protocol::primitives::{Reader, Writer};
use yeoul::protocol::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceData, TopicProduceResponse,
};

const TOPIC: TopicId = TopicId([7; 16]);

fn encoded<M: Message>(message: &M, version: i16) -> BytesMut {
    let mut writer = Writer::new();
    message.encode(&mut writer, version).expect("a sound message");
    writer.into_buffer()
}

fn produce(criterion: &mut Criterion) {
    let version = *ProduceRequest::VERSIONS.end();
    let mut group = criterion.benchmark_group("produce");
    for (partitions, bytes) in [(1, 16 << 10), (1, 1 << 20), (16, 16 << 10)] {
        let of_partition =
            |index| PartitionProduceData { index, records: Some(BytesMut::zeroed(bytes)) };
        let topics = vec![TopicProduceData {
            name: String::new(),
            topic_id: TOPIC,
            partitions: (0..partitions).map(of_partition).collect(),
        }];
        let request = ProduceRequest { acks: -1, timeout_ms: 30_000, topics, ..Default::default() };
        let body = encoded(&request, version);
        group.bench_function(format!("decode/{partitions}x{bytes}"), |bencher| {
            bencher.iter_batched(
                || body.clone(),
                |body| ProduceRequest::decode_split(body, version).expect("well-formed"),
                BatchSize::LargeInput,
            );
        });
    }
    let of_partition = |index| PartitionProduceResponse { index, ..Default::default() };
    let topic = TopicProduceResponse {
        topic_id: TOPIC,
        partition_responses: (0..16).map(of_partition).collect(),
        ..Default::default()
    };
    let response = ProduceResponse { responses: vec![topic], ..Default::default() };
    group.bench_function("encode/16", |bencher| {
        bencher.iter(|| encoded(black_box(&response), version));
    });
    group.finish();
}

fn fetch(criterion: &mut Criterion) {
    let version = *FetchRequest::VERSIONS.end();
    let mut group = criterion.benchmark_group("fetch");
    let of_partition = |partition| FetchPartition { partition, ..Default::default() };
    let topic = FetchTopic {
        topic_id: TOPIC,
        partitions: (0..16).map(of_partition).collect(),
        ..Default::default()
    };
    let request = FetchRequest { topics: vec![topic], ..Default::default() };
    let body = encoded(&request, version);
    group.bench_function("decode/16", |bencher| {
        bencher.iter(|| {
            FetchRequest::decode(&mut Reader::new(black_box(&body)), version).expect("well-formed")
        });
    });
    for (partitions, bytes) in [(1, 16 << 10), (1, 1 << 20), (16, 64 << 10)] {
        let records = Bytes::from(vec![7; bytes]);
        let of_partition = |partition_index| PartitionData {
            partition_index,
            records: Some(vec![records.clone()]),
            ..Default::default()
        };
        let topic = FetchableTopicResponse {
            topic: String::new(),
            topic_id: TOPIC,
            partitions: (0..partitions).map(of_partition).collect(),
        };
        let response = FetchResponse { responses: vec![topic], ..Default::default() };
        group.bench_function(format!("encode/{partitions}x{bytes}"), |bencher| {
            bencher.iter_batched(
                || (response.clone(), Vec::new()),
                |(response, mut pieces)| {
                    response.encode_frame(1, version, &mut pieces).expect("a sound message");
                    pieces
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn metadata(criterion: &mut Criterion) {
    let version = *MetadataResponse::VERSIONS.end();
    let of_partition = |partition_index| MetadataResponsePartition {
        partition_index,
        replica_nodes: vec![1],
        isr_nodes: vec![1],
        ..Default::default()
    };
    let of_topic = |number: u8| MetadataResponseTopic {
        name: Some(format!("topic-{number}")),
        topic_id: TopicId([number; 16]),
        partitions: (0..10).map(of_partition).collect(),
        ..Default::default()
    };
    let broker = MetadataResponseBroker {
        node_id: 1,
        host: "localhost".to_owned(),
        port: 9092,
        ..Default::default()
    };
    let response = MetadataResponse {
        brokers: vec![broker],
        topics: (0..100).map(of_topic).collect(),
        ..Default::default()
    };
    let mut group = criterion.benchmark_group("metadata");
    group.bench_function("encode/100x10", |bencher| {
        bencher.iter(|| encoded(black_box(&response), version));
    });
    let body = encoded(&response, version);
    group.bench_function("decode/100x10", |bencher| {
        bencher.iter(|| {
            MetadataResponse::decode(&mut Reader::new(black_box(&body)), version)
                .expect("well-formed")
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1));
    targets = produce, fetch, metadata
}
criterion_main!(benches);
