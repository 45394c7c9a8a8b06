//! Why a client did not get what it asked for.
//!
//! Each says which broker, which request and which topic, since a user sees nothing else.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::config::listener::HostPort;
use crate::protocol::api::ApiKey;
use crate::protocol::error::ErrorCode;
use crate::protocol::primitives::{DecodeError, EncodeError};

/// What went wrong between this client and a cluster.
#[derive(Debug)]
pub enum ClientError {
    /// No broker could be reached in time.
    NoBroker {
        /// Those tried, in order.
        tried: Vec<HostPort>,
        /// How long.
        waited: Duration,
        /// Why the last one did not answer.
        last: Option<Box<ClientError>>,
    },
    /// A broker's name has no address.
    Resolve {
        /// The broker.
        broker: HostPort,
        /// What the system says.
        error: io::Error,
    },
    /// A broker cannot be connected to.
    Connect {
        /// The broker.
        broker: HostPort,
        /// What the system says.
        error: io::Error,
    },
    /// The connection broke while a request was under way.
    Broken {
        /// The broker.
        broker: HostPort,
        /// The request.
        api: ApiKey,
        /// What the system says.
        error: io::Error,
    },
    /// No answer came in time.
    Timeout {
        /// The broker.
        broker: HostPort,
        /// The request.
        api: ApiKey,
        /// How long.
        waited: Duration,
    },
    /// The answer is not what the protocol says.
    Malformed {
        /// The broker.
        broker: HostPort,
        /// The request.
        api: ApiKey,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// The answer belongs to another request.
    WrongAnswer {
        /// The broker.
        broker: HostPort,
        /// The request.
        api: ApiKey,
    },
    /// The answer is longer than a client takes.
    AnswerTooLarge {
        /// The broker.
        broker: HostPort,
        /// Its length in bytes, or a negative number.
        bytes: i64,
    },
    /// The request cannot be said in the version that the broker serves.
    Encode {
        /// The request.
        api: ApiKey,
        /// What has no place in it.
        error: EncodeError,
    },
    /// The broker does not serve the request in any version that this client speaks.
    NotServed {
        /// The broker.
        broker: HostPort,
        /// The request.
        api: ApiKey,
    },
    /// A broker refused; `subject` is a topic, or a topic and partition.
    Refused {
        /// The request.
        api: ApiKey,
        /// What was asked about.
        subject: String,
        /// Kafka's number for the reason.
        code: i16,
        /// The broker's own words.
        message: Option<String>,
    },
    /// The topic is not there.
    UnknownTopic {
        /// Its name.
        topic: String,
    },
    /// The topic has no such partition.
    UnknownPartition {
        /// Its name.
        topic: String,
        /// The partition asked for.
        partition: i32,
        /// How many it has.
        partitions: usize,
    },
    /// The broker that leads a partition is not known.
    NoLeader {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// A record is larger than any batch.
    RecordTooLarge {
        /// Bytes of the record.
        bytes: usize,
    },
    /// What a broker sent as records cannot be read.
    BadRecords {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset that was to come next.
        offset: i64,
        /// What is wrong, in words of `crate::record`.
        reason: BadRecords,
    },
}

/// What is wrong with records that a broker sent.
#[derive(Debug)]
pub enum BadRecords {
    /// The batch.
    Batch(crate::record::batch::BatchError),
    /// Its compressed records.
    Compressed(crate::record::compression::DecompressError),
    /// One of its records.
    Record(crate::record::records::RecordError),
    /// A codec that nobody knows.
    UnknownCodec {
        /// Its number.
        id: u16,
    },
}

impl ClientError {
    /// Whether the same request may succeed later, or at another broker.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::NoBroker { .. }
            | Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::Broken { .. }
            | Self::Timeout { .. }
            | Self::NoLeader { .. } => true,
            Self::Refused { code, .. } => {
                ErrorCode::from_code(*code).is_some_and(ErrorCode::is_retriable)
            }
            Self::Malformed { .. }
            | Self::WrongAnswer { .. }
            | Self::AnswerTooLarge { .. }
            | Self::Encode { .. }
            | Self::NotServed { .. }
            | Self::UnknownTopic { .. }
            | Self::UnknownPartition { .. }
            | Self::RecordTooLarge { .. }
            | Self::BadRecords { .. } => false,
        }
    }
}

/// `UNKNOWN_TOPIC_OR_PARTITION`, or the number where there is no name.
pub fn code_name(code: i16) -> String {
    match ErrorCode::from_code(code) {
        Some(known) => known.name().to_owned(),
        None => format!("error {code}"),
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBroker { tried, waited, last } => write_no_broker(f, tried, *waited, last),
            Self::Resolve { broker, error } => write!(f, "{broker}: no such host: {error}"),
            Self::Connect { broker, error } => write!(f, "{broker}: {error}"),
            Self::Broken { broker, api, error } => {
                write!(f, "{broker}: the connection broke during {}: {error}", api.name())
            }
            Self::Timeout { broker, api, waited } => {
                let seconds = waited.as_secs_f32();
                write!(f, "{broker}: no answer to {} within {seconds} s", api.name())
            }
            Self::Malformed { broker, api, error } => {
                write!(f, "{broker}: malformed answer to {}: {error}", api.name())
            }
            Self::WrongAnswer { broker, api } => {
                write!(f, "{broker}: answered another request than {}", api.name())
            }
            Self::AnswerTooLarge { broker, bytes } => {
                write!(f, "{broker}: an answer of {bytes} bytes; is this a Kafka port?")
            }
            Self::Encode { api, error } => write!(f, "{}: {error}", api.name()),
            Self::NotServed { broker, api } => {
                write!(f, "{broker}: does not serve {} in a version known here", api.name())
            }
            Self::Refused { api, subject, code, message } => {
                write!(f, "{} of {subject}: {}", api.name(), code_name(*code))?;
                match message.as_deref().filter(|message| !message.is_empty()) {
                    Some(message) => write!(f, ": {message}"),
                    None => Ok(()),
                }
            }
            Self::UnknownTopic { topic } => {
                write!(f, "topic '{topic}' does not exist; create it: yeoul topic create {topic}")
            }
            Self::UnknownPartition { topic, partition, partitions } => {
                write!(f, "topic '{topic}' has {partitions} partitions, and none is {partition}")
            }
            Self::NoLeader { topic, partition } => {
                write!(f, "{topic}/{partition} has no leader now")
            }
            Self::RecordTooLarge { bytes } => write!(f, "a record of {bytes} bytes"),
            Self::BadRecords { topic, partition, offset, reason } => {
                write!(f, "{topic}/{partition} at offset {offset}: {reason}")
            }
        }
    }
}

fn write_no_broker(
    f: &mut fmt::Formatter<'_>,
    tried: &[HostPort],
    waited: Duration,
    last: &Option<Box<ClientError>>,
) -> fmt::Result {
    let tried: Vec<String> = tried.iter().map(HostPort::to_string).collect();
    let seconds = waited.as_secs();
    write!(f, "no broker answered within {seconds} s; tried {}", tried.join(", "))?;
    match last {
        Some(last) => write!(f, "; last error: {last}"),
        None => Ok(()),
    }
}

impl fmt::Display for BadRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch(error) => write!(f, "{error}"),
            Self::Compressed(error) => write!(f, "{error}"),
            Self::Record(error) => write!(f, "{error}"),
            Self::UnknownCodec { id } => write!(f, "a batch packed with codec {id}"),
        }
    }
}

impl std::error::Error for ClientError {}
