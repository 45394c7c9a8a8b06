//! Produce (key 0), versions 3-13: records into partitions.
//!
//! In arrival order a request is taken apart, each batch is checked (so that a hot partition's
//! owner need not) and handed to its owner; what follows, waiting for durability, runs by itself.
//! The time limit of a request ends the wait, not the append.
//!
//! What is in a transaction waits for its coordinator's word before it is handed on
//! (`crate::broker::verification`); what is not, pays nothing for it.
//!
//! Source: KIP-98 (idempotence), KIP-890 (transactions), KIP-467 (record errors), KIP-516 (topic ids), KIP-951 (hints).

use std::rc::Rc;

use bytes::BytesMut;

use crate::metadata::image::{MetadataImage, TopicImage};
use crate::model::ids::{BrokerId, PartitionIndex, TopicPartition};
use crate::model::time::{Micros, Timestamp};
use crate::model::topic_name::is_internal;
use crate::net::service::{Admitted, CloseReason, Reply};
use crate::partition::leader::{Acks, Verification};
use crate::protocol::error::ErrorCode;
use crate::protocol::produce::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceData, PartitionProduceResponse, ProduceRequest,
    ProduceResponse, TopicProduceData, TopicProduceResponse,
};
use crate::record::batch::{BatchHeader, MAGIC};
use crate::replica::request::{AppendFailure, AppendItem, AppendResult, ShardReply, ShardRequest};
use crate::shard::timers;

use super::super::connection::Connection;
use super::super::context::{Shard, locate};
use super::super::dispatch::{self, Head};
use super::super::errors::{append_code, produce_join_code};
use super::super::hints::{self, Hint};
use super::super::scatter::{Asked, Scatter};
use super::super::transactions::Joining;
use super::super::validation;
use super::super::verification::{Write, Writer, verify};

/// First version that names topics by id.
const BY_ID_VERSION: i16 = 13;
/// First version with leader hints.
const HINT_VERSION: i16 = 10;
/// First version that adds partitions to transactions.
const ADDS_VERSION: i16 = 12;

/// Where a batch's result goes: topic and partition of the answer.
type Place = (usize, usize);

/// A batch that was handed to its owner.
struct Sent {
    place: Place,
    partition: TopicPartition,
    records: u64,
    bytes: u64,
}

/// A request that is on its way to the owners of its partitions.
struct Produce {
    head: Head,
    acks: Acks,
    /// The request named acks that there are not; no batch of it is appended.
    invalid_acks: bool,
    deadline: Micros,
    topics: Vec<TopicProduceResponse>,
    sent: Vec<Sent>,
    refused: bool,
}

/// Hands a request's batches to their owners, in order of arrival.
pub async fn admit(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    head: Head,
    body: BytesMut,
) -> Admitted {
    let Ok(request) = ProduceRequest::decode_split(body, head.version) else {
        return dispatch::close();
    };
    let wait_us = u64::try_from(request.timeout_ms.max(0)).expect("not negative") * 1000;
    let acks = acks(request.acks);
    let mut produce = Produce {
        head,
        acks: acks.unwrap_or(Acks::Leader),
        invalid_acks: acks.is_none(),
        deadline: Micros(head.arrived.0 + wait_us),
        topics: Vec::with_capacity(request.topics.len()),
        sent: Vec::new(),
        refused: false,
    };
    let image = shard.image();
    let transactional = request.topics.iter().any(is_transactional);
    let asked = match (transactional, request.transactional_id) {
        (false, _) => {
            let mut scatter = Scatter::new(shard);
            let mut take = |place, item: AppendItem| scatter.add(item.partition, place, item);
            request
                .topics
                .into_iter()
                .for_each(|topic| produce.add(shard, &image, topic, &mut take));
            scatter.ask(ShardRequest::Append).await
        }
        (true, None) => {
            let refused = ErrorCode::TransactionalIdAuthorizationFailed;
            request.topics.into_iter().for_each(|topic| produce.refuse(topic, refused));
            Scatter::new(shard).ask(ShardRequest::Append).await
        }
        (true, Some(id)) => {
            let mut items = Vec::new();
            let mut take = |place, item| items.push((place, item));
            request
                .topics
                .into_iter()
                .for_each(|topic| produce.add(shard, &image, topic, &mut take));
            produce.ask_in_transaction(shard, &image, id, items).await
        }
    };
    let (shard, connection) = (Rc::clone(shard), Rc::clone(connection));
    Admitted::Reply(Box::pin(async move { produce.finish(&shard, &connection, asked).await }))
}

/// Whether a topic's data has a batch in a transaction, by its first header, as Kafka looks at it.
fn is_transactional(topic: &TopicProduceData) -> bool {
    topic.partitions.iter().any(|partition| {
        let header = partition.records.as_ref().map(|records| BatchHeader::peek(records));
        header.is_some_and(|header| {
            header.is_ok_and(|header| {
                header.magic() == MAGIC && header.attributes().is_transactional()
            })
        })
    })
}

fn acks(acks: i16) -> Option<Acks> {
    match acks {
        0 => Some(Acks::None),
        1 => Some(Acks::Leader),
        -1 => Some(Acks::All),
        _ => None,
    }
}

impl Produce {
    fn refuse(&mut self, topic: TopicProduceData, error: ErrorCode) {
        self.refused = true;
        let responses = topic.partitions.iter().map(|partition| answer(partition.index, error));
        self.topics.push(TopicProduceResponse {
            name: topic.name,
            topic_id: topic.topic_id,
            partition_responses: responses.collect(),
            ..TopicProduceResponse::default()
        });
    }

    /// Hands what is good to its owners, once it is known to be in the producer's transaction; the
    /// connection's next request waits for that, so that nothing overtakes it.
    async fn ask_in_transaction(
        &mut self,
        shard: &Rc<Shard>,
        image: &MetadataImage,
        transactional_id: String,
        mut items: Vec<(Place, AppendItem)>,
    ) -> Asked<Place> {
        let mut scatter = Scatter::new(shard);
        let how = if self.head.version >= ADDS_VERSION { Joining::Add } else { Joining::Verify };
        let in_transaction = |item: &AppendItem| item.info.attributes.is_transactional();
        let producer = |item: &AppendItem| (item.info.producer_id, item.info.producer_epoch);
        let mut transactional = items.iter().map(|(_, item)| item).filter(|i| in_transaction(i));
        let Some((producer_id, producer_epoch)) = transactional.next().map(producer) else {
            items.drain(..).for_each(|(place, item)| scatter.add(item.partition, place, item));
            return scatter.ask(ShardRequest::Append).await; // what was is refused already
        };
        if transactional.any(|item| producer(item) != (producer_id, producer_epoch)) {
            for (place, _) in items {
                self.refuse_one(shard, place, ErrorCode::InvalidProducerIdMapping);
            }
            return scatter.ask(ShardRequest::Append).await;
        }
        let writer = Writer { transactional_id, producer_id, producer_epoch, how };
        let write = |item: &AppendItem| Write {
            partition: item.partition,
            topic: image.topic_by_id(item.partition.topic).expect("just found").name.clone(),
            base_sequence: item.info.base_sequence,
        };
        let (first, others): (Vec<_>, Vec<_>) =
            items.into_iter().partition(|(_, item)| in_transaction(item));
        others.into_iter().for_each(|(place, item)| scatter.add(item.partition, place, item));
        let writes: Vec<Write> = first.iter().map(|(_, item)| write(item)).collect();
        let verified = verify(shard, &writer, &writes).await;
        for ((place, mut item), verified) in first.into_iter().zip(verified) {
            match verified {
                Ok(verification) => {
                    item.verification = verification;
                    scatter.add(item.partition, place, item);
                }
                Err(failure) => {
                    let code = produce_join_code(failure, self.head.version);
                    self.refuse_one(shard, place, code);
                }
            }
        }
        scatter.ask(ShardRequest::Append).await
    }

    fn refuse_one(&mut self, shard: &Shard, (topic, partition): Place, error: ErrorCode) {
        self.refused = true;
        shard.metrics.borrow_mut().produce.refused_batches += 1;
        let response = &mut self.topics[topic].partition_responses[partition];
        *response = answer(response.index, error);
    }

    /// Checks a topic's batches and gives what is good to `take`.
    fn add(
        &mut self,
        shard: &Shard,
        image: &MetadataImage,
        topic: TopicProduceData,
        take: &mut impl FnMut(Place, AppendItem),
    ) {
        let (found, unknown) = match self.head.version >= BY_ID_VERSION {
            true => (image.topic_by_id(topic.topic_id), ErrorCode::UnknownTopicId),
            false => (image.topic_by_name(&topic.name), ErrorCode::UnknownTopicOrPartition),
        };
        let Some(found) = found else { return self.refuse(topic, unknown) };
        if is_internal(found.name.as_str()) {
            return self.refuse(topic, ErrorCode::InvalidTopicException);
        }
        let mut responses = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let place = (self.topics.len(), responses.len());
            let index = partition.index;
            match self.check(shard, found, partition) {
                Ok(item) => {
                    self.sent.push(Sent {
                        place,
                        partition: item.partition,
                        records: u64::from(item.info.record_count),
                        bytes: u64::from(item.info.bytes),
                    });
                    take(place, item);
                    responses.push(answer(index, ErrorCode::None));
                }
                Err(refused) => {
                    self.refused = true;
                    shard.metrics.borrow_mut().produce.refused_batches += 1;
                    responses.push(*refused);
                }
            }
        }
        self.topics.push(TopicProduceResponse {
            name: topic.name,
            topic_id: topic.topic_id,
            partition_responses: responses,
            ..TopicProduceResponse::default()
        });
    }

    /// One partition's batch, ready to be appended. Errors: its answer.
    fn check(
        &self,
        shard: &Shard,
        topic: &TopicImage,
        partition: PartitionProduceData,
    ) -> Result<AppendItem, Box<PartitionProduceResponse>> {
        let index = partition.index;
        let located = locate(topic, PartitionIndex(index));
        let Some(located) = located else {
            return Err(Box::new(answer(index, ErrorCode::UnknownTopicOrPartition)));
        };
        let config = shard.topic_config(topic);
        let records = partition.records.unwrap_or_default();
        let now = timers::wall_clock();
        let checked = validation::check(shard, records, &config, self.head.version, now);
        let checked = checked.map_err(|error| Box::new(validation::refused(index, &error)));
        if self.invalid_acks {
            // Kafka looks for the partition, then at the shape of the batch, then at acks.
            let malformed = ErrorCode::InvalidRecord.code();
            let refused = checked.err().filter(|refused| refused.error_code == malformed);
            let plain = || Box::new(answer(index, ErrorCode::InvalidRequiredAcks));
            return Err(refused.unwrap_or_else(plain));
        }
        let checked = checked?;
        Ok(AppendItem {
            partition: located,
            batch: checked.batch,
            info: checked.info,
            frame_bytes: self.head.bytes,
            log_append_time: checked.log_append_time,
            acks: self.acks,
            verification: Verification::Guarded(None),
        })
    }

    async fn finish(
        mut self,
        shard: &Shard,
        connection: &Connection,
        asked: Asked<Place>,
    ) -> Reply {
        let gather = asked.gather(|reply| match reply {
            ShardReply::Append(results) => results,
            other => panic!("appends were asked for, not {other:?}"),
        });
        match self.acks {
            // Nobody waits for an answer; the request's bytes stay counted until they are safe.
            Acks::None => self.note(shard, gather.await),
            Acks::Leader | Acks::All => match timers::timeout_at(self.deadline, gather).await {
                Ok(results) => self.note(shard, results),
                Err(_) => self.time_out(),
            },
        }
        if self.acks == Acks::None {
            dispatch::count(shard, self.head, 0, self.refused);
            return match self.refused {
                true => Reply::Close(CloseReason::BadRequest), // the only way to say it
                false => Reply::Nothing,
            };
        }
        let node_endpoints = self.hint(&shard.image(), connection);
        let response = ProduceResponse {
            responses: std::mem::take(&mut self.topics),
            node_endpoints,
            ..ProduceResponse::default()
        };
        dispatch::answer_counted(shard, self.head, &response, self.refused)
    }

    fn note(&mut self, shard: &Shard, results: Vec<(Place, Option<AppendResult>)>) {
        let mut metrics = shard.metrics.borrow_mut();
        for ((topic, partition), result) in results {
            let response = &mut self.topics[topic].partition_responses[partition];
            match result.unwrap_or(Err(AppendFailure::NotHere)) {
                Ok(appended) => {
                    response.base_offset = appended.base_offset.0;
                    response.log_append_time_ms = appended.log_append_time.0;
                    response.log_start_offset = appended.log_start.0;
                }
                Err(failure) => {
                    self.refused = true;
                    metrics.produce.refused_batches += 1;
                    *response = answer(response.index, append_code(&failure));
                    if let AppendFailure::Refused { log_start, .. } = failure {
                        response.log_start_offset = log_start.0;
                    }
                }
            }
        }
        for sent in &self.sent {
            let (topic, partition) = sent.place;
            if self.topics[topic].partition_responses[partition].error_code == 0 {
                metrics.appended(sent.records, sent.bytes);
            }
        }
    }

    fn time_out(&mut self) {
        self.refused = true;
        for &Sent { place: (topic, partition), .. } in &self.sent {
            let response = &mut self.topics[topic].partition_responses[partition];
            if response.error_code == ErrorCode::None.code() {
                *response = answer(response.index, ErrorCode::RequestTimedOut);
            }
        }
    }

    /// Names the leader beside each NOT_LEADER_OR_FOLLOWER; returns the leaders' addresses.
    fn hint(&mut self, image: &MetadataImage, connection: &Connection) -> Vec<NodeEndpoint> {
        let mut endpoints: Vec<NodeEndpoint> = Vec::new();
        if !self.refused || self.head.version < HINT_VERSION {
            return endpoints;
        }
        for &Sent { place: (topic, partition), partition: located, .. } in &self.sent {
            let response = &mut self.topics[topic].partition_responses[partition];
            let error = ErrorCode::from_code(response.error_code).unwrap_or(ErrorCode::None);
            let Some(hint) = hints::leader(image, Some(located), error) else { continue };
            response.current_leader = current_leader(hint);
            if endpoints.iter().all(|endpoint| endpoint.node_id != hint.leader.0) {
                endpoints.extend(endpoint(image, hint.leader, &connection.listener));
            }
        }
        endpoints
    }
}

fn current_leader(hint: Hint) -> LeaderIdAndEpoch {
    LeaderIdAndEpoch {
        leader_id: hint.leader.0,
        leader_epoch: hint.epoch.0,
        ..LeaderIdAndEpoch::default()
    }
}

fn endpoint(image: &MetadataImage, broker: BrokerId, listener: &str) -> Option<NodeEndpoint> {
    let (address, rack) = hints::address(image, broker, listener)?;
    Some(NodeEndpoint {
        node_id: broker.0,
        host: address.host.clone(),
        port: i32::from(address.port),
        rack: rack.map(str::to_owned),
        ..NodeEndpoint::default()
    })
}

/// An answer without offsets.
pub fn answer(index: i32, error: ErrorCode) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code: error.code(),
        base_offset: -1,
        log_append_time_ms: Timestamp::NONE.0,
        log_start_offset: -1,
        ..PartitionProduceResponse::default()
    }
}
