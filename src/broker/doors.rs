//! The broker's doors: its listeners on one shard, opened once logs are recovered.
//!
//! In:   addresses reserved at start, before anything is written.
//! Out:  connections served; on the stop, those under way are answered and all are closed.
//! Home: one a shard; [`Sockets`] is made once and handed to all.

use std::cell::RefCell;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::Duration;

use crate::config::broker::BrokerConfig;
use crate::config::listener::HostPort;
use crate::metrics::shard::ConnectionMetrics;
use crate::net::listener::{self, Listener, NetSettings, Reservation, StatsHandle};
use crate::net::request_budget::RequestBudget;
use crate::shard::executor::StopSignal;
use crate::shard::tasks::{self, JoinHandle, Queue};

use super::context::Shard;
use super::service::BrokerService;

/// How long requests under way may take once the broker stops.
const GRACE: Duration = Duration::from_secs(2);
/// `connections.max.idle.ms` of -1: never closed for idleness.
const IDLE_FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

/// Why an address cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindError {
    /// The host's name has no address.
    UnknownHost {
        /// As configured.
        host: String,
    },
    /// The operating system refuses the address.
    Refused(listener::BindError),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownHost { host } => write!(
                f,
                "listeners: {host:?} is no known host; name an address of this machine, or \
                 127.0.0.1"
            ),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BindError {}

/// The addresses of all listeners, reserved for this process.
#[derive(Clone, Debug)]
pub struct Sockets(Vec<(String, Reservation)>);

impl Sockets {
    /// Reserves the address of every listener. Errors: [`BindError`].
    pub fn bind(config: &BrokerConfig) -> Result<Sockets, BindError> {
        let mut sockets = Vec::new();
        for listener in &config.listeners {
            let address = resolve(&listener.address)?;
            let reserved = listener::reserve(address).map_err(BindError::Refused)?;
            sockets.push((listener.name.clone(), reserved));
        }
        Ok(Sockets(sockets))
    }

    /// The addresses, with their real ports, in the order of the settings.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|(_, reservation)| reservation.address).collect()
    }
}

fn resolve(address: &HostPort) -> Result<SocketAddr, BindError> {
    let host = if address.host.is_empty() { "0.0.0.0" } else { address.host.as_str() };
    let found = (host, address.port).to_socket_addrs().ok().and_then(|mut found| found.next());
    found.ok_or_else(|| BindError::UnknownHost { host: host.to_owned() })
}

/// The listeners of one shard.
pub struct Doors {
    shard: Rc<Shard>,
    sockets: Sockets,
    stop: StopSignal,
    running: RefCell<Vec<JoinHandle<()>>>,
    stats: RefCell<Vec<StatsHandle>>,
}

impl Doors {
    /// Closed doors.
    pub fn new(shard: Rc<Shard>, sockets: Sockets, stop: StopSignal) -> Doors {
        Doors { shard, sockets, stop, running: RefCell::default(), stats: RefCell::default() }
    }

    /// Accepts connections from now on. Errors: an address went away since it was reserved.
    pub fn open(&self) -> Result<(), BindError> {
        let settings = settings(&self.shard.static_config, self.shard.shards);
        let share =
            self.shard.static_config.queued_max_request_bytes / u64::from(self.shard.shards);
        let budget = RequestBudget::new(share.max(settings.request_bytes_max as u64));
        for (name, reservation) in &self.sockets.0 {
            let listener = Listener::open(reservation, settings.clone(), budget.clone())
                .map_err(BindError::Refused)?;
            self.stats.borrow_mut().push(listener.stats());
            let service = Rc::new(BrokerService::new(Rc::clone(&self.shard), name.clone()));
            let run = listener.run(service, self.stop.clone(), GRACE);
            self.running.borrow_mut().push(tasks::spawn(Queue::Network, run));
        }
        Ok(())
    }

    /// Stops to accept, on every shard; done when this shard's connections are closed.
    pub async fn close(&self) {
        self.stop.set();
        for running in self.running.take() {
            running.await;
        }
    }

    /// Adds what the connections have done.
    pub fn count(&self, metrics: &mut ConnectionMetrics) {
        for stats in self.stats.borrow().iter() {
            let stats = stats.read();
            metrics.open += stats.connections_open;
            metrics.accepted += stats.connections_accepted;
        }
    }
}

fn settings(config: &BrokerConfig, shards: u16) -> NetSettings {
    let connections_max = usize::try_from(config.max_connections).expect("32 bits");
    NetSettings {
        request_bytes_max: usize::try_from(config.socket_request_max_bytes).expect("32 bits"),
        idle_max: config.connections_max_idle_ms.map_or(IDLE_FOR_EVER, Duration::from_millis),
        connections_max: connections_max.div_ceil(usize::from(shards)),
        backlog: config.socket_listen_backlog_size,
        congestion: config.socket_congestion_control.clone(),
        ..NetSettings::default()
    }
}
