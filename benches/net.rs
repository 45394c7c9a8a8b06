//! Claim: what one shard's net answers a second over loopback.
//!
//! The client is one blocking thread: it writes one request on each of its connections, then
//! reads one answer from each. So the figure is of server and client together on this machine.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use yeoul::io::slice::Slice;
use yeoul::net::listener::{Listener, NetSettings, reserve};
use yeoul::net::request_budget::RequestBudget;
use yeoul::net::service::{Admitted, Reply, ResponseFrame, Service};
use yeoul::shard::executor::{NoLinks, ShardContext, ShardSettings, Shards, start};

struct Echo;

impl Service for Echo {
    type Connection = ();

    fn connected(&self, _peer: SocketAddr) {}

    async fn admit(&self, _connection: &(), frame: BytesMut) -> Admitted {
        let frame = ResponseFrame { pieces: vec![Slice::Memory(frame.freeze())] };
        Admitted::Reply(Box::pin(async move { Reply::Frame(frame) }))
    }
}

fn serve() -> (SocketAddr, Shards) {
    let reservation = reserve((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
    let address = reservation.address;
    let (listening, is_listening) = flume::bounded(1);
    let settings = ShardSettings { shards: Some(1), ..ShardSettings::default() };
    let (shards, _control) = start(&settings, move |context: ShardContext<NoLinks>| {
        let (reservation, listening) = (reservation.clone(), listening.clone());
        async move {
            let settings = NetSettings::default();
            let listener = Listener::open(&reservation, settings, RequestBudget::new(64 << 20))
                .expect("the address is reserved");
            listening.send(()).expect("the bench waits");
            listener.run(Rc::new(Echo), context.stop, Duration::from_secs(1)).await;
        }
    })
    .expect("the shard starts");
    is_listening.recv().expect("it listens");
    (address, shards)
}

#[allow(clippy::disallowed_methods)] // a bench reads the clock
fn echo(criterion: &mut Criterion) {
    let (address, shards) = serve();
    let mut group = criterion.benchmark_group("net_echo");
    for (connections, bytes) in [(1, 128), (32, 128), (1, 64 << 10), (8, 1 << 20)] {
        let mut clients: Vec<TcpStream> =
            (0..connections).map(|_| TcpStream::connect(address).expect("connected")).collect();
        for client in &clients {
            client.set_nodelay(true).expect("set");
        }
        let mut request = u32::try_from(bytes).expect("small").to_be_bytes().to_vec();
        request.resize(bytes + 4, 7);
        let mut answer = request.clone();
        group.throughput(Throughput::Elements(connections));
        group.bench_function(format!("{connections}x{bytes}"), |bencher| {
            bencher.iter_custom(|rounds| {
                let begin = Instant::now();
                for _ in 0..rounds {
                    for client in &mut clients {
                        client.write_all(&request).expect("sent");
                    }
                    for client in &mut clients {
                        client.read_exact(&mut answer).expect("answered");
                    }
                }
                begin.elapsed()
            });
        });
    }
    group.finish();
    shards.stop();
    shards.wait().expect("no shard panicked");
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = echo
}
criterion_main!(benches);
