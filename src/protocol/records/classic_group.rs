//! Committed offsets and classic groups in `__consumer_offsets`.
//!
//! Kafka 4.3 writes offsets in version 4 (1 if they have a time of expiry) and groups in version 3, and reads
//! all. Source: KIP-915 (only tagged fields are added), Kafka 4.3's schemas.

use bytes::Bytes;

use crate::model::ids::TopicId;
use crate::protocol::message::NEVER;
use crate::protocol::records::{RecordKey, data};

/// The version in which Kafka 4.3 writes an offset; 1 if it has a time of expiry.
pub const OFFSET_COMMIT_VALUE_VERSION: i16 = 4;
/// The version in which Kafka 4.3 writes a classic group.
pub const GROUP_METADATA_VALUE_VERSION: i16 = 3;

data! {
    versions 0..=0, flexible NEVER;

    /// What a committed offset is of, as Kafka 0.8 wrote it.
    root LegacyOffsetCommitKey {
        /// The group.
        group: String, strict 0..=0;
        /// The topic's name.
        topic: String, strict 0..=0;
        /// The partition's index.
        partition: i32, strict 0..=0;
    }
}

impl RecordKey for LegacyOffsetCommitKey {
    const TYPE: i16 = 0;
}

data! {
    versions 0..=0, flexible NEVER;

    /// A committed offset, as Kafka 0.8 wrote it.
    root LegacyOffsetCommitValue {
        /// The next offset to read.
        offset: i64, strict 0..=0;
        /// What the client noted with it.
        metadata: String, strict 0..=0;
        /// When it was committed, in milliseconds since 1970.
        commit_timestamp: i64, strict 0..=0;
    }
}

data! {
    versions 0..=0, flexible NEVER;

    /// What a committed offset is of.
    root OffsetCommitKey {
        /// The group.
        group: String, strict 0..=0;
        /// The topic's name.
        topic: String, strict 0..=0;
        /// The partition's index.
        partition: i32, strict 0..=0;
    }
}

impl RecordKey for OffsetCommitKey {
    const TYPE: i16 = 1;
}

data! {
    versions 0..=4, flexible 4..;

    /// A committed offset.
    root OffsetCommitValue {
        /// The next offset to read.
        offset: i64, strict 0..;
        /// The epoch of the last record read; -1 if not known.
        leader_epoch: i32 = -1, ignorable 3..;
        /// What the client noted with it.
        metadata: String, strict 0..;
        /// When it was committed, in milliseconds since 1970.
        commit_timestamp: i64, strict 0..;
        /// When it expires, in milliseconds since 1970; -1 if it does not say.
        expire_timestamp: i64 = -1, ignorable 1..=1;
        /// The topic's id, or zero.
        topic_id: TopicId, ignorable 4.., tag 0;
    }
}

data! {
    versions 0..=0, flexible NEVER;

    /// A classic group.
    root GroupMetadataKey {
        /// The group.
        group: String, strict 0..=0;
    }
}

impl RecordKey for GroupMetadataKey {
    const TYPE: i16 = 2;
}

data! {
    versions 0..=4, flexible 4..;

    /// A generation of a classic group.
    root GroupMetadataValue {
        /// What kind of group it is, such as `consumer`.
        protocol_type: String, strict 0..;
        /// The generation of the group.
        generation: i32, strict 0..;
        /// The protocol that was chosen; null if there is none.
        protocol: Option<String>, strict 0..;
        /// The member that assigns; null if there are none.
        leader: Option<String>, strict 0..;
        /// When the group came into its state, in milliseconds since 1970; -1 if not known.
        current_state_timestamp: i64 = -1, ignorable 2..;
        /// The members.
        members: Vec<MemberMetadata>, strict 0..;
    }

    /// A member of a classic group.
    struct MemberMetadata {
        /// The member's id.
        member_id: String, strict 0..;
        /// The id of a static member; null of a dynamic one.
        group_instance_id: Option<String> = None, ignorable 3..;
        /// The member's client id.
        client_id: String, strict 0..;
        /// The address it calls from.
        client_host: String, strict 0..;
        /// How long it may take to join a rebalance, in milliseconds; -1 if it does not say.
        rebalance_timeout: i32 = -1, ignorable 1..;
        /// How long it may be silent, in milliseconds.
        session_timeout: i32, strict 0..;
        /// What the member says of itself, opaque to the broker.
        subscription: Bytes, strict 0..;
        /// What it is assigned, opaque to the broker.
        assignment: Bytes, strict 0..;
    }
}
