//! The broker's start and end, on the control thread.
//!
//! In:   settings.
//! Out:  a running broker: its addresses, its shards, its controller; and its orderly end.
//! Home: the control thread, under its runtime.
//!
//! The order of a start: lock the data directory, bind the sockets (a port in use is found before
//! anything is written), metadata, shards, recovery of logs, registration, and then the doors.
//!
//! Not here: signals, the admin endpoint, the start screen (`crate::cli`).

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::orders::{
    BrokerLinks, ControlOrder, ControlReply, ControlRequest, DiskAccess, OrderDone, QuorumView,
};
use crate::config::broker::{BrokerConfig, PollMode};
use crate::config::group_keys;
use crate::controller::data_directory::{DataDirectory, DirectoryError};
use crate::controller::driver::{
    Controller, ControllerConfig, ControllerRules, ExecuteError, ExpectedLog,
    StartError as ControllerError,
};
use crate::io::real_directory::remove_probes;
use crate::metadata::brokers::{LastShutdown, RegisterBroker};
use crate::metadata::commands::Command;
use crate::metadata::features::new_cluster_levels;
use crate::metadata::image::{ConfigMap, MetadataImage};
use crate::metadata::record::Endpoint;
use crate::metrics::shard::ShardMetrics;
use crate::model::ids::ShardId;
use crate::shard::bridge::{ControlCalls, ControlEnd, ShardLinks};
use crate::shard::executor::{self, ShardSettings, Shards, StartError as ShardError};
use crate::shard::placement::{places, usable_cpus};

use super::doors::{BindError, Sockets};
use super::lag_sampler::GroupWatch;
use super::shard_main::{self, Setup};

/// The folder of the data directory that holds the logs.
const LOG_FOLDER: &str = "log";
/// Memory for recent batches, of all shards together, where nobody chose it.
const TAIL_BYTES_DEFAULT: u64 = 256 << 20;
/// How long an idle shard of `poll=spin` spins before it sleeps.
const SPIN_FOR_EVER: Duration = Duration::from_secs(3600);

/// Why a broker does not start.
#[derive(Debug)]
pub enum StartError {
    /// The data directory.
    Directory(DirectoryError),
    /// A listener's address.
    Bind(BindError),
    /// The metadata.
    Controller(ControllerError),
    /// The shards.
    Shards(ShardError),
    /// The broker's registration.
    Register(ExecuteError),
    /// A shard ended while the broker started.
    ShardEnded,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(error) => error.fmt(f),
            Self::Bind(error) => error.fmt(f),
            Self::Controller(error) => error.fmt(f),
            Self::Shards(error) => error.fmt(f),
            Self::Register(error) => write!(f, "the broker could not register: {error}"),
            Self::ShardEnded => f.write_str("a shard ended while the broker started"),
        }
    }
}

impl std::error::Error for StartError {}

/// A running broker.
pub struct Broker {
    /// Its settings.
    pub config: Arc<BrokerConfig>,
    /// Its locked data directory.
    pub data: DataDirectory,
    /// Whether this start made the cluster.
    pub cluster_is_new: bool,
    /// The metadata.
    pub controller: Controller,
    /// Bound addresses, one a listener, in the order of the settings.
    pub addresses: Vec<SocketAddr>,
    /// The shards.
    pub shards: Shards,
    links: ShardLinks<ControlOrder, OrderDone>,
}

/// The shards' questions to the controller; to be served for as long as the broker runs.
pub struct Calls {
    calls: ControlCalls<ControlRequest, ControlReply>,
    controller: Controller,
    directory_id: [u8; 16],
}

impl Calls {
    /// The next question's answering, to be run beside the others; `None` when all shards are gone.
    pub async fn next(&self) -> Option<impl Future<Output = ()> + Send + use<>> {
        let call = self.calls.next().await?;
        let controller = self.controller.clone();
        let directory_id = self.directory_id;
        Some(async move {
            call.reply.answer(match call.call {
                ControlRequest::Execute(command) => {
                    ControlReply::Executed(controller.execute(command).await)
                }
                ControlRequest::Quorum => {
                    let status = controller.quorum_status();
                    ControlReply::Quorum(QuorumView { status, directory_id })
                }
            });
        })
    }
}

/// Starts a broker; its doors are still closed. Errors: [`StartError`], with the remedy.
pub async fn start(config: Arc<BrokerConfig>) -> Result<(Broker, Calls), StartError> {
    let data =
        DataDirectory::open(&config.data_dir, config.node_id.0).map_err(StartError::Directory)?;
    let log = data.expected_log().map_err(StartError::Directory)?;
    let settings = shard_settings(&config);
    let places = places(settings.shards, settings.cpus.as_deref(), &usable_cpus());
    let count = places.map_err(StartError::Shards)?.len();
    let sockets = Sockets::bind(&config).map_err(StartError::Bind)?;
    let addresses = sockets.addresses();

    let cluster_is_new = log == ExpectedLog::MayBeMissing;
    let controller = Controller::start(ControllerConfig {
        directory: data.metadata_path(),
        raft_id: data.raft_id(),
        cluster_id: data.cluster_id().to_owned(),
        features: new_cluster_levels(),
        rules: rules(&config),
        log,
    });
    let controller = controller.await.map_err(StartError::Controller)?;

    tracing::debug!(index = controller.image().applied_index(), "metadata recovered");
    if let Err(error) = remove_probes(&config.data_dir.join(LOG_FOLDER)) {
        tracing::warn!(%error, "probes of an earlier start not removed");
    }
    let setup = Setup {
        config: Arc::clone(&config),
        log_directory: config.data_dir.join(LOG_FOLDER),
        tail_bytes: tail_bytes(&config, count),
        sockets,
    };
    let body = move |context| shard_main::run(context, setup.clone());
    let (shards, ControlEnd { shards: links, calls }) =
        executor::start::<BrokerLinks, _, _>(&settings, body).map_err(StartError::Shards)?;
    let directory_id = data.directory_id();
    let calls = Calls { calls, controller: controller.clone(), directory_id };
    let broker = Broker { config, data, cluster_is_new, controller, addresses, shards, links };
    tracing::debug!(shards = count, "shards started");
    broker.publish().await;
    tracing::debug!("logs recovered");
    broker.register().await?;
    Ok((broker, calls))
}

fn shard_settings(config: &BrokerConfig) -> ShardSettings {
    let usize_of = |cpu: &u32| usize::try_from(*cpu).expect("a processor's number");
    ShardSettings {
        shards: config.shards.map(usize::from),
        cpus: config.cpus.as_ref().map(|cpus| cpus.iter().map(usize_of).collect()),
        spin: match config.poll {
            PollMode::Park => None,
            PollMode::Adaptive { spin_us } => Some(Duration::from_micros(u64::from(spin_us))),
            PollMode::Spin => Some(SPIN_FOR_EVER),
        },
        ring_depth: Some(usize::try_from(config.ring_depth).expect("at most 32,768")),
    }
}

fn rules(config: &Arc<BrokerConfig>) -> ControllerRules {
    let (for_topics, for_brokers) = (Arc::clone(config), Arc::clone(config));
    let for_groups = Arc::clone(config);
    ControllerRules {
        num_partitions: config.num_partitions,
        default_replication_factor: config.default_replication_factor,
        check_topic_configs: Box::new(move |configs: &ConfigMap| {
            for_topics.topic(configs).map(|_| ())
        }),
        check_broker_configs: Box::new(move |configs: &ConfigMap| {
            for_brokers.with_dynamic(&ConfigMap::new(), configs).map(|_| ())
        }),
        check_group_configs: Box::new(move |configs: &ConfigMap| {
            group_keys::check(configs, &for_groups.layers)
        }),
    }
}

fn tail_bytes(config: &BrokerConfig, shards: usize) -> usize {
    let all = config.memory_tail_bytes.unwrap_or(TAIL_BYTES_DEFAULT);
    usize::try_from(all).unwrap_or(usize::MAX) / shards.max(1)
}

impl Broker {
    /// Has every image carried to every shard from now on; done when all hold the current one.
    async fn publish(&self) {
        let links = self.links.clone();
        let carry = move |image: Arc<MetadataImage>, _| {
            let links = links.clone();
            async move {
                // A shard that has ended stops the others, and the process with them.
                let _ = links.broadcast(ControlOrder::Apply(image)).await;
            }
        };
        self.controller.publish_to(carry).await;
    }

    /// Announces this broker. After a crash every partition it leads gets a new leader epoch, so
    /// that a reader of records that were lost finds out.
    async fn register(&self) -> Result<(), StartError> {
        let marked = self.data.take_last_shutdown().map_err(StartError::Directory)?;
        let last_shutdown = match self.controller.image().broker(self.config.node_id) {
            Some(_) => marked,
            None => LastShutdown::Clean, // it never ran
        };
        let mut endpoints = BTreeMap::new();
        let advertised = &self.config.advertised_listeners;
        for (listener, bound) in self.config.listeners.iter().zip(&self.addresses) {
            let told = advertised.iter().find(|told| told.name == listener.name);
            let address = told.map_or(&listener.address, |told| &told.address);
            // Port 0 asked for any: the one that was found is told.
            let port = if address.port == 0 { bound.port() } else { address.port };
            let host = match address.is_wildcard() {
                true => host_name(),
                false => address.host.clone(),
            };
            endpoints.insert(listener.name.clone(), Endpoint { host, port });
        }
        let register = RegisterBroker {
            id: self.config.node_id,
            rack: self.config.broker_rack.clone(),
            endpoints,
            last_shutdown,
        };
        let done = self.controller.execute(Command::RegisterBroker(register)).await;
        done.map(|_| ()).map_err(StartError::Register)
    }

    /// Opens the doors; how the shards reach their disk.
    /// Errors: an address is not to be had any more, or a shard has ended.
    pub async fn open(&self) -> Result<DiskAccess, StartError> {
        let opened = self.links.broadcast(ControlOrder::Listen).await;
        let mut access = DiskAccess::Direct;
        for done in opened.map_err(|_| StartError::ShardEnded)? {
            match done {
                OrderDone::Listening(Ok(one)) => access = one,
                OrderDone::Listening(Err(error)) => return Err(StartError::Bind(error)),
                other => panic!("listening was ordered, not {other:?}"),
            }
        }
        Ok(access)
    }

    /// A way to the shards' metrics that may be kept.
    pub fn gauges(&self) -> Gauges {
        Gauges(self.links.clone())
    }

    /// Begins to watch how far groups are behind.
    pub fn watch_groups(&self) -> GroupWatch {
        GroupWatch::start(self.links.clone(), self.controller.clone())
    }

    /// Closes the doors and the logs, then ends shards and controller.
    ///
    /// Leaves the mark of an orderly end if all of it went well.
    pub async fn stop(self) {
        let stopped = self.links.broadcast(ControlOrder::Stop).await;
        let is_clean = |done: &OrderDone| matches!(done, OrderDone::Stopped { clean: true });
        let mut clean = stopped.is_ok_and(|shards| shards.iter().all(is_clean));
        self.shards.stop();
        self.controller.stop().await;
        drop(self.links);
        if let Err(error) = self.shards.wait() {
            tracing::error!(%error, "a shard did not end in order");
            clean = false;
        }
        if clean && let Err(error) = self.data.mark_clean_shutdown() {
            tracing::warn!(%error, "the end is not marked as orderly");
        }
    }
}

/// The shards' metrics.
#[derive(Clone)]
pub struct Gauges(ShardLinks<ControlOrder, OrderDone>);

impl Gauges {
    /// One copy a shard that answers.
    pub async fn gather(&self) -> Vec<ShardMetrics> {
        let mut gathered = Vec::new();
        for index in 0..u16::try_from(self.0.shards()).expect("at most SHARDS_MAX") {
            if let Ok(OrderDone::Metrics(mut metrics, thread)) =
                self.0.send(ShardId(index), ControlOrder::Metrics).await
            {
                thread.count(&mut metrics.reactor);
                gathered.push(*metrics);
            }
        }
        gathered
    }
}

/// What clients may call this host, where the listener has no address of its own.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
