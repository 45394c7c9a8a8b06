//! What one step of the core asks of its driver.
//!
//! In:   -
//! Out:  [`Step`]: records to append, then replies to release.
//! Home: pure.
//!
//! The driver appends the records in order, in one batch if the step is whole or they are few,
//! and releases the replies,
//! and the value that the call returned, once all it has appended so far is durable: a reply
//! may rest on records of earlier steps. If an append is refused, state and log have parted:
//! the driver answers what is parked by `GroupCoordinator::unload` and loads the log anew.

use crate::group::classic::join::JoinReply;
use crate::group::classic::sync::SyncReply;
use crate::group::ids::RequestId;
use crate::group::record::Record;

/// The consequences of one input, or of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// To append, in this order; the core has applied them already.
    pub records: Vec<Record>,
    /// To perform, in this order, once the records are durable.
    pub effects: Vec<Effect>,
    /// The records are one batch, so that after a crash all of them are there, or none. The core
    /// sees to it that they fit.
    pub whole: bool,
}

/// Something for the driver to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Answer a request that was parked, or has just come.
    Reply {
        /// The driver's number of the request.
        request: RequestId,
        /// The answer.
        reply: Reply,
    },
}

/// An answer to a request that may have been parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To `JoinGroup`.
    Join(JoinReply),
    /// To `SyncGroup`.
    Sync(SyncReply),
}

impl Step {
    /// Answers `request`.
    pub(super) fn reply(&mut self, request: RequestId, reply: Reply) {
        self.effects.push(Effect::Reply { request, reply });
    }
}
