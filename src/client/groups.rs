//! Groups listed, described and deleted, each at the broker that coordinates it.
//!
//! In:   names of groups.
//! Out:  states, members, committed positions; one result a group or partition.
#![allow(clippy::disallowed_methods)] // a client's thread reads its own clock

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;

use super::cluster::Client;
use super::error::ClientError;
use crate::config::listener::HostPort;
use crate::protocol::api::ApiKey;
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::consumer_group_describe::{
    ConsumerGroupDescribeRequest, DescribedGroup as DescribedConsumerGroup,
};
use crate::protocol::messages::delete_groups::DeleteGroupsRequest;
use crate::protocol::messages::describe_groups::{
    DescribeGroupsRequest, DescribedGroup as DescribedClassicGroup,
};
use crate::protocol::messages::find_coordinator::FindCoordinatorRequest;
use crate::protocol::messages::list_groups::ListGroupsRequest;
use crate::protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use crate::protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup};

/// First version of FindCoordinator that asks for many.
const MANY_COORDINATORS_FROM: i16 = 4;
/// First version of OffsetFetch that asks for many groups.
const MANY_GROUPS_FROM: i16 = 8;
/// The last version of OffsetFetch that has topics by name.
const NAMES_UPTO: i16 = 9;
/// `key_type` of a group.
const GROUP_KEY: i8 = 0;
/// The state of a group that is not there.
const DEAD: &str = "Dead";

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedGroup {
    /// Its id.
    pub group: String,
    /// Its kind: `classic`, `consumer`; empty from an old broker.
    pub kind: String,
    /// Its protocol type, such as `consumer` or `connect`; empty if nobody has joined.
    pub protocol_type: String,
    /// Its state; empty from an old broker.
    pub state: String,
}

/// A group, described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub group: String,
    /// `classic` or `consumer`.
    pub kind: &'static str,
    /// Its state.
    pub state: String,
    /// Its protocol type.
    pub protocol_type: String,
    /// What assigns its partitions.
    pub assignor: String,
    /// Its epoch; none of a classic group.
    pub epoch: Option<i32>,
    /// The broker that coordinates it.
    pub coordinator: HostPort,
    /// Its members.
    pub members: Vec<GroupMember>,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// Its id.
    pub id: String,
    /// Its instance id, if it is static.
    pub instance: Option<String>,
    /// Its client id.
    pub client_id: String,
    /// Where it connects from.
    pub host: String,
    /// What it has.
    pub assignment: MemberAssignment,
}

/// What a member has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberAssignment {
    /// As its group's protocol says; for consumers, bytes that they know how to read.
    Opaque(Bytes),
    /// Topics and partitions.
    Partitions(Vec<(String, Vec<i32>)>),
}

/// Every group of the cluster, by name. Errors: [`ClientError`].
pub fn list_groups(client: &mut Client) -> Result<Vec<ListedGroup>, ClientError> {
    let brokers: Vec<HostPort> = client.brokers().values().cloned().collect();
    let deadline = Instant::now() + client.timeout();
    let mut groups = Vec::new();
    for broker in brokers {
        let answer = loop {
            let answer = client.ask(&broker, &ListGroupsRequest::default())?;
            if answer.error_code == 0 {
                break answer;
            }
            let subject = format!("broker {broker}");
            client.pause(refused(ApiKey::ListGroups, subject, answer.error_code), deadline)?;
        };
        groups.extend(answer.groups.into_iter().map(|listed| ListedGroup {
            group: listed.group_id,
            kind: listed.group_type,
            protocol_type: listed.protocol_type,
            state: listed.group_state,
        }));
    }
    groups.sort();
    Ok(groups)
}

/// Describes a group. Errors: [`ClientError`]; a group that is not there is refused with
/// GROUP_ID_NOT_FOUND.
pub fn describe_group(client: &mut Client, group: &str) -> Result<Group, ClientError> {
    at_coordinator(client, group, |client, coordinator| {
        // Whatever is no group of the consumer protocol is classic, or not there.
        match describe_consumer(client, coordinator, group) {
            Err(error) if is_not_found(&error) => describe_classic(client, coordinator, group),
            Err(ClientError::NotServed { .. }) => describe_classic(client, coordinator, group),
            described => described,
        }
    })
}

fn describe_consumer(
    client: &mut Client,
    coordinator: &HostPort,
    group: &str,
) -> Result<Group, ClientError> {
    let request = ConsumerGroupDescribeRequest {
        group_ids: vec![group.to_owned()],
        ..ConsumerGroupDescribeRequest::default()
    };
    let answer = client.ask(coordinator, &request)?;
    let api = ApiKey::ConsumerGroupDescribe;
    let found = answer.groups.into_iter().next().ok_or_else(|| not_found(api, group))?;
    match found.error_code {
        0 => Ok(consumer_group(found, coordinator)),
        code => Err(refused(api, quoted(group), code)),
    }
}

fn consumer_group(found: DescribedConsumerGroup, coordinator: &HostPort) -> Group {
    let members = found.members.into_iter().map(|member| {
        let topics = member.assignment.topic_partitions.into_iter();
        let topics = topics.map(|topic| (topic.topic_name, topic.partitions));
        GroupMember {
            id: member.member_id,
            instance: member.instance_id,
            client_id: member.client_id,
            host: member.client_host,
            assignment: MemberAssignment::Partitions(topics.collect()),
        }
    });
    Group {
        kind: "consumer",
        state: found.group_state,
        protocol_type: "consumer".to_owned(),
        assignor: found.assignor_name,
        epoch: Some(found.group_epoch),
        coordinator: coordinator.clone(),
        members: members.collect(),
        group: found.group_id,
    }
}

fn describe_classic(
    client: &mut Client,
    coordinator: &HostPort,
    group: &str,
) -> Result<Group, ClientError> {
    let request = DescribeGroupsRequest {
        groups: vec![group.to_owned()],
        ..DescribeGroupsRequest::default()
    };
    let answer = client.ask(coordinator, &request)?;
    let api = ApiKey::DescribeGroups;
    let found = answer.groups.into_iter().next().ok_or_else(|| not_found(api, group))?;
    match found.error_code {
        0 if found.group_state == DEAD => Err(not_found(api, group)),
        0 => Ok(classic_group(found, coordinator)),
        code => Err(refused(api, quoted(group), code)),
    }
}

fn classic_group(found: DescribedClassicGroup, coordinator: &HostPort) -> Group {
    let members = found.members.into_iter().map(|member| GroupMember {
        id: member.member_id,
        instance: member.group_instance_id,
        client_id: member.client_id,
        host: member.client_host,
        assignment: MemberAssignment::Opaque(member.member_assignment),
    });
    Group {
        kind: "classic",
        state: found.group_state,
        protocol_type: found.protocol_type,
        assignor: found.protocol_data,
        epoch: None,
        coordinator: coordinator.clone(),
        members: members.collect(),
        group: found.group_id,
    }
}

/// A group's committed positions, by topic and partition. Errors: [`ClientError`].
pub fn positions(
    client: &mut Client,
    group: &str,
) -> Result<BTreeMap<(String, i32), i64>, ClientError> {
    at_coordinator(client, group, |client, coordinator| {
        let connection = client.connection(coordinator)?;
        let version = connection.version_of::<OffsetFetchRequest>()?.min(NAMES_UPTO);
        let mut request = OffsetFetchRequest::default();
        if version < MANY_GROUPS_FROM {
            request.group_id = group.to_owned();
            request.topics = None;
        } else {
            request.groups = vec![OffsetFetchRequestGroup {
                group_id: group.to_owned(),
                topics: None,
                ..OffsetFetchRequestGroup::default()
            }];
        }
        let answer = client.ask_at(coordinator, &request, version)?;
        let code = answer.groups.first().map_or(answer.error_code, |group| group.error_code);
        if code != 0 {
            return Err(refused(ApiKey::OffsetFetch, quoted(group), code));
        }
        let mut positions = BTreeMap::new();
        for topic in answer.topics {
            let of_topic = topic.partitions.into_iter();
            let of_topic = of_topic.map(|at| (at.partition_index, at.committed_offset));
            positions.extend(of_topic.map(|(index, at)| ((topic.name.clone(), index), at)));
        }
        for topic in answer.groups.into_iter().flat_map(|group| group.topics) {
            let of_topic = topic.partitions.into_iter();
            let of_topic = of_topic.map(|at| (at.partition_index, at.committed_offset));
            positions.extend(of_topic.map(|(index, at)| ((topic.name.clone(), index), at)));
        }
        positions.retain(|_, position| 0 <= *position);
        Ok(positions)
    })
}

/// Deletes a group that has no members, with its positions. Errors: [`ClientError`].
pub fn delete_group(client: &mut Client, group: &str) -> Result<(), ClientError> {
    at_coordinator(client, group, |client, coordinator| {
        let request = DeleteGroupsRequest {
            groups_names: vec![group.to_owned()],
            ..DeleteGroupsRequest::default()
        };
        let answer = client.ask(coordinator, &request)?;
        match answer.results.first().map(|result| result.error_code) {
            Some(0) => Ok(()),
            Some(code) => Err(refused(ApiKey::DeleteGroups, quoted(group), code)),
            None => Err(not_found(ApiKey::DeleteGroups, group)),
        }
    })
}

/// Deletes a group's positions in partitions of a topic; one result a partition, in their order.
///
/// Errors: [`ClientError`] about the whole request.
pub fn delete_offsets(
    client: &mut Client,
    group: &str,
    topic: &str,
    partitions: &[i32],
) -> Result<Vec<Result<(), ClientError>>, ClientError> {
    let api = ApiKey::OffsetDelete;
    at_coordinator(client, group, |client, coordinator| {
        let one = |partition: &i32| OffsetDeleteRequestPartition {
            partition_index: *partition,
            ..OffsetDeleteRequestPartition::default()
        };
        let request = OffsetDeleteRequest {
            group_id: group.to_owned(),
            topics: vec![OffsetDeleteRequestTopic {
                name: topic.to_owned(),
                partitions: partitions.iter().map(one).collect(),
                ..OffsetDeleteRequestTopic::default()
            }],
            ..OffsetDeleteRequest::default()
        };
        let answer = client.ask(coordinator, &request)?;
        if answer.error_code != 0 {
            return Err(refused(api, quoted(group), answer.error_code));
        }
        let codes: BTreeMap<i32, i16> = answer
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|partition| (partition.partition_index, partition.error_code))
            .collect();
        let unknown = ErrorCode::UnknownTopicOrPartition.code();
        let result = |partition: &i32| match codes.get(partition).copied().unwrap_or(unknown) {
            0 => Ok(()),
            code => Err(refused(api, format!("'{group}' in {topic}/{partition}"), code)),
        };
        Ok(partitions.iter().map(result).collect())
    })
}

/// Has `work` done at the broker that coordinates `group`, and again while the answer is that it
/// is another's, or not yet ready, until the client's time limit.
fn at_coordinator<R>(
    client: &mut Client,
    group: &str,
    work: impl Fn(&mut Client, &HostPort) -> Result<R, ClientError>,
) -> Result<R, ClientError> {
    let deadline = Instant::now() + client.timeout();
    loop {
        let found = coordinator(client, group);
        match found.and_then(|coordinator| work(client, &coordinator)) {
            Err(error) => client.pause(error, deadline)?,
            done => return done,
        }
    }
}

/// The broker that coordinates `group`. Errors: [`ClientError`].
fn coordinator(client: &mut Client, group: &str) -> Result<HostPort, ClientError> {
    let broker = client.controller()?;
    let version = client.connection(&broker)?.version_of::<FindCoordinatorRequest>()?;
    let mut request =
        FindCoordinatorRequest { key_type: GROUP_KEY, ..FindCoordinatorRequest::default() };
    if version < MANY_COORDINATORS_FROM {
        request.key = group.to_owned();
    } else {
        request.coordinator_keys = vec![group.to_owned()];
    }
    let answer = client.ask(&broker, &request)?;
    let (code, host, port) = match answer.coordinators.into_iter().next() {
        Some(found) => (found.error_code, found.host, found.port),
        None => (answer.error_code, answer.host, answer.port),
    };
    match (code, u16::try_from(port)) {
        (0, Ok(port)) => Ok(HostPort { host, port }),
        (0, Err(_)) => {
            let code = ErrorCode::CoordinatorNotAvailable.code();
            Err(refused(ApiKey::FindCoordinator, quoted(group), code))
        }
        (code, _) => Err(refused(ApiKey::FindCoordinator, quoted(group), code)),
    }
}

fn is_not_found(error: &ClientError) -> bool {
    let missing = ErrorCode::GroupIdNotFound.code();
    matches!(error, ClientError::Refused { code, .. } if *code == missing)
}

fn not_found(api: ApiKey, group: &str) -> ClientError {
    refused(api, quoted(group), ErrorCode::GroupIdNotFound.code())
}

fn quoted(group: &str) -> String {
    format!("'{group}'")
}

fn refused(api: ApiKey, subject: String, code: i16) -> ClientError {
    ClientError::Refused { api, subject, code, message: None }
}
