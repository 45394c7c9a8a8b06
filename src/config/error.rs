//! Why a setting is refused, in the words Kafka uses where it has some.

use std::fmt;

use super::keys::{Kind, Scope};

/// A refused setting: which, what was written, and what would be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// No setting has this name in this scope.
    Unknown {
        /// Where it was looked for.
        scope: Scope,
        /// As written.
        name: String,
        /// The name that looks most like it.
        nearest: Option<&'static str>,
    },
    /// The text is no value of the setting's type.
    NotOfKind {
        /// The setting.
        name: &'static str,
        /// As written; empty for a secret.
        value: String,
        /// What it should be.
        kind: Kind,
    },
    /// A number below the least legal one.
    BelowMinimum {
        /// The setting.
        name: &'static str,
        /// As written.
        value: String,
        /// The least legal value.
        minimum: i64,
    },
    /// A number above the greatest legal one.
    AboveMaximum {
        /// The setting.
        name: &'static str,
        /// As written.
        value: String,
        /// The greatest legal value.
        maximum: i64,
    },
    /// A word that is not one of the legal ones.
    NotOneOf {
        /// The setting.
        name: &'static str,
        /// As written.
        value: String,
        /// The legal words.
        legal: &'static [&'static str],
    },
    /// An empty text where something must stand.
    Empty {
        /// The setting.
        name: &'static str,
    },
    /// A topic setting given without a value.
    NoValue {
        /// As written.
        name: String,
    },
    /// Two settings that exclude each other, or one that cannot stand with the other's value.
    Conflict {
        /// The setting that is refused.
        name: &'static str,
        /// Its value.
        value: String,
        /// The setting it conflicts with.
        other: &'static str,
        /// The other's value.
        other_value: String,
    },
    /// A record would have to be compacted before it may be.
    LagConflict {
        /// `min.compaction.lag.ms`.
        min_ms: u64,
        /// `max.compaction.lag.ms`.
        max_ms: u64,
    },
    /// A group's setting is outside of its broker's bounds.
    OutsideBrokers {
        /// The setting.
        name: &'static str,
        /// The broker's setting that says so.
        bound: &'static str,
        /// Whether that is the least legal value; else it is the greatest.
        is_least: bool,
    },
    /// A session of a group that ends before its members are heard.
    NotLongerThan {
        /// The session.
        name: &'static str,
        /// The interval.
        than: &'static str,
    },
    /// A value that `share.auto.offset.reset` does not take.
    BadOffsetReset {
        /// As written.
        value: String,
    },
    /// Tiered storage, asked for a topic.
    NoTieredStorage,
    /// Not a list of `partition:broker` pairs.
    BadReplicaList {
        /// The setting.
        name: &'static str,
        /// As written.
        value: String,
    },
    /// Text that a setting with a form of its own (an address, a list of processors) does not take.
    BadText {
        /// The setting.
        name: &'static str,
        /// As written.
        value: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A wildcard address that would be told to clients.
    AdvertisedWildcard {
        /// The listener's name.
        listener: String,
    },
    /// A feature that Yeoul does not have (yet), asked for by a setting.
    Unsupported {
        /// The setting.
        name: &'static str,
        /// As written.
        value: String,
        /// What is served instead.
        served: &'static str,
    },
    /// `--set` without `=`.
    NotAPair {
        /// As written.
        text: String,
    },
    /// The file is no TOML.
    BadToml {
        /// Line, from 1; 0 if not known.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A TOML value that no setting takes (a date, a table in an array).
    BadTomlValue {
        /// Its dotted name.
        name: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { scope, name, nearest } => write_unknown(f, *scope, name, *nearest),
            Self::NotOfKind { name, value, kind } => write_not_of_kind(f, name, value, *kind),
            Self::BelowMinimum { name, value, minimum } => write!(
                f,
                "Invalid value {value} for configuration {name}: Value must be at least {minimum}"
            ),
            Self::AboveMaximum { name, value, maximum } => write!(
                f,
                "Invalid value {value} for configuration {name}: Value must be no more than {maximum}"
            ),
            Self::NotOneOf { name, value, legal } => write!(
                f,
                "Invalid value {value} for configuration {name}: String must be one of: {}",
                legal.join(", ")
            ),
            Self::Empty { name } => {
                write!(f, "Invalid value for configuration {name}: String must be non-empty")
            }
            Self::NoValue { name } => {
                write!(f, "Null value not supported for topic configs: {name}")
            }
            Self::Conflict { name, value, other, other_value } => {
                write!(f, "conflict: {name} is {value} while {other} is {other_value}")
            }
            Self::LagConflict { min_ms, max_ms } => write!(
                f,
                "conflict topic config setting min.compaction.lag.ms ({min_ms}) > \
                 max.compaction.lag.ms ({max_ms})"
            ),
            Self::OutsideBrokers { name, bound, is_least } => {
                let than = if *is_least { "greater" } else { "less" };
                write!(f, "{name} must be {than} than or equal to {bound}")
            }
            Self::NotLongerThan { name, than } => write!(f, "{name} must be greater than {than}"),
            Self::BadOffsetReset { value } => write!(
                f,
                "Invalid value {value} for configuration share.auto.offset.reset: Invalid value \
                 `{value}` for configuration share.auto.offset.reset. The value must be either \
                 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'."
            ),
            Self::NoTieredStorage => write!(
                f,
                "Tiered Storage functionality is disabled in the broker. Topic cannot be \
                 configured with remote log storage."
            ),
            Self::BadReplicaList { name, value } => write!(
                f,
                "Invalid value [{value}] for configuration {name}: {name} must be the literal \
                 '*' or a list of replicas in the following format: \
                 [partitionId]:[brokerId],[partitionId]:[brokerId],..."
            ),
            Self::BadText { name, value, expected } => {
                write!(f, "Invalid value {value} for configuration {name}: expected {expected}")
            }
            Self::AdvertisedWildcard { listener } => write!(
                f,
                "listener {listener} listens on every address and clients cannot be told that; \
                 set advertised.listeners={listener}://<host clients reach>:<port>"
            ),
            Self::Unsupported { name, value, served } => {
                write!(f, "Invalid value {value} for configuration {name}: only {served} is served")
            }
            Self::NotAPair { text } => write!(f, "'{text}' is not of the form key=value"),
            Self::BadToml { line, message } => write!(f, "line {line}: {message}"),
            Self::BadTomlValue { name } => {
                write!(f, "'{name}' is neither text, number, boolean nor an array of these")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

fn write_unknown(
    f: &mut fmt::Formatter<'_>,
    scope: Scope,
    name: &str,
    nearest: Option<&'static str>,
) -> fmt::Result {
    match scope {
        Scope::Topic => write!(f, "Unknown topic config name: {name}")?,
        Scope::Group => write!(f, "Unknown group config name: {name}")?,
        Scope::Broker => write!(f, "unknown setting '{name}'")?,
    }
    match nearest {
        Some(nearest) => write!(f, "; did you mean '{nearest}'?"),
        None => Ok(()),
    }
}

fn write_not_of_kind(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    value: &str,
    kind: Kind,
) -> fmt::Result {
    write!(f, "Invalid value {value} for configuration {name}: ")?;
    match kind {
        Kind::Boolean => write!(f, "Expected value to be either true or false"),
        Kind::Int | Kind::Short | Kind::Long | Kind::Double => {
            write!(f, "Not a number of type {}", kind.name())
        }
        Kind::String | Kind::List | Kind::Class | Kind::Password => {
            write!(f, "Not a value of type {}", kind.name())
        }
    }
}
