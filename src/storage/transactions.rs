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

use std::rc::Rc;

use crate::io::directory::Directory;
use crate::io::file::{File, IoError};
use crate::model::offset::Offset;
use crate::storage::log::{Inner, Log, LogError};
use crate::storage::names;
use crate::storage::recovery::load_index;
use crate::storage::segment::{Mark, Sealed};
use crate::storage::txn_index::{AbortedTransaction, OpenTransactions};
use crate::storage::walk::{Course, Met, walk};

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
        loop {
            let replaced = self.inner.replaced();
            let aborted = self.inner.collect_aborted(from, upto).await;
            // Compaction replaced a segment under the look: the new one's index is there.
            if replaced == self.inner.replaced() {
                return aborted;
            }
        }
    }

    /// How many segments compaction has replaced. Records read before it moved may have been of
    /// transactions that [`Log::aborted`] does not know any more after it.
    pub fn replaced(&self) -> u64 {
        self.inner.replaced()
    }
}

impl<D: Directory> Inner<D> {
    async fn collect_aborted(
        self: &Rc<Self>,
        from: Offset,
        upto: Offset,
    ) -> Result<Vec<AbortedTransaction>, LogError> {
        let mut aborted = Vec::new();
        let mut next = if from < upto { self.segment_ending_after(from) } else { None };
        while let Some(Sealed { key, end }) = next {
            match self.index(key).await {
                Ok(index) => {
                    let further = index.borrow().transactions.collect(from, upto, &mut aborted);
                    if !further && end >= upto {
                        break;
                    }
                }
                Err(LogError::OutOfRange { .. }) => {} // retention has removed it meanwhile
                Err(error) => return Err(error),
            }
            next = self.segment_ending_after(end);
        }
        Ok(aborted)
    }

    /// The first segment that ends after `offset`.
    fn segment_ending_after(&self, offset: Offset) -> Option<Sealed> {
        let state = self.state.borrow();
        let at = state.segments.partition_point(|segment| segment.staged.offset <= offset);
        let segment = state.segments.get(at)?;
        Some(Sealed { key: segment.key(), end: segment.staged.offset })
    }
}

/// The transactions that are open behind the segments `before`, which are in order and sealed.
///
/// Of those whose index is whole, only the last is read. Errors: the disk's.
pub(super) async fn open_at<D: Directory>(
    directory: &D,
    before: &[Sealed],
) -> Result<OpenTransactions, IoError> {
    let mut open = OpenTransactions::default();
    let mut rest = before;
    while let Some((last, earlier)) = rest.split_last() {
        let index = load_index(directory, last.key.base).await?;
        if let Some(index) = index.filter(|index| index.end == last.end) {
            open = index.transactions.open().clone();
            break;
        }
        rest = earlier;
    }
    for segment in &before[rest.len()..] {
        let file = directory.open(&names::segment(segment.key.base)).await?;
        let from = Mark { position: 0, offset: segment.key.base };
        let limit = file.size().await?;
        let course = Course::headers(from, limit, segment.key.chain);
        let note = |met: &Met<'_>| {
            open.note(met.info, met.marker);
            true
        };
        walk(&file, course, note).await?;
    }
    Ok(open)
}
