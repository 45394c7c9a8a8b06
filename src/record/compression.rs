//! Packing and unpacking a batch's records: none, gzip, snappy, lz4, zstd.
//!
//! In:   packed bytes that nobody vouches for, and the most they may unpack to.
//! Out:  the records' bytes, appended to a buffer of the caller's.
//! Home: pure.
//!
//! Invariants
//!   C1  Unpacking never holds more than the cap and a block over it: the output grows as
//!       it is read, and a size that the bytes claim is believed only below the cap.
//!   C2  What `compress` packs, Kafka's clients of all languages unpack.
//!
//! zstd is unpacked in one shot into a buffer that doubles up to the cap, so that the window
//! a frame asks for (up to 128 MiB) costs nothing. lz4 frames whose blocks depend on one
//! another are refused: Java's consumers cannot read them, so they must not be stored.
//!
//! Source: `protocol.md` P26; Kafka's `SnappyCompression` (snappy-java's framing),
//! `Lz4BlockInputStream`, `GzipCompression`, `ZstdCompression`.

use std::fmt;
use std::io::{Read, Write};

use zstd::zstd_safe;

use crate::record::batch::Codec;

/// What snappy-java writes first: magic, version 1, compatible with 1.
const XERIAL_HEADER: [u8; 16] =
    [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
/// The part of it that tells this framing from a raw block.
const XERIAL_MAGIC: &[u8] = XERIAL_HEADER.split_at(8).0;
/// Bytes a Xerial block holds when unpacked, as in Kafka's producer.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// No snappy block unpacks to more than this times its own bytes (64 bytes a 3-byte copy).
const SNAPPY_RATIO_MAX: usize = 64;
/// First guess at the size of a zstd frame, over its own.
const ZSTD_RATIO_GUESS: usize = 8;
/// Kafka's default levels.
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;
/// The levels there are.
const ZSTD_LEVEL_MIN: i32 = -131_072;
const ZSTD_LEVEL_MAX: i32 = 22;
/// The bit of an lz4 frame's flags that says that blocks stand alone.
const LZ4_INDEPENDENT: u8 = 1 << 5;

/// Why bytes cannot be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecompressError {
    /// They are not what their codec writes.
    Damaged {
        /// The codec they claim.
        codec: Codec,
    },
    /// They unpack to more than the cap.
    TooLarge {
        /// The cap, in bytes.
        bytes_max: usize,
    },
}

impl fmt::Display for DecompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { codec } => write!(f, "the records are not valid {}", codec.name()),
            Self::TooLarge { bytes_max } => {
                write!(f, "the records unpack to more than {bytes_max} bytes")
            }
        }
    }
}

impl std::error::Error for DecompressError {}

/// Unpacks batch after batch with the same working memory.
///
/// A zstd context is 160 KiB; making one takes four times as long as unpacking 16 KiB.
#[derive(Default)]
pub struct Decompressor {
    zstd: Option<zstd_safe::DCtx<'static>>,
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").field("has_zstd", &self.zstd.is_some()).finish()
    }
}

impl Decompressor {
    /// Unpacks `packed` into `out`, which is cleared first and holds at most `bytes_max` after.
    ///
    /// Errors: [`DecompressError`]; `out` then holds what came before, and is to be ignored.
    pub fn decompress(
        &mut self,
        codec: Codec,
        packed: &[u8],
        bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), DecompressError> {
        out.clear();
        match codec {
            Codec::None => decompress_stream(codec, packed, bytes_max, out),
            Codec::Gzip => {
                let stream = flate2::bufread::MultiGzDecoder::new(packed);
                decompress_stream(codec, stream, bytes_max, out)
            }
            Codec::Snappy => decompress_snappy(packed, bytes_max, out),
            Codec::Lz4 => {
                if packed.get(4).is_none_or(|flags| flags & LZ4_INDEPENDENT == 0) {
                    return Err(DecompressError::Damaged { codec });
                }
                let stream = lz4_flex::frame::FrameDecoder::new(packed);
                decompress_stream(codec, stream, bytes_max, out)
            }
            Codec::Zstd => self.decompress_zstd(packed, bytes_max, out),
        }?;
        assert!(out.len() <= bytes_max, "C1");
        Ok(())
    }

    fn decompress_zstd(
        &mut self,
        packed: &[u8],
        bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), DecompressError> {
        // Taken out, so that a context that met damage is not used again.
        let mut context = self.zstd.take().unwrap_or_else(zstd_safe::DCtx::create);
        decompress_zstd(&mut context, packed, bytes_max, out)?;
        self.zstd = Some(context);
        Ok(())
    }
}

/// Unpacks one batch, as [`Decompressor::decompress`] does, for those who do so rarely.
/// Errors: [`DecompressError`].
pub fn decompress(
    codec: Codec,
    packed: &[u8],
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    Decompressor::default().decompress(codec, packed, bytes_max, out)
}

fn decompress_stream(
    codec: Codec,
    stream: impl Read,
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    // One byte over the cap tells "exactly the cap" from "more".
    let limit = (bytes_max as u64).saturating_add(1);
    match stream.take(limit).read_to_end(out) {
        Ok(_) if out.len() <= bytes_max => Ok(()),
        Ok(_) => Err(DecompressError::TooLarge { bytes_max }),
        Err(_) => Err(DecompressError::Damaged { codec }),
    }
}

fn decompress_snappy(
    packed: &[u8],
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    let damaged = DecompressError::Damaged { codec: Codec::Snappy };
    if !packed.starts_with(XERIAL_MAGIC) {
        return decompress_snappy_block(packed, bytes_max, out);
    }
    let mut rest = packed;
    while !rest.is_empty() {
        // Streams may be joined: the header can stand wherever a block can.
        if rest.starts_with(XERIAL_MAGIC) {
            rest = rest.get(XERIAL_HEADER.len()..).ok_or(damaged)?;
            continue;
        }
        let (length, after) = rest.split_first_chunk::<4>().ok_or(damaged)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| damaged)?;
        let (block, after) = after.split_at_checked(length).ok_or(damaged)?;
        decompress_snappy_block(block, bytes_max, out)?;
        rest = after;
    }
    Ok(())
}

fn decompress_snappy_block(
    block: &[u8],
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    let damaged = DecompressError::Damaged { codec: Codec::Snappy };
    let bytes = snap::raw::decompress_len(block).map_err(|_| damaged)?;
    if bytes > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(damaged);
    }
    let start = out.len();
    if bytes > bytes_max - start {
        return Err(DecompressError::TooLarge { bytes_max });
    }
    out.resize(start + bytes, 0);
    let written =
        snap::raw::Decoder::new().decompress(block, &mut out[start..]).map_err(|_| damaged)?;
    out.truncate(start + written);
    Ok(())
}

fn decompress_zstd(
    context: &mut zstd_safe::DCtx<'_>,
    packed: &[u8],
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    let damaged = DecompressError::Damaged { codec: Codec::Zstd };
    let too_small =
        (zstd_safe::zstd_sys::ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall as usize).wrapping_neg();
    let mut room = packed.len().saturating_mul(ZSTD_RATIO_GUESS).max(out.capacity());
    loop {
        room = room.min(bytes_max);
        out.clear();
        out.reserve_exact(room);
        match context.decompress(out, packed) {
            Ok(_) if out.len() > bytes_max => return Err(DecompressError::TooLarge { bytes_max }),
            Ok(_) => return Ok(()),
            Err(code) if code != too_small => return Err(damaged),
            Err(_) if room == bytes_max => return Err(DecompressError::TooLarge { bytes_max }),
            Err(_) => room = room.saturating_mul(4).max(1),
        }
    }
}

/// Packs `records` with `codec` at its own level and appends the result to `out`.
pub fn compress(codec: Codec, records: &[u8], out: &mut Vec<u8>) {
    compress_at(codec, None, records, out);
}

/// Packs `records` with `codec` at `level` and appends the result to `out`.
///
/// Levels are gzip's 1 to 9 and zstd's -131072 to 22; beyond them the nearest counts. `None` is
/// the codec's own. The other codecs have no levels here: lz4's encoder is the fast one alone.
pub fn compress_at(codec: Codec, level: Option<i32>, records: &[u8], out: &mut Vec<u8>) {
    match codec {
        Codec::None => out.extend_from_slice(records),
        Codec::Gzip => {
            let level = level.map_or(GZIP_LEVEL, |level| level.clamp(1, 9).unsigned_abs());
            let level = flate2::Compression::new(level);
            let mut encoder = flate2::write::GzEncoder::new(out, level);
            encoder.write_all(records).expect(TO_MEMORY);
            encoder.finish().expect(TO_MEMORY);
        }
        Codec::Snappy => compress_snappy(records, out),
        Codec::Lz4 => {
            let info = lz4_flex::frame::FrameInfo::new()
                .block_size(lz4_flex::frame::BlockSize::Max64KB)
                .block_mode(lz4_flex::frame::BlockMode::Independent);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, out);
            encoder.write_all(records).expect(TO_MEMORY);
            encoder.finish().expect(TO_MEMORY);
        }
        Codec::Zstd => {
            let level = level.unwrap_or(ZSTD_LEVEL).clamp(ZSTD_LEVEL_MIN, ZSTD_LEVEL_MAX);
            let packed = zstd::bulk::compress(records, level).expect(TO_MEMORY);
            out.extend_from_slice(&packed);
        }
    }
}

/// Why packing into memory cannot fail.
const TO_MEMORY: &str = "a write into a Vec does not fail";

fn compress_snappy(records: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&XERIAL_HEADER);
    let mut encoder = snap::raw::Encoder::new();
    let mut block = vec![0; snap::raw::max_compress_len(XERIAL_BLOCK_BYTES)];
    for chunk in records.chunks(XERIAL_BLOCK_BYTES) {
        let bytes = encoder.compress(chunk, &mut block).expect("the block is sized for it");
        let length = u32::try_from(bytes).expect("a block is below 2^31");
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&block[..bytes]);
    }
}
