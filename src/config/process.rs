//! The process around the settings: what it was asked for, what it is, what it found at start.
//!
//! In:   the command line's options, the broker's findings.
//! Out:  values that `crate::cli` hands to the broker and prints.
//! Home: pure.

use std::path::PathBuf;

use serde::Serialize;

use super::broker::BrokerConfig;

/// What `yeoul start` was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct StartOptions {
    /// `--dev`.
    pub dev: bool,
    /// The settings of all layers.
    pub config: BrokerConfig,
    /// `--ready-file`: written once the broker is ready.
    pub ready_file: Option<PathBuf>,
}

/// Which program this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BuildFacts {
    /// Always `yeoul`.
    pub name: &'static str,
    /// Version of the crate.
    pub version: &'static str,
    /// Commit, when the build named one in `YEOUL_COMMIT`.
    pub commit: Option<&'static str>,
    /// `release` or `debug`.
    pub profile: &'static str,
}

impl BuildFacts {
    /// The facts of the running program.
    pub fn of_this_program() -> BuildFacts {
        BuildFacts {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("YEOUL_COMMIT"),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" },
        }
    }
}

/// What the broker found and did until it was ready; the start screen shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// The data directory, as it was named.
    pub data_dir: PathBuf,
    /// Alignment of direct I/O in bytes; `None`: writes go through the page cache.
    pub direct_block_bytes: Option<u32>,
    /// The cluster's id.
    pub cluster_id: String,
    /// Whether this start made the cluster.
    pub cluster_is_new: bool,
    /// The processor of each shard; `None` where it is not pinned.
    pub shard_cpus: Vec<Option<u32>>,
    /// Entries of each ring.
    pub ring_depth: u32,
    /// Registered memory of each shard, in bytes.
    pub io_memory_bytes: u64,
    /// Limit of locked memory in bytes; `None`: unlimited.
    pub memlock_bytes: Option<u64>,
    /// Addresses that clients connect to, with their real ports.
    pub kafka: Vec<String>,
    /// The admin endpoint's address, with its real port.
    pub admin: Option<String>,
    /// What is not as it should be.
    pub warnings: Vec<StartWarning>,
    /// Milliseconds from the start of the process until it was ready.
    pub ready_ms: u64,
}

/// One thing that is not as it should be, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartWarning {
    /// What was found.
    pub finding: String,
    /// What mends it.
    pub remedy: String,
}
