//! What the controller needs of a consensus: a small trait, so that the library behind it can go.
//!
//! In:   records.
//! Out:  the index of the entry that holds them.
//! Home: the control thread.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use crate::metadata::record::Record;

/// A replicated log of metadata entries, seen from this broker.
pub trait Quorum: Send + 'static {
    /// Appends `records` as one entry.
    ///
    /// On return the entry is durable on a majority of voters, applied here, and published.
    /// `records` were decided against the newest published image; one proposal at a time.
    ///
    /// Errors: [`ProposeError`]. After `NotLeader` and `Stopped` the entry may yet be committed.
    fn propose(
        &mut self,
        records: &[Record],
    ) -> impl Future<Output = Result<u64, ProposeError>> + Send;

    /// A way to ask how it stands, for as long as it runs and after.
    fn probe(&self) -> StatusProbe;

    /// Stops; nothing is proposed afterwards.
    fn stop(&mut self) -> impl Future<Output = ()> + Send;
}

/// How a quorum stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuorumStatus {
    /// Raft id of the leader, if there is one.
    pub leader: Option<u64>,
    /// Its term.
    pub term: u64,
    /// The index after the last entry of this voter's log.
    pub log_end: u64,
    /// The index after the last entry that is committed and applied here.
    pub committed_end: u64,
}

/// Looks how the quorum stands now; never waits.
pub type StatusProbe = Arc<dyn Fn() -> QuorumStatus + Send + Sync>;

/// Why a proposal was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposeError {
    /// Another voter leads, or none; nothing is known of the proposal.
    NotLeader {
        /// Raft id of the leader, if known.
        leader: Option<u64>,
    },
    /// The records are more than an entry may hold; nothing was appended.
    TooLarge {
        /// Their bytes.
        bytes: usize,
    },
    /// The quorum has stopped.
    Stopped,
}

impl fmt::Display for ProposeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLeader { leader: Some(leader) } => {
                write!(f, "voter {leader:#x} leads the metadata quorum")
            }
            Self::NotLeader { leader: None } => write!(f, "the metadata quorum has no leader"),
            Self::TooLarge { bytes } => write!(f, "the change is too large ({bytes} bytes)"),
            Self::Stopped => write!(f, "the metadata quorum has stopped"),
        }
    }
}

impl std::error::Error for ProposeError {}
