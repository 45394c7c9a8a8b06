//! DescribeGroups: classic groups and their members.
//!
//! Version 3 adds authorized operations (KIP-430), 4 static members (KIP-345), 5 is flexible, 6 has an error
//! for a group that is not there (KIP-1043).

use bytes::Bytes;

use crate::protocol::message::message;

message! {
    api DescribeGroups, versions 0..=6, flexible 5..;

    /// Asks for classic groups.
    request DescribeGroupsRequest {
        /// The groups.
        groups: Vec<String>, strict 0..;
        /// Whether to say what the caller may do to it.
        include_authorized_operations: bool, strict 3..;
    }

    /// The groups.
    response DescribeGroupsResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, ignorable 1..;
        /// The groups.
        groups: Vec<DescribedGroup>, strict 0..;
    }

    /// A group, or why it cannot be shown.
    struct DescribedGroup {
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// What went wrong, in words.
        error_message: Option<String> = None, strict 6..;
        /// The group.
        group_id: String, strict 0..;
        /// The group's state, by name.
        group_state: String, strict 0..;
        /// What kind of group it is, such as `consumer`.
        protocol_type: String, strict 0..;
        /// The protocol that was chosen, or empty.
        protocol_data: String, strict 0..;
        /// The members.
        members: Vec<DescribedGroupMember>, strict 0..;
        /// A bit for each operation allowed; `i32::MIN` if not asked for.
        authorized_operations: i32 = i32::MIN, strict 3..;
    }

    /// A member.
    struct DescribedGroupMember {
        /// The member's id.
        member_id: String, strict 0..;
        /// The id of a static member; null of a dynamic one.
        group_instance_id: Option<String> = None, ignorable 4..;
        /// The member's client id.
        client_id: String, strict 0..;
        /// The address it calls from.
        client_host: String, strict 0..;
        /// What the member says of itself, opaque to the broker.
        member_metadata: Bytes, strict 0..;
        /// What it is assigned, opaque to the broker.
        member_assignment: Bytes, strict 0..;
    }
}
