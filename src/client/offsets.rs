//! Where a partition begins, ends, and stood at a time.
//!
//! In:   a topic, partitions, what is wanted of each.
//! Out:  offsets, asked of each partition's leader.
#![allow(clippy::disallowed_methods)] // a client's thread reads its own clock

use std::collections::BTreeMap;
use std::time::Instant;

use super::cluster::Client;
use super::error::ClientError;
use crate::config::listener::HostPort;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};

/// Which offset of a partition is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first that is kept.
    Start,
    /// The one after the last.
    End,
    /// The first whose record has this time or a later one, in milliseconds since 1970.
    AtTime(i64),
}

impl OffsetSpec {
    /// The timestamp that asks for it. Source: KIP-79.
    fn timestamp(self) -> i64 {
        match self {
            Self::Start => -2,
            Self::End => -1,
            Self::AtTime(timestamp_ms) => timestamp_ms.max(0),
        }
    }
}

/// The offset that `spec` means in each of `partitions`; `None` where no record is that late.
///
/// Errors: [`ClientError`]; those that pass are tried again until the client's time limit.
pub fn list_offsets(
    client: &mut Client,
    topic: &str,
    partitions: &[i32],
    spec: OffsetSpec,
) -> Result<BTreeMap<i32, Option<i64>>, ClientError> {
    let deadline = Instant::now() + client.timeout();
    loop {
        match ask_once(client, topic, partitions, spec) {
            Ok(offsets) => return Ok(offsets),
            Err(error) => {
                client.forget_topic(topic);
                client.pause(error, deadline)?;
            }
        }
    }
}

fn ask_once(
    client: &mut Client,
    topic: &str,
    partitions: &[i32],
    spec: OffsetSpec,
) -> Result<BTreeMap<i32, Option<i64>>, ClientError> {
    let mut by_leader: BTreeMap<HostPort, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        let leader = client.leader(topic, *partition)?;
        by_leader.entry(leader).or_default().push(*partition);
    }
    let mut offsets = BTreeMap::new();
    for (leader, partitions) in by_leader {
        let answer = client.ask(&leader, &request(topic, &partitions, spec))?;
        for answered in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            let partition = answered.partition_index;
            if answered.error_code != 0 {
                return Err(ClientError::Refused {
                    api: ApiKey::ListOffsets,
                    subject: format!("{topic}/{partition}"),
                    code: answered.error_code,
                    message: None,
                });
            }
            offsets.insert(partition, (0 <= answered.offset).then_some(answered.offset));
        }
    }
    match partitions.iter().find(|partition| !offsets.contains_key(partition)) {
        Some(silent) => Err(ClientError::NoLeader { topic: topic.to_owned(), partition: *silent }),
        None => Ok(offsets),
    }
}

fn request(topic: &str, partitions: &[i32], spec: OffsetSpec) -> ListOffsetsRequest {
    let wanted = |partition: &i32| ListOffsetsPartition {
        partition_index: *partition,
        timestamp: spec.timestamp(),
        ..ListOffsetsPartition::default()
    };
    ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: topic.to_owned(),
            partitions: partitions.iter().map(wanted).collect(),
            ..ListOffsetsTopic::default()
        }],
        ..ListOffsetsRequest::default()
    }
}
