//! Members that speak the classic protocol to a KIP-848 group, while it is being migrated.
//!
//! In:   `JoinGroup`, `SyncGroup`, `Heartbeat`, `LeaveGroup` of such members.
//! Out:  answers in the words of the classic protocol; records.
//! Home: pure; part of a KIP-848 group.
//!
//! A member's epoch is its generation. It joins to be reconciled (its subscription says what it
//! owns), asks for its assignment by `SyncGroup`, and is told by `Heartbeat` that it has to join
//! again when there is something for it to do. Nobody leads: the coordinator assigns.
//!
//! Source: KIP-848, "Online migration"; Kafka's `GroupMetadataManager`; `protocol.md` P90.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::group::assignor::Assignment;
use crate::group::classic::join::{JoinError, JoinReply, JoinRequest, Joined};
use crate::group::classic::sync::{
    HeartbeatError, LeavingMember, MemberError, SyncError, SyncReply, SyncRequest, Synced,
};
use crate::group::consumer::group::Consumer;
use crate::group::consumer::heartbeat::uuid_text;
use crate::group::consumer::member::{ClassicMember, Held, Member, MemberState, without_epochs};
use crate::group::consumer::topics::Topics;
use crate::group::coordinator::Context;
use crate::group::ids::{InstanceId, MemberId};
use crate::group::subscription::{self, CONSUMER_PROTOCOL_TYPE, NamedPartitions, Subscription};
use crate::model::ids::PartitionIndex;

impl Consumer {
    /// Whether there are members, all of them speak the classic protocol, and they have one of
    /// its protocols in common.
    pub(in crate::group) fn is_all_classic(&self) -> bool {
        let classic = |member: &Member| member.metadata.classic.is_some();
        let first = self.members.values().next().and_then(|first| first.metadata.classic.as_ref());
        let mut names = first.into_iter().flat_map(|first| &first.protocols);
        self.members.values().all(classic) && names.any(|protocol| self.all_have(&protocol.name))
    }

    /// Whether every member of the classic protocol supports one of its protocols.
    fn all_have(&self, name: &str) -> bool {
        let mut classic =
            self.members.values().filter_map(|member| member.metadata.classic.as_ref());
        classic.all(|member| member.protocols.iter().any(|known| &*known.name == name))
    }

    /// Whether a member of the classic protocol that supports these would fit in.
    fn supports(&self, request: &JoinRequest) -> bool {
        &*request.protocol_type == CONSUMER_PROTOCOL_TYPE
            && request.protocols.iter().any(|protocol| self.all_have(&protocol.name))
    }

    /// Answers `JoinGroup`, always at once. The request has passed its own checks.
    pub(in crate::group) fn join_classic(
        &mut self,
        cx: &mut Context<'_>,
        request: &JoinRequest,
    ) -> JoinReply {
        match self.try_join_classic(cx, request) {
            Ok(reply) => reply,
            Err(reply) => reply,
        }
    }

    fn try_join_classic(
        &mut self,
        cx: &mut Context<'_>,
        request: &JoinRequest,
    ) -> Result<JoinReply, JoinReply> {
        let unknown = request.member.as_str().is_empty();
        let id = match unknown {
            true => MemberId::from(uuid_text(request.fresh).as_str()),
            false => request.member.clone(),
        };
        let refused = |error| Err(JoinReply::refused(request.member.clone(), error));
        let known = self.members.contains_key(&id);
        if !known && self.members.len() >= cx.settings.consumer_group_size_max {
            return refused(JoinError::GroupFull);
        }
        let subscription =
            request.protocols.first().and_then(|first| subscription::parse(&first.metadata));
        let Some(subscription) = subscription.filter(|_| self.supports(request)) else {
            return refused(JoinError::InconsistentProtocol);
        };
        if unknown && request.instance.is_none() && request.requires_known_member_id {
            return Err(JoinReply::refused(id, JoinError::MemberIdRequired));
        }
        if let Err(error) = self.admit_classic(cx, request, &id) {
            return refused(error);
        }
        self.take_classic(cx, request, &id, &subscription);
        let member = self.members.get_mut(&id).expect("just taken in");
        // It has joined, and is to ask for its assignment.
        let deadline = cx.after(request.rebalance_timeout_ms);
        cx.wake_at(deadline);
        member.classic_deadline = Some(deadline);
        let joined = Joined {
            generation: member.current.epoch,
            protocol_type: Some(CONSUMER_PROTOCOL_TYPE.into()),
            protocol: member.classic_protocol(),
            leader: MemberId::none(),
            skip_assignment: false,
            members: Vec::new(),
        };
        Ok(JoinReply { member: id, result: Ok(joined) })
    }

    /// Lets a member in under `id`; a static one may take its own place.
    fn admit_classic(
        &mut self,
        cx: &mut Context<'_>,
        request: &JoinRequest,
        id: &MemberId,
    ) -> Result<(), JoinError> {
        let Some(instance) = &request.instance else { return Ok(()) };
        let unknown = request.member.as_str().is_empty();
        match self.statics.get(instance).cloned() {
            Some(holder) if unknown => {
                self.take_place(cx, &holder, id.clone(), self.target_epoch.epoch);
                Ok(())
            }
            None if unknown => Ok(()),
            None => Err(JoinError::UnknownMember),
            Some(holder) if holder == *id => Ok(()),
            Some(_) => Err(JoinError::FencedInstance),
        }
    }

    /// Notes what the member says, and takes it one step towards its target.
    fn take_classic(
        &mut self,
        cx: &mut Context<'_>,
        request: &JoinRequest,
        id: &MemberId,
        subscription: &Subscription,
    ) {
        let before = self.members.get(id).cloned().unwrap_or_else(|| Member::new(id.clone()));
        let mut after = before.metadata.clone();
        after.client_id.clone_from(&request.client_id);
        after.client_host.clone_from(&request.client_host);
        after.instance.clone_from(&request.instance);
        after.rack = subscription.rack.clone().or(after.rack);
        after.rebalance_timeout_ms = request.rebalance_timeout_ms.max(0);
        after.topics = subscription.topics.iter().cloned().collect();
        after.regex = None;
        after.classic = Some(ClassicMember {
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.own_protocols(),
        });
        let changed = self.note_subscription(cx, &before, after, None);
        let owned = by_id(&subscription.owned, cx.topics);
        self.advance(cx, id, Some(&owned), changed);
        self.reset_timers(cx, id);
    }

    /// The member that a classic request means.
    fn classic_member(
        &self,
        id: &MemberId,
        instance: Option<&InstanceId>,
    ) -> Result<&Member, MemberError> {
        if let Some(instance) = instance {
            let holder = self.statics.get(instance).ok_or(MemberError::UnknownMember)?;
            if holder != id {
                return Err(MemberError::FencedInstance);
            }
        }
        let member = self.members.get(id).ok_or(MemberError::UnknownMember)?;
        match member.metadata.classic.is_some() {
            true => Ok(member),
            false => Err(MemberError::UnknownMember),
        }
    }

    /// Sees to it that a member that has to join again does so in time.
    fn expect_join(&mut self, cx: &mut Context<'_>, id: &MemberId) {
        let member = self.members.get_mut(id).expect("the caller looked it up");
        if member.classic_deadline.is_none() {
            let deadline = cx.after(member.metadata.rebalance_timeout_ms);
            cx.wake_at(deadline);
            member.classic_deadline = Some(deadline);
        }
    }

    /// Answers `SyncGroup`, always at once.
    pub(in crate::group) fn sync_classic(
        &mut self,
        cx: &mut Context<'_>,
        request: &SyncRequest,
    ) -> SyncReply {
        let id = &request.member;
        let member = self.classic_member(id, request.instance.as_ref())?;
        let (epoch, state) = (member.current.epoch, member.current.state);
        if request.generation != epoch {
            return Err(SyncError::IllegalGeneration);
        }
        let protocol = member.classic_protocol();
        if request.protocol_type.as_deref().is_some_and(|kind| kind != CONSUMER_PROTOCOL_TYPE)
            || (request.protocol.is_some() && request.protocol != protocol)
        {
            return Err(SyncError::InconsistentProtocol);
        }
        let assignment = member.classic_assignment(cx.topics);
        // One that gives up partitions has joined already; it is not asked to again.
        if self.epoch.epoch > epoch && state != MemberState::UnrevokedPartitions {
            self.expect_join(cx, id);
            return Err(SyncError::RebalanceInProgress);
        }
        self.reset_timers(cx, id);
        self.members.get_mut(id).expect("just seen").classic_deadline = None;
        Ok(Synced { protocol_type: Some(CONSUMER_PROTOCOL_TYPE.into()), protocol, assignment })
    }

    /// Answers `Heartbeat`.
    ///
    /// Errors: [`HeartbeatError`]; [`HeartbeatError::RebalanceInProgress`] counts as alive.
    pub(in crate::group) fn heartbeat_classic(
        &mut self,
        cx: &mut Context<'_>,
        id: &MemberId,
        instance: Option<&InstanceId>,
        generation: i32,
    ) -> Result<(), HeartbeatError> {
        let member = self.classic_member(id, instance)?;
        if generation != member.current.epoch {
            return Err(HeartbeatError::IllegalGeneration);
        }
        let has_to_join = member.current.epoch < self.epoch.epoch
            || match member.current.state {
                MemberState::Stable => false,
                MemberState::UnrevokedPartitions => true,
                MemberState::UnreleasedPartitions => !self.waits_for_others(member),
            };
        self.reset_timers(cx, id);
        if has_to_join {
            self.expect_join(cx, id);
            return Err(HeartbeatError::RebalanceInProgress);
        }
        Ok(())
    }

    /// Whether something that the member is to have is still held by others.
    fn waits_for_others(&self, member: &Member) -> bool {
        let Some(target) = self.target.get(&member.id) else { return false };
        target.iter().any(|(topic, partitions)| {
            let own = member.current.assigned.get(topic);
            let mut missing =
                partitions.iter().filter(|index| own.is_none_or(|own| !own.contains_key(index)));
            missing.any(|index| self.is_held(*topic, *index))
        })
    }

    /// Removes members, of either protocol; one result for each.
    pub(in crate::group) fn leave_classic(
        &mut self,
        cx: &mut Context<'_>,
        leaving: &[LeavingMember],
    ) -> Vec<Result<(), MemberError>> {
        let find = |leaving: &LeavingMember| {
            let LeavingMember { member, instance } = leaving;
            if let Some(instance) = instance {
                let holder = self.statics.get(instance).ok_or(MemberError::UnknownMember)?;
                if !member.as_str().is_empty() && holder != member {
                    return Err(MemberError::FencedInstance);
                }
                return Ok(holder.clone());
            }
            let known = self.members.get(member).ok_or(MemberError::UnknownMember)?;
            Ok(known.id.clone())
        };
        let found: Vec<Result<MemberId, MemberError>> = leaving.iter().map(find).collect();
        let ids: BTreeSet<MemberId> = found.iter().flatten().cloned().collect();
        for id in &ids {
            self.fence(cx, id);
        }
        found.into_iter().map(|found| found.map(|_| ())).collect()
    }
}

impl Member {
    /// The protocol that a member of the classic protocol is told it takes part in.
    pub(super) fn classic_protocol(&self) -> Option<Box<str>> {
        let classic = self.metadata.classic.as_ref()?;
        classic.protocols.first().map(|protocol| protocol.name.clone())
    }

    /// What it has, as its consumer reads it.
    pub(in crate::group) fn classic_assignment(&self, topics: &dyn Topics) -> Bytes {
        let first = self.metadata.classic.as_ref().and_then(|classic| classic.protocols.first());
        let version = first.and_then(|first| subscription::parse(&first.metadata));
        let version = version.map_or(0, |subscription| subscription.version);
        subscription::assignment(version, &by_name(&self.current.assigned, topics))
    }
}

/// Partitions by topic id; topics that are gone are left out.
pub(in crate::group) fn by_id(named: &NamedPartitions, topics: &dyn Topics) -> Assignment {
    let mut found = Assignment::new();
    for (name, partitions) in named {
        if let Some(info) = topics.topic(name) {
            let indexes = partitions.iter().copied().map(PartitionIndex);
            found.entry(info.id).or_default().extend(indexes);
        }
    }
    found
}

/// Partitions by topic name; topics that are gone are left out.
fn by_name(held: &Held, topics: &dyn Topics) -> NamedPartitions {
    let named = without_epochs(held).into_iter().filter_map(|(topic, partitions)| {
        let name = topics.name(topic)?;
        Some((name.into(), partitions.into_iter().map(|index| index.0).collect()))
    });
    named.collect()
}
