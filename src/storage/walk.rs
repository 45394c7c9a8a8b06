//! A walk over the batches of a segment's file, trusting nothing that is read.
//!
//! In:   a file, a boundary of batches to begin at, how far and how closely to look.
//! Out:  each batch's numbers, and where and why the walk ended.
//! Home: one shard.
//!
//! Invariants
//!   Y1  A batch is accepted only if magic, length bounds and (with [`Look::Whole`]) CRC hold, its
//!       base offset is the expected one (or greater, in a compacted segment) and its leader epoch
//!       does not fall (W9).
//!   Y2  Memory: one chunk, or one batch if that is larger; a length never sizes a read beyond the
//!       file's end.

use bytes::Bytes;

use crate::io::file::{File, IoError};
use crate::model::offset::{LeaderEpoch, Offset};
use crate::record::batch::{Batch, BatchHeader, BatchInfo, HEADER_BYTES, MAGIC};
use crate::record::control::EndMarker;
use crate::storage::segment::{Chain, Mark};

/// Bytes read at once.
pub(super) const WALK_BYTES: usize = 1 << 20;

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// At headers alone: the bytes are known to have been durable.
    Headers,
    /// At all bytes, by their CRC.
    Whole,
}

/// Why a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The limit was reached, at a boundary of batches.
    Limit,
    /// The next header's bytes are all zero, or the file ends: nothing was written here.
    Zeros,
    /// The next bytes are no acceptable batch.
    Bad,
    /// The caller wanted no more.
    Enough,
}

/// What the walk expects next, and how far it goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    pub(super) from: Mark,
    /// Smallest epoch acceptable, here and, as batches have greater ones, further on; `None`: any
    /// follows any, since the caller knows better.
    pub(super) epoch: Option<LeaderEpoch>,
    /// The walk ends at this position; a batch that passes it is bad.
    pub(super) limit: u64,
    pub(super) look: Look,
    pub(super) chain: Chain,
}

impl Course {
    /// Over headers of any epoch, from `from` to `limit`.
    pub(super) fn headers(from: Mark, limit: u64, chain: Chain) -> Course {
        Course { from, epoch: Some(LeaderEpoch::NONE), limit, look: Look::Headers, chain }
    }
}

/// A window on a file.
pub(super) struct Window<'a, F> {
    file: &'a F,
    position: u64,
    bytes: Bytes,
}

impl<'a, F: File> Window<'a, F> {
    pub(super) fn new(file: &'a F) -> Window<'a, F> {
        Window { file, position: 0, bytes: Bytes::new() }
    }

    /// The bytes from `position`, `length` of them unless the file ends before.
    pub(super) async fn at(&mut self, position: u64, length: usize) -> Result<Bytes, IoError> {
        let inside = position
            .checked_sub(self.position)
            .and_then(|skip| usize::try_from(skip).ok())
            .filter(|skip| skip + length <= self.bytes.len());
        if let Some(skip) = inside {
            return Ok(self.bytes.slice(skip..skip + length));
        }
        self.bytes = self.file.read_at(position, length.max(WALK_BYTES)).await?;
        self.position = position;
        Ok(self.bytes.slice(..length.min(self.bytes.len())))
    }
}

/// Bytes of a control batch at most that a walk looks into; a marker's has 78.
const CONTROL_BYTES_MAX: u32 = 1 << 10;

/// A batch that a walk has met.
pub(super) struct Met<'a> {
    /// Its numbers.
    pub(super) info: &'a BatchInfo,
    /// Where it begins.
    pub(super) position: u64,
    /// The bytes of its header.
    pub(super) header: &'a [u8],
    /// All its bytes with [`Look::Whole`], else those of its header.
    pub(super) whole: &'a [u8],
    /// What it says, if it is a control batch that ends a transaction.
    pub(super) marker: Option<EndMarker>,
}

/// Walks; `batch` sees each accepted batch and says whether to take it and go on. The mark in the
/// result is behind the last one taken.
///
/// Errors: the disk's, on a read.
pub(super) async fn walk<F: File>(
    file: &F,
    course: Course,
    mut batch: impl FnMut(&Met<'_>) -> bool,
) -> Result<(Mark, Stop), IoError> {
    let mut window = Window::new(file);
    let (mut at, mut epoch) = (course.from, course.epoch);
    loop {
        if at.position == course.limit {
            return Ok((at, Stop::Limit));
        }
        let header = window.at(at.position, HEADER_BYTES).await?;
        if header.iter().all(|byte| *byte == 0) {
            return Ok((at, Stop::Zeros));
        }
        let room = course.limit.saturating_sub(at.position);
        let least = epoch.unwrap_or(LeaderEpoch::NONE);
        let Some(info) = acceptable(&header, at.offset, least, room, course.chain) else {
            return Ok((at, Stop::Bad));
        };
        let mut whole = None;
        if course.look == Look::Whole {
            let length = usize::try_from(info.bytes).unwrap_or(usize::MAX);
            let bytes = window.at(at.position, length).await?;
            if !Batch::first(&bytes).is_ok_and(|batch| batch.verify_crc().is_ok()) {
                return Ok((at, Stop::Bad));
            }
            whole = Some(bytes);
        }
        let marker = match info.attributes.is_control() && info.bytes <= CONTROL_BYTES_MAX {
            true => {
                let length = usize::try_from(info.bytes).expect("a KiB at most");
                EndMarker::of_batch(&window.at(at.position, length).await?)
            }
            false => None,
        };
        let whole = whole.as_deref().unwrap_or(&header);
        let met = Met { info: &info, position: at.position, header: &header, whole, marker };
        if !batch(&met) {
            return Ok((at, Stop::Enough));
        }
        epoch = epoch.map(|_| info.leader_epoch);
        at = Mark { position: at.position + u64::from(info.bytes), offset: info.end_offset() };
    }
}

/// The numbers of the batch whose header this is, if it may stand at `offset` (Y1).
pub(super) fn acceptable(
    header: &[u8],
    offset: Offset,
    epoch: LeaderEpoch,
    room: u64,
    chain: Chain,
) -> Option<BatchInfo> {
    let header = BatchHeader::peek(header).ok()?;
    let info = header.info().ok()?;
    let follows = match chain {
        Chain::Unbroken => info.base_offset == offset,
        Chain::Holes => info.base_offset >= offset,
    };
    let accepted = header.magic() == MAGIC
        && follows
        && info.leader_epoch >= epoch
        && u64::from(info.bytes) <= room;
    accepted.then_some(info)
}

/// Whether all of the file from `position` on is zero.
pub(super) async fn is_zero_from<F: File>(file: &F, position: u64) -> Result<bool, IoError> {
    let mut at = position;
    loop {
        let bytes = file.read_at(at, WALK_BYTES).await?;
        if !is_zero(&bytes) {
            return Ok(false);
        }
        if bytes.len() < WALK_BYTES {
            return Ok(true);
        }
        at += bytes.len() as u64;
    }
}

/// Whether all bytes are zero. By pieces, so that the compiler compares many at once.
fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(256).all(|piece| piece.iter().fold(0, |all, byte| all | byte) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_anywhere_is_not_zero() {
        let mut bytes = vec![0; 1_000];
        assert!(is_zero(&bytes) && is_zero(&[]));
        for at in [0, 255, 256, 999] {
            bytes[at] = 1;
            assert!(!is_zero(&bytes), "at {at}");
            bytes[at] = 0;
        }
    }
}
