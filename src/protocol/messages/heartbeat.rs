//! Heartbeat: a member of a classic group is alive.
//!
//! Version 3 adds static members (KIP-345), 4 is flexible.

use crate::protocol::message::message;

message! {
    api Heartbeat, versions 0..=4, flexible 4..;

    /// Says that a member is alive.
    request HeartbeatRequest {
        /// The group.
        group_id: String, strict 0..;
        /// The generation of the group.
        generation_id: i32, strict 0..;
        /// The member's id.
        member_id: String, strict 0..;
        /// The id of a static member; null of a dynamic one.
        group_instance_id: Option<String> = None, strict 3..;
    }

    /// Whether it still is a member.
    response HeartbeatResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, ignorable 1..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
    }
}
