//! Moving a group while it runs: its members are put out and its positions set, in one step.
//!
//! In:   where to, for each partition, and what the partition holds.
//! Out:  what moves from where to where; records; answers to what the members have parked.
//! Home: pure; part of the group coordinator.
//!
//! A member that keeps its partitions would go on from where it is, and its next commit would
//! undo the move. So every member is put out: whatever it sends next is answered
//! UNKNOWN_MEMBER_ID, upon which clients of either protocol give up all they have, join anew,
//! and begin at the committed positions. Records of both are one batch, or the move is refused:
//! after a crash the group is where it was, with its members, or where it was moved to.
//!
//! Clients are sure to give up what they have only when a heartbeat tells them. A cooperative one
//! that hears of it first by the answer to a commit or a join asks for a new id and comes back
//! with its partitions, read on from where it is. So until the longest session of those put out
//! has passed, a member that is new and brings partitions *clings*: it takes part, commits
//! nothing, and its next heartbeat puts it out once more. Nor does a commit without membership
//! count so long: a client may have lost the one and not yet its positions.
//!
//! Invariants
//!   M1  No position from before a move is committed after it by a member that was put out.
//!
//! Not here: this after a crash, since no record says until when it holds; members of the classic
//! protocol in a KIP-848 group.
//! Source: none; Kafka moves only groups without members (KIP-122).

use std::sync::Arc;

use crate::group::codec::encode;
use crate::group::commit::{CommitPartition, CommitRequest, CommitTopic};
use crate::group::coordinator::{Group, GroupCoordinator, Kind};
use crate::group::ids::{GroupId, MemberId};
use crate::group::record::Record;
use crate::group::step::Step;
use crate::model::ids::{PartitionIndex, TopicId};
use crate::model::offset::{LeaderEpoch, Offset};
use crate::model::time::Timestamp;
use crate::protocol::records::Encoded;
use crate::record::batch::Codec;
use crate::record::builder::{BatchBuilder, NewRecord};

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
    /// Its records do not fit one batch of the log, so that a crash could leave it half done.
    TooMany {
        /// In how many partitions the group was to move.
        partitions: usize,
        /// In about how many it can be moved at once; 0: it has too many members already.
        max: usize,
    },
}

impl GroupCoordinator {
    /// Works moves out, and changes nothing.
    ///
    /// Errors: [`SeekError`].
    pub fn plan_seek(&self, id: &GroupId, moves: &[Move]) -> Result<Sought, SeekError> {
        self.prepare_seek(self.clock(), id, moves).map(|(sought, _)| sought)
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
        let (sought, records) = self.prepare_seek(now, id, moves)?;
        let ms = self.put_out(now, id, step);
        let group = self.group_or_simple(id);
        group.moved_until = group.moved_until.max(Timestamp(now.0.saturating_add(ms.into())));
        for record in records {
            self.persist(step, record);
        }
        step.whole = true;
        Ok(sought)
    }

    /// A move as it will be, and its positions' records.
    fn prepare_seek(
        &self,
        now: Timestamp,
        id: &GroupId,
        moves: &[Move],
    ) -> Result<(Sought, Vec<Record>), SeekError> {
        let group = self.groups.get(id).ok_or(SeekError::NoGroup)?;
        let moved: Result<Vec<Moved>, SeekError> =
            moves.iter().map(|one| group.work_out(one)).collect();
        let members = match &group.kind {
            Kind::Simple => 0,
            Kind::Classic(classic) => classic.members().len(),
            Kind::Consumer(consumer) => consumer.members().len(),
        };
        let sought = Sought { members, moves: moved? };
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
        self.check_size(now, id, group, &records)?;
        Ok((sought, records))
    }

    /// Checks that a move's records fit one batch, together with those that put members out: a
    /// copy of the group tells which these are.
    fn check_size(
        &self,
        now: Timestamp,
        id: &GroupId,
        group: &Group,
        positions: &[Record],
    ) -> Result<(), SeekError> {
        let (mut copy, mut out) = (GroupCoordinator::new(self.settings.clone()), Step::default());
        copy.set_topics(Arc::clone(&self.topics));
        copy.group_or_simple(id).kind = group.kind.clone();
        copy.put_out(now, id, &mut out);
        let mut batch = BatchBuilder::new(Codec::None);
        let mut add = |records: &[Record]| {
            for record in records {
                let Encoded { key, value } = encode(record).expect("the core checks names");
                let (key, value) = (Some(&key[..]), value.as_deref());
                let record = NewRecord { timestamp: now, key, value, headers: &[] };
                batch.push(&record).expect("far below what a batch may hold");
            }
            batch.record_bytes()
        };
        let (of_members, all) = (add(&out.records), add(positions));
        let max = self.settings.record_bytes_max;
        if all <= max {
            return Ok(());
        }
        let room = max.saturating_sub(of_members);
        let max = positions.len() * room / (all - of_members).max(1);
        Err(SeekError::TooMany { partitions: positions.len(), max })
    }

    /// Puts every member out. Returns the longest of their sessions, in milliseconds.
    fn put_out(&mut self, now: Timestamp, id: &GroupId, step: &mut Step) -> i32 {
        let classic = self.with_classic(now, id, step, |classic, cx| classic.put_out(cx));
        let consumer = self.with_consumer(now, id, step, |consumer, cx| consumer.put_out(cx));
        classic.or(consumer).unwrap_or(0)
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
    use crate::group::fixtures::{
        Bench, SESSION_MS, group, newcomer, simple_commit, static_newcomer, with_protocols,
    };
    use crate::group::settings::GroupSettings;
    use crate::group::subscription::owning_subscription;
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

    /// A cooperative consumer that joins the first time, and says that it has partitions.
    fn owner(client: &str, owned: &[i32]) -> JoinRequest {
        let owned = vec![("t".into(), owned.to_vec())];
        let metadata = owning_subscription(3, &["t"], &owned);
        with_protocols(newcomer(client), &[("cooperative-sticky", &metadata)])
    }

    #[test]
    fn who_comes_back_to_a_moved_group_with_partitions_is_put_out_by_a_heartbeat() {
        let mut bench = Bench::new();
        bench.stable(vec![owner("a", &[]), owner("b", &[])]);
        assert_eq!(seek(&mut bench, 7), Ok(2));
        let back = bench.gather(vec![owner("a", &[]), owner("b", &[0])]);
        let of = |client: &str| {
            let found = back.iter().find(|(id, _)| id.as_str().starts_with(client));
            found.expect("it has joined").0.clone()
        };
        let (a, b) = (of("a"), of("b"));
        assert_eq!(bench.beat(&b, 3), Ok(()), "it would not give up while it joins");
        bench.assign(&back);
        let of_member = |member: &MemberId, generation, offset| CommitRequest {
            member: member.clone(),
            generation,
            ..simple_commit(0, offset)
        };
        assert_eq!(commit(&mut bench, &of_member(&b, 3, 100)), Err(CommitError::Clings));
        let in_transaction = bench.commit_in_transaction(ProducerId(1), &of_member(&b, 3, 100));
        assert_eq!(in_transaction, Err(CommitError::Clings));
        assert_eq!(commit(&mut bench, &of_member(&a, 3, 8)), Ok(()), "a gave up what it had");
        assert_eq!(bench.beat(&b, 3), Err(HeartbeatError::UnknownMember));
        bench.pass(0);
        assert_eq!(bench.beat(&a, 3), Err(HeartbeatError::RebalanceInProgress));
        assert_eq!(bench.beat(&b, 3), Err(HeartbeatError::UnknownMember));
        let again = JoinRequest { member: a.clone(), ..owner("a", &[0]) };
        let (b, b_waits) = bench.enter(owner("b", &[]));
        let a_waits = bench.send_join(again);
        for id in [a_waits, b_waits] {
            assert!(bench.joined(id).expect("both are there").result.is_ok());
        }
        for member in [a, b] {
            assert_eq!(bench.beat(&member, 4), Ok(()), "{member:?} has nothing from before");
        }
        assert_eq!(bench.position(0), Some(8));
    }

    #[test]
    fn partitions_count_again_when_all_know_of_the_move() {
        let mut bench = Bench::new();
        bench.stable(vec![owner("a", &[])]);
        assert_eq!(seek(&mut bench, 7), Ok(1));
        bench.pass(SESSION_MS.into());
        let back = bench.stable(vec![owner("a", &[0])]);
        assert_eq!(bench.beat(&back[0].0, 3), Ok(()));
    }

    #[test]
    fn a_static_member_that_comes_back_with_partitions_is_put_out_too() {
        let mut bench = Bench::new();
        let with_instance =
            |owned| JoinRequest { instance: static_newcomer("s").instance, ..owner("s", owned) };
        bench.stable(vec![with_instance(&[])]);
        assert_eq!(seek(&mut bench, 7), Ok(1));
        bench.stable(vec![with_instance(&[])]);
        let replaced = bench.join_now(with_instance(&[0])).member;
        assert_eq!(bench.beat(&replaced, 3), Err(HeartbeatError::UnknownMember));
    }

    #[test]
    fn a_commit_without_membership_waits_until_all_know_of_the_move() {
        for members in [vec![newcomer("a")], vec![]] {
            let mut bench = Bench::new();
            commit(&mut bench, &simple_commit(0, 100)).expect("nobody is in the group");
            let moved = members.len();
            if moved > 0 {
                bench.stable(members);
            }
            assert_eq!(seek(&mut bench, 7), Ok(moved));
            let late = commit(&mut bench, &simple_commit(0, 100));
            assert_eq!(late.is_err(), moved > 0, "{late:?}");
            let old = bench.commit_in_transaction(ProducerId(1), &simple_commit(0, 100));
            assert_eq!(old.is_err(), moved > 0, "{old:?}");
            bench.pass(SESSION_MS.into());
            commit(&mut bench, &simple_commit(0, 101)).expect("all know");
            assert_eq!(bench.position(0), Some(101));
        }
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

    /// A move of a group of one member in so many partitions.
    fn wide(bench: &mut Bench, partitions: i32) -> Result<usize, SeekError> {
        let moves: Vec<Move> =
            (0..partitions).map(|partition| to(partition, MoveTo::Offset(Offset(7)))).collect();
        let planned = bench.core.plan_seek(&group(), &moves);
        let mut bytes = None;
        let sought = bench.run(|core, now, step| {
            let sought = core.seek_group(now, &group(), &moves, step);
            bytes = Some((step.whole, batch_bytes(&step.records)));
            sought
        });
        assert_eq!(planned, sought, "a plan tells what would be refused");
        let (whole, bytes) = bytes.expect("it was run");
        assert_eq!(whole, sought.is_ok());
        assert!(bytes <= bench.core.settings.record_bytes_max, "{bytes}");
        sought.map(|_| bytes)
    }

    fn batch_bytes(records: &[Record]) -> usize {
        let mut batch = BatchBuilder::new(Codec::None);
        for record in records {
            let Encoded { key, value } = encode(record).expect("it has a name");
            let (key, value) = (Some(&key[..]), value.as_deref());
            let record = NewRecord { timestamp: Timestamp(0), key, value, headers: &[] };
            batch.push(&record).expect("it is small");
        }
        batch.record_bytes()
    }

    #[test]
    fn a_move_is_one_batch_or_refused() {
        let limit = 20_000;
        for kip_848 in [false, true] {
            let bench = || {
                let limited = GroupSettings { record_bytes_max: limit, ..settings() };
                let mut bench = Bench::with(limited);
                let cluster = Cluster::of(&[("t", 1)]);
                bench.core.set_topics(Arc::new(cluster.clone()));
                match kip_848 {
                    true => drop(beat(&mut bench, &cluster, &first("a", &["t"]))),
                    false => drop(bench.stable(vec![newcomer("a")])),
                }
                bench
            };
            let refused = wide(&mut bench(), 2_000);
            let Err(SeekError::TooMany { partitions: 2_000, max }) = refused else {
                panic!("2,000 positions do not fit: {refused:?}");
            };
            let fits = |partitions: usize| i32::try_from(partitions).expect("fewer than asked");
            // The words say "about": offsets within the batch are longer in a longer one.
            let most = (fits(max)..).take_while(|many| wide(&mut bench(), *many).is_ok()).last();
            let most = most.expect("what is told as the most fits");
            assert!(most - fits(max) < 10, "told {max} of {most}");
            let bytes = wide(&mut bench(), most).expect("it fits");
            assert!(limit - bytes < bytes / most.unsigned_abs() as usize + 1, "{bytes}");
            let mut refused = bench();
            let over = SeekError::TooMany {
                partitions: most.unsigned_abs() as usize + 1,
                max: most.unsigned_abs() as usize,
            };
            assert_eq!(wide(&mut refused, most + 1), Err(over));
            assert_eq!(refused.position(0), None, "nothing has moved");
            wide(&mut refused, most).expect("as before");
            refused.crash();
            assert_eq!(refused.position(most - 1), Some(7));
        }
    }

    #[test]
    fn a_move_that_no_batch_takes_is_told_so() {
        let mut bench = Bench::with(GroupSettings { record_bytes_max: 40, ..settings() });
        commit(&mut bench, &simple_commit(0, 100)).expect("nobody is in the group");
        let refused = wide(&mut bench, 1);
        assert_eq!(refused, Err(SeekError::TooMany { partitions: 1, max: 0 }));
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
