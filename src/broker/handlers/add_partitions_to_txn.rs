//! AddPartitionsToTxn (key 24), versions 0-5: partitions become part of a transaction.
//!
//! Up to version 3 a client asks, of one transaction; from 4 on brokers do, of many, and may ask
//! only whether partitions are there. One that does not exist refuses all of its transaction.
//!
//! Source: KIP-98, KIP-890; protocol.md P101, P102.

use std::rc::Rc;

use crate::coordinator::call::Unavailable;
use crate::metadata::image::MetadataImage;
use crate::model::ids::{PartitionIndex, ProducerEpoch, ProducerId, TopicId};
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    AddPartitionsToTxnResult, AddPartitionsToTxnTopic, AddPartitionsToTxnTopicResult,
    AddPartitionsToTxnTransaction,
};
use crate::transaction::coordinator::TransactionCoordinator;
use crate::transaction::ids::{Identity, NamedPartition, TransactionLevel, TransactionalId};
use crate::transaction::partitions::AddRequest;
use crate::transaction::step::Step;

use super::super::context::Shard;
use super::super::errors::{transaction_code, unavailable_code, understood};
use super::by_topic::ByTopic;
use super::is_transactional_id;

/// First version of brokers: many transactions.
const BATCH_VERSION: i16 = 4;
/// First version that knows PRODUCER_FENCED.
const FENCED_VERSION: i16 = 2;

/// Answers one request.
pub async fn handle(
    shard: &Rc<Shard>,
    request: AddPartitionsToTxnRequest,
    version: i16,
) -> AddPartitionsToTxnResponse {
    if version >= BATCH_VERSION {
        let mut results_by_transaction = Vec::with_capacity(request.transactions.len());
        for transaction in request.transactions {
            let transactional_id = transaction.transactional_id.clone();
            let topic_results = add(shard, transaction, version).await;
            let result =
                AddPartitionsToTxnResult { transactional_id, topic_results, ..Default::default() };
            results_by_transaction.push(result);
        }
        return AddPartitionsToTxnResponse { results_by_transaction, ..Default::default() };
    }
    let transaction = AddPartitionsToTxnTransaction {
        transactional_id: request.v3_and_below_transactional_id,
        producer_id: request.v3_and_below_producer_id,
        producer_epoch: request.v3_and_below_producer_epoch,
        verify_only: false,
        topics: request.v3_and_below_topics,
        ..Default::default()
    };
    let results_by_topic_v3_and_below = add(shard, transaction, version).await;
    AddPartitionsToTxnResponse { results_by_topic_v3_and_below, ..Default::default() }
}

async fn add(
    shard: &Shard,
    transaction: AddPartitionsToTxnTransaction,
    version: i16,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let image = shard.image();
    let mut by_topic = ByTopic::default();
    let named = |AddPartitionsToTxnTopic { name, partitions, .. }| {
        let key = (name, TopicId::ZERO);
        let place = by_topic.name(&key);
        Asked { place, name: key.0, partitions }
    };
    let asked: Vec<Asked> = transaction.topics.into_iter().map(named).collect();
    let count = asked.iter().map(|topic| topic.partitions.len()).sum();
    let codes = match check(&image, &transaction.transactional_id, &asked) {
        Err(codes) => codes,
        Ok(partitions) => {
            let id = TransactionalId::from(transaction.transactional_id.as_str());
            let producer = Identity {
                id: ProducerId(transaction.producer_id),
                epoch: ProducerEpoch(transaction.producer_epoch),
            };
            let codes = match transaction.verify_only {
                true => verified(shard, id, producer, partitions).await,
                false => {
                    let version = match version >= BATCH_VERSION {
                        true => TransactionLevel::V2,
                        false => TransactionLevel::V0,
                    };
                    let metadata_index = image.applied_index();
                    let request = AddRequest { id, producer, partitions, version, metadata_index };
                    added(shard, request).await
                }
            };
            let told = |code| understood(code, version, FENCED_VERSION);
            codes
                .unwrap_or_else(|unavailable| vec![unavailable_code(unavailable); count])
                .into_iter()
                .map(told)
                .collect()
        }
    };
    results(by_topic, asked, codes)
}

/// A topic of the request: a name once, however many partitions there are.
struct Asked {
    /// In the answer.
    place: usize,
    name: String,
    partitions: Vec<i32>,
}

/// The partitions, if all of them exist; else what each is told.
fn check(
    image: &MetadataImage,
    id: &str,
    asked: &[Asked],
) -> Result<Vec<NamedPartition>, Vec<ErrorCode>> {
    let mut found: Vec<Option<NamedPartition>> = Vec::new();
    for Asked { name, partitions, .. } in asked {
        let topic = image.topic_by_name(name);
        let find = |index: &i32| -> Option<NamedPartition> {
            let partition = PartitionIndex(*index);
            topic?.partition(partition)?;
            Some(NamedPartition { topic: topic?.name.clone(), partition })
        };
        found.extend(partitions.iter().map(find));
    }
    if !is_transactional_id(id) {
        return Err(vec![ErrorCode::InvalidRequest; found.len()]);
    }
    if found.iter().all(Option::is_some) {
        return Ok(found.into_iter().flatten().collect());
    }
    let code = |found: &Option<NamedPartition>| match found {
        Some(_) => ErrorCode::OperationNotAttempted,
        None => ErrorCode::UnknownTopicOrPartition,
    };
    Err(found.iter().map(code).collect())
}

async fn added(shard: &Shard, request: AddRequest) -> Result<Vec<ErrorCode>, Unavailable> {
    let count = request.partitions.len();
    let added = shard.add_to_transaction(request).await?;
    Ok(vec![added.map_or_else(transaction_code, |()| ErrorCode::None); count])
}

async fn verified(
    shard: &Shard,
    id: TransactionalId,
    producer: Identity,
    partitions: Vec<NamedPartition>,
) -> Result<Vec<ErrorCode>, Unavailable> {
    let (of, count) = (id.clone(), partitions.len());
    let verify = move |core: &mut TransactionCoordinator, _, _: &mut Step| {
        core.verify_partitions(&of, producer, &partitions)
    };
    let code = |found: Result<(), _>| found.map_or_else(transaction_code, |()| ErrorCode::None);
    Ok(match shard.ask_transaction(id.as_str(), verify).await? {
        Ok(found) => found.into_iter().map(code).collect(),
        Err(error) => vec![transaction_code(error); count],
    })
}

/// One code a partition, by topic; `by_topic` has the topics in the order in which they were named.
fn results(
    mut by_topic: ByTopic,
    asked: Vec<Asked>,
    codes: Vec<ErrorCode>,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let mut codes = codes.into_iter();
    for Asked { place, partitions, .. } in asked {
        for partition in partitions {
            by_topic.add_at(place, partition, codes.next().expect("one code a partition"));
        }
    }
    let result = |(partition_index, code): (i32, ErrorCode)| AddPartitionsToTxnPartitionResult {
        partition_index,
        partition_error_code: code.code(),
        ..Default::default()
    };
    let topics = by_topic.merge(Vec::new()).into_iter();
    topics
        .map(|((name, _), codes)| AddPartitionsToTxnTopicResult {
            name,
            results_by_partition: codes.into_iter().map(result).collect(),
            ..Default::default()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::image;
    use super::*;

    #[test]
    fn one_unknown_partition_refuses_all() {
        let asked = |partitions: &[i32]| {
            [Asked { place: 0, name: "t".to_owned(), partitions: partitions.to_vec() }]
        };
        let checked = check(&image(), "x", &asked(&[0, 1]));
        let codes = vec![ErrorCode::OperationNotAttempted, ErrorCode::UnknownTopicOrPartition];
        assert_eq!(checked, Err(codes));
        let known = check(&image(), "x", &asked(&[0])).expect("it is there");
        assert_eq!(known[0].topic.as_str(), "t");
        assert_eq!(check(&image(), "", &asked(&[0])), Err(vec![ErrorCode::InvalidRequest]));
    }
}
