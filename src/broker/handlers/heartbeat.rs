//! Heartbeat (key 12), versions 0-4: a member of a classic group is alive.
//!
//! Source: KIP-345; protocol.md P83.

use std::rc::Rc;

use crate::group::ids::{GroupId, InstanceId, MemberId};
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};

use super::super::context::Shard;
use super::super::errors::{heartbeat_code, unavailable_code};

/// Answers one request.
pub async fn handle(shard: &Rc<Shard>, request: HeartbeatRequest) -> HeartbeatResponse {
    let group = GroupId::from(request.group_id.as_str());
    let member = MemberId::from(request.member_id.as_str());
    let instance = request.group_instance_id.as_deref().map(InstanceId::from);
    let generation = request.generation_id;
    let beat = shard.ask_group(&request.group_id, move |core, now, _| {
        core.heartbeat(now, &group, &member, instance.as_ref(), generation)
    });
    let error = match beat.await {
        Ok(Ok(())) => ErrorCode::None,
        Ok(Err(error)) => heartbeat_code(error),
        Err(unavailable) => unavailable_code(unavailable),
    };
    HeartbeatResponse { error_code: error.code(), ..HeartbeatResponse::default() }
}
