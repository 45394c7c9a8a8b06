//! Follows how far groups are behind, in the background.
//!
//! In:   shards' answers about groups, a page at a time; questions of the admin endpoint.
//! Out:  the lag of every group, a round every [`ROUND_MS`]; histories; groups moved.
//! Home: two tasks on the control thread: one measures, one owns the table and answers.
//!
//! What a round asks of shards lies in their memory, but for the time of the first record that a
//! group has not consumed. That is asked for once for each position, so that a group that stands
//! still costs nothing, and `TIMES_PER_ROUND_MAX` times a round: who waits longest is first, and
//! meanwhile has the time of an earlier record.
//!
//! Invariants
//!   S1  One order is under way at a time, so that a round never crowds a shard.
//!   S2  What is remembered from round to round is about the positions of the last round alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use crate::controller::driver::Controller;
use crate::coordinator::call::Unavailable;
use crate::group::ids::GroupId;
use crate::group::seek::Sought;
use crate::metrics::group_lag::{
    Followed, LagTable, PartitionLag, ROUND_MS, ShownLags, TRACKED_MAX,
};
use crate::model::ids::{PartitionIndex, ShardId, TopicPartition};
use crate::model::offset::Offset;
use crate::model::time::Timestamp;
use crate::shard::bridge::ShardLinks;

use super::coordinators::coordinator_partition;
use super::group_orders::{
    GroupDone, GroupOrder, MeasuredGroup, MeasuredPage, MeasuredPosition, SeekOrder, SeekRefused,
};
use super::groups::OFFSETS_TOPIC;
use super::orders::{ControlOrder, OrderDone};

/// Times of records that one round asks for; each may read a few KiB from the disk.
const TIMES_PER_ROUND_MAX: usize = 1_000;
/// Times that one order asks for.
const TIMES_PER_ORDER_MAX: usize = 100;
/// Questions that wait for the table; whoever asks waits beyond.
const QUESTIONS_MAX: usize = 64;

type Links = ShardLinks<ControlOrder, OrderDone>;

/// Why a group's lag is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LagError {
    /// There is no such group.
    NoGroup,
    /// The coordinator cannot be asked now.
    Unavailable(Unavailable),
}

/// A way to the groups' lags, and to move groups; cheap to clone.
#[derive(Clone)]
pub struct GroupWatch {
    shards: Shards,
    table: mpsc::Sender<Question>,
}

/// What the table's task is told or asked.
enum Question {
    Round(Timestamp, Vec<PartitionLag>),
    Shown(oneshot::Sender<ShownLags>),
    All(oneshot::Sender<Vec<PartitionLag>>),
    Group(Arc<str>, Vec<PartitionLag>, oneshot::Sender<Vec<Followed>>),
}

impl GroupWatch {
    /// Begins to watch; for as long as the runtime runs.
    pub(super) fn start(links: Links, controller: Controller) -> GroupWatch {
        let (table, questions) = mpsc::channel(QUESTIONS_MAX);
        let shards = Shards { links, controller };
        tokio::spawn(keep_table(questions));
        tokio::spawn(run_rounds(shards.clone(), table.clone()));
        GroupWatch { shards, table }
    }

    /// What a scrape shows.
    pub async fn shown(&self) -> ShownLags {
        self.ask(Question::Shown).await
    }

    /// The lags of all groups, as they were last measured.
    pub async fn all(&self) -> Vec<PartitionLag> {
        self.ask(Question::All).await
    }

    /// A group's lags, measured now, and their histories. Errors: [`LagError`].
    pub async fn group(&self, name: &str) -> Result<Vec<Followed>, LagError> {
        let shard = self.shards.of_group(name);
        let order = GroupOrder::Group(GroupId::from(name));
        let group = match self.shards.order(shard, order).await {
            Some(GroupDone::Group(group)) => group.map_err(LagError::Unavailable)?,
            Some(other) => panic!("a group was asked for, not {other:?}"),
            None => return Err(LagError::Unavailable(Unavailable::NotHere)),
        };
        let mut round = Round::default();
        round.add(group.ok_or(LagError::NoGroup)?);
        let mut known = Known::default();
        known.find_out(&self.shards, &round, TRACKED_MAX).await;
        let lags = known.lags(round);
        Ok(self.ask(|answer| Question::Group(name.into(), lags, answer)).await)
    }

    /// Moves a group, or works the move out. Errors: [`SeekRefused`].
    pub async fn seek(&self, order: SeekOrder) -> Result<Sought, SeekRefused> {
        let shard = self.shards.of_group(order.group.as_str());
        match self.shards.order(shard, GroupOrder::Seek(order)).await {
            Some(GroupDone::Seek(sought)) => sought,
            Some(other) => panic!("a move was ordered, not {other:?}"),
            None => Err(SeekRefused::Unavailable(Unavailable::NotHere)),
        }
    }

    /// Asks the table. A table that has ended, with its runtime, answers with nothing.
    async fn ask<T: Default>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> T {
        let (answer, answered) = oneshot::channel();
        if self.table.send(question(answer)).await.is_err() {
            return T::default();
        }
        answered.await.unwrap_or_default()
    }
}

/// Owns the table. Who asked may have gone, then nobody wants the answer.
async fn keep_table(mut questions: mpsc::Receiver<Question>) {
    let mut table = LagTable::default();
    while let Some(question) = questions.recv().await {
        match question {
            Question::Round(now, lags) => table.round(now, lags),
            Question::Shown(answer) => drop(answer.send(table.shown())),
            Question::All(answer) => drop(answer.send(table.all().cloned().collect())),
            Question::Group(name, lags, answer) => {
                // Whoever is not followed is answered all the same, without a history.
                let mut told: Vec<Followed> = lags.iter().cloned().map(Followed::new).collect();
                table.group(&name, lags);
                for one in &mut told {
                    let (topic, partition) = (&one.last.topic, one.last.partition);
                    let known = table.of_group(&name).find(|known| {
                        known.last.topic == *topic && known.last.partition == partition
                    });
                    if let Some(known) = known {
                        one.samples = known.samples.clone();
                    }
                }
                drop(answer.send(told));
            }
        }
    }
}

async fn run_rounds(shards: Shards, table: mpsc::Sender<Question>) {
    let period = Duration::from_millis(ROUND_MS.unsigned_abs());
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = Known::default();
    loop {
        ticks.tick().await;
        let Some(round) = Round::measure(&shards).await else { return };
        known.find_out(&shards, &round, TIMES_PER_ROUND_MAX).await;
        let (now, lags) = (known.now, known.lags(round));
        if table.send(Question::Round(now, lags)).await.is_err() {
            return;
        }
    }
}

/// The shards and what says who has what.
#[derive(Clone)]
struct Shards {
    links: Links,
    controller: Controller,
}

impl Shards {
    /// `None`: the shard has ended.
    async fn order(&self, shard: ShardId, order: GroupOrder) -> Option<GroupDone> {
        match self.links.send(shard, ControlOrder::Groups(order)).await.ok()? {
            OrderDone::Groups(done) => Some(done),
            other => panic!("groups were asked about, not {other:?}"),
        }
    }

    /// A shard to ask about a coordinator; any knows the way, and each gets its part.
    fn of(&self, coordinator: PartitionIndex) -> ShardId {
        let shards = i32::try_from(self.links.shards()).expect("at most SHARDS_MAX");
        let shard = coordinator.0.rem_euclid(shards);
        ShardId(u16::try_from(shard).expect("below the number of shards"))
    }

    fn of_group(&self, name: &str) -> ShardId {
        let image = self.controller.image();
        let topic = image.topic_by_name(OFFSETS_TOPIC);
        topic.map_or(ShardId(0), |topic| self.of(coordinator_partition(topic, name).partition))
    }
}

/// The positions of all groups, as they were a moment ago.
#[derive(Debug, Default)]
struct Round(Vec<(Arc<str>, bool, MeasuredPosition)>);

impl Round {
    /// Asks coordinator after coordinator, page after page (S1). `None`: a shard has ended.
    async fn measure(shards: &Shards) -> Option<Round> {
        let image = shards.controller.image();
        let topic = image.topic_by_name(OFFSETS_TOPIC);
        let mut round = Round::default();
        for index in (0..).take(topic.map_or(0, |topic| topic.partitions.len())) {
            let coordinator = PartitionIndex(index);
            let mut after = None;
            loop {
                let order = GroupOrder::Page { coordinator, after };
                let page = match shards.order(shards.of(coordinator), order).await? {
                    GroupDone::Page(page) => page,
                    other => panic!("a page was asked for, not {other:?}"),
                };
                // A coordinator that loads has its groups in the next round.
                let MeasuredPage { groups, next } = page.unwrap_or_default();
                groups.into_iter().for_each(|group| round.add(group));
                match next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        Some(round)
    }

    fn add(&mut self, group: MeasuredGroup) {
        let (name, has_members): (Arc<str>, bool) = (group.id.as_str().into(), group.has_members);
        self.0.extend(group.positions.into_iter().map(|at| (name.clone(), has_members, at)));
    }
}

/// The time of the first record at or after a position.
#[derive(Clone, Copy, Debug)]
struct KnownTime {
    position: Offset,
    time: Option<Timestamp>,
    /// In which round it was asked for.
    round: u64,
}

/// What is known of records' times, by group and partition (S2).
#[derive(Debug, Default)]
struct Known {
    times: HashMap<(Arc<str>, TopicPartition), KnownTime>,
    rounds: u64,
    now: Timestamp,
}

impl Known {
    /// Asks for the times that are missing, `max` at most; those last asked for longest ago first.
    async fn find_out(&mut self, shards: &Shards, round: &Round, max: usize) {
        self.rounds += 1;
        let mut wanted: Vec<(u64, (Arc<str>, TopicPartition), Offset)> = Vec::new();
        for (group, _, at) in &round.0 {
            let key = (group.clone(), at.at);
            let known = self.times.get(&key);
            let is_known = known.is_some_and(|known| known.position == at.position);
            if at.position < at.end && !is_known {
                wanted.push((known.map_or(0, |known| known.round), key, at.position));
            }
        }
        wanted.sort_by_key(|(round, ..)| *round);
        wanted.truncate(max);
        // The clock is a shard's, asked for even if no time is.
        let (none, chunks) = ([], wanted.chunks(TIMES_PER_ORDER_MAX));
        let chunks = chunks.chain(wanted.is_empty().then_some(&none[..]));
        for (chunk, shard) in chunks.zip((0..self.shard_count(shards)).cycle()) {
            let offsets = chunk.iter().map(|(_, (_, at), offset)| (*at, *offset)).collect();
            let order = GroupOrder::Times(offsets);
            let Some(GroupDone::Times(times, now)) = shards.order(ShardId(shard), order).await
            else {
                return; // the broker ends
            };
            self.now = now;
            for ((_, key, position), time) in chunk.iter().zip(times) {
                let known = KnownTime { position: *position, time, round: self.rounds };
                self.times.insert(key.clone(), known);
            }
        }
    }

    fn shard_count(&self, shards: &Shards) -> u16 {
        u16::try_from(shards.links.shards()).expect("at most SHARDS_MAX")
    }

    /// The lags of a round; what is not in it is forgotten (S2).
    fn lags(&mut self, round: Round) -> Vec<PartitionLag> {
        let mut old = std::mem::take(&mut self.times);
        let mut lags = Vec::with_capacity(round.0.len());
        for (group, has_members, at) in round.0 {
            let MeasuredPosition { topic, at, position, end } = at;
            let key = (group.clone(), at);
            let known = old.remove(&key);
            self.times.extend(known.map(|known| (key, known)));
            let seconds = if position >= end {
                Some(0.0)
            } else {
                known.and_then(|known| known.time).map(|time| age(time, self.now))
            };
            let (partition, position, end) = (at.partition.0, position.0, end.0);
            let lag = PartitionLag { group, has_members, topic, partition, position, end, seconds };
            lags.push(lag);
        }
        lags
    }
}

#[allow(clippy::cast_precision_loss)] // an age of 2^53 ms is no one's
fn age(time: Timestamp, now: Timestamp) -> f64 {
    now.0.saturating_sub(time.0).max(0) as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::TopicId;

    fn position(partition: i32, position: i64, end: i64) -> MeasuredPosition {
        MeasuredPosition {
            topic: "t".into(),
            at: TopicPartition { topic: TopicId::ZERO, partition: PartitionIndex(partition) },
            position: Offset(position),
            end: Offset(end),
        }
    }

    fn known(of: &MeasuredPosition, time: Option<i64>) -> Known {
        let time = time.map(Timestamp);
        let one = KnownTime { position: of.position, time, round: 1 };
        let times = HashMap::from([(("g".into(), of.at), one)]);
        Known { times, rounds: 1, now: Timestamp(10_000) }
    }

    #[test]
    fn seconds_are_the_age_of_the_first_record_not_consumed() {
        let check = |at: MeasuredPosition, time, expected| {
            let mut known = known(&at, time);
            let lags = known.lags(Round(vec![("g".into(), true, at)]));
            assert_eq!(lags[0].seconds, expected);
        };
        check(position(0, 5, 9), Some(7_500), Some(2.5));
        check(position(0, 9, 9), Some(7_500), Some(0.0));
        check(position(0, 5, 9), Some(11_000), Some(0.0));
        check(position(0, 5, 9), None, None);
    }

    #[test]
    fn what_is_not_in_a_round_is_forgotten() {
        let at = position(0, 5, 9);
        let mut known = known(&at, Some(7_500));
        let lags = known.lags(Round(vec![("g".into(), true, position(1, 5, 9))]));
        assert_eq!((lags[0].seconds, known.times.len()), (None, 0));
    }
}
