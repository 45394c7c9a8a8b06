//! One idempotent producer of a partition: its epoch, its last batches, its open transaction.
//!
//! In:   batches of it that are in the log; its part of a snapshot.
//! Out:  what it wrote last.
//! Home: pure; a part of `producers.rs`.
//!
//! Invariants
//!   P1  At most [`BATCHES_KEPT`] batches are kept, all of the current epoch, oldest first.
//!
//! Not here: all of them, and what a batch of one may be (`producers.rs`).
//! Source: KIP-98, KIP-360; Kafka's `ProducerStateEntry`.

use crate::model::ids::{ProducerEpoch, ProducerId};
use crate::model::offset::{Offset, Sequence};
use crate::model::time::Timestamp;
use crate::partition::snapshot::{SnapshotError, SnapshotReader, SnapshotWriter};
use crate::record::batch::BatchInfo;

/// Batches in which a retry is recognised. Source: Kafka's `NUM_BATCHES_TO_RETAIN`; clients keep
/// at most five requests in flight.
pub(super) const BATCHES_KEPT: usize = 5;
/// What one takes in a snapshot, without batches.
pub(super) const PRODUCER_BYTES_MIN: usize = 27;

/// The coordinator epoch of a producer that has no marker yet.
pub(super) const COORDINATOR_EPOCH_NONE: i32 = -1;

/// One batch that a retry may repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeptBatch {
    pub(super) base_sequence: Sequence,
    pub(super) last_sequence: Sequence,
    pub(super) base_offset: Offset,
    /// Last offset less the base offset: as many as there are sequences, less one.
    pub(super) offset_delta: i32,
    pub(super) max_timestamp: Timestamp,
}

impl KeptBatch {
    const NONE: KeptBatch = KeptBatch {
        base_sequence: Sequence::NONE,
        last_sequence: Sequence::NONE,
        base_offset: Offset::NONE,
        offset_delta: 0,
        max_timestamp: Timestamp::NONE,
    };

    /// Of a batch that is in the log.
    pub(super) fn of(info: &BatchInfo) -> KeptBatch {
        KeptBatch {
            base_sequence: info.base_sequence,
            last_sequence: info.last_sequence,
            base_offset: info.base_offset,
            offset_delta: i32::try_from(info.last_offset.0 - info.base_offset.0)
                .expect("a batch's last offset delta has 31 bits"),
            max_timestamp: info.max_timestamp,
        }
    }

    fn decode(reader: &mut SnapshotReader<'_>) -> Result<KeptBatch, SnapshotError> {
        let batch = KeptBatch {
            base_sequence: Sequence(reader.take_i32()?),
            last_sequence: Sequence(reader.take_i32()?),
            base_offset: Offset(reader.take_i64()?),
            offset_delta: reader.take_i32()?,
            max_timestamp: Timestamp(reader.take_i64()?),
        };
        let sane = batch.base_sequence.0 >= 0
            && batch.last_sequence.0 >= 0
            && batch.base_offset.0 >= 0
            && batch.offset_delta >= 0
            && batch.base_offset.0.checked_add(i64::from(batch.offset_delta) + 1).is_some();
        if sane { Ok(batch) } else { Err(SnapshotError::BadValue) }
    }
}

/// What is known of one producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Producer {
    pub(super) epoch: ProducerEpoch,
    /// The shard's wall clock when it last wrote; for expiry.
    pub(super) last_used: Timestamp,
    /// Largest timestamp of the last batch or marker of it.
    pub(super) last_timestamp: Timestamp,
    /// First offset of its open transaction.
    pub(super) open: Option<Offset>,
    /// Of the coordinator that wrote its last marker; -1 before any.
    pub(super) coordinator_epoch: i32,
    kept_count: usize,
    kept: [KeptBatch; BATCHES_KEPT],
}

impl Producer {
    pub(super) fn new(epoch: ProducerEpoch, now: Timestamp) -> Producer {
        Producer {
            epoch,
            last_used: now,
            last_timestamp: Timestamp::NONE,
            open: None,
            coordinator_epoch: COORDINATOR_EPOCH_NONE,
            kept_count: 0,
            kept: [KeptBatch::NONE; BATCHES_KEPT],
        }
    }

    pub(super) fn kept(&self) -> &[KeptBatch] {
        &self.kept[..self.kept_count]
    }

    pub(super) fn last_sequence(&self) -> Option<Sequence> {
        self.kept().last().map(|batch| batch.last_sequence)
    }

    /// Keeps one more batch, and forgets the oldest if there is no room (P1).
    pub(super) fn keep(&mut self, batch: KeptBatch) {
        if self.kept_count == BATCHES_KEPT {
            self.kept.rotate_left(1);
            self.kept_count -= 1;
        }
        self.kept[self.kept_count] = batch;
        self.kept_count += 1;
    }

    /// A new epoch forgets the batches of the one before (P1).
    pub(super) fn enter(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.kept_count = 0;
            self.kept = [KeptBatch::NONE; BATCHES_KEPT];
        }
    }

    /// Holds P1.
    pub(super) fn assert_invariants(&self) {
        assert!(self.kept_count <= BATCHES_KEPT, "P1");
        for pair in self.kept().windows(2) {
            assert!(pair[0].base_offset < pair[1].base_offset, "P1: oldest first");
        }
    }

    /// Puts it into a snapshot.
    pub(super) fn encode(&self, id: ProducerId, out: &mut SnapshotWriter) {
        out.put(&id.0.to_be_bytes());
        out.put(&self.epoch.0.to_be_bytes());
        out.put(&self.last_used.0.to_be_bytes());
        out.put(&self.open.unwrap_or(Offset::NONE).0.to_be_bytes());
        out.put(&self.coordinator_epoch.to_be_bytes());
        out.put(&self.last_timestamp.0.to_be_bytes());
        out.put(&[u8::try_from(self.kept_count).expect("P1")]);
        for batch in self.kept() {
            out.put(&batch.base_sequence.0.to_be_bytes());
            out.put(&batch.last_sequence.0.to_be_bytes());
            out.put(&batch.base_offset.0.to_be_bytes());
            out.put(&batch.offset_delta.to_be_bytes());
            out.put(&batch.max_timestamp.0.to_be_bytes());
        }
    }

    /// The next one of a snapshot. Errors: [`SnapshotError`].
    pub(super) fn decode(
        reader: &mut SnapshotReader<'_>,
        version: u16,
    ) -> Result<(ProducerId, Producer), SnapshotError> {
        let id = ProducerId(reader.take_i64()?);
        let epoch = ProducerEpoch(i16::from_be_bytes(reader.take()?));
        let last_used = Timestamp(reader.take_i64()?);
        let open = match reader.take_i64()? {
            -1 => None,
            first if first >= 0 => Some(Offset(first)),
            _ => return Err(SnapshotError::BadValue),
        };
        let with_markers = match version {
            1 => None,
            _ => Some((reader.take_i32()?, Timestamp(reader.take_i64()?))),
        };
        let [count] = reader.take()?;
        if usize::from(count) > BATCHES_KEPT || id.0 < 0 {
            return Err(SnapshotError::BadValue);
        }
        let mut producer = Producer { open, ..Producer::new(epoch, last_used) };
        for _ in 0..count {
            let batch = KeptBatch::decode(reader)?;
            let grows =
                producer.kept().last().is_none_or(|last| last.base_offset < batch.base_offset);
            if !grows {
                return Err(SnapshotError::BadValue);
            }
            producer.keep(batch);
        }
        let last = producer.kept().last().map_or(last_used, |batch| batch.max_timestamp);
        (producer.coordinator_epoch, producer.last_timestamp) =
            with_markers.unwrap_or((COORDINATOR_EPOCH_NONE, last));
        if producer.coordinator_epoch < COORDINATOR_EPOCH_NONE {
            return Err(SnapshotError::BadValue);
        }
        Ok((id, producer))
    }
}
