//! Batches for the tests of this folder: valid headers and checksums around arbitrary payloads.

use bytes::Bytes;

use crate::io::directory::Directory;
use crate::model::ids::{ProducerEpoch, ProducerId};
use crate::model::offset::{LeaderEpoch, Offset, Sequence};
use crate::model::time::Timestamp;
use crate::record::batch::{
    Attributes, BatchHeader, BatchInfo, HeaderFields, header_bytes, seal, stamp,
};
use crate::record::builder::end_marker;
use crate::record::control::{EndMarker, Outcome};
use crate::storage::log::{Log, OffsetRange};

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
    sealed(base, count, epoch, payload, time, Attributes(0), ProducerId::NONE)
}

/// A batch of `count` records at `base` in a transaction of `producer`.
pub(crate) fn transactional(
    base: i64,
    count: i32,
    epoch: i32,
    producer: i64,
    time: i64,
) -> (Bytes, BatchInfo) {
    let attributes = Attributes(0).with_transactional();
    sealed(base, count, epoch, &[7; 90], time, attributes, ProducerId(producer))
}

/// The marker at `base` that ends a transaction of `producer`.
pub(crate) fn marker(
    base: i64,
    epoch: i32,
    producer: i64,
    outcome: Outcome,
    time: i64,
) -> (Bytes, BatchInfo) {
    let marker = EndMarker { outcome, coordinator_epoch: 1 };
    let mut bytes = end_marker(ProducerId(producer), ProducerEpoch(0), marker, Timestamp(time));
    stamp(&mut bytes, Offset(base), LeaderEpoch(epoch));
    let info = BatchHeader::peek(&bytes).unwrap().info().unwrap();
    (bytes.freeze(), info)
}

fn sealed(
    base: i64,
    count: i32,
    epoch: i32,
    payload: &[u8],
    time: i64,
    attributes: Attributes,
    producer_id: ProducerId,
) -> (Bytes, BatchInfo) {
    let fields = HeaderFields {
        base_offset: Offset(base),
        leader_epoch: LeaderEpoch(epoch),
        attributes,
        last_offset_delta: count - 1,
        base_timestamp: Timestamp(time),
        max_timestamp: Timestamp(time),
        producer_id,
        producer_epoch: ProducerEpoch(if producer_id == ProducerId::NONE { -1 } else { 0 }),
        base_sequence: Sequence::NONE,
        record_count: count,
    };
    let mut bytes = header_bytes(&fields).to_vec();
    bytes.extend_from_slice(payload);
    seal(&mut bytes);
    let info = BatchHeader::peek(&bytes).unwrap().info().unwrap();
    (Bytes::from(bytes), info)
}

/// Scrubs every closed segment of a log that is due at `now`, each once: what is damaged.
pub(crate) async fn scrub_all<D: Directory>(log: &Log<D>, now: Timestamp) -> Vec<OffsetRange> {
    let mut damage = Vec::new();
    while let Some(mut scrub) = log.scrub(now, 1).await.expect("an index can be made") {
        loop {
            let step = log.scrub_step(&mut scrub).await.expect("the log is open");
            damage.extend(step.damage);
            if step.is_last {
                break;
            }
        }
    }
    damage
}
