//! OffsetForLeaderEpoch (key 23), versions 2-4: where a leader epoch ended, for readers whose
//! history may have parted from ours.
//!
//! Source: KIP-101, KIP-279, KIP-320.

use std::rc::Rc;

use crate::model::ids::PartitionIndex;
use crate::model::offset::LeaderEpoch;
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderTopicResult,
};
use crate::replica::request::{EpochQuery, ReadFailure, ShardReply, ShardRequest};

use super::super::context::{Shard, locate};
use super::super::errors::read_code;
use super::super::scatter::Scatter;

/// Answers one request.
pub async fn handle(
    shard: &Rc<Shard>,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let image = shard.image();
    let mut topics: Vec<OffsetForLeaderTopicResult> = Vec::with_capacity(request.topics.len());
    let mut scatter = Scatter::new(shard);
    for (at, topic) in request.topics.into_iter().enumerate() {
        let known = image.topic_by_name(&topic.topic);
        let mut answers = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let error = match known.and_then(|topic| locate(topic, PartitionIndex(asked.partition)))
            {
                None => ErrorCode::UnknownTopicOrPartition,
                Some(partition) => {
                    let query = EpochQuery {
                        partition,
                        current_leader_epoch: LeaderEpoch(asked.current_leader_epoch),
                        epoch: LeaderEpoch(asked.leader_epoch),
                    };
                    scatter.add(partition, (at, answers.len()), query);
                    ErrorCode::None
                }
            };
            answers.push(refused(asked.partition, error));
        }
        topics.push(OffsetForLeaderTopicResult {
            topic: topic.topic,
            partitions: answers,
            ..OffsetForLeaderTopicResult::default()
        });
    }
    let found = scatter.gather(ShardRequest::EpochEnds, |reply| match reply {
        ShardReply::EpochEnds(found) => found,
        other => panic!("epoch ends were asked for, not {other:?}"),
    });
    for ((topic, partition), result) in found.await {
        let answer = &mut topics[topic].partitions[partition];
        match result.unwrap_or(Err(ReadFailure::NotHere)) {
            Ok(end) => {
                answer.leader_epoch = end.epoch.0;
                answer.end_offset = end.end.0;
            }
            Err(failure) => answer.error_code = read_code(failure).code(),
        }
    }
    OffsetForLeaderEpochResponse { topics, ..OffsetForLeaderEpochResponse::default() }
}

fn refused(partition: i32, error: ErrorCode) -> EpochEndOffset {
    EpochEndOffset {
        partition,
        error_code: error.code(),
        leader_epoch: -1,
        end_offset: -1,
        ..EpochEndOffset::default()
    }
}
