//! A directory as the log sees it: names, small files, and the sync that makes names durable.
//!
//! Invariants
//!   D1  A name created, renamed or removed is durable only after `sync` of its directory (W6).
//!   D2  `write_small` replaces a file whole: after a crash the old or the new content is there.

use bytes::Bytes;

use super::file::{File, IoError};

/// Bytes of the file system that a directory lies on, as `df` counts them: what is kept for root
/// is neither used nor available.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Taken, by whomever.
    pub used_bytes: u64,
    /// What this process may still take.
    pub available_bytes: u64,
}

/// A directory on the real or the simulated disk; cheap to clone.
#[allow(async_fn_in_trait)] // single-threaded by design: no `Send` bound is wanted
pub trait Directory: Clone + 'static {
    /// Its files.
    type File: File;

    /// Creates an empty file for reading and writing. Errors: `Exists`.
    async fn create(&self, name: &str) -> Result<Self::File, IoError>;

    /// Opens an existing file for reading and writing. Errors: `NotFound`.
    async fn open(&self, name: &str) -> Result<Self::File, IoError>;

    /// The names in it, sorted; without `.` and `..`.
    async fn list(&self) -> Result<Vec<String>, IoError>;

    /// Renames within the directory, replacing `to`.
    async fn rename(&self, from: &str, to: &str) -> Result<(), IoError>;

    /// Removes a file. Errors: `NotFound`.
    async fn remove(&self, name: &str) -> Result<(), IoError>;

    /// Makes all changes of names in it durable.
    async fn sync(&self) -> Result<(), IoError>;

    /// Creates the sub-directory if missing (its name is durable after `self.sync`) and opens it.
    async fn subdirectory(&self, name: &str) -> Result<Self, IoError>;

    /// Removes a sub-directory with all in it.
    async fn remove_subdirectory(&self, name: &str) -> Result<(), IoError>;

    /// The whole of a small file (index, checkpoint, snapshot). Errors: `NotFound`.
    async fn read_small(&self, name: &str) -> Result<Bytes, IoError>;

    /// Replaces a small file whole and durably: temporary name, write, sync, rename, sync (D2).
    async fn write_small(&self, name: &str, content: &[u8]) -> Result<(), IoError>;

    /// How much of its file system is used, now.
    async fn space(&self) -> Result<Space, IoError>;
}
