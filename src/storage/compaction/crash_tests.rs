//! A pass of compaction, crashed or failed at each of its changes of the disk.
//!
//! Whatever the crash meets, the log is made of the new segments up to some boundary and of the old
//! ones from there on; nothing that was acknowledged is lost; recovering again gives the same.

use crate::io::directory::Directory as _;
use crate::io::file::IoError;
use crate::model::offset::Offset;
use crate::model::time::Timestamp;
use crate::storage::compaction::candidate::{Candidate, Limits};
use crate::storage::compaction::model::{
    Life, SimLog, Unhurried, World, Written, open, options, read_all,
};
use crate::storage::compaction::pass::{CompactError, Report};
use crate::storage::fixtures::scrub_all;
use crate::storage::log::LogError;
use crate::storage::names;
use crate::storage::options::LogOptions;
use crate::storage::reader::{ReadPath, ReadRequest};
use crate::storage::recovery::Condition;
use crate::testing::disk::{Crash, Disk};
use crate::testing::prng::Prng;
use crate::testing::run::Crashed;
use crate::testing::seeds::seeds;

/// A log on a disk at rest, before the pass that is looked at.
struct Ground {
    disk: Disk,
    world: World,
    options: LogOptions,
    /// The log before the pass.
    old: Vec<Written>,
}

/// Writes, compacts a part, and writes again; then the process ends, in order or not.
fn ground(seed: u64) -> Ground {
    let mut prng = Prng::new(seed);
    let options = options(&mut prng);
    let disk = Disk::new(prng.next_u64());
    let mut world = World { now: 1_000, ..World::default() };
    let (mut life, _) = open(&disk, options, world.now, seed).expect("no crash point yet");
    let log = life.log.clone();
    for round in 0..2 {
        for _ in 0..22 {
            world.write(&log, &mut prng);
        }
        if prng.chance(50) {
            world.end_all(&log, &mut prng);
        }
        life.executor.block_on(log.flush()).expect("no crash point yet").unwrap();
        if round == 0 {
            let done = life.executor.block_on(compact(&life.log, &world));
            done.expect("no crash point yet").unwrap();
        }
    }
    let old = life.executor.block_on(read_all(&log, 0, 3_000)).unwrap();
    if seed.is_multiple_of(2) {
        life.executor.block_on(log.close()).unwrap().unwrap();
    }
    life.executor.finish();
    Ground { disk: disk.crash(Crash::Kill, seed), world, options, old }
}

/// What one pass came to.
struct Run {
    disk: Disk,
    /// Changes of the disk before the pass began, and after it.
    changes: (u64, u64),
    result: Result<Result<Report, CompactError>, Crashed>,
    life: Life,
}

/// Opens a copy of the ground and compacts it; the first change of the disk that is the pass's own
/// is number 1 to `disturb`.
fn run(ground: &Ground, disturb: impl Fn(&Disk, u64)) -> Run {
    let disk = ground.disk.fork(1);
    let (mut life, _) = open(&disk, ground.options, ground.world.now, 1).expect("no crash point");
    life.executor.finish();
    let before = disk.changes();
    disturb(&disk, before);
    let log = life.log.clone();
    let result = life.executor.block_on(compact(&log, &ground.world));
    Run { changes: (before, disk.changes()), disk, result, life }
}

async fn candidate(log: &SimLog, world: &World) -> Result<Candidate, LogError> {
    let limits =
        Limits { min_lag_ms: 0, max_lag_ms: None, min_dirty_ratio: 0.0, delete_retention_ms: 0 };
    log.compaction_candidate(Timestamp(world.now), world.stable_end(), &limits).await
}

async fn compact(log: &SimLog, world: &World) -> Result<Report, CompactError> {
    let candidate = candidate(log, world).await?;
    log.compact(&world.order(candidate.end), &Unhurried).await
}

/// Whether `read` is made of the new batches before some boundary and of the old ones behind it.
fn is_new_then_old(read: &[Written], old: &[Written], new: &[Written]) -> bool {
    let parts = |at: Offset| {
        let new = new.iter().filter(move |batch| batch.info.base_offset < at);
        new.chain(old.iter().filter(move |batch| batch.info.base_offset >= at))
    };
    let same = |at: Offset| read.iter().map(|b| &b.bytes).eq(parts(at).map(|b| &b.bytes));
    let ends = old.iter().map(|batch| batch.info.end_offset());
    std::iter::once(Offset::ZERO).chain(ends).any(same)
}

fn recovered(
    disk: &Disk,
    ground: &Ground,
    new: &[Written],
    seed: u64,
) -> Result<(Life, Vec<Written>), Crashed> {
    let (mut life, opened) = open(disk, ground.options, ground.world.now, seed)?;
    assert_eq!((opened.report.damage.len(), opened.report.log_end.0), (0, ground.world.end));
    assert_ne!(opened.report.condition, Condition::Suspect);
    let log = life.log.clone();
    let damage = life.executor.block_on(scrub_all(&log, Timestamp(1 << 40)))?;
    assert_eq!(damage, [], "no checksum is of other bytes");
    let read = life.executor.block_on(read_all(&log, 0, 5_000))?;
    ground.world.check_sound(&read);
    assert!(is_new_then_old(&read, &ground.old, new), "the old set or the new one");
    Ok((life, read))
}

/// Says, on a panic, which change it was.
struct Context(u64);

impl Drop for Context {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("at change {}", self.0);
        }
    }
}

/// The log after an undisturbed pass, and the number of changes that it makes.
fn undisturbed(ground: &Ground) -> (Vec<Written>, u64) {
    let mut whole = run(ground, |_, _| {});
    let report = whole.result.expect("no crash point").expect("no fault");
    let log = whole.life.log.clone();
    let new = whole.life.executor.block_on(read_all(&log, 0, 3_000)).unwrap();
    check_compacted(&ground.world, &new, &report);
    (new, whole.changes.1 - whole.changes.0)
}

fn check_compacted(world: &World, read: &[Written], report: &Report) {
    world.check_sound(read);
    let records = read.iter().flat_map(|batch| &batch.records);
    let below = records.filter(|record| record.offset < report.end.0);
    assert!(below.eq(&world.survivors(report.end.0, false)), "each key once");
}

/// Crashes a pass at its `crash_at`th change, recovers, recovers again with a crash in between, and
/// goes on; the batches that the first recovery found.
fn crash_and_recover(ground: &Ground, new: &[Written], crash_at: u64, salt: u64) -> usize {
    let how = if salt.is_multiple_of(2) { Crash::Kill } else { Crash::PowerCut };
    let crashed = run(ground, |disk, before| disk.crash_at(before + crash_at));
    assert!(crashed.result.is_err(), "it crashed");
    let disk = crashed.disk.crash(how, salt);
    let again = disk.fork(salt + 1);
    let (mut life, read) = recovered(&disk, ground, new, salt).expect("no crash point");
    // Recovery itself crashes, at a point drawn by the seed, and runs again.
    let mut prng = Prng::new(salt);
    again.crash_at(1 + prng.below(12));
    let _ = open(&again, ground.options, ground.world.now, salt);
    let again = again.crash(Crash::PowerCut, salt + 2);
    let (_, second) = recovered(&again, ground, new, salt).expect("no crash point");
    if how == Crash::PowerCut {
        let same = second.iter().map(|b| &b.bytes).eq(read.iter().map(|b| &b.bytes));
        assert!(same, "recovering twice gives the same");
    }
    // Life goes on: more is written, a pass succeeds, and a power cut takes nothing of it.
    let mut world = ground.world.clone();
    world.write(&life.log, &mut prng);
    let log = life.log.clone();
    life.executor.block_on(log.flush()).unwrap().unwrap();
    let report = life.executor.block_on(compact(&log, &world)).unwrap().unwrap();
    let disk = disk.crash(Crash::PowerCut, salt + 3);
    let (mut third, _) = open(&disk, ground.options, world.now, salt).unwrap();
    let log = third.log.clone();
    assert_eq!(third.executor.block_on(scrub_all(&log, Timestamp(1 << 40))).unwrap(), []);
    let found = third.executor.block_on(read_all(&log, 0, 3_000)).unwrap();
    check_compacted(&world, &found, &report);
    read.len()
}

#[test]
fn a_crash_at_any_change_leaves_the_old_set_or_the_new() {
    let (mut crashes, mut kept_old, mut got_new) = (0, 0, 0);
    for seed in seeds(2) {
        let ground = ground(seed.0);
        let (new, changes) = undisturbed(&ground);
        for crash_at in 1..=changes {
            let _context = Context(crash_at);
            let salt = seed.0.wrapping_mul(1_000_003).wrapping_add(crash_at);
            let batches = crash_and_recover(&ground, &new, crash_at, salt);
            crashes += 1;
            kept_old += u64::from(batches == ground.old.len());
            got_new += u64::from(batches == new.len());
        }
    }
    let several = std::env::var("YEOUL_SEED").is_err();
    let counts = [crashes, kept_old, got_new];
    assert!(!several || counts.iter().all(|count| *count > 0), "vacuous: {counts:?}");
}

#[test]
fn a_failed_write_or_sync_stops_the_directory_and_a_restart_finds_a_whole_log() {
    let mut stopped = 0;
    for seed in seeds(4) {
        let ground = ground(seed.0);
        let (new, changes) = undisturbed(&ground);
        for fail_at in 1..=changes {
            let _context = Context(fail_at);
            let error = IoError::Os { errno: 5 };
            let failed = run(&ground, |disk, before| disk.fail_at(before + fail_at, error));
            if let Err(error) = failed.result.expect("it failed and did not crash") {
                assert_eq!(error, CompactError::Offline);
                assert!(failed.life.log.is_offline(), "nothing is acknowledged any more");
                stopped += 1;
            }
            let disk = failed.disk.crash(Crash::PowerCut, fail_at);
            recovered(&disk, &ground, &new, fail_at).expect("no crash point");
        }
    }
    assert!(stopped > 20, "vacuous: {stopped} stops");
}

#[test]
fn a_full_disk_gives_the_pass_up_and_space_lets_the_next_one_through() {
    let mut full = 0;
    for seed in seeds(10) {
        let ground = ground(seed.0);
        let mut run = run(&ground, |disk, _| disk.set_space(Some(0)));
        let log = run.life.log.clone();
        match run.result.expect("no crash point") {
            Err(CompactError::DiskFull) => full += 1,
            Err(error) => panic!("{error}"),
            Ok(report) => assert_eq!(report.bytes_before, report.bytes_after),
        }
        let read = run.life.executor.block_on(read_all(&log, 0, 3_000)).unwrap();
        assert!(read.iter().map(|b| &b.bytes).eq(ground.old.iter().map(|b| &b.bytes)), "unchanged");
        let names = run.life.executor.block_on(list(&run.disk)).unwrap();
        assert!(!names.iter().any(|name| name.ends_with(".cleaned")), "{names:?}");
        run.disk.set_space(None);
        let report = run.life.executor.block_on(compact(&log, &ground.world)).unwrap().unwrap();
        let read = run.life.executor.block_on(read_all(&log, 0, 3_000)).unwrap();
        check_compacted(&ground.world, &read, &report);
    }
    assert!(full > 0, "vacuous");
}

async fn list(disk: &Disk) -> Vec<String> {
    disk.root().list().await.unwrap()
}

fn write_until_due(life: &mut Life, world: &mut World, prng: &mut Prng) {
    let log = life.log.clone();
    let mut dirty_bytes = 0;
    while dirty_bytes == 0 {
        for _ in 0..20 {
            world.write(&log, prng);
        }
        world.end_all(&log, prng);
        life.executor.block_on(log.flush()).unwrap().unwrap();
        dirty_bytes = life.executor.block_on(candidate(&log, world)).unwrap().unwrap().dirty_bytes;
    }
}

/// An index that is made anew ends before what is damaged, which is not the segment's end.
#[test]
fn damage_in_a_segment_without_its_index_is_named_too() {
    for seed in seeds(4) {
        let ground = ground(seed.0);
        let run = run(&ground, |_, _| {});
        let (mut life, mut world) = (run.life, ground.world.clone());
        write_until_due(&mut life, &mut world, &mut Prng::new(seed.0));
        life.executor.finish();
        let disk = run.disk.crash(Crash::Kill, seed.0);
        let (mut life, _) = open(&disk, ground.options, world.now, seed.0).unwrap();
        let log = life.log.clone();
        disk.flip_bit(&names::segment(Offset(0)), 16, 0); // the magic
        let gone =
            life.executor.block_on(async { disk.root().remove(&names::index(Offset(0))).await });
        assert!(matches!(gone.unwrap(), Ok(()) | Err(IoError::NotFound)));
        let result = life.executor.block_on(compact(&log, &world)).unwrap();
        assert!(matches!(result, Err(CompactError::Damaged { .. })), "{result:?}");
        life.executor.finish();
        let (life, opened) = open(&disk, ground.options, world.now, seed.0).unwrap();
        assert_eq!(opened.report.log_end.0, world.end, "nothing behind it is gone");
        drop(life);
    }
}

/// A damaged segment is named, not rewritten: what can be read of the log stays as it is.
#[test]
fn a_damaged_log_is_not_compacted() {
    for seed in seeds(6) {
        let ground = ground(seed.0);
        let run = run(&ground, |_, _| {});
        let (mut life, mut world) = (run.life, ground.world.clone());
        let log = life.log.clone();
        let mut prng = Prng::new(seed.0);
        write_until_due(&mut life, &mut world, &mut prng);
        life.executor.finish();
        run.disk.flip_bit(&names::segment(Offset(0)), 40, 3);
        let result = life.executor.block_on(compact(&log, &world)).unwrap();
        assert!(matches!(result, Err(CompactError::Damaged { .. })), "{result:?}");
        let (from, upto) = (Offset(0), log.log_end());
        let path = ReadPath::Memory;
        let request = ReadRequest { from, upto, max_bytes: 100, min_one: true, path };
        let read = life.executor.block_on(log.read(request)).unwrap();
        assert!(matches!(read, Err(LogError::Damaged { .. })), "{read:?}");
    }
}
