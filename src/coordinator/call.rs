//! What a connection's shard asks of the shard that coordinates a group, and the answer.
//!
//! In:   a handler's work on the core, as a closure that travels to the core's shard.
//! Out:  what it returned, or why there is no coordinator for it now.
//! Home: values that cross the mesh: whoever sends one gives it away.

use std::any::Any;
use std::fmt;

use crate::group::coordinator::GroupCoordinator;
use crate::group::ids::RequestId;
use crate::group::step::Step;
use crate::model::ids::TopicPartition;
use crate::model::time::Timestamp;

/// What a call returns; its handler knows the type.
pub type Answer = Box<dyn Any + Send>;

/// Work whose answer is at hand when it returns.
pub type WorkNow = Box<dyn FnOnce(&mut GroupCoordinator, Timestamp, &mut Step) -> Answer + Send>;
/// Work that an effect answers.
pub type WorkParked =
    Box<dyn FnOnce(&mut GroupCoordinator, Timestamp, RequestId, &mut Step) + Send>;

/// Work on a group coordinator's core.
pub enum GroupCall {
    /// Returns at once; the answer is released when all that was appended before it is durable.
    Now(WorkNow),
    /// Answered by an effect of this step or of a later one, with a [`crate::group::step::Reply`].
    Parked(WorkParked),
}

impl fmt::Debug for GroupCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Now(_) => "Now",
            Self::Parked(_) => "Parked",
        })
    }
}

/// A call for the coordinator that a partition of `__consumer_offsets` is.
#[derive(Debug)]
pub struct CoordinatorRequest {
    /// The partition.
    pub partition: TopicPartition,
    /// What to do.
    pub call: GroupCall,
}

/// Why there is no answer of the coordinator; a client may try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// The partition is not led here.
    NotHere,
    /// Its log is still being read.
    Loading,
    /// What the call appended could not be made durable.
    NotStored,
}

/// The answer to a [`CoordinatorRequest`].
pub type CoordinatorReply = Result<Answer, Unavailable>;
