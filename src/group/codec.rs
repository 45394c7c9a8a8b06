//! Records of groups as Kafka's bytes, and back.
//!
//! In:   typed records; keys and values of `__consumer_offsets`.
//! Out:  keys and values; typed records.
//! Home: pure.
//!
//! Offsets are written in version 4, and in 1 where they expire at a time of their own, which
//! no other can say; groups in version 3, all else in its only one. All versions are read.
//!
//! Not here: the formats themselves (`crate::protocol::records`).
//! Source: Kafka 4.3's coordinator schemas; KIP-915.

use std::collections::{BTreeMap, BTreeSet};

use crate::group::assignor::Assignment;
use crate::group::classic::member::Protocol;
use crate::group::consumer::group::{GroupEpoch, TargetEpoch};
use crate::group::consumer::member::{
    ClassicMember, CurrentAssignment, Held, MemberMetadata, MemberState,
};
use crate::group::consumer::topics::ResolvedRegex;
use crate::group::ids::{GroupId, InstanceId, MemberId};
use crate::group::offsets::CommittedOffset;
use crate::group::record::{self, ConsumerRecord, GroupMetadata, OffsetKey, Record};
use crate::model::ids::{PartitionIndex, TopicId};
use crate::model::offset::{LeaderEpoch, Offset};
use crate::model::time::Timestamp;
use crate::protocol::primitives::EncodeError;
use crate::protocol::records::classic_group as classic;
use crate::protocol::records::consumer_group as consumer;
use crate::protocol::records::{
    Data, Encoded, GroupRecordKey, RecordError, decode_value, encode_value,
};

/// Version of offsets.
const OFFSET_VERSION: i16 = 4;
/// Version of offsets that expire at a time of their own.
const OFFSET_VERSION_EXPIRING: i16 = 1;
/// Version of classic groups.
const GROUP_VERSION: i16 = 3;

/// A record as bytes.
///
/// Errors: [`EncodeError`], our own mistake: names are checked when requests come.
pub fn encode(record: &Record) -> Result<Encoded, EncodeError> {
    match record {
        Record::OffsetCommit { key, value } => encode_offset(key, value.as_ref()),
        Record::GroupMetadata { group, value } => {
            let key = classic::GroupMetadataKey { group: group.to_string(), ..Default::default() };
            let value = value.as_ref().map(group_value);
            encoded(GroupRecordKey::GroupMetadata(key), value.as_ref(), GROUP_VERSION)
        }
        Record::Consumer { group, record } => encode_consumer(group.to_string(), record),
    }
}

fn encoded<V: Data>(
    key: GroupRecordKey,
    value: Option<&V>,
    version: i16,
) -> Result<Encoded, EncodeError> {
    let value = value.map(|value| encode_value(value, version)).transpose()?;
    Ok(Encoded { key: key.encode()?, value })
}

fn encode_offset(key: &OffsetKey, value: Option<&CommittedOffset>) -> Result<Encoded, EncodeError> {
    let key = classic::OffsetCommitKey {
        group: key.group.to_string(),
        topic: key.topic.to_string(),
        partition: key.partition.0,
        ..Default::default()
    };
    let version = match value {
        Some(value) if value.expire_timestamp != Timestamp::NONE => OFFSET_VERSION_EXPIRING,
        _ => OFFSET_VERSION,
    };
    let value = value.map(|value| classic::OffsetCommitValue {
        offset: value.offset.0,
        leader_epoch: value.leader_epoch.0,
        metadata: value.metadata.to_string(),
        commit_timestamp: value.commit_timestamp.0,
        expire_timestamp: value.expire_timestamp.0,
        topic_id: value.topic_id,
        ..Default::default()
    });
    encoded(GroupRecordKey::OffsetCommit(key), value.as_ref(), version)
}

fn group_value(value: &GroupMetadata) -> classic::GroupMetadataValue {
    let member = |member: &record::MemberMetadata| classic::MemberMetadata {
        member_id: member.id.to_string(),
        group_instance_id: member.instance.as_ref().map(InstanceId::to_string),
        client_id: member.client_id.to_string(),
        client_host: member.client_host.to_string(),
        rebalance_timeout: member.rebalance_timeout_ms,
        session_timeout: member.session_timeout_ms,
        subscription: member.subscription.clone(),
        assignment: member.assignment.clone(),
        ..Default::default()
    };
    classic::GroupMetadataValue {
        protocol_type: value.protocol_type.as_deref().unwrap_or("").to_owned(),
        generation: value.generation,
        protocol: value.protocol.as_deref().map(str::to_owned),
        leader: value.leader.as_ref().map(MemberId::to_string),
        current_state_timestamp: value.state_timestamp.0,
        members: value.members.iter().map(member).collect(),
        ..Default::default()
    }
}

fn encode_consumer(group_id: String, record: &ConsumerRecord) -> Result<Encoded, EncodeError> {
    match record {
        ConsumerRecord::Epoch(value) => {
            let key = consumer::ConsumerGroupMetadataKey { group_id, ..Default::default() };
            let value = value.map(|value| consumer::ConsumerGroupMetadataValue {
                epoch: value.epoch,
                metadata_hash: value.metadata_hash,
                ..Default::default()
            });
            encoded(GroupRecordKey::ConsumerGroupMetadata(key), value.as_ref(), 0)
        }
        ConsumerRecord::TargetEpoch(value) => {
            let key = consumer::ConsumerGroupTargetAssignmentMetadataKey {
                group_id,
                ..Default::default()
            };
            let value = value.map(|value| consumer::ConsumerGroupTargetAssignmentMetadataValue {
                assignment_epoch: value.epoch,
                assignment_timestamp: value.timestamp.0,
                ..Default::default()
            });
            encoded(GroupRecordKey::ConsumerGroupTargetAssignmentMetadata(key), value.as_ref(), 0)
        }
        ConsumerRecord::Member { member, value } => {
            encode_member(group_id, member.to_string(), value.as_ref())
        }
        ConsumerRecord::Target { member, value } => {
            encode_target(group_id, member.to_string(), value.as_ref())
        }
        ConsumerRecord::Current { member, value } => {
            encode_current(group_id, member.to_string(), value.as_ref())
        }
        ConsumerRecord::Regex { regex, value } => {
            let key = consumer::ConsumerGroupRegularExpressionKey {
                group_id,
                regular_expression: regex.to_string(),
                ..Default::default()
            };
            let value = value.as_ref().map(|value| consumer::ConsumerGroupRegularExpressionValue {
                topics: value.topics.iter().map(ToString::to_string).collect(),
                version: value.version,
                timestamp: value.timestamp,
                ..Default::default()
            });
            encoded(GroupRecordKey::ConsumerGroupRegularExpression(key), value.as_ref(), 0)
        }
    }
}

fn encode_member(
    group_id: String,
    member_id: String,
    value: Option<&MemberMetadata>,
) -> Result<Encoded, EncodeError> {
    let key =
        consumer::ConsumerGroupMemberMetadataKey { group_id, member_id, ..Default::default() };
    let classic = |member: &ClassicMember| consumer::ClassicMemberMetadata {
        session_timeout_ms: member.session_timeout_ms,
        supported_protocols: member
            .protocols
            .iter()
            .map(|protocol| consumer::ClassicProtocol {
                name: protocol.name.to_string(),
                metadata: protocol.metadata.clone(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let value = value.map(|value| consumer::ConsumerGroupMemberMetadataValue {
        instance_id: value.instance.as_ref().map(InstanceId::to_string),
        rack_id: value.rack.as_deref().map(str::to_owned),
        client_id: value.client_id.to_string(),
        client_host: value.client_host.to_string(),
        subscribed_topic_names: value.topics.iter().map(ToString::to_string).collect(),
        subscribed_topic_regex: value.regex.as_deref().map(str::to_owned),
        rebalance_timeout_ms: value.rebalance_timeout_ms,
        server_assignor: value.assignor.as_deref().map(str::to_owned),
        classic_member_metadata: value.classic.as_ref().map(classic),
        ..Default::default()
    });
    encoded(GroupRecordKey::ConsumerGroupMemberMetadata(key), value.as_ref(), 0)
}

fn encode_target(
    group_id: String,
    member_id: String,
    value: Option<&Assignment>,
) -> Result<Encoded, EncodeError> {
    let key = consumer::ConsumerGroupTargetAssignmentMemberKey {
        group_id,
        member_id,
        ..Default::default()
    };
    let value = value.map(|value| consumer::ConsumerGroupTargetAssignmentMemberValue {
        topic_partitions: value
            .iter()
            .map(|(topic, partitions)| consumer::TopicPartition {
                topic_id: *topic,
                partitions: partitions.iter().map(|index| index.0).collect(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    encoded(GroupRecordKey::ConsumerGroupTargetAssignmentMember(key), value.as_ref(), 0)
}

fn encode_current(
    group_id: String,
    member_id: String,
    value: Option<&CurrentAssignment>,
) -> Result<Encoded, EncodeError> {
    let key = consumer::ConsumerGroupCurrentMemberAssignmentKey {
        group_id,
        member_id,
        ..Default::default()
    };
    let held = |held: &Held| -> Vec<consumer::TopicPartitions> {
        held.iter()
            .map(|(topic, partitions)| consumer::TopicPartitions {
                topic_id: *topic,
                partitions: partitions.keys().map(|index| index.0).collect(),
                assignment_epochs: Some(partitions.values().copied().collect()),
                ..Default::default()
            })
            .collect()
    };
    let value = value.map(|value| consumer::ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: value.epoch,
        previous_member_epoch: value.previous_epoch,
        state: match value.state {
            MemberState::Stable => 0,
            MemberState::UnrevokedPartitions => 1,
            MemberState::UnreleasedPartitions => 2,
        },
        assigned_partitions: held(&value.assigned),
        partitions_pending_revocation: held(&value.revoking),
        ..Default::default()
    });
    encoded(GroupRecordKey::ConsumerGroupCurrentMemberAssignment(key), value.as_ref(), 0)
}

/// Reads a record; `None` if it says nothing any more (subscribed topics of Kafka before 4.1).
///
/// Errors: [`RecordError`]; a type that is not known is to be skipped by whoever loads.
pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Record>, RecordError> {
    let record = match GroupRecordKey::decode(key)? {
        GroupRecordKey::LegacyOffsetCommit(key) => {
            let key = offset_key(&key.group, &key.topic, key.partition);
            let value = read::<classic::LegacyOffsetCommitValue>(value)?;
            let value = value.map(|value| CommittedOffset {
                offset: Offset(value.offset),
                leader_epoch: LeaderEpoch::NONE,
                metadata: value.metadata.into(),
                commit_timestamp: Timestamp(value.commit_timestamp),
                expire_timestamp: Timestamp::NONE,
                topic_id: TopicId::ZERO,
            });
            Record::OffsetCommit { key, value }
        }
        GroupRecordKey::OffsetCommit(key) => {
            let key = offset_key(&key.group, &key.topic, key.partition);
            let value = read::<classic::OffsetCommitValue>(value)?.map(committed);
            Record::OffsetCommit { key, value }
        }
        GroupRecordKey::GroupMetadata(key) => {
            let group = GroupId::from(key.group.as_str());
            let value = read::<classic::GroupMetadataValue>(value)?.map(group_metadata);
            Record::GroupMetadata { group, value }
        }
        GroupRecordKey::ConsumerGroupPartitionMetadata(_) => return Ok(None),
        key => return decode_consumer(key, value).map(Some),
    };
    Ok(Some(record))
}

fn read<V: Data>(value: Option<&[u8]>) -> Result<Option<V>, RecordError> {
    value.map(decode_value).transpose()
}

fn offset_key(group: &str, topic: &str, partition: i32) -> OffsetKey {
    OffsetKey { group: group.into(), topic: topic.into(), partition: PartitionIndex(partition) }
}

fn committed(value: classic::OffsetCommitValue) -> CommittedOffset {
    CommittedOffset {
        offset: Offset(value.offset),
        leader_epoch: LeaderEpoch(value.leader_epoch),
        metadata: value.metadata.into(),
        commit_timestamp: Timestamp(value.commit_timestamp),
        expire_timestamp: Timestamp(value.expire_timestamp),
        topic_id: value.topic_id,
    }
}

fn group_metadata(value: classic::GroupMetadataValue) -> GroupMetadata {
    let member = |member: classic::MemberMetadata| record::MemberMetadata {
        id: member.member_id.as_str().into(),
        instance: member.group_instance_id.as_deref().map(InstanceId::from),
        client_id: member.client_id.into(),
        client_host: member.client_host.into(),
        // Old records do not have it: the session timeout stands for it, as it did then.
        rebalance_timeout_ms: match member.rebalance_timeout {
            -1 => member.session_timeout,
            said => said,
        },
        session_timeout_ms: member.session_timeout,
        subscription: member.subscription,
        assignment: member.assignment,
    };
    GroupMetadata {
        protocol_type: Some(value.protocol_type).filter(|kind| !kind.is_empty()).map(Into::into),
        generation: value.generation,
        protocol: value.protocol.map(Into::into),
        leader: value.leader.as_deref().map(MemberId::from),
        state_timestamp: Timestamp(value.current_state_timestamp),
        members: value.members.into_iter().map(member).collect(),
    }
}

fn decode_consumer(key: GroupRecordKey, value: Option<&[u8]>) -> Result<Record, RecordError> {
    let (group, record) = match key {
        GroupRecordKey::ConsumerGroupMetadata(key) => {
            let value = read::<consumer::ConsumerGroupMetadataValue>(value)?;
            let value = value
                .map(|value| GroupEpoch { epoch: value.epoch, metadata_hash: value.metadata_hash });
            (key.group_id, ConsumerRecord::Epoch(value))
        }
        GroupRecordKey::ConsumerGroupTargetAssignmentMetadata(key) => {
            let value = read::<consumer::ConsumerGroupTargetAssignmentMetadataValue>(value)?;
            let value = value.map(|value| TargetEpoch {
                epoch: value.assignment_epoch,
                timestamp: Timestamp(value.assignment_timestamp),
            });
            (key.group_id, ConsumerRecord::TargetEpoch(value))
        }
        GroupRecordKey::ConsumerGroupMemberMetadata(key) => {
            let value = read::<consumer::ConsumerGroupMemberMetadataValue>(value)?;
            let member = key.member_id.as_str().into();
            (key.group_id, ConsumerRecord::Member { member, value: value.map(member_metadata) })
        }
        GroupRecordKey::ConsumerGroupTargetAssignmentMember(key) => {
            let value = read::<consumer::ConsumerGroupTargetAssignmentMemberValue>(value)?;
            let member = key.member_id.as_str().into();
            (key.group_id, ConsumerRecord::Target { member, value: value.map(target) })
        }
        GroupRecordKey::ConsumerGroupCurrentMemberAssignment(key) => {
            let value = read::<consumer::ConsumerGroupCurrentMemberAssignmentValue>(value)?;
            let member = key.member_id.as_str().into();
            (key.group_id, ConsumerRecord::Current { member, value: value.map(current) })
        }
        GroupRecordKey::ConsumerGroupRegularExpression(key) => {
            let value = read::<consumer::ConsumerGroupRegularExpressionValue>(value)?;
            let value = value.map(|value| ResolvedRegex {
                topics: value.topics.into_iter().map(Into::into).collect(),
                version: value.version,
                timestamp: value.timestamp,
            });
            (key.group_id, ConsumerRecord::Regex { regex: key.regular_expression.into(), value })
        }
        GroupRecordKey::LegacyOffsetCommit(_)
        | GroupRecordKey::OffsetCommit(_)
        | GroupRecordKey::GroupMetadata(_)
        | GroupRecordKey::ConsumerGroupPartitionMetadata(_) => {
            unreachable!("the caller has dealt with these")
        }
    };
    Ok(Record::Consumer { group: group.as_str().into(), record })
}

fn member_metadata(value: consumer::ConsumerGroupMemberMetadataValue) -> MemberMetadata {
    let classic = |member: consumer::ClassicMemberMetadata| ClassicMember {
        session_timeout_ms: member.session_timeout_ms,
        protocols: member
            .supported_protocols
            .into_iter()
            .map(|known| Protocol { name: known.name.into(), metadata: known.metadata })
            .collect(),
    };
    MemberMetadata {
        instance: value.instance_id.as_deref().map(InstanceId::from),
        rack: value.rack_id.map(Into::into),
        client_id: value.client_id.into(),
        client_host: value.client_host.into(),
        topics: value.subscribed_topic_names.into_iter().map(Into::into).collect(),
        regex: value.subscribed_topic_regex.filter(|regex| !regex.is_empty()).map(Into::into),
        rebalance_timeout_ms: value.rebalance_timeout_ms,
        assignor: value.server_assignor.map(Into::into),
        classic: value.classic_member_metadata.map(classic),
    }
}

fn target(value: consumer::ConsumerGroupTargetAssignmentMemberValue) -> Assignment {
    let topics = value.topic_partitions.into_iter().map(|topic| {
        let partitions: BTreeSet<_> = topic.partitions.into_iter().map(PartitionIndex).collect();
        (topic.topic_id, partitions)
    });
    topics.collect()
}

fn current(value: consumer::ConsumerGroupCurrentMemberAssignmentValue) -> CurrentAssignment {
    let epoch = value.member_epoch;
    let held = |topics: Vec<consumer::TopicPartitions>| -> Held {
        let of = |topic: consumer::TopicPartitions| {
            // Kafka before 4.3 does not say since when: then it is since this epoch.
            let epochs = topic.assignment_epochs.unwrap_or_default();
            let epochs = epochs.into_iter().chain(std::iter::repeat(epoch));
            let partitions = topic.partitions.into_iter().map(PartitionIndex).zip(epochs);
            (topic.topic_id, partitions.collect::<BTreeMap<_, _>>())
        };
        topics.into_iter().map(of).collect()
    };
    CurrentAssignment {
        epoch,
        previous_epoch: value.previous_member_epoch,
        state: match value.state {
            0 => MemberState::Stable,
            1 => MemberState::UnrevokedPartitions,
            // A state that is not known here is left by the member's next heartbeat.
            _ => MemberState::UnreleasedPartitions,
        },
        assigned: held(value.assigned_partitions),
        revoking: held(value.partitions_pending_revocation),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::group::record::MemberMetadata;

    fn offset(expire: i64, topic_id: [u8; 16]) -> Record {
        let key = OffsetKey {
            group: GroupId::from("g"),
            topic: "orders".into(),
            partition: PartitionIndex(3),
        };
        let value = CommittedOffset {
            offset: Offset(42),
            leader_epoch: if expire < 0 { LeaderEpoch(7) } else { LeaderEpoch::NONE },
            metadata: "note".into(),
            commit_timestamp: Timestamp(1_000),
            expire_timestamp: Timestamp(expire),
            topic_id: TopicId(topic_id),
        };
        Record::OffsetCommit { key, value: Some(value) }
    }

    fn group() -> Record {
        let member = MemberMetadata {
            id: MemberId::from("c-1"),
            instance: Some(InstanceId::from("i-1")),
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            rebalance_timeout_ms: 300_000,
            session_timeout_ms: 45_000,
            subscription: Bytes::from_static(b"sub"),
            assignment: Bytes::from_static(b"assigned"),
        };
        let value = GroupMetadata {
            protocol_type: Some("consumer".into()),
            generation: 5,
            protocol: Some("range".into()),
            leader: Some(MemberId::from("c-1")),
            state_timestamp: Timestamp(9),
            members: vec![member],
        };
        Record::GroupMetadata { group: GroupId::from("g"), value: Some(value) }
    }

    #[test]
    fn every_record_comes_back() {
        let tombstone = match offset(-1, [0; 16]) {
            Record::OffsetCommit { key, .. } => Record::OffsetCommit { key, value: None },
            other => other,
        };
        let gone = Record::GroupMetadata { group: GroupId::from("g"), value: None };
        for record in
            [offset(-1, [0; 16]), offset(5, [0; 16]), offset(-1, [9; 16]), group(), tombstone, gone]
        {
            let Encoded { key, value } = encode(&record).expect("it fits");
            assert_eq!(decode(&key, value.as_deref()), Ok(Some(record)));
        }
    }

    #[test]
    fn an_offset_has_the_bytes_that_kafka_writes() {
        let Encoded { key, value } = encode(&offset(-1, [0; 16])).expect("it fits");
        assert_eq!(&*key, b"\0\x01\0\x01g\0\x06orders\0\0\0\x03");
        let expected = b"\0\x04\0\0\0\0\0\0\0\x2a\0\0\0\x07\x05note\0\0\0\0\0\0\x03\xe8\0";
        assert_eq!(&*value.unwrap(), expected);
    }

    #[test]
    fn unknown_and_cut_records_are_errors() {
        let Encoded { key, value } = encode(&group()).expect("it fits");
        let value = value.unwrap();
        let unknown = RecordError::UnknownType { record_type: 0x63 };
        assert_eq!(decode(b"\0\x63", Some(&value)), Err(unknown));
        for cut in 0..value.len() {
            assert!(decode(&key, Some(&value[..cut])).is_err());
        }
    }
}
