//! The net over loopback: a service of a few letters, and blocking clients of the standard library.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::listener::{BindError, Listener, NetSettings, NetStats, reserve};
use super::request_budget::RequestBudget;
use super::service::{Admitted, CloseReason, Reply, ResponseFrame, Service};
use crate::io::directory::Directory;
use crate::io::file::{Durability, File};
use crate::io::real_directory::RealDirectory;
use crate::io::sendfile::make_resident;
use crate::io::slice::{FileSlice, Slice};
use crate::shard::executor::{NoLinks, ShardContext, ShardSettings, Shards, start};
use crate::shard::timers::sleep;
use crate::testing::prng::Prng;
use crate::testing::seeds::seeds;

const BUDGET_BYTES: u64 = 1 << 20;
const FILE_BYTES: usize = 1 << 20;

/// Answers by the first letter of a request.
struct Letters {
    file: Option<FileSlice>,
}

fn frame(pieces: Vec<Slice>) -> Reply {
    Reply::Frame(ResponseFrame { pieces })
}

/// The number in bytes 1 to 4 of a request.
fn number(request: &[u8]) -> u32 {
    request.get(1..5).map_or(0, |bytes| u32::from_be_bytes(bytes.try_into().expect("four")))
}

impl Service for Letters {
    type Connection = ();

    fn connected(&self, _peer: SocketAddr) {}

    async fn admit(&self, _connection: &(), request: BytesMut) -> Admitted {
        let request = request.freeze();
        let n = number(&request);
        match request.first() {
            // Echo, in two pieces.
            None | Some(b'e') => Admitted::Reply(Box::pin(async move {
                let half = request.len() / 2;
                let pieces = [request.slice(..half), request.slice(half..)];
                frame(pieces.map(Slice::Memory).to_vec())
            })),
            // Echo after so many microseconds.
            Some(b'd') => Admitted::Reply(Box::pin(async move {
                sleep(Duration::from_micros(n.into())).await;
                frame(vec![Slice::Memory(request)])
            })),
            // So many bytes.
            Some(b'b') => Admitted::ReplyAlone(Box::pin(async move {
                frame(vec![Slice::Memory(Bytes::from(vec![b'x'; n as usize]))])
            })),
            // A file between two pieces of memory.
            Some(b'f') => {
                let file = self.file.clone().expect("a test with a file");
                Admitted::Reply(Box::pin(async move {
                    make_resident(file.clone()).await.expect("resident");
                    let (head, tail) = (request.slice(..1), request.slice(1..));
                    frame(vec![Slice::Memory(head), Slice::File(file), Slice::Memory(tail)])
                }))
            }
            Some(b'n') => Admitted::Reply(Box::pin(async { Reply::Nothing })),
            Some(b'c') => {
                Admitted::Reply(Box::pin(async { Reply::Close(CloseReason::BadRequest) }))
            }
            _ => Admitted::Close(CloseReason::BadRequest),
        }
    }
}

struct Running {
    address: SocketAddr,
    shards: Shards,
    stats: flume::Receiver<NetStats>,
}

impl Running {
    fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).expect("connected");
        stream.set_nodelay(true).expect("set");
        // Only so that a broken test fails instead of hanging.
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        Client(stream)
    }

    fn stop(self) -> NetStats {
        self.shards.stop();
        self.shards.wait().expect("no shard panicked");
        let mut sum = NetStats::default();
        while let Ok(stats) = self.stats.recv() {
            sum.connections_open += stats.connections_open;
            sum.connections_accepted += stats.connections_accepted;
            sum.requests += stats.requests;
            sum.bytes_in += stats.bytes_in;
            sum.bytes_out += stats.bytes_out;
        }
        sum
    }
}

fn serve(shards: usize, settings: NetSettings, with_file: bool) -> Running {
    let reservation = reserve((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
    let address = reservation.address;
    let (stats_sender, stats) = flume::unbounded();
    let (listening_sender, listening) = flume::unbounded();
    let settings_of_shards = ShardSettings { shards: Some(shards), ..ShardSettings::default() };
    let body = move |context: ShardContext<NoLinks>| {
        let (reservation, settings) = (reservation.clone(), settings.clone());
        let (stats_sender, listening_sender) = (stats_sender.clone(), listening_sender.clone());
        async move {
            let file = if with_file { Some(sealed_file().await) } else { None };
            let listener = Listener::open(&reservation, settings, RequestBudget::new(BUDGET_BYTES))
                .expect("the address is reserved");
            let stats = listener.stats();
            listening_sender.send(()).expect("the test waits");
            let service = Rc::new(Letters { file });
            listener.run(service, context.stop, Duration::from_secs(5)).await;
            let _ = stats_sender.send(stats.read());
        }
    };
    let (running, _control) = start(&settings_of_shards, body).expect("the shards start");
    for _ in 0..shards {
        listening.recv().expect("the shard listens");
    }
    let shards = running;
    Running { address, shards, stats }
}

fn file_byte(position: usize) -> u8 {
    u8::try_from(position % 249).expect("below 249")
}

/// A removed file of known content, all but its first 100 bytes.
async fn sealed_file() -> FileSlice {
    let path = tempfile::tempdir().expect("a directory");
    let directory = RealDirectory::open(path.path()).await.expect("opened");
    let file = directory.create("sealed").await.expect("made");
    let mut buffer = file.buffer(FILE_BYTES);
    for (position, byte) in buffer.iter_mut().enumerate() {
        *byte = file_byte(position);
    }
    file.write_at(buffer, 0, Durability::Synced).await.expect("written");
    let descriptor = file.descriptor().expect("the real disk has one");
    FileSlice { descriptor, position: 100, length: FILE_BYTES - 100 }
}

struct Client(TcpStream);

fn request(letter: u8, n: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 5).expect("small");
    let mut request = length.to_be_bytes().to_vec();
    request.push(letter);
    request.extend(n.to_be_bytes());
    request.extend(body);
    request
}

impl Client {
    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("sent");
    }

    /// Whether the bytes could be sent.
    fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    fn receive(&mut self) -> Vec<u8> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).expect("a length");
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut body).expect("a body");
        body
    }

    /// Whether the server has closed the connection, without another byte.
    fn is_closed(&mut self) -> bool {
        loop {
            match self.0.read(&mut [0; 1]) {
                Ok(count) => return count == 0,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }
}

#[test]
fn a_request_is_echoed_on_every_number_of_shards() {
    for shards in [1, 2, 4] {
        let running = serve(shards, NetSettings::default(), false);
        for n in 0..20 {
            let mut client = running.client();
            client.send(&request(b'e', n, b"hello"));
            assert_eq!(client.receive(), request(b'e', n, b"hello")[4..]);
        }
        let stats = running.stop();
        assert_eq!((stats.connections_accepted, stats.requests), (20, 20));
        assert_eq!((stats.connections_open, stats.bytes_in), (0, 20 * 14));
        assert_eq!(stats.bytes_out, stats.bytes_in);
    }
}

#[test]
fn answers_leave_in_order_whatever_order_they_are_ready_in() {
    let running = serve(1, NetSettings::default(), false);
    for seed in seeds(5) {
        let mut prng = Prng::new(seed.0);
        let mut client = running.client();
        let requests: Vec<_> = (0..100u8)
            .map(|n| {
                let letter = if prng.chance(50) { b'd' } else { b'e' };
                let us = u32::try_from(prng.below(5_000)).expect("small");
                request(letter, us, &[n])
            })
            .collect();
        client.send(&requests.concat());
        for request in &requests {
            assert_eq!(client.receive(), request[4..]);
        }
    }
    running.stop();
}

#[test]
fn a_thousand_small_requests_in_one_write_and_others_in_pieces() {
    let running = serve(1, NetSettings::default(), false);
    let mut client = running.client();
    let requests: Vec<_> = (0..1_000).map(|n| request(b'e', n, &[7; 100])).collect();
    client.send(&requests.concat());
    for request in &requests {
        assert_eq!(client.receive(), request[4..]);
    }
    // Cut anywhere, also within the length.
    for seed in seeds(5) {
        let mut prng = Prng::new(seed.0);
        let all = requests[..20].concat();
        let mut rest = &all[..];
        while !rest.is_empty() {
            let count = (1 + prng.index(40)).min(rest.len());
            client.send(&rest[..count]);
            rest = &rest[count..];
        }
        for request in &requests[..20] {
            assert_eq!(client.receive(), request[4..]);
        }
    }
    running.stop();
}

#[test]
fn large_bodies_come_whole_and_an_empty_frame_is_a_request() {
    let running = serve(1, NetSettings::default(), false);
    let mut client = running.client();
    for length in [0, 1, 65_531, 65_536, 200_000, 3 << 20] {
        let body: Vec<u8> = (0..length).map(file_byte).collect();
        let sent = request(b'e', 0, &body);
        let mut writing = client.0.try_clone().expect("cloned");
        let expected = sent[4..].to_vec();
        let writer = std::thread::spawn(move || writing.write_all(&sent));
        assert!(client.receive() == expected, "{length} bytes");
        writer.join().expect("no panic").expect("sent");
    }
    client.send(&[0; 4]);
    assert_eq!(client.receive(), b"");
    running.stop();
}

#[test]
fn bad_lengths_close_the_connection_after_what_came_before_is_answered() {
    let settings = NetSettings { request_bytes_max: 1_000, ..NetSettings::default() };
    let running = serve(1, settings, false);
    for length in [-1, i32::MIN, 1_001, i32::MAX] {
        let mut client = running.client();
        let mut bytes = request(b'd', 2_000, b"before");
        bytes.extend(length.to_be_bytes());
        client.send(&bytes);
        assert_eq!(client.receive(), request(b'd', 2_000, b"before")[4..]);
        assert!(client.is_closed(), "{length}");
    }
    let mut client = running.client();
    client.send(&request(b'e', 0, &[0; 995]));
    assert_eq!(client.receive().len(), 1_000, "the limit itself is allowed");
    running.stop();
}

#[test]
fn the_service_may_answer_nothing_or_close() {
    let running = serve(1, NetSettings::default(), false);
    let mut client = running.client();
    client.send(&[request(b'n', 0, b""), request(b'e', 1, b"")].concat());
    assert_eq!(client.receive(), request(b'e', 1, b"")[4..]);
    client
        .send(&[request(b'd', 2_000, b""), request(b'c', 0, b""), request(b'e', 2, b"")].concat());
    assert_eq!(client.receive()[0], b'd');
    assert!(client.is_closed());
    let mut client = running.client();
    client.send(&[request(b'd', 2_000, b""), request(b'?', 0, b"")].concat());
    assert_eq!(client.receive()[0], b'd');
    assert!(client.is_closed());
    running.stop();
}

#[test]
fn a_client_that_leaves_in_a_frame_costs_the_others_nothing() {
    let running = serve(1, NetSettings::default(), false);
    for count in [1, 3, 4, 5, 100] {
        let mut client = running.client();
        client.send(&request(b'e', 0, &[1; 200])[..count]);
    }
    let mut client = running.client();
    client.send(&request(b'e', 0, b"still here"));
    assert_eq!(client.receive(), request(b'e', 0, b"still here")[4..]);
    let stats = running.stop();
    assert_eq!((stats.connections_open, stats.requests), (0, 1));
}

#[test]
fn a_client_that_does_not_read_costs_a_bound_and_nobodys_latency() {
    let settings = NetSettings { response_bytes_max: 64 << 10, ..NetSettings::default() };
    let running = serve(1, settings, false);
    let mut deaf = running.client();
    // Far more than the sockets hold; then requests that must not be read any more.
    deaf.send(&request(b'b', 50 << 20, b""));
    for n in 0..100 {
        deaf.send(&request(b'b', 1_000_000, &[n]));
    }
    let mut other = running.client();
    for n in 0..200 {
        other.send(&request(b'e', n, b"quick"));
        assert_eq!(other.receive(), request(b'e', n, b"quick")[4..]);
    }
    // It gets everything when it reads after all.
    assert_eq!(deaf.receive().len(), 50 << 20);
    for _ in 0..100 {
        assert_eq!(deaf.receive().len(), 1_000_000);
    }
    let stats = running.stop();
    assert_eq!(stats.requests, 301);
}

#[test]
fn more_than_the_budget_is_served_one_after_the_other() {
    let running = serve(1, NetSettings::default(), false);
    // Each frame is larger than a third of the budget, one larger than all of it.
    let clients: Vec<_> = (0..8usize)
        .map(|n| {
            let mut client = running.client();
            std::thread::spawn(move || {
                for round in 0..3 {
                    let length = if n == 0 && round == 1 { 2 << 20 } else { 400 << 10 };
                    let sent = request(b'd', 1_000, &vec![file_byte(n); length]);
                    let mut writing = client.0.try_clone().expect("cloned");
                    let expected = sent[4..].to_vec();
                    let writer = std::thread::spawn(move || writing.write_all(&sent));
                    assert!(client.receive() == expected);
                    writer.join().expect("no panic").expect("sent");
                }
            })
        })
        .collect();
    for client in clients {
        client.join().expect("no panic");
    }
    running.stop();
}

#[test]
fn a_stalled_frame_gives_its_budget_back() {
    let settings = NetSettings { stall_max: Duration::from_millis(60), ..NetSettings::default() };
    let running = serve(1, settings, false);
    let mut stalled = running.client();
    stalled.send(&request(b'e', 0, &vec![0; 2 << 20])[..1_000]); // reserves the whole budget
    let mut client = running.client();
    client.send(&request(b'e', 0, b"after"));
    assert_eq!(client.receive(), request(b'e', 0, b"after")[4..]);
    assert!(stalled.is_closed());
    running.stop();
}

/// R2: a large frame that trickles holds its memory only until another wants it.
#[test]
#[allow(clippy::disallowed_methods)] // the test's own thread may sleep
fn a_large_frame_that_trickles_is_closed_where_another_waits() {
    let settings =
        NetSettings { stall_contended_max: Duration::from_millis(60), ..NetSettings::default() };
    let running = serve(1, settings, false);
    let large = |first: u8| request(b'e', 0, &vec![first; 3 << 20]);
    let mut trickling = running.client();
    trickling.send(&large(1)[..1_000]);
    let mut other = running.client();
    // The budget of the test holds one large frame: this one waits for the first to come on.
    other.send(&large(2)[..1_000]);
    let bytes = large(1);
    let mut sent = 1_000;
    let began = std::time::Instant::now();
    while trickling.try_send(&bytes[sent..=sent]) {
        sent += 1;
        assert!(began.elapsed() < Duration::from_secs(20), "a byte now and then is no progress");
        std::thread::sleep(Duration::from_millis(5)); // the client's trickle
    }
    other.send(&large(2)[1_000..]);
    assert_eq!(other.receive(), large(2)[4..]);
    running.stop();
}

#[test]
fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let settings = NetSettings { idle_max: Duration::from_millis(150), ..NetSettings::default() };
    let running = serve(1, settings, false);
    let mut idle = running.client();
    let mut busy = running.client();
    // An answer that takes three times as long as the deadline is no idleness.
    busy.send(&request(b'd', 450_000, b"late"));
    assert!(idle.is_closed());
    assert_eq!(busy.receive(), request(b'd', 450_000, b"late")[4..]);
    assert!(busy.is_closed());
    running.stop();
}

#[test]
fn file_slices_are_sent_between_memory_also_to_a_slow_reader() {
    let running = serve(1, NetSettings::default(), true);
    let mut client = running.client();
    let requests = 12u32;
    for n in 0..requests {
        client.send(&request(b'f', n, b""));
    }
    for n in 0..requests {
        let answer = client.receive();
        assert_eq!(answer.len(), 5 + FILE_BYTES - 100);
        assert_eq!(answer[0], b'f');
        let (file, tail) = answer[1..].split_at(FILE_BYTES - 100);
        assert!(file.iter().enumerate().all(|(at, byte)| *byte == file_byte(at + 100)));
        assert_eq!(tail, n.to_be_bytes());
    }
    running.stop();
}

#[test]
fn a_stop_answers_what_was_admitted_and_reads_no_more() {
    let running = serve(2, NetSettings::default(), false);
    let mut client = running.client();
    client.send(&[request(b'e', 0, b""), request(b'd', 100_000, b"last")].concat());
    client.receive();
    running.shards.stop();
    assert_eq!(client.receive(), request(b'd', 100_000, b"last")[4..]);
    assert!(client.is_closed());
    assert_eq!(running.stop().connections_open, 0);
}

#[test]
fn a_port_in_use_is_named() {
    let running = serve(2, NetSettings::default(), false);
    let address = running.address;
    assert_eq!(reserve(address).map(|_| ()), Err(BindError::InUse { address }));
    assert!(BindError::InUse { address }.to_string().contains(&address.to_string()));
    running.stop();
    assert!(reserve(address).is_ok(), "free again after the stop");
    let elsewhere = "192.0.2.1:0".parse().expect("an address");
    assert_eq!(reserve(elsewhere).map(|_| ()), Err(BindError::NotAvailable { address: elsewhere }));
}

#[test]
fn connections_above_the_limit_wait_for_a_place() {
    let settings = NetSettings { connections_max: 1, ..NetSettings::default() };
    let running = serve(1, settings, false);
    let mut first = running.client();
    first.send(&request(b'e', 1, b""));
    first.receive();
    let mut second = running.client();
    second.send(&request(b'e', 2, b""));
    drop(first);
    assert_eq!(second.receive(), request(b'e', 2, b"")[4..]);
    running.stop();
}
