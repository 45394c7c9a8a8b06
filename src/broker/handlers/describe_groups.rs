//! DescribeGroups (key 15), versions 0-6: classic groups and their members.
//!
//! Source: KIP-430 (authorized operations), KIP-345, KIP-1043; protocol.md P89.

use std::rc::Rc;

use crate::coordinator::call::Unavailable;
use crate::group::admin::{DescribedMember, Description};
use crate::group::classic::state::State;
use crate::group::ids::GroupId;
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};

use super::super::context::Shard;
use super::super::errors::unavailable_code;
use super::AUTHORIZED_GROUP;

/// First version that can name authorized operations.
const AUTHORIZED_VERSION: i16 = 3;
/// First version with an error for a group that is not there.
const NOT_FOUND_VERSION: i16 = 6;

/// Answers one request.
pub async fn handle(
    shard: &Rc<Shard>,
    request: DescribeGroupsRequest,
    version: i16,
) -> DescribeGroupsResponse {
    let authorized = version >= AUTHORIZED_VERSION && request.include_authorized_operations;
    let asked = request.groups.iter().map(|name| (GroupId::from(name.as_str()), ())).collect();
    let found = shard.ask_groups(asked, |core, group, (), _| core.describe_group(group));
    let groups = request.groups.into_iter().zip(found.await).map(|(name, found)| {
        let mut group = described(name, found, version);
        if authorized && group.error_code == ErrorCode::None.code() {
            group.authorized_operations = AUTHORIZED_GROUP;
        }
        group
    });
    DescribeGroupsResponse { groups: groups.collect(), ..DescribeGroupsResponse::default() }
}

fn described(
    group_id: String,
    found: Result<Option<Description>, Unavailable>,
    version: i16,
) -> DescribedGroup {
    match found {
        Ok(Some(found)) => DescribedGroup {
            group_id,
            group_state: found.state.name().to_owned(),
            protocol_type: found.protocol_type.into(),
            protocol_data: found.protocol.into(),
            members: found.members.into_iter().map(member).collect(),
            ..DescribedGroup::default()
        },
        Ok(None) => not_found(group_id, version),
        Err(unavailable) => DescribedGroup {
            group_id,
            error_code: unavailable_code(unavailable).code(),
            ..DescribedGroup::default()
        },
    }
}

fn not_found(group_id: String, version: i16) -> DescribedGroup {
    let group_state = State::Dead.name().to_owned();
    if version < NOT_FOUND_VERSION {
        return DescribedGroup { group_id, group_state, ..DescribedGroup::default() };
    }
    DescribedGroup {
        error_code: ErrorCode::GroupIdNotFound.code(),
        error_message: Some(format!("Group {group_id} not found.")),
        group_id,
        group_state,
        ..DescribedGroup::default()
    }
}

fn member(member: DescribedMember) -> DescribedGroupMember {
    DescribedGroupMember {
        member_id: member.id.as_str().to_owned(),
        group_instance_id: member.instance.map(|instance| instance.as_str().to_owned()),
        client_id: member.client_id.into(),
        client_host: member.client_host.into(),
        member_metadata: member.metadata,
        member_assignment: member.assignment,
        ..DescribedGroupMember::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p89_a_group_that_is_not_there_is_dead_and_from_version_6_on_an_error() {
        let old = described("g".into(), Ok(None), 5);
        assert_eq!((old.group_state.as_str(), old.error_code), ("Dead", 0));
        assert_eq!(old.error_message, None, "version 5 has no place for it");
        let new = described("g".into(), Ok(None), 6);
        assert_eq!((new.group_state.as_str(), new.error_code), ("Dead", 69));
        assert_eq!(new.error_message.as_deref(), Some("Group g not found."));
    }

    #[test]
    fn a_coordinator_that_loads_is_told_of_each_group() {
        let told = described("g".into(), Err(Unavailable::Loading), 6);
        assert_eq!((told.error_code, told.group_state.as_str()), (14, ""));
        assert_eq!(told.authorized_operations, i32::MIN);
    }

    #[test]
    fn a_group_is_described_with_its_members() {
        let one = DescribedMember {
            id: "m".into(),
            instance: Some("i".into()),
            client_id: "c".into(),
            client_host: "/1.2.3.4".into(),
            metadata: bytes::Bytes::from_static(b"wants"),
            assignment: bytes::Bytes::from_static(b"has"),
        };
        let found = Description {
            state: State::Stable,
            protocol_type: "consumer".into(),
            protocol: "range".into(),
            members: vec![one],
        };
        let told = described("g".into(), Ok(Some(found)), 0);
        assert_eq!(
            (told.group_state.as_str(), told.protocol_type.as_str()),
            ("Stable", "consumer")
        );
        assert_eq!((told.group_id.as_str(), told.protocol_data.as_str()), ("g", "range"));
        let member = &told.members[0];
        assert_eq!(
            (member.member_id.as_str(), member.group_instance_id.as_deref()),
            ("m", Some("i"))
        );
        assert_eq!((member.client_id.as_str(), member.client_host.as_str()), ("c", "/1.2.3.4"));
        assert_eq!(
            (&member.member_metadata[..], &member.member_assignment[..]),
            (&b"wants"[..], &b"has"[..])
        );
    }
}
