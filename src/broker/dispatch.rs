//! From a frame to its handler, and from its answer to a frame.
//!
//! In:   whole request frames of one connection, in order of arrival.
//! Out:  what the net is to do: answer later, answer alone, close.
//! Home: the connection's shard.
//!
//! Invariants
//!   D1  Whatever must keep the order of arrival (a fetch's session, a produce's appends, a
//!       group's commits) happens before this returns; the rest is in the returned future.
//!   D2  What cannot be read is answered by closing the connection, as Kafka does; only
//!       ApiVersions of an unknown version is answered, in version 0.
//!
//! Source: KIP-511 (the fallback of ApiVersions).

use std::future::Future;
use std::rc::Rc;

use bytes::{Buf as _, Bytes, BytesMut};

use crate::io::slice::Slice;
use crate::metrics::shard::AnsweredRequest;
use crate::model::time::Micros;
use crate::net::service::{Admitted, CloseReason, Reply, ResponseFrame};
use crate::protocol::api::ApiKey;
use crate::protocol::frame::{self, LENGTH_PREFIX_BYTES};
use crate::protocol::header::RequestHeader;
use crate::protocol::message::{Message, Request};
use crate::protocol::primitives::Reader;
use crate::shard::timers;

use super::connection::Connection;
use super::context::Shard;
use super::handlers;

/// A request's header and what its answer's metrics need.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// The API.
    pub api: ApiKey,
    /// The version, one that is served.
    pub version: i16,
    /// Comes back in the answer.
    pub correlation_id: i32,
    /// When the whole request was there.
    pub arrived: Micros,
    /// Bytes of the request.
    pub bytes: usize,
}

/// Takes in one frame (D1).
pub async fn admit(shard: &Rc<Shard>, connection: &Rc<Connection>, frame: BytesMut) -> Admitted {
    let mut reader = Reader::new(&frame);
    let Ok(header) = RequestHeader::decode(&mut reader) else { return close() };
    let Some(api) = header.api() else { return close() };
    let head = Head {
        api,
        version: header.api_version,
        correlation_id: header.correlation_id,
        arrived: timers::now(),
        bytes: frame.len(),
    };
    if !api.serves(head.version) {
        return match api {
            ApiKey::ApiVersions => handlers::api_versions::unsupported(shard, head),
            _ => close(),
        };
    }
    let body_at = reader.position();
    let mut body = frame;
    body.advance(body_at);
    match api {
        ApiKey::Produce => handlers::produce::admit(shard, connection, head, body).await,
        ApiKey::Fetch => handlers::fetch::admit(shard, connection, head, &body),
        ApiKey::JoinGroup | ApiKey::ConsumerGroupHeartbeat => {
            admit_member(shard, connection, head, header.client_id, &body)
        }
        ApiKey::OffsetCommit => handlers::offset_commit::admit(shard, head, &body).await,
        _ => admit_plain(shard, connection, head, &body),
    }
}

/// APIs whose effects need no order among the requests of one connection.
fn admit_plain(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    head: Head,
    body: &BytesMut,
) -> Admitted {
    let shard = Rc::clone(shard);
    let connection = Rc::clone(connection);
    let version = head.version;
    match head.api {
        ApiKey::ApiVersions => plain(shard, head, body, move |shard, request| async move {
            handlers::api_versions::handle(&shard.image(), &request, version)
        }),
        ApiKey::Metadata => plain(shard, head, body, move |shard, request| async move {
            handlers::metadata::handle(&shard, &connection, request, version).await
        }),
        ApiKey::ListOffsets => plain(shard, head, body, move |shard, request| async move {
            handlers::list_offsets::handle(&shard, request, version).await
        }),
        ApiKey::OffsetForLeaderEpoch => plain(shard, head, body, |shard, request| async move {
            handlers::offset_for_leader_epoch::handle(&shard, request).await
        }),
        ApiKey::CreateTopics => plain(shard, head, body, |shard, request| async move {
            handlers::create_topics::handle(&shard, request).await
        }),
        ApiKey::DeleteTopics => plain(shard, head, body, move |shard, request| async move {
            handlers::delete_topics::handle(&shard, request, version).await
        }),
        ApiKey::InitProducerId => plain(shard, head, body, move |shard, request| async move {
            handlers::init_producer_id::handle(&shard, request, version).await
        }),
        ApiKey::DescribeCluster => plain(shard, head, body, move |shard, request| async move {
            handlers::describe_cluster::handle(&shard, &connection, &request)
        }),
        ApiKey::DescribeTopicPartitions => plain(shard, head, body, |shard, request| async move {
            handlers::describe_topic_partitions::handle(&shard, &request)
        }),
        ApiKey::DescribeConfigs => plain(shard, head, body, |shard, request| async move {
            handlers::describe_configs::handle(&shard, &request)
        }),
        _ => admit_group(shard, connection, head, body),
    }
}

/// As [`admit_plain`], for APIs about groups.
fn admit_group(
    shard: Rc<Shard>,
    connection: Rc<Connection>,
    head: Head,
    body: &BytesMut,
) -> Admitted {
    let version = head.version;
    match head.api {
        ApiKey::FindCoordinator => plain(shard, head, body, move |shard, request| async move {
            handlers::find_coordinator::handle(&shard, &connection, request, version).await
        }),
        ApiKey::SyncGroup => plain(shard, head, body, move |shard, request| async move {
            handlers::sync_group::handle(&shard, request, version).await
        }),
        ApiKey::Heartbeat => plain(shard, head, body, |shard, request| async move {
            handlers::heartbeat::handle(&shard, request).await
        }),
        ApiKey::LeaveGroup => plain(shard, head, body, move |shard, request| async move {
            handlers::leave_group::handle(&shard, request, version).await
        }),
        ApiKey::OffsetFetch => plain(shard, head, body, move |shard, request| async move {
            handlers::offset_fetch::handle(&shard, request, version).await
        }),
        ApiKey::TxnOffsetCommit => plain(shard, head, body, move |shard, request| async move {
            handlers::txn_offset_commit::handle(&shard, request, version).await
        }),
        ApiKey::ConsumerGroupDescribe => plain(shard, head, body, |shard, request| async move {
            handlers::consumer_group_describe::handle(&shard, request).await
        }),
        ApiKey::OffsetDelete => plain(shard, head, body, |shard, request| async move {
            handlers::offset_delete::handle(&shard, request).await
        }),
        ApiKey::DescribeGroups => plain(shard, head, body, move |shard, request| async move {
            handlers::describe_groups::handle(&shard, request, version).await
        }),
        ApiKey::ListGroups => plain(shard, head, body, |shard, request| async move {
            handlers::list_groups::handle(&shard, request).await
        }),
        ApiKey::DeleteGroups => plain(shard, head, body, |shard, request| async move {
            handlers::delete_groups::handle(&shard, request).await
        }),
        _ => admit_transaction(shard, head, body),
    }
}

/// As [`admit_plain`], for APIs about transactions.
fn admit_transaction(shard: Rc<Shard>, head: Head, body: &BytesMut) -> Admitted {
    let version = head.version;
    match head.api {
        ApiKey::AddPartitionsToTxn => plain(shard, head, body, move |shard, request| async move {
            handlers::add_partitions_to_txn::handle(&shard, request, version).await
        }),
        ApiKey::AddOffsetsToTxn => plain(shard, head, body, move |shard, request| async move {
            handlers::add_offsets_to_txn::handle(&shard, request, version).await
        }),
        ApiKey::EndTxn => plain(shard, head, body, move |shard, request| async move {
            handlers::end_txn::handle(&shard, request, version).await
        }),
        ApiKey::DescribeTransactions => plain(shard, head, body, |shard, request| async move {
            handlers::describe_transactions::handle(&shard, request).await
        }),
        ApiKey::ListTransactions => plain(shard, head, body, |shard, request| async move {
            handlers::list_transactions::handle(&shard, request).await
        }),
        _ => admit_admin(shard, head, body),
    }
}

/// What administrators ask.
fn admit_admin(shard: Rc<Shard>, head: Head, body: &BytesMut) -> Admitted {
    let version = head.version;
    match head.api {
        ApiKey::CreatePartitions => plain(shard, head, body, |shard, request| async move {
            handlers::create_partitions::handle(&shard, request).await
        }),
        ApiKey::DeleteRecords => plain(shard, head, body, |shard, request| async move {
            handlers::delete_records::handle(&shard, request).await
        }),
        ApiKey::AlterConfigs => plain(shard, head, body, |shard, request| async move {
            handlers::alter_configs::replace(&shard, request).await
        }),
        ApiKey::IncrementalAlterConfigs => plain(shard, head, body, |shard, request| async move {
            handlers::alter_configs::change(&shard, request).await
        }),
        ApiKey::UpdateFeatures => plain(shard, head, body, move |shard, request| async move {
            handlers::update_features::handle(&shard, request, version).await
        }),
        ApiKey::ListConfigResources => plain(shard, head, body, move |shard, request| async move {
            handlers::list_config_resources::handle(&shard, &request, version)
        }),
        ApiKey::DescribeLogDirs => plain(shard, head, body, |shard, request| async move {
            handlers::describe_log_dirs::handle(&shard, request).await
        }),
        ApiKey::DescribeProducers => plain(shard, head, body, |shard, request| async move {
            handlers::describe_producers::handle(&shard, request).await
        }),
        ApiKey::DescribeQuorum => plain(shard, head, body, move |shard, request| async move {
            handlers::describe_quorum::handle(&shard, request, version).await
        }),
        ApiKey::ElectLeaders => plain(shard, head, body, |shard, request| async move {
            handlers::elect_leaders::handle(&shard, &request)
        }),
        ApiKey::AlterPartitionReassignments => {
            plain(shard, head, body, |shard, request| async move {
                handlers::partition_reassignments::alter(&shard, &request)
            })
        }
        ApiKey::ListPartitionReassignments => plain(shard, head, body, |_, request| async move {
            handlers::partition_reassignments::list(&request)
        }),
        ApiKey::WriteTxnMarkers => plain(shard, head, body, |shard, request| async move {
            handlers::write_txn_markers::handle(&shard, request).await
        }),
        // In the table of what is served, and not here: our own mistake, found by a test.
        other => panic!("{} is served but has no handler", other.name()),
    }
}

/// What a member says of itself goes with who its client says it is.
fn admit_member(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    head: Head,
    client_id: Option<String>,
    body: &BytesMut,
) -> Admitted {
    let (shard, connection) = (Rc::clone(shard), Rc::clone(connection));
    let version = head.version;
    match head.api {
        ApiKey::JoinGroup => plain(shard, head, body, move |shard, request| async move {
            handlers::join_group::handle(&shard, &connection, client_id, request, version).await
        }),
        _ => plain(shard, head, body, move |shard, request| async move {
            let (at, who) = (&shard, &connection);
            handlers::consumer_group_heartbeat::handle(at, who, client_id, request, version).await
        }),
    }
}

/// Decodes now, handles later.
fn plain<Q, H, F>(shard: Rc<Shard>, head: Head, body: &BytesMut, handle: H) -> Admitted
where
    Q: Request + 'static,
    H: FnOnce(Rc<Shard>, Q) -> F + 'static,
    F: Future<Output = Q::Response> + 'static,
{
    match Q::decode(&mut Reader::new(body), head.version) {
        Err(_) => close(),
        Ok(request) => Admitted::Reply(Box::pin(async move {
            let response = handle(Rc::clone(&shard), request).await;
            answer(&shard, head, &response)
        })),
    }
}

/// A request that cannot be read (D2).
pub fn close() -> Admitted {
    Admitted::Close(CloseReason::BadRequest)
}

/// Encodes an answer and counts it.
pub fn answer<M: Message>(shard: &Shard, head: Head, response: &M) -> Reply {
    answer_counted(shard, head, response, false)
}

/// [`answer`], of a request that failed in part or as a whole if `failed`.
pub fn answer_counted<M: Message>(shard: &Shard, head: Head, response: &M, failed: bool) -> Reply {
    match frame::response(head.correlation_id, head.version, response) {
        Ok(frame) => reply(shard, head, vec![Slice::Memory(frame)], failed),
        Err(error) => {
            tracing::error!(api = head.api.name(), %error, "answer cannot be encoded");
            Reply::Close(CloseReason::ResponseTooLarge)
        }
    }
}

/// Counts an answer whose frame is in pieces, the length prefix in the first.
pub fn reply(shard: &Shard, head: Head, mut pieces: Vec<Slice>, failed: bool) -> Reply {
    match pieces.first_mut() {
        Some(Slice::Memory(first)) => drop_length(first),
        _ => panic!("a frame begins with its header, in memory"),
    }
    let frame = ResponseFrame { pieces };
    count(shard, head, frame.length(), failed);
    Reply::Frame(frame)
}

/// The net writes the length itself.
fn drop_length(first: &mut Bytes) {
    assert!(first.len() >= LENGTH_PREFIX_BYTES, "a frame has its length");
    first.advance(LENGTH_PREFIX_BYTES);
}

/// Counts a request as answered.
pub fn count(shard: &Shard, head: Head, response_bytes: usize, failed: bool) {
    shard.metrics.borrow_mut().answered(AnsweredRequest {
        api_key: head.api.key(),
        failed,
        latency_us: timers::now().since(head.arrived),
        request_bytes: head.bytes as u64,
        response_bytes: response_bytes as u64,
    });
}
