//! Follows how far groups are behind, in the background.
//!
//! In:   shards' answers about groups, a page at a time; questions of the admin endpoint.
//! Out:  the lag of every group, a round every [`ROUND_MS`]; histories; groups moved.
//! Home: two tasks on the control thread: one measures, one owns the table and answers.
//!
//! What a round asks of shards lies in their memory, but for the time of the first record that a
//! group has not consumed. That is asked for once for each position, and every `AGAIN_ROUNDS` again, so
//! that a group that stands still costs next to nothing, and `TIMES_PER_ROUND_MAX` times a round: who waits longest is first, and
//! meanwhile has the time of an earlier record.
//!
//! Invariants
//!   S1  One order is under way at a time, so that a round never crowds a shard.
//!   S2  What is remembered from round to round is about the positions of the last round alone.
//!   S3  A round holds about twice as many positions as are followed, however many there are.

use std::cmp::Reverse;
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
    FirstRecord, GroupDone, GroupOrder, MeasuredGroup, MeasuredPage, MeasuredPosition, SeekOrder,
    SeekRefused,
};
use super::groups::OFFSETS_TOPIC;
use super::orders::{ControlOrder, OrderDone};

/// Times of records that one round asks for; each may read a few KiB from the disk.
const TIMES_PER_ROUND_MAX: usize = 1_000;
/// Times that one order asks for.
const TIMES_PER_ORDER_MAX: usize = 100;
/// After so many rounds a time is asked for again: its record may be gone by retention.
const AGAIN_ROUNDS: u64 = 30;
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

/// How far one group is behind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupLag {
    /// Each partition with its history, by topic and number; [`TRACKED_MAX`] at most.
    pub partitions: Vec<Followed>,
    /// How many partitions are not among them: those that are the least behind.
    pub left_out: u64,
}

/// A way to the groups' lags, and to move groups; cheap to clone.
#[derive(Clone)]
pub struct GroupWatch {
    shards: Shards,
    table: mpsc::Sender<Question>,
}

/// What the table's task is told or asked.
enum Question {
    Round(Timestamp, Vec<PartitionLag>, u64),
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
    pub async fn group(&self, name: &str) -> Result<GroupLag, LagError> {
        let shard = self.shards.of_group(name);
        let order = GroupOrder::Group(GroupId::from(name));
        let group = match self.shards.order(shard, order).await {
            Some(GroupDone::Group(group)) => group.map_err(LagError::Unavailable)?,
            Some(other) => panic!("a group was asked for, not {other:?}"),
            None => return Err(LagError::Unavailable(Unavailable::NotHere)),
        };
        let mut round = Round::default();
        round.add(group.ok_or(LagError::NoGroup)?);
        round.trim();
        let left_out = round.left_out;
        let mut known = Known::default();
        known.find_out(&self.shards, &round, TRACKED_MAX).await;
        let lags = known.lags(round);
        let mut partitions = self.ask(|answer| Question::Group(name.into(), lags, answer)).await;
        partitions.sort_by(|a, b| {
            (&a.last.topic, a.last.partition).cmp(&(&b.last.topic, b.last.partition))
        });
        Ok(GroupLag { partitions, left_out })
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
            Question::Round(now, lags, left_out) => table.round(now, lags, left_out),
            Question::Shown(answer) => drop(answer.send(table.shown())),
            Question::All(answer) => drop(answer.send(table.all().cloned().collect())),
            Question::Group(name, lags, answer) => {
                // Whoever is not followed is answered all the same, without a history.
                let mut told: Vec<Followed> = lags.iter().cloned().map(Followed::new).collect();
                table.group(&name, lags);
                for one in &mut told {
                    if let Some(samples) = table.samples(&one.last) {
                        one.samples = samples.clone();
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
        let (now, left_out) = (known.now, round.left_out);
        let lags = known.lags(round);
        if table.send(Question::Round(now, lags, left_out)).await.is_err() {
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

/// The positions of groups, as they were a moment ago, each with its group and whether that has
/// members; in a round over all groups those that will be followed, and how many will not (S3).
#[derive(Debug, Default)]
struct Round {
    positions: Vec<(Arc<str>, bool, MeasuredPosition)>,
    left_out: u64,
}

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
                if round.positions.len() > 2 * TRACKED_MAX {
                    round.trim();
                }
                match next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        round.trim();
        Some(round)
    }

    /// Keeps those that matter most, as [`LagTable`] does (its L1).
    fn trim(&mut self) {
        let excess = self.positions.len().saturating_sub(TRACKED_MAX);
        if excess == 0 {
            return;
        }
        self.positions.select_nth_unstable_by_key(TRACKED_MAX, |(_, has_members, at)| {
            (!has_members, Reverse(at.end.0.saturating_sub(at.position.0)))
        });
        self.positions.truncate(TRACKED_MAX);
        self.left_out += u64::try_from(excess).expect("64 bits");
    }

    fn add(&mut self, group: MeasuredGroup) {
        let (name, has_members): (Arc<str>, bool) = (group.id.as_str().into(), group.has_members);
        self.positions
            .extend(group.positions.into_iter().map(|at| (name.clone(), has_members, at)));
    }
}

/// The time of the first record at or after a position.
#[derive(Clone, Copy, Debug)]
struct KnownTime {
    position: Offset,
    record: FirstRecord,
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
        for (group, _, at) in &round.positions {
            let key = (group.clone(), at.at);
            let known = self.times.get(&key);
            let is_known = known.is_some_and(|known| {
                let lasts = matches!(known.record, FirstRecord::At(_))
                    && self.rounds - known.round < AGAIN_ROUNDS;
                known.position == at.position && lasts
            });
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
            for ((_, key, position), record) in chunk.iter().zip(times) {
                let known = KnownTime { position: *position, record, round: self.rounds };
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
        let mut lags = Vec::with_capacity(round.positions.len());
        for (group, has_members, at) in round.positions {
            let MeasuredPosition { topic, at, position, end } = at;
            let key = (group.clone(), at);
            let mut known = old.remove(&key);
            if let Some(known) = known.as_mut().filter(|_| position >= end) {
                known.record = FirstRecord::None; // what comes next is another record
            }
            self.times.extend(known.map(|known| (key, known)));
            let seconds = match known.map(|known| known.record) {
                _ if position >= end => Some(0.0),
                Some(FirstRecord::At(time)) => Some(age(time, self.now)),
                Some(FirstRecord::None) => Some(0.0),
                Some(FirstRecord::Unknown) | None => None,
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

    fn round(positions: Vec<(Arc<str>, bool, MeasuredPosition)>) -> Round {
        Round { positions, left_out: 0 }
    }

    fn known(of: &MeasuredPosition, record: FirstRecord) -> Known {
        let one = KnownTime { position: of.position, record, round: 1 };
        let times = HashMap::from([(("g".into(), of.at), one)]);
        Known { times, rounds: 1, now: Timestamp(10_000) }
    }

    #[test]
    fn seconds_are_the_age_of_the_first_record_not_consumed() {
        let check = |at: MeasuredPosition, record, expected| {
            let mut known = known(&at, record);
            let lags = known.lags(round(vec![("g".into(), true, at)]));
            assert_eq!(lags[0].seconds, expected);
        };
        let made = |ms| FirstRecord::At(Timestamp(ms));
        check(position(0, 5, 9), made(7_500), Some(2.5));
        check(position(0, 9, 9), made(7_500), Some(0.0));
        check(position(0, 5, 9), made(11_000), Some(0.0));
        check(position(0, 5, 6), FirstRecord::None, Some(0.0));
        check(position(0, 5, 9), FirstRecord::Unknown, None);
    }

    #[test]
    fn who_has_caught_up_is_not_as_old_as_it_was_when_more_comes() {
        let at = position(0, 9, 9);
        let mut known = known(&at, FirstRecord::At(Timestamp(1)));
        known.lags(round(vec![("g".into(), true, at)]));
        let lags = known.lags(round(vec![("g".into(), true, position(0, 9, 20))]));
        assert_eq!(lags[0].seconds, Some(0.0), "until the next round has asked");
    }

    #[test]
    fn a_round_keeps_those_that_matter_most() {
        let far = i32::try_from(TRACKED_MAX).unwrap() + 3;
        let positions = (0..far).map(|n| ("g".into(), n == 0, position(n, 0, i64::from(n))));
        let mut round = round(positions.collect());
        round.trim();
        assert_eq!((round.positions.len(), round.left_out), (TRACKED_MAX, 3));
        let kept = |n: i32| round.positions.iter().any(|(_, _, at)| at.at.partition.0 == n);
        assert!(kept(0) && !kept(1) && !kept(3) && kept(4) && kept(far - 1));
    }

    #[test]
    fn what_is_not_in_a_round_is_forgotten() {
        let at = position(0, 5, 9);
        let mut known = known(&at, FirstRecord::At(Timestamp(7_500)));
        let lags = known.lags(round(vec![("g".into(), true, position(1, 5, 9))]));
        assert_eq!((lags[0].seconds, known.times.len()), (None, 0));
    }
}
