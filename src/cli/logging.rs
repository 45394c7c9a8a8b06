//! Log lines: written by a thread of their own, dropped and counted when it cannot keep up.
//!
//! In:   `tracing` events of any thread, shards included.
//! Out:  lines on standard error, as text or JSON.
//!
//! Invariants
//!   G1  A log line never blocks the thread that writes it: the queue is bounded and lossy.

use std::fmt;
use std::io;

use clap::ValueEnum;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Most lines that wait for the writer.
pub const LINES_WAITING_MAX: usize = 8_192;

/// Form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Time, level, target, message, fields.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The running writer; dropping it writes what waits.
#[derive(Debug)]
pub struct Logging {
    dropped: ErrorCounter,
    _writer: WorkerGuard,
}

/// Why there is no log.
#[derive(Debug)]
pub enum LoggingError {
    /// The filter is not of the form `level` or `target=level,...`.
    BadFilter {
        /// As written.
        filter: String,
        /// What the parser says.
        message: String,
    },
    /// Something else in this process logs already.
    AlreadySet,
}

impl fmt::Display for LoggingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadFilter { filter, message } => {
                write!(f, "log filter '{filter}': {message}; try 'info' or 'yeoul::net=debug'")
            }
            Self::AlreadySet => write!(f, "logging is set up twice"),
        }
    }
}

impl std::error::Error for LoggingError {}

impl Logging {
    /// Starts the writer and makes it the process's log.
    ///
    /// Errors: [`LoggingError`].
    pub fn start(filter: &str, format: LogFormat) -> Result<Logging, LoggingError> {
        let filter = EnvFilter::try_new(filter).map_err(|error| LoggingError::BadFilter {
            filter: filter.to_owned(),
            message: error.to_string(),
        })?;
        let (lines, writer) = NonBlockingBuilder::default()
            .buffered_lines_limit(LINES_WAITING_MAX)
            .lossy(true)
            .thread_name("yeoul-log")
            .finish(io::stderr());
        let dropped = lines.error_counter();
        let subscriber =
            tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(lines);
        let set = match format {
            LogFormat::Text => subscriber.try_init(),
            LogFormat::Json => subscriber.json().try_init(),
        };
        set.map_err(|_| LoggingError::AlreadySet)?;
        Ok(Logging { dropped, _writer: writer })
    }

    /// A handle that tells how many lines were dropped.
    pub fn dropped(&self) -> ErrorCounter {
        self.dropped.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_is_named() {
        let error = Logging::start("yeoul=loud", LogFormat::Text).unwrap_err();
        assert!(error.to_string().starts_with("log filter 'yeoul=loud'"), "{error}");
    }
}
