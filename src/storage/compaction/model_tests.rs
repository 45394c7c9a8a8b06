//! Compaction against a naive model: what is left is what should be, for readers of all kinds.

use std::cell::Cell;
use std::rc::Rc;

use crate::model::offset::Offset;
use crate::model::time::Timestamp;
use crate::storage::compaction::candidate::Limits;
use crate::storage::compaction::model::{
    RETENTION_MS, Rec, SimLog, Unhurried, World, Written, open, options, read_all, read_bytes,
};
use crate::storage::compaction::pass::{Pace, Report, Spent};
use crate::storage::options::LogOptions;
use crate::testing::disk::{Crash, Disk};
use crate::testing::prng::Prng;
use crate::testing::seeds::seeds;

const LIMITS: Limits =
    Limits { min_lag_ms: 0, max_lag_ms: None, min_dirty_ratio: 0.0, delete_retention_ms: 0 };

/// What the runs did, so that a test that tests nothing fails.
#[derive(Default)]
struct Tally {
    passes: u64,
    shrunk: u64,
    merged: u64,
    dropped_aborted: u64,
    emptied: u64,
    partial: u64,
}

fn records_below(read: &[Written], end: i64) -> Vec<Rec> {
    let records = read.iter().flat_map(|batch| &batch.records);
    records.filter(|record| record.offset < end).cloned().collect()
}

fn segments(log: &SimLog) -> usize {
    log.inner.state.borrow().segments.len()
}

/// Compacts what can be, with a map of `map_bytes`.
async fn compact(log: &SimLog, world: &World, map_bytes: usize) -> (Report, Offset) {
    log.wait_durable(log.log_end()).await.unwrap();
    let now = Timestamp(world.now);
    let candidate = log.compaction_candidate(now, world.stable_end(), &LIMITS).await.unwrap();
    let mut order = world.order(candidate.end);
    order.map_bytes = map_bytes;
    (log.compact(&order, &Unhurried).await.unwrap(), candidate.end)
}

/// Reads from each offset give what is left at or behind it.
async fn check_reads(log: &SimLog, world: &World, read: &[Written], prng: &mut Prng) {
    for _ in 0..4 {
        let from = prng.below(world.end.cast_unsigned() + 1).cast_signed();
        let found = read_bytes(log, from, prng.index(5_000)).await;
        let want = read.iter().filter(|batch| batch.info.last_offset.0 >= from);
        let same = found.iter().map(|(_, bytes)| bytes).eq(want.map(|batch| &batch.bytes));
        assert!(same, "a read from {from}");
        let wanted = Timestamp(world.now - prng.below(100).cast_signed());
        let found = log.batch_for_timestamp(wanted, Offset(0), log.log_end()).await.unwrap();
        let want = read.iter().find(|batch| batch.info.max_timestamp >= wanted);
        assert_eq!(found.map(|found| found.bytes), want.map(|batch| batch.bytes.clone()));
    }
}

#[test]
fn what_is_left_is_what_a_naive_model_leaves() {
    let mut tally = Tally::default();
    for seed in seeds(8) {
        let mut prng = Prng::new(seed.0);
        let options = options(&mut prng);
        let mut disk = Disk::new(prng.next_u64());
        let mut world = World { now: 1_000, ..World::default() };
        let (mut life, _) = open(&disk, options, world.now, seed.0).unwrap();
        for round in 0..4u64 {
            for _ in 0..20 + prng.below(60) {
                world.write(&life.log, &mut prng);
            }
            if round == 3 {
                world.end_all(&life.log, &mut prng);
            }
            let map_bytes = if prng.chance(30) { 2_000 } else { 1 << 20 };
            let log = life.log.clone();
            let segments = segments(&log);
            let pass = compact(&log, &world, map_bytes);
            let (report, asked) = life.executor.block_on(pass).unwrap();
            let read = life.executor.block_on(read_all(&log, 0, 3_000)).unwrap();
            world.check_sound(&read);
            let end = report.end.0;
            assert_eq!(records_below(&read, end), world.survivors(end, false), "below {end}");
            tally.passes += 1;
            tally.shrunk += u64::from(report.bytes_after < report.bytes_before);
            tally.partial += u64::from(report.keys > 0 && report.end < asked);
            let empty = read.iter().filter(|batch| batch.info.record_count == 0);
            tally.emptied += empty.count() as u64;
            let there = |base: &&i64| read.iter().any(|b| b.info.base_offset.0 == **base);
            tally.dropped_aborted +=
                (world.aborted.len() - world.aborted.iter().filter(there).count()) as u64;
            life.executor.block_on(check_reads(&log, &world, &read, &mut prng)).unwrap();
            tally.merged += u64::from(segments > self::segments(&log));
            // A restart finds the same, whether it was closed or not.
            if prng.chance(50) {
                life.executor.block_on(log.close()).unwrap().unwrap();
            }
            disk = disk.crash(Crash::PowerCut, seed.0);
            let (again, opened) = open(&disk, options, world.now, seed.0 + 1).unwrap();
            life = again;
            assert_eq!((opened.report.damage.len(), opened.report.log_end.0), (0, world.end));
            let log = life.log.clone();
            let found = life.executor.block_on(read_bytes(&log, 0, 9_000)).unwrap();
            let same = found.iter().map(|(_, bytes)| bytes).eq(read.iter().map(|b| &b.bytes));
            assert!(same, "a restart finds the same");
            life.executor.block_on(check_reads(&log, &world, &read, &mut prng)).unwrap();
        }
    }
    let counts = [
        tally.passes,
        tally.shrunk,
        tally.merged,
        tally.dropped_aborted,
        tally.emptied,
        tally.partial,
    ];
    let several = std::env::var("YEOUL_SEED").is_err();
    assert!(!several || counts.iter().all(|count| *count > 0), "vacuous: {counts:?}");
}

/// Tombstones and markers stay for `delete.retention.ms` from the first pass that finds them of no
/// more use, and are gone with the first pass after that.
#[test]
fn what_marks_deletions_goes_when_its_time_has_come() {
    let mut gone = 0;
    for seed in seeds(8) {
        let mut prng = Prng::new(seed.0);
        let mut options = options(&mut prng);
        options.segment_bytes = 3_000; // all but the last batches are sealed
        let disk = Disk::new(prng.next_u64());
        let mut world = World { now: 1_000, ..World::default() };
        let (mut life, _) = open(&disk, options, world.now, seed.0).unwrap();
        let log = life.log.clone();
        for _ in 0..150 {
            world.write(&log, &mut prng);
        }
        world.end_all(&log, &mut prng);
        let marked = world.end;
        // The first pass sets horizons of tombstones and finds what was aborted, the second that
        // nothing of it is left; neither removes a mark.
        for round in 0..4 {
            for _ in 0..60 {
                world.write(&log, &mut prng);
            }
            world.end_all(&log, &mut prng);
            if round >= 2 {
                world.now += i64::try_from(RETENTION_MS).unwrap() + 1;
            }
            let pass = compact(&log, &world, 1 << 20);
            let (report, _) = life.executor.block_on(pass).unwrap();
            assert!(report.end.0 > marked, "the pass covers it");
            let read = life.executor.block_on(read_all(&log, 0, 3_000)).unwrap();
            if round < 2 {
                world.check_sound(&read);
                let found = records_below(&read, report.end.0);
                assert_eq!(found, world.survivors(report.end.0, false), "round {round}");
            } else {
                assert_eq!(world.fold(&read), world.newest(), "what was deleted stays so");
            }
            if round < 3 {
                continue;
            }
            let old = |batch: &&Written| batch.info.last_offset.0 < marked;
            for batch in read.iter().filter(old) {
                assert!(batch.records.iter().all(|record| record.value.is_some()));
                let info = &batch.info;
                let ends = world.marker_of.iter().any(|(of, marker)| {
                    *marker == info.base_offset.0
                        && read.iter().any(|batch| batch.info.base_offset.0 == *of)
                });
                let last = world.producers.get(&info.producer_id);
                let last = last.is_some_and(|last| last.epoch == info.producer_epoch);
                assert!(!info.attributes.is_control() || ends || last, "{info:?}");
            }
            let is_old_marker = |b: &&Written| b.info.attributes.is_control() && old(b);
            let before = world.batches.iter().filter(is_old_marker).count();
            gone += before - read.iter().filter(is_old_marker).count();
        }
    }
    assert!(gone > 0, "vacuous: no marker ever went");
}

/// Readers that run beside passes and appends see every batch that is left, in order, and the
/// newest value of each key.
#[test]
fn readers_beside_a_pass_see_the_newest_of_each_key() {
    let reads = Rc::new(Cell::new(0));
    for seed in seeds(4) {
        let mut prng = Prng::new(seed.0);
        let options = options(&mut prng);
        let disk = Disk::new(prng.next_u64());
        let mut world = World { now: 1_000, ..World::default() };
        let (mut life, _) = open(&disk, options, world.now, seed.0).unwrap();
        let log = life.log.clone();
        for _ in 0..3 {
            for _ in 0..40 {
                world.write(&log, &mut prng);
            }
            world.end_all(&log, &mut prng);
            let done = Rc::new(Cell::new(false));
            for reader in 0..2 {
                let (log, world, done) = (log.clone(), world.clone(), done.clone());
                let (reads, mut prng) = (reads.clone(), prng.split());
                life.executor.spawn(async move {
                    // Each read is taken apart: a few are enough.
                    for _ in 0..6 {
                        if done.get() {
                            break;
                        }
                        let read = read_all(&log, 0, 500 + 3_000 * reader).await;
                        world.check_is_left_of(&read);
                        assert_eq!(world.fold(&read), world.newest());
                        let wanted = Timestamp(world.now - prng.below(100).cast_signed());
                        let found = log.batch_for_timestamp(wanted, Offset(0), log.log_end());
                        let found = found.await.unwrap().expect("the newest batch is late enough");
                        assert!(found.info.max_timestamp >= wanted);
                        reads.set(reads.get() + 1);
                    }
                });
            }
            let pass = compact(&log, &world, 1 << 20);
            life.executor.block_on(pass).unwrap();
            done.set(true);
            // The readers come to their end before more is written.
            let read = life.executor.block_on(read_all(&log, 0, 3_000)).unwrap();
            world.check_sound(&read);
            life.executor.finish();
            assert_eq!(log.quarantined(), []);
        }
    }
    assert!(reads.get() > 20, "vacuous: {} reads", reads.get());
}

/// Counts what it is asked for.
#[derive(Default)]
struct Counted {
    breaths: Cell<u32>,
    apart: Cell<u32>,
}

impl Pace for Counted {
    async fn breathe(&self) {
        self.breaths.set(self.breaths.get() + 1);
    }

    async fn apart<T: Send + 'static>(&self, call: impl FnOnce() -> T + Send + 'static) -> T {
        self.apart.set(self.apart.get() + 1);
        call()
    }

    async fn spent(&self, _: Spent) {}
}

/// P5: others run while one large batch is compacted, and what may take long is done elsewhere.
#[test]
fn a_large_batch_does_not_keep_the_shard() {
    let mut prng = Prng::new(7);
    let options = LogOptions { segment_bytes: 1 << 20, ..options(&mut prng) };
    let disk = Disk::new(7);
    let mut world = World { now: 1_000, ..World::default() };
    let (mut life, _) = open(&disk, options, world.now, 7).unwrap();
    let log = life.log.clone();
    world.write_large(&log, &mut prng, 2_000);
    world.write_large(&log, &mut prng, 2_000); // in a segment that is still open
    life.executor.block_on(log.close()).unwrap().unwrap();
    let (mut life, _) = open(&disk, options, world.now, 7).unwrap();
    let log = life.log.clone();
    let (order, pace) = (world.order(Offset(2_000)), Counted::default());
    let pass = log.compact(&order, &pace);
    let report = life.executor.block_on(pass).unwrap().unwrap();
    assert_eq!((report.keys, report.end), (1_000, Offset(2_000)));
    let read = life.executor.block_on(read_all(&log, 0, 3_000)).unwrap();
    world.check_sound(&read);
    assert_eq!(records_below(&read, 2_000), world.survivors(2_000, false));
    // Twice seven steps of 128 KiB, and what is asked between batches.
    assert_eq!((pace.apart.get(), pace.breaths.get()), (3, 2 * 6 + 4));
}
