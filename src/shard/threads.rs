//! What the kernel counts about a shard's thread: sleeps, preemptions, processor time.
//!
//! In:   the thread's number, which the shard tells.
//! Out:  the kernel's counts since the thread began.
//! Home: read on the control thread, never on a shard: it opens files of `/proc`.

use std::fs::read_to_string;

use crate::metrics::shard::ReactorMetrics;

/// A thread of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thread(i32);

/// The running thread.
pub fn this() -> Thread {
    Thread(rustix::thread::gettid().as_raw_nonzero().get())
}

impl Thread {
    /// Adds what the kernel knows; nothing when the thread has ended or `/proc` is not there.
    pub fn count(self, reactor: &mut ReactorMetrics) {
        let folder = format!("/proc/self/task/{}", self.0);
        if let Ok(text) = read_to_string(format!("{folder}/schedstat")) {
            (reactor.cpu_us, reactor.cpu_wait_us) = times(&text);
        }
        if let Ok(text) = read_to_string(format!("{folder}/status")) {
            reactor.parks = field(&text, "voluntary_ctxt_switches:");
            reactor.preemptions = field(&text, "nonvoluntary_ctxt_switches:");
        }
    }
}

/// Microseconds on a processor and waiting for one. Source: proc(5), sched-stats.
fn times(schedstat: &str) -> (u64, u64) {
    let mut numbers = schedstat.split_whitespace().map(|word| word.parse().unwrap_or(0_u64));
    let mut next_us = || numbers.next().unwrap_or(0) / 1_000;
    (next_us(), next_us())
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::{executor::run_alone, timers};

    #[test]
    fn the_sleeps_and_the_work_of_a_shard_are_seen_from_outside() {
        let counted = run_alone(|| async {
            let mut counts = [ReactorMetrics::default(), ReactorMetrics::default()];
            this().count(&mut counts[0]);
            for _ in 0..10 {
                timers::sleep(std::time::Duration::from_millis(1)).await;
            }
            let end = timers::now().0 + 5_000;
            while timers::now().0 < end {}
            this().count(&mut counts[1]);
            counts
        });
        let [before, after] = counted.expect("it runs");
        assert!(after.parks >= before.parks + 5, "{} then {}", before.parks, after.parks);
        assert!(after.cpu_us > before.cpu_us);
    }

    #[test]
    fn the_kernels_words_are_read() {
        assert_eq!(times("1500000 27000 12\n"), (1_500, 27));
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t54\n";
        assert_eq!(field(status, "voluntary_ctxt_switches:"), 150);
        assert_eq!(field(status, "nonvoluntary_ctxt_switches:"), 54);
        assert_eq!((times(""), field("", "x:")), ((0, 0), 0));
    }
}
