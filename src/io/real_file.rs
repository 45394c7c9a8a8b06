//! A file on the real disk: O_DIRECT by the shard's ring, or buffered where that is refused.
//!
//! In:   aligned buffers and positions (F1).
//! Out:  completions from the ring; slow calls go to the shard's blocking threads.
//! Home: the shard that opened it.
//!
//! Invariants
//!   R1  [`Durability::Synced`] writes go through a second handle opened with O_DSYNC, opened on
//!       the first such write: fdatasync is an operation the kernel always hands to a worker.
//!   R2  A read is cut to what the device takes at once; larger ones hang on some kernels.
//!   R3  A call on a blocking thread holds its own duplicate of the descriptor, so a dropped
//!       future can never touch a reused one.
//!
//! Bytes of a write: none copied. Of a read: once, out of the ring's memory, which goes back at
//! once. Syscalls: those of the ring, batched by the runtime.
//!
//! Not here: names (`real_directory.rs`), zero-copy sending (`sendfile.rs`).

#![allow(unsafe_code)] // one block: a descriptor borrowed from the runtime's file

use std::cell::OnceCell;
use std::io::IoSlice;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use glommio::GlommioError;
use glommio::io::{BufferedFile, DmaBuffer, DmaFile, OpenOptions, ReadResult};
use rustix::fs::{FallocateFlags, Mode, OFlags};

use super::file::{Durability, File, IoError};
use crate::constants::BLOCK_BYTES;
use crate::metrics::commits;
use crate::shard::sync::Event;
use crate::shard::tasks::spawn_blocking;
use crate::shard::timers;

/// How the files of a directory are read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// O_DIRECT; reads are cut to so many bytes.
    Direct {
        /// A multiple of `BLOCK_BYTES`.
        read_bytes_max: usize,
    },
    /// Through the page cache, with the same rules of sync.
    Buffered,
}

/// Zeros where direct I/O may take them from.
#[repr(align(4096))]
struct Zeros([u8; ZEROS_BYTES]);

const ZEROS_BYTES: usize = 64 << 10;
static ZEROS: Zeros = Zeros([0; ZEROS_BYTES]);
/// Slices of zeros that one call writes: 1 MiB.
const ZEROS_SLICES: usize = 16;

const BUFFERED_READ_BYTES_MAX: usize = 1 << 20;

pub(super) fn os_error(errno: i32) -> IoError {
    match errno {
        libc::ENOSPC | libc::EDQUOT => IoError::NoSpace,
        libc::ENOENT => IoError::NotFound,
        libc::EEXIST => IoError::Exists,
        errno => IoError::Os { errno },
    }
}

pub(super) fn errno_error(errno: rustix::io::Errno) -> IoError {
    os_error(errno.raw_os_error())
}

pub(super) fn std_error(error: &std::io::Error) -> IoError {
    os_error(error.raw_os_error().unwrap_or(libc::EIO))
}

fn ring_error(error: &GlommioError<()>) -> IoError {
    os_error(error.raw_os_error().unwrap_or(libc::EIO))
}

/// One open handle in either way of access.
enum Handle {
    Direct(DmaFile),
    Buffered(BufferedFile),
}

impl Handle {
    async fn open(options: &OpenOptions, path: &str, access: Access) -> Result<Handle, IoError> {
        match access {
            Access::Direct { .. } => options.dma_open(path).await.map(Handle::Direct),
            Access::Buffered => options.buffered_open(path).await.map(Handle::Buffered),
        }
        .map_err(|error| ring_error(&error))
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        let raw = match self {
            Self::Direct(file) => file.as_raw_fd(),
            Self::Buffered(file) => file.as_raw_fd(),
        };
        // SAFETY: the descriptor is open as long as the file, and the borrow is bound to it.
        unsafe { BorrowedFd::borrow_raw(raw) }
    }

    async fn write(&self, buffer: RealBuffer, position: u64) -> Result<usize, IoError> {
        match (self, buffer.0) {
            (Self::Direct(file), Memory::Ring(buffer)) => file.write_at(buffer, position).await,
            (Self::Buffered(file), Memory::Heap(buffer)) => file.write_at(buffer, position).await,
            _ => unreachable!("a buffer goes back to the directory it came from"),
        }
        .map_err(|error| ring_error(&error))
    }

    /// Whole blocks only in the direct way.
    async fn read(&self, position: u64, length: usize) -> Result<ReadResult, IoError> {
        match self {
            Self::Direct(file) => file.read_at_aligned(position, length).await,
            Self::Buffered(file) => file.read_at(position, length).await,
        }
        .map_err(|error| ring_error(&error))
    }
}

enum Memory {
    /// From the ring's registered memory while that lasts, else aligned heap.
    Ring(DmaBuffer),
    Heap(Vec<u8>),
}

/// Memory for one write.
pub struct RealBuffer(Memory);

impl std::fmt::Debug for RealBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RealBuffer({} bytes)", self.len())
    }
}

impl Deref for RealBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Memory::Ring(buffer) => buffer.as_bytes(),
            Memory::Heap(buffer) => buffer,
        }
    }
}

impl DerefMut for RealBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Memory::Ring(buffer) => buffer.as_bytes_mut(),
            Memory::Heap(buffer) => buffer,
        }
    }
}

/// An open file of the real disk.
pub struct RealFile {
    plain: Handle,
    access: Access,
    synced: OnceCell<Handle>,
    /// Told when an opening of `synced` has ended, well or not.
    synced_opened: Event,
    synced_opening: std::cell::Cell<bool>,
    readable: OnceCell<Option<Arc<OwnedFd>>>,
}

impl std::fmt::Debug for RealFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RealFile({:?}, {:?})", self.plain.descriptor(), self.access)
    }
}

impl RealFile {
    /// Opens `path`; with `new`, it must not exist yet.
    pub(super) async fn open(path: &str, access: Access, new: bool) -> Result<RealFile, IoError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(new).mode(0o644);
        Ok(RealFile {
            plain: Handle::open(&options, path, access).await?,
            access,
            synced: OnceCell::new(),
            synced_opened: Event::new(),
            synced_opening: std::cell::Cell::new(false),
            readable: OnceCell::new(),
        })
    }

    /// A name of this very file that survives renaming and removal.
    fn own_path(&self) -> String {
        format!("/proc/self/fd/{}", self.plain.descriptor().as_raw_fd())
    }

    /// The O_DSYNC handle, opened by the first who needs it (R1).
    async fn synced(&self) -> Result<&Handle, IoError> {
        loop {
            if let Some(handle) = self.synced.get() {
                return Ok(handle);
            }
            let opened = self.synced_opened.listen();
            if self.synced_opening.replace(true) {
                opened.await;
                continue;
            }
            let _told = Told(self);
            let mut options = OpenOptions::new();
            options.read(true).write(true).custom_flags(libc::O_DSYNC);
            let handle = Handle::open(&options, &self.own_path(), self.access).await?;
            let _ = self.synced.set(handle);
        }
    }

    /// Runs a call that may block on a duplicate of the descriptor (R3).
    async fn blocking(
        &self,
        call: impl FnOnce(&OwnedFd) -> rustix::io::Result<()> + Send + 'static,
    ) -> Result<(), IoError> {
        let descriptor =
            rustix::io::fcntl_dupfd_cloexec(self.plain.descriptor(), 0).map_err(errno_error)?;
        spawn_blocking(move || call(&descriptor)).await.map_err(errno_error)
    }
}

/// Ends an opening, also when its future is dropped half way.
struct Told<'file>(&'file RealFile);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.synced_opening.set(false);
        self.0.synced_opened.notify();
    }
}

/// Writes zeros to `[from, to)`, in calls of 1 MiB at most.
fn write_zeros(descriptor: &OwnedFd, from: u64, to: u64) -> rustix::io::Result<()> {
    let mut at = from;
    while at < to {
        let mut left = usize::try_from(to - at).unwrap_or(usize::MAX);
        let mut slices = [IoSlice::new(&[]); ZEROS_SLICES];
        for slice in &mut slices {
            let length = left.min(ZEROS_BYTES);
            *slice = IoSlice::new(&ZEROS.0[..length]);
            left -= length;
        }
        match rustix::io::pwritev(descriptor, &slices, at) {
            Ok(0) => return Err(rustix::io::Errno::IO),
            Ok(written) => at += written as u64,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl File for RealFile {
    type Buffer = RealBuffer;

    fn buffer(&self, length: usize) -> RealBuffer {
        assert!(length > 0 && length.is_multiple_of(BLOCK_BYTES), "F1");
        RealBuffer(match &self.plain {
            Handle::Direct(file) => Memory::Ring(file.alloc_dma_buffer(length)),
            Handle::Buffered(_) => Memory::Heap(vec![0; length]),
        })
    }

    async fn write_at(
        &self,
        buffer: RealBuffer,
        position: u64,
        durability: Durability,
    ) -> Result<(), IoError> {
        let length = buffer.len();
        assert!(position.is_multiple_of(BLOCK_BYTES as u64), "F1");
        assert!(length.is_multiple_of(BLOCK_BYTES), "F1");
        let handle = match durability {
            Durability::Written => &self.plain,
            Durability::Synced => self.synced().await?,
        };
        let began = timers::now();
        let written = handle.write(buffer, position).await;
        let took_us = timers::now().since(began);
        match (&written, durability) {
            (Err(_), _) => commits::failed(),
            (Ok(_), Durability::Written) => commits::wrote(took_us),
            (Ok(_), Durability::Synced) => commits::synced(took_us, length as u64),
        }
        if written? < length { Err(IoError::ShortWrite) } else { Ok(()) }
    }

    async fn read_at(&self, position: u64, length: usize) -> Result<Bytes, IoError> {
        let (unit, bytes_max) = match self.access {
            Access::Direct { read_bytes_max } => (BLOCK_BYTES as u64, read_bytes_max),
            Access::Buffered => (1, BUFFERED_READ_BYTES_MAX),
        };
        let end = position.saturating_add(length as u64);
        let mut gathered = BytesMut::new();
        let mut at = position;
        while at < end {
            // From the block boundary before `at` to the one after what is wanted (R2).
            let from = at - at % unit;
            let skip = usize::try_from(at - from).expect("less than a block");
            let wanted = (end - from).next_multiple_of(unit).min(bytes_max as u64);
            let wanted = usize::try_from(wanted).expect("at most what is read at once");
            let read = self.plain.read(from, wanted).await?;
            let until = read.len().min(usize::try_from(end - from).unwrap_or(usize::MAX));
            let useful = read.get(skip..until).unwrap_or(&[]);
            if useful.len() == length {
                return Ok(Bytes::copy_from_slice(useful));
            }
            gathered.reserve(if gathered.is_empty() { length.min(16 << 20) } else { 0 });
            gathered.extend_from_slice(useful);
            at = from + until as u64;
            if read.len() < wanted {
                break; // the file's end
            }
        }
        Ok(gathered.freeze())
    }

    async fn sync(&self) -> Result<(), IoError> {
        let began = timers::now();
        let synced = match &self.plain {
            Handle::Direct(file) => file.fdatasync().await,
            Handle::Buffered(file) => file.fdatasync().await,
        };
        match &synced {
            Ok(_) => commits::synced(timers::now().since(began), 0),
            Err(_) => commits::failed(),
        }
        synced.map_err(|error| ring_error(&error))
    }

    async fn allocate(&self, size: u64) -> Result<(), IoError> {
        self.blocking(move |descriptor| {
            match rustix::fs::fallocate(descriptor, FallocateFlags::empty(), 0, size) {
                // No reservation on such a file system; the size is what can be had.
                Err(rustix::io::Errno::OPNOTSUPP) => {
                    let now = u64::try_from(rustix::fs::fstat(descriptor)?.st_size).unwrap_or(0);
                    if now < size { rustix::fs::ftruncate(descriptor, size) } else { Ok(()) }
                }
                result => result,
            }
        })
        .await
    }

    async fn zero(&self, from: u64, to: u64) -> Result<(), IoError> {
        assert!(from <= to, "a range has its ends in order");
        assert!(from.is_multiple_of(BLOCK_BYTES as u64), "F1");
        assert!(to.is_multiple_of(BLOCK_BYTES as u64), "F1");
        if from == to {
            return Ok(());
        }
        self.blocking(move |descriptor| {
            let keep = FallocateFlags::KEEP_SIZE;
            let zero = FallocateFlags::ZERO_RANGE | keep;
            match rustix::fs::fallocate(descriptor, zero, from, to - from) {
                // tmpfs: a hole reads as zeros, and is then filled again.
                Err(rustix::io::Errno::OPNOTSUPP) => {
                    let punch = FallocateFlags::PUNCH_HOLE | keep;
                    rustix::fs::fallocate(descriptor, punch, from, to - from)?;
                    rustix::fs::fallocate(descriptor, keep, from, to - from)
                }
                result => result,
            }
        })
        .await
    }

    async fn write_zeros(&self, from: u64, to: u64) -> Result<(), IoError> {
        assert!(from <= to, "a range has its ends in order");
        assert!(from.is_multiple_of(BLOCK_BYTES as u64), "F1");
        assert!(to.is_multiple_of(BLOCK_BYTES as u64), "F1");
        // On a blocking thread: no memory of the ring is held, and the shard fills none.
        let written = self.blocking(move |descriptor| write_zeros(descriptor, from, to)).await;
        if written.is_err() {
            commits::failed();
        }
        written
    }

    async fn set_size(&self, size: u64) -> Result<(), IoError> {
        self.blocking(move |descriptor| rustix::fs::ftruncate(descriptor, size)).await
    }

    async fn size(&self) -> Result<u64, IoError> {
        // The inode is in memory while the file is open: this does not touch the disk.
        let stat = rustix::fs::fstat(self.plain.descriptor()).map_err(errno_error)?;
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    fn descriptor(&self) -> Option<Arc<OwnedFd>> {
        // Opened by way of the open inode: no lookup on the disk.
        let open = || {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            rustix::fs::open(self.own_path(), flags, Mode::empty()).ok().map(Arc::new)
        };
        self.readable.get_or_init(open).clone()
    }
}
