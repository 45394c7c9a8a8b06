//! `compaction-checkpoint`: how far a log is compacted, and which replacement has been decided.
//!
//! In:   [`Compacted`] values, from `swap.rs` and `pass.rs`.
//! Out:  the newest whole one, after a restart.
//! Home: one shard.
//!
//! Invariants
//!   M1  A slot is overwritten only while the other holds the newest whole record before it,
//!       durably: a torn write costs the newest record and never both.
//!   M2  What a restart acts on is durable: the file is synced before it is believed.
//!   M3  Both slots unreadable: every segment may have holes, all of the log is to be compacted
//!       again, and no replacement is under way (`swap.rs` says why that is safe).
//!
//! Layout of a slot, one block each, little-endian: magic u32 · version u16 · 0 u16 · sequence u64
//! · end i64 · holes end i64 · swap from i64 · swap to i64 (-1, -1: none) · CRC-32C u32 over what
//! is before it · zeros.

use std::cell::RefCell;
use std::rc::Rc;

use crate::constants::BLOCK_BYTES;
use crate::io::directory::Directory;
use crate::io::file::{Durability, File, IoError};
use crate::model::offset::Offset;
use crate::record::crc::crc32c;
use crate::storage::log::OffsetRange;
use crate::storage::segment::Chain;

/// Name of the file.
pub(in crate::storage) const MANIFEST_NAME: &str = "compaction-checkpoint";

const MAGIC: u32 = 0x434d_4359;
const VERSION: u16 = 1;
const RECORD_BYTES: usize = 52;
const CRC_AT: usize = RECORD_BYTES - 4;

/// What compaction has done to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) struct Compacted {
    /// Before this, every key is there once: what a pass has looked at, Kafka's first dirty offset.
    pub(in crate::storage) end: Offset,
    /// Segments that begin before this may have holes.
    pub(in crate::storage) holes_end: Offset,
    /// The segments of this range are being replaced by one, which is whole and durable.
    pub(in crate::storage) swap: Option<OffsetRange>,
}

impl Compacted {
    /// Nothing yet.
    pub(in crate::storage) const NONE: Compacted =
        Compacted { end: Offset::ZERO, holes_end: Offset::ZERO, swap: None };
    /// Nobody can tell (M3).
    const UNKNOWN: Compacted =
        Compacted { end: Offset::ZERO, holes_end: Offset(i64::MAX), swap: None };

    /// Whether the segment that begins at `base` may have holes.
    pub(in crate::storage) fn chain_of(&self, base: Offset) -> Chain {
        if base < self.holes_end { Chain::Holes } else { Chain::Unbroken }
    }

    /// The same after the replacement.
    #[must_use]
    pub(in crate::storage) fn without_swap(self) -> Compacted {
        Compacted { swap: None, ..self }
    }

    /// The same of a log that ends at `log_end`.
    #[must_use]
    pub(in crate::storage) fn within(self, log_end: Offset) -> Compacted {
        Compacted { end: self.end.min(log_end), ..self }
    }
}

/// The open file.
pub(in crate::storage) struct ManifestFile<F> {
    slots: RefCell<Slots<F>>,
}

struct Slots<F> {
    file: Option<Rc<F>>,
    sequence: u64,
}

impl<F: File> ManifestFile<F> {
    /// Reads what is there, durably (M2). Errors: the disk's.
    pub(in crate::storage) async fn load<D: Directory<File = F>>(
        directory: &D,
    ) -> Result<(ManifestFile<F>, Compacted), IoError> {
        let make = |file, sequence| ManifestFile { slots: RefCell::new(Slots { file, sequence }) };
        let file = match directory.open(MANIFEST_NAME).await {
            Ok(file) => Rc::new(file),
            Err(IoError::NotFound) => return Ok((make(None, 0), Compacted::NONE)),
            Err(error) => return Err(error),
        };
        let bytes = file.read_at(0, 2 * BLOCK_BYTES).await?;
        let newest = bytes.chunks(BLOCK_BYTES).filter_map(decode).max_by_key(|found| found.0);
        file.sync().await?;
        Ok(match newest {
            Some((sequence, compacted)) => (make(Some(file), sequence), compacted),
            // The next store makes the file anew.
            None => (make(None, 0), Compacted::UNKNOWN),
        })
    }

    /// Makes `compacted` the newest, durably. Not to be called twice at once: the callers hold the
    /// log's maintenance gate.
    ///
    /// Errors: `NoSpace` only when the file is made; any other is final for the directory.
    pub(in crate::storage) async fn store<D: Directory<File = F>>(
        &self,
        directory: &D,
        compacted: &Compacted,
    ) -> Result<(), IoError> {
        let (file, sequence) = {
            let slots = self.slots.borrow();
            (slots.file.clone(), slots.sequence + 1)
        };
        let record = encode(sequence, compacted);
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
                directory.write_small(MANIFEST_NAME, &content).await?;
                Rc::new(directory.open(MANIFEST_NAME).await?)
            }
        };
        *self.slots.borrow_mut() = Slots { file: Some(file), sequence };
        Ok(())
    }
}

fn encode(sequence: u64, compacted: &Compacted) -> [u8; RECORD_BYTES] {
    let none = OffsetRange { from: Offset::NONE, to: Offset::NONE };
    let swap = compacted.swap.unwrap_or(none);
    let mut record = [0; RECORD_BYTES];
    record[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    record[4..6].copy_from_slice(&VERSION.to_le_bytes());
    record[8..16].copy_from_slice(&sequence.to_le_bytes());
    record[16..24].copy_from_slice(&compacted.end.0.to_le_bytes());
    record[24..32].copy_from_slice(&compacted.holes_end.0.to_le_bytes());
    record[32..40].copy_from_slice(&swap.from.0.to_le_bytes());
    record[40..48].copy_from_slice(&swap.to.0.to_le_bytes());
    let crc = crc32c(&record[..CRC_AT]);
    record[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    record
}

fn decode(slot: &[u8]) -> Option<(u64, Compacted)> {
    let record = slot.get(..RECORD_BYTES)?;
    let u32_at = |at: usize| Some(u32::from_le_bytes(record.get(at..at + 4)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_le_bytes(record.get(at..at + 8)?.try_into().ok()?));
    let offset_at = |at: usize| u64_at(at).map(|bits| Offset(bits.cast_signed()));
    let whole = u32_at(0)? == MAGIC
        && record.get(4..6)? == VERSION.to_le_bytes()
        && u32_at(CRC_AT)? == crc32c(&record[..CRC_AT]);
    let swap = OffsetRange { from: offset_at(32)?, to: offset_at(40)? };
    let compacted = Compacted {
        end: offset_at(16)?,
        holes_end: offset_at(24)?,
        swap: Some(swap).filter(|swap| swap.from != Offset::NONE),
    };
    let swaps = compacted.swap.is_none_or(|s| Offset::ZERO <= s.from && s.from < s.to);
    let sane = compacted.end >= Offset::ZERO && compacted.holes_end >= Offset::ZERO && swaps;
    (whole && sane).then_some((u64_at(8)?, compacted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_survives_and_any_flipped_bit_is_noticed() {
        let swap = OffsetRange { from: Offset(0), to: Offset(9) };
        let compacted = Compacted { end: Offset(5), holes_end: Offset(9), swap: Some(swap) };
        for compacted in [compacted, compacted.without_swap(), Compacted::NONE] {
            let record = encode(5, &compacted);
            assert_eq!(decode(&record), Some((5, compacted)));
            assert_eq!(decode(&record[..RECORD_BYTES - 1]), None);
            for bit in 0..record.len() * 8 {
                let mut bad = record;
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode(&bad), None, "bit {bit}");
            }
        }
        assert_eq!(decode(&[0; 4096]), None);
    }
}
