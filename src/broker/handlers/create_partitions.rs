//! CreatePartitions (key 37), versions 0-3: topics get more partitions.
//!
//! Answered once every shard has taken over the new partitions, as CreateTopics is.
//!
//! Source: KIP-195.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::metadata::alter::{CreatePartitionsError, MorePartitions};
use crate::metadata::commands::{Answer, Command, Mode};
use crate::model::ids::BrokerId;
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
    CreatePartitionsTopicResult,
};

use super::super::context::Shard;
use super::super::errors::Told;

/// Answers one request.
pub async fn handle(
    shard: &Rc<Shard>,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let (mut results, request) = part_repeated(request);
    let names: Vec<String> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let mode = if request.validate_only { Mode::ValidateOnly } else { Mode::Commit };
    let topics = request.topics.into_iter().map(more_partitions).collect();
    let told: Vec<Option<Told>> =
        match shard.execute(Command::CreatePartitions { topics, mode }).await {
            Ok(Answer::PartitionsCreated(results)) => {
                results.iter().map(|result| result.as_ref().err().map(Told::from)).collect()
            }
            Ok(other) => panic!("the controller answers what was asked, not {other:?}"),
            Err(told) => vec![Some(told); names.len()],
        };
    assert!(told.len() == names.len(), "one result a topic");
    results.extend(names.into_iter().zip(told).map(|(name, told)| result(name, told)));
    CreatePartitionsResponse { results, ..CreatePartitionsResponse::default() }
}

/// Refuses the topics that are named more than once, each once, and leaves the others.
fn part_repeated(
    mut request: CreatePartitionsRequest,
) -> (Vec<CreatePartitionsTopicResult>, CreatePartitionsRequest) {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for topic in &request.topics {
        *times.entry(topic.name.clone()).or_default() += 1;
    }
    request.topics.retain(|topic| times[&topic.name] == 1);
    let repeated = times.into_iter().filter(|(_, times)| *times > 1);
    let told = Told::from(&CreatePartitionsError::DuplicateInRequest);
    (repeated.map(|(name, _)| result(name, Some(told.clone()))).collect(), request)
}

fn more_partitions(asked: CreatePartitionsTopic) -> MorePartitions {
    let assignments = asked.assignments.map(|assignments| {
        let ids = |ids: Vec<i32>| ids.into_iter().map(BrokerId).collect();
        assignments.into_iter().map(|assignment| ids(assignment.broker_ids)).collect()
    });
    MorePartitions { name: asked.name, total: asked.count, assignments }
}

fn result(name: String, told: Option<Told>) -> CreatePartitionsTopicResult {
    let told = told.unwrap_or(Told { code: ErrorCode::None, message: None });
    CreatePartitionsTopicResult {
        name,
        error_code: told.code.code(),
        error_message: told.message,
        ..CreatePartitionsTopicResult::default()
    }
}
