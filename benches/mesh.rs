//! Claim: what it costs to ask another shard and have its answer: two hops, one at a time and many.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use yeoul::model::ids::ShardId;
use yeoul::shard::executor::{Links, ShardContext, ShardSettings, start};
use yeoul::shard::mesh::Mesh;

struct Pings;

impl Links for Pings {
    type Request = u64;
    type Answer = u64;
    type Call = ();
    type CallAnswer = ();
    type Command = (u64, u64);
    type CommandAnswer = Duration;
}

/// Asks shard 1 `rounds` times for `at_once` answers.
#[allow(clippy::disallowed_methods)] // a bench reads the clock
async fn ask(mesh: Mesh<u64, u64>, rounds: u64, at_once: u64) -> Duration {
    let begin = Instant::now();
    for _ in 0..rounds {
        let mut replies = Vec::new();
        for n in 0..at_once {
            replies.push(mesh.submit(ShardId(1), n).await);
        }
        for reply in replies {
            reply.await.expect("the other shard lives");
        }
    }
    begin.elapsed()
}

fn hop(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mesh_round_trip");
    for (name, spin) in [("parked", None), ("spinning", Some(Duration::from_micros(50)))] {
        let settings = ShardSettings { shards: Some(2), spin, ..ShardSettings::default() };
        let (shards, control) = start(&settings, |context: ShardContext<Pings>| async move {
            context.mesh.serve(|_from, n| Box::pin(async move { n }));
            let mesh = context.mesh.clone();
            context.commands.serve(move |(rounds, at_once)| {
                let mesh = mesh.clone();
                Box::pin(async move { ask(mesh, rounds, at_once).await })
            });
            context.stop.wait().await;
        })
        .expect("the shards start");
        for at_once in [1, 64] {
            group.throughput(Throughput::Elements(at_once));
            group.bench_function(format!("{name}/{at_once}"), |bencher| {
                bencher.iter_custom(|rounds| {
                    let asked = control.shards.send_blocking(ShardId(0), (rounds, at_once));
                    asked.expect("the shard lives")
                });
            });
        }
        shards.stop();
        shards.wait().expect("no shard panicked");
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = hop
}
criterion_main!(benches);
