//! SyncGroup: the assignment of a generation of a classic group.
//!
//! Version 3 adds static members (KIP-345), 4 is flexible, 5 names the protocol, to be checked (KIP-559).

use bytes::Bytes;

use crate::protocol::message::message;

message! {
    api SyncGroup, versions 0..=5, flexible 4..;

    /// Asks for the member's assignment; from the leader, gives those of all.
    request SyncGroupRequest {
        /// The group.
        group_id: String, strict 0..;
        /// The generation of the group.
        generation_id: i32, strict 0..;
        /// The member's id.
        member_id: String, strict 0..;
        /// The id of a static member; null of a dynamic one.
        group_instance_id: Option<String> = None, strict 3..;
        /// What kind of group it is, such as `consumer`.
        protocol_type: Option<String> = None, ignorable 5..;
        /// The protocol that was chosen.
        protocol_name: Option<String> = None, ignorable 5..;
        /// What the leader assigns; empty from the others.
        assignments: Vec<SyncGroupRequestAssignment>, strict 0..;
    }

    /// The member's assignment.
    response SyncGroupResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, ignorable 1..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// What kind of group it is, such as `consumer`.
        protocol_type: Option<String> = None, ignorable 5..;
        /// The protocol that was chosen.
        protocol_name: Option<String> = None, ignorable 5..;
        /// What it is assigned, opaque to the broker.
        assignment: Bytes, strict 0..;
    }

    /// What the leader assigns to one member.
    struct SyncGroupRequestAssignment {
        /// The member's id.
        member_id: String, strict 0..;
        /// What it is assigned, opaque to the broker.
        assignment: Bytes, strict 0..;
    }
}
