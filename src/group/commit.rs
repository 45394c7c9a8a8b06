//! Committing, fetching, deleting and expiring offsets; those of transactions too.
//!
//! In:   `OffsetCommit`, `TxnOffsetCommit`, `OffsetFetch`, `OffsetDelete`; time.
//! Out:  records, and one result a partition.
//! Home: pure; part of the group coordinator.
//!
//! Not here: whether topics and partitions exist, which only the broker's metadata knows.
//! Source: `protocol.md` P86-P88, P106; KIP-98, KIP-211 (retention), KIP-320, KIP-447.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use crate::group::classic::group::Classic;
use crate::group::classic::state::State;
use crate::group::classic::sync::MemberError;
use crate::group::consumer::group::Consumer;
use crate::group::coordinator::{Group, GroupCoordinator, Kind};
use crate::group::ids::{GroupId, InstanceId, MemberId, NAME_BYTES_MAX};
use crate::group::offsets::CommittedOffset;
use crate::group::record::{OffsetKey, Record};
use crate::group::settings::{
    GROUPS_PER_PARTITION_MAX, GROUPS_PER_SWEEP_TICK, PENDING_OFFSETS_PER_PARTITION_MAX,
};
use crate::group::step::Step;
use crate::model::ids::{PartitionIndex, TopicId};
use crate::model::offset::{LeaderEpoch, Offset};
use crate::model::time::Timestamp;

/// Positions that a member, or somebody without membership, commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitRequest {
    /// The group.
    pub group: GroupId,
    /// Who commits; empty without membership.
    pub member: MemberId,
    /// Its instance id, if it is static.
    pub instance: Option<InstanceId>,
    /// Its generation, -1 without membership.
    pub generation: i32,
    /// How long to keep them, in milliseconds, if the request says so (versions 2 to 4).
    pub retention_ms: Option<i64>,
    /// The positions.
    pub topics: Vec<CommitTopic>,
}

/// Positions in one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitTopic {
    /// The topic's name.
    pub name: Arc<str>,
    /// Its id, or zero if it is not known.
    pub id: TopicId,
    /// The positions.
    pub partitions: Vec<CommitPartition>,
}

/// A position in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitPartition {
    /// The partition.
    pub partition: PartitionIndex,
    /// The next offset to read.
    pub offset: Offset,
    /// Epoch of the record before it, or none.
    pub leader_epoch: LeaderEpoch,
    /// The client's own words, if any.
    pub metadata: Option<Box<str>>,
}

/// The position's metadata is longer than `offset.metadata.max.bytes`: OFFSET_METADATA_TOO_LARGE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataTooLarge;

/// One result for each partition, shaped as the request's topics are.
pub type CommitResults = Vec<Vec<Result<(), MetadataTooLarge>>>;

/// Why nothing of a commit is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitError {
    /// The group's id is too long: INVALID_GROUP_ID.
    InvalidGroupId,
    /// A member of a group that is not there: GROUP_ID_NOT_FOUND from version 9 on, before and
    /// in transactions ILLEGAL_GENERATION.
    NoGroup,
    /// The group does not know the member, or has members while the commit has none:
    /// UNKNOWN_MEMBER_ID.
    UnknownMember,
    /// Another process has taken over the instance id: FENCED_INSTANCE_ID.
    FencedInstance,
    /// It speaks of another generation: ILLEGAL_GENERATION.
    IllegalGeneration,
    /// The generation has not been assigned yet: REBALANCE_IN_PROGRESS.
    RebalanceInProgress,
    /// A member of a KIP-848 group speaks of another epoch, or of partitions that are not its
    /// own: STALE_MEMBER_EPOCH from version 9 on, before UNSUPPORTED_VERSION, in transactions
    /// ILLEGAL_GENERATION.
    StaleMemberEpoch,
    /// The member holds partitions from before the group was moved, and will hear of it by a
    /// heartbeat: COORDINATOR_LOAD_IN_PROGRESS, upon which clients try again and do not rejoin.
    Clings,
    /// Too many groups, or offsets of open transactions: COORDINATOR_NOT_AVAILABLE.
    Busy,
}

impl From<MemberError> for CommitError {
    fn from(error: MemberError) -> CommitError {
        match error {
            MemberError::UnknownMember => CommitError::UnknownMember,
            MemberError::FencedInstance => CommitError::FencedInstance,
        }
    }
}

/// Positions of a transaction: records that are *not* applied yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionalCommit {
    /// To append as one producer's transactional batch; each to be handed to
    /// [`GroupCoordinator::replay`] with the producer once it has its place in the log.
    pub records: Vec<Record>,
    /// One result for each partition.
    pub results: CommitResults,
}

/// Positions that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchTopic {
    /// The topic's name.
    pub name: Arc<str>,
    /// Its id; a position of another topic of that name does not count. Zero: any.
    pub id: TopicId,
    /// The partitions.
    pub partitions: Vec<PartitionIndex>,
}

/// An open transaction is about to change the position: UNSTABLE_OFFSET_COMMIT, to be retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnstableOffset;

/// A partition, and the position in it if there is one.
pub type FetchedPosition = (PartitionIndex, Result<Option<CommittedOffset>, UnstableOffset>);

/// Positions in one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedTopic {
    /// The topic's name.
    pub name: Arc<str>,
    /// Each partition asked for, or that has a position.
    pub partitions: Vec<FetchedPosition>,
}

/// Why no position of a group may be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteOffsetsError {
    /// There is no such group: GROUP_ID_NOT_FOUND.
    NoGroup,
    /// It has members, and the broker cannot tell what they read: NON_EMPTY_GROUP.
    NonEmpty,
}

/// A member reads the topic: GROUP_SUBSCRIBED_TO_TOPIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscribedToTopic;

/// A topic that is no longer there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedTopic {
    /// Its name, which a new topic may have by now.
    pub name: Arc<str>,
    /// Its id.
    pub id: TopicId,
}

/// Who commits, and for what.
struct Committer<'a> {
    member: &'a MemberId,
    instance: Option<&'a InstanceId>,
    generation: i32,
    transactional: bool,
}

impl GroupCoordinator {
    /// Answers `OffsetCommit`.
    ///
    /// Errors: [`CommitError`]; nothing is committed.
    pub fn commit_offsets(
        &mut self,
        now: Timestamp,
        request: &CommitRequest,
        step: &mut Step,
    ) -> Result<CommitResults, CommitError> {
        let now = self.advance(now);
        self.validate_commit(now, request, false)?;
        self.with_classic(now, &request.group, step, |classic, cx| {
            classic.reset_session(cx, &request.member);
        });
        let (records, results) = self.commit_records(now, request);
        for record in records {
            self.persist(step, record);
        }
        Ok(results)
    }

    /// Answers `TxnOffsetCommit`: the records to append, once the driver knows that the
    /// producer's transaction is open. The state changes by replay, since the log may refuse
    /// the producer.
    ///
    /// Errors: [`CommitError`]; nothing is committed.
    pub fn commit_transactional(
        &mut self,
        now: Timestamp,
        request: &CommitRequest,
    ) -> Result<TransactionalCommit, CommitError> {
        let now = self.advance(now);
        self.validate_commit(now, request, true)?;
        let count: usize = request.topics.iter().map(|topic| topic.partitions.len()).sum();
        if self.pending.count() + count > PENDING_OFFSETS_PER_PARTITION_MAX {
            return Err(CommitError::Busy);
        }
        let (records, results) = self.commit_records(now, request);
        Ok(TransactionalCommit { records, results })
    }

    fn validate_commit(
        &self,
        now: Timestamp,
        request: &CommitRequest,
        transactional: bool,
    ) -> Result<(), CommitError> {
        if request.group.as_str().len() > NAME_BYTES_MAX {
            return Err(CommitError::InvalidGroupId);
        }
        let committer = Committer {
            member: &request.member,
            instance: request.instance.as_ref(),
            generation: request.generation,
            transactional,
        };
        let known = self.groups.get(&request.group);
        if request.generation < 0 && known.is_some_and(|group| now < group.moved_until) {
            // Somebody who was put out by a move and has lost its membership, but not yet its
            // positions: it may not take the move back. Others wait until all know of it.
            return Err(CommitError::UnknownMember);
        }
        match known {
            Some(Group { kind: Kind::Classic(classic), .. }) => classic.may_commit(&committer),
            Some(Group { kind: Kind::Consumer(consumer), .. }) => {
                consumer.may_commit(&committer, &request.topics)
            }
            Some(Group { kind: Kind::Simple, .. }) if request.generation < 0 => Ok(()),
            Some(Group { kind: Kind::Simple, .. }) => Err(CommitError::UnknownMember),
            None if request.generation >= 0 => Err(CommitError::NoGroup),
            None if self.groups.len() >= GROUPS_PER_PARTITION_MAX => Err(CommitError::Busy),
            None => Ok(()),
        }
    }

    pub(super) fn commit_records(
        &self,
        now: Timestamp,
        request: &CommitRequest,
    ) -> (Vec<Record>, CommitResults) {
        let expire = request.retention_ms.map(|ms| Timestamp(now.0.saturating_add(ms)));
        // Records that expire at a time of their own have neither; nor have such requests.
        let known = expire.is_none();
        let mut records = Vec::new();
        let mut results = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let mut of_topic = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let metadata = partition.metadata.clone().unwrap_or_default();
                if utf16_length(&metadata) > self.settings.offset_metadata_bytes_max {
                    of_topic.push(Err(MetadataTooLarge));
                    continue;
                }
                of_topic.push(Ok(()));
                let value = CommittedOffset {
                    offset: partition.offset,
                    leader_epoch: if known { partition.leader_epoch } else { LeaderEpoch::NONE },
                    metadata,
                    commit_timestamp: now,
                    expire_timestamp: expire.unwrap_or(Timestamp::NONE),
                    topic_id: if known { topic.id } else { TopicId::ZERO },
                };
                let key = OffsetKey {
                    group: request.group.clone(),
                    topic: topic.name.clone(),
                    partition: partition.partition,
                };
                records.push(Record::OffsetCommit { key, value: Some(value) });
            }
            results.push(of_topic);
        }
        (records, results)
    }

    /// Answers `OffsetFetch` for the partitions of `topics`, or for all that have a position.
    ///
    /// With `require_stable`, a partition with an open transaction is told as such. A group
    /// that is not there has no positions.
    pub fn fetch_offsets(
        &self,
        group: &GroupId,
        topics: Option<&[FetchTopic]>,
        require_stable: bool,
    ) -> Vec<FetchedTopic> {
        let known = self.groups.get(group);
        let position = |topic: &str, id: TopicId, partition: PartitionIndex| {
            if require_stable && self.pending.contains(group, topic, partition) {
                return (partition, Err(UnstableOffset));
            }
            let found = known.and_then(|known| known.offsets.get(topic, partition));
            let same =
                |at: &&CommittedOffset| id.is_zero() || at.topic_id.is_zero() || at.topic_id == id;
            (partition, Ok(found.filter(same).cloned()))
        };
        let of = |topic: &FetchTopic| FetchedTopic {
            name: topic.name.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|partition| position(&topic.name, topic.id, *partition))
                .collect(),
        };
        match (topics, known) {
            (Some(topics), _) => topics.iter().map(of).collect(),
            (None, None) => Vec::new(),
            (None, Some(known)) => {
                let all = known.offsets.iter().map(|(name, positions)| FetchedTopic {
                    name: name.clone(),
                    partitions: positions
                        .map(|(partition, _)| position(name, TopicId::ZERO, partition))
                        .collect(),
                });
                all.collect()
            }
        }
    }

    /// Answers `OffsetDelete`; one result for each partition, shaped as `topics` are.
    ///
    /// Errors: [`DeleteOffsetsError`]; nothing is deleted.
    pub fn delete_offsets(
        &mut self,
        group: &GroupId,
        topics: &[(Arc<str>, Vec<PartitionIndex>)],
        step: &mut Step,
    ) -> Result<Vec<Vec<Result<(), SubscribedToTopic>>>, DeleteOffsetsError> {
        let known = self.groups.get(group).ok_or(DeleteOffsetsError::NoGroup)?;
        if !known.is_empty() && !known.is_of_consumers() {
            return Err(DeleteOffsetsError::NonEmpty);
        }
        let mut results = Vec::with_capacity(topics.len());
        let mut doomed = BTreeSet::new();
        for (topic, partitions) in topics {
            let subscribed = known.is_subscribed_to(topic);
            let one = |_: &PartitionIndex| if subscribed { Err(SubscribedToTopic) } else { Ok(()) };
            results.push(partitions.iter().map(one).collect());
            for partition in partitions.iter().filter(|_| !subscribed) {
                if known.offsets.get(topic, *partition).is_some()
                    || self.pending.contains(group, topic, *partition)
                {
                    doomed.insert((topic.clone(), *partition));
                }
            }
        }
        self.bury(group, doomed, step);
        Ok(results)
    }

    /// Forgets every position in topics that are no longer there. A position that was committed
    /// in a new topic of that name stays.
    pub fn on_topics_deleted(&mut self, topics: &[DeletedTopic], step: &mut Step) {
        let mut gone: BTreeMap<&GroupId, BTreeSet<(Arc<str>, PartitionIndex)>> = BTreeMap::new();
        let own = self.groups.iter().map(|(id, group)| (id, &group.offsets));
        let pending = self.pending.groups();
        let pending = pending.flat_map(|id| self.pending.of_group(id).map(move |of| (id, of)));
        for (id, offsets) in own.chain(pending) {
            for topic in topics {
                let of_topic = |(_, at): &(PartitionIndex, &CommittedOffset)| {
                    at.topic_id.is_zero() || at.topic_id == topic.id
                };
                for (partition, _) in offsets.of_topic(&topic.name).filter(of_topic) {
                    gone.entry(id).or_default().insert((topic.name.clone(), partition));
                }
            }
        }
        let gone: Vec<_> = gone.into_iter().map(|(id, found)| (id.clone(), found)).collect();
        for (id, positions) in gone {
            self.bury(&id, positions, step);
        }
    }

    /// Every partition in which a group has a position, or may have one when a transaction ends.
    pub(super) fn positions_of(&self, group: &GroupId) -> BTreeSet<(Arc<str>, PartitionIndex)> {
        let own = self.groups.get(group).map(|known| &known.offsets);
        let mut found = BTreeSet::new();
        for offsets in own.into_iter().chain(self.pending.of_group(group)) {
            for (topic, positions) in offsets.iter() {
                found.extend(positions.map(|(partition, _)| (topic.clone(), partition)));
            }
        }
        found
    }

    /// Writes tombstones for positions.
    pub(super) fn bury(
        &mut self,
        group: &GroupId,
        positions: BTreeSet<(Arc<str>, PartitionIndex)>,
        step: &mut Step,
    ) {
        for (topic, partition) in positions {
            let key = OffsetKey { group: group.clone(), topic, partition };
            self.persist(step, Record::OffsetCommit { key, value: None });
        }
    }

    /// Looks at some groups for positions that have expired, and ends groups that have nothing
    /// left. Source: `protocol.md` P88.
    pub(super) fn sweep(&mut self, now: Timestamp, step: &mut Step) {
        let from = self.sweep_from.take().map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.groups.range::<GroupId, _>((from, Bound::Unbounded));
        let ids: Vec<GroupId> =
            next.take(GROUPS_PER_SWEEP_TICK).map(|(id, _)| id.clone()).collect();
        for id in &ids {
            self.expire_offsets(now, id, step);
        }
        if ids.len() == GROUPS_PER_SWEEP_TICK {
            self.sweep_from = ids.last().cloned();
            self.sweep_at = now; // the rest follows in further ticks
        } else {
            let interval = self.settings.offsets_retention_check_ms.max(1);
            self.sweep_at = Timestamp(now.0.saturating_add(interval));
        }
    }

    fn expire_offsets(&mut self, now: Timestamp, id: &GroupId, step: &mut Step) {
        let group = &self.groups[id];
        let mut expired = BTreeSet::new();
        for (topic, positions) in group.offsets.iter() {
            for (partition, at) in positions {
                let since = group.retained_since(topic, at);
                let kept = since.is_none_or(|since| {
                    now < match at.expire_timestamp {
                        Timestamp::NONE => {
                            Timestamp(since.0.saturating_add(self.settings.offsets_retention_ms))
                        }
                        said => said,
                    }
                });
                if !kept && !self.pending.contains(id, topic, partition) {
                    expired.insert((topic.clone(), partition));
                }
            }
        }
        let nothing_left = expired.len() == group.offsets.count();
        self.bury(id, expired, step);
        let group = &self.groups[id];
        let idle = group.is_empty() && !group.has_pending_members();
        if nothing_left && idle && !self.pending.has_group(id) {
            self.end_group(id, step);
        }
    }
}

impl Group {
    /// Since when a position's retention runs; `None` while it does not.
    fn retained_since(&self, topic: &str, at: &CommittedOffset) -> Option<Timestamp> {
        match &self.kind {
            Kind::Simple => Some(at.commit_timestamp),
            Kind::Consumer(consumer) => {
                (!consumer.is_subscribed_to(topic)).then_some(at.commit_timestamp)
            }
            Kind::Classic(classic) => match (classic.protocol_type(), classic.state()) {
                (None, _) => Some(at.commit_timestamp),
                (Some(_), State::Empty) if classic.is_subscribed_to(topic) => None,
                (Some(_), State::Empty) => Some(match classic.state_since() {
                    Timestamp::NONE => at.commit_timestamp, // records of old brokers
                    since => since,
                }),
                (Some(_), State::Stable) => {
                    let unread = classic.knows_subscription() && !classic.is_subscribed_to(topic);
                    unread.then_some(at.commit_timestamp)
                }
                (Some(_), _) => None,
            },
        }
    }
}

impl Classic {
    /// Whether a commit counts.
    ///
    /// Errors: [`CommitError`]. Source: `protocol.md` P86.
    fn may_commit(&self, committer: &Committer<'_>) -> Result<(), CommitError> {
        let Committer { member, instance, generation, transactional } = committer;
        let empty = self.state() == State::Empty;
        if *generation < 0 && empty {
            return Ok(()); // nobody's membership is at stake
        }
        if *generation >= 0 || !member.as_str().is_empty() || instance.is_some() {
            self.validate_member(member, *instance)?;
            if *generation != self.generation() {
                return Err(CommitError::IllegalGeneration);
            }
            if self.clings(member) {
                return Err(CommitError::Clings);
            }
        } else if !transactional {
            // Transactions of old clients carry no membership; other commits without one may
            // not disturb a group that has members.
            return Err(CommitError::UnknownMember);
        }
        if !transactional && self.state() == State::CompletingRebalance {
            return Err(CommitError::RebalanceInProgress);
        }
        Ok(())
    }
}

impl Consumer {
    /// Whether a commit counts. A member may be an epoch or more behind if it has had the
    /// partitions since then.
    ///
    /// Errors: [`CommitError`]. Source: KIP-848, KIP-1251.
    fn may_commit(
        &self,
        committer: &Committer<'_>,
        topics: &[CommitTopic],
    ) -> Result<(), CommitError> {
        let Committer { member, generation, transactional, .. } = committer;
        let nameless = member.as_str().is_empty();
        if *generation < 0 && (self.members().len() == 0 || (*transactional && nameless)) {
            return Ok(());
        }
        let member = self.member(member).ok_or(CommitError::UnknownMember)?;
        let current = member.current();
        if *generation == current.epoch {
            return Ok(());
        }
        if member.metadata().classic.is_some() {
            return Err(CommitError::IllegalGeneration);
        }
        let had = |topic: &CommitTopic| {
            let held = current.assigned.get(&topic.id);
            topic.partitions.iter().all(|commit| {
                let since = held.and_then(|held| held.get(&commit.partition));
                since.is_some_and(|since| since <= generation)
            })
        };
        match *generation < current.epoch && *generation >= 0 && topics.iter().all(had) {
            true => Ok(()),
            false => Err(CommitError::StaleMemberEpoch),
        }
    }
}

/// Why a member of a KIP-848 group is told no positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// The group does not know the member: UNKNOWN_MEMBER_ID.
    UnknownMember,
    /// It speaks of another epoch: STALE_MEMBER_EPOCH.
    StaleMemberEpoch,
}

impl GroupCoordinator {
    /// Checks who asks for positions (`OffsetFetch` version 9 and later), if anybody is named;
    /// to be called before [`GroupCoordinator::fetch_offsets`].
    ///
    /// Errors: [`FetchError`].
    pub fn check_fetch(
        &self,
        group: &GroupId,
        member: Option<&MemberId>,
        epoch: i32,
    ) -> Result<(), FetchError> {
        let Some(consumer) = self.consumer_group(group) else { return Ok(()) };
        let Some(member) = member.filter(|_| epoch >= 0) else { return Ok(()) };
        let known = consumer.member(member).ok_or(FetchError::UnknownMember)?;
        match known.current().epoch == epoch {
            true => Ok(()),
            false => Err(FetchError::StaleMemberEpoch),
        }
    }
}

/// How long Java finds a text.
fn utf16_length(text: &str) -> usize {
    text.encode_utf16().count()
}
