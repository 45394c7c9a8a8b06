//! The start screen: what a broker prints when it is ready.
//!
//! In:   facts of program, machine and broker.
//! Out:  lines; each a fact or a next step, warnings numbered with their remedy; within 24 lines.
//! Home: pure.
//!
//! Source: product page 1.2.

use std::fmt::Write;

use super::host::{FileSystemFacts, HostFacts};
use super::version::build_line;
use crate::config::process::{BuildFacts, Started};

/// Most warnings shown; the rest is counted.
const WARNINGS_MAX: usize = 9;

/// Everything the screen shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screen {
    /// The program.
    pub build: BuildFacts,
    /// The machine.
    pub host: HostFacts,
    /// The file system of the data directory, if it could be asked.
    pub file_system: Option<FileSystemFacts>,
    /// The broker.
    pub started: Started,
    /// Whether to end with commands to try.
    pub with_hints: bool,
}

/// The lines of the screen, without line ends.
pub fn lines(screen: &Screen) -> Vec<String> {
    let started = &screen.started;
    let mut lines = vec![
        machine_line(&screen.build, &screen.host),
        data_line(started, screen.file_system.as_ref()),
        shards_line(started),
        listen_line(started),
    ];
    let width = started.warnings.iter().map(|w| w.finding.chars().count()).max().unwrap_or(0);
    for (index, warning) in started.warnings.iter().take(WARNINGS_MAX).enumerate() {
        let (number, finding, remedy) = (index + 1, &warning.finding, &warning.remedy);
        lines.push(format!("W{number}  {finding:<width$}  → {remedy}"));
    }
    if WARNINGS_MAX < started.warnings.len() {
        lines.push(format!("    and {} more in the log", started.warnings.len() - WARNINGS_MAX));
    }
    lines.push(format!("ready in {} ms", started.ready_ms));
    if screen.with_hints {
        let brokers = brokers_option(started);
        lines.push(format!("  try:  yeoul topic create hello -p 4{brokers}"));
        lines.push(format!("        echo 'k1:hi' | yeoul produce hello -f '%k:%v\\n'{brokers}"));
        lines.push(format!("        yeoul consume hello -n 1 -f '%k=%v @%p/%o\\n'{brokers}"));
    }
    lines
}

fn machine_line(build: &BuildFacts, host: &HostFacts) -> String {
    let cpus = plural(host.cpus, "cpu");
    let nodes = plural(host.numa_nodes, "numa node");
    let memory = bytes(host.memory_bytes);
    let program = build_line(build);
    format!("{program} · {} {} · {cpus}, {nodes}, {memory}", host.kernel, host.machine)
}

fn data_line(started: &Started, file_system: Option<&FileSystemFacts>) -> String {
    let mut line = format!("data      {}", started.data_dir.display());
    let name = file_system.map_or("unknown", |facts| facts.name);
    match started.direct_block_bytes {
        Some(block) => write!(line, "  {name}, O_DIRECT {}", bytes(u64::from(block))),
        None => write!(line, "  {name}, buffered (O_DIRECT is refused here), syncs unchanged"),
    }
    .expect("a String takes any text");
    if let Some(facts) = file_system {
        write!(line, ", {} free", bytes(facts.free_bytes)).expect("a String takes any text");
    }
    let age = if started.cluster_is_new { "new cluster" } else { "cluster" };
    format!("{line}  ({age} {})", started.cluster_id)
}

fn shards_line(started: &Started) -> String {
    let pinned: Vec<String> = started.shard_cpus.iter().flatten().map(u32::to_string).collect();
    let place = if pinned.is_empty() {
        "not pinned".to_owned()
    } else {
        format!("on {} {}", if pinned.len() == 1 { "cpu" } else { "cpus" }, pinned.join(","))
    };
    let memlock = started.memlock_bytes.map_or("unlimited".to_owned(), bytes);
    format!(
        "shards    {} {place} · ring {} · io memory {} each (memlock {memlock})",
        started.shard_cpus.len(),
        started.ring_depth,
        bytes(started.io_memory_bytes),
    )
}

fn listen_line(started: &Started) -> String {
    let kafka = started.kafka.join(", ");
    match &started.admin {
        Some(admin) => format!("listen    kafka {kafka} · admin http://{admin}"),
        None => format!("listen    kafka {kafka} · no admin endpoint"),
    }
}

/// What a hint needs to reach a broker that is not where the client looks by itself.
fn brokers_option(started: &Started) -> String {
    match started.kafka.first() {
        Some(address) if address != "127.0.0.1:9092" => format!(" -b {address}"),
        _ => String::new(),
    }
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// `512 B`, `4 KiB`, `31.2 GiB`: at most one digit behind the point, none if it is 0.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut tenths = u128::from(count) * 10 / 1024;
    let mut unit = 0;
    while 10_240 <= tenths && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    match tenths % 10 {
        0 => format!("{} {}", tenths / 10, UNITS[unit]),
        rest => format!("{}.{rest} {}", tenths / 10, UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::process::StartWarning;

    fn screen() -> Screen {
        Screen {
            build: BuildFacts {
                name: "yeoul",
                version: "0.1.0",
                commit: Some("a1b2c3d"),
                profile: "release",
            },
            host: HostFacts {
                kernel: "linux 6.1.0".to_owned(),
                machine: "x86_64".to_owned(),
                cpus: 8,
                numa_nodes: 1,
                memory_bytes: 33_500_000_000,
            },
            file_system: Some(FileSystemFacts {
                name: "ext4",
                total_bytes: 1 << 40,
                free_bytes: 73 << 30,
            }),
            started: Started {
                data_dir: PathBuf::from("./yeoul-data"),
                direct_block_bytes: Some(4096),
                cluster_id: "7QmAAAAAAAAAAAAAAAAAAA".to_owned(),
                cluster_is_new: true,
                shard_cpus: vec![Some(2), Some(4)],
                ring_depth: 512,
                io_memory_bytes: 1 << 20,
                memlock_bytes: Some(8 << 20),
                kafka: vec!["127.0.0.1:9092".to_owned()],
                admin: Some("127.0.0.1:9644".to_owned()),
                warnings: vec![
                    StartWarning {
                        finding: "memlock limit 8 MiB holds back registered buffers".to_owned(),
                        remedy: "ulimit -l unlimited, or LimitMEMLOCK=infinity".to_owned(),
                    },
                    StartWarning { finding: "short".to_owned(), remedy: "mend it".to_owned() },
                ],
                ready_ms: 31,
            },
            with_hints: true,
        }
    }

    #[test]
    fn the_screen_reads_as_designed() {
        let want = "\
yeoul 0.1.0 (a1b2c3d, release) · linux 6.1.0 x86_64 · 8 cpus, 1 numa node, 31.1 GiB
data      ./yeoul-data  ext4, O_DIRECT 4 KiB, 73 GiB free  (new cluster 7QmAAAAAAAAAAAAAAAAAAA)
shards    2 on cpus 2,4 · ring 512 · io memory 1 MiB each (memlock 8 MiB)
listen    kafka 127.0.0.1:9092 · admin http://127.0.0.1:9644
W1  memlock limit 8 MiB holds back registered buffers  → ulimit -l unlimited, or LimitMEMLOCK=infinity
W2  short                                              → mend it
ready in 31 ms
  try:  yeoul topic create hello -p 4
        echo 'k1:hi' | yeoul produce hello -f '%k:%v\\n'
        yeoul consume hello -n 1 -f '%k=%v @%p/%o\\n'";
        assert_eq!(lines(&screen()).join("\n"), want);
    }

    #[test]
    fn other_starts_are_told_apart() {
        let mut other = screen();
        other.started.direct_block_bytes = None;
        other.started.cluster_is_new = false;
        other.started.shard_cpus = vec![None];
        other.started.memlock_bytes = None;
        other.started.kafka = vec!["127.0.0.1:40001".to_owned()];
        other.started.admin = None;
        other.started.warnings.clear();
        let text = lines(&other).join("\n");
        for part in [
            "ext4, buffered (O_DIRECT is refused here), syncs unchanged, 73 GiB free  (cluster 7Qm",
            "shards    1 not pinned · ring 512",
            "(memlock unlimited)",
            "no admin endpoint",
            "yeoul topic create hello -p 4 -b 127.0.0.1:40001",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn the_screen_fits_24_lines_whatever_the_warnings() {
        let mut many = screen();
        let warning = many.started.warnings[0].clone();
        many.started.warnings = vec![warning; 50];
        let lines = lines(&many);
        assert!(lines.len() <= 24, "{}", lines.len());
        assert!(lines.iter().any(|line| line == "    and 41 more in the log"));
    }

    #[test]
    fn sizes_are_short() {
        let check = |count, want: &str| assert_eq!(bytes(count), want);
        check(0, "0 B");
        check(1023, "1023 B");
        check(4096, "4 KiB");
        check(1536, "1.5 KiB");
        check(8 << 20, "8 MiB");
        check(u64::MAX, "15.9 EiB");
    }
}
