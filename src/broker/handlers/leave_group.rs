//! LeaveGroup (key 13), versions 0-5: members go, or are removed by an administrator.
//!
//! Source: KIP-345 (batches, instances), KIP-800 (reasons); protocol.md P84.

use std::rc::Rc;

use crate::group::classic::sync::{LeavingMember, MemberError};
use crate::group::ids::{GroupId, InstanceId, MemberId};
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::leave_group::{
    LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse,
};

use super::super::context::Shard;
use super::super::errors::{member_code, unavailable_code};

/// First version with a list of members.
const BATCH_VERSION: i16 = 3;

/// Answers one request.
pub async fn handle(
    shard: &Rc<Shard>,
    request: LeaveGroupRequest,
    version: i16,
) -> LeaveGroupResponse {
    let name = request.group_id;
    let members = match version >= BATCH_VERSION {
        true => request.members,
        false => vec![MemberIdentity { member_id: request.member_id, ..Default::default() }],
    };
    if name.is_empty() {
        return refused(ErrorCode::InvalidGroupId);
    }
    let leaving: Vec<LeavingMember> = members.iter().map(leaving).collect();
    let group = GroupId::from(name.as_str());
    let left =
        shard.ask_group(&name, move |core, now, step| core.leave(now, &group, &leaving, step));
    match left.await {
        Ok(results) => response(members, &results, version),
        Err(unavailable) => refused(unavailable_code(unavailable)),
    }
}

fn leaving(member: &MemberIdentity) -> LeavingMember {
    LeavingMember {
        member: MemberId::from(member.member_id.as_str()),
        instance: member.group_instance_id.as_deref().map(InstanceId::from),
    }
}

fn response(
    members: Vec<MemberIdentity>,
    results: &[Result<(), MemberError>],
    version: i16,
) -> LeaveGroupResponse {
    assert_eq!(members.len(), results.len(), "one result a member");
    let code = |result: &Result<(), MemberError>| match result {
        Ok(()) => ErrorCode::None.code(),
        Err(error) => member_code(*error).code(),
    };
    if version < BATCH_VERSION {
        let error_code = results.first().map_or(ErrorCode::None.code(), code);
        return LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() };
    }
    let answered = members.into_iter().zip(results).map(|(member, result)| MemberResponse {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        error_code: code(result),
        ..MemberResponse::default()
    });
    LeaveGroupResponse { members: answered.collect(), ..LeaveGroupResponse::default() }
}

fn refused(error: ErrorCode) -> LeaveGroupResponse {
    LeaveGroupResponse { error_code: error.code(), ..LeaveGroupResponse::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_the_requests_or_each_members() {
        let members = || vec![MemberIdentity { member_id: "m".into(), ..Default::default() }];
        let results = [Err(MemberError::UnknownMember)];
        let old = response(members(), &results, 2);
        assert_eq!((old.error_code, old.members.len()), (ErrorCode::UnknownMemberId.code(), 0));
        let new = response(members(), &results, 3);
        assert_eq!((new.error_code, new.members[0].error_code), (0, 25));
        assert_eq!(new.members[0].member_id, "m");
    }
}
