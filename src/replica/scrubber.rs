//! A shard's scrubber: reads its closed segments again, one at a time, at a bounded rate, and names
//! what is damaged.
//!
//! In:   the shard's replicas; the broker's settings, which may change meanwhile.
//! Out:  quarantined ranges, a line for each; counts (`crate::metrics::scrubbing`).
//! Home: one shard, in the background queue; the rate of the broker is split among its shards.
//!
//! Invariants
//!   B1  One segment of a shard is read at a time, a chunk a step, and each step is paid for with
//!       its time before the next.
//!
//! Source: `storage.md` 4.6.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::config::broker::BrokerConfig;
use crate::metrics::scrubbing;
use crate::model::time::Micros;
use crate::shard::{tasks, timers};
use crate::storage::log::LogError;
use crate::storage::scrub::{Scrub, Step};

use super::local::Replica;
use super::table::Replicas;

/// Longest sleep in one piece: a log that closes, and other settings, are noticed after it.
const SLEEP: Duration = Duration::from_millis(100);
/// Between two looks for segments that are due.
const LOOK: Duration = Duration::from_secs(1);

/// One shard's part of the broker's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `storage.scrub.interval.ms`.
    interval_ms: u64,
    /// Bytes a second; 0: none is read.
    rate: u64,
}

impl Settings {
    /// The part of one of `shards` shards.
    pub fn of(config: &BrokerConfig, shards: u16) -> Settings {
        let rate = config.scrub_max_bytes_per_second;
        let part = rate / u64::from(shards.max(1));
        Settings { interval_ms: config.scrub_interval_ms, rate: part.max(rate.min(1)) }
    }
}

/// Scrubs until the shard ends; `settings` may change meanwhile.
pub async fn run(replicas: Rc<Replicas>, settings: Rc<Cell<Settings>>) {
    loop {
        timers::sleep(LOOK).await;
        for replica in replicas.all() {
            while settings.get().rate > 0 && scrub_one(&replica, &settings).await {}
            tasks::yield_if_needed().await;
        }
    }
}

/// Scrubs the replica's next segment; false if none is due.
async fn scrub_one(replica: &Rc<Replica>, settings: &Cell<Settings>) -> bool {
    let interval_ms = settings.get().interval_ms;
    let mut scrub = match replica.log.scrub(timers::wall_clock(), interval_ms).await {
        Ok(Some(scrub)) => scrub,
        Ok(None) => return false,
        Err(error) => {
            name(replica, &error);
            return true;
        }
    };
    loop {
        let began = timers::now();
        let Ok(step) = replica.log.scrub_step(&mut scrub).await else { return false };
        scrubbing::read(step.bytes, step.is_last);
        tell(replica, &scrub, &step);
        let paid_us = step.bytes.saturating_mul(1_000_000) / settings.get().rate.max(1);
        let free_at = Micros(began.0.saturating_add(paid_us));
        while timers::now() < free_at && settings.get().rate > 0 && !replica.log.is_offline() {
            let left_us = free_at.since(timers::now());
            timers::sleep(SLEEP.min(Duration::from_micros(left_us))).await;
        }
        if step.is_last {
            return true;
        }
        tasks::yield_if_needed().await;
    }
}

fn tell(replica: &Replica, scrub: &Scrub, step: &Step) {
    for range in &step.damage {
        scrubbing::found();
        tracing::error!(
            topic = %replica.topic, partition = replica.partition.partition.0,
            segment = scrub.segment().0, from = range.from.0, to = range.to.0,
            "damaged records on the disk: not served any more, what is around them is"
        );
    }
}

fn name(replica: &Replica, error: &LogError) {
    let partition = replica.partition.partition.0;
    match error {
        LogError::Offline | LogError::DiskFull | LogError::OutOfRange { .. } => {
            tracing::debug!(topic = %replica.topic, partition, %error, "segment not scrubbed");
        }
        LogError::Damaged { .. } => {
            scrubbing::found();
            tracing::error!(topic = %replica.topic, partition, %error, "segment not readable");
        }
    }
}
