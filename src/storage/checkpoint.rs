//! `log-checkpoint`: what a restart must know and batches cannot say, in two slots.
//!
//! In:   [`Checkpoint`] values, from the log.
//! Out:  the newest whole one, after a restart.
//! Home: one shard.
//!
//! Invariants
//!   K1  A slot is overwritten only while the other holds the newest whole record before it, so
//!       a torn write costs the newest record and never both.
//!   K2  Sequence numbers grow by one with each store.
//!   K3  What a restart acts on is durable: else a power cut after it brings the older record back.
//!
//! Layout of a slot, one block each, little-endian: magic u32 · version u16 · flags u16 ·
//! sequence u64 · log start i64 · proven segment i64 · proven position u64 · proven offset
//! i64 · cut i64 · CRC-32C u32 over what is before it · zeros.

use std::cell::RefCell;
use std::rc::Rc;

use crate::constants::BLOCK_BYTES;
use crate::io::directory::Directory;
use crate::io::file::{Durability, File, IoError};
use crate::model::offset::Offset;
use crate::record::crc::crc32c;

/// Name of the file.
pub(super) const CHECKPOINT_NAME: &str = "log-checkpoint";

const MAGIC: u32 = 0x4b50_4359;
const VERSION: u16 = 1;
const FLAG_CLEAN: u16 = 1;
const FLAG_EPOCHS_STALE: u16 = 2;
const RECORD_BYTES: usize = 60;
const CRC_AT: usize = RECORD_BYTES - 4;

/// What is known to be durable, and what was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// The log was closed in order; nothing was written since.
    pub(super) clean: bool,
    /// The table of epochs on disk is older than this: batches tell more.
    pub(super) epochs_stale: bool,
    /// First offset of the log.
    pub(super) log_start: Offset,
    /// Base offset of the segment in which the proven end lies.
    pub(super) proven_segment: Offset,
    /// All before this position of that segment, and all segments before it, has been synced.
    pub(super) proven_position: u64,
    /// The offset that begins there.
    pub(super) proven_offset: Offset,
    /// A truncation to this offset was begun and may not be complete.
    pub(super) cut: Option<Offset>,
}

/// What a restart finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loaded {
    /// There is no such file: the log is new, or has never proven anything.
    None,
    /// The newest whole record.
    Found(Checkpoint),
    /// The file is there, and neither slot is whole.
    Unreadable,
}

/// The open file.
pub(super) struct CheckpointFile<F> {
    slots: RefCell<Slots<F>>,
}

struct Slots<F> {
    file: Option<Rc<F>>,
    sequence: u64,
}

impl<F: File> CheckpointFile<F> {
    /// Reads what is there. Errors: the disk's.
    pub(super) async fn load<D: Directory<File = F>>(
        directory: &D,
    ) -> Result<(CheckpointFile<F>, Loaded), IoError> {
        let make =
            |file, sequence| CheckpointFile { slots: RefCell::new(Slots { file, sequence }) };
        let file = match directory.open(CHECKPOINT_NAME).await {
            Ok(file) => Rc::new(file),
            Err(IoError::NotFound) => return Ok((make(None, 0), Loaded::None)),
            Err(error) => return Err(error),
        };
        let bytes = file.read_at(0, 2 * BLOCK_BYTES).await?;
        let newest =
            bytes.chunks(BLOCK_BYTES).filter_map(decode).max_by_key(|(sequence, _)| *sequence);
        if !newest.is_some_and(|(_, checkpoint)| checkpoint.clean) {
            // A slot whose write a kill interrupted can be seen and not be durable (K3).
            file.sync().await?;
        }
        Ok(match newest {
            Some((sequence, checkpoint)) => (make(Some(file), sequence), Loaded::Found(checkpoint)),
            // The next store makes the file anew.
            None => (make(None, 0), Loaded::Unreadable),
        })
    }

    /// Makes `checkpoint` the newest, durably. Not to be called twice at once: the log's gate.
    ///
    /// Errors: `NoSpace` only when the file is made; any other is final for the directory.
    pub(super) async fn store<D: Directory<File = F>>(
        &self,
        directory: &D,
        checkpoint: &Checkpoint,
    ) -> Result<(), IoError> {
        let (file, sequence) = {
            let slots = self.slots.borrow();
            (slots.file.clone(), slots.sequence + 1)
        };
        let record = encode(sequence, checkpoint);
        let place = usize::try_from(sequence % 2).expect("0 or 1") * BLOCK_BYTES;
        let file = match file {
            Some(file) => {
                let mut buffer = file.buffer(BLOCK_BYTES);
                buffer.fill(0);
                buffer[..RECORD_BYTES].copy_from_slice(&record);
                file.write_at(buffer, place as u64, Durability::Synced).await?;
                file
            }
            None => {
                let mut content = vec![0; 2 * BLOCK_BYTES];
                content[place..place + RECORD_BYTES].copy_from_slice(&record);
                directory.write_small(CHECKPOINT_NAME, &content).await?;
                Rc::new(directory.open(CHECKPOINT_NAME).await?)
            }
        };
        *self.slots.borrow_mut() = Slots { file: Some(file), sequence };
        Ok(())
    }

    /// Whether the file has been made.
    pub(super) fn exists(&self) -> bool {
        self.slots.borrow().file.is_some()
    }
}

fn encode(sequence: u64, checkpoint: &Checkpoint) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    let flag = |set: bool, flag: u16| if set { flag } else { 0 };
    let flags =
        flag(checkpoint.clean, FLAG_CLEAN) | flag(checkpoint.epochs_stale, FLAG_EPOCHS_STALE);
    record[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    record[4..6].copy_from_slice(&VERSION.to_le_bytes());
    record[6..8].copy_from_slice(&flags.to_le_bytes());
    record[8..16].copy_from_slice(&sequence.to_le_bytes());
    record[16..24].copy_from_slice(&checkpoint.log_start.0.to_le_bytes());
    record[24..32].copy_from_slice(&checkpoint.proven_segment.0.to_le_bytes());
    record[32..40].copy_from_slice(&checkpoint.proven_position.to_le_bytes());
    record[40..48].copy_from_slice(&checkpoint.proven_offset.0.to_le_bytes());
    record[48..56].copy_from_slice(&checkpoint.cut.unwrap_or(Offset::NONE).0.to_le_bytes());
    let crc = crc32c(&record[..CRC_AT]);
    record[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    record
}

fn decode(slot: &[u8]) -> Option<(u64, Checkpoint)> {
    let record = slot.get(..RECORD_BYTES)?;
    let u16_at = |at: usize| Some(u16::from_le_bytes(record.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_le_bytes(record.get(at..at + 4)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_le_bytes(record.get(at..at + 8)?.try_into().ok()?));
    let offset_at = |at: usize| u64_at(at).map(|bits| Offset(bits.cast_signed()));
    let whole = u32_at(0)? == MAGIC
        && u16_at(4)? == VERSION
        && u32_at(CRC_AT)? == crc32c(&record[..CRC_AT]);
    let checkpoint = Checkpoint {
        clean: u16_at(6)? & FLAG_CLEAN != 0,
        epochs_stale: u16_at(6)? & FLAG_EPOCHS_STALE != 0,
        log_start: offset_at(16)?,
        proven_segment: offset_at(24)?,
        proven_position: u64_at(32)?,
        proven_offset: offset_at(40)?,
        cut: Some(offset_at(48)?).filter(|cut| *cut != Offset::NONE),
    };
    let sane = checkpoint.log_start >= Offset::ZERO && checkpoint.proven_segment >= Offset::ZERO;
    (whole && sane).then_some((u64_at(8)?, checkpoint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_survives_and_any_flipped_bit_is_noticed() {
        let checkpoint = Checkpoint {
            clean: true,
            epochs_stale: false,
            log_start: Offset(3),
            proven_segment: Offset(7),
            proven_position: 4096,
            proven_offset: Offset(8),
            cut: Some(Offset(9)),
        };
        let record = encode(5, &checkpoint);
        assert_eq!(decode(&record), Some((5, checkpoint)));
        assert_eq!(decode(&record[..RECORD_BYTES - 1]), None);
        assert_eq!(decode(&[0; 4096]), None);
        for bit in 0..record.len() * 8 {
            let mut bad = record;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bad), None, "bit {bit}");
        }
    }
}
