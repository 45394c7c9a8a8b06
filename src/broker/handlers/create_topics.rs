//! CreateTopics (key 19), versions 2-7, and the automatic creation that Metadata asks for.
//!
//! Answered once every shard has taken over the metadata that holds the topic, so that the
//! client's next request meets it.
//!
//! Source: KIP-4, KIP-464 (defaults), KIP-525 (settings in the answer), KIP-516 (topic id).

use std::collections::HashSet;
use std::rc::Rc;

use crate::config::describe::{Described, describe_topic};
use crate::controller::random_id::random_topic_id;
use crate::metadata::commands::{Answer, Command, Mode};
use crate::metadata::create_topics::{CreateTopicError, CreatedTopic, ManualAssignment, NewTopic};
use crate::model::ids::{BrokerId, PartitionIndex};
use crate::model::topic_name::TopicName;
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreatableTopicConfigs, CreatableTopicResult,
    CreateTopicsRequest, CreateTopicsResponse,
};

use super::super::context::Shard;
use super::super::errors::Told;

/// Answers one request.
pub async fn handle(shard: &Rc<Shard>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let names: Vec<String> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let mode = if request.validate_only { Mode::ValidateOnly } else { Mode::Commit };
    let topics = request.topics.into_iter().map(new_topic).collect();
    let topics = match shard.execute(Command::CreateTopics { topics, mode }).await {
        Ok(Answer::TopicsCreated(results)) => {
            assert!(results.len() == names.len(), "one result a topic");
            let answer = |(name, result): (String, Result<CreatedTopic, _>)| match result {
                Ok(topic) => created(shard, name, &topic),
                Err(CreateTopicError::BadName(error)) => {
                    let words = error.words(&name);
                    refused(name, Told::new(ErrorCode::InvalidTopicException, words))
                }
                Err(error) => refused(name, Told::from(&error)),
            };
            let mut told: HashSet<String> = HashSet::new();
            // A name given twice is refused once.
            let results = names.into_iter().zip(results);
            results.filter(|(name, _)| told.insert(name.clone())).map(answer).collect()
        }
        Ok(other) => panic!("the controller answers what was asked, not {other:?}"),
        Err(told) => names.into_iter().map(|name| refused(name, told.clone())).collect(),
    };
    CreateTopicsResponse { topics, ..CreateTopicsResponse::default() }
}

/// Creates topics with the broker's defaults; a refusal is not told: the next Metadata request
/// meets it again.
pub async fn create_with_defaults(shard: &Rc<Shard>, names: impl Iterator<Item = &TopicName>) {
    let topic = |name: &TopicName| NewTopic {
        id: random_topic_id(),
        name: name.as_str().to_owned(),
        num_partitions: -1,
        replication_factor: -1,
        assignments: Vec::new(),
        configs: Default::default(),
        valueless: Vec::new(),
    };
    let topics: Vec<NewTopic> = names.map(topic).collect();
    if !topics.is_empty() {
        let _ = shard.execute(Command::CreateTopics { topics, mode: Mode::Commit }).await;
    }
}

fn new_topic(asked: CreatableTopic) -> NewTopic {
    let assignments = asked.assignments.into_iter().map(|assignment| ManualAssignment {
        partition: PartitionIndex(assignment.partition_index),
        replicas: assignment.broker_ids.into_iter().map(BrokerId).collect(),
    });
    let (configs, valueless): (Vec<_>, Vec<_>) =
        asked.configs.into_iter().partition(|config| config.value.is_some());
    let valued = |config: CreatableTopicConfig| Some((config.name, config.value?));
    NewTopic {
        id: random_topic_id(),
        name: asked.name,
        num_partitions: asked.num_partitions,
        replication_factor: asked.replication_factor,
        assignments: assignments.collect(),
        configs: configs.into_iter().filter_map(valued).collect(),
        valueless: valueless.into_iter().map(|config| config.name).collect(),
    }
}

fn created(shard: &Shard, name: String, topic: &CreatedTopic) -> CreatableTopicResult {
    let described = describe_topic(&topic.configs, &shard.config().layers);
    CreatableTopicResult {
        name,
        topic_id: topic.id,
        error_code: ErrorCode::None.code(),
        error_message: None,
        num_partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        configs: Some(described.into_iter().map(config).collect()),
        ..CreatableTopicResult::default()
    }
}

fn config(described: Described) -> CreatableTopicConfigs {
    CreatableTopicConfigs {
        name: described.name.to_owned(),
        value: described.value,
        read_only: described.is_read_only,
        config_source: described.source.wire(),
        is_sensitive: described.is_sensitive,
        ..CreatableTopicConfigs::default()
    }
}

fn refused(name: String, told: Told) -> CreatableTopicResult {
    CreatableTopicResult {
        name,
        error_code: told.code.code(),
        error_message: told.message,
        num_partitions: -1,
        replication_factor: -1,
        configs: Some(Vec::new()),
        ..CreatableTopicResult::default()
    }
}
