//! A coordinator with its log, for tests of the core.

use crate::model::ids::{PartitionIndex, ProducerEpoch, ProducerId};
use crate::model::time::Timestamp;
use crate::model::topic_name::TopicName;
use crate::protocol::records::Encoded;
use crate::record::control::Outcome;
use crate::transaction::codec::{decode, encode};
use crate::transaction::coordinator::TransactionCoordinator;
use crate::transaction::end::EndRequest;
use crate::transaction::ids::{Identity, NamedPartition, TransactionLevel, TransactionalId};
use crate::transaction::partitions::{AddRequest, TransactionError};
use crate::transaction::producer::{InitError, InitRequest};
use crate::transaction::record::TransactionValue;
use crate::transaction::settings::TransactionSettings;
use crate::transaction::step::{Effect, Markers, Step};

/// How long a transaction may be open in tests, in milliseconds.
pub const TIMEOUT_MS: i32 = 30_000;

/// A core, all that it has written, and the markers that it has asked for.
#[derive(Debug)]
pub struct Bench {
    /// The core.
    pub core: TransactionCoordinator,
    /// Milliseconds.
    pub now: i64,
    /// All that was written, as bytes.
    pub log: Vec<Encoded>,
    /// Asked for, each with the length of the log that has to be durable before.
    pub markers: Vec<(usize, Markers)>,
    /// The next producer id that the controller has.
    pub next_id: i64,
    settings: TransactionSettings,
    level: TransactionLevel,
}

impl Bench {
    /// An empty coordinator of a cluster at `level`.
    pub fn new(level: TransactionLevel) -> Bench {
        let settings = TransactionSettings::default();
        let core = TransactionCoordinator::new(settings.clone());
        let (log, markers) = (Vec::new(), Vec::new());
        let mut bench =
            Bench { core, now: 1_000_000, log, markers, next_id: 1_000, settings, level };
        bench.load();
        bench
    }

    /// Runs a step and writes down what it says.
    pub fn run<R>(
        &mut self,
        step: impl FnOnce(&mut TransactionCoordinator, Timestamp, &mut Step) -> R,
    ) -> R {
        let mut consequences = Step::default();
        let result = step(&mut self.core, Timestamp(self.now), &mut consequences);
        self.core.assert_invariants();
        let Step { records, effects } = consequences;
        let encoded = records.iter().map(|record| encode(record, self.level).expect("it fits"));
        self.log.extend(encoded);
        for Effect::WriteMarkers(markers) in effects {
            self.markers.push((self.log.len(), markers));
        }
        result
    }

    /// A producer's identity, as a client asks for it.
    pub fn init(&mut self, id: &str, expected: Option<Identity>) -> Result<Identity, InitError> {
        let request = InitRequest { id: id.into(), timeout_ms: TIMEOUT_MS, expected };
        let first = self.run(|core, now, step| core.init_producer_id(now, &request, None, step));
        first.unwrap_or_else(|_| {
            let fresh = self.fresh();
            let second =
                self.run(|core, now, step| core.init_producer_id(now, &request, fresh, step));
            second.expect("it has a new id")
        })
    }

    fn fresh(&mut self) -> Option<ProducerId> {
        self.next_id += 1;
        Some(ProducerId(self.next_id))
    }

    /// Adds partition `index` of topic `t`.
    pub fn add(
        &mut self,
        id: &str,
        producer: Identity,
        index: i32,
        version: TransactionLevel,
    ) -> Result<(), TransactionError> {
        let request = AddRequest {
            id: id.into(),
            producer,
            partitions: vec![partition(index)],
            version,
            metadata_index: 0,
        };
        self.run(|core, now, step| core.add_partitions(now, &request, step))
    }

    /// Ends a transaction.
    pub fn end(
        &mut self,
        id: &str,
        producer: Identity,
        outcome: Outcome,
        version: TransactionLevel,
    ) -> Result<Identity, TransactionError> {
        let request = EndRequest { id: id.into(), producer, outcome, version };
        let first = self.run(|core, now, step| core.end_transaction(now, &request, None, step));
        first.unwrap_or_else(|_| {
            let fresh = self.fresh();
            let second =
                self.run(|core, now, step| core.end_transaction(now, &request, fresh, step));
            second.expect("it has a new id")
        })
    }

    /// Tells the core that all markers asked for so far are written.
    pub fn write_all_markers(&mut self) {
        for (_, markers) in std::mem::take(&mut self.markers) {
            self.run(|core, now, step| {
                core.markers_written(now, &markers.id, markers.producer, step);
            });
        }
    }

    /// Lets `ms` milliseconds pass, with every tick at its time.
    pub fn pass(&mut self, ms: i64) {
        let until = self.now + ms;
        while let Some(deadline) = self.core.next_deadline().filter(|at| at.0 <= until) {
            self.now = self.now.max(deadline.0);
            self.run(TransactionCoordinator::tick);
        }
        self.now = until;
    }

    /// A crash that loses all but the first `durable` records.
    pub fn crash(&mut self, durable: usize) {
        self.log.truncate(durable);
        self.markers.clear();
        self.load();
    }

    fn load(&mut self) {
        let mut core = TransactionCoordinator::new(self.settings.clone());
        for Encoded { key, value } in &self.log {
            core.replay(&decode(key, value.as_deref()).expect("it was written here"));
        }
        core.set_metadata(self.level, 0);
        self.core = core;
        self.run(TransactionCoordinator::loaded);
    }

    /// How an id stands.
    pub fn value(&self, id: &str) -> TransactionValue {
        self.core.describe(&TransactionalId::from(id)).expect("it is known")
    }
}

/// Partition `index` of topic `t`.
pub fn partition(index: i32) -> NamedPartition {
    let topic = TopicName::parse("t").expect("legal");
    NamedPartition { topic, partition: PartitionIndex(index) }
}

/// A producer's identity.
pub fn identity(id: i64, epoch: i16) -> Identity {
    Identity { id: ProducerId(id), epoch: ProducerEpoch(epoch) }
}
