//! Seeded runs of a coordinator: producers that open, end, leave and fence transactions, a log
//! whose tail a crash loses, and partitions that take records and markers as real ones do.
//!
//! Held against what no single part can see: which records belong to which transaction.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::model::ids::{ProducerEpoch, ProducerId};
use crate::record::control::Outcome;
use crate::testing::prng::Prng;
use crate::testing::seeds::seeds;
use crate::transaction::fixtures::{Bench, identity, partition};
use crate::transaction::ids::TransactionLevel::{V1, V2};
use crate::transaction::ids::{Identity, NamedPartition, TransactionLevel};
use crate::transaction::partitions::TransactionError as E;
use crate::transaction::producer::InitError;
use crate::transaction::record::Record;
use crate::transaction::step::Markers;

const CLIENTS: usize = 6;
const IDS: [&str; 2] = ["x", "y"];
const PARTITIONS: i32 = 4;

/// One transaction as its client means it.
type Token = u64;

/// One partition's producers and records.
#[derive(Default)]
struct Log {
    epochs: BTreeMap<ProducerId, ProducerEpoch>,
    open: BTreeMap<ProducerId, Vec<Token>>,
}

/// What a client is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// It needs an identity.
    Starting,
    /// Its transaction may be open.
    Working,
    /// It has asked for this end, perhaps often.
    Ending(Outcome),
    /// It does nothing for a while, perhaps for ever.
    Silent,
}

struct Client {
    id: &'static str,
    version: TransactionLevel,
    producer: Option<Identity>,
    doing: Doing,
    token: Token,
    added: BTreeSet<i32>,
    waits: bool,
}

/// An answer, or a wish of the core, that waits for the log.
enum Outgoing {
    Init(usize, Result<Identity, InitError>),
    Added(usize, i32, Result<(), E>),
    Ended(usize, Outcome, Result<Identity, E>),
}

#[derive(Debug, Default)]
struct Counts {
    committed: u64,
    aborted: u64,
    fenced: u64,
    timed_out: u64,
    crashes: u64,
    lost_records: u64,
    lost_answers: u64,
    resumed: u64,
    rotated: u64,
    refused_writes: u64,
}

struct World {
    bench: Bench,
    durable: usize,
    clients: Vec<Client>,
    outgoing: VecDeque<(usize, Outgoing)>,
    /// Decided transactions, and the partitions that have no marker yet.
    completing: Vec<(Markers, Vec<NamedPartition>)>,
    logs: BTreeMap<i32, Log>,
    /// Who was given an id last, by the length of the log then.
    owners: BTreeMap<&'static str, Vec<(usize, usize)>>,
    /// How the records of a transaction have ended, wherever they have.
    outcomes: BTreeMap<Token, Outcome>,
    tokens: Token,
    counts: Counts,
}

impl World {
    fn new(prng: &mut Prng) -> World {
        let level = if prng.chance(60) { V2 } else { V1 };
        let client = |number: usize, prng: &mut Prng| Client {
            id: IDS[number % IDS.len()],
            version: if level == V2 && prng.chance(60) { V2 } else { V1 },
            producer: None,
            doing: Doing::Starting,
            token: 0,
            added: BTreeSet::new(),
            waits: false,
        };
        let mut world = World {
            bench: Bench::new(level),
            durable: 0,
            clients: (0..CLIENTS).map(|number| client(number, prng)).collect(),
            outgoing: VecDeque::new(),
            completing: Vec::new(),
            logs: (0..PARTITIONS).map(|index| (index, Log::default())).collect(),
            owners: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            tokens: 0,
            counts: Counts::default(),
        };
        world.wear(prng);
        world
    }

    /// One id has had nearly all epochs of its producer.
    fn wear(&mut self, prng: &mut Prng) {
        self.bench.init("x", None).expect("nobody is in the way");
        let mut value = self.bench.value("x");
        value.producer_epoch =
            ProducerEpoch(i16::MAX - i16::try_from(prng.below(5)).expect("small") - 1);
        let record = Record { id: "x".into(), value: Some(value) };
        self.bench.run(|core, _, step| {
            core.replay(&record);
            step.records.push(record);
        });
        self.durable = self.bench.log.len();
    }

    fn step(&mut self, prng: &mut Prng) {
        match prng.below(100) {
            0..=54 => {
                let at = prng.index(CLIENTS);
                self.act(at, prng);
            }
            55..=74 => self.write_markers(prng),
            75..=89 => {
                let records = self.bench.log.len() - self.durable;
                self.flush(prng.index(records + 1), prng);
            }
            90..=98 => self.pass(i64::try_from(prng.below(4_000)).expect("small")),
            _ => self.crash(),
        }
    }

    fn act(&mut self, at: usize, prng: &mut Prng) {
        let client = &self.clients[at];
        if client.waits {
            return;
        }
        match client.doing {
            Doing::Silent if prng.chance(10) => self.clients[at].doing = Doing::Starting,
            Doing::Silent => {}
            Doing::Starting => self.init(at, prng),
            Doing::Ending(outcome) => self.end(at, outcome),
            Doing::Working => match prng.below(100) {
                0 => self.clients[at].doing = Doing::Silent,
                1..=2 => self.init(at, prng),
                3..=69 => self.write(at, i32::try_from(prng.below(4)).expect("small")),
                _ => self.begin_end(at, prng),
            },
        }
    }

    fn init(&mut self, at: usize, prng: &mut Prng) {
        let expected = self.clients[at].producer.filter(|_| prng.chance(60));
        let id = self.clients[at].id;
        let before = self.bench.core.describe(&id.into()).map(|value| value.producer_id);
        let result = self.bench.init(id, expected);
        if result.is_ok() {
            self.owners.entry(id).or_default().push((self.bench.log.len(), at));
        }
        if before.is_some_and(|before| result.is_ok_and(|given| given.id != before)) {
            self.counts.rotated += 1;
        }
        self.send(at, Outgoing::Init(at, result));
    }

    fn write(&mut self, at: usize, index: i32) {
        let client = &self.clients[at];
        let (id, version) = (client.id, client.version);
        let producer = client.producer.expect("it works");
        if client.added.contains(&index) {
            return self.append(at, index);
        }
        let result = self.bench.add(id, producer, index, version);
        self.check_owner(at, result.is_ok());
        self.send(at, Outgoing::Added(at, index, result));
    }

    /// What the partition's leader does: with version 1 it asks the coordinator first.
    fn append(&mut self, at: usize, index: i32) {
        let client = &self.clients[at];
        let producer = client.producer.expect("it works");
        if client.version == V1 {
            let asked = [partition(index)];
            let told = self.bench.core.verify_partitions(&client.id.into(), producer, &asked);
            if told != Ok(vec![Ok(())]) {
                self.counts.refused_writes += 1;
                return self.give_up(at);
            }
        }
        let log = self.logs.get_mut(&index).expect("it is there");
        let newest = log.epochs.get(&producer.id).copied().unwrap_or(ProducerEpoch(-1));
        if producer.epoch < newest {
            self.counts.refused_writes += 1;
            return self.give_up(at);
        }
        log.epochs.insert(producer.id, producer.epoch);
        let token = self.clients[at].token;
        // With version 2 the record may come between two markers of an abort: its own follows.
        let late = self.outcomes.get(&token).copied();
        let may_be_late = late == Some(Outcome::Abort) && self.clients[at].version == V2;
        assert!(late.is_none() || may_be_late, "a record after its transaction's end");
        log.open.entry(producer.id).or_default().push(token);
    }

    fn begin_end(&mut self, at: usize, prng: &mut Prng) {
        let client = &self.clients[at];
        let outcome = if prng.chance(60) { Outcome::Commit } else { Outcome::Abort };
        // Clients end nothing that they have not begun, but for aborts of version 2.
        if client.added.is_empty() && (client.version == V1 || outcome == Outcome::Commit) {
            return;
        }
        self.clients[at].doing = Doing::Ending(outcome);
        self.end(at, outcome);
    }

    fn end(&mut self, at: usize, outcome: Outcome) {
        let client = &self.clients[at];
        let (id, version) = (client.id, client.version);
        let producer = client.producer.expect("it works");
        let result = self.bench.end(id, producer, outcome, version);
        self.check_owner(at, result.is_ok());
        if result.is_ok_and(|next| next.id != producer.id) {
            self.counts.rotated += 1;
        }
        self.send(at, Outgoing::Ended(at, outcome, result));
    }

    /// Fenced producers stay fenced: only who was given the id last may do something with it.
    fn check_owner(&self, at: usize, done: bool) {
        let owner = self.owners.get(self.clients[at].id).and_then(|given| given.last());
        if done {
            assert_eq!(owner.map(|(_, owner)| *owner), Some(at), "a fenced producer went on");
        }
    }

    fn send(&mut self, at: usize, answer: Outgoing) {
        self.clients[at].waits = true;
        self.outgoing.push_back((self.bench.log.len(), answer));
    }

    /// Makes `count` more records durable, and does what has waited for them.
    fn flush(&mut self, count: usize, prng: &mut Prng) {
        self.durable += count;
        while self.outgoing.front().is_some_and(|(needs, _)| *needs <= self.durable) {
            let (_, answer) = self.outgoing.pop_front().expect("it was seen");
            self.deliver(answer, prng.chance(8));
        }
        let durable = self.durable;
        let ready = self.bench.markers.extract_if(.., |(needs, _)| *needs <= durable);
        let ready: Vec<Markers> = ready.map(|(_, markers)| markers).collect();
        for markers in ready {
            let partitions = markers.partitions.clone();
            self.completing.push((markers, partitions));
        }
    }

    fn deliver(&mut self, answer: Outgoing, lost: bool) {
        let (Outgoing::Init(at, _) | Outgoing::Added(at, ..) | Outgoing::Ended(at, ..)) = answer;
        self.clients[at].waits = false;
        if lost {
            self.counts.lost_answers += 1;
            return; // it asks again
        }
        match answer {
            Outgoing::Init(_, Ok(given)) => {
                self.clients[at].producer = Some(given);
                self.begin(at);
            }
            Outgoing::Init(_, Err(InitError::Concurrent)) => {
                self.clients[at].doing = Doing::Starting;
            }
            Outgoing::Init(_, Err(InitError::Fenced)) => self.give_up(at),
            Outgoing::Init(_, Err(other)) => panic!("{other:?}"),
            Outgoing::Added(_, index, Ok(())) => {
                self.clients[at].added.insert(index);
                self.append(at, index);
            }
            Outgoing::Ended(_, outcome, Ok(next)) => {
                self.ended(at, outcome);
                self.clients[at].producer = Some(next);
                self.begin(at);
            }
            Outgoing::Added(_, _, Err(E::ConcurrentTransactions))
            | Outgoing::Ended(_, _, Err(E::ConcurrentTransactions)) => {}
            Outgoing::Added(_, _, Err(error)) | Outgoing::Ended(_, _, Err(error)) => {
                let fenced =
                    matches!(error, E::ProducerFenced | E::InvalidPidMapping | E::InvalidTxnState);
                assert!(fenced, "{error:?}");
                self.give_up(at);
            }
        }
    }

    /// The client was told how its transaction ended: its records end so, or have.
    fn ended(&mut self, at: usize, outcome: Outcome) {
        let token = self.clients[at].token;
        let known = *self.outcomes.entry(token).or_insert(outcome);
        assert_eq!(known, outcome, "the client was told otherwise");
    }

    fn begin(&mut self, at: usize) {
        self.tokens += 1;
        let client = &mut self.clients[at];
        (client.token, client.doing) = (self.tokens, Doing::Working);
        client.added.clear();
    }

    fn give_up(&mut self, at: usize) {
        self.counts.fenced += 1;
        self.clients[at].doing = Doing::Silent;
    }

    /// Writes one marker, of any transaction that has one to be written.
    fn write_markers(&mut self, prng: &mut Prng) {
        if self.completing.is_empty() {
            return;
        }
        let which = prng.index(self.completing.len());
        if let Some(at) = self.completing[which].1.pop() {
            let markers = self.completing[which].0.clone();
            self.mark(&markers, at.partition.0);
        }
        if self.completing[which].1.is_empty() {
            let (markers, _) = self.completing.swap_remove(which);
            self.bench.run(|core, now, step| {
                core.markers_written(now, &markers.id, markers.producer, step);
            });
        }
    }

    fn mark(&mut self, markers: &Markers, index: i32) {
        let log = self.logs.get_mut(&index).expect("it is there");
        let Identity { id, epoch } = markers.producer;
        let newest = log.epochs.get(&id).copied().unwrap_or(ProducerEpoch(-1));
        let open = log.open.remove(&id).unwrap_or_default();
        // A repeated one finds nothing open; else the rule of its version holds.
        let fits = if markers.version == V2 { newest < epoch } else { newest <= epoch };
        assert!(fits || open.is_empty() && newest == epoch, "{newest:?} {markers:?}");
        log.epochs.insert(id, epoch.max(newest));
        for token in open {
            let known = *self.outcomes.entry(token).or_insert(markers.outcome);
            assert_eq!(known, markers.outcome, "half of a transaction");
            match markers.outcome {
                Outcome::Commit => self.counts.committed += 1,
                Outcome::Abort => self.counts.aborted += 1,
            }
        }
    }

    fn pass(&mut self, ms: i64) {
        let before = self.bench.markers.len();
        self.bench.pass(ms);
        self.counts.timed_out += (self.bench.markers.len() - before) as u64;
    }

    fn crash(&mut self) {
        self.counts.crashes += 1;
        self.counts.lost_records += (self.bench.log.len() - self.durable) as u64;
        self.outgoing.clear();
        self.completing.clear();
        self.bench.crash(self.durable);
        self.counts.resumed += self.bench.markers.len() as u64;
        for given in self.owners.values_mut() {
            given.retain(|(needs, _)| *needs <= self.durable);
        }
        for client in &mut self.clients {
            client.waits = false;
        }
    }

    /// Everybody falls silent, and time passes: nothing stays open.
    fn finish(&mut self, prng: &mut Prng) {
        for client in &mut self.clients {
            client.doing = Doing::Silent;
        }
        self.pass(60_000);
        loop {
            self.flush(self.bench.log.len() - self.durable, prng);
            if self.completing.is_empty() {
                break;
            }
            self.write_markers(prng);
        }
        assert_eq!(self.bench.core.open_count(), 0, "a transaction hangs after its timeout");
        for id in IDS {
            assert!(self.bench.value(id).state.is_idle(), "{id} is never completed");
        }
        for (index, log) in &self.logs {
            assert!(log.open.is_empty(), "records hang in partition {index}");
        }
    }
}

/// Whoever comes, goes, dies and fences: a transaction's records end alike, as its client was
/// told; a fenced producer does nothing more; nothing hangs.
#[test]
fn transactions_are_whole_through_crashes() {
    let mut total = Counts::default();
    for seed in seeds(150) {
        let mut prng = Prng::new(seed.0);
        let mut world = World::new(&mut prng);
        for _ in 0..1_500 {
            world.step(&mut prng);
        }
        world.finish(&mut prng);
        let counts = &world.counts;
        total.committed += counts.committed;
        total.aborted += counts.aborted;
        total.fenced += counts.fenced;
        total.timed_out += counts.timed_out;
        total.crashes += counts.crashes;
        total.lost_records += counts.lost_records;
        total.lost_answers += counts.lost_answers;
        total.resumed += counts.resumed;
        total.rotated += counts.rotated;
        total.refused_writes += counts.refused_writes;
    }
    if std::env::var("YEOUL_SEED").is_ok() {
        return;
    }
    for (name, count) in [
        ("committed", total.committed),
        ("aborted", total.aborted),
        ("fenced", total.fenced),
        ("timed out", total.timed_out),
        ("crashes", total.crashes),
        ("lost records", total.lost_records),
        ("lost answers", total.lost_answers),
        ("resumed after a crash", total.resumed),
        ("new ids for used up epochs", total.rotated),
        ("writes refused by partitions", total.refused_writes),
    ] {
        assert!(count > 50, "vacuous: {name}: {total:?}");
    }
}

/// Any log that decodes can be loaded and served: what no core writes is borne.
#[test]
fn a_core_serves_whatever_a_log_says() {
    use crate::transaction::state::State;
    for seed in seeds(300) {
        let mut prng = Prng::new(seed.0);
        let mut bench = Bench::new(V2);
        let given = bench.init("x", None).expect("nobody is in the way");
        for _ in 0..8 {
            let mut value = bench.value("x");
            value.state = [
                State::Empty,
                State::Ongoing,
                State::PrepareCommit,
                State::PrepareAbort,
                State::CompleteCommit,
                State::CompleteAbort,
            ][prng.index(6)];
            value.producer_epoch = ProducerEpoch([-1, 0, 1, i16::MAX - 1, i16::MAX][prng.index(5)]);
            value.start.0 = [-1, 0, i64::MIN, i64::MAX][prng.index(4)];
            value.last_update.0 = [-1, 0, i64::MIN, i64::MAX][prng.index(4)];
            value.timeout_ms = [-1, 0, i32::MAX][prng.index(3)];
            value.next_producer_id = ProducerId([-1, 5][prng.index(2)]);
            if prng.chance(50) {
                value.partitions.insert(partition(1));
            }
            let record = Record { id: "x".into(), value: Some(value) };
            bench.run(|core, _, step| {
                core.replay(&record);
                step.records.push(record);
            });
            bench.crash(bench.log.len());
            let has = bench.value("x").identity();
            for who in [given, has, identity(has.id.0, i16::MAX)] {
                for level in [V1, V2] {
                    let _ = bench.add("x", who, 2, level);
                    let _ = bench.end("x", who, Outcome::Commit, level);
                    let _ = bench.end("x", who, Outcome::Abort, level);
                }
                let _ = bench.init("x", Some(who));
            }
            bench.pass(30_000);
            bench.write_all_markers();
            if bench.core.describe(&"x".into()).is_none() {
                bench.init("x", None).expect("it has expired");
            }
        }
    }
}
