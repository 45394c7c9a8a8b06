//! OffsetCommit (key 8), versions 2-10: how far a group has read.
//!
//! A client may send the next commit before it has the answer to the last: the coordinator's
//! shard has a commit before the connection's next request is looked at.
//!
//! Source: KIP-211 (retention), KIP-320 (epochs), KIP-345, KIP-848 (topic ids); protocol.md P86.

use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;

use crate::coordinator::call::Unavailable;
use crate::group::commit::{
    CommitError, CommitPartition, CommitRequest, CommitResults, CommitTopic,
};
use crate::group::ids::{GroupId, InstanceId, MemberId};
use crate::metadata::image::MetadataImage;
use crate::model::ids::{PartitionIndex, TopicId};
use crate::model::offset::{LeaderEpoch, Offset};
use crate::net::service::Admitted;
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitResponse,
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::protocol::primitives::Reader;

use super::super::context::Shard;
use super::super::dispatch::{self, Head};
use super::super::errors::{commit_code, unavailable_code};
use super::by_topic::{ByTopic, TopicCodes, TopicKey};

/// First version with topic ids in place of names.
const BY_ID_VERSION: i16 = 10;
/// First version that knows KIP-848's errors: no such group, a stale epoch.
const EPOCH_VERSION: i16 = 9;
/// "As long as the broker keeps them."
const NO_RETENTION: i64 = -1;

/// Hands a commit to its coordinator, in order of arrival.
pub async fn admit(shard: &Rc<Shard>, head: Head, body: &BytesMut) -> Admitted {
    let version = head.version;
    let Ok(request) = OffsetCommitRequest::decode(&mut Reader::new(body), version) else {
        return dispatch::close();
    };
    let group = request.group_id.clone();
    let Parted { refused, keys, commit } = part(&shard.image(), request, version);
    let asked = match commit.topics.is_empty() {
        true => None, // nothing is left to ask
        false => {
            let commit = Arc::clone(&commit);
            let begun = shard.begin_at_group(&group, move |core, now, step| {
                core.commit_offsets(now, &commit, step)
            });
            Some(begun.await)
        }
    };
    let shard = Rc::clone(shard);
    Admitted::Reply(Box::pin(async move {
        let answered = match asked {
            None => Vec::new(),
            Some(asked) => codes(keys, &commit.topics, asked.answer().await, version),
        };
        dispatch::answer(&shard, head, &response(refused.merge(answered)))
    }))
}

/// A request: what is refused at once, and what its coordinator is asked.
struct Parted {
    refused: ByTopic,
    /// What the request calls the topics of `commit`.
    keys: Vec<TopicKey>,
    commit: Arc<CommitRequest>,
}

/// Refuses what metadata does not know.
fn part(image: &MetadataImage, request: OffsetCommitRequest, version: i16) -> Parted {
    let by_id = version >= BY_ID_VERSION;
    let mut refused = ByTopic::default();
    let (mut keys, mut topics) = (Vec::new(), Vec::new());
    for topic in request.topics {
        let (known, key, unknown) = match by_id {
            true => {
                let key = (String::new(), topic.topic_id);
                (image.topic_by_id(topic.topic_id), key, ErrorCode::UnknownTopicId)
            }
            false => {
                let known = image.topic_by_name(&topic.name);
                (known, (topic.name, TopicId::ZERO), ErrorCode::UnknownTopicOrPartition)
            }
        };
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let index = partition.partition_index;
            match known.map(|known| known.partition(PartitionIndex(index)).is_some()) {
                Some(true) => partitions.push(position(partition)),
                Some(false) => refused.add(&key, index, ErrorCode::UnknownTopicOrPartition),
                None => refused.add(&key, index, unknown),
            }
        }
        if let (Some(known), false) = (known, partitions.is_empty()) {
            topics.push(CommitTopic { name: known.name.as_str().into(), id: known.id, partitions });
            keys.push(key);
        }
    }
    let retention = request.retention_time_ms;
    let commit = Arc::new(CommitRequest {
        group: GroupId::from(request.group_id.as_str()),
        member: MemberId::from(request.member_id.as_str()),
        instance: request.group_instance_id.as_deref().map(InstanceId::from),
        generation: request.generation_id_or_member_epoch,
        retention_ms: (retention != NO_RETENTION).then_some(retention),
        topics,
    });
    Parted { refused, keys, commit }
}

fn position(partition: OffsetCommitRequestPartition) -> CommitPartition {
    CommitPartition {
        partition: PartitionIndex(partition.partition_index),
        offset: Offset(partition.committed_offset),
        leader_epoch: LeaderEpoch(partition.committed_leader_epoch),
        metadata: partition.committed_metadata.map(String::into_boxed_str),
    }
}

/// What the coordinator said of each partition it was asked for.
fn codes(
    keys: Vec<TopicKey>,
    topics: &[CommitTopic],
    answer: Result<Result<CommitResults, CommitError>, Unavailable>,
    version: i16,
) -> Vec<TopicCodes> {
    let (no_group, stale) = match version >= EPOCH_VERSION {
        true => (ErrorCode::GroupIdNotFound, ErrorCode::StaleMemberEpoch),
        false => (ErrorCode::IllegalGeneration, ErrorCode::UnsupportedVersion),
    };
    let results = match answer {
        Ok(Ok(results)) => Ok(results),
        Ok(Err(error)) => Err(commit_code(error, no_group, stale)),
        Err(unavailable) => Err(unavailable_code(unavailable)),
    };
    let code = |topic: usize, partition: usize| match &results {
        Err(code) => *code,
        Ok(results) => match results[topic][partition] {
            Ok(()) => ErrorCode::None,
            Err(error) => error.into(),
        },
    };
    let of_topic = |(at, (key, topic)): (usize, (TopicKey, &CommitTopic))| {
        let partitions = topic.partitions.iter().enumerate();
        let of = partitions.map(|(place, asked)| (asked.partition.0, code(at, place)));
        (key, of.collect())
    };
    keys.into_iter().zip(topics).enumerate().map(of_topic).collect()
}

fn response(topics: Vec<TopicCodes>) -> OffsetCommitResponse {
    let partition = |(partition_index, code): (i32, ErrorCode)| OffsetCommitResponsePartition {
        partition_index,
        error_code: code.code(),
        ..OffsetCommitResponsePartition::default()
    };
    let topic = |((name, topic_id), codes): TopicCodes| OffsetCommitResponseTopic {
        name,
        topic_id,
        partitions: codes.into_iter().map(partition).collect(),
        ..OffsetCommitResponseTopic::default()
    };
    let topics = topics.into_iter().map(topic).collect();
    OffsetCommitResponse { topics, ..OffsetCommitResponse::default() }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{TOPIC, image};
    use super::*;
    use crate::group::commit::MetadataTooLarge;
    use crate::protocol::messages::offset_commit::OffsetCommitRequestTopic;

    fn topic(name: &str, topic_id: TopicId, indexes: &[i32]) -> OffsetCommitRequestTopic {
        let partition = |index: &i32| OffsetCommitRequestPartition {
            partition_index: *index,
            committed_offset: 40 + i64::from(*index),
            committed_metadata: Some("note".into()),
            ..OffsetCommitRequestPartition::default()
        };
        let partitions = indexes.iter().map(partition).collect();
        let name = name.to_owned();
        OffsetCommitRequestTopic { name, topic_id, partitions, ..Default::default() }
    }

    fn parted(topics: Vec<OffsetCommitRequestTopic>, version: i16) -> Parted {
        let request = OffsetCommitRequest { group_id: "g".into(), topics, ..Default::default() };
        part(&image(), request, version)
    }

    /// A topic's name, id, and each partition's code.
    type Told = (String, TopicId, Vec<(i32, i16)>);

    /// The answer as plain values.
    fn told(
        parted: Parted,
        answer: Result<Result<CommitResults, CommitError>, Unavailable>,
        version: i16,
    ) -> Vec<Told> {
        let answered = codes(parted.keys, &parted.commit.topics, answer, version);
        let topics = response(parted.refused.merge(answered)).topics;
        let partitions = |topic: &OffsetCommitResponseTopic| {
            topic.partitions.iter().map(|one| (one.partition_index, one.error_code)).collect()
        };
        topics
            .into_iter()
            .map(|topic| (topic.name.clone(), topic.topic_id, partitions(&topic)))
            .collect()
    }

    #[test]
    fn what_is_unknown_is_refused_by_name_and_the_rest_is_asked() {
        let parted = parted(
            vec![topic("t", TopicId::ZERO, &[1, 0, -1]), topic("nope", TopicId::ZERO, &[0])],
            9,
        );
        assert_eq!(parted.commit.topics.len(), 1);
        let asked = &parted.commit.topics[0];
        assert_eq!((&*asked.name, asked.id, asked.partitions.len()), ("t", TOPIC, 1));
        assert_eq!(asked.partitions[0].offset, Offset(40));
        assert_eq!(asked.partitions[0].metadata.as_deref(), Some("note"));
        let told = told(parted, Ok(Ok(vec![vec![Ok(())]])), 9);
        let t = ("t".to_owned(), TopicId::ZERO, vec![(1, 3), (-1, 3), (0, 0)]);
        assert_eq!(told, [t, ("nope".to_owned(), TopicId::ZERO, vec![(0, 3)])]);
    }

    #[test]
    fn version_10_knows_topics_by_id_alone() {
        let other = TopicId([1; 16]);
        let parted = parted(
            vec![
                topic("t", other, &[0]),
                topic("", TOPIC, &[0, 1]),
                topic("t", TopicId::ZERO, &[0]),
            ],
            10,
        );
        let told = told(parted, Ok(Ok(vec![vec![Err(MetadataTooLarge)]])), 10);
        let of = |id, codes: &[(i32, i16)]| (String::new(), id, codes.to_vec());
        let expected =
            [of(other, &[(0, 100)]), of(TOPIC, &[(1, 3), (0, 12)]), of(TopicId::ZERO, &[(0, 100)])];
        assert_eq!(told, expected);
    }

    #[test]
    fn p86_a_refusal_is_told_of_each_partition_in_the_words_of_its_version() {
        let code = |error, version| {
            let parted = parted(vec![topic("t", TOPIC, &[0])], version);
            told(parted, error, version)[0].2[0].1
        };
        assert_eq!(code(Ok(Err(CommitError::NoGroup)), 8), 22);
        assert_eq!(code(Ok(Err(CommitError::NoGroup)), 9), 69);
        assert_eq!(code(Ok(Err(CommitError::StaleMemberEpoch)), 8), 35);
        assert_eq!(code(Ok(Err(CommitError::StaleMemberEpoch)), 9), 113);
        assert_eq!(code(Ok(Err(CommitError::UnknownMember)), 2), 25);
        assert_eq!(code(Ok(Err(CommitError::FencedInstance)), 7), 82);
        assert_eq!(code(Ok(Err(CommitError::IllegalGeneration)), 9), 22);
        assert_eq!(code(Ok(Err(CommitError::RebalanceInProgress)), 10), 27);
        assert_eq!(code(Ok(Err(CommitError::InvalidGroupId)), 10), 24);
        assert_eq!(code(Err(Unavailable::Loading), 2), 14);
        assert_eq!(code(Err(Unavailable::NotStored), 2), 15);
        assert_eq!(code(Err(Unavailable::NotHere), 2), 16);
    }

    #[test]
    fn only_a_retention_that_was_said_counts() {
        let kept = |retention_time_ms| {
            let request = OffsetCommitRequest { retention_time_ms, ..Default::default() };
            part(&image(), request, 4).commit.retention_ms
        };
        assert_eq!((kept(-1), kept(0), kept(5_000)), (None, Some(0), Some(5_000)));
    }
}
