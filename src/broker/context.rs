//! What every handler of one shard sees: settings, the metadata image, replicas, ways to others.
//!
//! Home: one shard, in an `Rc`; nothing of it leaves the shard.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::config::broker::BrokerConfig;
use crate::config::topic::TopicConfig;
use crate::metadata::brokers::ProducerIdBlock;
use crate::metadata::commands::{Answer, Command};
use crate::metadata::image::{MetadataImage, TopicImage};
use crate::metrics::shard::ShardMetrics;
use crate::model::ids::{PartitionIndex, ProducerId, ShardId, TopicId, TopicPartition};
use crate::protocol::error::ErrorCode;
use crate::record::validate::Scratch;
use crate::replica::driver::resolve;
use crate::replica::table::owner;
use crate::shard::bridge::ControlLink;
use crate::shard::mesh::Mesh;

use super::errors::Told;
use super::fetch_session::SessionCache;
use super::orders::{ControlReply, ControlRequest, MeshReply, MeshRequest, QuorumView};

/// One shard's view of the broker.
pub struct Shard {
    /// Which shard this is.
    pub id: ShardId,
    /// How many there are.
    pub shards: u16,
    /// The broker's settings as it was started with them.
    pub static_config: Arc<BrokerConfig>,
    /// The broker's settings, with what clients have set over them.
    pub config: RefCell<Arc<BrokerConfig>>,
    /// The newest metadata this shard has taken over.
    pub image: RefCell<Arc<MetadataImage>>,
    /// The other shards, and this one's replicas.
    pub mesh: Mesh<MeshRequest, MeshReply>,
    /// The control thread.
    pub control: ControlLink<ControlRequest, ControlReply>,
    /// Fetch sessions of this shard's connections.
    pub sessions: RefCell<SessionCache>,
    /// What has been counted.
    pub metrics: RefCell<ShardMetrics>,
    /// Memory for looking into compressed batches.
    pub scratch: RefCell<Scratch>,
    /// Number of the last watch this shard has asked for.
    pub watch_last: Cell<u64>,
    /// Settings of topics as far as they have been asked for; of the current image.
    pub topic_configs: RefCell<HashMap<TopicId, Rc<TopicConfig>>>,
    /// Producer ids this shard may give out.
    pub producer_ids: Cell<Option<ProducerIdBlock>>,
}

impl Shard {
    /// The newest image; hold it for one request so that its answers agree with each other.
    pub fn image(&self) -> Arc<MetadataImage> {
        Arc::clone(&self.image.borrow())
    }

    /// The settings that hold now; hold them for one request, so that its answers agree.
    pub fn config(&self) -> Arc<BrokerConfig> {
        Arc::clone(&self.config.borrow())
    }

    /// The shard that owns a partition.
    pub fn owner(&self, partition: TopicPartition) -> ShardId {
        owner(partition, self.shards)
    }

    /// Takes over a newer image.
    pub fn set_image(&self, image: Arc<MetadataImage>) {
        self.topic_configs.borrow_mut().clear();
        *self.image.borrow_mut() = image;
    }

    /// A topic's settings; resolved once an image.
    pub fn topic_config(&self, topic: &TopicImage) -> Rc<TopicConfig> {
        let known = self.topic_configs.borrow().get(&topic.id).cloned();
        known.unwrap_or_else(|| {
            let config = Rc::new(resolve(&self.config(), topic));
            self.topic_configs.borrow_mut().insert(topic.id, Rc::clone(&config));
            config
        })
    }

    /// Has the controller carry out `command`; answered once every shard has taken over what it
    /// changed. Errors: what the client is told.
    pub async fn execute(&self, command: Command) -> Result<Answer, Told> {
        match self.control.call(ControlRequest::Execute(command)).await {
            Ok(ControlReply::Executed(Ok(answer))) => Ok(answer),
            Ok(ControlReply::Executed(Err(error))) => Err(Told::from(&error)),
            Ok(other) => panic!("a command was asked for, not {other:?}"),
            Err(_) => Err(Told::code(ErrorCode::NotController)), // the control thread has ended
        }
    }

    /// How the metadata quorum stands. Errors: what the client is told.
    pub async fn quorum(&self) -> Result<QuorumView, Told> {
        match self.control.call(ControlRequest::Quorum).await {
            Ok(ControlReply::Quorum(view)) => Ok(view),
            Ok(other) => panic!("the quorum was asked for, not {other:?}"),
            Err(_) => Err(Told::code(ErrorCode::NotController)), // the control thread has ended
        }
    }

    /// A producer id that nobody had before. Errors: what the client is told.
    pub async fn next_producer_id(&self) -> Result<ProducerId, Told> {
        loop {
            if let Some(block) = self.producer_ids.get() {
                let rest = ProducerIdBlock {
                    first: ProducerId(block.first.0 + 1),
                    count: block.count - 1,
                };
                self.producer_ids.set((rest.count > 0).then_some(rest));
                return Ok(block.first);
            }
            let broker = self.static_config.node_id;
            let registered = self.image().broker(broker).map(|broker| broker.epoch);
            let broker_epoch = registered.unwrap_or(-1);
            let command = Command::AllocateProducerIds { broker, broker_epoch };
            match self.execute(command).await? {
                // Two that waited at once each bring a block; the ids of one go unused.
                Answer::ProducerIds(block) => self.producer_ids.set(Some(block)),
                other => panic!("the controller answers what was asked, not {other:?}"),
            }
        }
    }
}

/// The full name of a topic's partition, if the topic has it.
pub fn locate(topic: &TopicImage, partition: PartitionIndex) -> Option<TopicPartition> {
    topic.partition(partition).map(|_| TopicPartition { topic: topic.id, partition })
}
