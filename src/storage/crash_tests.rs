//! The log against a model, crashed at every write and every sync of seeded workloads.
//!
//! The model knows every batch that is staged, what has been acknowledged, and which change of
//! the ends was under way. After a crash the log must hold a run of the model's own batches that
//! covers all that was acknowledged, and recovering again must give the same.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;

use crate::config::topic::FlushPolicy;
use crate::io::directory::Directory;
use crate::io::slice::Slice;
use crate::model::ids::ProducerId;
use crate::model::offset::{LeaderEpoch, Offset};
use crate::model::time::Timestamp;
use crate::record::batch::{BatchInfo, batches};
use crate::record::control::{EndMarker, Outcome};
use crate::storage::fixtures::{batch_of, marker, scrub_all, transactional};
use crate::storage::log::{AppendRefused, Log, LogError, LogShared};
use crate::storage::options::LogOptions;
use crate::storage::reader::{ReadPath, ReadRequest};
use crate::storage::recovery::{Condition, Opened};
use crate::testing::disk::{Crash, Disk, SimDirectory};
use crate::testing::prng::Prng;
use crate::testing::run::{Crashed, Executor};
use crate::testing::seeds::seeds;

type SimLog = Log<SimDirectory>;

/// What the log should be.
#[derive(Clone, Default)]
struct Model {
    batches: Vec<(BatchInfo, Bytes)>,
    /// Every batch of a transaction, those before the start too, and what markers say.
    history: Vec<(BatchInfo, Option<EndMarker>)>,
    end: i64,
    start: i64,
    /// A start that was asked for and may or may not have come about.
    start_asked: i64,
    /// All before it survives a kill.
    acknowledged: i64,
    /// All before it survives a power cut.
    durable: i64,
    /// A truncation to this is under way.
    cutting: Option<i64>,
    epoch: i32,
    now: i64,
}

impl Model {
    fn cut(&mut self, end: i64) {
        self.batches.retain(|(info, _)| info.end_offset().0 <= end);
        self.history.retain(|(info, _)| info.end_offset().0 <= end);
        self.end = end;
        self.acknowledged = self.acknowledged.min(end);
        self.durable = self.durable.min(end);
        self.cutting = None;
    }

    /// The base of the batch that contains `offset`.
    fn boundary(&self, offset: i64) -> i64 {
        let within =
            |info: &BatchInfo| info.base_offset.0 <= offset && offset <= info.last_offset.0;
        let found = self.batches.iter().find(|(info, _)| within(info));
        found.map_or(offset, |(info, _)| info.base_offset.0)
    }
}

/// What the runs did, so that a test that tests nothing fails.
#[derive(Default)]
struct Tally {
    crashes: u64,
    torn: u64,
    rolled: u64,
    truncated: u64,
    retained: u64,
    survived_unacknowledged: u64,
    lost_unacknowledged: u64,
    closed: u64,
    disk_reads: u64,
    zeroings: u64,
    aborted: u64,
    rebuilt: u64,
}

fn options(prng: &mut Prng, flush: FlushPolicy) -> LogOptions {
    LogOptions {
        segment_bytes: [12_000, 30_000, 70_000][prng.index(3)],
        segment_ms: 1_000_000,
        index_bytes: 10 << 20,
        index_interval_bytes: [0, 1_000, 4_096][prng.index(3)],
        flush,
        retention_ms: None,
        retention_bytes: Some(40_000),
    }
}

/// One life of the log on a disk: opened, with its appender running.
struct Life {
    log: SimLog,
    acknowledged: Rc<Cell<i64>>,
    executor: Executor,
}

fn open(
    disk: &Disk,
    options: LogOptions,
    now: i64,
    seed: u64,
) -> Result<(Life, Opened<SimDirectory>), Crashed> {
    let mut executor = Executor::new(disk, seed);
    let budget = if seed.is_multiple_of(2) { 10_000 } else { 1 << 20 };
    let opened = Log::open(disk.root(), options, LogShared::new(budget), Timestamp(now));
    let opened = executor.block_on(opened)?.expect("the disk has no error of its own");
    let acknowledged = Rc::new(Cell::new(opened.log.durable_end().0));
    let seen = acknowledged.clone();
    opened.log.set_on_durable(move |end| seen.set(end.0));
    let log = opened.log.clone();
    executor.spawn(async move {
        let _ = log.run().await;
    });
    Ok((Life { log: opened.log.clone(), acknowledged, executor }, opened))
}

/// Reads the whole log, batch by batch.
async fn read_all(
    log: &SimLog,
    from: i64,
    max_bytes: usize,
) -> Result<Vec<(BatchInfo, Bytes)>, LogError> {
    let (mut at, end) = (Offset(from), log.log_end());
    let mut all = Vec::new();
    while at < end {
        let path = ReadPath::Sendfile;
        let request = ReadRequest { from: at, upto: end, max_bytes, min_one: true, path };
        let read = log.read(request).await?;
        assert!(read.next_offset > at, "a read with min_one moves on");
        let mut bytes = 0;
        for slice in read.slices {
            let Slice::Memory(slice) = slice else {
                panic!("the simulated disk has no descriptor")
            };
            bytes += slice.len();
            for batch in batches(&slice) {
                let batch = batch.expect("whole batches");
                batch.verify_crc().expect("a good CRC");
                all.push((batch.info().unwrap(), slice.slice_ref(batch.bytes())));
            }
        }
        assert_eq!(bytes, read.bytes);
        at = read.next_offset;
    }
    Ok(all)
}

/// The workload's steps; each keeps the model in step with what it was told.
async fn step(log: &SimLog, model: &RefCell<Model>, prng: &RefCell<Prng>, tally: &RefCell<Tally>) {
    let draw = prng.borrow_mut().below(100);
    match draw {
        0..=44 => append(log, model, prng),
        45..=59 => {
            let end = log.log_end();
            // Under an interval, an acknowledgement survives a kill.
            log.wait_durable(end).await.expect("no fault was injected");
            let mut model = model.borrow_mut();
            model.acknowledged = model.acknowledged.max(end.0.min(model.end));
        }
        60..=66 => {
            let end = log.log_end();
            log.flush().await.expect("no fault was injected");
            let mut model = model.borrow_mut();
            model.durable = model.durable.max(end.0);
        }
        67..=74 => {
            let (from, max_bytes) = {
                let (model, mut prng) = (model.borrow(), prng.borrow_mut());
                let span = u64::try_from(model.end - model.start).unwrap() + 1;
                (model.start + prng.below(span).cast_signed(), prng.index(20_000))
            };
            let read = read_all(log, from, max_bytes).await.expect("no damage");
            let model = model.borrow();
            let wanted = model.batches.iter().filter(|(info, _)| info.last_offset.0 >= from);
            assert!(read.iter().eq(wanted), "what is read is what was appended, from {from}");
        }
        75..=79 => truncate(log, model, prng, tally).await,
        80..=84 => {
            let bound = log.durable_end();
            let asked = model.borrow().now;
            model.borrow_mut().start_asked = bound.0;
            if let Some(start) = log.retain(Timestamp(asked), bound).await.expect("no fault") {
                moved_start(model, start);
                tally.borrow_mut().retained += 1;
            }
            let mut model = model.borrow_mut();
            model.start_asked = model.start;
        }
        85..=88 => {
            let to = {
                let (mut model, mut prng) = (model.borrow_mut(), prng.borrow_mut());
                let span = u64::try_from(log.durable_end().0 - model.start).unwrap() + 1;
                model.start_asked = model.start + prng.below(span).cast_signed() / 2;
                model.start_asked
            };
            let start = log.advance_log_start(Offset(to)).await.expect("no fault");
            moved_start(model, start);
        }
        89..=92 => {
            let offset = log.durable_end();
            let blob = offset.0.to_le_bytes();
            log.write_snapshot(offset, &blob).await.expect("no fault");
        }
        93..=97 => {
            let now = {
                let mut model = model.borrow_mut();
                model.now += 4_000;
                Timestamp(model.now)
            };
            log.tick(now);
        }
        _ => {
            lookup(log, model, prng).await;
            let (model, seed) = (model.borrow().clone(), prng.borrow_mut().next_u64());
            let seen = check_aborted(log, &model, seed).await.expect("no damage");
            tally.borrow_mut().aborted += seen;
        }
    }
}

fn append(log: &SimLog, model: &RefCell<Model>, prng: &RefCell<Prng>) {
    let (mut model, mut prng) = (model.borrow_mut(), prng.borrow_mut());
    if prng.chance(10) {
        model.epoch += 1;
        log.begin_epoch(LeaderEpoch(model.epoch));
    }
    for _ in 0..=prng.below(4) {
        let count = 1 + i32::try_from(prng.below(5)).unwrap();
        let size = [10, 200, 1_500, 4_035, 9_000, 25_000][prng.index(6)];
        let length = 1 + prng.index(size);
        let payload = prng.bytes(length);
        let time = model.now - prng.below(50).cast_signed();
        let (end, epoch) = (model.end, model.epoch);
        let producer = prng.below(3).cast_signed();
        let (bytes, info) = match prng.below(10) {
            0..=2 => transactional(end, count, epoch, producer, time),
            3 => marker(end, epoch, producer, Outcome::Abort, time),
            4 => marker(end, epoch, producer, Outcome::Commit, time),
            _ => batch_of(end, count, epoch, &payload, time),
        };
        if info.attributes.is_transactional() {
            model.history.push((info, EndMarker::of_batch(&bytes)));
        }
        match log.append(bytes.clone(), &info, Timestamp(model.now)) {
            Ok(_) => {}
            Err(AppendRefused::QueueFull | AppendRefused::DiskFull | AppendRefused::Offline) => {
                panic!("there is room")
            }
        }
        model.end = info.end_offset().0;
        model.batches.push((info, bytes));
        model.now += 1;
    }
}

/// A transaction that was aborted: whose, its data, its marker.
struct Aborted {
    producer: ProducerId,
    data: Vec<BatchInfo>,
    last: Offset,
}

/// The aborted transactions, from their batches alone.
fn aborted(history: &[(BatchInfo, Option<EndMarker>)], end: i64) -> Vec<Aborted> {
    let mut open: BTreeMap<ProducerId, Vec<BatchInfo>> = BTreeMap::new();
    let mut all = Vec::new();
    for (info, marker) in history.iter().filter(|(info, _)| info.end_offset().0 <= end) {
        let (producer, last) = (info.producer_id, info.last_offset);
        match marker {
            None => open.entry(producer).or_default().push(*info),
            Some(marker) => {
                let data = open.remove(&producer);
                let data = data.filter(|_| marker.outcome == Outcome::Abort);
                all.extend(data.map(|data| Aborted { producer, data, last }));
            }
        }
    }
    all
}

/// X1: of any range, every aborted record's transaction is told, and no other.
async fn check_aborted(log: &SimLog, model: &Model, seed: u64) -> Result<u64, LogError> {
    let (start, end) = (log.log_start().0, log.log_end().0);
    let aborted = aborted(&model.history, end);
    let mut prng = Prng::new(seed);
    let mut seen = 0;
    for _ in 0..8 {
        let span = u64::try_from(end - start).unwrap() + 1;
        let (one, other) = (prng.below(span).cast_signed(), prng.below(span).cast_signed());
        let (from, upto) = (start + one.min(other), start + one.max(other));
        let told = log.aborted(Offset(from), Offset(upto)).await?;
        assert!(from < upto || told.is_empty(), "nothing is in an empty range");
        seen += told.len() as u64;
        for told in &told {
            let real = aborted.iter().find(|real| real.last == told.last_offset);
            let real = real.expect("what is told was aborted");
            assert_eq!(real.producer, told.producer_id);
            assert!(real.data[0].base_offset <= told.first_offset);
            assert!(told.last_offset.0 >= from && told.first_offset.0 < upto);
        }
        for real in &aborted {
            let within =
                |info: &&BatchInfo| from.max(info.base_offset.0) < upto.min(info.end_offset().0);
            let Some(first) = real.data.iter().find(within) else { continue };
            let told = told.iter().find(|told| told.last_offset == real.last);
            let missing = || panic!("X1: {first:?} in {from}..{upto}: {:?}", model.history);
            let told = told.unwrap_or_else(missing);
            assert!(told.first_offset <= first.base_offset, "X1: {told:?} {first:?}");
        }
    }
    Ok(seen)
}

/// All indexes of segments go, durably.
fn lose_indexes(disk: &Disk) {
    let root = disk.root();
    let lose = async move {
        for name in root.list().await? {
            if name.ends_with(".index") {
                root.remove(&name).await?;
            }
        }
        root.sync().await
    };
    Executor::new(disk, 1).block_on(lose).expect("no crash point").expect("no fault");
}

async fn truncate(
    log: &SimLog,
    model: &RefCell<Model>,
    prng: &RefCell<Prng>,
    tally: &RefCell<Tally>,
) {
    let to = {
        let (mut model, mut prng) = (model.borrow_mut(), prng.borrow_mut());
        let span = u64::try_from(model.end - model.start).unwrap() + 1;
        // Mostly a little, sometimes nearly all.
        let back = prng.below(span).cast_signed();
        let to = model.end - if prng.chance(70) { back / 4 } else { back };
        let boundary = model.boundary(to).max(model.start);
        if model.boundary(to) < model.start {
            return; // within a batch that the start cuts through
        }
        model.cutting = Some(boundary);
        to
    };
    let end = log.truncate_to(Offset(to)).await.expect("no fault").0;
    let mut model = model.borrow_mut();
    assert_eq!(Some(end), model.cutting);
    model.cut(end);
    tally.borrow_mut().truncated += 1;
}

fn moved_start(model: &RefCell<Model>, start: Offset) {
    let mut model = model.borrow_mut();
    model.start = start.0;
    model.start_asked = start.0;
    // Batches wholly before the start are gone; one that it cuts through is still read.
    model.batches.retain(|(info, _)| info.last_offset >= start);
}

/// A look-up by time, and a scrub of what is closed.
async fn lookup(log: &SimLog, model: &RefCell<Model>, prng: &RefCell<Prng>) {
    let now = Timestamp(model.borrow().now);
    assert_eq!(scrub_all(log, now).await, [], "no damage");
    let wanted = {
        let model = model.borrow();
        Timestamp(model.now - prng.borrow_mut().below(200).cast_signed())
    };
    let (start, end) = (log.log_start(), log.log_end());
    let found = log.batch_for_timestamp(wanted, start, end).await.expect("no damage");
    let model = model.borrow();
    let want = model.batches.iter().find(|(info, _)| info.max_timestamp >= wanted);
    assert_eq!(found.map(|found| (found.info, found.bytes)), want.cloned(), "{wanted:?}");
}

/// Holds the recovered log against the model.
fn check(
    life: &mut Life,
    opened: &Opened<SimDirectory>,
    model: &Model,
    how: Crash,
) -> Result<(), Crashed> {
    let (start, end) = (life.log.log_start().0, life.log.log_end().0);
    let must = match how {
        Crash::Kill => model.acknowledged.max(model.durable),
        Crash::PowerCut => model.durable,
    };
    let least = model.cutting.map_or(must, |cut| cut.min(must));
    assert!(end >= least, "acknowledged records are missing: {end} of {least}");
    assert!(end <= model.end, "records were invented: {end} past {}", model.end);
    assert!(start >= model.start, "the start went back: {start} before {}", model.start);
    assert!(start <= model.start_asked.max(model.start), "the start ran ahead: {start}");
    assert_eq!(opened.report.damage, [], "nothing was damaged");
    let log = life.log.clone();
    let found = life.executor.block_on(async move {
        assert_eq!(scrub_all(&log, Timestamp(1 << 40)).await, [], "no checksum is of other bytes");
        read_all(&log, start, 10_000).await
    })?;
    let found = found.expect("all can be read");
    let want = |info: &BatchInfo| info.last_offset.0 >= start && info.end_offset().0 <= end;
    let wanted: Vec<_> = model.batches.iter().filter(|(info, _)| want(info)).collect();
    assert_eq!(found.len(), wanted.len(), "as many batches as were appended");
    assert!(found.iter().zip(wanted).all(|(found, wanted)| found == wanted), "unchanged");
    let (log, of) = (life.log.clone(), model.clone());
    let checked = async move { check_aborted(&log, &of, 5).await };
    life.executor.block_on(checked)?.expect("all can be told");
    if let Some((offset, blob)) = &opened.snapshot {
        assert_eq!(blob[..], offset.0.to_le_bytes(), "a snapshot is what was written");
    }
    let from = opened.snapshot.as_ref().map_or(start, |(offset, _)| offset.0.max(start));
    let replay: Vec<_> = found.iter().map(|(info, _)| *info).collect();
    let replay: Vec<_> = replay.into_iter().filter(|info| info.end_offset().0 > from).collect();
    let replayed: Vec<_> = opened.replay.iter().map(|batch| batch.info).collect();
    assert_eq!(replayed, replay, "what is replayed is what follows the snapshot");
    let epochs: Vec<_> = opened.epochs.iter().map(|(epoch, _)| epoch.0).collect();
    let held = |info: &BatchInfo| epochs.contains(&info.leader_epoch.0);
    let unknown = found.iter().find(|(info, _)| !held(info)).map(|(info, _)| *info);
    assert_eq!(unknown, None, "all epochs are known: {:?}, {:?}", opened.epochs, opened.report);
    Ok(())
}

/// What one run of the workload left.
struct Run {
    disk: Disk,
    model: Model,
    options: LogOptions,
}

/// Runs the workload of `seed` until its end or the crash.
fn run(seed: u64, crash_at: Option<u64>, tally: &RefCell<Tally>) -> Run {
    let mut prng = Prng::new(seed);
    let flush = if prng.chance(70) {
        FlushPolicy::PerAck
    } else {
        FlushPolicy::Interval { flush_ms: 5_000, flush_messages: 20 }
    };
    let disk = Disk::new(prng.next_u64());
    if let Some(at) = crash_at {
        disk.crash_at(at);
    }
    let options = options(&mut prng, flush);
    let model = Rc::new(RefCell::new(Model { now: 1_000, ..Model::default() }));
    let prng = RefCell::new(prng);
    let _ = run_lives(&disk, options, &model, &prng, seed, tally);
    tally.borrow_mut().disk_reads += disk.reads();
    tally.borrow_mut().zeroings += disk.zeroings();
    let model = model.borrow().clone();
    Run { disk, model, options }
}

fn run_lives(
    disk: &Disk,
    options: LogOptions,
    model: &Rc<RefCell<Model>>,
    prng: &RefCell<Prng>,
    seed: u64,
    tally: &RefCell<Tally>,
) -> Result<(), Crashed> {
    for life_number in 0..2 {
        let (mut life, opened) = open(disk, options, model.borrow().now, seed + life_number)?;
        if life_number > 0 {
            assert_eq!(opened.report.condition, Condition::Clean);
            check(&mut life, &opened, &model.borrow().clone(), Crash::PowerCut)?;
        }
        let (log, acknowledged) = (life.log.clone(), life.acknowledged.clone());
        for _ in 0..12 {
            let work = step(&log, model, prng, tally);
            let done = life.executor.block_on(work);
            note_acknowledged(&options, model, acknowledged.get());
            done?;
            // A truncation has taken back what the callback last told of.
            acknowledged.set(log.durable_end().0);
        }
        let end = log.log_end();
        let closing = life.executor.block_on(log.close());
        note_acknowledged(&options, model, acknowledged.get());
        closing?.expect("no fault was injected");
        assert_eq!(log.durable_end(), end);
        let mut model = model.borrow_mut();
        (model.acknowledged, model.durable) = (end.0, end.0);
        tally.borrow_mut().closed += 1;
    }
    Ok(())
}

fn note_acknowledged(options: &LogOptions, model: &RefCell<Model>, end: i64) {
    let mut model = model.borrow_mut();
    // The callback may have told of an end that a truncation has since taken back.
    let end = end.min(model.end).min(model.cutting.unwrap_or(i64::MAX));
    model.acknowledged = model.acknowledged.max(end);
    if options.flush == FlushPolicy::PerAck {
        model.durable = model.acknowledged;
    }
}

/// Crashes a run, recovers, recovers again with crashes in between, and goes on.
fn crash_and_recover(seed: u64, crash_at: u64, how: Crash, tally: &RefCell<Tally>) {
    let Run { disk, model, options } = run(seed, Some(crash_at), tally);
    let salt = seed.wrapping_mul(1_000_003).wrapping_add(crash_at);
    let crashed = disk.crash(how, salt);
    let again = crashed.fork(salt + 1);
    let (mut life, opened) = open(&crashed, options, model.now, salt).expect("no crash point");
    check(&mut life, &opened, &model, how).expect("no crash point");
    let end = life.log.log_end().0;
    {
        let mut tally = tally.borrow_mut();
        tally.crashes += 1;
        tally.torn += u64::from(opened.report.condition == Condition::Torn);
        tally.rolled += u64::from(opened.report.segments > 1);
        tally.survived_unacknowledged += u64::from(end > model.acknowledged);
        tally.lost_unacknowledged += u64::from(end < model.end);
    }
    // Recovery itself crashes, at a point drawn by the seed, and runs again.
    let mut prng = Prng::new(salt);
    again.crash_at(1 + prng.below(8));
    let _ = open(&again, options, model.now, salt);
    let again = again.crash(Crash::PowerCut, salt + 2);
    let (mut second, reopened) = open(&again, options, model.now, salt).expect("no crash point");
    check(&mut second, &reopened, &model, Crash::PowerCut).expect("no crash point");
    if how == Crash::PowerCut {
        assert_eq!(second.log.log_end().0, end, "recovering twice gives the same");
    }
    // Life goes on, and the next power cut takes nothing of what the first recovery showed.
    let mut model = model;
    model.cut(end);
    model.start = life.log.log_start().0;
    model.start_asked = model.start;
    model.batches.retain(|(info, _)| info.last_offset.0 >= model.start);
    (model.acknowledged, model.durable) = (end, end);
    let (model, prng) = (RefCell::new(model), RefCell::new(prng));
    append(&life.log, &model, &prng);
    let log = life.log.clone();
    let appended = log.log_end();
    life.executor.block_on(log.flush()).expect("no crash point").expect("no fault");
    model.borrow_mut().durable = appended.0;
    let crashed = crashed.crash(Crash::PowerCut, salt + 3);
    let model = model.borrow();
    if prng.borrow_mut().chance(50) {
        lose_indexes(&crashed);
        tally.borrow_mut().rebuilt += 1;
    }
    let (mut third, opened) = open(&crashed, options, model.now, salt).expect("no crash point");
    check(&mut third, &opened, &model, Crash::PowerCut).expect("no crash point");
}

/// Says, on a panic, which crash it was.
struct Context {
    crash_at: u64,
    how: Crash,
}

impl Drop for Context {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("at change {} by {:?}", self.crash_at, self.how);
        }
    }
}

/// Nothing acknowledged is missing or changed, nothing is invented, whatever call the crash meets.
#[test]
fn a_crash_at_any_write_or_sync_loses_nothing_acknowledged() {
    let tally = RefCell::new(Tally::default());
    for seed in seeds(16) {
        let changes = run(seed.0, None, &tally).disk.changes();
        assert!(changes > 5, "the workload does something");
        for crash_at in 1..=changes {
            let how =
                if (seed.0 + crash_at).is_multiple_of(2) { Crash::Kill } else { Crash::PowerCut };
            let _context = Context { crash_at, how };
            crash_and_recover(seed.0, crash_at, how, &tally);
        }
    }
    let tally = tally.borrow();
    let counts = [
        tally.crashes,
        tally.torn,
        tally.rolled,
        tally.truncated,
        tally.retained,
        tally.survived_unacknowledged,
        tally.lost_unacknowledged,
        tally.closed,
        tally.disk_reads,
        tally.zeroings,
        tally.aborted,
        tally.rebuilt,
    ];
    let several = std::env::var("YEOUL_SEED").is_err();
    assert!(!several || counts.iter().all(|count| *count > 0), "vacuous: {counts:?}");
}
