//! Records of `__consumer_offsets` as Kafka writes and reads them.
//!
//! In:   the core's records; keys and values from a log.
//! Out:  the same the other way round. What is not understood is skipped, as Kafka skips it.
//! Home: pure.
//!
//! A key begins with its type (i16): 0 and 1 an offset, 2 a classic group. A value begins with
//! its version: an offset is written in version 3 (1 where it says when it expires, 4 where it
//! has a topic id), a group in version 3; versions 0 to 4 of both are read.
//!
//! Source: Kafka 4.3 `OffsetCommitKey/Value`, `GroupMetadataKey/Value`.

use bytes::Bytes;

use crate::group::ids::{GroupId, InstanceId, MemberId};
use crate::group::offsets::CommittedOffset;
use crate::group::record::{GroupMetadata, MemberMetadata, OffsetKey, Record};
use crate::model::ids::{PartitionIndex, TopicId};
use crate::model::offset::{LeaderEpoch, Offset};
use crate::model::time::Timestamp;
use crate::protocol::primitives::{DecodeError, EncodeError, Reader, Writer};

const OFFSET_KEY_OLD: i16 = 0;
const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;

const GROUP_VALUE_VERSION: i16 = 3;
/// First version with a compact encoding and tagged fields.
const FLEXIBLE_VERSION: i16 = 4;
/// Tag of an offset's topic id.
const TOPIC_ID_TAG: u32 = 0;

/// Key and value of a record; no value: a tombstone.
pub(super) fn encode(record: &Record) -> (Vec<u8>, Option<Vec<u8>>) {
    let encoded = match record {
        Record::OffsetCommit { key, value } => {
            (offset_key(key), value.as_ref().map(offset_value).transpose())
        }
        Record::GroupMetadata { group, value } => {
            (group_key(group), value.as_ref().map(group_value).transpose())
        }
    };
    let fits = "the core bounds its records";
    (encoded.0.expect(fits), encoded.1.expect(fits))
}

/// The record of a key and a value; `None`: of a type or version that is not understood.
pub(super) fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Option<Record> {
    let mut key = Reader::new(key?);
    let read = match key.read_i16().ok()? {
        OFFSET_KEY_OLD | OFFSET_KEY => read_offset(&mut key, value),
        GROUP_KEY => read_group(&mut key, value),
        _ => return None,
    };
    read.ok()
}

fn offset_key(key: &OffsetKey) -> Result<Vec<u8>, EncodeError> {
    let mut out = Writer::new();
    out.write_i16(OFFSET_KEY);
    out.write_string(key.group.as_str(), false)?;
    out.write_string(&key.topic, false)?;
    out.write_i32(key.partition.0);
    Ok(out.into_buffer().to_vec())
}

fn offset_value(value: &CommittedOffset) -> Result<Vec<u8>, EncodeError> {
    let mut out = Writer::new();
    let expires = value.expire_timestamp != Timestamp::NONE;
    let has_id = value.topic_id != TopicId::ZERO && !expires;
    let version = if expires {
        1
    } else if has_id {
        FLEXIBLE_VERSION
    } else {
        3
    };
    let flexible = version >= FLEXIBLE_VERSION;
    out.write_i16(version);
    out.write_i64(value.offset.0);
    if version >= 3 {
        out.write_i32(value.leader_epoch.0);
    }
    out.write_string(&value.metadata, flexible)?;
    out.write_i64(value.commit_timestamp.0);
    if version == 1 {
        out.write_i64(value.expire_timestamp.0);
    }
    if flexible {
        out.write_unsigned_varint(1);
        out.write_unsigned_varint(TOPIC_ID_TAG);
        out.write_unsigned_varint(16);
        out.write_raw(&value.topic_id.0);
    }
    Ok(out.into_buffer().to_vec())
}

fn read_offset(key: &mut Reader<'_>, value: Option<&[u8]>) -> Result<Record, DecodeError> {
    let group = GroupId::from(key.read_string(false)?.as_str());
    let topic = key.read_string(false)?.as_str().into();
    let partition = PartitionIndex(key.read_i32()?);
    let value = value.map(read_offset_value).transpose()?;
    Ok(Record::OffsetCommit { key: OffsetKey { group, topic, partition }, value })
}

fn read_offset_value(value: &[u8]) -> Result<CommittedOffset, DecodeError> {
    let mut value = Reader::new(value);
    let version = value.read_i16()?;
    let flexible = version >= FLEXIBLE_VERSION;
    let offset = Offset(value.read_i64()?);
    let leader_epoch = match version >= 3 {
        true => LeaderEpoch(value.read_i32()?),
        false => LeaderEpoch::NONE,
    };
    let metadata = value.read_string(flexible)?.into();
    let commit_timestamp = Timestamp(value.read_i64()?);
    let expire_timestamp = match version == 1 {
        true => Timestamp(value.read_i64()?),
        false => Timestamp::NONE,
    };
    let mut topic_id = TopicId::ZERO;
    if flexible {
        for _ in 0..value.read_unsigned_varint()? {
            let tag = value.read_unsigned_varint()?;
            let size = usize::try_from(value.read_unsigned_varint()?).expect("32 bits fit");
            let field = value.take(size)?;
            if let (TOPIC_ID_TAG, Ok(id)) = (tag, field.try_into()) {
                topic_id = TopicId(id);
            }
        }
    }
    Ok(CommittedOffset {
        offset,
        leader_epoch,
        metadata,
        commit_timestamp,
        expire_timestamp,
        topic_id,
    })
}

fn group_key(group: &GroupId) -> Result<Vec<u8>, EncodeError> {
    let mut out = Writer::new();
    out.write_i16(GROUP_KEY);
    out.write_string(group.as_str(), false)?;
    Ok(out.into_buffer().to_vec())
}

fn group_value(value: &GroupMetadata) -> Result<Vec<u8>, EncodeError> {
    let mut out = Writer::new();
    out.write_i16(GROUP_VALUE_VERSION);
    out.write_string(value.protocol_type.as_deref().unwrap_or_default(), false)?;
    out.write_i32(value.generation);
    out.write_nullable_string(value.protocol.as_deref(), false)?;
    out.write_nullable_string(value.leader.as_ref().map(MemberId::as_str), false)?;
    out.write_i64(value.state_timestamp.0);
    let count = value.members.len();
    out.write_i32(i32::try_from(count).map_err(|_| EncodeError::StringTooLong { bytes: count })?);
    for member in &value.members {
        out.write_string(member.id.as_str(), false)?;
        out.write_nullable_string(member.instance.as_ref().map(InstanceId::as_str), false)?;
        out.write_string(&member.client_id, false)?;
        out.write_string(&member.client_host, false)?;
        out.write_i32(member.rebalance_timeout_ms);
        out.write_i32(member.session_timeout_ms);
        out.write_nullable_bytes(Some(&member.subscription), false)?;
        out.write_nullable_bytes(Some(&member.assignment), false)?;
    }
    Ok(out.into_buffer().to_vec())
}

fn read_group(key: &mut Reader<'_>, value: Option<&[u8]>) -> Result<Record, DecodeError> {
    let group = GroupId::from(key.read_string(false)?.as_str());
    let value = value.map(read_group_value).transpose()?;
    Ok(Record::GroupMetadata { group, value })
}

fn read_group_value(value: &[u8]) -> Result<GroupMetadata, DecodeError> {
    let mut value = Reader::new(value);
    let version = value.read_i16()?;
    let flexible = version >= FLEXIBLE_VERSION;
    let protocol_type = value.read_string(flexible)?;
    let generation = value.read_i32()?;
    let protocol = value.read_nullable_string(flexible)?;
    let leader = value.read_nullable_string(flexible)?;
    let state_timestamp = match version >= 2 {
        true => Timestamp(value.read_i64()?),
        false => Timestamp::NONE,
    };
    let mut members = Vec::new();
    for _ in 0..value.read_array_length(flexible)?.unwrap_or(0) {
        members.push(read_member(&mut value, version)?);
    }
    Ok(GroupMetadata {
        protocol_type: (!protocol_type.is_empty()).then(|| protocol_type.into()),
        generation,
        protocol: protocol.map(Into::into),
        leader: leader.map(|id| MemberId::from(id.as_str())),
        state_timestamp,
        members,
    })
}

fn read_member(value: &mut Reader<'_>, version: i16) -> Result<MemberMetadata, DecodeError> {
    let flexible = version >= FLEXIBLE_VERSION;
    let id = MemberId::from(value.read_string(flexible)?.as_str());
    let instance = match version >= 3 {
        true => value.read_nullable_string(flexible)?,
        false => None,
    };
    let client_id = value.read_string(flexible)?.into();
    let client_host = value.read_string(flexible)?.into();
    let rebalance_timeout_ms = if version >= 1 { Some(value.read_i32()?) } else { None };
    let session_timeout_ms = value.read_i32()?;
    let bytes = |value: &mut Reader<'_>| -> Result<Bytes, DecodeError> {
        Ok(value.read_nullable_bytes(flexible)?.unwrap_or_default())
    };
    let subscription = bytes(value)?;
    let assignment = bytes(value)?;
    if flexible {
        value.skip_tagged_fields()?;
    }
    Ok(MemberMetadata {
        id,
        instance: instance.map(|id| InstanceId::from(id.as_str())),
        client_id,
        client_host,
        rebalance_timeout_ms: rebalance_timeout_ms.unwrap_or(session_timeout_ms),
        session_timeout_ms,
        subscription,
        assignment,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let (key, value) = encode(&record);
            assert_eq!(decode(Some(&key), value.as_deref()), Some(record));
        }
    }

    #[test]
    fn an_offset_has_the_bytes_that_kafka_writes() {
        let (key, value) = encode(&offset(-1, [0; 16]));
        assert_eq!(key, *b"\0\x01\0\x01g\0\x06orders\0\0\0\x03");
        let expected = b"\0\x03\0\0\0\0\0\0\0\x2a\0\0\0\x07\0\x04note\0\0\0\0\0\0\x03\xe8";
        assert_eq!(value.unwrap(), *expected);
    }

    #[test]
    fn unknown_and_cut_records_are_skipped() {
        let (key, value) = encode(&group());
        let value = value.unwrap();
        assert_eq!(decode(Some(b"\0\x63"), Some(&value)), None);
        assert_eq!(decode(None, Some(&value)), None);
        for cut in 0..value.len() {
            assert_eq!(decode(Some(&key), Some(&value[..cut])), None);
        }
    }
}
