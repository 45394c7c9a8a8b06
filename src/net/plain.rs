//! Temporary simple connection (replaced by helper machine's).
#![allow(unsafe_code, missing_docs, clippy::all)]
use super::service::{Admitted, Reply, Service};
use crate::io::slice::Slice;
use crate::shard::sync::{Event, queue};
use crate::shard::tasks::{Queue, spawn};
use bytes::{Buf, BytesMut};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::TcpStream;
use std::os::fd::AsRawFd;
use std::rc::Rc;

pub async fn serve<S: Service>(mut stream: TcpStream, service: Rc<S>, frame_max: usize) {
    let _ = stream.set_nodelay(true);
    let Ok(peer) = stream.peer_addr() else { return };
    let connection = service.connected(peer);
    let fd = stream.as_raw_fd();
    let dup = unsafe { libc::dup(fd) };
    let writer = unsafe { <TcpStream as std::os::fd::FromRawFd>::from_raw_fd(dup) };
    let (tx, rx) = queue::<crate::shard::tasks::JoinHandle<Reply>>(256);
    let done = Rc::new(Event::new());
    let done2 = done.clone();
    spawn(Queue::Network, async move {
        let mut writer = writer;
        while let Some(handle) = rx.pop().await {
            match handle.await {
                Reply::Frame(frame) => {
                    let mut out = BytesMut::with_capacity(4 + frame.length());
                    out.extend_from_slice(&(frame.length() as i32).to_be_bytes());
                    for p in &frame.pieces {
                        match p {
                            Slice::Memory(b) => out.extend_from_slice(b),
                            Slice::File(_) => panic!(),
                        }
                    }
                    if writer.write_all(&out).await.is_err() {
                        break;
                    }
                }
                Reply::Nothing => {}
                _ => {
                    let _ = writer.shutdown(std::net::Shutdown::Both).await;
                    break;
                }
            }
        }
        let _ = writer.shutdown(std::net::Shutdown::Both).await;
        done2.notify();
    });
    let mut buf = BytesMut::new();
    let mut chunk = vec![0u8; 65536];
    'l: loop {
        while buf.len() < 4 {
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => break 'l,
                Ok(n) => buf.extend_from_slice(&chunk[..n]),
            }
        }
        let len = i32::from_be_bytes([buf[0], buf[1], buf[2], buf[3]]);
        if len < 0 || len as usize > frame_max {
            break;
        }
        buf.advance(4);
        let len = len as usize;
        let frame = if buf.len() >= len {
            BytesMut::from(&buf.split_to(len)[..])
        } else {
            let mut f = BytesMut::zeroed(len);
            let have = buf.len();
            f[..have].copy_from_slice(&buf);
            buf.clear();
            if stream.read_exact(&mut f[have..]).await.is_err() {
                break;
            }
            f
        };
        match service.admit(&connection, frame).await {
            Admitted::Reply(f) | Admitted::ReplyAlone(f) => {
                if tx.push(spawn(Queue::Network, f)).await.is_err() {
                    break;
                }
            }
            Admitted::Close(_) => break,
        }
    }
}
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
pub type BindError = std::io::Error;
#[derive(Clone)]
pub struct Bound {
    pub address: SocketAddr,
    sockets: Arc<Vec<OwnedFd>>,
}
pub fn bind(host: &str, port: u16, shards: usize, _backlog: i32) -> Result<Bound, BindError> {
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    let mut address = (host, port)
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| std::io::Error::other("no address"))?;
    let mut sockets = Vec::new();
    for _ in 0..shards {
        let s = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM,
            None,
        )?;
        s.set_reuse_address(true)?;
        s.set_reuse_port(true)?;
        s.bind(&address.into())?;
        address = s.local_addr()?.as_socket().expect("ip");
        sockets.push(OwnedFd::from(s));
    }
    Ok(Bound { address, sockets: Arc::new(sockets) })
}
impl Bound {
    pub fn listen(&self, shard: usize, backlog: i32) -> std::io::Result<glommio::net::TcpListener> {
        let fd = self.sockets[shard].try_clone()?;
        let s = socket2::Socket::from(fd);
        s.listen(backlog)?;
        Ok(unsafe { glommio::net::TcpListener::from_raw_fd(s.into_raw_fd()) })
    }
}
