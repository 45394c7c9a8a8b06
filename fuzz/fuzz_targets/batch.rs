//! What a producer sends as records: headers, checksums, all codecs, the walk over the records.
//!
//! The checksum is made right first, or hardly an input would come further. What is accepted is
//! accepted again as it was stored, and then unchanged. Once it may still change: a client's claim of
//! LogAppendTime is taken out, as Kafka does, and from then on the records' own timestamps count.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use yeoul::model::time::Timestamp;
use yeoul::record::batch::{HEADER_BYTES, TimestampType, seal};
use yeoul::record::validate::{Compression, Keys, Rules, Scratch, check};

fn rules(produce_version: i16) -> Rules {
    Rules {
        produce_version,
        now: Timestamp(1_700_000_000_000),
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_ms_max: i64::MAX,
        timestamp_after_ms_max: i64::MAX,
        keys: Keys::Optional,
        compression: Compression::Producer,
        batch_bytes_max: 1_048_588,
        segment_bytes: 1 << 30,
        unpacked_bytes_max: 1 << 20,
    }
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.to_vec();
    if bytes.len() >= HEADER_BYTES {
        seal(&mut bytes);
    }
    let mut scratch = Scratch::new();
    let rules = rules(13);
    let Ok(first) = check(BytesMut::from(&bytes[..]), &rules, &mut scratch) else { return };
    let second = check(first.batch, &rules, &mut scratch).expect("accepted before");
    let third = check(second.batch.clone(), &rules, &mut scratch).expect("accepted before");
    assert!(third.batch == second.batch && third.info == second.info);
});
