//! ConsumerGroupDescribe (key 69), versions 0-1: KIP-848 groups, for administrators.
//!
//! Source: KIP-848, KIP-1099; protocol.md 1.5.

use std::rc::Rc;
use std::sync::Arc;

use crate::group::assignor::Assignment;
use crate::group::consumer::group::Consumer;
use crate::group::consumer::member::{Member, without_epochs};
use crate::group::ids::GroupId;
use crate::metadata::image::MetadataImage;
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
    let mut groups = Vec::with_capacity(request.group_ids.len());
    for id in request.group_ids {
        let mut described = describe(shard, id).await;
        if request.include_authorized_operations && described.error_code == 0 {
            described.authorized_operations = AUTHORIZED_GROUP;
        }
        groups.push(described);
    }
    wire::ConsumerGroupDescribeResponse { groups, ..wire::ConsumerGroupDescribeResponse::default() }
}

async fn describe(shard: &Rc<Shard>, id: String) -> wire::DescribedGroup {
    let image = shard.image();
    let group = GroupId::from(id.as_str());
    let asked = shard.ask_group(&id, move |core, _, _| {
        let assignor = core.consumer_assignor(&group)?;
        Some(described(core.consumer_group(&group)?, assignor.name(), &image))
    });
    match asked.await {
        Ok(Some(described)) => wire::DescribedGroup { group_id: id, ..described },
        Ok(None) => refused(id, ErrorCode::GroupIdNotFound, |id| {
            format!("Group {id} is not a consumer group.")
        }),
        Err(unavailable) => {
            let code = unavailable_code(unavailable);
            refused(id, code, |_| code.message().to_owned())
        }
    }
}

fn refused(id: String, code: ErrorCode, say: impl Fn(&str) -> String) -> wire::DescribedGroup {
    wire::DescribedGroup {
        error_code: code.code(),
        error_message: Some(say(&id)),
        group_id: id,
        ..wire::DescribedGroup::default()
    }
}

fn described(group: &Consumer, assignor: &str, image: &Arc<MetadataImage>) -> wire::DescribedGroup {
    wire::DescribedGroup {
        group_state: group.state().name().to_owned(),
        group_epoch: group.epoch(),
        assignment_epoch: group.target_epoch(),
        assignor_name: assignor.to_owned(),
        members: group.members().map(|each| member(group, each, image)).collect(),
        ..wire::DescribedGroup::default()
    }
}

fn member(group: &Consumer, member: &Member, image: &Arc<MetadataImage>) -> wire::Member {
    let metadata = member.metadata();
    let text = |text: &Option<Box<str>>| text.as_ref().map(|text| text.to_string());
    wire::Member {
        member_id: member.id().as_str().to_owned(),
        instance_id: metadata.instance.as_ref().map(|instance| instance.as_str().to_owned()),
        rack_id: text(&metadata.rack),
        member_epoch: member.current().epoch,
        client_id: metadata.client_id.to_string(),
        client_host: metadata.client_host.to_string(),
        subscribed_topic_names: metadata.topics.iter().map(|topic| topic.to_string()).collect(),
        subscribed_topic_regex: text(&metadata.regex),
        assignment: assignment(&without_epochs(&member.current().assigned), image),
        target_assignment: match group.target_of(member.id()) {
            Some(target) => assignment(target, image),
            None => wire::Assignment::default(),
        },
        member_type: match metadata.classic {
            Some(_) => CLASSIC_MEMBER,
            None => CONSUMER_MEMBER,
        },
        ..wire::Member::default()
    }
}

/// Topics that are gone have no name, and are left out.
fn assignment(of: &Assignment, image: &Arc<MetadataImage>) -> wire::Assignment {
    let topics = of.iter().filter_map(|(id, partitions)| {
        Some(wire::TopicPartitions {
            topic_id: *id,
            topic_name: image.topic_by_id(*id)?.name.as_str().to_owned(),
            partitions: partitions.iter().map(|index| index.0).collect(),
            ..wire::TopicPartitions::default()
        })
    });
    wire::Assignment { topic_partitions: topics.collect(), ..wire::Assignment::default() }
}
