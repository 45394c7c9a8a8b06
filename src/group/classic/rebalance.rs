//! A rebalance of a classic group, from the first `JoinGroup` to a new generation; and time.
//!
//! In:   members that came or went; deadlines that have passed.
//! Out:  answers to parked `JoinGroup`s, a record if nobody is left.
//! Home: pure; part of a classic group.
//!
//! The first rebalance of an empty group waits a little for others to come, and a little longer
//! each time somebody does, up to the rebalance timeout. Any other waits for the members that
//! are known, up to the longest rebalance timeout among them; dynamic members that are not back
//! by then are out, static ones stay until their session ends.
//!
//! Source: Kafka's `GroupMetadataManager`; `protocol.md` P82.

use bytes::Bytes;

use crate::group::classic::group::{Classic, JoinTimer};
use crate::group::classic::join::JoinReply;
use crate::group::classic::state::State;
use crate::group::classic::sync::SyncError;
use crate::group::coordinator::Context;
use crate::group::ids::MemberId;
use crate::group::step::Reply;
use crate::model::time::Timestamp;

/// How long a rebalance that nobody has joined waits at least, in milliseconds.
const POSTPONE_MS_MIN: i64 = 1_000;
/// Far away: the session of a member that waits for an answer.
const NEVER: Timestamp = Timestamp(i64::MAX);

impl Classic {
    /// Begins a rebalance if none is preparing, else completes it if everybody is there.
    pub(super) fn rebalance_or_complete(&mut self, cx: &mut Context<'_>) {
        if self.state.may_become(State::PreparingRebalance) {
            self.prepare_rebalance(cx);
        } else {
            self.maybe_complete_join(cx);
        }
    }

    /// Goes on after members have left.
    pub(super) fn settle_departure(&mut self, cx: &mut Context<'_>) {
        match self.state {
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(cx),
            State::PreparingRebalance => self.maybe_complete_join(cx),
            State::Empty | State::Dead => {}
        }
    }

    /// Asks every member to join anew.
    pub(in crate::group) fn prepare_rebalance(&mut self, cx: &mut Context<'_>) {
        if self.state == State::CompletingRebalance {
            self.reset_assignments(cx, SyncError::RebalanceInProgress);
        }
        self.unsynced.clear();
        self.sync_deadline = None;
        self.initial = self.state == State::Empty;
        self.become_state(cx.now, State::PreparingRebalance);
        if self.initial {
            let delay_ms = i64::from(cx.settings.initial_rebalance_delay_ms);
            let remaining_ms = (self.rebalance_timeout_ms() - delay_ms).max(0);
            self.new_member_added = false;
            self.set_initial_timer(cx, delay_ms, remaining_ms);
        } else {
            self.set_rebalance_timer(cx);
            self.maybe_complete_join(cx);
        }
    }

    /// Completes the rebalance if every member has joined; the first one of an empty group
    /// always waits for its time.
    pub(super) fn maybe_complete_join(&mut self, cx: &mut Context<'_>) {
        let everybody = self.joined == self.members.len() && self.pending.is_empty();
        if self.state == State::PreparingRebalance && !self.initial && everybody {
            self.complete_join(cx);
        }
    }

    fn set_initial_timer(&mut self, cx: &mut Context<'_>, delay_ms: i64, remaining_ms: i64) {
        let deadline = cx.after_ms(delay_ms);
        cx.wake_at(deadline);
        self.join_timer = Some(JoinTimer::Initial { deadline, delay_ms, remaining_ms });
    }

    fn set_rebalance_timer(&mut self, cx: &mut Context<'_>) {
        self.set_join_timer(cx, self.rebalance_timeout_ms());
    }

    fn set_join_timer(&mut self, cx: &mut Context<'_>, ms: i64) {
        let deadline = cx.after_ms(ms);
        cx.wake_at(deadline);
        self.join_timer = Some(JoinTimer::Rebalance { deadline });
    }

    /// Begins the next generation with those who have joined.
    fn complete_join(&mut self, cx: &mut Context<'_>) {
        assert_eq!(self.state, State::PreparingRebalance);
        let absent = self.members.values().filter(|member| member.join.is_none());
        let out: Vec<MemberId> =
            absent.filter(|member| member.instance.is_none()).map(|m| m.id.clone()).collect();
        for id in out {
            self.drop_member(cx, &id);
        }
        if self.members.is_empty() {
            self.join_timer = None;
            return self.become_empty(cx);
        }
        if !self.elect_joined_leader() {
            // Only static members are left and none is back: wait until one is, or their
            // sessions end. Not at once, should their timeout be 0: that would be a busy loop.
            return self.set_join_timer(cx, self.rebalance_timeout_ms().max(POSTPONE_MS_MIN));
        }
        self.join_timer = None;
        self.generation = self.generation.checked_add(1).unwrap_or(0);
        self.protocol = Some(self.elect_protocol());
        self.refresh_subscriptions();
        self.become_state(cx.now, State::CompletingRebalance);
        self.initial = false;
        self.unsynced = self.members.keys().cloned().collect();
        let ids: Vec<MemberId> = self.unsynced.iter().cloned().collect();
        for id in &ids {
            self.answer_join(cx, id);
        }
        assert_eq!(self.joined, 0, "C2");
        let deadline = cx.after_ms(self.rebalance_timeout_ms());
        cx.wake_at(deadline);
        self.sync_deadline = Some(deadline);
    }

    /// Nobody is left: the generation ends, and that is recorded.
    fn become_empty(&mut self, cx: &mut Context<'_>) {
        self.generation = self.generation.checked_add(1).unwrap_or(0);
        self.protocol = None;
        self.become_state(cx.now, State::Empty);
        let record = self.to_record(cx.now, |_| Bytes::new());
        self.persist(cx, record);
    }

    /// Makes sure that the leader has joined; false if nobody has.
    fn elect_joined_leader(&mut self) -> bool {
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id)).expect("C4");
        if leader.join.is_some() {
            return true;
        }
        let joined = self.members.values().find(|member| member.join.is_some());
        match joined.map(|member| member.id.clone()) {
            Some(id) => {
                self.leader = Some(id);
                true
            }
            None => false,
        }
    }

    fn answer_join(&mut self, cx: &mut Context<'_>, id: &MemberId) {
        let member = self.members.get_mut(id).expect("it is a member");
        member.is_new = false;
        member.assignment = Bytes::new();
        if let Some(request) = member.join.take() {
            self.joined -= 1;
            let reply = JoinReply { member: id.clone(), result: Ok(self.joined_of(id, false)) };
            cx.step.reply(request, Reply::Join(reply));
        }
        self.reset_session(cx, id);
    }

    /// Takes back what was not assigned yet; those who wait for it are told `error`.
    pub(super) fn reset_assignments(&mut self, cx: &mut Context<'_>, error: SyncError) {
        let mut waiting = Vec::new();
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            if let Some(request) = member.sync.take() {
                cx.step.reply(request, Reply::Sync(Err(error)));
                waiting.push(member.id.clone());
            }
        }
        for id in waiting {
            self.reset_session(cx, &id);
        }
    }

    /// Does what has become due. The caller asks for the next deadline afterwards.
    pub(in crate::group) fn tick(&mut self, cx: &mut Context<'_>) {
        self.expire_pending(cx);
        self.expire_sessions(cx);
        self.expire_syncs(cx);
        self.expire_join(cx);
    }

    fn expire_pending(&mut self, cx: &mut Context<'_>) {
        let before = self.pending.len();
        self.pending.retain(|_, lapses| cx.now < *lapses);
        if self.pending.len() < before && self.state == State::PreparingRebalance {
            self.maybe_complete_join(cx);
        }
    }

    fn expire_sessions(&mut self, cx: &mut Context<'_>) {
        let due = |member: &&MemberId, of: &Classic| of.members[*member].session_deadline <= cx.now;
        let silent: Vec<MemberId> =
            self.members.keys().filter(|member| due(member, self)).cloned().collect();
        for id in silent {
            let Some(member) = self.members.get_mut(&id) else { continue };
            if cx.now < member.session_deadline {
                continue; // an earlier one of the silent made a new generation
            }
            if !member.is_new && member.is_waiting() {
                member.session_deadline = NEVER; // set anew when it is answered
                continue;
            }
            self.drop_member(cx, &id);
            self.settle_departure(cx);
        }
    }

    fn expire_syncs(&mut self, cx: &mut Context<'_>) {
        if self.sync_deadline.is_none_or(|deadline| cx.now < deadline) {
            return;
        }
        self.sync_deadline = None;
        let late: Vec<MemberId> = self.unsynced.iter().cloned().collect();
        for id in &late {
            self.drop_member(cx, id);
        }
        if !late.is_empty() {
            self.prepare_rebalance(cx);
        }
    }

    fn expire_join(&mut self, cx: &mut Context<'_>) {
        match self.join_timer {
            Some(JoinTimer::Initial { deadline, delay_ms, remaining_ms }) if deadline <= cx.now => {
                if self.new_member_added && remaining_ms > 0 {
                    self.new_member_added = false;
                    let next = i64::from(cx.settings.initial_rebalance_delay_ms).min(remaining_ms);
                    self.set_initial_timer(cx, next, (remaining_ms - delay_ms).max(0));
                } else {
                    self.complete_join(cx);
                }
            }
            Some(JoinTimer::Rebalance { deadline }) if deadline <= cx.now => self.complete_join(cx),
            _ => {}
        }
    }
}
