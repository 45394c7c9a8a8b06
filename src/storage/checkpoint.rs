//! `log-checkpoint`: what a restart must know and batches cannot say.
//!
//! In:   [`Checkpoint`] values, from the log.
//! Out:  the newest whole one, after a restart.
//! Home: one shard.
//!
//! Words of the record, in the slots of `two_slots.rs`: log start i64 · proven segment i64 · proven
//! position u64 · proven offset i64 · cut i64 (-1: none).

use crate::model::offset::Offset;
use crate::storage::two_slots::{Newest, Record, TwoSlots};

/// Name of the file.
pub(super) const CHECKPOINT_NAME: &str = "log-checkpoint";

const FLAG_CLEAN: u16 = 1;
const FLAG_EPOCHS_STALE: u16 = 2;

/// The open file.
pub(super) type CheckpointFile<F> = TwoSlots<F, Checkpoint>;
/// What a restart finds; no file: the log is new, or has never proven anything.
pub(super) type Loaded = Newest<Checkpoint>;

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

impl Record for Checkpoint {
    const NAME: &'static str = CHECKPOINT_NAME;
    const MAGIC: u32 = 0x4b50_4359;
    const VERSION: u16 = 1;
    const WORDS: usize = 5;

    fn to_words(&self) -> (u16, Vec<u64>) {
        let flag = |set: bool, flag: u16| if set { flag } else { 0 };
        let flags = flag(self.clean, FLAG_CLEAN) | flag(self.epochs_stale, FLAG_EPOCHS_STALE);
        let words = vec![
            self.log_start.0.cast_unsigned(),
            self.proven_segment.0.cast_unsigned(),
            self.proven_position,
            self.proven_offset.0.cast_unsigned(),
            self.cut.unwrap_or(Offset::NONE).0.cast_unsigned(),
        ];
        (flags, words)
    }

    fn of_words(flags: u16, words: &[u64]) -> Option<Checkpoint> {
        let &[log_start, proven_segment, proven_position, proven_offset, cut] = words else {
            return None;
        };
        let offset = |word: u64| Offset(word.cast_signed());
        let checkpoint = Checkpoint {
            clean: flags & FLAG_CLEAN != 0,
            epochs_stale: flags & FLAG_EPOCHS_STALE != 0,
            log_start: offset(log_start),
            proven_segment: offset(proven_segment),
            proven_position,
            proven_offset: offset(proven_offset),
            cut: Some(offset(cut)).filter(|cut| *cut != Offset::NONE),
        };
        let sane =
            checkpoint.log_start >= Offset::ZERO && checkpoint.proven_segment >= Offset::ZERO;
        sane.then_some(checkpoint)
    }

    fn is_final(&self) -> bool {
        self.clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_words_say_it_whole_and_offsets_that_cannot_be_are_refused() {
        for (clean, epochs_stale, cut) in
            [(true, false, Some(Offset(9))), (false, true, None), (true, true, Some(Offset(0)))]
        {
            let checkpoint = Checkpoint {
                clean,
                epochs_stale,
                log_start: Offset(3),
                proven_segment: Offset(7),
                proven_position: 4096,
                proven_offset: Offset(8),
                cut,
            };
            let (flags, words) = checkpoint.to_words();
            assert_eq!(Checkpoint::of_words(flags, &words), Some(checkpoint));
            for at in [0, 1] {
                let mut bad = words.clone();
                bad[at] = u64::MAX;
                assert_eq!(Checkpoint::of_words(flags, &bad), None, "word {at}");
            }
            assert_eq!(Checkpoint::of_words(flags, &words[1..]), None);
        }
    }
}
