//! `ConsumerGroupHeartbeat`: a member joins, stays, changes its mind, or leaves.
//!
//! In:   [`ConsumerHeartbeat`], the broker's topics, time.
//! Out:  a [`ConsumerReply`], and records.
//! Home: pure; part of a KIP-848 group.
//!
//! A heartbeat does, in order: the member is found or made, and its subscription noted; the
//! group's epoch grows if that or the subscribed topics have changed; the target is computed
//! anew if the epoch has outgrown it; the member goes one step towards its target.
//!
//! Source: KIP-848; Kafka's `GroupMetadataManager`; `protocol.md` P90.

use std::collections::BTreeMap;

use crate::group::assignor::{Assignment, Assignor, GroupSpec, MemberSpec};
use crate::group::consumer::group::{Consumer, GroupEpoch, TargetEpoch};
use crate::group::consumer::member::{
    CurrentAssignment, EPOCH_JOIN, EPOCH_LEAVE, EPOCH_LEAVE_STATIC, Member, MemberMetadata,
    MemberState, is_within, without_epochs,
};
use crate::group::consumer::reconcile::{self, Target};
use crate::group::consumer::topics::{self, ResolvedRegex, Topics};
use crate::group::coordinator::Context;
use crate::group::ids::{GroupId, InstanceId, MemberId, NAME_BYTES_MAX};
use crate::group::record::ConsumerRecord;
use crate::group::settings::GroupSettings;

/// How soon after a change of topics expressions are evaluated again, in milliseconds.
const REGEX_REFRESH_MS_MIN: i64 = 10_000;
/// The first epoch of a group, as Kafka 4.3 has it.
const EPOCH_FIRST: i32 = 2;
/// How long expressions may go without being evaluated, in milliseconds.
const REGEX_REFRESH_MS_MAX: i64 = 600_000;

/// What a member says of itself. `None` means "as before".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerHeartbeat {
    /// The group.
    pub group: GroupId,
    /// Its id; empty if it has none yet.
    pub member: MemberId,
    /// Whether it has to bring an id of its own, as from version 1 on. Source: KIP-1082.
    pub names_itself: bool,
    /// Its epoch; 0 to join, -1 to leave, -2 to leave and come back as the same instance.
    pub epoch: i32,
    /// Its instance id, if it is static.
    pub instance: Option<InstanceId>,
    /// Where it is.
    pub rack: Option<Box<str>>,
    /// How long it may take to give up partitions, in milliseconds; -1 for "as before".
    pub rebalance_timeout_ms: i32,
    /// Topics by name.
    pub topics: Option<Vec<Box<str>>>,
    /// Topics by expression; empty for none.
    pub regex: Option<Box<str>>,
    /// The assignor that it wants.
    pub assignor: Option<Box<str>>,
    /// The partitions that it owns.
    pub owned: Option<Assignment>,
    /// Its client id.
    pub client_id: Box<str>,
    /// Where it connects from, as Kafka prints it.
    pub client_host: Box<str>,
    /// Fresh random bytes, from which an id is made if it has none.
    pub fresh: [u8; 16],
}

/// The answer to [`ConsumerHeartbeat`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerReply {
    /// The member's id.
    pub member: MemberId,
    /// Its epoch.
    pub epoch: i32,
    /// When to send the next heartbeat, in milliseconds.
    pub heartbeat_interval_ms: i32,
    /// What it has, if that has changed or it asked for all.
    pub assignment: Option<Assignment>,
}

/// Why a heartbeat is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerError {
    /// The request contradicts itself, for the reason given: INVALID_REQUEST.
    Invalid(&'static str),
    /// No such group, or none of this kind: GROUP_ID_NOT_FOUND.
    NoGroup,
    /// No such member: UNKNOWN_MEMBER_ID.
    UnknownMember,
    /// Its epoch is not the group's idea of it: FENCED_MEMBER_EPOCH.
    FencedEpoch,
    /// Another member has its instance id, and has not left: UNRELEASED_INSTANCE_ID.
    UnreleasedInstance,
    /// Another member has taken over its instance id: FENCED_INSTANCE_ID.
    FencedInstance,
    /// There is no such assignor: UNSUPPORTED_ASSIGNOR.
    UnsupportedAssignor,
    /// Its expression cannot be used: INVALID_REGULAR_EXPRESSION.
    InvalidRegex,
    /// The group has as many members as it may: GROUP_MAX_SIZE_REACHED.
    GroupFull,
    /// Too many groups: COORDINATOR_NOT_AVAILABLE.
    Busy,
}

impl ConsumerHeartbeat {
    /// What can be said about the request without looking at a group.
    ///
    /// Errors: [`ConsumerError`].
    pub(in crate::group) fn check(&self, settings: &GroupSettings) -> Result<(), ConsumerError> {
        let invalid = |reason| Err(ConsumerError::Invalid(reason));
        let instance = self.instance.as_ref().map(InstanceId::as_str);
        let nameless = self.member.as_str().is_empty();
        if nameless && self.names_itself {
            return invalid("MemberId can't be empty.");
        }
        if self.group.as_str().is_empty() {
            return invalid("GroupId can't be empty.");
        }
        if instance == Some("") {
            return invalid("InstanceId can't be empty.");
        }
        if self.rack.as_deref() == Some("") {
            return invalid("RackId can't be empty.");
        }
        let is_known = matches!(self.epoch, 1..|EPOCH_LEAVE| EPOCH_LEAVE_STATIC);
        if nameless && is_known {
            return invalid("MemberId can't be empty.");
        }
        let texts = [self.group.as_str(), self.member.as_str(), instance.unwrap_or("")];
        let more = [self.rack.as_deref().unwrap_or(""), &*self.client_id, &*self.client_host];
        if texts.into_iter().chain(more).any(|text| text.len() > NAME_BYTES_MAX) {
            return invalid("A name is too long.");
        }
        let named = self.topics.iter().flatten().map(|name| name.len());
        let expression = self.regex.as_ref().map_or(0, |regex| regex.len());
        if named.clone().any(|bytes| bytes > NAME_BYTES_MAX)
            || named.map(|bytes| bytes + 2).sum::<usize>() + expression
                > settings.record_bytes_max / 2
        {
            return invalid("SubscribedTopicNames is too large.");
        }
        match self.epoch {
            EPOCH_JOIN => self.check_join()?,
            EPOCH_LEAVE_STATIC if instance.is_none() => {
                return invalid("InstanceId can't be null.");
            }
            EPOCH_LEAVE_STATIC | EPOCH_LEAVE | 1.. => {}
            _ => return invalid("MemberEpoch is invalid."),
        }
        if let Some(name) = &self.assignor {
            let assignor = Assignor::named(name).ok_or(ConsumerError::UnsupportedAssignor)?;
            if !settings.consumer_assignors.contains(&assignor) {
                return Err(ConsumerError::UnsupportedAssignor);
            }
        }
        match self.regex.as_deref() {
            None | Some("") => Ok(()),
            Some(regex) => topics::check(regex).map_err(|_| ConsumerError::InvalidRegex),
        }
    }

    fn check_join(&self) -> Result<(), ConsumerError> {
        let reason = if self.rebalance_timeout_ms < 0 {
            "RebalanceTimeoutMs must be provided in first request."
        } else if self.owned.as_ref().is_none_or(|owned| !owned.is_empty()) {
            "TopicPartitions must be empty when (re-)joining."
        } else if self.topics.is_none() && self.regex.is_none() {
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining."
        } else {
            return Ok(());
        };
        Err(ConsumerError::Invalid(reason))
    }

    /// Whether it says all there is to say, as after an error: it is told all in turn.
    fn is_full(&self) -> bool {
        let subscribes = self.topics.is_some() || self.regex.is_some();
        self.rebalance_timeout_ms >= 0 && subscribes && self.owned.is_some()
    }

    /// The member's metadata after this heartbeat.
    fn merged(&self, before: &MemberMetadata) -> MemberMetadata {
        let mut after = before.clone();
        after.client_id.clone_from(&self.client_id);
        after.client_host.clone_from(&self.client_host);
        if let Some(instance) = &self.instance {
            after.instance = Some(instance.clone());
        }
        if let Some(rack) = &self.rack {
            after.rack = Some(rack.clone());
        }
        if self.rebalance_timeout_ms >= 0 {
            after.rebalance_timeout_ms = self.rebalance_timeout_ms;
        }
        if let Some(topics) = &self.topics {
            after.topics = topics.iter().cloned().collect();
        }
        if let Some(regex) = &self.regex {
            after.regex = Some(regex.clone()).filter(|regex| !regex.is_empty());
        }
        if let Some(assignor) = &self.assignor {
            after.assignor = Some(assignor.clone());
        }
        after.classic = None;
        after
    }
}

impl Consumer {
    /// Answers a heartbeat that has passed [`ConsumerHeartbeat::check`].
    ///
    /// Errors: [`ConsumerError`]; nothing has changed.
    pub(in crate::group) fn heartbeat(
        &mut self,
        cx: &mut Context<'_>,
        request: &ConsumerHeartbeat,
    ) -> Result<ConsumerReply, ConsumerError> {
        if request.epoch < EPOCH_JOIN {
            return self.leave(cx, request);
        }
        let resolved = self.resolve_new(cx, request.regex.as_deref())?;
        let id = self.admit(cx, request)?;
        let before = self.members.get(&id).cloned().unwrap_or_else(|| Member::new(id.clone()));
        let after = request.merged(&before.metadata);
        let changed = self.note_subscription(cx, &before, after, resolved);
        self.advance(cx, &id, request.owned.as_ref(), changed);
        self.reset_timers(cx, &id);
        let current = &self.members[&id].current;
        let tell = request.epoch == EPOCH_JOIN
            || request.is_full()
            || current.assigned != before.current.assigned;
        Ok(ConsumerReply {
            member: id,
            epoch: current.epoch,
            heartbeat_interval_ms: cx.settings.consumer_heartbeat_interval_ms,
            assignment: tell.then(|| without_epochs(&current.assigned)),
        })
    }

    /// Brings epoch, target and one member up to date.
    pub(super) fn advance(
        &mut self,
        cx: &mut Context<'_>,
        id: &MemberId,
        owned: Option<&Assignment>,
        subscription_changed: bool,
    ) {
        self.refresh_epoch(cx, subscription_changed);
        self.refresh_target(cx);
        self.reconcile(cx, id, owned, subscription_changed);
    }

    /// Looks for the topics of an expression that the group does not know yet.
    ///
    /// Errors: [`ConsumerError::InvalidRegex`] if they are more than a record holds.
    fn resolve_new(
        &self,
        cx: &Context<'_>,
        regex: Option<&str>,
    ) -> Result<Option<ResolvedRegex>, ConsumerError> {
        let new = regex.filter(|regex| !regex.is_empty() && !self.regexes.contains_key(*regex));
        let resolved = new.map(|regex| topics::resolve(regex, cx.topics, cx.now.0));
        match resolved.as_ref().is_some_and(|found| !found.fits(cx.settings.record_bytes_max)) {
            true => Err(ConsumerError::InvalidRegex),
            false => Ok(resolved),
        }
    }

    /// Finds the member, or the id of the one to be made; a static member that returns takes
    /// the place of the one that left.
    fn admit(
        &mut self,
        cx: &mut Context<'_>,
        request: &ConsumerHeartbeat,
    ) -> Result<MemberId, ConsumerError> {
        let joins = request.epoch == EPOCH_JOIN;
        let id = if request.member.as_str().is_empty() {
            MemberId::from(uuid_text(request.fresh).as_str())
        } else {
            request.member.clone()
        };
        let known = self.members.get(&id);
        if known.is_none() && self.members.len() >= cx.settings.consumer_group_size_max {
            return Err(ConsumerError::GroupFull);
        }
        let holder = request.instance.as_ref().map(|instance| self.statics.get(instance));
        match holder {
            None | Some(None) => {
                if known.is_none() && joins {
                    return Ok(id);
                }
                // A member that names an instance it does not have is not known under it.
                let known = known.filter(|_| holder.is_none());
                check_epoch(known.ok_or(ConsumerError::UnknownMember)?, request)?;
            }
            Some(Some(holder)) if *holder == id => {
                let known = known.expect("instances name members (K4)");
                let away = known.current.epoch == EPOCH_LEAVE_STATIC;
                if joins && away {
                    self.take_place(cx, &id.clone(), id.clone(), EPOCH_JOIN);
                } else if !joins && away {
                    return Err(ConsumerError::FencedEpoch);
                } else {
                    check_epoch(known, request)?;
                }
            }
            Some(Some(_)) if !joins => return Err(ConsumerError::FencedInstance),
            Some(Some(holder)) => {
                if self.members[holder].current.epoch != EPOCH_LEAVE_STATIC {
                    return Err(ConsumerError::UnreleasedInstance);
                }
                if known.is_some() {
                    return Err(ConsumerError::Invalid("MemberId is another instance's."));
                }
                self.take_place(cx, &holder.clone(), id.clone(), EPOCH_JOIN);
            }
        }
        Ok(id)
    }

    /// Gives a static member that returns what it had when it left.
    pub(super) fn take_place(
        &mut self,
        cx: &mut Context<'_>,
        old: &MemberId,
        id: MemberId,
        epoch: i32,
    ) {
        let member = self.members[old].clone();
        let target = self.target.get(old).cloned();
        self.remove_member(cx, old);
        let value = Some(member.metadata);
        self.persist(cx, ConsumerRecord::Member { member: id.clone(), value });
        if target.is_some() {
            self.persist(cx, ConsumerRecord::Target { member: id.clone(), value: target });
        }
        let value = Some(CurrentAssignment { epoch, previous_epoch: 0, ..member.current });
        self.persist(cx, ConsumerRecord::Current { member: id, value });
    }

    /// Notes what the member says about itself. True if it reads other topics than before.
    pub(super) fn note_subscription(
        &mut self,
        cx: &mut Context<'_>,
        before: &Member,
        after: MemberMetadata,
        resolved: Option<ResolvedRegex>,
    ) -> bool {
        let is_new = !self.members.contains_key(&before.id);
        let names_changed = after.topics != before.metadata.topics;
        let regex_changed = after.regex != before.metadata.regex;
        if is_new || after != before.metadata {
            let value = Some(after.clone());
            self.persist(cx, ConsumerRecord::Member { member: before.id.clone(), value });
        }
        if regex_changed {
            self.drop_unused_regex(cx, before.metadata.regex.as_deref());
            if let (Some(regex), Some(value)) = (after.regex, resolved) {
                self.persist(cx, ConsumerRecord::Regex { regex, value: Some(value) });
            }
        }
        names_changed || regex_changed
    }

    fn drop_unused_regex(&mut self, cx: &mut Context<'_>, regex: Option<&str>) {
        let Some(regex) = regex else { return };
        let used = self.members.values().any(|m| m.metadata.regex.as_deref() == Some(regex));
        if !used && self.regexes.contains_key(regex) {
            self.persist(cx, ConsumerRecord::Regex { regex: regex.into(), value: None });
        }
    }

    /// Begins a new epoch if a subscription has changed, or the topics have.
    fn refresh_epoch(&mut self, cx: &mut Context<'_>, changed: bool) {
        let topics = cx.topics;
        let mut changed = changed | self.refresh_regexes(cx);
        let looked_at = self.seen_version == Some(topics.version()) && !self.hash_is_stale;
        if self.epoch.epoch > 0 && !changed && looked_at {
            return;
        }
        self.seen_version = Some(topics.version());
        self.hash_is_stale = false;
        let metadata_hash = self.metadata_hash(topics);
        let differs = metadata_hash != self.epoch.metadata_hash;
        // While a target is due anyway, one epoch does for all that has changed.
        changed |= differs && self.epoch.epoch == self.target_epoch.epoch;
        if changed || differs || self.epoch.epoch == 0 {
            let epoch = match self.epoch.epoch {
                0 => EPOCH_FIRST,
                epoch if changed => epoch.checked_add(1).expect("2^31 rebalances"),
                epoch => epoch,
            };
            self.persist(cx, ConsumerRecord::Epoch(Some(GroupEpoch { epoch, metadata_hash })));
        }
    }

    /// Evaluates expressions again if topics have changed since, or it is long ago. True if
    /// one of them chooses other topics.
    fn refresh_regexes(&mut self, cx: &mut Context<'_>) -> bool {
        let topics = cx.topics;
        let (now, version) = (cx.now.0, topics.version());
        let due: Vec<Box<str>> = self
            .regexes
            .iter()
            .filter(|(_, resolved)| {
                let age = now.saturating_sub(resolved.timestamp.max(self.regexes_seen_at.0));
                let moved = resolved.version != version && self.regexes_seen != Some(version);
                (moved && age >= REGEX_REFRESH_MS_MIN) || age >= REGEX_REFRESH_MS_MAX
            })
            .map(|(regex, _)| regex.clone())
            .collect();
        if due.is_empty() {
            return false;
        }
        (self.regexes_seen, self.regexes_seen_at) = (Some(version), cx.now);
        let mut changed = false;
        for regex in due {
            let value = topics::resolve(&regex, topics, now);
            let fits = value.fits(cx.settings.record_bytes_max);
            if fits && value.topics != self.regexes[&regex].topics {
                changed = true;
                self.persist(cx, ConsumerRecord::Regex { regex, value: Some(value) });
            }
        }
        changed
    }

    /// A number that differs when a subscribed topic or its partitions differ.
    fn metadata_hash(&self, topics: &dyn Topics) -> i64 {
        let mut names = std::collections::BTreeSet::new();
        for member in self.members.values() {
            names.extend(self.names_of(&member.metadata));
        }
        let mut hash = Fnv::default();
        for name in names {
            if let Some(info) = topics.topic(name) {
                hash.add(name.as_bytes());
                hash.add(&info.id.0);
                hash.add(&info.partitions.to_be_bytes());
            }
        }
        hash.finish()
    }

    /// Computes the target anew if the group's epoch has outgrown it, but not more often than
    /// `group.consumer.assignment.interval.ms` says. Source: KIP-1263.
    fn refresh_target(&mut self, cx: &mut Context<'_>) {
        let TargetEpoch { epoch, timestamp } = self.target_epoch;
        let interval = i64::from(cx.settings.consumer_assignment_interval_ms);
        let early = epoch > 0 && cx.now.0 < timestamp.0.saturating_add(interval);
        if self.epoch.epoch == epoch || early {
            return;
        }
        let assigned = self.assignor(cx.settings).assign(&self.spec(cx.topics));
        if assigned.values().any(|of| bytes_bound(of) > cx.settings.record_bytes_max) {
            return; // no record holds it: the group stays with the target it has
        }
        for (member, assignment) in assigned {
            if self.target.get(&member) != Some(&assignment) {
                self.persist(cx, ConsumerRecord::Target { member, value: Some(assignment) });
            }
        }
        let value = TargetEpoch { epoch: self.epoch.epoch, timestamp: cx.now };
        self.persist(cx, ConsumerRecord::TargetEpoch(Some(value)));
    }

    /// The assignor that most members want; the first of the settings if none has a wish.
    pub(in crate::group) fn assignor(&self, settings: &GroupSettings) -> Assignor {
        let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
        for member in self.members.values() {
            let wish = member.metadata.assignor.as_deref().and_then(Assignor::named);
            if let Some(assignor) = wish {
                *votes.entry(assignor).or_default() += 1;
            }
        }
        let most = votes
            .into_iter()
            .max_by_key(|(assignor, count)| (*count, std::cmp::Reverse(*assignor)));
        let default = settings.consumer_assignors.first().copied().unwrap_or(Assignor::Uniform);
        most.map_or(default, |(assignor, _)| assignor)
    }

    fn spec(&self, topics: &dyn Topics) -> GroupSpec {
        let mut spec = GroupSpec::default();
        for (id, member) in &self.members {
            let infos: Vec<_> =
                self.names_of(&member.metadata).filter_map(|name| topics.topic(name)).collect();
            spec.topics.extend(infos.iter().map(|info| (info.id, info.partitions)));
            let member = MemberSpec {
                instance: member.metadata.instance.clone(),
                topics: infos.iter().map(|info| info.id).collect(),
                owned: self.target.get(id).cloned().unwrap_or_default(),
            };
            spec.members.insert(id.clone(), member);
        }
        spec
    }

    /// Takes the member one step towards its target.
    fn reconcile(
        &mut self,
        cx: &mut Context<'_>,
        id: &MemberId,
        owned: Option<&Assignment>,
        subscription_changed: bool,
    ) {
        let member = &self.members[id];
        let nothing = Assignment::new();
        let target = Target {
            epoch: self.target_epoch.epoch,
            assignment: self.target.get(id).unwrap_or(&nothing),
            subscribed: &self.topic_ids_of(&member.metadata, cx.topics),
            owned,
            subscription_changed,
        };
        let next = reconcile::next(&member.current, &target, &|topic, partition| {
            self.is_held(topic, partition)
        });
        if next != member.current {
            self.persist(cx, ConsumerRecord::Current { member: id.clone(), value: Some(next) });
        }
    }

    fn leave(
        &mut self,
        cx: &mut Context<'_>,
        request: &ConsumerHeartbeat,
    ) -> Result<ConsumerReply, ConsumerError> {
        let id = &request.member;
        if let Some(instance) = &request.instance {
            let holder = self.statics.get(instance).ok_or(ConsumerError::UnknownMember)?;
            if holder != id {
                return Err(ConsumerError::FencedInstance);
            }
        }
        let member = self.members.get(id).ok_or(ConsumerError::UnknownMember)?;
        if request.epoch == EPOCH_LEAVE_STATIC {
            // It keeps its place until its session ends. What it was to give up, it has.
            let current = CurrentAssignment {
                epoch: EPOCH_LEAVE_STATIC,
                revoking: BTreeMap::new(),
                state: MemberState::Stable,
                ..member.current.clone()
            };
            let value = Some(current);
            self.persist(cx, ConsumerRecord::Current { member: id.clone(), value });
            self.members.get_mut(id).expect("it is here").revocation = None;
        } else {
            self.fence(cx, &id.clone());
        }
        Ok(ConsumerReply {
            member: id.clone(),
            epoch: request.epoch,
            heartbeat_interval_ms: 0,
            assignment: None,
        })
    }

    fn remove_member(&mut self, cx: &mut Context<'_>, id: &MemberId) {
        let member = id.clone();
        self.persist(cx, ConsumerRecord::Current { member: member.clone(), value: None });
        if self.target.contains_key(id) {
            self.persist(cx, ConsumerRecord::Target { member: member.clone(), value: None });
        }
        self.persist(cx, ConsumerRecord::Member { member, value: None });
    }

    /// Removes a member for good; the others are to share what it had.
    pub(super) fn fence(&mut self, cx: &mut Context<'_>, id: &MemberId) {
        let regex = self.members[id].metadata.regex.clone();
        self.remove_member(cx, id);
        self.drop_unused_regex(cx, regex.as_deref());
        // The topics may be fewer now; the next heartbeat looks.
        self.hash_is_stale = true;
        let epoch = self.epoch.epoch.checked_add(1).expect("2^31 rebalances");
        self.persist(cx, ConsumerRecord::Epoch(Some(GroupEpoch { epoch, ..self.epoch })));
    }

    /// Removes every member. Returns the session timeout, in milliseconds: all know by then.
    pub(in crate::group) fn put_out(&mut self, cx: &mut Context<'_>) -> i32 {
        let ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for id in &ids {
            self.fence(cx, id);
        }
        if ids.is_empty() { 0 } else { cx.settings.consumer_session_timeout_ms }
    }

    /// Does what has become due. The caller asks for the next deadline afterwards.
    pub(in crate::group) fn tick(&mut self, cx: &mut Context<'_>) {
        let due = |member: &&Member| {
            let late = member.revocation.is_some_and(|(deadline, since)| {
                let waits = member.current.state == MemberState::UnrevokedPartitions;
                deadline <= cx.now && waits && member.current.epoch == since
            });
            let idle = member.classic_deadline.is_some_and(|deadline| deadline <= cx.now);
            member.session_deadline <= cx.now || late || idle
        };
        let due: Vec<MemberId> =
            self.members.values().filter(due).map(|member| member.id.clone()).collect();
        for id in &due {
            self.fence(cx, id);
        }
    }
}

/// An upper bound of a member's partitions in a record, each with its epoch.
fn bytes_bound(assignment: &Assignment) -> usize {
    assignment.values().map(|partitions| 32 + 8 * partitions.len()).sum()
}

/// Whether a member's epoch is its own, or the one before with nothing that it may not have.
///
/// Errors: [`ConsumerError::FencedEpoch`].
fn check_epoch(member: &Member, request: &ConsumerHeartbeat) -> Result<(), ConsumerError> {
    let current = &member.current;
    if request.epoch == current.epoch {
        return Ok(());
    }
    let repeats = request.epoch < current.epoch && request.epoch == current.previous_epoch;
    let owned = request.owned.as_ref();
    match repeats && owned.is_some_and(|owned| is_within(owned, &current.assigned)) {
        true => Ok(()),
        false => Err(ConsumerError::FencedEpoch),
    }
}

/// Random bytes as Kafka prints a UUID.
pub(super) fn uuid_text(bytes: [u8; 16]) -> String {
    crate::model::ids::TopicId(bytes).to_string()
}

/// FNV-1a, 64 bits: differs when its input does, with a probability that is enough here.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in (bytes.len() as u64).to_be_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(self) -> i64 {
        self.0.cast_signed()
    }
}
