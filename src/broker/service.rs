//! The broker as the net sees it: one service a listener and shard.

use std::net::SocketAddr;
use std::rc::Rc;

use bytes::BytesMut;

use crate::net::service::{Admitted, Service};

use super::connection::Connection;
use super::context::Shard;
use super::dispatch;

/// Serves one listener on one shard.
pub struct BrokerService {
    shard: Rc<Shard>,
    listener: String,
}

impl BrokerService {
    /// A service for the listener of that name.
    pub fn new(shard: Rc<Shard>, listener: String) -> BrokerService {
        BrokerService { shard, listener }
    }
}

impl Service for BrokerService {
    type Connection = Rc<Connection>;

    fn connected(&self, peer: SocketAddr) -> Rc<Connection> {
        Rc::new(Connection { peer, listener: self.listener.clone() })
    }

    async fn admit(&self, connection: &Rc<Connection>, frame: BytesMut) -> Admitted {
        dispatch::admit(&self.shard, connection, frame).await
    }
}
