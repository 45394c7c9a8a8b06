//! LeaveGroup: members leave a classic group, or are removed from it.
//!
//! Version 3 takes many members (KIP-345), 4 is flexible, 5 adds a reason (KIP-800).

use crate::protocol::message::message;

message! {
    api LeaveGroup, versions 0..=5, flexible 4..;

    /// Takes members out of a group.
    request LeaveGroupRequest {
        /// The group.
        group_id: String, strict 0..;
        /// The member that leaves, up to version 2.
        member_id: String, strict 0..=2;
        /// The members that leave, from version 3 on.
        members: Vec<MemberIdentity>, strict 3..;
    }

    /// What became of them.
    response LeaveGroupResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, ignorable 1..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// The members.
        members: Vec<MemberResponse>, strict 3..;
    }

    /// A member that leaves.
    struct MemberIdentity {
        /// The member's id.
        member_id: String, strict 3..;
        /// The id of a static member; null of a dynamic one.
        group_instance_id: Option<String> = None, strict 3..;
        /// Why, in words, for the logs.
        reason: Option<String> = None, ignorable 5..;
    }

    /// What became of one member.
    struct MemberResponse {
        /// The member's id.
        member_id: String, strict 3..;
        /// The id of a static member; null of a dynamic one.
        group_instance_id: Option<String>, strict 3..;
        /// 0, or what went wrong.
        error_code: i16, strict 3..;
    }
}
