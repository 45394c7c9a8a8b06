//! DeleteTopics: topics by name, from version 6 on also by id (KIP-516).
//!
//! Version 4 is flexible, 5 adds messages and may be throttled (KIP-599).

use crate::model::ids::TopicId;
use crate::protocol::message::message;

message! {
    api DeleteTopics, versions 1..=6, flexible 4..;

    /// Topics to delete.
    request DeleteTopicsRequest {
        /// The topics, from version 6 on.
        topics: Vec<DeleteTopicState>, strict 6..;
        /// Names of the topics, up to version 5.
        topic_names: Vec<String>, ignorable 0..=5;
        /// How long to wait for it to be done, in milliseconds.
        timeout_ms: i32, strict 0..;
    }

    /// What became of them.
    response DeleteTopicsResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, ignorable 1..;
        /// The topics.
        responses: Vec<DeletableTopicResult>, strict 0..;
    }

    /// A topic to delete, by name or by id.
    struct DeleteTopicState {
        /// Its name; null if it is named by id.
        name: Option<String> = None, strict 6..;
        /// The topic's id, or zero.
        topic_id: TopicId, strict 6..;
    }

    /// What became of one topic.
    struct DeletableTopicResult {
        /// Its name; null if not known.
        name: Option<String>, strict 0.., nullable 6..;
        /// The topic's id, or zero.
        topic_id: TopicId, ignorable 6..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// What went wrong, in words.
        error_message: Option<String> = None, ignorable 5..;
    }
}
