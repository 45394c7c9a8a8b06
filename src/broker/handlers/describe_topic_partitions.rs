//! DescribeTopicPartitions (key 75), version 0: topics in the order of their names, page by page.
//!
//! The API has no top-level error: a cursor that is not of the request is answered with
//! INVALID_REQUEST for each topic.
//!
//! Source: KIP-966.

use std::rc::Rc;

use crate::metadata::image::{MetadataImage, TopicImage};
use crate::metadata::record::PartitionState;
use crate::model::topic_name::{TopicName, is_internal};
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};

use super::super::context::Shard;
use super::{AUTHORIZED_NONE, AUTHORIZED_TOPIC, node_ids};

/// Answers one request.
pub fn handle(
    shard: &Rc<Shard>,
    request: &DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let image = shard.image();
    let cursor = request.cursor.as_ref();
    if cursor.is_some_and(|cursor| cursor.partition_index < 0 || is_foreign(cursor, request)) {
        // As Kafka: every topic as it was asked for, also those before the cursor.
        let topics = request.topics.iter().map(|topic| DescribeTopicPartitionsResponseTopic {
            error_code: ErrorCode::InvalidRequest.code(),
            name: Some(topic.name.clone()),
            topic_authorized_operations: AUTHORIZED_NONE,
            ..DescribeTopicPartitionsResponseTopic::default()
        });
        return DescribeTopicPartitionsResponse {
            topics: topics.collect(),
            next_cursor: None,
            ..DescribeTopicPartitionsResponse::default()
        };
    }
    let names = names(&image, request);
    let limit_max = shard.config().max_request_partition_size_limit.max(1);
    let limit = request.response_partition_limit.clamp(1, limit_max);
    let room = usize::try_from(limit).expect("clamped to 1 and more");
    let mut page = Page { room, topics: Vec::new(), next: None };
    for name in &names {
        let first = match cursor {
            Some(cursor) if cursor.topic_name == *name => cursor.partition_index,
            _ => 0,
        };
        if !page.add(&image, name, first) {
            break;
        }
    }
    DescribeTopicPartitionsResponse {
        topics: page.topics,
        next_cursor: page.next,
        ..DescribeTopicPartitionsResponse::default()
    }
}

/// The names to describe, sorted, from the cursor on.
fn names(image: &MetadataImage, request: &DescribeTopicPartitionsRequest) -> Vec<String> {
    let from = request.cursor.as_ref().map_or("", |cursor| cursor.topic_name.as_str());
    if request.topics.is_empty() {
        return image.topics_from(from).map(|topic| topic.name.as_str().to_owned()).collect();
    }
    let mut names: Vec<String> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    names.sort();
    names.dedup();
    names.retain(|name| name.as_str() >= from);
    names
}

fn is_foreign(cursor: &Cursor, request: &DescribeTopicPartitionsRequest) -> bool {
    !request.topics.is_empty()
        && !request.topics.iter().any(|topic| topic.name == cursor.topic_name)
}

fn refused(name: &str, error: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: error.code(),
        name: Some(name.to_owned()),
        is_internal: is_internal(name),
        topic_authorized_operations: AUTHORIZED_TOPIC,
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}

/// An answer as it fills.
struct Page {
    room: usize,
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
    next: Option<Cursor>,
}

impl Page {
    /// Adds a topic from partition `first` on; whether there may be room for another.
    fn add(&mut self, image: &MetadataImage, name: &str, first: i32) -> bool {
        if self.room == 0 {
            self.next = Some(cursor(name, first));
            return false;
        }
        let Some(topic) = image.topic_by_name(name) else {
            self.topics.push(refused(name, unknown(name)));
            return true;
        };
        let rest = topic.partitions.iter().zip(0..).filter(|(_, index)| *index >= first);
        let page = rest.take(self.room).map(|(state, index)| partition(state, index, image));
        let partitions: Vec<_> = page.collect();
        self.room -= partitions.len();
        let taken = i32::try_from(partitions.len()).expect("at most the limit, an i32");
        let end = first.saturating_add(taken);
        let more = usize::try_from(end).is_ok_and(|end| end < topic.partitions.len());
        self.topics.push(described(topic, partitions));
        if more {
            self.next = Some(cursor(name, end));
        }
        !more
    }
}

fn unknown(name: &str) -> ErrorCode {
    match TopicName::parse(name) {
        Ok(_) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    }
}

fn cursor(name: &str, partition_index: i32) -> Cursor {
    Cursor { topic_name: name.to_owned(), partition_index, ..Cursor::default() }
}

fn described(
    topic: &TopicImage,
    partitions: Vec<DescribeTopicPartitionsResponsePartition>,
) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        name: Some(topic.name.as_str().to_owned()),
        topic_id: topic.id,
        is_internal: is_internal(topic.name.as_str()),
        partitions,
        topic_authorized_operations: AUTHORIZED_TOPIC,
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}

fn partition(
    state: &PartitionState,
    index: i32,
    image: &MetadataImage,
) -> DescribeTopicPartitionsResponsePartition {
    let leader = state.leader.filter(|&id| image.broker(id).is_some());
    let error = leader.map_or(ErrorCode::LeaderNotAvailable, |_| ErrorCode::None);
    DescribeTopicPartitionsResponsePartition {
        error_code: error.code(),
        partition_index: index,
        leader_id: leader.map_or(-1, |id| id.0),
        leader_epoch: state.leader_epoch.0,
        replica_nodes: node_ids(&state.replicas),
        isr_nodes: node_ids(&state.isr),
        eligible_leader_replicas: Some(node_ids(&state.elr)),
        last_known_elr: Some(node_ids(&state.last_known_elr)),
        offline_replicas: node_ids(&image.offline_replicas(state)),
        ..DescribeTopicPartitionsResponsePartition::default()
    }
}
