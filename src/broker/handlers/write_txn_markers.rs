//! WriteTxnMarkers (key 27), versions 1-2: ends of transactions, from another coordinator or from
//! an administrator who ends one that hangs.
//!
//! Source: KIP-98, KIP-664 (by an administrator), KIP-1228 (the transaction's version).

use std::rc::Rc;

use crate::metadata::image::MetadataImage;
use crate::model::ids::{PartitionIndex, ProducerEpoch, ProducerId, TransactionVersion};
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerPartitionResult, WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};
use crate::record::control::Outcome;
use crate::replica::request::MarkerItem;

use super::super::context::{Shard, locate};
use super::super::errors::marker_code;
use super::super::markers::write_markers;

/// Markers that go to their partitions at once: a turn of a shard stays short, and what waits there
/// for the disk stays small, however many a request has.
const MARKERS_AT_ONCE_MAX: usize = 1_024;

/// Where a marker's result goes: marker, topic and partition of the answer.
type Place = (usize, usize, usize);

/// Answers one request.
pub async fn handle(shard: &Rc<Shard>, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
    let (mut markers, places, items) = part(&shard.image(), request.markers);
    let mut written = Vec::with_capacity(items.len());
    for some in items.chunks(MARKERS_AT_ONCE_MAX) {
        written.extend(write_markers(shard, some.to_vec()).await);
    }
    for ((marker, topic, partition), result) in places.into_iter().zip(written) {
        let code = result.map_or_else(marker_code, |()| ErrorCode::None);
        markers[marker].topics[topic].partitions[partition].error_code = code.code();
    }
    WriteTxnMarkersResponse { markers, ..WriteTxnMarkersResponse::default() }
}

/// The answer, with what is refused at once; and where the rest of it comes from.
fn part(
    image: &MetadataImage,
    asked: Vec<WritableTxnMarker>,
) -> (Vec<WritableTxnMarkerResult>, Vec<Place>, Vec<MarkerItem>) {
    let (mut places, mut items) = (Vec::new(), Vec::new());
    let mut markers = Vec::with_capacity(asked.len());
    for (at, marker) in asked.into_iter().enumerate() {
        let mut topics = Vec::with_capacity(marker.topics.len());
        for topic in &marker.topics {
            let known = image.topic_by_name(&topic.name);
            let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
            for &partition_index in &topic.partition_indexes {
                let located =
                    known.and_then(|known| locate(known, PartitionIndex(partition_index)));
                // A batch of nobody cannot be built; Kafka fails with this, too.
                let sane = marker.producer_id >= 0 && marker.producer_epoch >= 0;
                let error = match located {
                    None => ErrorCode::UnknownTopicOrPartition,
                    Some(_) if !sane => ErrorCode::UnknownServerError,
                    Some(partition) => {
                        places.push((at, topics.len(), partitions.len()));
                        items.push(item(&marker, partition));
                        ErrorCode::None
                    }
                };
                partitions.push(WritableTxnMarkerPartitionResult {
                    partition_index,
                    error_code: error.code(),
                    ..WritableTxnMarkerPartitionResult::default()
                });
            }
            topics.push(WritableTxnMarkerTopicResult {
                name: topic.name.clone(),
                partitions,
                ..WritableTxnMarkerTopicResult::default()
            });
        }
        markers.push(WritableTxnMarkerResult {
            producer_id: marker.producer_id,
            topics,
            ..WritableTxnMarkerResult::default()
        });
    }
    (markers, places, items)
}

fn item(marker: &WritableTxnMarker, partition: crate::model::ids::TopicPartition) -> MarkerItem {
    MarkerItem {
        partition,
        producer_id: ProducerId(marker.producer_id),
        producer_epoch: ProducerEpoch(marker.producer_epoch),
        outcome: if marker.transaction_result { Outcome::Commit } else { Outcome::Abort },
        coordinator_epoch: marker.coordinator_epoch,
        version: match marker.transaction_version {
            ..=1 => TransactionVersion::V1,
            2.. => TransactionVersion::V2,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::image;
    use super::*;
    use crate::protocol::messages::write_txn_markers::WritableTxnMarkerTopic;

    #[test]
    fn what_is_not_known_or_nobodys_is_refused_and_the_rest_is_asked() {
        let marker = |producer_id, transaction_version| WritableTxnMarker {
            producer_id,
            producer_epoch: 3,
            transaction_result: true,
            transaction_version,
            coordinator_epoch: 7,
            topics: ["t", "none"]
                .map(|name| WritableTxnMarkerTopic {
                    name: name.to_owned(),
                    partition_indexes: vec![1, 0],
                    ..WritableTxnMarkerTopic::default()
                })
                .to_vec(),
            ..WritableTxnMarker::default()
        };
        let (answer, places, items) =
            part(&image(), vec![marker(5, 0), marker(-1, 0), marker(6, 2)]);
        let codes = |at: usize| -> Vec<i16> {
            let topics = answer[at].topics.iter();
            topics.flat_map(|topic| topic.partitions.iter().map(|p| p.error_code)).collect()
        };
        let unknown = ErrorCode::UnknownTopicOrPartition.code();
        assert_eq!(codes(0), [unknown, 0, unknown, unknown]);
        assert_eq!(codes(1), [unknown, ErrorCode::UnknownServerError.code(), unknown, unknown]);
        assert_eq!(places, [(0, 0, 1), (2, 0, 1)]);
        let seen: Vec<_> = items.iter().map(|item| (item.producer_id.0, item.version)).collect();
        assert_eq!(seen, [(5, TransactionVersion::V1), (6, TransactionVersion::V2)]);
        assert_eq!((items[0].coordinator_epoch, items[0].outcome), (7, Outcome::Commit));
    }
}
