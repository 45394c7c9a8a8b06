//! What one step of the core asks of its driver.
//!
//! In:   -
//! Out:  [`Step`]: records to append, then effects to perform.
//! Home: pure.
//!
//! The driver appends the records in order, in one batch if they fit, and performs the effects,
//! and releases the value that the call returned, once all it has appended so far is durable.
//! If an append is refused, state and log have parted: the driver loads the log anew.

use crate::record::control::Outcome;
use crate::transaction::ids::{Identity, NamedPartition, TransactionLevel, TransactionalId};
use crate::transaction::record::Record;

/// The consequences of one input, or of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// To append, in this order; the core has applied them already.
    pub records: Vec<Record>,
    /// To perform, in this order, once the records are durable.
    pub effects: Vec<Effect>,
}

/// Something for the driver to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write the end of a transaction into its partitions, then call
    /// [`super::coordinator::TransactionCoordinator::markers_written`].
    WriteMarkers(Markers),
}

/// The end of a transaction, to be told to every partition in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Markers {
    /// Whose it is.
    pub id: TransactionalId,
    /// The producer, with the epoch that the markers carry.
    pub producer: Identity,
    /// How it ends.
    pub outcome: Outcome,
    /// Where; without repetition.
    pub partitions: Vec<NamedPartition>,
    /// With version 2 the markers' epoch is above that of the transaction's records.
    pub version: TransactionLevel,
}
