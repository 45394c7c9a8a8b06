//! The cluster's metadata at one point of its log: immutable, shared, cheap to clone.
//!
//! In:   records in log order.
//! Out:  the next image; look-ups by name, id and broker.
//! Home: pure. The control thread makes images; every shard holds an `Arc` of the current one.
//!
//! Invariants
//!   I1  `topics_by_id` and `topic_ids_by_name` hold the same topics.
//!   I2  A topic has at least one partition once its entry is applied, indexed from 0 gapless.
//!   I3  A live partition's leader epoch and partition epoch never go back.
//!   I4  `next_producer_id` never goes back: no producer id is given out twice.
//!
//! Topics are behind `Arc`s, as are the maps: an image that changes one topic shares the others.
//!
//! Not here: who may ask for what (`commands.rs`), bytes (`codec.rs`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::metadata::record::{BrokerRegistration, ConfigResource, PartitionState, Record};
use crate::model::ids::{BrokerId, PartitionIndex, TopicId, TopicPartition};
use crate::model::topic_name::TopicName;

/// Overridden settings: Kafka's name to value.
pub type ConfigMap = BTreeMap<String, String>;

/// One topic with its partitions and overridden settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicImage {
    /// Its id, never zero.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// Settings that differ from the broker's.
    pub configs: ConfigMap,
    /// By partition index.
    pub partitions: Vec<PartitionState>,
}

impl TopicImage {
    /// The state of one partition, if the topic has it; any `index` may be asked for.
    pub fn partition(&self, index: PartitionIndex) -> Option<&PartitionState> {
        self.partitions.get(usize::try_from(index.0).ok()?)
    }
}

/// The whole metadata at one index of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataImage {
    cluster_id: Option<Arc<str>>,
    applied_index: u64,
    features: Arc<BTreeMap<String, i16>>,
    brokers: Arc<BTreeMap<BrokerId, BrokerRegistration>>,
    topics_by_id: Arc<BTreeMap<TopicId, Arc<TopicImage>>>,
    topic_ids_by_name: Arc<BTreeMap<TopicName, TopicId>>,
    broker_configs: Arc<BTreeMap<BrokerId, ConfigMap>>,
    all_brokers_configs: Arc<ConfigMap>,
    group_configs: Arc<BTreeMap<String, ConfigMap>>,
    partition_count: u64,
    next_producer_id: i64,
}

/// Why a record cannot be applied: the log is not one that this controller wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// The cluster already has another id.
    ClusterIdChanged {
        /// The id it has.
        has: String,
        /// The id of the record.
        record: String,
    },
    /// The topic's id or name is in use, or the id is zero.
    TopicTaken {
        /// The record's id.
        topic: TopicId,
        /// The record's name.
        name: TopicName,
    },
    /// No topic has that id.
    UnknownTopic {
        /// The record's id.
        topic: TopicId,
    },
    /// The partition is neither there nor the next one.
    PartitionGap {
        /// The topic.
        topic: TopicId,
        /// The record's index.
        partition: PartitionIndex,
        /// Partitions the topic has.
        partitions: usize,
    },
    /// Replicas, ISR, ELR and leader contradict one another.
    ReplicasInconsistent {
        /// The topic.
        topic: TopicId,
        /// The partition.
        partition: PartitionIndex,
    },
    /// An epoch would go back.
    EpochWentBack {
        /// The topic.
        topic: TopicId,
        /// The partition.
        partition: PartitionIndex,
    },
    /// A broker's epoch did not grow.
    BrokerEpochWentBack {
        /// The broker.
        broker: BrokerId,
        /// The epoch it has.
        has: i64,
        /// The epoch of the record.
        record: i64,
    },
    /// Producer ids would be given out twice.
    ProducerIdsWentBack {
        /// First free id.
        has: i64,
        /// The record's.
        record: i64,
    },
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClusterIdChanged { has, record } => {
                write!(f, "cluster id {record} in a log of cluster {has}")
            }
            Self::TopicTaken { topic, name } => {
                write!(f, "topic {name} ({topic}) created although name or id is in use")
            }
            Self::UnknownTopic { topic } => write!(f, "no topic has the id {topic}"),
            Self::PartitionGap { topic, partition, partitions } => write!(
                f,
                "partition {} of topic {topic} does not follow its {partitions} partitions",
                partition.0
            ),
            Self::ReplicasInconsistent { topic, partition } => write!(
                f,
                "leader, ISR and replicas of partition {} of topic {topic} contradict",
                partition.0
            ),
            Self::EpochWentBack { topic, partition } => {
                write!(f, "an epoch of partition {} of topic {topic} went back", partition.0)
            }
            Self::BrokerEpochWentBack { broker, has, record } => {
                write!(f, "epoch {record} of broker {} follows {has}", broker.0)
            }
            Self::ProducerIdsWentBack { has, record } => {
                write!(f, "producer ids from {record} although those below {has} are taken")
            }
        }
    }
}

impl std::error::Error for ApplyError {}

impl MetadataImage {
    /// The image of an empty log.
    pub fn empty() -> MetadataImage {
        MetadataImage::default()
    }

    /// The cluster's id, 22 characters; `None` only before the cluster is formed.
    pub fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    /// Index of the last log entry this image contains; 0 for none.
    pub fn applied_index(&self) -> u64 {
        self.applied_index
    }

    /// Finalized feature levels by name.
    pub fn features(&self) -> &BTreeMap<String, i16> {
        &self.features
    }

    /// The registered brokers, by id.
    pub fn brokers(&self) -> &BTreeMap<BrokerId, BrokerRegistration> {
        &self.brokers
    }

    /// One broker, if registered.
    pub fn broker(&self, id: BrokerId) -> Option<&BrokerRegistration> {
        self.brokers.get(&id)
    }

    /// The topic of that name.
    pub fn topic_by_name(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics_by_id.get(self.topic_ids_by_name.get(name)?)
    }

    /// The topic of that id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<TopicImage>> {
        self.topics_by_id.get(&id)
    }

    /// All topics in the order of their names.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.topic_ids_by_name.values().map(|id| &self.topics_by_id[id])
    }

    /// The topics whose names are `from` or later, in the order of their names.
    pub fn topics_from<'a>(&'a self, from: &str) -> impl Iterator<Item = &'a Arc<TopicImage>> {
        use std::ops::Bound;
        let bounds = (Bound::Included(from), Bound::Unbounded);
        self.topic_ids_by_name.range::<str, _>(bounds).map(|(_, id)| &self.topics_by_id[id])
    }

    /// All topics in the order of their ids.
    pub fn topics_by_id(&self) -> &BTreeMap<TopicId, Arc<TopicImage>> {
        &self.topics_by_id
    }

    /// Number of topics.
    pub fn topic_count(&self) -> usize {
        self.topics_by_id.len()
    }

    /// Number of partitions of all topics.
    pub fn partition_count(&self) -> u64 {
        self.partition_count
    }

    /// The state of one partition.
    pub fn partition(&self, at: TopicPartition) -> Option<&PartitionState> {
        self.topic_by_id(at.topic)?.partition(at.partition)
    }

    /// Replicas of `state` that no registered broker holds, in the order of the replicas.
    pub fn offline_replicas(&self, state: &PartitionState) -> Vec<BrokerId> {
        let offline = |id: &&BrokerId| !self.brokers.contains_key(*id);
        state.replicas.iter().filter(offline).copied().collect()
    }

    /// Overridden settings of one broker, if it has any.
    pub fn broker_configs(&self, id: BrokerId) -> Option<&ConfigMap> {
        self.broker_configs.get(&id)
    }

    /// Settings overridden for all brokers.
    pub fn all_brokers_configs(&self) -> &ConfigMap {
        &self.all_brokers_configs
    }

    /// Overridden settings of one group, if it has any.
    pub fn group_configs(&self, group: &str) -> Option<&ConfigMap> {
        self.group_configs.get(group)
    }

    /// The groups that have overridden settings, by name.
    pub fn groups_with_configs(&self) -> impl ExactSizeIterator<Item = &str> {
        self.group_configs.keys().map(String::as_str)
    }

    /// Whether both have the same settings of groups.
    pub fn same_group_configs(&self, other: &MetadataImage) -> bool {
        Arc::ptr_eq(&self.group_configs, &other.group_configs)
            || self.group_configs == other.group_configs
    }

    /// Whether both have the same settings of brokers.
    pub fn same_broker_configs(&self, other: &MetadataImage) -> bool {
        self.broker_configs == other.broker_configs
            && self.all_brokers_configs == other.all_brokers_configs
    }

    /// Whether both share one map of topics: then no topic differs.
    pub fn shares_topics_with(&self, other: &MetadataImage) -> bool {
        Arc::ptr_eq(&self.topics_by_id, &other.topics_by_id)
    }

    /// First producer id that is not given out.
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// The image after the entry `index` with these records.
    ///
    /// `index` is above [`Self::applied_index`]. Errors: [`ApplyError`], a log that contradicts
    /// itself; `self` is untouched.
    pub fn apply_entry(&self, index: u64, records: &[Record]) -> Result<MetadataImage, ApplyError> {
        assert!(index > self.applied_index, "entries are applied in order, each once");
        let mut next = self.clone();
        for record in records {
            next.apply(record)?;
        }
        next.applied_index = index;
        Ok(next)
    }

    /// Applies one record in place, without moving [`Self::applied_index`].
    ///
    /// Errors: [`ApplyError`]; the image is then half changed and must be dropped.
    pub fn apply(&mut self, record: &Record) -> Result<(), ApplyError> {
        match record {
            Record::ClusterFormed { cluster_id } => self.apply_cluster_id(cluster_id),
            Record::FeatureLevel { name, level } => {
                // 0 is kept, too: somebody has decided that the feature is off.
                Arc::make_mut(&mut self.features).insert(name.clone(), *level);
                Ok(())
            }
            Record::BrokerRegistered(registration) => self.apply_broker(registration),
            Record::TopicCreated { topic, name } => self.apply_topic(*topic, name),
            Record::PartitionChanged { topic, partition, state } => {
                self.apply_partition(*topic, *partition, state)
            }
            Record::TopicDeleted { topic } => self.apply_topic_deleted(*topic),
            Record::ConfigSet { resource, key, value } => {
                self.apply_config(resource, key, value.as_deref())
            }
            Record::ProducerIdsAllocated { next_producer_id, .. } => {
                self.apply_producer_ids(*next_producer_id)
            }
        }
    }

    fn apply_cluster_id(&mut self, cluster_id: &str) -> Result<(), ApplyError> {
        match self.cluster_id.as_deref() {
            Some(has) if has != cluster_id => Err(ApplyError::ClusterIdChanged {
                has: has.to_owned(),
                record: cluster_id.to_owned(),
            }),
            _ => {
                self.cluster_id = Some(Arc::from(cluster_id));
                Ok(())
            }
        }
    }

    fn apply_broker(&mut self, registration: &BrokerRegistration) -> Result<(), ApplyError> {
        if let Some(has) = self.brokers.get(&registration.id)
            && has.epoch >= registration.epoch
        {
            return Err(ApplyError::BrokerEpochWentBack {
                broker: registration.id,
                has: has.epoch,
                record: registration.epoch,
            });
        }
        Arc::make_mut(&mut self.brokers).insert(registration.id, registration.clone());
        Ok(())
    }

    fn apply_topic(&mut self, id: TopicId, name: &TopicName) -> Result<(), ApplyError> {
        let taken = id.is_zero()
            || self.topics_by_id.contains_key(&id)
            || self.topic_ids_by_name.contains_key(name);
        if taken {
            return Err(ApplyError::TopicTaken { topic: id, name: name.clone() });
        }
        let topic = TopicImage {
            id,
            name: name.clone(),
            configs: ConfigMap::new(),
            partitions: Vec::new(),
        };
        Arc::make_mut(&mut self.topics_by_id).insert(id, Arc::new(topic));
        Arc::make_mut(&mut self.topic_ids_by_name).insert(name.clone(), id);
        assert!(self.topics_by_id.len() == self.topic_ids_by_name.len(), "I1");
        Ok(())
    }

    fn apply_partition(
        &mut self,
        topic: TopicId,
        partition: PartitionIndex,
        state: &PartitionState,
    ) -> Result<(), ApplyError> {
        if !state.is_consistent() {
            return Err(ApplyError::ReplicasInconsistent { topic, partition });
        }
        let image = self.topic_mut(topic)?;
        let count = image.partitions.len();
        let index = usize::try_from(partition.0).unwrap_or(usize::MAX);
        if index > count {
            return Err(ApplyError::PartitionGap { topic, partition, partitions: count });
        }
        if index == count {
            image.partitions.push(state.clone());
            self.partition_count += 1;
            return Ok(());
        }
        let has = &mut image.partitions[index];
        let went_back = state.leader_epoch < has.leader_epoch
            || state.partition_epoch < has.partition_epoch
            || (state.leader_epoch == has.leader_epoch && state.leader != has.leader);
        if went_back {
            return Err(ApplyError::EpochWentBack { topic, partition });
        }
        has.clone_from(state);
        Ok(())
    }

    fn apply_topic_deleted(&mut self, id: TopicId) -> Result<(), ApplyError> {
        let Some(topic) = Arc::make_mut(&mut self.topics_by_id).remove(&id) else {
            return Err(ApplyError::UnknownTopic { topic: id });
        };
        let by_name = Arc::make_mut(&mut self.topic_ids_by_name).remove(&topic.name);
        assert!(by_name == Some(id), "I1");
        self.partition_count -= topic.partitions.len() as u64;
        Ok(())
    }

    fn apply_config(
        &mut self,
        resource: &ConfigResource,
        key: &str,
        value: Option<&str>,
    ) -> Result<(), ApplyError> {
        let configs = match resource {
            ConfigResource::Topic(id) => &mut self.topic_mut(*id)?.configs,
            ConfigResource::Broker(id) => {
                Arc::make_mut(&mut self.broker_configs).entry(*id).or_default()
            }
            ConfigResource::AllBrokers => Arc::make_mut(&mut self.all_brokers_configs),
            ConfigResource::Group(group) => {
                Arc::make_mut(&mut self.group_configs).entry(group.clone()).or_default()
            }
        };
        match value {
            Some(value) => configs.insert(key.to_owned(), value.to_owned()),
            None => configs.remove(key),
        };
        // What has no overrides is no key: the image then equals one that never had any.
        if let ConfigResource::Group(group) = resource
            && self.group_configs.get(group).is_some_and(BTreeMap::is_empty)
        {
            Arc::make_mut(&mut self.group_configs).remove(group);
        }
        if let ConfigResource::Broker(id) = resource
            && self.broker_configs.get(id).is_some_and(BTreeMap::is_empty)
        {
            Arc::make_mut(&mut self.broker_configs).remove(id);
        }
        Ok(())
    }

    fn apply_producer_ids(&mut self, next_producer_id: i64) -> Result<(), ApplyError> {
        if next_producer_id < self.next_producer_id {
            return Err(ApplyError::ProducerIdsWentBack {
                has: self.next_producer_id,
                record: next_producer_id,
            });
        }
        self.next_producer_id = next_producer_id;
        Ok(())
    }

    fn topic_mut(&mut self, id: TopicId) -> Result<&mut TopicImage, ApplyError> {
        match Arc::make_mut(&mut self.topics_by_id).get_mut(&id) {
            Some(topic) => Ok(Arc::make_mut(topic)),
            None => Err(ApplyError::UnknownTopic { topic: id }),
        }
    }

    /// The fewest records that make this image out of the empty one, in a fixed order.
    ///
    /// Two equal images give the same records, so their snapshots are byte-identical.
    pub fn to_records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        if let Some(id) = &self.cluster_id {
            records.push(Record::ClusterFormed { cluster_id: id.to_string() });
        }
        for (name, level) in self.features.iter() {
            records.push(Record::FeatureLevel { name: name.clone(), level: *level });
        }
        records.extend(self.brokers.values().cloned().map(Record::BrokerRegistered));
        for topic in self.topics() {
            records.push(Record::TopicCreated { topic: topic.id, name: topic.name.clone() });
            for (partition, state) in (0..).map(PartitionIndex).zip(&topic.partitions) {
                let state = state.clone();
                records.push(Record::PartitionChanged { topic: topic.id, partition, state });
            }
            config_records(&ConfigResource::Topic(topic.id), &topic.configs, &mut records);
        }
        for (id, configs) in self.broker_configs.iter() {
            config_records(&ConfigResource::Broker(*id), configs, &mut records);
        }
        config_records(&ConfigResource::AllBrokers, &self.all_brokers_configs, &mut records);
        for (group, configs) in self.group_configs.iter() {
            config_records(&ConfigResource::Group(group.clone()), configs, &mut records);
        }
        if self.next_producer_id > 0 {
            records.push(Record::ProducerIdsAllocated {
                broker: BrokerId(-1),
                broker_epoch: -1,
                next_producer_id: self.next_producer_id,
            });
        }
        records
    }

    /// The image that a snapshot of `records` taken at `index` stands for.
    ///
    /// Errors: [`ApplyError`], records that contradict one another.
    pub fn from_records(index: u64, records: &[Record]) -> Result<MetadataImage, ApplyError> {
        let mut image = MetadataImage::empty();
        for record in records {
            image.apply(record)?;
        }
        image.applied_index = index;
        Ok(image)
    }
}

fn config_records(resource: &ConfigResource, configs: &ConfigMap, records: &mut Vec<Record>) {
    records.extend(configs.iter().map(|(key, value)| Record::ConfigSet {
        resource: resource.clone(),
        key: key.clone(),
        value: Some(value.clone()),
    }));
}

impl PartitionState {
    /// Whether leader, replicas, ISR and ELR agree as the type's invariants say.
    pub fn is_consistent(&self) -> bool {
        let unique = |ids: &[BrokerId]| (1..ids.len()).all(|i| !ids[..i].contains(&ids[i]));
        let known = |ids: &[BrokerId]| ids.iter().all(|id| self.replicas.contains(id));
        !self.replicas.is_empty()
            && unique(&self.replicas)
            && unique(&self.isr)
            && unique(&self.elr)
            && known(&self.isr)
            && known(&self.elr)
            && !self.elr.iter().any(|id| self.isr.contains(id))
            && self.leader.is_none_or(|id| self.replicas.contains(&id))
            && self.leader_epoch.0 >= 0
            && self.partition_epoch >= 0
    }
}
