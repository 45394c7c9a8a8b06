//! `JoinGroup`: who becomes a member, and who has to wait.
//!
//! In:   [`JoinRequest`].
//! Out:  a [`JoinReply`], now or when the rebalance has come to an end.
//! Home: pure; part of a classic group.
//!
//! A dynamic member joins in two steps: it is given an id, and becomes a member once it comes
//! back with it, so that a client that repeats its first request leaves no dead member behind.
//! A static member is known by its instance id and takes its old place.
//!
//! Source: KIP-345 (static members), KIP-394 (two steps), KIP-814 (skipped assignment);
//! `protocol.md` P81, P82, P84.

use bytes::Bytes;

use crate::group::classic::group::Classic;
use crate::group::classic::member::{Member, Protocol, metadata_bytes};
use crate::group::classic::state::State;
use crate::group::classic::sync::SyncError;
use crate::group::coordinator::Context;
use crate::group::ids::{GroupId, InstanceId, MemberId, NAME_BYTES_MAX, RequestId};
use crate::group::settings::{
    GroupSettings, METADATA_RECORDS_PER_GROUP_MAX, PENDING_MEMBERS_PER_GROUP_MAX,
    PROTOCOLS_PER_MEMBER_MAX,
};
use crate::group::step::Reply;
use crate::group::subscription::{self, CONSUMER_PROTOCOL_TYPE};

/// A member wants in, or back in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// The group.
    pub group: GroupId,
    /// Its id; empty if it has none.
    pub member: MemberId,
    /// Its instance id, if it is static.
    pub instance: Option<InstanceId>,
    /// Its client id.
    pub client_id: Box<str>,
    /// Where it connects from, as Kafka prints it: `/127.0.0.1`.
    pub client_host: Box<str>,
    /// How long it may be silent, in milliseconds.
    pub session_timeout_ms: i32,
    /// How long it may take to rejoin, in milliseconds; version 0 sends its session timeout.
    pub rebalance_timeout_ms: i32,
    /// `consumer`, `connect`, ...
    pub protocol_type: Box<str>,
    /// What it supports, by preference.
    pub protocols: Vec<Protocol>,
    /// Version 4 and later: a dynamic member needs an id before it may join.
    pub requires_known_member_id: bool,
    /// Version 9 and later: a leader may be told that nothing is to be assigned.
    pub supports_skip_assignment: bool,
    /// Fresh random bytes, from which an id is made if one is needed.
    pub fresh: [u8; 16],
}

/// The answer to [`JoinRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinReply {
    /// The member's id, also beside an error; empty if it has none.
    pub member: MemberId,
    /// The generation it is in.
    pub result: Result<Joined, JoinError>,
}

/// A member of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The generation.
    pub generation: i32,
    /// The group's protocol type.
    pub protocol_type: Option<Box<str>>,
    /// The protocol that was chosen.
    pub protocol: Option<Box<str>>,
    /// Who assigns.
    pub leader: MemberId,
    /// The leader has nothing to assign: the assignment stands.
    pub skip_assignment: bool,
    /// The members, for the leader; nobody for the others.
    pub members: Vec<JoinedMember>,
}

/// What the leader is told of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub id: MemberId,
    /// Its instance id, if it is static.
    pub instance: Option<InstanceId>,
    /// What it sent with the protocol that was chosen.
    pub metadata: Bytes,
}

/// Why a member is not in the generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// The group's id is empty or too long: INVALID_GROUP_ID.
    InvalidGroupId,
    /// A name in the request is too long to be stored: INVALID_REQUEST.
    NameTooLong,
    /// The session timeout is not within the broker's bounds: INVALID_SESSION_TIMEOUT.
    InvalidSessionTimeout,
    /// It has to join again with the id beside this error: MEMBER_ID_REQUIRED.
    MemberIdRequired,
    /// The group does not know its id, or no longer: UNKNOWN_MEMBER_ID.
    UnknownMember,
    /// Another process has taken over its instance id: FENCED_INSTANCE_ID.
    FencedInstance,
    /// It has no protocol in common with the others: INCONSISTENT_GROUP_PROTOCOL.
    InconsistentProtocol,
    /// The group has as many members, or as much metadata, as it may: GROUP_MAX_SIZE_REACHED.
    GroupFull,
    /// Its metadata alone would not fit a record: UNKNOWN_SERVER_ERROR, as Kafka.
    MetadataTooLarge,
    /// Too many groups, or ids that nobody joins with: COORDINATOR_NOT_AVAILABLE.
    Busy,
    /// A later request of the member took its place, or the group its kind:
    /// REBALANCE_IN_PROGRESS.
    Superseded,
    /// The coordinator moves away, or loads anew: NOT_COORDINATOR.
    Unloaded,
}

impl JoinReply {
    pub(in crate::group) fn refused(member: MemberId, error: JoinError) -> JoinReply {
        JoinReply { member, result: Err(error) }
    }
}

impl JoinRequest {
    /// What can be said about the request without looking at a group.
    pub(in crate::group) fn check(&self, settings: &GroupSettings) -> Result<(), JoinError> {
        let long = |text: &str| text.len() > NAME_BYTES_MAX;
        let group = self.group.as_str();
        if group.is_empty() || long(group) {
            return Err(JoinError::InvalidGroupId);
        }
        let bounds = settings.session_timeout_ms_min..=settings.session_timeout_ms_max;
        if !bounds.contains(&self.session_timeout_ms) {
            return Err(JoinError::InvalidSessionTimeout);
        }
        let instance = self.instance.as_ref().map_or("", InstanceId::as_str);
        let names = [self.member.as_str(), instance, &self.client_id, &self.client_host];
        let names = names.into_iter().chain([self.protocol_type.as_ref()]);
        if names.chain(self.protocols.iter().map(|known| known.name.as_ref())).any(long) {
            return Err(JoinError::NameTooLong);
        }
        if metadata_bytes(&self.protocols) > settings.record_bytes_max {
            return Err(JoinError::MetadataTooLarge);
        }
        Ok(())
    }

    /// Whether a consumer that is new to a group brings partitions from before the group was
    /// moved. Clients do so that are told of it by the answer to anything but a heartbeat: they
    /// ask for a new id, but a cooperative one keeps what it has.
    fn clings(&self, cx: &Context<'_>) -> bool {
        let owns = |metadata| {
            let parsed = subscription::parse(metadata).unwrap_or_default();
            parsed.owned.iter().any(|(_, partitions)| !partitions.is_empty())
        };
        cx.now < cx.moved_until
            && &*self.protocol_type == CONSUMER_PROTOCOL_TYPE
            && self.protocols.iter().any(|protocol| owns(&protocol.metadata))
    }

    /// An id for the member: its instance or client id, and the random part.
    fn fresh_member_id(&self) -> MemberId {
        let uuid = uuid::Uuid::from_bytes(self.fresh).hyphenated().to_string();
        let prefix = self.instance.as_ref().map_or(&*self.client_id, InstanceId::as_str);
        let mut end = prefix.len().min(NAME_BYTES_MAX - uuid.len() - 1);
        while !prefix.is_char_boundary(end) {
            end -= 1;
        }
        MemberId::from(format!("{}-{uuid}", &prefix[..end]).as_str())
    }

    /// Its protocols, each name once, detached from the request's buffer.
    pub(in crate::group) fn own_protocols(&self) -> Vec<Protocol> {
        let mut protocols: Vec<Protocol> = Vec::with_capacity(self.protocols.len());
        for protocol in &self.protocols {
            if protocols.iter().all(|known| known.name != protocol.name) {
                let metadata = Bytes::copy_from_slice(&protocol.metadata);
                protocols.push(Protocol { name: protocol.name.clone(), metadata });
            }
        }
        protocols
    }
}

impl Classic {
    /// Answers a `JoinGroup`, now or later. The request has passed [`JoinRequest::check`].
    pub(in crate::group) fn join(
        &mut self,
        cx: &mut Context<'_>,
        request: &JoinRequest,
        id: RequestId,
    ) {
        if let Err(reply) = self.try_join(cx, request, id) {
            cx.step.reply(id, Reply::Join(reply));
        }
    }

    fn try_join(
        &mut self,
        cx: &mut Context<'_>,
        request: &JoinRequest,
        id: RequestId,
    ) -> Result<(), JoinReply> {
        let unknown = request.member.as_str().is_empty();
        let refused = |error| Err(JoinReply::refused(request.member.clone(), error));
        if !self.has_room_for(cx, request) {
            if !unknown {
                self.drop_member(cx, &request.member);
                self.pending.remove(&request.member);
                self.settle_departure(cx);
            }
            return Err(JoinReply::refused(MemberId::none(), JoinError::GroupFull));
        }
        if !self.accepts_protocols(request) {
            return refused(JoinError::InconsistentProtocol);
        }
        if unknown {
            return self.join_unknown(cx, request, id);
        }
        if self.pending.contains_key(&request.member) {
            if request.instance.is_some() {
                return refused(JoinError::UnknownMember); // ids are pending for dynamic members
            }
            self.add(cx, request, request.member.clone(), id);
            return Ok(());
        }
        if let Err(error) = self.validate_member(&request.member, request.instance.as_ref()) {
            return refused(error.into());
        }
        self.rejoin(cx, request, id);
        Ok(())
    }

    /// Whether the group may have one more member, or this one is in already.
    fn has_room_for(&self, cx: &Context<'_>, request: &JoinRequest) -> bool {
        let known = self.members.get(&request.member);
        let held = known.map_or(0, Member::metadata_bytes);
        let bytes = self.metadata_bytes - held + metadata_bytes(&request.protocols);
        if bytes > cx.settings.record_bytes_max.saturating_mul(METADATA_RECORDS_PER_GROUP_MAX) {
            return false;
        }
        match self.state {
            State::Empty | State::Dead => true,
            // The number of those who wait counts, so that the last ones to come back are
            // out if the limit was lowered.
            State::PreparingRebalance => {
                known.is_some_and(|member| member.join.is_some())
                    || self.joined < cx.settings.group_size_max
            }
            State::CompletingRebalance | State::Stable => {
                known.is_some() || self.members.len() < cx.settings.group_size_max
            }
        }
    }

    fn accepts_protocols(&self, request: &JoinRequest) -> bool {
        if request.protocols.len() > PROTOCOLS_PER_MEMBER_MAX || request.protocols.is_empty() {
            return false;
        }
        if self.state == State::Empty {
            return !request.protocol_type.is_empty();
        }
        self.protocol_type() == Some(&*request.protocol_type)
            && request.protocols.iter().any(|protocol| self.all_support(&protocol.name))
    }

    fn join_unknown(
        &mut self,
        cx: &mut Context<'_>,
        request: &JoinRequest,
        id: RequestId,
    ) -> Result<(), JoinReply> {
        let fresh = request.fresh_member_id();
        if let Some(instance) = &request.instance {
            match self.statics.get(instance).cloned() {
                Some(old) => self.replace_static(cx, request, &old, fresh, id),
                None => self.add(cx, request, fresh, id),
            }
        } else if !request.requires_known_member_id {
            self.add(cx, request, fresh, id);
        } else if self.pending.len() >= PENDING_MEMBERS_PER_GROUP_MAX {
            return Err(JoinReply::refused(MemberId::none(), JoinError::Busy));
        } else {
            let lapses = cx.after(request.session_timeout_ms);
            cx.wake_at(lapses);
            self.pending.insert(fresh.clone(), lapses);
            return Err(JoinReply::refused(fresh, JoinError::MemberIdRequired));
        }
        Ok(())
    }

    /// Adds a new member and begins a rebalance, or goes on with one.
    fn add(&mut self, cx: &mut Context<'_>, request: &JoinRequest, id: MemberId, by: RequestId) {
        // A new member cannot send heartbeats, nor can its end be noticed while its request is
        // parked: the wait itself is limited.
        let session_deadline = cx.after(cx.settings.new_member_join_timeout_ms);
        cx.wake_at(session_deadline);
        let member = Member {
            id,
            instance: request.instance.clone(),
            client_id: request.client_id.clone(),
            client_host: request.client_host.clone(),
            rebalance_timeout_ms: request.rebalance_timeout_ms.max(0),
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.own_protocols(),
            assignment: Bytes::new(),
            is_new: true,
            clings: request.clings(cx),
            session_deadline,
            join: Some(by),
            sync: None,
        };
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        if self.state == State::PreparingRebalance && self.initial {
            self.new_member_added = true;
        }
        self.insert_member(member);
        self.rebalance_or_complete(cx);
    }

    /// A member that is known joins again.
    fn rejoin(&mut self, cx: &mut Context<'_>, request: &JoinRequest, by: RequestId) {
        let id = &request.member;
        let protocols = request.own_protocols();
        let unchanged = self.members[id].protocols == protocols;
        let answer_at_once = match self.state {
            // Perhaps the answer to its first request was lost.
            State::CompletingRebalance => unchanged,
            // The leader rebalances when it joins, for reasons that only it may know.
            State::Stable => unchanged && self.leader.as_ref() != Some(id),
            State::PreparingRebalance => false,
            State::Empty | State::Dead => unreachable!("C1: it is a member"),
        };
        if answer_at_once {
            self.reset_session(cx, id);
            let joined = self.joined_of(id, false);
            let reply = JoinReply { member: id.clone(), result: Ok(joined) };
            cx.step.reply(by, Reply::Join(reply));
        } else {
            self.update_and_park(cx, id, request, protocols, by);
            self.rebalance_or_complete(cx);
        }
    }

    /// Notes what a member says about itself now, and parks its request.
    fn update_and_park(
        &mut self,
        cx: &mut Context<'_>,
        id: &MemberId,
        request: &JoinRequest,
        protocols: Vec<Protocol>,
        by: RequestId,
    ) {
        self.set_protocols(id, protocols);
        let member = self.members.get_mut(id).expect("the caller looked it up");
        member.rebalance_timeout_ms = request.rebalance_timeout_ms.max(0);
        member.session_timeout_ms = request.session_timeout_ms;
        match member.join.replace(by) {
            // The client gave up on that connection; on this one it has asked again.
            Some(older) => {
                let reply = JoinReply::refused(id.clone(), JoinError::Superseded);
                cx.step.reply(older, Reply::Join(reply));
            }
            None => self.joined += 1,
        }
    }

    /// A static member is back under a new id: it takes its place and what was assigned to it.
    fn replace_static(
        &mut self,
        cx: &mut Context<'_>,
        request: &JoinRequest,
        old: &MemberId,
        fresh: MemberId,
        by: RequestId,
    ) {
        let leader_before = self.leader.clone();
        self.fence(cx, old, fresh.clone());
        self.update_and_park(cx, &fresh, request, request.own_protocols(), by);
        self.members.get_mut(&fresh).expect("just renamed").clings = request.clings(cx);
        self.reset_session(cx, &fresh);
        match self.state {
            State::Stable if self.protocol.as_ref() == Some(&self.elect_protocol()) => {
                let record = self.to_record(self.state_since, |member| member.assignment.clone());
                if record.bytes_bound(cx.group) > cx.settings.record_bytes_max {
                    return self.rebalance_or_complete(cx);
                }
                self.persist(cx, record);
                self.answer_replaced(cx, request, &fresh, leader_before, by);
            }
            State::Stable => self.rebalance_or_complete(cx),
            // The leader may be assigning to the old id at this moment.
            State::CompletingRebalance => self.prepare_rebalance(cx),
            State::PreparingRebalance => self.maybe_complete_join(cx),
            State::Empty | State::Dead => unreachable!("C1: it is a member"),
        }
    }

    /// Renames a static member; whoever waits under the old id is fenced.
    fn fence(&mut self, cx: &mut Context<'_>, old: &MemberId, fresh: MemberId) {
        let was_leader = self.leader.as_ref() == Some(old);
        let was_unsynced = self.unsynced.contains(old);
        let mut member = self.remove_member(old).expect("static ids name members (C4)");
        if let Some(request) = member.join.take() {
            let reply = JoinReply::refused(old.clone(), JoinError::FencedInstance);
            cx.step.reply(request, Reply::Join(reply));
        }
        if let Some(request) = member.sync.take() {
            cx.step.reply(request, Reply::Sync(Err(SyncError::FencedInstance)));
        }
        member.id = fresh.clone();
        member.is_new = false;
        self.insert_member(member);
        if was_leader {
            self.leader = Some(fresh.clone());
        }
        if was_unsynced {
            self.unsynced.insert(fresh);
        }
    }

    /// Answers a static member that took its place in a stable group: nothing is rebalanced.
    fn answer_replaced(
        &mut self,
        cx: &mut Context<'_>,
        request: &JoinRequest,
        id: &MemberId,
        leader_before: Option<MemberId>,
        by: RequestId,
    ) {
        let member = self.members.get_mut(id).expect("just replaced");
        member.join = None;
        self.joined -= 1;
        let is_leader = self.leader.as_ref() == Some(id);
        let mut joined = self.joined_of(id, is_leader);
        if !request.supports_skip_assignment {
            // Such a client would assign if it believed that it leads, so it is told the id
            // that led before.
            joined.skip_assignment = false;
            joined.members.clear();
            joined.leader = leader_before.expect("C4");
        }
        let reply = JoinReply { member: id.clone(), result: Ok(joined) };
        cx.step.reply(by, Reply::Join(reply));
    }

    /// What a member is told of its generation.
    pub(super) fn joined_of(&self, id: &MemberId, skip_assignment: bool) -> Joined {
        assert_ne!(self.state, State::PreparingRebalance, "there is no generation to tell of");
        let leader = self.leader.clone().expect("C4");
        let protocol = self.protocol.as_deref().unwrap_or("");
        let of = |member: &Member| JoinedMember {
            id: member.id.clone(),
            instance: member.instance.clone(),
            metadata: member.metadata(protocol),
        };
        let members =
            if leader == *id { self.members.values().map(of).collect() } else { Vec::new() };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader,
            skip_assignment,
            members,
        }
    }

    /// Sets a member's session deadline anew.
    pub(in crate::group) fn reset_session(&mut self, cx: &mut Context<'_>, id: &MemberId) {
        if let Some(member) = self.members.get_mut(id) {
            member.session_deadline = cx.after(member.session_timeout_ms);
            cx.wake_at(member.session_deadline);
        }
    }
}
