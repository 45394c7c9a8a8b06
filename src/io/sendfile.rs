//! Zero-copy sending of file ranges whose pages are resident.
//!
//! In:   a range of a sealed segment, a non-blocking socket.
//! Out:  bytes handed to the socket by the kernel.
//! Home: the shard of the connection.
//!
//! Invariants
//!   S1  `sendfile` blocks on a page that is not in the page cache, whatever the socket's mode;
//!       so a range is made resident on a blocking thread before it is sent.
//!
//! Pages may be evicted between the check and the call; then the shard waits for one read. The
//! window is small and the range was just read, so this is accepted and not a rule broken.
//!
//! Not here: when to prefer it to memory (`fetch.path`, `crate::replica`).

use std::os::fd::AsFd;

use rustix::fs::Advice;
use rustix::io::{Errno, IoSliceMut, ReadWriteFlags};

use super::file::IoError;
use super::real_file::errno_error;
use super::slice::FileSlice;
use crate::shard::tasks::spawn_blocking;

/// Bytes read at a time while a range is made resident.
const READ_AHEAD_BYTES: usize = 256 << 10;

/// Brings the pages of `slice` into the page cache, off the shard (S1).
///
/// Returns the bytes that are there now: fewer than asked for only at the file's end.
/// Errors: the read failed.
pub async fn make_resident(slice: FileSlice) -> Result<usize, IoError> {
    spawn_blocking(move || {
        let length = std::num::NonZeroU64::new(slice.length as u64);
        // Advice only: it starts one large read instead of many small ones.
        let _ = rustix::fs::fadvise(&slice.descriptor, slice.position, length, Advice::WillNeed);
        let mut scratch = vec![0; READ_AHEAD_BYTES.min(slice.length)];
        let mut done = 0;
        while done < slice.length {
            let step = scratch.len().min(slice.length - done);
            let position = slice.position + done as u64;
            match rustix::io::pread(&slice.descriptor, &mut scratch[..step], position) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno_error(errno)),
            }
        }
        Ok(done)
    })
    .await
}

/// Reads the start of `slice` into `into` only if its pages are resident; never blocks.
///
/// `None`: they are not, or the file system cannot tell. Errors: the read failed.
pub fn read_resident(slice: &FileSlice, into: &mut [u8]) -> Result<Option<usize>, IoError> {
    let length = into.len().min(slice.length);
    let mut buffers = [IoSliceMut::new(&mut into[..length])];
    let flags = ReadWriteFlags::NOWAIT;
    match rustix::io::preadv2(&slice.descriptor, &mut buffers, slice.position, flags) {
        Ok(read) => Ok(Some(read)),
        Err(Errno::AGAIN | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno_error(errno)),
    }
}

/// Hands bytes of `slice` to a non-blocking `socket`.
///
/// `None`: the socket takes nothing now. `Some(0)`: the file is shorter than the slice.
/// Errors: of the socket or the file.
pub fn send(socket: impl AsFd, slice: &FileSlice) -> std::io::Result<Option<usize>> {
    let mut position = slice.position;
    loop {
        let sent =
            rustix::fs::sendfile(&socket, &slice.descriptor, Some(&mut position), slice.length);
        match sent {
            Ok(sent) => return Ok(Some(sent)),
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
