//! The way to a coordinator, wherever on this broker's shards it is.
//!
//! In:   handlers' work on a core, of groups or of transactions.
//! Out:  what it returned, once what it rests on is durable.
//! Home: the connection's shard.
//!
//! Source: protocol.md 2.5 P80 (a name's partition is the hash that Java has for it).

use std::collections::BTreeMap;
use std::marker::PhantomData;

use crate::controller::random_id::random_topic_id;
use crate::coordinator::call::{Call, CoordinatorRequest, Unavailable};
use crate::coordinator::core::Core;
use crate::metadata::commands::{Command, Mode};
use crate::metadata::create_topics::NewTopic;
use crate::metadata::image::TopicImage;
use crate::model::ids::{PartitionIndex, TopicPartition};
use crate::model::time::Timestamp;
use crate::shard::mesh;

use super::context::Shard;
use super::orders::{MeshReply, MeshRequest};
use super::transactions::TRANSACTIONS_TOPIC;

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
    /// There is no partition to ask.
    pub fn nobody() -> Asked<R> {
        Asked { reply: None, answer: PhantomData }
    }

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

impl Shard {
    /// Hands `work` to the coordinator that `partition` is; returns when its shard has it, so
    /// that what is asked later comes later.
    pub async fn begin_at_coordinator<C: Core, R: Send + 'static>(
        &self,
        partition: TopicPartition,
        work: impl FnOnce(&mut C, Timestamp, &mut C::Step) -> R + Send + 'static,
    ) -> Asked<R>
    where
        MeshRequest: From<CoordinatorRequest<C>>,
    {
        let call = Call::Now(Box::new(move |core: &mut C, now, step: &mut C::Step| {
            Box::new(work(core, now, step))
        }));
        self.submit(partition, call).await
    }

    /// Hands a call to a coordinator.
    pub async fn submit<C: Core, R>(&self, partition: TopicPartition, call: Call<C>) -> Asked<R>
    where
        MeshRequest: From<CoordinatorRequest<C>>,
    {
        let request = MeshRequest::from(CoordinatorRequest { partition, call });
        let reply = self.mesh.submit(self.owner(partition), request).await;
        Asked { reply: Some(reply), answer: PhantomData }
    }

    /// Creates a coordinators' topic unless it is there. A refusal is not told: the next request
    /// meets it.
    pub async fn create_coordinator_topic(&self, name: &str) {
        if self.image().topic_by_name(name).is_some() {
            return;
        }
        let (groups, transactions) = (&self.static_config.groups, &self.static_config.transactions);
        let (num_partitions, replication_factor, segment_bytes, compression) =
            if name == TRANSACTIONS_TOPIC {
                (
                    transactions.topic_num_partitions,
                    transactions.topic_replication_factor,
                    transactions.topic_segment_bytes,
                    "uncompressed",
                )
            } else {
                (
                    groups.offsets_topic_num_partitions,
                    groups.offsets_topic_replication_factor,
                    groups.offsets_topic_segment_bytes,
                    "producer",
                )
            };
        let brokers = i16::try_from(self.image().brokers().len()).unwrap_or(i16::MAX).max(1);
        let configs = [
            ("cleanup.policy", "compact".to_owned()),
            ("compression.type", compression.to_owned()),
            ("segment.bytes", segment_bytes.to_string()),
        ];
        let topic = NewTopic {
            id: random_topic_id(),
            name: name.to_owned(),
            num_partitions,
            replication_factor: replication_factor.min(brokers),
            assignments: Vec::new(),
            configs: BTreeMap::from(configs.map(|(name, value)| (name.to_owned(), value))),
            valueless: Vec::new(),
        };
        let create = Command::CreateTopics { topics: vec![topic], mode: Mode::Commit };
        let _ = self.execute(create).await;
    }

    /// Every coordinator whose partitions are those of `topic`; none before it is made.
    pub fn coordinator_partitions(&self, topic: &str) -> Vec<TopicPartition> {
        let image = self.image();
        let Some(topic) = image.topic_by_name(topic) else { return Vec::new() };
        let all = (0_i32..).take(topic.partitions.len());
        all.map(|index| TopicPartition { topic: topic.id, partition: PartitionIndex(index) })
            .collect()
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
