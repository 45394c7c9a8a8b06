//! A compacted segment while it is written: beside the log, under a name of its own.
//!
//! In:   batches in order of offset.
//! Out:  a whole, durable file with its index; nobody reads it before `swap.rs` says so.
//! Home: one pass over one log.
//!
//! Invariants
//!   O1  One write at a time, of whole blocks, into space that was allocated before.
//!   O2  At most a write and a batch wait in memory.
//!
//! A full disk is found out when space is asked for; the segment is then given up, and nothing of
//! the log has changed.

use std::rc::Rc;

use crate::constants::BLOCK_BYTES;
use crate::io::directory::Directory;
use crate::io::file::{Durability, File, IoError};
use crate::model::offset::Offset;
use crate::record::batch::{BatchInfo, HEADER_BYTES};
use crate::record::control::EndMarker;
use crate::storage::names;
use crate::storage::offset_index::SparseIndex;
use crate::storage::options::WRITE_BYTES_MAX;
use crate::storage::segment::{block_ceil, block_floor};
use crate::storage::truncation::remove_if_there;
use crate::storage::txn_index::{OpenTransactions, TxnIndex};

/// Space is asked for in steps of this.
const SPACE_BYTES: u64 = 8 << 20;

/// The segment.
pub(super) struct Output<D: Directory> {
    directory: D,
    file: D::File,
    index: SparseIndex,
    interval_bytes: u32,
    /// Bytes on disk, whole blocks.
    written: u64,
    allocated: u64,
    waiting: Vec<u8>,
}

/// A whole, durable segment that is not in its place yet.
pub(super) struct Finished<F> {
    pub(super) file: Rc<F>,
    pub(super) index: SparseIndex,
}

impl<D: Directory> Output<D> {
    /// Makes the file of the segment that will begin at `base`, where `open` are open. Errors: the
    /// disk's.
    pub(super) async fn create(
        directory: &D,
        base: Offset,
        open: OpenTransactions,
        interval_bytes: u32,
    ) -> Result<Output<D>, IoError> {
        let name = names::cleaned(base);
        remove_if_there(directory, &name).await?; // of a pass that was given up
        Ok(Output {
            directory: directory.clone(),
            file: directory.create(&name).await?,
            index: SparseIndex::new(base, open),
            interval_bytes,
            written: 0,
            allocated: 0,
            waiting: Vec::new(),
        })
    }

    /// Bytes so far.
    pub(super) fn bytes(&self) -> u64 {
        self.index.bytes
    }

    /// Entries of the index so far.
    pub(super) fn entries(&self) -> usize {
        self.index.entries.len()
    }

    /// Transactions so far.
    pub(super) fn transactions(&self) -> &TxnIndex {
        &self.index.transactions
    }

    /// The offset after the last batch.
    pub(super) fn end(&self) -> Offset {
        self.index.end
    }

    /// Adds one whole batch. Errors: the disk's.
    pub(super) async fn push(&mut self, batch: &[u8], info: &BatchInfo) -> Result<(), IoError> {
        assert_eq!(batch.len() as u64, u64::from(info.bytes), "one whole batch");
        let control = info.attributes.is_control();
        let marker = if control { EndMarker::of_batch(batch) } else { None };
        self.index.note(info, &batch[..HEADER_BYTES], marker, self.interval_bytes);
        self.index.cover(batch);
        self.waiting.extend_from_slice(batch);
        while self.waiting.len() >= WRITE_BYTES_MAX {
            self.write(WRITE_BYTES_MAX).await?;
        }
        Ok(())
    }

    /// Writes what waits, makes it durable, its name too. Errors: the disk's.
    pub(super) async fn finish(mut self) -> Result<Finished<D::File>, IoError> {
        let ragged = self.waiting.len();
        if ragged > 0 {
            self.waiting.resize(ragged.next_multiple_of(BLOCK_BYTES), 0);
            self.write(self.waiting.len()).await?;
        }
        self.file.set_size(self.index.bytes).await?;
        self.file.sync().await?;
        self.directory.sync().await?;
        Ok(Finished { file: Rc::new(self.file), index: self.index })
    }

    /// Gives the segment up. Errors: the disk's.
    pub(super) async fn discard(self) -> Result<(), IoError> {
        let Output { directory, file, index, .. } = self;
        drop(file);
        remove_if_there(&directory, &names::cleaned(index.base)).await
    }

    /// Writes the first `bytes` of what waits, a whole number of blocks.
    async fn write(&mut self, bytes: usize) -> Result<(), IoError> {
        let end = self.written + bytes as u64;
        if self.allocated < end {
            let to = block_ceil(end.max(block_floor(self.allocated + SPACE_BYTES)));
            match self.file.allocate(to).await {
                Ok(()) => self.allocated = to,
                Err(IoError::NoSpace) => {
                    self.file.allocate(end).await?;
                    self.allocated = end;
                }
                Err(error) => return Err(error),
            }
        }
        let mut buffer = self.file.buffer(bytes);
        buffer.copy_from_slice(&self.waiting[..bytes]);
        self.file.write_at(buffer, self.written, Durability::Written).await?;
        self.waiting.drain(..bytes);
        self.written = end;
        Ok(())
    }
}
