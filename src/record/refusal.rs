//! Why the records that a client produces to one partition are refused.
//!
//! Out:  [`ValidationError`] for a batch as a whole, [`Refusal`]s of single records in it.
//! Home: pure values.
//!
//! Not here: the rules (`validate.rs`), which Kafka code answers which error (`broker/errors.rs`).
//! Source: `protocol.md` P20-P27.

use std::fmt;

use crate::model::time::Timestamp;
use crate::record::batch::BatchError;
use crate::record::compression::DecompressError;
use crate::record::records::RecordError;

/// Refused records that are named one by one; the rest is counted.
pub const REFUSALS_MAX: usize = 100;

/// Why one record is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// No key, in a compacted topic.
    NoKey,
    /// Too far from the broker's clock.
    TimestampOutOfRange {
        /// The record's.
        timestamp: Timestamp,
        /// The smallest allowed.
        first: Timestamp,
        /// The largest allowed.
        last: Timestamp,
    },
    /// Its batch claims a time of append, which only the broker may.
    LogAppendTimeClaimed,
}

impl RefusalReason {
    /// Whether the timestamp is the reason, which has a code of its own.
    pub fn is_timestamp(self) -> bool {
        match self {
            Self::NoKey => false,
            Self::TimestampOutOfRange { .. } | Self::LogAppendTimeClaimed => true,
        }
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => write!(f, "A compacted topic does not take a record without a key"),
            Self::TimestampOutOfRange { timestamp, first, last } => write!(
                f,
                "Timestamp {} is out of range: it should be within [{}, {}]",
                timestamp.0, first.0, last.0
            ),
            Self::LogAppendTimeClaimed => {
                write!(f, "A producer does not set the timestamp type to LogAppendTime")
            }
        }
    }
}

/// One refused record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its place in the batch, from 0.
    pub index: i32,
    /// Why.
    pub reason: RefusalReason,
}

/// Why a partition's records are refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValidationError {
    /// No whole batch at all.
    NoBatch,
    /// More than one.
    MoreThanOneBatch,
    /// A batch of the formats before magic 2.
    OldMagic {
        /// 0 or 1.
        magic: i8,
    },
    /// A frame or checksum that no batch has.
    Corrupt(BatchError),
    /// A codec id that does not exist.
    UnknownCodec {
        /// 5 to 7.
        id: u16,
    },
    /// zstd in a request of a version that does not know it.
    ZstdTooEarly {
        /// The request's version.
        produce_version: i16,
    },
    /// A base offset other than 0.
    BaseOffset {
        /// The batch's.
        base_offset: i64,
    },
    /// Larger than `max.message.bytes`, as it came or after it was packed anew.
    TooLarge {
        /// Bytes of the batch.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Larger than a segment.
    LargerThanSegment {
        /// Bytes of the batch.
        bytes: usize,
        /// `segment.bytes`.
        segment_bytes: usize,
    },
    /// Offsets and count that do not fit one another, or no record.
    BadCounts {
        /// Last offset less base offset.
        last_offset_delta: i32,
        /// What the header claims.
        record_count: i32,
    },
    /// A control batch, which only the broker writes.
    Control,
    /// A producer id without a sequence.
    BadSequence {
        /// The batch's.
        base_sequence: i32,
    },
    /// The records cannot be unpacked.
    Decompress(DecompressError),
    /// The bytes of a record are wrong.
    Record(RecordError),
    /// Records that the topic's rules refuse; the whole batch goes.
    Refused {
        /// The first [`REFUSALS_MAX`] of them, in order.
        refusals: Vec<Refusal>,
        /// How many there are.
        count: usize,
        /// Whether any of them is refused for its timestamp: then that is the answer's code.
        any_timestamp: bool,
    },
}

impl fmt::Display for ValidationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBatch => write!(f, "there is no record batch"),
            Self::MoreThanOneBatch => write!(f, "there is more than one record batch"),
            Self::OldMagic { magic } => write!(f, "record batch of magic {magic}, not 2"),
            Self::Corrupt(error) => write!(f, "{error}"),
            Self::UnknownCodec { id } => write!(f, "unknown compression type {id}"),
            Self::ZstdTooEarly { produce_version } => {
                write!(f, "Produce version {produce_version} does not know zstd")
            }
            Self::BaseOffset { base_offset } => {
                write!(f, "the base offset of a produced batch is 0, not {base_offset}")
            }
            Self::TooLarge { bytes, bytes_max } => {
                write!(f, "the record batch has {bytes} bytes, more than {bytes_max}")
            }
            Self::LargerThanSegment { bytes, segment_bytes } => {
                write!(f, "the record batch has {bytes} bytes, a segment {segment_bytes}")
            }
            Self::BadCounts { last_offset_delta, record_count } => write!(
                f,
                "the record batch claims {record_count} records and the last offset delta \
                 {last_offset_delta}"
            ),
            Self::Control => write!(f, "clients do not write control records"),
            Self::BadSequence { base_sequence } => {
                write!(f, "the sequence {base_sequence} with a producer id")
            }
            Self::Decompress(error) => write!(f, "{error}"),
            Self::Record(error) => write!(f, "{error}"),
            Self::Refused { count, any_timestamp: true, .. } => {
                write!(f, "{count} records are refused, some for their timestamp")
            }
            Self::Refused { count, any_timestamp: false, .. } => {
                write!(f, "{count} records are refused")
            }
        }
    }
}

impl std::error::Error for ValidationError {}
