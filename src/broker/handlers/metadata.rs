//! Metadata (key 3), versions 0-13: brokers, topics, leaders; and automatic creation.
//!
//! What is unknown or illegal comes first in the answer, as Kafka has it. An unknown topic that may
//! be created is created, and the answer is still UNKNOWN_TOPIC_OR_PARTITION: clients ask again.
//!
//! Source: KIP-516 (ids), KIP-430 (authorized operations), KIP-1102 (top-level error in v13).

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use crate::metadata::image::{MetadataImage, TopicImage};
use crate::metadata::record::PartitionState;
use crate::model::ids::TopicId;
use crate::model::topic_name::{TopicName, is_internal};
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};

use super::super::connection::Connection;
use super::super::context::Shard;
use super::create_topics::create_with_defaults;
use super::{AUTHORIZED_CLUSTER, AUTHORIZED_NONE, AUTHORIZED_TOPIC, node_ids};

/// Version from which a topic may be asked for by its id.
const BY_ID_VERSION: i16 = 12;
/// Version from which a leader without the listener is LISTENER_NOT_FOUND.
const LISTENER_NOT_FOUND_VERSION: i16 = 6;

/// Answers one request.
pub async fn handle(
    shard: &Rc<Shard>,
    connection: &Connection,
    request: MetadataRequest,
    version: i16,
) -> MetadataResponse {
    let image = shard.image();
    let asked = ask(&image, &request, version);
    if may_create(shard, &request, version) {
        let missing = asked.missing.iter().filter(|name| !is_internal(name.as_str()));
        create_with_defaults(shard, missing).await;
    }
    let view = View { image: &image, listener: &connection.listener, version };
    let mut topics = asked.refused;
    topics.extend(asked.found.iter().map(|topic| view.topic(topic)));
    if request.include_topic_authorized_operations {
        // Of a topic that is not there as well: the caller may be about to create it.
        let named = topics.iter_mut().filter(|topic| topic.name.is_some());
        named.for_each(|topic| topic.topic_authorized_operations = AUTHORIZED_TOPIC);
    }
    let cluster_operations = match request.include_cluster_authorized_operations {
        true => AUTHORIZED_CLUSTER,
        false => AUTHORIZED_NONE,
    };
    MetadataResponse {
        brokers: view.brokers(),
        cluster_id: image.cluster_id().map(str::to_owned),
        controller_id: shard.static_config.node_id.0,
        topics,
        cluster_authorized_operations: cluster_operations,
        ..MetadataResponse::default()
    }
}

/// What a request names, looked up.
#[derive(Default)]
struct Asked {
    /// Answers for what is unknown or illegal.
    refused: Vec<MetadataResponseTopic>,
    /// Legal names that no topic has.
    missing: Vec<TopicName>,
    found: Vec<Arc<TopicImage>>,
}

fn ask(image: &MetadataImage, request: &MetadataRequest, version: i16) -> Asked {
    let mut asked = Asked::default();
    let all = match &request.topics {
        None => true,
        Some(topics) => version == 0 && topics.is_empty(),
    };
    if all {
        asked.found = image.topics().cloned().collect();
        return asked;
    }
    let mut seen = HashSet::new();
    for topic in request.topics.iter().flatten() {
        // What is named twice is answered once, as Kafka does.
        if seen.insert((topic.name.as_deref(), topic.topic_id)) {
            ask_one(image, topic, version, &mut asked);
        }
    }
    asked
}

fn ask_one(image: &MetadataImage, topic: &MetadataRequestTopic, version: i16, asked: &mut Asked) {
    if version < BY_ID_VERSION && (!topic.topic_id.is_zero() || topic.name.is_none()) {
        asked.refused.push(refused(topic, ErrorCode::InvalidRequest));
        return;
    }
    let Some(text) = &topic.name else {
        match image.topic_by_id(topic.topic_id) {
            Some(found) => asked.found.push(Arc::clone(found)),
            None => asked.refused.push(refused(topic, ErrorCode::UnknownTopicId)),
        }
        return;
    };
    match (image.topic_by_name(text), TopicName::parse(text)) {
        (Some(found), _) => asked.found.push(Arc::clone(found)),
        (None, Ok(name)) => {
            asked.refused.push(refused(topic, ErrorCode::UnknownTopicOrPartition));
            asked.missing.push(name);
        }
        (None, Err(_)) => asked.refused.push(refused(topic, ErrorCode::InvalidTopicException)),
    }
}

fn refused(topic: &MetadataRequestTopic, error: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: error.code(),
        name: topic.name.clone(),
        topic_id: if topic.name.is_none() { topic.topic_id } else { TopicId::ZERO },
        topic_authorized_operations: AUTHORIZED_NONE,
        ..MetadataResponseTopic::default()
    }
}

fn may_create(shard: &Shard, request: &MetadataRequest, version: i16) -> bool {
    let allowed = version < 4 || request.allow_auto_topic_creation;
    shard.config().auto_create_topics_enable && allowed && request.topics.is_some()
}

/// The image as one listener's clients may see it.
struct View<'a> {
    image: &'a MetadataImage,
    listener: &'a str,
    version: i16,
}

impl View<'_> {
    fn brokers(&self) -> Vec<MetadataResponseBroker> {
        let on_listener = self.image.brokers().iter().filter_map(|(id, broker)| {
            let endpoint = broker.endpoints.get(self.listener)?;
            Some(MetadataResponseBroker {
                node_id: id.0,
                host: endpoint.host.clone(),
                port: i32::from(endpoint.port),
                rack: broker.rack.clone(),
                ..MetadataResponseBroker::default()
            })
        });
        on_listener.collect()
    }

    fn topic(&self, topic: &TopicImage) -> MetadataResponseTopic {
        let partitions = topic.partitions.iter().zip(0..);
        MetadataResponseTopic {
            name: Some(topic.name.as_str().to_owned()),
            topic_id: topic.id,
            is_internal: is_internal(topic.name.as_str()),
            partitions: partitions.map(|(state, index)| self.partition(state, index)).collect(),
            topic_authorized_operations: AUTHORIZED_NONE,
            ..MetadataResponseTopic::default()
        }
    }

    fn partition(&self, state: &PartitionState, index: i32) -> MetadataResponsePartition {
        let leader = state.leader.and_then(|id| self.image.broker(id));
        let error = match leader {
            None => ErrorCode::LeaderNotAvailable,
            Some(broker) if broker.endpoints.contains_key(self.listener) => ErrorCode::None,
            Some(_) if self.version >= LISTENER_NOT_FOUND_VERSION => ErrorCode::ListenerNotFound,
            Some(_) => ErrorCode::LeaderNotAvailable,
        };
        let reachable = error == ErrorCode::None;
        MetadataResponsePartition {
            error_code: error.code(),
            partition_index: index,
            leader_id: state.leader.filter(|_| reachable).map_or(-1, |id| id.0),
            leader_epoch: state.leader_epoch.0,
            replica_nodes: node_ids(&state.replicas),
            isr_nodes: node_ids(&state.isr),
            offline_replicas: node_ids(&self.image.offline_replicas(state)),
            ..MetadataResponsePartition::default()
        }
    }
}
