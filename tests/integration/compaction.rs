//! Compacted topics on the real process: they shrink, and lose nothing that counts.
//!
//! In:   updates of few keys, commits of one group; kills.
//! Out:  what readers see, what the log takes on disk, what the metrics say.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, FindCoordinatorRequest, GroupId,
    InitProducerIdRequest, OffsetCommitRequest, OffsetFetchRequest, ProducerId, TransactionalId,
    add_partitions_to_txn_request, offset_commit_request, offset_fetch_request,
};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, Record, RecordBatchDecoder, RecordBatchEncoder,
    RecordEncodeOptions, TimestampType,
};

use crate::broker::{Broker, Options};
use crate::wire::{Connection, NOBODY, batch_of, fetch_of, is_retriable, topic_name};

/// Longest wait for the cleaner. Generous: the machine may be building at the same time.
const PATIENCE: Duration = Duration::from_secs(60);
const TOPIC: &str = "newest";
const KEYS: u32 = 500;
const CONCURRENT_TRANSACTIONS: i16 = 51;
const INVALID_RECORD: i16 = 87;

type Values = BTreeMap<Vec<u8>, Vec<u8>>;

/// Batches of updates of keys drawn by a fixed rule; some delete their key.
struct Updates {
    draw: u64,
    newest: Values,
}

impl Updates {
    fn below(&mut self, bound: u32) -> u32 {
        self.draw = self.draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        u32::try_from(self.draw >> 33).expect("31 bits") % bound
    }

    fn batch(&mut self) -> Bytes {
        let mut records = Vec::new();
        for index in 0..100 {
            let key = format!("key-{}", self.below(KEYS)).into_bytes();
            let value = (self.below(10) > 0).then(|| vec![b'a' + self.byte(); 300]);
            match &value {
                Some(value) => drop(self.newest.insert(key.clone(), value.clone())),
                None => drop(self.newest.remove(&key)),
            }
            records.push(record(index, key, value));
        }
        let mut batch = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: Compression::None };
        RecordBatchEncoder::encode(&mut batch, &records, &options).expect("the batch encodes");
        batch.freeze()
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(26)).expect("a letter")
    }
}

fn record(index: i32, key: Vec<u8>, value: Option<Vec<u8>>) -> Record {
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset: i64::from(index),
        sequence: index - 1, // the encoder takes equal ones for several batches
        timestamp: 1_700_000_000_000,
        key: Some(key.into()),
        value: value.map(Bytes::from),
        headers: Default::default(),
    }
}

/// Reads the partition from its start to its end: how many records, and the newest of each key.
fn read(connection: &mut Connection) -> (usize, Values) {
    let end = connection.offset_of(TOPIC, 0, -1);
    let (mut next, mut count, mut newest) = (0, 0, Values::new());
    while next < end {
        let answer = connection.ask(&fetch_of(TOPIC, 0, next), 12);
        let found = &answer.responses[0].partitions[0];
        assert_eq!(found.error_code, 0);
        let mut records = found.records.clone().unwrap_or_default();
        let past = end_of(records.clone());
        assert!(past > next, "a fetch before the end moves on");
        let sets = RecordBatchDecoder::decode_all(&mut records).expect("the records decode");
        for record in sets.into_iter().flat_map(|set| set.records) {
            if record.offset < next {
                continue;
            }
            count += 1;
            let key = record.key.expect("all have keys").to_vec();
            match record.value {
                Some(value) => drop(newest.insert(key, value.to_vec())),
                None => drop(newest.remove(&key)),
            }
        }
        next = past;
    }
    (count, newest)
}

/// The offset after the last batch, whether it has records or not.
fn end_of(mut records: Bytes) -> i64 {
    let mut end = -1;
    while records.len() >= 61 {
        let mut header = records.slice(..61);
        let base = header.get_i64();
        let length = usize::try_from(header.get_i32()).expect("a length");
        header.advance(11);
        end = base + i64::from(header.get_i32()) + 1;
        if records.len() < 12 + length {
            break;
        }
        records.advance(12 + length);
    }
    end
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20)); // the broker is polled
    }
}

#[test]
fn a_compacted_topic_shrinks_and_every_reader_sees_the_newest_of_each_key() {
    let mut broker = Broker::with(Options::set(&["log.cleaner.backoff.ms=50"]));
    let mut connection = broker.connect();
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1048576"),
        ("min.cleanable.dirty.ratio", "0.1"),
    ];
    assert_eq!(connection.create_topic(TOPIC, 1, &settings), 0);
    let without_key = batch_of(&[b"no key".to_vec()], NOBODY);
    assert_eq!(connection.produce(TOPIC, 0, without_key), Err(INVALID_RECORD));
    let mut updates = Updates { draw: 1, newest: Values::new() };
    let mut appended = 0;
    for round in 0..200 {
        connection.produce(TOPIC, 0, updates.batch()).expect("appended");
        appended += 100;
        if round % 50 == 0 {
            // Passes come and go meanwhile.
            assert_eq!(read(&mut connection).1, updates.newest);
        }
    }
    let (count, newest) = wait_for("a pass", || {
        let (count, newest) = read(&mut connection);
        (count < appended / 2).then_some((count, newest))
    });
    assert_eq!(newest, updates.newest, "{count} records of {appended}");
    assert!(broker.metric(&["kafka_log_cleaner_written_bytes_total"]) > 0.0);
    assert!(broker.metric(&["kafka_log_cleaner_clean_time_seconds_count"]) >= 1.0);
    assert_eq!(broker.metric(&["kafka_log_cleaner_uncleanable_partitions_count"]), 0.0);
    for graceful in [false, true] {
        if graceful {
            broker.stop();
        } else {
            broker.kill();
        }
        broker.restart();
        let mut connection = broker.connect();
        let (after, newest) = wait_for("the leader", || {
            (connection.topic_error(TOPIC) == 0).then(|| read(&mut connection))
        });
        assert!(after <= count, "what was compacted stays so: {after} of {count}");
        assert_eq!(newest, updates.newest);
    }
}

fn group() -> GroupId {
    GroupId(StrBytes::from_static_str("readers"))
}

/// Commits `offset` with so long a note that commits fill segments.
fn commit(connection: &mut Connection, offset: i64) {
    let position = offset_commit_request::OffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(StrBytes::from_string("n".repeat(4_000))));
    let topic = offset_commit_request::OffsetCommitRequestTopic::default()
        .with_name(topic_name(TOPIC))
        .with_partitions(vec![position]);
    let request = OffsetCommitRequest::default().with_group_id(group()).with_topics(vec![topic]);
    wait_for("a commit", || {
        let code = connection.ask(&request, 8).topics[0].partitions[0].error_code;
        assert!(code == 0 || is_retriable(code), "commit: error {code}");
        (code == 0).then_some(())
    });
}

fn committed(connection: &mut Connection) -> i64 {
    let asked = offset_fetch_request::OffsetFetchRequestGroup::default()
        .with_group_id(group())
        .with_topics(None);
    let request = OffsetFetchRequest::default().with_groups(vec![asked]);
    wait_for("the positions", || {
        let answer = connection.ask(&request, 8);
        let group = &answer.groups[0];
        assert!(group.error_code == 0 || is_retriable(group.error_code));
        let found = || group.topics[0].partitions[0].committed_offset;
        (group.error_code == 0).then(found)
    })
}

#[test]
fn the_topic_of_committed_offsets_shrinks_and_is_loaded_again() {
    let mut broker = Broker::with(Options::set(&[
        "log.cleaner.backoff.ms=50",
        "log.cleaner.min.cleanable.ratio=0.1",
        "offsets.topic.num.partitions=1",
        "offsets.topic.segment.bytes=1048576",
    ]));
    let mut connection = broker.connect();
    assert_eq!(connection.create_topic(TOPIC, 1, &[]), 0);
    wait_for("the coordinator", || {
        let request = FindCoordinatorRequest::default().with_key(group().0);
        (connection.ask(&request, 3).error_code == 0).then_some(())
    });
    let commits = 900;
    for offset in 0..commits {
        commit(&mut connection, offset);
    }
    // All but the segment that grows goes down to one record.
    let most = f64::from(1_100_000);
    wait_for("a pass", || {
        let bytes = broker.metric(&["yeoul_storage_log_bytes"]);
        (bytes < most).then_some(())
    });
    assert_eq!(committed(&mut connection), commits - 1);
    broker.kill();
    broker.restart();
    let mut connection = broker.connect();
    assert_eq!(committed(&mut connection), commits - 1);
    commit(&mut connection, 7);
    assert_eq!(committed(&mut connection), 7);
    broker.assert_alive();
}

/// So long an id that its records fill segments.
fn transactional_id() -> TransactionalId {
    TransactionalId(StrBytes::from_string("i".repeat(10_000)))
}

/// What `step` gives once its error code is not one that passes.
fn until_done<T>(mut step: impl FnMut() -> (i16, T)) -> T {
    wait_for("the transaction coordinator", || {
        let (code, value) = step();
        let passes = is_retriable(code) || code == CONCURRENT_TRANSACTIONS;
        assert!(code == 0 || passes, "error {code}");
        (code == 0).then_some(value)
    })
}

fn init(connection: &mut Connection) -> (ProducerId, i16) {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(transactional_id()))
        .with_transaction_timeout_ms(60_000)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1);
    until_done(|| {
        let answer = connection.ask(&request, 4);
        (answer.error_code, (answer.producer_id, answer.producer_epoch))
    })
}

fn add(connection: &mut Connection, who: (ProducerId, i16)) {
    let topic = add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
        .with_name(topic_name(TOPIC))
        .with_partitions(vec![0]);
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(transactional_id())
        .with_v3_and_below_producer_id(who.0)
        .with_v3_and_below_producer_epoch(who.1)
        .with_v3_and_below_topics(vec![topic]);
    until_done(|| {
        let answer = connection.ask(&request, 3);
        let results = &answer.results_by_topic_v3_and_below[0].results_by_partition;
        (results[0].partition_error_code, ())
    });
}

fn transaction(connection: &mut Connection, who: (ProducerId, i16)) {
    add(connection, who);
    let request = EndTxnRequest::default()
        .with_transactional_id(transactional_id())
        .with_producer_id(who.0)
        .with_producer_epoch(who.1)
        .with_committed(true);
    until_done(|| (connection.ask(&request, 3).error_code, ()));
}

#[test]
fn the_topic_of_transactions_shrinks_and_is_loaded_again() {
    let mut broker = Broker::with(Options::set(&[
        "log.cleaner.backoff.ms=50",
        "log.cleaner.min.cleanable.ratio=0.1",
        "transaction.state.log.num.partitions=1",
        "transaction.state.log.segment.bytes=1048576",
    ]));
    let mut connection = broker.connect();
    assert_eq!(connection.create_topic(TOPIC, 1, &[]), 0);
    until_done(|| {
        let request =
            FindCoordinatorRequest::default().with_key(transactional_id().0).with_key_type(1);
        (connection.ask(&request, 3).error_code, ())
    });
    let first = init(&mut connection);
    for _ in 0..100 {
        transaction(&mut connection, first); // three records of 10 kB each
    }
    add(&mut connection, first);
    // All but the segment that grows goes down to one record.
    let most = f64::from(1_100_000);
    wait_for("a pass", || {
        let bytes = broker.metric(&["yeoul_storage_log_bytes"]);
        (bytes < most).then_some(())
    });
    let holds = |broker: &Broker| {
        ["kafka_transactional_ids", "kafka_transactions_open"].map(|name| broker.metric(&[name]))
    };
    assert_eq!(holds(&broker), [1.0, 1.0]);
    broker.kill();
    broker.restart();
    let mut connection = broker.connect();
    // What is open was read, too: a new producer has it aborted, and is the same with a later epoch.
    let second = init(&mut connection);
    assert_eq!(second.0, first.0);
    assert!(second.1 > first.1, "{first:?} was there before {second:?}");
    transaction(&mut connection, second);
    wait_for("the end of it", || (holds(&broker) == [1.0, 0.0]).then_some(()));
    broker.assert_alive();
}
