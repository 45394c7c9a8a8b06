//! JoinGroup: membership of a classic group.
//!
//! Version 1 adds the rebalance timeout, 4 may first give the member an id (KIP-394), 5 adds static members
//! (KIP-345), 6 is flexible, 7 answers with the protocol's type (KIP-559), 8 adds a reason (KIP-800), 9 lets
//! a leader skip the assignment (KIP-814).

use bytes::Bytes;

use crate::protocol::message::message;

message! {
    api JoinGroup, versions 0..=9, flexible 6..;

    /// Asks to be a member.
    request JoinGroupRequest {
        /// The group.
        group_id: String, strict 0..;
        /// How long the member may be silent, in milliseconds.
        session_timeout_ms: i32, strict 0..;
        /// How long the member may take to join a rebalance, in milliseconds; -1 if it does not say.
        rebalance_timeout_ms: i32 = -1, ignorable 1..;
        /// The member's id; empty if it has none yet.
        member_id: String, strict 0..;
        /// The id of a static member; null of a dynamic one.
        group_instance_id: Option<String> = None, strict 5..;
        /// What kind of group it is, such as `consumer`.
        protocol_type: String, strict 0..;
        /// The protocols it can take part in, most preferred first.
        protocols: Vec<JoinGroupRequestProtocol>, strict 0..;
        /// Why, in words, for the logs.
        reason: Option<String> = None, ignorable 8..;
    }

    /// The membership, and to the leader those of all.
    response JoinGroupResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, ignorable 2..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// The generation of the group.
        generation_id: i32 = -1, strict 0..;
        /// What kind of group it is, such as `consumer`.
        protocol_type: Option<String> = None, ignorable 7..;
        /// The protocol that was chosen.
        protocol_name: Option<String>, strict 0.., nullable 7..;
        /// The member that assigns.
        leader: String, strict 0..;
        /// Whether the leader must not assign anew.
        skip_assignment: bool, strict 9..;
        /// The member's id.
        member_id: String, strict 0..;
        /// The members, for the leader alone.
        members: Vec<JoinGroupResponseMember>, strict 0..;
    }

    /// A protocol that a member can take part in.
    struct JoinGroupRequestProtocol {
        /// The protocol's name.
        name: String, strict 0..;
        /// What the member says of itself, opaque to the broker.
        metadata: Bytes, strict 0..;
    }

    /// A member, for the leader.
    struct JoinGroupResponseMember {
        /// The member's id.
        member_id: String, strict 0..;
        /// The id of a static member; null of a dynamic one.
        group_instance_id: Option<String> = None, ignorable 5..;
        /// What the member says of itself, opaque to the broker.
        metadata: Bytes, strict 0..;
    }
}
