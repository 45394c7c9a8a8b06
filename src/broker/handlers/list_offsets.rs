//! ListOffsets (key 2), versions 1-11: ends of a partition, and offsets by time.
//!
//! A timestamp below -6, and one that its version does not know yet, is UNSUPPORTED_VERSION for
//! that partition. A partition named twice is INVALID_REQUEST, once.
//!
//! Source: KIP-79, KIP-734 (max timestamp), KIP-405 and KIP-1005 (tiered), KIP-1023 (-6).

use std::collections::HashMap;
use std::rc::Rc;

use crate::model::ids::PartitionIndex;
use crate::model::offset::LeaderEpoch;
use crate::model::time::Timestamp;
use crate::partition::leader::Isolation;
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};
use crate::replica::request::{
    OffsetFound, OffsetQuery, OffsetSpec, ReadFailure, ShardReply, ShardRequest,
};

use super::super::context::{Shard, locate};
use super::super::errors::read_code;
use super::super::scatter::Scatter;

/// `isolation_level` of a consumer that reads committed records only.
const READ_COMMITTED: i8 = 1;

/// Answers one request.
pub async fn handle(
    shard: &Rc<Shard>,
    request: ListOffsetsRequest,
    version: i16,
) -> ListOffsetsResponse {
    let image = shard.image();
    let isolation = isolation(request.isolation_level);
    let mut topics: Vec<ListOffsetsTopicResponse> = Vec::with_capacity(request.topics.len());
    let mut scatter = Scatter::new(shard);
    for (at, topic) in request.topics.into_iter().enumerate() {
        let known = image.topic_by_name(&topic.name);
        let (partitions, repeated) = once_each(topic.partitions);
        let mut answers: Vec<_> =
            repeated.into_iter().map(|index| refused(index, ErrorCode::InvalidRequest)).collect();
        for partition in partitions {
            let found =
                known.and_then(|topic| locate(topic, PartitionIndex(partition.partition_index)));
            let spec = spec(partition.timestamp, version);
            let error = match (found, spec) {
                (_, None) => ErrorCode::UnsupportedVersion,
                (None, _) => ErrorCode::UnknownTopicOrPartition,
                (Some(at_partition), Some(spec)) => {
                    let current_leader_epoch = LeaderEpoch(partition.current_leader_epoch);
                    let partition = at_partition;
                    let query = OffsetQuery { partition, current_leader_epoch, spec, isolation };
                    scatter.add(partition, (at, answers.len()), query);
                    ErrorCode::None
                }
            };
            answers.push(refused(partition.partition_index, error));
        }
        topics.push(ListOffsetsTopicResponse {
            name: topic.name,
            partitions: answers,
            ..ListOffsetsTopicResponse::default()
        });
    }
    let found = scatter.gather(ShardRequest::Offsets, |reply| match reply {
        ShardReply::Offsets(found) => found,
        other => panic!("offsets were asked for, not {other:?}"),
    });
    for ((topic, partition), result) in found.await {
        let result = result.unwrap_or(Err(ReadFailure::NotHere));
        tell(&mut topics[topic].partitions[partition], result, version);
    }
    ListOffsetsResponse { topics, ..ListOffsetsResponse::default() }
}

/// The isolation that a request's number stands for.
pub fn isolation(level: i8) -> Isolation {
    match level {
        READ_COMMITTED => Isolation::ReadCommitted,
        _ => Isolation::ReadUncommitted,
    }
}

/// Parts what is named once from the indexes of what is named more often.
fn once_each(asked: Vec<ListOffsetsPartition>) -> (Vec<ListOffsetsPartition>, Vec<i32>) {
    let mut times: HashMap<i32, usize> = HashMap::new();
    for partition in &asked {
        *times.entry(partition.partition_index).or_default() += 1;
    }
    let mut repeated: Vec<i32> =
        times.iter().filter(|(_, times)| **times > 1).map(|(index, _)| *index).collect();
    repeated.sort_unstable();
    let once = asked.into_iter().filter(|partition| times[&partition.partition_index] == 1);
    (once.collect(), repeated)
}

/// What a timestamp asks for in `version`; `None` if that version does not know it.
fn spec(timestamp: i64, version: i16) -> Option<OffsetSpec> {
    let since = |first: i16, spec: OffsetSpec| (version >= first).then_some(spec);
    match timestamp {
        -1 => Some(OffsetSpec::Latest),
        -2 => Some(OffsetSpec::Earliest),
        -3 => since(7, OffsetSpec::MaxTimestamp),
        -4 => since(8, OffsetSpec::Earliest),
        -5 => since(9, OffsetSpec::Tiered),
        -6 => since(11, OffsetSpec::Tiered),
        time if time >= 0 => Some(OffsetSpec::At(Timestamp(time))),
        _ => None,
    }
}

fn refused(partition_index: i32, error: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse {
        partition_index,
        error_code: error.code(),
        timestamp: -1,
        offset: -1,
        leader_epoch: -1,
        ..ListOffsetsPartitionResponse::default()
    }
}

fn tell(
    answer: &mut ListOffsetsPartitionResponse,
    result: Result<OffsetFound, ReadFailure>,
    version: i16,
) {
    match result {
        Ok(found) => {
            answer.timestamp = found.timestamp.0;
            answer.offset = found.offset.0;
            answer.leader_epoch = if version >= 4 { found.leader_epoch.0 } else { -1 };
        }
        // Clients of old versions know the newer code for it not.
        Err(ReadFailure::NotAvailable(_)) if version < 5 => {
            answer.error_code = ErrorCode::LeaderNotAvailable.code();
        }
        Err(failure) => answer.error_code = read_code(failure).code(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_timestamps_are_known_from_their_version_on() {
        let check = |timestamp, version, want| assert_eq!(spec(timestamp, version), want);
        check(-1, 1, Some(OffsetSpec::Latest));
        check(-2, 1, Some(OffsetSpec::Earliest));
        check(-3, 6, None);
        check(-3, 7, Some(OffsetSpec::MaxTimestamp));
        check(-4, 7, None);
        check(-4, 8, Some(OffsetSpec::Earliest));
        check(-5, 8, None);
        check(-5, 9, Some(OffsetSpec::Tiered));
        check(-6, 10, None);
        check(-6, 11, Some(OffsetSpec::Tiered));
        check(-7, 11, None);
        check(0, 1, Some(OffsetSpec::At(Timestamp(0))));
    }

    #[test]
    fn what_is_named_twice_is_answered_once() {
        let partition = |partition_index| ListOffsetsPartition {
            partition_index,
            ..ListOffsetsPartition::default()
        };
        let (once, repeated) = once_each([3, 0, 3, 1].map(partition).to_vec());
        assert_eq!(once.iter().map(|p| p.partition_index).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(repeated, [3]);
    }
}
