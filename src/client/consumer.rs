//! Records read from assigned partitions, in order.
//!
//! In:   topics, partitions and where to begin.
//! Out:  records; control batches are left out.
//!
//! Invariants
//!   F1  Positions only move forward, and only past records that were handed out or skipped.
//!   F2  A compressed batch unpacks to at most [`UNPACKED_BYTES_MAX`].
#![allow(clippy::disallowed_methods)] // a client's thread reads its own clock

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::cluster::Client;
use super::connection::Sent;
use super::error::{BadRecords, ClientError};
use crate::config::listener::HostPort;
use crate::model::ids::TopicId;
use crate::protocol::api::ApiKey;
use crate::protocol::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData,
};
use crate::record::batch::{Batch, BatchError, Codec, TimestampType};
use crate::record::compression::decompress;
use crate::record::records::Records;

/// Most bytes that one compressed batch unpacks to.
pub const UNPACKED_BYTES_MAX: usize = 512 << 20;

/// How a consumer fetches.
#[derive(Clone, Copy, Debug)]
pub struct FetchOptions {
    /// How long a broker waits for records before it answers without.
    pub wait_max: Duration,
    /// Bytes worth an answer before that.
    pub bytes_min: i32,
    /// Bytes of one answer.
    pub bytes_max: i32,
    /// Bytes of one partition in an answer.
    pub partition_bytes_max: i32,
}

impl Default for FetchOptions {
    fn default() -> FetchOptions {
        FetchOptions {
            wait_max: Duration::from_millis(500),
            bytes_min: 1,
            bytes_max: 50 << 20,
            partition_bytes_max: 4 << 20,
        }
    }
}

/// A record that was read; its bytes are shared with the answer it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedRecord {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Leader epoch of its batch.
    pub leader_epoch: i32,
    /// Key.
    pub key: Option<Bytes>,
    /// Value.
    pub value: Option<Bytes>,
    /// Names and values.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// Reads assigned partitions of one topic.
#[derive(Debug)]
pub struct Consumer {
    topic: String,
    options: FetchOptions,
    positions: BTreeMap<i32, i64>,
}

impl Consumer {
    /// A consumer of `topic` that begins each partition at its offset in `positions`.
    pub fn new(topic: &str, positions: BTreeMap<i32, i64>, options: FetchOptions) -> Consumer {
        Consumer { topic: topic.to_owned(), options, positions }
    }

    /// The next offset of each partition.
    pub fn positions(&self) -> &BTreeMap<i32, i64> {
        &self.positions
    }

    /// Stops reading `partition`.
    pub fn drop_partition(&mut self, partition: i32) {
        self.positions.remove(&partition);
    }

    /// Fetches once from every leader and returns what came, in order within each partition;
    /// nothing if no record came within the wait.
    ///
    /// Errors: [`ClientError`]; those that pass are tried again until the client's time limit.
    pub fn poll(&mut self, client: &mut Client) -> Result<Vec<FetchedRecord>, ClientError> {
        let deadline = Instant::now() + client.timeout();
        loop {
            let mut records = Vec::new();
            match self.attempt(client, &mut records) {
                Ok(()) => return Ok(records),
                // What came from the other partitions has moved their positions.
                Err(_) if !records.is_empty() => return Ok(records),
                Err(error) => {
                    client.forget_topic(&self.topic);
                    client.pause(error, deadline)?;
                }
            }
        }
    }

    fn attempt(
        &mut self,
        client: &mut Client,
        records: &mut Vec<FetchedRecord>,
    ) -> Result<(), ClientError> {
        let id = client.topic(&self.topic, false)?.id;
        let mut by_leader: BTreeMap<HostPort, Vec<(i32, i64)>> = BTreeMap::new();
        for (partition, position) in &self.positions {
            let leader = client.leader(&self.topic, *partition)?;
            by_leader.entry(leader).or_default().push((*partition, *position));
        }
        let mut sent: Vec<(HostPort, Sent)> = Vec::new();
        for (leader, places) in &by_leader {
            let request = self.request(id, places);
            match client.connection(leader).and_then(|connection| connection.send(&request)) {
                Ok(under_way) => sent.push((leader.clone(), under_way)),
                Err(error) => {
                    // Answers that nobody will read must not be taken for later ones.
                    by_leader.keys().for_each(|leader| client.drop_connection(leader));
                    return Err(error);
                }
            }
        }
        let mut failed = None;
        for (leader, under_way) in sent {
            let answer = client.connection(&leader)?.receive::<FetchResponse<Bytes>>(under_way);
            if answer.is_err() {
                client.drop_connection(&leader);
            }
            if let Err(error) = answer.and_then(|answer| self.take(answer, records)) {
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn request(&self, id: TopicId, places: &[(i32, i64)]) -> FetchRequest {
        let partition = |(partition, position): &(i32, i64)| FetchPartition {
            partition: *partition,
            fetch_offset: *position,
            partition_max_bytes: self.options.partition_bytes_max,
            ..FetchPartition::default()
        };
        FetchRequest {
            max_wait_ms: i32::try_from(self.options.wait_max.as_millis()).unwrap_or(i32::MAX),
            min_bytes: self.options.bytes_min,
            max_bytes: self.options.bytes_max,
            topics: vec![FetchTopic {
                topic: self.topic.clone(),
                topic_id: id,
                partitions: places.iter().map(partition).collect(),
                ..FetchTopic::default()
            }],
            ..FetchRequest::default()
        }
    }

    fn take(
        &mut self,
        answer: FetchResponse<Bytes>,
        records: &mut Vec<FetchedRecord>,
    ) -> Result<(), ClientError> {
        if answer.error_code != 0 {
            return Err(self.refused(format!("'{}'", self.topic), answer.error_code));
        }
        let mut failed = None;
        for partition in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
            let index = partition.partition_index;
            if partition.error_code != 0 {
                let subject = match self.positions.get(&index) {
                    Some(position) => format!("{}/{index} at offset {position}", self.topic),
                    None => format!("{}/{index}", self.topic),
                };
                failed.get_or_insert(self.refused(subject, partition.error_code));
                continue;
            }
            if let Err(reason) = self.take_partition(&partition, records) {
                let offset = self.positions.get(&index).copied().unwrap_or(0);
                let topic = self.topic.clone();
                failed.get_or_insert(ClientError::BadRecords {
                    topic,
                    partition: index,
                    offset,
                    reason,
                });
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn refused(&self, subject: String, code: i16) -> ClientError {
        ClientError::Refused { api: ApiKey::Fetch, subject, code, message: None }
    }

    fn take_partition(
        &mut self,
        answered: &PartitionData<Bytes>,
        records: &mut Vec<FetchedRecord>,
    ) -> Result<(), BadRecords> {
        let Some(position) = self.positions.get_mut(&answered.partition_index) else {
            return Ok(()); // not one of ours (any more)
        };
        let slices = answered.records.as_deref().unwrap_or(&[]);
        for slice in slices {
            let mut rest = slice.clone();
            while !rest.is_empty() {
                let batch = match Batch::first(&rest) {
                    Ok(batch) => batch,
                    // The last batch of an answer may be cut; it comes again from its start.
                    Err(BatchError::Cut { .. }) => break,
                    Err(error) => return Err(BadRecords::Batch(error)),
                };
                let info = batch.info().map_err(BadRecords::Batch)?;
                batch.verify_crc().map_err(BadRecords::Batch)?;
                let end = info.end_offset().0;
                if *position < end {
                    if !batch.header().attributes().is_control() {
                        let payload = slice_of(&rest, batch.payload());
                        let index = answered.partition_index;
                        let before = records.len();
                        let unpacked = unpack(&batch, payload, (index, *position), records);
                        if unpacked.is_err() {
                            records.truncate(before); // F1: none of it is handed out
                        }
                        unpacked?;
                    }
                    *position = end;
                }
                let length = batch.bytes().len();
                rest = rest.slice(length..);
            }
        }
        Ok(())
    }
}

/// Appends the batch's records from `position` on. `place` is partition and position.
fn unpack(
    batch: &Batch<'_>,
    payload: Bytes,
    place: (i32, i64),
    records: &mut Vec<FetchedRecord>,
) -> Result<(), BadRecords> {
    let (partition, position) = place;
    let header = batch.header();
    let info = batch.info().map_err(BadRecords::Batch)?;
    let codec = header.attributes().codec();
    let codec = codec.map_err(|id| BadRecords::UnknownCodec { id })?;
    let plain = if codec == Codec::None {
        payload
    } else {
        let mut out = Vec::new();
        decompress(codec, &payload, UNPACKED_BYTES_MAX, &mut out)
            .map_err(BadRecords::Compressed)?;
        Bytes::from(out)
    };
    let stamped = header.attributes().timestamp_type() == TimestampType::LogAppendTime;
    for record in Records::new(&plain, header.record_count()) {
        let record = record.map_err(BadRecords::Record)?;
        let offset = info.base_offset.0.saturating_add(i64::from(record.offset_delta));
        if offset < position {
            continue;
        }
        let created = info.base_timestamp.0.wrapping_add(record.timestamp_delta);
        records.push(FetchedRecord {
            partition,
            offset,
            timestamp_ms: if stamped { info.max_timestamp.0 } else { created },
            leader_epoch: info.leader_epoch.0,
            key: record.key.map(|key| slice_of(&plain, key)),
            value: record.value.map(|value| slice_of(&plain, value)),
            headers: record
                .headers
                .map(|header| {
                    let value = header.value.map(|value| slice_of(&plain, value));
                    (slice_of(&plain, header.key), value)
                })
                .collect(),
        });
    }
    Ok(())
}

/// `part` of `whole` as shared bytes; an empty part needs no share.
fn slice_of(whole: &Bytes, part: &[u8]) -> Bytes {
    if part.is_empty() { Bytes::new() } else { whole.slice_ref(part) }
}
