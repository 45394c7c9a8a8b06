//! Batches made by Kafka 4.3.1's own classes, read here field by field.
//!
//! `tests/golden/record-batches.jsonl.gz` has one case a line: the bytes, and beside them every
//! field of each batch and record, or the exception with which Kafka refuses them.

use std::io::Read;

use base64::Engine as _;
use bytes::BytesMut;
use serde_json::Value;

use crate::model::time::Timestamp;
use crate::record::batch::{Batch, BatchError, Codec, TimestampType, batches};
use crate::record::builder::{BatchBuilder, NewRecord, Producer, end_marker};
use crate::record::compression::decompress;
use crate::record::control::{Control, EndMarker, Outcome};
use crate::record::records::{Record, RecordError, Records};
use crate::record::refusal::ValidationError;
use crate::record::validate::tests_rules;
use crate::record::validate::{Scratch, check};

struct Case {
    name: String,
    bytes: Vec<u8>,
    json: Value,
}

fn cases() -> Vec<Case> {
    let packed = include_bytes!("../../tests/golden/record-batches.jsonl.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
    text.lines()
        .map(|line| {
            let json: Value = serde_json::from_str(line).unwrap();
            let hex = json["hex"].as_str().unwrap();
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            let bytes = (0..hex.len()).step_by(2).map(byte).collect();
            Case { name: json["case"].as_str().unwrap().to_owned(), bytes, json }
        })
        .collect()
}

fn blob(json: &Value) -> Option<Vec<u8>> {
    let text = json.as_str()?;
    Some(base64::engine::general_purpose::STANDARD.decode(text).unwrap())
}

/// The batch as JSON in the form of the golden file.
fn as_json(batch: &Batch<'_>) -> Value {
    let (header, info) = (batch.header(), batch.info().unwrap());
    let attributes = info.attributes;
    let horizon = attributes.has_delete_horizon().then_some(info.base_timestamp.0);
    let timestamp_type = attributes.timestamp_type();
    let mut unpacked = Vec::new();
    let codec = attributes.codec().unwrap();
    decompress(codec, batch.payload(), 1 << 20, &mut unpacked).unwrap();
    let records: Vec<Value> = Records::new(&unpacked, header.record_count())
        .map(|record| record_json(&record.unwrap(), batch))
        .collect();
    serde_json::json!({
        "magic": header.magic(),
        "baseOffset": info.base_offset.0,
        "lastOffset": info.last_offset.0,
        "sizeInBytes": info.bytes,
        "partitionLeaderEpoch": info.leader_epoch.0,
        "crc": header.crc(),
        "compression": codec.name(),
        "timestampType": match timestamp_type {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        },
        "transactional": attributes.is_transactional(),
        "control": attributes.is_control(),
        "deleteHorizonMs": horizon,
        "maxTimestamp": info.max_timestamp.0,
        "producerId": info.producer_id.0,
        "producerEpoch": info.producer_epoch.0,
        "baseSequence": info.base_sequence.0,
        "lastSequence": info.last_sequence.0,
        "count": info.record_count,
        "records": records,
    })
}

fn record_json(record: &Record<'_>, batch: &Batch<'_>) -> Value {
    let info = batch.info().unwrap();
    let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let timestamp = match info.attributes.timestamp_type() {
        TimestampType::CreateTime => info.base_timestamp.0 + record.timestamp_delta,
        TimestampType::LogAppendTime => info.max_timestamp.0,
    };
    let sequence = match info.base_sequence.0 {
        -1 => -1,
        _ => info.base_sequence.plus(record.offset_delta).0,
    };
    let headers: Vec<Value> = record
        .headers
        .map(|header| {
            let key = std::str::from_utf8(header.key).unwrap();
            serde_json::json!({ "key": key, "value": header.value.map(base64) })
        })
        .collect();
    serde_json::json!({
        "offset": info.base_offset.0 + i64::from(record.offset_delta),
        "timestamp": timestamp,
        "sequence": sequence,
        "key": record.key.map(base64),
        "value": record.value.map(base64),
        "headers": headers,
    })
}

#[test]
fn every_field_reads_as_kafka_wrote_it() {
    let (mut read, mut codecs) = (0, std::collections::BTreeSet::new());
    for case in cases() {
        let Some(want) = case.json["batches"].as_array() else { continue };
        if case.name.starts_with("magic-") {
            continue;
        }
        let mut walk = batches(&case.bytes);
        for want in want {
            let batch = walk.next().unwrap().unwrap();
            batch.verify_crc().unwrap();
            assert_eq!(&as_json(&batch), want, "{}", case.name);
            codecs.insert(want["compression"].as_str().unwrap().to_owned());
            read += 1;
        }
        let cut = case.name.ends_with("-cut");
        match walk.next() {
            None => assert!(!cut, "{}", case.name),
            Some(end) => {
                assert!(cut && matches!(end, Err(BatchError::Cut { .. })), "{}: {end:?}", case.name)
            }
        }
    }
    assert!(read > 50 && codecs.len() == 5, "vacuous: {read} batches, {codecs:?}");
}

/// What the real one refuses is refused here, for the same reason.
#[test]
fn what_kafka_refuses_is_refused() {
    let mut refused = 0;
    for case in cases() {
        let old = case.name.strip_prefix("magic-").map(|rest| rest.as_bytes()[0] - b'0');
        if old.is_none() && case.json["error"].is_null() {
            continue;
        }
        refused += 1;
        let error = check(BytesMut::from(&case.bytes[..]), &tests_rules(), &mut Scratch::new())
            .expect_err(&case.name);
        let corrupt = matches!(error, ValidationError::Corrupt(_));
        match case.name.as_str() {
            _ if old.is_some() => {
                let magic = old.unwrap().cast_signed();
                assert_eq!(error, ValidationError::OldMagic { magic }, "{}", case.name);
            }
            "damaged-crc" | "damaged-payload" | "damaged-attributes" | "damaged-count"
            | "damaged-magic-3" => assert!(corrupt, "{}: {error:?}", case.name),
            // The byte that the shorter length leaves over is too short for a batch, and cut off.
            "damaged-length-shorter" => assert!(corrupt, "{error:?}"),
            // Kafka compares with the offsets before it reads the records.
            "damaged-count-with-good-crc" => {
                let want = ValidationError::BadCounts { last_offset_delta: 6, record_count: 5 };
                assert_eq!(error, want);
            }
            "damaged-attributes-unknown-codec" => {
                assert_eq!(error, ValidationError::UnknownCodec { id: 7 });
            }
            "damaged-first-record-length" => {
                assert!(matches!(error, ValidationError::Record(_)), "{error:?}");
            }
            name => panic!("{name}: not judged here: {error:?}"),
        }
    }
    assert_eq!(refused, 17, "the cases of the golden file");
}

#[test]
fn a_count_that_lies_is_found_by_the_walk() {
    let cases = cases();
    let case = cases.iter().find(|case| case.name == "damaged-count-with-good-crc").unwrap();
    let batch = Batch::first(&case.bytes).unwrap();
    let last = batch.records().last().unwrap();
    assert_eq!(last, Err(RecordError::RecordsLeft { claimed: 5 }));
}

/// What a producer may send passes as it is, but for what the rules change.
#[test]
fn what_kafka_takes_is_taken_unchanged() {
    let mut taken = 0;
    for case in cases() {
        let Some([only]) = case.json["batches"].as_array().map(Vec::as_slice) else { continue };
        let sendable = only["magic"] == 2
            && only["baseOffset"] == 0
            && only["timestampType"] == "CreateTime"
            && only["control"] == false;
        let bytes = BytesMut::from(&case.bytes[..]);
        let checked = check(bytes, &tests_rules(), &mut Scratch::new());
        if !sendable {
            assert!(checked.is_err(), "{}", case.name);
            continue;
        }
        let checked = checked.unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let size = usize::try_from(only["sizeInBytes"].as_u64().unwrap()).unwrap();
        assert_eq!(checked.batch, case.bytes[..size], "{}", case.name);
        assert_eq!(checked.info.max_timestamp.0, only["maxTimestamp"].as_i64().unwrap());
        assert_eq!(checked.log_append_time, Timestamp::NONE);
        taken += 1;
    }
    assert!(taken > 25, "vacuous: {taken}");
}

/// The builder writes the bytes that Kafka's does, where nothing is packed.
#[test]
fn the_builder_writes_kafkas_bytes() {
    let mut built = 0;
    for case in cases() {
        let Some([only]) = case.json["batches"].as_array().map(Vec::as_slice) else { continue };
        let by_client = only["magic"] == 2 && only["baseOffset"] == 0 && only["count"] != 0;
        if !by_client || only["control"] == true || only["timestampType"] != "CreateTime" {
            continue;
        }
        let codec = Codec::ALL.into_iter().find(|codec| only["compression"] == codec.name());
        let batch = Batch::first(&case.bytes).unwrap();
        let rebuilt = rebuild(only, codec.unwrap(), &batch);
        let rebuilt = Batch::first(&rebuilt).unwrap();
        rebuilt.verify_crc().unwrap();
        let (mut ours, mut theirs) = (as_json(&rebuilt), as_json(&batch));
        for json in [&mut ours, &mut theirs] {
            // Outside the CRC, and what a packer is free to choose.
            json["partitionLeaderEpoch"] = Value::Null;
            if codec != Some(Codec::None) {
                json["crc"] = Value::Null;
                json["sizeInBytes"] = Value::Null;
            }
        }
        assert_eq!(ours, theirs, "{}", case.name);
        built += 1;
    }
    assert!(built > 25, "vacuous: {built}");
}

fn rebuild(json: &Value, codec: Codec, batch: &Batch<'_>) -> BytesMut {
    let info = batch.info().unwrap();
    let mut builder = BatchBuilder::new(codec);
    if info.has_producer_id() {
        builder = builder.producer(Producer {
            id: info.producer_id,
            epoch: info.producer_epoch,
            base_sequence: info.base_sequence,
        });
    }
    if info.attributes.is_transactional() {
        builder = builder.transactional();
    }
    for record in json["records"].as_array().unwrap() {
        let headers: Vec<(String, Option<Vec<u8>>)> = record["headers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|header| (header["key"].as_str().unwrap().to_owned(), blob(&header["value"])))
            .collect();
        let headers: Vec<(&str, Option<&[u8]>)> =
            headers.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        let timestamp = Timestamp(record["timestamp"].as_i64().unwrap());
        let (key, value) = (blob(&record["key"]), blob(&record["value"]));
        let record = NewRecord {
            timestamp,
            key: key.as_deref(),
            value: value.as_deref(),
            headers: &headers,
        };
        builder.push(&record).unwrap();
    }
    builder.build()
}

#[test]
fn markers_are_kafkas_byte_for_byte() {
    let mut seen = 0;
    for case in cases().iter().filter(|case| case.name.starts_with("control-")) {
        let batch = Batch::first(&case.bytes).unwrap();
        let info = batch.info().unwrap();
        let record = batch.records().next().unwrap().unwrap();
        let Ok(Control::End(marker)) = Control::decode(record.key, record.value) else {
            panic!("{}", case.name)
        };
        let (outcome, coordinator_epoch) = match case.name.as_str() {
            "control-commit" => (Outcome::Commit, 8),
            _ => (Outcome::Abort, 0),
        };
        assert_eq!(marker, EndMarker { outcome, coordinator_epoch });
        let mut ours =
            end_marker(info.producer_id, info.producer_epoch, marker, info.max_timestamp);
        crate::record::batch::stamp(&mut ours, info.base_offset, info.leader_epoch);
        assert_eq!(ours, case.bytes[..], "{}", case.name);
        seen += 1;
    }
    assert_eq!(seen, 2);
}
