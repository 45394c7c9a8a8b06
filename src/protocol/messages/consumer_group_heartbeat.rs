//! ConsumerGroupHeartbeat: membership of a group of the consumer protocol (KIP-848).
//!
//! Version 1 adds regular expressions, and ids that the client chooses (KIP-1082).

use crate::model::ids::TopicId;
use crate::protocol::message::message;

message! {
    api ConsumerGroupHeartbeat, versions 0..=1, flexible 0..;

    /// Says that a member is alive, what it subscribes to and what it has.
    request ConsumerGroupHeartbeatRequest {
        /// The group.
        group_id: String, strict 0..;
        /// The member's id.
        member_id: String, strict 0..;
        /// The member's epoch; 0 to join, -1 to leave, -2 to leave for a while.
        member_epoch: i32, strict 0..;
        /// The id of a static member; null of a dynamic one.
        instance_id: Option<String> = None, strict 0..;
        /// The member's rack; null if it does not say.
        rack_id: Option<String> = None, strict 0..;
        /// How long it may take to give up partitions, in milliseconds; -1 if unchanged.
        rebalance_timeout_ms: i32 = -1, strict 0..;
        /// The topics subscribed to, by name; null if unchanged.
        subscribed_topic_names: Option<Vec<String>> = None, strict 0..;
        /// The regular expression of the topics subscribed to; null if unchanged.
        subscribed_topic_regex: Option<String> = None, strict 1..;
        /// The assignor to use; null to leave it to the broker.
        server_assignor: Option<String> = None, strict 0..;
        /// What the member has; null if unchanged.
        topic_partitions: Option<Vec<TopicPartitions>> = None, strict 0..;
    }

    /// The member's epoch, and what it shall have.
    response ConsumerGroupHeartbeatResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, strict 0..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// What went wrong, in words.
        error_message: Option<String> = None, strict 0..;
        /// The member's id.
        member_id: Option<String> = None, strict 0..;
        /// The member's epoch.
        member_epoch: i32, strict 0..;
        /// How often to come back, in milliseconds.
        heartbeat_interval_ms: i32, strict 0..;
        /// What it shall have; null if unchanged.
        assignment: Option<Assignment> = None, strict 0..;
    }

    /// Partitions of a topic.
    struct TopicPartitions {
        /// Its id, or zero.
        topic_id: TopicId, strict 0..;
        /// The partitions.
        partitions: Vec<i32>, strict 0..;
    }

    /// What a member has or shall have.
    struct Assignment {
        /// The partitions, by topic.
        topic_partitions: Vec<TopicPartitions>, strict 0..;
    }
}
