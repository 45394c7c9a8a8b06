//! FindCoordinator: which broker coordinates a group, a transactional id or a share partition.
//!
//! Version 1 adds transactional ids, 3 is flexible, 4 asks for many at once (KIP-699), 5 may answer that a
//! transaction can be aborted (KIP-890), 6 adds share partitions (KIP-932).

use crate::protocol::message::message;

message! {
    api FindCoordinator, versions 0..=6, flexible 3..;

    /// Asks who coordinates.
    request FindCoordinatorRequest {
        /// The group or id, up to version 3.
        key: String, strict 0..=3;
        /// 0 group, 1 transactional id, 2 share partition.
        key_type: i8, strict 1..;
        /// The groups or ids, from version 4 on.
        coordinator_keys: Vec<String>, strict 4..;
    }

    /// Who coordinates.
    response FindCoordinatorResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, ignorable 1..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..=3;
        /// What went wrong, in words.
        error_message: Option<String>, ignorable 1..=3;
        /// The broker's id.
        node_id: i32, strict 0..=3;
        /// Its host, on the listener of this connection.
        host: String, strict 0..=3;
        /// Its port.
        port: i32, strict 0..=3;
        /// The answers, from version 4 on.
        coordinators: Vec<Coordinator>, strict 4..;
    }

    /// Who coordinates one key.
    struct Coordinator {
        /// The group or id.
        key: String, strict 4..;
        /// The broker's id.
        node_id: i32, strict 4..;
        /// Its host, on the listener of this connection.
        host: String, strict 4..;
        /// Its port.
        port: i32, strict 4..;
        /// 0, or what went wrong.
        error_code: i16, strict 4..;
        /// What went wrong, in words.
        error_message: Option<String>, ignorable 4..;
    }
}
