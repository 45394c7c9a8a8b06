//! Where replicas are and who leads: what may be asked of a cluster in which nothing moves.
//!
//! In:   a partition as a client names it, and the replicas it is to have.
//! Out:  whether that is so already, or why it cannot be.
//! Home: pure.
//!
//! There is one broker, so every legal target is what a partition already has, and the only
//! replica of a partition is its leader. Nothing here leaves a record.
//!
//! Source: KIP-455 (reassignment), KIP-460 (elections).

use std::fmt;

use crate::metadata::create_topics::AssignmentError;
use crate::metadata::image::MetadataImage;
use crate::metadata::record::PartitionState;
use crate::model::ids::{BrokerId, PartitionIndex};

/// Why replicas are not moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReassignmentError {
    /// No topic has this name.
    UnknownTopic {
        /// As asked for.
        topic: String,
    },
    /// The topic has no such partition.
    UnknownPartition {
        /// The topic.
        topic: String,
        /// As asked for.
        partition: i32,
    },
    /// There is nothing to cancel.
    NotInProgress,
    /// These cannot be its replicas.
    BadAssignment(AssignmentError),
    /// The target differs from what the partition has, and this release moves no replicas.
    NotSupported,
}

impl fmt::Display for ReassignmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownTopic { topic } => write!(f, "Unable to find a topic named {topic}."),
            Self::UnknownPartition { topic, partition } => {
                write!(f, "Unable to find partition {topic}:{partition}.")
            }
            Self::NotInProgress => write!(f, "No partition reassignment is in progress."),
            Self::BadAssignment(error) => error.fmt(f),
            Self::NotSupported => write!(f, "This cluster does not move replicas yet."),
        }
    }
}

/// Why no leader is elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElectionError {
    /// No topic has this name.
    UnknownTopic,
    /// The topic has no such partition.
    UnknownPartition,
    /// The leader is the one that would be elected.
    NotNeeded,
    /// The preferred replica is not in sync.
    PreferredNotAvailable,
}

/// Which election is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Election {
    /// Of the preferred replica, the first of the partition.
    Preferred,
    /// Of any replica, where there is no leader.
    Unclean,
}

impl MetadataImage {
    /// Whether the replicas of a partition can become `target`; `None` cancels a move.
    ///
    /// Errors: [`ReassignmentError`].
    pub fn reassign(
        &self,
        topic: &str,
        partition: PartitionIndex,
        target: Option<&[BrokerId]>,
    ) -> Result<(), ReassignmentError> {
        let unknown_topic = || ReassignmentError::UnknownTopic { topic: topic.to_owned() };
        let image = self.topic_by_name(topic).ok_or_else(unknown_topic)?;
        let state = image.partition(partition).ok_or_else(|| {
            ReassignmentError::UnknownPartition { topic: topic.to_owned(), partition: partition.0 }
        })?;
        let target = target.ok_or(ReassignmentError::NotInProgress)?;
        self.check_replicas(target, None).map_err(ReassignmentError::BadAssignment)?;
        if target == state.replicas { Ok(()) } else { Err(ReassignmentError::NotSupported) }
    }

    /// Why no leader of a partition is elected: of one broker, its leader leads already.
    pub fn election(
        &self,
        topic: &str,
        partition: PartitionIndex,
        election: Election,
    ) -> ElectionError {
        let Some(topic) = self.topic_by_name(topic) else { return ElectionError::UnknownTopic };
        match topic.partition(partition) {
            None => ElectionError::UnknownPartition,
            Some(state) => election_of(state, election),
        }
    }
}

fn election_of(state: &PartitionState, election: Election) -> ElectionError {
    match (election, state.leader) {
        (Election::Unclean, Some(_)) => ElectionError::NotNeeded,
        (Election::Preferred, Some(leader)) if state.replicas.first() == Some(&leader) => {
            ElectionError::NotNeeded
        }
        _ => ElectionError::PreferredNotAvailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::record::{BrokerRegistration, Record};
    use crate::model::ids::TopicId;
    use crate::model::topic_name::TopicName;

    fn image() -> MetadataImage {
        let topic = TopicId([1; 16]);
        let registration = BrokerRegistration {
            id: BrokerId(1),
            epoch: 1,
            rack: None,
            endpoints: Default::default(),
        };
        let state = PartitionState::new(vec![BrokerId(1)]);
        let records = [
            Record::BrokerRegistered(registration),
            Record::TopicCreated { topic, name: TopicName::parse("t").unwrap() },
            Record::PartitionChanged { topic, partition: PartitionIndex(0), state },
        ];
        MetadataImage::from_records(1, &records).unwrap()
    }

    #[test]
    fn of_one_broker_only_what_is_can_be() {
        let image = image();
        let ask = |topic: &str, partition, target: Option<&[i32]>| {
            let target: Option<Vec<BrokerId>> =
                target.map(|ids| ids.iter().copied().map(BrokerId).collect());
            let result = image.reassign(topic, PartitionIndex(partition), target.as_deref());
            result.map_err(|error| error.to_string())
        };
        assert_eq!(ask("t", 0, Some(&[1])), Ok(()));
        let wrong = |text: &str| Err(text.to_owned());
        assert_eq!(ask("u", 0, Some(&[1])), wrong("Unable to find a topic named u."));
        assert_eq!(ask("t", 1, Some(&[1])), wrong("Unable to find partition t:1."));
        assert_eq!(ask("t", 0, None), wrong("No partition reassignment is in progress."));
        assert!(ask("t", 0, Some(&[2])).is_err_and(|text| text.contains("broker 2")));
        assert!(ask("t", 0, Some(&[])).is_err());
    }

    #[test]
    fn the_leader_leads_already() {
        let image = image();
        for election in [Election::Preferred, Election::Unclean] {
            let ask = |topic, partition| image.election(topic, PartitionIndex(partition), election);
            assert_eq!(ask("t", 0), ElectionError::NotNeeded);
            assert_eq!(ask("t", 1), ElectionError::UnknownPartition);
            assert_eq!(ask("u", 0), ElectionError::UnknownTopic);
        }
        let mut state = PartitionState::new(vec![BrokerId(1)]);
        state.leader = None;
        let missing = ElectionError::PreferredNotAvailable;
        assert_eq!(election_of(&state, Election::Preferred), missing);
    }
}
