//! What the broker gives the net, and what the net gives back.
//!
//! In:   whole request frames, without the 4-byte length.
//! Out:  answers as slices, or the wish to close.
//! Home: one service a shard; all its futures are of that shard.
//!
//! Invariants
//!   V1  `admit` of one connection's frames is awaited one after the other, in order of arrival:
//!       whatever must keep order (sending a produce to its partition's owner) happens in it.
//!   V2  Answers leave in order of arrival, however the reply futures end.
//!
//! Source: protocol.md 2.1, P10 (strict order of responses) and P11 (frame size).

use std::net::SocketAddr;

use bytes::BytesMut;

use crate::io::slice::Slice;
pub use crate::shard::tasks::LocalFuture;

/// Answers the requests of one listener on one shard.
#[allow(async_fn_in_trait)] // single-threaded by design: no `Send` bound is wanted
pub trait Service: 'static {
    /// What the service remembers about one connection (client, principal, sessions).
    type Connection: 'static;

    /// A client has connected.
    fn connected(&self, peer: SocketAddr) -> Self::Connection;

    /// Takes in one request (V1). `frame` is the request header and body; it may be empty.
    ///
    /// While it waits, nothing more of this connection is read.
    async fn admit(&self, connection: &Self::Connection, frame: BytesMut) -> Admitted;
}

/// What became of a request once its order is settled.
pub enum Admitted {
    /// The answer comes from this future; it runs as a task of its own, beside the others of the
    /// same connection, and runs to its end even if the client goes.
    Reply(LocalFuture<Reply>),
    /// Like `Reply`, but nothing more of this connection is read before this answer has been
    /// handed to the socket. For answers that hold much memory (Fetch): one a connection.
    ReplyAlone(LocalFuture<Reply>),
    /// No answer: what was admitted before is answered, then the connection is closed.
    Close(CloseReason),
}

impl std::fmt::Debug for Admitted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reply(_) => f.write_str("Reply"),
            Self::ReplyAlone(_) => f.write_str("ReplyAlone"),
            Self::Close(reason) => write!(f, "Close({reason:?})"),
        }
    }
}

/// The end of a request.
#[derive(Debug)]
pub enum Reply {
    /// Send this.
    Frame(ResponseFrame),
    /// Send nothing (produce with acks=0).
    Nothing,
    /// Answer what came before, then close.
    Close(CloseReason),
}

/// A response without its 4-byte length, which the net writes.
#[derive(Clone, Debug, Default)]
pub struct ResponseFrame {
    /// Header, body and record slices, in order.
    pub pieces: Vec<Slice>,
}

impl ResponseFrame {
    /// Bytes in all.
    pub fn length(&self) -> usize {
        self.pieces.iter().map(Slice::length).sum()
    }
}

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client closed it, or the network did.
    PeerGone,
    /// A frame's length was negative.
    NegativeLength {
        /// As read.
        length: i32,
    },
    /// A frame was longer than `socket.request.max.bytes`.
    FrameTooLarge {
        /// As read.
        length: i32,
    },
    /// No request for `connections.max.idle.ms`.
    Idle,
    /// The client stopped in the middle of a frame, or stopped reading its answers.
    Stalled,
    /// The request could not be understood: unknown key or version, damaged body.
    BadRequest,
    /// The service refused (authentication).
    Refused,
    /// A response is longer than a frame can be.
    ResponseTooLarge,
    /// The broker is stopping.
    Stopping,
}
