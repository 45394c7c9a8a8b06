//! Topics made, unmade and described.
//!
//! In:   names and settings.
//! Out:  one result a topic, in the order asked; the broker's own words for a refusal.

use super::cluster::Client;
use super::error::ClientError;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use crate::protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use crate::protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResult,
};

/// Resource type of a topic in DescribeConfigs.
pub const TOPIC_RESOURCE: i8 = 2;
/// Resource type of a broker in DescribeConfigs.
pub const BROKER_RESOURCE: i8 = 4;
/// First version of DeleteTopics that takes names within `topics`.
const DELETE_STATES_FROM: i16 = 6;

/// A topic to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Its partitions; -1: the broker's default.
    pub partitions: i32,
    /// Replicas of each; -1: the broker's default.
    pub replication_factor: i16,
    /// Its own settings.
    pub configs: Vec<(String, String)>,
}

/// A topic that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its name.
    pub name: String,
    /// Its partitions; -1 from an old broker.
    pub partitions: i32,
    /// Replicas of each; -1 from an old broker.
    pub replication_factor: i16,
}

/// A setting that holds for a topic or broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value; `None` is null, or a secret.
    pub value: Option<String>,
    /// Who set it, by DescribeConfigs' number.
    pub source: i8,
    /// Its type, by DescribeConfigs' number; 0 if not told.
    pub config_type: i8,
    /// Whether it cannot be changed.
    pub is_read_only: bool,
    /// Whether it is a secret.
    pub is_sensitive: bool,
}

/// Makes topics. The outer error is one of the request, the inner ones of single topics.
///
/// Errors: [`ClientError`].
pub fn create_topics(
    client: &mut Client,
    topics: &[NewTopic],
    validate_only: bool,
) -> Result<Vec<Result<CreatedTopic, ClientError>>, ClientError> {
    let creatable = |topic: &NewTopic| CreatableTopic {
        name: topic.name.clone(),
        num_partitions: topic.partitions,
        replication_factor: topic.replication_factor,
        configs: topic
            .configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig {
                name: name.clone(),
                value: Some(value.clone()),
                ..CreatableTopicConfig::default()
            })
            .collect(),
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest {
        topics: topics.iter().map(creatable).collect(),
        timeout_ms: timeout_ms(client),
        validate_only,
        ..CreateTopicsRequest::default()
    };
    let answer = client.ask_controller(&request)?;
    let result = |topic: &NewTopic| {
        let found = answer.topics.iter().find(|found| found.name == topic.name);
        let found = found.ok_or_else(|| ClientError::UnknownTopic { topic: topic.name.clone() })?;
        if found.error_code != 0 {
            let message = found.error_message.clone();
            return Err(refused(ApiKey::CreateTopics, &topic.name, found.error_code, message));
        }
        Ok(CreatedTopic {
            name: topic.name.clone(),
            partitions: found.num_partitions,
            replication_factor: found.replication_factor,
        })
    };
    Ok(topics.iter().map(result).collect())
}

/// Deletes topics by name. The outer error is one of the request, the inner ones of single topics.
///
/// Errors: [`ClientError`].
pub fn delete_topics(
    client: &mut Client,
    names: &[String],
) -> Result<Vec<Result<(), ClientError>>, ClientError> {
    let broker = client.controller()?;
    let version = client.connection(&broker)?.version_of::<DeleteTopicsRequest>()?;
    let state = |name: &String| DeleteTopicState {
        name: Some(name.clone()),
        ..DeleteTopicState::default()
    };
    let mut request =
        DeleteTopicsRequest { timeout_ms: timeout_ms(client), ..DeleteTopicsRequest::default() };
    if version < DELETE_STATES_FROM {
        request.topic_names = names.to_vec();
    } else {
        request.topics = names.iter().map(state).collect();
    }
    let answer = client.ask(&broker, &request)?;
    let result = |name: &String| {
        client.forget_topic(name);
        let found = answer.responses.iter().find(|found| found.name.as_ref() == Some(name));
        match found {
            Some(found) if found.error_code == 0 => Ok(()),
            Some(found) => {
                let message = found.error_message.clone();
                Err(refused(ApiKey::DeleteTopics, name, found.error_code, message))
            }
            None => Err(ClientError::UnknownTopic { topic: name.clone() }),
        }
    };
    Ok(names.iter().map(result).collect())
}

/// Every setting of the topic or broker `name`, by name of the setting.
///
/// Errors: [`ClientError`].
pub fn describe_configs(
    client: &mut Client,
    resource_type: i8,
    name: &str,
) -> Result<Vec<ConfigEntry>, ClientError> {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type,
            resource_name: name.to_owned(),
            configuration_keys: None,
            ..DescribeConfigsResource::default()
        }],
        ..DescribeConfigsRequest::default()
    };
    let answer = client.ask_any(&request)?;
    let Some(result) = answer.results.into_iter().next() else { return Ok(Vec::new()) };
    if result.error_code != 0 {
        let message = result.error_message;
        return Err(refused(ApiKey::DescribeConfigs, name, result.error_code, message));
    }
    Ok(entries(result))
}

fn entries(result: DescribeConfigsResult) -> Vec<ConfigEntry> {
    let mut entries: Vec<ConfigEntry> = result
        .configs
        .into_iter()
        .map(|config| ConfigEntry {
            name: config.name,
            value: config.value,
            source: config.config_source,
            config_type: config.config_type,
            is_read_only: config.read_only,
            is_sensitive: config.is_sensitive,
        })
        .collect();
    entries.sort_by(|left, right| left.name.cmp(&right.name));
    entries
}

fn refused(api: ApiKey, topic: &str, code: i16, message: Option<String>) -> ClientError {
    ClientError::Refused { api, subject: format!("'{topic}'"), code, message }
}

fn timeout_ms(client: &Client) -> i32 {
    i32::try_from(client.timeout().as_millis()).unwrap_or(i32::MAX)
}
