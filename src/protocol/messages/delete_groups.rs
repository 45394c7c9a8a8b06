//! DeleteGroups: groups without members are deleted.
//!
//! Version 2 is flexible.

use crate::protocol::message::message;

message! {
    api DeleteGroups, versions 0..=2, flexible 2..;

    /// Deletes groups.
    request DeleteGroupsRequest {
        /// The groups.
        groups_names: Vec<String>, strict 0..;
    }

    /// What became of them.
    response DeleteGroupsResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, strict 0..;
        /// What became of each.
        results: Vec<DeletableGroupResult>, strict 0..;
    }

    /// What became of one group.
    struct DeletableGroupResult {
        /// The group.
        group_id: String, strict 0..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
    }
}
