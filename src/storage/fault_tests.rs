//! The log under faults of the disk that are not crashes, and its ways of reading.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;

use crate::config::topic::FlushPolicy;
use crate::io::directory::Directory;
use crate::io::file::{File, IoError};
use crate::io::slice::Slice;
use crate::model::ids::ProducerId;
use crate::model::offset::Offset;
use crate::model::time::Timestamp;
use crate::record::batch::BatchInfo;
use crate::record::control::Outcome;
use crate::storage::disk_gate::{DiskGate, Refused, Writer};
use crate::storage::fixtures::{batch, marker, transactional};
use crate::storage::log::{AppendRefused, Log, LogError, LogShared};
use crate::storage::names;
use crate::storage::options::{FailStop, LogOptions};
use crate::storage::reader::{ReadPath, ReadRequest};
use crate::storage::recovery::{Condition, Opened};
use crate::testing::disk::{Crash, Disk, SimDirectory};
use crate::testing::run::Executor;
use crate::testing::seeds::seeds;

const OPTIONS: LogOptions = LogOptions {
    segment_bytes: 40_000,
    segment_ms: 1_000_000,
    index_bytes: 10 << 20,
    index_interval_bytes: 1_000,
    flush: FlushPolicy::PerAck,
    retention_ms: None,
    retention_bytes: None,
};

struct Life {
    log: Log<SimDirectory>,
    fail_stop: Rc<FailStop>,
    gate: Rc<DiskGate>,
    executor: Executor,
    next: Cell<i64>,
}

fn open(disk: &Disk, options: LogOptions, budget: usize) -> (Life, Opened<SimDirectory>) {
    open_seeded(disk, options, budget, 7)
}

fn open_seeded(
    disk: &Disk,
    options: LogOptions,
    budget: usize,
    seed: u64,
) -> (Life, Opened<SimDirectory>) {
    let mut executor = Executor::new(disk, seed);
    let shared = LogShared::new(budget);
    let (fail_stop, gate) = (shared.fail_stop.clone(), shared.gate.clone());
    let opened = executor.block_on(Log::open(disk.root(), options, shared, Timestamp(0)));
    let opened = opened.unwrap().unwrap();
    let log = opened.log.clone();
    executor.spawn(async move {
        let _ = log.run().await;
    });
    let next = Cell::new(opened.log.log_end().0);
    (Life { log: opened.log.clone(), fail_stop, gate, executor, next }, opened)
}

impl Life {
    /// Appends a batch of two records and `payload` bytes, all with the time `time`.
    fn append(&self, payload: usize, time: i64) -> Result<Bytes, AppendRefused> {
        let (bytes, info) = batch(self.next.get(), 2, 0, payload, time);
        self.log.append(bytes.clone(), &info, Timestamp(time))?;
        self.next.set(info.end_offset().0);
        Ok(bytes)
    }

    fn run<T>(&mut self, future: impl Future<Output = T>) -> T {
        self.executor.block_on(future).unwrap()
    }

    /// Lets the appender and the disk come to rest.
    fn settle(&mut self, disk: &Disk) {
        for _ in 0..20 {
            self.run(futures_lite::future::yield_now());
            while disk.finish_one() {
                self.run(futures_lite::future::yield_now());
            }
        }
    }

    fn flush(&mut self) -> Result<(), LogError> {
        let log = self.log.clone();
        self.run(async move { log.flush().await })
    }

    fn read(&mut self, from: i64, max_bytes: usize) -> Result<(Vec<u8>, i64), LogError> {
        let log = self.log.clone();
        let request = ReadRequest {
            from: Offset(from),
            upto: log.log_end(),
            max_bytes,
            min_one: true,
            path: ReadPath::Memory,
        };
        let read = self.run(async move { log.read(request).await })?;
        let mut bytes = Vec::new();
        for slice in read.slices {
            let Slice::Memory(slice) = slice else { panic!("no descriptor here") };
            bytes.extend_from_slice(&slice);
        }
        assert_eq!(bytes.len(), read.bytes);
        Ok((bytes, read.next_offset.0))
    }
}

/// Whatever call fails, what was acknowledged is there after a power cut, and nothing is
/// acknowledged after the failure.
#[test]
fn a_failed_write_or_sync_stops_the_directory() {
    let mut stopped = 0;
    for seed in seeds(60) {
        let disk = Disk::new(seed.0);
        let (mut life, _) = open(&disk, OPTIONS, 1 << 20);
        disk.fail_at(disk.changes() + 1 + seed.0 % 30, IoError::Os { errno: 5 });
        let mut appended = Vec::new();
        for step in 0..14 {
            match life.append(6_000, step) {
                Ok(bytes) => appended.push(bytes),
                Err(refused) => assert_eq!(refused, AppendRefused::Offline),
            }
            let _ = life.flush();
        }
        let durable = life.log.durable_end().0;
        if life.fail_stop.failed().is_some() {
            stopped += 1;
            assert_eq!(life.append(10, 0), Err(AppendRefused::Offline));
            assert_eq!(life.flush(), Err(LogError::Offline));
            assert_eq!(life.log.durable_end().0, durable, "A6: it is frozen");
        }
        let crashed = disk.crash(Crash::PowerCut, seed.0);
        let (mut life, _) = open(&crashed, OPTIONS, 1 << 20);
        let mut at = 0;
        for want in appended.iter().take(usize::try_from(durable / 2).unwrap()) {
            let (bytes, next) = life.read(at, 1).unwrap();
            assert_eq!(bytes, want[..]);
            at = next;
        }
        assert_eq!(at, durable);
    }
    assert!(stopped > 30 || std::env::var("YEOUL_SEED").is_ok(), "vacuous: {stopped}");
}

#[test]
fn zeros_are_written_ahead_of_small_writes_only_and_end_before_the_segment() {
    for seed in seeds(40) {
        let disk = Disk::new(seed.0);
        let (mut life, _) = open_seeded(&disk, OPTIONS, 1 << 20, seed.0);
        for step in 0..3 {
            life.append(100, step).unwrap();
            life.flush().unwrap();
        }
        life.settle(&disk);
        assert_eq!(disk.zeroings(), 0, "three small writes are no habit");
        life.append(100, 3).unwrap();
        life.flush().unwrap();
        assert_eq!(disk.zeroings(), 1);
        // They may be under way yet, and the segment is left: it is cut to its data after them.
        life.append(39_900, 4).unwrap();
        life.append(39_900, 5).unwrap();
        life.flush().unwrap();
        life.settle(&disk);
        let root = disk.root();
        let size = life.run(async move {
            let file = root.open(&names::segment(Offset(0))).await.unwrap();
            file.size().await.unwrap()
        });
        assert_eq!(size, 4 * 161, "sealed");
        assert_eq!(life.fail_stop.failed(), None);
    }
    // Large writes alone: none.
    let disk = Disk::new(9);
    let (mut life, _) = open(&disk, LogOptions { segment_bytes: 8 << 20, ..OPTIONS }, 1 << 20);
    for step in 0..12 {
        life.append(200_000, step).unwrap();
        life.flush().unwrap();
    }
    life.settle(&disk);
    assert_eq!(disk.zeroings(), 0);
}

#[test]
fn segments_that_a_truncation_removed_never_come_back() {
    for seed in seeds(20) {
        let disk = Disk::new(seed.0);
        let (mut life, _) = open(&disk, OPTIONS, 1 << 20);
        // Four batches a segment: the second one begins at 8.
        for step in 0..6 {
            life.append(9_000, step).unwrap();
        }
        life.flush().unwrap();
        let log = life.log.clone();
        life.run(async move { log.truncate_to(Offset(6)).await }).unwrap();
        life.next.set(6);
        // The log ends again just where the removed segment began.
        life.append(100, 7).unwrap();
        life.flush().unwrap();
        let crashed = disk.crash(Crash::PowerCut, seed.0);
        let (life, opened) = open(&crashed, OPTIONS, 1 << 20);
        assert_eq!(life.log.log_end(), Offset(8));
        assert_eq!(opened.report.segments, 1);
    }
}

#[test]
fn a_full_disk_refuses_appends_and_serves_reads_until_there_is_space() {
    let disk = Disk::new(1);
    let (mut life, _) = open(&disk, OPTIONS, 1 << 20);
    disk.set_space(Some(60_000));
    let first = life.append(6_000, 0).unwrap();
    let mut refused = None;
    for step in 0..40 {
        match life.append(6_000, step) {
            Ok(_) => life.run(async {}),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
        // What has space becomes durable; what has none waits.
        let (log, some) = (life.log.clone(), Offset(2));
        life.run(async move { log.wait_durable(some).await }).unwrap();
        life.settle(&disk);
    }
    assert_eq!(refused, Some(AppendRefused::DiskFull));
    assert_eq!(life.fail_stop.failed(), None, "a full disk is no broken one");
    assert_eq!(life.read(0, 1).unwrap().0, first[..]);
    disk.set_space(None);
    life.log.tick(Timestamp(10_000));
    life.settle(&disk);
    life.append(6_000, 10_000).unwrap();
    life.flush().unwrap();
    assert_eq!(life.log.durable_end(), life.log.log_end());
}

/// Near the end of the disk clients are refused, while all else works that makes room for them.
#[test]
fn the_gate_refuses_clients_before_the_disk_is_full_and_retention_opens_it() {
    let disk = Disk::new(1);
    let (mut life, _) = open(&disk, OPTIONS, 1 << 20);
    let look = |life: &mut Life| {
        let (gate, root) = (life.gate.clone(), disk.root());
        life.run(async move { gate.look(root.space().await.unwrap(), 95) })
    };
    assert_eq!(look(&mut life), None, "a disk without a bound");
    for step in 0..8 {
        life.append(10_000, step).unwrap();
    }
    life.flush().unwrap();
    life.settle(&disk);
    // What is used now is 95 to 98 percent of the disk.
    let used = disk.root();
    let used = life.run(async move { used.space().await.unwrap().used_bytes });
    disk.set_space(Some(usize::try_from(used * 100 / 96).unwrap()));
    assert_eq!(look(&mut life), Some(Refused::Clients));
    assert_eq!(life.log.check_room(100, Writer::Client), Err(AppendRefused::DiskFull));
    assert_eq!(life.log.check_room(100, Writer::Broker), Ok(()));
    life.append(100, 8).unwrap();
    life.flush().unwrap();
    assert!(life.read(0, 1).is_ok(), "reads go on");
    let (log, end) = (life.log.clone(), life.log.log_end());
    log.set_options(LogOptions { retention_bytes: Some(50_000), ..OPTIONS });
    let start = life.run(async move { log.retain(Timestamp(9), end).await }).unwrap();
    assert!(start.is_some(), "retention makes room");
    assert_eq!(look(&mut life), Some(Refused::Nobody));
    assert_eq!(life.log.check_room(100, Writer::Client), Ok(()));
}

#[test]
fn retention_lets_old_segments_go_by_time_and_by_size() {
    let disk = Disk::new(2);
    let (mut life, _) = open(&disk, OPTIONS, 1 << 20);
    for step in 0..20 {
        life.append(10_000, step * 100).unwrap();
        life.flush().unwrap();
    }
    let log = life.log.clone();
    let retain = |life: &mut Life, now| {
        let (log, end) = (life.log.clone(), life.log.durable_end());
        life.run(async move { log.retain(Timestamp(now), end).await }).unwrap()
    };
    assert_eq!(retain(&mut life, 2_000), None);
    // Three batches a segment: those of 0, 100 and 200 ms are the first.
    log.set_options(LogOptions { retention_ms: Some(1_000), ..OPTIONS });
    assert_eq!(retain(&mut life, 1_201), Some(Offset(6)));
    assert_eq!(
        life.read(5, 1).unwrap_err(),
        LogError::OutOfRange { log_start: Offset(6), log_end: Offset(40) }
    );
    log.set_options(LogOptions { retention_bytes: Some(100_000), ..OPTIONS });
    let start = retain(&mut life, 2_000).unwrap();
    assert_eq!(start, Offset(18), "whole segments, never less than the limit");
    // All has expired: the last segment is closed, and goes when it is sealed.
    log.set_options(LogOptions { retention_ms: Some(1), ..OPTIONS });
    assert_eq!(retain(&mut life, 9_000), Some(Offset(36)));
    life.append(10, 9_000).unwrap();
    life.flush().unwrap();
    life.log.tick(Timestamp(9_000));
    while disk.finish_one() {
        life.run(std::future::ready(()));
    }
    let disk = disk.crash(Crash::PowerCut, 9);
    let (life, opened) = open(&disk, OPTIONS, 1 << 20);
    assert_eq!(opened.report.log_start, Offset(36));
    assert_eq!(life.log.log_end(), Offset(42));
}

/// A log closed in order, with several segments; its batches.
fn closed(disk: &Disk) -> Vec<Bytes> {
    let (mut life, _) = open(disk, OPTIONS, 1 << 20);
    let mut appended = Vec::new();
    for step in 0..12 {
        appended.push(life.append(9_000, step * 100).unwrap());
        life.flush().unwrap();
    }
    let log = life.log.clone();
    life.run(async move { log.close().await }).unwrap();
    appended
}

#[test]
fn a_closed_log_opens_without_a_scan_and_reads_from_disk_as_it_was() {
    let disk = Disk::new(3);
    let appended = closed(&disk).concat();
    for (budget, max_bytes) in [(1 << 20, 1), (1 << 20, 30_000), (0, 70_000), (1 << 22, 1 << 20)] {
        let (mut life, opened) = open(&disk, OPTIONS, budget);
        assert_eq!(opened.report.condition, Condition::Clean);
        assert_eq!(opened.report.bytes_scanned, 0);
        assert_eq!(opened.report.log_end, Offset(24));
        let (mut at, mut all) = (0, Vec::new());
        while at < 24 {
            let (bytes, next) = life.read(at, max_bytes).unwrap();
            assert!(bytes.len() <= max_bytes.max(9_061));
            all.extend(bytes);
            at = next;
        }
        assert_eq!(all, appended);
    }
}

#[test]
fn the_batch_after_an_offset_is_found_by_headers_alone() {
    let after = |life: &mut Life, from: i64, upto: i64| {
        let log = life.log.clone();
        let found = life.run(async move { log.batch_after(Offset(from), Offset(upto)).await });
        found.unwrap().map(|info| info.base_offset.0)
    };
    let disk = Disk::new(6);
    closed(&disk);
    for budget in [0, 1 << 20] {
        let (mut life, _) = open(&disk, OPTIONS, budget);
        for from in 0..24 {
            assert_eq!(after(&mut life, from, 24), Some(from / 2 * 2));
        }
        assert_eq!(after(&mut life, 24, 24), None);
        assert_eq!(after(&mut life, 4, 5), None, "it ends at 6");
        // What was appended since is in memory.
        let base = life.log.log_end().0;
        life.append(100, 2_000).unwrap();
        life.flush().unwrap();
        assert_eq!(after(&mut life, base + 1, base + 2), Some(base));
        let log = life.log.clone();
        life.run(async move { log.close().await }).unwrap();
    }
}

#[test]
fn a_lost_or_damaged_index_is_made_again() {
    for flip in [false, true] {
        let disk = Disk::new(4);
        let appended = closed(&disk);
        let (mut life, _) = open(&disk, OPTIONS, 1 << 20);
        let name = names::index(Offset(0));
        if flip {
            disk.flip_bit(&name, 20, 3);
        } else {
            let root = disk.root();
            life.run(async move { root.remove(&name).await }).unwrap();
        }
        assert_eq!(life.read(4, 1).unwrap().0, appended[2][..]);
        let log = life.log.clone();
        let found = life.run(async move {
            log.batch_for_timestamp(Timestamp(150), Offset(0), Offset(24)).await
        });
        assert_eq!(found.unwrap().unwrap().bytes, appended[2]);
        let log = life.log.clone();
        let latest = life.run(async move { log.batch_with_max_timestamp().await });
        assert_eq!(latest.unwrap().unwrap().bytes, appended[11]);
    }
}

/// What a restart finds is what was told before, with the indexes, without any, and with damage.
#[test]
fn aborted_transactions_survive_a_restart_and_the_loss_of_indexes() {
    let options = LogOptions { segment_bytes: 2_000, ..OPTIONS };
    let append = |life: &Life, (bytes, info): (Bytes, BatchInfo)| {
        life.log.append(bytes, &info, Timestamp(1)).unwrap();
        life.next.set(info.end_offset().0);
    };
    let told = |life: &mut Life| {
        let log = life.log.clone();
        let (start, end) = (log.log_start(), log.log_end());
        life.run(async move { log.aborted(start, end).await }).unwrap()
    };
    let disk = Disk::new(8);
    let (mut life, _) = open(&disk, options, 1 << 20);
    // Producer 1 begins in the first segment and is aborted in the last but one.
    append(&life, transactional(0, 2, 0, 1, 1));
    for round in 0..6 {
        let producer = 2 + round % 2;
        append(&life, transactional(life.next.get(), 3, 0, producer, 1));
        life.append(1_500, 1).unwrap();
        append(&life, marker(life.next.get(), 0, producer, Outcome::Abort, 1));
    }
    append(&life, marker(life.next.get(), 0, 1, Outcome::Abort, 1));
    append(&life, transactional(life.next.get(), 3, 0, 4, 1));
    life.append(1_500, 1).unwrap();
    life.flush().unwrap();
    let before = told(&mut life);
    assert_eq!(before.len(), 7);
    let (first, last) = (before[6].first_offset, before[6].last_offset);
    assert_eq!((before[6].producer_id, first), (ProducerId(1), Offset(0)));
    let log = life.log.clone();
    let of_first = life.run(async move { log.aborted(Offset(0), Offset(2)).await }).unwrap();
    assert_eq!(of_first.iter().map(|a| a.last_offset).collect::<Vec<_>>(), [last], "T3");
    life.settle(&disk);
    let log = life.log.clone();
    life.run(async move { log.close().await }).unwrap();
    let root = disk.root();
    let names = life.run(async move { root.list().await }).unwrap();
    let indexes: Vec<&String> = names.iter().filter(|name| name.ends_with(".index")).collect();
    assert!(indexes.len() > 5, "{names:?}");
    for lost in 0..=indexes.len() + 1 {
        let disk = disk.fork(lost as u64);
        for (at, name) in indexes.iter().enumerate() {
            if lost == indexes.len() || lost == at {
                disk.flip_bit(name, 60, 1);
            }
        }
        let (mut life, opened) = open(&disk, options, 1 << 20);
        assert_eq!(told(&mut life), before, "index {lost} of {} lost", indexes.len());
        // What was open goes on: its end is known for what it is.
        drop(opened);
        append(&life, marker(life.next.get(), 0, 4, Outcome::Abort, 1));
        let after = told(&mut life);
        assert_eq!((after.len(), after[7].producer_id), (8, ProducerId(4)));
        assert_eq!(after[7].first_offset, last.plus(1));
    }
}

#[test]
fn damage_is_never_served_and_what_is_around_it_is() {
    let disk = Disk::new(5);
    let appended = closed(&disk);
    let size = appended[0].len();
    // In the second batch of the first segment: a record, then (in other disks) the header; its
    // last byte is of the leader epoch, which the batch's own checksum does not cover (W10).
    for at in [size + 5_000, size + 7, size + 10, size + 15] {
        let disk = disk.fork(1);
        disk.flip_bit(&names::segment(Offset(0)), at, 2);
        let (mut life, _) = open(&disk, OPTIONS, 1 << 20);
        assert_eq!(life.read(0, 1 << 20).unwrap().0, appended[0][..], "up to the damage");
        let damaged = LogError::Damaged { from: Offset(2), to: Offset(4) };
        assert_eq!(life.read(2, 1 << 20).unwrap_err(), damaged);
        assert_eq!(life.log.quarantined().len(), 1);
        assert_eq!(life.read(4, 1).unwrap().0, appended[2][..], "behind the damage");
    }
}

#[test]
fn options_change_while_it_runs() {
    let disk = Disk::new(6);
    let interval = FlushPolicy::Interval { flush_ms: 1_000, flush_messages: 1_000 };
    let (mut life, _) = open(&disk, LogOptions { flush: interval, ..OPTIONS }, 1 << 20);
    life.append(100, 0).unwrap();
    let (log, end) = (life.log.clone(), life.log.log_end());
    life.run(async move { log.wait_durable(end).await }).unwrap();
    // Acknowledged under the interval, and not durable: the new policy makes it so first.
    life.log.set_options(OPTIONS);
    life.append(100, 1).unwrap();
    let (log, end) = (life.log.clone(), life.log.log_end());
    life.run(async move { log.wait_durable(end).await }).unwrap();
    let disk = disk.crash(Crash::PowerCut, 1);
    let (life, _) = open(&disk, OPTIONS, 1 << 20);
    assert_eq!(life.log.log_end(), end);
}

#[test]
fn deleting_leaves_nothing_behind() {
    let disk = Disk::new(8);
    let _ = closed(&disk);
    let (mut life, _) = open(&disk, OPTIONS, 1 << 20);
    life.append(100, 0).unwrap();
    let log = life.log.clone();
    life.run(async move { log.delete().await }).unwrap();
    assert_eq!(life.append(100, 0), Err(AppendRefused::Offline));
    let root = disk.root();
    assert_eq!(life.run(async move { root.list().await }), Ok(Vec::new()));
}

/// A reader that goes on gets every byte, batches across two chunks too, and the disk is read
/// ahead of it: once for each chunk, though its reads end inside of them.
#[test]
fn a_sequential_reader_is_read_ahead_of() {
    let disk = Disk::new(5);
    let options = LogOptions { segment_bytes: 40 << 20, ..OPTIONS };
    let (mut life, _) = open(&disk, options, 16 << 20);
    let mut all = Vec::new();
    for at in 0..800_i64 {
        let payload = 20_000 + usize::try_from(at * 7919 % 60_000).unwrap();
        all.extend_from_slice(&life.append(payload, at).unwrap());
        if at % 8 == 0 {
            life.flush().unwrap();
        }
    }
    life.flush().unwrap();
    let reads = disk.reads();
    let (mut got, mut next) = (Vec::new(), 0);
    while next < life.next.get() {
        let (bytes, after) = life.read(next, 300_000).unwrap();
        got.extend_from_slice(&bytes);
        next = after;
        life.settle(&disk);
    }
    assert!(got == all, "the same bytes in the same order");
    let cold = (all.len() - (16 << 20)) / (1 << 20);
    let reads = usize::try_from(disk.reads() - reads).unwrap();
    assert!(cold <= reads && reads <= cold + 10, "{reads} reads of {cold} MiB");
}

/// Bytes that were read ahead are not served after a truncation that replaced them.
#[test]
fn what_was_read_ahead_is_forgotten_by_a_truncation() {
    let disk = Disk::new(6);
    let options = LogOptions { segment_bytes: 40 << 20, ..OPTIONS };
    let (mut life, _) = open(&disk, options, 4 << 20);
    for at in 0..200 {
        life.append(50_000, at).unwrap();
        life.flush().unwrap();
    }
    let (_, next) = life.read(0, 200_000).unwrap();
    let (_, next) = life.read(next, 200_000).unwrap();
    life.settle(&disk);
    let log = life.log.clone();
    let end = life.run(async move { log.truncate_to(Offset(next)).await }).unwrap();
    life.next.set(end.0);
    let mut fresh = Vec::new();
    for at in 0..200 {
        fresh.extend_from_slice(&life.append(50_001, 1_000 + at).unwrap());
        life.flush().unwrap();
    }
    let mut got = Vec::new();
    let mut from = end.0;
    while from < life.next.get() {
        let (bytes, after) = life.read(from, 1 << 20).unwrap();
        got.extend_from_slice(&bytes);
        from = after;
    }
    assert!(got == fresh, "the new bytes and no others");
}
