//! Offsets looked up: ends, by time, by leader epoch.

use crate::model::offset::{LeaderEpoch, Offset};
use crate::model::time::Timestamp;

use crate::record::batch::{Batch, BatchInfo, Codec, TimestampType};
use crate::record::compression::decompress;
use crate::record::records::Records;
use crate::storage::lookup::Found;

use super::local::Replica;
use super::request::{Diverging, EpochQuery, OffsetFound, OffsetQuery, OffsetSpec, ReadFailure};
use super::table::Replicas;

/// Most bytes that a batch may unpack to for a look at its timestamps.
const UNPACKED_BYTES_MAX: usize = 128 << 20;

const NOTHING: OffsetFound = OffsetFound {
    offset: Offset::NONE,
    timestamp: Timestamp::NONE,
    leader_epoch: LeaderEpoch::NONE,
};

/// Answers questions of ListOffsets, in their order.
pub async fn offsets(
    replicas: &Replicas,
    queries: &[OffsetQuery],
) -> Vec<Result<OffsetFound, ReadFailure>> {
    let mut found = Vec::with_capacity(queries.len());
    for query in queries {
        found.push(match replicas.get(query.partition) {
            Some(replica) => look_up(&replica, query).await,
            None => Err(ReadFailure::NotHere),
        });
    }
    found
}

async fn look_up(replica: &Replica, query: &OffsetQuery) -> Result<OffsetFound, ReadFailure> {
    let (latest, log_start, epoch) = {
        let core = replica.core.borrow();
        core.check_epoch(query.current_leader_epoch).map_err(ReadFailure::Epoch)?;
        let latest = core.latest_offset(query.isolation);
        (latest, core.log_start_offset(), core.epoch())
    };
    let end = match query.spec {
        OffsetSpec::Earliest | OffsetSpec::Tiered => Offset::ZERO,
        _ => latest.map_err(ReadFailure::NotAvailable)?,
    };
    let at = |offset, leader_epoch| OffsetFound { offset, leader_epoch, ..NOTHING };
    match query.spec {
        OffsetSpec::Latest => Ok(at(end, epoch)),
        OffsetSpec::Earliest => Ok(at(log_start, epoch_at(replica, log_start))),
        OffsetSpec::Tiered => Ok(NOTHING),
        OffsetSpec::MaxTimestamp => {
            let batch = replica.log.batch_with_max_timestamp().await;
            let batch = batch.map_err(|_| ReadFailure::Storage)?;
            let found = batch.and_then(|batch| record_at(&batch, batch.info.max_timestamp, end));
            // The newest of the whole log, or nothing while it may not be read: as Kafka has it.
            let found = found.filter(|(offset, _)| *offset < end);
            Ok(found.map_or(NOTHING, |found| with_epoch(replica, found)))
        }
        OffsetSpec::At(time) => at_time(replica, time, end).await,
        OffsetSpec::From(offset) => {
            let batch = replica.log.batch_after(offset, end).await;
            let batch = batch.map_err(|_| ReadFailure::Storage)?;
            let found = batch.map(|info| (info.base_offset.max(offset), appended_at(&info)));
            Ok(found.map_or(NOTHING, |found| with_epoch(replica, found)))
        }
    }
}

/// When a batch was appended, as far as its header tells; a compacted one may have lost its base.
fn appended_at(info: &BatchInfo) -> Timestamp {
    match info.attributes.timestamp_type() {
        _ if info.attributes.has_delete_horizon() => info.max_timestamp,
        TimestampType::LogAppendTime => info.max_timestamp,
        TimestampType::CreateTime => info.base_timestamp,
    }
}

/// The first record at or after `time` that ends before `end`.
async fn at_time(
    replica: &Replica,
    time: Timestamp,
    end: Offset,
) -> Result<OffsetFound, ReadFailure> {
    let mut from = Offset::ZERO;
    loop {
        let batch = replica.log.batch_for_timestamp(time, from, end).await;
        let Some(batch) = batch.map_err(|_| ReadFailure::Storage)? else { return Ok(NOTHING) };
        if let Some(found) = record_at(&batch, time, end) {
            return Ok(with_epoch(replica, found));
        }
        from = batch.info.end_offset(); // its late records lie below the log start
    }
}

/// The first record of `batch` at or after `time`, below `end`. A batch that cannot be unpacked
/// was accepted by another broker's rules: its first offset is the best answer there is.
fn record_at(batch: &Found, time: Timestamp, end: Offset) -> Option<(Offset, Timestamp)> {
    let info = &batch.info;
    let logged = info.attributes.timestamp_type() == TimestampType::LogAppendTime;
    let whole = i64::from(info.record_count) == info.offset_count(); // never compacted
    if logged && whole {
        return (info.max_timestamp >= time).then_some((info.base_offset, info.max_timestamp));
    }
    let Ok(first) = Batch::first(&batch.bytes) else {
        return Some((info.base_offset, info.max_timestamp));
    };
    let mut unpacked = Vec::new();
    let payload = match info.attributes.codec() {
        Ok(Codec::None) => first.payload(),
        Ok(codec) => match decompress(codec, first.payload(), UNPACKED_BYTES_MAX, &mut unpacked) {
            Ok(()) => &unpacked[..],
            Err(_) => return Some((info.base_offset, info.max_timestamp)),
        },
        Err(_) => return Some((info.base_offset, info.max_timestamp)),
    };
    let count = i32::try_from(info.record_count).unwrap_or(i32::MAX);
    let records = Records::new(payload, count).filter_map(Result::ok);
    let at = records.map(|record| {
        let offset = info.base_offset.plus(i64::from(record.offset_delta));
        let own = Timestamp(info.base_timestamp.0.saturating_add(record.timestamp_delta));
        (offset, if logged { info.max_timestamp } else { own })
    });
    at.filter(|(offset, _)| *offset < end).find(|(_, timestamp)| *timestamp >= time)
}

fn with_epoch(replica: &Replica, found: (Offset, Timestamp)) -> OffsetFound {
    let (offset, timestamp) = found;
    OffsetFound { offset, timestamp, leader_epoch: epoch_at(replica, offset) }
}

/// The epoch of the record at `offset`; of an empty log, the leader's.
fn epoch_at(replica: &Replica, offset: Offset) -> LeaderEpoch {
    let core = replica.core.borrow();
    core.epochs().epoch_at(offset).unwrap_or(core.epoch())
}

/// Answers questions of OffsetForLeaderEpoch, in their order.
pub fn epoch_ends(
    replicas: &Replicas,
    queries: &[EpochQuery],
) -> Vec<Result<Diverging, ReadFailure>> {
    let answer = |query: &EpochQuery| {
        let replica = replicas.get(query.partition).ok_or(ReadFailure::NotHere)?;
        let core = replica.core.borrow();
        core.check_epoch(query.current_leader_epoch).map_err(ReadFailure::Epoch)?;
        let end = core.offset_for_leader_epoch(query.epoch);
        Ok(Diverging { epoch: end.epoch, end: end.end })
    };
    queries.iter().map(answer).collect()
}
