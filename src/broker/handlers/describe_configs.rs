//! DescribeConfigs (key 32), versions 1-4: settings of topics, of groups and of this broker.
//!
//! Source: KIP-133, KIP-226 (sources, synonyms), KIP-569 (types, documentation).

use std::rc::Rc;

use crate::config::describe::{
    Described, Synonym, describe_all_brokers, describe_broker, describe_group, describe_topic,
};
use crate::metadata::image::ConfigMap;
use crate::model::topic_name::TopicName;
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};

use super::super::context::Shard;
use super::super::errors::Told;
use super::{
    RESOURCE_BROKER, RESOURCE_BROKER_LOGGER, RESOURCE_CLIENT_METRICS, RESOURCE_GROUP,
    RESOURCE_TOPIC,
};

/// What a request wants besides values.
#[derive(Clone, Copy)]
struct Detail {
    synonyms: bool,
    documentation: bool,
}

/// Answers one request.
pub fn handle(shard: &Rc<Shard>, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
    let detail =
        Detail { synonyms: request.include_synonyms, documentation: request.include_documentation };
    let results = request.resources.iter().map(|resource| match settings(shard, resource) {
        Ok(settings) => described(resource, settings, detail),
        Err(told) => refused(resource, told),
    });
    DescribeConfigsResponse { results: results.collect(), ..DescribeConfigsResponse::default() }
}

/// All settings of one resource. Errors: what its client is told.
fn settings(shard: &Shard, resource: &DescribeConfigsResource) -> Result<Vec<Described>, Told> {
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        RESOURCE_TOPIC => match (shard.image().topic_by_name(name), TopicName::parse(name)) {
            (Some(topic), _) => Ok(describe_topic(&topic.configs, &shard.config().layers)),
            (None, Ok(_)) => Err(Told::silent(ErrorCode::UnknownTopicOrPartition)),
            (None, Err(error)) => {
                Err(Told::new(ErrorCode::InvalidTopicException, error.words(name)))
            }
        },
        RESOURCE_BROKER if name.is_empty() => {
            Ok(describe_all_brokers(shard.image().all_brokers_configs()))
        }
        RESOURCE_BROKER if name.parse() == Ok(shard.static_config.node_id.0) => {
            Ok(describe_broker(&shard.config().layers))
        }
        RESOURCE_BROKER if name.parse::<i32>().is_err() => {
            let words = format!("Broker id must be an integer, but it is: {name}");
            Err(Told::new(ErrorCode::InvalidRequest, words))
        }
        RESOURCE_BROKER => {
            let node = shard.static_config.node_id.0;
            let words = format!(
                "Unexpected broker id, expected {node} or empty string, but received {name}"
            );
            Err(Told::new(ErrorCode::InvalidRequest, words))
        }
        RESOURCE_GROUP if name.is_empty() => {
            Err(Told::new(ErrorCode::InvalidRequest, "Group name must not be empty".to_owned()))
        }
        RESOURCE_GROUP => {
            // A group that is not there, or has set nothing, has the broker's.
            let (image, none) = (shard.image(), ConfigMap::new());
            let own = image.group_configs(name).unwrap_or(&none);
            Ok(describe_group(own, &shard.config().layers))
        }
        RESOURCE_BROKER_LOGGER => {
            let words = "This broker has no loggers that clients can set.";
            Err(Told::new(ErrorCode::InvalidRequest, words))
        }
        RESOURCE_CLIENT_METRICS => {
            let words = "This broker does not take metrics of clients.";
            Err(Told::new(ErrorCode::InvalidRequest, words))
        }
        _ => Err(Told::code(ErrorCode::InvalidRequest)),
    }
}

fn described(
    resource: &DescribeConfigsResource,
    settings: Vec<Described>,
    detail: Detail,
) -> DescribeConfigsResult {
    // An empty list of keys means "all", as null does: Kafka reads it so.
    let keys = resource.configuration_keys.as_ref().filter(|keys| !keys.is_empty());
    let asked =
        |setting: &Described| keys.is_none_or(|keys| keys.iter().any(|key| key == setting.name));
    let configs = settings.into_iter().filter(asked).map(|setting| config(setting, detail));
    DescribeConfigsResult {
        error_code: ErrorCode::None.code(),
        error_message: Some(String::new()),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        configs: configs.collect(),
        ..DescribeConfigsResult::default()
    }
}

fn config(setting: Described, detail: Detail) -> DescribeConfigsResourceResult {
    let synonyms = setting.synonyms.into_iter().filter(|_| detail.synonyms).map(synonym);
    DescribeConfigsResourceResult {
        name: setting.name.to_owned(),
        value: setting.value,
        read_only: setting.is_read_only,
        config_source: setting.source.wire(),
        is_sensitive: setting.is_sensitive,
        synonyms: synonyms.collect(),
        config_type: setting.kind.wire(),
        documentation: setting.documentation.filter(|_| detail.documentation).map(str::to_owned),
        ..DescribeConfigsResourceResult::default()
    }
}

fn synonym(synonym: Synonym) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym {
        name: synonym.name.to_owned(),
        value: synonym.value,
        source: synonym.source.wire(),
        ..DescribeConfigsSynonym::default()
    }
}

fn refused(resource: &DescribeConfigsResource, told: Told) -> DescribeConfigsResult {
    DescribeConfigsResult {
        error_code: told.code.code(),
        error_message: told.message,
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        configs: Vec::new(),
        ..DescribeConfigsResult::default()
    }
}
