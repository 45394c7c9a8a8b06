//! What other shards, and this one, ask of this shard's replicas.
//!
//! In:   [`ShardRequest`]s in the order in which their senders sent them.
//! Out:  the answers' futures; appends are staged before the next request is looked at.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::model::ids::ShardId;
use crate::shard::tasks::LocalFuture;
use crate::shard::timers;
use crate::storage::options::FailStop;

use super::admin;
use super::append::append;
use super::fetch;
use super::markers;
use super::offsets;
use super::request::{ShardReply, ShardRequest, WatchRequest};
use super::table::Replicas;
use super::watch::Watch;

/// Watches of other shards by who asked and its number.
type RemoteWatches = RefCell<HashMap<(ShardId, u64), Rc<Watch>>>;

/// Answers for one shard's replicas.
pub struct Server {
    replicas: Rc<Replicas>,
    reader: Rc<fetch::Reader>,
    watches: RemoteWatches,
    fail_stop: Rc<FailStop>,
}

impl Server {
    /// A server for these replicas.
    pub fn new(
        replicas: Rc<Replicas>,
        reader: Rc<fetch::Reader>,
        fail_stop: Rc<FailStop>,
    ) -> Rc<Server> {
        Rc::new(Server { replicas, reader, watches: RefCell::default(), fail_stop })
    }

    /// Begins to answer; called in order of arrival.
    pub fn handle(
        self: &Rc<Self>,
        from: ShardId,
        request: ShardRequest,
    ) -> LocalFuture<ShardReply> {
        let server = Rc::clone(self);
        match request {
            ShardRequest::Append(items) => {
                let results = append(&self.replicas, timers::wall_clock(), items);
                Box::pin(async move { ShardReply::Append(results.await) })
            }
            ShardRequest::Read(request) => {
                Box::pin(async move { ShardReply::Read(server.reader.read(&request).await) })
            }
            ShardRequest::Watch(request) => {
                let watch =
                    fetch::watch(&self.replicas, &request.items, request.bytes, request.isolation);
                self.watches.borrow_mut().insert((from, request.id), Rc::clone(&watch));
                Box::pin(async move { server.wait(from, request, watch).await })
            }
            ShardRequest::Unwatch(id) => {
                if let Some(watch) = self.watches.borrow_mut().remove(&(from, id)) {
                    watch.fire();
                }
                Box::pin(std::future::ready(ShardReply::Done))
            }
            ShardRequest::Offsets(queries) => Box::pin(async move {
                ShardReply::Offsets(offsets::offsets(&server.replicas, &queries).await)
            }),
            ShardRequest::DeleteRecords(items) => Box::pin(async move {
                ShardReply::RecordsDeleted(admin::delete_records(&server.replicas, &items).await)
            }),
            ShardRequest::LogSizes => {
                let sizes = ShardReply::LogSizes(admin::log_sizes(&self.replicas));
                Box::pin(std::future::ready(sizes))
            }
            ShardRequest::Producers(partitions) => {
                let known = ShardReply::Producers(admin::producers(&self.replicas, &partitions));
                Box::pin(std::future::ready(known))
            }
            ShardRequest::WriteMarkers(_) => {
                panic!("markers pass the shard's coordinators first (`crate::coordinator::ends`)")
            }
            ShardRequest::BeginTransactions(items) => {
                let begun = ShardReply::TransactionsBegun(markers::begin(&self.replicas, &items));
                Box::pin(std::future::ready(begun))
            }
            ShardRequest::DirectoryFailed(error) => {
                self.fail_stop.fail(error);
                Box::pin(std::future::ready(ShardReply::Done))
            }
            ShardRequest::EpochEnds(queries) => {
                let ends = offsets::epoch_ends(&self.replicas, &queries);
                Box::pin(std::future::ready(ShardReply::EpochEnds(ends)))
            }
        }
    }

    async fn wait(&self, from: ShardId, request: WatchRequest, watch: Rc<Watch>) -> ShardReply {
        // Past the deadline the reader has gone on by itself; the answer only ends the watch.
        let _ = timers::timeout_at(request.deadline, watch.wait()).await;
        self.watches.borrow_mut().remove(&(from, request.id));
        ShardReply::Done
    }
}
