//! The coordinator's rules, each named as `protocol.md` 2.6 has it.

use crate::model::ids::{ProducerEpoch, ProducerId};
use crate::model::time::Timestamp;
use crate::record::control::Outcome::{Abort, Commit};
use crate::transaction::admin::{ListFilter, Pattern};
use crate::transaction::fixtures::{Bench, TIMEOUT_MS, identity, partition};
use crate::transaction::ids::TransactionLevel::{V0, V1, V2};
use crate::transaction::ids::{Identity, TransactionLevel};
use crate::transaction::partitions::{AddRequest, TransactionError as E};
use crate::transaction::producer::{InitError, InitRequest};
use crate::transaction::record::Record;
use crate::transaction::state::State;
use crate::transaction::step::Step;

/// A bench where `x` has a producer.
fn with_producer(level: TransactionLevel) -> (Bench, Identity) {
    let mut bench = Bench::new(level);
    let producer = bench.init("x", None).expect("nobody is in the way");
    (bench, producer)
}

/// A bench where `x` has an open transaction with partition 0.
fn with_open(level: TransactionLevel) -> (Bench, Identity) {
    let (mut bench, producer) = with_producer(level);
    bench.add("x", producer, 0, level).expect("the transaction opens");
    (bench, producer)
}

/// Moves `x` to another epoch, as if it had been used much.
fn set_epoch(bench: &mut Bench, epoch: i16) -> Identity {
    let mut value = bench.value("x");
    value.producer_epoch = ProducerEpoch(epoch);
    let record = Record { id: "x".into(), value: Some(value) };
    bench.run(|core, _, step| {
        core.replay(&record);
        step.records.push(record);
    });
    bench.value("x").identity()
}

#[test]
fn p100_each_init_bumps_the_epoch_and_fences_who_was_there() {
    let (mut bench, first) = with_producer(V2);
    assert_eq!(first.epoch, ProducerEpoch(0));
    let second = bench.init("x", None).expect("nobody is in the way");
    assert_eq!(second, Identity { epoch: ProducerEpoch(1), ..first });
    for level in [V0, V1, V2] {
        assert_eq!(bench.add("x", first, 0, level), Err(E::ProducerFenced));
        assert_eq!(bench.end("x", first, Commit, level), Err(E::ProducerFenced));
    }
    assert_eq!(bench.init("x", Some(first)), Err(InitError::Fenced));
    assert_eq!(bench.add("x", identity(7, 1), 0, V2), Err(E::InvalidPidMapping));
    assert_eq!(bench.add("y", second, 0, V2), Err(E::InvalidPidMapping));
    assert_eq!(bench.end("y", second, Commit, V2), Err(E::InvalidPidMapping));
}

#[test]
fn p100_a_timeout_is_above_0_and_at_most_the_brokers() {
    let mut bench = Bench::new(V2);
    for (timeout_ms, fits) in [(0, false), (-1, false), (900_001, false), (900_000, true)] {
        let request = InitRequest { id: "x".into(), timeout_ms, expected: None };
        let fresh = Some(ProducerId(1));
        let told = bench.run(|core, now, step| core.init_producer_id(now, &request, fresh, step));
        let told = told.expect("it has a new id");
        assert_eq!(told.is_ok(), fits, "{timeout_ms}");
        assert!(fits || told == Err(InitError::BadTimeout));
    }
}

#[test]
fn p100_who_names_its_identity_goes_on_and_may_ask_again() {
    let (mut bench, first) = with_producer(V2);
    let second = bench.init("x", Some(first)).expect("it is the owner");
    assert_eq!(second.epoch, ProducerEpoch(1));
    // The answer was lost: the same request gives the same identity.
    assert_eq!(bench.init("x", Some(first)), Ok(second));
    assert_eq!(bench.init("x", Some(identity(first.id.0 + 5, 0))), Err(InitError::Fenced));
    // Somebody else has asked since: now it is fenced.
    bench.init("x", None).expect("nobody is in the way");
    assert_eq!(bench.init("x", Some(first)), Err(InitError::Fenced));
    assert_eq!(bench.init("x", Some(second)), Err(InitError::Fenced));
}

#[test]
fn p100_an_unknown_id_takes_whoever_names_an_identity() {
    let mut bench = Bench::new(V2);
    let given = bench.init("x", Some(identity(55, 9))).expect("the id has expired, perhaps");
    assert_ne!(given.id, ProducerId(55));
    assert_eq!(given.epoch, ProducerEpoch(0));
}

#[test]
fn p100_used_up_epochs_give_a_new_id() {
    let (mut bench, _) = with_producer(V1);
    let worn = set_epoch(&mut bench, i16::MAX - 1);
    let next = bench.init("x", Some(worn)).expect("it is the owner");
    assert_ne!(next.id, worn.id);
    assert_eq!(next.epoch, ProducerEpoch(0));
    // It has not heard of it: it asks again, with the id of before.
    assert_eq!(bench.init("x", Some(worn)), Ok(next));
    assert_eq!(bench.value("x").previous_producer_id, next.id, "only the last move counts");
}

#[test]
fn p100_an_open_transaction_is_aborted_first() {
    for level in [V1, V2] {
        let (mut bench, first) = with_open(level);
        assert_eq!(bench.init("x", None), Err(InitError::Concurrent));
        let (_, markers) = bench.markers.last().cloned().expect("it is aborted");
        let fenced = Identity { epoch: ProducerEpoch(first.epoch.0 + 1), ..first };
        assert_eq!((markers.outcome, markers.producer), (Abort, fenced), "{level:?}");
        assert_eq!(bench.init("x", None), Err(InitError::Concurrent), "while it completes");
        assert_eq!(bench.add("x", first, 1, level), Err(E::ConcurrentTransactions));
        bench.write_all_markers();
        assert_eq!(bench.add("x", first, 1, level), Err(E::ProducerFenced));
        let second = bench.init("x", None).expect("it is complete");
        assert_eq!(second.epoch, ProducerEpoch(first.epoch.0 + 2));
    }
}

#[test]
fn p100_fencing_never_runs_out_of_epochs() {
    for level in [V1, V2] {
        let (mut bench, _) = with_producer(level);
        let worn = set_epoch(&mut bench, i16::MAX - 1);
        bench.add("x", worn, 0, level).expect("the last epoch is good");
        assert_eq!(bench.init("x", None), Err(InitError::Concurrent));
        bench.write_all_markers();
        let value = bench.value("x");
        assert_eq!((value.state, value.producer_epoch.0), (State::CompleteAbort, i16::MAX));
        // That epoch belongs to nobody.
        assert_eq!(bench.add("x", value.identity(), 0, level), Err(E::ProducerFenced));
        let next = bench.init("x", None).expect("with another id");
        assert_eq!(next.epoch, ProducerEpoch(0));
        assert_ne!(next.id, worn.id);
    }
}

#[test]
fn p100_who_comes_back_is_never_given_the_last_epoch() {
    let (mut bench, _) = with_producer(V2);
    let worn = set_epoch(&mut bench, i16::MAX - 1);
    bench.add("x", worn, 0, V2).expect("the last epoch is good");
    assert_eq!(bench.init("x", Some(worn)), Err(InitError::Concurrent));
    bench.write_all_markers();
    let next = bench.init("x", Some(worn)).expect("with another id");
    assert_eq!(next.epoch, ProducerEpoch(0));
    assert_ne!(next.id, worn.id);
    bench.add("x", next, 0, V2).expect("it goes on");
}

#[test]
fn p103_an_abort_that_comes_before_the_markers_of_the_transaction_before_has_to_wait() {
    let (mut bench, producer) = with_open(V2);
    let next = bench.end("x", producer, Commit, V2).expect("it is open");
    assert_eq!(bench.add("x", next, 0, V2), Err(E::ConcurrentTransactions));
    assert_eq!(bench.end("x", next, Abort, V2), Err(E::ConcurrentTransactions));
    assert_eq!(bench.end("x", producer, Commit, V2), Err(E::ConcurrentTransactions), "repeated");
    bench.write_all_markers();
    bench.add("x", next, 0, V2).expect("it goes on");
}

#[test]
fn p102_a_partition_is_verified_in_the_open_transaction_alone() {
    let (mut bench, producer) = with_open(V1);
    let verify = |bench: &Bench, producer| {
        bench.core.verify_partitions(&"x".into(), producer, &[partition(0), partition(1)])
    };
    let found = vec![Ok(()), Err(E::TransactionAbortable)];
    assert_eq!(verify(&bench, producer), Ok(found));
    let older = Identity { epoch: ProducerEpoch(-1), ..producer };
    assert_eq!(verify(&bench, older), Err(E::ProducerFenced));
    assert_eq!(verify(&bench, identity(1, 0)), Err(E::InvalidPidMapping));
    assert_eq!(bench.end("x", producer, Commit, V1), Ok(producer));
    assert_eq!(verify(&bench, producer), Err(E::ConcurrentTransactions));
    bench.write_all_markers();
    let gone = vec![Err(E::TransactionAbortable); 2];
    assert_eq!(verify(&bench, producer), Ok(gone), "a delayed write lands in no transaction");
}

#[test]
fn p102_ends_of_version_1_are_kafkas() {
    let check = |state: State, outcome, want: Result<(), E>| {
        let (mut bench, producer) = with_producer(V1);
        if state != State::Empty {
            bench.add("x", producer, 0, V1).expect("it opens");
        }
        match state {
            State::PrepareCommit | State::CompleteCommit => {
                bench.end("x", producer, Commit, V1).expect("it is open");
            }
            State::PrepareAbort | State::CompleteAbort => {
                bench.end("x", producer, Abort, V1).expect("it is open");
            }
            _ => {}
        }
        if matches!(state, State::CompleteCommit | State::CompleteAbort) {
            bench.write_all_markers();
        }
        assert_eq!(bench.value("x").state, state);
        let told = bench.end("x", producer, outcome, V1);
        assert_eq!(told, want.map(|()| producer), "{state:?} {outcome:?}");
    };
    check(State::Empty, Commit, Err(E::InvalidTxnState));
    check(State::Empty, Abort, Err(E::InvalidTxnState));
    check(State::Ongoing, Commit, Ok(()));
    check(State::Ongoing, Abort, Ok(()));
    check(State::PrepareCommit, Commit, Err(E::ConcurrentTransactions));
    check(State::PrepareCommit, Abort, Err(E::InvalidTxnState));
    check(State::PrepareAbort, Abort, Err(E::ConcurrentTransactions));
    check(State::PrepareAbort, Commit, Err(E::InvalidTxnState));
    check(State::CompleteCommit, Commit, Ok(()));
    check(State::CompleteCommit, Abort, Err(E::InvalidTxnState));
    check(State::CompleteAbort, Abort, Ok(()));
    check(State::CompleteAbort, Commit, Err(E::InvalidTxnState));
}

/// A bench where `x` of version 2 stands in `state`, which it reached under epoch 0.
fn in_state(state: State) -> (Bench, Identity, Identity) {
    let (mut bench, producer) = with_producer(V2);
    let mut now = producer;
    if state != State::Empty {
        bench.add("x", producer, 0, V2).expect("it opens");
    }
    match state {
        State::PrepareCommit | State::CompleteCommit => {
            now = bench.end("x", producer, Commit, V2).expect("it is open");
        }
        State::PrepareAbort | State::CompleteAbort => {
            now = bench.end("x", producer, Abort, V2).expect("it is open");
        }
        _ => {}
    }
    if matches!(state, State::CompleteCommit | State::CompleteAbort) {
        bench.write_all_markers();
    }
    assert_eq!(bench.value("x").state, state);
    (bench, producer, now)
}

/// What a request under the epoch of before and under the one of now is told.
#[test]
fn p103_ends_of_version_2_are_kafkas() {
    let check = |state, outcome, repeated: Result<(), E>, current: Result<bool, E>| {
        if state != State::Ongoing && state != State::Empty {
            let (mut bench, before, now) = in_state(state);
            let told = bench.end("x", before, outcome, V2);
            assert_eq!(told, repeated.map(|()| now), "repeated: {state:?} {outcome:?}");
        }
        let (mut bench, _, now) = in_state(state);
        let told = bench.end("x", now, outcome, V2);
        let bumped = Identity { epoch: ProducerEpoch(now.epoch.0 + 1), ..now };
        let want = current.map(|bumps| if bumps { bumped } else { now });
        assert_eq!(told, want, "current: {state:?} {outcome:?}");
    };
    let (invalid, fenced) = (E::InvalidTxnState, E::ProducerFenced);
    check(State::Empty, Commit, Err(fenced), Err(invalid));
    check(State::Empty, Abort, Err(fenced), Ok(true));
    check(State::Ongoing, Commit, Err(fenced), Ok(true));
    check(State::Ongoing, Abort, Err(fenced), Ok(true));
    for state in [State::PrepareCommit, State::PrepareAbort] {
        for outcome in [Commit, Abort] {
            let concurrent = E::ConcurrentTransactions;
            check(state, outcome, Err(concurrent), Err(concurrent));
        }
    }
    check(State::CompleteCommit, Commit, Ok(()), Err(invalid));
    check(State::CompleteCommit, Abort, Err(invalid), Ok(true));
    check(State::CompleteAbort, Abort, Ok(()), Ok(true));
    check(State::CompleteAbort, Commit, Err(invalid), Err(invalid));
}

#[test]
fn p103_markers_carry_the_bumped_epoch() {
    let (mut bench, producer) = with_open(V2);
    let next = bench.end("x", producer, Commit, V2).expect("it is open");
    assert_eq!(next.epoch.0, producer.epoch.0 + 1);
    let (_, markers) = bench.markers.last().cloned().expect("there is a partition");
    assert_eq!((markers.producer, markers.version), (next, V2));
    assert_eq!(markers.partitions, [partition(0)]);
}

#[test]
fn p103_an_end_with_used_up_epochs_gives_a_new_id() {
    let (mut bench, _) = with_producer(V2);
    let worn = set_epoch(&mut bench, i16::MAX - 1);
    bench.add("x", worn, 0, V2).expect("the last epoch is good");
    let next = bench.end("x", worn, Commit, V2).expect("it is open");
    assert_ne!(next.id, worn.id);
    assert_eq!(next.epoch, ProducerEpoch(0));
    // The markers are the old id's, under the epoch that nobody else has.
    let (_, markers) = bench.markers.last().cloned().expect("there is a partition");
    assert_eq!(markers.producer, Identity { epoch: ProducerEpoch(i16::MAX), ..worn });
    bench.crash(bench.log.len());
    // It comes before the markers are written: it is the owner, and has to wait.
    assert_eq!(bench.add("x", next, 0, V2), Err(E::ConcurrentTransactions));
    assert_eq!(bench.end("x", next, Abort, V2), Err(E::ConcurrentTransactions));
    assert_eq!(bench.init("x", Some(next)), Err(InitError::Concurrent));
    bench.write_all_markers();
    assert_eq!(bench.value("x").identity(), next);
    assert_eq!(bench.end("x", worn, Commit, V2), Ok(next), "repeated");
    assert_eq!(bench.end("x", worn, Abort, V2), Err(E::InvalidTxnState));
    bench.add("x", next, 0, V2).expect("it goes on");
}

#[test]
fn p105_a_decision_is_in_the_log_before_its_markers_are_asked_for() {
    let (mut bench, producer) = with_open(V2);
    bench.end("x", producer, Commit, V2).expect("it is open");
    let (needs, _) = bench.markers[0].clone();
    assert_eq!(needs, bench.log.len(), "the decision is the last record");
    bench.crash(needs - 1);
    assert_eq!(bench.value("x").state, State::Ongoing, "without the decision nothing is decided");
    assert!(bench.markers.is_empty());
}

#[test]
fn p105_a_decided_transaction_is_completed_after_a_crash() {
    for (outcome, complete) in [(Commit, State::CompleteCommit), (Abort, State::CompleteAbort)] {
        let (mut bench, producer) = with_open(V2);
        bench.end("x", producer, outcome, V2).expect("it is open");
        let asked = bench.markers.clone();
        bench.crash(bench.log.len());
        let again: Vec<_> = bench.markers.iter().map(|(_, markers)| markers.clone()).collect();
        assert_eq!(again, asked.into_iter().map(|(_, markers)| markers).collect::<Vec<_>>());
        bench.write_all_markers();
        assert_eq!(bench.value("x").state, complete);
        assert!(bench.value("x").partitions.is_empty());
    }
}

#[test]
fn p105_late_word_of_markers_completes_nothing_else() {
    let (mut bench, producer) = with_open(V2);
    let second = bench.end("x", producer, Commit, V2).expect("it is open");
    bench.write_all_markers();
    bench.add("x", second, 0, V2).expect("it opens");
    bench.run(|core, now, step| core.markers_written(now, &"x".into(), second, step));
    assert_eq!(bench.value("x").state, State::Ongoing);
    bench.end("x", second, Abort, V2).expect("it is open");
    bench.run(|core, now, step| core.markers_written(now, &"x".into(), second, step));
    assert_eq!(bench.value("x").state, State::PrepareAbort);
}

#[test]
fn p105_an_old_transaction_is_aborted_and_its_owner_fenced() {
    for level in [V1, V2] {
        let (mut bench, producer) = with_open(level);
        bench.pass(i64::from(TIMEOUT_MS));
        assert_eq!(bench.value("x").state, State::Ongoing, "not before its time");
        bench.pass(10_001);
        assert_eq!(bench.value("x").state, State::PrepareAbort, "at the next look");
        bench.write_all_markers();
        assert_eq!(bench.add("x", producer, 0, level), Err(E::ProducerFenced));
        let committed = bench.end("x", producer, Commit, level);
        let want = if level == V2 { E::InvalidTxnState } else { E::ProducerFenced };
        assert_eq!(committed, Err(want));
    }
}

#[test]
fn p105_looks_at_old_transactions_are_at_intervals() {
    let (bench, _) = with_open(V2);
    let deadline = bench.core.next_deadline().expect("it is open");
    // Loaded and opened at once: looks are every 10 s, and at 30 s it is not too old yet.
    assert_eq!(deadline, Timestamp(bench.now + 40_000));
}

#[test]
fn p105_unused_ids_expire_after_seven_days() {
    let (mut bench, producer) = with_open(V2);
    bench.init("idle", None).expect("nobody is in the way");
    bench.end("x", producer, Commit, V2).expect("it is open");
    let week = 7 * 24 * 3_600_000;
    bench.pass(week + 3_600_001);
    assert_eq!(bench.core.describe(&"idle".into()), None);
    assert_eq!(bench.value("x").state, State::PrepareCommit, "not while it completes");
    let tombstone = bench.log.last().expect("it was written");
    assert_eq!(tombstone.value, None);
    bench.crash(bench.log.len());
    assert_eq!(bench.core.id_count(), 1);
    bench.write_all_markers();
    bench.pass(week + 3_600_001);
    assert_eq!((bench.core.id_count(), bench.core.next_deadline()), (0, None));
}

#[test]
fn p107_transactions_are_listed_and_described() {
    let (mut bench, producer) = with_open(V2);
    bench.init("idle", None).expect("nobody is in the way");
    bench.now += 5_000;
    let list = |filter: &ListFilter| -> Vec<String> {
        let listed = bench.core.list(Timestamp(bench.now), filter);
        listed.iter().map(|one| one.id.to_string()).collect()
    };
    let all = ListFilter::default();
    assert_eq!(list(&all), ["idle", "x"]);
    let states = |state| ListFilter { states: Some([state].into()), ..all.clone() };
    assert_eq!(list(&states(State::Ongoing)), ["x"]);
    assert_eq!(list(&ListFilter { states: Some([].into()), ..all.clone() }), [""; 0]);
    assert_eq!(list(&ListFilter { producers: Some([producer.id].into()), ..all.clone() }), ["x"]);
    let longer = |ms| ListFilter { longer_than_ms: Some(ms), ..states(State::Ongoing) };
    assert_eq!(list(&longer(4_999)), ["x"]);
    assert_eq!(list(&longer(5_000)), [""; 0]);
    let pattern = |text| ListFilter { pattern: Pattern::parse(text).ok(), ..all.clone() };
    assert_eq!(list(&pattern("i.*e")), ["idle"]);
    assert_eq!(list(&pattern("i")), [""; 0], "an id matches as a whole");
    assert!(Pattern::parse("a)(b").is_err());
    assert!(Pattern::parse(&"a".repeat(5_000)).is_err());
    let value = bench.value("x");
    assert_eq!(value.partitions, [partition(0)].into());
    assert_eq!(value.start, Timestamp(bench.now - 5_000));
}

#[test]
fn a_partition_that_the_coordinator_has_not_heard_of_is_added_later() {
    let (mut bench, producer) = with_producer(V2);
    let request = AddRequest {
        id: "x".into(),
        producer,
        partitions: vec![partition(0)],
        version: V2,
        metadata_index: 5,
    };
    let add =
        |bench: &mut Bench| bench.run(|core, now, step| core.add_partitions(now, &request, step));
    assert_eq!(add(&mut bench), Err(E::ConcurrentTransactions));
    bench.core.set_metadata(V2, 5);
    assert_eq!(add(&mut bench), Ok(()));
}

#[test]
fn a_transaction_fits_its_record() {
    let (mut bench, producer) = with_producer(V2);
    let mut many = AddRequest {
        id: "x".into(),
        producer,
        partitions: (0..260_000).map(partition).collect(),
        version: V2,
        metadata_index: 0,
    };
    let mut step = Step::default();
    let now = Timestamp(bench.now);
    let refused = bench.core.add_partitions(now, &many, &mut step);
    assert_eq!(refused, Ok(()), "4 bytes each");
    many.partitions = (260_000..270_000).map(partition).collect();
    let refused = bench.core.add_partitions(now, &many, &mut step);
    assert_eq!(refused, Err(E::TooManyPartitions));
    assert_eq!(bench.value("x").partitions.len(), 260_000, "nothing has changed");
}

#[test]
fn an_added_partition_is_written_once() {
    let (mut bench, producer) = with_open(V2);
    let records = bench.log.len();
    bench.add("x", producer, 0, V2).expect("it is there");
    assert_eq!(bench.log.len(), records);
    bench.add("x", producer, 1, V2).expect("it is new");
    assert_eq!(bench.log.len(), records + 1);
}
