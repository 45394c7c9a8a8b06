//! DescribeLogDirs (key 35), versions 1-5: the one data directory, its logs and its volume.
//!
//! Source: KIP-113, KIP-827 (size of the volume).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;

use crate::model::ids::{PartitionIndex, ShardId, TopicPartition};
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::describe_log_dirs::{
    DescribableLogDirTopic, DescribeLogDirsPartition, DescribeLogDirsRequest,
    DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use crate::replica::request::{ShardReply, ShardRequest};
use crate::shard::tasks::spawn_blocking;

use super::super::context::Shard;
use super::super::orders::{MeshReply, MeshRequest};

/// Answers one request.
pub async fn handle(shard: &Rc<Shard>, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let wanted = request.topics.map(wanted);
    let mut topics: BTreeMap<String, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    let image = shard.image();
    for (partition, bytes) in sizes(shard).await {
        // A log whose topic has just gone is not told of any more.
        let Some(topic) = image.topic_by_id(partition.topic) else { continue };
        let key = (topic.name.as_str().to_owned(), partition.partition);
        if wanted.as_ref().is_some_and(|wanted| !wanted.contains(&key)) {
            continue;
        }
        topics.entry(key.0).or_default().push(DescribeLogDirsPartition {
            partition_index: partition.partition.0,
            partition_size: i64::try_from(bytes).unwrap_or(i64::MAX),
            ..DescribeLogDirsPartition::default()
        });
    }
    let topics = topics.into_iter().map(|(name, mut partitions)| {
        partitions.sort_unstable_by_key(|partition| partition.partition_index);
        DescribeLogDirsTopic { name, partitions, ..DescribeLogDirsTopic::default() }
    });
    let volume = volume(shard.static_config.data_dir.clone()).await;
    let result = DescribeLogDirsResult {
        error_code: ErrorCode::None.code(),
        log_dir: volume.path,
        topics: topics.collect(),
        total_bytes: volume.total_bytes,
        usable_bytes: volume.usable_bytes,
        ..DescribeLogDirsResult::default()
    };
    DescribeLogDirsResponse { results: vec![result], ..DescribeLogDirsResponse::default() }
}

fn wanted(topics: Vec<DescribableLogDirTopic>) -> BTreeSet<(String, PartitionIndex)> {
    let of_topic = |topic: DescribableLogDirTopic| {
        let name = topic.topic;
        topic.partitions.into_iter().map(move |index| (name.clone(), PartitionIndex(index)))
    };
    topics.into_iter().flat_map(of_topic).collect()
}

/// Bytes of every log of this broker.
async fn sizes(shard: &Shard) -> Vec<(TopicPartition, u64)> {
    let mut replies = Vec::new();
    for index in 0..shard.shards {
        let request = MeshRequest::Replica(ShardRequest::LogSizes);
        replies.push(shard.mesh.submit(ShardId(index), request).await);
    }
    let mut sizes = Vec::new();
    for reply in replies {
        match reply.await {
            Ok(MeshReply::Replica(ShardReply::LogSizes(some))) => sizes.extend(some),
            Ok(other) => panic!("sizes were asked for, not {other:?}"),
            Err(_) => {} // that shard has ended, and so the broker does
        }
    }
    sizes
}

/// The data directory and the volume it lies on.
struct Volume {
    path: String,
    /// -1: not known.
    total_bytes: i64,
    /// -1: not known.
    usable_bytes: i64,
}

/// Asks the file system, which may block.
async fn volume(directory: PathBuf) -> Volume {
    spawn_blocking(move || {
        let path = std::path::absolute(&directory).unwrap_or(directory);
        let facts = rustix::fs::statvfs(&path).ok();
        let bytes = |blocks: u64, each: u64| i64::try_from(blocks.saturating_mul(each)).ok();
        let told = |of: fn(&rustix::fs::StatVfs) -> u64| {
            facts.as_ref().and_then(|facts| bytes(of(facts), facts.f_frsize)).unwrap_or(-1)
        };
        Volume {
            total_bytes: told(|facts| facts.f_blocks),
            usable_bytes: told(|facts| facts.f_bavail),
            path: path.to_string_lossy().into_owned(),
        }
    })
    .await
}
