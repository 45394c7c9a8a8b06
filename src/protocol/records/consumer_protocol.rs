//! What consumers and their leader put into JoinGroup and SyncGroup: the embedded consumer protocol.
//!
//! The broker does not need it but for the topics a member subscribes to; a group of another kind has other
//! bytes there. A version yet to come is read as the newest known, as Kafka does: later versions only add
//! at the end. Source: KIP-429, KIP-792, KIP-881; Kafka 4.3's schemas.

use bytes::Bytes;

use crate::protocol::message::NEVER;
use crate::protocol::records::data;

data! {
    versions 0..=3, flexible NEVER;

    /// What a consumer says of itself when it joins.
    root ConsumerProtocolSubscription {
        /// The topics subscribed to.
        topics: Vec<String>, strict 0..;
        /// What its assignor adds.
        user_data: Option<Bytes> = None, strict 0..;
        /// The partitions it has now.
        owned_partitions: Vec<TopicPartition>, ignorable 1..;
        /// The generation in which it got its partitions; -1 if none.
        generation_id: i32 = -1, ignorable 2..;
        /// The member's rack; null if it does not say.
        rack_id: Option<String> = None, ignorable 3..;
    }

    /// Partitions of a topic.
    struct TopicPartition {
        /// The topic's name.
        topic: String, strict 0..;
        /// The partitions.
        partitions: Vec<i32>, strict 0..;
    }
}

data! {
    versions 0..=3, flexible NEVER;

    /// What the leader assigns to a consumer.
    root ConsumerProtocolAssignment {
        /// The partitions it is given.
        assigned_partitions: Vec<TopicPartition>, strict 0..;
        /// What the assignor adds.
        user_data: Option<Bytes> = None, strict 0..;
    }
}
