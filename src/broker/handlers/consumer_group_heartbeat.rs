//! ConsumerGroupHeartbeat (key 68), versions 0-1: membership of a KIP-848 group.
//!
//! Source: KIP-848, KIP-1082; protocol.md P90; Kafka refuses all of it at `group.version` 0.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::controller::random_id::random_id;
use crate::group::assignor::Assignment;
use crate::group::consumer::heartbeat::{ConsumerHeartbeat, ConsumerReply};
use crate::group::ids::{GroupId, InstanceId, MemberId};
use crate::model::ids::PartitionIndex;
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::consumer_group_heartbeat as wire;

use super::super::connection::Connection;
use super::super::context::Shard;
use super::super::errors::{Told, unavailable_code};

/// Answers one request of the client that calls itself `client_id`.
pub async fn handle(
    shard: &Rc<Shard>,
    connection: &Connection,
    client_id: Option<String>,
    request: wire::ConsumerGroupHeartbeatRequest,
    version: i16,
) -> wire::ConsumerGroupHeartbeatResponse {
    if !shard.image().has_consumer_groups() {
        return refused(Told::code(ErrorCode::UnsupportedVersion));
    }
    let group = request.group_id.clone();
    let heartbeat = heartbeat(connection, client_id, request, version);
    let beat = shard
        .ask_group(&group, move |core, now, step| core.consumer_heartbeat(now, &heartbeat, step));
    match beat.await {
        Ok(Ok(reply)) => accepted(reply),
        Ok(Err(error)) => refused(Told::from(&error)),
        Err(unavailable) => refused(Told::code(unavailable_code(unavailable))),
    }
}

fn heartbeat(
    connection: &Connection,
    client_id: Option<String>,
    request: wire::ConsumerGroupHeartbeatRequest,
    version: i16,
) -> ConsumerHeartbeat {
    let names = |names: Vec<String>| names.into_iter().map(Box::from).collect();
    ConsumerHeartbeat {
        group: GroupId::from(request.group_id.as_str()),
        member: MemberId::from(request.member_id.as_str()),
        names_itself: version >= 1,
        epoch: request.member_epoch,
        instance: request.instance_id.as_deref().map(InstanceId::from),
        rack: request.rack_id.map(Box::from),
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        topics: request.subscribed_topic_names.map(names),
        regex: request.subscribed_topic_regex.map(Box::from),
        assignor: request.server_assignor.map(Box::from),
        owned: request.topic_partitions.map(owned),
        client_id: client_id.unwrap_or_default().into(),
        client_host: format!("/{}", connection.peer.ip().to_canonical()).into(),
        fresh: random_id(),
    }
}

fn owned(topics: Vec<wire::TopicPartitions>) -> Assignment {
    let mut owned: Assignment = BTreeMap::new();
    for topic in topics {
        let partitions = topic.partitions.into_iter().map(PartitionIndex);
        owned.entry(topic.topic_id).or_default().extend(partitions);
    }
    owned
}

fn accepted(reply: ConsumerReply) -> wire::ConsumerGroupHeartbeatResponse {
    let assignment = reply.assignment.map(|assignment| {
        let topics = assignment.into_iter().map(|(topic_id, partitions)| wire::TopicPartitions {
            topic_id,
            partitions: partitions.iter().map(|index| index.0).collect(),
            ..wire::TopicPartitions::default()
        });
        wire::Assignment { topic_partitions: topics.collect(), ..wire::Assignment::default() }
    });
    wire::ConsumerGroupHeartbeatResponse {
        member_id: Some(reply.member.as_str().to_owned()),
        member_epoch: reply.epoch,
        heartbeat_interval_ms: reply.heartbeat_interval_ms,
        assignment,
        ..wire::ConsumerGroupHeartbeatResponse::default()
    }
}

fn refused(told: Told) -> wire::ConsumerGroupHeartbeatResponse {
    wire::ConsumerGroupHeartbeatResponse {
        error_code: told.code.code(),
        error_message: told.message,
        ..wire::ConsumerGroupHeartbeatResponse::default()
    }
}
