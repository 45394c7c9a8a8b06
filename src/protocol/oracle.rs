//! The codec against another one: the `kafka-protocol` crate, both ways, every version both know.
//!
//! Random messages: what we encode, it decodes to the last byte and encodes to the same bytes again;
//! what it encodes, we decode to the message we began with.

use std::fmt::Debug;

use bytes::{Buf as _, Bytes, BytesMut};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, Message as TheirMessage};

use crate::protocol::fetch::{FetchRequest, FetchResponse};
use crate::protocol::header::{RequestHeader, ResponseHeader};
use crate::protocol::message::{self, Message};
use crate::protocol::messages::*;
use crate::protocol::primitives::{Reader, Writer};
use crate::protocol::probe::Probe;
use crate::protocol::produce::{ProduceRequest, ProduceResponse};
use crate::testing::prng::Prng;
use crate::testing::seeds::seeds;

/// Random messages of each version that both know; gives how many versions those are.
fn both_ways<M, T>() -> usize
where
    M: Message + Probe + PartialEq + Debug,
    T: TheirMessage + Decodable + Encodable,
{
    let known = |version: &i16| T::VERSIONS.min <= *version && *version <= T::VERSIONS.max;
    let versions: Vec<i16> = M::VERSIONS.filter(known).collect();
    for seed in seeds(25) {
        let mut prng = Prng::new(seed.0);
        for &version in &versions {
            let layout = message::layout::<M>(version).expect("one of its versions");
            let ours = M::arbitrary(&mut prng, layout);
            let mut writer = Writer::new();
            ours.encode(&mut writer, version).expect("what the version can carry");
            let bytes = writer.into_buffer().freeze();
            let mut rest = bytes.clone();
            let about = format!("{:?} version {version}", M::KEY);
            let they = T::decode(&mut rest, version).unwrap_or_else(|e| panic!("{about}: {e}"));
            assert!(!rest.has_remaining(), "{about}");
            let mut again = BytesMut::new();
            they.encode(&mut again, version).unwrap_or_else(|e| panic!("{about}: {e}"));
            assert_eq!(again, bytes, "{about}");
            assert_eq!(M::decode(&mut Reader::new(&again), version), Ok(ours), "{about}");
        }
    }
    versions.len()
}

macro_rules! oracle {
    ($($name:ident: $request:ty, $response:ty, $they_ask:ident, $they_answer:ident, $versions:literal $(answers $answers:literal)?;)*) => {
        $(
            #[test]
            fn $name() {
                assert_eq!(both_ways::<$request, theirs::$they_ask>(), $versions);
                let answers = [$($answers,)? $versions][0];
                assert_eq!(both_ways::<$response, theirs::$they_answer>(), answers);
            }
        )*
    };
}

// Ours, theirs, and how many versions both know: one less than Kafka 4.3 has of ListOffsets,
// DescribeLogDirs, WriteTxnMarkers, and requests of OffsetCommit and OffsetFetch.
oracle! {
    produce: ProduceRequest, ProduceResponse, ProduceRequest, ProduceResponse, 11;
    fetch: FetchRequest, FetchResponse<Bytes>, FetchRequest, FetchResponse, 15;
    list_offsets: list_offsets::ListOffsetsRequest, list_offsets::ListOffsetsResponse,
        ListOffsetsRequest, ListOffsetsResponse, 10;
    metadata: metadata::MetadataRequest, metadata::MetadataResponse,
        MetadataRequest, MetadataResponse, 14;
    find_coordinator: find_coordinator::FindCoordinatorRequest,
        find_coordinator::FindCoordinatorResponse,
        FindCoordinatorRequest, FindCoordinatorResponse, 7;
    api_versions: api_versions::ApiVersionsRequest, api_versions::ApiVersionsResponse,
        ApiVersionsRequest, ApiVersionsResponse, 5;
    create_topics: create_topics::CreateTopicsRequest, create_topics::CreateTopicsResponse,
        CreateTopicsRequest, CreateTopicsResponse, 6;
    delete_topics: delete_topics::DeleteTopicsRequest, delete_topics::DeleteTopicsResponse,
        DeleteTopicsRequest, DeleteTopicsResponse, 6;
    init_producer_id: init_producer_id::InitProducerIdRequest,
        init_producer_id::InitProducerIdResponse,
        InitProducerIdRequest, InitProducerIdResponse, 6;
    offset_for_leader_epoch: offset_for_leader_epoch::OffsetForLeaderEpochRequest,
        offset_for_leader_epoch::OffsetForLeaderEpochResponse,
        OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, 3;
    describe_configs: describe_configs::DescribeConfigsRequest,
        describe_configs::DescribeConfigsResponse,
        DescribeConfigsRequest, DescribeConfigsResponse, 4;
    describe_cluster: describe_cluster::DescribeClusterRequest,
        describe_cluster::DescribeClusterResponse,
        DescribeClusterRequest, DescribeClusterResponse, 3;
    describe_topic_partitions: describe_topic_partitions::DescribeTopicPartitionsRequest,
        describe_topic_partitions::DescribeTopicPartitionsResponse,
        DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, 1;
    join_group: join_group::JoinGroupRequest, join_group::JoinGroupResponse,
        JoinGroupRequest, JoinGroupResponse, 10;
    sync_group: sync_group::SyncGroupRequest, sync_group::SyncGroupResponse,
        SyncGroupRequest, SyncGroupResponse, 6;
    heartbeat: heartbeat::HeartbeatRequest, heartbeat::HeartbeatResponse,
        HeartbeatRequest, HeartbeatResponse, 5;
    leave_group: leave_group::LeaveGroupRequest, leave_group::LeaveGroupResponse,
        LeaveGroupRequest, LeaveGroupResponse, 6;
    offset_commit: offset_commit::OffsetCommitRequest, offset_commit::OffsetCommitResponse,
        OffsetCommitRequest, OffsetCommitResponse, 8 answers 9;
    offset_fetch: offset_fetch::OffsetFetchRequest, offset_fetch::OffsetFetchResponse,
        OffsetFetchRequest, OffsetFetchResponse, 9 answers 10;
    describe_groups: describe_groups::DescribeGroupsRequest, describe_groups::DescribeGroupsResponse,
        DescribeGroupsRequest, DescribeGroupsResponse, 7;
    list_groups: list_groups::ListGroupsRequest, list_groups::ListGroupsResponse,
        ListGroupsRequest, ListGroupsResponse, 6;
    delete_groups: delete_groups::DeleteGroupsRequest, delete_groups::DeleteGroupsResponse,
        DeleteGroupsRequest, DeleteGroupsResponse, 3;
    offset_delete: offset_delete::OffsetDeleteRequest, offset_delete::OffsetDeleteResponse,
        OffsetDeleteRequest, OffsetDeleteResponse, 1;
    create_partitions: create_partitions::CreatePartitionsRequest, create_partitions::CreatePartitionsResponse,
        CreatePartitionsRequest, CreatePartitionsResponse, 4;
    delete_records: delete_records::DeleteRecordsRequest, delete_records::DeleteRecordsResponse,
        DeleteRecordsRequest, DeleteRecordsResponse, 3;
    incremental_alter_configs: incremental_alter_configs::IncrementalAlterConfigsRequest, incremental_alter_configs::IncrementalAlterConfigsResponse,
        IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, 2;
    alter_configs: alter_configs::AlterConfigsRequest, alter_configs::AlterConfigsResponse,
        AlterConfigsRequest, AlterConfigsResponse, 3;
    list_config_resources: list_config_resources::ListConfigResourcesRequest, list_config_resources::ListConfigResourcesResponse,
        ListConfigResourcesRequest, ListConfigResourcesResponse, 2;
    describe_log_dirs: describe_log_dirs::DescribeLogDirsRequest, describe_log_dirs::DescribeLogDirsResponse,
        DescribeLogDirsRequest, DescribeLogDirsResponse, 4;
    describe_producers: describe_producers::DescribeProducersRequest, describe_producers::DescribeProducersResponse,
        DescribeProducersRequest, DescribeProducersResponse, 1;
    describe_quorum: describe_quorum::DescribeQuorumRequest, describe_quorum::DescribeQuorumResponse,
        DescribeQuorumRequest, DescribeQuorumResponse, 3;
    update_features: update_features::UpdateFeaturesRequest, update_features::UpdateFeaturesResponse,
        UpdateFeaturesRequest, UpdateFeaturesResponse, 3;
    elect_leaders: elect_leaders::ElectLeadersRequest, elect_leaders::ElectLeadersResponse,
        ElectLeadersRequest, ElectLeadersResponse, 3;
    alter_partition_reassignments: alter_partition_reassignments::AlterPartitionReassignmentsRequest, alter_partition_reassignments::AlterPartitionReassignmentsResponse,
        AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, 2;
    list_partition_reassignments: list_partition_reassignments::ListPartitionReassignmentsRequest, list_partition_reassignments::ListPartitionReassignmentsResponse,
        ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, 1;
    add_partitions_to_txn: add_partitions_to_txn::AddPartitionsToTxnRequest, add_partitions_to_txn::AddPartitionsToTxnResponse,
        AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, 6;
    add_offsets_to_txn: add_offsets_to_txn::AddOffsetsToTxnRequest, add_offsets_to_txn::AddOffsetsToTxnResponse,
        AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, 5;
    txn_offset_commit: txn_offset_commit::TxnOffsetCommitRequest, txn_offset_commit::TxnOffsetCommitResponse,
        TxnOffsetCommitRequest, TxnOffsetCommitResponse, 6;
    end_txn: end_txn::EndTxnRequest, end_txn::EndTxnResponse,
        EndTxnRequest, EndTxnResponse, 6;
    write_txn_markers: write_txn_markers::WriteTxnMarkersRequest, write_txn_markers::WriteTxnMarkersResponse,
        WriteTxnMarkersRequest, WriteTxnMarkersResponse, 1;
    describe_transactions: describe_transactions::DescribeTransactionsRequest, describe_transactions::DescribeTransactionsResponse,
        DescribeTransactionsRequest, DescribeTransactionsResponse, 1;
    list_transactions: list_transactions::ListTransactionsRequest, list_transactions::ListTransactionsResponse,
        ListTransactionsRequest, ListTransactionsResponse, 3;
    consumer_group_heartbeat: consumer_group_heartbeat::ConsumerGroupHeartbeatRequest, consumer_group_heartbeat::ConsumerGroupHeartbeatResponse,
        ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, 2;
    consumer_group_describe: consumer_group_describe::ConsumerGroupDescribeRequest, consumer_group_describe::ConsumerGroupDescribeResponse,
        ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, 2;
}

#[test]
fn headers() {
    for (api_key, api_version, tags) in [(3, 8, 1), (3, 13, 2), (18, 3, 2), (17, 1, 1)] {
        let client_id = Some("에코".to_owned());
        let header = RequestHeader {
            api_key,
            api_version,
            correlation_id: -9,
            client_id,
            ..Default::default()
        };
        let mut writer = Writer::new();
        header.encode(&mut writer).expect("short");
        let mut bytes = writer.into_buffer().freeze();
        let they = theirs::RequestHeader::decode(&mut bytes, tags).expect("a header");
        assert!(!bytes.has_remaining());
        assert_eq!((they.request_api_key, they.correlation_id), (api_key, -9));
        assert_eq!(they.client_id.as_deref(), header.client_id.as_deref());

        let api = header.api().expect("a known key");
        let mut writer = Writer::new();
        ResponseHeader::answering(7).encode(&mut writer, api, api_version).expect("short");
        let mut bytes = writer.into_buffer().freeze();
        let version = i16::from(tags == 2 && api_key != 18);
        let they = theirs::ResponseHeader::decode(&mut bytes, version).expect("a header");
        assert_eq!((they.correlation_id, bytes.remaining()), (7, 0));
    }
}
