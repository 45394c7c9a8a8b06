//! Read, process, write as one: what a client does with exactly-once semantics, over the wire.
//!
//! In:   the requests of such a client, of transactions v1 and v2, by a foreign codec; kills.
//! Out:  what readers of committed records and of the group's positions are given.
//!
//! Not here: what the coordinator says (`transactions.rs`), what partitions do by themselves
//! (`read_committed.rs`), foreign clients (`scripts/transactions.sh`).

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, FindCoordinatorRequest,
    GroupId, InitProducerIdRequest, ListOffsetsRequest, OffsetFetchRequest, ProducerId,
    TransactionalId, TxnOffsetCommitRequest, add_partitions_to_txn_request, list_offsets_request,
    offset_fetch_request, txn_offset_commit_request,
};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, Record, RecordBatchEncoder, RecordEncodeOptions,
    TimestampType,
};

use crate::broker::{Broker, Options};
use crate::wire::{Connection, fetch_of, is_retriable, outcome_of, produce_of, topic_name};

/// Longest wait for a coordinator. Generous: the machine may be building at the same time.
const PATIENCE: Duration = Duration::from_secs(60);
const TOPIC: &str = "out";
const GROUP: &str = "readers";
const ID: &str = "etl";

const UNKNOWN_MEMBER_ID: i16 = 25;
const INVALID_PRODUCER_EPOCH: i16 = 47;
const INVALID_TXN_STATE: i16 = 48;
const CONCURRENT_TRANSACTIONS: i16 = 51;
const UNSTABLE_OFFSET_COMMIT: i16 = 88;
const TRANSACTION_ABORTABLE: i16 = 120;

/// Who a producer is: id and epoch.
type Identity = (i64, i16);

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn id() -> TransactionalId {
    TransactionalId(text(ID))
}

/// Repeats `step` while its error code is one that passes by itself.
fn until_final<T>(mut step: impl FnMut() -> (i16, T)) -> (i16, T) {
    let began = Instant::now();
    loop {
        let (code, value) = step();
        if !is_retriable(code) && code != CONCURRENT_TRANSACTIONS {
            return (code, value);
        }
        assert!(began.elapsed() < PATIENCE, "error {code} does not pass");
        std::thread::sleep(Duration::from_millis(5)); // a client's backoff
    }
}

/// A broker with the topic, and both coordinators found.
fn begin(settings: &[&str]) -> (Broker, Connection) {
    let broker = Broker::with(Options::set(settings));
    let mut connection = broker.connect();
    assert_eq!(connection.create_topic(TOPIC, 2, &[]), 0);
    for (key, kind) in [(ID, 1), (GROUP, 0)] {
        let request = FindCoordinatorRequest::default().with_key(text(key)).with_key_type(kind);
        let (code, ()) = until_final(|| (connection.ask(&request, 3).error_code, ()));
        assert_eq!(code, 0);
    }
    (broker, connection)
}

fn init(connection: &mut Connection, timeout_ms: i32) -> Identity {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(id()))
        .with_transaction_timeout_ms(timeout_ms)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1);
    let (code, given) = until_final(|| {
        let answer = connection.ask(&request, 4);
        (answer.error_code, (answer.producer_id.0, answer.producer_epoch))
    });
    assert_eq!(code, 0);
    given
}

/// Produces one record; its offset or the error code.
fn produce(
    connection: &mut Connection,
    who: Identity,
    partition: i32,
    sequence: i32,
    version: i16,
) -> Result<i64, i16> {
    let record = Record {
        transactional: true,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: who.0,
        producer_epoch: who.1,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence,
        timestamp: 1_700_000_000_000,
        key: None,
        value: Some(Bytes::from_static(b"processed")),
        headers: Default::default(),
    };
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    let mut batch = BytesMut::new();
    RecordBatchEncoder::encode(&mut batch, &[record], &options).expect("the batch encodes");
    let mut request = produce_of(TOPIC, partition, batch.freeze());
    request.transactional_id = Some(id());
    let (code, offset) = until_final(|| {
        let outcome = outcome_of(&connection.ask(&request, version));
        (outcome.err().unwrap_or(0), outcome.unwrap_or(-1))
    });
    if code == 0 { Ok(offset) } else { Err(code) }
}

/// Commits a position in partition 0 within the transaction; the code that it gets.
fn commit_offset(
    connection: &mut Connection,
    who: Identity,
    offset: i64,
    generation: i32,
    version: i16,
) -> i16 {
    let partition = txn_offset_commit_request::TxnOffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text("")));
    let topic = txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
        .with_name(topic_name(TOPIC))
        .with_partitions(vec![partition]);
    let mut request = TxnOffsetCommitRequest::default()
        .with_transactional_id(id())
        .with_group_id(GroupId(text(GROUP)))
        .with_producer_id(ProducerId(who.0))
        .with_producer_epoch(who.1)
        .with_topics(vec![topic]);
    if version >= 3 {
        request = request.with_generation_id(generation);
    }
    let (code, ()) =
        until_final(|| (connection.ask(&request, version).topics[0].partitions[0].error_code, ()));
    code
}

/// The group's position in partition 0, or the error code; with or without waiting for transactions.
fn position(connection: &mut Connection, require_stable: bool) -> Result<i64, i16> {
    let topic = offset_fetch_request::OffsetFetchRequestTopics::default()
        .with_name(topic_name(TOPIC))
        .with_partition_indexes(vec![0]);
    let group = offset_fetch_request::OffsetFetchRequestGroup::default()
        .with_group_id(GroupId(text(GROUP)))
        .with_topics(Some(vec![topic]));
    let request =
        OffsetFetchRequest::default().with_require_stable(require_stable).with_groups(vec![group]);
    let began = Instant::now();
    loop {
        let mut answer = connection.ask(&request, 8);
        let group = answer.groups.swap_remove(0);
        if group.error_code == 0 {
            let found = &group.topics[0].partitions[0];
            return match found.error_code {
                0 => Ok(found.committed_offset),
                code => Err(code),
            };
        }
        assert!(is_retriable(group.error_code), "{}", group.error_code);
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5)); // a client's backoff
    }
}

/// Waits until the group's position is stable; what it is.
fn stable_position(connection: &mut Connection) -> i64 {
    let began = Instant::now();
    loop {
        match position(connection, true) {
            Ok(offset) => return offset,
            Err(code) => assert_eq!(code, UNSTABLE_OFFSET_COMMIT),
        }
        assert!(began.elapsed() < PATIENCE, "the position stays unstable");
        std::thread::sleep(Duration::from_millis(5)); // a client's backoff
    }
}

fn end(connection: &mut Connection, who: Identity, committed: bool, version: i16) -> Identity {
    let request = EndTxnRequest::default()
        .with_transactional_id(id())
        .with_producer_id(ProducerId(who.0))
        .with_producer_epoch(who.1)
        .with_committed(committed);
    let (code, next) = until_final(|| {
        let answer = connection.ask(&request, version);
        (answer.error_code, (answer.producer_id.0, answer.producer_epoch))
    });
    assert_eq!(code, 0);
    if version >= 5 { next } else { who }
}

/// The last stable offset of a partition.
fn stable_end(connection: &mut Connection, partition: i32) -> i64 {
    let asked = list_offsets_request::ListOffsetsPartition::default()
        .with_partition_index(partition)
        .with_timestamp(-1);
    let asked = list_offsets_request::ListOffsetsTopic::default()
        .with_name(topic_name(TOPIC))
        .with_partitions(vec![asked]);
    let request = ListOffsetsRequest::default()
        .with_replica_id((-1).into())
        .with_isolation_level(1)
        .with_topics(vec![asked]);
    connection.ask(&request, 6).topics[0].partitions[0].offset
}

fn wait_for_end(connection: &mut Connection, partition: i32, end: i64) {
    let began = Instant::now();
    while stable_end(connection, partition) != end {
        assert!(began.elapsed() < PATIENCE, "the last stable offset stays below {end}");
        std::thread::sleep(Duration::from_millis(5)); // a reader's patience
    }
}

/// First offsets of the aborted transactions of a partition.
fn aborted(connection: &mut Connection, partition: i32) -> Vec<i64> {
    let request = fetch_of(TOPIC, partition, 0).with_isolation_level(1);
    let answer = connection.ask(&request, 12);
    let found = &answer.responses[0].partitions[0];
    let aborted = found.aborted_transactions.as_ref().expect("a list");
    aborted.iter().map(|transaction| transaction.first_offset).collect()
}

/// P103, P106: transactions v2. Writes join by themselves, all of it is seen at once or never, and
/// each end gives a new epoch, below which nothing is written any more.
#[test]
fn a_v2_transaction_is_seen_whole_or_never() {
    let (mut broker, mut connection) = begin(&["shards=2"]);
    let at = &mut connection;
    let first = init(at, 60_000);
    assert_eq!(produce(at, first, 0, 0, 12), Ok(0));
    assert_eq!(produce(at, first, 1, 0, 12), Ok(0));
    assert_eq!(produce(at, first, 0, 1, 12), Ok(1));
    assert_eq!(commit_offset(at, first, 42, -1, 5), 0);
    assert_eq!((stable_end(at, 0), stable_end(at, 1)), (0, 0));
    assert_eq!(position(at, false), Ok(-1), "it does not count yet");
    assert_eq!(position(at, true), Err(UNSTABLE_OFFSET_COMMIT));
    assert_eq!(commit_offset(at, first, 43, 7, 5), UNKNOWN_MEMBER_ID, "KIP-447");

    let second = end(at, first, true, 5);
    assert_eq!(second, (first.0, first.1 + 1));
    wait_for_end(at, 0, 3);
    wait_for_end(at, 1, 2);
    assert_eq!(stable_position(at), 42);

    assert_eq!(produce(at, first, 0, 2, 12), Err(INVALID_PRODUCER_EPOCH), "of the epoch before");
    assert_eq!(produce(at, second, 0, 0, 12), Ok(3), "sequences begin anew");
    assert_eq!(commit_offset(at, second, 77, -1, 5), 0);
    // The power goes between; what is open is open still.
    broker.kill();
    broker.restart();
    let mut connection = broker.connect();
    let at = &mut connection;
    assert_eq!(stable_end(at, 0), 3);
    assert_eq!(position(at, true), Err(UNSTABLE_OFFSET_COMMIT));
    let third = end(at, second, false, 5);
    assert_eq!(third.1, second.1 + 1);
    wait_for_end(at, 0, 5);
    assert_eq!(stable_position(at), 42, "the aborted position never counts");
    assert_eq!((aborted(at, 0), aborted(at, 1)), (vec![3], vec![]));
}

/// Positions that are more than one batch holds: UNKNOWN_SERVER_ERROR of all of them, as Kafka 4.3.1
/// answers. None of them is taken, and the transaction goes on.
#[test]
fn positions_that_do_not_fit_one_batch_are_refused_together() {
    const UNKNOWN_SERVER_ERROR: i16 = -1;
    let (_broker, mut connection) = begin(&["offset.metadata.max.bytes=2000000"]);
    let at = &mut connection;
    let who = init(at, 60_000);
    let partition = |(index, bytes): (i32, usize)| {
        txn_offset_commit_request::TxnOffsetCommitRequestPartition::default()
            .with_partition_index(index)
            .with_committed_offset(7)
            .with_committed_metadata(Some(StrBytes::from_string("m".repeat(bytes))))
    };
    let mut commit = |notes: [usize; 2]| {
        let topic = txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
            .with_name(topic_name(TOPIC))
            .with_partitions([0, 1].into_iter().zip(notes).map(partition).collect());
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(id())
            .with_group_id(GroupId(text(GROUP)))
            .with_producer_id(ProducerId(who.0))
            .with_producer_epoch(who.1)
            .with_generation_id(-1)
            .with_topics(vec![topic]);
        let (_, codes) = until_final(|| {
            let answer = at.ask(&request, 5);
            let codes: Vec<i16> =
                answer.topics[0].partitions.iter().map(|one| one.error_code).collect();
            (codes[0], codes)
        });
        codes
    };
    assert_eq!(commit([600_000, 600_000]), [UNKNOWN_SERVER_ERROR; 2]);
    assert_eq!(commit([20, 900_000]), [0; 2]);
    let next = end(at, who, true, 5);
    assert_eq!(stable_position(at), 7);
    assert_eq!(commit_offset(at, next, 8, -1, 5), 0);
}

/// P101, P102: transactions v1. What the client has not added is refused, as its version has it.
#[test]
fn a_v1_transaction_is_verified_before_its_first_write() {
    let (_broker, mut connection) = begin(&[]);
    let at = &mut connection;
    let who = init(at, 60_000);
    assert_eq!(produce(at, who, 0, 0, 11), Err(TRANSACTION_ABORTABLE), "not added");
    assert_eq!(produce(at, who, 0, 0, 10), Err(INVALID_TXN_STATE), "P101");
    assert_eq!(commit_offset(at, who, 5, -1, 3), INVALID_TXN_STATE, "the group is not added");
    let topic = add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
        .with_name(topic_name(TOPIC))
        .with_partitions(vec![0]);
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(id())
        .with_v3_and_below_producer_id(ProducerId(who.0))
        .with_v3_and_below_producer_epoch(who.1)
        .with_v3_and_below_topics(vec![topic]);
    let (code, ()) = until_final(|| {
        let topics = at.ask(&request, 3).results_by_topic_v3_and_below;
        (topics[0].results_by_partition[0].partition_error_code, ())
    });
    assert_eq!(code, 0);
    let request = AddOffsetsToTxnRequest::default()
        .with_transactional_id(id())
        .with_producer_id(ProducerId(who.0))
        .with_producer_epoch(who.1)
        .with_group_id(GroupId(text(GROUP)));
    let (code, ()) = until_final(|| (at.ask(&request, 3).error_code, ()));
    assert_eq!(code, 0);
    assert_eq!(produce(at, who, 0, 0, 10), Ok(0));
    assert_eq!(produce(at, who, 1, 0, 10), Err(INVALID_TXN_STATE), "this one was not added");
    assert_eq!(commit_offset(at, who, 5, -1, 3), 0);
    end(at, who, true, 4);
    wait_for_end(at, 0, 2);
    assert_eq!(stable_position(at), 5);
    assert_eq!(produce(at, who, 0, 1, 10), Err(INVALID_TXN_STATE), "nothing is open any more");
}

/// P105: a client that never ends its transaction holds readers back no longer than its time.
#[test]
fn an_abandoned_transaction_lets_readers_go_on() {
    let looks = "transaction.abort.timed.out.transaction.cleanup.interval.ms=50";
    let (_broker, mut connection) = begin(&[looks]);
    let at = &mut connection;
    let who = init(at, 500);
    assert_eq!(produce(at, who, 0, 0, 12), Ok(0));
    assert_eq!(commit_offset(at, who, 9, -1, 5), 0);
    wait_for_end(at, 0, 2);
    assert_eq!(aborted(at, 0), [0]);
    assert_eq!(stable_position(at), -1);
    assert_eq!(produce(at, who, 0, 1, 12), Err(INVALID_PRODUCER_EPOCH), "its owner is fenced");
}
