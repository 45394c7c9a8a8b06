//! Produce: records on their way in, split out of the frame without copying.
//!
//! In:   a body as `BytesMut`, with its header taken off.
//! Out:  [`ProduceRequest`], whose partitions own their records' bytes; [`ProduceResponse`].
//! Home: pure.
//!
//! Cost of decoding a request: one pass over what is not records; one allocation for the list of where
//! records lie, one a topic for its name and one for its partitions; none a record, no byte of records
//! read or copied. All partitions share the frame's one allocation.
//!
//! Unknown tagged fields are kept at the top and forgotten below it: nobody forwards a produce request.
//! Version 9 is flexible, 10 adds leader hints (KIP-951), 12 is for transactions of the second kind
//! (KIP-890), 13 names topics by id (KIP-516).
//!
//! Source: Kafka's ProduceRequest and ProduceResponse schemas, 4.3.

use std::ops::{Range, RangeInclusive};

use bytes::{Buf as _, BytesMut};

use crate::model::ids::TopicId;
use crate::protocol::api::ApiKey;
use crate::protocol::message::{self, Message, Request, message};
use crate::protocol::primitives::{DecodeError, EncodeError, RawTaggedField, Reader, Writer};
use crate::protocol::wire::Layout;

/// The first version that names topics by id.
const TOPIC_IDS_FROM: i16 = 13;

/// Records for some partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProduceRequest {
    /// The producer's transactional id, if it is transactional.
    pub transactional_id: Option<String>,
    /// 0: no answer wanted; 1: once the leader has it; -1: once every replica in sync has it.
    pub acks: i16,
    /// How long to wait for the replicas, in milliseconds.
    pub timeout_ms: i32,
    /// The topics.
    pub topics: Vec<TopicProduceData>,
    /// Tagged fields that are not known here, as they came.
    pub unknown_tagged_fields: Vec<RawTaggedField>,
}

/// Records for some partitions of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicProduceData {
    /// The topic's name; empty from version 13 on.
    pub name: String,
    /// The topic's id; zero before version 13.
    pub topic_id: TopicId,
    /// The partitions.
    pub partitions: Vec<PartitionProduceData>,
}

/// Records for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionProduceData {
    /// The partition's index, as it came.
    pub index: i32,
    /// The record batches, unread; a handle on its part of the frame that may be written to.
    pub records: Option<BytesMut>,
}

impl ProduceRequest {
    /// Takes a body apart; each partition's records are cut out of `body` without copying.
    /// Bytes after the body are ignored. Errors: [`DecodeError`], the client's doing.
    pub fn decode_split(mut body: BytesMut, version: i16) -> Result<ProduceRequest, DecodeError> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let mut reader = Reader::new(&body);
        let mut request = parse(&mut reader, version, |reader, length| {
            let start = reader.position();
            reader.take(length)?;
            reader.charge(size_of::<Range<usize>>())?;
            ranges.push(start..reader.position());
            Ok(BytesMut::new())
        })?;
        let mut ranges = ranges.into_iter();
        let mut cut = 0;
        for partition in request.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            let Some(records) = &mut partition.records else { continue };
            let range = ranges.next().expect("a range was noted for each records field");
            assert!(cut <= range.start, "ranges come in the order of the partitions");
            body.advance(range.start - cut);
            *records = body.split_to(range.len());
            cut = range.end;
        }
        Ok(request)
    }
}

/// Reads all but the records, which `take` is asked for with their length.
fn parse(
    reader: &mut Reader<'_>,
    version: i16,
    mut take: impl FnMut(&mut Reader<'_>, usize) -> Result<BytesMut, DecodeError>,
) -> Result<ProduceRequest, DecodeError> {
    let layout = message::layout::<ProduceRequest>(version)
        .ok_or(DecodeError::UnsupportedVersion { version })?;
    let mut request = ProduceRequest {
        transactional_id: reader.read_nullable_string(layout.flexible)?,
        acks: reader.read_i16()?,
        timeout_ms: reader.read_i32()?,
        ..ProduceRequest::default()
    };
    for _ in 0..array_length(reader, layout)? {
        reader.charge(size_of::<TopicProduceData>())?;
        request.topics.push(parse_topic(reader, layout, &mut take)?);
    }
    if layout.flexible {
        request.unknown_tagged_fields = reader.read_tagged_fields(|_, _| Ok(false))?;
    }
    Ok(request)
}

fn parse_topic(
    reader: &mut Reader<'_>,
    layout: Layout,
    take: &mut impl FnMut(&mut Reader<'_>, usize) -> Result<BytesMut, DecodeError>,
) -> Result<TopicProduceData, DecodeError> {
    let (name, topic_id) = if layout.version < TOPIC_IDS_FROM {
        (reader.read_string(layout.flexible)?, TopicId::ZERO)
    } else {
        (String::new(), TopicId(reader.read_uuid()?))
    };
    let mut topic = TopicProduceData { name, topic_id, partitions: Vec::new() };
    for _ in 0..array_length(reader, layout)? {
        reader.charge(size_of::<PartitionProduceData>())?;
        let index = reader.read_i32()?;
        let records = match reader.read_length(layout.flexible)? {
            Some(length) => Some(take(reader, length)?),
            None => None,
        };
        if layout.flexible {
            reader.skip_tagged_fields()?;
        }
        topic.partitions.push(PartitionProduceData { index, records });
    }
    if layout.flexible {
        reader.skip_tagged_fields()?;
    }
    Ok(topic)
}

fn array_length(reader: &mut Reader<'_>, layout: Layout) -> Result<usize, DecodeError> {
    reader.read_array_length(layout.flexible)?.ok_or(DecodeError::UnexpectedNull)
}

impl Message for ProduceRequest {
    const KEY: ApiKey = ApiKey::Produce;
    const VERSIONS: RangeInclusive<i16> = 3..=13;

    fn is_flexible(version: i16) -> bool {
        Self::KEY.is_flexible(version)
    }

    /// Copies the records; a broker uses [`ProduceRequest::decode_split`].
    fn decode(reader: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        parse(reader, version, |reader, length| {
            let records = reader.take(length)?;
            reader.charge(length)?;
            Ok(BytesMut::from(records))
        })
    }

    fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {
        let layout = message::layout::<ProduceRequest>(version)
            .ok_or(EncodeError::UnsupportedVersion { version })?;
        writer.write_nullable_string(self.transactional_id.as_deref(), layout.flexible)?;
        writer.write_i16(self.acks);
        writer.write_i32(self.timeout_ms);
        writer.write_length(Some(self.topics.len()), layout.flexible)?;
        for topic in &self.topics {
            write_topic(topic, writer, layout)?;
        }
        if layout.flexible {
            writer.write_tagged_fields(Vec::new(), &self.unknown_tagged_fields)?;
        }
        Ok(())
    }
}

impl Request for ProduceRequest {
    type Response = ProduceResponse;
}

fn write_topic(
    topic: &TopicProduceData,
    writer: &mut Writer,
    layout: Layout,
) -> Result<(), EncodeError> {
    if layout.version < TOPIC_IDS_FROM {
        writer.write_string(&topic.name, layout.flexible)?;
    } else {
        writer.write_raw(&topic.topic_id.0);
    }
    writer.write_length(Some(topic.partitions.len()), layout.flexible)?;
    for partition in &topic.partitions {
        writer.write_i32(partition.index);
        writer.write_nullable_bytes(partition.records.as_deref(), layout.flexible)?;
        if layout.flexible {
            writer.write_tagged_fields(Vec::new(), &[])?;
        }
    }
    if layout.flexible {
        writer.write_tagged_fields(Vec::new(), &[])?;
    }
    Ok(())
}

message! {
    api Produce, versions 3..=13, flexible 9..;

    /// What became of the records.
    response ProduceResponse {
        /// The topics.
        responses: Vec<TopicProduceResponse>, strict 0..;
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, ignorable 1..;
        /// Where the leaders named below can be reached.
        node_endpoints: Vec<NodeEndpoint>, strict 10.., tag 0;
    }

    /// What became of the records of one topic.
    struct TopicProduceResponse {
        /// The topic's name.
        name: String, ignorable 0..=12;
        /// The topic's id.
        topic_id: TopicId, ignorable 13..;
        /// The partitions.
        partition_responses: Vec<PartitionProduceResponse>, strict 0..;
    }

    /// What became of the records of one partition.
    struct PartitionProduceResponse {
        /// The partition's index.
        index: i32, strict 0..;
        /// 0, or why the records were refused.
        error_code: i16, strict 0..;
        /// Offset of the first record; -1 if refused.
        base_offset: i64, strict 0..;
        /// When the broker stamped the records, in milliseconds since 1970; -1 if it did not.
        log_append_time_ms: i64 = -1, ignorable 2..;
        /// First offset of the partition; -1 if not known.
        log_start_offset: i64 = -1, ignorable 5..;
        /// The records because of which the batch was refused.
        record_errors: Vec<BatchIndexAndErrorMessage>, ignorable 8..;
        /// Why the records were refused, in words.
        error_message: Option<String> = None, ignorable 8..;
        /// The leader to turn to, if this broker is not it.
        current_leader: LeaderIdAndEpoch, strict 10.., tag 0;
    }

    /// A record because of which a batch was refused.
    struct BatchIndexAndErrorMessage {
        /// Index of the record within its batch.
        batch_index: i32, strict 8..;
        /// What is wrong with it.
        batch_index_error_message: Option<String> = None, strict 8..;
    }

    /// A partition's leader.
    struct LeaderIdAndEpoch {
        /// The leader's broker id; -1 if not known.
        leader_id: i32 = -1, strict 10..;
        /// The leader's epoch; -1 if not known.
        leader_epoch: i32 = -1, strict 10..;
    }

    /// Where a broker can be reached.
    struct NodeEndpoint {
        /// The broker's id.
        node_id: i32, strict 10..;
        /// Its host, on the listener of this connection.
        host: String, strict 10..;
        /// Its port.
        port: i32, strict 10..;
        /// Its rack.
        rack: Option<String> = None, strict 10..;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> ProduceRequest {
        let partition = |index, records: Option<&[u8]>| PartitionProduceData {
            index,
            records: records.map(BytesMut::from),
        };
        ProduceRequest {
            transactional_id: None,
            acks: -1,
            timeout_ms: 30_000,
            topics: vec![
                TopicProduceData {
                    name: "a".to_owned(),
                    topic_id: TopicId::ZERO,
                    partitions: vec![
                        partition(0, Some(b"first")),
                        partition(7, None),
                        partition(2, Some(b"")),
                    ],
                },
                TopicProduceData {
                    name: "b".to_owned(),
                    topic_id: TopicId::ZERO,
                    partitions: vec![partition(1, Some(b"second"))],
                },
            ],
            unknown_tagged_fields: Vec::new(),
        }
    }

    fn encoded(version: i16) -> BytesMut {
        let mut writer = Writer::new();
        request().encode(&mut writer, version).unwrap();
        writer.into_buffer()
    }

    #[test]
    fn records_are_cut_out_of_the_frame_without_copying() {
        for version in 3..TOPIC_IDS_FROM {
            let mut body = encoded(version);
            body.extend_from_slice(b"and more");
            let frame = body.as_ptr_range();
            let decoded = ProduceRequest::decode_split(body, version).unwrap();
            assert_eq!(decoded, request());
            for topic in &decoded.topics {
                for records in topic.partitions.iter().filter_map(|one| one.records.as_ref()) {
                    assert!(records.is_empty() || frame.contains(&records.as_ptr()));
                }
            }
        }
    }

    #[test]
    fn any_truncation_is_refused() {
        for version in [3, 9, 13] {
            let whole = encoded(version);
            for length in 0..whole.len() {
                let cut = BytesMut::from(&whole[..length]);
                let error = ProduceRequest::decode_split(cut, version).unwrap_err();
                assert!(
                    matches!(
                        error,
                        DecodeError::Truncated { .. } | DecodeError::TooManyElements { .. }
                    ),
                    "version {version}, {length} bytes: {error}"
                );
            }
        }
    }

    /// The request that aborts a decoder which believes the count of an array.
    #[test]
    fn a_huge_array_in_a_tiny_request_is_refused() {
        let mut body = BytesMut::new();
        body.extend_from_slice(&[0xff, 0xff, 0, 1, 0, 0, 0, 10]);
        body.extend_from_slice(&i32::MAX.to_be_bytes());
        let error = ProduceRequest::decode_split(body, 3).unwrap_err();
        assert_eq!(error, DecodeError::TooManyElements { count: 0x7fff_ffff, remaining: 0 });
    }
}
