//! From a partition's log to a core's state.
//!
//! In:   the batches of a coordinator's partition, in order.
//! Out:  a core to which each of its records was replayed.
//! Home: the partition's shard; yields, so that others go on meanwhile.

use crate::io::slice::Slice;
use crate::record::batch::{Batch, Codec, batches};
use crate::record::compression::Decompressor;
use crate::record::control::Control;
use crate::record::records::Records;
use crate::replica::local::Replica;
use crate::shard::tasks;
use crate::storage::log::LogError;
use crate::storage::reader::{ReadPath, ReadRequest};

use super::core::Core;

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;
/// A batch of a foreign writer unpacks to at most so much; ours are not packed.
const UNPACKED_BYTES_MAX: usize = 64 << 20;

/// Why a log could not be loaded.
#[derive(Debug)]
pub(super) enum LoadError {
    /// It could not be read.
    Log(LogError),
    /// A batch that passed its checksum cannot be parsed, or a record of a known type in it.
    BadBatch {
        /// Its base offset.
        base_offset: i64,
    },
    /// Records that should be there cannot be had.
    Gap {
        /// The first of them.
        from: i64,
    },
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Log(error) => error.fmt(f),
            Self::BadBatch { base_offset } => write!(f, "bad batch at offset {base_offset}"),
            Self::Gap { from } => write!(f, "no records from offset {from} on"),
        }
    }
}

/// Replays the whole log. Errors: [`LoadError`].
pub(super) async fn load<C: Core>(
    replica: &Replica,
    settings: C::Settings,
) -> Result<C, LoadError> {
    let mut core = C::new(settings);
    let mut working = Working::default();
    let log = &replica.log;
    let end = log.log_end();
    // What one that failed had staged may not be durable yet: no state to answer from.
    log.wait_durable(end).await.map_err(LoadError::Log)?;
    let mut from = log.log_start();
    while from < end {
        let request = ReadRequest {
            from,
            upto: end,
            max_bytes: READ_BYTES,
            min_one: true,
            path: ReadPath::Memory,
        };
        let read = log.read(request).await.map_err(LoadError::Log)?;
        for slice in &read.slices {
            let Slice::Memory(bytes) = slice else { panic!("memory was asked for") };
            for batch in batches(bytes) {
                let batch = batch.map_err(|_| LoadError::BadBatch { base_offset: from.0 })?;
                working.replay(&batch, &mut core)?;
                tasks::yield_if_needed().await;
            }
        }
        if read.next_offset <= from {
            return Err(LoadError::Gap { from: from.0 }); // a part of the state is not the state
        }
        from = read.next_offset;
    }
    Ok(core)
}

#[derive(Default)]
struct Working {
    unpacked: Vec<u8>,
    decompressor: Decompressor,
}

impl Working {
    fn replay<C: Core>(&mut self, batch: &Batch<'_>, core: &mut C) -> Result<(), LoadError> {
        let header = batch.header();
        let bad = || LoadError::BadBatch { base_offset: header.base_offset().0 };
        let attributes = header.attributes();
        let payload = match attributes.codec().map_err(|_| bad())? {
            Codec::None => batch.payload(),
            packed => {
                let unpacked = &mut self.unpacked;
                self.decompressor
                    .decompress(packed, batch.payload(), UNPACKED_BYTES_MAX, unpacked)
                    .map_err(|_| bad())?;
                self.unpacked.as_slice()
            }
        };
        let producer = attributes.is_transactional().then(|| header.producer_id());
        for record in Records::new(payload, header.record_count()) {
            let record = record.map_err(|_| bad())?;
            if attributes.is_control() {
                match Control::decode(record.key, record.value).map_err(|_| bad())? {
                    Control::End(marker) => core.replay_end(header.producer_id(), marker.outcome),
                    Control::Other { .. } => {}
                }
                continue;
            }
            let key = record.key.ok_or_else(bad)?;
            core.replay_record(key, record.value, producer).map_err(|_| bad())?;
        }
        Ok(())
    }
}
