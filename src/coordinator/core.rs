//! What the driver of a coordinator needs of a core, and how it reaches both of them.
//!
//! In:   the cores of groups and transactions, which know nothing of each other.
//! Out:  [`Core`]: replay, requests' steps, time; all the same to `load`, `running` and
//!       `coordinators`.
//! Home: pure.

use std::sync::Arc;

use crate::group;
use crate::group::commit::DeletedTopic;
use crate::group::coordinator::GroupCoordinator;
use crate::group::ids::RequestId;
use crate::group::settings::GroupSettings;
use crate::metadata::features::TRANSACTION_VERSION;
use crate::metadata::image::MetadataImage;
use crate::model::ids::ProducerId;
use crate::model::time::Timestamp;
use crate::protocol::records::{Encoded, RecordError};
use crate::record::control::Outcome;
use crate::transaction;
use crate::transaction::codec::DecodeError;
use crate::transaction::coordinator::TransactionCoordinator;
use crate::transaction::ids::TransactionLevel;
use crate::transaction::settings::TransactionSettings;
use crate::transaction::step::Markers;

use super::call::Answer;
use super::topics::{ImageGroups, ImageTopics};

/// A record of a known type that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRecord;

/// A step's consequences, as the driver takes them.
pub struct Consequences<A> {
    /// To append, in this order.
    pub records: Vec<Encoded>,
    /// Whether they are to be one batch, which they fit.
    pub whole: bool,
    /// To perform, in this order, once the records are durable.
    pub effects: Vec<Effect<A>>,
}

/// Something for the driver to do.
pub enum Effect<A> {
    /// Answer a parked request.
    Answer(RequestId, Answer),
    /// What the core's own driver does.
    Act(A),
}

/// The core of a coordinator: it changes its state together with records, and replays them.
pub trait Core: Sized + 'static {
    /// What it is made with.
    type Settings: Clone + 'static;
    /// What a step asks for.
    type Step: Default;
    /// What it asks for beside answers.
    type Action: 'static;

    /// A core without state, to which the log is replayed next.
    fn new(settings: Self::Settings) -> Self;

    /// Applies a record of the log; `producer` is its batch's, if that is transactional. A type
    /// of record that is not known changes nothing. Errors: [`BadRecord`].
    fn replay_record(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        producer: Option<ProducerId>,
    ) -> Result<(), BadRecord>;

    /// Applies the end of a producer's transaction in the log.
    fn replay_end(&mut self, producer: ProducerId, outcome: Outcome);

    /// Takes over metadata, before requests come and whenever it changes.
    fn set_image(&mut self, image: &Arc<MetadataImage>);

    /// These topics are gone.
    fn topics_deleted(&mut self, deleted: &[DeletedTopic], step: &mut Self::Step);

    /// The log has been replayed, and requests may come.
    fn loaded(&mut self, now: Timestamp, step: &mut Self::Step);

    /// When [`Core::tick`] has something to do.
    fn next_deadline(&self) -> Option<Timestamp>;

    /// Does what has become due; what is left has a deadline that is not in the future.
    fn tick(&mut self, now: Timestamp, step: &mut Self::Step);

    /// The coordinator ends: answers what is parked. Nothing else follows.
    fn unload(&mut self, step: &mut Self::Step);

    /// What a step comes to.
    fn consequences(&self, step: Self::Step) -> Consequences<Self::Action>;
}

/// Groups ask for nothing but answers.
#[derive(Clone, Copy, Debug)]
pub enum NoAction {}

impl Core for GroupCoordinator {
    type Settings = GroupSettings;
    type Step = group::step::Step;
    type Action = NoAction;

    fn new(settings: GroupSettings) -> GroupCoordinator {
        GroupCoordinator::new(settings)
    }

    fn replay_record(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        producer: Option<ProducerId>,
    ) -> Result<(), BadRecord> {
        match group::codec::decode(key, value) {
            Ok(Some(record)) => self.replay(&record, producer),
            Ok(None) => {}
            // Of a later Kafka, or of features that are not here: skipped, as Kafka does.
            Err(RecordError::UnknownType { .. }) => {}
            Err(RecordError::Malformed(_)) => return Err(BadRecord),
        }
        Ok(())
    }

    fn replay_end(&mut self, producer: ProducerId, outcome: Outcome) {
        self.replay_end_transaction(producer, outcome == Outcome::Commit);
    }

    fn set_image(&mut self, image: &Arc<MetadataImage>) {
        self.set_topics(Arc::new(ImageTopics(Arc::clone(image))));
        self.set_own_settings(Arc::new(ImageGroups(Arc::clone(image))));
    }

    fn topics_deleted(&mut self, deleted: &[DeletedTopic], step: &mut group::step::Step) {
        self.on_topics_deleted(deleted, step);
    }

    fn loaded(&mut self, now: Timestamp, step: &mut group::step::Step) {
        GroupCoordinator::loaded(self, now, step);
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        GroupCoordinator::next_deadline(self)
    }

    fn tick(&mut self, now: Timestamp, step: &mut group::step::Step) {
        GroupCoordinator::tick(self, now, step);
    }

    fn unload(&mut self, step: &mut group::step::Step) {
        GroupCoordinator::unload(self, step);
    }

    fn consequences(&self, step: group::step::Step) -> Consequences<NoAction> {
        let encode = |record| group::codec::encode(record).expect("the core checks names");
        let answer = |effect| match effect {
            group::step::Effect::Reply { request, reply } => {
                Effect::Answer(request, Box::new(reply) as Answer)
            }
        };
        Consequences {
            records: step.records.iter().map(encode).collect(),
            whole: step.whole,
            effects: step.effects.into_iter().map(answer).collect(),
        }
    }
}

impl Core for TransactionCoordinator {
    type Settings = TransactionSettings;
    type Step = transaction::step::Step;
    type Action = Markers;

    fn new(settings: TransactionSettings) -> TransactionCoordinator {
        TransactionCoordinator::new(settings)
    }

    fn replay_record(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        _producer: Option<ProducerId>,
    ) -> Result<(), BadRecord> {
        match transaction::codec::decode(key, value) {
            Ok(record) => self.replay(&record),
            Err(DecodeError::Bytes(RecordError::UnknownType { .. })) => {}
            Err(
                DecodeError::Bytes(RecordError::Malformed(_)) | DecodeError::UnknownState { .. },
            ) => {
                return Err(BadRecord);
            }
        }
        Ok(())
    }

    /// No transaction writes to this topic: a marker says nothing here.
    fn replay_end(&mut self, _producer: ProducerId, _outcome: Outcome) {}

    fn set_image(&mut self, image: &Arc<MetadataImage>) {
        let level = image.features().get(TRANSACTION_VERSION).copied().unwrap_or(0);
        self.set_metadata(TransactionLevel::from_level(level), image.applied_index());
    }

    /// Their markers are taken for written when it comes to that.
    fn topics_deleted(&mut self, _deleted: &[DeletedTopic], _step: &mut transaction::step::Step) {}

    fn loaded(&mut self, now: Timestamp, step: &mut transaction::step::Step) {
        TransactionCoordinator::loaded(self, now, step);
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        TransactionCoordinator::next_deadline(self)
    }

    fn tick(&mut self, now: Timestamp, step: &mut transaction::step::Step) {
        TransactionCoordinator::tick(self, now, step);
    }

    /// Nothing is ever parked.
    fn unload(&mut self, _step: &mut transaction::step::Step) {}

    fn consequences(&self, step: transaction::step::Step) -> Consequences<Markers> {
        let version = self.version();
        let encode = |record| transaction::codec::encode(record, version).expect("ids are checked");
        let act = |effect| match effect {
            transaction::step::Effect::WriteMarkers(markers) => Effect::Act(markers),
        };
        Consequences {
            records: step.records.iter().map(encode).collect(),
            whole: false,
            effects: step.effects.into_iter().map(act).collect(),
        }
    }
}
