//! Answers of one connection, out in the order their requests came.
//!
//! In:   replies, in whatever order they are ready.
//! Out:  length prefixes and slices, as few calls as possible: what is ready together leaves
//!       together, by one vectored send.
//! Home: the writing task of a connection; the slots are filled by the reply tasks.
//!
//! Invariants
//!   W1  The answer in front leaves first; one that is ready behind it waits.
//!   W2  `unsent_bytes` counts every byte of ready answers that the socket has not taken; the
//!       reading side stops above `response_bytes_max`, so a client that does not read costs that
//!       and the answers it had asked for by then.
//!
//! Copies: none, but for a few kilobytes each time the socket is full.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;

use bytes::{Buf, Bytes};

use super::service::{CloseReason, Reply, ResponseFrame};
use super::socket::Socket;
use crate::io::sendfile;
use crate::io::slice::{FileSlice, Slice};
use crate::model::time::Micros;
use crate::shard::sync::Event;
use crate::shard::tasks::{spawn_blocking, yield_if_needed};
use crate::shard::timers;

/// Slices of one vectored send.
const SLICES_MAX: usize = 64;
/// Bytes of ready answers gathered before a send; more stay in their slots until it is done.
const GATHER_BYTES_MAX: usize = 4 << 20;
/// Bytes that go through the runtime's waiting write when the socket is full.
const WAITING_WRITE_BYTES: usize = 8 << 10;

/// The answers of one connection that have not left yet.
pub(super) struct Outbox {
    /// In order of arrival; `None` while the reply runs.
    slots: RefCell<VecDeque<Option<Reply>>>,
    /// Number of the request in front.
    first: Cell<u64>,
    unsent_bytes: Cell<u64>,
    /// No request comes any more.
    ended: Cell<bool>,
    /// The front became ready, or no request comes any more.
    ready: Event,
    /// Something left, or the writing side ended.
    progress: Event,
    /// The writing side has ended; nothing leaves any more.
    broken: Cell<bool>,
    /// When the socket last took something; the sweep looks at it.
    pub(super) last_sent: Cell<Micros>,
    pub(super) bytes_out: Cell<u64>,
}

impl Outbox {
    pub(super) fn new() -> Outbox {
        Outbox {
            slots: RefCell::new(VecDeque::new()),
            first: Cell::new(0),
            unsent_bytes: Cell::new(0),
            ended: Cell::new(false),
            ready: Event::new(),
            progress: Event::new(),
            broken: Cell::new(false),
            last_sent: Cell::new(timers::now()),
            bytes_out: Cell::new(0),
        }
    }

    /// A place behind all others; returns its number for `complete`.
    pub(super) fn open(&self) -> u64 {
        let mut slots = self.slots.borrow_mut();
        slots.push_back(None);
        self.first.get() + slots.len() as u64 - 1
    }

    /// Puts the reply of request `number` into its place.
    pub(super) fn complete(&self, number: u64, reply: Reply) {
        if self.broken.get() {
            return;
        }
        if let Reply::Frame(frame) = &reply {
            if self.unsent_bytes.get() == 0 {
                self.last_sent.set(timers::now()); // the socket owes nothing for before
            }
            self.unsent_bytes.set(self.unsent_bytes.get() + frame.length() as u64 + 4);
        }
        let place = usize::try_from(number - self.first.get()).expect("a place in memory");
        let slot = &mut self.slots.borrow_mut()[place];
        assert!(slot.is_none(), "a request has one answer");
        *slot = Some(reply);
        if place == 0 {
            self.ready.notify();
        }
    }

    /// No request comes any more; the writing side ends when all answers have left.
    pub(super) fn end(&self) {
        self.ended.set(true);
        self.ready.notify();
    }

    /// Requests without an answer that has left.
    pub(super) fn in_flight(&self) -> usize {
        self.slots.borrow().len()
    }

    pub(super) fn unsent_bytes(&self) -> u64 {
        self.unsent_bytes.get()
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Waits until fewer than `in_flight_max` requests and less than `bytes_max` bytes wait, or
    /// the writing side has ended.
    pub(super) async fn room(&self, in_flight_max: usize, bytes_max: u64) {
        loop {
            let progress = self.progress.listen();
            let room = self.in_flight() < in_flight_max && self.unsent_bytes() < bytes_max;
            if room || self.broken.get() {
                return;
            }
            progress.await;
        }
    }

    /// Takes the front if it is ready.
    fn pop(&self) -> Option<Reply> {
        let mut slots = self.slots.borrow_mut();
        let reply = slots.front_mut()?.take()?;
        slots.pop_front();
        self.first.set(self.first.get() + 1);
        Some(reply)
    }

    fn sent(&self, count: usize) {
        let count = count as u64;
        assert!(count <= self.unsent_bytes.get(), "W2");
        self.unsent_bytes.set(self.unsent_bytes.get() - count);
        self.bytes_out.set(self.bytes_out.get() + count);
        self.last_sent.set(timers::now());
        self.progress.notify();
    }

    fn break_off(&self) {
        self.broken.set(true);
        self.unsent_bytes.set(0);
        let slots = std::mem::take(&mut *self.slots.borrow_mut());
        drop(slots);
        self.progress.notify();
    }
}

/// What is on its way to the socket.
struct Outgoing {
    pieces: VecDeque<Slice>,
    bytes: usize,
}

impl Outgoing {
    fn add(&mut self, frame: ResponseFrame) -> Result<(), CloseReason> {
        let length = frame.length();
        let prefix = i32::try_from(length).map_err(|_| CloseReason::ResponseTooLarge)?;
        self.pieces.push_back(Slice::Memory(Bytes::copy_from_slice(&prefix.to_be_bytes())));
        self.pieces.extend(frame.pieces.into_iter().filter(|piece| piece.length() > 0));
        self.bytes += length + 4;
        Ok(())
    }

    /// Drops `count` sent bytes from the front.
    fn advance(&mut self, mut count: usize) {
        self.bytes -= count;
        while count > 0 {
            let front = self.pieces.front_mut().expect("as many bytes as were sent");
            let length = front.length();
            if length <= count {
                count -= length;
                self.pieces.pop_front();
                continue;
            }
            match front {
                Slice::Memory(bytes) => bytes.advance(count),
                Slice::File(file) => {
                    file.position += count as u64;
                    file.length -= count;
                }
            }
            count = 0;
        }
    }
}

/// Sends answers until no request comes any more and all have left.
///
/// Returns why it ended; the outbox is broken off then.
pub(super) async fn write(socket: &Socket, outbox: &Outbox) -> CloseReason {
    let mut outgoing = Outgoing { pieces: VecDeque::new(), bytes: 0 };
    let mut closing = None;
    let reason = loop {
        let ready = outbox.ready.listen();
        while closing.is_none() && outgoing.bytes < GATHER_BYTES_MAX {
            match outbox.pop() {
                Some(Reply::Frame(frame)) => closing = outgoing.add(frame).err(),
                Some(Reply::Nothing) => outbox.progress.notify(),
                Some(Reply::Close(reason)) => closing = Some(reason),
                None => break,
            }
        }
        if outgoing.bytes > 0 {
            match send_some(socket, &outgoing).await {
                Ok(0) => break CloseReason::PeerGone,
                Ok(count) => {
                    outgoing.advance(count);
                    outbox.sent(count);
                    yield_if_needed().await;
                }
                Err(_) => break CloseReason::PeerGone,
            }
        } else if let Some(reason) = closing {
            break reason;
        } else if outbox.ended.get() && outbox.in_flight() == 0 {
            break CloseReason::PeerGone;
        } else {
            ready.await;
        }
    };
    outbox.break_off();
    reason
}

/// Sends from the front, waiting if the socket is full. Returns the bytes it took.
async fn send_some(socket: &Socket, outgoing: &Outgoing) -> io::Result<usize> {
    let front = outgoing.pieces.front().expect("bytes are in pieces");
    if let Slice::File(file) = front {
        return match socket.try_send_file(file)? {
            // The file is shorter than the slice: what was promised cannot be sent.
            Some(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Some(count) => Ok(count),
            None => socket.send_waiting(&small_piece(file).await?).await,
        };
    }
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let mut count = 0;
    for (slice, piece) in slices.iter_mut().zip(&outgoing.pieces) {
        let Slice::Memory(bytes) = piece else { break };
        *slice = IoSlice::new(bytes);
        count += 1;
    }
    match (socket.try_send(&slices[..count])?, front) {
        (Some(sent), _) => Ok(sent),
        (None, Slice::Memory(bytes)) => {
            socket.send_waiting(&bytes[..bytes.len().min(WAITING_WRITE_BYTES)]).await
        }
        (None, Slice::File(_)) => unreachable!("returned above"),
    }
}

/// The first bytes of a file slice, read off the shard if they are not resident.
async fn small_piece(file: &FileSlice) -> io::Result<Vec<u8>> {
    let mut piece = vec![0; WAITING_WRITE_BYTES.min(file.length)];
    let resident = sendfile::read_resident(file, &mut piece).map_err(io::Error::other)?;
    let (read, mut piece) = match resident {
        Some(read) => (read, piece),
        None => {
            let file = file.clone();
            spawn_blocking(move || {
                let read = rustix::io::pread(&file.descriptor, &mut piece[..], file.position)?;
                io::Result::Ok((read, piece))
            })
            .await?
        }
    };
    if read == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    piece.truncate(read);
    Ok(piece)
}

/// Runs [`write()`] and shuts the socket down when it ends, so that the reading side ends too.
pub(super) async fn run(socket: Rc<Socket>, outbox: Rc<Outbox>) -> CloseReason {
    let reason = write(&socket, &outbox).await;
    socket.shut_down();
    reason
}
