//! Records: written, read, looked up; idempotent producers; leaders' epochs.

use bytes::BytesMut;
use yeoul::model::ids::{ProducerEpoch, ProducerId, TopicId};
use yeoul::model::offset::Sequence;
use yeoul::model::time::Timestamp;
use yeoul::protocol::fetch::*;
use yeoul::protocol::messages::init_producer_id::*;
use yeoul::protocol::messages::list_offsets::*;
use yeoul::protocol::messages::offset_for_leader_epoch::*;
use yeoul::protocol::produce::*;
use yeoul::record::batch::Codec;
use yeoul::record::builder::{BatchBuilder, NewRecord, Producer};
use yeoul::testing::prng::Prng;

use crate::duo::Duo;
use crate::topics::any_name;

/// The time of the first record; each further one is a second later.
const BASE_MS: i64 = 1_700_000_000_000;

/// Where idempotent producers write, in the second topic; not read, since their ids differ.
const PRODUCERS_PARTITION: i32 = 1;

/// A batch of `count` records.
fn batch(codec: Codec, count: i64, producer: Option<Producer>) -> BytesMut {
    let mut builder = BatchBuilder::new(codec);
    if let Some(producer) = producer {
        builder = builder.producer(producer);
    }
    for at in 0..count {
        let record = NewRecord {
            timestamp: Timestamp(BASE_MS + at * 1000),
            key: Some(b"key"),
            value: Some(b"value"),
            headers: &[("h", Some(b"v"))],
        };
        builder.push(&record).expect("small");
    }
    builder.build()
}

/// What a Produce request carries: a step's name, and its bytes.
fn records(prng: &mut Prng) -> (&'static str, Option<BytesMut>) {
    let good = |codec| batch(codec, 3, None);
    let mut bytes = good(Codec::None);
    match prng.below(12) {
        0 => ("null", None),
        1 => ("empty", Some(BytesMut::new())),
        2 => {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            ("bad checksum", Some(bytes))
        }
        3 => ("two batches", Some([&bytes[..], &bytes[..]].concat()[..].into())),
        4 => ("cut", Some(bytes[..bytes.len() - 5].into())),
        5 => {
            bytes[16] = [0, 1, 3][prng.index(3)];
            ("other magic", Some(bytes))
        }
        6 => ("gzip", Some(good(Codec::Gzip))),
        7 => ("lz4", Some(good(Codec::Lz4))),
        8 => ("snappy", Some(good(Codec::Snappy))),
        9 => ("zstd", Some(good(Codec::Zstd))),
        _ => ("plain", Some(bytes)),
    }
}

/// Writes: good and bad bytes, topics and partitions.
pub fn produce(duo: &mut Duo, prng: &mut Prng, topics: &[String]) {
    for version in duo.versions::<ProduceRequest>() {
        for _ in 0..4 {
            let (step, records) = records(prng);
            let name = if prng.chance(80) { topics[0].clone() } else { any_name(prng, topics) };
            let index = [0, 0, 0, 1, 1, 7, -1][prng.index(7)];
            let acks = [-1, -1, 1, 2][prng.index(4)];
            duo.ask(step, version, |side| ProduceRequest {
                acks,
                timeout_ms: 5000,
                topics: vec![TopicProduceData {
                    name: if version < 13 { name.clone() } else { String::new() },
                    topic_id: if version < 13 { TopicId::ZERO } else { side.id(&name) },
                    partitions: vec![PartitionProduceData { index, records: records.clone() }],
                }],
                transactional_id: None,
                unknown_tagged_fields: Vec::new(),
            });
        }
    }
}

/// An idempotent producer: in order, again, with a gap, with a wrong epoch, after a new start.
pub fn idempotent(duo: &mut Duo, prng: &mut Prng, topics: &[String]) {
    let versions = duo.versions::<ProduceRequest>();
    for version in duo.versions::<InitProducerIdRequest>() {
        for (producer_id, producer_epoch) in [(-1, 3), (77, -1), (-5, 0)] {
            duo.ask("bad id or epoch", version, |_| InitProducerIdRequest {
                transactional_id: None,
                producer_id: if version >= 3 { producer_id } else { -1 },
                producer_epoch: if version >= 3 { producer_epoch } else { -1 },
                ..Default::default()
            });
        }
        let answers = duo.ask("new", version, |_| InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            ..Default::default()
        });
        let Some(answers) = answers else { continue };
        let ids = answers.map(|answer| answer.producer_id);
        for _ in 0..8 {
            let version = versions[prng.index(versions.len())];
            let sequence = [0, 0, 3, 3, 6, 1, 100, i32::MAX - 1][prng.index(8)];
            let epoch = [0, 0, 0, 0, 0, 1, 2][prng.index(7)];
            duo.ask(&format!("sequence {sequence} epoch {epoch}"), version, |side| {
                let id = ids[usize::from(side.name == "kafka")];
                let producer = Producer {
                    id: ProducerId(id),
                    epoch: ProducerEpoch(epoch),
                    base_sequence: Sequence(sequence),
                };
                ProduceRequest {
                    acks: -1,
                    timeout_ms: 5000,
                    topics: vec![TopicProduceData {
                        name: if version < 13 { topics[1].clone() } else { String::new() },
                        topic_id: if version < 13 { TopicId::ZERO } else { side.id(&topics[1]) },
                        partitions: vec![PartitionProduceData {
                            index: PRODUCERS_PARTITION,
                            records: Some(batch(Codec::None, 3, Some(producer))),
                        }],
                    }],
                    transactional_id: None,
                    unknown_tagged_fields: Vec::new(),
                }
            });
        }
    }
}

const OFFSETS: [i64; 8] = [0, 0, 1, 2, 5, -1, 1_000_000, i64::MAX];

/// Reads from random places, without and with sessions.
pub fn fetch(duo: &mut Duo, prng: &mut Prng, topics: &[String]) {
    for version in duo.versions::<FetchRequest>() {
        for _ in 0..5 {
            let name = if prng.chance(85) {
                topics[prng.index(2)].clone()
            } else {
                any_name(prng, topics)
            };
            let partition = FetchPartition {
                partition: if name == topics[1] { 0 } else { [0, 0, 1, 9, -1][prng.index(5)] },
                current_leader_epoch: if version < 9 { -1 } else { [-1, -1, 0, 5][prng.index(4)] },
                fetch_offset: OFFSETS[prng.index(OFFSETS.len())],
                partition_max_bytes: [1 << 20, 1 << 20, 1, 0][prng.index(4)],
                ..Default::default()
            };
            let max_bytes = [1 << 20, 1][prng.index(2)];
            let isolation_level = [0, 1][prng.index(2)];
            let (session_id, session_epoch) = if version < 7 {
                (0, -1)
            } else {
                [(0, -1), (0, 0), (0, 5), (99, 1), (0, -7)][prng.index(5)]
            };
            let step = format!("session {session_id} {session_epoch}");
            duo.ask(&step, version, |side| FetchRequest {
                max_wait_ms: 10,
                min_bytes: 1,
                max_bytes,
                isolation_level,
                session_id,
                session_epoch,
                topics: vec![FetchTopic {
                    topic: if version < 13 { name.clone() } else { String::new() },
                    topic_id: if version < 13 { TopicId::ZERO } else { side.id(&name) },
                    partitions: vec![partition.clone()],
                    ..Default::default()
                }],
                ..Default::default()
            });
        }
    }
}

/// Looks offsets up by time, by name, and by epoch.
pub fn offsets(duo: &mut Duo, prng: &mut Prng, topics: &[String]) {
    let times =
        [-1, -2, -3, -4, -5, -6, -7, 0, BASE_MS, BASE_MS + 500, BASE_MS + 2000, BASE_MS + 99_000];
    for version in duo.versions::<ListOffsetsRequest>() {
        for timestamp in times {
            let name = if prng.chance(85) { topics[0].clone() } else { any_name(prng, topics) };
            let partition_index = [0, 0, 0, 1, 9][prng.index(5)];
            let current_leader_epoch = if version < 4 { -1 } else { [-1, 0, 3][prng.index(3)] };
            duo.ask(&format!("time {timestamp}"), version, |_| ListOffsetsRequest {
                replica_id: -1,
                topics: vec![ListOffsetsTopic {
                    name: name.clone(),
                    partitions: vec![ListOffsetsPartition {
                        partition_index,
                        current_leader_epoch,
                        timestamp,
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                ..Default::default()
            });
        }
    }
    for version in duo.versions::<OffsetForLeaderEpochRequest>() {
        for leader_epoch in [-1, 0, 1, 7] {
            let topic = any_name(prng, topics);
            let partition = [0, 1, 9][prng.index(3)];
            let current_leader_epoch = [-1, 0, 4][prng.index(3)];
            duo.ask(&format!("epoch {leader_epoch}"), version, |_| OffsetForLeaderEpochRequest {
                replica_id: if version < 3 { -2 } else { -1 },
                topics: vec![OffsetForLeaderTopic {
                    topic: topic.clone(),
                    partitions: vec![OffsetForLeaderPartition {
                        partition,
                        current_leader_epoch,
                        leader_epoch,
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                ..Default::default()
            });
        }
    }
}
