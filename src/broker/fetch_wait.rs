//! Waiting for readable bytes at the owners of a fetch's partitions, on whatever shards they are.
//!
//! In:   partitions with how far they have been read, bytes still missing, a deadline.
//! Out:  one wake, when some owner has enough or the deadline has come.
//! Home: the connection's shard.
//!
//! Invariants
//!   W1  Whatever ends the wait, every owner that still watches is told to stop: a client that
//!       goes away during a long wait leaves nothing behind.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use crate::model::ids::{ShardId, TopicPartition};
use crate::model::offset::Offset;
use crate::model::time::Micros;
use crate::partition::leader::Isolation;
use crate::replica::request::{ShardRequest, WatchRequest};
use crate::shard::tasks::{self, Queue};

use super::context::Shard;
use super::orders::MeshRequest;

/// What a wait is for.
pub struct Wanted {
    /// Partitions, and up to where they have been seen.
    pub items: Vec<(TopicPartition, Offset)>,
    /// Bytes still missing, 1 or more.
    pub bytes: usize,
    /// What the reader may see.
    pub isolation: Isolation,
    /// When to give up.
    pub deadline: Micros,
}

/// Watches of one wait; dropping it withdraws them (W1).
struct Watching {
    shard: Rc<Shard>,
    owners: Vec<ShardId>,
    id: u64,
}

/// Waits until an owner has enough, or the deadline.
///
/// With several owners each is asked for a first byte instead: no shard sees the others' bytes,
/// and the caller, woken too early, reads and waits again.
pub async fn wait(shard: &Rc<Shard>, wanted: Wanted) {
    let mut parts: Vec<(ShardId, Vec<(TopicPartition, Offset)>)> = Vec::new();
    for item in wanted.items {
        let owner = shard.owner(item.0);
        match parts.iter_mut().find(|(shard, _)| *shard == owner) {
            Some((_, items)) => items.push(item),
            None => parts.push((owner, vec![item])),
        }
    }
    let bytes = if parts.len() == 1 { wanted.bytes } else { 1 };
    let id = shard.watch_last.get() + 1;
    shard.watch_last.set(id);
    let mut watching = Watching { shard: Rc::clone(shard), owners: Vec::new(), id };
    let mut replies = Vec::with_capacity(parts.len());
    for (owner, items) in parts {
        let (isolation, deadline) = (wanted.isolation, wanted.deadline);
        let request = WatchRequest { id, items, bytes, isolation, deadline };
        watching.owners.push(owner);
        replies.push(
            shard.mesh.submit(owner, MeshRequest::Replica(ShardRequest::Watch(request))).await,
        );
    }
    let first = poll_fn(|context| {
        let ready = replies.iter_mut().position(|reply| {
            Pin::new(reply).poll(context).is_ready() // an ended shard ends the wait too
        });
        ready.map_or(Poll::Pending, Poll::Ready)
    });
    let done = first.await;
    watching.owners.swap_remove(done);
}

impl Drop for Watching {
    fn drop(&mut self) {
        for owner in self.owners.drain(..) {
            let (shard, id) = (Rc::clone(&self.shard), self.id);
            let unwatch = async move {
                let request = MeshRequest::Replica(ShardRequest::Unwatch(id));
                drop(shard.mesh.submit(owner, request).await);
            };
            drop(tasks::spawn(Queue::Network, unwatch));
        }
    }
}
