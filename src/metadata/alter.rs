//! Commands about topics that exist: deletion, more partitions, settings.
//!
//! In:   a command's fields and the current image.
//! Out:  records, and one result a topic or resource.
//! Home: pure.
//!
//! Source: KIP-4, KIP-195 (CreatePartitions), KIP-339 (incremental settings), KIP-516 (by id).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::config::error::ConfigError;
use crate::metadata::commands::{
    CONFIG_BYTES_MAX, CONFIGS_PER_RESOURCE_MAX, CommandError, GROUPS_WITH_CONFIGS_MAX,
    PARTITIONS_PER_COMMAND_MAX, PARTITIONS_PER_TOPIC_MAX, Rules, TOPICS_PER_COMMAND_MAX, too_long,
};
use crate::metadata::create_topics::AssignmentError;
use crate::metadata::image::{ConfigMap, MetadataImage, TopicImage};
use crate::metadata::record::{ConfigResource, PartitionState, Record};
use crate::model::ids::{BrokerId, PartitionIndex, TopicId};
use crate::model::topic_name::TopicName;

/// A topic as a caller names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicRef {
    /// By its name, unchecked.
    Name(String),
    /// By its id.
    Id(TopicId),
}

/// A topic that was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedTopic {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
}

/// Why a topic is not deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteTopicError {
    /// No topic has this name.
    UnknownName,
    /// No topic has this id.
    UnknownId,
    /// The request names the topic more than once.
    DuplicateInRequest,
}

impl fmt::Display for DeleteTopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownName => "This server does not host this topic-partition.",
            Self::UnknownId => "This server does not host this topic ID.",
            Self::DuplicateInRequest => "Duplicate topic in request.",
        })
    }
}

/// More partitions for a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MorePartitions {
    /// The topic's name.
    pub name: String,
    /// Partitions it is to have then.
    pub total: i32,
    /// Replicas of each new partition, where the caller chose them.
    pub assignments: Option<Vec<Vec<BrokerId>>>,
}

/// Why a topic gets no more partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreatePartitionsError {
    /// No topic has this name.
    UnknownName,
    /// The request names the topic more than once.
    DuplicateInRequest,
    /// It would have no more than now.
    NotMore {
        /// Its name.
        name: String,
        /// Partitions it has.
        has: usize,
        /// As asked for.
        total: i32,
    },
    /// More than [`PARTITIONS_PER_TOPIC_MAX`].
    TooMany {
        /// As asked for.
        total: i32,
    },
    /// Fewer brokers than the topic has replicas.
    TooFewBrokers {
        /// Replicas of each partition.
        replicas: usize,
        /// Brokers there are.
        brokers: usize,
    },
    /// Not one assignment for each new partition.
    AssignmentCount {
        /// New partitions.
        partitions: usize,
        /// Assignments.
        assignments: usize,
    },
    /// An assignment is not possible.
    BadAssignment(AssignmentError),
}

impl fmt::Display for CreatePartitionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownName => write!(f, "This server does not host this topic-partition."),
            Self::DuplicateInRequest => write!(f, "Duplicate topic name."),
            Self::NotMore { has, total, .. } if usize::try_from(*total) == Ok(*has) => {
                write!(f, "Topic already has {has} partition(s).")
            }
            Self::NotMore { name, has, total } => write!(
                f,
                "The topic {name} currently has {has} partition(s); {total} would not be an increase."
            ),
            Self::TooMany { total } => write!(
                f,
                "{total} partitions asked for; a topic has at most {PARTITIONS_PER_TOPIC_MAX}."
            ),
            Self::TooFewBrokers { replicas, brokers } => write!(
                f,
                "Unable to replicate the partition {replicas} time(s): The target replication \
                 factor of {replicas} cannot be reached because only {brokers} broker(s) are \
                 registered."
            ),
            Self::AssignmentCount { partitions, assignments } => write!(
                f,
                "Attempted to add {partitions} additional partition(s), but only {assignments} \
                 assignment(s) were specified."
            ),
            Self::BadAssignment(error) => error.fmt(f),
        }
    }
}

/// Changed settings of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// Whose settings.
    pub resource: ConfigTarget,
    /// What is to become of its overrides.
    pub values: ConfigValues,
}

/// What is to become of a resource's overrides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigValues {
    /// Some of them change; those not named stay as they are.
    Some(BTreeMap<String, ConfigOperation>),
    /// There shall be these and no others.
    All(ConfigMap),
}

/// What is to become of one override.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigOperation {
    /// It has this value.
    Set(String),
    /// It goes.
    Delete,
    /// Items come to the list, in order, unless they are there.
    Append {
        /// Separated by commas.
        items: String,
        /// The list where there is no override yet.
        otherwise: String,
    },
    /// Items go from the list.
    Subtract {
        /// Separated by commas.
        items: String,
        /// The list where there is no override yet.
        otherwise: String,
    },
}

impl ConfigOperation {
    /// The override afterwards, of one that is `has` now.
    fn apply(&self, has: Option<&String>) -> Option<String> {
        let list = |otherwise| items(has.map_or(otherwise, String::as_str));
        match self {
            Self::Set(value) => Some(value.clone()),
            Self::Delete => None,
            Self::Append { items: more, otherwise } => {
                let mut list = list(otherwise);
                for item in items(more) {
                    if !list.contains(&item) {
                        list.push(item);
                    }
                }
                Some(list.join(","))
            }
            Self::Subtract { items: less, otherwise } => {
                let less = items(less);
                let mut list = list(otherwise);
                list.retain(|item| !less.contains(item));
                Some(list.join(","))
            }
        }
    }
}

/// The items of a list that has commas between them; empty ones count for nothing.
fn items(list: &str) -> Vec<&str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()
}

/// Whose settings a caller changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigTarget {
    /// A topic, by name.
    Topic(String),
    /// One broker.
    Broker(BrokerId),
    /// All brokers.
    AllBrokers,
    /// A group, by name; it need not be there.
    Group(String),
}

/// Why settings are not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChangeError {
    /// No topic has this name.
    UnknownTopic {
        /// As asked for.
        name: String,
    },
    /// No broker has this id.
    UnknownBroker {
        /// As asked for.
        broker: BrokerId,
    },
    /// The request names the resource more than once.
    DuplicateInRequest,
    /// A setting's name or value is longer than [`CONFIG_BYTES_MAX`].
    ConfigTooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// It would have more overrides than [`CONFIGS_PER_RESOURCE_MAX`].
    TooMany {
        /// How many.
        configs: usize,
    },
    /// More groups than [`GROUPS_WITH_CONFIGS_MAX`] would have settings of their own.
    TooManyGroups,
    /// A setting of a topic or a group is refused.
    BadConfig(ConfigError),
    /// A setting of a broker is refused.
    BadBrokerConfig(ConfigError),
}

impl fmt::Display for ConfigChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownTopic { name } => write!(f, "The topic '{name}' does not exist."),
            Self::UnknownBroker { broker } => write!(f, "No broker has the id {}.", broker.0),
            Self::DuplicateInRequest => write!(f, "Each resource must appear at most once."),
            Self::ConfigTooLong { bytes } => write!(
                f,
                "A setting of {bytes} bytes exceeds the maximum size of {CONFIG_BYTES_MAX} bytes."
            ),
            Self::TooMany { configs } => {
                write!(f, "{configs} settings of one resource; at most {CONFIGS_PER_RESOURCE_MAX}.")
            }
            Self::TooManyGroups => {
                write!(
                    f,
                    "{GROUPS_WITH_CONFIGS_MAX} groups have settings of their own; no more can."
                )
            }
            Self::BadConfig(error) | Self::BadBrokerConfig(error) => error.fmt(f),
        }
    }
}

/// Records, and one result an item.
type Decided<T, E> = (Vec<Record>, Vec<Result<T, E>>);

impl MetadataImage {
    pub(super) fn delete_topics(
        &self,
        topics: &[TopicRef],
    ) -> Result<Decided<DeletedTopic, DeleteTopicError>, CommandError> {
        check_count(topics.len())?;
        let found: Vec<Result<&TopicImage, DeleteTopicError>> =
            topics.iter().map(|topic| self.find(topic)).collect();
        let mut named: BTreeMap<TopicId, usize> = BTreeMap::new();
        for topic in found.iter().flatten() {
            *named.entry(topic.id).or_default() += 1;
        }
        let mut asked: BTreeMap<&TopicRef, usize> = BTreeMap::new();
        for topic in topics {
            *asked.entry(topic).or_default() += 1;
        }
        let mut records = Vec::new();
        let results = found.into_iter().zip(topics).map(|(found, asked_for)| {
            if asked[asked_for] > 1 {
                return Err(DeleteTopicError::DuplicateInRequest); // also of one that is not there
            }
            let topic = found?;
            if named[&topic.id] > 1 {
                return Err(DeleteTopicError::DuplicateInRequest);
            }
            records.push(Record::TopicDeleted { topic: topic.id });
            Ok(DeletedTopic { id: topic.id, name: topic.name.clone() })
        });
        let results = results.collect();
        Ok((records, results))
    }

    fn find(&self, topic: &TopicRef) -> Result<&TopicImage, DeleteTopicError> {
        match topic {
            TopicRef::Name(name) => {
                self.topic_by_name(name).map(|t| &**t).ok_or(DeleteTopicError::UnknownName)
            }
            TopicRef::Id(id) => {
                self.topic_by_id(*id).map(|t| &**t).ok_or(DeleteTopicError::UnknownId)
            }
        }
    }

    pub(super) fn create_partitions(
        &self,
        topics: &[MorePartitions],
    ) -> Result<Decided<(), CreatePartitionsError>, CommandError> {
        check_count(topics.len())?;
        let mut named: BTreeMap<&str, usize> = BTreeMap::new();
        for more in topics {
            *named.entry(&more.name).or_default() += 1;
        }
        let mut created = 0;
        let mut records = Vec::new();
        let mut results = Vec::with_capacity(topics.len());
        for more in topics {
            if named[more.name.as_str()] > 1 {
                results.push(Err(CreatePartitionsError::DuplicateInRequest));
                continue;
            }
            results.push(self.plan_partitions(more).map(|new| {
                created += new.len();
                records.extend(new);
            }));
            if created > PARTITIONS_PER_COMMAND_MAX {
                return Err(CommandError::TooManyPartitions { partitions: created });
            }
        }
        Ok((records, results))
    }

    fn plan_partitions(&self, more: &MorePartitions) -> Result<Vec<Record>, CreatePartitionsError> {
        let topic = self.topic_by_name(&more.name).ok_or(CreatePartitionsError::UnknownName)?;
        let has = topic.partitions.len();
        let total = usize::try_from(more.total).unwrap_or(0);
        if total <= has {
            let name = more.name.clone();
            return Err(CreatePartitionsError::NotMore { name, has, total: more.total });
        }
        if total > PARTITIONS_PER_TOPIC_MAX {
            return Err(CreatePartitionsError::TooMany { total: more.total });
        }
        let replicas = topic.partitions[0].replicas.len();
        let placed = match &more.assignments {
            None => self.place_partitions(total - has, replicas).ok_or(
                CreatePartitionsError::TooFewBrokers { replicas, brokers: self.brokers().len() },
            )?,
            Some(chosen) => {
                let (partitions, assignments) = (total - has, chosen.len());
                if partitions != assignments {
                    return Err(CreatePartitionsError::AssignmentCount { partitions, assignments });
                }
                for ids in chosen {
                    self.check_replicas(ids, Some(replicas))
                        .map_err(CreatePartitionsError::BadAssignment)?;
                }
                chosen.clone()
            }
        };
        let first = i32::try_from(has).expect("below the maximum");
        let indexed = (first..).map(PartitionIndex).zip(placed);
        let record = |(partition, replicas)| Record::PartitionChanged {
            topic: topic.id,
            partition,
            state: PartitionState::new(replicas),
        };
        Ok(indexed.map(record).collect())
    }

    pub(super) fn set_configs(
        &self,
        rules: &Rules<'_>,
        changes: &[ConfigChange],
    ) -> Result<Decided<(), ConfigChangeError>, CommandError> {
        check_count(changes.len())?;
        let mut seen: BTreeSet<ConfigResource> = BTreeSet::new();
        let mut records = Vec::new();
        let mut results = Vec::with_capacity(changes.len());
        for change in changes {
            results.push(self.plan_configs(rules, change, &mut seen).map(|new| {
                records.extend(new);
            }));
        }
        Ok((records, results))
    }

    fn plan_configs(
        &self,
        rules: &Rules<'_>,
        change: &ConfigChange,
        seen: &mut BTreeSet<ConfigResource>,
    ) -> Result<Vec<Record>, ConfigChangeError> {
        let (resource, has) = match &change.resource {
            ConfigTarget::Topic(name) => {
                let topic = self
                    .topic_by_name(name)
                    .ok_or_else(|| ConfigChangeError::UnknownTopic { name: name.clone() })?;
                (ConfigResource::Topic(topic.id), topic.configs.clone())
            }
            ConfigTarget::Broker(id) => {
                if self.broker(*id).is_none() {
                    return Err(ConfigChangeError::UnknownBroker { broker: *id });
                }
                let has = self.broker_configs(*id).cloned().unwrap_or_default();
                (ConfigResource::Broker(*id), has)
            }
            ConfigTarget::AllBrokers => {
                (ConfigResource::AllBrokers, self.all_brokers_configs().clone())
            }
            ConfigTarget::Group(name) => {
                if name.len() > CONFIG_BYTES_MAX {
                    return Err(ConfigChangeError::ConfigTooLong { bytes: name.len() });
                }
                let has = self.group_configs(name).cloned().unwrap_or_default();
                (ConfigResource::Group(name.clone()), has)
            }
        };
        if !seen.insert(resource.clone()) {
            return Err(ConfigChangeError::DuplicateInRequest);
        }
        let wanted = with_changes(&has, &change.values);
        if wanted.len() > CONFIGS_PER_RESOURCE_MAX {
            return Err(ConfigChangeError::TooMany { configs: wanted.len() });
        }
        if let Some(bytes) = too_long(&wanted) {
            return Err(ConfigChangeError::ConfigTooLong { bytes });
        }
        match &resource {
            ConfigResource::Topic(_) => {
                (rules.check_topic_configs)(&wanted).map_err(ConfigChangeError::BadConfig)
            }
            ConfigResource::Group(_) => {
                // Those of one command are not counted together: the limit is one of memory.
                let is_new = has.is_empty() && !wanted.is_empty();
                if is_new && self.groups_with_configs().len() >= GROUPS_WITH_CONFIGS_MAX {
                    return Err(ConfigChangeError::TooManyGroups);
                }
                (rules.check_group_configs)(&wanted).map_err(ConfigChangeError::BadConfig)
            }
            ConfigResource::Broker(_) | ConfigResource::AllBrokers => {
                (rules.check_broker_configs)(&wanted).map_err(ConfigChangeError::BadBrokerConfig)
            }
        }?;
        // What is already so needs no record.
        let record = |key: &String, value: Option<&String>| Record::ConfigSet {
            resource: resource.clone(),
            key: key.clone(),
            value: value.cloned(),
        };
        let gone = has.keys().filter(|key| !wanted.contains_key(*key)).map(|key| record(key, None));
        let differs = wanted.iter().filter(|(key, value)| has.get(*key) != Some(*value));
        let set = differs.map(|(key, value)| record(key, Some(value)));
        Ok(gone.chain(set).collect())
    }
}

fn with_changes(has: &ConfigMap, values: &ConfigValues) -> ConfigMap {
    let some = match values {
        ConfigValues::All(all) => return all.clone(),
        ConfigValues::Some(some) => some,
    };
    let mut wanted = has.clone();
    for (key, operation) in some {
        match operation.apply(has.get(key)) {
            Some(value) => wanted.insert(key.clone(), value),
            None => wanted.remove(key),
        };
    }
    wanted
}

fn check_count(topics: usize) -> Result<(), CommandError> {
    match topics {
        topics if topics > TOPICS_PER_COMMAND_MAX => Err(CommandError::TooManyTopics { topics }),
        _ => Ok(()),
    }
}
