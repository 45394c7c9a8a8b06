//! The replicas of one shard, and which shard owns a partition.
//!
//! Home: one shard.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::model::ids::{ShardId, TopicPartition};

use super::local::Replica;

/// The shard that owns `partition` among `shards`.
///
/// The partitions of a topic lie side by side, from a shard that its random id picks, so that a
/// topic with as many partitions as there are shards uses each shard once.
pub fn owner(partition: TopicPartition, shards: u16) -> ShardId {
    assert!(shards > 0, "a broker has a shard");
    let [.., high, low] = partition.topic.0;
    let first = i64::from(u16::from_be_bytes([high, low]));
    let at = (first + i64::from(partition.partition.0)).rem_euclid(i64::from(shards));
    ShardId(u16::try_from(at).expect("below the number of shards"))
}

/// The replicas of one shard.
#[derive(Default)]
pub struct Replicas(RefCell<HashMap<TopicPartition, Rc<Replica>>>);

impl Replicas {
    /// The replica of `partition`, if this shard has it.
    pub fn get(&self, partition: TopicPartition) -> Option<Rc<Replica>> {
        self.0.borrow().get(&partition).cloned()
    }

    /// Adds a replica. Panics: if there is one already, our own bug.
    pub fn add(&self, replica: Rc<Replica>) {
        let before = self.0.borrow_mut().insert(replica.partition, replica);
        assert!(before.is_none(), "a partition has one replica on its shard");
    }

    /// Takes a replica out.
    pub fn remove(&self, partition: TopicPartition) -> Option<Rc<Replica>> {
        self.0.borrow_mut().remove(&partition)
    }

    /// All replicas, in no order.
    pub fn all(&self) -> Vec<Rc<Replica>> {
        self.0.borrow().values().cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::{PartitionIndex, TopicId};

    #[test]
    fn a_topic_spreads_evenly() {
        for shards in 1..=8 {
            let mut owned = vec![0; usize::from(shards)];
            for partition in 0..i32::from(shards) * 3 {
                let topic = TopicId([0xfe; 16]);
                let partition = TopicPartition { topic, partition: PartitionIndex(partition) };
                owned[owner(partition, shards).index()] += 1;
            }
            assert!(owned.iter().all(|&count| count == 3), "{shards}: {owned:?}");
        }
    }
}
