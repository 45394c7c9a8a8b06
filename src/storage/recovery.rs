//! The start of a log: what lies on the disk becomes a log, or the reason why it cannot.
//!
//! In:   a partition's directory, new or left by a crash at any point or by an orderly end.
//! Out:  [`Opened`]: the log, what was found, and what the partition's core needs.
//! Home: one shard; before anyone else has the log.
//!
//! Invariants
//!   R1  Nothing before the proven end is ever cut: what is bad there is damage, and quarantined.
//!   R2  After the proven end, the log ends before the first batch that is not acceptable; what
//!       lies behind it is zeroed, and later segments removed, durably, before the log is used.
//!   R3  All that the log then holds has been synced, names too: it may have survived a dead
//!       process only in caches.
//!   R4  Recovery that crashes and runs again gives the same log.
//!
//! Only bytes after the proven end are read in full; before it, headers of the growing segment
//! from where its saved index ends. Sealed segments before it are not read at all.
//! Source: `storage.md` 4.4 (the table), W7-W9.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use bytes::Bytes;

use crate::io::directory::Directory;
use crate::io::file::{File, IoError};
use crate::model::offset::{LeaderEpoch, Offset};
use crate::model::time::Timestamp;
use crate::record::batch::BatchInfo;
use crate::record::control::EndMarker;
use crate::storage::appender::{Derived, create_with_space};
use crate::storage::checkpoint::{Checkpoint, CheckpointFile, Loaded};
use crate::storage::compaction::manifest::{Compacted, ManifestFile};
use crate::storage::compaction::swap;
use crate::storage::epochs::{EPOCHS_NAME, EpochTable};
use crate::storage::log::{Inner, Life, Log, LogShared, OffsetRange, State};
use crate::storage::names::{self, Name};
use crate::storage::offset_index::SparseIndex;
use crate::storage::options::{ALLOCATE_BYTES_MIN, LogOptions};
use crate::storage::plan::{Jobs, Proven};
use crate::storage::read_ahead::ReadAhead;
use crate::storage::segment::{Mark, Sealed, Segment, Slot, Sums, block_ceil, block_floor};
use crate::storage::signal::{Gate, Signal};
use crate::storage::snapshot;
use crate::storage::tail::Tail;
use crate::storage::transactions::open_at;
use crate::storage::truncation::zero_after;
use crate::storage::txn_index::OpenTransactions;
use crate::storage::walk::{Course, Look, Stop, is_zero_from, walk};

/// A log, ready for use once its [`Log::run`] is spawned.
pub struct Opened<D: Directory> {
    /// The log.
    pub log: Log<D>,
    /// What was found.
    pub report: RecoveryReport,
    /// The newest usable snapshot: the offset before which it holds all, and the blob.
    pub snapshot: Option<(Offset, Bytes)>,
    /// All batches from the snapshot's offset (or the log's start) to the end.
    pub replay: Vec<Replayed>,
    /// Leader epochs, each with its first offset.
    pub epochs: Vec<(LeaderEpoch, Offset)>,
}

/// A batch that the partition's core has yet to note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Its numbers.
    pub info: BatchInfo,
    /// What it says, if it is a control batch that ends a transaction.
    pub marker: Option<EndMarker>,
}

/// How the log was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// There was nothing.
    New,
    /// It had been closed in order.
    Clean,
    /// It had not, and ends where zeros begin.
    Crashed,
    /// It had not, and something unfinished behind its end was cut off.
    Torn,
    /// Nothing on disk says how much was durable: all is what a scan could find.
    Suspect,
    /// Its start was past its end: everything before the start was deleted, so it is empty there.
    StartPastEnd,
}

/// What recovery found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryReport {
    /// How the log was found.
    pub condition: Condition,
    /// Bytes that were there behind the end and are not any more.
    pub bytes_cut: u64,
    /// Bytes read to find the end.
    pub bytes_scanned: u64,
    /// Damage before the proven end.
    pub damage: Vec<OffsetRange>,
    /// Segments of the log.
    pub segments: usize,
    /// First offset.
    pub log_start: Offset,
    /// The offset after the last.
    pub log_end: Offset,
}

/// Why a log cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The disk refused.
    Io(IoError),
    /// The file of the segment that held the proven end is gone: how far the log went is not known.
    SegmentMissing {
        /// The segment's base offset.
        segment: Offset,
    },
}

impl From<IoError> for OpenError {
    fn from(error: IoError) -> Self {
        Self::Io(error)
    }
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => std::fmt::Display::fmt(error, f),
            Self::SegmentMissing { segment } => {
                write!(f, "segment {} is missing", names::segment(*segment))
            }
        }
    }
}

impl std::error::Error for OpenError {}

/// What a directory holds, by kind; all in order of offset.
#[derive(Default)]
pub(super) struct Inventory {
    pub(super) segments: BTreeSet<Offset>,
    pub(super) indexes: BTreeSet<Offset>,
    /// Compacted segments that are not in their place.
    pub(super) cleaned: BTreeSet<Offset>,
    snapshots: BTreeSet<Offset>,
    spare: bool,
}

/// The log as far as recovery has come.
struct Recovery<'a, D: Directory> {
    directory: &'a D,
    options: LogOptions,
    segments: VecDeque<Segment<D::File>>,
    checkpoint: Checkpoint,
    compacted: Compacted,
    epochs: EpochTable,
    report: RecoveryReport,
    names_changed: bool,
    /// The table of epochs on disk is of no use.
    rebuild_epochs: bool,
}

impl<D: Directory> Log<D> {
    /// Opens the log in `directory`, or begins one there; `now` is wall-clock.
    ///
    /// The name of `directory` itself is the caller's to make durable. Errors: [`OpenError`];
    /// after `Io` other than `NoSpace` the caller stops the directory.
    pub async fn open(
        directory: D,
        options: LogOptions,
        shared: LogShared,
        now: Timestamp,
    ) -> Result<Opened<D>, OpenError> {
        let mut found = take_inventory(&directory).await?;
        let (manifest, compacted) = ManifestFile::load(&directory).await?;
        let compacted = Compacted::from(compacted);
        swap::finish_or_undo(&directory, &manifest, compacted, &mut found).await?;
        let (file, loaded) = CheckpointFile::load(&directory).await?;
        let mut recovery = Recovery::new(&directory, options, loaded, &found);
        recovery.compacted = compacted.without_swap();
        if found.spare {
            recovery.remove(names::SPARE_NAME).await?;
        }
        recovery.load_epochs().await?;
        recovery.drop_deleted(&mut found).await?;
        recovery.assemble(&found).await?;
        recovery.finish(&mut found).await?;
        let report = recovery.report;
        let cut_done = recovery.checkpoint.cut.is_some();
        let (snapshot, kept) = newest_snapshot(&directory, &found, report.log_end).await?;
        let from = snapshot.as_ref().map_or(report.log_start, |found| found.0);
        let replay = replay(&recovery.segments, &directory, from.max(report.log_start)).await?;
        let mut jobs = Jobs::new(None, recovery.checkpoint.clean, now);
        jobs.proven = file.exists().then(|| Proven::of(&recovery.checkpoint));
        let state = State {
            options,
            now,
            segments: recovery.segments,
            queue: VecDeque::new(),
            queued_bytes: 0,
            writes: VecDeque::new(),
            jobs,
            log_start: report.log_start,
            log_end: report.log_end,
            durable_end: report.log_end,
            epochs_dirty: recovery.rebuild_epochs
                || !recovery.epochs.entries().is_empty() && !recovery.checkpoint.clean,
            epochs: recovery.epochs,
            quarantined: report.damage.clone(),
            snapshots: kept,
            bytes_since_snapshot: replay.iter().map(|batch| u64::from(batch.info.bytes)).sum(),
            disk_full: None,
            life: Life::Open,
            read_ahead: ReadAhead::default(),
            cuts: 0,
            replaced: 0,
            compacted: compacted.without_swap().within(report.log_end),
        };
        let epochs = state.epochs.entries().to_vec();
        let log = Log { inner: Inner::assemble(directory, state, shared, (file, manifest)) };
        if log.inner.state.borrow().compacted.end < compacted.end {
            // What is appended next has not been compacted.
            let compacted = log.inner.state.borrow().compacted;
            log.inner.manifest.store(&log.inner.directory, &compacted).await?;
        }
        let store = cut_done || report.condition == Condition::StartPastEnd;
        if store {
            log.inner.store_checkpoint(false, None, Derived::Leave).await?;
        }
        Ok(Opened { log, report, snapshot, replay, epochs })
    }
}

impl<D: Directory> Inner<D> {
    fn assemble(
        directory: D,
        state: State<D::File>,
        shared: LogShared,
        (checkpoint, manifest): (CheckpointFile<D::File>, ManifestFile<D::File>),
    ) -> Rc<Inner<D>> {
        Rc::new(Inner {
            directory,
            tail: Tail::new(shared.tail, state.log_end),
            state: RefCell::new(state),
            work: Signal::default(),
            moved: Signal::default(),
            checkpoint,
            checkpoint_gate: Gate::default(),
            maintenance: Gate::default(),
            compaction: Gate::default(),
            index_gate: Gate::default(),
            manifest,
            fail_stop: shared.fail_stop,
            gate: shared.gate,
            on_durable: RefCell::new(None),
        })
    }
}

async fn take_inventory<D: Directory>(directory: &D) -> Result<Inventory, IoError> {
    let mut found = Inventory::default();
    for name in directory.list().await? {
        match names::parse(&name) {
            Name::Segment(base) => drop(found.segments.insert(base)),
            Name::Index(base) => drop(found.indexes.insert(base)),
            Name::Snapshot(offset) => drop(found.snapshots.insert(offset)),
            Name::Spare => found.spare = true,
            Name::Cleaned(base) => drop(found.cleaned.insert(base)),
            Name::Other => {}
        }
    }
    Ok(found)
}

impl<'a, D: Directory> Recovery<'a, D> {
    fn new(directory: &'a D, options: LogOptions, loaded: Loaded, found: &Inventory) -> Self {
        let first = found.segments.first().copied().unwrap_or_default();
        let last = found.segments.last().copied().unwrap_or_default();
        let unproven = |segment, log_start| Checkpoint {
            clean: false,
            epochs_stale: false,
            log_start,
            proven_segment: segment,
            proven_position: 0,
            proven_offset: segment,
            cut: None,
        };
        let (checkpoint, condition) = match loaded {
            Loaded::None if found.segments.is_empty() => (unproven(first, first), Condition::New),
            // No checkpoint was ever written: the first comes with the first seal.
            Loaded::None => (unproven(first, first), Condition::Crashed),
            Loaded::Found(checkpoint) if checkpoint.clean => (checkpoint, Condition::Clean),
            Loaded::Found(checkpoint) => (checkpoint, Condition::Crashed),
            Loaded::Unreadable => (unproven(last, first), Condition::Suspect),
        };
        let report = RecoveryReport {
            condition,
            bytes_cut: 0,
            bytes_scanned: 0,
            damage: Vec::new(),
            segments: 0,
            log_start: checkpoint.log_start.max(first),
            log_end: checkpoint.log_start,
        };
        let segments = VecDeque::new();
        let epochs = EpochTable::default();
        Recovery {
            directory,
            options,
            segments,
            checkpoint,
            compacted: Compacted::NONE,
            epochs,
            report,
            names_changed: false,
            rebuild_epochs: false,
        }
    }

    async fn remove(&mut self, name: &str) -> Result<(), IoError> {
        self.names_changed = true;
        match self.directory.remove(name).await {
            Ok(()) | Err(IoError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn remove_segment(&mut self, base: Offset) -> Result<(), IoError> {
        self.remove(&names::segment(base)).await?;
        self.remove(&names::index(base)).await
    }

    /// Loads the table of epochs; where it is missing, damaged or stale, batches say it again.
    async fn load_epochs(&mut self) -> Result<(), IoError> {
        let stored = match self.directory.read_small(EPOCHS_NAME).await {
            Ok(content) => EpochTable::decode(&content),
            Err(IoError::NotFound) => None,
            Err(error) => return Err(error),
        };
        match stored.filter(|_| !self.checkpoint.epochs_stale) {
            Some(table) => self.epochs = table,
            None => self.rebuild_epochs = true,
        }
        // What was not proven is said again by the walk, or was not durable.
        self.epochs.truncate(self.checkpoint.proven_offset);
        Ok(())
    }

    /// Reads the epochs of a sealed segment from its headers.
    async fn epochs_of(&mut self, base: Offset) -> Result<(), IoError> {
        let file = self.directory.open(&names::segment(base)).await?;
        let limit = file.size().await?;
        let from = Mark { position: 0, offset: base };
        let course = Course::headers(from, limit, self.compacted.chain_of(base));
        let epochs = &mut self.epochs;
        let (end, _) = walk(&file, course, |met| {
            epochs.assign(met.info.leader_epoch, met.info.base_offset);
            true
        })
        .await?;
        self.report.bytes_scanned += end.position;
        Ok(())
    }

    /// Removes segments that lie before the log's start: their deletion was begun.
    async fn drop_deleted(&mut self, found: &mut Inventory) -> Result<(), IoError> {
        let bases: Vec<Offset> = found.segments.iter().copied().collect();
        for pair in bases.windows(2) {
            let proven = pair[0] < self.checkpoint.proven_segment;
            if proven && pair[1] <= self.checkpoint.log_start {
                self.remove_segment(pair[0]).await?;
                found.segments.remove(&pair[0]);
            }
        }
        Ok(())
    }

    /// Finds the log's end; `segments` is then the log, its last one open.
    async fn assemble(&mut self, found: &Inventory) -> Result<(), OpenError> {
        let proven = self.checkpoint.proven_segment;
        let bases: Vec<Offset> = found.segments.iter().copied().collect();
        for (at, base) in bases.iter().enumerate().filter(|(_, base)| **base < proven) {
            let end = bases.get(at + 1).copied().unwrap_or(proven);
            if self.rebuild_epochs {
                self.epochs_of(*base).await?;
            }
            let mut segment = Segment::sealed(*base, end.min(proven));
            segment.chain = self.compacted.chain_of(*base);
            self.segments.push_back(segment);
        }
        let mut rest = bases.iter().copied().filter(|base| *base >= proven).peekable();
        let has_proven = rest.peek() == Some(&proven);
        if !has_proven && self.checkpoint.proven_position > 0 {
            return Err(OpenError::SegmentMissing { segment: proven });
        }
        let mut end = Mark { position: 0, offset: proven };
        let mut ended = !has_proven;
        while let Some(base) = rest.next() {
            if ended || base != end.offset {
                // R2: behind the end of the log.
                self.report.condition = self.report.condition.max_torn();
                self.remove_segment(base).await?;
                continue;
            }
            let next = rest.peek().copied();
            let (scanned, stop) = self.scan(base).await?;
            end = scanned;
            ended = stop == Stop::Enough || next.is_some() && next != Some(end.offset);
        }
        if self.segments.back().is_none_or(|last| last.sealed) {
            self.begin_segment(end.offset).await?;
        }
        Ok(())
    }

    /// What is open behind the last segment so far.
    async fn open_before(&self) -> Result<OpenTransactions, IoError> {
        let scanned = self.segments.back().and_then(|last| last.index.as_ref());
        if let Some(index) = scanned {
            return Ok(index.borrow().transactions.open().clone());
        }
        let before = self.segments.iter();
        let before: Vec<Sealed> =
            before.map(|s| Sealed { key: s.key(), end: s.staged.offset }).collect();
        open_at(self.directory, &before).await
    }

    /// Makes an empty last segment.
    async fn begin_segment(&mut self, base: Offset) -> Result<(), IoError> {
        let bytes = ALLOCATE_BYTES_MIN.min(block_ceil(u64::from(self.options.segment_bytes)));
        let name = names::segment(base);
        let file = create_with_space(self.directory, &name, bytes).await?;
        self.names_changed = true;
        let open = self.open_before().await?;
        let mut segment = Segment::wanted_after(base, open);
        segment.file = Slot::Open(Rc::new(file));
        segment.allocated = bytes;
        self.segments.push_back(segment);
        Ok(())
    }

    /// Walks the segment `base`, which is not sealed as far as is known, and adds it, open.
    async fn scan(&mut self, base: Offset) -> Result<(Mark, Stop), IoError> {
        let open = self.open_before().await?;
        self.seal_last().await?;
        let file = Rc::new(self.directory.open(&names::segment(base)).await?);
        let size = file.size().await?;
        let mut index = SparseIndex::new(base, open);
        let mut from = Mark { position: 0, offset: base };
        if base == self.checkpoint.proven_segment {
            from = self.walk_proven(&file, &mut index).await?;
        }
        let (end, stop) = self.walk_unproven(&file, from, size, &mut index).await?;
        let mut segment = Segment::wanted(base);
        segment.chain = self.compacted.chain_of(base);
        segment.index = Some(Rc::new(RefCell::new(index)));
        segment.set_all(end);
        segment.allocated = block_floor(size);
        let block = block_floor(end.position);
        let ragged = usize::try_from(end.position - block).expect("below a block");
        segment.prefix = file.read_at(block, ragged).await?.to_vec();
        segment.file = Slot::Open(file);
        self.segments.push_back(segment);
        Ok((end, stop))
    }

    /// Brings the index up to the proven end by headers; what is bad there is damage (R1).
    async fn walk_proven(
        &mut self,
        file: &D::File,
        index: &mut SparseIndex,
    ) -> Result<Mark, IoError> {
        let base = index.base;
        let proven = Mark {
            position: self.checkpoint.proven_position,
            offset: self.checkpoint.proven_offset,
        };
        let saved = load_index(self.directory, base).await?;
        if let Some(saved) = saved {
            *index = saved;
        }
        if self.rebuild_epochs {
            index.rewind(0);
        }
        // Position 0 is a boundary of every segment; an index may hold more than is proven.
        if index.bytes > proven.position {
            index.rewind(proven.position);
        }
        let from = Mark { position: index.bytes, offset: index.end };
        let course = Course::headers(from, proven.position, self.compacted.chain_of(base));
        let interval = self.options.index_interval_bytes;
        let epochs = &mut self.epochs;
        let (end, _) = walk(file, course, |met| {
            index.note(met.info, met.header, met.marker, interval);
            epochs.assign(met.info.leader_epoch, met.info.base_offset);
            true
        })
        .await?;
        self.report.bytes_scanned += proven.position - from.position;
        if end != proven {
            let damage = OffsetRange { from: end.offset, to: proven.offset };
            self.report.damage.push(damage);
            // The index goes on behind the damage, so that positions stay true.
            index.skip_to(proven.position, proven.offset);
        }
        Ok(proven)
    }

    /// Finds the end of what is acceptable after the proven end (R2).
    async fn walk_unproven(
        &mut self,
        file: &D::File,
        from: Mark,
        size: u64,
        index: &mut SparseIndex,
    ) -> Result<(Mark, Stop), IoError> {
        let cut = self.checkpoint.cut;
        let interval = self.options.index_interval_bytes;
        let epoch = self.epochs.last().unwrap_or(LeaderEpoch::NONE);
        let epochs = &mut self.epochs;
        let chain = self.compacted.chain_of(index.base);
        let limit = size.max(from.position);
        let course = Course { from, epoch: Some(epoch), limit, look: Look::Whole, chain };
        let (end, stop) = walk(file, course, |met| {
            let kept = cut.is_none_or(|cut| met.info.end_offset() <= cut);
            if kept {
                index.note(met.info, met.header, met.marker, interval);
                epochs.assign(met.info.leader_epoch, met.info.base_offset);
            }
            kept
        })
        .await?;
        self.report.bytes_scanned += end.position - from.position;
        if !is_zero_from(file, end.position).await? {
            self.report.condition = self.report.condition.max_torn();
            self.report.bytes_cut += size - end.position;
            zero_after(file, end.position, size).await?;
        }
        if !self.checkpoint.clean {
            file.sync().await?; // R3
        }
        Ok((end, stop))
    }

    /// Another segment follows the last one: its file ends with its data, its index is saved.
    async fn seal_last(&mut self) -> Result<(), IoError> {
        let Some(last) = self.segments.back_mut().filter(|last| !last.sealed) else {
            return Ok(());
        };
        let file = last.open_file().expect("an unsealed segment was scanned").clone();
        let bytes = last.staged.position;
        file.set_size(bytes).await?;
        file.sync().await?;
        let index = last.index.take().expect("a scanned segment has its index");
        let index = index.replace(SparseIndex::new(last.base, OpenTransactions::default()));
        last.sealed = true;
        last.prefix = Vec::new();
        last.allocated = 0;
        last.sums = Some(Sums {
            bytes,
            max_timestamp: index.max_timestamp,
            max_timestamp_base: index.max_timestamp_base,
        });
        self.directory.write_small(&names::index(last.base), &index.encode()).await
    }

    /// Fits the rest to the log's end, and makes names durable.
    async fn finish(&mut self, found: &mut Inventory) -> Result<(), IoError> {
        let last = self.segments.back().expect("L2: a log has a last segment");
        let mut log_end = last.staged.offset;
        let first = self.segments.front().expect("L2: a log has a first segment").base;
        let log_start = self.checkpoint.log_start.max(first);
        if log_start > log_end {
            self.start_over(log_start).await?;
            log_end = log_start;
        }
        self.epochs.truncate(log_end);
        self.epochs.advance_start(log_start);
        let known: BTreeSet<Offset> = self.segments.iter().map(|segment| segment.base).collect();
        let stale: Vec<Offset> = found.indexes.difference(&known).copied().collect();
        for base in stale {
            self.remove(&names::index(base)).await?;
        }
        let past: Vec<Offset> =
            found.snapshots.iter().copied().filter(|offset| *offset > log_end).collect();
        for offset in past {
            self.remove(&names::snapshot(offset)).await?;
            found.snapshots.remove(&offset);
        }
        if self.names_changed || !self.checkpoint.clean {
            self.directory.sync().await?; // R3, W6
        }
        self.report.log_start = log_start;
        self.report.log_end = log_end;
        self.report.segments = self.segments.len();
        Ok(())
    }

    /// All that the log held was deleted by advancing its start: it goes on there, empty.
    async fn start_over(&mut self, log_start: Offset) -> Result<(), IoError> {
        let bases: Vec<Offset> = self.segments.drain(..).map(|segment| segment.base).collect();
        for base in bases {
            self.remove_segment(base).await?;
        }
        self.report.condition = Condition::StartPastEnd;
        self.begin_segment(log_start).await
    }
}

impl Condition {
    /// Torn, unless it is known to be worse.
    fn max_torn(self) -> Condition {
        match self {
            Self::New | Self::Clean | Self::Crashed | Self::Torn => Self::Torn,
            Self::Suspect | Self::StartPastEnd => self,
        }
    }
}

/// The index of a segment as last saved, if it is whole.
pub(super) async fn load_index<D: Directory>(
    directory: &D,
    base: Offset,
) -> Result<Option<SparseIndex>, IoError> {
    match directory.read_small(&names::index(base)).await {
        Ok(content) => Ok(SparseIndex::decode(base, &content)),
        Err(IoError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The newest snapshot that is whole, and the offsets of those on disk that may be of use.
async fn newest_snapshot<D: Directory>(
    directory: &D,
    found: &Inventory,
    log_end: Offset,
) -> Result<(Option<(Offset, Bytes)>, Vec<Offset>), IoError> {
    let mut kept: Vec<Offset> = found.snapshots.iter().copied().collect();
    while let Some(offset) = kept.last().copied() {
        assert!(offset <= log_end, "Z1: a snapshot past the end was removed");
        if let Some(blob) = snapshot::load(directory, offset).await? {
            return Ok((Some((offset, blob)), kept));
        }
        snapshot::remove(directory, offset).await?;
        kept.pop();
    }
    Ok((None, kept))
}

/// The numbers of all batches that end after `from`.
async fn replay<D: Directory>(
    segments: &VecDeque<Segment<D::File>>,
    directory: &D,
    from: Offset,
) -> Result<Vec<Replayed>, IoError> {
    let mut batches = Vec::new();
    for segment in segments.iter().filter(|segment| segment.staged.offset > from) {
        let (file, index) = match (segment.open_file(), &segment.index) {
            (Some(file), Some(index)) => (file.clone(), Some(index.borrow().clone())),
            _ => {
                let file = Rc::new(directory.open(&names::segment(segment.base)).await?);
                (file, load_index(directory, segment.base).await?)
            }
        };
        let start = index.as_ref().and_then(|index| index.at_or_before(from).map(|e| (index, e)));
        let from_mark = match start {
            Some((index, entry)) => {
                Mark { position: u64::from(entry.position), offset: index.offset_of(&entry) }
            }
            None => Mark { position: 0, offset: segment.base },
        };
        let limit = if segment.sealed { file.size().await? } else { segment.staged.position };
        let course = Course::headers(from_mark, limit, segment.chain);
        walk(&*file, course, |met| {
            if met.info.end_offset() > from {
                batches.push(Replayed { info: *met.info, marker: met.marker });
            }
            true
        })
        .await?;
    }
    Ok(batches)
}
