//! IncrementalAlterConfigs (key 44), versions 0-1, and AlterConfigs (key 33), versions 0-2: settings
//! of topics, brokers and groups change, single ones or all of a resource's.
//!
//! What a request says of itself (a resource twice, a key twice, no value) is refused here; whether
//! the settings stand together is the controller's to say. Answered once every shard has taken the
//! new settings over.
//!
//! Source: KIP-133, KIP-226 (brokers), KIP-339 (incremental).

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::config::keys::{Kind, Scope, find};
use crate::config::layers::Layers;
use crate::config::topic::resolve_one;
use crate::metadata::alter::{
    ConfigChange, ConfigChangeError, ConfigOperation, ConfigTarget, ConfigValues,
};
use crate::metadata::commands::{Answer, Command, Mode};
use crate::metadata::image::ConfigMap;
use crate::model::topic_name::TopicName;
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::alter_configs::{self, AlterConfigsRequest, AlterConfigsResponse};
use crate::protocol::messages::incremental_alter_configs::{
    self, AlterableConfig, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use super::super::context::Shard;
use super::super::errors::Told;
use super::{RESOURCE_BROKER, RESOURCE_GROUP, RESOURCE_TOPIC};

/// Operations of IncrementalAlterConfigs.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// One resource of either request, or why it is refused.
struct Asked {
    kind: i8,
    name: String,
    change: Result<ConfigChange, Told>,
}

/// Answers one IncrementalAlterConfigs.
pub async fn change(
    shard: &Rc<Shard>,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let asked = request.resources.into_iter().map(|resource| {
        let (kind, name) = (resource.resource_type, resource.resource_name);
        let change = incremental(shard, kind, &name, &resource.configs);
        Asked { kind, name, change }
    });
    let results = execute(shard, asked.collect(), request.validate_only).await;
    let responses = results.into_iter().map(|(resource_type, resource_name, told)| {
        incremental_alter_configs::AlterConfigsResourceResponse {
            error_code: told.code.code(),
            error_message: told.message,
            resource_type,
            resource_name,
            ..Default::default()
        }
    });
    IncrementalAlterConfigsResponse {
        responses: responses.collect(),
        ..IncrementalAlterConfigsResponse::default()
    }
}

/// Answers one AlterConfigs.
pub async fn replace(shard: &Rc<Shard>, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let asked = request.resources.into_iter().map(|resource| {
        let (kind, name) = (resource.resource_type, resource.resource_name);
        let change = whole(shard, kind, &name, &resource.configs);
        Asked { kind, name, change }
    });
    let results = execute(shard, asked.collect(), request.validate_only).await;
    let responses = results.into_iter().map(|(resource_type, resource_name, told)| {
        alter_configs::AlterConfigsResourceResponse {
            error_code: told.code.code(),
            error_message: told.message,
            resource_type,
            resource_name,
            ..Default::default()
        }
    });
    AlterConfigsResponse { responses: responses.collect(), ..AlterConfigsResponse::default() }
}

/// Has the controller carry out what may be; what becomes of each resource, in order.
async fn execute(
    shard: &Rc<Shard>,
    mut asked: Vec<Asked>,
    validate_only: bool,
) -> Vec<(i8, String, Told)> {
    refuse_repeated(&mut asked);
    let changes: Vec<ConfigChange> =
        asked.iter().filter_map(|asked| asked.change.clone().ok()).collect();
    let mode = if validate_only { Mode::ValidateOnly } else { Mode::Commit };
    let done = match changes.is_empty() {
        true => Ok(Answer::ConfigsSet(Vec::new())),
        false => shard.execute(Command::SetConfigs { changes, mode }).await,
    };
    let mut results = match &done {
        Ok(Answer::ConfigsSet(results)) => results.iter(),
        Ok(other) => panic!("the controller answers what was asked, not {other:?}"),
        Err(_) => [].iter(),
    };
    let mut told = |change: Result<ConfigChange, Told>| match (change, &done) {
        (Err(told), _) => told,
        (Ok(_), Err(told)) => told.clone(),
        (Ok(_), Ok(_)) => match results.next().expect("one result a resource") {
            Ok(()) => Told { code: ErrorCode::None, message: None },
            Err(error) => Told::from(error),
        },
    };
    asked.into_iter().map(|asked| (asked.kind, asked.name, told(asked.change))).collect()
}

fn refuse_repeated(asked: &mut [Asked]) {
    let mut times: BTreeMap<(i8, String), usize> = BTreeMap::new();
    for one in &*asked {
        *times.entry((one.kind, one.name.clone())).or_default() += 1;
    }
    for one in asked {
        if times[&(one.kind, one.name.clone())] > 1 {
            one.change = Err(Told::from(&ConfigChangeError::DuplicateInRequest));
        }
    }
}

/// What IncrementalAlterConfigs asks of one resource; of several mistakes, Kafka's first is told.
/// Errors: what the client is told.
fn incremental(
    shard: &Shard,
    kind: i8,
    name: &str,
    configs: &[AlterableConfig],
) -> Result<ConfigChange, Told> {
    let valued = configs.iter().filter(|config| config.config_operation != DELETE);
    refuse_null(valued.map(|config| (config.name.as_str(), config.value.as_deref())))?;
    let resource = target(shard, kind, name)?;
    refuse_repeated_keys(configs.iter().map(|config| config.name.as_str()))?;
    let mut values = BTreeMap::new();
    for config in configs {
        values.insert(config.name.clone(), operation(shard, kind, config)?);
    }
    changed(resource, ConfigValues::Some(values))
}

/// What AlterConfigs asks of one resource. Errors: what the client is told.
fn whole(
    shard: &Shard,
    kind: i8,
    name: &str,
    configs: &[alter_configs::AlterableConfig],
) -> Result<ConfigChange, Told> {
    refuse_null(configs.iter().map(|config| (config.name.as_str(), config.value.as_deref())))?;
    let resource = target(shard, kind, name)?;
    refuse_repeated_keys(configs.iter().map(|config| config.name.as_str()))?;
    let value = |text: &Option<String>| text.clone().unwrap_or_default();
    let values = configs.iter().map(|config| (config.name.clone(), value(&config.value)));
    changed(resource, ConfigValues::All(values.collect()))
}

fn refuse_null<'a>(configs: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> Result<(), Told> {
    let null: Vec<&str> =
        configs.filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
    match null.is_empty() {
        true => Ok(()),
        false => Err(invalid(format!("Null value not supported for : {}", null.join(",")))),
    }
}

fn refuse_repeated_keys<'a>(mut names: impl Iterator<Item = &'a str>) -> Result<(), Told> {
    let mut seen = BTreeSet::new();
    match names.all(|name| seen.insert(name)) {
        true => Ok(()),
        false => Err(invalid("Error due to duplicate config keys".to_owned())),
    }
}

fn operation(shard: &Shard, kind: i8, config: &AlterableConfig) -> Result<ConfigOperation, Told> {
    let text = config.value.clone().unwrap_or_default();
    let word = match config.config_operation {
        SET => return Ok(ConfigOperation::Set(text)),
        DELETE => return Ok(ConfigOperation::Delete),
        APPEND => "APPEND",
        SUBTRACT => "SUBTRACT",
        _ => return Err(Told { code: ErrorCode::UnknownServerError, message: None }),
    };
    let scope = match kind {
        RESOURCE_TOPIC => Scope::Topic,
        RESOURCE_GROUP => Scope::Group,
        _ => Scope::Broker,
    };
    let setting = find(scope, &config.name).filter(|setting| setting.kind == Kind::List);
    let setting = setting.ok_or_else(|| {
        let name = &config.name;
        let words = format!("Can't {word} to key {name} because its type is not LIST.");
        Told::new(ErrorCode::InvalidConfig, words)
    })?;
    let otherwise = match scope {
        Scope::Topic => default_of_topics(setting, &shard.config().layers),
        Scope::Broker | Scope::Group => setting.default.unwrap_or("").to_owned(),
    };
    Ok(match config.config_operation {
        APPEND => ConfigOperation::Append { items: text, otherwise },
        _ => ConfigOperation::Subtract { items: text, otherwise },
    })
}

fn default_of_topics(setting: &crate::config::keys::Setting, layers: &Layers) -> String {
    resolve_one(setting, &ConfigMap::new(), layers).text
}

/// Whose settings clients may change. Errors: what the client is told.
fn target(shard: &Shard, kind: i8, name: &str) -> Result<ConfigTarget, Told> {
    match kind {
        RESOURCE_TOPIC => topic(name),
        RESOURCE_BROKER => broker(shard, name),
        RESOURCE_GROUP if name.is_empty() => {
            Err(invalid("Default group resources are not allowed.".to_owned()))
        }
        RESOURCE_GROUP => Ok(ConfigTarget::Group(name.to_owned())),
        _ => Err(invalid(format!("Unknown resource type {kind}"))),
    }
}

/// The change of a resource, if clients may make it. Errors: what the client is told.
fn changed(resource: ConfigTarget, values: ConfigValues) -> Result<ConfigChange, Told> {
    match &resource {
        ConfigTarget::Topic(name) => drop(
            TopicName::parse(name)
                .map_err(|error| Told::new(ErrorCode::InvalidTopicException, error.words(name)))?,
        ),
        ConfigTarget::Broker(_) | ConfigTarget::AllBrokers => refuse_static(&values)?,
        ConfigTarget::Group(_) => {}
    }
    Ok(ConfigChange { resource, values })
}

fn topic(name: &str) -> Result<ConfigTarget, Told> {
    if name.is_empty() {
        return Err(invalid("Default topic resources are not allowed.".to_owned()));
    }
    Ok(ConfigTarget::Topic(name.to_owned()))
}

fn broker(shard: &Shard, name: &str) -> Result<ConfigTarget, Told> {
    if name.is_empty() {
        return Ok(ConfigTarget::AllBrokers);
    }
    let this = shard.static_config.node_id;
    match name.parse::<i32>() {
        Ok(id) if id == this.0 => Ok(ConfigTarget::Broker(this)),
        Ok(_) => {
            let this = this.0;
            Err(invalid(format!("Unexpected broker id, expected {this}, but received {name}")))
        }
        Err(_) => Err(invalid(format!("Node id must be an integer, but it is: {name}"))),
    }
}

/// Settings that a start alone reads are not taken.
fn refuse_static(values: &ConfigValues) -> Result<(), Told> {
    let set: Vec<&str> = match values {
        ConfigValues::All(all) => all.keys().map(String::as_str).collect(),
        ConfigValues::Some(some) => {
            let kept = some.iter().filter(|(_, operation)| **operation != ConfigOperation::Delete);
            kept.map(|(name, _)| name.as_str()).collect()
        }
    };
    let is_static = |name: &&str| find(Scope::Broker, name).is_some_and(|setting| !setting.dynamic);
    let fixed: Vec<&str> = set.into_iter().filter(is_static).collect();
    match fixed.is_empty() {
        true => Ok(()),
        false => {
            let words = format!("Cannot update these configs dynamically: [{}]", fixed.join(", "));
            Err(invalid(words))
        }
    }
}

fn invalid(words: String) -> Told {
    Told::new(ErrorCode::InvalidRequest, words)
}
