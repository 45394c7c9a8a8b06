//! Golden bytes: what Apache Kafka 4.3.1 and real clients wrote, bytes beside JSON.
//!
//! A vector, made by Kafka's own classes, is decoded to its last byte, compared with its JSON, and
//! encoded to the same bytes. So is each answer of the real broker; a request of a real client may have
//! bytes after its body, and is refused exactly where Kafka's classes refuse it.
//! The data and its description lie in `tests/golden`.

use std::fmt::Debug;
use std::io::Read as _;

use serde_json::{Value, json};

use crate::protocol::fetch::{FetchRequest, FetchResponse};
use crate::protocol::header::{RequestHeader, ResponseHeader};
use crate::protocol::message::{self, Message, Request};
use crate::protocol::messages::*;
use crate::protocol::primitives::{Reader, Writer};
use crate::protocol::probe::Probe;
use crate::protocol::produce::{ProduceRequest, ProduceResponse};
use crate::testing::prng::Prng;
use crate::testing::seeds::seeds;

/// The lines of a file under `tests/golden`.
pub fn lines(path: &str) -> Vec<Value> {
    #[allow(clippy::disallowed_methods)] // a test's own file
    let packed = std::fs::read(format!("{}/tests/golden/{path}", env!("CARGO_MANIFEST_DIR")))
        .unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text).expect("gzip of text");
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

/// Bytes of a hexadecimal string.
pub fn unhex(text: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("two hexadecimal digits");
    (0..text.len()).step_by(2).map(pair).collect()
}

/// A field that is text.
pub fn text<'a>(line: &'a Value, field: &str) -> &'a str {
    line[field].as_str().unwrap_or_else(|| panic!("no {field}"))
}

/// The version that a line is about.
pub fn version(line: &Value) -> i16 {
    i16::try_from(line["version"].as_i64().expect("a version")).expect("16 bits")
}

/// Holds every vector of `kind` against `M`; each version of `M` must have one.
fn check<M: Message + Probe + PartialEq + Debug>(kind: &str) {
    let path = format!("vectors/api-{:03}-{}.jsonl.gz", M::KEY.key(), M::KEY.name());
    let mut seen: Vec<i16> = Vec::new();
    for line in lines(&path).iter().filter(|line| line["kind"] == kind) {
        let version = version(line);
        let Some(layout) = message::layout::<M>(version) else { continue };
        assert_eq!(layout.flexible, line["flexible"].as_bool().expect("a boolean"));
        let about = format!("{path} {kind} {version} {}", text(line, "case"));
        let bytes = unhex(text(line, "hex"));
        let mut reader = Reader::new(&bytes);
        let message = M::decode(&mut reader, version).unwrap_or_else(|e| panic!("{about}: {e}"));
        assert_eq!(reader.remaining(), 0, "{about}");
        assert_eq!(message.to_json(layout), line["json"], "{about}");
        let mut writer = Writer::new();
        message.encode(&mut writer, version).unwrap_or_else(|e| panic!("{about}: {e}"));
        assert_eq!(writer.written(), bytes, "{about}");
        seen.push(version);
    }
    for version in M::VERSIONS {
        assert!(seen.contains(&version), "{path}: no {kind} of version {version}");
        assert_eq!(M::is_flexible(version), M::KEY.is_flexible(version));
    }
    assert!(M::KEY.served().is_none_or(|served| served == M::VERSIONS), "{path}");
}

/// Holds random messages of every version of `M` against what comes back from their bytes.
fn round_trip<M: Message + Probe + PartialEq + Debug>() {
    for seed in seeds(40) {
        let mut prng = Prng::new(seed.0);
        for version in M::VERSIONS {
            let layout = message::layout::<M>(version).expect("one of its versions");
            let message = M::arbitrary(&mut prng, layout);
            let mut writer = Writer::new();
            message.encode(&mut writer, version).expect("what the version can carry");
            let bytes = writer.into_buffer().freeze();
            let mut reader = Reader::shared(&bytes);
            assert_eq!(M::decode(&mut reader, version), Ok(message), "version {version}");
            assert_eq!(reader.remaining(), 0);
        }
    }
}

/// Holds one recorded request, and the answer if there is one, against `M`. Gives whether it had one.
fn exchange<M>(line: &Value) -> bool
where
    M: Request + Probe + PartialEq + Debug,
    M::Response: Probe + PartialEq + Debug,
{
    let bytes = unhex(text(line, "requestHex"));
    let request = &line["request"];
    let mut reader = Reader::new(&bytes);
    let header = RequestHeader::decode(&mut reader).expect("recorded headers are whole");
    assert_eq!(header.api_version, request["version"]);
    assert_eq!(header.correlation_id, request["correlationId"]);
    let decoded = M::decode(&mut reader, header.api_version);
    if request["unreadable"].is_string() {
        assert!(decoded.is_err(), "Kafka refuses it");
    } else {
        assert_eq!(json!(header.client_id), request["clientId"]);
        let layout = message::layout::<M>(header.api_version).expect("decoded in it");
        assert_eq!(decoded.expect("Kafka reads it").to_json(layout), request["body"]);
        assert_eq!(reader.remaining(), request["trailing"].as_u64().map_or(0, bytes_count));
    }
    if line["responseHex"].is_null() {
        return false;
    }
    let bytes = unhex(text(line, "responseHex"));
    let response = &line["response"];
    // A version of ApiVersions that Kafka does not know is answered in version 0.
    let version = if M::VERSIONS.contains(&header.api_version) { header.api_version } else { 0 };
    let layout = message::layout::<M::Response>(version).expect("answered in it");
    let mut reader = Reader::new(&bytes);
    let header = ResponseHeader::decode(&mut reader, M::KEY, version).expect("a header");
    assert_eq!(header.correlation_id, response["correlationId"]);
    let message = M::Response::decode(&mut reader, version).expect("Kafka wrote it");
    assert_eq!(reader.remaining(), 0);
    assert_eq!(message.to_json(layout), response["body"]);
    let mut writer = Writer::new();
    header.encode(&mut writer, M::KEY, version).expect("a header");
    message.encode(&mut writer, version).expect("a version that was decoded");
    assert_eq!(writer.written(), bytes);
    true
}

fn bytes_count(count: u64) -> usize {
    usize::try_from(count).expect("a count of bytes")
}

/// Holds every exchange of a file; gives how many were answered.
fn exchanges(path: &str) -> usize {
    let hold = |line: &Value| {
        let key = i16::try_from(line["key"].as_i64().expect("a key")).expect("16 bits");
        let who = line.get("client").or(line.get("step")).map(Value::to_string);
        let held = std::panic::catch_unwind(|| hold_exchange(key, line));
        held.unwrap_or_else(|_| panic!("{path}: {who:?}, key {key}, {}", line["requestHex"]))
    };
    lines(path).iter().filter(|line| hold(line)).count()
}

#[test]
fn recorded_between_real_clients_and_the_real_broker() {
    let answered = exchanges("captures.jsonl.gz");
    assert!(answered >= 500, "vacuous: {answered} answers");
}

#[test]
fn asked_of_the_real_broker_and_answered() {
    let answered = exchanges("sweep.jsonl.gz");
    assert!(answered >= 1200, "vacuous: {answered} answers");
}

macro_rules! golden {
    ($($name:ident: $request:ty, $response:ty;)*) => {
        fn hold_exchange(key: i16, line: &Value) -> bool {
            $(
                if key == <$request as Message>::KEY.key() {
                    return exchange::<$request>(line);
                }
            )*
            panic!("nothing here reads key {key}");
        }

        $(
            mod $name {
                use super::*;

                #[test]
                fn golden_bytes() {
                    check::<$request>("request");
                    check::<$response>("response");
                }

                #[test]
                fn round_trips() {
                    round_trip::<$request>();
                    round_trip::<$response>();
                }
            }
        )*
    };
}

golden! {
    api_000_produce: ProduceRequest, ProduceResponse;
    api_001_fetch: FetchRequest, FetchResponse<bytes::Bytes>;
    api_003_metadata: metadata::MetadataRequest, metadata::MetadataResponse;
    api_018_api_versions: api_versions::ApiVersionsRequest, api_versions::ApiVersionsResponse;
    api_002_list_offsets: list_offsets::ListOffsetsRequest, list_offsets::ListOffsetsResponse;
    api_010_find_coordinator: find_coordinator::FindCoordinatorRequest, find_coordinator::FindCoordinatorResponse;
    api_019_create_topics: create_topics::CreateTopicsRequest, create_topics::CreateTopicsResponse;
    api_020_delete_topics: delete_topics::DeleteTopicsRequest, delete_topics::DeleteTopicsResponse;
    api_022_init_producer_id: init_producer_id::InitProducerIdRequest, init_producer_id::InitProducerIdResponse;
    api_023_offset_for_leader_epoch: offset_for_leader_epoch::OffsetForLeaderEpochRequest, offset_for_leader_epoch::OffsetForLeaderEpochResponse;
    api_032_describe_configs: describe_configs::DescribeConfigsRequest, describe_configs::DescribeConfigsResponse;
    api_060_describe_cluster: describe_cluster::DescribeClusterRequest, describe_cluster::DescribeClusterResponse;
    api_075_describe_topic_partitions: describe_topic_partitions::DescribeTopicPartitionsRequest, describe_topic_partitions::DescribeTopicPartitionsResponse;
    api_011_join_group: join_group::JoinGroupRequest, join_group::JoinGroupResponse;
    api_014_sync_group: sync_group::SyncGroupRequest, sync_group::SyncGroupResponse;
    api_012_heartbeat: heartbeat::HeartbeatRequest, heartbeat::HeartbeatResponse;
    api_013_leave_group: leave_group::LeaveGroupRequest, leave_group::LeaveGroupResponse;
    api_008_offset_commit: offset_commit::OffsetCommitRequest, offset_commit::OffsetCommitResponse;
    api_009_offset_fetch: offset_fetch::OffsetFetchRequest, offset_fetch::OffsetFetchResponse;
    api_015_describe_groups: describe_groups::DescribeGroupsRequest, describe_groups::DescribeGroupsResponse;
    api_016_list_groups: list_groups::ListGroupsRequest, list_groups::ListGroupsResponse;
    api_042_delete_groups: delete_groups::DeleteGroupsRequest, delete_groups::DeleteGroupsResponse;
    api_047_offset_delete: offset_delete::OffsetDeleteRequest, offset_delete::OffsetDeleteResponse;
    api_037_create_partitions: create_partitions::CreatePartitionsRequest, create_partitions::CreatePartitionsResponse;
    api_021_delete_records: delete_records::DeleteRecordsRequest, delete_records::DeleteRecordsResponse;
    api_044_incremental_alter_configs: incremental_alter_configs::IncrementalAlterConfigsRequest, incremental_alter_configs::IncrementalAlterConfigsResponse;
    api_033_alter_configs: alter_configs::AlterConfigsRequest, alter_configs::AlterConfigsResponse;
    api_074_list_config_resources: list_config_resources::ListConfigResourcesRequest, list_config_resources::ListConfigResourcesResponse;
    api_035_describe_log_dirs: describe_log_dirs::DescribeLogDirsRequest, describe_log_dirs::DescribeLogDirsResponse;
    api_061_describe_producers: describe_producers::DescribeProducersRequest, describe_producers::DescribeProducersResponse;
    api_055_describe_quorum: describe_quorum::DescribeQuorumRequest, describe_quorum::DescribeQuorumResponse;
    api_057_update_features: update_features::UpdateFeaturesRequest, update_features::UpdateFeaturesResponse;
    api_043_elect_leaders: elect_leaders::ElectLeadersRequest, elect_leaders::ElectLeadersResponse;
    api_045_alter_partition_reassignments: alter_partition_reassignments::AlterPartitionReassignmentsRequest, alter_partition_reassignments::AlterPartitionReassignmentsResponse;
    api_046_list_partition_reassignments: list_partition_reassignments::ListPartitionReassignmentsRequest, list_partition_reassignments::ListPartitionReassignmentsResponse;
    api_024_add_partitions_to_txn: add_partitions_to_txn::AddPartitionsToTxnRequest, add_partitions_to_txn::AddPartitionsToTxnResponse;
    api_025_add_offsets_to_txn: add_offsets_to_txn::AddOffsetsToTxnRequest, add_offsets_to_txn::AddOffsetsToTxnResponse;
    api_028_txn_offset_commit: txn_offset_commit::TxnOffsetCommitRequest, txn_offset_commit::TxnOffsetCommitResponse;
    api_026_end_txn: end_txn::EndTxnRequest, end_txn::EndTxnResponse;
    api_027_write_txn_markers: write_txn_markers::WriteTxnMarkersRequest, write_txn_markers::WriteTxnMarkersResponse;
    api_065_describe_transactions: describe_transactions::DescribeTransactionsRequest, describe_transactions::DescribeTransactionsResponse;
    api_066_list_transactions: list_transactions::ListTransactionsRequest, list_transactions::ListTransactionsResponse;
    api_068_consumer_group_heartbeat: consumer_group_heartbeat::ConsumerGroupHeartbeatRequest, consumer_group_heartbeat::ConsumerGroupHeartbeatResponse;
    api_069_consumer_group_describe: consumer_group_describe::ConsumerGroupDescribeRequest, consumer_group_describe::ConsumerGroupDescribeResponse;
    api_088_streams_group_heartbeat: streams_group_heartbeat::StreamsGroupHeartbeatRequest, streams_group_heartbeat::StreamsGroupHeartbeatResponse;
    api_089_streams_group_describe: streams_group_describe::StreamsGroupDescribeRequest, streams_group_describe::StreamsGroupDescribeResponse;
}
