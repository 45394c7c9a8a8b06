//! Batches for the tests of this folder: valid headers and checksums around arbitrary payloads.

use bytes::Bytes;

use crate::model::ids::{ProducerEpoch, ProducerId};
use crate::model::offset::{LeaderEpoch, Offset, Sequence};
use crate::model::time::Timestamp;
use crate::record::batch::{Attributes, BatchHeader, BatchInfo, HeaderFields, header_bytes, seal};

/// A batch of `count` records at `base`, with a payload of `payload` bytes.
pub(crate) fn batch(
    base: i64,
    count: i32,
    epoch: i32,
    payload: usize,
    time: i64,
) -> (Bytes, BatchInfo) {
    let salt = u8::try_from((base + i64::from(epoch) * 7) % 251).unwrap();
    batch_of(base, count, epoch, &vec![salt; payload], time)
}

/// A batch of `count` records at `base` with the given payload.
pub(crate) fn batch_of(
    base: i64,
    count: i32,
    epoch: i32,
    payload: &[u8],
    time: i64,
) -> (Bytes, BatchInfo) {
    let fields = HeaderFields {
        base_offset: Offset(base),
        leader_epoch: LeaderEpoch(epoch),
        attributes: Attributes(0),
        last_offset_delta: count - 1,
        base_timestamp: Timestamp(time),
        max_timestamp: Timestamp(time),
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch(-1),
        base_sequence: Sequence::NONE,
        record_count: count,
    };
    let mut bytes = header_bytes(&fields).to_vec();
    bytes.extend_from_slice(payload);
    seal(&mut bytes);
    let info = BatchHeader::peek(&bytes).unwrap().info().unwrap();
    (Bytes::from(bytes), info)
}
