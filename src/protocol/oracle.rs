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
    ($($name:ident: $request:ty, $response:ty, $they_ask:ident, $they_answer:ident, $versions:literal;)*) => {
        $(
            #[test]
            fn $name() {
                assert_eq!(both_ways::<$request, theirs::$they_ask>(), $versions);
                assert_eq!(both_ways::<$response, theirs::$they_answer>(), $versions);
            }
        )*
    };
}

// Ours, theirs, and how many versions both know: one less of ListOffsets than Kafka 4.3 has.
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
