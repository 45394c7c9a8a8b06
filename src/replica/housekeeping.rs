//! What a shard's replicas need from time to time: ticks, retention, producers' expiry.
//!
//! Home: one shard, in the housekeeping queue; yields between replicas.

use std::cell::Cell;
use std::rc::Rc;

use crate::model::offset::Offset;
use crate::model::time::Micros;
use crate::shard::{tasks, timers};

use super::local::Replica;
use super::table::Replicas;

/// How often logs are told the time, in microseconds: syncs of relaxed topics and checkpoints
/// become due.
const TICK_US: u64 = 100_000;

/// When things are due.
#[derive(Clone, Copy, Debug)]
pub struct Periods {
    /// `log.retention.check.interval.ms`.
    pub retention_check_ms: u64,
    /// `producer.id.expiration.ms`.
    pub producer_expiration_ms: u64,
}

/// Runs until the shard ends; `periods` may change meanwhile.
pub async fn run(replicas: Rc<Replicas>, periods: Rc<Cell<Periods>>) {
    let mut check_at = timers::now().0 + periods.get().retention_check_ms * 1000;
    loop {
        timers::sleep_until(Micros(timers::now().0 + TICK_US)).await;
        let now = timers::wall_clock();
        let checks = timers::now().0 >= check_at;
        for replica in replicas.all() {
            replica.log.tick(now);
            if checks {
                check(&replica, periods.get()).await;
            }
            tasks::yield_if_needed().await;
        }
        if checks {
            check_at = timers::now().0 + periods.get().retention_check_ms * 1000;
        }
    }
}

async fn check(replica: &Rc<Replica>, periods: Periods) {
    let now = timers::wall_clock();
    let expiration_ms = i64::try_from(periods.producer_expiration_ms).unwrap_or(i64::MAX);
    replica.core.borrow_mut().expire_producers(now, expiration_ms);
    let high_watermark = replica.core.borrow().high_watermark();
    match replica.log.retain(now, high_watermark).await {
        Ok(Some(log_start)) => advance(replica, log_start),
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(topic = %replica.topic, %error, "retention could not free segments");
        }
    }
}

fn advance(replica: &Rc<Replica>, log_start: Offset) {
    let mut effects = Vec::new();
    replica.core.borrow_mut().advance_log_start(log_start, &mut effects);
    replica.perform(&effects);
}
