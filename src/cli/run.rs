//! From the words of the command line to an exit code.
//!
//! In:   the process's arguments, and the function that runs a broker.
//! Out:  the command's answer on standard output; one line on standard error if it fails.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use super::args::{Cli, Command};
use super::exit::CliError;
use super::logging::Logging;
use super::start::{StartArgs, options};
use super::{consume, group, log, produce, ready_file, topic, version};
use crate::config::process::StartOptions;

/// Bytes gathered before they are written to standard output.
const OUTPUT_BYTES: usize = 64 << 10;

/// What the broker is handed.
pub struct StartCall {
    /// Settings and options.
    pub options: StartOptions,
    /// How many log lines were dropped so far; for the metrics.
    pub log_lines_dropped: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl fmt::Debug for StartCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartCall").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Runs a broker until it has shut down. Errors are printed as one line, exit code 1.
pub type StartBroker = fn(StartCall) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Does what the command line says; `start_broker` serves `yeoul start`.
pub fn run(start_broker: StartBroker) -> ExitCode {
    let cli = Cli::parse();
    let mut out = BufWriter::with_capacity(OUTPUT_BYTES, io::stdout().lock());
    let done = dispatch(cli.command, start_broker, &mut out);
    let done = done.and_then(|()| out.flush().map_err(CliError::from));
    // What cannot be written now was reported by `flush`; dropping must not try again.
    let _ = out.into_parts();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is_quiet() {
                let _ = writeln!(io::stderr(), "yeoul: {error}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn dispatch(
    command: Command,
    start_broker: StartBroker,
    out: &mut impl Write,
) -> Result<(), CliError> {
    match command {
        Command::Start(args) => start(&args, start_broker),
        Command::Topic(command) => topic::run(command, out),
        Command::Group(command) => group::run(command, out),
        Command::Produce(args) => produce::run(&args, io::stdin().lock(), out),
        Command::Consume(args) => consume::run(&args, out),
        Command::Log(command) => log::run(command, out),
        Command::Version(args) => version::run(args, out),
    }
}

fn start(args: &StartArgs, start_broker: StartBroker) -> Result<(), CliError> {
    let options = options(args)?;
    let logging = Logging::start(&args.log, args.log_format).map_err(CliError::Logging)?;
    if let Some(path) = &options.ready_file {
        ready_file::remove_stale(path)
            .map_err(|error| CliError::File { path: path.clone(), error })?;
    }
    let dropped = logging.dropped();
    let log_lines_dropped =
        Arc::new(move || u64::try_from(dropped.dropped_lines()).unwrap_or(u64::MAX));
    start_broker(StartCall { options, log_lines_dropped }).map_err(CliError::Start)
}
