//! DeleteRecords (key 21), versions 0-2: the first records of partitions go, for good.
//!
//! Source: KIP-107.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::metadata::image::TopicImage;
use crate::model::ids::PartitionIndex;
use crate::model::offset::Offset;
use crate::model::topic_name::is_internal;
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest,
    DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use crate::replica::request::{DeleteRecordsFailure, DeleteRecordsItem, ShardReply, ShardRequest};

use super::super::context::{Shard, locate};
use super::super::errors::delete_records_code;
use super::super::scatter::Scatter;

/// Answers one request.
pub async fn handle(shard: &Rc<Shard>, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let image = shard.image();
    let mut topics: Vec<DeleteRecordsTopicResult> = Vec::with_capacity(request.topics.len());
    let mut scatter = Scatter::new(shard);
    for (at, topic) in request.topics.into_iter().enumerate() {
        let known = image.topic_by_name(&topic.name);
        let refusal = known.and_then(|topic| refusal(shard, topic));
        let mut results = Vec::with_capacity(topic.partitions.len());
        for asked in last_of_each(topic.partitions) {
            let found =
                known.and_then(|topic| locate(topic, PartitionIndex(asked.partition_index)));
            let code = match (found, refusal) {
                (None, _) => ErrorCode::UnknownTopicOrPartition,
                (Some(_), Some(code)) => code,
                (Some(partition), None) => {
                    let before = Offset(asked.offset);
                    let item = DeleteRecordsItem { partition, before };
                    scatter.add(partition, (at, results.len()), item);
                    ErrorCode::None
                }
            };
            results.push(result(asked.partition_index, code));
        }
        topics.push(DeleteRecordsTopicResult {
            name: topic.name,
            partitions: results,
            ..DeleteRecordsTopicResult::default()
        });
    }
    let deleted = scatter.gather(ShardRequest::DeleteRecords, |reply| match reply {
        ShardReply::RecordsDeleted(results) => results,
        other => panic!("records were to be deleted, not {other:?}"),
    });
    for ((topic, partition), done) in deleted.await {
        let result = &mut topics[topic].partitions[partition];
        match done.unwrap_or(Err(DeleteRecordsFailure::NotHere)) {
            Ok(log_start) => result.low_watermark = log_start.0,
            Err(failure) => result.error_code = delete_records_code(failure).code(),
        }
    }
    DeleteRecordsResponse { topics, ..DeleteRecordsResponse::default() }
}

/// Of a partition that is named more than once, the last counts, as in Kafka.
fn last_of_each(asked: Vec<DeleteRecordsPartition>) -> Vec<DeleteRecordsPartition> {
    let last: BTreeMap<i32, DeleteRecordsPartition> =
        asked.into_iter().map(|asked| (asked.partition_index, asked)).collect();
    last.into_values().collect()
}

/// Why no record of the topic may be deleted, if so.
fn refusal(shard: &Shard, topic: &TopicImage) -> Option<ErrorCode> {
    if is_internal(topic.name.as_str()) {
        return Some(ErrorCode::InvalidTopicException);
    }
    let deletes = shard.topic_config(topic).cleanup_policy.delete;
    (!deletes).then_some(ErrorCode::PolicyViolation)
}

fn result(partition_index: i32, code: ErrorCode) -> DeleteRecordsPartitionResult {
    DeleteRecordsPartitionResult {
        partition_index,
        low_watermark: -1,
        error_code: code.code(),
        ..DeleteRecordsPartitionResult::default()
    }
}
