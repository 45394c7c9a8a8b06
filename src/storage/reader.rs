//! Reading a log: the tail from memory, older batches from the disk, or as ranges of files.
//!
//! In:   an offset, a bound, how much, and by which path.
//! Out:  slices of whole batches, in order.
//! Home: the partition's shard; reads run beside the appender.
//!
//! Invariants
//!   F1  Only what is written is read from a file: never a block that a write is changing behind
//!       the written end.
//!   F2  Bytes that came from the disk into memory are served only after their CRC was checked,
//!       and of indexed batches the header's, too (W10).
//!   F3  A file slice is of a sealed segment: no one writes to it any more (W11).
//!   F4  A read ends before what is quarantined, and none begins in it: what a scrub has found is
//!       not sent by a path that looks at headers alone.
//!
//! Per read from the disk: one read of up to a chunk, kept for those who follow; no copy. The
//! chunk of a growing segment is cut at its written end, so it never holds what is yet to change.

use bytes::{Bytes, BytesMut};

use crate::io::directory::Directory;
use crate::io::file::{File, IoError};
use crate::io::slice::{FileSlice, Slice};
use crate::model::offset::{LeaderEpoch, Offset};
use crate::record::batch::{Batch, BatchHeader, BatchInfo, HEADER_BYTES};
use crate::storage::chunks::Place;
use crate::storage::log::{Inner, Log, LogError};
use crate::storage::read_ahead::{CHUNKS_AHEAD, Range};
use crate::storage::segment::{Key, Mark};
use crate::storage::walk::{Course, Met, acceptable, walk};

/// Bytes read from the disk at once, at most, unless one batch is larger.
const CHUNK_BYTES_MAX: usize = 1 << 20;
/// Bytes read from the disk at once, at least, unless the segment ends before.
const CHUNK_BYTES_MIN: usize = 64 << 10;

/// How older batches are to be given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadPath {
    /// As bytes in memory.
    Memory,
    /// As ranges of sealed segments where there are descriptors; else as bytes.
    Sendfile,
}

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub struct ReadRequest {
    /// The first batch is the one that contains this.
    pub from: Offset,
    /// No batch ends after this: the watermark, or the log's end.
    pub upto: Offset,
    /// Bytes at most.
    pub max_bytes: usize,
    /// The first batch is given even if it is larger than `max_bytes`.
    pub min_one: bool,
    /// Memory, or file ranges.
    pub path: ReadPath,
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// Whole batches, in order; a slice may hold several.
    pub slices: Vec<Slice>,
    /// The offset after them; `from` if there are none.
    pub next_offset: Offset,
    /// Bytes in all.
    pub bytes: usize,
}

/// Batches of one segment.
struct Piece {
    slices: Vec<Slice>,
    next_offset: Offset,
    bytes: usize,
    /// The segment has no more batches to read from its file.
    exhausted: bool,
}

impl<D: Directory> Log<D> {
    /// Reads whole batches from memory and disk, over segments, until there is enough.
    ///
    /// Errors: `OutOfRange` for `from`, `Damaged` if the first batch cannot be read.
    pub async fn read(&self, request: ReadRequest) -> Result<Read, LogError> {
        let (log_start, log_end) = (self.log_start(), self.log_end());
        if request.from < log_start || request.from > log_end {
            return Err(LogError::OutOfRange { log_start, log_end });
        }
        let mut read = Read { next_offset: request.from, ..Read::default() };
        loop {
            let rest = ReadRequest {
                from: read.next_offset,
                max_bytes: request.max_bytes.saturating_sub(read.bytes),
                min_one: request.min_one && read.slices.is_empty(),
                ..request
            };
            if rest.from >= rest.upto.min(self.log_end()) {
                return Ok(read);
            }
            if let Some(tail) = self.read_tail(rest.from, rest.upto, rest.max_bytes, rest.min_one) {
                read.slices.extend(tail.slices.into_iter().map(Slice::Memory));
                read.next_offset = tail.next_offset;
                read.bytes += tail.bytes;
                return Ok(read);
            }
            let replaced = self.inner.replaced();
            let piece = match self.inner.read_piece(&rest).await {
                Ok(piece) => piece,
                // Compaction replaced the segment under the read: the new one is there (O3).
                Err(_) if replaced != self.inner.replaced() => continue,
                Err(error) if read.slices.is_empty() => return Err(error),
                Err(_) => return Ok(read), // what comes before the damage is served
            };
            let advanced = piece.next_offset > read.next_offset;
            read.slices.extend(piece.slices);
            read.next_offset = read.next_offset.max(piece.next_offset);
            read.bytes += piece.bytes;
            if !piece.exhausted || !advanced {
                return Ok(read);
            }
        }
    }
}

impl<D: Directory> Inner<D> {
    /// Batches of the segment that holds `request.from`, from its file.
    async fn read_piece(&self, request: &ReadRequest) -> Result<Piece, LogError> {
        let upto;
        let (key, sealed) = {
            let state = self.state.borrow();
            let damaged = state
                .quarantined
                .iter()
                .find(|range| range.from <= request.from && request.from < range.to);
            if let Some(range) = damaged {
                return Err(LogError::Damaged { from: range.from, to: range.to });
            }
            let damage = state.quarantined.iter().map(|range| range.from);
            let sound_to = damage.filter(|from| *from > request.from).min();
            upto = sound_to.map_or(request.upto, |damage| damage.min(request.upto)); // F4
            let segment = state.segment_of(request.from);
            segment.map(|segment| (segment.key(), segment.sealed)).ok_or(())
        }
        .map_err(|()| self.out_of_range())?;
        let request = &ReadRequest { upto, ..*request };
        let resumed = self.state.borrow().read_ahead.resume(key, request.from);
        let (start, limit) = match resumed {
            Some(start) => (start, self.readable(key).await?),
            None => self.start_of(key, request.from).await?,
        };
        if request.path == ReadPath::Sendfile && sealed {
            let piece = self.file_piece(key, start, limit, request).await?;
            if let Some(piece) = piece {
                return Ok(piece);
            }
        }
        let (piece, end) = self.memory_piece(key, start, limit, request).await?;
        self.state.borrow_mut().read_ahead.ended(key, end);
        if resumed.is_some() {
            self.read_ahead(key, end.position, limit); // B1
        }
        Ok(piece)
    }

    /// Asks for the chunks behind `position` that are not in memory yet.
    fn read_ahead(&self, key: Key, position: u64, limit: u64) {
        let budget = self.tail.budget();
        let mut state = self.state.borrow_mut();
        let mut at = budget.chunks().end_of(self.place(key, position)).unwrap_or(position);
        for _ in 0..CHUNKS_AHEAD {
            let length = usize::try_from(limit.saturating_sub(at)).unwrap_or(usize::MAX);
            let length = length.min(CHUNK_BYTES_MAX);
            if length == 0 || !budget.may_read_ahead(length) {
                return;
            }
            match budget.chunks().end_of(self.place(key, at)) {
                Some(end) => at = end,
                None => {
                    if state.read_ahead.want(Range { segment: key, position: at, length }) {
                        self.work.notify();
                    }
                    at += length as u64;
                }
            }
        }
    }

    /// A place in this log.
    pub(super) fn place(&self, segment: Key, position: u64) -> Place {
        Place { log: self.tail.log, segment, position }
    }

    /// Reads a range of a segment, as it is.
    pub(super) async fn read_range(&self, range: Range) -> Result<Bytes, IoError> {
        let file = self.file_of(range.segment).await?;
        file.read_at(range.position, range.length).await
    }

    /// Where a walk to `offset` begins, and up to where the segment can be read.
    async fn start_of(&self, key: Key, offset: Offset) -> Result<(Mark, u64), LogError> {
        let index = self.index(key).await?;
        let limit = self.readable(key).await?;
        let index = index.borrow();
        let entry = index.at_or_before(offset);
        let start = entry.map(|entry| Mark {
            position: u64::from(entry.position),
            offset: index.offset_of(&entry),
        });
        Ok((start.unwrap_or(Mark { position: 0, offset: key.base }), limit))
    }

    async fn memory_piece(
        &self,
        key: Key,
        start: Mark,
        limit: u64,
        request: &ReadRequest,
    ) -> Result<(Piece, Mark), LogError> {
        let mut piece =
            Piece { slices: Vec::new(), next_offset: request.from, bytes: 0, exhausted: false };
        let index = self.index(key).await?;
        let mut at = start;
        // The run of batches in the current chunk that goes into one slice.
        let mut run: Option<(Bytes, usize)> = None;
        let mut chunk = Bytes::new();
        loop {
            if at.position >= limit {
                piece.exhausted = true;
                break;
            }
            let next = self.next_batch(key, at, limit, &mut chunk, request, &mut run, &mut piece);
            let next = next.await.and_then(|info| {
                let confirmed = index.borrow().confirms(at.position, &chunk[..HEADER_BYTES]); // W10
                if confirmed { Ok(info) } else { Err(self.damaged(key, at.offset)) }
            });
            let info = match next {
                Ok(info) => info,
                Err(error) if piece.bytes == 0 && run.is_none() => return Err(error),
                Err(_) => break,
            };
            let length = usize::try_from(info.bytes).unwrap_or(usize::MAX);
            let wanted = info.end_offset() > request.from;
            let fits =
                piece.bytes + length <= request.max_bytes || request.min_one && piece.bytes == 0;
            if wanted && (info.end_offset() > request.upto || !fits) {
                break;
            }
            if wanted {
                run = Some(match run.take() {
                    Some((bytes, held)) => (bytes, held + length),
                    None => (chunk.clone(), length),
                });
                piece.bytes += length;
                piece.next_offset = info.end_offset();
            }
            chunk = chunk.slice(length..);
            at = Mark { position: at.position + u64::from(info.bytes), offset: info.end_offset() };
        }
        end_run(&mut run, &mut piece);
        Ok((piece, at))
    }

    /// The numbers of the batch at `at`, of which `chunk` then holds all bytes, checked (F2).
    #[allow(clippy::too_many_arguments)] // the loop's own variables, lent
    async fn next_batch(
        &self,
        key: Key,
        at: Mark,
        limit: u64,
        chunk: &mut Bytes,
        request: &ReadRequest,
        run: &mut Option<(Bytes, usize)>,
        piece: &mut Piece,
    ) -> Result<BatchInfo, LogError> {
        let needed = needed_bytes(chunk);
        if chunk.len() < needed {
            end_run(run, piece);
            let left = request.max_bytes.saturating_sub(piece.bytes);
            *chunk = self.chunk(key, at, limit, needed, left).await?;
            let needed = needed_bytes(chunk);
            if chunk.len() < needed {
                // A batch larger than a chunk, or a length that is damaged: then the room says so.
                *chunk = self.chunk(key, at, limit, needed, left).await?;
            }
        }
        let room = limit - at.position;
        let good =
            acceptable(chunk, at.offset, LeaderEpoch::NONE, room, key.chain).filter(|info| {
                let batch = Batch::first(chunk);
                batch.is_ok_and(|b| {
                    b.bytes().len() as u64 == u64::from(info.bytes) && b.verify_crc().is_ok()
                })
            });
        good.ok_or_else(|| self.damaged(key, at.offset))
    }

    /// Bytes from `at`, from memory or the disk: `wanted` of them within a chunk's bounds, and at
    /// least the `needed` ones; fewer only at `limit` (F1).
    async fn chunk(
        &self,
        key: Key,
        at: Mark,
        limit: u64,
        needed: usize,
        wanted: usize,
    ) -> Result<Bytes, LogError> {
        loop {
            let moved = self.moved.listen();
            if let Some(bytes) = self.held(key, at.position, needed) {
                return Ok(bytes);
            }
            let behind = self.tail.budget().chunks().end_of(self.place(key, at.position));
            let missing = behind.unwrap_or(at.position);
            let comes = self.state.borrow().read_ahead.reads(key, missing);
            if !comes || self.fail_stop.failed().is_some() {
                break;
            }
            moved.await;
        }
        let room = usize::try_from(limit - at.position).unwrap_or(usize::MAX);
        let length = wanted.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX).max(needed).min(room);
        let range = Range { segment: key, position: at.position, length };
        let bytes = self.read_range(range).await.map_err(|e| self.read_error(e, key, at))?;
        self.tail.budget().keep_chunk(self.place(key, at.position), bytes.clone(), false);
        Ok(bytes)
    }

    /// Bytes at `position` that are in memory, if they are enough for the batch they begin.
    ///
    /// A batch across two chunks is joined: the one copy on this path.
    fn held(&self, key: Key, position: u64, needed: usize) -> Option<Bytes> {
        let chunks = self.tail.budget().chunks();
        let first = chunks.get(self.place(key, position))?;
        let needed = needed.max(needed_bytes(&first));
        if needed <= first.len() {
            return Some(first);
        }
        let second = chunks.get(self.place(key, position + first.len() as u64))?;
        let rest = second.get(..needed - first.len())?;
        let mut joined = BytesMut::with_capacity(needed);
        joined.extend_from_slice(&first);
        joined.extend_from_slice(rest);
        Some(joined.freeze())
    }

    /// A range of the sealed segment's file; `None` where there is no descriptor.
    async fn file_piece(
        &self,
        key: Key,
        start: Mark,
        limit: u64,
        request: &ReadRequest,
    ) -> Result<Option<Piece>, LogError> {
        let file = self.file_of(key).await.map_err(|e| self.read_error(e, key, start))?;
        let Some(descriptor) = file.descriptor() else { return Ok(None) };
        let mut piece =
            Piece { slices: Vec::new(), next_offset: request.from, bytes: 0, exhausted: false };
        let course = |from| Course::headers(from, limit, key.chain);
        // To the first batch, then in one leap to the last indexed boundary that fits, and on.
        let before = |met: &Met<'_>| met.info.end_offset() <= request.from;
        let walked = walk(&*file, course(start), before);
        let (first, _) = walked.await.map_err(|e| self.read_error(e, key, start))?;
        let mut end = first;
        let leap = {
            let index = self.index(key).await?;
            let index = index.borrow();
            let upto = request.upto;
            let fits = first.position + request.max_bytes as u64;
            index.last_within(first.position, fits, upto).map(|entry| Mark {
                position: u64::from(entry.position),
                offset: index.offset_of(&entry),
            })
        };
        end = leap.unwrap_or(end);
        let walked = walk(&*file, course(end), |met| {
            let bytes = met.position + u64::from(met.info.bytes) - first.position;
            let is_first = met.position == first.position;
            let fits = bytes <= request.max_bytes as u64 || request.min_one && is_first;
            fits && met.info.end_offset() <= request.upto
        });
        let (end, _) = walked.await.map_err(|e| self.read_error(e, key, end))?;
        let length = usize::try_from(end.position - first.position).unwrap_or(0);
        piece.exhausted = end.position >= limit;
        if length > 0 {
            piece.next_offset = end.offset;
            piece.bytes = length;
            let position = first.position;
            piece.slices.push(Slice::File(FileSlice { descriptor, position, length }));
        }
        Ok(Some(piece))
    }
}

/// Puts a run of batches of one chunk into the piece as one slice.
fn end_run(run: &mut Option<(Bytes, usize)>, piece: &mut Piece) {
    if let Some((bytes, held)) = run.take() {
        piece.slices.push(Slice::Memory(bytes.slice(..held)));
    }
}

/// Bytes that the batch at the front of `chunk` needs, as far as its header is there and sane.
fn needed_bytes(chunk: &[u8]) -> usize {
    let Ok(header) = BatchHeader::peek(chunk) else { return HEADER_BYTES };
    let bytes = header.bytes().ok().and_then(|bytes| usize::try_from(bytes).ok());
    bytes.unwrap_or(HEADER_BYTES)
}
