//! The group coordinator of one partition: groups by id, their timers, replay.
//!
//! In:   requests with the time at which they came; records; time.
//! Out:  a [`Step`] each, and the answers that are known at once.
//! Home: pure; owned by the shard of the coordinator's partition.
//!
//! Methods are of four kinds: `replay*` bring records back; requests (`join`, `commit_offsets`,
//! ...); [`GroupCoordinator::tick`], to be called at [`GroupCoordinator::next_deadline`]; and
//! questions that change nothing. Life: `new`, `replay` of the whole log, `loaded`, requests
//! and ticks, `unload`.
//!
//! Invariants
//!   G1  What is persisted changes by `replay` alone, and only together with a record.
//!   G2  A group with a deadline is armed at that time, or earlier.
//!   G3  The clock never goes back: an earlier time counts as the latest one seen.
//!
//! Not here: a group's rules (`classic`, `consumer`), offsets' (`commit.rs`), administrators'
//! (`admin.rs`).
//! Source: `protocol.md` 2.5.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::group::classic::group::Classic;
use crate::group::classic::join::{JoinError, JoinReply, JoinRequest};
use crate::group::classic::sync::{
    HeartbeatError, LeavingMember, MemberError, SyncError, SyncRequest,
};
use crate::group::consumer::group::Consumer;
use crate::group::consumer::heartbeat::{ConsumerError, ConsumerHeartbeat, ConsumerReply};
use crate::group::consumer::member::EPOCH_JOIN;
use crate::group::consumer::topics::{NoTopics, Topics};
use crate::group::ids::{GroupId, InstanceId, MemberId, RequestId};
use crate::group::offsets::{Offsets, PendingOffsets};
use crate::group::record::{ConsumerRecord, GroupMetadata, OffsetKey, Record};
use crate::group::settings::{GROUPS_PER_PARTITION_MAX, GroupSettings, NoOwnSettings, OwnSettings};
use crate::group::step::{Reply, Step};
use crate::model::ids::ProducerId;
use crate::model::time::Timestamp;

/// What a group's step may use and add to.
#[derive(Debug)]
pub struct Context<'a> {
    pub(super) now: Timestamp,
    pub(super) settings: &'a GroupSettings,
    pub(super) topics: &'a dyn Topics,
    pub(super) group: &'a GroupId,
    /// Until when somebody may come who does not know that the group was moved.
    pub(super) moved_until: Timestamp,
    pub(super) step: &'a mut Step,
    wake: Option<Timestamp>,
}

impl Context<'_> {
    /// The time in `ms` milliseconds; none counts as 0.
    pub(super) fn after(&self, ms: i32) -> Timestamp {
        self.after_ms(i64::from(ms))
    }

    /// The time in `ms` milliseconds; less than 0 counts as 0.
    pub(super) fn after_ms(&self, ms: i64) -> Timestamp {
        Timestamp(self.now.0.saturating_add(ms.max(0)))
    }

    /// Asks for a tick at `deadline`, or earlier.
    pub(super) fn wake_at(&mut self, deadline: Timestamp) {
        self.wake = Some(self.wake.map_or(deadline, |wake| wake.min(deadline)));
    }
}

/// What kind of group it is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// Nobody has joined: at most committed offsets. Most of a million groups are like this.
    Simple,
    /// Members that join, one of whom assigns.
    Classic(Box<Classic>),
    /// Members that are assigned to. Source: KIP-848.
    Consumer(Box<Consumer>),
}

/// A group and its offsets.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) kind: Kind,
    pub(super) offsets: Offsets,
    /// Until when a member that was put out by a move may not know of it; not recorded.
    pub(super) moved_until: Timestamp,
    /// The time under which the group stands in the coordinator's timers.
    armed: Option<Timestamp>,
}

/// The groups of one coordinator partition.
#[derive(Clone, Debug)]
pub struct GroupCoordinator {
    pub(super) settings: GroupSettings,
    own_settings: Arc<dyn OwnSettings>,
    pub(super) topics: Arc<dyn Topics>,
    pub(super) groups: BTreeMap<GroupId, Group>,
    pub(super) pending: PendingOffsets,
    timers: BTreeSet<(Timestamp, GroupId)>,
    /// Counts records, so that positions know which came later.
    order: u64,
    clock: Timestamp,
    /// When expired offsets are looked for next, and where the look goes on.
    pub(super) sweep_at: Timestamp,
    pub(super) sweep_from: Option<GroupId>,
}

impl GroupCoordinator {
    /// A coordinator without groups, to which the log is replayed next.
    pub fn new(settings: GroupSettings) -> GroupCoordinator {
        GroupCoordinator {
            settings,
            own_settings: Arc::new(NoOwnSettings),
            topics: Arc::new(NoTopics),
            groups: BTreeMap::new(),
            pending: PendingOffsets::default(),
            timers: BTreeSet::new(),
            order: 0,
            clock: Timestamp(0),
            sweep_at: Timestamp(i64::MAX),
            sweep_from: None,
        }
    }

    /// Replaces the broker's topics, whenever they change, and before requests come.
    pub fn set_topics(&mut self, topics: Arc<dyn Topics>) {
        self.topics = topics;
    }

    /// Replaces what groups have set for themselves, whenever that changes: each group's next step
    /// goes by it.
    pub fn set_own_settings(&mut self, own: Arc<dyn OwnSettings>) {
        self.own_settings = own;
    }

    /// Applies a record of the log. `producer` is the batch's, if it is transactional: its
    /// offsets stay invisible until [`GroupCoordinator::replay_end_transaction`].
    ///
    /// Records are applied in the order of the log, each once.
    pub fn replay(&mut self, record: &Record, producer: Option<ProducerId>) {
        self.order += 1;
        match record {
            Record::OffsetCommit { key, value: Some(value) } => {
                let order = self.order;
                let group = self.group_or_simple(&key.group);
                match producer {
                    None => {
                        group.offsets.commit(order, &key.topic, key.partition, value.clone());
                    }
                    Some(producer) => self.pending.add(producer, order, key, value.clone()),
                }
            }
            Record::OffsetCommit { key, value: None } => self.forget_offset(key),
            Record::GroupMetadata { group, value: Some(value) } => {
                self.replay_metadata(group, value);
            }
            Record::GroupMetadata { group, value: None } => {
                let known = self.groups.get(group).map(|known| &known.kind);
                if !matches!(known, Some(Kind::Consumer(_))) {
                    self.remove_group(group);
                }
            }
            Record::Consumer { group, record } => self.replay_consumer(group, record),
        }
    }

    /// Applies the end of a producer's transaction. A producer that has none changes nothing.
    pub fn replay_end_transaction(&mut self, producer: ProducerId, committed: bool) {
        for (group, offsets) in self.pending.end(producer) {
            if committed && !offsets.is_empty() {
                self.group_or_simple(&group).offsets.merge(offsets);
            }
        }
    }

    pub(super) fn group_or_simple(&mut self, group: &GroupId) -> &mut Group {
        self.groups.entry(group.clone()).or_insert_with(|| Group {
            kind: Kind::Simple,
            offsets: Offsets::default(),
            moved_until: Timestamp::NONE,
            armed: None,
        })
    }

    fn replay_metadata(&mut self, id: &GroupId, value: &GroupMetadata) {
        let group = self.group_or_simple(id);
        if value.is_unjoined() && matches!(group.kind, Kind::Simple) {
            return; // what a simple group is
        }
        if let Kind::Classic(classic) = &mut group.kind {
            return classic.replay(value);
        }
        let mut classic = Classic::unjoined();
        classic.replay(value);
        group.kind = Kind::Classic(Box::new(classic));
    }

    fn replay_consumer(&mut self, id: &GroupId, record: &ConsumerRecord) {
        if let ConsumerRecord::Epoch(None) = record {
            let known = self.groups.get(id).map(|known| &known.kind);
            if matches!(known, Some(Kind::Consumer(_))) {
                self.remove_group(id);
            }
        } else if let Some(Group { kind: Kind::Consumer(consumer), .. }) = self.groups.get_mut(id) {
            consumer.replay(record);
        } else if !record.is_tombstone() {
            let mut consumer = Consumer::default();
            consumer.replay(record);
            self.group_or_simple(id).kind = Kind::Consumer(Box::new(consumer));
        }
    }

    fn forget_offset(&mut self, key: &OffsetKey) {
        if let Some(group) = self.groups.get_mut(&key.group) {
            group.offsets.forget(&key.topic, key.partition);
        }
        self.pending.forget(&key.group, &key.topic, key.partition);
    }

    /// A tombstone ends a group. Positions that it still has are a simple group's.
    fn remove_group(&mut self, id: &GroupId) {
        self.disarm(id);
        if let Some(group) = self.groups.get_mut(id) {
            group.kind = Kind::Simple;
            if group.offsets.is_empty() {
                self.groups.remove(id);
            }
        }
    }

    /// Makes a record part of the step and of the state.
    pub(super) fn persist(&mut self, step: &mut Step, record: Record) {
        self.replay(&record, None);
        step.records.push(record);
    }

    /// The log has been replayed: sessions begin, and requests may come.
    pub fn loaded(&mut self, now: Timestamp, step: &mut Step) {
        let now = self.advance(now);
        self.sweep_at = Timestamp(now.0.saturating_add(self.settings.offsets_retention_check_ms));
        let joined = |group: &Group| !matches!(group.kind, Kind::Simple);
        let ids = self.groups.iter().filter(|(_, group)| joined(group));
        let ids: Vec<GroupId> = ids.map(|(id, _)| id.clone()).collect();
        for id in &ids {
            self.with_classic(now, id, step, Classic::loaded);
            self.with_consumer(now, id, step, Consumer::loaded);
        }
    }

    /// The coordinator stops: answers all that is parked. Nothing else may follow.
    pub fn unload(&mut self, step: &mut Step) {
        let ids: Vec<GroupId> = self.groups.keys().cloned().collect();
        for id in &ids {
            self.with_classic(self.clock, id, step, Classic::unload);
        }
        self.timers.clear();
        self.groups.clear();
    }

    /// Goes on to the time `now`, unless a later one has been seen; returns the latest.
    pub(super) fn advance(&mut self, now: Timestamp) -> Timestamp {
        self.clock = self.clock.max(now);
        self.clock
    }

    /// The latest time that has been seen.
    pub(super) fn clock(&self) -> Timestamp {
        self.clock
    }

    /// How many groups there are.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// When [`GroupCoordinator::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let timer = self.timers.first().map(|(deadline, _)| *deadline);
        timer.into_iter().chain([self.sweep_at]).min().filter(|deadline| deadline.0 < i64::MAX)
    }

    /// Does what has become due. Some of it may be left for a further call, in which case
    /// [`GroupCoordinator::next_deadline`] is not in the future.
    pub fn tick(&mut self, now: Timestamp, step: &mut Step) {
        let now = self.advance(now);
        let due = self.timers.iter().take_while(|(deadline, _)| *deadline <= now);
        let due: Vec<GroupId> = due.map(|(_, group)| group.clone()).collect();
        for id in &due {
            self.disarm(id);
            let classic = self.with_classic(now, id, step, |classic, cx| {
                classic.tick(cx);
                classic.next_deadline()
            });
            let consumer = self.with_consumer(now, id, step, |consumer, cx| {
                consumer.tick(cx);
                consumer.next_deadline()
            });
            if consumer.is_some() {
                self.maybe_downgrade(now, id, step);
            }
            if let Some(deadline) = classic.flatten().or(consumer.flatten()) {
                self.arm(id, deadline);
            }
        }
        if self.sweep_at <= now {
            self.sweep(now, step);
        }
    }

    /// Runs a step of a classic group, if there is one of this id.
    pub(super) fn with_classic<R>(
        &mut self,
        now: Timestamp,
        id: &GroupId,
        step: &mut Step,
        run: impl FnOnce(&mut Classic, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let group = self.groups.get_mut(id)?;
        let moved_until = group.moved_until;
        let Kind::Classic(classic) = &mut group.kind else { return None };
        let (settings, topics) = (&self.settings, &*self.topics);
        let mut cx = Context { now, settings, topics, group: id, moved_until, step, wake: None };
        let result = run(classic, &mut cx);
        let wake = cx.wake;
        classic.assert_invariants();
        if let Some(deadline) = wake {
            self.arm(id, deadline);
        }
        Some(result)
    }

    /// Runs a step of a KIP-848 group, if there is one of this id.
    pub(super) fn with_consumer<R>(
        &mut self,
        now: Timestamp,
        id: &GroupId,
        step: &mut Step,
        run: impl FnOnce(&mut Consumer, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let group = self.groups.get_mut(id)?;
        let moved_until = group.moved_until;
        let Kind::Consumer(consumer) = &mut group.kind else { return None };
        let own = self.own_settings.of(id).map(|own| self.settings.with(&own));
        let settings = own.as_ref().unwrap_or(&self.settings);
        let before = step.records.len();
        let topics = &*self.topics;
        let mut cx = Context { now, settings, topics, group: id, moved_until, step, wake: None };
        let result = run(consumer, &mut cx);
        let wake = cx.wake;
        consumer.assert_invariants();
        self.order += (step.records.len() - before) as u64;
        if let Some(deadline) = wake {
            self.arm(id, deadline);
        }
        Some(result)
    }

    /// Sees to a tick for this group at `deadline`, or earlier (G2).
    fn arm(&mut self, id: &GroupId, deadline: Timestamp) {
        let group = self.groups.get_mut(id).expect("the caller has it");
        if group.armed.is_none_or(|armed| deadline < armed) {
            if let Some(armed) = group.armed.replace(deadline) {
                self.timers.remove(&(armed, id.clone()));
            }
            self.timers.insert((deadline, id.clone()));
        }
    }

    fn disarm(&mut self, id: &GroupId) {
        if let Some(armed) = self.groups.get_mut(id).and_then(|group| group.armed.take()) {
            self.timers.remove(&(armed, id.clone()));
        }
    }

    /// Answers `JoinGroup` by an effect: of this step, or of the one that ends the rebalance.
    pub fn join(&mut self, now: Timestamp, request: &JoinRequest, id: RequestId, step: &mut Step) {
        let now = self.advance(now);
        if let Err(error) = self.prepare_join(now, request, step) {
            let reply = JoinReply::refused(request.member.clone(), error);
            return step.reply(id, Reply::Join(reply));
        }
        let of_consumer = self.with_consumer(now, &request.group, step, |consumer, cx| {
            consumer.join_classic(cx, request)
        });
        if let Some(reply) = of_consumer {
            step.reply(id, Reply::Join(reply));
            return self.maybe_downgrade(now, &request.group, step);
        }
        self.with_classic(now, &request.group, step, |classic, cx| classic.join(cx, request, id));
    }

    /// Checks a `JoinGroup`, and makes sure that its group is there and classic.
    fn prepare_join(
        &mut self,
        now: Timestamp,
        request: &JoinRequest,
        step: &mut Step,
    ) -> Result<(), JoinError> {
        request.check(&self.settings)?;
        let known = self.groups.get(&request.group);
        if let Some(Group { kind: Kind::Consumer(consumer), .. }) = known
            && consumer.members().len() > 0
        {
            return Ok(()); // its members may speak the classic protocol
        }
        if known.is_none_or(|group| !matches!(group.kind, Kind::Classic(_))) {
            if !request.member.as_str().is_empty() {
                return Err(JoinError::UnknownMember);
            }
            if request.protocol_type.is_empty() || request.protocols.is_empty() {
                return Err(JoinError::InconsistentProtocol);
            }
        }
        if known.is_none() {
            if self.groups.len() >= GROUPS_PER_PARTITION_MAX {
                return Err(JoinError::Busy);
            }
            let value = Some(GroupMetadata::unjoined(now));
            self.persist(step, Record::GroupMetadata { group: request.group.clone(), value });
        }
        self.end_empty_consumer(&request.group, step);
        let group = self.group_or_simple(&request.group);
        if let Kind::Simple = group.kind {
            group.kind = Kind::Classic(Box::new(Classic::unjoined()));
        }
        Ok(())
    }

    /// An empty KIP-848 group gives way to a classic one, or to none.
    pub(super) fn end_empty_consumer(&mut self, id: &GroupId, step: &mut Step) {
        if let Some(Group { kind: Kind::Consumer(consumer), .. }) = self.groups.get(id) {
            for record in consumer.tombstones() {
                self.persist(step, Record::Consumer { group: id.clone(), record });
            }
        }
    }

    /// Answers `ConsumerGroupHeartbeat`.
    ///
    /// Errors: [`ConsumerError`]; nothing has changed.
    pub fn consumer_heartbeat(
        &mut self,
        now: Timestamp,
        request: &ConsumerHeartbeat,
        step: &mut Step,
    ) -> Result<ConsumerReply, ConsumerError> {
        let now = self.advance(now);
        request.check(&self.settings)?;
        let id = &request.group;
        let known = self.groups.get(id);
        if !matches!(known, Some(Group { kind: Kind::Consumer(_), .. })) {
            if request.epoch != EPOCH_JOIN {
                return Err(ConsumerError::NoGroup);
            }
            if known.is_none() && self.groups.len() >= GROUPS_PER_PARTITION_MAX {
                return Err(ConsumerError::Busy);
            }
            let (is_there, has_members) =
                (known.is_some(), known.is_some_and(|group| !group.is_empty()));
            if has_members {
                self.upgrade(now, request, step)?;
            }
            if is_there && !has_members {
                // An empty classic group gives way.
                let value = None;
                self.persist(step, Record::GroupMetadata { group: id.clone(), value });
            }
            if !has_members {
                self.group_or_simple(id).kind = Kind::Consumer(Box::default());
            }
        }
        let result =
            self.with_consumer(now, id, step, |consumer, cx| consumer.heartbeat(cx, request));
        self.maybe_downgrade(now, id, step);
        result.expect("it is a KIP-848 group now")
    }

    /// The KIP-848 group of this id, for `ConsumerGroupDescribe`; none if it is of another kind.
    pub fn consumer_group(&self, id: &GroupId) -> Option<&Consumer> {
        match &self.groups.get(id)?.kind {
            Kind::Consumer(consumer) => Some(consumer),
            Kind::Simple | Kind::Classic(_) => None,
        }
    }

    /// Answers `SyncGroup` by an effect: of this step, or of the one in which the leader assigns.
    pub fn sync(&mut self, now: Timestamp, request: &SyncRequest, id: RequestId, step: &mut Step) {
        let now = self.advance(now);
        if request.group.as_str().is_empty() {
            return step.reply(id, Reply::Sync(Err(SyncError::InvalidGroupId)));
        }
        let of_consumer = self.with_consumer(now, &request.group, step, |consumer, cx| {
            consumer.sync_classic(cx, request)
        });
        if let Some(reply) = of_consumer {
            return step.reply(id, Reply::Sync(reply));
        }
        let done = self
            .with_classic(now, &request.group, step, |classic, cx| classic.sync(cx, request, id));
        if done.is_none() {
            step.reply(id, Reply::Sync(Err(SyncError::UnknownMember)));
        }
    }

    /// Answers `Heartbeat`.
    ///
    /// Errors: [`HeartbeatError`].
    pub fn heartbeat(
        &mut self,
        now: Timestamp,
        group: &GroupId,
        member: &MemberId,
        instance: Option<&InstanceId>,
        generation: i32,
    ) -> Result<(), HeartbeatError> {
        let now = self.advance(now);
        if group.as_str().is_empty() {
            return Err(HeartbeatError::InvalidGroupId);
        }
        let mut step = Step::default();
        let result = self.with_classic(now, group, &mut step, |classic, cx| {
            classic.heartbeat(cx, member, instance, generation)
        });
        let of_consumer = self.with_consumer(now, group, &mut step, |consumer, cx| {
            consumer.heartbeat_classic(cx, member, instance, generation)
        });
        assert_eq!(step, Step::default(), "a heartbeat changes nothing that others see");
        result.or(of_consumer).unwrap_or(Err(HeartbeatError::UnknownMember))
    }

    /// Answers `LeaveGroup`: one result for each member, in order. Version 2 and earlier have
    /// one member, whose error is the request's.
    pub fn leave(
        &mut self,
        now: Timestamp,
        group: &GroupId,
        leaving: &[LeavingMember],
        step: &mut Step,
    ) -> Vec<Result<(), MemberError>> {
        let now = self.advance(now);
        let results = self.with_classic(now, group, step, |classic, cx| classic.leave(cx, leaving));
        let of_consumer = self
            .with_consumer(now, group, step, |consumer, cx| consumer.leave_classic(cx, leaving));
        if of_consumer.is_some() {
            self.maybe_downgrade(now, group, step);
        }
        let results = results.or(of_consumer);
        results.unwrap_or_else(|| vec![Err(MemberError::UnknownMember); leaving.len()])
    }
}
