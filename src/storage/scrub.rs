//! Scrub: closed segments are read again now and then, so that damage is found while another copy
//! of it may still be had, and not by the consumer that needs it.
//!
//! In:   one closed segment at a time; the caller sets the pace, a step after the other.
//! Out:  damaged ranges, quarantined; checksums for a segment that has none (`checksums.rs`).
//! Home: the partition's shard, in the background.
//!
//! Invariants
//!   G1  A step holds the maintenance gate: no truncation, retention or compaction changes the bytes
//!       under it. Appends and reads do not wait for it. Between steps the segment may be cut,
//!       removed or replaced; then the scrub of it ends.
//!   G2  Memory: a step reads a chunk, or one batch if that is larger.
//!   G3  Damage is named and quarantined, never cut; what is around it stays readable.
//!   G4  Checksums are made from bytes read only where there are none, and every batch is sound.
//!
//! Source: `storage.md` W10, 4.4, 4.6.

use std::rc::Rc;

use crate::io::directory::Directory;
use crate::io::file::{File, IoError};
use crate::model::offset::{LeaderEpoch, Offset};
use crate::model::time::Timestamp;
use crate::storage::checksums::{Checksums, PIECE_BYTES};
use crate::storage::log::{Inner, Log, LogError, OffsetRange};
use crate::storage::lookup::SharedIndex;
use crate::storage::names;
use crate::storage::recovery::load_index;
use crate::storage::segment::{Key, Mark};
use crate::storage::walk::{Course, Look, Met, Stop, WALK_BYTES, walk};

/// Bytes of a step, at least, unless the segment ends before.
const STEP_BYTES: u64 = WALK_BYTES as u64;

/// The scrub of one segment, as far as it has come.
pub struct Scrub {
    key: Key,
    /// Offset after the segment's last record.
    segment_end: Offset,
    /// How often the log had been cut when this began.
    cuts: u64,
    index: SharedIndex,
    /// What the bytes should have; `None`: nobody has reckoned it yet.
    expected: Option<Checksums>,
    found: Checksums,
    at: Mark,
    /// Smallest epoch acceptable; `None` where checksums say more than neighbours do.
    epoch: Option<LeaderEpoch>,
    /// Where the first batch begins that reaches into the piece under way.
    piece_from: Offset,
    /// Pieces that begin before this differ for a reason that is known; what else lies in them is
    /// held by its own checksums alone.
    explained_to: u64,
    /// The last batch met is not the one that was indexed.
    is_forged: bool,
    damage: Vec<OffsetRange>,
    is_sound: bool,
}

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes read.
    pub bytes: u64,
    /// Ranges found damaged that were not known to be.
    pub damage: Vec<OffsetRange>,
    /// Whether the scrub has ended: the segment is read, or not there any more.
    pub is_last: bool,
}

impl<D: Directory> Log<D> {
    /// Begins the scrub of the first closed segment that was not scrubbed within `interval_ms`, and
    /// counts it as scrubbed now; `None` if there is none.
    ///
    /// Errors: `Damaged`, if not even its index can be made.
    pub async fn scrub(&self, now: Timestamp, interval_ms: u64) -> Result<Option<Scrub>, LogError> {
        let (key, segment_end, cuts) = {
            let mut state = self.inner.state.borrow_mut();
            let cuts = state.cuts;
            let is_due = |last: Timestamp| {
                u64::try_from(now.0.saturating_sub(last.0)).is_ok_and(|age| age >= interval_ms)
            };
            let due = state.segments.iter_mut().find(|s| s.sealed && s.scrubbed.is_none_or(is_due));
            let Some(segment) = due else { return Ok(None) };
            segment.scrubbed = Some(now);
            (segment.key(), segment.staged.offset, cuts)
        };
        let index = match self.inner.index_to_scrub(key, segment_end).await {
            Err(LogError::OutOfRange { .. }) => return Ok(None), // removed meanwhile
            index => index?,
        };
        let expected = index.borrow().checksums().cloned();
        Ok(Some(Scrub {
            key,
            segment_end,
            cuts,
            index,
            found: Checksums::default(),
            at: Mark { position: 0, offset: key.base },
            epoch: expected.is_none().then_some(LeaderEpoch::NONE),
            expected,
            piece_from: key.base,
            explained_to: 0,
            is_forged: false,
            damage: Vec::new(),
            is_sound: true,
        }))
    }

    /// Reads on, a chunk or so. Errors: `Offline`.
    pub async fn scrub_step(&self, scrub: &mut Scrub) -> Result<Step, LogError> {
        let inner = &self.inner;
        let held = inner.maintenance.enter().await; // G1
        inner.check_open()?;
        if !inner.is_still(scrub) {
            return Ok(Step { bytes: 0, damage: Vec::new(), is_last: true });
        }
        let from = scrub.at.position;
        let file = inner.file_of(scrub.key).await;
        let is_last = match &file {
            Ok(file) => scrub.read(&**file).await,
            Err(_) => {
                scrub.damaged(OffsetRange { from: scrub.at.offset, to: scrub.segment_end });
                true
            }
        };
        let mut damage = std::mem::take(&mut scrub.damage);
        damage.retain(|range| inner.is_news(scrub.key, *range));
        let is_whole = scrub.is_sound && scrub.at.offset == scrub.segment_end;
        if is_last && is_whole && scrub.expected.is_none() {
            inner.save_checksums(scrub).await?;
        }
        drop(held);
        Ok(Step { bytes: scrub.at.position - from, damage, is_last })
    }
}

impl Scrub {
    /// Base offset of the segment.
    pub fn segment(&self) -> Offset {
        self.key.base
    }

    /// Reads a step from `file`; whether that was the last.
    async fn read(&mut self, file: &impl File) -> bool {
        let limit = self.index.borrow().bytes;
        let (from, chain) = (self.at, self.key.chain);
        let course = Course { from, epoch: self.epoch, limit, look: Look::Whole, chain };
        let walked = walk(file, course, |met| self.take(met, from.position)).await;
        match walked {
            Ok((_, Stop::Limit)) => {
                self.end_of_segment();
                true
            }
            Ok((_, Stop::Enough)) if !self.is_forged => false,
            // A read that failed, too, is damage where it failed.
            Ok((_, Stop::Enough | Stop::Zeros | Stop::Bad)) | Err(_) => {
                self.pass_over(file, limit).await;
                false
            }
        }
    }

    /// Looks at a batch whose own checksum holds; whether to go on.
    fn take(&mut self, met: &Met<'_>, step_from: u64) -> bool {
        if met.position - step_from >= STEP_BYTES {
            return false;
        }
        if !self.index.borrow().confirms(met.position, met.header) {
            self.is_forged = true;
            return false;
        }
        self.cover(met.whole, met.info.base_offset, met.info.end_offset());
        let position = met.position + u64::from(met.info.bytes);
        self.at = Mark { position, offset: met.info.end_offset() };
        self.epoch = self.epoch.map(|_| met.info.leader_epoch);
        true
    }

    /// Reckons with the next bytes, which hold the records from `base` to `end`; what ends a piece
    /// that is not what it was is damage.
    fn cover(&mut self, bytes: &[u8], base: Offset, end: Offset) {
        if self.found.bytes().is_multiple_of(PIECE_BYTES) {
            self.piece_from = base;
        }
        let first = self.found.bytes() / PIECE_BYTES;
        self.found.add(bytes);
        let behind = self.found.bytes() / PIECE_BYTES;
        if first < behind {
            self.check_pieces(first..behind, end);
            self.piece_from = base;
        }
    }

    fn check_pieces(&mut self, pieces: std::ops::Range<u64>, end: Offset) {
        let Some(expected) = &self.expected else { return };
        let unexplained = pieces.filter(|piece| piece * PIECE_BYTES >= self.explained_to);
        let differs = |piece: u64| {
            usize::try_from(piece).is_ok_and(|piece| self.found.differs(expected, piece))
        };
        if unexplained.into_iter().any(differs) {
            self.damaged(OffsetRange { from: self.piece_from, to: end });
        }
    }

    /// The last piece may be shorter than others.
    fn end_of_segment(&mut self) {
        let bytes = self.found.bytes();
        if !bytes.is_multiple_of(PIECE_BYTES) {
            let piece = bytes / PIECE_BYTES;
            self.check_pieces(piece..piece + 1, self.at.offset);
        }
    }

    /// What lies from here to the next indexed batch is damage (G3); the scrub goes on behind it.
    async fn pass_over(&mut self, file: &impl File, limit: u64) {
        self.is_forged = false;
        self.epoch = self.epoch.map(|_| LeaderEpoch::NONE);
        let (from, next) = {
            let index = self.index.borrow();
            let next = index.after(self.at.offset).map(|entry| Mark {
                position: u64::from(entry.position),
                offset: index.offset_of(&entry),
            });
            (self.at, next.unwrap_or(Mark { position: limit, offset: index.end }))
        };
        let mut position = from.position;
        while position < next.position {
            let length = usize::try_from(next.position - position).unwrap_or(usize::MAX);
            let length = length.min(WALK_BYTES);
            let mut bytes = file.read_at(position, length).await.unwrap_or_default().to_vec();
            bytes.resize(length, 0); // of what cannot be read only the length counts
            position += length as u64;
            self.explained_to = position;
            self.cover(&bytes, from.offset, next.offset);
        }
        self.damaged(OffsetRange { from: from.offset, to: next.offset });
        self.at = next;
    }

    fn damaged(&mut self, range: OffsetRange) {
        self.is_sound = false;
        self.damage.push(range);
    }
}

impl<D: Directory> Inner<D> {
    /// The index of a closed segment; it is not kept for look-ups.
    async fn index_to_scrub(&self, key: Key, end: Offset) -> Result<SharedIndex, LogError> {
        let held = {
            let mut state = self.state.borrow_mut();
            state.keyed(key).and_then(|segment| segment.index.clone())
        };
        if let Some(held) = held {
            return Ok(held);
        }
        let loaded = load_index(&self.directory, key.base).await.unwrap_or_default();
        match loaded.filter(|index| index.end == end) {
            Some(index) => Ok(Rc::new(std::cell::RefCell::new(index))),
            None => self.index(key).await, // made again
        }
    }

    /// Whether the segment still is what it was when its scrub began.
    fn is_still(&self, scrub: &Scrub) -> bool {
        let mut state = self.state.borrow_mut();
        let uncut = state.cuts == scrub.cuts;
        let segment = state.keyed(scrub.key);
        uncut && segment.is_some_and(|s| s.sealed && s.staged.offset == scrub.segment_end)
    }

    /// Quarantines a range; whether it was not known.
    fn is_news(&self, key: Key, range: OffsetRange) -> bool {
        let known = self.state.borrow().quarantined.len();
        let _ = self.quarantine(key, range);
        self.state.borrow().quarantined.len() > known
    }

    /// Keeps the checksums of a segment that has none, beside its index (G4).
    async fn save_checksums(&self, scrub: &Scrub) -> Result<(), LogError> {
        let covered = scrub.index.borrow_mut().set_checksums(scrub.found.clone());
        if !covered {
            return Ok(());
        }
        let held = self.index_gate.enter().await;
        let content = scrub.index.borrow().encode();
        let saved = self.directory.write_small(&names::index(scrub.key.base), &content).await;
        drop(held);
        match saved {
            Ok(()) | Err(IoError::NoSpace) => Ok(()),
            Err(error) => Err(self.fail(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::topic::FlushPolicy;
    use crate::record::batch::BatchInfo;
    use crate::storage::fixtures::{batch, scrub_all};
    use crate::storage::log::LogShared;
    use crate::storage::offset_index::checksums_in;
    use crate::storage::options::LogOptions;
    use crate::storage::reader::{ReadPath, ReadRequest};
    use crate::testing::disk::{Disk, SimDirectory};
    use crate::testing::prng::Prng;
    use crate::testing::run::Executor;
    use crate::testing::seeds::seeds;

    type SimLog = Log<SimDirectory>;

    fn options(segment_bytes: u32) -> LogOptions {
        LogOptions {
            segment_bytes,
            segment_ms: 1_000_000,
            index_bytes: 10 << 20,
            index_interval_bytes: 4_096,
            flush: FlushPolicy::PerAck,
            retention_ms: None,
            retention_bytes: None,
        }
    }

    fn open(disk: &Disk, segment_bytes: u32) -> (Executor, SimLog) {
        let mut executor = Executor::new(disk, 7);
        let shared = LogShared::new(1 << 20);
        let opened = Log::open(disk.root(), options(segment_bytes), shared, Timestamp(0));
        let log = executor.block_on(opened).unwrap().unwrap().log;
        let writing = log.clone();
        executor.spawn(async move {
            let _ = writing.run().await;
        });
        (executor, log)
    }

    async fn append(log: &SimLog, payload: usize, epoch: i32) -> BatchInfo {
        let (bytes, info) = batch(log.log_end().0, 2, epoch, payload, 5);
        log.reserve(bytes.len()).await.unwrap();
        log.append(bytes, &info, Timestamp(5)).unwrap();
        info
    }

    /// A log of several segments, closed in order; its batches.
    fn closed(disk: &Disk, prng: &mut Prng) -> Vec<BatchInfo> {
        let (mut executor, log) = open(disk, 150_000);
        let mut infos = Vec::new();
        executor
            .block_on(async {
                for at in 0..60 {
                    infos.push(append(&log, prng.index(18_000), at / 25).await);
                }
                log.flush().await.unwrap();
                log.close().await.unwrap();
            })
            .unwrap();
        infos
    }

    /// Base offsets of the closed segments.
    fn sealed(log: &SimLog) -> Vec<Offset> {
        let state = log.inner.state.borrow();
        state.segments.iter().filter(|s| s.sealed).map(|s| s.base).collect()
    }

    async fn read(log: &SimLog, from: Offset) -> Result<Offset, LogError> {
        let request = ReadRequest {
            from,
            upto: log.log_end(),
            max_bytes: 1 << 20,
            min_one: true,
            path: ReadPath::Memory,
        };
        log.read(request).await.map(|read| read.next_offset)
    }

    #[test]
    fn any_flipped_bit_is_found_and_what_is_around_it_is_served() {
        let mut in_headers = 0;
        for seed in seeds(60) {
            let mut prng = Prng::new(seed.0);
            let disk = Disk::new(seed.0);
            let infos = closed(&disk, &mut prng);
            let (mut executor, log) = open(&disk, 150_000);
            let bases = sealed(&log);
            assert!(bases.len() >= 2, "vacuous");
            let none = executor.block_on(scrub_all(&log, Timestamp(0))).unwrap();
            assert_eq!(none, [], "sound");
            let base = bases[prng.index(bases.len())];
            let end = log.inner.state.borrow_mut().segment(base).unwrap().staged.offset;
            let within = |info: &&BatchInfo| base <= info.base_offset && info.base_offset < end;
            let batches: Vec<&BatchInfo> = infos.iter().filter(within).collect();
            let at = prng.index(batches.len());
            let before: u32 = batches[..at].iter().map(|info| info.bytes).sum();
            let hit = *batches[at];
            // The first 17 bytes are what its own checksum does not cover.
            let part = if prng.chance(60) { 17 } else { hit.bytes };
            let place = prng.index(usize::try_from(part).unwrap());
            in_headers += u32::from(place < 17);
            let position = usize::try_from(before).unwrap() + place;
            let bit = u8::try_from(prng.index(8)).unwrap();
            disk.flip_bit(&names::segment(base), position, bit);

            let damage = executor.block_on(scrub_all(&log, Timestamp(9))).unwrap();
            let holds =
                |range: &OffsetRange| range.from <= hit.base_offset && hit.base_offset < range.to;
            assert!(damage.iter().any(holds), "byte {place} of {hit:?}: {damage:?}");
            assert_eq!(log.quarantined(), damage);
            let again = executor.block_on(scrub_all(&log, Timestamp(99))).unwrap();
            assert_eq!(again, [], "it is known");
            let mut served = 0;
            for info in &infos {
                let lost =
                    damage.iter().any(|d| d.from <= info.base_offset && info.base_offset < d.to);
                let read = executor.block_on(read(&log, info.base_offset)).unwrap();
                assert_eq!(read.is_err(), lost, "{info:?} {damage:?}");
                let into =
                    |to: Offset| damage.iter().any(|d| d.from < to && info.base_offset < d.from);
                assert!(read.is_err() || !into(read.unwrap()), "a read ends before damage");
                served += u32::from(!lost);
            }
            assert!(served >= 30, "only {served} served");
        }
        assert!(in_headers > 10, "vacuous");
    }

    #[test]
    fn a_segment_without_checksums_gets_them_and_is_guarded_from_then_on() {
        let disk = Disk::new(3);
        closed(&disk, &mut Prng::new(3));
        let (mut executor, log) = open(&disk, 150_000);
        let base = sealed(&log)[1];
        let index = names::index(base);
        let checksums = |executor: &mut Executor| {
            let (root, index) = (disk.root(), index.clone());
            let content = executor.block_on(async move { root.read_small(&index).await });
            content.unwrap().ok().and_then(|content| checksums_in(base, &content))
        };
        let before = checksums(&mut executor);
        assert!(before.is_some(), "a closed segment has them");
        executor.block_on(async { disk.root().remove(&index).await }).unwrap().unwrap();
        assert_eq!(executor.block_on(scrub_all(&log, Timestamp(0))).unwrap(), []);
        assert_eq!(checksums(&mut executor), before);
        // The epoch of the segment's last batch, which another might have written as well.
        let file = executor.block_on(async { disk.root().read_small(&names::segment(base)).await });
        let file = file.unwrap().unwrap();
        let mut last = 0;
        while let Some(frame) = file.get(last + 8..last + 12) {
            let next =
                last + 12 + usize::try_from(i32::from_be_bytes(frame.try_into().unwrap())).unwrap();
            if next == file.len() {
                break;
            }
            last = next;
        }
        disk.flip_bit(&names::segment(base), last + 15, 5);
        assert_eq!(executor.block_on(scrub_all(&log, Timestamp(9))).unwrap().len(), 1);
    }

    #[test]
    fn a_missing_segment_is_damage_and_a_closed_one_is_due_again_after_the_interval() {
        let disk = Disk::new(5);
        closed(&disk, &mut Prng::new(5));
        let (mut executor, log) = open(&disk, 150_000);
        let count = sealed(&log).len();
        let due = |executor: &mut Executor, now| {
            let mut due = 0;
            while executor.block_on(log.scrub(Timestamp(now), 100)).unwrap().unwrap().is_some() {
                due += 1;
            }
            due
        };
        assert_eq!((due(&mut executor, 0), due(&mut executor, 99)), (count, 0));
        assert_eq!(due(&mut executor, 100), count);
        executor.block_on(log.close()).unwrap().unwrap();
        let (mut executor, log) = open(&disk, 150_000);
        let bases = sealed(&log);
        let gone = names::segment(bases[1]);
        executor.block_on(async { disk.root().remove(&gone).await }).unwrap().unwrap();
        let damage = executor.block_on(scrub_all(&log, Timestamp(0))).unwrap();
        let to = bases.get(2).copied().unwrap_or(log.log_end());
        assert_eq!(damage[0].from, bases[1]);
        assert!(damage[0].to <= to && damage.len() == 1, "{damage:?}");
    }

    #[test]
    fn a_truncation_ends_the_scrub_of_what_it_cuts() {
        let disk = Disk::new(4);
        let (mut executor, log) = open(&disk, 4 << 20);
        executor
            .block_on(async {
                for _ in 0..60 {
                    append(&log, 100_000, 0).await;
                }
                log.flush().await.unwrap();
                while !log.inner.state.borrow().segments[0].sealed {
                    disk.finish_one();
                    futures_lite::future::yield_now().await;
                }
                let mut scrub = log.scrub(Timestamp(0), 1).await.unwrap().unwrap();
                let step = log.scrub_step(&mut scrub).await.unwrap();
                assert!(step.bytes >= STEP_BYTES && !step.is_last);
                log.truncate_to(Offset(40)).await.unwrap();
                for _ in 0..60 {
                    append(&log, 90_000, 1).await;
                }
                log.flush().await.unwrap();
                let step = log.scrub_step(&mut scrub).await.unwrap();
                assert_eq!(step, Step { bytes: 0, damage: Vec::new(), is_last: true });
                assert_eq!(scrub_all(&log, Timestamp(9)).await, []);
            })
            .unwrap();
    }
}
