//! DescribeCluster: the brokers, or the controllers, of a cluster.
//!
//! Version 1 can ask a controller (KIP-919), 2 shows fenced brokers (KIP-1073).

use crate::protocol::message::message;

message! {
    api DescribeCluster, versions 0..=2, flexible 0..;

    /// Asks for the cluster.
    request DescribeClusterRequest {
        /// Whether to say what the caller may do to the cluster.
        include_cluster_authorized_operations: bool, strict 0..;
        /// 1 for brokers, 2 for controllers.
        endpoint_type: i8 = 1, strict 1..;
        /// Whether to show brokers that are fenced.
        include_fenced_brokers: bool, strict 2..;
    }

    /// The cluster.
    response DescribeClusterResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, strict 0..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// What went wrong, in words.
        error_message: Option<String> = None, strict 0..;
        /// 1 for brokers, 2 for controllers.
        endpoint_type: i8 = 1, strict 1..;
        /// The cluster's id.
        cluster_id: String, strict 0..;
        /// The broker to send administrative requests to; -1 if there is none.
        controller_id: i32 = -1, strict 0..;
        /// The brokers, or the controllers.
        brokers: Vec<DescribeClusterBroker>, strict 0..;
        /// A bit for each operation allowed; `i32::MIN` if not asked for.
        cluster_authorized_operations: i32 = i32::MIN, strict 0..;
    }

    /// A broker, or a controller.
    struct DescribeClusterBroker {
        /// Its id.
        broker_id: i32, strict 0..;
        /// Its host, on the listener of this connection.
        host: String, strict 0..;
        /// Its port.
        port: i32, strict 0..;
        /// Its rack.
        rack: Option<String> = None, strict 0..;
        /// Whether it is fenced.
        is_fenced: bool, strict 2..;
    }
}
