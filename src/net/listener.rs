//! Accepts connections on every shard at one address, and looks after those there are.
//!
//! In:   an address, [`NetSettings`], the shard's byte budget, a [`Service`].
//! Out:  one task a connection; [`NetStats`].
//! Home: one listener a shard and address; the kernel spreads connections (SO_REUSEPORT).
//!
//! Invariants
//!   L1  An address is reserved once for the process before any shard listens, and never shared
//!       with another process that listens there.
//!   L2  At most `connections_max` connections a shard; beyond it new ones wait in the backlog.
//!   L3  After the stop, no connection outlives the grace by more than one sweep.
//!
//! Not here: what a connection does (`connection.rs`), advertised names (`crate::broker`).

use std::cell::{Cell, RefCell};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{FromRawFd, IntoRawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::or;
use glommio::net::{TcpListener, TcpStream};
use slab::Slab;
use socket2::{Domain, Protocol, Type};

use super::connection::{self, Live};
use super::request_budget::RequestBudget;
use super::service::{CloseReason, Service};
use super::socket::Socket;
use crate::config::broker::Congestion;
use crate::model::time::Micros;
use crate::shard::executor::StopSignal;
use crate::shard::sync::Event;
use crate::shard::tasks::{Queue, spawn};
use crate::shard::timers::{self, sleep, sleep_until, timeout_at};

/// After a failed accept (no descriptors left), so that the shard does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const IN_USE_TRIES: usize = 10;
const IN_USE_PAUSE: Duration = Duration::from_millis(30);

/// Limits and manners of the connections of one listener.
#[derive(Clone, Debug)]
pub struct NetSettings {
    /// `socket.request.max.bytes`: a longer frame closes the connection.
    pub request_bytes_max: usize,
    /// Requests of one connection that wait for their answer; beyond it nothing is read.
    pub in_flight_max: usize,
    /// Bytes of answers that wait for one client; beyond it nothing is read from it.
    pub response_bytes_max: u64,
    /// `connections.max.idle.ms`: no request for so long closes the connection; so does an
    /// answer of which the client has taken nothing for so long.
    pub idle_max: Duration,
    /// A client that stops in the middle of a frame for so long is closed: it holds the budget.
    pub stall_max: Duration,
    /// The same, for a large frame while others wait for the memory that it holds.
    pub stall_contended_max: Duration,
    /// Connections of this shard.
    pub connections_max: usize,
    /// Connections that wait to be accepted.
    pub backlog: i32,
    /// TCP congestion control of accepted sockets.
    pub congestion: Congestion,
}

impl Default for NetSettings {
    fn default() -> NetSettings {
        NetSettings {
            request_bytes_max: 100 << 20,
            in_flight_max: 1_000,
            response_bytes_max: 8 << 20,
            idle_max: Duration::from_secs(600),
            stall_max: Duration::from_secs(30),
            stall_contended_max: Duration::from_secs(3),
            connections_max: 20_000,
            backlog: 1_024,
            congestion: Congestion::Auto,
        }
    }
}

/// Why an address cannot be listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindError {
    /// Somebody listens there.
    InUse {
        /// The address asked for.
        address: SocketAddr,
    },
    /// No such address on this host.
    NotAvailable {
        /// The address asked for.
        address: SocketAddr,
    },
    /// Ports below 1,024 need a privilege.
    NotPermitted {
        /// The address asked for.
        address: SocketAddr,
    },
    /// Anything else.
    Os {
        /// The address asked for.
        address: SocketAddr,
        /// The operating system's error number.
        errno: i32,
    },
}

impl BindError {
    fn new(address: SocketAddr, error: &std::io::Error) -> BindError {
        match error.raw_os_error().unwrap_or(libc::EIO) {
            libc::EADDRINUSE => Self::InUse { address },
            libc::EADDRNOTAVAIL => Self::NotAvailable { address },
            libc::EACCES | libc::EPERM => Self::NotPermitted { address },
            errno => Self::Os { address, errno },
        }
    }
}

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InUse { address } => write!(
                f,
                "{address} is in use; stop what listens there or choose another port (0 takes \
                 any free one)"
            ),
            Self::NotAvailable { address } => {
                write!(f, "{address} is not an address of this host")
            }
            Self::NotPermitted { address } => {
                write!(f, "not permitted to listen on {address}; choose a port above 1023")
            }
            Self::Os { address, errno } => {
                let error = std::io::Error::from_raw_os_error(*errno);
                write!(f, "cannot listen on {address}: {error}")
            }
        }
    }
}

impl std::error::Error for BindError {}

/// An address that belongs to this process; the shards join it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reservation {
    /// The address, with the port the kernel chose if 0 was asked for.
    pub address: SocketAddr,
    _socket: Arc<socket2::Socket>,
}

fn bound(address: SocketAddr, reuse_port: bool) -> std::io::Result<socket2::Socket> {
    let socket =
        socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?; // connections of an earlier run may linger
    socket.set_reuse_port(reuse_port)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Like [`bound`] without SO_REUSEPORT, which fails if anybody listens, a second broker included.
///
/// The kernel lets go of a killed process's sockets a moment after its end; a restart waits that
/// long before it calls the address taken.
#[allow(clippy::disallowed_methods)] // on the starting thread, before any shard runs
fn probe(address: SocketAddr) -> std::io::Result<()> {
    let mut tries = 0..IN_USE_TRIES;
    loop {
        match bound(address, false) {
            Err(error)
                if error.kind() == std::io::ErrorKind::AddrInUse && tries.next().is_some() =>
            {
                std::thread::sleep(IN_USE_PAUSE);
            }
            result => return result.map(drop),
        }
    }
}

/// Reserves `address` for the shards of this process (L1); port 0 takes any free port.
///
/// Errors: [`BindError`].
pub fn reserve(address: SocketAddr) -> Result<Reservation, BindError> {
    let reserve = || {
        if address.port() != 0 {
            probe(address)?;
        }
        let socket = bound(address, true)?;
        let address = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok(Reservation { address, _socket: Arc::new(socket) })
    };
    reserve().map_err(|error: std::io::Error| BindError::new(address, &error))
}

/// What the connections of one listener on one shard have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetStats {
    /// Open now.
    pub connections_open: u64,
    /// Accepted since the start.
    pub connections_accepted: u64,
    /// Requests read.
    pub requests: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
}

struct Shared {
    settings: Rc<NetSettings>,
    budget: RequestBudget,
    connections: RefCell<Slab<Rc<Live>>>,
    /// A connection has ended.
    ended: Event,
    /// Of connections that have ended; those open are added when asked.
    past: Cell<NetStats>,
}

/// One shard's listener at a reserved address.
pub struct Listener {
    listener: TcpListener,
    /// The same socket once more, to end listening.
    listening: socket2::Socket,
    shared: Rc<Shared>,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Listener({} connections)", self.shared.connections.borrow().len())
    }
}

/// Asks for the numbers of a listener while it runs; cheap to clone.
#[derive(Clone)]
pub struct StatsHandle(Rc<Shared>);

impl std::fmt::Debug for StatsHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.read())
    }
}

impl StatsHandle {
    /// The numbers now.
    pub fn read(&self) -> NetStats {
        let mut stats = self.0.past.get();
        for (_, live) in self.0.connections.borrow().iter() {
            stats.connections_open += 1;
            add(&mut stats, live);
        }
        stats
    }
}

fn add(stats: &mut NetStats, live: &Live) {
    stats.requests += live.requests.get();
    stats.bytes_in += live.bytes_in();
    stats.bytes_out += live.bytes_out();
}

impl Listener {
    /// Listens at the reserved address on this shard. `budget` is of request bytes; the
    /// listeners of a shard may share it.
    ///
    /// Errors: [`BindError`].
    pub fn open(
        reservation: &Reservation,
        settings: NetSettings,
        budget: RequestBudget,
    ) -> Result<Listener, BindError> {
        let address = reservation.address;
        let listening = || {
            let socket = bound(address, true)?;
            socket.listen(settings.backlog)?;
            Ok((socket.try_clone()?, socket))
        };
        let (listening, socket) = listening().map_err(|error| BindError::new(address, &error))?;
        let shared = Shared {
            settings: Rc::new(settings),
            budget,
            connections: RefCell::new(Slab::new()),
            ended: Event::new(),
            past: Cell::new(NetStats::default()),
        };
        Ok(Listener { listener: adopt(socket), listening, shared: Rc::new(shared) })
    }

    /// A way to read this listener's numbers while it runs.
    pub fn stats(&self) -> StatsHandle {
        StatsHandle(Rc::clone(&self.shared))
    }

    /// Accepts and serves until `stop`; then accepts no more, lets admitted requests be answered
    /// for up to `grace`, and closes what is left (L3).
    pub async fn run<S: Service>(self, service: Rc<S>, stop: StopSignal, grace: Duration) {
        let Listener { listener, listening, shared } = self;
        let accepting = accept_all(&listener, &service, &shared);
        let sweeping = sweep_all(&shared);
        or(stop.wait(), or(accepting, sweeping)).await;
        // Ends listening now: the ring may hold the descriptor for a moment after it is closed,
        // for an accept that is being cancelled, and a new broker would find the port in use.
        let _ = listening.shutdown(Shutdown::Both);
        drop(listener);
        close_all(&shared, grace).await;
    }
}

#[allow(unsafe_code)] // the runtime takes sockets by raw descriptor only
fn adopt(socket: socket2::Socket) -> TcpListener {
    // SAFETY: the descriptor is open and its ownership passes to the listener.
    unsafe { TcpListener::from_raw_fd(socket.into_raw_fd()) }
}

async fn accept_all<S: Service>(listener: &TcpListener, service: &Rc<S>, shared: &Rc<Shared>) {
    loop {
        let ended = shared.ended.listen();
        if shared.connections.borrow().len() >= shared.settings.connections_max {
            ended.await; // L2
            continue;
        }
        drop(ended);
        match listener.accept().await {
            Ok(stream) => connect(stream, service, shared),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn connect<S: Service>(stream: TcpStream, service: &Rc<S>, shared: &Rc<Shared>) {
    let socket = match Socket::new(stream, &shared.settings.congestion) {
        Ok(socket) => socket,
        Err(error) => return tracing::warn!(%error, "cannot set up a connection"),
    };
    let live = Rc::new(Live::new(socket));
    let key = shared.connections.borrow_mut().insert(Rc::clone(&live));
    let mut past = shared.past.get();
    past.connections_accepted += 1;
    shared.past.set(past);
    let (service, shared) = (Rc::clone(service), Rc::clone(shared));
    spawn(Queue::Network, async move {
        let settings = Rc::clone(&shared.settings);
        let reason =
            connection::run(service, Rc::clone(&live), settings, shared.budget.clone()).await;
        tracing::debug!(?reason, "connection closed");
        shared.connections.borrow_mut().remove(key);
        let mut past = shared.past.get();
        add(&mut past, &live);
        shared.past.set(past);
        shared.ended.notify();
    });
}

/// Closes idle, stalled and deaf connections, for ever.
async fn sweep_all(shared: &Rc<Shared>) {
    let settings = &shared.settings;
    let stall_max = settings.stall_max.min(settings.stall_contended_max);
    let period = (settings.idle_max.min(stall_max) / 4)
        .clamp(Duration::from_millis(10), Duration::from_secs(5));
    let period_us = u64::try_from(period.as_micros()).expect("at most 5 s");
    loop {
        sleep_until(Micros(timers::now().0 + period_us)).await;
        let now = timers::now();
        let contended = shared.budget.is_contended();
        for (_, live) in shared.connections.borrow().iter() {
            live.sweep(now, settings, contended);
        }
    }
}

async fn close_all(shared: &Rc<Shared>, grace: Duration) {
    for (_, live) in shared.connections.borrow().iter() {
        live.drain();
    }
    let grace_us = u64::try_from(grace.as_micros()).unwrap_or(u64::MAX);
    let deadline = Micros(timers::now().0.saturating_add(grace_us));
    if timeout_at(deadline, until_empty(shared)).await.is_ok() {
        return;
    }
    for (_, live) in shared.connections.borrow().iter() {
        live.close(CloseReason::Stopping);
    }
    // Those that still wait for a reply of ours end when it comes; nobody waits for them here.
    let _ = timeout_at(Micros(deadline.0.saturating_add(100_000)), until_empty(shared)).await;
}

async fn until_empty(shared: &Shared) {
    loop {
        let ended = shared.ended.listen();
        if shared.connections.borrow().is_empty() {
            return;
        }
        ended.await;
    }
}
