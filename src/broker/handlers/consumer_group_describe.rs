//! ConsumerGroupDescribe (key 69), versions 0-1: KIP-848 groups, for administrators.
//!
//! Source: KIP-848, KIP-1099; protocol.md 1.5.

use std::rc::Rc;

use crate::coordinator::call::Unavailable;
use crate::group::admin::{ConsumerDescription, DescribedConsumer, DescribedTopic};
use crate::group::ids::GroupId;
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::consumer_group_describe as wire;

use super::super::context::Shard;
use super::super::errors::unavailable_code;
use super::AUTHORIZED_GROUP;

/// A member of the classic protocol, and one of the consumer protocol.
const CLASSIC_MEMBER: i8 = 0;
const CONSUMER_MEMBER: i8 = 1;

/// Answers one request.
pub async fn handle(
    shard: &Rc<Shard>,
    request: wire::ConsumerGroupDescribeRequest,
) -> wire::ConsumerGroupDescribeResponse {
    if !shard.image().has_consumer_groups() {
        return refused(request.group_ids);
    }
    let asked = request.group_ids.iter().map(|id| (GroupId::from(id.as_str()), ())).collect();
    let found = shard.ask_groups(asked, |core, group, (), _| core.describe_consumer_group(group));
    let groups = request.group_ids.into_iter().zip(found.await).map(|(id, found)| {
        let mut group = described(id, found);
        if request.include_authorized_operations && group.error_code == ErrorCode::None.code() {
            group.authorized_operations = AUTHORIZED_GROUP;
        }
        group
    });
    let groups = groups.collect();
    wire::ConsumerGroupDescribeResponse { groups, ..wire::ConsumerGroupDescribeResponse::default() }
}

/// The answer where `group.version` is 0.
fn refused(group_ids: Vec<String>) -> wire::ConsumerGroupDescribeResponse {
    let code = ErrorCode::UnsupportedVersion;
    let group = |group_id| wire::DescribedGroup {
        group_id,
        error_code: code.code(),
        error_message: Some(code.message().to_owned()),
        ..wire::DescribedGroup::default()
    };
    let groups = group_ids.into_iter().map(group).collect();
    wire::ConsumerGroupDescribeResponse { groups, ..wire::ConsumerGroupDescribeResponse::default() }
}

fn described(
    group_id: String,
    found: Result<Option<ConsumerDescription>, Unavailable>,
) -> wire::DescribedGroup {
    let (code, message) = match found {
        Ok(Some(found)) => {
            return wire::DescribedGroup {
                group_id,
                group_state: found.state.to_owned(),
                group_epoch: found.epoch,
                assignment_epoch: found.target_epoch,
                assignor_name: found.assignor.to_owned(),
                members: found.members.into_iter().map(member).collect(),
                ..wire::DescribedGroup::default()
            };
        }
        Ok(None) => (ErrorCode::GroupIdNotFound, format!("Group {group_id} not found.")),
        Err(unavailable) => {
            let code = unavailable_code(unavailable);
            (code, code.message().to_owned())
        }
    };
    wire::DescribedGroup {
        error_code: code.code(),
        error_message: Some(message),
        group_id,
        ..wire::DescribedGroup::default()
    }
}

fn member(member: DescribedConsumer) -> wire::Member {
    let metadata = member.metadata;
    let member_type = match metadata.classic {
        Some(_) => CLASSIC_MEMBER,
        None => CONSUMER_MEMBER,
    };
    wire::Member {
        member_id: member.id.as_str().to_owned(),
        instance_id: metadata.instance.map(|instance| instance.as_str().to_owned()),
        rack_id: metadata.rack.map(String::from),
        member_epoch: member.epoch,
        client_id: metadata.client_id.into(),
        client_host: metadata.client_host.into(),
        subscribed_topic_names: metadata.topics.into_iter().map(String::from).collect(),
        subscribed_topic_regex: Some(metadata.regex.map(String::from).unwrap_or_default()),
        assignment: assignment(member.assigned),
        target_assignment: assignment(member.target),
        member_type,
        ..wire::Member::default()
    }
}

fn assignment(topics: Vec<DescribedTopic>) -> wire::Assignment {
    let topics = topics.into_iter().map(|topic| wire::TopicPartitions {
        topic_id: topic.id,
        topic_name: topic.name.into(),
        partitions: topic.partitions.iter().map(|index| index.0).collect(),
        ..wire::TopicPartitions::default()
    });
    wire::Assignment { topic_partitions: topics.collect(), ..wire::Assignment::default() }
}
