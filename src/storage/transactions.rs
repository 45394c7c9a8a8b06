//! Aborted transactions of a log, over its segments; what is open where a segment begins.
//!
//! In:   the range that a reader of committed records was given.
//! Out:  the aborted transactions in it.
//! Home: the partition's shard.
//!
//! Invariants
//!   X1  A transaction is returned if any of its records, or its marker, is in the range: from the
//!       first offset read up to the one after the last. One missing would show aborted records.
//!
//! At the end of a log nothing is read: the growing segment's index is in memory. Further back,
//! segments' indexes are, as for reading itself; one that is lost is made again from the one before.
//! Source: KIP-98; Kafka's `UnifiedLog.collectAbortedTransactions`; `protocol.md` P47.

use crate::io::directory::Directory;
use crate::io::file::{File, IoError};
use crate::model::offset::{LeaderEpoch, Offset};
use crate::storage::log::{Inner, Log, LogError, OffsetRange};
use crate::storage::names;
use crate::storage::recovery::load_index;
use crate::storage::segment::Mark;
use crate::storage::txn_index::{AbortedTransaction, OpenTransactions};
use crate::storage::walk::{Course, Look, Met, walk};

impl<D: Directory> Log<D> {
    /// The aborted transactions in `[from, upto)`, in the order of their markers (X1).
    ///
    /// `upto` is at most the last stable offset: how a transaction there ended is known.
    /// Errors: `Damaged`, `Offline`.
    pub async fn aborted(
        &self,
        from: Offset,
        upto: Offset,
    ) -> Result<Vec<AbortedTransaction>, LogError> {
        let mut aborted = Vec::new();
        let mut next = if from < upto { self.inner.segment_ending_after(from) } else { None };
        while let Some(OffsetRange { from: base, to: end }) = next {
            match self.inner.index(base).await {
                Ok(index) => {
                    let further = index.borrow().transactions.collect(from, upto, &mut aborted);
                    if !further && end >= upto {
                        break;
                    }
                }
                Err(LogError::OutOfRange { .. }) => {} // retention has removed it meanwhile
                Err(error) => return Err(error),
            }
            next = self.inner.segment_ending_after(end);
        }
        Ok(aborted)
    }
}

impl<D: Directory> Inner<D> {
    /// The first segment that ends after `offset`.
    fn segment_ending_after(&self, offset: Offset) -> Option<OffsetRange> {
        let state = self.state.borrow();
        let at = state.segments.partition_point(|segment| segment.staged.offset <= offset);
        let segment = state.segments.get(at)?;
        Some(OffsetRange { from: segment.base, to: segment.staged.offset })
    }
}

/// The transactions that are open behind the segments `before`, which are in order and sealed.
///
/// Of those whose index is whole, only the last is read. Errors: the disk's.
pub(super) async fn open_at<D: Directory>(
    directory: &D,
    before: &[OffsetRange],
) -> Result<OpenTransactions, IoError> {
    let mut open = OpenTransactions::default();
    let mut rest = before;
    while let Some((last, earlier)) = rest.split_last() {
        let index = load_index(directory, last.from).await?;
        if let Some(index) = index.filter(|index| index.end == last.to) {
            open = index.transactions.open().clone();
            break;
        }
        rest = earlier;
    }
    for segment in &before[rest.len()..] {
        let file = directory.open(&names::segment(segment.from)).await?;
        let from = Mark { position: 0, offset: segment.from };
        let limit = file.size().await?;
        let course = Course { from, epoch: LeaderEpoch::NONE, limit, look: Look::Headers };
        let note = |met: &Met<'_>| {
            open.note(met.info, met.marker);
            true
        };
        walk(&file, course, note).await?;
    }
    Ok(open)
}
