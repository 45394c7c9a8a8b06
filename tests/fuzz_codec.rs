//! Hostile bytes against every decoder: an error or a message, never a panic, and memory in its budget.
//!
//! In:   the golden bodies, mutated by a seeded generator, and frames made by hand.
//! Out:  -
//!
//! An allocator that counts, per thread, holds invariant C2 of the codec. It is the one place in the
//! tests with `unsafe`: a global allocator cannot be written without.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Read as _;

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use yeoul::protocol::fetch::{FetchRequest, FetchResponse};
use yeoul::protocol::header::RequestHeader;
use yeoul::protocol::message::Message;
use yeoul::protocol::messages::*;
use yeoul::protocol::primitives::{Reader, Writer, memory_limit};
use yeoul::protocol::produce::{ProduceRequest, ProduceResponse};
use yeoul::protocol::records::{
    Data, GroupRecordKey, TransactionRecordKey, classic_group, consumer_group, consumer_protocol,
    decode_embedded, decode_value, encode_value, transaction,
};
use yeoul::testing::prng::Prng;
use yeoul::testing::seeds::seeds;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes on to the system's allocator with the same arguments; counting touches only
// thread-local cells that need no allocation and have no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.get().wrapping_add(layout.size());
        LIVE.set(live);
        // More freed than allocated on this thread wraps around: not a peak.
        PEAK.set(PEAK.get().max(if live > usize::MAX / 2 { 0 } else { live }));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get().wrapping_sub(layout.size()));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes this thread held at once during `run`, beyond what it held before.
fn peak_of<T>(run: impl FnOnce() -> T) -> (T, usize) {
    LIVE.set(0);
    PEAK.set(0);
    let result = run();
    (result, PEAK.get())
}

/// Vectors double as they grow, and while one moves both copies are there.
fn memory_allowed(input_bytes: usize) -> usize {
    3 * memory_limit(input_bytes) + 4096
}

fn lines(path: &str) -> Vec<Value> {
    #[allow(clippy::disallowed_methods)] // a test's own file
    let packed = std::fs::read(format!("{}/tests/golden/{path}", env!("CARGO_MANIFEST_DIR")))
        .unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text).expect("gzip of text");
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("two hexadecimal digits");
    (0..text.len()).step_by(2).map(pair).collect()
}

fn version(line: &Value) -> i16 {
    i16::try_from(line["version"].as_i64().expect("a version")).expect("16 bits")
}

/// Numbers that lengths, counts and tags are told to be.
const HOSTILE: [&[u8]; 10] = [
    &[0xff, 0xff, 0xff, 0xff],
    &[0x7f, 0xff, 0xff, 0xff],
    &[0x80, 0, 0, 0],
    &[0xff, 0xff],
    &[0x7f, 0xff],
    &[0x80, 0],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0x07],
    &[0],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
];

fn mutate(bytes: &[u8], prng: &mut Prng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=prng.below(3) {
        if bytes.is_empty() {
            return prng.bytes(20);
        }
        let at = prng.index(bytes.len());
        match prng.below(6) {
            0 | 1 => bytes[at] ^= 1 << prng.below(8),
            2 => bytes.truncate(at),
            3 => {
                let number = HOSTILE[prng.index(HOSTILE.len())];
                let end = bytes.len().min(at + number.len());
                bytes[at..end].copy_from_slice(&number[..end - at]);
            }
            4 => {
                let number = HOSTILE[prng.index(HOSTILE.len())];
                bytes.splice(at..at, number.iter().copied());
            }
            _ => {
                let again = bytes[at..].to_vec();
                bytes.extend_from_slice(&again);
            }
        }
    }
    bytes
}

/// Decodes hostile forms of every golden body of `kind`; gives how many were refused.
fn fuzz<M: Message>(kind: &str) -> usize {
    let path = format!("vectors/api-{:03}-{}.jsonl.gz", M::KEY.key(), M::KEY.name());
    let bodies: Vec<(i16, Vec<u8>)> = lines(&path)
        .iter()
        .filter(|line| line["kind"] == kind)
        .map(|line| (version(line), unhex(line["hex"].as_str().expect("a body"))))
        .filter(|(version, _)| M::VERSIONS.contains(version))
        .collect();
    let mut refused = 0;
    for seed in seeds(12) {
        let mut prng = Prng::new(seed.0);
        for (version, body) in &bodies {
            let hostile = mutate(body, &mut prng);
            refused += usize::from(survives::<M>(&hostile, *version).is_err());
        }
    }
    assert!(refused > bodies.len(), "vacuous: {refused} of {path} were refused");
    refused
}

/// Decodes in the memory allowed; what decodes can be encoded again, or is refused as a value.
fn survives<M: Message>(bytes: &[u8], version: i16) -> Result<(), ()> {
    let (decoded, peak) = peak_of(|| M::decode(&mut Reader::new(bytes), version));
    let allowed = memory_allowed(bytes.len());
    assert!(peak <= allowed, "{peak} bytes of memory for {} of input: {bytes:02x?}", bytes.len());
    let message = decoded.map_err(|_| ())?;
    let mut writer = Writer::new();
    if message.encode(&mut writer, version).is_ok() {
        let again = M::decode(&mut Reader::new(writer.written()), version);
        assert!(again.is_ok(), "encoded, but not to be decoded: {bytes:02x?}");
    }
    Ok(())
}

macro_rules! fuzz {
    ($($name:ident: $request:ty, $response:ty;)*) => {
        $(
            #[test]
            fn $name() {
                fuzz::<$request>("request");
                fuzz::<$response>("response");
            }
        )*
    };
}

fuzz! {
    produce: ProduceRequest, ProduceResponse;
    fetch: FetchRequest, FetchResponse<Bytes>;
    list_offsets: list_offsets::ListOffsetsRequest, list_offsets::ListOffsetsResponse;
    metadata: metadata::MetadataRequest, metadata::MetadataResponse;
    find_coordinator: find_coordinator::FindCoordinatorRequest,
        find_coordinator::FindCoordinatorResponse;
    api_versions: api_versions::ApiVersionsRequest, api_versions::ApiVersionsResponse;
    create_topics: create_topics::CreateTopicsRequest, create_topics::CreateTopicsResponse;
    delete_topics: delete_topics::DeleteTopicsRequest, delete_topics::DeleteTopicsResponse;
    init_producer_id: init_producer_id::InitProducerIdRequest,
        init_producer_id::InitProducerIdResponse;
    offset_for_leader_epoch: offset_for_leader_epoch::OffsetForLeaderEpochRequest,
        offset_for_leader_epoch::OffsetForLeaderEpochResponse;
    describe_configs: describe_configs::DescribeConfigsRequest,
        describe_configs::DescribeConfigsResponse;
    describe_cluster: describe_cluster::DescribeClusterRequest,
        describe_cluster::DescribeClusterResponse;
    describe_topic_partitions: describe_topic_partitions::DescribeTopicPartitionsRequest,
        describe_topic_partitions::DescribeTopicPartitionsResponse;
    join_group: join_group::JoinGroupRequest, join_group::JoinGroupResponse;
    sync_group: sync_group::SyncGroupRequest, sync_group::SyncGroupResponse;
    heartbeat: heartbeat::HeartbeatRequest, heartbeat::HeartbeatResponse;
    leave_group: leave_group::LeaveGroupRequest, leave_group::LeaveGroupResponse;
    offset_commit: offset_commit::OffsetCommitRequest, offset_commit::OffsetCommitResponse;
    offset_fetch: offset_fetch::OffsetFetchRequest, offset_fetch::OffsetFetchResponse;
    describe_groups: describe_groups::DescribeGroupsRequest, describe_groups::DescribeGroupsResponse;
    list_groups: list_groups::ListGroupsRequest, list_groups::ListGroupsResponse;
    delete_groups: delete_groups::DeleteGroupsRequest, delete_groups::DeleteGroupsResponse;
    offset_delete: offset_delete::OffsetDeleteRequest, offset_delete::OffsetDeleteResponse;
    create_partitions: create_partitions::CreatePartitionsRequest, create_partitions::CreatePartitionsResponse;
    delete_records: delete_records::DeleteRecordsRequest, delete_records::DeleteRecordsResponse;
    incremental_alter_configs: incremental_alter_configs::IncrementalAlterConfigsRequest, incremental_alter_configs::IncrementalAlterConfigsResponse;
    alter_configs: alter_configs::AlterConfigsRequest, alter_configs::AlterConfigsResponse;
    list_config_resources: list_config_resources::ListConfigResourcesRequest, list_config_resources::ListConfigResourcesResponse;
    describe_log_dirs: describe_log_dirs::DescribeLogDirsRequest, describe_log_dirs::DescribeLogDirsResponse;
    describe_producers: describe_producers::DescribeProducersRequest, describe_producers::DescribeProducersResponse;
    describe_quorum: describe_quorum::DescribeQuorumRequest, describe_quorum::DescribeQuorumResponse;
    update_features: update_features::UpdateFeaturesRequest, update_features::UpdateFeaturesResponse;
    elect_leaders: elect_leaders::ElectLeadersRequest, elect_leaders::ElectLeadersResponse;
    alter_partition_reassignments: alter_partition_reassignments::AlterPartitionReassignmentsRequest, alter_partition_reassignments::AlterPartitionReassignmentsResponse;
    list_partition_reassignments: list_partition_reassignments::ListPartitionReassignmentsRequest, list_partition_reassignments::ListPartitionReassignmentsResponse;
    add_partitions_to_txn: add_partitions_to_txn::AddPartitionsToTxnRequest, add_partitions_to_txn::AddPartitionsToTxnResponse;
    add_offsets_to_txn: add_offsets_to_txn::AddOffsetsToTxnRequest, add_offsets_to_txn::AddOffsetsToTxnResponse;
    txn_offset_commit: txn_offset_commit::TxnOffsetCommitRequest, txn_offset_commit::TxnOffsetCommitResponse;
    end_txn: end_txn::EndTxnRequest, end_txn::EndTxnResponse;
    write_txn_markers: write_txn_markers::WriteTxnMarkersRequest, write_txn_markers::WriteTxnMarkersResponse;
    describe_transactions: describe_transactions::DescribeTransactionsRequest, describe_transactions::DescribeTransactionsResponse;
    list_transactions: list_transactions::ListTransactionsRequest, list_transactions::ListTransactionsResponse;
    consumer_group_heartbeat: consumer_group_heartbeat::ConsumerGroupHeartbeatRequest, consumer_group_heartbeat::ConsumerGroupHeartbeatResponse;
    consumer_group_describe: consumer_group_describe::ConsumerGroupDescribeRequest, consumer_group_describe::ConsumerGroupDescribeResponse;
    streams_group_heartbeat: streams_group_heartbeat::StreamsGroupHeartbeatRequest, streams_group_heartbeat::StreamsGroupHeartbeatResponse;
    streams_group_describe: streams_group_describe::StreamsGroupDescribeRequest, streams_group_describe::StreamsGroupDescribeResponse;
}

/// Hostile forms of the golden bodies of one schema of records.
fn fuzz_data<D: Data>(file: &str, schema: &str) {
    let lines = lines(&format!("vectors/{file}.jsonl.gz"));
    let of_schema: Vec<&Value> = lines.iter().filter(|line| line["schema"] == schema).collect();
    let mut refused = 0;
    for seed in seeds(24) {
        let mut prng = Prng::new(seed.0);
        for line in &of_schema {
            let version = version(line);
            let mut whole = version.to_be_bytes().to_vec();
            whole.extend(unhex(line["hex"].as_str().expect("a body")));
            let hostile = mutate(&whole, &mut prng);
            let (_, peak) = peak_of(|| GroupRecordKey::decode(&hostile));
            assert!(peak <= memory_allowed(hostile.len()));
            let (_, peak) = peak_of(|| TransactionRecordKey::decode(&hostile));
            assert!(peak <= memory_allowed(hostile.len()));
            let (embedded, peak) = peak_of(|| decode_embedded::<D>(&hostile));
            assert!(peak <= memory_allowed(hostile.len()));
            let (decoded, peak) = peak_of(|| decode_value::<D>(&hostile));
            assert!(peak <= memory_allowed(hostile.len()));
            assert!(embedded.is_ok() || decoded.is_err(), "{hostile:02x?}");
            let Ok(value) = decoded else {
                refused += 1;
                continue;
            };
            let version = i16::from_be_bytes([hostile[0], hostile[1]]);
            if let Ok(again) = encode_value(&value, version) {
                assert!(decode_value::<D>(&again).is_ok(), "{hostile:02x?}");
            }
        }
    }
    assert!(refused > of_schema.len(), "vacuous: {refused} of {schema} were refused");
}

macro_rules! fuzz_records {
    ($($file:literal: $module:ident, $($name:ident),+;)*) => {
        #[test]
        fn records_of_coordinators_and_of_consumers() {
            $($(fuzz_data::<$module::$name>($file, stringify!($name));)+)*
        }
    };
}

fuzz_records! {
    "coordinator-OffsetCommit": classic_group, OffsetCommitKey, OffsetCommitValue;
    "coordinator-GroupMetadata": classic_group, GroupMetadataValue;
    "coordinator-ConsumerGroupMemberMetadata": consumer_group, ConsumerGroupMemberMetadataValue;
    "coordinator-ConsumerGroupCurrentMemberAssignment": consumer_group,
        ConsumerGroupCurrentMemberAssignmentValue;
    "coordinator-ConsumerGroupTargetAssignmentMember": consumer_group,
        ConsumerGroupTargetAssignmentMemberValue;
    "coordinator-ConsumerGroupPartitionMetadata": consumer_group,
        ConsumerGroupPartitionMetadataValue;
    "coordinator-ConsumerGroupRegularExpression": consumer_group,
        ConsumerGroupRegularExpressionValue;
    "coordinator-TransactionLog": transaction, TransactionLogKey, TransactionLogValue;
    "data-ConsumerProtocolSubscription": consumer_protocol, ConsumerProtocolSubscription;
    "data-ConsumerProtocolAssignment": consumer_protocol, ConsumerProtocolAssignment;
}

/// Splitting decides as copying does, and takes no more memory than its budget.
#[test]
fn produce_split_and_copied_agree_on_hostile_bytes() {
    let path = "vectors/api-000-Produce.jsonl.gz";
    for seed in seeds(12) {
        let mut prng = Prng::new(seed.0);
        for line in lines(path).iter().filter(|line| line["kind"] == "request") {
            let version = version(line);
            let hostile = mutate(&unhex(line["hex"].as_str().unwrap()), &mut prng);
            let copied = ProduceRequest::decode(&mut Reader::new(&hostile), version);
            let body = BytesMut::from(&hostile[..]);
            let (split, peak) = peak_of(|| ProduceRequest::decode_split(body, version));
            assert!(peak <= memory_allowed(hostile.len()));
            assert_eq!(split, copied);
        }
    }
}

#[test]
fn headers_of_hostile_frames() {
    let mut refused = 0;
    for seed in seeds(4) {
        let mut prng = Prng::new(seed.0);
        for line in lines("captures.jsonl.gz") {
            let frame = unhex(line["requestHex"].as_str().unwrap());
            let hostile = mutate(&frame[..frame.len().min(60)], &mut prng);
            let (header, peak) = peak_of(|| RequestHeader::decode(&mut Reader::new(&hostile)));
            assert!(peak <= memory_allowed(hostile.len()));
            refused += usize::from(header.is_err());
        }
    }
    assert!(refused > 100, "vacuous: {refused} headers were refused");
}

/// 28 bytes of a whole Produce request, header included, with 2^31 - 1 topics.
#[test]
fn a_tiny_frame_with_a_huge_array_takes_no_memory() {
    let mut frame = Vec::new();
    frame.extend_from_slice(&[0, 0, 0, 3, 0, 0, 0, 1, 0, 4]); // Produce 3, correlation id, length
    frame.extend_from_slice(b"evil");
    frame.extend_from_slice(&[0xff, 0xff, 0, 1, 0, 0, 3, 0xe8]);
    frame.extend_from_slice(&i32::MAX.to_be_bytes());
    frame.extend_from_slice(&[0, 0]);
    assert_eq!(frame.len(), 28);
    let mut reader = Reader::new(&frame);
    let header = RequestHeader::decode(&mut reader).unwrap();
    let body = BytesMut::from(&frame[reader.position()..]);
    let (decoded, peak) = peak_of(|| ProduceRequest::decode_split(body, header.api_version));
    assert!(decoded.is_err());
    assert_eq!(peak, 0);
}

/// Many of the smallest elements there are: the budget ends before memory does.
#[test]
fn a_million_tiny_elements_stay_in_the_budget() {
    let mut writer = Writer::new();
    let count = 3_000_000;
    writer.write_length(Some(count), true).unwrap();
    for _ in 0..count {
        writer.write_raw(&[1, 0]); // an empty name and no tagged fields
    }
    let bytes = writer.into_buffer();
    let decode = || metadata::MetadataRequest::decode(&mut Reader::new(&bytes), 9);
    let (decoded, peak) = peak_of(decode);
    assert!(decoded.is_err(), "the request would be {} times its size", peak / bytes.len());
    assert!(peak <= memory_allowed(bytes.len()), "{peak}");
}
