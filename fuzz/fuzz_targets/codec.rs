//! Every decoder of a body: the first byte chooses the message, the second the version.
//!
//! What decodes is encoded, decoded again and must encode to the same bytes.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use yeoul::protocol::fetch::{FetchRequest, FetchResponse};
use yeoul::protocol::message::Message;
use yeoul::protocol::messages::*;
use yeoul::protocol::primitives::{Reader, Writer};
use yeoul::protocol::produce::{ProduceRequest, ProduceResponse};

fn hold<M: Message>(version: u8, body: &[u8]) {
    let version = i16::from(version % 32);
    let Ok(message) = M::decode(&mut Reader::new(body), version) else { return };
    let Some(bytes) = encoded(&message, version) else { return };
    let again = M::decode(&mut Reader::new(&bytes), version).expect("just encoded");
    assert!(encoded(&again, version).is_some_and(|again| again == bytes));
}

fn encoded<M: Message>(message: &M, version: i16) -> Option<BytesMut> {
    let mut writer = Writer::new();
    message.encode(&mut writer, version).ok().map(|()| writer.into_buffer())
}

macro_rules! choose {
    ($choice:expr, $version:expr, $body:expr; $($message:ty),* $(,)?) => {
        let holds: &[fn(u8, &[u8])] = &[$(hold::<$message>),*];
        holds[usize::from($choice) % holds.len()]($version, $body);
    };
}

fuzz_target!(|data: &[u8]| {
    let [choice, version, body @ ..] = data else { return };
    choose! { *choice, *version, body;
        ProduceRequest, ProduceResponse, FetchRequest, FetchResponse<Bytes>,
        list_offsets::ListOffsetsRequest, list_offsets::ListOffsetsResponse,
        metadata::MetadataRequest, metadata::MetadataResponse,
        find_coordinator::FindCoordinatorRequest, find_coordinator::FindCoordinatorResponse,
        api_versions::ApiVersionsRequest, api_versions::ApiVersionsResponse,
        create_topics::CreateTopicsRequest, create_topics::CreateTopicsResponse,
        delete_topics::DeleteTopicsRequest, delete_topics::DeleteTopicsResponse,
        init_producer_id::InitProducerIdRequest, init_producer_id::InitProducerIdResponse,
        offset_for_leader_epoch::OffsetForLeaderEpochRequest,
        offset_for_leader_epoch::OffsetForLeaderEpochResponse,
        describe_configs::DescribeConfigsRequest, describe_configs::DescribeConfigsResponse,
        describe_cluster::DescribeClusterRequest, describe_cluster::DescribeClusterResponse,
        describe_topic_partitions::DescribeTopicPartitionsRequest,
        describe_topic_partitions::DescribeTopicPartitionsResponse,
    }
    let produce = i16::from(*version % 32);
    let split = ProduceRequest::decode_split(BytesMut::from(body), produce);
    assert!(split == ProduceRequest::decode(&mut Reader::new(body), produce));
});
