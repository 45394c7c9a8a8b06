//! Reads of one shard's replicas: whole batches, within limits, below what the reader may see.
//!
//! In:   read requests, partitions in the order in which they are to be served.
//! Out:  slices: tail bytes (shared), disk bytes, or file ranges; and marks beside them.
//! Home: the owner's shard.
//!
//! Invariants
//!   F1  Nothing at or above the high watermark (last stable offset) is returned.
//!   F2  The first partition that has something returns a whole batch even above both limits;
//!       after it both limits hold.
//!   F3  Who reads committed records is told every aborted transaction that has a record among
//!       those returned.
//!
//! Source: KIP-74 (limits), KIP-320 (epochs), KIP-595 (diverging epochs).

use std::rc::Rc;

use crate::io::file::IoError;
use crate::io::sendfile;
use crate::io::slice::Slice;
use crate::model::ids::TopicPartition;
use crate::model::offset::{LeaderEpoch, Offset};
use crate::partition::leader::{Isolation, Leader};
use crate::storage::log::LogError;
use crate::storage::reader::{Read, ReadRequest as LogRead};
use crate::storage::txn_index::AbortedTransaction;

use super::local::Replica;
use super::request::{Diverging, ReadAnswer, ReadFailure, ReadItem, ReadRequest};
use super::table::Replicas;
use super::watch::Watch;

/// Reads one shard's replicas.
pub struct Reader {
    replicas: Rc<Replicas>,
}

/// What a reader may see of one replica now.
struct View {
    high_watermark: Offset,
    last_stable_offset: Offset,
    log_start: Offset,
    end: Offset,
    diverging: Option<Diverging>,
}

impl Reader {
    /// A reader of these replicas.
    pub fn new(replicas: Rc<Replicas>) -> Rc<Reader> {
        Rc::new(Reader { replicas })
    }

    /// Serves `request` in the order of its items.
    pub async fn read(&self, request: &ReadRequest) -> Vec<ReadAnswer> {
        let mut answers = Vec::with_capacity(request.items.len());
        let mut left = request.max_bytes;
        let mut min_one = request.min_one;
        for item in &request.items {
            let answer = self.read_one(item, request, left, min_one).await;
            left = left.saturating_sub(answer.bytes);
            min_one &= answer.bytes == 0;
            answers.push(answer);
        }
        answers
    }

    async fn read_one(
        &self,
        item: &ReadItem,
        request: &ReadRequest,
        left: usize,
        min_one: bool,
    ) -> ReadAnswer {
        let Some(replica) = self.replicas.get(item.partition) else {
            return failed(ReadFailure::NotHere);
        };
        let view = match view(&replica.core.borrow(), item, request.isolation) {
            Ok(view) => view,
            Err(failure) => return failed(failure),
        };
        let spec = LogRead {
            from: item.fetch_offset,
            upto: view.end,
            max_bytes: left.min(item.max_bytes),
            min_one,
            path: request.path,
        };
        let nothing = view.diverging.is_some()
            || view.end <= item.fetch_offset
            || (spec.max_bytes == 0 && !min_one);
        let found = loop {
            let replaced = replica.log.replaced();
            let read = match nothing {
                true => Ok(Read { next_offset: item.fetch_offset, ..Read::default() }),
                false => read_log(&replica, spec).await,
            };
            let Ok(read) = read else { break read.map(|read| (read, None)) };
            let aborted = aborted(&replica, item, &view, read.next_offset, request.isolation).await;
            // What was read of segments that compaction has replaced since may be of transactions
            // that it dropped, and that nobody names any more: the new ones are read.
            if request.isolation == Isolation::ReadUncommitted || replaced == replica.log.replaced()
            {
                break aborted.map(|aborted| (read, aborted));
            }
        };
        let (read, aborted) = match found {
            Ok(found) => found,
            Err(failure) => return failed(failure),
        };
        let next_offset = read.next_offset;
        ReadAnswer {
            bytes: read.bytes,
            more: view.diverging.is_none() && next_offset < view.end,
            result: Ok(read.slices),
            high_watermark: view.high_watermark,
            last_stable_offset: view.last_stable_offset,
            log_start: view.log_start,
            diverging: view.diverging,
            aborted,
        }
    }
}

async fn read_log(replica: &Replica, spec: LogRead) -> Result<Read, ReadFailure> {
    let read = match replica.log.read(spec).await {
        Ok(read) => read,
        // Retention passed the reader between the look and the read.
        Err(LogError::OutOfRange { .. }) => return Err(ReadFailure::OffsetOutOfRange),
        Err(LogError::Offline | LogError::DiskFull | LogError::Damaged { .. }) => {
            return Err(ReadFailure::Storage);
        }
    };
    make_resident(&read.slices).await.map_err(|_| ReadFailure::Storage)?;
    Ok(read)
}

/// The aborted transactions up to `next_offset`, for who reads committed records (F3).
async fn aborted(
    replica: &Replica,
    item: &ReadItem,
    view: &View,
    next_offset: Offset,
    isolation: Isolation,
) -> Result<Option<Vec<AbortedTransaction>>, ReadFailure> {
    if isolation == Isolation::ReadUncommitted || view.diverging.is_some() {
        return Ok(None);
    }
    match replica.log.aborted(item.fetch_offset, next_offset).await {
        Ok(aborted) => Ok(Some(aborted)),
        Err(LogError::OutOfRange { .. }) => Err(ReadFailure::OffsetOutOfRange),
        Err(LogError::Offline | LogError::DiskFull | LogError::Damaged { .. }) => {
            Err(ReadFailure::Storage)
        }
    }
}

/// Brings the pages of file ranges into memory, off the shard: `sendfile` must not wait for a disk.
async fn make_resident(slices: &[Slice]) -> Result<(), IoError> {
    for slice in slices {
        if let Slice::File(file) = slice {
            sendfile::make_resident(file.clone()).await?;
        }
    }
    Ok(())
}

fn view(core: &Leader, item: &ReadItem, isolation: Isolation) -> Result<View, ReadFailure> {
    core.check_epoch(item.current_leader_epoch).map_err(ReadFailure::Epoch)?;
    let diverging = diverging(core, item)?;
    if diverging.is_none() {
        core.check_fetch_offset(item.fetch_offset).map_err(|_| ReadFailure::OffsetOutOfRange)?;
    }
    Ok(View {
        high_watermark: core.high_watermark(),
        last_stable_offset: core.last_stable_offset(),
        log_start: core.log_start_offset(),
        end: core.readable_end(isolation),
        diverging,
    })
}

/// Where the reader's history parts from ours, if it said what it has and it does.
fn diverging(core: &Leader, item: &ReadItem) -> Result<Option<Diverging>, ReadFailure> {
    if item.last_fetched_epoch == LeaderEpoch::NONE {
        return Ok(None);
    }
    let ours = core.offset_for_leader_epoch(item.last_fetched_epoch);
    if ours.epoch == LeaderEpoch::NONE || ours.end == Offset::NONE {
        return Err(ReadFailure::OffsetOutOfRange);
    }
    let parts = ours.epoch < item.last_fetched_epoch || ours.end < item.fetch_offset;
    Ok(parts.then_some(Diverging { epoch: ours.epoch, end: ours.end }))
}

fn failed(failure: ReadFailure) -> ReadAnswer {
    ReadAnswer {
        result: Err(failure),
        bytes: 0,
        more: false,
        high_watermark: Offset::NONE,
        last_stable_offset: Offset::NONE,
        log_start: Offset::NONE,
        diverging: None,
        aborted: None,
    }
}

/// A watch that fires once `bytes` beyond the readers' offsets are readable, or at once if more
/// than was answered has become readable meanwhile, or a partition is not here.
pub fn watch(
    replicas: &Replicas,
    items: &[(TopicPartition, Offset)],
    bytes: usize,
    isolation: Isolation,
) -> Rc<Watch> {
    let watch = Watch::new(bytes);
    for &(partition, answered) in items {
        match replicas.get(partition) {
            Some(replica) if !has_more(&replica, answered, isolation) => {
                replica.watchers(isolation).add(&watch);
            }
            _ => {
                watch.fire();
                break;
            }
        }
    }
    watch
}

fn has_more(replica: &Replica, answered: Offset, isolation: Isolation) -> bool {
    answered < replica.core.borrow().readable_end(isolation)
}
