//! Fetch: records on their way out, as pieces that need not be in memory.
//!
//! In:   [`FetchResponse`] over any type of record slice that knows its length.
//! Out:  a list of [`Piece`]s: bytes of the message, and record slices untouched between them.
//! Home: pure.
//!
//! Cost of encoding a response: one buffer for everything that is not records, shared by its pieces;
//! no record byte is read or copied. A client decodes into slices of the frame it received.
//!
//! Unknown tagged fields are kept at the top and forgotten inside topics and partitions of a response.
//! Version 7 adds sessions (KIP-227), 9 leader epochs (KIP-320), 11 racks (KIP-392), 12 is flexible and
//! adds hints for truncation and leaders (KIP-595), 13 names topics by id (KIP-516), 15 moves the
//! replica's id into a tag (KIP-903), 16 adds endpoints (KIP-951), 17 directories (KIP-853), 18 the
//! replica's high watermark (KIP-1166).
//!
//! Source: Kafka's FetchRequest and FetchResponse schemas, 4.3.

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::model::ids::TopicId;
use crate::protocol::api::ApiKey;
use crate::protocol::frame;
use crate::protocol::header::ResponseHeader;
use crate::protocol::message::{self, Message, Request, message};
use crate::protocol::primitives::{DecodeError, EncodeError, RawTaggedField, Reader, Writer};
use crate::protocol::wire::{Layout, Wire, tagged};

/// The first version that names topics by id.
const TOPIC_IDS_FROM: i16 = 13;

/// A slice of records, in memory or in a file.
pub trait RecordsLength {
    /// Bytes it has on the wire.
    fn records_bytes(&self) -> usize;
}

impl RecordsLength for Bytes {
    fn records_bytes(&self) -> usize {
        self.len()
    }
}

/// A part of an encoded response, to be sent in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<R> {
    /// Bytes of the message; never empty.
    Bytes(Bytes),
    /// Records, as they were given.
    Records(R),
}

/// Records of some partitions, or why there are none.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchResponse<R> {
    /// How long the client was throttled, in milliseconds.
    pub throttle_time_ms: i32,
    /// 0, or why there is no answer; dropped before version 7.
    pub error_code: i16,
    /// The fetch session, or 0; must be 0 before version 7.
    pub session_id: i32,
    /// The topics.
    pub responses: Vec<FetchableTopicResponse<R>>,
    /// Where the leaders named below can be reached; must be empty before version 16.
    pub node_endpoints: Vec<NodeEndpoint>,
    /// Tagged fields that are not known here, as they came.
    pub unknown_tagged_fields: Vec<RawTaggedField>,
}

/// Records of some partitions of a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchableTopicResponse<R> {
    /// The topic's name; not sent from version 13 on.
    pub topic: String,
    /// The topic's id; not sent before version 13.
    pub topic_id: TopicId,
    /// The partitions.
    pub partitions: Vec<PartitionData<R>>,
}

/// Records of one partition.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionData<R> {
    /// The partition's index.
    pub partition_index: i32,
    /// 0, or why there are no records.
    pub error_code: i16,
    /// The high watermark; -1 if not known.
    pub high_watermark: i64,
    /// The last stable offset; -1 if not known.
    pub last_stable_offset: i64,
    /// First offset of the partition, from version 5 on; -1 if not known.
    pub log_start_offset: i64,
    /// Where the fetcher's history parts from this one; version 12 on, for replicas.
    pub diverging_epoch: EpochEndOffset,
    /// The leader to turn to, if this broker is not it; version 12 on.
    pub current_leader: LeaderIdAndEpoch,
    /// The snapshot to fetch instead; version 12 on, for the metadata log.
    pub snapshot_id: SnapshotId,
    /// Aborted transactions among the records; `None` unless asked for committed records only.
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// A replica nearer to the client, from version 11 on; -1 if there is none.
    pub preferred_read_replica: i32,
    /// The records, in slices that follow each other; `None` is null on the wire.
    pub records: Option<Vec<R>>,
}

impl<R> Default for FetchResponse<R> {
    fn default() -> Self {
        FetchResponse {
            throttle_time_ms: 0,
            error_code: 0,
            session_id: 0,
            responses: Vec::new(),
            node_endpoints: Vec::new(),
            unknown_tagged_fields: Vec::new(),
        }
    }
}

impl<R> Default for FetchableTopicResponse<R> {
    fn default() -> Self {
        FetchableTopicResponse {
            topic: String::new(),
            topic_id: TopicId::ZERO,
            partitions: Vec::new(),
        }
    }
}

impl<R> Default for PartitionData<R> {
    fn default() -> Self {
        PartitionData {
            partition_index: 0,
            error_code: 0,
            high_watermark: 0,
            last_stable_offset: -1,
            log_start_offset: -1,
            diverging_epoch: EpochEndOffset::default(),
            current_leader: LeaderIdAndEpoch::default(),
            snapshot_id: SnapshotId::default(),
            aborted_transactions: Some(Vec::new()),
            preferred_read_replica: -1,
            records: Some(Vec::new()),
        }
    }
}

impl<R: RecordsLength> FetchResponse<R> {
    /// Encodes a whole frame, length prefix and header included, as pieces appended to `out`.
    /// Gives the bytes of all of them.
    /// Errors: our own mistake, or a frame above 2^31 - 1 bytes; `out` is unchanged then.
    pub fn encode_frame(
        self,
        correlation_id: i32,
        version: i16,
        out: &mut Vec<Piece<R>>,
    ) -> Result<usize, EncodeError> {
        let mut writer = frame::begin();
        ResponseHeader::answering(correlation_id).encode(&mut writer, ApiKey::Fetch, version)?;
        // After which byte of the message each partition's records come.
        let mut cuts: Vec<usize> = Vec::new();
        let mut records_total = 0;
        self.write_body(&mut writer, version, |writer, records| {
            cuts.push(writer.written().len());
            records_total += records.iter().map(R::records_bytes).sum::<usize>();
        })?;
        let total = writer.written().len() + records_total;
        let length = total - frame::LENGTH_PREFIX_BYTES;
        let fits = i32::try_from(length).map_err(|_| EncodeError::TooLarge { length })?;
        writer.patch_i32(0, fits);

        let mut message = writer.into_buffer().freeze();
        let mut cuts = cuts.into_iter();
        let mut position = 0;
        let partitions = self.responses.into_iter().flat_map(|topic| topic.partitions);
        for records in partitions.filter_map(|partition| partition.records) {
            let cut = cuts.next().expect("a cut was noted for each records field");
            if records.is_empty() {
                continue;
            }
            if cut > position {
                out.push(Piece::Bytes(message.split_to(cut - position)));
                position = cut;
            }
            out.extend(records.into_iter().map(Piece::Records));
        }
        if !message.is_empty() {
            out.push(Piece::Bytes(message));
        }
        Ok(total)
    }

    /// Writes the body; `records` is called where a partition's records, not null, belong.
    fn write_body(
        &self,
        writer: &mut Writer,
        version: i16,
        mut records: impl FnMut(&mut Writer, &[R]),
    ) -> Result<(), EncodeError> {
        let flexible = ApiKey::Fetch.is_flexible(version);
        let layout = Layout { version, flexible };
        let missing = |field| Err(EncodeError::FieldNotInVersion { field, version });
        writer.write_i32(self.throttle_time_ms);
        if version >= 7 {
            writer.write_i16(self.error_code);
            writer.write_i32(self.session_id);
        } else if self.session_id != 0 {
            return missing("session_id");
        }
        writer.write_length(Some(self.responses.len()), flexible)?;
        for topic in &self.responses {
            topic.write(writer, layout, &mut records)?;
        }
        let mut known = Vec::new();
        if !self.node_endpoints.is_empty() {
            if version < 16 {
                return missing("node_endpoints");
            }
            known.push(tagged(0, &self.node_endpoints, layout)?);
        }
        if flexible {
            writer.write_tagged_fields(known, &self.unknown_tagged_fields)?;
        }
        Ok(())
    }
}

impl<R: RecordsLength> FetchableTopicResponse<R> {
    fn write(
        &self,
        writer: &mut Writer,
        layout: Layout,
        records: &mut impl FnMut(&mut Writer, &[R]),
    ) -> Result<(), EncodeError> {
        if layout.version < TOPIC_IDS_FROM {
            writer.write_string(&self.topic, layout.flexible)?;
        } else {
            writer.write_raw(&self.topic_id.0);
        }
        writer.write_length(Some(self.partitions.len()), layout.flexible)?;
        for partition in &self.partitions {
            partition.write(writer, layout, records)?;
        }
        if layout.flexible {
            writer.write_tagged_fields(Vec::new(), &[])?;
        }
        Ok(())
    }
}

impl<R: RecordsLength> PartitionData<R> {
    fn write(
        &self,
        writer: &mut Writer,
        layout: Layout,
        records: &mut impl FnMut(&mut Writer, &[R]),
    ) -> Result<(), EncodeError> {
        writer.write_i32(self.partition_index);
        writer.write_i16(self.error_code);
        writer.write_i64(self.high_watermark);
        writer.write_i64(self.last_stable_offset);
        if layout.version >= 5 {
            writer.write_i64(self.log_start_offset);
        }
        self.aborted_transactions.write(writer, layout)?;
        if layout.version >= 11 {
            writer.write_i32(self.preferred_read_replica);
        } else if self.preferred_read_replica != -1 {
            let field = "preferred_read_replica";
            return Err(EncodeError::FieldNotInVersion { field, version: layout.version });
        }
        let length = |records: &Vec<R>| records.iter().map(R::records_bytes).sum();
        writer.write_length(self.records.as_ref().map(length), layout.flexible)?;
        if let Some(slices) = &self.records {
            records(writer, slices);
        }
        self.write_tags(writer, layout)
    }

    fn write_tags(&self, writer: &mut Writer, layout: Layout) -> Result<(), EncodeError> {
        let mut known = Vec::new();
        let missing =
            |field| Err(EncodeError::FieldNotInVersion { field, version: layout.version });
        if self.diverging_epoch != EpochEndOffset::default() {
            if !layout.flexible {
                return missing("diverging_epoch");
            }
            known.push(tagged(0, &self.diverging_epoch, layout)?);
        }
        if self.current_leader != LeaderIdAndEpoch::default() {
            if !layout.flexible {
                return missing("current_leader");
            }
            known.push(tagged(1, &self.current_leader, layout)?);
        }
        if self.snapshot_id != SnapshotId::default() {
            if !layout.flexible {
                return missing("snapshot_id");
            }
            known.push(tagged(2, &self.snapshot_id, layout)?);
        }
        if layout.flexible {
            writer.write_tagged_fields(known, &[])?;
        }
        Ok(())
    }
}

impl Message for FetchResponse<Bytes> {
    const KEY: ApiKey = ApiKey::Fetch;
    const VERSIONS: RangeInclusive<i16> = 4..=18;

    fn is_flexible(version: i16) -> bool {
        Self::KEY.is_flexible(version)
    }

    /// Records are slices of the frame if the reader is [`Reader::shared`], else copies.
    fn decode(reader: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let layout =
            message::layout::<Self>(version).ok_or(DecodeError::UnsupportedVersion { version })?;
        let mut response =
            FetchResponse { throttle_time_ms: reader.read_i32()?, ..FetchResponse::default() };
        if version >= 7 {
            response.error_code = reader.read_i16()?;
            response.session_id = reader.read_i32()?;
        }
        for _ in 0..array_length(reader, layout)? {
            reader.charge(size_of::<FetchableTopicResponse<Bytes>>())?;
            response.responses.push(read_topic(reader, layout)?);
        }
        if layout.flexible {
            let endpoints = &mut response.node_endpoints;
            response.unknown_tagged_fields = reader.read_tagged_fields(|tag, reader| {
                if tag == 0 && version >= 16 {
                    *endpoints = Wire::read(reader, layout)?;
                    return Ok(true);
                }
                Ok(false)
            })?;
        }
        Ok(response)
    }

    /// Copies the records; a broker uses [`FetchResponse::encode_frame`].
    fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {
        if !Self::VERSIONS.contains(&version) {
            return Err(EncodeError::UnsupportedVersion { version });
        }
        self.write_body(writer, version, |writer, records| {
            records.iter().for_each(|slice| writer.write_raw(slice));
        })
    }
}

fn read_topic(
    reader: &mut Reader<'_>,
    layout: Layout,
) -> Result<FetchableTopicResponse<Bytes>, DecodeError> {
    let (topic, topic_id) = if layout.version < TOPIC_IDS_FROM {
        (reader.read_string(layout.flexible)?, TopicId::ZERO)
    } else {
        (String::new(), TopicId(reader.read_uuid()?))
    };
    let mut response = FetchableTopicResponse { topic, topic_id, partitions: Vec::new() };
    for _ in 0..array_length(reader, layout)? {
        reader.charge(size_of::<PartitionData<Bytes>>())?;
        response.partitions.push(read_partition(reader, layout)?);
    }
    if layout.flexible {
        reader.skip_tagged_fields()?;
    }
    Ok(response)
}

fn read_partition(
    reader: &mut Reader<'_>,
    layout: Layout,
) -> Result<PartitionData<Bytes>, DecodeError> {
    let mut partition = PartitionData {
        partition_index: reader.read_i32()?,
        error_code: reader.read_i16()?,
        high_watermark: reader.read_i64()?,
        last_stable_offset: reader.read_i64()?,
        ..PartitionData::default()
    };
    if layout.version >= 5 {
        partition.log_start_offset = reader.read_i64()?;
    }
    partition.aborted_transactions = Wire::read(reader, layout)?;
    if layout.version >= 11 {
        partition.preferred_read_replica = reader.read_i32()?;
    }
    partition.records = reader.read_nullable_bytes(layout.flexible)?.map(|records| vec![records]);
    if layout.flexible {
        reader.read_tagged_fields(|tag, reader| {
            match tag {
                0 => partition.diverging_epoch = Wire::read(reader, layout)?,
                1 => partition.current_leader = Wire::read(reader, layout)?,
                2 => partition.snapshot_id = Wire::read(reader, layout)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
    }
    Ok(partition)
}

fn array_length(reader: &mut Reader<'_>, layout: Layout) -> Result<usize, DecodeError> {
    reader.read_array_length(layout.flexible)?.ok_or(DecodeError::UnexpectedNull)
}

impl Request for FetchRequest {
    type Response = FetchResponse<Bytes>;
}

message! {
    api Fetch, versions 4..=18, flexible 12..;

    /// Asks for records of some partitions, or for what changed in a session.
    request FetchRequest {
        /// The cluster's id, from replicas of the metadata log.
        cluster_id: Option<String> = None, ignorable 12.., tag 0;
        /// The asking replica's broker id; -1 from a consumer.
        replica_id: i32 = -1, strict 0..=14;
        /// The asking replica, from version 15 on.
        replica_state: ReplicaState, strict 15.., tag 1;
        /// How long to wait for `min_bytes`, in milliseconds.
        max_wait_ms: i32, strict 0..;
        /// How many bytes are worth an answer before that.
        min_bytes: i32, strict 0..;
        /// How many bytes all partitions may have together.
        max_bytes: i32 = i32::MAX, ignorable 3..;
        /// 0: everything below the high watermark; 1: below the last stable offset.
        isolation_level: i8, ignorable 4..;
        /// The session; 0 for none.
        session_id: i32, ignorable 7..;
        /// The session's epoch; 0 begins one, -1 ends it.
        session_epoch: i32 = -1, ignorable 7..;
        /// The partitions, or those that change in the session.
        topics: Vec<FetchTopic>, strict 0..;
        /// Partitions to take out of the session.
        forgotten_topics_data: Vec<ForgottenTopic>, strict 7..;
        /// The client's rack.
        rack_id: String, ignorable 11..;
    }

    /// The replica that asks.
    struct ReplicaState {
        /// Its broker id; -1 from a consumer.
        replica_id: i32 = -1, strict 15..;
        /// Its broker's epoch; -1 from a consumer.
        replica_epoch: i64 = -1, strict 15..;
    }

    /// Partitions of a topic.
    struct FetchTopic {
        /// The topic's name.
        topic: String, ignorable 0..=12;
        /// The topic's id.
        topic_id: TopicId, ignorable 13..;
        /// The partitions.
        partitions: Vec<FetchPartition>, strict 0..;
    }

    /// Where to read in a partition.
    struct FetchPartition {
        /// The partition's index.
        partition: i32, strict 0..;
        /// The leader's epoch as the client knows it; -1 to skip the check.
        current_leader_epoch: i32 = -1, ignorable 9..;
        /// The offset to read from.
        fetch_offset: i64, strict 0..;
        /// Epoch of the last record fetched; -1 if none.
        last_fetched_epoch: i32 = -1, strict 12..;
        /// The asking replica's first offset; -1 from a consumer.
        log_start_offset: i64 = -1, ignorable 5..;
        /// How many bytes this partition may have.
        partition_max_bytes: i32, strict 0..;
        /// The asking replica's directory.
        replica_directory_id: TopicId, ignorable 17.., tag 0;
        /// The asking replica's high watermark; `i64::MAX` if it does not say.
        high_watermark: i64 = i64::MAX, ignorable 18.., tag 1;
    }

    /// Partitions of a topic to take out of the session.
    struct ForgottenTopic {
        /// The topic's name.
        topic: String, ignorable 7..=12;
        /// The topic's id.
        topic_id: TopicId, ignorable 13..;
        /// Indexes of the partitions.
        partitions: Vec<i32>, strict 7..;
    }

    /// Where an epoch ends.
    struct EpochEndOffset {
        /// The epoch; -1 if there is nothing to say.
        epoch: i32 = -1, strict 12..;
        /// The first offset after it.
        end_offset: i64 = -1, strict 12..;
    }

    /// A partition's leader.
    struct LeaderIdAndEpoch {
        /// The leader's broker id; -1 if not known.
        leader_id: i32 = -1, strict 12..;
        /// The leader's epoch; -1 if not known.
        leader_epoch: i32 = -1, strict 12..;
    }

    /// A snapshot of the metadata log.
    struct SnapshotId {
        /// The first offset it does not cover.
        end_offset: i64 = -1, strict 0..;
        /// The epoch of the last record it covers.
        epoch: i32 = -1, strict 0..;
    }

    /// A transaction whose records a reader of committed records must skip.
    struct AbortedTransaction {
        /// The producer.
        producer_id: i64, strict 4..;
        /// The transaction's first offset in the partition.
        first_offset: i64, strict 4..;
    }

    /// Where a broker can be reached.
    struct NodeEndpoint {
        /// The broker's id.
        node_id: i32, strict 16..;
        /// Its host, on the listener of this connection.
        host: String, strict 16..;
        /// Its port.
        port: i32, strict 16..;
        /// Its rack.
        rack: Option<String> = None, strict 16..;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response() -> FetchResponse<Bytes> {
        let partition = |partition_index, records| PartitionData {
            partition_index,
            records,
            aborted_transactions: None,
            ..PartitionData::default()
        };
        let slices = vec![Bytes::from_static(b"first"), Bytes::from_static(b" second")];
        FetchResponse {
            responses: vec![FetchableTopicResponse {
                topic: "a".to_owned(),
                partitions: vec![
                    partition(0, Some(slices)),
                    partition(1, None),
                    partition(2, Some(Vec::new())),
                    partition(3, Some(vec![Bytes::from_static(b"third")])),
                ],
                ..FetchableTopicResponse::default()
            }],
            ..FetchResponse::default()
        }
    }

    #[test]
    fn pieces_make_the_frame_and_carry_the_records_untouched() {
        for version in FetchResponse::<Bytes>::VERSIONS {
            let mut pieces = Vec::new();
            let total = response().encode_frame(9, version, &mut pieces).unwrap();
            let mut joined = Vec::new();
            let mut records = Vec::new();
            for piece in &pieces {
                match piece {
                    Piece::Bytes(bytes) => {
                        assert!(!bytes.is_empty());
                        joined.extend_from_slice(bytes);
                    }
                    Piece::Records(slice) => {
                        records.push(slice.clone());
                        joined.extend_from_slice(slice);
                    }
                }
            }
            assert_eq!(total, joined.len());
            assert_eq!(joined, frame::response(9, version, &response()).unwrap());
            assert_eq!(records, [&b"first"[..], b" second", b"third"]);
        }
    }

    #[test]
    fn decoded_records_share_the_frame() {
        let frame = frame::response(9, 12, &response()).unwrap();
        let mut reader = Reader::shared(&frame);
        reader.take(frame::LENGTH_PREFIX_BYTES).unwrap();
        ResponseHeader::decode(&mut reader, ApiKey::Fetch, 12).unwrap();
        let decoded = FetchResponse::decode(&mut reader, 12).unwrap();
        assert_eq!(reader.remaining(), 0);
        let records = decoded.responses[0].partitions[0].records.as_ref().unwrap();
        assert_eq!(records[..], [&b"first second"[..]]);
        assert!(frame.as_ptr_range().contains(&records[0].as_ptr()));
    }

    #[test]
    fn what_a_version_cannot_say_is_not_dropped_silently() {
        let mut asked = response();
        asked.session_id = 5;
        let mut pieces = Vec::new();
        let error = asked.encode_frame(1, 6, &mut pieces).unwrap_err();
        let field = "session_id";
        assert_eq!(error, EncodeError::FieldNotInVersion { field, version: 6 });
        assert!(pieces.is_empty());
    }
}
