//! For tests: the JSON form of messages as Kafka's converters write it, and random messages.

use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

use crate::model::ids::TopicId;
use crate::protocol::fetch::{FetchResponse, FetchableTopicResponse, PartitionData};
use crate::protocol::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use crate::protocol::wire::Layout;
pub use crate::testing::prng::Prng;

/// What tests ask of every field's type.
pub trait Probe: Sized {
    /// The value as Kafka's JSON converter writes it.
    fn to_json(&self, layout: Layout) -> Value;

    /// A random value that `layout` can carry.
    fn arbitrary(prng: &mut Prng, layout: Layout) -> Self;
}

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// `topic_id` is `topicId` in JSON.
pub fn camel(snake: &str) -> String {
    let mut words = snake.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        name.push_str(&word[..1].to_uppercase());
        name.push_str(&word[1..]);
    }
    name
}

macro_rules! probe_integers {
    ($($type:ty),*) => {
        $(
            impl Probe for $type {
                fn to_json(&self, _: Layout) -> Value {
                    Value::from(*self)
                }

                #[allow(clippy::cast_possible_truncation)]
                fn arbitrary(prng: &mut Prng, _: Layout) -> Self {
                    match prng.below(8) {
                        0 => 0,
                        1 => <$type>::MAX,
                        2 => <$type>::MIN,
                        3..=5 => prng.below(100) as $type,
                        _ => prng.next_u64() as $type,
                    }
                }
            }
        )*
    };
}

probe_integers!(i8, i16, i32, i64, u16);

impl Probe for bool {
    fn to_json(&self, _: Layout) -> Value {
        Value::from(*self)
    }

    fn arbitrary(prng: &mut Prng, _: Layout) -> Self {
        prng.chance(50)
    }
}

impl Probe for TopicId {
    fn to_json(&self, _: Layout) -> Value {
        Value::from(self.to_string())
    }

    fn arbitrary(prng: &mut Prng, _: Layout) -> Self {
        TopicId(prng.bytes(16).try_into().expect("sixteen bytes"))
    }
}

impl Probe for String {
    fn to_json(&self, _: Layout) -> Value {
        Value::from(self.as_str())
    }

    fn arbitrary(prng: &mut Prng, _: Layout) -> Self {
        let length = if prng.chance(5) { prng.index(300) } else { prng.index(12) };
        (0..length).map(|_| ['a', 'Z', '.', '여', '🦀', '9'][prng.index(6)]).collect()
    }
}

impl Probe for Bytes {
    fn to_json(&self, _: Layout) -> Value {
        Value::from(base64(self))
    }

    fn arbitrary(prng: &mut Prng, _: Layout) -> Self {
        let length = prng.index(40);
        Bytes::from(prng.bytes(length))
    }
}

impl<T: Probe> Probe for Vec<T> {
    fn to_json(&self, layout: Layout) -> Value {
        self.iter().map(|element| element.to_json(layout)).collect()
    }

    fn arbitrary(prng: &mut Prng, layout: Layout) -> Self {
        let length = if prng.chance(2) { 130 } else { prng.index(4) };
        (0..length).map(|_| T::arbitrary(prng, layout)).collect()
    }
}

impl<T: Probe> Probe for Option<T> {
    fn to_json(&self, layout: Layout) -> Value {
        self.as_ref().map_or(Value::Null, |value| value.to_json(layout))
    }

    fn arbitrary(prng: &mut Prng, layout: Layout) -> Self {
        prng.chance(75).then(|| T::arbitrary(prng, layout))
    }
}

/// `records` and its length as the golden files have them.
fn records_json(object: &mut serde_json::Map<String, Value>, records: Option<Vec<u8>>) {
    if let Some(records) = &records {
        object.insert("recordsSizeInBytes".to_owned(), json!(records.len()));
    }
    object.insert("records".to_owned(), json!(records.map(|records| base64(&records))));
}

/// The field that names a topic in this layout.
fn topic_json(layout: Layout, field: &str, name: &str, id: TopicId) -> Value {
    if layout.version < 13 { json!({ field: name }) } else { json!({ "topicId": id.to_string() }) }
}

impl Probe for ProduceRequest {
    fn to_json(&self, layout: Layout) -> Value {
        let topic_data = self.topics.iter().map(|topic| {
            let mut object = topic_json(layout, "name", &topic.name, topic.topic_id);
            object["partitionData"] = topic
                .partitions
                .iter()
                .map(|partition| {
                    let mut object = serde_json::Map::new();
                    object.insert("index".to_owned(), json!(partition.index));
                    records_json(&mut object, partition.records.as_ref().map(|r| r.to_vec()));
                    Value::Object(object)
                })
                .collect();
            object
        });
        json!({
            "transactionalId": self.transactional_id,
            "acks": self.acks,
            "timeoutMs": self.timeout_ms,
            "topicData": topic_data.collect::<Value>(),
        })
    }

    fn arbitrary(prng: &mut Prng, layout: Layout) -> Self {
        let by_name = layout.version < 13;
        let mut topics = Vec::new();
        for _ in 0..prng.index(4) {
            let mut partitions = Vec::new();
            for _ in 0..prng.index(4) {
                let records: Option<Bytes> = Probe::arbitrary(prng, layout);
                partitions.push(PartitionProduceData {
                    index: Probe::arbitrary(prng, layout),
                    records: records.map(|records| BytesMut::from(&records[..])),
                });
            }
            topics.push(TopicProduceData {
                name: if by_name { Probe::arbitrary(prng, layout) } else { String::new() },
                topic_id: if by_name { TopicId::ZERO } else { Probe::arbitrary(prng, layout) },
                partitions,
            });
        }
        ProduceRequest {
            transactional_id: Probe::arbitrary(prng, layout),
            acks: Probe::arbitrary(prng, layout),
            timeout_ms: Probe::arbitrary(prng, layout),
            topics,
            unknown_tagged_fields: Vec::new(),
        }
    }
}

impl Probe for FetchResponse<Bytes> {
    fn to_json(&self, layout: Layout) -> Value {
        let mut object = json!({ "throttleTimeMs": self.throttle_time_ms });
        if layout.version >= 7 {
            object["errorCode"] = json!(self.error_code);
            object["sessionId"] = json!(self.session_id);
        }
        let topics = self.responses.iter().map(|topic| {
            let mut object = topic_json(layout, "topic", &topic.topic, topic.topic_id);
            object["partitions"] = topic.partitions.iter().map(|one| one.to_json(layout)).collect();
            object
        });
        object["responses"] = topics.collect();
        if !self.node_endpoints.is_empty() {
            object["nodeEndpoints"] = self.node_endpoints.to_json(layout);
        }
        object
    }

    fn arbitrary(prng: &mut Prng, layout: Layout) -> Self {
        let by_name = layout.version < 13;
        let mut response = FetchResponse {
            throttle_time_ms: Probe::arbitrary(prng, layout),
            ..FetchResponse::default()
        };
        if layout.version >= 7 {
            response.error_code = Probe::arbitrary(prng, layout);
            response.session_id = Probe::arbitrary(prng, layout);
        }
        for _ in 0..prng.index(4) {
            response.responses.push(FetchableTopicResponse {
                topic: if by_name { Probe::arbitrary(prng, layout) } else { String::new() },
                topic_id: if by_name { TopicId::ZERO } else { Probe::arbitrary(prng, layout) },
                partitions: Probe::arbitrary(prng, layout),
            });
        }
        if layout.version >= 16 {
            response.node_endpoints = Probe::arbitrary(prng, layout);
        }
        response
    }
}

impl Probe for PartitionData<Bytes> {
    fn to_json(&self, layout: Layout) -> Value {
        let mut object = serde_json::Map::new();
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        put("partitionIndex", json!(self.partition_index));
        put("errorCode", json!(self.error_code));
        put("highWatermark", json!(self.high_watermark));
        put("lastStableOffset", json!(self.last_stable_offset));
        if layout.version >= 5 {
            put("logStartOffset", json!(self.log_start_offset));
        }
        if self.diverging_epoch != Default::default() {
            put("divergingEpoch", self.diverging_epoch.to_json(layout));
        }
        if self.current_leader != Default::default() {
            put("currentLeader", self.current_leader.to_json(layout));
        }
        if self.snapshot_id != Default::default() {
            put("snapshotId", self.snapshot_id.to_json(layout));
        }
        put("abortedTransactions", self.aborted_transactions.to_json(layout));
        if layout.version >= 11 {
            put("preferredReadReplica", json!(self.preferred_read_replica));
        }
        records_json(&mut object, self.records.as_ref().map(|slices| slices.concat()));
        Value::Object(object)
    }

    fn arbitrary(prng: &mut Prng, layout: Layout) -> Self {
        let mut partition = PartitionData {
            partition_index: Probe::arbitrary(prng, layout),
            error_code: Probe::arbitrary(prng, layout),
            high_watermark: Probe::arbitrary(prng, layout),
            last_stable_offset: Probe::arbitrary(prng, layout),
            aborted_transactions: Probe::arbitrary(prng, layout),
            records: prng.chance(75).then(|| vec![Probe::arbitrary(prng, layout)]),
            ..PartitionData::default()
        };
        if layout.version >= 5 {
            partition.log_start_offset = Probe::arbitrary(prng, layout);
        }
        if layout.version >= 11 {
            partition.preferred_read_replica = Probe::arbitrary(prng, layout);
        }
        if layout.flexible {
            partition.diverging_epoch = Probe::arbitrary(prng, layout);
            partition.current_leader = Probe::arbitrary(prng, layout);
            partition.snapshot_id = Probe::arbitrary(prng, layout);
        }
        partition
    }
}
