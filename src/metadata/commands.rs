//! What may be asked of the controller, and what it decides.
//!
//! In:   a [`Command`], the current image, the [`Rules`] of this broker's configuration.
//! Out:  records to make durable and an [`Answer`], or a refusal.
//! Home: pure; nothing is changed here, `image.rs` applies the records.
//!
//! Invariants
//!   C1  The records of a decision apply to the image they were decided against.
//!   C2  A refused item leaves no record; its neighbours in the same command are not affected.
//!   C3  `validate_only` answers exactly as the real call would, and leaves no record.
//!
//! Random topic ids are handed in. Kafka's error codes are chosen in `crate::broker::errors`.
//!
//! Not here: who may ask (authorisation), one file a family: `create_topics.rs`,
//! `alter.rs` (deletion, partitions, settings), `brokers.rs` (registration, producer ids).

use std::collections::BTreeMap;
use std::fmt;

use crate::config::error::ConfigError;
use crate::metadata::alter::{
    ConfigChange, ConfigChangeError, CreatePartitionsError, DeleteTopicError, DeletedTopic,
    MorePartitions, TopicRef,
};
use crate::metadata::brokers::{ProducerIdBlock, RegisterBroker, StaleBroker};
use crate::metadata::create_topics::{CreateTopicError, CreatedTopic, NewTopic};
use crate::metadata::features::{FeatureError, FeatureUpdate};
use crate::metadata::image::{ConfigMap, MetadataImage};
use crate::metadata::record::Record;

/// Most partitions that one command may create. Source: Kafka's `MAX_PARTITIONS_PER_BATCH`.
pub const PARTITIONS_PER_COMMAND_MAX: usize = 10_000;

/// Most topics that one command may name.
pub const TOPICS_PER_COMMAND_MAX: usize = 10_000;

/// Most partitions of one topic.
pub const PARTITIONS_PER_TOPIC_MAX: usize = 100_000;

/// Most bytes of a setting's name, and of its value. Source: Kafka's limit on both.
pub const CONFIG_BYTES_MAX: usize = 32_767;

/// Most overrides of one resource: more than there are settings, also of plugins.
pub const CONFIGS_PER_RESOURCE_MAX: usize = 1_000;

/// Most groups that have settings of their own, each with a few; one command may pass it by those
/// that it names.
pub const GROUPS_WITH_CONFIGS_MAX: usize = 100_000;

/// Most replicas of one partition.
pub const REPLICAS_PER_PARTITION_MAX: usize = 128;

/// A request to the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Give the cluster its id and features; the first command of a new cluster.
    FormCluster {
        /// 22 characters of URL-safe base64.
        cluster_id: String,
        /// Feature levels to finalize.
        features: BTreeMap<String, i16>,
    },
    /// A broker starts.
    RegisterBroker(RegisterBroker),
    /// Create topics.
    CreateTopics {
        /// The topics, each answered on its own.
        topics: Vec<NewTopic>,
        /// Whether to do it or only to say what would happen.
        mode: Mode,
    },
    /// Delete topics.
    DeleteTopics {
        /// The topics, each answered on its own.
        topics: Vec<TopicRef>,
    },
    /// Add partitions to topics.
    CreatePartitions {
        /// The topics, each answered on its own.
        topics: Vec<MorePartitions>,
        /// Whether to do it or only to say what would happen.
        mode: Mode,
    },
    /// Change overridden settings.
    SetConfigs {
        /// The resources, each answered on its own, all of its keys or none.
        changes: Vec<ConfigChange>,
        /// Whether to do it or only to say what would happen.
        mode: Mode,
    },
    /// Change levels of features.
    UpdateFeatures {
        /// The features; all of them change or none.
        updates: Vec<FeatureUpdate>,
        /// Whether to do it or only to say what would happen.
        mode: Mode,
    },
    /// Reserve a block of producer ids.
    AllocateProducerIds {
        /// The broker that will give them out.
        broker: crate::model::ids::BrokerId,
        /// The epoch of its registration.
        broker_epoch: i64,
    },
}

/// Whether a command is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Carry it out.
    Commit,
    /// Run every check, answer, and change nothing (Kafka's `validate_only`).
    ValidateOnly,
}

/// What a decided command gives its caller once its records are durable and published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The cluster has its id, now or from before.
    ClusterFormed,
    /// The broker is registered.
    BrokerRegistered {
        /// The epoch of this registration.
        broker_epoch: i64,
    },
    /// One result a topic, in the command's order.
    TopicsCreated(Vec<Result<CreatedTopic, CreateTopicError>>),
    /// One result a topic, in the command's order.
    TopicsDeleted(Vec<Result<DeletedTopic, DeleteTopicError>>),
    /// One result a topic, in the command's order.
    PartitionsCreated(Vec<Result<(), CreatePartitionsError>>),
    /// One result a resource, in the command's order.
    ConfigsSet(Vec<Result<(), ConfigChangeError>>),
    /// Whether the levels have changed.
    FeaturesUpdated(Result<(), FeatureError>),
    /// The reserved ids.
    ProducerIds(ProducerIdBlock),
}

/// Why a command as a whole is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// It names more topics than [`TOPICS_PER_COMMAND_MAX`].
    TooManyTopics {
        /// How many.
        topics: usize,
    },
    /// It would create more partitions than [`PARTITIONS_PER_COMMAND_MAX`].
    TooManyPartitions {
        /// How many, counted until the limit was passed.
        partitions: usize,
    },
    /// The cluster has another id.
    ClusterIdMismatch {
        /// The id it has.
        has: String,
        /// The id asked for.
        asked: String,
    },
    /// The broker is not registered, or under another epoch.
    StaleBroker(StaleBroker),
    /// All 2^63 producer ids are given out.
    ProducerIdsExhausted,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyTopics { topics } => {
                write!(f, "{topics} topics in one request; at most {TOPICS_PER_COMMAND_MAX}")
            }
            Self::TooManyPartitions { .. } => {
                write!(f, "Excessively large number of partitions per request.")
            }
            Self::ClusterIdMismatch { has, asked } => {
                write!(f, "the cluster's id is {has}, not {asked}")
            }
            Self::StaleBroker(stale) => stale.fmt(f),
            Self::ProducerIdsExhausted => write!(f, "Exhausted all producerIds"),
        }
    }
}

impl std::error::Error for CommandError {}

/// What a broker's configuration says about commands.
pub struct Rules<'a> {
    /// `num.partitions`, at least 1: for a topic that asks for -1.
    pub num_partitions: i32,
    /// `default.replication.factor`, at least 1: for a topic that asks for -1.
    pub default_replication_factor: i16,
    /// Whether a topic may have exactly these overrides.
    pub check_topic_configs: &'a dyn Fn(&ConfigMap) -> Result<(), ConfigError>,
    /// Whether a broker may have exactly these overrides.
    pub check_broker_configs: &'a dyn Fn(&ConfigMap) -> Result<(), ConfigError>,
    /// Whether a group may have exactly these overrides.
    pub check_group_configs: &'a dyn Fn(&ConfigMap) -> Result<(), ConfigError>,
}

impl fmt::Debug for Rules<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("num_partitions", &self.num_partitions)
            .field("default_replication_factor", &self.default_replication_factor)
            .finish_non_exhaustive()
    }
}

/// A decided command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// To be made durable as one entry and applied together; empty if nothing changes.
    pub records: Vec<Record>,
    /// For the caller, once the records are applied.
    pub answer: Answer,
}

/// Decides `command` against `image`.
///
/// Errors: [`CommandError`] if nothing of it can be carried out; a single topic or resource that
/// is refused is part of the [`Answer`].
pub fn decide(
    image: &MetadataImage,
    rules: &Rules<'_>,
    command: &Command,
) -> Result<Decision, CommandError> {
    assert!(rules.num_partitions >= 1, "the configuration was validated");
    assert!(rules.default_replication_factor >= 1, "the configuration was validated");
    match command {
        Command::FormCluster { cluster_id, features } => image.form_cluster(cluster_id, features),
        Command::RegisterBroker(broker) => Ok(image.register_broker(broker)),
        Command::CreateTopics { topics, mode } => {
            let (records, results) = image.create_topics(rules, topics)?;
            Ok(decision(*mode, records, Answer::TopicsCreated(results)))
        }
        Command::DeleteTopics { topics } => {
            let (records, results) = image.delete_topics(topics)?;
            Ok(Decision { records, answer: Answer::TopicsDeleted(results) })
        }
        Command::CreatePartitions { topics, mode } => {
            let (records, results) = image.create_partitions(topics)?;
            Ok(decision(*mode, records, Answer::PartitionsCreated(results)))
        }
        Command::SetConfigs { changes, mode } => {
            let (records, results) = image.set_configs(rules, changes)?;
            Ok(decision(*mode, records, Answer::ConfigsSet(results)))
        }
        Command::UpdateFeatures { updates, mode } => Ok(match image.update_features(updates) {
            Ok(records) => decision(*mode, records, Answer::FeaturesUpdated(Ok(()))),
            Err(error) => decision(*mode, Vec::new(), Answer::FeaturesUpdated(Err(error))),
        }),
        Command::AllocateProducerIds { broker, broker_epoch } => {
            image.allocate_producer_ids(*broker, *broker_epoch)
        }
    }
}

/// The first setting whose name or value is longer than [`CONFIG_BYTES_MAX`], with its bytes.
pub(super) fn too_long(configs: &ConfigMap) -> Option<usize> {
    let longest = |(key, value): (&String, &String)| key.len().max(value.len());
    configs.iter().map(longest).find(|&bytes| bytes > CONFIG_BYTES_MAX)
}

fn decision(mode: Mode, records: Vec<Record>, answer: Answer) -> Decision {
    match mode {
        Mode::Commit => Decision { records, answer },
        Mode::ValidateOnly => Decision { records: Vec::new(), answer },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::alter::{ConfigOperation, ConfigTarget, ConfigValues};
    use crate::metadata::brokers::LastShutdown;
    use crate::metadata::create_topics::{AssignmentError, ManualAssignment};
    use crate::metadata::record::PartitionState;
    use crate::model::ids::{BrokerId, PartitionIndex, ProducerId, TopicId};
    use crate::model::offset::LeaderEpoch;
    use crate::model::topic_name::{TopicName, TopicNameError};

    fn accept(_: &ConfigMap) -> Result<(), ConfigError> {
        Ok(())
    }

    fn refuse_unknown(configs: &ConfigMap) -> Result<(), ConfigError> {
        match configs.keys().find(|key| !key.starts_with("known")) {
            Some(key) => Err(ConfigError::NoValue { name: key.clone() }),
            None => Ok(()),
        }
    }

    const RULES: Rules<'static> = Rules {
        num_partitions: 3,
        default_replication_factor: 1,
        check_topic_configs: &refuse_unknown,
        check_broker_configs: &accept,
        check_group_configs: &refuse_unknown,
    };

    fn run(image: &mut MetadataImage, command: &Command) -> Answer {
        let decision = decide(image, &RULES, command).unwrap();
        if !decision.records.is_empty() {
            *image = image.apply_entry(image.applied_index() + 1, &decision.records).unwrap();
        }
        decision.answer
    }

    fn cluster(brokers: i32) -> MetadataImage {
        let mut image = MetadataImage::empty();
        let cluster_id = "AAAAAAAAAAAAAAAAAAAAAA".to_owned();
        run(&mut image, &Command::FormCluster { cluster_id, features: BTreeMap::new() });
        for id in (0..brokers).map(BrokerId) {
            run(&mut image, &register(id, LastShutdown::Clean));
        }
        image
    }

    fn register(id: BrokerId, last_shutdown: LastShutdown) -> Command {
        let endpoints = BTreeMap::new();
        Command::RegisterBroker(RegisterBroker { id, rack: None, endpoints, last_shutdown })
    }

    fn topic(number: u8, name: &str) -> NewTopic {
        NewTopic {
            id: TopicId([number; 16]),
            name: name.to_owned(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: Vec::new(),
            configs: ConfigMap::new(),
            valueless: Vec::new(),
        }
    }

    fn assigned(number: u8, name: &str, replicas: &[(i32, &[i32])]) -> NewTopic {
        let assignment = |(partition, ids): &(i32, &[i32])| ManualAssignment {
            partition: PartitionIndex(*partition),
            replicas: ids.iter().copied().map(BrokerId).collect(),
        };
        NewTopic { assignments: replicas.iter().map(assignment).collect(), ..topic(number, name) }
    }

    fn create(image: &mut MetadataImage, topics: Vec<NewTopic>) -> Vec<Option<CreateTopicError>> {
        match run(image, &Command::CreateTopics { topics, mode: Mode::Commit }) {
            Answer::TopicsCreated(results) => results.into_iter().map(Result::err).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn name(text: &str) -> TopicName {
        TopicName::parse(text).unwrap()
    }

    #[test]
    fn a_topic_gets_the_defaults_and_is_found_by_name_and_id() {
        let mut image = cluster(1);
        assert_eq!(create(&mut image, vec![topic(1, "a")]), [None]);
        let topic = image.topic_by_name("a").unwrap();
        assert!(std::sync::Arc::ptr_eq(topic, image.topic_by_id(TopicId([1; 16])).unwrap()));
        assert_eq!(topic.partitions, vec![PartitionState::new(vec![BrokerId(0)]); 3]);
        assert_eq!(image.partition_count(), 3);
    }

    #[test]
    fn refused_topics_leave_their_neighbours_alone() {
        let mut image = cluster(1);
        let wrong = |f: fn(&mut NewTopic)| {
            let mut topic = topic(9, "wrong");
            f(&mut topic);
            topic
        };
        let check = |image: &mut MetadataImage, bad: NewTopic, want: CreateTopicError| {
            let good = topic(200, "good");
            let mut before = image.clone();
            assert_eq!(create(image, vec![bad, good.clone()]), [Some(want), None]);
            create(&mut before, vec![good]);
            assert_eq!(*image, before, "C2");
            run(image, &Command::DeleteTopics { topics: vec![TopicRef::Name("good".into())] });
        };
        assert_eq!(create(&mut image, vec![topic(1, "a.b")]), [None]);
        let image = &mut image;
        let exists = CreateTopicError::Exists { name: name("a.b") };
        check(image, topic(2, "a.b"), exists);
        let existing = name("a.b");
        check(image, topic(2, "a_b"), CreateTopicError::Collides { name: name("a_b"), existing });
        check(image, topic(1, "c"), CreateTopicError::IdTaken);
        check(image, topic(0, "c"), CreateTopicError::IdTaken);
        check(image, topic(2, ".."), CreateTopicError::BadName(TopicNameError::Dots));
        let bad = CreateTopicError::BadPartitions { num_partitions: 0 };
        check(image, wrong(|t| t.num_partitions = 0), bad);
        let bad = CreateTopicError::BadPartitions { num_partitions: i32::MIN };
        check(image, wrong(|t| t.num_partitions = i32::MIN), bad);
        let bad = CreateTopicError::TooManyPartitions { num_partitions: i32::MAX };
        check(image, wrong(|t| t.num_partitions = i32::MAX), bad);
        let bad = CreateTopicError::BadReplicationFactor { replication_factor: 0 };
        check(image, wrong(|t| t.replication_factor = 0), bad);
        let bad = CreateTopicError::TooFewBrokers { replication_factor: 3, brokers: 1 };
        check(image, wrong(|t| t.replication_factor = 3), bad);
        let bad = CreateTopicError::NoValue { settings: vec!["retention.ms".to_owned()] };
        check(image, wrong(|t| t.valueless.push("retention.ms".to_owned())), bad);
        let bad = ConfigError::NoValue { name: "strange".into() };
        let strange = |t: &mut NewTopic| drop(t.configs.insert("strange".into(), "1".into()));
        check(image, wrong(strange), CreateTopicError::BadConfig(bad));
    }

    #[test]
    fn assignments_are_checked_as_kafka_checks_them() {
        let check = |replicas: &[(i32, &[i32])], want: Option<AssignmentError>| {
            let mut image = cluster(3);
            let results = create(&mut image, vec![assigned(1, "a", replicas)]);
            assert_eq!(results, [want.map(CreateTopicError::BadAssignment)], "{replicas:?}");
        };
        check(&[(0, &[1, 2]), (1, &[2, 0])], None);
        check(&[(1, &[1, 2]), (0, &[2, 0])], None);
        check(&[(0, &[])], Some(AssignmentError::NoReplicas));
        check(&[(1, &[0])], Some(AssignmentError::NotConsecutive));
        check(&[(-1, &[0])], Some(AssignmentError::NotConsecutive));
        check(&[(0, &[0]), (2, &[0])], Some(AssignmentError::NotConsecutive));
        let partition = PartitionIndex(0);
        check(&[(0, &[0]), (0, &[1])], Some(AssignmentError::DuplicatePartition { partition }));
        check(&[(0, &[1, 1])], Some(AssignmentError::DuplicateBroker { broker: BrokerId(1) }));
        check(&[(0, &[7])], Some(AssignmentError::UnknownBroker { broker: BrokerId(7) }));
        let uneven = AssignmentError::UnevenReplicas { replicas: 2, expected: 1 };
        check(&[(0, &[1]), (1, &[0, 1])], Some(uneven));

        let mut both = assigned(1, "a", &[(0, &[0])]);
        both.num_partitions = 1;
        let results = create(&mut cluster(1), vec![both.clone()]);
        assert_eq!(results, [Some(CreateTopicError::PartitionsWithAssignment)]);
        both.replication_factor = 1;
        let results = create(&mut cluster(1), vec![both]);
        assert_eq!(results, [Some(CreateTopicError::ReplicationFactorWithAssignment)]);
    }

    #[test]
    fn new_names_of_one_request_are_held_against_each_other() {
        let mut image = cluster(1);
        let twice = Some(CreateTopicError::DuplicateInRequest);
        let collides =
            Some(CreateTopicError::Collides { name: name("x_y"), existing: name("x.y") });
        let topics = [topic(1, "a"), topic(2, "a"), topic(3, "x.y"), topic(4, "x_y")];
        assert_eq!(create(&mut image, topics.into()), [twice.clone(), twice, None, collides]);
        assert_eq!(image.topic_count(), 1);
    }

    #[test]
    fn validate_only_answers_alike_and_changes_nothing() {
        let image = cluster(1);
        let topics = vec![topic(1, "a"), topic(2, "..")];
        let decided = |mode| {
            let command = Command::CreateTopics { topics: topics.clone(), mode };
            decide(&image, &RULES, &command).unwrap()
        };
        let (dry, wet) = (decided(Mode::ValidateOnly), decided(Mode::Commit));
        assert_eq!(dry.answer, wet.answer, "C3");
        assert!(dry.records.is_empty() && !wet.records.is_empty());
    }

    #[test]
    fn too_much_at_once_is_refused_whole() {
        let image = cluster(1);
        let decided =
            |topics| decide(&image, &RULES, &Command::CreateTopics { topics, mode: Mode::Commit });
        let mut big = topic(1, "a");
        big.num_partitions = 10_001;
        let want = CommandError::TooManyPartitions { partitions: 10_001 };
        assert_eq!(decided(vec![big]), Err(want));
        let many = vec![topic(1, "a"); TOPICS_PER_COMMAND_MAX + 1];
        let want = CommandError::TooManyTopics { topics: TOPICS_PER_COMMAND_MAX + 1 };
        assert_eq!(decided(many), Err(want));
    }

    #[test]
    fn topics_are_deleted_by_name_and_by_id() {
        let mut image = cluster(1);
        create(&mut image, vec![topic(1, "a"), topic(2, "b"), topic(3, "c")]);
        let by_name = |name: &str| TopicRef::Name(name.to_owned());
        let by_id = |number| TopicRef::Id(TopicId([number; 16]));
        let topics =
            vec![by_name("a"), by_id(2), by_name("nothing"), by_id(77), by_name("c"), by_id(3)];
        let Answer::TopicsDeleted(results) = run(&mut image, &Command::DeleteTopics { topics })
        else {
            panic!("another answer");
        };
        let deleted =
            |number, text| Ok(DeletedTopic { id: TopicId([number; 16]), name: name(text) });
        let twice = Err(DeleteTopicError::DuplicateInRequest);
        let want = [
            deleted(1, "a"),
            deleted(2, "b"),
            Err(DeleteTopicError::UnknownName),
            Err(DeleteTopicError::UnknownId),
            twice.clone(),
            twice,
        ];
        assert_eq!(results, want);
        assert_eq!(image.topics().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["c"]);
        assert_eq!(image.partition_count(), 3);
    }

    #[test]
    fn partitions_are_added_behind_those_there_are() {
        let mut image = cluster(2);
        create(&mut image, vec![topic(1, "a")]);
        let mut ask = |total, assignments: Option<Vec<Vec<BrokerId>>>| {
            let topics = vec![MorePartitions { name: "a".into(), total, assignments }];
            match run(&mut image, &Command::CreatePartitions { topics, mode: Mode::Commit }) {
                Answer::PartitionsCreated(mut results) => results.remove(0),
                other => panic!("{other:?}"),
            }
        };
        let not_more = |total| CreatePartitionsError::NotMore { name: "a".into(), has: 3, total };
        assert_eq!(ask(3, None), Err(not_more(3)));
        assert_eq!(ask(-5, None), Err(not_more(-5)));
        let count = CreatePartitionsError::AssignmentCount { partitions: 2, assignments: 1 };
        assert_eq!(ask(5, Some(vec![vec![BrokerId(1)]])), Err(count));
        assert_eq!(ask(4, Some(vec![vec![BrokerId(1)]])), Ok(()));
        assert_eq!(ask(6, None), Ok(()));
        let topic = image.topic_by_name("a").unwrap();
        assert_eq!(topic.partitions.len(), 6);
        assert_eq!(topic.partitions[3].leader, Some(BrokerId(1)));
        assert_eq!(image.partition_count(), 6);
    }

    #[test]
    fn settings_change_one_by_one_and_are_checked_together() {
        let mut image = cluster(1);
        create(&mut image, vec![topic(1, "a")]);
        let mut ask = |key: &str, value: Option<&str>| {
            let operation = match value {
                Some(value) => ConfigOperation::Set(value.to_owned()),
                None => ConfigOperation::Delete,
            };
            let values = ConfigValues::Some(BTreeMap::from([(key.to_owned(), operation)]));
            let resource = ConfigTarget::Topic("a".into());
            let changes = vec![ConfigChange { resource, values }];
            match run(&mut image, &Command::SetConfigs { changes, mode: Mode::Commit }) {
                Answer::ConfigsSet(mut results) => results.remove(0),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(ask("known.1", Some("x")), Ok(()));
        assert_eq!(ask("known.2", Some("y")), Ok(()));
        assert_eq!(ask("known.1", None), Ok(()));
        assert_eq!(ask("known.absent", None), Ok(()));
        let bad = ConfigError::NoValue { name: "other".into() };
        assert_eq!(ask("other", Some("z")), Err(ConfigChangeError::BadConfig(bad)));
        let configs = &image.topic_by_name("a").unwrap().configs;
        assert_eq!(*configs, ConfigMap::from([("known.2".into(), "y".into())]));
    }

    #[test]
    fn lists_grow_and_shrink_and_all_settings_are_replaced_at_once() {
        let mut image = cluster(1);
        create(&mut image, vec![topic(1, "a")]);
        let mut ask = |values: ConfigValues| {
            let changes = vec![ConfigChange { resource: ConfigTarget::Topic("a".into()), values }];
            run(&mut image, &Command::SetConfigs { changes, mode: Mode::Commit });
            image.topic_by_name("a").unwrap().configs.clone()
        };
        let one = |operation| ConfigValues::Some(BTreeMap::from([("known".into(), operation)]));
        let append = |items: &str| {
            one(ConfigOperation::Append { items: items.into(), otherwise: "x".into() })
        };
        let subtract = |items: &str| {
            one(ConfigOperation::Subtract { items: items.into(), otherwise: "x,y".into() })
        };
        let has = |value: &str| ConfigMap::from([("known".into(), value.into())]);
        assert_eq!(ask(append("y,x,z")), has("x,y,z"), "over the default");
        assert_eq!(ask(append("z")), has("x,y,z"), "once");
        assert_eq!(ask(subtract("y,absent")), has("x,z"));
        assert_eq!(ask(one(ConfigOperation::Delete)), ConfigMap::new());
        assert_eq!(ask(subtract("y")), has("x"));
        let all = ConfigMap::from([("known.2".into(), "1".into())]);
        assert_eq!(ask(ConfigValues::All(all.clone())), all);
        let flood = (0..=CONFIGS_PER_RESOURCE_MAX).map(|n| (format!("known.{n}"), String::new()));
        assert_eq!(ask(ConfigValues::All(flood.collect())), all, "bounded");
        assert_eq!(ask(ConfigValues::All(ConfigMap::new())), ConfigMap::new());
    }

    #[test]
    fn producer_ids_are_given_out_once_and_to_current_brokers_alone() {
        let mut image = cluster(1);
        let epoch = image.broker(BrokerId(0)).unwrap().epoch;
        let command = Command::AllocateProducerIds { broker: BrokerId(0), broker_epoch: epoch };
        for first in [0, 1000, 2000].map(ProducerId) {
            let want = Answer::ProducerIds(ProducerIdBlock { first, count: 1000 });
            assert_eq!(run(&mut image, &command), want);
        }
        run(&mut image, &register(BrokerId(0), LastShutdown::Clean));
        let stale = decide(&image, &RULES, &command);
        assert!(matches!(stale, Err(CommandError::StaleBroker(_))), "{stale:?}");
    }

    #[test]
    fn an_unclean_restart_raises_the_epochs_it_leads() {
        let mut image = cluster(1);
        create(&mut image, vec![topic(1, "a")]);
        let before = image.broker(BrokerId(0)).unwrap().epoch;
        run(&mut image, &register(BrokerId(0), LastShutdown::Clean));
        assert!(image.broker(BrokerId(0)).unwrap().epoch > before);
        let epochs = |image: &MetadataImage| {
            let topic = image.topic_by_name("a").unwrap();
            topic.partitions.iter().map(|p| p.leader_epoch).collect::<Vec<_>>()
        };
        assert_eq!(epochs(&image), [LeaderEpoch(0); 3]);
        run(&mut image, &register(BrokerId(0), LastShutdown::Unclean));
        assert_eq!(epochs(&image), [LeaderEpoch(1); 3]);
    }

    #[test]
    fn a_cluster_keeps_its_first_id() {
        let image = cluster(1);
        let form = |id: &str| {
            let cluster_id = id.to_owned();
            decide(&image, &RULES, &Command::FormCluster { cluster_id, features: BTreeMap::new() })
        };
        assert_eq!(form("AAAAAAAAAAAAAAAAAAAAAA").unwrap().records, []);
        assert!(matches!(form("B"), Err(CommandError::ClusterIdMismatch { .. })));
    }
}
