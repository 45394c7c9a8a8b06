//! Moving a group while it runs: its members are put out and its positions set, in one step.
//!
//! In:   where to, for each partition, and what the partition holds.
//! Out:  what moves from where to where; records; answers to what the members have parked.
//! Home: pure; part of the group coordinator.
//!
//! A member that keeps its partitions would go on from where it is, and its next commit would
//! undo the move. So every member is put out: whatever it sends next is answered
//! UNKNOWN_MEMBER_ID, upon which clients of either protocol give up all they have, join anew,
//! and begin at the committed positions. Records of both are in one step: after a crash the
//! group is where it was, with its members, or where it was moved to.
//!
//! Source: none; Kafka moves only groups without members (KIP-122).

use std::sync::Arc;

use crate::group::commit::{CommitPartition, CommitRequest, CommitTopic};
use crate::group::coordinator::{Group, GroupCoordinator, Kind};
use crate::group::ids::{GroupId, MemberId};
use crate::group::step::Step;
use crate::model::ids::{PartitionIndex, TopicId};
use crate::model::offset::{LeaderEpoch, Offset};
use crate::model::time::Timestamp;

/// Where a group is to go in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The topic's name.
    pub topic: Arc<str>,
    /// Its id.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// Where to.
    pub to: MoveTo,
    /// The partition's first offset: nothing moves before it.
    pub start: Offset,
    /// The end that consumers see, not before `start`: nothing moves beyond it.
    pub end: Offset,
}

/// Where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveTo {
    /// There.
    Offset(Offset),
    /// So many offsets before the group's position, which there must be. Not negative.
    Back(i64),
}

/// A move, worked out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: PartitionIndex,
    /// The position before, if there was one.
    pub from: Option<Offset>,
    /// The position after.
    pub to: Offset,
    /// The partition's end.
    pub end: Offset,
}

/// What moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sought {
    /// How many members are put out.
    pub members: usize,
    /// Each move, in the order asked.
    pub moves: Vec<Moved>,
}

/// Why a group is not moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeekError {
    /// There is no such group.
    NoGroup,
    /// It is to go back, and has no position from where.
    NoPosition {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: PartitionIndex,
    },
}

impl GroupCoordinator {
    /// Works moves out, and changes nothing.
    ///
    /// Errors: [`SeekError`].
    pub fn plan_seek(&self, id: &GroupId, moves: &[Move]) -> Result<Sought, SeekError> {
        let group = self.groups.get(id).ok_or(SeekError::NoGroup)?;
        let moves: Result<Vec<Moved>, SeekError> =
            moves.iter().map(|one| group.work_out(one)).collect();
        let members = match &group.kind {
            Kind::Simple => 0,
            Kind::Classic(classic) => classic.members().len(),
            Kind::Consumer(consumer) => consumer.members().len(),
        };
        Ok(Sought { members, moves: moves? })
    }

    /// Sets positions of a group, and puts its members out.
    ///
    /// Positions of open transactions that were committed before do not undo the move.
    /// Errors: [`SeekError`]; nothing has changed.
    pub fn seek_group(
        &mut self,
        now: Timestamp,
        id: &GroupId,
        moves: &[Move],
        step: &mut Step,
    ) -> Result<Sought, SeekError> {
        let now = self.advance(now);
        let sought = self.plan_seek(id, moves)?;
        let request = CommitRequest {
            group: id.clone(),
            member: MemberId::none(),
            instance: None,
            generation: -1,
            retention_ms: None,
            topics: moves
                .iter()
                .zip(&sought.moves)
                .map(|(one, moved)| commit(one, moved))
                .collect(),
        };
        let (records, results) = self.commit_records(now, &request);
        assert!(results.iter().flatten().all(Result::is_ok), "no metadata is not too long");
        self.with_classic(now, id, step, |classic, cx| classic.put_out(cx));
        self.with_consumer(now, id, step, |consumer, cx| consumer.put_out(cx));
        for record in records {
            self.persist(step, record);
        }
        Ok(sought)
    }
}

impl Group {
    fn work_out(&self, one: &Move) -> Result<Moved, SeekError> {
        assert!(one.start <= one.end, "a log does not end before it begins");
        let from = self.offsets.get(&one.topic, one.partition).map(|at| at.offset);
        let wanted = match (one.to, from) {
            (MoveTo::Offset(offset), _) => offset,
            (MoveTo::Back(count), Some(from)) => Offset(from.0.saturating_sub(count)),
            (MoveTo::Back(_), None) => {
                let (topic, partition) = (one.topic.clone(), one.partition);
                return Err(SeekError::NoPosition { topic, partition });
            }
        };
        let to = wanted.clamp(one.start, one.end);
        Ok(Moved { topic: one.topic.clone(), partition: one.partition, from, to, end: one.end })
    }
}

/// The commit that a move is.
fn commit(one: &Move, moved: &Moved) -> CommitTopic {
    let at = CommitPartition {
        partition: moved.partition,
        offset: moved.to,
        leader_epoch: LeaderEpoch::NONE,
        metadata: None,
    };
    CommitTopic { name: moved.topic.clone(), id: one.topic_id, partitions: vec![at] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::classic::join::{JoinError, JoinRequest};
    use crate::group::classic::state::State;
    use crate::group::classic::sync::HeartbeatError;
    use crate::group::commit::CommitError;
    use crate::group::consumer::heartbeat::ConsumerError;
    use crate::group::consumer_tests::{Cluster, beat, first, later, settings};
    use crate::group::fixtures::{Bench, group, newcomer, simple_commit, static_newcomer};
    use crate::model::ids::ProducerId;

    fn to(partition: i32, to: MoveTo) -> Move {
        let (start, end) = (Offset(5), Offset(200));
        let partition = PartitionIndex(partition);
        Move { topic: "t".into(), topic_id: TopicId::ZERO, partition, to, start, end }
    }

    fn seek(bench: &mut Bench, offset: i64) -> Result<usize, SeekError> {
        let moves = [to(0, MoveTo::Offset(Offset(offset)))];
        let sought = bench.run(|core, now, step| core.seek_group(now, &group(), &moves, step));
        sought.map(|sought| sought.members)
    }

    fn commit(bench: &mut Bench, request: &CommitRequest) -> Result<(), CommitError> {
        bench.run(|core, now, step| core.commit_offsets(now, request, step)).map(|_| ())
    }

    #[test]
    fn a_classic_group_is_moved_while_it_runs() {
        let mut bench = Bench::new();
        assert_eq!(seek(&mut bench, 1), Err(SeekError::NoGroup));
        let members = bench.stable(vec![newcomer("a"), static_newcomer("s")]);
        let of_member = |offset| CommitRequest {
            member: members[0].0.clone(),
            generation: 1,
            ..simple_commit(0, offset)
        };
        commit(&mut bench, &of_member(100)).expect("a member");
        bench.commit_in_transaction(ProducerId(1), &of_member(110)).expect("a member");
        assert_eq!(seek(&mut bench, 7), Ok(2));
        assert_eq!(commit(&mut bench, &of_member(101)), Err(CommitError::UnknownMember));
        assert_eq!(bench.beat(&members[0].0, 1), Err(HeartbeatError::UnknownMember));
        bench.end_transaction(ProducerId(1), true);
        bench.crash();
        assert_eq!(bench.position(0), Some(7));
        assert_eq!(bench.core.describe_group(&group()).expect("there").state, State::Empty);
        let back = bench.stable(vec![newcomer("a"), static_newcomer("s")]);
        assert_eq!(back[0].1.generation, 3, "the empty one in between was 2");
    }

    #[test]
    fn whoever_waits_in_a_group_that_is_moved_is_answered() {
        let mut bench = Bench::new();
        let members = bench.stable(vec![newcomer("a"), newcomer("b")]);
        let again = JoinRequest { member: members[0].0.clone(), ..newcomer("a") };
        let parked = bench.send_join(again);
        let (_, new) = bench.enter(newcomer("c"));
        assert_eq!(seek(&mut bench, 7), Ok(3));
        for id in [parked, new] {
            assert_eq!(bench.joined(id).expect("put out").result, Err(JoinError::UnknownMember));
        }
        let (_, initial) = bench.enter(newcomer("d"));
        assert_eq!(seek(&mut bench, 8), Ok(1));
        assert_eq!(bench.joined(initial).expect("put out").result, Err(JoinError::UnknownMember));
        assert!(bench.parked.is_empty());
        assert_eq!(bench.position(0), Some(8));
    }

    #[test]
    fn a_kip_848_group_is_moved_while_it_runs() {
        let (mut bench, cluster) = (Bench::with(settings()), Cluster::of(&[("t", 1)]));
        bench.core.set_topics(Arc::new(cluster.clone()));
        beat(&mut bench, &cluster, &first("a", &["t"])).expect("it joins");
        assert_eq!(seek(&mut bench, 7), Ok(1));
        let late = beat(&mut bench, &cluster, &later("a", 2));
        assert_eq!(late, Err(ConsumerError::UnknownMember));
        assert_eq!(bench.position(0), Some(7));
        assert!(beat(&mut bench, &cluster, &first("a", &["t"])).is_ok());
    }

    #[test]
    fn a_move_is_done_as_a_whole_or_not_at_all() {
        let mut bench = Bench::new();
        let members = bench.stable(vec![newcomer("a")]);
        bench.hold = true;
        assert_eq!(seek(&mut bench, 7), Ok(1));
        bench.crash();
        assert_eq!((bench.position(0), bench.beat(&members[0].0, 1)), (None, Ok(())));
        let moves = [to(0, MoveTo::Offset(Offset(9))), to(1, MoveTo::Back(1))];
        let refused = bench.run(|core, now, step| core.seek_group(now, &group(), &moves, step));
        let (topic, partition) = ("t".into(), PartitionIndex(1));
        assert_eq!(refused, Err(SeekError::NoPosition { topic, partition }));
        assert_eq!(bench.position(0), None);
        assert_eq!(bench.beat(&members[0].0, 1), Ok(()), "nothing has changed");
    }

    #[test]
    fn a_move_stays_within_the_partition_and_a_plan_moves_nothing() {
        let mut bench = Bench::new();
        commit(&mut bench, &simple_commit(0, 100)).expect("nobody is in the group");
        let check = |want, expected| {
            let planned = bench.core.plan_seek(&group(), &[to(0, want)]).expect("it is there");
            let moved = &planned.moves[0];
            assert_eq!((moved.from, moved.to.0), (Some(Offset(100)), expected), "{want:?}");
        };
        check(MoveTo::Offset(Offset(50)), 50);
        check(MoveTo::Offset(Offset(4)), 5);
        check(MoveTo::Offset(Offset(201)), 200);
        check(MoveTo::Offset(Offset(i64::MAX)), 200);
        check(MoveTo::Back(10), 90);
        check(MoveTo::Back(0), 100);
        check(MoveTo::Back(i64::MAX), 5);
        assert_eq!(bench.position(0), Some(100));
    }
}
