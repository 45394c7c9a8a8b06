//! Whole request frames without their length prefix: header, then for Produce the body.
//!
//! A header that decodes and can be encoded decodes again and must encode to the same bytes. It need
//! not be equal to the first: tags may come in any order, and are sent in ascending order.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use yeoul::protocol::api::ApiKey;
use yeoul::protocol::header::RequestHeader;
use yeoul::protocol::primitives::{Reader, Writer};
use yeoul::protocol::produce::ProduceRequest;

fn encoded(header: &RequestHeader) -> Option<BytesMut> {
    let mut writer = Writer::new();
    header.encode(&mut writer).ok().map(|()| writer.into_buffer())
}

fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::new(data);
    let Ok(header) = RequestHeader::decode(&mut reader) else { return };
    if let Some(bytes) = encoded(&header) {
        let again = RequestHeader::decode(&mut Reader::new(&bytes)).expect("just encoded");
        assert!(encoded(&again).is_some_and(|again| again == bytes));
    }
    if header.api() == Some(ApiKey::Produce) {
        let body = BytesMut::from(&data[reader.position()..]);
        drop(ProduceRequest::decode_split(body, header.api_version));
    }
});
