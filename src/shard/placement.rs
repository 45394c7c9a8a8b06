//! Which processors the shards get, and how much memory they may pin.
//!
//! In:   the process's affinity (an outer cpuset is honoured), `--shards`, `--cpus`,
//!       `RLIMIT_MEMLOCK`.
//! Out:  one place a shard; bytes of registered I/O memory a shard.
//! Home: the starting thread.
//!
//! Invariants
//!   L1  A shard is never placed on a processor the process may not use.
//!   L2  More shards than processors share them unpinned; the kernel decides.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::sched_getaffinity;

use super::executor::StartError;

/// The runtime refuses to start with less lockable memory.
pub const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;
/// Registered I/O memory of a shard, at most; larger buffers come from the heap.
const IO_MEMORY_BYTES_MAX: u64 = 2 << 20;
const IO_MEMORY_BYTES_MIN: u64 = 64 << 10;
/// The runtime pins the same memory in each of its three rings.
const RINGS: u64 = 3;

/// Where one shard runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Pinned to this processor.
    Pinned(usize),
    /// Anywhere among these.
    Among(Vec<usize>),
}

/// The processors this process may use, ascending.
pub fn usable_cpus() -> Vec<usize> {
    match sched_getaffinity(None) {
        Ok(set) => (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect(),
        Err(_) => vec![0],
    }
}

/// Reads a list like `0-3,6`.
///
/// Errors: [`StartError::CpuList`] when it is not one.
pub fn parse_cpu_list(list: &str) -> Result<Vec<usize>, StartError> {
    let bad = || StartError::CpuList { list: list.to_owned() };
    let mut cpus = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.trim().parse().map_err(|_| bad())?;
        let last: usize = last.trim().parse().map_err(|_| bad())?;
        if last < first || rustix::thread::CpuSet::MAX_CPU <= last {
            return Err(bad());
        }
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    cpus.dedup();
    Ok(cpus)
}

/// One place for each shard: `shards` of them, or one a processor.
///
/// Errors: a processor of `cpus` that is not usable (L1); no shards, or too many.
pub fn places(
    shards: Option<usize>,
    cpus: Option<&[usize]>,
    usable: &[usize],
) -> Result<Vec<Place>, StartError> {
    if let Some(&cpu) = cpus.unwrap_or(&[]).iter().find(|cpu| !usable.contains(cpu)) {
        return Err(StartError::CpuNotUsable { cpu, usable: usable.to_vec() });
    }
    let cpus = cpus.unwrap_or(usable);
    let shards = shards.unwrap_or(cpus.len());
    if shards == 0 || super::executor::SHARDS_MAX < shards {
        return Err(StartError::ShardCount { shards });
    }
    if shards <= cpus.len() {
        return Ok(cpus[..shards].iter().map(|&cpu| Place::Pinned(cpu)).collect());
    }
    Ok(vec![Place::Among(cpus.to_vec()); shards]) // L2
}

/// What was found and done about lockable memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memlock {
    /// The limit now, in bytes; `u64::MAX` without one.
    pub limit_bytes: u64,
    /// The limit before, if it was raised.
    pub raised_from: Option<u64>,
}

/// Raises the soft limit to the hard one, and both to what the runtime needs where allowed.
///
/// Errors: [`StartError::Memlock`] when it stays below [`MEMLOCK_BYTES_MIN`].
pub fn raise_memlock() -> Result<Memlock, StartError> {
    let before = getrlimit(Resource::Memlock);
    let soft = before.current.unwrap_or(u64::MAX);
    let hard = before.maximum.unwrap_or(u64::MAX);
    if soft < hard {
        let _ = setrlimit(
            Resource::Memlock,
            Rlimit { current: before.maximum, maximum: before.maximum },
        );
    } else if soft < MEMLOCK_BYTES_MIN {
        // Only a privileged process may; the check below says what came of it.
        let enough = Some(MEMLOCK_BYTES_MIN);
        let _ = setrlimit(Resource::Memlock, Rlimit { current: enough, maximum: enough });
    }
    let limit_bytes = getrlimit(Resource::Memlock).current.unwrap_or(u64::MAX);
    if limit_bytes < MEMLOCK_BYTES_MIN {
        return Err(StartError::Memlock { limit_bytes });
    }
    Ok(Memlock { limit_bytes, raised_from: (soft < limit_bytes).then_some(soft) })
}

/// Registered I/O memory for each of `shards`, in bytes, within the limit.
pub fn io_memory_bytes(memlock: Memlock, shards: usize) -> usize {
    let each = memlock.limit_bytes / (RINGS * shards as u64 + 1);
    let blocks = each.clamp(IO_MEMORY_BYTES_MIN, IO_MEMORY_BYTES_MAX) / 4_096;
    usize::try_from(blocks * 4_096).expect("at most 2 MiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_are_read_and_nonsense_is_refused() {
        assert_eq!(parse_cpu_list("0-2,5,1").expect("a list"), vec![0, 1, 2, 5]);
        for bad in ["", "a", "3-1", "0-99999999", "1,,2", "-1"] {
            assert!(parse_cpu_list(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn shards_are_pinned_while_there_are_processors() {
        let usable = [1, 3];
        assert_eq!(
            places(None, None, &usable).expect("fits"),
            vec![Place::Pinned(1), Place::Pinned(3)]
        );
        assert_eq!(places(Some(1), None, &usable).expect("fits"), vec![Place::Pinned(1)]);
        assert_eq!(places(Some(3), None, &usable).expect("shared").len(), 3);
        assert_eq!(places(Some(3), Some(&[3]), &usable).expect("shared")[2], Place::Among(vec![3]));
        assert!(places(None, Some(&[2]), &usable).is_err(), "outside the cpuset");
        assert!(places(Some(0), None, &usable).is_err());
    }

    #[test]
    fn pinned_memory_stays_within_the_limit() {
        for (limit, shards) in [(8 << 20, 2), (8 << 20, 8), (u64::MAX, 64), (512 << 10, 1)] {
            let each = io_memory_bytes(Memlock { limit_bytes: limit, raised_from: None }, shards);
            assert!(each as u64 >= IO_MEMORY_BYTES_MIN && each as u64 <= IO_MEMORY_BYTES_MAX);
            if limit >= 8 << 20 {
                assert!(each as u64 * RINGS * shards as u64 <= limit);
            }
        }
    }
}
