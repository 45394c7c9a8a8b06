//! DescribeCluster (key 60), versions 0-2: the brokers and the controller.
//!
//! Source: KIP-700, KIP-919 (endpoint types), KIP-1073 (fenced brokers).

use std::rc::Rc;

use crate::protocol::error::ErrorCode;
use crate::protocol::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};

use super::super::connection::Connection;
use super::super::context::Shard;
use super::{AUTHORIZED_CLUSTER, AUTHORIZED_NONE};

/// `endpoint_type` of brokers.
const BROKERS: i8 = 1;
/// `endpoint_type` of controllers.
const CONTROLLERS: i8 = 2;

/// Answers one request.
pub fn handle(
    shard: &Rc<Shard>,
    connection: &Connection,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    let image = shard.image();
    if request.endpoint_type != BROKERS {
        return wrong_endpoint(request.endpoint_type);
    }
    let brokers = image.brokers().iter().filter_map(|(id, broker)| {
        let endpoint = broker.endpoints.get(&connection.listener)?;
        Some(DescribeClusterBroker {
            broker_id: id.0,
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            rack: broker.rack.clone(),
            ..DescribeClusterBroker::default()
        })
    });
    let cluster_operations = match request.include_cluster_authorized_operations {
        true => AUTHORIZED_CLUSTER,
        false => AUTHORIZED_NONE,
    };
    DescribeClusterResponse {
        error_message: None,
        endpoint_type: BROKERS,
        cluster_id: image.cluster_id().unwrap_or_default().to_owned(),
        controller_id: shard.static_config.node_id.0,
        brokers: brokers.collect(),
        cluster_authorized_operations: cluster_operations,
        ..DescribeClusterResponse::default()
    }
}

fn wrong_endpoint(asked: i8) -> DescribeClusterResponse {
    let (error, message) = match asked {
        CONTROLLERS => {
            let words = "this listener is of brokers, not of controllers";
            (ErrorCode::MismatchedEndpointType, words.to_owned())
        }
        other => (ErrorCode::UnsupportedEndpointType, format!("there is no endpoint type {other}")),
    };
    DescribeClusterResponse {
        error_code: error.code(),
        error_message: Some(message),
        endpoint_type: BROKERS,
        controller_id: -1,
        cluster_authorized_operations: AUTHORIZED_NONE,
        ..DescribeClusterResponse::default()
    }
}
