//! JoinGroup (key 11), versions 0-9: a member of a classic group wants in.
//!
//! The answer is parked at the coordinator until the rebalance ends.
//!
//! Source: KIP-62 (rebalance timeout), KIP-345, KIP-394, KIP-814; protocol.md P81, P82, P84.

use std::rc::Rc;

use crate::controller::random_id::random_id;
use crate::group::classic::join::{JoinReply, JoinRequest, Joined};
use crate::group::classic::member::Protocol;
use crate::group::ids::{GroupId, InstanceId, MemberId};
use crate::group::step::Reply;
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember,
};

use super::super::connection::Connection;
use super::super::context::Shard;
use super::super::errors::{join_code, unavailable_code};

/// First version in which a dynamic member joins in two steps.
const TWO_STEP_VERSION: i16 = 4;
/// First version in which a missing protocol is null, and not empty.
const NULL_PROTOCOL_VERSION: i16 = 7;
/// First version in which a leader may be told that nothing is to be assigned.
const SKIP_ASSIGNMENT_VERSION: i16 = 9;

/// Answers one request of the client that calls itself `client_id`.
pub async fn handle(
    shard: &Rc<Shard>,
    connection: &Connection,
    client_id: Option<String>,
    request: JoinGroupRequest,
    version: i16,
) -> JoinGroupResponse {
    let group = request.group_id.clone();
    let member = request.member_id.clone();
    let join = join_request(connection, client_id, request, version);
    let parked = shard.park_at_group(&group, move |core, now, id, step| {
        core.join(now, &join, id, step);
    });
    match parked.await {
        Ok(Reply::Join(reply)) => response(reply, version),
        Ok(Reply::Sync(_)) => panic!("a JoinGroup has a JoinGroup's reply"),
        Err(unavailable) => refused(member, unavailable_code(unavailable), version),
    }
}

fn join_request(
    connection: &Connection,
    client_id: Option<String>,
    request: JoinGroupRequest,
    version: i16,
) -> JoinRequest {
    let rebalance_timeout_ms = match version {
        0 => request.session_timeout_ms,
        _ => request.rebalance_timeout_ms,
    };
    let protocols = request.protocols.into_iter();
    JoinRequest {
        group: GroupId::from(request.group_id.as_str()),
        member: MemberId::from(request.member_id.as_str()),
        instance: request.group_instance_id.as_deref().map(InstanceId::from),
        client_id: client_id.unwrap_or_default().into(),
        client_host: format!("/{}", connection.peer.ip().to_canonical()).into(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms,
        protocol_type: request.protocol_type.into(),
        protocols: protocols
            .map(|protocol| Protocol { name: protocol.name.into(), metadata: protocol.metadata })
            .collect(),
        requires_known_member_id: version >= TWO_STEP_VERSION,
        supports_skip_assignment: version >= SKIP_ASSIGNMENT_VERSION,
        fresh: random_id(),
    }
}

fn response(reply: JoinReply, version: i16) -> JoinGroupResponse {
    let member = reply.member.as_str().to_owned();
    match reply.result {
        Ok(joined) => accepted(member, joined, version),
        Err(error) => refused(member, join_code(error), version),
    }
}

fn accepted(member_id: String, joined: Joined, version: i16) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|member| JoinGroupResponseMember {
        member_id: member.id.as_str().to_owned(),
        group_instance_id: member.instance.map(|instance| instance.as_str().to_owned()),
        metadata: member.metadata,
        ..JoinGroupResponseMember::default()
    });
    JoinGroupResponse {
        generation_id: joined.generation,
        protocol_type: joined.protocol_type.map(String::from),
        protocol_name: protocol_name(joined.protocol.map(String::from), version),
        leader: joined.leader.as_str().to_owned(),
        skip_assignment: joined.skip_assignment,
        member_id,
        members: members.collect(),
        ..JoinGroupResponse::default()
    }
}

fn refused(member_id: String, error: ErrorCode, version: i16) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: error.code(),
        generation_id: -1,
        protocol_name: protocol_name(None, version),
        member_id,
        ..JoinGroupResponse::default()
    }
}

fn protocol_name(name: Option<String>, version: i16) -> Option<String> {
    match version >= NULL_PROTOCOL_VERSION {
        true => name,
        false => Some(name.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_a_name_of_no_protocol_where_null_is_illegal() {
        let code = ErrorCode::MemberIdRequired;
        assert_eq!(refused(String::new(), code, 6).protocol_name.as_deref(), Some(""));
        assert_eq!(refused(String::new(), code, 7).protocol_name, None);
    }

    #[test]
    fn a_member_is_what_its_connection_and_version_say() {
        let peer = "[::ffff:10.1.2.3]:9".parse().unwrap();
        let connection = Connection { peer, listener: "PLAINTEXT".into() };
        let request = |version| {
            let request = JoinGroupRequest {
                session_timeout_ms: 7,
                rebalance_timeout_ms: 9,
                ..JoinGroupRequest::default()
            };
            join_request(&connection, Some("c".into()), request, version)
        };
        let (old, new) = (request(0), request(9));
        assert_eq!((old.rebalance_timeout_ms, new.rebalance_timeout_ms), (7, 9));
        assert!(!request(3).requires_known_member_id && request(4).requires_known_member_id);
        assert!(!request(8).supports_skip_assignment && new.supports_skip_assignment);
        assert_eq!((&*new.client_host, &*new.client_id), ("/10.1.2.3", "c"));
        assert_ne!(old.fresh, new.fresh);
    }
}
