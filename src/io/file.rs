//! A file as the log sees it: aligned writes, reads, sync.
//!
//! In:   positions and buffers from `crate::storage`.
//! Out:  completions; [`IoError`] is final for the directory on any write or sync (fail-stop).
//! Home: one shard; futures are not `Send`.
//!
//! Invariants
//!   F1  A write is a whole number of blocks at a block boundary ([`BLOCK_BYTES`]).
//!   F2  Nothing is durable before a `write_at` with [`Durability::Synced`] or a `sync` that began
//!       after the write completed has returned `Ok`.
//!   F3  The caller never has two writes in flight that share a block.
//!
//! Not here: what the bytes mean (`crate::storage`).
//!
//! [`BLOCK_BYTES`]: crate::constants::BLOCK_BYTES

use std::ops::DerefMut;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;

/// What a completed write promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The bytes have left this process and survive its death; a later sync makes them durable.
    Written,
    /// The bytes and the metadata needed to read them are on stable storage (O_DSYNC).
    Synced,
}

/// Why the disk refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoError {
    /// ENOSPC or EDQUOT: no room; nothing was lost.
    NoSpace,
    /// ENOENT: no such file.
    NotFound,
    /// EEXIST: the name is taken.
    Exists,
    /// Fewer bytes were written than asked for.
    ShortWrite,
    /// Anything else, as errno. On a write or sync this stops the directory for good.
    Os {
        /// The operating system's error number.
        errno: i32,
    },
}

impl std::fmt::Display for IoError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSpace => f.write_str("no space left on device"),
            Self::NotFound => f.write_str("no such file or directory"),
            Self::Exists => f.write_str("file exists"),
            Self::ShortWrite => f.write_str("short write"),
            Self::Os { errno } => write!(f, "{}", std::io::Error::from_raw_os_error(*errno)),
        }
    }
}

impl std::error::Error for IoError {}

/// An open file of the log. All futures may be awaited by several tasks of the one shard.
#[allow(async_fn_in_trait)] // single-threaded by design: no `Send` bound is wanted
pub trait File: 'static {
    /// Memory fit for direct I/O: aligned, zeroed or not as the implementation likes.
    type Buffer: DerefMut<Target = [u8]> + 'static;

    /// A buffer of exactly `length` bytes, a multiple of `BLOCK_BYTES`; its content is undefined.
    fn buffer(&self, length: usize) -> Self::Buffer;

    /// Writes the whole buffer at `position` (F1). Errors: [`IoError`]; part may have been written.
    async fn write_at(
        &self,
        buffer: Self::Buffer,
        position: u64,
        durability: Durability,
    ) -> Result<(), IoError>;

    /// Reads up to `length` bytes from `position`, any alignment; shorter only at the file's end.
    async fn read_at(&self, position: u64, length: usize) -> Result<Bytes, IoError>;

    /// Makes all completed writes and the file's size durable (fdatasync). Never retry a failure.
    async fn sync(&self) -> Result<(), IoError>;

    /// Reserves space for `[0, size)` and sets the file's size to `size` if it is smaller now;
    /// what is new reads as zeros. Not durable until synced. Errors: `NoSpace` changes nothing
    /// that was there.
    async fn allocate(&self, size: u64) -> Result<(), IoError>;

    /// Makes `[from, to)` read as zeros without giving space back; block boundaries (F1).
    async fn zero(&self, from: u64, to: u64) -> Result<(), IoError>;

    /// Writes zeros to `[from, to)`, within the file; block boundaries (F1), and F3 holds of it. What
    /// is written there later costs no metadata, once this has been synced.
    async fn write_zeros(&self, from: u64, to: u64) -> Result<(), IoError>;

    /// Cuts or extends (sparsely) the file to `size` bytes.
    async fn set_size(&self, size: u64) -> Result<(), IoError>;

    /// The file's size in bytes.
    async fn size(&self) -> Result<u64, IoError>;

    /// A buffered, read-only descriptor for `sendfile`, if the implementation has one.
    fn descriptor(&self) -> Option<Arc<OwnedFd>>;
}
