//! From a group's name to its coordinator, wherever on this broker's shards that is.
//!
//! In:   handlers' work on the core.
//! Out:  what it returned, once what it rests on is durable.
//! Home: the connection's shard.
//!
//! Source: protocol.md 2.5 P80 (a group's partition is the hash that Java has for its name).

use std::sync::Arc;

use crate::coordinator::call::{CoordinatorRequest, GroupCall, Unavailable};
use crate::group::coordinator::GroupCoordinator;
use crate::group::ids::RequestId;
use crate::group::step::{Reply, Step};
use crate::metadata::image::TopicImage;
use crate::model::ids::{PartitionIndex, TopicPartition};
use crate::model::time::Timestamp;

use super::context::Shard;
use super::orders::MeshRequest;

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

impl Shard {
    /// Runs `work` on the core that coordinates `group`, and returns what it returned when all
    /// that was appended before is durable. Errors: [`Unavailable`].
    pub async fn ask_group<R: Send + 'static>(
        &self,
        group: &str,
        work: impl FnOnce(&mut GroupCoordinator, Timestamp, &mut Step) -> R + Send + 'static,
    ) -> Result<R, Unavailable> {
        let partition = self.group_partition(group).ok_or(Unavailable::NotHere)?;
        self.ask_coordinator(partition, work).await
    }

    /// As [`Shard::ask_group`], of the coordinator that `partition` is.
    pub async fn ask_coordinator<R: Send + 'static>(
        &self,
        partition: TopicPartition,
        work: impl FnOnce(&mut GroupCoordinator, Timestamp, &mut Step) -> R + Send + 'static,
    ) -> Result<R, Unavailable> {
        let call = GroupCall::Now(Box::new(move |core, now, step| Box::new(work(core, now, step))));
        let answer = self.coordinate(partition, call).await?;
        Ok(*answer.downcast::<R>().expect("a call returns what its handler asked for"))
    }

    /// Runs `work` on the core that coordinates `group`; the answer may be parked there.
    /// Errors: [`Unavailable`].
    pub async fn park_at_group(
        &self,
        group: &str,
        work: impl FnOnce(&mut GroupCoordinator, Timestamp, RequestId, &mut Step) + Send + 'static,
    ) -> Result<Reply, Unavailable> {
        let partition = self.group_partition(group).ok_or(Unavailable::NotHere)?;
        let answer = self.coordinate(partition, GroupCall::Parked(Box::new(work))).await?;
        Ok(*answer.downcast::<Reply>().expect("a parked call is answered by a reply"))
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

    async fn coordinate(
        &self,
        partition: TopicPartition,
        call: GroupCall,
    ) -> Result<crate::coordinator::call::Answer, Unavailable> {
        let request = CoordinatorRequest { partition, call };
        let owner = self.owner(partition);
        let reply = self.mesh.submit(owner, MeshRequest::Coordinator(request)).await;
        match reply.await {
            Ok(reply) => reply.into_coordinator(),
            Err(_) => Err(Unavailable::NotHere), // the shard has ended
        }
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
