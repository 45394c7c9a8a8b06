//! What the broker knows of one client connection.
//!
//! Home: the connection's shard.

use std::net::SocketAddr;

/// One client's connection.
#[derive(Debug)]
pub struct Connection {
    /// The client's address.
    pub peer: SocketAddr,
    /// Name of the listener it came in on: answers name brokers by their address there.
    pub listener: String,
}
