//! Builds record batches: for the client, for transaction markers, for tests.
//!
//! In:   records one by one. Out: the bytes of one batch, sealed.
//! Home: pure.
//!
//! Invariants
//!   U1  What `build` gives passes `validate::check` with default rules, but for a control
//!       batch, which no client may send.
//!
//! Source: Kafka's `MemoryRecordsBuilder`.

use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::model::ids::{ProducerEpoch, ProducerId};
use crate::model::offset::{LeaderEpoch, Offset, Sequence};
use crate::model::time::Timestamp;
use crate::record::batch::{self, Attributes, Codec, HEADER_BYTES, HeaderFields};
use crate::record::compression::compress;
use crate::record::control::EndMarker;
use crate::record::varint::{bytes_of_i64, put_i32, put_i64};

/// Most bytes of records in a batch before packing; keeps every length within 31 bits.
pub const RECORDS_BYTES_MAX: usize = 1 << 30;

/// Who writes a batch, and where it stands among its writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Producer {
    /// The producer's id.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// Sequence of the batch's first record; `NONE` in control batches.
    pub base_sequence: Sequence,
}

/// One record to be built.
#[derive(Clone, Copy, Debug)]
pub struct NewRecord<'a> {
    /// Milliseconds since 1970, or -1.
    pub timestamp: Timestamp,
    /// The key, if any.
    pub key: Option<&'a [u8]>,
    /// The value, if any.
    pub value: Option<&'a [u8]>,
    /// Keys and values of the headers.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// The batch would pass [`RECORDS_BYTES_MAX`]; the record was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchFull {
    /// Bytes that the records would have taken.
    pub bytes: usize,
}

impl fmt::Display for BatchFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the batch would hold {} bytes of records", self.bytes)
    }
}

impl std::error::Error for BatchFull {}

/// Gathers records into one batch.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    attributes: Attributes,
    codec: Codec,
    producer: Option<Producer>,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
    record_count: i32,
    records: Vec<u8>,
}

impl BatchBuilder {
    /// An empty batch that will be packed with `codec`.
    pub fn new(codec: Codec) -> BatchBuilder {
        BatchBuilder {
            attributes: Attributes(0).with_codec(codec),
            codec,
            producer: None,
            base_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp::NONE,
            record_count: 0,
            records: Vec::new(),
        }
    }

    /// Marks the batch as `producer`'s.
    #[must_use]
    pub fn producer(mut self, producer: Producer) -> BatchBuilder {
        self.producer = Some(producer);
        self
    }

    /// Marks the batch as part of its producer's transaction.
    #[must_use]
    pub fn transactional(mut self) -> BatchBuilder {
        self.attributes = self.attributes.with_transactional();
        self
    }

    /// Records so far.
    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Bytes the records take before packing.
    pub fn record_bytes(&self) -> usize {
        self.records.len()
    }

    /// Adds one record. Errors: [`BatchFull`], and nothing is added.
    pub fn push(&mut self, record: &NewRecord<'_>) -> Result<(), BatchFull> {
        if self.record_count == 0 {
            self.base_timestamp = record.timestamp;
        }
        let timestamp_delta = record.timestamp.0.wrapping_sub(self.base_timestamp.0);
        let offset_delta = self.record_count;
        let body = body_bytes(record, timestamp_delta, offset_delta);
        let bytes = self.records.len().saturating_add(body).saturating_add(5);
        if bytes > RECORDS_BYTES_MAX {
            return Err(BatchFull { bytes });
        }
        put_i64(&mut self.records, i64_of(body));
        let start = self.records.len();
        put_body(&mut self.records, record, timestamp_delta, offset_delta);
        assert_eq!(self.records.len() - start, body, "the length goes before what it counts");
        self.record_count += 1;
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        Ok(())
    }

    /// The batch, with base offset 0 and no leader epoch, as a client sends it.
    ///
    /// Panics: if it has no record, our own bug.
    pub fn build(self) -> BytesMut {
        assert!(self.record_count > 0, "a batch has a record");
        let producer = self.producer.unwrap_or(Producer {
            id: ProducerId::NONE,
            epoch: ProducerEpoch(-1),
            base_sequence: Sequence::NONE,
        });
        let header = batch::header_bytes(&HeaderFields {
            base_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch::NONE,
            attributes: self.attributes,
            last_offset_delta: self.record_count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            base_sequence: producer.base_sequence,
            record_count: self.record_count,
        });
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.records.len());
        bytes.extend_from_slice(&header);
        compress(self.codec, &self.records, &mut bytes);
        batch::seal(&mut bytes);
        BytesMut::from(Bytes::from(bytes))
    }
}

/// The control batch that ends a transaction of `id` and `epoch` at `now`.
pub fn end_marker(
    id: ProducerId,
    epoch: ProducerEpoch,
    marker: EndMarker,
    now: Timestamp,
) -> BytesMut {
    let mut builder = BatchBuilder::new(Codec::None)
        .producer(Producer { id, epoch, base_sequence: Sequence::NONE })
        .transactional();
    builder.attributes = builder.attributes.with_control();
    let record = NewRecord {
        timestamp: now,
        key: Some(&marker.key()),
        value: Some(&marker.value()),
        headers: &[],
    };
    builder.push(&record).expect("a marker is a few bytes");
    builder.build()
}

/// Bytes of a record after its length. Saturates: an impossible size is refused, not wrapped.
fn body_bytes(record: &NewRecord<'_>, timestamp_delta: i64, offset_delta: i32) -> usize {
    let mut bytes = 1 + bytes_of_i64(timestamp_delta) + bytes_of_i64(i64::from(offset_delta));
    let mut add = |part: usize| bytes = bytes.saturating_add(part);
    add(part_bytes(record.key));
    add(part_bytes(record.value));
    add(bytes_of_i64(i64_of(record.headers.len())));
    for (key, value) in record.headers {
        add(part_bytes(Some(key.as_bytes())));
        add(part_bytes(*value));
    }
    bytes
}

fn part_bytes(part: Option<&[u8]>) -> usize {
    match part {
        None => 1,
        Some(part) => bytes_of_i64(i64_of(part.len())).saturating_add(part.len()),
    }
}

fn put_body(out: &mut Vec<u8>, record: &NewRecord<'_>, timestamp_delta: i64, offset_delta: i32) {
    out.push(0);
    put_i64(out, timestamp_delta);
    put_i32(out, offset_delta);
    put_part(out, record.key);
    put_part(out, record.value);
    put_i64(out, i64_of(record.headers.len()));
    for (key, value) in record.headers {
        put_part(out, Some(key.as_bytes()));
        put_part(out, *value);
    }
}

/// Appends a length and its bytes; `None` is the length -1.
pub(super) fn put_part(out: &mut Vec<u8>, part: Option<&[u8]>) {
    match part {
        None => put_i32(out, -1),
        Some(part) => {
            put_i64(out, i64_of(part.len()));
            out.extend_from_slice(part);
        }
    }
}

fn i64_of(length: usize) -> i64 {
    i64::try_from(length).expect("no slice is longer than 2^63 bytes")
}
