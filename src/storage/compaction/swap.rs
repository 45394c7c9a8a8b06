//! A compacted segment takes the place of those it was made of: a crash leaves the old or the new.
//!
//! In:   a whole, durable segment beside the log (`output.rs`), and which segments it stands for.
//! Out:  a log that holds it instead of them, on disk and in memory.
//! Home: the partition's shard; other maintenance waits, appends and reads do not.
//!
//! Invariants
//!   X1  The decision is one durable record of the manifest. Before it, a start removes the new
//!       file and the old ones stand. After it, a start (or this) goes on to the end: whatever of
//!       its steps a crash undid, doing them again gives the same.
//!   X2  The old files but the first are removed only when the new one's name is durable: as long
//!       as `.cleaned` is there, all old files are. So even a start that can read no manifest loses
//!       nothing by removing it.
//!   X3  The segments change hands in memory, between two awaits, before any name of theirs changes
//!       on disk: a reader with an old key that opens a name before that gets the old bytes, and
//!       after that its key finds nothing (`lookup.rs`, O3). Open files live on without a name.
//!   X4  The checkpoint on disk proves the log past the replaced segments before the decision: no
//!       start scans what was replaced by positions of what was there before.
//!   X5  The index file of the first old segment goes before the new one's name is durable, and no
//!       reader saves one of old positions after it (the index gate).
//!
//! Source: `storage.md` 4.6.

use std::cell::RefCell;
use std::rc::Rc;

use crate::io::directory::Directory;
use crate::io::file::{File, IoError};
use crate::model::offset::Offset;
use crate::storage::appender::Derived;
use crate::storage::compaction::manifest::{Compacted, ManifestFile};
use crate::storage::compaction::output::Finished;
use crate::storage::compaction::pass::CompactError;
use crate::storage::log::{Inner, OffsetRange, State};
use crate::storage::names;
use crate::storage::recovery::Inventory;
use crate::storage::segment::{Chain, Key, Segment, Slot, Sums};
use crate::storage::truncation::remove_if_there;

impl<D: Directory> Inner<D> {
    /// Puts `new` in the place of the segments `old`, which end at `end`; false if these are not
    /// what the log holds any more, and then nothing has changed.
    ///
    /// Errors: `Offline`, `DiskFull`.
    pub(super) async fn replace(
        self: &Rc<Self>,
        old: &[Key],
        end: Offset,
        new: Finished<D::File>,
    ) -> Result<bool, CompactError> {
        let held = self.maintenance.enter().await;
        self.check_open()?;
        if !self.state.borrow().holds(old, end) {
            return Ok(false);
        }
        let unproven = self.state.borrow().jobs.proven.is_none_or(|p| p.segment < end);
        if unproven {
            let stored = self.store_checkpoint(false, None, Derived::Save).await;
            stored.map_err(|error| self.fail(error))?; // X4
        }
        assert_eq!(new.index.end, end, "a segment ends where the next one begins");
        let range = OffsetRange { from: old[0].base, to: end };
        let before = self.state.borrow().compacted;
        let holes_end = before.holes_end.max(end);
        let decided = Compacted { holes_end, swap: Some(range), ..before };
        let index_held = self.index_gate.enter().await;
        let stored = self.manifest.store(&self.directory, &decided).await;
        stored.map_err(|error| self.fail(error))?; // X1
        let index = new.index.encode();
        // X5: before the new segment can be looked up, or its memory let go and the old one read.
        let gone = remove_if_there(&self.directory, &names::index(range.from)).await;
        gone.map_err(|error| self.fail_hard(error))?;
        self.state.borrow_mut().change_hands(old, end, new);
        self.tail.forget_before(end);
        self.tail.budget().forget_chunks(self.tail.log);
        let removed: Vec<Offset> = old[1..].iter().map(|key| key.base).collect();
        let done = settle(&self.directory, range.from, Cleaned::There, &removed).await;
        done.map_err(|error| self.fail_hard(error))?;
        match self.directory.write_small(&names::index(range.from), &index).await {
            // The index is derived; without room for it, a later look-up makes it again.
            Ok(()) | Err(IoError::NoSpace) => {}
            Err(error) => return Err(self.fail(error).into()),
        }
        drop(index_held);
        let settled = decided.without_swap();
        let stored = self.manifest.store(&self.directory, &settled).await;
        stored.map_err(|error| self.fail_hard(error))?;
        self.state.borrow_mut().compacted = settled;
        drop(held);
        Ok(true)
    }

    /// Notes that all before `end` has been looked at.
    pub(super) async fn note_compacted(self: &Rc<Self>, end: Offset) -> Result<(), CompactError> {
        let held = self.maintenance.enter().await;
        self.check_open()?;
        let before = self.state.borrow().compacted;
        let compacted = Compacted { end, ..before }.within(self.state.borrow().log_end);
        let stored = self.manifest.store(&self.directory, &compacted).await;
        stored.map_err(|error| self.fail(error))?;
        self.state.borrow_mut().compacted = compacted;
        drop(held);
        Ok(())
    }
}

impl<F> State<F> {
    /// Whether the segments `old` are all there is from the first one's base to `end`.
    fn holds(&self, old: &[Key], end: Offset) -> bool {
        let from = self.segments.partition_point(|segment| segment.base < old[0].base);
        let there: Vec<&Segment<F>> = self.segments.iter().skip(from).take(old.len()).collect();
        there.iter().map(|segment| segment.key()).eq(old.iter().copied())
            && there.iter().all(|segment| segment.sealed)
            && there.last().is_some_and(|last| last.staged.offset == end)
    }

    /// The segments `old` go, `new` comes (X3).
    fn change_hands(&mut self, old: &[Key], end: Offset, new: Finished<F>) {
        assert!(self.holds(old, end), "looked at under the maintenance gate");
        let from = self.segments.partition_point(|segment| segment.base < old[0].base);
        self.replaced += 1;
        let mut segment = Segment::sealed(old[0].base, end);
        segment.version = self.replaced;
        segment.chain = Chain::Holes;
        segment.file = Slot::Open(new.file);
        segment.sums = Some(Sums {
            bytes: new.index.bytes,
            max_timestamp: new.index.max_timestamp,
            max_timestamp_base: new.index.max_timestamp_base,
        });
        segment.index = Some(Rc::new(RefCell::new(new.index)));
        self.segments.drain(from..from + old.len());
        self.segments.insert(from, segment);
        self.read_ahead.forget();
    }
}

/// Whether the new file still has its own name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cleaned {
    There,
    Renamed,
}

/// Gives the new file the name of the first old segment, then removes the others: to be repeated
/// as often as need be (X1).
async fn settle<D: Directory>(
    directory: &D,
    base: Offset,
    cleaned: Cleaned,
    others: &[Offset],
) -> Result<(), IoError> {
    remove_if_there(directory, &names::index(base)).await?; // X5
    if cleaned == Cleaned::There {
        directory.rename(&names::cleaned(base), &names::segment(base)).await?;
    }
    directory.sync().await?; // X2
    for other in others {
        remove_if_there(directory, &names::segment(*other)).await?;
        remove_if_there(directory, &names::index(*other)).await?;
    }
    if others.is_empty() { Ok(()) } else { directory.sync().await }
}

/// At a start: goes on with a replacement that was decided, removes what was not (X1, X2).
pub(in crate::storage) async fn finish_or_undo<D: Directory>(
    directory: &D,
    manifest: &ManifestFile<D::File>,
    compacted: Compacted,
    found: &mut Inventory,
) -> Result<(), IoError>
where
    D::File: File,
{
    if let Some(range) = compacted.swap {
        let cleaned = match found.cleaned.remove(&range.from) {
            true => Cleaned::There,
            false => Cleaned::Renamed,
        };
        let inside = |base: &&Offset| range.from < **base && **base < range.to;
        let others: Vec<Offset> =
            found.segments.union(&found.indexes).filter(inside).copied().collect();
        settle(directory, range.from, cleaned, &others).await?;
        manifest.store(directory, &compacted.without_swap()).await?;
        found.segments.insert(range.from);
        found.indexes.remove(&range.from);
        for other in &others {
            found.segments.remove(other);
            found.indexes.remove(other);
        }
    }
    if found.cleaned.is_empty() {
        return Ok(());
    }
    for base in std::mem::take(&mut found.cleaned) {
        remove_if_there(directory, &names::cleaned(base)).await?;
    }
    directory.sync().await
}
