//! From a group's name to its coordinator, wherever on this broker's shards that is.
//!
//! In:   handlers' work on the core.
//! Out:  what it returned, once what it rests on is durable.
//! Home: the connection's shard.
//!
//! Source: protocol.md 2.5 P80 (a group's partition is the hash that Java has for its name).

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::coordinator::call::{CoordinatorRequest, GroupCall, Unavailable};
use crate::group::coordinator::GroupCoordinator;
use crate::group::ids::{GroupId, RequestId};
use crate::group::step::{Reply, Step};
use crate::metadata::image::TopicImage;
use crate::model::ids::{PartitionIndex, TopicPartition};
use crate::model::time::Timestamp;
use crate::shard::mesh;

use super::context::Shard;
use super::orders::{MeshReply, MeshRequest};

/// The topic whose partitions coordinate the groups.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Java's `String.hashCode`, made positive as Kafka does: over UTF-16 code units.
pub fn java_hash(name: &str) -> i32 {
    let add = |hash: i32, unit: u16| hash.wrapping_mul(31).wrapping_add(i32::from(unit));
    name.encode_utf16().fold(0, add) & i32::MAX
}

/// The partition of `topic` that coordinates `name`.
pub fn coordinator_partition(topic: &TopicImage, name: &str) -> TopicPartition {
    let count = i32::try_from(topic.partitions.len()).expect("fewer than 2^31 partitions");
    assert!(count > 0, "a topic has a partition");
    TopicPartition { topic: topic.id, partition: PartitionIndex(java_hash(name) % count) }
}

/// A question that its coordinator's shard has, in the order of the asking; the answer is an `R`.
pub struct Asked<R> {
    reply: Option<mesh::Reply<MeshReply>>,
    answer: PhantomData<fn() -> R>,
}

impl<R: 'static> Asked<R> {
    /// What the work returned, when all that was appended before is durable.
    /// Errors: [`Unavailable`].
    pub async fn answer(self) -> Result<R, Unavailable> {
        // No partition to ask, or its shard has ended.
        let Some(reply) = self.reply else { return Err(Unavailable::NotHere) };
        let Ok(reply) = reply.await else { return Err(Unavailable::NotHere) };
        let answer = reply.into_coordinator()?;
        Ok(*answer.downcast::<R>().expect("a call returns what its handler asked for"))
    }
}

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
            None => Asked { reply: None, answer: PhantomData },
        }
    }

    /// As [`Shard::begin_at_group`], of the coordinator that `partition` is.
    pub async fn begin_at_coordinator<R: Send + 'static>(
        &self,
        partition: TopicPartition,
        work: impl FnOnce(&mut GroupCoordinator, Timestamp, &mut Step) -> R + Send + 'static,
    ) -> Asked<R> {
        let call = GroupCall::Now(Box::new(move |core, now, step| Box::new(work(core, now, step))));
        Asked { reply: Some(self.submit(partition, call).await), answer: PhantomData }
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
        let reply = self.submit(partition, GroupCall::Parked(Box::new(work))).await;
        Asked { reply: Some(reply), answer: PhantomData }.answer().await
    }

    /// Every partition that coordinates groups; none before the first group.
    pub fn group_partitions(&self) -> Vec<TopicPartition> {
        let image = self.image();
        let Some(topic) = image.topic_by_name(OFFSETS_TOPIC) else { return Vec::new() };
        let all = (0_i32..).take(topic.partitions.len());
        all.map(|index| TopicPartition { topic: topic.id, partition: PartitionIndex(index) })
            .collect()
    }

    fn group_partition(&self, group: &str) -> Option<TopicPartition> {
        let image = self.image();
        let topic: &Arc<TopicImage> = image.topic_by_name(OFFSETS_TOPIC)?;
        Some(coordinator_partition(topic, group))
    }

    async fn submit(&self, partition: TopicPartition, call: GroupCall) -> mesh::Reply<MeshReply> {
        let request = CoordinatorRequest { partition, call };
        let owner = self.owner(partition);
        self.mesh.submit(owner, MeshRequest::Coordinator(request)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hash_as_java_has_it() {
        // "Aa" and "BB" collide in Java; "my-group" is negative there and made positive.
        assert_eq!((java_hash("Aa"), java_hash("BB")), (2112, 2112));
        assert_eq!(java_hash("my-group"), -1_906_497_762 & i32::MAX);
        assert_eq!(java_hash("여울 무리"), 1_065_413_452);
        assert_eq!(java_hash(""), 0);
    }
}
