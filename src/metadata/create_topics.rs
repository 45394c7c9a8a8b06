//! Creating topics: every check of the command, and the records of what passes.
//!
//! In:   the topics asked for, the current image, the broker's defaults.
//! Out:  records, and one result a topic.
//! Home: pure.
//!
//! Checks and their order are Kafka's: duplicates in the request, the name, what exists, what
//! collides, partition counts and assignments, settings.
//!
//! Source: KIP-4, KIP-464 (-1 asks for the broker's default), KIP-525 (answers), KIP-516 (ids).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::config::error::ConfigError;
use crate::metadata::commands::{
    CONFIG_BYTES_MAX, CommandError, PARTITIONS_PER_COMMAND_MAX, PARTITIONS_PER_TOPIC_MAX,
    REPLICAS_PER_PARTITION_MAX, Rules, TOPICS_PER_COMMAND_MAX, too_long,
};
use crate::metadata::image::{ConfigMap, MetadataImage};
use crate::metadata::placement::{Candidate, Demand, place};
use crate::metadata::record::{ConfigResource, PartitionState, Record};
use crate::model::ids::{BrokerId, PartitionIndex, TopicId};
use crate::model::offset::LeaderEpoch;
use crate::model::topic_name::{TopicName, TopicNameError};

/// A topic to create, as asked for; nothing in it is checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// A fresh random id, not zero.
    pub id: TopicId,
    /// Its name, unchecked.
    pub name: String,
    /// Partitions; -1 for the broker's default, or with `assignments`.
    pub num_partitions: i32,
    /// Replicas of each partition; -1 for the broker's default, or with `assignments`.
    pub replication_factor: i16,
    /// Replicas by partition, where the caller chose them; empty to have them placed.
    pub assignments: Vec<ManualAssignment>,
    /// Overridden settings, unchecked.
    pub configs: ConfigMap,
    /// Settings that were named without a value: there must be none.
    pub valueless: Vec<String>,
}

/// Replicas of one partition, chosen by the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManualAssignment {
    /// The partition.
    pub partition: PartitionIndex,
    /// Its replicas, the preferred leader first.
    pub replicas: Vec<BrokerId>,
}

/// A topic that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// Partitions it has.
    pub num_partitions: i32,
    /// Replicas of each.
    pub replication_factor: i16,
    /// Its overridden settings.
    pub configs: ConfigMap,
}

/// Why a topic is not created. The words are Kafka's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateTopicError {
    /// The request names it more than once.
    DuplicateInRequest,
    /// The name is not legal.
    BadName(TopicNameError),
    /// A topic of this name exists.
    Exists {
        /// The name.
        name: TopicName,
    },
    /// Another topic's name differs only in `.` and `_`.
    Collides {
        /// The name asked for.
        name: TopicName,
        /// The topic that has it.
        existing: TopicName,
    },
    /// The handed-in id is in use (one in 2^128); another one will do.
    IdTaken,
    /// A count of partitions below -1, or 0.
    BadPartitions {
        /// As asked for.
        num_partitions: i32,
    },
    /// More partitions than [`PARTITIONS_PER_TOPIC_MAX`].
    TooManyPartitions {
        /// As asked for.
        num_partitions: i32,
    },
    /// A replication factor below -1, or 0.
    BadReplicationFactor {
        /// As asked for.
        replication_factor: i16,
    },
    /// Fewer brokers than replicas.
    TooFewBrokers {
        /// As asked for.
        replication_factor: i16,
        /// Brokers there are.
        brokers: usize,
    },
    /// Both an assignment and a count of partitions.
    PartitionsWithAssignment,
    /// Both an assignment and a replication factor.
    ReplicationFactorWithAssignment,
    /// The assignment is not possible.
    BadAssignment(AssignmentError),
    /// A setting's name or value is longer than [`CONFIG_BYTES_MAX`].
    ConfigTooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// Settings are named without a value.
    NoValue {
        /// Their names.
        settings: Vec<String>,
    },
    /// A setting is refused.
    BadConfig(ConfigError),
}

impl fmt::Display for CreateTopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateInRequest => write!(f, "Duplicate topic name."),
            Self::BadName(error) => write!(f, "Topic name is invalid: {error}"),
            Self::Exists { name } => write!(f, "Topic '{name}' already exists."),
            Self::Collides { name, existing } => {
                write!(f, "Topic '{name}' collides with existing topic: {existing}")
            }
            Self::IdTaken => write!(f, "The new topic's id is in use; try again."),
            Self::BadPartitions { .. } => {
                write!(f, "Number of partitions was set to an invalid non-positive value.")
            }
            Self::TooManyPartitions { num_partitions } => write!(
                f,
                "{num_partitions} partitions asked for; a topic has at most \
                 {PARTITIONS_PER_TOPIC_MAX}."
            ),
            Self::BadReplicationFactor { .. } => write!(
                f,
                "Replication factor must be larger than 0, or -1 to use the default value."
            ),
            Self::TooFewBrokers { replication_factor, brokers } => write!(
                f,
                "Unable to replicate the partition {replication_factor} time(s): The target \
                 replication factor of {replication_factor} cannot be reached because only \
                 {brokers} broker(s) are registered."
            ),
            Self::PartitionsWithAssignment => write!(
                f,
                "A manual partition assignment was specified, but numPartitions was not set \
                 to -1."
            ),
            Self::ReplicationFactorWithAssignment => write!(
                f,
                "A manual partition assignment was specified, but replication factor was not \
                 set to -1."
            ),
            Self::BadAssignment(error) => error.fmt(f),
            Self::NoValue { settings } => {
                write!(f, "Null value not supported for topic configs: {}", settings.join(","))
            }
            Self::ConfigTooLong { bytes } => write!(
                f,
                "A setting of {bytes} bytes exceeds the maximum size of {CONFIG_BYTES_MAX} bytes."
            ),
            Self::BadConfig(error) => error.fmt(f),
        }
    }
}

/// Why replicas that a caller chose are refused. The words are Kafka's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssignmentError {
    /// A partition is named twice.
    DuplicatePartition {
        /// The partition.
        partition: PartitionIndex,
    },
    /// The partitions are not 0, 1, 2 and so on.
    NotConsecutive,
    /// A partition without replica.
    NoReplicas,
    /// A broker twice for one partition.
    DuplicateBroker {
        /// The broker.
        broker: BrokerId,
    },
    /// A broker that is not registered.
    UnknownBroker {
        /// The broker.
        broker: BrokerId,
    },
    /// Partitions with differing numbers of replicas.
    UnevenReplicas {
        /// Replicas of this partition.
        replicas: usize,
        /// Replicas of those before it.
        expected: usize,
    },
    /// More replicas than [`REPLICAS_PER_PARTITION_MAX`].
    TooManyReplicas {
        /// As asked for.
        replicas: usize,
    },
}

impl fmt::Display for AssignmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicatePartition { partition } => write!(
                f,
                "Found multiple manual partition assignments for partition {}",
                partition.0
            ),
            Self::NotConsecutive => {
                write!(f, "partitions should be a consecutive 0-based integer sequence")
            }
            Self::NoReplicas => {
                write!(f, "The manual partition assignment includes an empty replica list.")
            }
            Self::DuplicateBroker { broker } => write!(
                f,
                "The manual partition assignment includes the broker {} more than once.",
                broker.0
            ),
            Self::UnknownBroker { broker } => write!(
                f,
                "The manual partition assignment includes broker {}, but no such broker is \
                 registered.",
                broker.0
            ),
            Self::UnevenReplicas { replicas, expected } => write!(
                f,
                "The manual partition assignment includes a partition with {replicas} \
                 replica(s), but this is not consistent with previous partitions, which have \
                 {expected} replica(s)."
            ),
            Self::TooManyReplicas { replicas } => write!(
                f,
                "{replicas} replicas of one partition; at most {REPLICAS_PER_PARTITION_MAX}."
            ),
        }
    }
}

/// One result a topic, and the records of those that passed.
type Created = (Vec<Record>, Vec<Result<CreatedTopic, CreateTopicError>>);

impl MetadataImage {
    pub(super) fn create_topics(
        &self,
        rules: &Rules<'_>,
        topics: &[NewTopic],
    ) -> Result<Created, CommandError> {
        if topics.len() > TOPICS_PER_COMMAND_MAX {
            return Err(CommandError::TooManyTopics { topics: topics.len() });
        }
        let mut named: BTreeMap<&str, usize> = BTreeMap::new();
        for topic in topics {
            *named.entry(&topic.name).or_default() += 1;
        }
        // Applied as we go: the second of two colliding new names must see the first.
        let mut so_far = self.clone();
        let mut partitions = 0;
        let mut records = Vec::new();
        let mut results = Vec::with_capacity(topics.len());
        let mut plain_names = self.plain_names();
        for topic in topics {
            if named[topic.name.as_str()] > 1 {
                results.push(Err(CreateTopicError::DuplicateInRequest));
                continue;
            }
            let planned = so_far.plan_topic(rules, topic, &plain_names);
            results.push(planned.map(|(created, new)| {
                partitions += new.len();
                plain_names.insert(plain(created.name.as_str()), created.name.clone());
                let resource = ConfigResource::Topic(created.id);
                let from = records.len();
                records
                    .push(Record::TopicCreated { topic: created.id, name: created.name.clone() });
                records.extend((0..).map(PartitionIndex).zip(new).map(|(partition, replicas)| {
                    let state = PartitionState::new(replicas);
                    Record::PartitionChanged { topic: created.id, partition, state }
                }));
                records.extend(created.configs.iter().map(|(key, value)| Record::ConfigSet {
                    resource: resource.clone(),
                    key: key.clone(),
                    value: Some(value.clone()),
                }));
                for record in &records[from..] {
                    so_far.apply(record).expect("C1");
                }
                created
            }));
            if partitions > PARTITIONS_PER_COMMAND_MAX {
                return Err(CommandError::TooManyPartitions { partitions });
            }
        }
        Ok((records, results))
    }

    /// The names of all topics by what metrics make of them.
    fn plain_names(&self) -> BTreeMap<String, TopicName> {
        self.topics().map(|topic| (plain(topic.name.as_str()), topic.name.clone())).collect()
    }

    /// Checks one topic; gives what will be created and the replicas of each partition.
    fn plan_topic(
        &self,
        rules: &Rules<'_>,
        topic: &NewTopic,
        plain_names: &BTreeMap<String, TopicName>,
    ) -> Result<(CreatedTopic, Vec<Vec<BrokerId>>), CreateTopicError> {
        let name = TopicName::parse(&topic.name).map_err(CreateTopicError::BadName)?;
        if self.topic_by_name(name.as_str()).is_some() {
            return Err(CreateTopicError::Exists { name });
        }
        if let Some(existing) = plain_names.get(&plain(name.as_str())) {
            let existing = existing.clone();
            return Err(CreateTopicError::Collides { name, existing });
        }
        if topic.id.is_zero() || self.topic_by_id(topic.id).is_some() {
            return Err(CreateTopicError::IdTaken);
        }
        let replicas = match topic.assignments.as_slice() {
            [] => self.place_topic(rules, topic)?,
            assignments => self.take_assignments(topic, assignments)?,
        };
        if !topic.valueless.is_empty() {
            return Err(CreateTopicError::NoValue { settings: topic.valueless.clone() });
        }
        if let Some(bytes) = too_long(&topic.configs) {
            return Err(CreateTopicError::ConfigTooLong { bytes });
        }
        (rules.check_topic_configs)(&topic.configs).map_err(CreateTopicError::BadConfig)?;
        let created = CreatedTopic {
            id: topic.id,
            name,
            num_partitions: i32::try_from(replicas.len()).expect("below the maximum"),
            replication_factor: i16::try_from(replicas[0].len()).expect("below the maximum"),
            configs: topic.configs.clone(),
        };
        Ok((created, replicas))
    }

    fn place_topic(
        &self,
        rules: &Rules<'_>,
        topic: &NewTopic,
    ) -> Result<Vec<Vec<BrokerId>>, CreateTopicError> {
        let replication_factor = match topic.replication_factor {
            -1 => rules.default_replication_factor,
            n if n < 1 => {
                return Err(CreateTopicError::BadReplicationFactor { replication_factor: n });
            }
            n => n,
        };
        let num_partitions = match topic.num_partitions {
            -1 => rules.num_partitions,
            n if n < 1 => return Err(CreateTopicError::BadPartitions { num_partitions: n }),
            n => n,
        };
        let partitions = usize::try_from(num_partitions).expect("above 0");
        if partitions > PARTITIONS_PER_TOPIC_MAX {
            return Err(CreateTopicError::TooManyPartitions { num_partitions });
        }
        let replicas = usize::try_from(replication_factor).expect("above 0");
        self.place_partitions(partitions, replicas).ok_or(CreateTopicError::TooFewBrokers {
            replication_factor,
            brokers: self.brokers().len(),
        })
    }

    /// Replicas for `partitions` new partitions; `None` if there are fewer brokers than `replicas`.
    pub(super) fn place_partitions(
        &self,
        partitions: usize,
        replicas: usize,
    ) -> Option<Vec<Vec<BrokerId>>> {
        let candidates: Vec<Candidate<'_>> = self
            .brokers()
            .values()
            .map(|broker| Candidate { id: broker.id, rack: broker.rack.as_deref() })
            .collect();
        let possible = replicas <= candidates.len() && replicas <= REPLICAS_PER_PARTITION_MAX;
        let demand = Demand { partitions, replicas, start: self.partition_count() };
        possible.then(|| place(&candidates, demand))
    }

    fn take_assignments(
        &self,
        topic: &NewTopic,
        assignments: &[ManualAssignment],
    ) -> Result<Vec<Vec<BrokerId>>, CreateTopicError> {
        if topic.replication_factor != -1 {
            return Err(CreateTopicError::ReplicationFactorWithAssignment);
        }
        if topic.num_partitions != -1 {
            return Err(CreateTopicError::PartitionsWithAssignment);
        }
        if assignments.len() > PARTITIONS_PER_TOPIC_MAX {
            let num_partitions = i32::try_from(assignments.len()).unwrap_or(i32::MAX);
            return Err(CreateTopicError::TooManyPartitions { num_partitions });
        }
        let mut by_partition: BTreeMap<i32, &[BrokerId]> = BTreeMap::new();
        let mut expected = None;
        for assignment in assignments {
            let partition = assignment.partition;
            if by_partition.insert(partition.0, &assignment.replicas).is_some() {
                let error = AssignmentError::DuplicatePartition { partition };
                return Err(CreateTopicError::BadAssignment(error));
            }
            self.check_replicas(&assignment.replicas, expected)
                .map_err(CreateTopicError::BadAssignment)?;
            expected = Some(assignment.replicas.len());
        }
        if !by_partition.keys().copied().eq((0..).take(by_partition.len())) {
            return Err(CreateTopicError::BadAssignment(AssignmentError::NotConsecutive));
        }
        Ok(by_partition.into_values().map(<[BrokerId]>::to_vec).collect())
    }

    /// Whether these can be the replicas of one partition, `expected` in number if given.
    pub(super) fn check_replicas(
        &self,
        replicas: &[BrokerId],
        expected: Option<usize>,
    ) -> Result<(), AssignmentError> {
        if replicas.is_empty() {
            return Err(AssignmentError::NoReplicas);
        }
        if replicas.len() > REPLICAS_PER_PARTITION_MAX {
            return Err(AssignmentError::TooManyReplicas { replicas: replicas.len() });
        }
        let mut seen = BTreeSet::new();
        for &broker in replicas {
            if self.broker(broker).is_none() {
                return Err(AssignmentError::UnknownBroker { broker });
            }
            if !seen.insert(broker) {
                return Err(AssignmentError::DuplicateBroker { broker });
            }
        }
        match expected {
            Some(expected) if expected != replicas.len() => {
                Err(AssignmentError::UnevenReplicas { replicas: replicas.len(), expected })
            }
            _ => Ok(()),
        }
    }
}

impl PartitionState {
    /// A new partition: the first replica leads, all are in sync. `replicas` is not empty.
    pub fn new(replicas: Vec<BrokerId>) -> PartitionState {
        assert!(!replicas.is_empty(), "a partition has a replica");
        PartitionState {
            leader: Some(replicas[0]),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: 0,
            isr: replicas.clone(),
            replicas,
            elr: Vec::new(),
            last_known_elr: Vec::new(),
        }
    }
}

/// A name as metrics write it.
fn plain(name: &str) -> String {
    name.replace('.', "_")
}
