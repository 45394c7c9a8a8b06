//! What a connection's shard asks of the shard that coordinates a group or an id, and the answer.
//!
//! In:   a handler's work on the core, as a closure that travels to the core's shard.
//! Out:  what it returned, or why there is no coordinator for it now.
//! Home: values that cross the mesh: whoever sends one gives it away.

use std::any::Any;
use std::fmt;

use crate::group::ids::RequestId;
use crate::model::ids::{ProducerEpoch, ProducerId, TopicPartition};
use crate::model::time::Timestamp;
use crate::partition::leader::Verification;
use crate::protocol::records::Encoded;
use crate::replica::request::AppendFailure;

use super::core::Core;

/// What a call returns; its handler knows the type.
pub type Answer = Box<dyn Any + Send>;

/// Work whose answer is at hand when it returns.
pub type WorkNow<C> = Box<dyn FnOnce(&mut C, Timestamp, &mut <C as Core>::Step) -> Answer + Send>;
/// Work that an effect answers.
pub type WorkParked<C> =
    Box<dyn FnOnce(&mut C, Timestamp, RequestId, &mut <C as Core>::Step) + Send>;

/// Work on a coordinator's core.
pub enum Call<C: Core> {
    /// Returns at once; the answer is released when all that was appended before it is durable.
    Now(WorkNow<C>),
    /// Answered by an effect of this step or of a later one.
    Parked(WorkParked<C>),
    /// Writes in a producer's transaction; answered when that is durable.
    InTransaction(WorkInTransaction<C>),
}

/// Work that writes records in a producer's transaction, unless there is an answer without.
pub type WorkInTransaction<C> =
    Box<dyn FnOnce(&mut C, Timestamp) -> Result<InTransaction, Answer> + Send>;

/// Records of a producer's transaction; they reach the core by replay, once the log takes them.
pub struct InTransaction {
    /// Whose transaction.
    pub producer_id: ProducerId,
    /// In which epoch.
    pub producer_epoch: ProducerEpoch,
    /// What stands for the transaction's coordinator.
    pub verification: Verification,
    /// One or more, in one batch.
    pub records: Vec<Encoded>,
    /// The answer, once they are durable; or at once, where the log does not take them.
    pub answer: Box<dyn FnOnce(Result<(), AppendFailure>) -> Answer + Send>,
}

impl<C: Core> fmt::Debug for Call<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Now(_) => "Now",
            Self::Parked(_) => "Parked",
            Self::InTransaction(_) => "InTransaction",
        })
    }
}

/// A call for the coordinator that a partition of the core's topic is.
#[derive(Debug)]
pub struct CoordinatorRequest<C: Core> {
    /// The partition.
    pub partition: TopicPartition,
    /// What to do.
    pub call: Call<C>,
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
