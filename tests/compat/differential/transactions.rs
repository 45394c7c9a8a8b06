//! Transactions: a producer's life with everything that can be wrong on the way, and the calls that
//! describe and list. Which version of a call is used goes round with the lives.

use std::time::{Duration, Instant};

use yeoul::protocol::messages::add_offsets_to_txn::*;
use yeoul::protocol::messages::add_partitions_to_txn::*;
use yeoul::protocol::messages::describe_transactions::{
    DescribeTransactionsRequest, TransactionState,
};
use yeoul::protocol::messages::end_txn::*;
use yeoul::protocol::messages::init_producer_id::*;
use yeoul::protocol::messages::list_transactions::ListTransactionsRequest;
use yeoul::protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use yeoul::protocol::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};
use yeoul::testing::prng::Prng;

use crate::duo::{Duo, Side};

/// Longest wait for a transaction to be complete on both sides.
const SETTLE: Duration = Duration::from_secs(20);

/// A producer as both sides know it.
#[derive(Clone, Copy, Debug)]
struct Identity {
    ids: [i64; 2],
    epochs: [i16; 2],
}

impl Identity {
    fn of(self, side: &Side) -> (i64, i16) {
        let at = usize::from(side.name == "kafka");
        (self.ids[at], self.epochs[at])
    }

    /// The same producer some epochs later, or earlier.
    fn later(self, by: i16) -> Identity {
        Identity { epochs: self.epochs.map(|epoch| epoch + by), ..self }
    }

    fn stranger(self) -> Identity {
        Identity { ids: self.ids.map(|id| id + 500_000), ..self }
    }
}

/// A transactional id in one life.
struct Scene<'a> {
    duo: &'a mut Duo,
    id: String,
    topic: String,
    at: usize,
}

/// As many lives as the call with most versions needs, each in the next version.
pub fn play(duo: &mut Duo, prng: &mut Prng, round: u64, topics: &[String]) {
    if duo.versions::<EndTxnRequest>().is_empty() {
        return;
    }
    for at in 0..6 {
        let id = format!("tx-{round}-{at}-{}", prng.below(1_000_000));
        let mut scene = Scene { duo, id, topic: topics[0].clone(), at };
        scene.init_badly();
        scene.nothing();
        for committed in [true, false] {
            scene.whole_life(committed);
        }
        scene.fenced();
        scene.listed();
        scene.positions();
    }
    markers(duo);
}

/// Ends of transactions in partitions that are not there.
fn markers(duo: &mut Duo) {
    for version in duo.versions::<WriteTxnMarkersRequest>() {
        let topic = WritableTxnMarkerTopic {
            name: "not-there".to_owned(),
            partition_indexes: vec![0, 7],
            ..Default::default()
        };
        let marker = WritableTxnMarker {
            producer_id: 77,
            producer_epoch: 1,
            topics: vec![topic],
            ..Default::default()
        };
        duo.ask("not there", version, |_| WriteTxnMarkersRequest {
            markers: vec![marker.clone()],
            ..Default::default()
        });
    }
}

/// The `at`-th version of a call that Yeoul serves, or its last.
fn version<R: yeoul::protocol::message::Request>(duo: &Duo, at: usize) -> i16 {
    let versions = duo.versions::<R>();
    versions.get(at).or(versions.last()).copied().unwrap_or(-1)
}

impl Scene<'_> {
    fn init_badly(&mut self) {
        let version = version::<InitProducerIdRequest>(self.duo, self.at);
        let good = InitProducerIdRequest {
            transactional_id: Some(self.id.clone()),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let mut bad = vec![(
            "empty id",
            InitProducerIdRequest { transactional_id: Some(String::new()), ..good.clone() },
        )];
        for timeout in [0, -1, 900_001, i32::MAX] {
            let request = InitProducerIdRequest { transaction_timeout_ms: timeout, ..good.clone() };
            bad.push(("bad timeout", request));
        }
        if version >= 3 {
            bad.push((
                "half an identity",
                InitProducerIdRequest { producer_id: 5, ..good.clone() },
            ));
            bad.push((
                "half an identity",
                InitProducerIdRequest { producer_epoch: 5, ..good.clone() },
            ));
        }
        for (step, request) in bad {
            self.duo.ask(step, version, |_| request.clone());
        }
    }

    /// What is told of an id that is not there.
    fn nothing(&mut self) {
        let nobody = Identity { ids: [77, 77], epochs: [0, 0] };
        self.describe("unknown");
        self.add("unknown", nobody, &[0]);
        self.add_offsets("unknown", nobody);
        self.end("unknown", nobody, true);
        for version in self.duo.versions::<DescribeTransactionsRequest>() {
            self.duo.ask("empty id", version, |_| DescribeTransactionsRequest {
                transactional_ids: vec![String::new()],
                ..Default::default()
            });
        }
        let (id, kept) = (String::new(), self.id.clone());
        self.id = id;
        self.add("empty id", nobody, &[0]);
        self.add_offsets("empty id", nobody);
        self.end("empty id", nobody, true);
        self.id = kept;
    }

    fn init(&mut self, step: &str, expected: Option<Identity>) -> Option<Identity> {
        let version = version::<InitProducerIdRequest>(self.duo, self.at);
        let expected = expected.filter(|_| version >= 3);
        let id = self.id.clone();
        let answers = self.duo.ask(step, version, |side| {
            let (producer_id, producer_epoch) = expected.map_or((-1, -1), |who| who.of(side));
            InitProducerIdRequest {
                transactional_id: Some(id.clone()),
                transaction_timeout_ms: 60_000,
                producer_id,
                producer_epoch,
                ..Default::default()
            }
        })?;
        let is_given = answers.iter().all(|answer| answer.error_code == 0);
        is_given.then(|| Identity {
            ids: [answers[0].producer_id, answers[1].producer_id],
            epochs: [answers[0].producer_epoch, answers[1].producer_epoch],
        })
    }

    fn add(&mut self, step: &str, who: Identity, partitions: &[i32]) {
        let at = version::<AddPartitionsToTxnRequest>(self.duo, self.at);
        self.add_in(step, at, who, partitions, false);
    }

    fn add_in(&mut self, step: &str, version: i16, who: Identity, partitions: &[i32], only: bool) {
        let (id, name) = (self.id.clone(), self.topic.clone());
        let topics = vec![AddPartitionsToTxnTopic {
            name,
            partitions: partitions.to_vec(),
            ..Default::default()
        }];
        self.duo.ask(step, version, |side| {
            let (producer_id, producer_epoch) = who.of(side);
            match version < 4 {
                true => AddPartitionsToTxnRequest {
                    v3_and_below_transactional_id: id.clone(),
                    v3_and_below_producer_id: producer_id,
                    v3_and_below_producer_epoch: producer_epoch,
                    v3_and_below_topics: topics.clone(),
                    ..Default::default()
                },
                false => AddPartitionsToTxnRequest {
                    transactions: vec![AddPartitionsToTxnTransaction {
                        transactional_id: id.clone(),
                        producer_id,
                        producer_epoch,
                        verify_only: only,
                        topics: topics.clone(),
                        ..Default::default()
                    }],
                    ..Default::default()
                },
            }
        });
    }

    fn verify(&mut self, step: &str, who: Identity, partitions: &[i32]) {
        for version in [4, 5] {
            self.add_in(&format!("verify: {step}"), version, who, partitions, true);
        }
    }

    fn add_offsets(&mut self, step: &str, who: Identity) {
        let version = version::<AddOffsetsToTxnRequest>(self.duo, self.at);
        let id = self.id.clone();
        self.duo.ask(step, version, |side| {
            let (producer_id, producer_epoch) = who.of(side);
            AddOffsetsToTxnRequest {
                transactional_id: id.clone(),
                producer_id,
                producer_epoch,
                group_id: "dg".to_owned(),
                ..Default::default()
            }
        });
    }

    /// A group's positions in a transaction, once they are part of it.
    fn positions(&mut self) {
        let Some(who) = self.init("positions", None) else { return };
        self.add_offsets("positions", who);
        let version = version::<TxnOffsetCommitRequest>(self.duo, self.at);
        let partition = TxnOffsetCommitRequestPartition {
            partition_index: 0,
            committed_offset: 5,
            committed_metadata: Some("a note".to_owned()),
            ..Default::default()
        };
        let topics = vec![TxnOffsetCommitRequestTopic {
            name: self.topic.clone(),
            partitions: vec![partition],
            ..Default::default()
        }];
        let id = self.id.clone();
        for (step, who) in [("an old epoch", who.later(-1)), ("good", who)] {
            self.duo.ask(step, version, |side| {
                let (producer_id, producer_epoch) = who.of(side);
                TxnOffsetCommitRequest {
                    transactional_id: id.clone(),
                    group_id: "dg".to_owned(),
                    producer_id,
                    producer_epoch,
                    topics: topics.clone(),
                    ..Default::default()
                }
            });
        }
        self.end("positions", who, true);
    }

    /// Ends a transaction; who the producer is then.
    fn end(&mut self, step: &str, who: Identity, committed: bool) -> Identity {
        let version = version::<EndTxnRequest>(self.duo, self.at);
        let id = self.id.clone();
        let step = format!("{step}: {}", if committed { "commit" } else { "abort" });
        let answers = self.duo.ask(&step, version, |side| {
            let (producer_id, producer_epoch) = who.of(side);
            EndTxnRequest {
                transactional_id: id.clone(),
                producer_id,
                producer_epoch,
                committed,
                ..Default::default()
            }
        });
        self.settle();
        let Some(answers) = answers else { return who };
        if version < 5 || answers.iter().any(|answer| answer.error_code != 0) {
            return who;
        }
        Identity {
            ids: [answers[0].producer_id, answers[1].producer_id],
            epochs: [answers[0].producer_epoch, answers[1].producer_epoch],
        }
    }

    fn describe(&mut self, step: &str) {
        let id = self.id.clone();
        for version in self.duo.versions::<DescribeTransactionsRequest>() {
            self.duo.ask(step, version, |_| DescribeTransactionsRequest {
                transactional_ids: vec![id.clone()],
                ..Default::default()
            });
        }
    }

    /// Waits until no transaction of the id is being completed.
    fn settle(&mut self) {
        let request = DescribeTransactionsRequest {
            transactional_ids: vec![self.id.clone()],
            ..Default::default()
        };
        let began = Instant::now();
        for side in [&mut self.duo.yeoul, &mut self.duo.kafka] {
            loop {
                let answer = side.call(&request, 0).expect("it is described");
                let is_completing =
                    |state: &TransactionState| state.transaction_state.starts_with("Prepare");
                if !answer.transaction_states.iter().any(is_completing) {
                    break;
                }
                assert!(began.elapsed() < SETTLE, "{}: {} hangs", side.name, self.id);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    fn whole_life(&mut self, committed: bool) {
        let Some(first) = self.init("new life", None) else { return };
        self.describe("new life");
        self.verify("nothing", first, &[0]);
        for committed in [true, false] {
            self.end("a stranger", first.stranger(), committed);
            self.end("an old epoch", first.later(-1), committed);
            self.end("a future epoch", first.later(1), committed);
        }
        let mut who = self.end("nothing", first, true);
        who = self.end("nothing", who, false);
        self.describe("after nothing");
        self.add("an unknown partition too", who, &[0, 4_000]);
        self.add("no partition", who.stranger(), &[]);
        for (step, wrong) in [("a stranger", who.stranger()), ("an old epoch", who.later(-1))] {
            self.add(step, wrong, &[0]);
            self.add_offsets(step, wrong);
            self.verify(step, wrong, &[0]);
        }
        self.add("a future epoch", who.later(1), &[0]);
        self.add("good", who, &[0]);
        self.add("again", who, &[0]);
        self.describe("open");
        self.verify("open", who, &[0, 4_000]);
        self.add_offsets("good", who);
        self.end("an old epoch, open", who.later(-1), committed);
        self.end("a stranger, open", who.stranger(), committed);
        let next = self.end("good", who, committed);
        self.describe("complete");
        self.end("repeated", who, committed);
        self.end("repeated otherwise", who, !committed);
        self.verify("complete", next, &[0]);
        self.end("current", next, true);
        let next = self.end("current", next, false);
        self.describe("ended twice");
        self.recover(first, next);
    }

    /// Producers that name who they were.
    fn recover(&mut self, first: Identity, last: Identity) {
        self.init("a stranger", Some(last.stranger()));
        self.init("the first", Some(first.later(-1)));
        self.init("a future epoch", Some(last.later(1)));
        let Some(next) = self.init("the owner", Some(last)) else { return };
        self.init("the owner again", Some(last));
        self.init("the new owner", Some(next));
        self.describe("recovered");
    }

    /// A second producer takes over while the first has a transaction open.
    fn fenced(&mut self) {
        for committed in [true, false] {
            let Some(first) = self.init("before the fence", None) else { return };
            self.add("to be fenced", first, &[0]);
            self.init("takes over", None);
            self.settle();
            self.describe("fenced");
            self.add("fenced", first, &[0]);
            self.add_offsets("fenced", first);
            self.verify("fenced", first, &[0]);
            self.end("fenced", first, committed);
            self.init("fenced", Some(first));
            self.settle();
            self.describe("fenced, later");
            self.init("takes over again", None);
            self.end("fenced for good", first, committed);
            self.init("fenced for good", Some(first));
        }
    }

    fn listed(&mut self) {
        let Some(who) = self.init("to be listed", None) else { return };
        self.add("to be listed", who, &[0]);
        for version in self.duo.versions::<ListTransactionsRequest>() {
            let states = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let all = |side: &Side| ListTransactionsRequest {
                producer_id_filters: vec![who.of(side).0],
                ..Default::default()
            };
            self.duo.ask("all", version, all);
            for names in
                [&["Ongoing"][..], &["Empty"], &["ongoing"], &["Odd", "Ongoing"], &["Dead"]]
            {
                self.duo.ask(&format!("{names:?}"), version, |side| ListTransactionsRequest {
                    state_filters: states(names),
                    ..all(side)
                });
            }
            for duration_filter in [0, -1, -2, 3_600_000].into_iter().filter(|_| version >= 1) {
                let step = format!("longer than {duration_filter}");
                self.duo.ask(&step, version, |side| ListTransactionsRequest {
                    duration_filter,
                    ..all(side)
                });
            }
            for pattern in ["tx-.*", "tx", "", "("].into_iter().filter(|_| version >= 2) {
                self.duo.ask(&format!("like {pattern}"), version, |side| ListTransactionsRequest {
                    transactional_id_pattern: Some(pattern.to_owned()),
                    ..all(side)
                });
            }
        }
        self.end("listed", who, false);
    }
}
