//! How far groups are behind: what was measured last, and over the last hour.
//!
//! In:   rounds over all groups, and measurements of single groups, each with its time.
//! Out:  the lag of partitions, a bounded number of them; the history of a group.
//! Home: pure; the control thread has one.
//!
//! The lag of a group in a partition is
//!   * in records: from its committed position to the end that consumers see (the high
//!     watermark), as Kafka's tools count it; never less than 0;
//!   * in seconds: the age of the first record that it has not consumed, by that record's
//!     timestamp: 0 if there is none, never less than 0. Within a batch the timestamp is that of
//!     the batch's first record.
//!
//! Invariants
//!   L1  At most [`TRACKED_MAX`] partitions are followed: those of groups that have members
//!       first, then those that are farther behind. The others are counted.
//!   L2  A partition has at most [`SAMPLES_MAX`] samples, none older than [`HISTORY_MS`].
//!
//! Not here: measuring (`crate::broker::lag_sampler`).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::model::time::Timestamp;

/// Partitions of groups that are followed; an hour of all of them takes about 60 MB.
pub const TRACKED_MAX: usize = 10_000;
/// Partitions of groups whose lag a scrape shows: those with members first, then the farthest
/// behind.
pub const SHOWN_MAX: usize = 2_000;
/// Time from one round to the next, in milliseconds.
pub const ROUND_MS: i64 = 10_000;
/// How far history goes back, in milliseconds.
pub const HISTORY_MS: i64 = 3_600_000;
/// Samples of one partition.
pub const SAMPLES_MAX: usize = 360;
const _: () = assert!(SAMPLES_MAX as i64 * ROUND_MS == HISTORY_MS);

/// A group's place in a partition, as it was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionLag {
    /// The group.
    pub group: Arc<str>,
    /// Whether it has members.
    pub has_members: bool,
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The next offset that the group will read.
    pub position: i64,
    /// The end that consumers see.
    pub end: i64,
    /// Seconds; none if the first record that is not consumed has no timestamp, or cannot be read.
    pub seconds: Option<f64>,
}

impl PartitionLag {
    /// Records from the position to the end.
    pub fn records(&self) -> u64 {
        u64::try_from(self.end.saturating_sub(self.position)).unwrap_or(0)
    }
}

/// One point of a history.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// Lag in records.
    pub records: u64,
    /// Lag in seconds, if it was known.
    pub seconds: Option<f32>,
}

/// What is followed of a group in one partition.
#[derive(Clone, Debug, PartialEq)]
pub struct Followed {
    /// The last measurement.
    pub last: PartitionLag,
    /// The history, oldest first.
    pub samples: VecDeque<Sample>,
}

/// What a scrape shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShownLags {
    /// The lags, by group, topic and partition.
    pub lags: Vec<PartitionLag>,
    /// Partitions of groups that are not among them.
    pub truncated: u64,
}

type Key = (Arc<str>, Arc<str>, i32);

/// The lags of this broker's groups.
#[derive(Clone, Debug, Default)]
pub struct LagTable {
    followed: BTreeMap<Key, Followed>,
    /// Partitions of groups that are not followed (L1).
    left_out: u64,
}

impl LagTable {
    /// Takes over a round: all groups, measured at about `now`, but for `left_out` partitions that
    /// matter less. Those that are not in it are gone.
    pub fn round(&mut self, now: Timestamp, mut lags: Vec<PartitionLag>, left_out: u64) {
        let more = lags.len().saturating_sub(TRACKED_MAX);
        if more > 0 {
            lags.sort_by_key(worst_first);
            lags.truncate(TRACKED_MAX);
        }
        self.left_out = left_out + more as u64;
        let mut old = std::mem::take(&mut self.followed);
        for lag in lags {
            let key = key(&lag);
            let samples = old.remove(&key).map(|followed| followed.samples).unwrap_or_default();
            self.followed.insert(key, Followed::with(samples, now, lag));
        }
    }

    /// Takes over what was measured of one group between the rounds; history has no point of it.
    pub fn group(&mut self, group: &str, lags: Vec<PartitionLag>) {
        let known: Vec<Key> = self.keys_of(group).cloned().collect();
        let mut old: BTreeMap<Key, Followed> = BTreeMap::new();
        for key in known {
            old.extend(self.followed.remove_entry(&key));
        }
        for last in lags {
            let key = key(&last);
            let samples = old.remove(&key).map(|followed| followed.samples);
            // The next round decides who is followed where there is no room.
            if samples.is_some() || self.followed.len() < TRACKED_MAX {
                let samples = samples.unwrap_or_default();
                self.followed.insert(key, Followed { last, samples });
            }
        }
    }

    /// What is followed of a group, by topic and partition.
    #[cfg(test)]
    fn of_group<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a Followed> {
        self.keys_of(group).map(|key| &self.followed[key])
    }

    /// The history of a partition, if it is followed.
    pub fn samples(&self, of: &PartitionLag) -> Option<&VecDeque<Sample>> {
        self.followed.get(&key(of)).map(|followed| &followed.samples)
    }

    fn keys_of<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a Key> {
        let first: Key = (group.into(), "".into(), i32::MIN);
        let from = self.followed.range(first..);
        from.map(|(key, _)| key).take_while(move |key| key.0.as_ref() == group)
    }

    /// The last measurement of everything followed.
    pub fn all(&self) -> impl Iterator<Item = &PartitionLag> {
        self.followed.values().map(|followed| &followed.last)
    }

    /// What a scrape shows: [`SHOWN_MAX`] lags at most.
    pub fn shown(&self) -> ShownLags {
        let mut lags: Vec<&PartitionLag> = self.all().collect();
        let hidden = lags.len().saturating_sub(SHOWN_MAX);
        if hidden > 0 {
            lags.sort_by_key(|lag| worst_first(lag));
            lags.truncate(SHOWN_MAX);
            lags.sort_by_key(|lag| key(lag));
        }
        let lags = lags.into_iter().cloned().collect();
        ShownLags { lags, truncated: self.left_out + hidden as u64 }
    }
}

impl Followed {
    /// A measurement without a history.
    pub fn new(last: PartitionLag) -> Followed {
        Followed { last, samples: VecDeque::new() }
    }

    fn with(mut samples: VecDeque<Sample>, now: Timestamp, lag: PartitionLag) -> Followed {
        #[allow(clippy::cast_possible_truncation)] // a history shows 24 bits
        let seconds = lag.seconds.map(|seconds| seconds as f32);
        let sample = Sample { at: now, records: lag.records(), seconds };
        let too_old = |sample: &Sample| now.0.saturating_sub(sample.at.0) > HISTORY_MS;
        while samples.len() >= SAMPLES_MAX || samples.front().is_some_and(too_old) {
            samples.pop_front();
        }
        samples.push_back(sample);
        Followed { last: lag, samples }
    }
}

fn key(lag: &PartitionLag) -> Key {
    (lag.group.clone(), lag.topic.clone(), lag.partition)
}

/// Orders those that matter more first (L1); of equals, any order that stays the same.
fn worst_first(lag: &PartitionLag) -> (bool, std::cmp::Reverse<u64>, Key) {
    (!lag.has_members, std::cmp::Reverse(lag.records()), key(lag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lag(group: &str, partition: i32, records: i64) -> PartitionLag {
        PartitionLag {
            group: group.into(),
            has_members: true,
            topic: "t".into(),
            partition,
            position: 100,
            end: 100 + records,
            seconds: Some(1.5),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000)
    }

    fn history(table: &LagTable, group: &str) -> Vec<Vec<(i64, u64)>> {
        let points = |followed: &Followed| {
            followed.samples.iter().map(|point| (point.at.0 / 1_000, point.records)).collect()
        };
        table.of_group(group).map(points).collect()
    }

    #[test]
    fn records_are_counted_as_kafka_counts_them() {
        assert_eq!(lag("g", 0, 7).records(), 7);
        assert_eq!(lag("g", 0, -7).records(), 0, "the log was cut behind the position");
        let far = PartitionLag { position: 0, end: i64::MAX, ..lag("g", 0, 0) };
        assert_eq!(far.records(), i64::MAX as u64);
    }

    #[test]
    fn a_history_has_a_point_a_round_and_an_hour_at_most() {
        let mut table = LagTable::default();
        for round in 0..400 {
            table.round(at(10 * round), vec![lag("g", 0, round)], 0);
        }
        let points = &history(&table, "g")[0];
        assert_eq!((points.len(), points[0], points[359]), (360, (400, 40), (3_990, 399)));
        table.round(at(3_990 + 3_601), vec![lag("g", 0, 1)], 0);
        assert_eq!(history(&table, "g"), [[(7_591, 1)]]);
    }

    #[test]
    fn what_is_measured_between_rounds_is_the_last_and_no_point() {
        let mut table = LagTable::default();
        table.round(at(0), vec![lag("g", 0, 1)], 0);
        table.group("g", vec![lag("g", 0, 3), lag("g", 1, 4)]);
        assert_eq!(history(&table, "g"), [vec![(0, 1)], vec![]]);
        let last: Vec<u64> = table.all().map(PartitionLag::records).collect();
        assert_eq!(last, [3, 4]);
        table.round(at(10), vec![lag("g", 0, 5)], 0);
        assert_eq!(history(&table, "g"), [[(0, 1), (10, 5)]]);
    }

    #[test]
    fn a_group_is_found_among_others_and_forgotten_when_it_is_gone() {
        let mut table = LagTable::default();
        table.round(
            at(0),
            vec![lag("a", 0, 1), lag("b", 0, 2), lag("b", 1, 3), lag("bb", 0, 4)],
            0,
        );
        assert_eq!(history(&table, "b"), [[(0, 2)], [(0, 3)]]);
        table.group("b", vec![lag("b", 1, 9)]);
        assert_eq!(history(&table, "b"), [[(0, 3)]]);
        table.round(at(10), vec![lag("bb", 0, 4)], 0);
        assert_eq!(table.of_group("b").count(), 0);
        assert_eq!(table.all().count(), 1);
    }

    #[test]
    fn beyond_the_limits_those_with_members_and_the_farthest_behind_stay() {
        let mut table = LagTable::default();
        let many = i64::try_from(TRACKED_MAX + 5).expect("fits");
        let mut lags: Vec<PartitionLag> =
            (0..many).map(|n| lag("g", i32::try_from(n).expect("fits"), n)).collect();
        let idle = PartitionLag { has_members: false, ..lag("idle", 0, 1_000_000) };
        lags.push(idle);
        table.round(at(0), lags, 0);
        assert_eq!(table.all().count(), TRACKED_MAX);
        let least = table.all().map(PartitionLag::records).min();
        assert_eq!((least, table.of_group("idle").count()), (Some(5), 0));
        let shown = table.shown();
        assert_eq!((shown.lags.len(), shown.truncated), (SHOWN_MAX, 8_006));
        let order: Vec<Key> = shown.lags.iter().map(key).collect();
        assert!(order.is_sorted());
        assert!(shown.lags.iter().all(|lag| lag.records() >= 8_005));
        table.group("new", vec![lag("new", 0, 1)]);
        assert_eq!(table.of_group("new").count(), 0, "no room before the next round");
    }
}
