//! A shard takes over metadata: replicas are opened, changed and deleted.
//!
//! In:   the newest image, from the control thread, one at a time.
//! Out:  the shard's table agrees with the image; then the control thread is told.
//! Home: one shard.
//!
//! Invariants
//!   V1  A replica is in the table only with its log recovered and its appender running.
//!   V2  A replica whose log cannot be opened is left out and named in the log: its partition
//!       answers NOT_LEADER_OR_FOLLOWER, others go on.
//!   V3  A directory's name holds the topic's id: a topic created anew never meets old bytes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::config::broker::BrokerConfig;
use crate::config::topic::TopicConfig;
use crate::io::directory::Directory as _;
use crate::io::real_directory::PROBE;
use crate::metadata::delta::Delta;
use crate::metadata::image::{MetadataImage, TopicImage};
use crate::metadata::record::PartitionState;
use crate::model::ids::{PartitionIndex, ShardId, TopicPartition};
use crate::model::topic_name::TopicName;
use crate::partition::epochs::EpochTable;
use crate::partition::leader::{Leader, Recovered};
use crate::partition::producers::ProducerState;
use crate::shard::tasks::{self, Queue};
use crate::shard::timers;
use crate::storage::log::{Log, LogError, LogShared};
use crate::storage::options::LogOptions;
use crate::storage::recovery::{OpenError, Opened, Replayed};

use super::Disk;
use super::local::Replica;
use super::request::AppendFailure;
use super::table::{Replicas, owner};

/// Logs opened at once by a shard: enough to keep a disk busy, few enough to bound its memory.
const OPEN_AT_ONCE_MAX: usize = 64;
/// Longest part of a topic's name in a directory's name, in bytes; file systems take 255.
const DIRECTORY_NAME_BYTES_MAX: usize = 200;
/// Ending of a directory that is on its way out.
const DELETED: &str = ".deleted";

/// Keeps one shard's replicas in step with the metadata.
pub struct Driver {
    /// Which shard this is.
    pub shard: ShardId,
    /// How many there are.
    pub shards: u16,
    /// The broker's settings; replaced whole when they change, before the image that has them is
    /// applied.
    pub config: RefCell<Arc<BrokerConfig>>,
    /// The directory that holds one directory a replica.
    pub disk: Disk,
    /// Budgets and the fail-stop that all logs of the shard share.
    pub log_shared: LogShared,
    /// The shard's table.
    pub replicas: Rc<Replicas>,
}

/// One replica to open.
struct ToOpen {
    partition: TopicPartition,
    topic: TopicName,
    state: PartitionState,
    config: Rc<TopicConfig>,
}

impl Driver {
    /// Carries over what differs between `old` and `new` (V1, V2).
    pub async fn apply(self: &Rc<Self>, old: &MetadataImage, new: &MetadataImage) {
        let delta = Delta::between(old, new);
        for topic in &delta.deleted {
            self.delete(topic).await;
        }
        if delta.broker_configs_changed {
            // The defaults of every topic may have changed.
            new.topics().for_each(|topic| self.change(topic));
        }
        for changed in &delta.changed {
            self.change(&changed.topic);
        }
        let created = delta.created.iter().flat_map(|topic| self.owned(topic));
        let more = delta.changed.iter().flat_map(|changed| self.owned(&changed.topic));
        let missing = |open: &ToOpen| self.replicas.get(open.partition).is_none();
        self.open_all(created.chain(more).filter(missing).collect()).await;
    }

    /// The partitions of `topic` that this shard of this broker holds.
    fn owned(&self, topic: &TopicImage) -> Vec<ToOpen> {
        let config = Rc::new(resolve(&self.config.borrow(), topic));
        let mut owned = Vec::new();
        for (state, index) in topic.partitions.iter().zip(0..) {
            let partition = TopicPartition { topic: topic.id, partition: PartitionIndex(index) };
            let here = state.replicas.contains(&self.config.borrow().node_id);
            if here && owner(partition, self.shards) == self.shard {
                let (topic, state) = (topic.name.clone(), state.clone());
                owned.push(ToOpen { partition, topic, state, config: Rc::clone(&config) });
            }
        }
        owned
    }

    async fn open_all(self: &Rc<Self>, mut waiting: Vec<ToOpen>) {
        while !waiting.is_empty() {
            let rest = waiting.split_off(waiting.len().min(OPEN_AT_ONCE_MAX));
            let open = |one| {
                let driver = Rc::clone(self);
                tasks::spawn(Queue::Housekeeping, async move { driver.open_or_say(one).await })
            };
            let opening: Vec<_> = waiting.into_iter().map(open).collect();
            for one in opening {
                let _ = one.await; // ends with the shard at the latest
            }
            waiting = rest;
        }
    }

    async fn open_or_say(&self, open: ToOpen) {
        let (topic, partition) = (open.topic.clone(), open.partition.partition.0);
        if let Err(error) = self.open(open).await {
            tracing::error!(%topic, partition, %error, "log not opened: the partition is offline");
        }
    }

    async fn open(&self, open: ToOpen) -> Result<(), OpenError> {
        let name = directory_name(&open.topic, open.partition);
        let directory = self.disk.subdirectory(&name).await?;
        self.disk.sync().await?;
        let options = options_of(&open.config, open.partition);
        let now = timers::wall_clock();
        let opened = Log::open(directory, options, self.log_shared.clone(), now).await?;
        let log = opened.log.clone();
        let core = Leader::start(
            self.config.borrow().node_id,
            open.state.leader_epoch,
            recovered(&opened),
        );
        log.begin_epoch(open.state.leader_epoch);
        tasks::spawn(Queue::Network, {
            let log = log.clone();
            async move {
                // Its failure stops the directory, which is said and answered elsewhere.
                let _ = log.run().await;
            }
        });
        let replica = Replica::new(open.partition, open.topic, core, log, open.config);
        let weak = Rc::downgrade(&replica);
        replica.log.set_on_durable(move |end| {
            if let Some(replica) = weak.upgrade() {
                replica.on_durable(end);
            }
        });
        self.replicas.add(replica);
        Ok(())
    }

    fn change(&self, topic: &TopicImage) {
        let config = Rc::new(resolve(&self.config.borrow(), topic));
        for (state, index) in topic.partitions.iter().zip(0..) {
            let partition = TopicPartition { topic: topic.id, partition: PartitionIndex(index) };
            let Some(replica) = self.replicas.get(partition) else { continue };
            replica.log.set_options(options_of(&config, partition));
            *replica.config.borrow_mut() = Rc::clone(&config);
            let mut core = replica.core.borrow_mut();
            if core.epoch() < state.leader_epoch {
                core.on_new_epoch(state.leader_epoch);
                replica.log.begin_epoch(state.leader_epoch);
            }
        }
    }

    async fn delete(self: &Rc<Self>, topic: &TopicImage) {
        for index in (0..).take(topic.partitions.len()) {
            let partition = TopicPartition { topic: topic.id, partition: PartitionIndex(index) };
            let Some(replica) = self.replicas.remove(partition) else { continue };
            replica.fail(AppendFailure::NotHere);
            let driver = Rc::clone(self);
            // In the background: nobody waits for the space of a deleted topic.
            tasks::spawn(Queue::Background, async move { driver.delete_one(&replica).await });
        }
    }

    async fn delete_one(&self, replica: &Replica) {
        let name = directory_name(&replica.topic, replica.partition);
        let gone = format!("{name}{DELETED}");
        if let Err(error) = replica.log.delete().await {
            tracing::error!(directory = name, %error, "deleted partition's log not emptied");
        }
        let result = async {
            self.disk.rename(&name, &gone).await?;
            self.disk.sync().await?;
            self.disk.remove_subdirectory(&gone).await?;
            self.disk.sync().await
        };
        if let Err(error) = result.await {
            tracing::error!(directory = name, %error, "deleted partition's files not removed");
        }
    }

    /// Removes what an earlier run had begun to delete, and names directories that no topic has.
    pub async fn sweep(&self, image: &MetadataImage) {
        let names = match self.disk.list().await {
            Ok(names) => names,
            Err(error) => return tracing::error!(%error, "log directory cannot be listed"),
        };
        let mut known: Vec<String> = Vec::new();
        for topic in image.topics() {
            for index in (0..).take(topic.partitions.len()) {
                let partition =
                    TopicPartition { topic: topic.id, partition: PartitionIndex(index) };
                known.push(directory_name(&topic.name, partition));
            }
        }
        known.sort_unstable();
        for name in names {
            if name.ends_with(DELETED) {
                if let Err(error) = self.disk.remove_subdirectory(&name).await {
                    tracing::error!(directory = name, %error, "deleted partition not removed");
                }
            } else if known.binary_search(&name).is_err() && !name.starts_with(PROBE) {
                // A probe is of a shard that opens its disk just now.
                tracing::warn!(directory = name, "belongs to no topic of this cluster: left alone");
            }
        }
    }

    /// Closes all logs cleanly, each with its producers' state; whether all of them were.
    pub async fn close(&self) -> bool {
        let mut clean = true;
        for replica in self.replicas.all() {
            self.replicas.remove(replica.partition);
            replica.fail(AppendFailure::NotHere);
            if let Err(error) = close_one(&replica).await {
                tracing::warn!(topic = %replica.topic, %error, "log not closed cleanly");
                clean = false;
            }
        }
        clean
    }
}

async fn close_one(replica: &Replica) -> Result<(), LogError> {
    let (end, state) = {
        let core = replica.core.borrow();
        (core.log_end_offset(), core.producers().encode(core.log_end_offset()))
    };
    replica.log.write_snapshot(end, &state).await?;
    replica.log.close().await
}

/// What a partition's log acts on. `segment.jitter.ms` takes a part off the age of its segments
/// that differs from partition to partition, so that those of a topic do not all roll at once.
fn options_of(config: &TopicConfig, partition: TopicPartition) -> LogOptions {
    let mut options = LogOptions::from_topic(config);
    let most = config.segment_jitter_ms.min(options.segment_ms.saturating_sub(1));
    let [.., a, b, c, d] = partition.topic.0;
    let mixed = u64::from(u32::from_be_bytes([a, b, c, d]))
        .wrapping_add(u64::from(partition.partition.0.unsigned_abs()))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    options.segment_ms -= (mixed >> 16) % (most + 1);
    options
}

/// The topic's settings. Overrides were checked when they were set; if a setting of the broker has
/// since become one they contradict, the broker's alone hold, and that is said.
pub fn resolve(config: &BrokerConfig, topic: &TopicImage) -> TopicConfig {
    config.topic(&topic.configs).unwrap_or_else(|error| {
        tracing::error!(topic = %topic.name, %error, "topic settings ignored");
        let none = BTreeMap::new();
        config.topic(&none).expect("the broker's own defaults were checked at start")
    })
}

/// What recovery found, as the core takes it.
fn recovered(opened: &Opened<Disk>) -> Recovered {
    let (log_start, log_end) = (opened.log.log_start(), opened.log.log_end());
    let mut epochs = EpochTable::new();
    for &(epoch, start) in &opened.epochs {
        epochs.assign(epoch, start);
    }
    let snapshot = opened.snapshot.as_ref().map(|(_, state)| ProducerState::decode(state));
    let mut producers = match snapshot {
        Some(Ok((producers, _))) => producers,
        Some(Err(_)) | None => ProducerState::new(),
    };
    for Replayed { info, marker } in &opened.replay {
        producers.note(info.max_timestamp, info, *marker);
    }
    // One replica: all that recovery kept is durable, and so committed.
    Recovered { log_start, log_end, high_watermark: log_end, epochs, producers }
}

/// The name of a replica's directory: readable, and never that of another topic's (V3).
pub fn directory_name(topic: &TopicName, partition: TopicPartition) -> String {
    let topic = topic.as_str();
    let readable = &topic[..topic.len().min(DIRECTORY_NAME_BYTES_MAX)];
    format!("{readable}-{}.{}", partition.partition.0, partition.topic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::TopicId;

    #[test]
    fn jitter_takes_off_differing_parts_and_none_where_it_is_not_asked_for() {
        let config = |jitter: &str| {
            let of = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            let own = [of("segment.ms", "1000"), of("segment.jitter.ms", jitter)].into();
            BrokerConfig::default().topic(&own).unwrap()
        };
        let ages = |jitter: &str| -> Vec<u64> {
            let config = config(jitter);
            let of = |index| TopicPartition {
                topic: TopicId([9; 16]),
                partition: PartitionIndex(index),
            };
            (0..50).map(|index| options_of(&config, of(index)).segment_ms).collect()
        };
        assert!(ages("0").iter().all(|&ms| ms == 1000));
        let mut some = ages("100");
        assert!(some.iter().all(|ms| (900..=1000).contains(ms)));
        some.sort_unstable();
        some.dedup();
        assert!(some.len() > 20, "{some:?}");
        assert!(ages("5000").iter().all(|&ms| ms >= 1), "never below the least age");
    }

    #[test]
    fn a_directory_name_fits_the_file_system_and_names_one_topic() {
        let name = TopicName::parse(&"x".repeat(249)).unwrap();
        let at =
            |id| TopicPartition { topic: TopicId([id; 16]), partition: PartitionIndex(99_999) };
        assert!(directory_name(&name, at(1)).len() <= 255);
        assert_ne!(directory_name(&name, at(1)), directory_name(&name, at(2)));
    }
}
