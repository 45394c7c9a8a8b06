//! One question for many partitions, parted by owner and put together again.
//!
//! In:   items, each with its partition and a place in the caller's answer.
//! Out:  the results by place; `None` where the owner's shard has ended.
//! Home: the asking shard. All shards are asked before the first answer is awaited.

use std::rc::Rc;

use crate::model::ids::{ShardId, TopicPartition};
use crate::replica::request::{ShardReply, ShardRequest};
use crate::shard::mesh::Reply;

use super::context::Shard;
use super::orders::{MeshReply, MeshRequest};

/// A question as it is gathered. `P` is a place in the caller's answer.
pub struct Scatter<P, T> {
    shard: Rc<Shard>,
    parts: Vec<Part<P, T>>,
}

struct Part<P, T> {
    owner: ShardId,
    places: Vec<P>,
    items: Vec<T>,
}

impl<P, T> Scatter<P, T> {
    /// Nothing asked yet.
    pub fn new(shard: &Rc<Shard>) -> Scatter<P, T> {
        Scatter { shard: Rc::clone(shard), parts: Vec::new() }
    }

    /// Adds an item for the owner of `partition`.
    pub fn add(&mut self, partition: TopicPartition, place: P, item: T) {
        let owner = self.shard.owner(partition);
        let part = match self.parts.iter_mut().position(|part| part.owner == owner) {
            Some(at) => &mut self.parts[at],
            None => {
                self.parts.push(Part { owner, places: Vec::new(), items: Vec::new() });
                self.parts.last_mut().expect("just pushed")
            }
        };
        part.places.push(place);
        part.items.push(item);
    }

    /// Asks all owners at once; each has the question, in the order of the calls on this shard,
    /// when this returns.
    pub async fn ask(self, ask: impl Fn(Vec<T>) -> ShardRequest) -> Asked<P> {
        let mut replies = Vec::with_capacity(self.parts.len());
        for part in self.parts {
            let request = MeshRequest::Replica(ask(part.items));
            let reply = self.shard.mesh.submit(part.owner, request).await;
            replies.push((part.places, reply));
        }
        Asked(replies)
    }

    /// Asks all owners at once and waits for each place's result.
    pub async fn gather<R>(
        self,
        ask: impl Fn(Vec<T>) -> ShardRequest,
        open: impl Fn(ShardReply) -> Vec<R>,
    ) -> Vec<(P, Option<R>)> {
        self.ask(ask).await.gather(open).await
    }
}

/// A question that its owners have.
pub struct Asked<P>(Vec<(Vec<P>, Reply<MeshReply>)>);

impl<P> Asked<P> {
    /// Each place's result, in no order; `None` where the owner's shard has ended.
    pub async fn gather<R>(self, open: impl Fn(ShardReply) -> Vec<R>) -> Vec<(P, Option<R>)> {
        let mut results = Vec::new();
        for (places, reply) in self.0 {
            match reply.await {
                Ok(reply) => {
                    let answers = open(reply.into_replica());
                    assert!(answers.len() == places.len(), "one answer an item");
                    results.extend(places.into_iter().zip(answers.into_iter().map(Some)));
                }
                Err(_) => results.extend(places.into_iter().map(|place| (place, None))),
            }
        }
        results
    }
}
