//! Request frames from a socket: a 4-byte length, then so many bytes.
//!
//! In:   the bytes of one connection.
//! Out:  whole frames, each with its part of the shard's byte budget; or why there are no more.
//! Home: the reading task of a connection.
//!
//! Invariants
//!   F1  A length is checked before it sizes anything, and its bytes are reserved in the budget
//!       before the body is read; memory grows only for frames within `request_bytes_max`.
//!   F2  A frame's memory is its own and of its exact size: keeping a slice of it pins no other.
//!
//! Copies: small bodies once, from the chunk that many share; of a large body only what came
//! with the chunk, the rest is received into its place. Syscalls: one a chunk or one a receive.
//!
//! Source: protocol.md 2.1, P11.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use bytes::{BufMut, BytesMut};

use super::chunk::{CHUNK_BYTES, Chunk};
use super::request_budget::{RequestBudget, SMALL_REQUEST_BYTES};
use super::service::CloseReason;
use super::socket::Socket;
use crate::model::time::Micros;
use crate::shard::sync::Permit;
use crate::shard::tasks::yield_if_needed;
use crate::shard::timers;

/// What the reading side is doing; looked at by the sweep of idle connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits for the client to begin a frame.
    BetweenFrames,
    /// Waits for the client to go on with a frame.
    InFrame,
    /// Waits for us: budget, room, the service.
    Ours,
}

/// Of a large frame, fewer bytes than this are no sign of life.
const PROGRESS_BYTES_MIN: usize = 64 << 10;

/// When the client last did something, and what is waited for.
#[derive(Debug)]
pub(super) struct Activity {
    pub(super) last: Cell<Micros>,
    pub(super) phase: Cell<Phase>,
    pub(super) bytes_in: Cell<u64>,
    /// The frame that is being read is large.
    pub(super) large: Cell<bool>,
    /// Bytes of it that came since `last`.
    unmarked: Cell<usize>,
}

impl Activity {
    pub(super) fn new() -> Activity {
        Activity {
            last: Cell::new(timers::now()),
            phase: Cell::new(Phase::BetweenFrames),
            bytes_in: Cell::new(0),
            large: Cell::new(false),
            unmarked: Cell::new(0),
        }
    }

    fn received(&self, count: usize) {
        self.bytes_in.set(self.bytes_in.get() + count as u64);
        let unmarked = self.unmarked.get() + count;
        if self.large.get() && unmarked < PROGRESS_BYTES_MIN {
            return self.unmarked.set(unmarked);
        }
        self.unmarked.set(0);
        self.last.set(timers::now());
    }
}

/// Cuts one connection's bytes into frames.
pub(super) struct FrameReader {
    socket: Rc<Socket>,
    activity: Rc<Activity>,
    /// Received, not yet taken; `None` when there is nothing.
    chunk: Option<Chunk>,
}

fn gone(_error: io::Error) -> CloseReason {
    CloseReason::PeerGone
}

impl FrameReader {
    pub(super) fn new(socket: Rc<Socket>, activity: Rc<Activity>) -> FrameReader {
        FrameReader { socket, activity, chunk: None }
    }

    /// The next frame, without its length. Errors: why there is none.
    pub(super) async fn next(
        &mut self,
        request_bytes_max: usize,
        budget: &RequestBudget,
    ) -> Result<(BytesMut, Permit), CloseReason> {
        let mut prefix = [0; 4];
        let mut filled = 0;
        while filled < prefix.len() {
            let phase = if filled == 0 { Phase::BetweenFrames } else { Phase::InFrame };
            let chunk = self.bytes(phase).await?;
            let part = chunk.consume(prefix.len() - filled);
            prefix[filled..filled + part.len()].copy_from_slice(part);
            filled += part.len();
        }
        let length = check(i32::from_be_bytes(prefix), request_bytes_max)?;
        self.activity.phase.set(Phase::Ours);
        let budget = budget.of(length);
        let permit = match budget.try_acquire(length as u64) {
            Some(permit) => permit,
            None => budget.acquire(length as u64).await,
        };
        self.activity.large.set(length > SMALL_REQUEST_BYTES);
        let frame = self.body(length).await?;
        self.activity.large.set(false);
        self.activity.phase.set(Phase::Ours);
        Ok((frame, permit))
    }

    async fn body(&mut self, length: usize) -> Result<BytesMut, CloseReason> {
        let mut frame = BytesMut::with_capacity(length);
        while frame.len() < length {
            let missing = length - frame.len();
            let in_chunk = self.chunk.as_ref().is_some_and(|chunk| !chunk.is_empty());
            if !in_chunk && missing >= CHUNK_BYTES && frame.capacity() == length {
                match self.socket.try_receive(&mut frame).map_err(gone)? {
                    Some(0) => return Err(CloseReason::PeerGone),
                    Some(count) => {
                        self.activity.received(count);
                        yield_if_needed().await;
                        continue;
                    }
                    None => {}
                }
            }
            let chunk = self.bytes(Phase::InFrame).await?;
            frame.put_slice(chunk.consume(missing));
        }
        Ok(frame)
    }

    /// A chunk with bytes in it, received if there is none.
    async fn bytes(&mut self, phase: Phase) -> Result<&mut Chunk, CloseReason> {
        if self.chunk.as_ref().is_none_or(Chunk::is_empty) {
            self.chunk = None; // back to the pool before waiting
            // What we took for ourselves does not count against the client.
            if self.activity.phase.replace(phase) == Phase::Ours && phase == Phase::InFrame {
                self.activity.last.set(timers::now());
            }
            let chunk = self.socket.receive().await.map_err(gone)?;
            let chunk = chunk.ok_or(CloseReason::PeerGone)?;
            self.activity.received(chunk.len());
            self.chunk = Some(chunk);
        }
        Ok(self.chunk.as_mut().expect("just filled"))
    }
}

/// A frame's length as a size, if it is one (F1).
fn check(length: i32, request_bytes_max: usize) -> Result<usize, CloseReason> {
    match usize::try_from(length) {
        Err(_) => Err(CloseReason::NegativeLength { length }),
        Ok(size) if size > request_bytes_max => Err(CloseReason::FrameTooLarge { length }),
        Ok(size) => Ok(size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lengths_within_the_limit_are_sizes() {
        assert_eq!(check(0, 10), Ok(0));
        assert_eq!(check(10, 10), Ok(10));
        assert_eq!(check(11, 10), Err(CloseReason::FrameTooLarge { length: 11 }));
        assert_eq!(check(-1, 10), Err(CloseReason::NegativeLength { length: -1 }));
        let min = i32::MIN;
        assert_eq!(check(min, usize::MAX), Err(CloseReason::NegativeLength { length: min }));
    }
}
