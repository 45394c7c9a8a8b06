//! Groups that change their protocol while they have members.
//!
//! In:   a classic group that a KIP-848 member joins; a KIP-848 group whose last such member
//!       has gone.
//! Out:  the same group of the other kind, with everybody in it, by records.
//! Home: pure; part of the group coordinator.
//!
//! Upwards, the members keep what the leader assigned to them, as members of the classic
//! protocol in a KIP-848 group, and are asked to join again since the newcomer makes a new
//! epoch. Downwards, they keep what they have, and the classic group rebalances.
//!
//! Source: KIP-848, "Online migration"; `group.consumer.migration.policy`; `protocol.md` P90.

use std::collections::{BTreeMap, BTreeSet};

use crate::group::assignor::Assignment;
use crate::group::classic::group::Classic;
use crate::group::classic::member::Member as ClassicGroupMember;
use crate::group::consumer::classic_member::by_id;
use crate::group::consumer::group::{Consumer, GroupEpoch, TargetEpoch};
use crate::group::consumer::heartbeat::{ConsumerError, ConsumerHeartbeat};
use crate::group::consumer::member::{
    ClassicMember, CurrentAssignment, Held, MemberMetadata, MemberState,
};
use crate::group::consumer::topics::{self, Topics};
use crate::group::coordinator::{Group, GroupCoordinator, Kind};
use crate::group::ids::{GroupId, MemberId};
use crate::group::record::{ConsumerRecord, Record};
use crate::group::step::Step;
use crate::group::subscription;
use crate::model::ids::{PartitionIndex, TopicId};
use crate::model::time::Timestamp;

impl GroupCoordinator {
    /// Turns a classic group with members into a KIP-848 group for one that joins.
    ///
    /// Errors: [`ConsumerError`], nothing has changed: [`ConsumerError::NoGroup`] if it may not
    /// be turned, or its members' bytes cannot be read; others if the newcomer would not be let
    /// in.
    pub(super) fn upgrade(
        &mut self,
        now: Timestamp,
        request: &ConsumerHeartbeat,
        step: &mut Step,
    ) -> Result<(), ConsumerError> {
        let id = &request.group;
        let known = self.groups.get(id).map(|group| &group.kind);
        let Some(Kind::Classic(classic)) = known else { return Err(ConsumerError::NoGroup) };
        let policy = self.settings.consumer_migration_policy;
        if !policy.allows_upgrade() || !classic.is_of_consumers() {
            return Err(ConsumerError::NoGroup);
        }
        self.check_newcomer(now, classic, request)?;
        let records = consumer_records(classic, &*self.topics).ok_or(ConsumerError::NoGroup)?;
        self.with_classic(now, id, step, Classic::give_way);
        self.persist(step, Record::GroupMetadata { group: id.clone(), value: None });
        for record in records {
            self.persist(step, Record::Consumer { group: id.clone(), record });
        }
        self.with_consumer(now, id, step, Consumer::loaded);
        Ok(())
    }

    fn check_newcomer(
        &self,
        now: Timestamp,
        classic: &Classic,
        request: &ConsumerHeartbeat,
    ) -> Result<(), ConsumerError> {
        if classic.members().len() >= self.settings.consumer_group_size_max {
            return Err(ConsumerError::GroupFull);
        }
        let instance = request.instance.as_ref();
        for member in classic.members() {
            if instance.is_some() && member.instance() == instance {
                return Err(ConsumerError::UnreleasedInstance);
            }
            if *member.id() == request.member {
                return Err(ConsumerError::FencedEpoch);
            }
        }
        let regex = request.regex.as_deref().filter(|regex| !regex.is_empty());
        let resolved = regex.map(|regex| topics::resolve(regex, &*self.topics, now.0));
        match resolved.is_none_or(|found| found.fits(self.settings.record_bytes_max)) {
            true => Ok(()),
            false => Err(ConsumerError::InvalidRegex),
        }
    }

    /// Turns a KIP-848 group into a classic one if only members of the classic protocol are
    /// left, and that may be.
    pub(super) fn maybe_downgrade(&mut self, now: Timestamp, id: &GroupId, step: &mut Step) {
        let Some(Group { kind: Kind::Consumer(consumer), .. }) = self.groups.get(id) else {
            return;
        };
        let policy = self.settings.consumer_migration_policy;
        if !policy.allows_downgrade()
            || !consumer.is_all_classic()
            || consumer.members().len() > self.settings.group_size_max
        {
            return;
        }
        let members = classic_members(consumer, &*self.topics);
        let classic = Classic::taken_over(now, consumer.epoch(), members);
        if classic.stable_record().bytes_bound(id) > self.settings.record_bytes_max {
            return; // no record holds it: it stays what it is
        }
        let mut tombstones = Vec::new();
        for member in consumer.members().map(|member| member.id().clone()) {
            tombstones.push(ConsumerRecord::Current { member: member.clone(), value: None });
            tombstones.push(ConsumerRecord::Target { member: member.clone(), value: None });
            tombstones.push(ConsumerRecord::Member { member, value: None });
        }
        for record in tombstones {
            self.persist(step, Record::Consumer { group: id.clone(), record });
        }
        self.end_empty_consumer(id, step);
        // What its members support is more than a record says: the group itself is put in place.
        self.group_or_simple(id).kind = Kind::Classic(Box::new(classic));
        self.with_classic(now, id, step, Classic::begin_taken_over);
    }
}

/// The records of a KIP-848 group with the members of a classic one.
fn consumer_records(classic: &Classic, topics: &dyn Topics) -> Option<Vec<ConsumerRecord>> {
    let epoch = classic.generation();
    let mut taken: BTreeSet<(TopicId, PartitionIndex)> = BTreeSet::new();
    let (mut members, mut targets, mut currents) = (Vec::new(), Vec::new(), Vec::new());
    for member in classic.members() {
        let id = member.id().clone();
        let assigned = subscription::parse_assignment(member.assignment())?;
        if assigned.has_user_data {
            return None; // its assignor knows something that would be lost
        }
        let mut assignment: Assignment = by_id(&assigned.partitions, topics);
        for (topic, partitions) in &mut assignment {
            partitions.retain(|index| taken.insert((*topic, *index)));
        }
        assignment.retain(|_, partitions| !partitions.is_empty());
        let value = Some(metadata_of(member)?);
        members.push(ConsumerRecord::Member { member: id.clone(), value });
        let value = Some(CurrentAssignment {
            epoch,
            previous_epoch: epoch,
            state: MemberState::Stable,
            assigned: held_since(epoch, &assignment),
            revoking: Held::new(),
        });
        currents.push(ConsumerRecord::Current { member: id.clone(), value });
        targets.push(ConsumerRecord::Target { member: id, value: Some(assignment) });
    }
    let group = GroupEpoch { epoch, metadata_hash: 0 };
    // Long ago: the newcomer's target is not to wait for the interval between two.
    let target = TargetEpoch { epoch, timestamp: Timestamp(0) };
    let mut records = members;
    records.push(ConsumerRecord::Epoch(Some(group)));
    records.extend(targets);
    records.push(ConsumerRecord::TargetEpoch(Some(target)));
    records.extend(currents);
    Some(records)
}

/// What a member of a classic group says about itself, in the words of KIP-848.
fn metadata_of(member: &ClassicGroupMember) -> Option<MemberMetadata> {
    let protocols = member.protocols();
    let subscription = subscription::parse(&protocols.first()?.metadata)?;
    Some(MemberMetadata {
        instance: member.instance().cloned(),
        rack: subscription.rack,
        client_id: member.client_id().into(),
        client_host: member.client_host().into(),
        topics: subscription.topics.into_iter().collect(),
        regex: None,
        rebalance_timeout_ms: member.rebalance_timeout_ms(),
        assignor: None,
        classic: Some(ClassicMember {
            session_timeout_ms: member.session_timeout_ms(),
            protocols: protocols.to_vec(),
        }),
    })
}

fn held_since(epoch: i32, assignment: &Assignment) -> Held {
    let since = |partitions: &BTreeSet<PartitionIndex>| {
        partitions.iter().map(|index| (*index, epoch)).collect::<BTreeMap<_, _>>()
    };
    assignment.iter().map(|(topic, partitions)| (*topic, since(partitions))).collect()
}

/// The members of a KIP-848 group in the words of the classic protocol, which all of them speak.
fn classic_members(consumer: &Consumer, topics: &dyn Topics) -> Vec<ClassicGroupMember> {
    let taken_over = consumer.members().map(|member| {
        let metadata = member.metadata();
        let classic = metadata.classic.as_ref().expect("all are of the classic protocol");
        let id: MemberId = member.id().clone();
        ClassicGroupMember::taken_over(id, metadata, classic, member.classic_assignment(topics))
    });
    taken_over.collect()
}
