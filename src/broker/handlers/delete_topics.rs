//! DeleteTopics (key 20), versions 1-6: by name, and from version 6 by id too.
//!
//! Source: KIP-4, KIP-516 (by id), KIP-599 (error message).

use std::collections::HashSet;
use std::rc::Rc;

use crate::metadata::alter::{DeletedTopic, TopicRef};
use crate::metadata::commands::{Answer, Command};
use crate::model::ids::TopicId;
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse,
};

use super::super::context::Shard;
use super::super::errors::Told;

/// Version from which topics are structs that may hold an id.
const BY_ID_VERSION: i16 = 6;

/// Answers one request.
pub async fn handle(
    shard: &Rc<Shard>,
    request: DeleteTopicsRequest,
    version: i16,
) -> DeleteTopicsResponse {
    let asked = asked(request, version);
    let responses = match shard.config().delete_topic_enable {
        true => delete(shard, asked).await,
        false => {
            let told = Told::code(ErrorCode::TopicDeletionDisabled);
            asked.into_iter().map(|topic| refused(topic, &told)).collect()
        }
    };
    DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() }
}

fn asked(request: DeleteTopicsRequest, version: i16) -> Vec<TopicRef> {
    if version < BY_ID_VERSION {
        return request.topic_names.into_iter().map(TopicRef::Name).collect();
    }
    let topic_ref = |topic: (Option<String>, TopicId)| match topic {
        (Some(name), _) => TopicRef::Name(name),
        (None, id) => TopicRef::Id(id),
    };
    request.topics.into_iter().map(|topic| topic_ref((topic.name, topic.topic_id))).collect()
}

async fn delete(shard: &Rc<Shard>, asked: Vec<TopicRef>) -> Vec<DeletableTopicResult> {
    match shard.execute(Command::DeleteTopics { topics: asked.clone() }).await {
        Ok(Answer::TopicsDeleted(results)) => {
            assert!(results.len() == asked.len(), "one result a topic");
            let answer = |(topic, result): (TopicRef, Result<DeletedTopic, _>)| match result {
                Ok(deleted) => deleted_topic(deleted),
                Err(error) => refused(topic, &Told::from(&error)),
            };
            // What was named twice is answered once.
            let mut seen = HashSet::new();
            let once =
                asked.into_iter().zip(results).filter(|(topic, _)| seen.insert(topic.clone()));
            once.map(answer).collect()
        }
        Ok(other) => panic!("the controller answers what was asked, not {other:?}"),
        Err(told) => asked.into_iter().map(|topic| refused(topic, &told)).collect(),
    }
}

fn deleted_topic(deleted: DeletedTopic) -> DeletableTopicResult {
    DeletableTopicResult {
        name: Some(deleted.name.as_str().to_owned()),
        topic_id: deleted.id,
        error_code: ErrorCode::None.code(),
        error_message: None,
        ..DeletableTopicResult::default()
    }
}

fn refused(topic: TopicRef, told: &Told) -> DeletableTopicResult {
    let (name, topic_id) = match topic {
        TopicRef::Name(name) => (Some(name), TopicId::ZERO),
        TopicRef::Id(id) => (None, id),
    };
    DeletableTopicResult {
        name,
        topic_id,
        error_code: told.code.code(),
        error_message: told.message.clone(),
        ..DeletableTopicResult::default()
    }
}
