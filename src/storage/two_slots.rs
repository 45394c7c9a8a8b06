//! A small record that is overwritten in place and never lost: two slots, written in turn.
//!
//! In:   [`Record`] values.
//! Out:  the newest whole one, after a restart.
//! Home: one shard.
//!
//! Invariants
//!   K1  A slot is overwritten only while the other holds the newest whole record before it,
//!       durably: a torn write costs the newest record and never both.
//!   K2  Sequence numbers grow by one with each store.
//!   K3  What a restart acts on is durable: else a power cut after it brings the older record back.
//!
//! Layout of a slot, one block each, little-endian: magic u32 · version u16 · flags u16 · sequence
//! u64 · words of the record, u64 each · CRC-32C u32 over what is before it · zeros.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;

use crate::constants::BLOCK_BYTES;
use crate::io::directory::Directory;
use crate::io::file::{Durability, File, IoError};
use crate::record::crc::crc32c;

const HEAD_BYTES: usize = 16;
const WORD_BYTES: usize = 8;
const CRC_BYTES: usize = 4;

/// What a slot holds.
pub(in crate::storage) trait Record: Sized {
    /// Name of the file.
    const NAME: &'static str;
    /// The first bytes of a slot.
    const MAGIC: u32;
    /// Version of the layout.
    const VERSION: u16;
    /// How many words it has; they fit a block.
    const WORDS: usize;

    /// Its flags and its words.
    fn to_words(&self) -> (u16, Vec<u64>);

    /// The record of these; `None` if no record has them.
    fn of_words(flags: u16, words: &[u64]) -> Option<Self>;

    /// Whether nothing was stored after it, and it was durable before its writer ended: a restart
    /// that finds it writes nothing (K3).
    fn is_final(&self) -> bool {
        false
    }
}

/// What a restart finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) enum Newest<R> {
    /// There is no such file.
    None,
    /// The newest whole record.
    Found(R),
    /// The file is there, and neither slot is whole.
    Unreadable,
}

/// The open file.
pub(in crate::storage) struct TwoSlots<F, R> {
    slots: RefCell<Slots<F>>,
    record: PhantomData<R>,
}

struct Slots<F> {
    file: Option<Rc<F>>,
    sequence: u64,
}

impl<F: File, R: Record> TwoSlots<F, R> {
    fn new(file: Option<Rc<F>>, sequence: u64) -> Self {
        TwoSlots { slots: RefCell::new(Slots { file, sequence }), record: PhantomData }
    }

    /// Reads what is there. Errors: the disk's.
    pub(in crate::storage) async fn load<D: Directory<File = F>>(
        directory: &D,
    ) -> Result<(TwoSlots<F, R>, Newest<R>), IoError> {
        let file = match directory.open(R::NAME).await {
            Ok(file) => Rc::new(file),
            Err(IoError::NotFound) => return Ok((TwoSlots::new(None, 0), Newest::None)),
            Err(error) => return Err(error),
        };
        let bytes = file.read_at(0, 2 * BLOCK_BYTES).await?;
        let slots = bytes.chunks(BLOCK_BYTES).filter_map(decode::<R>);
        let newest = slots.max_by_key(|(sequence, _)| *sequence);
        if !newest.as_ref().is_some_and(|(_, record)| record.is_final()) {
            // A slot whose write a kill interrupted can be seen and not be durable (K3).
            file.sync().await?;
        }
        Ok(match newest {
            Some((sequence, record)) => {
                (TwoSlots::new(Some(file), sequence), Newest::Found(record))
            }
            // The next store makes the file anew.
            None => (TwoSlots::new(None, 0), Newest::Unreadable),
        })
    }

    /// Makes `record` the newest, durably. Not to be called twice at once: the callers' gate.
    ///
    /// Errors: `NoSpace` only when the file is made; any other is final for the directory.
    pub(in crate::storage) async fn store<D: Directory<File = F>>(
        &self,
        directory: &D,
        record: &R,
    ) -> Result<(), IoError> {
        let (file, sequence) = {
            let slots = self.slots.borrow();
            (slots.file.clone(), slots.sequence + 1)
        };
        let slot = encode(sequence, record);
        let place = usize::try_from(sequence % 2).expect("0 or 1") * BLOCK_BYTES; // K1
        let file = match file {
            Some(file) => {
                let mut buffer = file.buffer(BLOCK_BYTES);
                buffer.fill(0);
                buffer[..slot.len()].copy_from_slice(&slot);
                file.write_at(buffer, place as u64, Durability::Synced).await?;
                file
            }
            None => {
                let mut content = vec![0; 2 * BLOCK_BYTES];
                content[place..place + slot.len()].copy_from_slice(&slot);
                directory.write_small(R::NAME, &content).await?;
                Rc::new(directory.open(R::NAME).await?)
            }
        };
        *self.slots.borrow_mut() = Slots { file: Some(file), sequence };
        Ok(())
    }

    /// Whether the file has been made.
    pub(in crate::storage) fn exists(&self) -> bool {
        self.slots.borrow().file.is_some()
    }
}

fn encode<R: Record>(sequence: u64, record: &R) -> Vec<u8> {
    let (flags, words) = record.to_words();
    assert_eq!(words.len(), R::WORDS, "a record has the words it says");
    let mut slot = Vec::with_capacity(HEAD_BYTES + R::WORDS * WORD_BYTES + CRC_BYTES);
    slot.extend(R::MAGIC.to_le_bytes());
    slot.extend(R::VERSION.to_le_bytes());
    slot.extend(flags.to_le_bytes());
    slot.extend(sequence.to_le_bytes());
    words.iter().for_each(|word| slot.extend(word.to_le_bytes()));
    let crc = crc32c(&slot);
    slot.extend(crc.to_le_bytes());
    slot
}

fn decode<R: Record>(slot: &[u8]) -> Option<(u64, R)> {
    let u16_at = |at: usize| Some(u16::from_le_bytes(slot.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_le_bytes(slot.get(at..at + 4)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_le_bytes(slot.get(at..at + 8)?.try_into().ok()?));
    let end = HEAD_BYTES + R::WORDS * WORD_BYTES;
    let whole =
        u32_at(0)? == R::MAGIC && u16_at(4)? == R::VERSION && u32_at(end)? == crc32c(&slot[..end]);
    if !whole {
        return None;
    }
    let words: Option<Vec<u64>> = (HEAD_BYTES..end).step_by(WORD_BYTES).map(u64_at).collect();
    Some((u64_at(8)?, R::of_words(u16_at(6)?, &words?)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::disk::{Crash, Disk};
    use crate::testing::run::Executor;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Pair(u16, [u64; 2]);

    impl Record for Pair {
        const NAME: &'static str = "pair";
        const MAGIC: u32 = 0x1234_5678;
        const VERSION: u16 = 3;
        const WORDS: usize = 2;

        fn to_words(&self) -> (u16, Vec<u64>) {
            (self.0, self.1.to_vec())
        }

        fn of_words(flags: u16, words: &[u64]) -> Option<Self> {
            Some(Pair(flags, words.try_into().ok()?))
        }
    }

    #[test]
    fn a_slot_survives_and_any_flipped_bit_is_noticed() {
        let pair = Pair(9, [u64::MAX, 77]);
        let slot = encode(5, &pair);
        assert_eq!(decode(&slot), Some((5, pair)));
        assert_eq!(decode::<Pair>(&slot[..slot.len() - 1]), None);
        assert_eq!(decode::<Pair>(&[0; BLOCK_BYTES]), None);
        for bit in 0..slot.len() * 8 {
            let mut bad = slot.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode::<Pair>(&bad), None, "bit {bit}");
        }
    }

    #[test]
    fn the_layout_is_that_of_the_files_there_are() {
        let slot = encode(5, &Pair(9, [0x0102, 3]));
        let words = [0x78, 0x56, 0x34, 0x12, 3, 0, 9, 0, 5, 0, 0, 0, 0, 0, 0, 0, 2, 1];
        assert_eq!(slot[..18], words);
        assert_eq!((slot[24], slot.len()), (3, 36));
        assert_eq!(slot[32..], crc32c(&slot[..32]).to_le_bytes());
    }

    /// Stores 1 to 4, is cut off at each change of that, and finds the newest or the one before.
    #[test]
    fn a_power_cut_at_any_change_leaves_the_newest_or_the_one_before() {
        let mut between = 0;
        for seed in 0..40 {
            for change in 1.. {
                let disk = Disk::new(seed);
                disk.crash_at(change);
                let stored = std::cell::Cell::new(0);
                let whole = Executor::new(&disk, seed).block_on(async {
                    let (slots, newest) = TwoSlots::load(&disk.root()).await.expect("a disk");
                    assert_eq!(newest, Newest::<Pair>::None);
                    for number in 1..=4 {
                        let pair = Pair(0, [number, !number]);
                        slots.store(&disk.root(), &pair).await.expect("room");
                        stored.set(number);
                    }
                });
                let disk = disk.crash(Crash::PowerCut, seed + change);
                let found = Executor::new(&disk, seed).block_on(async {
                    TwoSlots::<_, Pair>::load(&disk.root()).await.expect("a disk").1
                });
                let found = match found.expect("no crash is set") {
                    Newest::None => 0,
                    Newest::Found(Pair(_, [number, inverse])) => {
                        assert_eq!(inverse, !number);
                        number
                    }
                    Newest::Unreadable => panic!("K1: seed {seed}, change {change}"),
                };
                let stored = stored.get();
                assert!(stored <= found && found <= stored + 1, "{stored} stored, {found} found");
                between += u64::from(found > stored);
                if whole.is_ok() {
                    break;
                }
            }
        }
        assert!(between > 0, "vacuous: no record survived that was not known to");
    }
}
