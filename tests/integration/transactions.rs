//! Transactions as their coordinator's clients see them: identities, fences, ends, kills.
//!
//! In:   requests over the wire by a foreign codec; kills of the broker.
//! Out:  what the transaction calls say, and that a decided transaction is completed.
//!
//! Not here: foreign clients (`scripts/transactions.sh`), every answer against the real Kafka's
//! (`tests/compat/differential`).

use std::time::{Duration, Instant};

use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, ApiVersionsRequest,
    DescribeTransactionsRequest, EndTxnRequest, FindCoordinatorRequest, GroupId,
    InitProducerIdRequest, ListTransactionsRequest, ProducerId, TransactionalId,
    add_partitions_to_txn_request, describe_transactions_response,
};
use kafka_protocol::protocol::StrBytes;

use crate::broker::{Broker, Options};
use crate::wire::{Connection, is_retriable, topic_name};

/// Longest wait for a coordinator. Generous: the machine may be building at the same time.
const PATIENCE: Duration = Duration::from_secs(60);
const TOPIC: &str = "events";
/// Enough ids to be on every shard.
const IDS: usize = 12;

const INVALID_PRODUCER_EPOCH: i16 = 47;
const CONCURRENT_TRANSACTIONS: i16 = 51;
const PRODUCER_FENCED: i16 = 90;
const TRANSACTIONAL_ID_NOT_FOUND: i16 = 105;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn id(name: &str) -> TransactionalId {
    TransactionalId(text(name))
}

fn name_of(number: usize) -> String {
    format!("id-{number}")
}

/// Who a producer is: id and epoch.
type Identity = (i64, i16);

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

/// Waits until the id has a coordinator.
fn find_coordinator(connection: &mut Connection, name: &str) {
    let request = FindCoordinatorRequest::default().with_key(text(name)).with_key_type(1);
    let (code, ()) = until_final(|| (connection.ask(&request, 3).error_code, ()));
    assert_eq!(code, 0);
}

fn init_of(name: &str, expected: Option<Identity>) -> InitProducerIdRequest {
    let (of, epoch) = expected.unwrap_or((-1, -1));
    InitProducerIdRequest::default()
        .with_transactional_id(Some(id(name)))
        .with_transaction_timeout_ms(60_000)
        .with_producer_id(ProducerId(of))
        .with_producer_epoch(epoch)
}

fn init(connection: &mut Connection, name: &str) -> Identity {
    find_coordinator(connection, name);
    let request = init_of(name, None);
    let (code, given) = until_final(|| {
        let answer = connection.ask(&request, 4);
        (answer.error_code, (answer.producer_id.0, answer.producer_epoch))
    });
    assert_eq!(code, 0, "init of {name}");
    given
}

/// Adds partition `index` of [`TOPIC`]; the code that it gets.
fn add(connection: &mut Connection, name: &str, who: Identity, index: i32, version: i16) -> i16 {
    let topic = add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
        .with_name(topic_name(TOPIC))
        .with_partitions(vec![index]);
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(id(name))
        .with_v3_and_below_producer_id(ProducerId(who.0))
        .with_v3_and_below_producer_epoch(who.1)
        .with_v3_and_below_topics(vec![topic]);
    let (code, ()) = until_final(|| {
        let answer = connection.ask(&request, version);
        let topics = answer.results_by_topic_v3_and_below;
        (topics[0].results_by_partition[0].partition_error_code, ())
    });
    code
}

fn end_of(name: &str, who: Identity, committed: bool) -> EndTxnRequest {
    EndTxnRequest::default()
        .with_transactional_id(id(name))
        .with_producer_id(ProducerId(who.0))
        .with_producer_epoch(who.1)
        .with_committed(committed)
}

/// Ends a transaction; the code, and who the producer is then.
fn end(
    connection: &mut Connection,
    name: &str,
    who: Identity,
    committed: bool,
    version: i16,
) -> (i16, Identity) {
    let request = end_of(name, who, committed);
    until_final(|| {
        let answer = connection.ask(&request, version);
        (answer.error_code, (answer.producer_id.0, answer.producer_epoch))
    })
}

fn describe(
    connection: &mut Connection,
    name: &str,
) -> describe_transactions_response::TransactionState {
    let request = DescribeTransactionsRequest::default().with_transactional_ids(vec![id(name)]);
    let (_, state) = until_final(|| {
        let state = connection.ask(&request, 0).transaction_states.swap_remove(0);
        (state.error_code, state)
    });
    state
}

/// Waits until the id stands so.
fn wait_for(connection: &mut Connection, name: &str, state: &str) {
    let began = Instant::now();
    loop {
        let described = describe(connection, name);
        if &*described.transaction_state == state {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{name} stays {described:?}");
        std::thread::sleep(Duration::from_millis(5)); // an administrator's patience
    }
}

/// P100, P101, P103, P107 over the wire: one producer's life, and the one that fences it.
#[test]
fn a_producer_lives_and_is_fenced() {
    let broker = Broker::start();
    let mut connection = broker.connect();
    assert_eq!(connection.create_topic(TOPIC, 3, &[]), 0);
    find_coordinator(&mut connection, "x");
    assert_eq!(describe(&mut connection, "x").error_code, TRANSACTIONAL_ID_NOT_FOUND);
    let first = init(&mut connection, "x");
    assert_eq!(first.1, 0);
    assert_eq!(add(&mut connection, "x", first, 0, 3), 0);
    let described = describe(&mut connection, "x");
    assert_eq!((&*described.transaction_state, described.producer_id.0), ("Ongoing", first.0));
    assert_eq!(described.topics[0].partitions, [0]);

    let (code, second) = end(&mut connection, "x", first, true, 5);
    assert_eq!((code, second), (0, (first.0, 1)), "with version 5 the epoch rises");
    wait_for(&mut connection, "x", "CompleteCommit");
    assert_eq!(end(&mut connection, "x", first, true, 5), (0, second), "repeated");
    assert_eq!(add(&mut connection, "x", second, 1, 3), 0);
    assert_eq!(end(&mut connection, "x", second, false, 4).0, 0);
    wait_for(&mut connection, "x", "CompleteAbort");

    assert_eq!(add(&mut connection, "x", second, 2, 3), 0);
    let third = init(&mut connection, "x"); // aborts, and asks again until that is done
    assert!(third.1 > second.1, "{third:?}");
    assert_eq!(add(&mut connection, "x", second, 0, 2), PRODUCER_FENCED);
    assert_eq!(add(&mut connection, "x", second, 0, 1), INVALID_PRODUCER_EPOCH, "P101");
    assert_eq!(end(&mut connection, "x", second, true, 4).0, PRODUCER_FENCED);
    assert_eq!(end(&mut connection, "x", second, true, 1).0, INVALID_PRODUCER_EPOCH, "P101");
    let request = init_of("x", Some(second));
    assert_eq!(connection.ask(&request, 4).error_code, PRODUCER_FENCED);
    assert_eq!(connection.ask(&request, 3).error_code, INVALID_PRODUCER_EPOCH, "P101");

    let offsets = AddOffsetsToTxnRequest::default()
        .with_transactional_id(id("x"))
        .with_producer_id(ProducerId(third.0))
        .with_producer_epoch(third.1)
        .with_group_id(GroupId(text("readers")));
    let (code, ()) = until_final(|| (connection.ask(&offsets, 3).error_code, ()));
    assert_eq!(code, 0);
    let described = describe(&mut connection, "x");
    assert_eq!(&*described.topics[0].topic.0, "__consumer_offsets");
    let list = ListTransactionsRequest::default().with_state_filters(vec![text("Ongoing")]);
    let listed = connection.ask(&list, 1);
    assert_eq!(listed.error_code, 0);
    let listed: Vec<_> =
        listed.transaction_states.iter().map(|one| one.transactional_id.to_string()).collect();
    assert_eq!(listed, ["x"]);
}

/// P105: whatever moment a kill comes at, what was told stays, and what was decided is completed.
#[test]
fn transactions_survive_kills() {
    let mut broker = Broker::with(Options::set(&["shards=2"]));
    let mut connection = broker.connect();
    assert_eq!(connection.create_topic(TOPIC, 4, &[]), 0);
    let mut producers: Vec<Identity> =
        (0..IDS).map(|number| init(&mut connection, &name_of(number))).collect();
    for round in 0..4 {
        for (number, who) in producers.iter().enumerate() {
            let index = i32::try_from(number % 4).expect("small");
            assert_eq!(add(&mut connection, &name_of(number), *who, index, 3), 0);
        }
        // Half of them are told of their end, the rest ask without waiting for the answer.
        let mut hasty = broker.connect();
        for (number, who) in producers.iter_mut().enumerate() {
            let (name, committed) = (name_of(number), number % 3 == 0);
            if number % 2 == 0 {
                let (code, next) = end(&mut connection, &name, *who, committed, 5);
                assert_eq!(code, 0);
                *who = next;
            } else {
                let _ = hasty.send(&end_of(&name, *who, committed), 5);
            }
        }
        broker.kill();
        broker.restart();
        connection = broker.connect();
        for (number, who) in producers.iter_mut().enumerate() {
            let (name, committed) = (name_of(number), number % 3 == 0);
            if number % 2 == 1 {
                // Whether it was decided before the kill or not: the same request ends it.
                let (code, next) = end(&mut connection, &name, *who, committed, 5);
                assert_eq!(code, 0, "{name} in round {round}");
                *who = next;
            }
            let state = if committed { "CompleteCommit" } else { "CompleteAbort" };
            wait_for(&mut connection, &name, state);
            let described = describe(&mut connection, &name);
            assert_eq!((described.producer_id.0, described.producer_epoch), *who);
            assert!(described.topics.is_empty());
        }
    }
}

/// P105: an open transaction does not outlive its time by more than the look that finds it.
#[test]
fn an_abandoned_transaction_is_aborted() {
    let looks = "transaction.abort.timed.out.transaction.cleanup.interval.ms=50";
    let broker = Broker::with(Options::set(&[looks]));
    let mut connection = broker.connect();
    assert_eq!(connection.create_topic(TOPIC, 1, &[]), 0);
    init(&mut connection, "x");
    let request = init_of("x", None).with_transaction_timeout_ms(200);
    let given = connection.ask(&request, 4);
    let who = (given.producer_id.0, given.producer_epoch);
    assert_eq!(add(&mut connection, "x", who, 0, 3), 0);
    wait_for(&mut connection, "x", "CompleteAbort");
    assert_eq!(describe(&mut connection, "x").producer_epoch, who.1 + 1, "its owner is fenced");
    assert_eq!(add(&mut connection, "x", who, 0, 3), PRODUCER_FENCED);
}

/// A topic that is deleted within a transaction does not keep it from its end.
#[test]
fn a_deleted_topic_does_not_hold_a_transaction() {
    let broker = Broker::start();
    let mut connection = broker.connect();
    assert_eq!(connection.create_topic(TOPIC, 2, &[]), 0);
    let who = init(&mut connection, "x");
    assert_eq!(add(&mut connection, "x", who, 1, 3), 0);
    assert_eq!(connection.delete_topic(TOPIC), 0);
    assert_eq!(end(&mut connection, "x", who, true, 4).0, 0);
    wait_for(&mut connection, "x", "CompleteCommit");
}

/// The feature that makes clients speak version 2 is finalized, and its level outlives a restart.
#[test]
fn the_level_of_transactions_is_kept() {
    let mut broker = Broker::start();
    let level = |broker: &Broker| {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(text("test"))
            .with_client_software_version(text("1"));
        let answer = broker.connect().ask(&request, 4);
        let of = |name: &str| name == "transaction.version";
        let finalized = answer.finalized_features.iter().find(|one| of(&one.name));
        let supported = answer.supported_features.iter().find(|one| of(&one.name));
        let supported = supported.map(|one| (one.min_version, one.max_version));
        (finalized.map(|one| one.max_version_level), supported)
    };
    assert_eq!(level(&broker), (Some(2), Some((0, 2))));
    for (asked, seen) in [(1, Some(1)), (0, None)] {
        use kafka_protocol::messages::UpdateFeaturesRequest;
        use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
        let update = FeatureUpdateKey::default()
            .with_feature(text("transaction.version"))
            .with_max_version_level(asked)
            .with_upgrade_type(3);
        let request = UpdateFeaturesRequest::default()
            .with_timeout_ms(10_000)
            .with_feature_updates(vec![update]);
        assert_eq!(broker.connect().ask(&request, 1).error_code, 0);
        assert_eq!(level(&broker), (seen, Some((0, 2))));
        broker.kill();
        broker.restart();
        assert_eq!(level(&broker), (seen, Some((0, 2))), "as it was set");
    }
}
