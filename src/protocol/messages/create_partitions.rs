//! CreatePartitions: topics get more partitions (KIP-195).
//!
//! Version 2 is flexible, 3 may be throttled (KIP-599).

use crate::protocol::message::message;

message! {
    api CreatePartitions, versions 0..=3, flexible 2..;

    /// Gives topics more partitions.
    request CreatePartitionsRequest {
        /// The topics.
        topics: Vec<CreatePartitionsTopic>, strict 0..;
        /// How long to wait for it to be done, in milliseconds.
        timeout_ms: i32, strict 0..;
        /// Whether to check only.
        validate_only: bool, strict 0..;
    }

    /// What became of it.
    response CreatePartitionsResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, strict 0..;
        /// What became of each.
        results: Vec<CreatePartitionsTopicResult>, strict 0..;
    }

    /// A topic that shall have more.
    struct CreatePartitionsTopic {
        /// Its name.
        name: String, strict 0..;
        /// How many partitions it shall have.
        count: i32, strict 0..;
        /// Where the new partitions' replicas go; null for the broker to choose.
        assignments: Option<Vec<CreatePartitionsAssignment>>, strict 0..;
    }

    /// Where the replicas of one new partition go.
    struct CreatePartitionsAssignment {
        /// Brokers of its replicas, preferred leader first.
        broker_ids: Vec<i32>, strict 0..;
    }

    /// What became of one topic.
    struct CreatePartitionsTopicResult {
        /// Its name.
        name: String, strict 0..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// What went wrong, in words.
        error_message: Option<String> = None, strict 0..;
    }
}
