//! Commands about the cluster and its brokers: formation, registration, producer ids.
//!
//! In:   a command's fields and the current image.
//! Out:  records and an answer, or a refusal.
//! Home: pure.
//!
//! A broker's epoch is above the index of every entry before its registration, so that a later
//! incarnation always has a greater one, whatever happened in between.
//!
//! Source: KIP-631 (broker epochs), KIP-730 (blocks of producer ids).

use std::collections::BTreeMap;
use std::fmt;

use crate::metadata::commands::{Answer, CommandError, Decision};
use crate::metadata::image::MetadataImage;
use crate::metadata::record::{BrokerRegistration, Endpoint, Record};
use crate::model::ids::{BrokerId, PartitionIndex, ProducerId};
use crate::model::offset::LeaderEpoch;

/// Producer ids in one block. Source: Kafka's `ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE`.
pub const PRODUCER_ID_BLOCK_COUNT: i64 = 1000;

/// A broker that starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterBroker {
    /// `node.id`.
    pub id: BrokerId,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Advertised addresses by listener name.
    pub endpoints: BTreeMap<String, Endpoint>,
    /// How its last run ended.
    pub last_shutdown: LastShutdown,
}

/// How the last run of a broker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastShutdown {
    /// It said that all its logs are complete, or it never ran.
    Clean,
    /// It may have lost what was never acknowledged as durable: every partition it leads gets a
    /// new leader epoch, so that a reader of lost records can notice.
    Unclean,
}

/// Producer ids that one broker alone may give out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// The first.
    pub first: ProducerId,
    /// How many from there, at least 1.
    pub count: i64,
}

/// A broker that speaks for a registration that is not the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaleBroker {
    /// The broker.
    pub broker: BrokerId,
    /// The epoch it named.
    pub epoch: i64,
    /// The epoch it has; `None` if it is not registered.
    pub registered: Option<i64>,
}

impl fmt::Display for StaleBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.registered {
            Some(epoch) => write!(
                f,
                "broker {} named epoch {} but has epoch {epoch}",
                self.broker.0, self.epoch
            ),
            None => write!(f, "broker {} is not registered", self.broker.0),
        }
    }
}

impl MetadataImage {
    pub(super) fn form_cluster(
        &self,
        cluster_id: &str,
        features: &BTreeMap<String, i16>,
    ) -> Result<Decision, CommandError> {
        let mut records = Vec::new();
        match self.cluster_id() {
            None => records.push(Record::ClusterFormed { cluster_id: cluster_id.to_owned() }),
            // Formed before: its levels are its operators' to change.
            Some(has) if has == cluster_id => {
                return Ok(Decision { records, answer: Answer::ClusterFormed });
            }
            Some(has) => {
                return Err(CommandError::ClusterIdMismatch {
                    has: has.to_owned(),
                    asked: cluster_id.to_owned(),
                });
            }
        }
        for (name, &level) in features {
            if self.features().get(name).copied().unwrap_or(0) != level {
                records.push(Record::FeatureLevel { name: name.clone(), level });
            }
        }
        Ok(Decision { records, answer: Answer::ClusterFormed })
    }

    pub(super) fn register_broker(&self, broker: &RegisterBroker) -> Decision {
        let last = self.broker(broker.id).map_or(0, |has| has.epoch);
        let entry = i64::try_from(self.applied_index()).expect("an index is below 2^63") + 1;
        let epoch = entry.max(last + 1);
        let mut records = vec![Record::BrokerRegistered(BrokerRegistration {
            id: broker.id,
            epoch,
            rack: broker.rack.clone(),
            endpoints: broker.endpoints.clone(),
        })];
        records.extend(self.missing_levels());
        if broker.last_shutdown == LastShutdown::Unclean {
            self.raise_epochs_led_by(broker.id, &mut records);
        }
        Decision { records, answer: Answer::BrokerRegistered { broker_epoch: epoch } }
    }

    fn raise_epochs_led_by(&self, id: BrokerId, records: &mut Vec<Record>) {
        for topic in self.topics() {
            for (partition, state) in (0..).map(PartitionIndex).zip(&topic.partitions) {
                if state.leader == Some(id) {
                    let mut state = state.clone();
                    state.leader_epoch = LeaderEpoch(next_epoch(state.leader_epoch.0));
                    state.partition_epoch = next_epoch(state.partition_epoch);
                    records.push(Record::PartitionChanged { topic: topic.id, partition, state });
                }
            }
        }
    }

    pub(super) fn allocate_producer_ids(
        &self,
        broker: BrokerId,
        broker_epoch: i64,
    ) -> Result<Decision, CommandError> {
        let registered = self.broker(broker).map(|has| has.epoch);
        if registered != Some(broker_epoch) {
            let stale = StaleBroker { broker, epoch: broker_epoch, registered };
            return Err(CommandError::StaleBroker(stale));
        }
        let first = self.next_producer_id();
        let Some(next_producer_id) = first.checked_add(PRODUCER_ID_BLOCK_COUNT) else {
            return Err(CommandError::ProducerIdsExhausted);
        };
        let block = ProducerIdBlock { first: ProducerId(first), count: PRODUCER_ID_BLOCK_COUNT };
        Ok(Decision {
            records: vec![Record::ProducerIdsAllocated { broker, broker_epoch, next_producer_id }],
            answer: Answer::ProducerIds(block),
        })
    }
}

/// The epoch after `epoch`. 2^31 changes of one partition are beyond any cluster's life.
fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).expect("an epoch passed 2^31")
}
