//! One pass over one log: keys are mapped, segments rewritten and replaced, in order.
//!
//! In:   an [`Order`]; a [`Pace`] that bounds how fast and lets others run.
//! Out:  a log of which every key mapped is there once; a [`Report`].
//! Home: the partition's shard, as a background task, beside appends and reads.
//!
//! Invariants
//!   P1  Segments are rewritten from the log's first one on, in order: an older value is gone
//!       before a tombstone that hides it is, whatever point a crash stops at.
//!   P2  A compacted segment ends with a batch that ends where the next segment begins, without
//!       records if need be: offsets of readers never meet a hole at a segment's end.
//!   P3  Before anything is dropped because a producer has a newer batch, that batch is durable.
//!   P4  A pass that is given up leaves a whole log: what it has replaced is right by itself, and
//!       the next pass looks at all of it again.
//!   P5  The shard is kept for one step of a batch, not for a batch: unpacking and packing what is
//!       large is done elsewhere, and between steps others run.
//!
//! Memory: the map (bounded by the order), the aborted transactions, one window of input and one
//! write of output. Reads: the dirty segments twice, the others once.
//!
//! Source: Kafka's `Cleaner.doClean`.

use std::collections::BTreeSet;
use std::rc::Rc;

use bytes::Bytes;

use crate::io::directory::Directory;
use crate::io::file::IoError;
use crate::model::offset::{LeaderEpoch, Offset};
use crate::model::time::Timestamp;
use crate::record::batch::{Batch, BatchInfo, Codec, HEADER_BYTES};
use crate::record::sieve::{BadBatch, STEP_BYTES, Sieve, put_empty};
use crate::storage::compaction::aborted::Aborted;
use crate::storage::compaction::judge::{Clock, Judge, LastWrites, Verdict};
use crate::storage::compaction::map::KeyMap;
use crate::storage::compaction::output::Output;
use crate::storage::log::{Inner, Log, LogError};
use crate::storage::lookup::SharedIndex;
use crate::storage::names;
use crate::storage::segment::{Key, Mark};
use crate::storage::truncation::remove_if_there;
use crate::storage::txn_index::OpenTransactions;
use crate::storage::walk::{WALK_BYTES, Window, acceptable};

pub use crate::storage::compaction::judge::LastWrite;

/// Lets a pass take its time.
#[allow(async_fn_in_trait)] // single-threaded by design: no `Send` bound is wanted
pub trait Pace {
    /// Called between batches, and between steps of a large one: others may run.
    async fn breathe(&self);
    /// Runs what may take longer than a shard should be kept, elsewhere if there is elsewhere.
    async fn apart<T: Send + 'static>(&self, call: impl FnOnce() -> T + Send + 'static) -> T;
    /// Called after so much was read and written: waits as long as the rate wants.
    async fn spent(&self, spent: Spent);
}

/// Bytes moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Read from segments.
    pub read: u64,
    /// Written to new ones.
    pub written: u64,
}

/// What a pass is to do.
#[derive(Clone, Debug)]
pub struct Order {
    /// Wall clock.
    pub now: Timestamp,
    /// Segments that end at or before this are compacted (`Candidate::end`).
    pub end: Offset,
    /// `delete.retention.ms`.
    pub delete_retention_ms: u64,
    /// Bytes that the map of keys may take.
    pub map_bytes: usize,
    /// How full the map may become, of a hundred.
    pub map_fill_percent: usize,
    /// What each active producer wrote last.
    pub producers: LastWrites,
}

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Bytes moved.
    pub spent: Spent,
    /// Bytes of the segments before, and after.
    pub bytes_before: u64,
    /// Bytes of the segments that took their place.
    pub bytes_after: u64,
    /// Keys in the map.
    pub keys: u64,
    /// How full the map was.
    pub map_percent: u64,
    /// The log is compacted up to here.
    pub end: Offset,
}

/// Why a pass was given up (P4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompactError {
    /// The log is closed or deleted, or the directory has failed.
    Offline,
    /// No room for a new segment. Retriable.
    DiskFull,
    /// Segments were removed or cut meanwhile. Retriable.
    Overtaken,
    /// A part of the log cannot be read: the log is not compacted any more.
    Damaged {
        /// First offset of it.
        from: Offset,
    },
    /// A batch cannot be taken apart: as damage.
    BadBatch {
        /// Its base offset.
        base_offset: Offset,
    },
}

impl From<LogError> for CompactError {
    fn from(error: LogError) -> CompactError {
        match error {
            LogError::Offline => Self::Offline,
            LogError::DiskFull => Self::DiskFull,
            LogError::OutOfRange { .. } => Self::Overtaken,
            LogError::Damaged { from, .. } => Self::Damaged { from },
        }
    }
}

impl From<BadBatch> for CompactError {
    fn from(bad: BadBatch) -> CompactError {
        Self::BadBatch { base_offset: bad.base_offset }
    }
}

impl std::fmt::Display for CompactError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Offline => f.write_str("the log is offline"),
            Self::DiskFull => f.write_str("no space left for a compacted segment"),
            Self::Overtaken => f.write_str("the log's segments changed meanwhile"),
            Self::Damaged { from } => write!(f, "records from {} on are damaged", from.0),
            Self::BadBatch { base_offset } => BadBatch { base_offset: *base_offset }.fmt(f),
        }
    }
}

impl std::error::Error for CompactError {}

/// Aborted transactions remembered, and those of one segment more; about 16 MiB.
const ABORTED_MAX: usize = 1 << 20;

/// A packed batch of so many bytes may unpack to a thousand times as many.
const PACKED_APART: usize = 8 << 10;

/// One segment that is read.
#[derive(Clone, Copy)]
struct Input {
    key: Key,
    end: Offset,
    bytes: u64,
}

impl<D: Directory> Log<D> {
    /// Compacts the log up to `order.end`, or as far as the map reaches.
    ///
    /// Errors: [`CompactError`]; the log is whole then, too (P4).
    pub async fn compact(&self, order: &Order, pace: &impl Pace) -> Result<Report, CompactError> {
        let held = self.inner.compaction.enter().await;
        self.inner.check_open()?;
        // P3: the producers' batches were staged before the order was made.
        self.inner.flush_or_full(self.log_end()).await?;
        let mut inputs = Vec::new();
        for (key, end) in self.inner.compactable(order.end) {
            inputs.push(Input { key, end, bytes: self.inner.sums(key).await?.bytes });
        }
        let mut pass = Pass {
            inner: &self.inner,
            order,
            pace,
            sieve: Sieve::default(),
            open: OpenTransactions::default(),
            report: Report::default(),
        };
        pass.run(&inputs).await?;
        drop(held);
        Ok(pass.report)
    }
}

struct Pass<'a, D: Directory, P> {
    inner: &'a Rc<Inner<D>>,
    order: &'a Order,
    pace: &'a P,
    sieve: Sieve,
    /// Transactions open behind what was rewritten so far, by what is left of them.
    open: OpenTransactions,
    report: Report,
}

/// Segments that become one.
struct Group<D: Directory> {
    old: Vec<Key>,
    end: Offset,
    bytes: u64,
    output: Output<D>,
    /// Whether it would differ from what is there.
    changed: bool,
    /// The batch that ends the last segment, if nothing of it was left (P2).
    dropped_end: Option<BatchInfo>,
}

impl<D: Directory, P: Pace> Pass<'_, D, P> {
    async fn run(&mut self, inputs: &[Input]) -> Result<(), CompactError> {
        let from = self.inner.dirty_from();
        let Some(end) = inputs.last().map(|last| last.end).filter(|end| from < *end) else {
            return Ok(());
        };
        let mut map = KeyMap::new(self.order.map_bytes, self.order.map_fill_percent);
        let mut aborted = Aborted::default();
        let mapped_end = self.map(inputs, from, end, &mut map, &mut aborted).await?;
        self.report.keys = map.keys() as u64;
        self.report.map_percent = map.utilization_percent();
        if mapped_end <= from {
            return Ok(()); // not one key fits
        }
        let mut sieve = std::mem::take(&mut self.sieve);
        let mut judge = Judge {
            map: &map,
            mapped_end,
            aborted: &aborted,
            producers: &self.order.producers,
            clock: Clock {
                now: self.order.now,
                delete_retention_ms: self.order.delete_retention_ms,
            },
            seen: BTreeSet::new(),
            sieve: &mut sieve,
        };
        let holding = inputs.iter().take_while(|input| input.key.base < mapped_end);
        let holding: Vec<Input> = holding.copied().collect();
        self.rewrite(&holding, &mut judge).await?;
        self.inner.note_compacted(mapped_end).await?;
        self.report.end = mapped_end;
        Ok(())
    }

    /// Maps the keys of `[from, end)`; the end of what was mapped, lower where the map is full.
    async fn map(
        &mut self,
        inputs: &[Input],
        from: Offset,
        end: Offset,
        map: &mut KeyMap,
        aborted: &mut Aborted,
    ) -> Result<Offset, CompactError> {
        let mut end = end;
        let mut asked = false;
        let mut mapped_end = from;
        for input in inputs.iter().filter(|input| input.end > from) {
            let opened = self.open(input).await?;
            let mut reader = Reader::new(self.inner, &opened);
            while let Some((info, bytes)) = self.next(&mut reader).await? {
                if info.end_offset() <= from {
                    continue;
                }
                if info.attributes.is_transactional() && !asked {
                    (*aborted, end) = self.aborted(inputs, info.base_offset, end).await?;
                    asked = true;
                }
                if info.base_offset >= end {
                    return Ok(mapped_end);
                }
                let (pid, base) = (info.producer_id, info.base_offset);
                let transactional = info.attributes.is_transactional();
                if info.attributes.is_control() || transactional && aborted.holds(pid, base) {
                    mapped_end = info.end_offset();
                    continue;
                }
                if let Some(full) = self.map_batch(&bytes, from, map).await? {
                    return Ok(full);
                }
                mapped_end = info.end_offset();
            }
            mapped_end = mapped_end.max(input.end.min(end));
        }
        Ok(mapped_end)
    }

    /// Maps a batch's keys from `from` on. Returns the offset of the first for which there is no room.
    async fn map_batch(
        &mut self,
        bytes: &Bytes,
        from: Offset,
        map: &mut KeyMap,
    ) -> Result<Option<Offset>, BadBatch> {
        open(self.pace, &mut self.sieve, bytes).await?;
        loop {
            let mut full = None;
            let more = self.sieve.each(&batch_of(bytes), |offset, record| {
                let Some(key) = record.key.filter(|_| offset >= from) else { return true };
                if map.put(key, offset).is_err() {
                    full = Some(offset);
                }
                full.is_none()
            })?;
            if full.is_some() || !more {
                return Ok(full);
            }
            self.pace.breathe().await;
        }
    }

    /// The aborted transactions in `[from, end)`, and the end of what they are known for: lower
    /// where they are too many for one pass.
    async fn aborted(
        &self,
        inputs: &[Input],
        from: Offset,
        end: Offset,
    ) -> Result<(Aborted, Offset), CompactError> {
        let log = Log { inner: self.inner.clone() };
        let mut aborted = Aborted::default();
        for input in inputs.iter().filter(|input| input.end > from) {
            if aborted.count() >= ABORTED_MAX {
                return Ok((aborted, end.min(input.key.base)));
            }
            let start = from.max(input.key.base);
            aborted.add(&log.aborted(start, input.end.min(end)).await?);
        }
        Ok((aborted, end))
    }

    async fn rewrite(
        &mut self,
        inputs: &[Input],
        judge: &mut Judge<'_>,
    ) -> Result<(), CompactError> {
        let mut group: Option<Group<D>> = None;
        if let Some(first) = inputs.first() {
            let index = self.inner.index(first.key).await?;
            self.open = index.borrow().transactions.before().clone();
        }
        for input in inputs {
            if group.as_ref().is_some_and(|group| !self.fits(group, input)) {
                self.close(group.take().expect("just seen")).await?;
            }
            let mut running = match group.take() {
                Some(running) => running,
                None => self.begin(input.key.base).await?,
            };
            match self.add(&mut running, input, judge).await {
                Ok(()) => group = Some(running),
                Err(error) => {
                    let gone = running.output.discard().await;
                    gone.map_err(|error| self.inner.fail(error))?;
                    return Err(error);
                }
            }
        }
        match group {
            Some(group) => self.close(group).await,
            None => Ok(()),
        }
    }

    async fn begin(&self, base: Offset) -> Result<Group<D>, CompactError> {
        self.inner.check_open()?;
        let interval = self.inner.state.borrow().options.index_interval_bytes;
        let output = Output::create(&self.inner.directory, base, self.open.clone(), interval).await;
        let output = output.map_err(|error| self.inner.fail(error))?;
        Ok(Group {
            old: Vec::new(),
            end: base,
            bytes: 0,
            output,
            changed: false,
            dropped_end: None,
        })
    }

    /// Whether all of `input` has room in the group's segment, even if all of it stays.
    fn fits(&self, group: &Group<D>, input: &Input) -> bool {
        let options = self.inner.state.borrow().options;
        // A batch is at least a header, so no more entries than that can come.
        let interval = u64::from(options.index_interval_bytes).max(HEADER_BYTES as u64);
        let entries = group.output.entries() as u64 + input.bytes / interval + 2;
        !group.output.transactions().is_full()
            && group.output.bytes() + input.bytes <= u64::from(options.segment_bytes)
            && usize::try_from(entries).is_ok_and(|count| count <= options.index_entries_max())
            && input.end.0 - group.old[0].base.0 <= i64::from(i32::MAX)
    }

    /// Adds what is left of a segment to the group's.
    async fn add(
        &mut self,
        group: &mut Group<D>,
        input: &Input,
        judge: &mut Judge<'_>,
    ) -> Result<(), CompactError> {
        let opened = self.open(input).await?;
        let mut reader = Reader::new(self.inner, &opened);
        let mut changed = Vec::new();
        let before = group.output.bytes();
        while let Some((info, bytes)) = self.next(&mut reader).await? {
            changed.clear();
            let verdict = judge.judge(self.pace, &bytes, &info, &mut changed).await?;
            // What holds a segment's end is dropped, and put there again.
            let holds_end = info.record_count == 0 && info.end_offset() == input.end;
            group.changed |= match verdict {
                Verdict::Keep => false,
                Verdict::Change => true,
                Verdict::Drop => !holds_end,
            };
            let pushed = match verdict {
                Verdict::Keep => group.output.push(&bytes, &info).await,
                Verdict::Change => {
                    let info = batch_of(&changed).info().expect("it was written here");
                    group.output.push(&changed, &info).await
                }
                Verdict::Drop => Ok(()),
            };
            pushed.map_err(|error| self.inner.fail(error))?;
            group.dropped_end = Some(info).filter(|_| verdict == Verdict::Drop);
        }
        self.note_spent(Spent { read: 0, written: group.output.bytes() - before }).await;
        group.old.push(input.key);
        group.end = input.end;
        group.bytes += input.bytes;
        Ok(())
    }

    /// Ends the group's segment and lets it take its place; if it cannot, its file goes.
    async fn close(&mut self, group: Group<D>) -> Result<(), CompactError> {
        let name = names::cleaned(group.old[0].base);
        let closed = self.put_in_place(group).await;
        // After a failed write nobody knows what was decided: the next start does.
        if matches!(closed, Err(error) if error != CompactError::Offline) {
            let gone = remove_if_there(&self.inner.directory, &name).await;
            gone.map_err(|error| self.inner.fail(error))?;
        }
        closed
    }

    async fn put_in_place(&mut self, mut group: Group<D>) -> Result<(), CompactError> {
        self.inner.check_open()?;
        self.report.bytes_before += group.bytes;
        self.open = group.output.transactions().open().clone();
        if group.old.len() == 1 && !group.changed && self.says_the_same(&group).await? {
            self.report.bytes_after += group.bytes;
            let gone = group.output.discard().await;
            return gone.map_err(|error| self.inner.fail(error).into());
        }
        if group.output.end() < group.end {
            let last = group.dropped_end.ok_or(CompactError::Damaged { from: group.end })?;
            let mut empty = Vec::new();
            put_empty(&last, &mut empty); // P2
            let info = batch_of(&empty).info().expect("it was written here");
            let pushed = group.output.push(&empty, &info).await;
            pushed.map_err(|error| self.inner.fail(error))?;
        }
        self.report.bytes_after += group.output.bytes();
        let finished = group.output.finish().await.map_err(|error| self.inner.fail(error))?;
        let replaced = self.inner.replace(&group.old, group.end, finished).await?;
        if replaced { Ok(()) } else { Err(CompactError::Overtaken) }
    }

    /// Whether the segment's index knows the transactions that its new one would: an unchanged
    /// segment is not to name one open of which compaction has left nothing before it.
    async fn says_the_same(&self, group: &Group<D>) -> Result<bool, CompactError> {
        let index = self.inner.index(group.old[0]).await?;
        let same = index.borrow().transactions == *group.output.transactions();
        Ok(same)
    }

    async fn open(&self, input: &Input) -> Result<Opened<D::File>, CompactError> {
        let key = input.key;
        let start = Mark { position: 0, offset: key.base };
        let index = self.inner.index(key).await?;
        let file = self.inner.file_of(key).await;
        let file = file.map_err(|error| self.inner.read_error(error, key, start))?;
        Ok(Opened { input: *input, file, index })
    }

    /// The next batch, at its pace.
    async fn next(
        &mut self,
        reader: &mut Reader<'_, D>,
    ) -> Result<Option<(BatchInfo, Bytes)>, CompactError> {
        self.inner.check_open()?;
        self.pace.breathe().await;
        let next = reader.next().await?;
        let read = reader.take_read();
        if read > 0 {
            self.note_spent(Spent { read, written: 0 }).await;
        }
        Ok(next)
    }

    async fn note_spent(&mut self, spent: Spent) {
        self.report.spent.read += spent.read;
        self.report.spent.written += spent.written;
        self.pace.spent(spent).await;
    }
}

/// Opens a batch, elsewhere if it may take long.
pub(super) async fn open(
    pace: &impl Pace,
    sieve: &mut Sieve,
    bytes: &Bytes,
) -> Result<(), BadBatch> {
    let batch = batch_of(bytes);
    if bytes.len() < PACKED_APART || batch.header().attributes().codec() == Ok(Codec::None) {
        return sieve.open(&batch);
    }
    let (mut moved, bytes) = (std::mem::take(sieve), bytes.clone());
    let (back, opened) = pace
        .apart(move || {
            let opened = moved.open(&batch_of(&bytes));
            (moved, opened)
        })
        .await;
    *sieve = back;
    opened
}

/// Appends to `out` what was kept of the batch that is open, elsewhere if it may take long.
pub(super) async fn rebuild(
    pace: &impl Pace,
    sieve: &mut Sieve,
    info: &BatchInfo,
    horizon: Option<Timestamp>,
    out: &mut Vec<u8>,
) {
    if sieve.kept_bytes() < STEP_BYTES {
        return sieve.rebuild(info, horizon, out);
    }
    let (mut moved, mut into, info) = (std::mem::take(sieve), std::mem::take(out), *info);
    (*sieve, *out) = pace
        .apart(move || {
            moved.rebuild(&info, horizon, &mut into);
            (moved, into)
        })
        .await;
}

pub(super) fn batch_of(bytes: &[u8]) -> Batch<'_> {
    Batch::first(bytes).expect("a whole batch was read")
}

/// Reads the batches of a sealed segment one after another, trusting nothing.
struct Reader<'a, D: Directory> {
    inner: &'a Rc<Inner<D>>,
    opened: &'a Opened<D::File>,
    window: Window<'a, D::File>,
    at: Mark,
    read: u64,
}

/// What is needed to read a segment.
struct Opened<F> {
    input: Input,
    file: Rc<F>,
    index: SharedIndex,
}

impl<'a, D: Directory> Reader<'a, D> {
    fn new(inner: &'a Rc<Inner<D>>, opened: &'a Opened<D::File>) -> Reader<'a, D> {
        let at = Mark { position: 0, offset: opened.input.key.base };
        Reader { inner, opened, window: Window::new(&opened.file), at, read: 0 }
    }

    /// Bytes of the batches since the last call, given out once they make up a window.
    fn take_read(&mut self) -> u64 {
        let enough = self.read >= WALK_BYTES as u64;
        if enough || self.at.position >= self.opened.input.bytes {
            std::mem::take(&mut self.read)
        } else {
            0
        }
    }

    /// The next batch, whole and checked; `None` at the end.
    async fn next(&mut self) -> Result<Option<(BatchInfo, Bytes)>, CompactError> {
        let Input { key, end, bytes: limit } = self.opened.input;
        let at = self.at;
        if at.position >= limit {
            // An index that was made anew ends before what is damaged.
            let whole = at.offset == end;
            return if whole { Ok(None) } else { Err(self.inner.damaged(key, at.offset).into()) };
        }
        let failed = |inner: &Inner<D>, error: IoError| inner.read_error(error, key, at);
        let header = self.window.at(at.position, HEADER_BYTES).await;
        let header = header.map_err(|error| failed(self.inner, error))?;
        let room = limit - at.position;
        let info = acceptable(&header, at.offset, LeaderEpoch::NONE, room, key.chain);
        let confirmed = self.opened.index.borrow().confirms(at.position, &header); // W10
        let Some(info) = info.filter(|info| confirmed && info.end_offset() <= end) else {
            return Err(self.inner.damaged(key, at.offset).into());
        };
        let length = usize::try_from(info.bytes).unwrap_or(usize::MAX);
        let bytes = self.window.at(at.position, length).await;
        let bytes = bytes.map_err(|error| failed(self.inner, error))?;
        if !Batch::first(&bytes).is_ok_and(|batch| batch.verify_crc().is_ok()) {
            return Err(self.inner.damaged(key, at.offset).into());
        }
        self.read += u64::from(info.bytes);
        let position = at.position + u64::from(info.bytes);
        self.at = Mark { position, offset: info.end_offset() };
        Ok(Some((info, bytes)))
    }
}
