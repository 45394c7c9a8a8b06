//! ListConfigResources (key 74), versions 0-1: topics, brokers, and groups that have settings of
//! their own; no other resource has settings.
//!
//! Source: KIP-714, KIP-1142.

use std::rc::Rc;

use crate::protocol::error::ErrorCode;
use crate::protocol::messages::list_config_resources::{
    ConfigResource, ListConfigResourcesRequest, ListConfigResourcesResponse,
};

use super::super::context::Shard;
use super::{
    RESOURCE_BROKER, RESOURCE_BROKER_LOGGER, RESOURCE_CLIENT_METRICS, RESOURCE_GROUP,
    RESOURCE_TOPIC,
};

/// Kinds that Kafka has and that have none here.
const WITHOUT_RESOURCES: [i8; 2] = [RESOURCE_BROKER_LOGGER, RESOURCE_CLIENT_METRICS];

/// Answers one request.
pub fn handle(
    shard: &Rc<Shard>,
    request: &ListConfigResourcesRequest,
    version: i16,
) -> ListConfigResourcesResponse {
    let known = [RESOURCE_TOPIC, RESOURCE_BROKER, RESOURCE_GROUP];
    // Version 0 asks for client metrics, of which there are none.
    let types: Vec<i8> = match &request.resource_types[..] {
        _ if version == 0 => Vec::new(),
        [] => known.to_vec(),
        asked => asked.to_vec(),
    };
    let is_known = |kind: &i8| known.contains(kind) || WITHOUT_RESOURCES.contains(kind);
    if !types.iter().all(is_known) {
        return ListConfigResourcesResponse {
            error_code: ErrorCode::UnsupportedVersion.code(),
            ..ListConfigResourcesResponse::default()
        };
    }
    let image = shard.image();
    let resource = |resource_type, resource_name| ConfigResource {
        resource_name,
        resource_type,
        ..ConfigResource::default()
    };
    let mut config_resources = Vec::new();
    if types.contains(&RESOURCE_GROUP) {
        let groups = image.groups_with_configs();
        config_resources.extend(groups.map(|name| resource(RESOURCE_GROUP, name.to_owned())));
    }
    if types.contains(&RESOURCE_BROKER) {
        let brokers = image.brokers().keys();
        config_resources.extend(brokers.map(|id| resource(RESOURCE_BROKER, id.0.to_string())));
    }
    if types.contains(&RESOURCE_TOPIC) {
        let names = image.topics().map(|topic| topic.name.as_str().to_owned());
        config_resources.extend(names.map(|name| resource(RESOURCE_TOPIC, name)));
    }
    ListConfigResourcesResponse { config_resources, ..ListConfigResourcesResponse::default() }
}
