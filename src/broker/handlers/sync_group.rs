//! SyncGroup (key 14), versions 0-5: the leader assigns, everyone learns its part.
//!
//! Source: KIP-345, KIP-559 (protocol type and name); protocol.md P83-P85.

use std::rc::Rc;

use crate::group::classic::sync::{SyncRequest, Synced};
use crate::group::ids::{GroupId, InstanceId, MemberId};
use crate::group::step::Reply;
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};

use super::super::context::Shard;
use super::super::errors::{sync_code, unavailable_code};

/// First version that names the protocol, and must.
const PROTOCOL_VERSION: i16 = 5;

/// Answers one request.
pub async fn handle(
    shard: &Rc<Shard>,
    request: SyncGroupRequest,
    version: i16,
) -> SyncGroupResponse {
    let unnamed = request.protocol_type.is_none() || request.protocol_name.is_none();
    if version >= PROTOCOL_VERSION && unnamed {
        return refused(ErrorCode::InconsistentGroupProtocol);
    }
    let group = request.group_id.clone();
    let sync = sync_request(request);
    let parked = shard.park_at_group(&group, move |core, now, id, step| {
        core.sync(now, &sync, id, step);
    });
    match parked.await {
        Ok(Reply::Sync(Ok(synced))) => accepted(synced),
        Ok(Reply::Sync(Err(error))) => refused(sync_code(error)),
        Ok(Reply::Join(_)) => panic!("a SyncGroup has a SyncGroup's reply"),
        Err(unavailable) => refused(unavailable_code(unavailable)),
    }
}

fn sync_request(request: SyncGroupRequest) -> SyncRequest {
    let assignments = request.assignments.into_iter();
    SyncRequest {
        group: GroupId::from(request.group_id.as_str()),
        generation: request.generation_id,
        member: MemberId::from(request.member_id.as_str()),
        instance: request.group_instance_id.as_deref().map(InstanceId::from),
        protocol_type: request.protocol_type.map(Into::into),
        protocol: request.protocol_name.map(Into::into),
        assignments: assignments
            .map(|one| (MemberId::from(one.member_id.as_str()), one.assignment))
            .collect(),
    }
}

fn accepted(synced: Synced) -> SyncGroupResponse {
    SyncGroupResponse {
        protocol_type: synced.protocol_type.map(String::from),
        protocol_name: synced.protocol.map(String::from),
        assignment: synced.assignment,
        ..SyncGroupResponse::default()
    }
}

fn refused(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse { error_code: error.code(), ..SyncGroupResponse::default() }
}
