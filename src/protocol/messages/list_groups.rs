//! ListGroups: the groups of a coordinator, of all types.
//!
//! Version 3 is flexible, 4 filters by state (KIP-518), 5 by type (KIP-848).

use crate::protocol::message::message;

message! {
    api ListGroups, versions 0..=5, flexible 3..;

    /// Asks for all groups of a coordinator.
    request ListGroupsRequest {
        /// States to show; empty for all.
        states_filter: Vec<String>, strict 4..;
        /// Types to show; empty for all.
        types_filter: Vec<String>, strict 5..;
    }

    /// The groups.
    response ListGroupsResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, ignorable 1..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// The groups.
        groups: Vec<ListedGroup>, strict 0..;
    }

    /// A group.
    struct ListedGroup {
        /// The group.
        group_id: String, strict 0..;
        /// What kind of group it is, such as `consumer`.
        protocol_type: String, strict 0..;
        /// The group's state, by name.
        group_state: String, ignorable 4..;
        /// The group's type, by name.
        group_type: String, ignorable 5..;
    }
}
