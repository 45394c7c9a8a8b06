//! A shard's cleaner: compacts the dirtiest of its logs, one at a time, at a bounded rate.
//!
//! In:   the shard's replicas; the broker's settings, which may change meanwhile.
//! Out:  compacted logs; counts (`crate::metrics::cleaning`).
//! Home: one shard, in the background queue; yields between batches.
//!
//! Invariants
//!   C1  One log of a shard is compacted at a time: the one with the largest dirty part.
//!   C2  Nothing at or behind the last stable offset is compacted.
//!   C3  A log that cannot be read, or taken apart, is named once and left alone until the broker
//!       is started again.
//!
//! A record that `max.compaction.lag.ms` wants compacted counts before the dirty part does.
//! The memory and the rate of the broker are split among its shards evenly.
//! Source: Kafka's `LogCleaner`, `LogCleanerManager.grabFilthiestCompactedLog`, `Throttler`.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use crate::config::broker::{BrokerConfig, CleanerConfig};
use crate::metrics::cleaning;
use crate::model::ids::TopicPartition;
use crate::model::time::Micros;
use crate::shard::{tasks, timers};
use crate::storage::compaction::candidate::{Candidate, Limits};
use crate::storage::compaction::pass::{CompactError, LastWrite, Order, Pace, Report, Spent};
use crate::storage::log::LogError;

use super::local::Replica;
use super::table::Replicas;

/// Longest sleep in one piece: changed settings and a log that closes are noticed after it.
const SLEEP_MS_MAX: u64 = 100;
/// Map memory of a shard, at least: some thousand keys.
const MAP_BYTES_MIN: usize = 256 << 10;

/// One shard's part of the broker's cleaner settings.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    cleaner: CleanerConfig,
    shards: u16,
}

impl Settings {
    /// The part of one of `shards` shards.
    pub fn of(config: &BrokerConfig, shards: u16) -> Settings {
        Settings { cleaner: config.cleaner, shards: shards.max(1) }
    }

    fn map_bytes(&self) -> usize {
        let bytes = self.cleaner.dedupe_buffer_bytes / u64::from(self.shards);
        usize::try_from(bytes).unwrap_or(usize::MAX).max(MAP_BYTES_MIN)
    }
}

/// A log that is worth a pass.
struct Due {
    replica: Rc<Replica>,
    candidate: Candidate,
    limits: Limits,
}

/// Compacts until the shard ends; `settings` may change meanwhile.
pub async fn run(replicas: Rc<Replicas>, settings: Rc<Cell<Settings>>) {
    let mut uncleanable = BTreeSet::new();
    loop {
        let cleaned = settings.get().cleaner.enable
            && clean_one(&replicas, &settings, &mut uncleanable).await;
        if !cleaned {
            back_off(&settings).await;
        }
        tasks::yield_if_needed().await;
    }
}

/// Sleeps `log.cleaner.backoff.ms`, as it is set meanwhile.
async fn back_off(settings: &Rc<Cell<Settings>>) {
    let mut slept_ms = 0;
    loop {
        timers::sleep(Duration::from_millis(SLEEP_MS_MAX)).await;
        slept_ms += SLEEP_MS_MAX;
        if slept_ms >= settings.get().cleaner.backoff_ms {
            return;
        }
    }
}

/// Compacts the dirtiest log (C1), if one is due; whether that got anywhere.
async fn clean_one(
    replicas: &Replicas,
    settings: &Rc<Cell<Settings>>,
    uncleanable: &mut BTreeSet<TopicPartition>,
) -> bool {
    uncleanable.retain(|partition| replicas.get(*partition).is_some());
    let due = dirtiest(replicas, uncleanable).await;
    cleaning::looked(timers::wall_clock(), uncleanable.len() as u64);
    let Some(due) = due else { return false };
    let began = timers::now();
    let result = pass(&due, settings).await;
    let topic = &due.replica.topic;
    match result {
        Ok(report) => {
            let took_us = timers::now().since(began);
            cleaning::passed(took_us, report.map_percent);
            tracing::debug!(%topic, ?report, took_us, "compacted");
            report.end > due.candidate.dirty_from
        }
        Err(error) => {
            match error {
                CompactError::Offline | CompactError::Overtaken => {}
                CompactError::DiskFull => {
                    tracing::warn!(%topic, %error, "not compacted");
                }
                CompactError::Damaged { .. } | CompactError::BadBatch { .. } => {
                    tracing::error!(%topic, %error, "not compacted any more"); // C3
                    uncleanable.insert(due.replica.partition);
                }
            }
            false
        }
    }
}

/// The log that is to be compacted first.
async fn dirtiest(replicas: &Replicas, uncleanable: &mut BTreeSet<TopicPartition>) -> Option<Due> {
    let now = timers::wall_clock();
    let mut best: Option<Due> = None;
    let (mut max_ratio, mut max_delay_ms) = (0.0f64, 0);
    for replica in replicas.all() {
        tasks::yield_if_needed().await;
        let config = Rc::clone(&replica.config.borrow());
        if !config.cleanup_policy.compact || uncleanable.contains(&replica.partition) {
            continue;
        }
        let limits = Limits::from_topic(&config);
        let upto = replica.core.borrow().last_stable_offset(); // C2
        let candidate = match replica.log.compaction_candidate(now, upto, &limits).await {
            Ok(candidate) => candidate,
            Err(error @ LogError::Damaged { .. }) => {
                tracing::error!(topic = %replica.topic, %error, "not compacted any more"); // C3
                uncleanable.insert(replica.partition);
                continue;
            }
            Err(LogError::Offline | LogError::DiskFull | LogError::OutOfRange { .. }) => continue,
        };
        max_ratio = max_ratio.max(candidate.dirty_ratio());
        max_delay_ms = max_delay_ms.max(candidate.overdue_ms);
        if !candidate.is_due(&limits) {
            continue;
        }
        let rank = |candidate: &Candidate| (candidate.overdue_ms > 0, candidate.dirty_ratio());
        if best.as_ref().is_none_or(|best| rank(&best.candidate) < rank(&candidate)) {
            best = Some(Due { replica, candidate, limits });
        }
    }
    cleaning::dirtiest(max_ratio, max_delay_ms);
    best
}

async fn pass(due: &Due, settings: &Rc<Cell<Settings>>) -> Result<Report, CompactError> {
    let replica = &due.replica;
    let producers = {
        let core = replica.core.borrow();
        let last = core.producers().last_writes();
        last.map(|(id, epoch, last_offset)| (id, LastWrite { epoch, last_offset })).collect()
    };
    let order = Order {
        now: timers::wall_clock(),
        end: due.candidate.end,
        delete_retention_ms: due.limits.delete_retention_ms,
        map_bytes: settings.get().map_bytes(),
        map_fill_percent: settings.get().cleaner.fill_percent,
        producers,
    };
    let pace = Throttle { replica, settings, free_at: Cell::new(timers::now()) };
    replica.log.compact(&order, &pace).await
}

/// Keeps a pass to the shard's part of `log.cleaner.io.max.bytes.per.second`.
struct Throttle<'a> {
    replica: &'a Replica,
    settings: &'a Rc<Cell<Settings>>,
    /// When what was moved so far may have been.
    free_at: Cell<Micros>,
}

impl Pace for Throttle<'_> {
    async fn breathe(&self) {
        tasks::yield_if_needed().await;
    }

    async fn apart<T: Send + 'static>(&self, call: impl FnOnce() -> T + Send + 'static) -> T {
        tasks::spawn_blocking(call).await
    }

    async fn spent(&self, spent: Spent) {
        cleaning::moved(spent.read, spent.written);
        let settings = self.settings.get();
        let Some(rate) = settings.cleaner.io_max_bytes_per_second else { return };
        let bytes = (spent.read + spent.written).saturating_mul(u64::from(settings.shards));
        let wait = Duration::try_from_secs_f64(bytes as f64 / rate.max(1.0));
        let us = wait.map_or(u64::MAX, |wait| u64::try_from(wait.as_micros()).unwrap_or(u64::MAX));
        let free_at = self.free_at.get().0.max(timers::now().0).saturating_add(us);
        self.free_at.set(Micros(free_at));
        while timers::now().0 < free_at && !self.replica.log.is_offline() {
            let left_us = free_at - timers::now().0;
            timers::sleep(Duration::from_micros(left_us.min(SLEEP_MS_MAX * 1_000))).await;
        }
    }
}
