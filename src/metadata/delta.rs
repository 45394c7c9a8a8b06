//! What differs between two images: what the publisher tells the shards.
//!
//! In:   an older and a newer image.
//! Out:  topics and partitions that appeared, went or changed.
//! Home: pure.
//!
//! Unchanged topics are recognised by their shared `Arc`, so a delta costs one pointer
//! comparison a topic, and a look at the partitions only where something changed.
//!
//! A topic deleted and created anew under its old name has another id: it is in `deleted`
//! under the old id and in `created` under the new one.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::metadata::image::{MetadataImage, TopicImage};
use crate::metadata::record::PartitionState;
use crate::model::ids::{PartitionIndex, TopicId, TopicPartition};

/// The differences between two images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Topics only the newer image has, by id.
    pub created: Vec<Arc<TopicImage>>,
    /// Topics only the older image has, by id.
    pub deleted: Vec<Arc<TopicImage>>,
    /// Topics whose partitions or settings changed, as they are now, by id.
    pub changed: Vec<ChangedTopic>,
    /// Whether brokers came or changed.
    pub brokers_changed: bool,
    /// Whether settings of brokers changed.
    pub broker_configs_changed: bool,
    /// Whether settings of groups changed.
    pub group_configs_changed: bool,
}

/// A topic that both images have and that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedTopic {
    /// The topic as it is now.
    pub topic: Arc<TopicImage>,
    /// Whether its overridden settings changed.
    pub configs_changed: bool,
    /// Partitions that are new or whose state changed, ascending.
    pub partitions: Vec<PartitionIndex>,
}

impl Delta {
    /// What changed from `old` to `new`. Topics never lose partitions but by deletion.
    pub fn between(old: &MetadataImage, new: &MetadataImage) -> Delta {
        let mut delta = Delta {
            brokers_changed: old.brokers() != new.brokers(),
            broker_configs_changed: !old.same_broker_configs(new),
            group_configs_changed: !old.same_group_configs(new),
            ..Delta::default()
        };
        if old.shares_topics_with(new) {
            return delta;
        }
        let before: &BTreeMap<TopicId, Arc<TopicImage>> = old.topics_by_id();
        for (id, topic) in new.topics_by_id() {
            match before.get(id) {
                None => delta.created.push(topic.clone()),
                Some(was) if Arc::ptr_eq(was, topic) || was == topic => {}
                Some(was) => delta.changed.push(changed(was, topic)),
            }
        }
        let gone = before.iter().filter(|(id, _)| new.topic_by_id(**id).is_none());
        delta.deleted = gone.map(|(_, topic)| topic.clone()).collect();
        delta
    }

    /// Whether nothing that a shard could care about changed.
    pub fn is_empty(&self) -> bool {
        *self == Delta::default()
    }

    /// Every partition that is new or changed, with its state now.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicPartition, &PartitionState)> {
        let at = |topic: TopicId, partition| TopicPartition { topic, partition };
        let created = self.created.iter().flat_map(move |topic| {
            let indexed = (0..).map(PartitionIndex).zip(&topic.partitions);
            indexed.map(move |(partition, state)| (at(topic.id, partition), state))
        });
        let changed = self.changed.iter().flat_map(move |change| {
            change.partitions.iter().map(move |&partition| {
                let state = change.topic.partition(partition).expect("a changed one is there");
                (at(change.topic.id, partition), state)
            })
        });
        created.chain(changed)
    }
}

fn changed(was: &TopicImage, topic: &Arc<TopicImage>) -> ChangedTopic {
    assert!(was.partitions.len() <= topic.partitions.len(), "partitions are never taken away");
    let differs = |(partition, state): &(PartitionIndex, &PartitionState)| {
        was.partition(*partition) != Some(*state)
    };
    let indexed = (0..).map(PartitionIndex).zip(&topic.partitions);
    ChangedTopic {
        topic: topic.clone(),
        configs_changed: was.configs != topic.configs,
        partitions: indexed.filter(differs).map(|(partition, _)| partition).collect(),
    }
}
