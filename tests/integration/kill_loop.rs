//! SIGKILL in a loop over one process and one folder: nothing acknowledged is lost, changed,
//! doubled or moved, and metadata keeps what it promised.
//!
//! In:   `YEOUL_KILL_ROUNDS` (10 when absent; `scripts/kill-loop.sh` says 1,000) and `YEOUL_SEED`.
//! Out:  a panic that names seed and round, or one line with what was written and checked.
//! Home: idempotent writers on threads of their own; the test's thread kills, restarts, checks.
//!
//! Invariants
//!   K1  A partition read from its start holds each writer's numbers 0, 1, 2, ... without a gap,
//!       a repeat or a change, since each writer retries what was not acknowledged.
//!   K2  A record acknowledged at an offset lies at that offset.
//!   K3  A topic whose creation was acknowledged is there; one whose deletion was, is not.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::records::Record;
use yeoul::testing::prng::Prng;

use crate::broker::{Broker, Options};
use crate::wire::{Connection, NoAnswer, Producer, batch_of, is_retriable, outcome_of, produce_of};

const TOPIC: &str = "loop";
const PARTITIONS: usize = 4;
const WRITERS: usize = 2;
/// Every so many rounds, and at the end, everything is read again from the start.
const FULL_CHECK_EVERY: u64 = 100;

/// One batch that was acknowledged.
#[derive(Clone, Copy)]
struct Acknowledged {
    partition: usize,
    offset: i64,
    first: u64,
}

/// One idempotent producer. Lives over all rounds; connects anew in each.
struct Writer {
    number: usize,
    producer_id: i64,
    prng: Prng,
    /// The next record's number in each partition.
    next: [u64; PARTITIONS],
    /// How many records the batch has that was sent and not acknowledged, by partition.
    pending: [Option<u64>; PARTITIONS],
    acknowledged: Vec<Acknowledged>,
}

/// What record `number` of a writer says: checkable without having been kept.
fn value_of(writer: usize, partition: usize, number: u64) -> Vec<u8> {
    let mut prng = Prng::new(number << 8 | (partition << 4 | writer) as u64);
    let mut value = format!("{writer} {partition} {number} ").into_bytes();
    let length = prng.index(600);
    value.extend(prng.bytes(length));
    value
}

impl Writer {
    fn new(number: usize, connection: &mut Connection, prng: Prng) -> Self {
        Self {
            number,
            producer_id: connection.producer_id(),
            prng,
            next: [0; PARTITIONS],
            pending: [None; PARTITIONS],
            acknowledged: Vec::new(),
        }
    }

    /// Writes until the broker is gone: in each turn a batch to each partition, then the answers.
    fn write(&mut self, connection: &mut Connection, written: &AtomicU64) {
        while self.turn(connection).is_ok() {
            written.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn turn(&mut self, connection: &mut Connection) -> Result<(), NoAnswer> {
        let mut sent = Vec::new();
        for partition in 0..PARTITIONS {
            let count = match self.pending[partition] {
                Some(count) => count, // the same batch again, with the same sequence
                None => 1 + self.prng.below(8),
            };
            self.pending[partition] = Some(count);
            let first = self.next[partition];
            let values: Vec<Vec<u8>> = (first..first + count)
                .map(|number| value_of(self.number, partition, number))
                .collect();
            let sequence = i32::try_from(first).expect("a test writes less than 2^31 records");
            let batch = batch_of(&values, Producer { id: self.producer_id, sequence });
            let request = produce_of(TOPIC, i32::try_from(partition).expect("small"), batch);
            sent.push((partition, connection.send(&request, 9)?));
        }
        for (partition, correlation_id) in sent {
            let answer = connection.receive::<ProduceRequest>(9, correlation_id)?;
            let offset = match outcome_of(&answer) {
                Ok(offset) => offset,
                // A broker that shuts down gracefully may say so; the batch is tried again.
                Err(code) if is_retriable(code) => return Err(NoAnswer::Closed),
                Err(code) => panic!("writer {} partition {partition}: error {code}", self.number),
            };
            let count = self.pending[partition].take().expect("it was sent");
            let first = self.next[partition];
            self.next[partition] += count;
            self.acknowledged.push(Acknowledged { partition, offset, first });
        }
        Ok(())
    }
}

/// What has been read of a partition: the next offset, and the next number of each writer.
#[derive(Clone, Copy, Default)]
struct Checked {
    offset: i64,
    numbers: [u64; WRITERS],
}

impl Checked {
    /// K1 for one more record.
    fn take(&mut self, partition: usize, record: &Record) {
        assert_eq!(record.offset, self.offset, "partition {partition}: offsets have no gap");
        let value = record.value.as_ref().expect("records have values");
        let mut words = value.split(|byte| *byte == b' ');
        let mut number = || -> usize {
            let word = words.next().expect("a word");
            std::str::from_utf8(word).expect("text").parse().expect("a number")
        };
        let (writer, named, found) = (number(), number(), number());
        assert_eq!(named, partition, "a record of another partition at {}", record.offset);
        let expected = self.numbers[writer];
        assert_eq!(found as u64, expected, "partition {partition} offset {}", record.offset);
        let whole = value_of(writer, partition, expected);
        assert!(*value == whole, "partition {partition} offset {} has changed", record.offset);
        self.numbers[writer] += 1;
        self.offset += 1;
    }

    /// Reads on to the partition's end.
    fn read_on(&mut self, connection: &mut Connection, partition: usize) {
        let index = i32::try_from(partition).expect("small");
        let end = connection.offset_of(TOPIC, index, -1);
        assert!(end >= self.offset, "partition {partition} ends at {end}, was {}", self.offset);
        while self.offset < end {
            for record in connection.fetch(TOPIC, index, self.offset).expect("Fetch") {
                self.take(partition, &record);
            }
        }
    }
}

/// K2: each new acknowledgement against what lies at its offset.
fn check_acknowledged(connection: &mut Connection, writer: &mut Writer, checked: &[Checked]) {
    let news = std::mem::take(&mut writer.acknowledged);
    for (partition, checked) in checked.iter().enumerate() {
        let mine = || news.iter().filter(|ack| ack.partition == partition);
        let Some(first) = mine().map(|ack| ack.offset).min() else { continue };
        let acknowledged = mine().count();
        assert!(
            checked.numbers[writer.number] >= writer.next[partition],
            "writer {} partition {partition}: {} acknowledged, {} there",
            writer.number,
            writer.next[partition],
            checked.numbers[writer.number],
        );
        let records = connection.read_from(TOPIC, i32::try_from(partition).expect("small"), first);
        let mut found = 0;
        for ack in mine() {
            let index = usize::try_from(ack.offset - first).expect("at or behind the first");
            let value = records[index].value.as_ref().expect("records have values");
            assert!(
                *value == value_of(writer.number, partition, ack.first),
                "partition {partition}: another record lies at {}, acknowledged for number {}",
                ack.offset,
                ack.first,
            );
            found += 1;
        }
        assert_eq!(found, acknowledged);
    }
}

/// Topics that come and go, for K3.
#[derive(Default)]
struct Topics {
    there: BTreeSet<String>,
    gone: BTreeSet<String>,
}

impl Topics {
    /// Creates one topic and deletes an older one; each acknowledged.
    fn change(&mut self, connection: &mut Connection, round: u64) {
        let name = format!("t{round}");
        assert_eq!(connection.create_topic(&name, 1, &[]), 0, "CreateTopics {name}");
        self.there.insert(name);
        let old = format!("t{}", round.wrapping_sub(3));
        if self.there.remove(&old) {
            assert_eq!(connection.delete_topic(&old), 0, "DeleteTopics {old}");
            self.gone.insert(old);
        }
    }

    fn check(&self, connection: &mut Connection) {
        let found: BTreeSet<String> = connection.topics().into_iter().collect();
        let missing: Vec<_> = self.there.difference(&found).collect();
        assert!(missing.is_empty(), "created and not there: {missing:?}");
        let back: Vec<_> = self.gone.intersection(&found).collect();
        assert!(back.is_empty(), "deleted and there again: {back:?}");
    }
}

/// The whole run. Returns records checked and rounds with a kill amid writes.
fn run(seed: u64, rounds: u64) {
    let mut prng = Prng::new(seed);
    let mut broker = Broker::with(Options::set(&["auto.create.topics.enable=false"]));
    let mut connection = broker.connect();
    let settings = [("segment.bytes", "1048576"), ("retention.ms", "-1")];
    let partitions = i32::try_from(PARTITIONS).expect("small");
    assert_eq!(connection.create_topic(TOPIC, partitions, &settings), 0, "CreateTopics");
    let mut writers: Vec<Writer> =
        (0..WRITERS).map(|number| Writer::new(number, &mut connection, prng.split())).collect();
    let mut checked = [Checked::default(); PARTITIONS];
    let mut topics = Topics::default();
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let written = AtomicU64::new(0);
        let lifetime = Duration::from_millis(20 + prng.below(280));
        let graceful = prng.chance(5);
        std::thread::scope(|scope| {
            for writer in &mut writers {
                let (mut connection, written) = (broker.connect(), &written);
                scope.spawn(move || writer.write(&mut connection, written));
            }
            topics.change(&mut broker.connect(), round);
            std::thread::sleep(lifetime); // the moment of the kill, drawn from the seed
            if graceful {
                broker.stop();
            } else {
                broker.kill();
            }
        });
        if prng.chance(10) {
            broker.kill_while_starting(Duration::from_millis(prng.below(40)));
        }
        let restart = Instant::now();
        broker.restart();
        slowest = slowest.max(restart.elapsed());
        let mut connection = broker.connect();
        for (partition, checked) in checked.iter_mut().enumerate() {
            checked.read_on(&mut connection, partition);
        }
        for writer in &mut writers {
            check_acknowledged(&mut connection, writer, &checked);
        }
        topics.check(&mut connection);
        if (round + 1) % FULL_CHECK_EVERY == 0 || round + 1 == rounds {
            check_everything(&mut connection, &checked);
        }
        if (round + 1) % 50 == 0 {
            println!("round {}: {} records", round + 1, total(&checked));
        }
    }
    println!(
        "kill loop: seed {seed}, {rounds} rounds in {:.0} s, {} records, slowest restart {} ms",
        began.elapsed().as_secs_f64(),
        total(&checked),
        slowest.as_millis(),
    );
    assert!(
        total(&checked).unsigned_abs() > rounds,
        "almost nothing was written: the run proves nothing"
    );
}

fn total(checked: &[Checked]) -> i64 {
    checked.iter().map(|checked| checked.offset).sum()
}

fn check_everything(connection: &mut Connection, checked: &[Checked]) {
    for (partition, before) in checked.iter().enumerate() {
        let mut again = Checked::default();
        again.read_on(connection, partition);
        assert_eq!(again.offset, before.offset, "partition {partition} read twice");
        assert_eq!(again.numbers, before.numbers, "partition {partition} read twice");
    }
}

#[test]
fn a_broker_that_is_killed_again_and_again_loses_nothing() {
    let read = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let rounds = read("YEOUL_KILL_ROUNDS").unwrap_or(10);
    for seed in yeoul::testing::seeds::seeds(1) {
        run(seed.0, rounds);
    }
}
