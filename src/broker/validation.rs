//! A topic's settings as the rules of a produced batch, and a refusal as its answer.
//!
//! Source: KIP-467 (errors by record).

use bytes::BytesMut;

use crate::config::topic::{self, TopicConfig};
use crate::model::time::Timestamp;
use crate::protocol::error::ErrorCode;
use crate::protocol::produce::{BatchIndexAndErrorMessage, PartitionProduceResponse};
use crate::record::batch::{Codec, TimestampType};
use crate::record::refusal::{Refusal, ValidationError};
use crate::record::validate::{self, Checked, Compression, Keys, Rules};

use super::context::Shard;
use super::handlers::produce::answer;

/// A batch may unpack to so many times `max.message.bytes`, and at least to
/// [`UNPACKED_BYTES_FLOOR`]: repetitive records compress a thousandfold, bombs more.
const UNPACKED_FACTOR: usize = 64;
/// See [`UNPACKED_FACTOR`].
const UNPACKED_BYTES_FLOOR: usize = 16 << 20;
/// Record errors that one answer names in words, as Kafka does.
const ERRORS_NAMED_MAX: usize = 3;

/// Checks one partition's records against its topic's settings.
/// Errors: [`ValidationError`], the client's doing.
pub fn check(
    shard: &Shard,
    records: BytesMut,
    config: &TopicConfig,
    produce_version: i16,
    now: Timestamp,
) -> Result<Checked, ValidationError> {
    let batch_bytes_max = usize::try_from(config.max_message_bytes).expect("32 bits");
    let rules = Rules {
        produce_version,
        now,
        timestamp_type: match config.message_timestamp_type {
            topic::TimestampType::CreateTime => TimestampType::CreateTime,
            topic::TimestampType::LogAppendTime => TimestampType::LogAppendTime,
        },
        timestamp_before_ms_max: clamp(config.message_timestamp_before_max_ms),
        timestamp_after_ms_max: clamp(config.message_timestamp_after_max_ms),
        keys: if config.cleanup_policy.compact { Keys::Required } else { Keys::Optional },
        compression: compression(config.compression_type),
        batch_bytes_max,
        segment_bytes: usize::try_from(config.segment_bytes).expect("32 bits"),
        unpacked_bytes_max: batch_bytes_max
            .saturating_mul(UNPACKED_FACTOR)
            .max(UNPACKED_BYTES_FLOOR),
    };
    validate::check(records, &rules, &mut shard.scratch.borrow_mut())
}

fn clamp(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

fn compression(configured: topic::CompressionType) -> Compression {
    use topic::CompressionType as C;
    match configured {
        C::Producer => Compression::Producer,
        C::Uncompressed => Compression::Codec(Codec::None, None),
        C::Gzip { level } => {
            let level = level.map(|level| i32::try_from(level).expect("1 to 9"));
            Compression::Codec(Codec::Gzip, level)
        }
        C::Snappy => Compression::Codec(Codec::Snappy, None),
        C::Lz4 => Compression::Codec(Codec::Lz4, None),
        C::Zstd { level } => Compression::Codec(Codec::Zstd, Some(level)),
    }
}

/// The answer for a partition whose records are refused.
pub fn refused(index: i32, error: &ValidationError) -> PartitionProduceResponse {
    let mut response = answer(index, code(error));
    if let ValidationError::Refused { refusals, count, .. } = error {
        let record_error = |refusal: &Refusal| BatchIndexAndErrorMessage {
            batch_index: refusal.index,
            batch_index_error_message: Some(refusal.reason.to_string()),
            ..BatchIndexAndErrorMessage::default()
        };
        response.record_errors = refusals.iter().map(record_error).collect();
        let named = refusals.iter().take(ERRORS_NAMED_MAX);
        let named: Vec<String> =
            named.map(|one| format!("record {}: {}", one.index, one.reason)).collect();
        response.error_message =
            Some(format!("{count} records are refused, such as {}", named.join("; ")));
    }
    response
}

/// The code of a refusal. Source: `protocol.md` P21-P27.
fn code(error: &ValidationError) -> ErrorCode {
    use ValidationError as E;
    match error {
        E::NoBatch
        | E::MoreThanOneBatch
        | E::OldMagic { .. }
        | E::BaseOffset { .. }
        | E::BadCounts { .. }
        | E::Control
        | E::BadSequence { .. }
        | E::Record(_)
        | E::Refused { any_timestamp: false, .. } => ErrorCode::InvalidRecord,
        E::Refused { any_timestamp: true, .. } => ErrorCode::InvalidTimestamp,
        E::Corrupt(_) | E::Decompress(_) => ErrorCode::CorruptMessage,
        E::UnknownCodec { .. } | E::ZstdTooEarly { .. } => ErrorCode::UnsupportedCompressionType,
        E::TooLarge { .. } => ErrorCode::MessageTooLarge,
        E::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
    }
}
