//! What Kafka keeps in `__consumer_offsets` and `__transaction_state`, and what consumers put into groups.
//!
//! In:   keys and values of records; the opaque bytes of members.
//! Out:  typed structs, or a [`RecordError`]; bytes as Kafka writes them.
//! Home: pure.
//!
//! A key is the 16-bit type of the record and then version 0 of its body; a value, and what consumers
//! put into groups, is a 16-bit version and then a body of that version. No value is a tombstone.
//!
//! Invariants
//!   G1  Bytes after a body are ignored, as Kafka does.
//!   G2  A record of a type that is not known is an error of its own: whoever loads a partition skips it.
//!
//! Not here: share groups and groups of the streams protocol; what the records mean.
//! Source: Kafka 4.3's coordinator schemas; KIP-915.

pub mod classic_group;
pub mod consumer_group;
pub mod consumer_protocol;
pub mod transaction;

#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::protocol::primitives::{DecodeError, EncodeError, Reader, Writer};
use crate::protocol::records::classic_group::{
    GroupMetadataKey, LegacyOffsetCommitKey, OffsetCommitKey,
};
use crate::protocol::records::consumer_group::{
    ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupMemberMetadataKey,
    ConsumerGroupMetadataKey, ConsumerGroupPartitionMetadataKey, ConsumerGroupRegularExpressionKey,
    ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMetadataKey,
};
use crate::protocol::records::transaction::TransactionLogKey;
use crate::protocol::wire::{Layout, Wire};

/// A record's bytes; without a value it is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Option<Bytes>,
}

/// A struct with versions of its own, outside any request.
pub trait Data: Wire {
    /// The versions that can be decoded and encoded.
    const VERSIONS: RangeInclusive<i16>;

    /// Whether `version` has compact lengths and tag sections.
    fn is_flexible(version: i16) -> bool;

    /// The layout of `version`; `None` if there is no such version.
    #[must_use]
    fn layout(version: i16) -> Option<Layout> {
        let flexible = Self::is_flexible(version);
        Self::VERSIONS.contains(&version).then_some(Layout { version, flexible })
    }
}

/// A key of a record.
pub trait RecordKey: Data {
    /// The type of the record, which stands before the key.
    const TYPE: i16;
}

/// Why a key or a value could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// A record of a type that is not known here, perhaps of a later release.
    UnknownType {
        /// The type.
        record_type: i16,
    },
    /// The bytes are not what their type or version says.
    Malformed(DecodeError),
}

impl std::fmt::Display for RecordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UnknownType { record_type } => write!(f, "a record of type {record_type}"),
            Self::Malformed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RecordError {}

impl From<DecodeError> for RecordError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

/// The bytes of a key: its type and its body. Errors: [`EncodeError`], our own mistake.
pub fn encode_key<K: RecordKey>(key: &K) -> Result<Bytes, EncodeError> {
    prefixed(K::TYPE, key, 0)
}

/// The bytes of a value: its version and its body. Errors: [`EncodeError`], our own mistake.
pub fn encode_value<V: Data>(value: &V, version: i16) -> Result<Bytes, EncodeError> {
    prefixed(version, value, version)
}

fn prefixed<D: Data>(prefix: i16, data: &D, version: i16) -> Result<Bytes, EncodeError> {
    let layout = D::layout(version).ok_or(EncodeError::UnsupportedVersion { version })?;
    let mut writer = Writer::new();
    writer.write_i16(prefix);
    data.write(&mut writer, layout)?;
    Ok(writer.into_buffer().freeze())
}

/// Reads a value: its version and its body. Errors: no such version, or malformed.
pub fn decode_value<V: Data>(bytes: &[u8]) -> Result<V, RecordError> {
    let mut reader = Reader::new(bytes);
    let version = reader.read_i16()?;
    let layout = V::layout(version).ok_or(DecodeError::UnsupportedVersion { version })?;
    Ok(V::read(&mut reader, layout)?)
}

/// Reads what a consumer or a leader put into a group; a version yet to come is read as the newest
/// known. Errors: a version below the oldest, or malformed: perhaps not of a consumer at all.
pub fn decode_embedded<D: Data>(bytes: &[u8]) -> Result<D, RecordError> {
    let mut reader = Reader::new(bytes);
    let version = reader.read_i16()?;
    let known = version.min(*D::VERSIONS.end());
    let layout = D::layout(known).ok_or(DecodeError::UnsupportedVersion { version })?;
    Ok(D::read(&mut reader, layout)?)
}

macro_rules! keys {
    ($(#[$meta:meta])* $name:ident { $($variant:ident($key:ty),)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name {
            $(
                #[doc = concat!("A record with a `", stringify!($key), "`.")]
                $variant($key),
            )*
        }

        impl $name {
            /// Reads a key. Errors: a type that is not known, or malformed.
            pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
                let mut reader = Reader::new(bytes);
                let record_type = reader.read_i16()?;
                let layout = Layout { version: 0, flexible: false };
                match record_type {
                    $(
                        <$key as RecordKey>::TYPE => {
                            Ok(Self::$variant(<$key>::read(&mut reader, layout)?))
                        }
                    )*
                    _ => Err(RecordError::UnknownType { record_type }),
                }
            }

            /// Its bytes. Errors: [`EncodeError`], our own mistake.
            pub fn encode(&self) -> Result<Bytes, EncodeError> {
                match self {
                    $(Self::$variant(key) => encode_key(key),)*
                }
            }
        }
    };
}

keys! {
    /// A key in `__consumer_offsets`.
    GroupRecordKey {
        LegacyOffsetCommit(LegacyOffsetCommitKey),
        OffsetCommit(OffsetCommitKey),
        GroupMetadata(GroupMetadataKey),
        ConsumerGroupMetadata(ConsumerGroupMetadataKey),
        ConsumerGroupPartitionMetadata(ConsumerGroupPartitionMetadataKey),
        ConsumerGroupMemberMetadata(ConsumerGroupMemberMetadataKey),
        ConsumerGroupTargetAssignmentMetadata(ConsumerGroupTargetAssignmentMetadataKey),
        ConsumerGroupTargetAssignmentMember(ConsumerGroupTargetAssignmentMemberKey),
        ConsumerGroupCurrentMemberAssignment(ConsumerGroupCurrentMemberAssignmentKey),
        ConsumerGroupRegularExpression(ConsumerGroupRegularExpressionKey),
    }
}

keys! {
    /// A key in `__transaction_state`.
    TransactionRecordKey {
        TransactionLog(TransactionLogKey),
    }
}

/// Declares a struct with versions of its own, as `crate::protocol::message` does for an API; the one
/// marked `root` is the [`Data`].
macro_rules! data {
    (
        versions $versions:expr, flexible $flexible:expr;
        $(
            $(#[$meta:meta])*
            $kind:ident $name:ident $body:tt
        )*
    ) => {
        $(
            $crate::protocol::message::message_struct! { $(#[$meta])* $name $body }
            $crate::protocol::records::data_root! { $kind $name ($versions) ($flexible) }
        )*
    };
}

/// `Data` for the struct that is marked so.
macro_rules! data_root {
    (struct $name:ident ($versions:expr) ($flexible:expr)) => {};
    (root $name:ident ($versions:expr) ($flexible:expr)) => {
        impl $crate::protocol::records::Data for $name {
            const VERSIONS: std::ops::RangeInclusive<i16> = $versions;

            fn is_flexible(version: i16) -> bool {
                ($flexible).contains(&version)
            }
        }
    };
}

pub(crate) use {data, data_root};
