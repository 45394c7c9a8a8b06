//! What the control thread asks shards about groups: how far they are, and to move one.
//!
//! In:   [`GroupOrder`]; any shard answers any of them.
//! Out:  [`GroupDone`].
//! Home: the asked shard; what others own it asks them for.
//!
//! An order is a bounded piece of work: a page of groups, a list of offsets, one group.
//!
//! Not here: lags and their history (`lag_sampler.rs`), the move itself (`crate::group::seek`).

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use crate::coordinator::call::Unavailable;
use crate::group::coordinator::GroupCoordinator;
use crate::group::ids::GroupId;
use crate::group::lag::{GroupPositions, PositionsPage};
use crate::group::seek::{Move, MoveTo, SeekError, Sought};
use crate::group::step::Step;
use crate::metadata::image::{MetadataImage, TopicImage};
use crate::model::ids::{PartitionIndex, TopicPartition};
use crate::model::offset::{LeaderEpoch, Offset};
use crate::model::time::Timestamp;
use crate::partition::leader::Isolation;
use crate::replica::request::{
    OffsetFound, OffsetQuery, OffsetSpec, ReadFailure, ShardReply, ShardRequest,
};
use crate::shard::timers;

use super::context::{Shard, locate};
use super::groups::OFFSETS_TOPIC;
use super::scatter::Scatter;

/// Something about groups for a shard to do.
#[derive(Clone, Debug)]
pub enum GroupOrder {
    /// Tell how far groups of this coordinator have read, from the first after `after`.
    Page {
        /// The partition of `__consumer_offsets`.
        coordinator: PartitionIndex,
        /// Where the page before ended.
        after: Option<GroupId>,
    },
    /// Tell how far one group has read.
    Group(GroupId),
    /// Tell the time of the first record at or after each of these offsets.
    Times(Vec<(TopicPartition, Offset)>),
    /// Move a group, or work it out.
    Seek(SeekOrder),
}

/// The answer to a [`GroupOrder`].
#[derive(Debug)]
pub enum GroupDone {
    /// To [`GroupOrder::Page`].
    Page(Result<MeasuredPage, Unavailable>),
    /// To [`GroupOrder::Group`]; none: there is no such group.
    Group(Result<Option<MeasuredGroup>, Unavailable>),
    /// To [`GroupOrder::Times`]: one each, and what the shard's clock says.
    Times(Vec<FirstRecord>, Timestamp),
    /// To [`GroupOrder::Seek`].
    Seek(Result<Sought, SeekRefused>),
}

/// The first record at or after an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstRecord {
    /// It was made, or appended, then.
    At(Timestamp),
    /// There is none: nothing, or ends of transactions alone.
    None,
    /// It has no timestamp, or cannot be read now.
    Unknown,
}

/// How far groups of one coordinator have read.
#[derive(Clone, Debug, Default)]
pub struct MeasuredPage {
    /// The groups.
    pub groups: Vec<MeasuredGroup>,
    /// Where the next page begins; none: that was all.
    pub next: Option<GroupId>,
}

/// How far a group has read.
#[derive(Clone, Debug)]
pub struct MeasuredGroup {
    /// The group.
    pub id: GroupId,
    /// Whether it has members.
    pub has_members: bool,
    /// Its positions in partitions that are there and answer.
    pub positions: Vec<MeasuredPosition>,
}

/// A position and the end before it.
#[derive(Clone, Debug)]
pub struct MeasuredPosition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition.
    pub at: TopicPartition,
    /// The next offset that the group will read.
    pub position: Offset,
    /// The high watermark.
    pub end: Offset,
}

/// A group to be moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeekOrder {
    /// The group.
    pub group: GroupId,
    /// Where to.
    pub to: SeekTo,
    /// Where; none: in every partition of the topics in which it has a position.
    pub topics: Option<Vec<SeekTopic>>,
    /// Whether to work out the move and leave the group as it is.
    pub dry_run: bool,
}

/// A topic in which a group is to be moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeekTopic {
    /// Its name.
    pub name: String,
    /// Its partitions; none: all.
    pub partitions: Option<Vec<PartitionIndex>>,
}

/// Where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekTo {
    /// The first record there is.
    Start,
    /// The end.
    End,
    /// This offset, or the nearest that there is.
    Offset(Offset),
    /// The first record at or after this time; the end if there is none.
    Time(Timestamp),
    /// So many offsets before the group's positions.
    Back(i64),
}

/// Why a group is not moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeekRefused {
    /// The coordinator cannot be asked now.
    Unavailable(Unavailable),
    /// The core's reason.
    Core(SeekError),
    /// It has no position, and no topic was named.
    NoPositions,
    /// No such topic.
    UnknownTopic(String),
    /// The topic has no such partition.
    UnknownPartition(String, PartitionIndex),
    /// A partition does not answer.
    NotReadable(String, PartitionIndex),
}

/// Where a group is to go, in a partition whose ends are yet to be asked for.
type Target = (Arc<str>, TopicPartition);

impl Shard {
    /// Carries out one order.
    pub async fn carry_out_for_groups(self: &Rc<Self>, order: GroupOrder) -> GroupDone {
        match order {
            GroupOrder::Page { coordinator, after } => {
                GroupDone::Page(self.measure_page(coordinator, after).await)
            }
            GroupOrder::Group(id) => GroupDone::Group(self.measure_group(id).await),
            GroupOrder::Times(offsets) => {
                GroupDone::Times(self.times(&offsets).await, timers::wall_clock())
            }
            GroupOrder::Seek(order) => GroupDone::Seek(self.seek(order).await),
        }
    }

    async fn measure_page(
        self: &Rc<Self>,
        coordinator: PartitionIndex,
        after: Option<GroupId>,
    ) -> Result<MeasuredPage, Unavailable> {
        let image = self.image();
        let topic = image.topic_by_name(OFFSETS_TOPIC).ok_or(Unavailable::NotHere)?;
        let partition = locate(topic, coordinator).ok_or(Unavailable::NotHere)?;
        let work = move |core: &mut GroupCoordinator, _, _: &mut Step| -> PositionsPage {
            core.positions_page(after.as_ref())
        };
        let page = self.begin_at_coordinator(partition, work).await;
        let page = page.answer().await?;
        Ok(MeasuredPage { groups: self.measure(&image, page.groups).await, next: page.next })
    }

    async fn measure_group(
        self: &Rc<Self>,
        id: GroupId,
    ) -> Result<Option<MeasuredGroup>, Unavailable> {
        let groups = self.positions_of(&id).await?.into_iter().collect();
        Ok(self.measure(&self.image(), groups).await.pop())
    }

    /// How far a group has read; none: there is no such group. Before the first one there is no
    /// coordinator that could be asked.
    async fn positions_of(&self, id: &GroupId) -> Result<Option<GroupPositions>, Unavailable> {
        if self.group_partition(id.as_str()).is_none() {
            return Ok(None);
        }
        let asked = id.clone();
        self.ask_group(id.as_str(), move |core, _, _| core.group_positions(&asked)).await
    }

    /// Sets each position's end beside it. Positions in topics that are gone are left out, and
    /// those in partitions that do not answer.
    async fn measure(
        self: &Rc<Self>,
        image: &MetadataImage,
        groups: Vec<GroupPositions>,
    ) -> Vec<MeasuredGroup> {
        let mut wanted = BTreeSet::new();
        let groups: Vec<_> = groups
            .into_iter()
            .map(|group| {
                let of_group = group.positions.into_iter().filter_map(|position| {
                    let topic = image.topic_by_name(&position.topic)?;
                    let same = position.topic_id.is_zero() || position.topic_id == topic.id;
                    let at = locate(topic, position.partition).filter(|_| same)?;
                    wanted.insert(at);
                    Some((position.topic, at, position.offset))
                });
                (group.id, group.has_members, of_group.collect::<Vec<_>>())
            })
            .collect();
        let asked = wanted.into_iter().map(|at| (at, at, OffsetSpec::Latest)).collect();
        let ends: BTreeMap<TopicPartition, Offset> = self
            .look_up(asked)
            .await
            .into_iter()
            .filter_map(|(at, found)| Some((at, found.ok()?.offset)))
            .collect();
        let measured = |(topic, at, position): (Arc<str>, TopicPartition, Offset)| {
            let end = *ends.get(&at)?;
            Some(MeasuredPosition { topic, at, position, end })
        };
        groups
            .into_iter()
            .map(|(id, has_members, positions)| MeasuredGroup {
                id,
                has_members,
                positions: positions.into_iter().filter_map(measured).collect(),
            })
            .collect()
    }

    async fn times(self: &Rc<Self>, offsets: &[(TopicPartition, Offset)]) -> Vec<FirstRecord> {
        let asked = offsets.iter().enumerate();
        let asked = asked.map(|(place, (at, offset))| (place, *at, OffsetSpec::From(*offset)));
        let mut times = vec![FirstRecord::Unknown; offsets.len()];
        for (place, found) in self.look_up(asked.collect()).await {
            times[place] = match found {
                Ok(found) if found.offset == Offset::NONE => FirstRecord::None,
                Ok(found) if found.timestamp > Timestamp::NONE => FirstRecord::At(found.timestamp),
                Ok(_) | Err(_) => FirstRecord::Unknown,
            };
        }
        times
    }

    /// Asks owners for offsets; the answers come in no order.
    async fn look_up<P>(
        self: &Rc<Self>,
        asked: Vec<(P, TopicPartition, OffsetSpec)>,
    ) -> Vec<(P, Result<OffsetFound, ReadFailure>)> {
        let mut scatter = Scatter::new(self);
        for (place, partition, spec) in asked {
            let (current_leader_epoch, isolation) = (LeaderEpoch::NONE, Isolation::ReadUncommitted);
            let query = OffsetQuery { partition, current_leader_epoch, spec, isolation };
            scatter.add(partition, place, query);
        }
        let found = scatter.gather(ShardRequest::Offsets, |reply| match reply {
            ShardReply::Offsets(found) => found,
            other => panic!("offsets were asked for, not {other:?}"),
        });
        let found = found.await.into_iter();
        found.map(|(place, one)| (place, one.unwrap_or(Err(ReadFailure::NotHere)))).collect()
    }

    async fn seek(self: &Rc<Self>, order: SeekOrder) -> Result<Sought, SeekRefused> {
        if self.group_partition(order.group.as_str()).is_none() {
            return Err(SeekRefused::Core(SeekError::NoGroup)); // nor any other
        }
        let targets = self.targets(&order).await?;
        let moves = self.moves(order.to, targets).await?;
        let (group, dry_run) = (order.group.clone(), order.dry_run);
        let sought = self.ask_group(order.group.as_str(), move |core, now, step| match dry_run {
            true => core.plan_seek(&group, &moves),
            false => core.seek_group(now, &group, &moves, step),
        });
        let sought = sought.await.map_err(SeekRefused::Unavailable)?;
        sought.map_err(SeekRefused::Core)
    }

    /// The partitions in which the group is to be moved.
    async fn targets(self: &Rc<Self>, order: &SeekOrder) -> Result<Vec<Target>, SeekRefused> {
        let image = self.image();
        if let Some(named) = &order.topics {
            return named_targets(&image, named);
        }
        let known = self.positions_of(&order.group).await.map_err(SeekRefused::Unavailable)?;
        let known = known.ok_or(SeekRefused::Core(SeekError::NoGroup))?;
        let mut targets = BTreeSet::new();
        for position in known.positions {
            let Some(topic) = image.topic_by_name(&position.topic) else { continue };
            match order.to {
                SeekTo::Back(_) => {
                    targets
                        .extend(locate(topic, position.partition).map(|at| (position.topic, at)));
                }
                _ => targets.extend(all_of(topic)),
            }
        }
        match targets.is_empty() {
            true => Err(SeekRefused::NoPositions),
            false => Ok(targets.into_iter().collect()),
        }
    }

    /// Each target with its ends and where to go.
    async fn moves(
        self: &Rc<Self>,
        to: SeekTo,
        targets: Vec<Target>,
    ) -> Result<Vec<Move>, SeekRefused> {
        let specs: &[OffsetSpec] = match to {
            SeekTo::Time(time) => &[OffsetSpec::Earliest, OffsetSpec::Latest, OffsetSpec::At(time)],
            _ => &[OffsetSpec::Earliest, OffsetSpec::Latest],
        };
        let mut asked = Vec::with_capacity(targets.len() * specs.len());
        for (place, (_, at)) in targets.iter().enumerate() {
            let of_target =
                specs.iter().enumerate().map(|(which, spec)| ((place, which), *at, *spec));
            asked.extend(of_target);
        }
        let mut ends = vec![[Offset::ZERO; 3]; targets.len()];
        for ((place, which), found) in self.look_up(asked).await {
            let (topic, at) = &targets[place];
            let unreadable = |_| SeekRefused::NotReadable(topic.to_string(), at.partition);
            ends[place][which] = found.map_err(unreadable)?.offset;
        }
        let moves = targets.into_iter().zip(ends).map(|((topic, at), [start, end, found])| {
            let end = end.max(start);
            let to = match to {
                SeekTo::Start => MoveTo::Offset(start),
                SeekTo::End => MoveTo::Offset(end),
                SeekTo::Offset(offset) => MoveTo::Offset(offset),
                SeekTo::Time(_) if found == Offset::NONE => MoveTo::Offset(end),
                SeekTo::Time(_) => MoveTo::Offset(found),
                SeekTo::Back(count) => MoveTo::Back(count),
            };
            Move { topic, topic_id: at.topic, partition: at.partition, to, start, end }
        });
        Ok(moves.collect())
    }
}

fn named_targets(image: &MetadataImage, named: &[SeekTopic]) -> Result<Vec<Target>, SeekRefused> {
    let mut targets = BTreeSet::new();
    for topic in named {
        let known = image.topic_by_name(&topic.name);
        let known = known.ok_or_else(|| SeekRefused::UnknownTopic(topic.name.clone()))?;
        let Some(partitions) = &topic.partitions else {
            targets.extend(all_of(known));
            continue;
        };
        for partition in partitions {
            let at = locate(known, *partition)
                .ok_or_else(|| SeekRefused::UnknownPartition(topic.name.clone(), *partition))?;
            targets.insert((topic.name.as_str().into(), at));
        }
    }
    Ok(targets.into_iter().collect())
}

fn all_of(topic: &TopicImage) -> impl Iterator<Item = Target> {
    let name: Arc<str> = topic.name.as_str().into();
    let indexes = (0..).take(topic.partitions.len()).map(PartitionIndex);
    let id = topic.id;
    indexes.map(move |partition| (name.clone(), TopicPartition { topic: id, partition }))
}
