//! Transactions in partitions, as producers, readers and administrators see them: records that
//! count, records that do not, and where readers have to wait.
//!
//! In:   transactional batches and markers over the wire by a foreign codec; a restart, a kill.
//! Out:  what readers of committed records are given: ends, records, aborted transactions.
//!
//! The coordinator's part is played by WriteTxnMarkers, as an administrator plays it; with
//! `transaction.partition.verification.enable` off nobody asks the real one.
//! Not here: the coordinator (`transactions.rs`), foreign clients (`scripts/transactions.sh`).

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{
    DescribeProducersRequest, ListOffsetsRequest, ProducerId, TransactionalId,
    WriteTxnMarkersRequest, describe_producers_request, list_offsets_request,
    write_txn_markers_request,
};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, Record, RecordBatchEncoder, RecordEncodeOptions,
    TimestampType,
};

use crate::broker::{Broker, Options};
use crate::wire::{Connection, NOBODY, batch_of, fetch_of, outcome_of, produce_of, topic_name};

const TOPIC: &str = "events";
/// Where a record outside every transaction may be read.
const READ_COMMITTED: i8 = 1;

const INVALID_PRODUCER_EPOCH: i16 = 47;
const INVALID_TXN_STATE: i16 = 48;
const INVALID_PRODUCER_ID_MAPPING: i16 = 49;
const TRANSACTION_COORDINATOR_FENCED: i16 = 52;
const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i16 = 53;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;

fn broker() -> Broker {
    let settings = ["transaction.partition.verification.enable=false"];
    let broker = Broker::with(Options::set(&settings));
    assert_eq!(broker.connect().create_topic(TOPIC, 2, &[]), 0);
    broker
}

/// A batch of `count` records of a producer's transaction.
fn transactional(producer: (i64, i16), sequence: i32, count: i32) -> Bytes {
    let records: Vec<Record> = (0..count)
        .map(|index| Record {
            transactional: true,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
            producer_id: producer.0,
            producer_epoch: producer.1,
            timestamp_type: TimestampType::Creation,
            offset: i64::from(index),
            sequence: sequence + index,
            timestamp: 1_700_000_000_000,
            key: None,
            value: Some(Bytes::from_static(b"in a transaction")),
            headers: Default::default(),
        })
        .collect();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    let mut batch = BytesMut::new();
    RecordBatchEncoder::encode(&mut batch, &records, &options).expect("the batch encodes");
    batch.freeze()
}

/// Produces a batch as `transactional_id`. Errors: the Kafka error code.
fn produce(
    connection: &mut Connection,
    transactional_id: Option<&'static str>,
    partition: i32,
    batch: Bytes,
) -> Result<i64, i16> {
    let mut request = produce_of(TOPIC, partition, batch);
    request.transactional_id = transactional_id.map(|id| TransactionalId(StrBytes::from(id)));
    outcome_of(&connection.ask(&request, 11))
}

/// Ends a producer's transaction in `partitions`; their codes.
fn end(
    connection: &mut Connection,
    producer: (i64, i16),
    committed: bool,
    coordinator_epoch: i32,
    partitions: &[i32],
) -> Vec<i16> {
    let topic = write_txn_markers_request::WritableTxnMarkerTopic::default()
        .with_name(topic_name(TOPIC))
        .with_partition_indexes(partitions.to_vec());
    let marker = write_txn_markers_request::WritableTxnMarker::default()
        .with_producer_id(ProducerId(producer.0))
        .with_producer_epoch(producer.1)
        .with_transaction_result(committed)
        .with_coordinator_epoch(coordinator_epoch)
        .with_topics(vec![topic]);
    let request = WriteTxnMarkersRequest::default().with_markers(vec![marker]);
    let answer = connection.ask(&request, 1);
    answer.markers[0].topics[0].partitions.iter().map(|partition| partition.error_code).collect()
}

/// What a reader of committed records is given from `offset`: high watermark, last stable offset,
/// bytes, and the aborted transactions.
type Committed = (i64, i64, usize, Vec<(i64, i64)>);

fn read(connection: &mut Connection, partition: i32, offset: i64) -> Committed {
    let mut request = fetch_of(TOPIC, partition, offset).with_isolation_level(READ_COMMITTED);
    request.max_wait_ms = 0;
    let answer = connection.ask(&request, 12);
    let found = &answer.responses[0].partitions[0];
    assert_eq!(found.error_code, 0);
    let aborted = found.aborted_transactions.as_ref().expect("a list, to who asks for it");
    let aborted = aborted.iter().map(|a| (a.producer_id.0, a.first_offset)).collect();
    let bytes = found.records.as_ref().map_or(0, Bytes::len);
    (found.high_watermark, found.last_stable_offset, bytes, aborted)
}

fn latest(connection: &mut Connection, partition: i32, isolation: i8) -> i64 {
    offset_of(connection, partition, -1, isolation)
}

/// What ListOffsets says to `timestamp`.
fn offset_of(connection: &mut Connection, partition: i32, timestamp: i64, isolation: i8) -> i64 {
    let asked = list_offsets_request::ListOffsetsPartition::default()
        .with_partition_index(partition)
        .with_timestamp(timestamp);
    let asked = list_offsets_request::ListOffsetsTopic::default()
        .with_name(topic_name(TOPIC))
        .with_partitions(vec![asked]);
    let request = ListOffsetsRequest::default()
        .with_replica_id((-1).into())
        .with_isolation_level(isolation)
        .with_topics(vec![asked]);
    connection.ask(&request, 7).topics[0].partitions[0].offset
}

/// One record of that time in no transaction, of so many bytes.
fn at_time(timestamp: i64, bytes: usize) -> Bytes {
    let record = Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence: -1,
        timestamp,
        key: None,
        value: Some(vec![b'v'; bytes].into()),
        headers: Default::default(),
    };
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    let mut batch = BytesMut::new();
    RecordBatchEncoder::encode(&mut batch, &[record], &options).expect("the batch encodes");
    batch.freeze()
}

/// KIP-734: the newest record of the whole log, or none while it may not be read; never the newest
/// of what may be read. Answers as Kafka 4.3.1 gave them, whichever segment the record is in.
#[test]
fn the_newest_record_is_none_while_readers_of_committed_records_may_not_see_it() {
    const MAX_TIMESTAMP: i64 = -3;
    let broker = Broker::with(Options::set(&["transaction.partition.verification.enable=false"]));
    let mut connection = broker.connect();
    let at = &mut connection;
    let settings = [("segment.bytes", "1048576"), ("retention.ms", "-1")];
    assert_eq!(at.create_topic(TOPIC, 1, &settings), 0);
    let newest = |at: &mut Connection| {
        [0, READ_COMMITTED].map(|isolation| offset_of(at, 0, MAX_TIMESTAMP, isolation))
    };
    assert_eq!(newest(at), [-1, -1]);
    assert_eq!(at.produce(TOPIC, 0, at_time(1_700_000_001_000, 600_000)), Ok(0));
    assert_eq!(newest(at), [0, 0]);
    let one = (7_001, 0);
    assert_eq!(produce(at, Some("one"), 0, transactional(one, 0, 1)), Ok(1));
    assert_eq!(newest(at), [0, 0], "what is open is older");
    // In the segment after, of which nothing may be read.
    assert_eq!(at.produce(TOPIC, 0, at_time(1_700_000_002_000, 600_000)), Ok(2));
    assert_eq!(newest(at), [2, -1]);
    assert_eq!(end(at, one, true, 1, &[0]), [0]);
    assert_eq!(newest(at), [3, 3], "the marker has the newest time");
}

/// P46, P47, P60: readers of committed records stop before what is open, are told what was aborted,
/// and all of that outlives a clean restart and a kill.
#[test]
fn readers_of_committed_records_stop_before_what_is_open_and_hear_what_was_aborted() {
    let mut broker = broker();
    let mut connection = broker.connect();
    let at = &mut connection;
    let (one, two) = ((7_001, 0), (7_002, 0));
    assert_eq!(produce(at, Some("one"), 0, transactional(one, 0, 2)), Ok(0));
    assert_eq!(produce(at, Some("two"), 0, transactional(two, 0, 3)), Ok(2));
    assert_eq!(at.produce(TOPIC, 0, batch_of(&[vec![1]], NOBODY)), Ok(5));
    assert_eq!(read(at, 0, 0), (6, 0, 0, vec![]), "all waits for the first transaction");
    assert_eq!((latest(at, 0, 0), latest(at, 0, READ_COMMITTED)), (6, 0));
    assert_eq!(end(at, two, false, 1, &[0]), [0]);
    assert_eq!(latest(at, 0, READ_COMMITTED), 0, "the first is still open");
    assert_eq!(end(at, one, true, 1, &[0]), [0]);
    let (high, stable, bytes, aborted) = read(at, 0, 0);
    assert_eq!((high, stable, bytes > 0, &aborted), (8, 8, true, &vec![(7_002, 2)]));
    // What was committed alone overlaps no aborted transaction.
    assert_eq!(read(at, 0, 7).3, vec![]);
    let uncommitted = at.ask(&fetch_of(TOPIC, 0, 0), 12);
    assert!(uncommitted.responses[0].partitions[0].aborted_transactions.is_none());
    // Partition 1 has no data in any transaction: its marker is written all the same.
    assert_eq!(end(at, one, true, 1, &[1]), [0]);
    assert_eq!(latest(at, 1, READ_COMMITTED), 1);
    // One more, left open over a restart.
    assert_eq!(produce(at, Some("two"), 0, transactional(two, 3, 1)), Ok(8));
    for clean in [true, false] {
        match clean {
            true => drop(broker.stop()),
            false => broker.kill(),
        }
        broker.restart();
        let mut connection = broker.connect();
        let at = &mut connection;
        let found = read(at, 0, 0);
        assert_eq!(found, (9, 8, bytes, vec![(7_002, 2)]), "clean: {clean}");
    }
    let mut connection = broker.connect();
    assert_eq!(end(&mut connection, two, false, 1, &[0]), [0]);
    let (_, stable, _, aborted) = read(&mut connection, 0, 0);
    assert_eq!((stable, aborted), (10, vec![(7_002, 2), (7_002, 8)]));
}

/// A reader that waits is woken by the end of a transaction, not by records in it.
#[test]
fn a_reader_of_committed_records_waits_for_the_end() {
    let broker = broker();
    let mut connection = broker.connect();
    let at = &mut connection;
    let one = (7_001, 0);
    assert_eq!(produce(at, Some("one"), 0, transactional(one, 0, 2)), Ok(0));
    let mut reader = broker.connect();
    let mut request = fetch_of(TOPIC, 0, 0).with_isolation_level(READ_COMMITTED);
    request.max_wait_ms = 20_000;
    let began = Instant::now();
    let correlation = reader.send(&request, 12).expect("it is sent");
    assert_eq!(produce(at, Some("one"), 0, transactional(one, 2, 2)), Ok(2));
    assert_eq!(end(at, one, true, 1, &[0]), [0]);
    let answer = reader
        .receive::<kafka_protocol::messages::FetchRequest>(12, correlation)
        .expect("it is answered");
    assert!(began.elapsed() < Duration::from_secs(15), "the marker woke it");
    assert_eq!(answer.responses[0].partitions[0].last_stable_offset, 5);
    assert!(answer.responses[0].partitions[0].records.is_some());
}

/// P101-P104: who may write in a transaction, and who may end it.
#[test]
fn batches_and_markers_that_do_not_fit_are_refused() {
    let broker = broker();
    let mut connection = broker.connect();
    let at = &mut connection;
    let one = (7_001, 3);
    let refused = produce(at, None, 0, transactional(one, 0, 1));
    assert_eq!(refused, Err(TRANSACTIONAL_ID_AUTHORIZATION_FAILED));
    assert_eq!(produce(at, Some("one"), 0, transactional(one, 0, 1)), Ok(0));
    let plain = batch_of(&[vec![1]], crate::wire::Producer { id: 7_001, sequence: 1 });
    assert_eq!(at.produce(TOPIC, 0, plain), Err(INVALID_PRODUCER_EPOCH), "its epoch is 0");
    let mut both = produce_of(TOPIC, 0, transactional(one, 1, 1));
    let other = produce_of(TOPIC, 1, transactional((7_002, 0), 0, 1));
    both.topic_data[0].partition_data.extend(other.topic_data[0].partition_data.clone());
    both.transactional_id = Some(TransactionalId(StrBytes::from("one")));
    let answer = connection.ask(&both, 11);
    let codes: Vec<i16> =
        answer.responses[0].partition_responses.iter().map(|one| one.error_code).collect();
    assert_eq!(codes, [INVALID_PRODUCER_ID_MAPPING; 2]);
    let at = &mut connection;
    assert_eq!(end(at, (7_001, 2), true, 5, &[0]), [INVALID_PRODUCER_EPOCH]);
    assert_eq!(end(at, one, true, 5, &[0, 9]), [0, UNKNOWN_TOPIC_OR_PARTITION]);
    assert_eq!(end(at, one, true, 4, &[0]), [TRANSACTION_COORDINATOR_FENCED]);
    assert_eq!(end(at, one, true, 5, &[0]), [0], "an older protocol says it twice");
    let topic = describe_producers_request::TopicRequest::default()
        .with_name(topic_name(TOPIC))
        .with_partition_indexes(vec![0]);
    let request = DescribeProducersRequest::default().with_topics(vec![topic]);
    let answer = at.ask(&request, 0);
    let known = &answer.topics[0].partitions[0].active_producers;
    assert_eq!((known.len(), known[0].coordinator_epoch), (1, 5));
    assert_eq!((known[0].current_txn_start_offset, known[0].producer_epoch), (-1, 3));
}

/// P102: with verification on, a transaction that its coordinator does not know writes nothing.
#[test]
fn a_transaction_without_a_coordinator_writes_nothing() {
    let broker = Broker::with(Options::set(&[]));
    let mut connection = broker.connect();
    assert_eq!(connection.create_topic(TOPIC, 1, &[]), 0);
    let refused = produce(&mut connection, Some("nobody"), 0, transactional((9_001, 0), 0, 1));
    let code = refused.expect_err("nobody has begun it");
    // Without any coordinator yet, clients of old versions try again.
    let not_enough_replicas = 19;
    assert!([not_enough_replicas, INVALID_PRODUCER_ID_MAPPING].contains(&code), "{code}");
    assert_ne!(code, INVALID_TXN_STATE);
    assert_eq!(latest(&mut connection, 0, 0), 0);
}
