//! Pieces of an answer: bytes in memory, or a range of a file to be sent by `sendfile`.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;

/// One piece of a response; may cross shards.
#[derive(Clone, Debug)]
pub enum Slice {
    /// Bytes held in memory, shared between readers without copying.
    Memory(Bytes),
    /// A range of a sealed segment whose pages are resident.
    File(FileSlice),
}

/// A range of a file.
#[derive(Clone, Debug)]
pub struct FileSlice {
    /// Buffered, read-only descriptor; kept open by this reference even if the file is removed.
    pub descriptor: Arc<OwnedFd>,
    /// First byte.
    pub position: u64,
    /// Bytes.
    pub length: usize,
}

impl Slice {
    /// Bytes in it.
    pub fn length(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File(file) => file.length,
        }
    }
}

impl crate::protocol::fetch::RecordsLength for Slice {
    fn records_bytes(&self) -> usize {
        self.length()
    }
}
