//! Facts of the machine that the start screen shows.
//!
//! In:   `/proc`, `/sys`, uname, statfs.
//! Out:  plain values; what cannot be read is left out, never an error.
//! Home: the main thread, before the shards start.
#![allow(clippy::disallowed_methods)] // reads a few bytes of /proc and /sys on the main thread

use std::path::Path;

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// `linux 6.1.0`.
    pub kernel: String,
    /// `x86_64`.
    pub machine: String,
    /// Processors that this process may use.
    pub cpus: usize,
    /// Memory nodes.
    pub numa_nodes: usize,
    /// Memory of the machine, in bytes; 0 if not known.
    pub memory_bytes: u64,
}

/// The file system under a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSystemFacts {
    /// `ext4`; `unknown` where the table does not have it.
    pub name: &'static str,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes free for this user.
    pub free_bytes: u64,
}

impl HostFacts {
    /// Reads them.
    pub fn read() -> HostFacts {
        let uname = rustix::system::uname();
        let release = uname.release().to_string_lossy();
        let short = release.split('-').next().unwrap_or(&release).to_owned();
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        HostFacts {
            kernel: format!("{} {short}", uname.sysname().to_string_lossy().to_lowercase()),
            machine: uname.machine().to_string_lossy().into_owned(),
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            numa_nodes: numa_nodes(),
            memory_bytes: cgroup_memory_bytes()
                .map_or(memory_bytes(&meminfo), |limit| memory_bytes(&meminfo).min(limit)),
        }
    }
}

impl FileSystemFacts {
    /// Reads those of the file system that holds `path`; `None` if it cannot be asked.
    pub fn read(path: &Path) -> Option<FileSystemFacts> {
        let facts = rustix::fs::statfs(path).ok()?;
        let block_bytes = u64::try_from(facts.f_bsize).ok()?;
        Some(FileSystemFacts {
            name: file_system_name(facts.f_type),
            total_bytes: facts.f_blocks.saturating_mul(block_bytes),
            free_bytes: facts.f_bavail.saturating_mul(block_bytes),
        })
    }
}

/// The name of a `statfs` magic number. Source: linux/magic.h.
fn file_system_name(magic: i64) -> &'static str {
    match magic {
        0xEF53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683E => "btrfs",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlay",
        0x2FC1_2FC1 => "zfs",
        0xF2F5_2010 => "f2fs",
        0x6969 => "nfs",
        0x0102_1997 => "9p",
        0x6573_5546 => "fuse",
        _ => "unknown",
    }
}

fn memory_bytes(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.map_or(0, |kib| kib.saturating_mul(1024))
}

/// The smallest memory limit of the process's control groups (version 2), if one has any.
fn cgroup_memory_bytes() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let root = Path::new("/sys/fs/cgroup");
    let folder = root.join(own.trim_start_matches('/'));
    let limits = folder.ancestors().take_while(|folder| folder.starts_with(root)).filter_map(|f| {
        std::fs::read_to_string(f.join("memory.max")).ok()?.trim().parse::<u64>().ok()
    });
    limits.min()
}

fn numa_nodes() -> usize {
    let Ok(entries) = std::fs::read_dir("/sys/devices/system/node") else { return 1 };
    let is_node =
        |name: &str| name.strip_prefix("node").is_some_and(|rest| rest.parse::<u32>().is_ok());
    let nodes = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_node));
    nodes.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_facts() {
        let host = HostFacts::read();
        assert!(host.kernel.starts_with("linux "), "{host:?}");
        assert!(0 < host.cpus && 0 < host.numa_nodes && 0 < host.memory_bytes, "{host:?}");
        let files = FileSystemFacts::read(Path::new("/")).unwrap();
        assert!(0 < files.total_bytes && files.free_bytes <= files.total_bytes);
        assert_eq!(FileSystemFacts::read(Path::new("/nothing/here")), None);
    }

    #[test]
    fn memory_is_read_from_meminfo() {
        assert_eq!(memory_bytes("MemTotal:       2048 kB\nMemFree: 1 kB\n"), 2 << 20);
        assert_eq!(memory_bytes("nothing"), 0);
    }
}
