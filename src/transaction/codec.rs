//! Records of transactions as Kafka's bytes, and back.
//!
//! In:   typed records; keys and values of `__transaction_state`.
//! Out:  keys and values; typed records.
//! Home: pure.
//!
//! Values are written in version 1; in 0 while the feature `transaction.version` is at 0, unless
//! they say something that 0 cannot. Both are read.
//!
//! Not here: the format itself (`crate::protocol::records`).
//! Source: Kafka 4.3 `TransactionLog`; KIP-890.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::ids::{PartitionIndex, ProducerEpoch, ProducerId};
use crate::model::time::Timestamp;
use crate::model::topic_name::TopicName;
use crate::protocol::primitives::EncodeError;
use crate::protocol::records::transaction::{
    PartitionsSchema, TRANSACTION_LOG_VALUE_VERSION, TransactionLogKey, TransactionLogValue,
};
use crate::protocol::records::{
    Encoded, RecordError, TransactionRecordKey, decode_value, encode_value,
};
use crate::transaction::ids::{NamedPartition, TransactionLevel, TransactionalId};
use crate::transaction::record::{Record, TransactionValue};
use crate::transaction::state::State;

/// Why a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Its bytes are not what their type or version says; a type that is not known is to be
    /// skipped by whoever loads.
    Bytes(RecordError),
    /// A state that is never written.
    UnknownState {
        /// Its number.
        code: i8,
    },
}

impl From<RecordError> for DecodeError {
    fn from(error: RecordError) -> DecodeError {
        DecodeError::Bytes(error)
    }
}

/// Version of values that every Kafka since 0.11 reads.
const OLD_VERSION: i16 = 0;

/// A record as bytes; `level` is the cluster's.
///
/// Errors: [`EncodeError`], our own mistake: ids are checked when requests come.
pub fn encode(record: &Record, level: TransactionLevel) -> Result<Encoded, EncodeError> {
    let key = TransactionLogKey { transactional_id: record.id.to_string(), ..Default::default() };
    let key = TransactionRecordKey::TransactionLog(key).encode()?;
    let value = record.value.as_ref().map(|value| {
        let needs_new = value.next_producer_id != ProducerId::NONE
            || value.client_version > TransactionLevel::V1;
        match level == TransactionLevel::V0 && !needs_new {
            true => {
                let old = TransactionLogValue {
                    previous_producer_id: ProducerId::NONE.0,
                    client_transaction_version: 0,
                    ..log_value(value)
                };
                encode_value(&old, OLD_VERSION)
            }
            false => encode_value(&log_value(value), TRANSACTION_LOG_VALUE_VERSION),
        }
    });
    Ok(Encoded { key, value: value.transpose()? })
}

fn log_value(value: &TransactionValue) -> TransactionLogValue {
    let mut topics: BTreeMap<&TopicName, Vec<i32>> = BTreeMap::new();
    for at in &value.partitions {
        topics.entry(&at.topic).or_default().push(at.partition.0);
    }
    let topics = topics.into_iter().map(|(topic, partition_ids)| PartitionsSchema {
        topic: topic.as_str().to_owned(),
        partition_ids,
        ..Default::default()
    });
    TransactionLogValue {
        producer_id: value.producer_id.0,
        previous_producer_id: value.previous_producer_id.0,
        next_producer_id: value.next_producer_id.0,
        producer_epoch: value.producer_epoch.0,
        transaction_timeout_ms: value.timeout_ms,
        transaction_status: value.state.code(),
        // As Kafka does: none at all, or a list that may be empty.
        transaction_partitions: (value.state != State::Empty).then(|| topics.collect()),
        transaction_last_update_timestamp_ms: value.last_update.0,
        transaction_start_timestamp_ms: value.start.0,
        client_transaction_version: value.client_version.level(),
        ..Default::default()
    }
}

/// Reads a record. Errors: [`DecodeError`].
pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Record, DecodeError> {
    let TransactionRecordKey::TransactionLog(key) = TransactionRecordKey::decode(key)?;
    let id = TransactionalId::from(key.transactional_id.as_str());
    let Some(value) = value else { return Ok(Record { id, value: None }) };
    let value = decode_value::<TransactionLogValue>(value)?;
    let code = value.transaction_status;
    let state = State::from_log(code).ok_or(DecodeError::UnknownState { code })?;
    let mut partitions = BTreeSet::new();
    for topic in value.transaction_partitions.unwrap_or_default() {
        // No topic has another kind of name: as good as deleted.
        let Ok(name) = TopicName::parse(&topic.topic) else { continue };
        partitions.extend(
            topic.partition_ids.into_iter().map(|index| NamedPartition {
                topic: name.clone(),
                partition: PartitionIndex(index),
            }),
        );
    }
    let value = TransactionValue {
        producer_id: ProducerId(value.producer_id),
        previous_producer_id: ProducerId(value.previous_producer_id),
        next_producer_id: ProducerId(value.next_producer_id),
        producer_epoch: ProducerEpoch(value.producer_epoch),
        timeout_ms: value.transaction_timeout_ms,
        state,
        partitions,
        start: Timestamp(value.transaction_start_timestamp_ms),
        last_update: Timestamp(value.transaction_last_update_timestamp_ms),
        client_version: TransactionLevel::from_level(value.client_transaction_version),
    };
    Ok(Record { id, value: Some(value) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::golden::{lines, text, unhex};

    fn record(client_version: TransactionLevel, next: i64) -> Record {
        let at = |topic: &str, partition| NamedPartition {
            topic: TopicName::parse(topic).expect("legal"),
            partition: PartitionIndex(partition),
        };
        let value = TransactionValue {
            producer_id: ProducerId(7),
            previous_producer_id: ProducerId(6),
            next_producer_id: ProducerId(next),
            producer_epoch: ProducerEpoch(3),
            timeout_ms: 60_000,
            state: State::PrepareAbort,
            partitions: BTreeSet::from([at("b", 1), at("a", 2), at("a", 0)]),
            start: Timestamp(11),
            last_update: Timestamp(12),
            client_version,
        };
        Record { id: TransactionalId::from("t"), value: Some(value) }
    }

    #[test]
    fn every_record_comes_back() {
        let gone = Record { id: TransactionalId::from("t"), value: None };
        for record in [record(TransactionLevel::V2, 9), record(TransactionLevel::V0, -1), gone] {
            let Encoded { key, value } = encode(&record, TransactionLevel::V2).expect("it fits");
            assert_eq!(decode(&key, value.as_deref()), Ok(record));
        }
    }

    #[test]
    fn at_level_0_old_kafkas_can_read_what_is_written() {
        let check = |record: &Record, level, version: i16| {
            let value = encode(record, level).expect("it fits").value.expect("a value");
            assert_eq!(value[..2], version.to_be_bytes());
        };
        check(&record(TransactionLevel::V0, -1), TransactionLevel::V0, 0);
        check(&record(TransactionLevel::V0, -1), TransactionLevel::V1, 1);
        // What only version 1 can say is said in version 1.
        check(&record(TransactionLevel::V2, -1), TransactionLevel::V0, 1);
        check(&record(TransactionLevel::V0, 9), TransactionLevel::V0, 1);
    }

    #[test]
    fn every_record_of_a_real_kafka_is_read_and_written_alike() {
        let mut count = 0;
        for line in lines("coordinator-records.jsonl.gz") {
            if text(&line, "topic") != "__transaction_state" {
                continue;
            }
            let (key, value) = (unhex(text(&line, "keyHex")), line["valueHex"].as_str().map(unhex));
            let record = decode(&key, value.as_deref()).expect("readable");
            let again = encode(&record, TransactionLevel::V2).expect("writable");
            assert_eq!(again.key, key);
            // Kafka writes sets in any order, we in ours: as many bytes, and the same record.
            let bytes = |value: &[u8]| value.len();
            assert_eq!(again.value.as_deref().map(bytes), value.as_deref().map(bytes), "{line}");
            assert_eq!(decode(&again.key, again.value.as_deref()), Ok(record));
            count += 1;
        }
        assert!(count > 5, "{count}");
    }

    #[test]
    fn states_that_no_log_holds_and_cut_records_are_errors() {
        let Encoded { key, value } =
            encode(&record(TransactionLevel::V0, -1), TransactionLevel::V0).expect("it fits");
        let value = value.expect("a value");
        for cut in 0..value.len() {
            assert!(decode(&key, Some(&value[..cut])).is_err());
        }
        let state_at = 2 + 8 + 2 + 4; // version, producer id, epoch, timeout
        assert_eq!(value[state_at], 3);
        for state in [6, 7, 8, 0xff] {
            let mut bad = value.to_vec();
            bad[state_at] = state;
            let code = i8::from_be_bytes([state]);
            assert_eq!(decode(&key, Some(&bad)), Err(DecodeError::UnknownState { code }));
        }
        let unknown = RecordError::UnknownType { record_type: 0x63 };
        assert_eq!(decode(b"\0\x63", Some(&value)), Err(DecodeError::Bytes(unknown)));
    }
}
