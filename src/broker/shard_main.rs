//! One shard of the broker, from its first task to its last.
//!
//! In:   the runtime's [`ShardContext`], and what start-up found ([`Setup`]).
//! Out:  a shard that serves its replicas to the mesh, its listeners to clients, and the control
//!       thread's orders.
//! Home: runs once on each shard.
//!
//! Invariants
//!   M1  Orders of the control thread are carried out one after another, in its order.
//!   M2  Listeners accept only after the first image was taken over: a client that gets in meets
//!       recovered logs.
//!   M3  A failed log directory is failed on every shard.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::config::broker::BrokerConfig;
use crate::coordinator::coordinators::Coordinators;
use crate::coordinator::core::NoAction;
use crate::coordinator::ends;
use crate::coordinator::markers::MarkerTasks;
use crate::coordinator::settings::{group_settings, transaction_settings};
use crate::fatal;
use crate::group::coordinator::GroupCoordinator;
use crate::io::file::IoError;
use crate::io::real_directory::RealDirectory;
use crate::io::real_file::Access;
use crate::metadata::image::MetadataImage;
use crate::metrics::shard::ShardMetrics;
use crate::metrics::{cleaning, commits, scrubbing};
use crate::model::ids::ShardId;
use crate::replica::cleaner;
use crate::replica::disk_watch::DiskWatch;
use crate::replica::driver::Driver;
use crate::replica::fetch::Reader;
use crate::replica::housekeeping::{self, Periods};
use crate::replica::local::Replica;
use crate::replica::request::{AppendFailure, ShardReply, ShardRequest};
use crate::replica::scrubber;
use crate::replica::serve::Server;
use crate::replica::table::Replicas;
use crate::shard::executor::ShardContext;
use crate::shard::mesh::Mesh;
use crate::shard::sync::Event;
use crate::shard::tasks::{self, Queue};
use crate::shard::{threads, timers};
use crate::storage::log::LogShared;
use crate::storage::options::FailStop;
use crate::transaction::coordinator::TransactionCoordinator;

use super::context::Shard;
use super::doors::{Doors, Sockets};
use super::fetch_session::SessionCache;
use super::groups::OFFSETS_TOPIC;
use super::markers::write_markers;
use super::orders::{BrokerLinks, ControlOrder, DiskAccess, MeshReply, MeshRequest, OrderDone};
use super::transactions::TRANSACTIONS_TOPIC;

/// What start-up hands to every shard.
#[derive(Clone)]
pub struct Setup {
    /// The settings.
    pub config: Arc<BrokerConfig>,
    /// Where the logs lie.
    pub log_directory: PathBuf,
    /// Bytes of recent batches that a shard keeps in memory.
    pub tail_bytes: usize,
    /// The bound sockets of all shards.
    pub sockets: Sockets,
}

/// How much longer than `transaction.max.timeout.ms` a transaction may be open before it counts as
/// late. Source: Kafka's `LATE_TRANSACTION_BUFFER_MS`.
const LATE_TRANSACTION_MS: i64 = 5 * 60_000;
/// How much later than the stop signal the order to stop may come.
const ORDER_MAX: Duration = Duration::from_millis(20);

/// A shard's parts, as orders need them.
struct Main {
    shard: Rc<Shard>,
    driver: Rc<Driver>,
    groups: Rc<Coordinators<GroupCoordinator>>,
    transactions: Rc<Coordinators<TransactionCoordinator>>,
    markers: Rc<MarkerTasks>,
    doors: Rc<Doors>,
    log_shared: LogShared,
    /// When housekeeping is due.
    periods: Rc<Cell<Periods>>,
    /// How logs are compacted.
    cleaning: Rc<Cell<cleaner::Settings>>,
    /// How logs are scrubbed.
    scrubbing: Rc<Cell<scrubber::Settings>>,
    /// How full its disk is.
    disk_watch: Rc<DiskWatch>,
    /// The order to stop has come.
    stopping: Cell<bool>,
    /// Told when it has been carried out.
    closed: Event,
}

/// Runs one shard until it is told to end.
pub async fn run(context: ShardContext<BrokerLinks>, setup: Setup) {
    let disk = match RealDirectory::open(&setup.log_directory).await {
        Ok(disk) => disk,
        Err(error) => fatal::exit(&format!("{}: {error}", setup.log_directory.display())),
    };
    tracing::debug!(shard = context.shard.0, access = ?disk.access(), "disk opened");
    let replicas = Rc::new(Replicas::default());
    let log_shared = LogShared::new(setup.tail_bytes);
    let shard = Rc::new(shard(&context, &setup));
    let groups = groups(&setup, &replicas);
    let markers = markers(&shard);
    let transactions = Coordinators::new(
        TRANSACTIONS_TOPIC,
        transaction_settings(&setup.config),
        Rc::clone(&replicas),
        markers.outlet(),
    );
    serve_mesh(&context, &replicas, &log_shared, &groups, &transactions);
    let driver = Rc::new(Driver {
        shard: context.shard,
        shards: shard.shards,
        config: RefCell::new(Arc::clone(&setup.config)),
        disk,
        log_shared: log_shared.clone(),
        replicas: Rc::clone(&replicas),
    });
    let disk_watch = watch_space(&driver, setup.config.disk_use_max_percent).await;
    let periods = Rc::new(Cell::new(periods(&setup.config)));
    let keeping = housekeeping::run(Rc::clone(&replicas), Rc::clone(&periods));
    tasks::spawn(Queue::Housekeeping, keeping);
    let cleaning = cleaner::Settings::of(&setup.config, shard.shards);
    let cleaning = Rc::new(Cell::new(cleaning));
    let cleaner = cleaner::run(Rc::clone(&replicas), Rc::clone(&cleaning));
    tasks::spawn(Queue::Background, cleaner);
    let scrubbing = scrubber::Settings::of(&setup.config, shard.shards);
    let scrubbing = Rc::new(Cell::new(scrubbing));
    let scrubber = scrubber::run(Rc::clone(&replicas), Rc::clone(&scrubbing));
    tasks::spawn(Queue::Background, scrubber);
    watch_directory(&context.mesh, replicas, Rc::clone(&log_shared.fail_stop));
    let doors = Rc::new(Doors::new(Rc::clone(&shard), setup.sockets.clone(), context.stop.clone()));
    let main = Rc::new(Main {
        shard,
        driver,
        groups,
        transactions,
        markers,
        doors,
        log_shared,
        periods,
        cleaning,
        scrubbing,
        disk_watch,
        stopping: Cell::new(false),
        closed: Event::new(),
    });
    let orders = Rc::clone(&main);
    context.commands.serve(move |order| {
        let main = Rc::clone(&orders);
        Box::pin(async move { main.carry_out(order).await })
    });
    let closed = main.closed.listen();
    context.stop.wait().await;
    // The order to stop goes to all shards at once, and the first that carries it out raises the
    // signal for all: each still carries out its own. No order at all: a shard has failed.
    timers::sleep(ORDER_MAX).await;
    if main.stopping.get() {
        closed.await;
    }
}

fn groups(setup: &Setup, replicas: &Rc<Replicas>) -> Rc<Coordinators<GroupCoordinator>> {
    let no_action = Rc::new(|_, action: NoAction| match action {});
    let settings = group_settings(&setup.config);
    Coordinators::new(OFFSETS_TOPIC, settings, Rc::clone(replicas), no_action)
}

fn markers(shard: &Rc<Shard>) -> Rc<MarkerTasks> {
    let shard = Rc::clone(shard);
    MarkerTasks::new(Rc::new(move |items| {
        let shard = Rc::clone(&shard);
        Box::pin(async move { write_markers(&shard, items).await })
    }))
}

fn shard(context: &ShardContext<BrokerLinks>, setup: &Setup) -> Shard {
    let shards = u16::try_from(context.shards).expect("at most SHARDS_MAX");
    let slots = setup.config.fetch_session_slots.div_ceil(context.shards);
    Shard {
        id: context.shard,
        shards,
        static_config: Arc::clone(&setup.config),
        config: RefCell::new(Arc::clone(&setup.config)),
        image: RefCell::new(Arc::new(MetadataImage::empty())),
        mesh: context.mesh.clone(),
        control: context.control.clone(),
        sessions: RefCell::new(SessionCache::new(slots, session_seed())),
        metrics: RefCell::new(ShardMetrics::new(context.shard.0)),
        scratch: RefCell::default(),
        watch_last: Cell::new(0),
        topic_configs: RefCell::default(),
        producer_ids: Cell::new(None),
    }
}

fn periods(config: &BrokerConfig) -> Periods {
    Periods {
        retention_check_ms: config.log_retention_check_interval_ms,
        producer_expiration_ms: config.producer_id_expiration_ms,
    }
}

/// Where session ids start: anywhere, so that a session of an earlier run is not taken for ours.
fn session_seed() -> i32 {
    let [a, b, c, d, ..] = uuid::Uuid::new_v4().into_bytes();
    i32::from_be_bytes([a & 0x7f, b, c, d])
}

fn serve_mesh(
    context: &ShardContext<BrokerLinks>,
    replicas: &Rc<Replicas>,
    log_shared: &LogShared,
    groups: &Rc<Coordinators<GroupCoordinator>>,
    transactions: &Rc<Coordinators<TransactionCoordinator>>,
) {
    let reader = Reader::new(Rc::clone(replicas));
    let server = Server::new(Rc::clone(replicas), reader, Rc::clone(&log_shared.fail_stop));
    let (groups, transactions) = (Rc::clone(groups), Rc::clone(transactions));
    let replicas = Rc::clone(replicas);
    context.mesh.serve(move |from, request| match request {
        // Of these a coordinator may have to know before they are answered.
        MeshRequest::Replica(ShardRequest::WriteMarkers(items)) => {
            let written = ends::write(&replicas, &groups, &items);
            Box::pin(async move { MeshReply::Replica(ShardReply::MarkersWritten(written.await)) })
        }
        MeshRequest::Replica(request) => {
            let reply = server.handle(from, request);
            Box::pin(async move { MeshReply::Replica(reply.await) })
        }
        MeshRequest::Group(request) => {
            let reply = groups.handle(request);
            Box::pin(async move { MeshReply::Coordinator(reply.await) })
        }
        MeshRequest::Transaction(request) => {
            let reply = transactions.handle(request);
            Box::pin(async move { MeshReply::Coordinator(reply.await) })
        }
    });
}

/// Looks at the disk before anything is served from it, and then every second.
async fn watch_space(driver: &Driver, max_percent: u8) -> Rc<DiskWatch> {
    let watch = Rc::new(DiskWatch {
        disk: driver.disk.clone(),
        gate: Rc::clone(&driver.log_shared.gate),
        max_percent: Cell::new(max_percent),
        says: driver.shard == ShardId(0),
    });
    watch.look().await;
    tasks::spawn(Queue::Housekeeping, Rc::clone(&watch).run());
    watch
}

/// Answers all that waits once the directory has failed, and tells the other shards (M3).
fn watch_directory(
    mesh: &Mesh<MeshRequest, MeshReply>,
    replicas: Rc<Replicas>,
    fail_stop: Rc<FailStop>,
) {
    let mesh = mesh.clone();
    tasks::spawn(Queue::Housekeeping, async move {
        let error = fail_stop.wait().await;
        tracing::error!(%error, "log directory failed: no append is taken any more");
        for replica in replicas.all() {
            replica.fail(AppendFailure::Offline);
        }
        tell_others(&mesh, error).await;
    });
}

async fn tell_others(mesh: &Mesh<MeshRequest, MeshReply>, error: IoError) {
    for index in 0..u16::try_from(mesh.shards()).expect("at most SHARDS_MAX") {
        if ShardId(index) != mesh.shard() {
            let request = MeshRequest::Replica(ShardRequest::DirectoryFailed(error));
            drop(mesh.submit(ShardId(index), request).await);
        }
    }
}

impl Main {
    async fn carry_out(&self, order: ControlOrder) -> OrderDone {
        match order {
            ControlOrder::Apply(image) => {
                let old = self.shard.image();
                if old.applied_index() == 0 && self.shard.id == ShardId(0) {
                    self.sweep(&image);
                }
                if !old.same_broker_configs(&image) {
                    self.configure(&image);
                    self.disk_watch.look().await;
                }
                self.driver.apply(&old, &image).await;
                self.groups.apply(&image);
                self.transactions.apply(&image);
                tracing::debug!(shard = self.shard.id.0, index = image.applied_index(), "applied");
                self.shard.set_image(image);
                OrderDone::Done
            }
            ControlOrder::Listen => {
                OrderDone::Listening(self.doors.open().map(|()| match self.driver.disk.access() {
                    Access::Direct { .. } => DiskAccess::Direct,
                    Access::Buffered => DiskAccess::Buffered,
                }))
            }
            ControlOrder::Metrics => OrderDone::Metrics(Box::new(self.metrics()), threads::this()),
            ControlOrder::Groups(order) => {
                OrderDone::Groups(self.shard.carry_out_for_groups(order).await)
            }
            ControlOrder::Stop => {
                self.stopping.set(true);
                self.groups.close(); // so that no connection waits for a parked answer
                self.transactions.close();
                self.markers.close().await;
                self.doors.close().await;
                let clean = self.driver.close().await;
                self.closed.notify();
                OrderDone::Stopped { clean }
            }
        }
    }

    /// Takes over what clients have set for brokers, before the image that has it is carried over.
    fn configure(&self, image: &MetadataImage) {
        let base = &self.shard.static_config;
        let own = image.broker_configs(base.node_id).cloned().unwrap_or_default();
        let config = match base.with_dynamic(image.all_brokers_configs(), &own) {
            Ok(config) => Arc::new(config),
            // Checked when it was set; the file or the command line has changed since.
            Err(error) => {
                tracing::error!(%error, "settings that clients have set are ignored");
                Arc::clone(base)
            }
        };
        self.periods.set(periods(&config));
        self.cleaning.set(cleaner::Settings::of(&config, self.shard.shards));
        self.scrubbing.set(scrubber::Settings::of(&config, self.shard.shards));
        self.disk_watch.max_percent.set(config.disk_use_max_percent);
        *self.driver.config.borrow_mut() = Arc::clone(&config);
        *self.shard.config.borrow_mut() = config;
    }

    fn sweep(&self, image: &Arc<MetadataImage>) {
        let (driver, image) = (Rc::clone(&self.driver), Arc::clone(image));
        tasks::spawn(Queue::Background, async move { driver.sweep(&image).await });
    }

    fn metrics(&self) -> ShardMetrics {
        let mut metrics = self.shard.metrics.borrow().clone();
        metrics.commit = commits::counted();
        metrics.cleaner = cleaning::counted();
        metrics.scrub = scrubbing::counted();
        metrics.reactor = tasks::load();
        let replicas = self.driver.replicas.all();
        metrics.holding.partitions = replicas.len() as u64;
        metrics.holding.log_bytes = replicas.iter().map(|replica| replica.log.bytes()).sum();
        let quarantined = |replica: &Rc<Replica>| replica.log.quarantined().len() as u64;
        metrics.holding.quarantined_ranges = replicas.iter().map(quarantined).sum();
        metrics.holding.space_alert = self.log_shared.gate.alert();
        metrics.holding.tail_bytes = self.log_shared.tail.used() as u64;
        let (groups, transactions) = (self.groups.counts(), self.transactions.counts());
        metrics.holding.coordinators = (groups.0 + transactions.0) as u64;
        metrics.holding.coordinators_loading = (groups.1 + transactions.1) as u64;
        metrics.holding.late_transactions = self.late_transactions();
        let ids = self.transactions.sum(TransactionCoordinator::id_count);
        let open = self.transactions.sum(TransactionCoordinator::open_count);
        metrics.holding.transactional_ids = ids as u64;
        metrics.holding.open_transactions = open as u64;
        metrics.fetch.sessions = self.shard.sessions.borrow().len() as u64;
        self.doors.count(&mut metrics.connections);
        metrics
    }

    /// How many partitions have a transaction open for longer than any may be (P107).
    fn late_transactions(&self) -> u64 {
        let config = self.shard.config();
        let late_ms = i64::from(config.transactions.max_timeout_ms) + LATE_TRANSACTION_MS;
        let now = timers::wall_clock();
        let late = |replica: &Rc<Replica>| {
            let oldest = replica.core.borrow().producers().oldest_open_timestamp();
            oldest.is_some_and(|since| since.0 > 0 && now.0.saturating_sub(since.0) > late_ms)
        };
        self.driver.replicas.all().iter().filter(|replica| late(replica)).count() as u64
    }
}
