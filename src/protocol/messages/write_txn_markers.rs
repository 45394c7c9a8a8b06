//! WriteTxnMarkers: ends of transactions, from a coordinator to the leaders.
//!
//! Version 1 is flexible, 2 adds the transaction's version (KIP-1228).

use crate::protocol::message::message;

message! {
    api WriteTxnMarkers, versions 1..=2, flexible 1..;

    /// Writes ends of transactions into partitions.
    request WriteTxnMarkersRequest {
        /// The markers.
        markers: Vec<WritableTxnMarker>, strict 0..;
    }

    /// What became of it.
    response WriteTxnMarkersResponse {
        /// The markers.
        markers: Vec<WritableTxnMarkerResult>, strict 0..;
    }

    /// The end of one transaction.
    struct WritableTxnMarker {
        /// The producer's id.
        producer_id: i64, strict 0..;
        /// The producer's epoch.
        producer_epoch: i16, strict 0..;
        /// True if committed, false if aborted.
        transaction_result: bool, strict 0..;
        /// The topics.
        topics: Vec<WritableTxnMarkerTopic>, strict 0..;
        /// The epoch of the transaction coordinator.
        coordinator_epoch: i32, strict 0..;
        /// The transaction's version: 2 if each has an epoch of its own (KIP-890).
        transaction_version: i8, ignorable 2..;
    }

    /// Partitions of a topic.
    struct WritableTxnMarkerTopic {
        /// Its name.
        name: String, strict 0..;
        /// The partitions' indexes.
        partition_indexes: Vec<i32>, strict 0..;
    }

    /// What became of one marker.
    struct WritableTxnMarkerResult {
        /// The producer's id.
        producer_id: i64, strict 0..;
        /// The topics.
        topics: Vec<WritableTxnMarkerTopicResult>, strict 0..;
    }

    /// What became of a topic's partitions.
    struct WritableTxnMarkerTopicResult {
        /// Its name.
        name: String, strict 0..;
        /// The partitions.
        partitions: Vec<WritableTxnMarkerPartitionResult>, strict 0..;
    }

    /// What became of one partition.
    struct WritableTxnMarkerPartitionResult {
        /// The partition's index.
        partition_index: i32, strict 0..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
    }
}
