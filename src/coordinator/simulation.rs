//! Seeded runs of whole transactions: a transaction coordinator, partitions and a group's
//! coordinator, all as they are, between clients that lose answers and a power that goes.
//!
//! Method: every message is a step of its own, so that markers, time-outs and crashes come between
//! any two: a guard given, the coordinator's word, the append. A coordinator may end by itself and be
//! loaded again, while markers that it had sent are still on their way. Each record carries the number of
//! the transaction for which its client wrote it, which no broker can see. Whatever a reader of
//! committed records would be given is held against what became of that number elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use super::markers::Turns;
use crate::group::commit::{CommitPartition, CommitRequest, CommitTopic, FetchTopic};
use crate::group::coordinator::GroupCoordinator;
use crate::group::record::Record as GroupRecord;
use crate::group::settings::GroupSettings;
use crate::model::ids::TransactionVersion;
use crate::model::ids::{BrokerId, PartitionIndex, ProducerEpoch, ProducerId, TopicId};
use crate::model::offset::{LeaderEpoch, Offset, Sequence};
use crate::model::time::Timestamp;
use crate::partition::epochs::EpochTable;
use crate::partition::leader::{
    Acks, Admission, AppendError, AppendRules, Isolation, Leader, Recovered, Verification,
};
use crate::partition::producers::{ProducerState, TransactionEnd};
use crate::partition::verification::{Begun, FirstBatch, Guard};
use crate::record::batch::{Attributes, BatchInfo};
use crate::record::control::{EndMarker, Outcome};
use crate::testing::prng::Prng;
use crate::testing::seeds::seeds;
use crate::transaction::fixtures::{Bench, partition};
use crate::transaction::ids::TransactionLevel::{V1, V2};
use crate::transaction::ids::{Identity, NamedPartition, TransactionLevel};
use crate::transaction::partitions::TransactionError as E;
use crate::transaction::producer::InitError;
use crate::transaction::step::Markers;

const CLIENTS: usize = 3;
const IDS: [&str; 2] = ["x", "y"];
/// The partition that is a group's coordinator; those before it hold data.
const GROUP: i32 = 2;
const NOW: Timestamp = Timestamp(1_700_000_000_000);
const RULES: AppendRules = AppendRules {
    acks: Acks::All,
    min_insync_replicas: 1,
    verification: Verification::Guarded(None),
};

/// One transaction as its client means it.
type Token = i64;

/// A batch in a log: its numbers, what it says if it is a marker, and for what it was written.
#[derive(Clone)]
struct Entry {
    info: BatchInfo,
    marker: Option<EndMarker>,
    token: Token,
    records: Vec<GroupRecord>,
}

/// A partition with its leader.
struct Log {
    leader: Leader,
    entries: Vec<Entry>,
}

impl Log {
    fn new() -> Log {
        Log { leader: Log::lead(&[], LeaderEpoch(0), Offset(0)), entries: Vec::new() }
    }

    /// A leader of what recovery finds.
    fn lead(entries: &[Entry], epoch: LeaderEpoch, high_watermark: Offset) -> Leader {
        let mut producers = ProducerState::new();
        for entry in entries {
            producers.note(NOW, &entry.info, entry.marker);
        }
        let log_end = entries.last().map_or(Offset(0), |entry| entry.info.end_offset());
        let (log_start, epochs) = (Offset(0), EpochTable::new());
        let found = Recovered { log_start, log_end, high_watermark, epochs, producers };
        Leader::start(BrokerId(1), epoch, found)
    }

    fn sync(&mut self) {
        let end = self.leader.log_end_offset();
        self.leader.on_durable(end, &mut Vec::new());
    }

    /// Loses what is not durable, but for some of it.
    fn crash(&mut self, prng: &mut Prng) {
        let durable = self.leader.durable_end();
        let safe = self.entries.iter().filter(|entry| entry.info.end_offset() <= durable).count();
        self.entries.truncate(safe + prng.index(self.entries.len() - safe + 1));
        let epoch = LeaderEpoch(self.leader.epoch().0 + 1);
        self.leader = Log::lead(&self.entries, epoch, self.leader.high_watermark());
    }

    /// How the transaction of the batch at `at` ended, if it has.
    fn outcome(&self, at: usize) -> Option<(Outcome, Offset)> {
        let producer = self.entries[at].info.producer_id;
        let mut later = self.entries[at..].iter();
        later.find_map(|entry| {
            let marker = entry.marker.filter(|_| entry.info.producer_id == producer)?;
            Some((marker.outcome, entry.info.base_offset))
        })
    }
}

/// What a client is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Starting,
    Working,
    Ending(Outcome),
    Silent,
}

/// A write on its way through the broker.
#[derive(Clone, Copy, Debug)]
enum Writing {
    /// The owner is to be asked.
    Begin(i32),
    /// The coordinator is to be asked.
    Join(i32, Guard),
    /// The coordinator's word is not durable yet.
    Joining,
    /// The owner is to append.
    Append(i32, Option<Guard>),
    /// It is appended, up to this offset.
    Appended(i32, Offset),
}

struct Client {
    id: &'static str,
    version: TransactionLevel,
    producer: Option<Identity>,
    doing: Doing,
    token: Token,
    /// Added by the client itself (version 1).
    added: BTreeSet<i32>,
    /// Next sequences of this identity, by partition.
    next: BTreeMap<i32, i32>,
    writing: Option<Writing>,
    /// As whom, for which transaction and in which place `writing` was begun.
    written_as: (Identity, Token, Sequence),
    /// An answer of the transaction coordinator is on its way.
    waits: bool,
    wrote: bool,
}

enum Outgoing {
    Init(usize, Result<Identity, InitError>),
    Added(usize, i32, Result<(), E>),
    Joined(usize, i32, Guard, Result<(), E>),
    Ended(usize, Outcome, Result<Identity, E>),
}

/// The markers of one decided transaction, as the task that writes them has them.
struct Completing {
    markers: Markers,
    left: Vec<NamedPartition>,
    has_turn: bool,
    /// Its coordinator has ended: what it has sent may still arrive.
    is_orphan: bool,
}

#[derive(Debug, Default)]
struct Counts {
    reloads: u64,
    orphans: u64,
    committed: u64,
    aborted: u64,
    crashes: u64,
    guards_used_up: u64,
    guarded: u64,
    refused: u64,
    timed_out: u64,
    offsets_committed: u64,
    held_back: u64,
    markers_again: u64,
    impatient: u64,
    late_refused: u64,
}

struct World {
    bench: Bench,
    durable: usize,
    clients: Vec<Client>,
    outgoing: Vec<(usize, Outgoing)>,
    completing: Vec<Completing>,
    turns: Turns,
    logs: Vec<Log>,
    group: GroupCoordinator,
    /// What became of each transaction, wherever it is known first.
    outcomes: BTreeMap<Token, Outcome>,
    /// Records of which their client was told that they are written.
    acknowledged: Vec<(Token, i32, Offset)>,
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
            next: BTreeMap::new(),
            writing: None,
            written_as: (Identity { id: ProducerId(0), epoch: ProducerEpoch(0) }, 0, Sequence(0)),
            waits: false,
            wrote: false,
        };
        World {
            bench: Bench::new(level),
            durable: 0,
            clients: (0..CLIENTS).map(|number| client(number, prng)).collect(),
            outgoing: Vec::new(),
            completing: Vec::new(),
            turns: Turns::default(),
            logs: (0..=GROUP).map(|_| Log::new()).collect(),
            group: GroupCoordinator::new(GroupSettings::default()),
            outcomes: BTreeMap::new(),
            acknowledged: Vec::new(),
            tokens: 0,
            counts: Counts::default(),
        }
    }

    fn log(&mut self, index: i32) -> &mut Log {
        &mut self.logs[usize::try_from(index).expect("a partition")]
    }

    fn step(&mut self, prng: &mut Prng) {
        match prng.below(1_000) {
            0..=599 => self.act(prng.index(CLIENTS), prng),
            600..=739 => self.mark_one(prng),
            740..=869 => {
                let waiting = self.bench.log.len() - self.durable;
                self.flush(prng.index(waiting + 1), prng);
            }
            870..=989 => {
                let index = i32::try_from(prng.below(3)).expect("small");
                self.log(index).sync();
            }
            990 => self.reload(prng),
            991..=997 => self.pass(i64::try_from(prng.below(8_000)).expect("small")),
            _ => self.crash(prng),
        }
        self.check();
    }

    fn act(&mut self, at: usize, prng: &mut Prng) {
        let client = &self.clients[at];
        if client.waits {
            return;
        }
        if let Some(writing) = client.writing {
            let impatience = if matches!(writing, Writing::Append(..)) { 25 } else { 4 };
            return match client.doing {
                Doing::Ending(outcome) if prng.chance(90) => self.end(at, outcome),
                Doing::Working if client.wrote && !client.is_late() && prng.chance(impatience) => {
                    // It aborts while a write is still on its way, which then comes too late.
                    self.counts.impatient += 1;
                    self.clients[at].doing = Doing::Ending(Outcome::Abort);
                }
                Doing::Working if client.is_late() && prng.chance(70) => {}
                _ => self.go_on_writing(at, writing),
            };
        }
        match client.doing {
            Doing::Silent if prng.chance(15) => self.clients[at].doing = Doing::Starting,
            Doing::Silent => {}
            Doing::Starting => {
                let expected = client.producer.filter(|_| prng.chance(60));
                let result = self.bench.init(client.id, expected);
                self.send(at, Outgoing::Init(at, result));
            }
            Doing::Ending(outcome) => self.end(at, outcome),
            Doing::Working => match prng.below(100) {
                0 => self.clients[at].doing = Doing::Silent,
                1 => self.clients[at].doing = Doing::Starting,
                2..=69 => {
                    let index = i32::try_from(prng.below(3)).expect("small");
                    self.begin_write(at, index);
                }
                _ if client.wrote => {
                    let commit = prng.chance(75);
                    let outcome = if commit { Outcome::Commit } else { Outcome::Abort };
                    self.clients[at].doing = Doing::Ending(outcome);
                }
                _ => {}
            },
        }
    }

    fn begin_write(&mut self, at: usize, index: i32) {
        let client = &self.clients[at];
        let producer = client.producer.expect("it works");
        if client.version == V1 && !client.added.contains(&index) {
            let result = self.bench.add(client.id, producer, index, V1);
            return self.send(at, Outgoing::Added(at, index, result));
        }
        let client = &mut self.clients[at];
        client.written_as = (producer, client.token, client.sequence(index));
        client.writing = Some(Writing::Begin(index));
    }

    fn go_on_writing(&mut self, at: usize, writing: Writing) {
        let client = &self.clients[at];
        let (producer, token, base_sequence) = client.written_as;
        match writing {
            Writing::Begin(index) => {
                let version = match client.version {
                    V2 => TransactionVersion::V2,
                    _ => TransactionVersion::V1,
                };
                let (producer_id, producer_epoch) = (producer.id, producer.epoch);
                let first = FirstBatch { producer_id, producer_epoch, base_sequence, version };
                let begun = self.log(index).leader.begin_transaction(&first);
                self.clients[at].writing = Some(match begun {
                    Begun::Ongoing => Writing::Append(index, None),
                    Begun::Verify(guard) => Writing::Join(index, guard),
                });
            }
            Writing::Join(index, guard) => {
                let (id, version) = (client.id, client.version);
                if version == V2 {
                    let result = self.bench.add(id, producer, index, V2);
                    self.clients[at].writing = Some(Writing::Joining);
                    return self.send(at, Outgoing::Joined(at, index, guard, result));
                }
                let asked = [partition(index)];
                let told = self.bench.core.verify_partitions(&id.into(), producer, &asked);
                match told {
                    Ok(told) if told == [Ok(())] => {
                        self.clients[at].writing = Some(Writing::Append(index, Some(guard)));
                    }
                    _ => self.fail_write(at),
                }
            }
            Writing::Joining => {}
            Writing::Append(index, guard) => self.append(at, index, guard),
            Writing::Appended(index, end) => {
                if self.log(index).leader.high_watermark() >= end {
                    self.acknowledged.push((token, index, end));
                    self.clients[at].writing = None;
                }
            }
        }
    }

    fn append(&mut self, at: usize, index: i32, guard: Option<Guard>) {
        let (producer, token, base_sequence) = self.clients[at].written_as;
        let info = batch(producer, base_sequence);
        let records = if index == GROUP { self.positions(token) } else { Vec::new() };
        let rules = AppendRules { verification: Verification::Guarded(guard), ..RULES };
        let log = self.log(index);
        match log.leader.admit(NOW, &info, &rules) {
            Ok(Admission::Append(placed)) => {
                let end = placed.end_offset();
                let entry = Entry { info: placed, marker: None, token, records: records.clone() };
                log.entries.push(entry);
                for record in &records {
                    self.group.replay(record, Some(producer.id));
                }
                self.counts.guarded += u64::from(guard.is_some());
                let ended = self.outcomes.get(&token);
                assert_ne!(ended, Some(&Outcome::Commit), "a record after its commit");
                let client = &mut self.clients[at];
                if base_sequence != Sequence::NONE && client.producer == Some(producer) {
                    client.next.insert(index, base_sequence.0 + 1);
                }
                client.wrote |= !client.is_late();
                client.writing = Some(Writing::Appended(index, end));
            }
            Ok(Admission::Duplicate { .. }) => panic!("nothing is sent again"),
            Err(AppendError::Producer(_)) => {
                self.counts.guards_used_up += u64::from(guard.is_some());
                self.fail_write(at);
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// The records of an offset commit; the position is the transaction's number.
    fn positions(&mut self, token: Token) -> Vec<GroupRecord> {
        let partition = CommitPartition {
            partition: PartitionIndex(0),
            offset: Offset(token),
            leader_epoch: LeaderEpoch::NONE,
            metadata: None,
        };
        let topics =
            vec![CommitTopic { name: "t".into(), id: TopicId::ZERO, partitions: vec![partition] }];
        let request = CommitRequest {
            group: "g".into(),
            member: "".into(),
            instance: None,
            generation: -1,
            retention_ms: None,
            topics,
        };
        let commit = self.group.commit_transactional(NOW, &request);
        commit.expect("nobody is in the group").records
    }

    /// The client's transaction cannot go on: it aborts, if it still may.
    fn fail_write(&mut self, at: usize) {
        self.counts.refused += 1;
        let client = &mut self.clients[at];
        client.writing = None;
        if client.is_late() || matches!(client.doing, Doing::Ending(_)) {
            self.counts.late_refused += 1;
            return;
        }
        client.doing = if client.wrote { Doing::Ending(Outcome::Abort) } else { Doing::Starting };
    }

    fn end(&mut self, at: usize, outcome: Outcome) {
        let client = &self.clients[at];
        let (id, version) = (client.id, client.version);
        let producer = client.producer.expect("it ends something");
        let result = self.bench.end(id, producer, outcome, version);
        self.send(at, Outgoing::Ended(at, outcome, result));
    }

    fn send(&mut self, at: usize, answer: Outgoing) {
        self.clients[at].waits = true;
        self.outgoing.push((self.bench.log.len(), answer));
    }

    fn flush(&mut self, count: usize, prng: &mut Prng) {
        self.durable += count;
        let durable = self.durable;
        let ready: Vec<_> = self.outgoing.extract_if(.., |(needs, _)| *needs <= durable).collect();
        for (_, answer) in ready {
            self.deliver(answer, prng.chance(5));
        }
        let ready: Vec<_> =
            self.bench.markers.extract_if(.., |(needs, _)| *needs <= durable).collect();
        for (_, markers) in ready {
            let left = markers.partitions.clone();
            let (has_turn, is_orphan) = (false, false);
            self.completing.push(Completing { markers, left, has_turn, is_orphan });
        }
    }

    fn deliver(&mut self, answer: Outgoing, lost: bool) {
        let (Outgoing::Init(at, _) | Outgoing::Added(at, ..)) = answer else {
            return self.deliver_rest(answer, lost);
        };
        self.clients[at].waits = false;
        match answer {
            _ if lost => {} // it asks again
            Outgoing::Init(_, Ok(given)) => {
                self.clients[at].given(given);
                self.begin(at);
            }
            Outgoing::Init(_, Err(InitError::Concurrent)) => {}
            Outgoing::Init(_, Err(_)) => self.give_up(at),
            Outgoing::Added(_, index, Ok(())) => {
                self.clients[at].added.insert(index);
            }
            Outgoing::Added(_, _, Err(E::ConcurrentTransactions)) => {}
            _ => self.give_up(at),
        }
    }

    fn deliver_rest(&mut self, answer: Outgoing, lost: bool) {
        match answer {
            Outgoing::Joined(at, index, guard, joined) => {
                self.clients[at].waits = false;
                match joined {
                    Ok(()) => self.clients[at].writing = Some(Writing::Append(index, Some(guard))),
                    Err(E::ConcurrentTransactions) => {
                        self.clients[at].writing = Some(Writing::Join(index, guard));
                    }
                    Err(_) if self.clients[at].is_late() => self.fail_write(at),
                    Err(_) => self.give_up(at),
                }
            }
            Outgoing::Ended(at, outcome, ended) => {
                self.clients[at].waits = false;
                match ended {
                    _ if lost => {}
                    Ok(next) => {
                        let token = self.clients[at].token;
                        let known = *self.outcomes.entry(token).or_insert(outcome);
                        assert_eq!(known, outcome, "the client was told otherwise");
                        self.clients[at].given(next);
                        self.begin(at);
                    }
                    Err(E::ConcurrentTransactions) => {}
                    Err(_) => self.give_up(at),
                }
            }
            Outgoing::Init(..) | Outgoing::Added(..) => panic!("they are delivered elsewhere"),
        }
    }

    fn begin(&mut self, at: usize) {
        self.tokens += 1;
        let client = &mut self.clients[at];
        (client.token, client.doing, client.wrote) = (self.tokens, Doing::Working, false);
        client.added.clear();
    }

    fn give_up(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.writing = None;
        client.doing = Doing::Silent;
    }

    /// Writes one marker of some decided transaction, perhaps not for the first time.
    fn mark_one(&mut self, prng: &mut Prng) {
        if self.completing.is_empty() {
            return;
        }
        let which = prng.index(self.completing.len());
        let task = &mut self.completing[which];
        if task.is_orphan && prng.chance(90) {
            return; // what it has sent is held up
        }
        let markers = task.markers.clone();
        task.has_turn = task.has_turn || self.turns.take(&markers.id);
        if !task.has_turn {
            return;
        }
        if !task.is_orphan && prng.chance(10) {
            return self.reload(prng);
        }
        if task.left.is_empty() {
            let is_orphan = self.completing.swap_remove(which).is_orphan;
            self.turns.end(&markers.id);
            if !is_orphan {
                self.bench.run(|core, now, step| {
                    core.markers_written(now, &markers.id, markers.producer, step);
                });
            }
            return;
        }
        let place = prng.index(task.left.len());
        let at = task.left[place].clone();
        self.counts.orphans += u64::from(task.is_orphan);
        self.mark(&markers, at.partition.0);
        let again = prng.chance(10); // the answer is lost
        self.counts.markers_again += u64::from(again);
        if !again {
            self.log(at.partition.0).sync(); // it is answered when it is durable
            self.completing[which].left.swap_remove(place);
        }
    }

    /// The transaction coordinator cannot store something, ends, and is loaded again.
    fn reload(&mut self, prng: &mut Prng) {
        self.counts.reloads += 1;
        self.outgoing.clear();
        let staged = self.bench.log.len() - self.durable;
        self.durable += prng.index(staged + 1);
        self.bench.crash(self.durable);
        for at in 0..CLIENTS {
            self.clients[at].waits = false;
            if let Some(Writing::Joining) = self.clients[at].writing {
                self.fail_write(at);
            }
        }
        for mut task in std::mem::take(&mut self.completing) {
            if task.has_turn && (task.is_orphan || prng.chance(70)) {
                task.is_orphan = true;
                self.completing.push(task);
            } else if task.has_turn {
                self.turns.end(&task.markers.id); // it had sent nothing
            }
        }
    }

    fn mark(&mut self, markers: &Markers, index: i32) {
        let producer = markers.producer;
        let marker = EndMarker { outcome: markers.outcome, coordinator_epoch: 0 };
        let version = match markers.version {
            V2 => TransactionVersion::V2,
            _ => TransactionVersion::V1,
        };
        let attributes = Attributes(0).with_transactional().with_control();
        let info = BatchInfo { attributes, ..batch(producer, Sequence::NONE) };
        let end = TransactionEnd { marker, version };
        let log = self.log(index);
        let Ok(placed) = log.leader.admit_marker(NOW, &info, &end, &RULES) else { return };
        let of_it = |entry: &&Entry| entry.info.producer_id == producer.id;
        let open = log.entries.iter().rev().filter(of_it).take_while(|e| e.marker.is_none());
        let tokens: Vec<Token> = open.map(|entry| entry.token).collect();
        log.entries.push(Entry { info: placed, marker: Some(marker), token: 0, records: vec![] });
        for token in tokens {
            let known = *self.outcomes.entry(token).or_insert(markers.outcome);
            assert_eq!(known, markers.outcome, "half of a transaction");
            match markers.outcome {
                Outcome::Commit => self.counts.committed += 1,
                Outcome::Abort => self.counts.aborted += 1,
            }
        }
        if index == GROUP {
            self.group.replay_end_transaction(producer.id, markers.outcome == Outcome::Commit);
        }
    }

    fn pass(&mut self, ms: i64) {
        let before = self.bench.markers.len();
        self.bench.pass(ms);
        self.counts.timed_out += (self.bench.markers.len() - before) as u64;
    }

    fn crash(&mut self, prng: &mut Prng) {
        self.counts.crashes += 1;
        self.outgoing.clear();
        self.completing.clear();
        self.turns = Turns::default();
        self.bench.crash(self.durable);
        for log in &mut self.logs {
            log.crash(prng);
        }
        self.group = GroupCoordinator::new(GroupSettings::default());
        let group = usize::try_from(GROUP).expect("a partition");
        for entry in &self.logs[group].entries {
            for record in &entry.records {
                self.group.replay(record, Some(entry.info.producer_id));
            }
            if let Some(marker) = entry.marker {
                let committed = marker.outcome == Outcome::Commit;
                self.group.replay_end_transaction(entry.info.producer_id, committed);
            }
        }
        for client in &mut self.clients {
            client.waits = false;
            // What was not acknowledged may be lost: a client that knows no better aborts.
            if client.writing.take().is_some() && !client.is_late() {
                client.wrote = true;
                client.doing = Doing::Ending(Outcome::Abort);
            }
        }
    }

    /// Nobody is shown a record of a transaction that did not commit, or did only in part.
    fn check(&mut self) {
        for log in &self.logs {
            let stable = log.leader.readable_end(Isolation::ReadCommitted);
            self.counts.held_back += u64::from(stable < log.leader.high_watermark());
            for (at, entry) in log.entries.iter().enumerate() {
                if entry.info.base_offset >= stable || entry.marker.is_some() {
                    continue;
                }
                let (outcome, marker) = log.outcome(at).expect("the stable end is before it");
                assert!(marker < log.leader.high_watermark(), "its end could not be read");
                assert_eq!(self.outcomes.get(&entry.token), Some(&outcome), "{}", entry.token);
            }
        }
        if let Some(token) = self.position() {
            assert_eq!(self.outcomes.get(&token), Some(&Outcome::Commit), "position {token}");
        }
    }

    /// How far the group has read: the number of the transaction that said so last.
    fn position(&self) -> Option<Token> {
        let partitions = vec![PartitionIndex(0)];
        let topic = FetchTopic { name: "t".into(), id: TopicId::ZERO, partitions };
        let fetched = self.group.fetch_offsets(&"g".into(), Some(&[topic]), false);
        let (_, position) = &fetched[0].partitions[0];
        position.as_ref().ok()?.as_ref().map(|committed| committed.offset.0)
    }

    /// Everybody falls silent and time passes: nothing hangs, and nothing is missing.
    fn finish(&mut self, prng: &mut Prng) {
        for client in &mut self.clients {
            (client.doing, client.writing) = (Doing::Silent, None);
        }
        self.pass(120_000);
        for _ in 0..2_000 {
            let waiting = self.bench.log.len() - self.durable;
            self.flush(waiting, prng);
            for client in &mut self.clients {
                (client.doing, client.writing) = (Doing::Silent, None);
            }
            self.mark_one(prng);
            self.logs.iter_mut().for_each(Log::sync);
            if self.completing.is_empty() && self.bench.markers.is_empty() {
                break;
            }
        }
        self.check();
        assert!(self.completing.is_empty() && self.bench.markers.is_empty());
        for log in &self.logs {
            let stable = log.leader.readable_end(Isolation::ReadCommitted);
            assert_eq!(stable, log.leader.log_end_offset(), "a transaction hangs");
        }
        for &(token, index, end) in &self.acknowledged {
            let log = &self.logs[usize::try_from(index).expect("a partition")];
            let at =
                log.entries.iter().position(|e| e.token == token && e.info.end_offset() == end);
            let at = at.unwrap_or_else(|| panic!("an acknowledged record of {token} is missing"));
            let outcome = log.outcome(at).map(|(outcome, _)| outcome);
            assert_eq!(outcome, self.outcomes.get(&token).copied(), "{token} in {index}");
        }
        self.counts.offsets_committed += u64::from(self.position().is_some());
    }
}

impl Client {
    fn sequence(&self, index: i32) -> Sequence {
        match index {
            GROUP => Sequence::NONE,
            _ => Sequence(self.next.get(&index).copied().unwrap_or(0)),
        }
    }

    /// Whether the write on its way is of a transaction that the client has left.
    fn is_late(&self) -> bool {
        self.written_as.1 != self.token
    }

    /// Another identity begins its sequences anew.
    fn given(&mut self, producer: Identity) {
        if self.producer != Some(producer) {
            self.next.clear();
        }
        self.producer = Some(producer);
    }
}

/// A batch of one record.
fn batch(producer: Identity, base_sequence: Sequence) -> BatchInfo {
    let (producer_id, producer_epoch): (ProducerId, ProducerEpoch) = (producer.id, producer.epoch);
    BatchInfo {
        base_offset: Offset(0),
        last_offset: Offset(0),
        leader_epoch: LeaderEpoch::NONE,
        base_timestamp: NOW,
        max_timestamp: NOW,
        producer_id,
        producer_epoch,
        base_sequence,
        last_sequence: base_sequence,
        record_count: 1,
        bytes: 100,
        attributes: Attributes(0).with_transactional(),
    }
}

/// No half-committed transaction is ever visible, and none hangs after its time.
#[test]
fn transactions_are_whole_everywhere_and_end() {
    let mut all = Counts::default();
    for seed in seeds(60) {
        let mut prng = Prng::new(seed.0);
        let mut world = World::new(&mut prng);
        for _ in 0..1_500 {
            world.step(&mut prng);
        }
        world.finish(&mut prng);
        let counts = world.counts;
        all.committed += counts.committed;
        all.aborted += counts.aborted;
        all.crashes += counts.crashes;
        all.guards_used_up += counts.guards_used_up;
        all.guarded += counts.guarded;
        all.refused += counts.refused;
        all.timed_out += counts.timed_out;
        all.offsets_committed += counts.offsets_committed;
        all.held_back += counts.held_back;
        all.markers_again += counts.markers_again;
        all.impatient += counts.impatient;
        all.late_refused += counts.late_refused;
        all.reloads += counts.reloads;
        all.orphans += counts.orphans;
    }
    if std::env::var("YEOUL_SEED").is_ok() {
        return;
    }
    let Counts { committed, aborted, crashes, guards_used_up, guarded, .. } = all;
    let Counts { refused, timed_out, offsets_committed, held_back, markers_again, .. } = all;
    let Counts { impatient, late_refused, reloads, orphans, .. } = all;
    for count in [reloads, orphans] {
        assert!(count > 10, "vacuous: {all:?}");
    }
    for count in [committed, aborted, crashes, guards_used_up, guarded] {
        assert!(count > 10, "vacuous: {all:?}");
    }
    for count in
        [refused, timed_out, offsets_committed, held_back, markers_again, impatient, late_refused]
    {
        assert!(count > 10, "vacuous: {all:?}");
    }
}
