//! Whole request frames without their length prefix: header, then for Produce the body.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use yeoul::protocol::api::ApiKey;
use yeoul::protocol::header::RequestHeader;
use yeoul::protocol::primitives::{Reader, Writer};
use yeoul::protocol::produce::ProduceRequest;

fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::new(data);
    let Ok(header) = RequestHeader::decode(&mut reader) else { return };
    let mut writer = Writer::new();
    if header.encode(&mut writer).is_ok() {
        assert!(RequestHeader::decode(&mut Reader::new(writer.written())) == Ok(header.clone()));
    }
    if header.api() == Some(ApiKey::Produce) {
        let body = BytesMut::from(&data[reader.position()..]);
        drop(ProduceRequest::decode_split(body, header.api_version));
    }
});
