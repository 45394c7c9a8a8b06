//! The tree of commands and options.
//!
//! In:   the words of the command line.
//! Out:  [`Cli`]; values are raised into types by the command's own file.
//!
//! Invariants (held by the tests at the bottom)
//!   C1  Every command that lists or describes takes `--format`.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::consume::ConsumeArgs;
use super::exit::CliError;
use super::group::GroupCommand;
use super::log::LogCommand;
use super::produce::ProduceArgs;
use super::start::StartArgs;
use super::topic::TopicCommand;
use crate::client::cluster::{Client, ClientOptions};
use crate::config::listener::HostPort;

/// Words after the list of commands.
const EXIT_CODES: &str = "Exit codes: 0 ok, 1 failed, 2 usage, 3 partly failed, \
                          5 damaged data, 130 interrupted.";

/// An event-streaming broker that every Kafka client can use unchanged.
#[derive(Debug, Parser)]
#[command(name = "yeoul", version, about, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a broker in the foreground.
    Start(StartArgs),
    /// Create, list, describe and delete topics.
    #[command(subcommand)]
    Topic(TopicCommand),
    /// List, describe, watch, move and delete groups.
    #[command(subcommand)]
    Group(GroupCommand),
    /// Write records, one a line of standard input unless the format says otherwise.
    Produce(ProduceArgs),
    /// Read records.
    Consume(ConsumeArgs),
    /// Look into log files without a broker.
    #[command(subcommand)]
    Log(LogCommand),
    /// Print which program this is.
    Version(OutputArgs),
}

/// How a command prints its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Columns for people.
    #[default]
    Text,
    /// One JSON document with stable names.
    Json,
}

/// Options of commands that print an answer.
#[derive(Clone, Copy, Debug, Args)]
pub struct OutputArgs {
    /// How to print the answer.
    #[arg(short = 'f', long, value_enum, default_value_t, short_alias = 'o')]
    pub format: OutputFormat,
}

/// Options of commands that talk to brokers.
#[derive(Clone, Debug, Args)]
pub struct ClientArgs {
    /// Brokers to begin with, HOST:PORT, separated by commas.
    #[arg(
        short,
        long,
        env = "YEOUL_BROKERS",
        default_value = "127.0.0.1:9092",
        aliases = ["bootstrap-server", "broker-list"]
    )]
    pub brokers: String,
    /// Longest wait for an answer, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
}

impl ClientArgs {
    /// Finds the cluster.
    ///
    /// Errors: `--brokers` is malformed, or none of them answers in time.
    pub fn connect(&self) -> Result<Client, CliError> {
        let named = self.brokers.split(',').map(str::trim).filter(|text| !text.is_empty());
        let brokers: Option<Vec<HostPort>> = named.map(HostPort::parse).collect();
        let brokers = brokers.filter(|brokers| !brokers.is_empty());
        let brokers = brokers.ok_or_else(|| CliError::BadBrokers { text: self.brokers.clone() })?;
        let timeout = Duration::from_secs(self.timeout);
        let options = ClientOptions { brokers, client_id: "yeoul".to_owned(), timeout };
        Ok(Client::connect(options)?)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn walk(command: &clap::Command, path: &str, visit: &mut impl FnMut(&str, &clap::Command)) {
        for inner in command.get_subcommands() {
            let path = format!("{path} {}", inner.get_name());
            visit(&path, inner);
            walk(inner, &path, visit);
        }
    }

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_listing_or_describing_command_takes_format() {
        let mut seen = 0;
        walk(&Cli::command(), "yeoul", &mut |path, command| {
            let name = command.get_name();
            if !matches!(
                name,
                "list" | "describe" | "lag" | "create" | "delete" | "version" | "verify"
            ) {
                return;
            }
            seen += 1;
            let format = command.get_arguments().any(|arg| arg.get_long() == Some("format"));
            assert!(format, "C1: {path}");
        });
        assert!(6 <= seen, "vacuous: {seen}");
    }

    #[test]
    fn every_command_and_option_says_what_it_is_for() {
        walk(&Cli::command(), "yeoul", &mut |path, command| {
            assert!(command.get_about().is_some(), "{path}");
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{path} {}", arg.get_id());
            }
        });
    }

    #[test]
    fn brokers_have_their_other_names() {
        for name in ["-b", "--brokers", "--bootstrap-server", "--broker-list"] {
            let cli = Cli::try_parse_from(["yeoul", "topic", "list", name, "h:1"]).unwrap();
            let Command::Topic(TopicCommand::List(list)) = cli.command else { panic!("{name}") };
            assert_eq!(list.client.brokers, "h:1");
        }
    }
}
