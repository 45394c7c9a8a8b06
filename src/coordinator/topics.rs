//! The broker's topics, and groups' own settings, as group coordinators see them.
//!
//! In:   metadata images.
//! Out:  [`ImageTopics`], [`ImageGroups`]; the topics that are gone.
//! Home: pure.

use std::sync::Arc;

use crate::config::group_keys::own_settings;
use crate::config::groups::OwnGroupSettings;
use crate::group::commit::DeletedTopic;
use crate::group::consumer::topics::{TopicInfo, Topics};
use crate::group::ids::GroupId;
use crate::group::settings::OwnSettings;
use crate::metadata::image::MetadataImage;
use crate::model::ids::TopicId;

/// The topics of one image.
#[derive(Debug)]
pub(super) struct ImageTopics(pub(super) Arc<MetadataImage>);

impl Topics for ImageTopics {
    fn version(&self) -> i64 {
        i64::try_from(self.0.applied_index()).expect("2^63 entries")
    }

    fn topic(&self, name: &str) -> Option<TopicInfo> {
        let topic = self.0.topic_by_name(name)?;
        let partitions = i32::try_from(topic.partitions.len()).ok()?;
        Some(TopicInfo { id: topic.id, partitions })
    }

    fn name(&self, id: TopicId) -> Option<String> {
        self.0.topic_by_id(id).map(|topic| topic.name.to_string())
    }

    fn for_each_name(&self, visit: &mut dyn FnMut(&str)) {
        for topic in self.0.topics() {
            visit(topic.name.as_str());
        }
    }
}

/// What groups have set for themselves, in one image.
#[derive(Debug)]
pub(super) struct ImageGroups(pub(super) Arc<MetadataImage>);

impl OwnSettings for ImageGroups {
    fn of(&self, group: &GroupId) -> Option<OwnGroupSettings> {
        self.0.group_configs(group.as_str()).map(own_settings)
    }
}

/// The topics that `new` no longer has, or has under another id.
pub(super) fn deleted_between(old: &MetadataImage, new: &MetadataImage) -> Vec<DeletedTopic> {
    if old.shares_topics_with(new) {
        return Vec::new();
    }
    let gone = old.topics().filter(|topic| new.topic_by_id(topic.id).is_none());
    gone.map(|topic| DeletedTopic { name: topic.name.as_str().into(), id: topic.id }).collect()
}
