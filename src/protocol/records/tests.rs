//! Golden bytes of coordinators' records: Kafka's own vectors, and what a real broker wrote.

use std::fmt::Debug;

use serde_json::Value;

use super::*;
use crate::protocol::golden::{lines, text, unhex, version};
use crate::protocol::probe::Probe;
use crate::protocol::records::classic_group::*;
use crate::protocol::records::consumer_group::*;
use crate::protocol::records::consumer_protocol::*;
use crate::protocol::records::transaction::*;
use crate::testing::prng::Prng;
use crate::testing::seeds::seeds;

/// Holds every vector of `schema` against `D`; each version must have one.
fn check<D: Data + Probe + PartialEq + Debug>(file: &str, schema: &str) {
    let path = format!("vectors/{file}.jsonl.gz");
    let mut seen = Vec::new();
    for line in lines(&path).iter().filter(|line| line["schema"] == schema) {
        let version = version(line);
        let layout = D::layout(version).expect("all versions are known");
        assert_eq!(layout.flexible, line["flexible"].as_bool().expect("a boolean"));
        let about = format!("{schema} {version} {}", text(line, "case"));
        let bytes = unhex(text(line, "hex"));
        let mut reader = Reader::new(&bytes);
        let data = D::read(&mut reader, layout).unwrap_or_else(|e| panic!("{about}: {e}"));
        assert_eq!(reader.remaining(), 0, "{about}");
        assert_eq!(data.to_json(layout), line["json"], "{about}");
        let whole = encode_value(&data, version).expect("it was read");
        assert_eq!(whole[..2], version.to_be_bytes(), "{about}");
        assert_eq!(whole[2..], bytes, "{about}");
        seen.push(version);
    }
    for version in D::VERSIONS {
        assert!(seen.contains(&version), "{schema}: no vector of version {version}");
    }
}

/// Holds random values of every version against what comes back from their bytes.
fn round_trip<D: Data + Probe + PartialEq + Debug>() {
    for seed in seeds(40) {
        let mut prng = Prng::new(seed.0);
        for version in D::VERSIONS {
            let data = D::arbitrary(&mut prng, D::layout(version).expect("one of its versions"));
            let bytes = encode_value(&data, version).expect("what the version can carry");
            assert_eq!(decode_value::<D>(&bytes), Ok(data), "version {version}");
        }
    }
}

macro_rules! golden {
    ($($name:ident: $key:ty, $value:ty, $file:literal;)*) => {
        $(
            #[test]
            fn $name() {
                check::<$key>($file, stringify!($key));
                check::<$value>($file, stringify!($value));
                round_trip::<$key>();
                round_trip::<$value>();
            }
        )*
    };
}

golden! {
    legacy_offset_commit: LegacyOffsetCommitKey, LegacyOffsetCommitValue,
        "coordinator-LegacyOffsetCommit";
    offset_commit: OffsetCommitKey, OffsetCommitValue, "coordinator-OffsetCommit";
    group_metadata: GroupMetadataKey, GroupMetadataValue, "coordinator-GroupMetadata";
    consumer_group_metadata: ConsumerGroupMetadataKey, ConsumerGroupMetadataValue,
        "coordinator-ConsumerGroupMetadata";
    consumer_group_partition_metadata: ConsumerGroupPartitionMetadataKey,
        ConsumerGroupPartitionMetadataValue, "coordinator-ConsumerGroupPartitionMetadata";
    consumer_group_member_metadata: ConsumerGroupMemberMetadataKey,
        ConsumerGroupMemberMetadataValue, "coordinator-ConsumerGroupMemberMetadata";
    consumer_group_target_assignment_metadata: ConsumerGroupTargetAssignmentMetadataKey,
        ConsumerGroupTargetAssignmentMetadataValue,
        "coordinator-ConsumerGroupTargetAssignmentMetadata";
    consumer_group_target_assignment_member: ConsumerGroupTargetAssignmentMemberKey,
        ConsumerGroupTargetAssignmentMemberValue,
        "coordinator-ConsumerGroupTargetAssignmentMember";
    consumer_group_current_member_assignment: ConsumerGroupCurrentMemberAssignmentKey,
        ConsumerGroupCurrentMemberAssignmentValue,
        "coordinator-ConsumerGroupCurrentMemberAssignment";
    consumer_group_regular_expression: ConsumerGroupRegularExpressionKey,
        ConsumerGroupRegularExpressionValue, "coordinator-ConsumerGroupRegularExpression";
    transaction_log: TransactionLogKey, TransactionLogValue, "coordinator-TransactionLog";
}

#[test]
fn embedded_consumer_protocol() {
    check::<ConsumerProtocolSubscription>(
        "data-ConsumerProtocolSubscription",
        "ConsumerProtocolSubscription",
    );
    check::<ConsumerProtocolAssignment>(
        "data-ConsumerProtocolAssignment",
        "ConsumerProtocolAssignment",
    );
    round_trip::<ConsumerProtocolSubscription>();
    round_trip::<ConsumerProtocolAssignment>();
}

/// Encodes `V` again in the version that Kafka 4.3 writes: that is the one that was read.
fn again<V: Data>(bytes: &[u8], version: i16) -> Bytes {
    let value = decode_value::<V>(bytes).expect("Kafka wrote it");
    encode_value(&value, version).expect("it was read")
}

/// A value of the real broker, decoded and encoded as the type of its key says.
fn group_value_again(key: &GroupRecordKey, bytes: &[u8]) -> Bytes {
    const V0: i16 = CONSUMER_GROUP_VALUE_VERSION;
    match key {
        GroupRecordKey::LegacyOffsetCommit(_) => again::<LegacyOffsetCommitValue>(bytes, 0),
        GroupRecordKey::OffsetCommit(_) => {
            again::<OffsetCommitValue>(bytes, OFFSET_COMMIT_VALUE_VERSION)
        }
        GroupRecordKey::GroupMetadata(_) => {
            again::<GroupMetadataValue>(bytes, GROUP_METADATA_VALUE_VERSION)
        }
        GroupRecordKey::ConsumerGroupMetadata(_) => again::<ConsumerGroupMetadataValue>(bytes, V0),
        GroupRecordKey::ConsumerGroupPartitionMetadata(_) => {
            again::<ConsumerGroupPartitionMetadataValue>(bytes, V0)
        }
        GroupRecordKey::ConsumerGroupMemberMetadata(_) => {
            again::<ConsumerGroupMemberMetadataValue>(bytes, V0)
        }
        GroupRecordKey::ConsumerGroupTargetAssignmentMetadata(_) => {
            again::<ConsumerGroupTargetAssignmentMetadataValue>(bytes, V0)
        }
        GroupRecordKey::ConsumerGroupTargetAssignmentMember(_) => {
            again::<ConsumerGroupTargetAssignmentMemberValue>(bytes, V0)
        }
        GroupRecordKey::ConsumerGroupCurrentMemberAssignment(_) => {
            again::<ConsumerGroupCurrentMemberAssignmentValue>(bytes, V0)
        }
        GroupRecordKey::ConsumerGroupRegularExpression(_) => {
            again::<ConsumerGroupRegularExpressionValue>(bytes, V0)
        }
    }
}

#[test]
fn what_the_real_broker_wrote_comes_back_byte_by_byte() {
    let (mut groups, mut transactions, mut tombstones) = (0, 0, 0);
    let mut members: Vec<MemberMetadata> = Vec::new();
    for line in lines("coordinator-records.jsonl.gz") {
        let key = unhex(text(&line, "keyHex"));
        let value = line["valueHex"].as_str().map(unhex);
        tombstones += usize::from(value.is_none());
        if line["topic"] == "__transaction_state" {
            let decoded = TransactionRecordKey::decode(&key).expect("Kafka wrote it");
            assert_eq!(decoded.encode().expect("it was read"), key);
            let value = value.expect("no transaction was forgotten");
            let version = TRANSACTION_LOG_VALUE_VERSION;
            assert_eq!(again::<TransactionLogValue>(&value, version), value);
            transactions += 1;
            continue;
        }
        let decoded = GroupRecordKey::decode(&key).expect("Kafka wrote it");
        assert_eq!(decoded.encode().expect("it was read"), key);
        groups += 1;
        let Some(value) = value else { continue };
        assert_eq!(group_value_again(&decoded, &value), value, "{line}");
        if let GroupRecordKey::GroupMetadata(_) = decoded {
            members.extend(decode_value::<GroupMetadataValue>(&value).unwrap().members);
        }
    }
    assert!(groups > 20 && transactions > 5 && tombstones > 5, "{groups} {transactions}");
    assert!(!members.is_empty());
    for member in members {
        let topics = decode_embedded::<ConsumerProtocolSubscription>(&member.subscription);
        assert!(topics.unwrap().topics.contains(&"cap-a".to_owned()));
        let assigned = decode_embedded::<ConsumerProtocolAssignment>(&member.assignment);
        let assigned = assigned.unwrap().assigned_partitions;
        assert!(assigned.iter().any(|topic| topic.topic == "cap-a"), "{assigned:?}");
    }
}

#[test]
fn a_type_that_is_not_known_is_told_apart_from_bad_bytes() {
    let decode = |hex| GroupRecordKey::decode(&unhex(hex));
    assert_eq!(decode("00630001"), Err(RecordError::UnknownType { record_type: 99 }));
    assert_eq!(decode("ffff"), Err(RecordError::UnknownType { record_type: -1 }));
    assert!(matches!(decode("00"), Err(RecordError::Malformed(_))));
    assert!(matches!(decode("0001000561"), Err(RecordError::Malformed(_))));
    let later = decode_value::<OffsetCommitValue>(&unhex("0005"));
    let unsupported = DecodeError::UnsupportedVersion { version: 5 };
    assert_eq!(later, Err(RecordError::Malformed(unsupported)));
}

/// Later versions add at the end only, so they are read as the newest known; what is there besides
/// is ignored.
#[test]
fn embedded_bytes_may_be_of_a_later_version_and_have_more_at_the_end() {
    let ours = ConsumerProtocolSubscription {
        topics: vec!["a".into(), "b".into()],
        generation_id: 7,
        rack_id: Some("r".into()),
        ..Default::default()
    };
    for version in [3_i16, 4, i16::MAX] {
        let mut bytes = encode_value(&ours, 3).expect("short").to_vec();
        bytes[..2].copy_from_slice(&version.to_be_bytes());
        bytes.extend_from_slice(b"more");
        assert_eq!(decode_embedded(&bytes), Ok(ours.clone()), "version {version}");
    }
    let old = [&[0xff, 0xff][..], &encode_value(&ours, 3).unwrap()[2..]].concat();
    assert!(decode_embedded::<ConsumerProtocolSubscription>(&old).is_err());
    let nothing = decode_embedded::<ConsumerProtocolSubscription>(&[]);
    assert!(matches!(nothing, Err(RecordError::Malformed(_))));
}

/// Every cut of a real value is refused or read, never more.
#[test]
fn cut_values_are_errors() {
    let is_group = |line: &Value| line["valueHex"].is_string() && line["topic"] != "x";
    for line in lines("coordinator-records.jsonl.gz").iter().filter(|line| is_group(line)) {
        let value = unhex(text(line, "valueHex"));
        for end in 0..value.len() {
            let _ = decode_value::<GroupMetadataValue>(&value[..end]);
            let _ = decode_value::<TransactionLogValue>(&value[..end]);
        }
        if line["topic"] == "__transaction_state" {
            let cut = &value[..value.len() - 1];
            assert!(decode_value::<TransactionLogValue>(cut).is_err(), "{line}");
        }
    }
}
