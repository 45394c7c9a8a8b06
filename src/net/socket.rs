//! One TCP socket: receive and send without blocking, wait for either by the shard's ring.
//!
//! In:   buffers and slices of one connection.
//! Out:  byte counts; `None` where the kernel takes or gives nothing now.
//! Home: the shard that accepted it.
//!
//! Invariants
//!   K1  The descriptor is non-blocking: sendfile has no flag for it.
//!   K2  One task receives and one sends; each may wait while the other does.
//!
//! The runtime has no public way to wait until a socket is writable. Its own small write waits
//! and then writes; so a few kilobytes go through it, and then the vectored calls go on.
//!
//! Not here: frames (`reader.rs`), order of answers (`writer.rs`).

#![allow(unsafe_code)] // a borrowed descriptor, and the length after a receive

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::pin::Pin;
use std::task::Poll;

use bytes::{BufMut, BytesMut};
use futures_lite::io::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};

use super::chunk::Chunk;
use crate::config::broker::Congestion;
use crate::io::sendfile;
use crate::io::slice::FileSlice;

/// For peers on loopback: bbr would pace what never leaves the machine.
const UNPACED: &str = "cubic";

/// A connected socket.
pub(super) struct Socket {
    stream: RefCell<TcpStream>,
}

impl Socket {
    /// Takes over an accepted stream; sets TCP_NODELAY and the congestion control.
    pub(super) fn new(stream: TcpStream, congestion: &Congestion) -> io::Result<Socket> {
        stream.set_nodelay(true)?;
        let socket = Socket { stream: RefCell::new(stream) };
        rustix::io::ioctl_fionbio(socket.descriptor(), true)?; // K1
        let (name, asked) = match congestion {
            Congestion::Auto if socket.peer()?.ip().to_canonical().is_loopback() => {
                (UNPACED, false)
            }
            Congestion::Auto | Congestion::Host => return Ok(socket),
            Congestion::Named(name) => (name.as_str(), true),
        };
        let set = rustix::net::sockopt::set_tcp_congestion(socket.descriptor(), name);
        if let Err(error) = set
            && asked
        {
            // The connection works as well as the host's own lets it.
            tracing::warn!(%error, name, "socket.congestion.control cannot be set");
        }
        Ok(socket)
    }

    pub(super) fn peer(&self) -> io::Result<SocketAddr> {
        Ok(self.stream.borrow().peer_addr()?)
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        let raw = self.stream.borrow().as_raw_fd();
        // SAFETY: the descriptor is open as long as the stream, and the borrow is bound to it.
        unsafe { BorrowedFd::borrow_raw(raw) }
    }

    /// Receives into the free capacity of `into`, at once. `Some(0)`: the peer has closed.
    pub(super) fn try_receive(&self, into: &mut BytesMut) -> io::Result<Option<usize>> {
        let free = into.spare_capacity_mut();
        assert!(!free.is_empty(), "an empty receive looks like a closed peer");
        let received = rustix::net::recv(self.descriptor(), free, RecvFlags::DONTWAIT);
        match received.map(|((filled, _rest), _length)| filled.len()) {
            Ok(count) => {
                // SAFETY: the kernel has just written `count` bytes into the spare capacity.
                unsafe { into.advance_mut(count) };
                Ok(Some(count))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits for bytes and receives up to a chunk of them; `None`: the peer has closed.
    ///
    /// A chunk is held only while there are bytes in it, never while waiting.
    pub(super) async fn receive(&self) -> io::Result<Option<Chunk>> {
        std::future::poll_fn(|context| {
            let mut chunk = Chunk::take();
            let mut stream = self.stream.borrow_mut();
            match Pin::new(&mut *stream).poll_read(context, chunk.free()) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(0)) => Poll::Ready(Ok(None)),
                Poll::Ready(Ok(count)) => {
                    chunk.filled(count);
                    Poll::Ready(Ok(Some(chunk)))
                }
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            }
        })
        .await
    }

    /// Sends the slices by one call; `None`: the socket takes nothing now.
    pub(super) fn try_send(&self, slices: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let mut control = SendAncillaryBuffer::default();
        match rustix::net::sendmsg(self.descriptor(), slices, &mut control, flags) {
            Ok(count) => Ok(Some(count)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Sends part of a file whose pages are resident; `None`: the socket takes nothing now.
    pub(super) fn try_send_file(&self, slice: &FileSlice) -> io::Result<Option<usize>> {
        sendfile::send(self.descriptor(), slice)
    }

    /// Waits until the socket takes some of `bytes`, and sends that.
    pub(super) async fn send_waiting(&self, bytes: &[u8]) -> io::Result<usize> {
        std::future::poll_fn(|context| {
            Pin::new(&mut *self.stream.borrow_mut()).poll_write(context, bytes)
        })
        .await
    }

    /// Ends both directions: whoever waits on it is woken.
    pub(super) fn shut_down(&self) {
        let _ = rustix::net::shutdown(self.descriptor(), Shutdown::Both);
    }

    /// Ends receiving; what is to be sent still goes out.
    pub(super) fn shut_down_receiving(&self) {
        let _ = rustix::net::shutdown(self.descriptor(), Shutdown::Read);
    }
}
