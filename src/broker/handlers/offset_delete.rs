//! OffsetDelete (key 47), version 0: a group forgets how far it has read some partitions.
//!
//! Source: KIP-496; protocol.md P85.

use std::rc::Rc;
use std::sync::Arc;

use crate::group::ids::GroupId;
use crate::metadata::image::MetadataImage;
use crate::model::ids::{PartitionIndex, TopicId};
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestTopic, OffsetDeleteResponse,
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

use super::super::context::Shard;
use super::super::errors::{delete_offsets_code, unavailable_code};
use super::by_topic::{ByTopic, TopicCodes};

/// A topic's name and the partitions that are there.
type Known = Vec<(Arc<str>, Vec<PartitionIndex>)>;

/// Answers one request.
pub async fn handle(shard: &Rc<Shard>, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    if request.group_id.is_empty() {
        return failed(ErrorCode::InvalidGroupId);
    }
    let (refused, known) = part(&shard.image(), request.topics);
    let group = GroupId::from(request.group_id.as_str());
    let asked = known.clone();
    let deleted = shard.ask_group(&request.group_id, move |core, _, step| {
        core.delete_offsets(&group, &asked, step)
    });
    match deleted.await {
        Ok(Ok(results)) => response(refused.merge(codes(known, results))),
        Ok(Err(error)) => failed(delete_offsets_code(error)),
        Err(unavailable) => failed(unavailable_code(unavailable)),
    }
}

/// Parts what metadata does not know from what the coordinator is asked.
fn part(image: &MetadataImage, topics: Vec<OffsetDeleteRequestTopic>) -> (ByTopic, Known) {
    let mut refused = ByTopic::default();
    let mut known = Vec::new();
    for topic in topics {
        let found = image.topic_by_name(&topic.name);
        let key = (topic.name, TopicId::ZERO);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let index = PartitionIndex(partition.partition_index);
            match found.is_some_and(|found| found.partition(index).is_some()) {
                true => partitions.push(index),
                false => refused.add(&key, index.0, ErrorCode::UnknownTopicOrPartition),
            }
        }
        if !partitions.is_empty() {
            known.push((key.0.into(), partitions));
        }
    }
    (refused, known)
}

fn codes<E: Into<ErrorCode>>(known: Known, results: Vec<Vec<Result<(), E>>>) -> Vec<TopicCodes> {
    assert!(known.len() == results.len(), "one result a topic");
    let code = |result: Result<(), E>| result.map_or_else(Into::into, |()| ErrorCode::None);
    let of_topic = |((name, partitions), results): ((Arc<str>, Vec<PartitionIndex>), Vec<_>)| {
        let codes = partitions.iter().map(|index| index.0).zip(results.into_iter().map(code));
        ((name.to_string(), TopicId::ZERO), codes.collect())
    };
    known.into_iter().zip(results).map(of_topic).collect()
}

fn response(topics: Vec<TopicCodes>) -> OffsetDeleteResponse {
    let partition = |(partition_index, code): (i32, ErrorCode)| OffsetDeleteResponsePartition {
        partition_index,
        error_code: code.code(),
        ..OffsetDeleteResponsePartition::default()
    };
    let topic = |((name, _), codes): TopicCodes| OffsetDeleteResponseTopic {
        name,
        partitions: codes.into_iter().map(partition).collect(),
        ..OffsetDeleteResponseTopic::default()
    };
    let topics = topics.into_iter().map(topic).collect();
    OffsetDeleteResponse { topics, ..OffsetDeleteResponse::default() }
}

fn failed(error: ErrorCode) -> OffsetDeleteResponse {
    OffsetDeleteResponse { error_code: error.code(), ..OffsetDeleteResponse::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::commit::SubscribedToTopic;

    #[test]
    fn topics_that_are_not_there_are_refused_and_not_asked_for() {
        let topics = vec![OffsetDeleteRequestTopic {
            name: "t".into(),
            partitions: vec![Default::default()],
            ..Default::default()
        }];
        let (refused, known) = part(&MetadataImage::empty(), topics);
        assert!(known.is_empty());
        let told = response(refused.merge(Vec::new()));
        assert_eq!((told.error_code, told.topics[0].partitions[0].error_code), (0, 3));
    }

    #[test]
    fn each_partition_has_its_own_code() {
        let known = vec![("t".into(), vec![PartitionIndex(4), PartitionIndex(5)])];
        let told = response(codes(known, vec![vec![Ok(()), Err(SubscribedToTopic)]]));
        let partitions = &told.topics[0].partitions;
        assert_eq!((partitions[0].partition_index, partitions[0].error_code), (4, 0));
        assert_eq!((partitions[1].partition_index, partitions[1].error_code), (5, 86));
    }
}
