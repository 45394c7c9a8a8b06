//! ElectLeaders (key 43), versions 0-2: of one broker, every leader leads already.
//!
//! Asked for all partitions, it names topics alone: Kafka leaves out what needs no election.
//!
//! Source: KIP-183, KIP-460.

use std::rc::Rc;

use crate::metadata::reassign::Election;
use crate::model::ids::PartitionIndex;
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};

use super::super::context::Shard;
use super::super::errors::{Told, election_told};

/// Answers one request.
pub fn handle(shard: &Rc<Shard>, request: &ElectLeadersRequest) -> ElectLeadersResponse {
    let image = shard.image();
    let election = match request.election_type {
        0 => Some(Election::Preferred),
        1 => Some(Election::Unclean),
        _ => None,
    };
    let told = |topic: &str, index| match election {
        Some(election) => {
            election_told(image.election(topic, PartitionIndex(index), election), topic, index)
        }
        None => {
            let words = format!("Unknown election type {}", request.election_type);
            Told::new(ErrorCode::InvalidRequest, words)
        }
    };
    let replica_election_results = match (&request.topic_partitions, election) {
        (Some(asked), _) => {
            let results = asked.iter().map(|asked| {
                let partitions = asked.partitions.iter();
                let partitions = partitions.map(|&index| result(index, told(&asked.topic, index)));
                of_topic(&asked.topic, partitions.collect())
            });
            results.collect()
        }
        (None, Some(_)) => {
            image.topics().map(|topic| of_topic(topic.name.as_str(), Vec::new())).collect()
        }
        (None, None) => Vec::new(),
    };
    let code = election.map_or(ErrorCode::InvalidRequest, |_| ErrorCode::None);
    ElectLeadersResponse {
        error_code: code.code(),
        replica_election_results,
        ..ElectLeadersResponse::default()
    }
}

fn of_topic(topic: &str, partition_result: Vec<PartitionResult>) -> ReplicaElectionResult {
    ReplicaElectionResult {
        topic: topic.to_owned(),
        partition_result,
        ..ReplicaElectionResult::default()
    }
}

fn result(partition_id: i32, told: Told) -> PartitionResult {
    PartitionResult {
        partition_id,
        error_code: told.code.code(),
        error_message: told.message,
        ..PartitionResult::default()
    }
}
