//! Groups of the consumer protocol in `__consumer_offsets`.
//!
//! Source: KIP-848; Kafka 4.3's schemas.

use bytes::Bytes;

use crate::model::ids::TopicId;
use crate::protocol::message::NEVER;
use crate::protocol::records::{RecordKey, data};

/// The version in which Kafka 4.3 writes each of these values.
pub const CONSUMER_GROUP_VALUE_VERSION: i16 = 0;

data! {
    versions 0..=0, flexible NEVER;

    /// A group of the consumer protocol.
    root ConsumerGroupMetadataKey {
        /// The group.
        group_id: String, strict 0..=0;
    }
}

impl RecordKey for ConsumerGroupMetadataKey {
    const TYPE: i16 = 3;
}

data! {
    versions 0..=0, flexible 0..;

    /// Its epoch.
    root ConsumerGroupMetadataValue {
        /// The group's epoch.
        epoch: i32, strict 0..;
        /// A hash of what is known of the topics subscribed to.
        metadata_hash: i64, strict 0.., tag 0;
    }
}

data! {
    versions 0..=0, flexible NEVER;

    /// A group, of whose topics something is known.
    root ConsumerGroupPartitionMetadataKey {
        /// The group.
        group_id: String, strict 0..=0;
    }
}

impl RecordKey for ConsumerGroupPartitionMetadataKey {
    const TYPE: i16 = 4;
}

data! {
    versions 0..=0, flexible 0..;

    /// What is known of its topics; no longer written by Kafka 4.1 and later.
    root ConsumerGroupPartitionMetadataValue {
        /// What is known of each topic.
        topics: Vec<TopicMetadata>, strict 0..;
    }

    /// What is known of a topic.
    struct TopicMetadata {
        /// The topic's id.
        topic_id: TopicId, strict 0..;
        /// The topic's name.
        topic_name: String, strict 0..;
        /// How many partitions it has.
        num_partitions: i32, strict 0..;
        /// What is known of each partition.
        partition_metadata: Vec<PartitionMetadata>, strict 0..;
    }

    /// What is known of a partition.
    struct PartitionMetadata {
        /// The partition's index.
        partition: i32, strict 0..;
        /// The racks of its replicas.
        racks: Vec<String>, strict 0..;
    }
}

data! {
    versions 0..=0, flexible NEVER;

    /// A member of a group.
    root ConsumerGroupMemberMetadataKey {
        /// The group.
        group_id: String, strict 0..=0;
        /// The member's id.
        member_id: String, strict 0..=0;
    }
}

impl RecordKey for ConsumerGroupMemberMetadataKey {
    const TYPE: i16 = 5;
}

data! {
    versions 0..=0, flexible 0..;

    /// What the member said of itself.
    root ConsumerGroupMemberMetadataValue {
        /// The id of a static member; null of a dynamic one.
        instance_id: Option<String>, strict 0..;
        /// The member's rack; null if it does not say.
        rack_id: Option<String>, strict 0..;
        /// The member's client id.
        client_id: String, strict 0..;
        /// The address it calls from.
        client_host: String, strict 0..;
        /// The topics subscribed to, by name.
        subscribed_topic_names: Vec<String>, strict 0..;
        /// The regular expression of the topics subscribed to; null or empty if there is none.
        subscribed_topic_regex: Option<String>, strict 0..;
        /// How long it may take to give up partitions, in milliseconds; -1 if it does not say.
        rebalance_timeout_ms: i32 = -1, strict 0..;
        /// The assignor it asks for; null if it leaves that to the broker.
        server_assignor: Option<String>, strict 0..;
        /// What a member of the classic protocol has besides; null of the others.
        classic_member_metadata: Option<ClassicMemberMetadata>, strict 0.., tag 0;
    }

    /// What a member of the classic protocol has besides.
    struct ClassicMemberMetadata {
        /// How long it may be silent, in milliseconds.
        session_timeout_ms: i32, strict 0..;
        /// The protocols it can take part in, most preferred first.
        supported_protocols: Vec<ClassicProtocol>, strict 0..;
    }

    /// A protocol that a member can take part in.
    struct ClassicProtocol {
        /// The protocol's name.
        name: String, strict 0..;
        /// What the member says of itself, opaque to the broker.
        metadata: Bytes, strict 0..;
    }
}

data! {
    versions 0..=0, flexible NEVER;

    /// A group that has a target assignment.
    root ConsumerGroupTargetAssignmentMetadataKey {
        /// The group.
        group_id: String, strict 0..=0;
    }
}

impl RecordKey for ConsumerGroupTargetAssignmentMetadataKey {
    const TYPE: i16 = 6;
}

data! {
    versions 0..=0, flexible 0..;

    /// The epoch of its target assignment.
    root ConsumerGroupTargetAssignmentMetadataValue {
        /// The epoch of the target assignment.
        assignment_epoch: i32, strict 0..;
        /// When the assignment was made, in milliseconds since 1970; 0 if not known.
        assignment_timestamp: i64, ignorable 0.., tag 0;
    }
}

data! {
    versions 0..=0, flexible NEVER;

    /// A member with a target assignment.
    root ConsumerGroupTargetAssignmentMemberKey {
        /// The group.
        group_id: String, strict 0..=0;
        /// The member's id.
        member_id: String, strict 0..=0;
    }
}

impl RecordKey for ConsumerGroupTargetAssignmentMemberKey {
    const TYPE: i16 = 7;
}

data! {
    versions 0..=0, flexible 0..;

    /// What the member shall have.
    root ConsumerGroupTargetAssignmentMemberValue {
        /// The partitions, by topic.
        topic_partitions: Vec<TopicPartition>, strict 0..;
    }

    /// Partitions of a topic.
    struct TopicPartition {
        /// The topic's id.
        topic_id: TopicId, strict 0..;
        /// The partitions.
        partitions: Vec<i32>, strict 0..;
    }
}

data! {
    versions 0..=0, flexible NEVER;

    /// A member with an assignment.
    root ConsumerGroupCurrentMemberAssignmentKey {
        /// The group.
        group_id: String, strict 0..=0;
        /// The member's id.
        member_id: String, strict 0..=0;
    }
}

impl RecordKey for ConsumerGroupCurrentMemberAssignmentKey {
    const TYPE: i16 = 8;
}

data! {
    versions 0..=0, flexible 0..;

    /// What the member has.
    root ConsumerGroupCurrentMemberAssignmentValue {
        /// The member's epoch.
        member_epoch: i32, strict 0..;
        /// Its epoch before that.
        previous_member_epoch: i32, strict 0..;
        /// Where it stands, as a number.
        state: i8, strict 0..;
        /// The partitions it is given.
        assigned_partitions: Vec<TopicPartitions>, strict 0..;
        /// What it is still to give up.
        partitions_pending_revocation: Vec<TopicPartitions>, strict 0..;
    }

    /// Partitions of a topic.
    struct TopicPartitions {
        /// The topic's id.
        topic_id: TopicId, strict 0..;
        /// The partitions.
        partitions: Vec<i32>, strict 0..;
        /// The epochs in which it was given each of them, as many as partitions; null if not kept.
        assignment_epochs: Option<Vec<i32>>, strict 0.., tag 0;
    }
}

data! {
    versions 0..=0, flexible NEVER;

    /// A regular expression in a group.
    root ConsumerGroupRegularExpressionKey {
        /// The group.
        group_id: String, strict 0..=0;
        /// The regular expression.
        regular_expression: String, strict 0..=0;
    }
}

impl RecordKey for ConsumerGroupRegularExpressionKey {
    const TYPE: i16 = 16;
}

data! {
    versions 0..=0, flexible 0..;

    /// What it was resolved to.
    root ConsumerGroupRegularExpressionValue {
        /// The topics it matches.
        topics: Vec<String>, strict 0..;
        /// The version of the image it was resolved in.
        version: i64, strict 0..;
        /// When it was resolved, in milliseconds since 1970.
        timestamp: i64, strict 0..;
    }
}
