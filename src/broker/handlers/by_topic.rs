//! One code a partition, by topic, put together as Kafka's response builders do.
//!
//! In:   what was refused at once, then what the coordinator said.
//! Out:  topics, each once, in the order in which they were first named.
//! Home: one request.

use std::collections::HashMap;

use crate::model::ids::TopicId;
use crate::protocol::error::ErrorCode;

/// What names a topic: its name, or from some version on its id alone.
pub type TopicKey = (String, TopicId);
/// A topic's partitions, each with what became of it.
pub type TopicCodes = (TopicKey, Vec<(i32, ErrorCode)>);

/// Codes by topic and partition.
#[derive(Debug, Default)]
pub struct ByTopic {
    places: HashMap<TopicKey, usize>,
    topics: Vec<TopicCodes>,
}

impl ByTopic {
    /// Adds a partition to a topic, which is begun if it has not been named.
    pub fn add(&mut self, topic: &TopicKey, partition: i32, code: ErrorCode) {
        let place = self.name(topic);
        self.add_at(place, partition, code);
    }

    /// Names a topic, so that it is there without partitions, too; its place for
    /// [`ByTopic::add_at`], which looks no name up.
    pub fn name(&mut self, key: &TopicKey) -> usize {
        if let Some(place) = self.places.get(key) {
            return *place;
        }
        self.places.insert(key.clone(), self.topics.len());
        self.topics.push((key.clone(), Vec::new()));
        self.topics.len() - 1
    }

    /// Adds a partition to the topic at this place.
    pub fn add_at(&mut self, place: usize, partition: i32, code: ErrorCode) {
        self.topics[place].1.push((partition, code));
    }

    /// All of it with the coordinator's topics, which stay as they are if there is nothing else.
    pub fn merge(mut self, answered: Vec<TopicCodes>) -> Vec<TopicCodes> {
        if self.topics.is_empty() {
            return answered;
        }
        for (key, partitions) in answered {
            let place = self.name(&key);
            self.topics[place].1.extend(partitions);
        }
        self.topics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> TopicKey {
        (name.to_owned(), TopicId::ZERO)
    }

    #[test]
    fn refusals_of_a_topic_come_together_and_answers_follow_them() {
        let mut refused = ByTopic::default();
        for (name, partition) in [("b", 7), ("a", 1), ("b", 9)] {
            refused.add(&key(name), partition, ErrorCode::UnknownTopicOrPartition);
        }
        let none = ErrorCode::None;
        let answered = vec![(key("c"), vec![(0, none)]), (key("b"), vec![(0, none)])];
        let merged = refused.merge(answered);
        let plain: Vec<(&str, Vec<i32>)> = merged
            .iter()
            .map(|((name, _), codes)| (name.as_str(), codes.iter().map(|code| code.0).collect()))
            .collect();
        assert_eq!(plain, [("b", vec![7, 9, 0]), ("a", vec![1]), ("c", vec![0])]);
        assert_eq!(merged[0].1[2].1, none);
    }

    #[test]
    fn an_answer_alone_keeps_its_shape() {
        let answered = vec![(key("a"), vec![(0, ErrorCode::None)]); 2];
        assert_eq!(ByTopic::default().merge(answered).len(), 2);
    }
}
