//! Records gathered into one batch a partition, sent together, and sent again until answered.
//!
//! In:   records, one by one.
//! Out:  their offsets, once the broker acknowledged them.
//!
//! Invariants
//!   P1  One batch of a partition is under way at a time, so retries keep the order.
//!   P2  A batch that is sent again is the same bytes: an idempotent producer's duplicate is told
//!       from a new batch by its sequence.
//!   P3  A record is lost only with an error: after `flush` each one is acknowledged, or the caller
//!       has the reason. With acks=0 nobody acknowledges.
#![allow(clippy::disallowed_methods)] // a client's thread reads its own clock

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::cluster::Client;
use super::connection::Sent;
use super::error::ClientError;
use super::partitioner::partition_of_key;
use crate::config::listener::HostPort;
use crate::model::ids::{ProducerEpoch, ProducerId};
use crate::model::offset::Sequence;
use crate::model::time::Timestamp;
use crate::protocol::api::ApiKey;
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::init_producer_id::InitProducerIdRequest;
use crate::protocol::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceData,
};
use crate::record::batch::{Codec, HEADER_BYTES};
use crate::record::builder::{BatchBuilder, NewRecord, Producer as BatchProducer};

/// Who must have a record before it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// Nobody answers.
    None,
    /// The leader.
    Leader,
    /// Every replica in sync.
    All,
}

impl Acks {
    fn wire(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// How a producer works.
#[derive(Clone, Copy, Debug)]
pub struct ProducerOptions {
    /// Who acknowledges.
    pub acks: Acks,
    /// How batches are packed.
    pub codec: Codec,
    /// Whether the broker tells a batch that came twice; only with [`Acks::All`].
    pub idempotent: bool,
    /// Bytes of records in one partition from which everything gathered is sent.
    pub batch_bytes: usize,
    /// How long a batch is sent again before it is given up.
    pub delivery_timeout: Duration,
}

/// A record to be written.
#[derive(Clone, Copy, Debug)]
pub struct OutgoingRecord<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition; `None`: by its key, or any.
    pub partition: Option<i32>,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Value.
    pub value: Option<&'a [u8]>,
    /// Names and values.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// A batch that was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Offset of its first record; -1 with acks=0.
    pub base_offset: i64,
    /// The broker's time for all its records, if the topic is set so.
    pub log_append_time_ms: Option<i64>,
    /// Its records, in order.
    pub records: Vec<RecordMark>,
}

/// What a producer remembers of a record until it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordMark {
    /// Its timestamp.
    pub timestamp_ms: i64,
    /// Bytes of its value.
    pub value_bytes: usize,
}

type Place = (String, i32);

/// Gathers and sends.
#[derive(Debug)]
pub struct Producer {
    options: ProducerOptions,
    identity: Option<(ProducerId, ProducerEpoch)>,
    sequences: BTreeMap<Place, Sequence>,
    gathering: BTreeMap<Place, Gathering>,
    /// Partition for records without key, by topic; another after each flush.
    sticky: BTreeMap<String, i32>,
}

#[derive(Debug)]
struct Gathering {
    builder: BatchBuilder,
    records: Vec<RecordMark>,
}

/// A batch on its way.
#[derive(Debug)]
struct Batch {
    bytes: BytesMut,
    records: Vec<RecordMark>,
}

impl Producer {
    /// A producer of this thread; an idempotent one asks for its id with its first batch.
    pub fn new(options: ProducerOptions) -> Producer {
        assert!(!options.idempotent || options.acks == Acks::All, "idempotence needs acks=all");
        Producer {
            options,
            identity: None,
            sequences: BTreeMap::new(),
            gathering: BTreeMap::new(),
            sticky: BTreeMap::new(),
        }
    }

    /// Gathers one record; sends all that is gathered when its partition's batch is full.
    ///
    /// Errors: [`ClientError`], of this or an earlier record.
    pub fn send(
        &mut self,
        client: &mut Client,
        record: &OutgoingRecord<'_>,
    ) -> Result<Vec<Acknowledged>, ClientError> {
        let partition = self.partition_of(client, record)?;
        if self.options.idempotent && self.identity.is_none() {
            self.identity = Some(init_producer_id(client, self.options.delivery_timeout)?);
        }
        let place = (record.topic.to_owned(), partition);
        let codec = self.options.codec;
        let gathering = self.gathering.entry(place).or_insert_with(|| Gathering {
            builder: BatchBuilder::new(codec),
            records: Vec::new(),
        });
        let new = NewRecord {
            timestamp: Timestamp(record.timestamp_ms),
            key: record.key,
            value: record.value,
            headers: record.headers,
        };
        let value_bytes = record.value.map_or(0, <[u8]>::len);
        let pushed = gathering.builder.push(&new);
        pushed.map_err(|full| ClientError::RecordTooLarge { bytes: full.bytes })?;
        gathering.records.push(RecordMark { timestamp_ms: record.timestamp_ms, value_bytes });
        if gathering.builder.record_bytes() < self.options.batch_bytes {
            return Ok(Vec::new());
        }
        self.flush(client)
    }

    /// Sends all that is gathered and waits until it is acknowledged.
    ///
    /// Errors: [`ClientError`]: a batch was refused, or not acknowledged in time.
    pub fn flush(&mut self, client: &mut Client) -> Result<Vec<Acknowledged>, ClientError> {
        let mut waiting = BTreeMap::new();
        for (place, gathering) in std::mem::take(&mut self.gathering) {
            waiting.insert(place.clone(), self.seal(place, gathering));
        }
        self.sticky.clear();
        let deadline = Instant::now() + self.options.delivery_timeout;
        let mut done = Vec::new();
        while !waiting.is_empty() {
            if let Err(error) = self.attempt(client, &mut waiting, &mut done) {
                waiting.keys().for_each(|(topic, _)| client.forget_topic(topic));
                client.pause(error, deadline)?;
            }
        }
        Ok(done)
    }

    fn partition_of(
        &mut self,
        client: &mut Client,
        record: &OutgoingRecord<'_>,
    ) -> Result<i32, ClientError> {
        let topic = client.topic(record.topic, true)?;
        let count = topic.partitions.len();
        let index = |place: usize| topic.partitions[place].partition;
        match (record.partition, record.key) {
            (Some(partition), _) => {
                if topic.partitions.iter().any(|known| known.partition == partition) {
                    return Ok(partition);
                }
                let topic = topic.name;
                Err(ClientError::UnknownPartition { topic, partition, partitions: count })
            }
            (None, Some(key)) => Ok(index(partition_of_key(key, count))),
            (None, None) => {
                let any = || index(random_below(count));
                Ok(*self.sticky.entry(record.topic.to_owned()).or_insert_with(any))
            }
        }
    }

    fn seal(&mut self, place: Place, gathering: Gathering) -> Batch {
        let mut builder = gathering.builder;
        if let Some((id, epoch)) = self.identity {
            let next = self.sequences.entry(place).or_insert(Sequence(0));
            builder = builder.producer(BatchProducer { id, epoch, base_sequence: *next });
            *next = next.plus(builder.record_count());
        }
        Batch { bytes: builder.build(), records: gathering.records }
    }

    /// Sends every waiting batch once, to all leaders before the first answer is read; takes out
    /// those that were acknowledged. Errors: the first that was not, after all were looked at.
    fn attempt(
        &self,
        client: &mut Client,
        waiting: &mut BTreeMap<Place, Batch>,
        done: &mut Vec<Acknowledged>,
    ) -> Result<(), ClientError> {
        let mut by_leader: BTreeMap<HostPort, Vec<Place>> = BTreeMap::new();
        for place in waiting.keys() {
            let leader = client.leader(&place.0, place.1)?;
            by_leader.entry(leader).or_default().push(place.clone());
        }
        let mut failed = None;
        let mut sent: Vec<(HostPort, Sent)> = Vec::new();
        for (leader, places) in &by_leader {
            match self.send_batches(client, leader, places, waiting) {
                Ok(under_way) => sent.push((leader.clone(), under_way)),
                Err(error) => {
                    client.drop_connection(leader);
                    failed.get_or_insert(error);
                }
            }
        }
        for (leader, under_way) in sent {
            let settled = if self.options.acks == Acks::None {
                let places = by_leader.remove(&leader).unwrap_or_default();
                settle_unanswered(places, waiting, done);
                Ok(())
            } else {
                let answer = client.connection(&leader)?.receive::<ProduceResponse>(under_way);
                if answer.is_err() {
                    client.drop_connection(&leader);
                }
                let places = &by_leader[&leader];
                answer.and_then(|answer| settle(client, &answer, places, waiting, done))
            };
            if let Err(error) = settled {
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn send_batches(
        &self,
        client: &mut Client,
        leader: &HostPort,
        places: &[Place],
        waiting: &BTreeMap<Place, Batch>,
    ) -> Result<Sent, ClientError> {
        let mut topics: Vec<TopicProduceData> = Vec::new();
        for place in places {
            let (name, index) = place;
            let records = Some(waiting[place].bytes.clone());
            let data = PartitionProduceData { index: *index, records };
            match topics.iter_mut().find(|topic| topic.name == *name) {
                Some(topic) => topic.partitions.push(data),
                None => topics.push(TopicProduceData {
                    name: name.clone(),
                    topic_id: client.topic(name, false)?.id,
                    partitions: vec![data],
                }),
            }
        }
        let request = ProduceRequest {
            acks: self.options.acks.wire(),
            timeout_ms: i32::try_from(client.timeout().as_millis()).unwrap_or(i32::MAX),
            topics,
            ..ProduceRequest::default()
        };
        client.connection(leader)?.send(&request)
    }
}

/// With acks=0 a batch that was sent is done.
fn settle_unanswered(
    places: Vec<Place>,
    waiting: &mut BTreeMap<Place, Batch>,
    done: &mut Vec<Acknowledged>,
) {
    for place in places {
        let batch = waiting.remove(&place).expect("a batch that was sent is waiting");
        done.push(acknowledged(place, batch, -1, -1));
    }
}

fn settle(
    client: &mut Client,
    answer: &ProduceResponse,
    places: &[Place],
    waiting: &mut BTreeMap<Place, Batch>,
    done: &mut Vec<Acknowledged>,
) -> Result<(), ClientError> {
    let mut failed = None;
    for place in places {
        match answer_of(client, answer, place)? {
            Some(part) if is_acknowledged(part.error_code) => {
                let batch = waiting.remove(place).expect("a batch that was sent is waiting");
                let (base_offset, time_ms) = (part.base_offset, part.log_append_time_ms);
                done.push(acknowledged(place.clone(), batch, base_offset, time_ms));
            }
            Some(part) => {
                failed.get_or_insert(ClientError::Refused {
                    api: ApiKey::Produce,
                    subject: format!("{}/{}", place.0, place.1),
                    code: part.error_code,
                    message: part.error_message.clone(),
                });
            }
            None => {
                let (topic, partition) = place.clone();
                failed.get_or_insert(ClientError::NoLeader { topic, partition });
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// A duplicate was acknowledged before, and its answer was lost.
fn is_acknowledged(code: i16) -> bool {
    code == 0 || code == ErrorCode::DuplicateSequenceNumber.code()
}

fn answer_of<'a>(
    client: &mut Client,
    answer: &'a ProduceResponse,
    place: &Place,
) -> Result<Option<&'a PartitionProduceResponse>, ClientError> {
    let (name, index) = place;
    let id = client.topic(name, false)?.id;
    let topic = answer
        .responses
        .iter()
        .find(|topic| topic.name == *name || (topic.name.is_empty() && topic.topic_id == id));
    Ok(topic.and_then(|topic| topic.partition_responses.iter().find(|part| part.index == *index)))
}

fn acknowledged(place: Place, batch: Batch, base_offset: i64, time_ms: i64) -> Acknowledged {
    assert!(HEADER_BYTES < batch.bytes.len(), "an acknowledged batch has records");
    Acknowledged {
        topic: place.0,
        partition: place.1,
        base_offset,
        log_append_time_ms: (0 <= time_ms).then_some(time_ms),
        records: batch.records,
    }
}

fn init_producer_id(
    client: &mut Client,
    timeout: Duration,
) -> Result<(ProducerId, ProducerEpoch), ClientError> {
    let deadline = Instant::now() + timeout;
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        ..InitProducerIdRequest::default()
    };
    loop {
        let answer = client.ask_any(&request).and_then(|answer| match answer.error_code {
            0 => Ok((ProducerId(answer.producer_id), ProducerEpoch(answer.producer_epoch))),
            code => Err(ClientError::Refused {
                api: ApiKey::InitProducerId,
                subject: "an idempotent producer".to_owned(),
                code,
                message: None,
            }),
        });
        match answer {
            Ok(identity) => return Ok(identity),
            Err(error) => client.pause(error, deadline)?,
        }
    }
}

/// Some number below `bound`, another each time: the standard library's hash keys are random.
fn random_below(bound: usize) -> usize {
    let number = RandomState::new().build_hasher().finish();
    usize::try_from(number % (bound as u64)).expect("below a usize")
}
