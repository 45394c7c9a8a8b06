//! From a group's name to its coordinator, wherever on this broker's shards that is.
//!
//! In:   handlers' work on the core.
//! Out:  what it returned, once what it rests on is durable.
//! Home: the connection's shard.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::coordinator::call::{Call, Unavailable};
use crate::group::coordinator::GroupCoordinator;
use crate::group::ids::{GroupId, RequestId};
use crate::group::step::{Reply, Step};
use crate::metadata::image::TopicImage;
use crate::model::ids::TopicPartition;
use crate::model::time::Timestamp;

use super::context::Shard;
use super::coordinators::{Asked, coordinator_partition};

/// The topic whose partitions coordinate the groups.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// The groups of one coordinator: their places among all that are asked for, and their items.
type Part<T> = (Vec<usize>, Vec<(GroupId, T)>);

impl Shard {
    /// Runs `work` on the core that coordinates `group`, and returns what it returned when all
    /// that was appended before is durable. Errors: [`Unavailable`].
    pub async fn ask_group<R: Send + 'static>(
        &self,
        group: &str,
        work: impl FnOnce(&mut GroupCoordinator, Timestamp, &mut Step) -> R + Send + 'static,
    ) -> Result<R, Unavailable> {
        self.begin_at_group(group, work).await.answer().await
    }

    /// As [`Shard::ask_group`], but returns when the coordinator's shard has the question: what
    /// is asked later comes later.
    pub async fn begin_at_group<R: Send + 'static>(
        &self,
        group: &str,
        work: impl FnOnce(&mut GroupCoordinator, Timestamp, &mut Step) -> R + Send + 'static,
    ) -> Asked<R> {
        match self.group_partition(group) {
            Some(partition) => self.begin_at_coordinator(partition, work).await,
            None => Asked::nobody(),
        }
    }

    /// Runs `work` for each of these groups on the core that coordinates it, all cores at once.
    /// One answer a group, in their order. Errors of each: [`Unavailable`].
    pub async fn ask_groups<T: Send + 'static, R: Send + 'static>(
        &self,
        groups: Vec<(GroupId, T)>,
        work: impl Fn(&mut GroupCoordinator, &GroupId, T, &mut Step) -> R + Clone + Send + 'static,
    ) -> Vec<Result<R, Unavailable>> {
        let mut answers: Vec<_> = groups.iter().map(|_| Err(Unavailable::NotHere)).collect();
        let mut parts: BTreeMap<TopicPartition, Part<T>> = BTreeMap::new();
        for (place, (group, item)) in groups.into_iter().enumerate() {
            if let Some(partition) = self.group_partition(group.as_str()) {
                let (places, items) = parts.entry(partition).or_default();
                places.push(place);
                items.push((group, item));
            }
        }
        let mut asked = Vec::with_capacity(parts.len());
        for (partition, (places, items)) in parts {
            let work = work.clone();
            let one_by_one = move |core: &mut GroupCoordinator, _, step: &mut Step| -> Vec<R> {
                let items = items.into_iter();
                items.map(|(group, item)| work(core, &group, item, step)).collect()
            };
            asked.push((places, self.begin_at_coordinator(partition, one_by_one).await));
        }
        for (places, asked) in asked {
            match asked.answer().await {
                Ok(results) => {
                    assert!(results.len() == places.len(), "one answer a group");
                    for (place, result) in places.into_iter().zip(results) {
                        answers[place] = Ok(result);
                    }
                }
                Err(unavailable) => places.iter().for_each(|at| answers[*at] = Err(unavailable)),
            }
        }
        answers
    }

    /// Runs `work` on the core that coordinates `group`; the answer may be parked there.
    /// Errors: [`Unavailable`].
    pub async fn park_at_group(
        &self,
        group: &str,
        work: impl FnOnce(&mut GroupCoordinator, Timestamp, RequestId, &mut Step) + Send + 'static,
    ) -> Result<Reply, Unavailable> {
        let partition = self.group_partition(group).ok_or(Unavailable::NotHere)?;
        let asked: Asked<Reply> = self.submit(partition, Call::Parked(Box::new(work))).await;
        asked.answer().await
    }

    /// Every partition that coordinates groups; none before the first group.
    pub fn group_partitions(&self) -> Vec<TopicPartition> {
        self.coordinator_partitions(OFFSETS_TOPIC)
    }

    /// The partition that coordinates `group`; none before the topic is made.
    pub fn group_partition(&self, group: &str) -> Option<TopicPartition> {
        let image = self.image();
        let topic: &Arc<TopicImage> = image.topic_by_name(OFFSETS_TOPIC)?;
        Some(coordinator_partition(topic, group))
    }
}
