//! TxnOffsetCommit (key 28), versions 0-5: how far a group has read, once a transaction commits.
//!
//! Version 3 names the member, 4 may answer that the transaction can be aborted, 5 adds the group
//! to the transaction. The positions are records of the producer in the group's partition of
//! `__consumer_offsets`; its marker there makes them count.
//!
//! Source: KIP-98, KIP-447 (members), KIP-890; `protocol.md` P101-P103, P106.

use std::rc::Rc;

use crate::coordinator::call::{Answer, Call, InTransaction, Unavailable};
use crate::group::codec;
use crate::group::commit::{
    CommitError, CommitPartition, CommitRequest, CommitResults, CommitTopic,
};
use crate::group::coordinator::GroupCoordinator;
use crate::group::ids::{GroupId, InstanceId, MemberId};
use crate::metadata::image::MetadataImage;
use crate::model::ids::{PartitionIndex, ProducerEpoch, ProducerId, TopicId, TopicPartition};
use crate::model::offset::{LeaderEpoch, Offset, Sequence};
use crate::model::time::Timestamp;
use crate::model::topic_name::TopicName;
use crate::partition::leader::Verification;
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
    TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use crate::protocol::records::Encoded;
use crate::replica::request::AppendFailure;

use super::super::context::Shard;
use super::super::errors::{commit_code, offsets_append_code, offsets_join_code, unavailable_code};
use super::super::groups::OFFSETS_TOPIC;
use super::super::transactions::Joining;
use super::super::verification::{Write, Writer, verify};
use super::by_topic::{ByTopic, TopicCodes, TopicKey};

/// First version that adds the group to the transaction.
const ADDS_VERSION: i16 = 5;
/// First version whose clients survive COORDINATOR_LOAD_IN_PROGRESS.
const LOADING_VERSION: i16 = 2;
/// Bytes of records of one commit at most: they are one batch, as large as a topic's may be.
const RECORDS_BYTES_MAX: usize = 1 << 20;

/// Why nothing of a commit is taken.
#[derive(Clone, Copy, Debug)]
enum Failure {
    Group(CommitError),
    Log(AppendFailure),
    TooLarge,
}

/// What the coordinator says.
type Committed = Result<CommitResults, Failure>;

/// Answers one request.
pub async fn handle(
    shard: &Rc<Shard>,
    request: TxnOffsetCommitRequest,
    version: i16,
) -> TxnOffsetCommitResponse {
    let writer = Writer {
        transactional_id: request.transactional_id.clone(),
        producer_id: ProducerId(request.producer_id),
        producer_epoch: ProducerEpoch(request.producer_epoch),
        how: if version >= ADDS_VERSION { Joining::Add } else { Joining::Verify },
    };
    let (refused, commit) = part(&shard.image(), request);
    if commit.topics.is_empty() {
        return response(refused.merge(Vec::new()));
    }
    let keys: Vec<TopicKey> =
        commit.topics.iter().map(|topic| (topic.name.to_string(), TopicId::ZERO)).collect();
    let asked: Vec<Vec<i32>> = commit
        .topics
        .iter()
        .map(|topic| topic.partitions.iter().map(|position| position.partition.0).collect())
        .collect();
    let results = run(shard, &writer, commit, version).await;
    let code = |topic: usize, partition: usize| match &results {
        Err(code) => *code,
        Ok(results) => match results[topic][partition] {
            Ok(()) => ErrorCode::None,
            Err(error) => error.into(),
        },
    };
    let of_topic = |(at, (key, indexes)): (usize, (TopicKey, Vec<i32>))| {
        let codes = indexes.into_iter().enumerate();
        (key, codes.map(|(place, index)| (index, code(at, place))).collect())
    };
    let answered: Vec<TopicCodes> = keys.into_iter().zip(asked).enumerate().map(of_topic).collect();
    response(refused.merge(answered))
}

/// Has the group's coordinator write the positions. Errors: the code of all of them.
async fn run(
    shard: &Rc<Shard>,
    writer: &Writer,
    commit: CommitRequest,
    version: i16,
) -> Result<CommitResults, ErrorCode> {
    let told = |code: ErrorCode| match code {
        ErrorCode::CoordinatorLoadInProgress if version < LOADING_VERSION => {
            ErrorCode::CoordinatorNotAvailable
        }
        code => code,
    };
    if commit.group.as_str().is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    if writer.producer_id.0 < 0 || writer.producer_epoch.0 < 0 {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    let partition = shard.group_partition(commit.group.as_str());
    let Some(partition) = partition else {
        return Err(unavailable_code(Unavailable::NotHere));
    };
    let topic = TopicName::parse(OFFSETS_TOPIC).expect("a legal name");
    let writes = [Write { partition, topic, base_sequence: Sequence::NONE }];
    let verified = verify(shard, writer, &writes).await;
    let verification = verified[0].map_err(|failure| told(offsets_join_code(failure, version)))?;
    match write(shard, writer, partition, commit, verification).await {
        Ok(Ok(results)) => Ok(results),
        Ok(Err(Failure::Group(error))) => {
            let illegal = ErrorCode::IllegalGeneration;
            Err(commit_code(error, illegal, illegal))
        }
        Ok(Err(Failure::Log(failure))) => Err(offsets_append_code(&failure)),
        // As Kafka has it, which finds no better name for it.
        Ok(Err(Failure::TooLarge)) => Err(ErrorCode::UnknownServerError),
        Err(unavailable) => Err(told(unavailable_code(unavailable))),
    }
}

async fn write(
    shard: &Rc<Shard>,
    writer: &Writer,
    partition: TopicPartition,
    commit: CommitRequest,
    verification: Verification,
) -> Result<Committed, Unavailable> {
    let (producer_id, producer_epoch) = (writer.producer_id, writer.producer_epoch);
    let work = move |core: &mut GroupCoordinator, now: Timestamp| {
        let (records, results) = prepare(core, now, &commit).map_err(boxed)?;
        if records.is_empty() {
            return Err(boxed_results(results)); // all of it was refused by itself
        }
        let answer = move |appended: Result<(), AppendFailure>| -> Answer {
            let committed: Committed = appended.map(|()| results).map_err(Failure::Log);
            Box::new(committed)
        };
        let answer = Box::new(answer);
        Ok(InTransaction { producer_id, producer_epoch, verification, records, answer })
    };
    let call: Call<GroupCoordinator> = Call::InTransaction(Box::new(work));
    shard.submit::<GroupCoordinator, Committed>(partition, call).await.answer().await
}

fn boxed(failure: Failure) -> Answer {
    let committed: Committed = Err(failure);
    Box::new(committed)
}

fn boxed_results(results: CommitResults) -> Answer {
    let committed: Committed = Ok(results);
    Box::new(committed)
}

/// The records to write, and each partition's result.
fn prepare(
    core: &mut GroupCoordinator,
    now: Timestamp,
    commit: &CommitRequest,
) -> Result<(Vec<Encoded>, CommitResults), Failure> {
    let prepared = core.commit_transactional(now, commit).map_err(Failure::Group)?;
    // Each key has the group's name: a small request could become a large batch.
    let (mut records, mut bytes) = (Vec::new(), 0);
    for record in &prepared.records {
        let record = codec::encode(record).expect("the core checks names");
        bytes += record.key.len() + record.value.as_ref().map_or(0, |value| value.len());
        if bytes > RECORDS_BYTES_MAX {
            return Err(Failure::TooLarge);
        }
        records.push(record);
    }
    Ok((records, prepared.results))
}

/// Refuses what metadata does not know.
fn part(image: &MetadataImage, request: TxnOffsetCommitRequest) -> (ByTopic, CommitRequest) {
    let mut refused = ByTopic::default();
    let mut topics = Vec::new();
    for TxnOffsetCommitRequestTopic { name, partitions: asked, .. } in request.topics {
        let known = image.topic_by_name(&name);
        let key = (name, TopicId::ZERO);
        let (mut partitions, mut place) = (Vec::with_capacity(asked.len()), None);
        for partition in asked {
            let index = PartitionIndex(partition.partition_index);
            match known.and_then(|known| known.partition(index)) {
                Some(_) => partitions.push(position(partition)),
                None => {
                    let place = *place.get_or_insert_with(|| refused.name(&key));
                    refused.add_at(place, index.0, ErrorCode::UnknownTopicOrPartition);
                }
            }
        }
        if let (Some(known), false) = (known, partitions.is_empty()) {
            topics.push(CommitTopic { name: known.name.as_str().into(), id: known.id, partitions });
        }
    }
    let commit = CommitRequest {
        group: GroupId::from(request.group_id.as_str()),
        member: MemberId::from(request.member_id.as_str()),
        instance: request.group_instance_id.as_deref().map(InstanceId::from),
        generation: request.generation_id,
        retention_ms: None,
        topics,
    };
    (refused, commit)
}

fn position(partition: TxnOffsetCommitRequestPartition) -> CommitPartition {
    CommitPartition {
        partition: PartitionIndex(partition.partition_index),
        offset: Offset(partition.committed_offset),
        leader_epoch: LeaderEpoch(partition.committed_leader_epoch),
        metadata: partition.committed_metadata.map(String::into_boxed_str),
    }
}

fn response(topics: Vec<TopicCodes>) -> TxnOffsetCommitResponse {
    let partition = |(partition_index, code): (i32, ErrorCode)| TxnOffsetCommitResponsePartition {
        partition_index,
        error_code: code.code(),
        ..TxnOffsetCommitResponsePartition::default()
    };
    let topic = |((name, _), codes): TopicCodes| TxnOffsetCommitResponseTopic {
        name,
        partitions: codes.into_iter().map(partition).collect(),
        ..TxnOffsetCommitResponseTopic::default()
    };
    let topics = topics.into_iter().map(topic).collect();
    TxnOffsetCommitResponse { topics, ..TxnOffsetCommitResponse::default() }
}
