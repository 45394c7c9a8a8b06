//! Moving a group while it runs: its members are put out and its positions set, in one step.
//!
//! In:   the new positions.
//! Out:  records; answers to what the members have parked.
//! Home: pure; part of the group coordinator.
//!
//! A member that keeps its partitions would go on from where it is, and its next commit would
//! undo the move. So every member is put out: whatever it sends next is answered
//! UNKNOWN_MEMBER_ID, upon which clients of either protocol give up all they have, join anew,
//! and begin at the committed positions. Records of both are in one step: after a crash the
//! group is where it was, with its members, or where it was moved to.
//!
//! Source: none; Kafka moves only groups without members (KIP-122).

use crate::group::commit::{CommitRequest, CommitTopic, MetadataTooLarge};
use crate::group::coordinator::{GroupCoordinator, Kind};
use crate::group::ids::{GroupId, MemberId};
use crate::group::step::Step;
use crate::model::time::Timestamp;

/// Why a group was not moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekError {
    /// There is no such group: GROUP_ID_NOT_FOUND.
    NoGroup,
    /// A position's metadata is too long: OFFSET_METADATA_TOO_LARGE.
    MetadataTooLarge,
}

impl GroupCoordinator {
    /// Sets positions of a group, and puts its members out. Returns how many there were.
    ///
    /// Positions of open transactions that were committed before do not undo the move.
    /// Errors: [`SeekError`]; nothing has changed.
    pub fn seek_group(
        &mut self,
        now: Timestamp,
        id: &GroupId,
        topics: Vec<CommitTopic>,
        step: &mut Step,
    ) -> Result<usize, SeekError> {
        let now = self.advance(now);
        let group = self.groups.get(id).ok_or(SeekError::NoGroup)?;
        let members = match &group.kind {
            Kind::Simple => 0,
            Kind::Classic(classic) => classic.members().len(),
            Kind::Consumer(consumer) => consumer.members().len(),
        };
        let request = CommitRequest {
            group: id.clone(),
            member: MemberId::none(),
            instance: None,
            generation: -1,
            retention_ms: None,
            topics,
        };
        let (records, results) = self.commit_records(now, &request);
        if results.iter().flatten().any(|result| *result == Err(MetadataTooLarge)) {
            return Err(SeekError::MetadataTooLarge);
        }
        self.with_classic(now, id, step, |classic, cx| classic.put_out(cx));
        self.with_consumer(now, id, step, |consumer, cx| consumer.put_out(cx));
        for record in records {
            self.persist(step, record);
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::group::classic::join::{JoinError, JoinRequest};
    use crate::group::classic::state::State;
    use crate::group::classic::sync::HeartbeatError;
    use crate::group::commit::CommitError;
    use crate::group::consumer::heartbeat::ConsumerError;
    use crate::group::consumer_tests::{Cluster, beat, first, later, settings};
    use crate::group::fixtures::{Bench, group, newcomer, simple_commit, static_newcomer};
    use crate::model::ids::ProducerId;

    fn seek(bench: &mut Bench, offset: i64) -> Result<usize, SeekError> {
        let topics = simple_commit(0, offset).topics;
        bench.run(|core, now, step| core.seek_group(now, &group(), topics, step))
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
        let mut topics = simple_commit(0, 1).topics;
        topics[0].partitions[0].metadata = Some("x".repeat(5_000).into());
        let refused = bench.run(|core, now, step| core.seek_group(now, &group(), topics, step));
        assert_eq!(refused, Err(SeekError::MetadataTooLarge));
        assert_eq!(bench.beat(&members[0].0, 1), Ok(()), "nothing has changed");
    }
}
