//! A running broker on the control thread: start, announce, serve the admin endpoint, end.
//!
//! In:   [`StartCall`] from the command line.
//! Out:  a broker until SIGTERM or SIGINT, then its orderly end.
//! Home: the main thread, which is the control thread: a tokio current-thread runtime.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::host::{FileSystemFacts, HostFacts};
use super::run::StartCall;
use super::start::{announce, setting_warnings};
use crate::admin::routes::router;
use crate::admin::server::AdminListener;
use crate::admin::source::{AdminSource, Gathered, Health, Readiness};
use crate::broker::group_orders::{SeekOrder, SeekRefused};
use crate::broker::lag_sampler::{GroupLag, GroupWatch, LagError};
use crate::broker::orders::DiskAccess;
use crate::broker::start::{Broker, Calls, Gauges, start};
use crate::config::broker::BrokerConfig;
use crate::config::process::{BuildFacts, StartOptions, StartWarning, Started};
use crate::constants::BLOCK_BYTES;
use crate::controller::driver::Controller;
use crate::group::seek::Sought;
use crate::metrics::exposition::ProcessFacts;
use crate::metrics::group_lag::PartitionLag;
use crate::protocol::api::ApiKey;
use crate::shard::placement::{Memlock, Place, io_memory_bytes};

/// Ends of the process that nobody waits longer for: what is acknowledged is safe already.
const STOP_MAX: Duration = Duration::from_secs(10);
/// Lockable memory below which registered buffers are held back.
const MEMLOCK_GOOD_BYTES: u64 = 64 << 20;

/// Recent records take one part in so many of the memory, unless a setting says otherwise.
const TAIL_SHARE: u64 = 4;
/// And at least so much.
const TAIL_BYTES_MIN: u64 = 64 << 20;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Runs a broker until a signal ends it. Errors: why it did not start, with the remedy.
pub fn start_broker(call: StartCall) -> Result<(), AnyError> {
    #[allow(clippy::disallowed_methods)] // the process's own start, before any shard
    let began = Instant::now();
    abort_on_panic();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(call, began))
}

/// A broken invariant on any thread ends the process: never half a broker. What was acknowledged
/// is on disk, and the next start recovers it.
fn abort_on_panic() {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        say(info);
        std::process::abort();
    }));
}

async fn serve(call: StartCall, began: Instant) -> Result<(), AnyError> {
    let StartCall { options, log_lines_dropped } = call;
    // First, so that an early signal finds a listener.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let config = Arc::new(with_memory(options.config.clone()));
    let admin = match &config.admin_listener {
        Some(address) => Some(AdminListener::bind(address).await?),
        None => None,
    };
    let (broker, calls) = start(Arc::clone(&config)).await?;
    tokio::spawn(answer(calls));
    let (ready, is_ready) = watch::channel(false);
    let source = Source {
        config: Arc::clone(&config),
        controller: broker.controller.clone(),
        gauges: broker.gauges(),
        groups: broker.watch_groups(),
        ready: is_ready,
        log_lines_dropped,
        began,
    };
    let admin_address = admin.as_ref().map(AdminListener::address);
    let (stopping, stopped) = tokio::sync::oneshot::channel::<()>();
    if let Some(admin) = admin {
        let until = async {
            let _ = stopped.await; // dropped or sent: either ends it
        };
        tokio::spawn(async move {
            if let Err(error) = admin.serve(router(Arc::new(source)), until).await {
                tracing::error!(%error, "admin endpoint ended");
            }
        });
    }
    let access = broker.open().await?;
    let _ = ready.send(true);
    announce(&options, started(&broker, &options, access, admin_address, began))?;

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let _ = ready.send(false);
    drop(stopping);
    if tokio::time::timeout(STOP_MAX, broker.stop()).await.is_err() {
        tracing::warn!("not all was closed in time; the next start recovers it");
    }
    Ok(())
}

/// The settings with the memory for recent records chosen, where nobody has.
fn with_memory(mut config: BrokerConfig) -> BrokerConfig {
    if config.memory_tail_bytes.is_none() {
        let all = HostFacts::read().memory_bytes;
        config.memory_tail_bytes = Some((all / TAIL_SHARE).max(TAIL_BYTES_MIN));
    }
    config
}

/// Answers the shards' questions, each beside the others.
async fn answer(calls: Calls) {
    while let Some(answering) = calls.next().await {
        tokio::spawn(answering);
    }
}

fn started(
    broker: &Broker,
    options: &StartOptions,
    access: DiskAccess,
    admin: Option<SocketAddr>,
    began: Instant,
) -> Started {
    let memlock = broker.shards.memlock;
    let mut warnings = setting_warnings(&options.config);
    warnings.extend(memlock_warning(memlock));
    let cpu = |place: &Place| match place {
        Place::Pinned(cpu) => u32::try_from(*cpu).ok(),
        Place::Among(_) => None,
    };
    Started {
        data_dir: broker.config.data_dir.clone(),
        direct_block_bytes: match access {
            DiskAccess::Direct => u32::try_from(BLOCK_BYTES).ok(),
            DiskAccess::Buffered => None,
        },
        cluster_id: broker.data.cluster_id().to_owned(),
        cluster_is_new: broker.cluster_is_new,
        shard_cpus: broker.shards.places.iter().map(cpu).collect(),
        ring_depth: broker.config.ring_depth,
        io_memory_bytes: io_memory_bytes(memlock, broker.shards.places.len()) as u64,
        memlock_bytes: (memlock.limit_bytes != u64::MAX).then_some(memlock.limit_bytes),
        kafka: broker.addresses.iter().map(SocketAddr::to_string).collect(),
        admin: admin.map(|address| address.to_string()),
        warnings,
        ready_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}

fn memlock_warning(memlock: Memlock) -> Option<StartWarning> {
    (memlock.limit_bytes < MEMLOCK_GOOD_BYTES).then(|| StartWarning {
        finding: format!(
            "memlock limit {} KiB holds back registered buffers",
            memlock.limit_bytes / 1024
        ),
        remedy: "ulimit -l unlimited, or LimitMEMLOCK=infinity".to_owned(),
    })
}

/// The broker as the admin endpoint sees it.
struct Source {
    config: Arc<BrokerConfig>,
    controller: Controller,
    gauges: Gauges,
    groups: GroupWatch,
    ready: watch::Receiver<bool>,
    log_lines_dropped: Arc<dyn Fn() -> u64 + Send + Sync>,
    began: Instant,
}

impl AdminSource for Source {
    fn api_name(api_key: i16) -> &'static str {
        ApiKey::from_key(api_key).map_or("unknown", ApiKey::name)
    }

    async fn ping(&self) {
        self.gauges.gather().await;
    }

    async fn readiness(&self) -> Readiness {
        let ready = *self.ready.borrow();
        let reasons = if ready { Vec::new() } else { vec!["starting or stopping".to_owned()] };
        Readiness { ready, reasons }
    }

    async fn health(&self) -> Health {
        let image = self.controller.image();
        let partitions = || image.topics().flat_map(|topic| &topic.partitions);
        let leaderless = partitions().filter(|state| state.leader.is_none()).count() as u64;
        let behind = partitions().filter(|state| state.isr.len() < state.replicas.len()).count();
        let held: u64 =
            self.gauges.gather().await.iter().map(|shard| shard.holding.partitions).sum();
        let missing = image.partition_count().saturating_sub(held);
        let mut reasons = Vec::new();
        if leaderless > 0 {
            reasons.push(format!("{leaderless} partitions have no leader"));
        }
        if missing > 0 {
            reasons.push(format!("{missing} logs could not be opened: see the log"));
        }
        let disk = FileSystemFacts::read(&self.config.data_dir).unwrap_or_default();
        Health {
            healthy: reasons.is_empty(),
            cluster_id: image.cluster_id().unwrap_or_default().to_owned(),
            node_id: self.config.node_id.0,
            controller_id: self.config.node_id.0,
            topics: image.topic_count() as u64,
            partitions: image.partition_count(),
            leaderless_partitions: leaderless,
            under_replicated_partitions: behind as u64,
            offline_replicas: missing,
            disk_free_bytes: disk.free_bytes,
            reasons,
        }
    }

    async fn metrics(&self) -> Gathered {
        let disk = FileSystemFacts::read(&self.config.data_dir).unwrap_or_default();
        let process = ProcessFacts {
            version: BuildFacts::of_this_program().version,
            uptime_seconds: self.began.elapsed().as_secs_f64(),
            topics: self.controller.image().topic_count() as u64,
            disk_total_bytes: disk.total_bytes,
            disk_free_bytes: disk.free_bytes,
            log_lines_dropped: (self.log_lines_dropped)(),
        };
        let (shards, lags) = (self.gauges.gather().await, self.groups.shown().await);
        Gathered { shards, process, lags }
    }

    async fn group_lags(&self) -> Vec<PartitionLag> {
        self.groups.all().await
    }

    async fn group_lag(&self, group: &str) -> Result<GroupLag, LagError> {
        self.groups.group(group).await
    }

    async fn seek_group(&self, order: SeekOrder) -> Result<Sought, SeekRefused> {
        self.groups.seek(order).await
    }
}
