//! A member of a classic group.
//!
//! In:   what it says about itself when it joins, or what a record says.
//! Out:  -
//! Home: pure.

use bytes::Bytes;

use crate::group::consumer::member::{ClassicMember, MemberMetadata as MemberMetadataOfConsumer};
use crate::group::ids::{InstanceId, MemberId, RequestId};
use crate::group::record::MemberMetadata;
use crate::model::time::Timestamp;

/// One way of assigning that a member supports, with its data for whoever assigns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Its name: `range`, `cooperative-sticky`, ...
    pub name: Box<str>,
    /// Opaque to the broker (but see `crate::group::subscription`).
    pub metadata: Bytes,
}

/// A member, and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub(super) id: MemberId,
    pub(super) instance: Option<InstanceId>,
    pub(super) client_id: Box<str>,
    pub(super) client_host: Box<str>,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    /// By preference, each name once.
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    /// It has never had an answer to its `JoinGroup`, so it cannot send heartbeats.
    pub(super) is_new: bool,
    /// It came with partitions that it had before the group was moved, and would go on in them
    /// from where it was: it is put out as soon as it can learn of it, by a heartbeat.
    pub(super) clings: bool,
    /// It is removed at this time, unless it waits for an answer.
    pub(super) session_deadline: Timestamp,
    /// Its parked `JoinGroup`.
    pub(super) join: Option<RequestId>,
    /// Its parked `SyncGroup`.
    pub(super) sync: Option<RequestId>,
}

impl Member {
    /// Its id.
    pub fn id(&self) -> &MemberId {
        &self.id
    }

    /// Its instance id, if it is static.
    pub fn instance(&self) -> Option<&InstanceId> {
        self.instance.as_ref()
    }

    /// Its client id.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Where it connects from.
    pub fn client_host(&self) -> &str {
        &self.client_host
    }

    /// What it supports, by preference.
    pub fn protocols(&self) -> &[Protocol] {
        &self.protocols
    }

    /// How long it may take to rejoin, in milliseconds.
    pub fn rebalance_timeout_ms(&self) -> i32 {
        self.rebalance_timeout_ms
    }

    /// How long it may be silent, in milliseconds.
    pub fn session_timeout_ms(&self) -> i32 {
        self.session_timeout_ms
    }

    /// A member of a KIP-848 group that spoke the classic protocol all along.
    pub(in crate::group) fn taken_over(
        id: MemberId,
        metadata: &MemberMetadataOfConsumer,
        classic: &ClassicMember,
        assignment: Bytes,
    ) -> Member {
        let mut protocols: Vec<Protocol> = Vec::with_capacity(classic.protocols.len());
        for protocol in &classic.protocols {
            if protocols.iter().all(|known| known.name != protocol.name) {
                protocols.push(protocol.clone());
            }
        }
        Member {
            id,
            instance: metadata.instance.clone(),
            client_id: metadata.client_id.clone(),
            client_host: metadata.client_host.clone(),
            rebalance_timeout_ms: metadata.rebalance_timeout_ms,
            session_timeout_ms: classic.session_timeout_ms,
            protocols,
            assignment,
            is_new: false,
            clings: false,
            session_deadline: Timestamp(i64::MAX),
            join: None,
            sync: None,
        }
    }

    /// What was assigned to it.
    pub fn assignment(&self) -> &Bytes {
        &self.assignment
    }

    /// A member as a record has it, of a generation that chose `protocol`.
    pub(super) fn loaded(record: &MemberMetadata, protocol: &str) -> Member {
        Member {
            id: record.id.clone(),
            instance: record.instance.clone(),
            client_id: record.client_id.clone(),
            client_host: record.client_host.clone(),
            rebalance_timeout_ms: record.rebalance_timeout_ms,
            session_timeout_ms: record.session_timeout_ms,
            protocols: vec![Protocol {
                name: protocol.into(),
                metadata: record.subscription.clone(),
            }],
            assignment: record.assignment.clone(),
            is_new: false,
            clings: false,
            session_deadline: Timestamp(i64::MAX),
            join: None,
            sync: None,
        }
    }

    /// The member as a record has it, if `protocol` is chosen.
    pub(super) fn to_record(&self, protocol: &str, assignment: Bytes) -> MemberMetadata {
        MemberMetadata {
            id: self.id.clone(),
            instance: self.instance.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            session_timeout_ms: self.session_timeout_ms,
            subscription: self.metadata(protocol),
            assignment,
        }
    }

    /// What it sent with a protocol; empty if it does not support it.
    pub(in crate::group) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|known| known.name.as_ref() == protocol);
        found.map_or_else(Bytes::new, |known| known.metadata.clone())
    }

    /// Bytes of metadata that it holds.
    pub(super) fn metadata_bytes(&self) -> usize {
        metadata_bytes(&self.protocols)
    }

    /// Whether it waits for an answer, and so cannot be expected to send heartbeats.
    pub(super) fn is_waiting(&self) -> bool {
        self.join.is_some() || self.sync.is_some()
    }
}

/// Bytes of names and metadata.
pub(super) fn metadata_bytes(protocols: &[Protocol]) -> usize {
    protocols.iter().map(|protocol| protocol.name.len() + protocol.metadata.len()).sum()
}
