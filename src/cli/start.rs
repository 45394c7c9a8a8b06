//! `yeoul start`: options to settings, settings to a running broker.
//!
//! In:   the command line, `yeoul.toml`.
//! Out:  [`StartOptions`] for the broker; the start screen and the ready file once it is ready.
#![allow(clippy::disallowed_methods)] // reads one file on the main thread, before any shard

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

use super::exit::CliError;
use super::host::{FileSystemFacts, HostFacts};
use super::logging::LogFormat;
use super::ready_file::{self, Ready};
use super::start_screen::{Screen, lines};
use crate::config::broker::BrokerConfig;
use crate::config::error::ConfigError;
use crate::config::layers::{Layer, Layers};
use crate::config::process::{BuildFacts, StartOptions, StartWarning, Started};

/// Most shards of a broker started with `--dev`.
const DEV_SHARDS_MAX: usize = 2;

/// Options of `yeoul start`.
#[derive(Clone, Debug, Args)]
pub struct StartArgs {
    /// Try it out: loopback, ./yeoul-data, at most 2 shards; durability unchanged.
    #[arg(long)]
    pub dev: bool,
    /// Settings file (TOML, Kafka's own names).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, by Kafka's name (num.partitions=6); may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Address for Kafka clients; port 0 takes any free one.
    #[arg(long, value_name = "HOST:PORT")]
    pub kafka: Option<String>,
    /// Address of the admin endpoint; port 0 takes any free one.
    #[arg(long, value_name = "HOST:PORT")]
    pub admin: Option<String>,
    /// Data directory, made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
    /// Number of shards; by default one a usable core.
    #[arg(long, value_name = "N")]
    pub shards: Option<String>,
    /// Processors for shards, as 0,2-5.
    #[arg(long, value_name = "LIST")]
    pub cpus: Option<String>,
    /// JSON file with addresses and pid, written once the broker is ready.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Which log lines to write: a level, or TARGET=LEVEL separated by commas.
    #[arg(long, value_name = "FILTER", env = "YEOUL_LOG", default_value = "warn")]
    pub log: String,
    /// Form of a log line.
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// Reads the settings file, if one was named, and raises everything into types.
///
/// Errors: the file cannot be read, or a setting is refused; both name where it stands.
pub fn options(args: &StartArgs) -> Result<StartOptions, CliError> {
    let mut layers = Layers::new();
    if let Some(path) = &args.config {
        let text = std::fs::read_to_string(path)
            .map_err(|error| CliError::File { path: path.clone(), error })?;
        layers
            .read_toml(&text)
            .map_err(|error| CliError::ConfigFile { path: path.clone(), error })?;
    }
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let config = resolve(args, layers, cpus).map_err(CliError::Config)?;
    Ok(StartOptions { dev: args.dev, config, ready_file: args.ready_file.clone() })
}

/// Lays the command line over the file's `layers`. `cpus` is what the process may use.
fn resolve(args: &StartArgs, mut layers: Layers, cpus: usize) -> Result<BrokerConfig, ConfigError> {
    if args.dev {
        layers.set(Layer::Dev, "shards", &cpus.min(DEV_SHARDS_MAX).to_string())?;
    }
    for pair in &args.set {
        layers.set_pair(pair)?;
    }
    if let Some(address) = &args.kafka {
        layers.set(Layer::Flag, "listeners", &format!("PLAINTEXT://{address}"))?;
    }
    let flags = [
        ("admin.listener", &args.admin),
        ("log.dirs", &args.data),
        ("shards", &args.shards),
        ("cpus", &args.cpus),
    ];
    for (name, value) in flags {
        if let Some(text) = value {
            layers.set(Layer::Flag, name, text)?;
        }
    }
    BrokerConfig::resolve(layers)
}

/// Warnings about settings that change nothing today.
pub fn setting_warnings(config: &BrokerConfig) -> Vec<StartWarning> {
    let warning = |name: &'static str| StartWarning {
        finding: format!("setting {name} has no effect yet"),
        remedy: "remove it, or leave it for later".to_owned(),
    };
    config.layers.without_effect().into_iter().map(warning).collect()
}

/// Prints the start screen to standard error and writes the ready file: called once, when the
/// broker answers.
///
/// Errors: the ready file cannot be written.
pub fn announce(options: &StartOptions, started: Started) -> Result<(), CliError> {
    if let Some(path) = &options.ready_file {
        let ready = Ready {
            kafka: started.kafka.first().cloned().unwrap_or_default(),
            admin: started.admin.clone(),
            pid: std::process::id(),
        };
        ready_file::write(path, &ready)
            .map_err(|error| CliError::File { path: path.clone(), error })?;
    }
    let screen = Screen {
        build: BuildFacts::of_this_program(),
        host: HostFacts::read(),
        file_system: FileSystemFacts::read(&started.data_dir),
        started,
        with_hints: options.dev,
    };
    let mut text = lines(&screen).join("\n");
    text.push('\n');
    // Nobody may be looking; a broker without a terminal serves all the same.
    let _ = io::stderr().write_all(text.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn parse(words: &[&str]) -> StartArgs {
        let words = ["yeoul", "start"].iter().chain(words);
        match Cli::try_parse_from(words).unwrap().command {
            Command::Start(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_win_over_set_and_set_over_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("yeoul.toml");
        let text = "num.partitions = 2\nshards = 1\n\"log.dirs\" = \"/file\"\nnode.id = 5\n";
        std::fs::write(&path, text).unwrap();
        let file = path.to_str().unwrap();
        let words = [
            "--config",
            file,
            "--set",
            "num.partitions=3",
            "--set",
            "log.dirs=/set",
            "--data",
            "/flag",
            "--kafka",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
            "--ready-file",
            "/r",
            "--dev",
        ];
        let options = options(&parse(&words)).unwrap();
        let config = &options.config;
        assert!(options.dev);
        assert_eq!(config.num_partitions, 3);
        assert_eq!(config.shards, Some(1), "the file wins over --dev");
        assert_eq!(config.data_dir, PathBuf::from("/flag"));
        assert_eq!(config.node_id.0, 5);
        assert_eq!(config.listeners[0].address.port, 0);
        assert_eq!(options.ready_file, Some(PathBuf::from("/r")));
    }

    #[test]
    fn dev_takes_at_most_two_shards() {
        let shards =
            |words: &[&str], cpus| resolve(&parse(words), Layers::new(), cpus).unwrap().shards;
        assert_eq!(shards(&["--dev"], 8), Some(2));
        assert_eq!(shards(&["--dev"], 1), Some(1));
        assert_eq!(shards(&["--dev", "--shards", "4"], 8), Some(4));
        assert_eq!(shards(&[], 8), None);
    }

    #[test]
    fn refusals_name_the_place_and_the_remedy() {
        let check = |words: &[&str], want: &str| {
            let error = options(&parse(words)).unwrap_err().to_string();
            assert!(error.contains(want), "{words:?}: {error}");
        };
        check(&["--set", "num.partition=1"], "did you mean 'num.partitions'?");
        check(&["--kafka", "localhost"], "expected NAME://HOST:PORT");
        check(&["--kafka", "0.0.0.0:9092"], "set advertised.listeners=PLAINTEXT://");
        check(&["--shards", "many"], "'auto' or a number from 1 to 256");
        check(&["--config", "/nothing/here.toml"], "/nothing/here.toml: ");
    }

    #[test]
    fn settings_without_effect_are_warned_about() {
        let config = resolve(&parse(&["--set", "num.io.threads=3"]), Layers::new(), 1).unwrap();
        let warnings = setting_warnings(&config);
        assert_eq!(warnings.len(), 1);
        assert_eq!(warnings[0].finding, "setting num.io.threads has no effect yet");
    }
}
