//! How a command ends: one line of words and an exit code.
//!
//! Invariants
//!   E1  0 ok, 1 failed, 2 usage, 3 partly failed, 5 damaged data (130, interrupted, is the
//!       shell's reading of the signal).
//!   E2  A reader that went away is no failure: broken pipe ends quietly with 0.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::consume::OffsetError;
use super::logging::LoggingError;
use super::record_format::{FormatError, InputError};
use crate::client::error::ClientError;
use crate::client::http::HttpError;
use crate::config::error::ConfigError;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub enum CliError {
    /// A setting is refused.
    Config(ConfigError),
    /// A setting in a file is refused.
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// Why.
        error: ConfigError,
    },
    /// A file or directory cannot be used.
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Logging cannot start.
    Logging(LoggingError),
    /// The broker did not start, or ended with an error.
    Start(Box<dyn std::error::Error + Send + Sync>),
    /// A broker could not be talked to, or refused.
    Client(ClientError),
    /// The admin endpoint does not answer.
    Admin(HttpError),
    /// The admin endpoint refused.
    AdminRefused {
        /// Its words.
        words: String,
    },
    /// `--admin` is no address.
    BadAdmin {
        /// As written.
        text: String,
    },
    /// `-b` names no broker.
    BadBrokers {
        /// As written.
        text: String,
    },
    /// A record format is malformed.
    Format(FormatError),
    /// Standard input does not follow the format.
    Input(InputError),
    /// A place in a topic is malformed.
    Offset(OffsetError),
    /// An option of the form KEY=VALUE has no `=`.
    NotAPair {
        /// As written.
        text: String,
    },
    /// Something is to be changed for good, nobody can be asked, and `--yes` was not given.
    NeedsYes,
    /// Somebody was asked, and said no.
    Declined,
    /// Standard output cannot be written.
    Output(io::Error),
    /// Some of several things failed; each was told as it happened.
    Partly {
        /// How many failed.
        failed: usize,
        /// Of how many.
        total: usize,
    },
    /// Data is damaged; each finding was told as it was found.
    Damaged {
        /// How many findings.
        findings: u64,
    },
}

impl CliError {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Config(_)
            | Self::ConfigFile { .. }
            | Self::File { .. }
            | Self::Start(_)
            | Self::Client(_)
            | Self::Admin(_)
            | Self::AdminRefused { .. }
            | Self::Input(_)
            | Self::Declined
            | Self::Output(_) => 1,
            Self::Partly { failed, total } if failed == total => 1,
            Self::Logging(_)
            | Self::BadBrokers { .. }
            | Self::BadAdmin { .. }
            | Self::Format(_)
            | Self::Offset(_)
            | Self::NeedsYes
            | Self::NotAPair { .. } => 2,
            Self::Partly { .. } => 3,
            Self::Damaged { .. } => 5,
        }
    }

    /// Whether there is a line to print.
    pub fn is_quiet(&self) -> bool {
        match self {
            Self::Output(error) => error.kind() == io::ErrorKind::BrokenPipe,
            Self::Partly { total, .. } => *total == 1, // its one failure has been told
            _ => false,
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => write!(f, "{error}"),
            Self::ConfigFile { path, error } => write!(f, "{}: {error}", path.display()),
            Self::File { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Logging(error) => write!(f, "{error}"),
            Self::Start(error) => write!(f, "{error}"),
            Self::Client(error) => write!(f, "{error}"),
            Self::Admin(error) => write!(f, "{error}"),
            Self::AdminRefused { words } => f.write_str(words),
            Self::BadAdmin { text } => write!(f, "--admin '{text}': expected HOST:PORT"),
            Self::BadBrokers { text } => {
                write!(f, "--brokers '{text}': expected HOST:PORT, several separated by commas")
            }
            Self::Format(error) => write!(f, "{error}"),
            Self::Input(error) => write!(f, "{error}"),
            Self::Offset(error) => write!(f, "{error}"),
            Self::NotAPair { text } => write!(f, "'{text}': expected KEY=VALUE"),
            Self::NeedsYes => write!(f, "nothing was changed: without a terminal say --yes"),
            Self::Declined => write!(f, "nothing was changed"),
            Self::Output(error) => write!(f, "standard output: {error}"),
            Self::Partly { failed, total } => write!(f, "{failed} of {total} failed"),
            Self::Damaged { findings: 1 } => write!(f, "1 finding: the data is damaged"),
            Self::Damaged { findings } => write!(f, "{findings} findings: the data is damaged"),
        }
    }
}

impl std::error::Error for CliError {}

impl From<io::Error> for CliError {
    /// Commands write to standard output with `?`; every other file is named explicitly.
    fn from(error: io::Error) -> CliError {
        CliError::Output(error)
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> CliError {
        CliError::Client(error)
    }
}

impl From<HttpError> for CliError {
    fn from(error: HttpError) -> CliError {
        CliError::Admin(error)
    }
}

impl From<FormatError> for CliError {
    fn from(error: FormatError) -> CliError {
        CliError::Format(error)
    }
}

impl From<InputError> for CliError {
    fn from(error: InputError) -> CliError {
        CliError::Input(error)
    }
}

impl From<OffsetError> for CliError {
    fn from(error: OffsetError) -> CliError {
        CliError::Offset(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_documented() {
        let pipe = || CliError::Output(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((pipe().exit_code(), pipe().is_quiet()), (0, true));
        let full = CliError::Output(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!((full.exit_code(), full.is_quiet()), (1, false));
        assert_eq!(CliError::NotAPair { text: "x".to_owned() }.exit_code(), 2);
        assert_eq!(CliError::Partly { failed: 1, total: 2 }.exit_code(), 3);
        assert_eq!(CliError::Partly { failed: 2, total: 2 }.exit_code(), 1);
        assert_eq!(CliError::Damaged { findings: 1 }.exit_code(), 5);
    }
}
