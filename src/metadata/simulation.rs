//! Random commands against a naive model: what the controller decides, and what images hold.
//!
//! In:   seeds.
//! Out:  a panic that names the seed, where controller and model part.
//! Home: tests.
//!
//! The model knows topics as plain maps and says for each command what must come of it. Each
//! step also holds: decided records apply (C1), records and snapshot survive their encoding, and
//! a mirror that is told nothing but deltas has the same partitions as the image.

use std::collections::BTreeMap;

use crate::metadata::alter::{DeleteTopicError, MorePartitions, TopicRef};
use crate::metadata::brokers::{LastShutdown, PRODUCER_ID_BLOCK_COUNT, RegisterBroker};
use crate::metadata::codec::{decode_image, decode_records, encode_image, encode_records};
use crate::metadata::commands::{Answer, Command, CommandError, Mode, Rules, decide};
use crate::metadata::create_topics::{CreateTopicError, NewTopic};
use crate::metadata::delta::Delta;
use crate::metadata::image::{ConfigMap, MetadataImage};
use crate::metadata::record::PartitionState;
use crate::model::ids::{BrokerId, TopicId, TopicPartition};
use crate::testing::prng::Prng;
use crate::testing::seeds::seeds;

const NAMES: [&str; 7] = ["a", "b", "a.b", "a_b", "..", "", "zebra"];
const BROKERS_MAX: i32 = 4;

/// What the model knows.
#[derive(Default)]
struct Model {
    /// By name: id and partitions.
    topics: BTreeMap<String, (TopicId, usize)>,
    brokers: BTreeMap<BrokerId, i64>,
    next_producer_id: i64,
}

/// Counts that show a run was not vacuous.
#[derive(Default)]
struct Seen {
    created: usize,
    deleted: usize,
    refused: usize,
    grown: usize,
    epochs_raised: usize,
}

struct World {
    prng: Prng,
    image: MetadataImage,
    model: Model,
    /// Told by deltas alone.
    mirror: BTreeMap<TopicPartition, PartitionState>,
    seen: Seen,
}

fn rules() -> Rules<'static> {
    Rules {
        num_partitions: 2,
        default_replication_factor: 1,
        check_topic_configs: &|_| Ok(()),
        check_broker_configs: &|_| Ok(()),
        check_group_configs: &|_| Ok(()),
    }
}

impl World {
    fn new(seed: u64) -> World {
        World {
            prng: Prng::new(seed),
            image: MetadataImage::empty(),
            model: Model::default(),
            mirror: BTreeMap::new(),
            seen: Seen::default(),
        }
    }

    /// Decides, holds the encodings, applies; gives the answer.
    fn execute(&mut self, command: &Command) -> Result<Answer, CommandError> {
        let decision = decide(&self.image, &rules(), command)?;
        if decision.records.is_empty() {
            return Ok(decision.answer);
        }
        let decoded = decode_records(&encode_records(&decision.records));
        assert_eq!(decoded.as_ref(), Ok(&decision.records));
        let index = self.image.applied_index() + 1 + self.prng.below(3);
        let next = self.image.apply_entry(index, &decision.records).expect("C1");
        let snapshot = encode_image(&next);
        assert_eq!(decode_image(&snapshot).as_ref(), Ok(&next));
        let delta = Delta::between(&self.image, &next);
        assert!(Delta::between(&next, &next).is_empty());
        for topic in &delta.deleted {
            self.mirror.retain(|at, _| at.topic != topic.id);
        }
        for (at, state) in delta.partitions() {
            if let Some(was) = self.mirror.insert(at, state.clone()) {
                assert!(was.leader_epoch <= state.leader_epoch, "I3");
                self.seen.epochs_raised += usize::from(was.leader_epoch < state.leader_epoch);
            }
        }
        self.image = next;
        Ok(decision.answer)
    }

    fn step(&mut self) {
        match self.prng.below(10) {
            0 => self.register(),
            1..=4 => self.create(),
            5 | 6 => self.delete(),
            7 => self.grow(),
            _ => self.allocate(),
        }
        self.check();
    }

    fn broker(&mut self) -> BrokerId {
        BrokerId(i32::try_from(self.prng.below(BROKERS_MAX.unsigned_abs().into())).unwrap())
    }

    fn name(&mut self) -> String {
        NAMES[self.prng.index(NAMES.len())].to_owned()
    }

    fn register(&mut self) {
        let id = self.broker();
        let unclean = self.prng.chance(50);
        let last_shutdown = if unclean { LastShutdown::Unclean } else { LastShutdown::Clean };
        let endpoints = BTreeMap::new();
        let broker = RegisterBroker { id, rack: None, endpoints, last_shutdown };
        let answer = self.execute(&Command::RegisterBroker(broker)).unwrap();
        let Answer::BrokerRegistered { broker_epoch } = answer else { panic!("{answer:?}") };
        let before = self.model.brokers.insert(id, broker_epoch);
        assert!(before.is_none_or(|before| before < broker_epoch), "a broker's epochs grow");
    }

    fn create(&mut self) {
        let topic = NewTopic {
            id: TopicId(self.prng.bytes(16).try_into().unwrap()),
            name: self.name(),
            num_partitions: i32::try_from(self.prng.below(5)).unwrap() - 1,
            replication_factor: i16::try_from(self.prng.below(4)).unwrap() - 1,
            assignments: Vec::new(),
            configs: ConfigMap::from([("k".to_owned(), "v".to_owned())]),
            valueless: Vec::new(),
        };
        let mode = if self.prng.chance(20) { Mode::ValidateOnly } else { Mode::Commit };
        let command = Command::CreateTopics { topics: vec![topic.clone()], mode };
        let answer = self.execute(&command).unwrap();
        let Answer::TopicsCreated(mut results) = answer else { panic!("{answer:?}") };
        let result = results.remove(0);
        let plain = topic.name.replace('.', "_");
        let replicas = match topic.replication_factor {
            -1 => 1,
            n => usize::try_from(n).unwrap(),
        };
        let collides = |name: &String| name.replace('.', "_") == plain;
        match &result {
            Err(CreateTopicError::BadName(_)) => assert!(["", ".."].contains(&&*topic.name)),
            Err(CreateTopicError::Exists { .. }) => {
                assert!(self.model.topics.contains_key(&topic.name));
            }
            Err(CreateTopicError::Collides { .. }) => {
                assert!(self.model.topics.keys().any(collides));
            }
            Err(CreateTopicError::BadReplicationFactor { .. }) => assert_eq!(replicas, 0),
            Err(CreateTopicError::BadPartitions { .. }) => assert_eq!(topic.num_partitions, 0),
            Err(CreateTopicError::TooFewBrokers { .. }) => {
                assert!(self.model.brokers.len() < replicas);
            }
            Err(other) => panic!("{other:?}"),
            Ok(created) => {
                assert!(!self.model.topics.keys().any(collides));
                assert!((1..=self.model.brokers.len()).contains(&replicas));
                let partitions = match topic.num_partitions {
                    -1 => 2,
                    n => usize::try_from(n).unwrap(),
                };
                assert_eq!(usize::try_from(created.num_partitions), Ok(partitions));
                if mode == Mode::Commit {
                    self.model.topics.insert(topic.name, (topic.id, partitions));
                    self.seen.created += 1;
                }
            }
        }
        self.seen.refused += usize::from(result.is_err());
    }

    fn delete(&mut self) {
        let name = self.name();
        let known = self.model.topics.get(&name).copied();
        let by_id = self.prng.chance(50);
        let topic = match known {
            Some((id, _)) if by_id => TopicRef::Id(id),
            None if by_id => TopicRef::Id(TopicId([1; 16])),
            _ => TopicRef::Name(name.clone()),
        };
        let answer = self.execute(&Command::DeleteTopics { topics: vec![topic] }).unwrap();
        let Answer::TopicsDeleted(results) = answer else { panic!("{answer:?}") };
        match (known, results[0].clone()) {
            (Some((id, _)), Ok(deleted)) => {
                assert_eq!(deleted.id, id);
                self.model.topics.remove(&name);
                self.seen.deleted += 1;
            }
            (None, Err(DeleteTopicError::UnknownId)) => assert!(by_id),
            (None, Err(DeleteTopicError::UnknownName)) => assert!(!by_id),
            (known, result) => panic!("{known:?} gave {result:?}"),
        }
    }

    fn grow(&mut self) {
        let name = self.name();
        let total = i32::try_from(self.prng.below(8)).unwrap();
        let more = MorePartitions { name: name.clone(), total, assignments: None };
        let command = Command::CreatePartitions { topics: vec![more], mode: Mode::Commit };
        let answer = self.execute(&command).unwrap();
        let Answer::PartitionsCreated(results) = answer else { panic!("{answer:?}") };
        let total = usize::try_from(total).unwrap();
        let topic = self.model.topics.get_mut(&name);
        let may = topic.as_ref().is_some_and(|(_, partitions)| *partitions < total);
        assert_eq!(results[0].is_ok(), may, "{results:?}");
        if let Some((_, partitions)) = topic.filter(|_| may) {
            *partitions = total;
            self.seen.grown += 1;
        }
    }

    fn allocate(&mut self) {
        let broker = self.broker();
        let broker_epoch = self.model.brokers.get(&broker).copied().unwrap_or(0);
        match self.execute(&Command::AllocateProducerIds { broker, broker_epoch }) {
            Ok(Answer::ProducerIds(block)) => {
                assert_eq!(block.first.0, self.model.next_producer_id, "I4");
                self.model.next_producer_id += PRODUCER_ID_BLOCK_COUNT;
            }
            Err(CommandError::StaleBroker(_)) => {
                assert!(!self.model.brokers.contains_key(&broker));
            }
            other => panic!("{other:?}"),
        }
    }

    /// Image, model and mirror agree.
    fn check(&self) {
        let known = |topic: &std::sync::Arc<crate::metadata::image::TopicImage>| {
            (topic.name.to_string(), (topic.id, topic.partitions.len()))
        };
        let topics: BTreeMap<_, _> = self.image.topics().map(known).collect();
        assert_eq!(topics, self.model.topics);
        let partitions: usize = topics.values().map(|(_, partitions)| partitions).sum();
        assert_eq!(self.image.partition_count(), partitions as u64);
        assert_eq!(self.mirror.len(), partitions);
        for (at, state) in &self.mirror {
            assert_eq!(self.image.partition(*at), Some(state));
            assert!(state.is_consistent());
        }
        for (name, (id, _)) in &self.model.topics {
            assert_eq!(self.image.topic_by_name(name).unwrap().id, *id, "I1");
            assert_eq!(self.image.topic_by_id(*id).unwrap().name.as_str(), name, "I1");
        }
        assert_eq!(self.image.next_producer_id(), self.model.next_producer_id);
    }
}

#[test]
fn random_commands_do_what_the_model_says() {
    let mut all = Seen::default();
    for seed in seeds(100) {
        let mut world = World::new(seed.0);
        for _ in 0..60 {
            world.step();
        }
        all.created += world.seen.created;
        all.deleted += world.seen.deleted;
        all.refused += world.seen.refused;
        all.grown += world.seen.grown;
        all.epochs_raised += world.seen.epochs_raised;
    }
    let counts = [all.created, all.deleted, all.refused, all.grown, all.epochs_raised];
    assert!(counts.iter().all(|&count| count > 0), "vacuous: {counts:?}");
}
