//! OffsetFetch (key 9), versions 1-10: how far groups have read.
//!
//! Up to version 7 a request is about one group, whose answer has its own place; here it is
//! answered as the only group of a later version.
//!
//! Source: KIP-447 (stable offsets), KIP-709 (several groups), KIP-848 (topic ids);
//! protocol.md P87.

use std::rc::Rc;

use crate::coordinator::call::Unavailable;
use crate::group::commit::{FetchError, FetchTopic, FetchedPosition, FetchedTopic, UnstableOffset};
use crate::group::ids::{GroupId, MemberId};
use crate::metadata::image::MetadataImage;
use crate::model::ids::{PartitionIndex, TopicId};
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};

use super::super::context::Shard;
use super::super::errors::{fetch_code, fetch_unavailable_code};

/// First version with an error of the whole group.
const GROUP_ERROR_VERSION: i16 = 2;
/// First version with a list of groups.
const BATCH_VERSION: i16 = 8;
/// First version with topic ids in place of names.
const BY_ID_VERSION: i16 = 10;
/// The offset, and the epoch, of a partition without a position.
const NONE: i32 = -1;

/// Answers one request.
pub async fn handle(
    shard: &Rc<Shard>,
    request: OffsetFetchRequest,
    version: i16,
) -> OffsetFetchResponse {
    let image = shard.image();
    let require_stable = request.require_stable;
    let asked: Vec<Asked> =
        groups(request, version).into_iter().map(|group| part(&image, group, version)).collect();
    let questions = asked.iter().map(|one| (one.group.clone(), one.question.clone())).collect();
    let found = shard.ask_groups(questions, move |core, group, question: Question, _| {
        core.check_fetch(group, question.member.as_ref(), question.epoch)?;
        Ok(core.fetch_offsets(group, question.topics.as_deref(), require_stable))
    });
    let answers = asked.into_iter().zip(found.await);
    let groups = answers.map(|(asked, found)| answer(&image, asked, found, version)).collect();
    response(groups, version)
}

/// The groups that any version asks for.
fn groups(request: OffsetFetchRequest, version: i16) -> Vec<OffsetFetchRequestGroup> {
    if version >= BATCH_VERSION {
        return request.groups;
    }
    let topics = request.topics.map(|topics| {
        let topics = topics.into_iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..OffsetFetchRequestTopics::default()
        });
        topics.collect()
    });
    let group_id = request.group_id;
    vec![OffsetFetchRequestGroup { group_id, topics, ..OffsetFetchRequestGroup::default() }]
}

/// What a coordinator is asked for.
#[derive(Clone)]
struct Question {
    /// Who asks, if it is a member of a KIP-848 group, and its epoch.
    member: Option<MemberId>,
    epoch: i32,
    /// `None` for all there is.
    topics: Option<Vec<FetchTopic>>,
}

/// One group of a request.
struct Asked {
    group: GroupId,
    question: Question,
    /// Topics whose ids nobody knows.
    unknown: Vec<OffsetFetchRequestTopics>,
}

fn part(image: &MetadataImage, group: OffsetFetchRequestGroup, version: i16) -> Asked {
    let mut unknown = Vec::new();
    let topics = group.topics.map(|topics| {
        let mut known = Vec::with_capacity(topics.len());
        for topic in topics {
            let found = match version >= BY_ID_VERSION {
                true => {
                    image.topic_by_id(topic.topic_id).map(|found| (found.name.as_str(), found.id))
                }
                // A name without a topic may still have positions.
                false => Some(match image.topic_by_name(&topic.name) {
                    Some(found) => (topic.name.as_str(), found.id),
                    None => (topic.name.as_str(), TopicId::ZERO),
                }),
            };
            match found {
                None => unknown.push(topic),
                Some((name, id)) => {
                    let partitions = topic.partition_indexes.iter().copied().map(PartitionIndex);
                    let partitions = partitions.collect();
                    known.push(FetchTopic { name: name.into(), id, partitions });
                }
            }
        }
        known
    });
    let member = group.member_id.as_deref().map(MemberId::from);
    let question = Question { member, epoch: group.member_epoch, topics };
    Asked { group: GroupId::from(group.group_id.as_str()), question, unknown }
}

fn answer(
    image: &MetadataImage,
    asked: Asked,
    found: Result<Result<Vec<FetchedTopic>, FetchError>, Unavailable>,
    version: i16,
) -> OffsetFetchResponseGroup {
    let group = OffsetFetchResponseGroup {
        group_id: asked.group.as_str().to_owned(),
        ..OffsetFetchResponseGroup::default()
    };
    let found = match found {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return refused(group, &asked, fetch_code(error), version),
        Err(unavailable) => {
            return refused(group, &asked, fetch_unavailable_code(unavailable), version);
        }
    };
    let by_id = version >= BY_ID_VERSION;
    let fetched = found.into_iter().filter_map(|topic| {
        let topic_id = match (by_id, image.topic_by_name(&topic.name)) {
            (false, _) => TopicId::ZERO,
            (true, Some(known)) => known.id,
            (true, None) => return None, // it has no id to be called by
        };
        Some(OffsetFetchResponseTopics {
            name: if by_id { String::new() } else { topic.name.to_string() },
            topic_id,
            partitions: topic.partitions.into_iter().map(position).collect(),
            ..OffsetFetchResponseTopics::default()
        })
    });
    let unknown = asked.unknown.into_iter().map(|topic| OffsetFetchResponseTopics {
        topic_id: topic.topic_id,
        partitions: without_position(&topic.partition_indexes, ErrorCode::UnknownTopicId),
        ..OffsetFetchResponseTopics::default()
    });
    OffsetFetchResponseGroup { topics: fetched.chain(unknown).collect(), ..group }
}

/// A group that cannot be asked for: told of the group, or before version 2 of each partition.
fn refused(
    group: OffsetFetchResponseGroup,
    asked: &Asked,
    code: ErrorCode,
    version: i16,
) -> OffsetFetchResponseGroup {
    if version >= GROUP_ERROR_VERSION {
        return OffsetFetchResponseGroup { error_code: code.code(), ..group };
    }
    let topics = asked.question.topics.iter().flatten().map(|topic| OffsetFetchResponseTopics {
        name: topic.name.to_string(),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| no_position(partition.0, code))
            .collect(),
        ..OffsetFetchResponseTopics::default()
    });
    OffsetFetchResponseGroup { topics: topics.collect(), ..group }
}

fn without_position(indexes: &[i32], code: ErrorCode) -> Vec<OffsetFetchResponsePartitions> {
    indexes.iter().map(|index| no_position(*index, code)).collect()
}

fn no_position(partition_index: i32, code: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: i64::from(NONE),
        committed_leader_epoch: NONE,
        metadata: Some(String::new()),
        error_code: code.code(),
        ..OffsetFetchResponsePartitions::default()
    }
}

fn position((partition, found): FetchedPosition) -> OffsetFetchResponsePartitions {
    let found = match found {
        Ok(Some(found)) => found,
        Ok(None) => return no_position(partition.0, ErrorCode::None),
        Err(UnstableOffset) => {
            return no_position(partition.0, ErrorCode::UnstableOffsetCommit);
        }
    };
    OffsetFetchResponsePartitions {
        partition_index: partition.0,
        committed_offset: found.offset.0,
        committed_leader_epoch: found.leader_epoch.0,
        metadata: Some(found.metadata.into()),
        error_code: ErrorCode::None.code(),
        ..OffsetFetchResponsePartitions::default()
    }
}

fn response(mut groups: Vec<OffsetFetchResponseGroup>, version: i16) -> OffsetFetchResponse {
    if version >= BATCH_VERSION {
        return OffsetFetchResponse { groups, ..OffsetFetchResponse::default() };
    }
    let group = groups.pop().expect("one group was asked for");
    let partition = |partition: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
        ..OffsetFetchResponsePartition::default()
    };
    let topics = group.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
        ..OffsetFetchResponseTopic::default()
    });
    OffsetFetchResponse {
        topics: topics.collect(),
        error_code: group.error_code,
        ..OffsetFetchResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{TOPIC, image};
    use super::*;
    use crate::group::offsets::CommittedOffset;
    use crate::model::offset::{LeaderEpoch, Offset};
    use crate::model::time::Timestamp;
    use crate::protocol::messages::offset_fetch::OffsetFetchRequestTopic;

    fn topic(name: &str, topic_id: TopicId) -> OffsetFetchRequestTopics {
        OffsetFetchRequestTopics {
            name: name.to_owned(),
            topic_id,
            partition_indexes: vec![0, 5],
            ..OffsetFetchRequestTopics::default()
        }
    }

    fn asked(topics: Option<Vec<OffsetFetchRequestTopics>>, version: i16) -> Asked {
        let group_id = "g".to_owned();
        part(&image(), OffsetFetchRequestGroup { group_id, topics, ..Default::default() }, version)
    }

    fn at(offset: i64) -> CommittedOffset {
        CommittedOffset {
            offset: Offset(offset),
            leader_epoch: LeaderEpoch(3),
            metadata: "note".into(),
            commit_timestamp: Timestamp(0),
            expire_timestamp: Timestamp::NONE,
            topic_id: TOPIC,
        }
    }

    fn found(name: &str) -> FetchedTopic {
        let partitions = vec![
            (PartitionIndex(0), Ok(Some(at(42)))),
            (PartitionIndex(5), Ok(None)),
            (PartitionIndex(6), Err(UnstableOffset)),
        ];
        FetchedTopic { name: name.into(), partitions }
    }

    #[test]
    fn a_request_of_any_version_is_about_groups() {
        let old = OffsetFetchRequest {
            group_id: "old".into(),
            topics: Some(vec![OffsetFetchRequestTopic {
                name: "t".into(),
                partition_indexes: vec![1],
                ..Default::default()
            }]),
            ..Default::default()
        };
        let groups_of_old = groups(old, 7);
        let topics = groups_of_old[0].topics.as_ref().unwrap();
        assert_eq!((groups_of_old.len(), groups_of_old[0].group_id.as_str()), (1, "old"));
        assert_eq!((topics[0].name.as_str(), &topics[0].partition_indexes[..]), ("t", &[1][..]));
        let all = OffsetFetchRequest { topics: None, ..Default::default() };
        assert_eq!(groups(all, 2)[0].topics, None);
        let new = OffsetFetchRequest { groups: vec![Default::default(); 3], ..Default::default() };
        assert_eq!(groups(new, 8).len(), 3);
    }

    #[test]
    fn a_topic_that_is_gone_may_still_have_positions_by_name_but_not_by_id() {
        let topics = || Some(vec![topic("gone", TopicId::ZERO), topic("t", TopicId::ZERO)]);
        let by_name = asked(topics(), 9);
        let known = by_name.question.topics.unwrap();
        assert_eq!((known[0].id, known[1].id, by_name.unknown.len()), (TopicId::ZERO, TOPIC, 0));
        let by_id = asked(Some(vec![topic("", TopicId([1; 16])), topic("", TOPIC)]), 10);
        let known = by_id.question.topics.as_ref().unwrap();
        assert_eq!((&*known[0].name, known.len(), by_id.unknown.len()), ("t", 1, 1));
        let told = answer(&image(), by_id, Ok(Ok(vec![found("t")])), 10);
        assert_eq!((told.topics[0].topic_id, told.topics[0].name.as_str()), (TOPIC, ""));
        let unknown = &told.topics[1];
        assert_eq!((unknown.topic_id, unknown.partitions.len()), (TopicId([1; 16]), 2));
        assert_eq!(
            (unknown.partitions[1].partition_index, unknown.partitions[1].error_code),
            (5, 100)
        );
    }

    #[test]
    fn p87_positions_are_told_and_so_is_that_there_is_none() {
        let told = answer(&image(), asked(None, 9), Ok(Ok(vec![found("t")])), 9);
        assert_eq!((told.group_id.as_str(), told.error_code), ("g", 0));
        let of: Vec<_> = told.topics[0]
            .partitions
            .iter()
            .map(|one| {
                let (offset, epoch) = (one.committed_offset, one.committed_leader_epoch);
                (one.partition_index, offset, epoch, one.metadata.as_deref(), one.error_code)
            })
            .collect();
        let expected =
            [(0, 42, 3, Some("note"), 0), (5, -1, -1, Some(""), 0), (6, -1, -1, Some(""), 88)];
        assert_eq!(of, expected);
    }

    #[test]
    fn all_positions_by_id_are_those_of_topics_that_have_one() {
        let told = answer(&image(), asked(None, 10), Ok(Ok(vec![found("gone"), found("t")])), 10);
        assert_eq!((told.topics.len(), told.topics[0].topic_id), (1, TOPIC));
        let by_name = answer(&image(), asked(None, 9), Ok(Ok(vec![found("gone"), found("t")])), 9);
        assert_eq!(by_name.topics.len(), 2);
    }

    #[test]
    fn a_member_that_is_not_current_is_told_no_position() {
        let code = |error| answer(&image(), asked(None, 9), Ok(Err(error)), 9).error_code;
        assert_eq!(code(FetchError::StaleMemberEpoch), 113);
        assert_eq!(code(FetchError::UnknownMember), 25);
    }

    #[test]
    fn an_error_has_its_place_by_version() {
        let code = |unavailable, version| {
            let asked = asked(Some(vec![topic("t", TOPIC)]), version);
            let group = answer(&image(), asked, Err(unavailable), version);
            response(vec![group], version)
        };
        let v1 = code(Unavailable::Loading, 1);
        assert_eq!((v1.error_code, v1.topics[0].partitions.len()), (0, 2));
        let partition = &v1.topics[0].partitions[1];
        assert_eq!((partition.partition_index, partition.error_code), (5, 14));
        assert_eq!((partition.committed_offset, partition.metadata.as_deref()), (-1, Some("")));
        let v2 = code(Unavailable::Loading, 2);
        assert_eq!((v2.error_code, v2.topics.len(), v2.groups.len()), (14, 0, 0));
        let v8 = code(Unavailable::NotStored, 8);
        assert_eq!((v8.error_code, v8.groups[0].error_code), (0, 16), "an old client looks again");
    }
}
