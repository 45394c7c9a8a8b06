//! `SyncGroup`, `Heartbeat`, `LeaveGroup`: a member in its generation.
//!
//! In:   what members say, each with its id and generation.
//! Out:  its assignment, now or once the leader has assigned; or what it has to do instead.
//! Home: pure; part of a classic group.
//!
//! The leader's `SyncGroup` is the moment at which a generation becomes persistent: its record
//! is part of the same step as everybody's assignment, so that nobody has an assignment that a
//! crash could take back.
//!
//! Source: `protocol.md` P83, P84; KIP-345 (batched leave, by instance).

use bytes::Bytes;
use std::collections::BTreeMap;

use crate::group::classic::group::Classic;
use crate::group::classic::join::{JoinError, JoinReply};
use crate::group::classic::state::State;
use crate::group::coordinator::Context;
use crate::group::ids::{GroupId, InstanceId, MemberId, RequestId};
use crate::group::step::Reply;

/// A member asks for its assignment; the leader brings everybody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    /// The group.
    pub group: GroupId,
    /// The generation that the member joined.
    pub generation: i32,
    /// Its id.
    pub member: MemberId,
    /// Its instance id, if it is static.
    pub instance: Option<InstanceId>,
    /// The protocol type it believes in (version 5 and later).
    pub protocol_type: Option<Box<str>>,
    /// The protocol it believes in (version 5 and later).
    pub protocol: Option<Box<str>>,
    /// Assignments by member; of the leader alone.
    pub assignments: Vec<(MemberId, Bytes)>,
}

/// The answer to [`SyncRequest`].
pub type SyncReply = Result<Synced, SyncError>;

/// A member's part of its generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// The group's protocol type.
    pub protocol_type: Option<Box<str>>,
    /// The generation's protocol.
    pub protocol: Option<Box<str>>,
    /// What was assigned to the member; empty if nothing was.
    pub assignment: Bytes,
}

/// Why a member's word does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberError {
    /// The group does not know the member, or there is no such group: UNKNOWN_MEMBER_ID.
    UnknownMember,
    /// Another process has taken over its instance id: FENCED_INSTANCE_ID.
    FencedInstance,
}

/// Why a member has no assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncError {
    /// The group's id is empty: INVALID_GROUP_ID.
    InvalidGroupId,
    /// As [`MemberError::UnknownMember`].
    UnknownMember,
    /// As [`MemberError::FencedInstance`].
    FencedInstance,
    /// It speaks of another generation: ILLEGAL_GENERATION.
    IllegalGeneration,
    /// It believes in another protocol: INCONSISTENT_GROUP_PROTOCOL.
    InconsistentProtocol,
    /// It has to join again: REBALANCE_IN_PROGRESS.
    RebalanceInProgress,
    /// The generation does not fit a record: UNKNOWN_SERVER_ERROR, as Kafka.
    GroupTooLarge,
    /// The coordinator moves away, or loads anew: NOT_COORDINATOR.
    Unloaded,
}

/// Why a heartbeat is not simply fine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeartbeatError {
    /// The group's id is empty: INVALID_GROUP_ID.
    InvalidGroupId,
    /// As [`MemberError::UnknownMember`].
    UnknownMember,
    /// As [`MemberError::FencedInstance`].
    FencedInstance,
    /// It speaks of another generation: ILLEGAL_GENERATION.
    IllegalGeneration,
    /// It has to join again: REBALANCE_IN_PROGRESS.
    RebalanceInProgress,
}

/// A member that leaves, or is removed by an administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeavingMember {
    /// Its id; empty if it is named by its instance alone.
    pub member: MemberId,
    /// Its instance id, if it is static.
    pub instance: Option<InstanceId>,
}

impl From<MemberError> for JoinError {
    fn from(error: MemberError) -> JoinError {
        match error {
            MemberError::UnknownMember => JoinError::UnknownMember,
            MemberError::FencedInstance => JoinError::FencedInstance,
        }
    }
}

impl From<MemberError> for SyncError {
    fn from(error: MemberError) -> SyncError {
        match error {
            MemberError::UnknownMember => SyncError::UnknownMember,
            MemberError::FencedInstance => SyncError::FencedInstance,
        }
    }
}

impl From<MemberError> for HeartbeatError {
    fn from(error: MemberError) -> HeartbeatError {
        match error {
            MemberError::UnknownMember => HeartbeatError::UnknownMember,
            MemberError::FencedInstance => HeartbeatError::FencedInstance,
        }
    }
}

impl Classic {
    /// Whether a member is who it says it is.
    ///
    /// Errors: [`MemberError`]: its instance id is another member's now, or it is unknown.
    pub(in crate::group) fn validate_member(
        &self,
        member: &MemberId,
        instance: Option<&InstanceId>,
    ) -> Result<(), MemberError> {
        if let Some(instance) = instance {
            match self.statics.get(instance) {
                None => return Err(MemberError::UnknownMember),
                Some(owner) if owner != member => return Err(MemberError::FencedInstance),
                Some(_) => {}
            }
        }
        match self.members.contains_key(member) {
            true => Ok(()),
            false => Err(MemberError::UnknownMember),
        }
    }

    /// Answers a `SyncGroup`, now or later.
    pub(in crate::group) fn sync(
        &mut self,
        cx: &mut Context<'_>,
        request: &SyncRequest,
        id: RequestId,
    ) {
        if let Err(error) = self.validate_sync(request) {
            return cx.step.reply(id, Reply::Sync(Err(error)));
        }
        self.unsynced.remove(&request.member);
        if self.unsynced.is_empty() {
            self.sync_deadline = None;
        }
        self.reset_session(cx, &request.member);
        let member = self.members.get_mut(&request.member).expect("validated");
        match self.state {
            State::Stable => {
                let assignment = member.assignment.clone();
                let reply = Ok(self.synced(assignment));
                cx.step.reply(id, Reply::Sync(reply));
            }
            State::CompletingRebalance => {
                if let Some(older) = member.sync.replace(id) {
                    // The client gave up on that connection; on this one it has asked again.
                    cx.step.reply(older, Reply::Sync(Err(SyncError::RebalanceInProgress)));
                }
                if self.leader.as_ref() == Some(&request.member) {
                    self.assign(cx, &request.assignments);
                }
            }
            State::PreparingRebalance | State::Empty | State::Dead => {
                unreachable!("validated")
            }
        }
    }

    fn validate_sync(&self, request: &SyncRequest) -> Result<(), SyncError> {
        if self.state == State::Empty {
            return Err(SyncError::UnknownMember);
        }
        self.validate_member(&request.member, request.instance.as_ref())?;
        if request.generation != self.generation {
            return Err(SyncError::IllegalGeneration);
        }
        let differs =
            |asked: &Option<Box<str>>, own: &Option<Box<str>>| asked.is_some() && asked != own;
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol, &self.protocol)
        {
            return Err(SyncError::InconsistentProtocol);
        }
        if self.state == State::PreparingRebalance {
            return Err(SyncError::RebalanceInProgress);
        }
        Ok(())
    }

    /// The leader has assigned: the generation is recorded, and everybody who waits answered.
    fn assign(&mut self, cx: &mut Context<'_>, assignments: &[(MemberId, Bytes)]) {
        let given: BTreeMap<&MemberId, &Bytes> =
            assignments.iter().map(|(member, assignment)| (member, assignment)).collect();
        let record = self.to_record(cx.now, |member| {
            given.get(&member.id).map_or_else(Bytes::new, |bytes| Bytes::copy_from_slice(bytes))
        });
        if record.bytes_bound(cx.group) > cx.settings.record_bytes_max {
            self.reset_assignments(cx, SyncError::GroupTooLarge);
            return self.prepare_rebalance(cx);
        }
        self.become_state(cx.now, State::Stable);
        self.persist(cx, record);
        let mut waiting = Vec::new();
        for member in self.members.values_mut() {
            if let Some(request) = member.sync.take() {
                waiting.push((member.id.clone(), request, member.assignment.clone()));
            }
        }
        for (id, request, assignment) in waiting {
            let reply = Ok(self.synced(assignment));
            cx.step.reply(request, Reply::Sync(reply));
            self.reset_session(cx, &id);
        }
    }

    fn synced(&self, assignment: Bytes) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment,
        }
    }

    /// Notes that a member is alive.
    ///
    /// Errors: [`HeartbeatError`]; [`HeartbeatError::RebalanceInProgress`] counts as alive.
    pub(in crate::group) fn heartbeat(
        &mut self,
        cx: &mut Context<'_>,
        member: &MemberId,
        instance: Option<&InstanceId>,
        generation: i32,
    ) -> Result<(), HeartbeatError> {
        self.validate_member(member, instance)?;
        if generation != self.generation {
            return Err(HeartbeatError::IllegalGeneration);
        }
        self.reset_session(cx, member);
        if self.state == State::Stable && self.puts_out(cx, member) {
            return Err(HeartbeatError::UnknownMember);
        }
        match self.state {
            State::PreparingRebalance => Err(HeartbeatError::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(()),
            State::Empty | State::Dead => Err(HeartbeatError::UnknownMember),
        }
    }

    /// Whether a member is in the group with partitions from before a move.
    pub(in crate::group) fn clings(&self, id: &MemberId) -> bool {
        self.members.get(id).is_some_and(|member| member.clings)
    }

    /// Whether a member is to give up partitions from before a move. If so its session ends: the
    /// next tick takes it out, since a heartbeat itself changes nothing that others see.
    ///
    /// Not before it has its assignment: a client that is told while it joins would keep what it
    /// has once more.
    fn puts_out(&mut self, cx: &mut Context<'_>, id: &MemberId) -> bool {
        let synced = !self.unsynced.contains(id);
        let member = self.members.get_mut(id).expect("validated");
        if member.clings && synced {
            member.session_deadline = cx.now;
            cx.wake_at(cx.now);
        }
        member.clings && synced
    }

    /// Removes members; one result for each.
    pub(in crate::group) fn leave(
        &mut self,
        cx: &mut Context<'_>,
        leaving: &[LeavingMember],
    ) -> Vec<Result<(), MemberError>> {
        let results: Vec<_> = leaving.iter().map(|member| self.leave_one(cx, member)).collect();
        if results.iter().any(Result::is_ok) {
            self.settle_departure(cx);
        }
        results
    }

    fn leave_one(
        &mut self,
        cx: &mut Context<'_>,
        leaving: &LeavingMember,
    ) -> Result<(), MemberError> {
        let LeavingMember { member, instance } = leaving;
        if member.as_str().is_empty() {
            // An administrator removes static members by their instance alone.
            let named = instance.as_ref().and_then(|instance| self.statics.get(instance));
            let id = named.cloned().ok_or(MemberError::UnknownMember)?;
            self.drop_member(cx, &id);
            return Ok(());
        }
        if self.pending.remove(member).is_some() {
            return Ok(());
        }
        self.validate_member(member, instance.as_ref())?;
        self.drop_member(cx, member);
        Ok(())
    }

    /// Removes every member, and every id that is given out: the generation ends. Returns the
    /// longest session timeout among them, in milliseconds: all know by then.
    pub(in crate::group) fn put_out(&mut self, cx: &mut Context<'_>) -> i32 {
        let longest = self.members.values().map(|member| member.session_timeout_ms).max();
        let ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for id in &ids {
            self.drop_member(cx, id);
        }
        self.pending.clear();
        self.initial = false; // nobody is left to wait for others
        self.settle_departure(cx);
        longest.unwrap_or(0)
    }

    /// The coordinator stops: answers everything that is parked.
    pub(in crate::group) fn unload(&mut self, cx: &mut Context<'_>) {
        self.answer_all(cx, JoinError::Unloaded, SyncError::Unloaded);
    }

    /// The group becomes one of another kind: its members are to join again.
    pub(in crate::group) fn give_way(&mut self, cx: &mut Context<'_>) {
        self.answer_all(cx, JoinError::Superseded, SyncError::RebalanceInProgress);
    }

    fn answer_all(&mut self, cx: &mut Context<'_>, join: JoinError, sync: SyncError) {
        for member in self.members.values_mut() {
            if let Some(request) = member.join.take() {
                self.joined -= 1;
                let reply = JoinReply::refused(member.id.clone(), join);
                cx.step.reply(request, Reply::Join(reply));
            }
            if let Some(request) = member.sync.take() {
                cx.step.reply(request, Reply::Sync(Err(sync)));
            }
        }
    }

    /// Begins every member's session after a load, and rebalances if there are too many.
    pub(in crate::group) fn loaded(&mut self, cx: &mut Context<'_>) {
        let ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for id in &ids {
            self.reset_session(cx, id);
        }
        if self.members.len() > cx.settings.group_size_max {
            self.prepare_rebalance(cx);
        }
    }
}
