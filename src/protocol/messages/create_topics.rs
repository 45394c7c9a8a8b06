//! CreateTopics: new topics, with their settings.
//!
//! Version 4 lets the broker choose counts (KIP-464), 5 is flexible and answers with the settings in force
//! (KIP-525), 6 may be throttled (KIP-599), 7 answers with the topic's id (KIP-516).

use crate::model::ids::TopicId;
use crate::protocol::message::message;

message! {
    api CreateTopics, versions 2..=7, flexible 5..;

    /// Topics to create.
    request CreateTopicsRequest {
        /// The topics.
        topics: Vec<CreatableTopic>, strict 0..;
        /// How long to wait for it to be done, in milliseconds.
        timeout_ms: i32 = 60000, strict 0..;
        /// Whether to check only.
        validate_only: bool, strict 1..;
    }

    /// What became of them.
    response CreateTopicsResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, ignorable 2..;
        /// The topics.
        topics: Vec<CreatableTopicResult>, strict 0..;
    }

    /// A topic to create.
    struct CreatableTopic {
        /// Its name.
        name: String, strict 0..;
        /// How many partitions; -1 for the default, or if not known.
        num_partitions: i32, strict 0..;
        /// How many replicas a partition; -1 for the default, or if not known.
        replication_factor: i16, strict 0..;
        /// Where replicas go; empty for the broker to choose.
        assignments: Vec<CreatableReplicaAssignment>, strict 0..;
        /// The settings.
        configs: Vec<CreatableTopicConfig>, strict 0..;
    }

    /// Where the replicas of one partition go.
    struct CreatableReplicaAssignment {
        /// The partition's index.
        partition_index: i32, strict 0..;
        /// Brokers of its replicas, preferred leader first.
        broker_ids: Vec<i32>, strict 0..;
    }

    /// A setting of the new topic.
    struct CreatableTopicConfig {
        /// Its name.
        name: String, strict 0..;
        /// Its value.
        value: Option<String>, strict 0..;
    }

    /// What became of one topic.
    struct CreatableTopicResult {
        /// Its name.
        name: String, strict 0..;
        /// The topic's id, or zero.
        topic_id: TopicId, ignorable 7..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// What went wrong, in words.
        error_message: Option<String>, ignorable 1..;
        /// Why the settings are not shown, or 0.
        topic_config_error_code: i16, ignorable 5.., tag 0;
        /// How many partitions; -1 for the default, or if not known.
        num_partitions: i32 = -1, ignorable 5..;
        /// How many replicas a partition; -1 for the default, or if not known.
        replication_factor: i16 = -1, ignorable 5..;
        /// The settings in force; null if not shown.
        configs: Option<Vec<CreatableTopicConfigs>>, ignorable 5..;
    }

    /// A setting in force.
    struct CreatableTopicConfigs {
        /// Its name.
        name: String, strict 5..;
        /// Its value.
        value: Option<String>, strict 5..;
        /// Whether it cannot be changed.
        read_only: bool, strict 5..;
        /// Where it was set: 1 topic, 2 broker, 3 all brokers, 4 file, 5 default; -1 if not known.
        config_source: i8 = -1, ignorable 5..;
        /// Whether the value is withheld.
        is_sensitive: bool, strict 5..;
    }
}
