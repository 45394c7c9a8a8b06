//! Checksums over all bytes of a segment, one for each piece of 64 KiB: what finds a flipped bit in
//! those parts of a header that no batch's own checksum covers (W10).
//!
//! In:   the bytes of the segment, in order, as they are appended or read again.
//! Out:  whether a piece is still what it was.
//! Home: one shard; they lie in the segment's index file (`offset_index.rs`).
//!
//! Invariants
//!   S1  The pieces cover the segment from its beginning, without a gap.
//!
//! Computed from the bytes in memory before they are written: damage on the way to the disk shows,
//! too. Kafka's tools read the `.log` file alone, which stays as it is.

use crate::record::crc::{crc32c, crc32c_append};

/// Bytes of a piece; the last one may be shorter.
pub const PIECE_BYTES: u64 = 64 << 10;

/// The checksums of a segment, so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checksums {
    bytes: u64,
    pieces: Vec<u32>,
}

impl Checksums {
    /// Those read from a file, of `bytes` bytes; `None` if these have another number of pieces.
    pub(super) fn of_pieces(bytes: u64, pieces: Vec<u32>) -> Option<Checksums> {
        let count = usize::try_from(bytes.div_ceil(PIECE_BYTES)).ok()?;
        (pieces.len() == count).then_some(Checksums { bytes, pieces })
    }

    /// Bytes covered.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// One a piece, in order.
    pub(super) fn pieces(&self) -> &[u32] {
        &self.pieces
    }

    /// Covers the next bytes (S1).
    pub fn add(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let within = self.bytes % PIECE_BYTES;
            let room = usize::try_from(PIECE_BYTES - within).expect("a piece is small");
            let (now, later) = rest.split_at(room.min(rest.len()));
            if within == 0 {
                self.pieces.push(crc32c(now));
            } else {
                let last = self.pieces.last_mut().expect("a piece was begun");
                *last = crc32c_append(*last, now);
            }
            self.bytes += now.len() as u64;
            rest = later;
        }
    }

    /// Whether the piece `piece` is not what `expected` says. Both cover it whole, or to its end
    /// in the segment.
    pub fn differs(&self, expected: &Checksums, piece: usize) -> bool {
        self.pieces.get(piece) != expected.pieces.get(piece)
    }

    /// The first piece that differs from `expected`, which covers as many bytes.
    pub fn first_difference(&self, expected: &Checksums) -> Option<usize> {
        (0..self.pieces.len()).find(|piece| self.differs(expected, *piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect()
    }

    #[test]
    fn bytes_in_any_portions_have_the_same_checksums() {
        let all = bytes(200_000);
        let mut whole = Checksums::default();
        whole.add(&all);
        assert_eq!((whole.bytes(), whole.pieces().len()), (200_000, 4));
        assert_eq!(whole.pieces()[1], crc32c(&all[65_536..131_072]));
        for portion in [1, 61, 65_535, 65_536, 65_537, 199_999] {
            let mut parts = Checksums::default();
            all.chunks(portion).for_each(|part| parts.add(part));
            assert_eq!(parts, whole, "{portion}");
        }
        assert_eq!(Checksums::of_pieces(200_000, whole.pieces().to_vec()), Some(whole));
        assert_eq!(Checksums::of_pieces(65_537, vec![0]), None);
        assert_eq!(Checksums::of_pieces(0, vec![]), Some(Checksums::default()));
    }

    #[test]
    fn a_flipped_bit_shows_in_its_piece_alone() {
        let mut all = bytes(150_000);
        let mut before = Checksums::default();
        before.add(&all);
        for at in [0, 65_535, 65_536, 149_999] {
            all[at] ^= 4;
            let mut after = Checksums::default();
            after.add(&all);
            let piece = at / 65_536;
            assert_eq!(after.first_difference(&before), Some(piece));
            let others = (0..3).filter(|other| *other != piece);
            assert!(others.into_iter().all(|other| !after.differs(&before, other)));
            all[at] ^= 4;
        }
    }
}
