//! What a connection's shard asks of the shard that owns a partition, and the answers.
//!
//! In:   parsed and checked requests of clients.
//! Out:  per-partition results, typed; Kafka codes are chosen in `crate::broker::errors`.
//! Home: values that cross the mesh: whoever sends one gives it away.

use bytes::BytesMut;

use crate::io::file::IoError;
use crate::io::slice::Slice;
use crate::model::ids::{ProducerEpoch, ProducerId, TopicPartition, TransactionVersion};
use crate::model::offset::{LeaderEpoch, Offset};
use crate::model::time::{Micros, Timestamp};
use crate::partition::leader::{
    Acks, AppendError, EpochMismatch, Isolation, OffsetNotAvailable, Verification,
};
use crate::partition::producers::{ActiveProducer, ProducerError};
use crate::partition::verification::{Begun, FirstBatch};
use crate::record::batch::BatchInfo;
use crate::record::control::Outcome;
use crate::storage::log::AppendRefused;
use crate::storage::reader::ReadPath;
use crate::storage::txn_index::AbortedTransaction;

/// One batch for one partition: checked by the connection's shard, not yet stamped.
#[derive(Debug)]
pub struct AppendItem {
    /// Where it goes.
    pub partition: TopicPartition,
    /// The whole batch, this item's own region of the frame.
    pub batch: BytesMut,
    /// Its header, parsed.
    pub info: BatchInfo,
    /// Bytes of the buffer that `batch` is a part of.
    pub frame_bytes: usize,
    /// The time stamped into it where the topic stamps by `LogAppendTime`, else none.
    pub log_append_time: Timestamp,
    /// When the producer wants its answer; `acks=all` is gated by `min.insync.replicas`.
    pub acks: Acks,
    /// What stands for the transaction's coordinator; of no meaning outside a transaction.
    pub verification: Verification,
}

/// The end of one transaction in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkerItem {
    /// Where it goes, whether the transaction has written there or not.
    pub partition: TopicPartition,
    /// Whose transaction.
    pub producer_id: ProducerId,
    /// Under transactions v2 the epoch after the transaction's own.
    pub producer_epoch: ProducerEpoch,
    /// How it ended.
    pub outcome: Outcome,
    /// Epoch of the coordinator's own partition.
    pub coordinator_epoch: i32,
    /// Whose rules hold for the epoch.
    pub version: TransactionVersion,
}

/// Why a marker is not in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkerFailure {
    /// No such replica on that shard: not created yet, or deleted, when nothing is left to end.
    NotHere,
    /// The producer or the coordinator has been fenced: final.
    Fenced(ProducerError),
    /// Too few replicas are in sync, the disk is full, or the group coordinator is not ready yet:
    /// another try may succeed.
    Retriable,
    /// The log directory has failed and takes nothing more.
    Offline,
}

/// What an owner answers for one marker, once it is durable.
pub type MarkerResult = Result<(), MarkerFailure>;

/// The first batch of a transaction in a partition, of which its coordinator is about to be asked.
#[derive(Clone, Copy, Debug)]
pub struct BeginItem {
    /// Where the batch is to go.
    pub partition: TopicPartition,
    /// The batch.
    pub first: FirstBatch,
}

/// A batch that is in the log, as durably as its topic's flush policy promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// The broker's time if the topic stamps by `LogAppendTime`, else [`Timestamp::NONE`].
    pub log_append_time: Timestamp,
    /// The partition's log start offset.
    pub log_start: Offset,
}

/// Why a partition did not take a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendFailure {
    /// No such replica on that shard: not created yet, or deleted.
    NotHere,
    /// The partition's rules refuse it.
    Refused {
        /// Why.
        error: AppendError,
        /// Where the log starts, which its producer is told beside the error.
        log_start: Offset,
    },
    /// The log has no room on disk; reads go on.
    DiskFull,
    /// The log directory has failed and takes nothing more.
    Offline,
}

impl From<AppendRefused> for AppendFailure {
    fn from(refused: AppendRefused) -> AppendFailure {
        match refused {
            AppendRefused::DiskFull | AppendRefused::QueueFull => AppendFailure::DiskFull,
            AppendRefused::Offline => AppendFailure::Offline,
        }
    }
}

/// What an owner answers for one batch.
pub type AppendResult = Result<Appended, AppendFailure>;

/// One partition of a fetch.
#[derive(Clone, Copy, Debug)]
pub struct ReadItem {
    /// What to read.
    pub partition: TopicPartition,
    /// First offset wanted.
    pub fetch_offset: Offset,
    /// Most bytes of this partition.
    pub max_bytes: usize,
    /// The reader's idea of the leader epoch.
    pub current_leader_epoch: LeaderEpoch,
    /// Epoch of the reader's last record (KIP-595), or [`LeaderEpoch::NONE`].
    pub last_fetched_epoch: LeaderEpoch,
}

/// A read of several partitions of one shard, in order.
#[derive(Clone, Debug)]
pub struct ReadRequest {
    /// The partitions.
    pub items: Vec<ReadItem>,
    /// Most bytes over all of them.
    pub max_bytes: usize,
    /// Whether the first non-empty partition gives at least one whole batch, however large.
    pub min_one: bool,
    /// What the reader may see.
    pub isolation: Isolation,
    /// How records that are no longer in memory go to the reader.
    pub path: ReadPath,
}

/// Why a partition was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFailure {
    /// No such replica on that shard.
    NotHere,
    /// The offset is below the log's start or above its end.
    OffsetOutOfRange,
    /// The reader's leader epoch is not ours.
    Epoch(EpochMismatch),
    /// A new leader does not know yet how far its predecessor's readers could see.
    NotAvailable(OffsetNotAvailable),
    /// The disk failed, or the range is damaged.
    Storage,
}

/// Where a reader's history parts from ours. Source: KIP-595.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Diverging {
    /// The largest epoch of ours that is not above the reader's.
    pub epoch: LeaderEpoch,
    /// Where that epoch ends here.
    pub end: Offset,
}

/// One partition's answer to a fetch.
#[derive(Clone, Debug)]
pub struct ReadAnswer {
    /// Whole batches, or why there are none.
    pub result: Result<Vec<Slice>, ReadFailure>,
    /// Bytes of all slices.
    pub bytes: usize,
    /// Whether more is readable than the limits let in: no use in waiting for bytes.
    pub more: bool,
    /// -1 in error.
    pub high_watermark: Offset,
    /// -1 in error.
    pub last_stable_offset: Offset,
    /// -1 in error.
    pub log_start: Offset,
    /// Set when the reader's last epoch parts from ours.
    pub diverging: Option<Diverging>,
    /// The aborted transactions in what is returned; `None` to who reads uncommitted records, and
    /// where nothing was read.
    pub aborted: Option<Vec<AbortedTransaction>>,
}

/// Asks to be told when enough has become readable.
#[derive(Clone, Debug)]
pub struct WatchRequest {
    /// The watcher's own number, for [`ShardRequest::Unwatch`].
    pub id: u64,
    /// The partitions, and up to where the reader has been answered.
    pub items: Vec<(TopicPartition, Offset)>,
    /// Fires once at least this many further bytes are readable, over all items.
    pub bytes: usize,
    /// What the reader may see.
    pub isolation: Isolation,
    /// Fires by then in any case.
    pub deadline: Micros,
}

/// A question about offsets (ListOffsets).
#[derive(Clone, Copy, Debug)]
pub struct OffsetQuery {
    /// The partition.
    pub partition: TopicPartition,
    /// The reader's idea of the leader epoch.
    pub current_leader_epoch: LeaderEpoch,
    /// What is asked.
    pub spec: OffsetSpec,
    /// What the reader may see.
    pub isolation: Isolation,
}

/// The special timestamps of ListOffsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// -1: the end the reader may see.
    Latest,
    /// -2, and -4 without tiering: the log start.
    Earliest,
    /// -3: the record with the largest timestamp.
    MaxTimestamp,
    /// -5 and -6: nothing is tiered here.
    Tiered,
    /// The first record at or after this time.
    At(Timestamp),
    /// The first record at or after this offset, whose batch tells the time: that of its first
    /// record, or of its append where the topic stamps by `LogAppendTime`. No client asks this.
    From(Offset),
}

/// The answer to an [`OffsetQuery`]; all -1 where there is no such record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetFound {
    /// The record's offset.
    pub offset: Offset,
    /// Its timestamp where the question was about time.
    pub timestamp: Timestamp,
    /// Epoch of the record.
    pub leader_epoch: LeaderEpoch,
}

/// A question of OffsetForLeaderEpoch.
#[derive(Clone, Copy, Debug)]
pub struct EpochQuery {
    /// The partition.
    pub partition: TopicPartition,
    /// The reader's idea of the leader epoch.
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch whose end is wanted.
    pub epoch: LeaderEpoch,
}

/// Records of a partition to delete (DeleteRecords).
#[derive(Clone, Copy, Debug)]
pub struct DeleteRecordsItem {
    /// The partition.
    pub partition: TopicPartition,
    /// The first offset to keep; -1 for all that consumers can read to go.
    pub before: Offset,
}

/// Why records are not deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteRecordsFailure {
    /// No such replica on that shard.
    NotHere,
    /// The offset is below 0 or above the high watermark.
    OffsetOutOfRange,
    /// The disk failed.
    Storage,
}

/// What one shard asks of another.
#[derive(Debug)]
pub enum ShardRequest {
    /// Append batches; answered once all are as durable as promised.
    Append(Vec<AppendItem>),
    /// Read now, waiting for nothing but the disk.
    Read(ReadRequest),
    /// Wait for readable bytes.
    Watch(WatchRequest),
    /// A watch is no longer wanted.
    Unwatch(u64),
    /// Look offsets up.
    Offsets(Vec<OffsetQuery>),
    /// Look epoch ends up.
    EpochEnds(Vec<EpochQuery>),
    /// Delete the first records; answered once that is durable.
    DeleteRecords(Vec<DeleteRecordsItem>),
    /// Tell the bytes of every log.
    LogSizes,
    /// Tell the producers that partitions know.
    Producers(Vec<TopicPartition>),
    /// Write ends of transactions; answered once they are durable, and known to the coordinator
    /// that the partition is, if it is one.
    WriteMarkers(Vec<MarkerItem>),
    /// Tell what first batches need before their append.
    BeginTransactions(Vec<BeginItem>),
    /// The log directory has failed on another shard: stop here too.
    DirectoryFailed(IoError),
}

/// The answers, in the order of the items asked.
#[derive(Debug)]
pub enum ShardReply {
    /// To [`ShardRequest::Append`].
    Append(Vec<AppendResult>),
    /// To [`ShardRequest::Read`].
    Read(Vec<ReadAnswer>),
    /// To what asks for nothing.
    Done,
    /// To [`ShardRequest::Offsets`].
    Offsets(Vec<Result<OffsetFound, ReadFailure>>),
    /// To [`ShardRequest::EpochEnds`].
    EpochEnds(Vec<Result<Diverging, ReadFailure>>),
    /// To [`ShardRequest::DeleteRecords`]: the first offset that there is now.
    RecordsDeleted(Vec<Result<Offset, DeleteRecordsFailure>>),
    /// To [`ShardRequest::LogSizes`], in no order.
    LogSizes(Vec<(TopicPartition, u64)>),
    /// To [`ShardRequest::WriteMarkers`].
    MarkersWritten(Vec<MarkerResult>),
    /// To [`ShardRequest::BeginTransactions`]; none where there is no such replica.
    TransactionsBegun(Vec<Option<Begun>>),
    /// To [`ShardRequest::Producers`].
    Producers(Vec<Result<Vec<ActiveProducer>, ReadFailure>>),
}
