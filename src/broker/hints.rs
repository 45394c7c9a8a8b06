//! Where a client should go instead: the current leader beside a "not here" error.
//!
//! Without the hint a change of leader costs the client a round of Metadata.
//!
//! Source: KIP-951 (Produce v10, Fetch v16).

use crate::metadata::image::MetadataImage;
use crate::metadata::record::Endpoint;
use crate::model::ids::{BrokerId, TopicPartition};
use crate::model::offset::LeaderEpoch;
use crate::protocol::error::ErrorCode;

/// The leader a client should turn to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Who leads.
    pub leader: BrokerId,
    /// Since which epoch.
    pub epoch: LeaderEpoch,
}

/// The leader to name beside `error`, if that helps and one is known.
pub fn leader(
    image: &MetadataImage,
    partition: Option<TopicPartition>,
    error: ErrorCode,
) -> Option<Hint> {
    match error {
        ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch => {
            let state = image.partition(partition?)?;
            Some(Hint { leader: state.leader?, epoch: state.leader_epoch })
        }
        _ => None,
    }
}

/// The address of `broker` on a listener, and its rack.
pub fn address<'a>(
    image: &'a MetadataImage,
    broker: BrokerId,
    listener: &str,
) -> Option<(&'a Endpoint, Option<&'a str>)> {
    let registration = image.broker(broker)?;
    Some((registration.endpoints.get(listener)?, registration.rack.as_deref()))
}
