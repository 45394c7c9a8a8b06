//! Soak of the mesh: hops that must all arrive, watched from outside; and limits of the host.
//!
//! `YEOUL_SOAK=50` makes it a million hops and more. A lost wake shows as a count that stands
//! still; a stall that the pacer ended shows in the longest hop, which is printed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::executor::{Links, ShardContext, ShardSettings, StartError, start};
use super::tasks::{Queue, spawn, yield_if_needed};
use super::timers;
use crate::model::ids::ShardId;

/// Round trips of one case in the normal run, of two hops each.
const ROUND_TRIPS: u64 = 1_000;
/// No progress for so long is a lost wake; the pacer needs 10 ms.
const PATIENCE: Duration = Duration::from_secs(10);

struct Pings;

impl Links for Pings {
    type Request = u64;
    type Answer = u64;
    type Call = ();
    type CallAnswer = ();
    type Command = ();
    type CommandAnswer = ();
}

#[derive(Default)]
struct Progress {
    hops: AtomicU64,
    longest_us: AtomicU64,
    ended: AtomicU64,
}

/// Every shard asks its neighbour, one request after the other, beside `busy` work of its own.
async fn ping(context: ShardContext<Pings>, round_trips: u64, busy: bool, progress: Arc<Progress>) {
    context.mesh.serve(|_from, n| Box::pin(async move { n + 1 }));
    let stop = context.stop.clone();
    if busy {
        spawn(Queue::Background, async move {
            while !stop.is_set() {
                yield_if_needed().await;
            }
        });
    }
    let shards = u16::try_from(context.shards).expect("few");
    let next = ShardId((context.shard.0 + 1) % shards);
    for n in 0..round_trips {
        let before = timers::now();
        assert_eq!(context.mesh.submit(next, n).await.await, Ok(n + 1));
        progress.longest_us.fetch_max(timers::now().since(before), Ordering::Relaxed);
        progress.hops.fetch_add(2, Ordering::Relaxed);
    }
    if progress.ended.fetch_add(1, Ordering::Relaxed) + 1 == u64::from(shards) {
        context.stop.set();
    }
    context.stop.wait().await;
}

#[allow(clippy::disallowed_methods)] // the watching thread is no shard
fn soak(shards: usize, spin: Option<Duration>, busy: bool) {
    let scale = std::env::var("YEOUL_SOAK").ok().and_then(|scale| scale.parse::<u64>().ok());
    // A hop to a busy shard takes its whole time slice.
    let round_trips = ROUND_TRIPS * scale.unwrap_or(1) / if busy { 4 } else { 1 };
    let progress = Arc::new(Progress::default());
    let settings = ShardSettings { shards: Some(shards), spin, ..ShardSettings::default() };
    let of_shards = Arc::clone(&progress);
    let (running, _control) = start(&settings, move |context: ShardContext<Pings>| {
        ping(context, round_trips, busy, Arc::clone(&of_shards))
    })
    .expect("the shards start");
    let (ended_sender, ended) = flume::bounded(1);
    let joining = std::thread::spawn(move || {
        let result = running.wait();
        let _ = ended_sender.send(());
        result
    });
    let mut hops = 0;
    while ended.recv_timeout(PATIENCE).is_err() {
        let now = progress.hops.load(Ordering::Relaxed);
        assert!(hops < now, "a lost wake: {now} hops of {shards} shards, spin {spin:?}");
        hops = now;
    }
    joining.join().expect("it only waits").expect("no shard panicked");
    let hops = progress.hops.load(Ordering::Relaxed);
    assert_eq!(hops, 2 * round_trips * shards as u64);
    let longest_us = progress.longest_us.load(Ordering::Relaxed);
    println!("{hops} hops, {shards} shards, spin {spin:?}, busy {busy}: longest {longest_us} us");
}

const SPIN: Option<Duration> = Some(Duration::from_micros(50));

#[test]
fn no_hop_is_lost_between_parked_shards() {
    soak(2, None, false);
    soak(4, None, false);
}

#[test]
fn no_hop_is_lost_between_spinning_shards() {
    soak(2, SPIN, false);
    soak(1, SPIN, false);
}

#[test]
fn no_hop_is_lost_between_busy_shards_that_are_preempted() {
    // The other way to lose one: each round ends by the preempt timer, at 500 us.
    let scale = std::env::var("YEOUL_SOAK").is_ok();
    if scale {
        soak(2, SPIN, true);
        soak(4, None, true);
    } else {
        soak(2, None, true);
    }
}

/// Takes one system call from this thread and those it starts, as a container's profile does.
#[allow(unsafe_code)] // a seccomp filter has no safe wrapper
fn refuse(system_call: libc::c_long) {
    let number = u32::try_from(system_call).expect("a small number");
    let errno = u32::try_from(libc::EPERM).expect("positive");
    let step = |code: u32, jt, jf, k| libc::sock_filter {
        code: u16::try_from(code).expect("a 16-bit code"),
        jt,
        jf,
        k,
    };
    let filter = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | errno),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).expect("four"),
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the filter outlives both calls, which read it and change this thread only.
    let refused = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    assert!(refused, "seccomp is there");
}

#[test]
fn a_kernel_that_refuses_io_uring_is_an_error_with_a_remedy() {
    let result = std::thread::spawn(|| {
        refuse(libc::SYS_io_uring_setup);
        super::executor::run_alone(|| async {})
    })
    .join()
    .expect("an error, not a panic");
    assert_eq!(result, Err(StartError::IoUringRefused { errno: libc::EPERM }));
    let words = StartError::IoUringRefused { errno: libc::EPERM }.to_string();
    assert!(words.contains("io_uring_disabled") && words.contains("seccomp"), "{words}");
}

/// What a child process of this test binary, under other limits, is to find.
#[test]
fn child_under_other_limits() {
    let Ok(expected) = std::env::var("YEOUL_TEST_MEMLOCK") else { return };
    let result = super::executor::run_alone(|| async { 7 });
    match expected.as_str() {
        "raised" => assert_eq!(result, Ok(7)),
        _ => {
            assert_eq!(result, Err(StartError::Memlock { limit_bytes: 64 << 10 }));
            let words = result.expect_err("refused").to_string();
            assert!(words.contains("ulimit -l"), "{words}");
        }
    }
}

/// Runs the child after `limits`, in shell words.
fn child(limits: &str, expected: &str) {
    let binary = std::env::current_exe().expect("this test");
    let filter = "--exact shard::soak_tests::child_under_other_limits";
    let output = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!("{limits} \"$0\" {filter}"))
        .arg(binary)
        .env("YEOUL_TEST_MEMLOCK", expected)
        .output()
        .expect("a shell");
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && words.contains("1 passed"), "{words}");
}

#[test]
fn a_soft_limit_of_64_kib_locked_memory_is_raised() {
    child("ulimit -S -l 64; exec", "raised");
}

#[test]
fn a_hard_limit_of_64_kib_locked_memory_is_an_error_with_a_remedy() {
    if rustix::process::geteuid().is_root() {
        // A privileged process may raise it; so without that privilege.
        child("ulimit -l 64; exec setpriv --bounding-set=-sys_resource", "refused");
    } else {
        child("ulimit -l 64; exec", "refused");
    }
}
