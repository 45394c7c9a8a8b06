//! DescribeProducers (key 61), version 0: the producers that partitions know.
//!
//! Source: KIP-664.

use std::rc::Rc;

use crate::metadata::image::{MetadataImage, TopicImage};
use crate::model::ids::PartitionIndex;
use crate::model::topic_name::TopicName;
use crate::partition::producers::ActiveProducer;
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState,
    TopicResponse,
};
use crate::replica::request::{ReadFailure, ShardReply, ShardRequest};

use super::super::context::{Shard, locate};
use super::super::errors::{Told, read_code};
use super::super::scatter::Scatter;
use super::UNKNOWN_PARTITION;

/// Answers one request.
pub async fn handle(
    shard: &Rc<Shard>,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let image = shard.image();
    let mut topics: Vec<TopicResponse> = Vec::with_capacity(request.topics.len());
    let mut scatter = Scatter::new(shard);
    for (at, topic) in request.topics.into_iter().enumerate() {
        let known = known(&image, &topic.name);
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for index in topic.partition_indexes {
            let mut answer =
                PartitionResponse { partition_index: index, ..PartitionResponse::default() };
            match &known {
                Ok(topic) => match locate(topic, PartitionIndex(index)) {
                    Some(partition) => scatter.add(partition, (at, partitions.len()), partition),
                    None => refuse(&mut answer, unknown_partition()),
                },
                Err(told) => refuse(&mut answer, told.clone()),
            }
            partitions.push(answer);
        }
        topics.push(TopicResponse { name: topic.name, partitions, ..TopicResponse::default() });
    }
    let known = scatter.gather(ShardRequest::Producers, |reply| match reply {
        ShardReply::Producers(known) => known,
        other => panic!("producers were asked for, not {other:?}"),
    });
    for ((topic, partition), known) in known.await {
        let answer = &mut topics[topic].partitions[partition];
        match known.unwrap_or(Err(ReadFailure::NotHere)) {
            Ok(producers) => {
                answer.active_producers = producers.into_iter().map(producer).collect();
            }
            Err(failure) => {
                refuse(answer, Told { code: read_code(failure), message: None });
            }
        }
    }
    DescribeProducersResponse { topics, ..DescribeProducersResponse::default() }
}

/// The topic of this name. Errors: what the client is told.
fn known<'a>(image: &'a MetadataImage, name: &str) -> Result<&'a TopicImage, Told> {
    TopicName::parse(name)
        .map_err(|error| Told::new(ErrorCode::InvalidTopicException, error.words(name)))?;
    let told = || Told::new(ErrorCode::UnknownTopicOrPartition, UNKNOWN_PARTITION);
    image.topic_by_name(name).map(|topic| &**topic).ok_or_else(told)
}

/// A topic that is there, but not the partition: Kafka then has no words.
fn unknown_partition() -> Told {
    Told { code: ErrorCode::UnknownTopicOrPartition, message: None }
}

fn refuse(answer: &mut PartitionResponse, told: Told) {
    answer.error_code = told.code.code();
    answer.error_message = told.message;
}

fn producer(known: ActiveProducer) -> ProducerState {
    ProducerState {
        producer_id: known.id.0,
        producer_epoch: i32::from(known.epoch.0),
        last_sequence: known.last_sequence.0,
        last_timestamp: known.last_timestamp.0,
        coordinator_epoch: known.coordinator_epoch,
        current_txn_start_offset: known.open_from.0,
        ..ProducerState::default()
    }
}
