//! Links between shards: one ring a direction for each pair, requests and answers on it.
//!
//! In:   requests of this shard for another (or for itself), answers of its own handler.
//! Out:  calls of the handler in order of arrival; replies to those who asked.
//! Home: one [`Mesh`] a shard; only the rings are shared, and each end has one owner.
//!
//! Invariants
//!   M1  What one task submits to one shard, awaiting one `submit` after the other, is handled
//!       there in that order.
//!   M2  A ring is always drained: its receiving task never waits for room, a handler or a lock,
//!       so two full directions cannot block each other.
//!   M3  At most [`MESH_QUEUE_MAX`] requests wait here for one shard; `submit` waits beyond.
//!       Answers wait in the same line without a limit of their own: there is at most one for
//!       each request that the other side has in flight.
//!   M4  Only one task waits on a ring's end, and an end is never cloned.
//!
//! A hop costs a slot in the ring and, if the other shard sleeps, one eventfd write; while it is
//! awake many messages share that one doorbell. Bytes move, they are not copied.
//!
//! Not here: what is asked (`crate::broker`).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use glommio::channels::shared_channel::{
    ConnectedReceiver, ConnectedSender, SharedReceiver, SharedSender, new_bounded,
};
use glommio::{GlommioError, ResourceType};
use slab::Slab;

use super::sync::{Budget, Closed, Event, OnceReceiver, OnceSender, Permit, oneshot};
use super::tasks::{LocalFuture, Queue, spawn, spawn_here, spawn_service, yield_if_needed};
use super::timers;
use crate::metrics::reactor;
use crate::model::ids::ShardId;
use crate::model::time::Micros;

/// Slots of one ring.
pub const MESH_RING_SLOTS: usize = 1_024;
/// Requests that wait in a shard for room in one ring; beyond it `submit` waits.
pub const MESH_QUEUE_MAX: u64 = 1_024;

/// What travels on a ring, and when it was sent.
struct Message<Q, R> {
    sent: Micros,
    id: usize,
    body: Body<Q, R>,
}

enum Body<Q, R> {
    Request(Q),
    Answer(R),
}

/// Ends of the rings of one shard, on their way to it.
pub(super) struct MeshSeed<Q: Send, R: Send> {
    shard: ShardId,
    /// By peer; `None` at its own place.
    senders: Vec<Option<SharedSender<Message<Q, R>>>>,
    receivers: Vec<Option<SharedReceiver<Message<Q, R>>>>,
}

/// One seed a shard, all pairs linked.
pub(super) fn seeds<Q: Send + 'static, R: Send + 'static>(shards: usize) -> Vec<MeshSeed<Q, R>> {
    let mut seeds: Vec<MeshSeed<Q, R>> = (0..shards)
        .map(|shard| MeshSeed {
            shard: ShardId(u16::try_from(shard).expect("at most SHARDS_MAX")),
            senders: (0..shards).map(|_| None).collect(),
            receivers: (0..shards).map(|_| None).collect(),
        })
        .collect();
    for from in 0..shards {
        for to in (0..shards).filter(|&to| to != from) {
            let (sender, receiver) = new_bounded(MESH_RING_SLOTS);
            seeds[from].senders[to] = Some(sender);
            seeds[to].receivers[from] = Some(receiver);
        }
    }
    seeds
}

impl<Q: Send + 'static, R: Send + 'static> MeshSeed<Q, R> {
    /// Connects all rings; waits until every other shard does the same.
    pub(super) async fn connect(self) -> Mesh<Q, R> {
        // All at once: a ring connects when both ends have asked, so an order would deadlock.
        let senders: Vec<_> = self
            .senders
            .into_iter()
            .map(|sender| sender.map(|sender| spawn_here(sender.connect())))
            .collect();
        let receivers: Vec<_> = self
            .receivers
            .into_iter()
            .map(|receiver| receiver.map(|receiver| spawn_here(receiver.connect())))
            .collect();
        let mut peers = Vec::new();
        for sender in senders {
            peers.push(match sender {
                Some(connecting) => Some(Rc::new(Peer::new(connecting.await))),
                None => None,
            });
        }
        let mesh = Mesh(Rc::new(Shared {
            shard: self.shard,
            peers,
            handler: RefCell::new(None),
            early: RefCell::new(VecDeque::new()),
            served: Event::new(),
        }));
        for peer in mesh.0.peers.iter().flatten() {
            spawn_service(Queue::Network, pump(Rc::clone(peer)));
        }
        for (from, receiver) in receivers.into_iter().enumerate() {
            if let Some(connecting) = receiver {
                let from = ShardId(u16::try_from(from).expect("at most SHARDS_MAX"));
                let ring = connecting.await;
                spawn_service(Queue::Network, receive(mesh.clone(), from, ring));
            }
        }
        mesh
    }
}

type Handler<Q, R> = Rc<dyn Fn(ShardId, Q) -> LocalFuture<R>>;

/// A message that waits for the ring; a request holds its place of `room`.
type Queued<Q, R> = (Message<Q, R>, Option<Permit>);

/// The way to one other shard.
struct Peer<Q: Send, R: Send> {
    ring: ConnectedSender<Message<Q, R>>,
    /// What did not fit into the ring, in order.
    backlog: RefCell<VecDeque<Queued<Q, R>>>,
    /// Whether the pump is at work: then everything goes through the backlog (M1).
    pumping: Cell<bool>,
    filled: Event,
    /// Places for requests in the backlog (M3).
    room: Budget,
    /// Who waits for which answer.
    asked: RefCell<Slab<OnceSender<R>>>,
    closed: Cell<bool>,
}

impl<Q: Send, R: Send> Peer<Q, R> {
    fn new(ring: ConnectedSender<Message<Q, R>>) -> Peer<Q, R> {
        Peer {
            ring,
            backlog: RefCell::new(VecDeque::new()),
            pumping: Cell::new(false),
            filled: Event::new(),
            room: Budget::new(MESH_QUEUE_MAX),
            asked: RefCell::new(Slab::new()),
            closed: Cell::new(false),
        }
    }

    fn push(&self, id: usize, body: Body<Q, R>, place: Option<Permit>) {
        let message = Message { sent: timers::now(), id, body };
        let message = if self.pumping.get() {
            message
        } else {
            match self.ring.try_send(message) {
                Ok(()) => return,
                Err(GlommioError::WouldBlock(ResourceType::Channel(message))) => message,
                Err(_closed) => return self.close(),
            }
        };
        self.backlog.borrow_mut().push_back((message, place));
        self.pumping.set(true);
        self.filled.notify();
    }

    /// The other shard is gone: all who wait for it learn that.
    fn close(&self) {
        self.closed.set(true);
        let asked = std::mem::take(&mut *self.asked.borrow_mut());
        drop(asked);
        self.filled.notify();
    }
}

/// Moves the backlog of one peer into its ring as room comes (M4: the one that waits on it).
async fn pump<Q: Send + 'static, R: Send + 'static>(peer: Rc<Peer<Q, R>>) {
    loop {
        let filled = peer.filled.listen();
        loop {
            let next = peer.backlog.borrow_mut().pop_front();
            let Some((message, place)) = next else { break };
            if peer.ring.send(message).await.is_err() {
                peer.close();
            }
            drop(place);
        }
        peer.pumping.set(false);
        if peer.closed.get() {
            return;
        }
        filled.await;
    }
}

/// Takes messages of one peer from its ring, in order, for ever (M2).
async fn receive<Q: Send + 'static, R: Send + 'static>(
    mesh: Mesh<Q, R>,
    from: ShardId,
    ring: ConnectedReceiver<Message<Q, R>>,
) {
    while let Some(message) = ring.recv().await {
        reactor::hopped(timers::now().since(message.sent));
        match message.body {
            Body::Request(request) => mesh.handle(from, message.id, request),
            Body::Answer(answer) => {
                let asked = mesh.peer(from).asked.borrow_mut().try_remove(message.id);
                if let Some(asked) = asked {
                    // Whoever asked may have gone; then nobody wants it.
                    let _ = asked.send(answer);
                }
            }
        }
        yield_if_needed().await;
    }
    mesh.peer(from).close();
}

struct Shared<Q: Send, R: Send> {
    shard: ShardId,
    peers: Vec<Option<Rc<Peer<Q, R>>>>,
    handler: RefCell<Option<Handler<Q, R>>>,
    /// Requests that came before `serve`; at most what the peers may have in flight then.
    early: RefCell<VecDeque<(ShardId, usize, Q)>>,
    served: Event,
}

/// This shard's links to all shards; cheap to clone.
pub struct Mesh<Q: Send + 'static, R: Send + 'static>(Rc<Shared<Q, R>>);

impl<Q: Send, R: Send> Clone for Mesh<Q, R> {
    fn clone(&self) -> Self {
        Mesh(Rc::clone(&self.0))
    }
}

impl<Q: Send, R: Send> std::fmt::Debug for Mesh<Q, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mesh(shard {} of {})", self.0.shard.0, self.0.peers.len())
    }
}

impl<Q: Send + 'static, R: Send + 'static> Mesh<Q, R> {
    /// This shard.
    pub fn shard(&self) -> ShardId {
        self.0.shard
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.0.peers.len()
    }

    /// Sets the function that answers requests; once, before this shard asks itself anything.
    ///
    /// It is called in order of arrival (M1) and must not block; the future it returns runs as
    /// a task of its own in [`Queue::Network`]. Requests that came earlier are handled now.
    pub fn serve(&self, handler: impl Fn(ShardId, Q) -> LocalFuture<R> + 'static) {
        let before = self.0.handler.borrow_mut().replace(Rc::new(handler));
        assert!(before.is_none(), "a shard has one handler");
        loop {
            let next = self.0.early.borrow_mut().pop_front();
            let Some((from, id, request)) = next else { break };
            self.handle(from, id, request);
        }
        self.0.served.notify();
    }

    /// Sends `request` to shard `to` and returns the future of its answer.
    ///
    /// Await this part in the order the requests must arrive (M1): it waits while
    /// [`MESH_QUEUE_MAX`] requests stand in line. The [`Reply`] may be awaited, kept or dropped;
    /// the request is handled all the same. Panics: no such shard.
    pub async fn submit(&self, to: ShardId, request: Q) -> Reply<R> {
        if to == self.0.shard {
            return self.submit_here(request).await;
        }
        let peer = self.peer(to);
        let (sender, receiver) = oneshot();
        if peer.closed.get() {
            return Reply(receiver);
        }
        // Given back at once unless the ring is full; those who wait for it keep their order.
        let place = match peer.room.try_acquire(1) {
            Some(place) => place,
            None => peer.room.acquire(1).await,
        };
        let id = peer.asked.borrow_mut().insert(sender);
        peer.push(id, Body::Request(request), Some(place));
        Reply(receiver)
    }

    async fn submit_here(&self, request: Q) -> Reply<R> {
        loop {
            let served = self.0.served.listen();
            let handler = self.0.handler.borrow().clone();
            if let Some(handler) = handler {
                let (sender, receiver) = oneshot();
                let answer = handler(self.0.shard, request);
                spawn(Queue::Network, async move {
                    let _ = sender.send(answer.await);
                });
                return Reply(receiver);
            }
            served.await;
        }
    }

    fn handle(&self, from: ShardId, id: usize, request: Q) {
        let handler = self.0.handler.borrow().clone();
        let Some(handler) = handler else {
            self.0.early.borrow_mut().push_back((from, id, request));
            return;
        };
        let answer = handler(from, request);
        let peer = Rc::clone(self.peer(from));
        spawn(Queue::Network, async move {
            let answer = answer.await;
            peer.push(id, Body::Answer(answer), None);
        });
    }

    fn peer(&self, shard: ShardId) -> &Rc<Peer<Q, R>> {
        self.0.peers[shard.index()].as_ref().expect("a peer is another shard")
    }

    /// Ends all links; who waits for an answer learns that there will be none.
    pub(super) fn close(&self) {
        for peer in self.0.peers.iter().flatten() {
            peer.ring.close();
            peer.close();
        }
    }
}

/// The answer to come; [`Closed`] when the other shard ends first.
#[derive(Debug)]
pub struct Reply<R>(OnceReceiver<R>);

impl<R> Future for Reply<R> {
    type Output = Result<R, Closed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<R, Closed>> {
        Pin::new(&mut self.0).poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::shard::executor::{Links, ShardContext, ShardSettings, start};

    struct Numbers;

    impl Links for Numbers {
        type Request = u64;
        type Answer = u64;
        type Call = ();
        type CallAnswer = ();
        type Command = ();
        type CommandAnswer = ();
    }

    /// Runs `body` on shard 0 while all shards answer `n` with `n + shard`.
    fn with_shards<Fut: Future<Output = ()> + 'static>(
        shards: usize,
        body: impl Fn(Mesh<u64, u64>) -> Fut + Clone + Send + 'static,
    ) {
        let settings = ShardSettings { shards: Some(shards), ..ShardSettings::default() };
        let (running, _control) = start(&settings, move |context: ShardContext<Numbers>| {
            let body = body.clone();
            async move {
                let shard = u64::from(context.shard.0);
                context.mesh.serve(move |_from, n| Box::pin(async move { n + shard }));
                if context.shard.0 == 0 {
                    body(context.mesh.clone()).await;
                    context.stop.set();
                }
                context.stop.wait().await;
            }
        })
        .expect("the shards start");
        running.wait().expect("no shard panicked");
    }

    #[test]
    fn every_shard_answers_itself_and_the_others() {
        for shards in [1, 2, 4] {
            with_shards(shards, move |mesh| async move {
                for to in 0..u16::try_from(mesh.shards()).expect("few") {
                    let reply = mesh.submit(ShardId(to), 40).await;
                    assert_eq!(reply.await, Ok(40 + u64::from(to)));
                }
                let hops = reactor::counted().hop_us.count();
                assert_eq!(hops, mesh.shards() as u64 - 1, "one answer of each other shard");
            });
        }
    }

    #[test]
    fn more_than_fits_waits_and_arrives_in_order() {
        let settings = ShardSettings { shards: Some(2), ..ShardSettings::default() };
        // A shard that ends takes the answers it still owes with it: neither ends before both have
        // all of theirs.
        let content = Arc::new(AtomicUsize::new(0));
        let (running, _control) = start(&settings, move |context: ShardContext<Numbers>| {
            let content = Arc::clone(&content);
            async move {
                // Both flood each other at once, so both directions are full at the same time.
                let seen = Rc::new(Cell::new(0));
                let count = Rc::clone(&seen);
                context.mesh.serve(move |_from, n| {
                    assert_eq!(n, count.get(), "M1");
                    count.set(n + 1);
                    Box::pin(async move { n })
                });
                let other = ShardId(1 - context.shard.0);
                let mut replies = Vec::new();
                for n in 0..20_000 {
                    replies.push(context.mesh.submit(other, n).await);
                }
                for (n, reply) in replies.into_iter().enumerate() {
                    assert_eq!(reply.await, Ok(n as u64));
                }
                content.fetch_add(1, Ordering::SeqCst);
                while content.load(Ordering::SeqCst) < 2 {
                    crate::shard::timers::sleep(std::time::Duration::from_millis(1)).await;
                }
                assert_eq!(seen.get(), 20_000);
            }
        })
        .expect("the shards start");
        running.wait().expect("no shard panicked");
    }

    #[test]
    fn a_reply_of_a_shard_that_ended_says_so() {
        let settings = ShardSettings { shards: Some(2), ..ShardSettings::default() };
        let (running, _control) = start(&settings, |context: ShardContext<Numbers>| async move {
            if context.shard.0 == 1 {
                context.mesh.serve(|_from, _n| Box::pin(std::future::pending()));
                context.stop.wait().await;
                return;
            }
            let reply = context.mesh.submit(ShardId(1), 7).await;
            context.stop.set();
            assert_eq!(reply.await, Err(Closed));
        })
        .expect("the shards start");
        running.wait().expect("no shard panicked");
    }
}
