//! ConsumerGroupDescribe: groups of the consumer protocol (KIP-848).
//!
//! Version 1 adds the kind of member (KIP-1099).

use crate::model::ids::TopicId;
use crate::protocol::message::message;

message! {
    api ConsumerGroupDescribe, versions 0..=1, flexible 0..;

    /// Asks for groups of the consumer protocol.
    request ConsumerGroupDescribeRequest {
        /// The groups.
        group_ids: Vec<String>, strict 0..;
        /// Whether to say what the caller may do to it.
        include_authorized_operations: bool, strict 0..;
    }

    /// The groups.
    response ConsumerGroupDescribeResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, strict 0..;
        /// The groups.
        groups: Vec<DescribedGroup>, strict 0..;
    }

    /// A group, or why it cannot be shown.
    struct DescribedGroup {
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// What went wrong, in words.
        error_message: Option<String> = None, strict 0..;
        /// The group.
        group_id: String, strict 0..;
        /// The group's state, by name.
        group_state: String, strict 0..;
        /// The group's epoch.
        group_epoch: i32, strict 0..;
        /// The epoch of the target assignment.
        assignment_epoch: i32, strict 0..;
        /// The assignor in use.
        assignor_name: String, strict 0..;
        /// The members.
        members: Vec<Member>, strict 0..;
        /// A bit for each operation allowed; `i32::MIN` if not asked for.
        authorized_operations: i32 = i32::MIN, strict 0..;
    }

    /// A member.
    struct Member {
        /// The member's id.
        member_id: String, strict 0..;
        /// The id of a static member; null of a dynamic one.
        instance_id: Option<String> = None, strict 0..;
        /// The member's rack; null if it does not say.
        rack_id: Option<String> = None, strict 0..;
        /// The member's epoch.
        member_epoch: i32, strict 0..;
        /// The member's client id.
        client_id: String, strict 0..;
        /// The address it calls from.
        client_host: String, strict 0..;
        /// The topics subscribed to, by name.
        subscribed_topic_names: Vec<String>, strict 0..;
        /// The regular expression of the topics subscribed to.
        subscribed_topic_regex: Option<String> = None, strict 0..;
        /// What it has.
        assignment: Assignment, strict 0..;
        /// What it shall have.
        target_assignment: Assignment, strict 0..;
        /// 0 classic, 1 consumer protocol, -1 if not known.
        member_type: i8 = -1, ignorable 1..;
    }

    /// What a member has or shall have.
    struct Assignment {
        /// The partitions, by topic.
        topic_partitions: Vec<TopicPartitions>, strict 0..;
    }

    /// Partitions of a topic.
    struct TopicPartitions {
        /// Its id, or zero.
        topic_id: TopicId, strict 0..;
        /// The topic's name.
        topic_name: String, strict 0..;
        /// The partitions.
        partitions: Vec<i32>, strict 0..;
    }
}
