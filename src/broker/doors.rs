//! Temporary doors.
#![allow(missing_docs)]
use super::context::Shard;
use super::service::BrokerService;
use crate::config::broker::BrokerConfig;
use crate::metrics::shard::ConnectionMetrics;
pub use crate::net::plain::BindError;
use crate::net::plain::{self as listener, Bound};
use crate::shard::tasks::{self, Queue};
use std::net::SocketAddr;
use std::rc::Rc;
#[derive(Clone)]
pub struct Sockets(Vec<(String, Bound)>);
impl Sockets {
    pub fn bind(config: &BrokerConfig, shards: usize) -> Result<Sockets, BindError> {
        let mut v = Vec::new();
        for l in &config.listeners {
            v.push((
                l.name.clone(),
                listener::bind(&l.address.host, l.address.port, shards, 1024)?,
            ));
        }
        Ok(Sockets(v))
    }
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|b| b.1.address).collect()
    }
}
pub struct Doors {
    shard: Rc<Shard>,
    sockets: Sockets,
}
impl Doors {
    pub fn new(shard: Rc<Shard>, sockets: Sockets) -> Doors {
        Doors { shard, sockets }
    }
    pub fn open(&self) {
        for (name, bound) in &self.sockets.0 {
            let listener = bound.listen(self.shard.id.index(), 1024).expect("listen");
            let service = Rc::new(BrokerService::new(Rc::clone(&self.shard), name.clone()));
            tasks::spawn(Queue::Network, async move {
                while let Ok(stream) = listener.accept().await {
                    tasks::spawn(
                        Queue::Network,
                        crate::net::plain::serve(stream, Rc::clone(&service), 100 << 20),
                    );
                }
            });
        }
    }
    pub async fn close(&self) {}
    pub fn count(&self, _: &mut ConnectionMetrics) {}
}
