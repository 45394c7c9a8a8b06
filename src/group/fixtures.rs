//! A coordinator with its log and its clients' answers, for tests of the core.
//!
//! What is answered is held against invariant C5: every request once, none twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::group::classic::join::{JoinReply, JoinRequest, Joined};
use crate::group::classic::member::Protocol;
use crate::group::classic::sync::{LeavingMember, MemberError, SyncReply, SyncRequest};
use crate::group::codec;
use crate::group::commit::{CommitPartition, CommitRequest, CommitTopic, FetchTopic};
use crate::group::coordinator::{GroupCoordinator, Kind};
use crate::group::ids::{GroupId, InstanceId, MemberId, RequestId};
use crate::group::record::Record;
use crate::group::settings::GroupSettings;
use crate::group::step::{Effect, Reply, Step};
use crate::group::subscription::subscription;
use crate::model::ids::{PartitionIndex, ProducerId, TopicId};
use crate::model::offset::{LeaderEpoch, Offset};
use crate::model::time::Timestamp;

/// Session timeout of the members, in milliseconds.
pub const SESSION_MS: i32 = 10_000;
/// Rebalance timeout of the members, in milliseconds.
pub const REBALANCE_MS: i32 = 60_000;

/// What was written: records, and ends of transactions.
#[derive(Clone, Debug)]
pub enum Written {
    /// A record, and its producer if it is transactional.
    Record(Record, Option<ProducerId>),
    /// A marker.
    End(ProducerId, bool),
}

/// The coordinator and its surroundings.
#[derive(Debug)]
pub struct Bench {
    /// The core.
    pub core: GroupCoordinator,
    /// What it was configured with.
    pub settings: GroupSettings,
    /// Milliseconds.
    pub now: i64,
    /// All that was ever written.
    pub log: Vec<Written>,
    /// Answers that nobody has looked at yet.
    pub replies: BTreeMap<RequestId, Reply>,
    /// Requests without an answer.
    pub parked: BTreeSet<RequestId>,
    /// Whether what is written becomes durable only by [`Bench::flush`].
    pub hold: bool,
    /// Whether the log may say what no core would write, and counts may be wrong.
    pub lenient: bool,
    /// How much of the log is durable.
    pub durable: usize,
    /// Answers that wait for the log to be durable up to there.
    held: Vec<(usize, RequestId, Reply)>,
    next: u64,
}

/// The group that most tests use.
pub fn group() -> GroupId {
    GroupId::from("g")
}

/// A member that joins the first time, by version 9 of the request.
pub fn newcomer(client: &str) -> JoinRequest {
    JoinRequest {
        group: group(),
        member: MemberId::none(),
        instance: None,
        client_id: client.into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: REBALANCE_MS,
        protocol_type: "consumer".into(),
        protocols: vec![Protocol { name: "range".into(), metadata: subscription(3, &["t"]) }],
        requires_known_member_id: true,
        supports_skip_assignment: true,
        fresh: [0; 16],
    }
}

/// A static member that joins the first time.
pub fn static_newcomer(instance: &str) -> JoinRequest {
    JoinRequest { instance: Some(InstanceId::from(instance)), ..newcomer(instance) }
}

/// The request with other protocols.
pub fn with_protocols(request: JoinRequest, protocols: &[(&str, &[u8])]) -> JoinRequest {
    let protocols = protocols.iter().map(|(name, metadata)| Protocol {
        name: (*name).into(),
        metadata: Bytes::copy_from_slice(metadata),
    });
    JoinRequest { protocols: protocols.collect(), ..request }
}

/// A commit of one position, without membership.
pub fn simple_commit(partition: i32, offset: i64) -> CommitRequest {
    CommitRequest {
        group: group(),
        member: MemberId::none(),
        instance: None,
        generation: -1,
        retention_ms: None,
        topics: vec![CommitTopic {
            name: "t".into(),
            id: TopicId::ZERO,
            partitions: vec![CommitPartition {
                partition: PartitionIndex(partition),
                offset: Offset(offset),
                leader_epoch: LeaderEpoch::NONE,
                metadata: None,
            }],
        }],
    }
}

impl Bench {
    /// A coordinator with an empty log, and no initial delay.
    pub fn new() -> Bench {
        Bench::with(GroupSettings { initial_rebalance_delay_ms: 0, ..GroupSettings::default() })
    }

    /// A coordinator with an empty log.
    pub fn with(settings: GroupSettings) -> Bench {
        let mut bench = Bench {
            core: GroupCoordinator::new(settings.clone()),
            settings,
            now: 1_000_000,
            log: Vec::new(),
            replies: BTreeMap::new(),
            parked: BTreeSet::new(),
            hold: false,
            lenient: false,
            durable: 0,
            held: Vec::new(),
            next: 0,
        };
        bench.run(|core, now, step| core.loaded(now, step));
        bench
    }

    /// Runs one step and takes in what it says.
    pub fn run<R>(
        &mut self,
        run: impl FnOnce(&mut GroupCoordinator, Timestamp, &mut Step) -> R,
    ) -> R {
        let mut step = Step::default();
        let result = run(&mut self.core, Timestamp(self.now), &mut step);
        self.log.extend(step.records.iter().map(|record| Written::Record(written(record), None)));
        for Effect::Reply { request, reply } in step.effects {
            assert!(self.parked.remove(&request), "C5: {request:?} is answered twice");
            self.held.push((self.log.len(), request, reply));
        }
        if !self.hold {
            self.flush();
        }
        for group in self.core.groups.values().filter(|_| !self.lenient) {
            match &group.kind {
                Kind::Simple => {}
                Kind::Classic(classic) => classic.assert_counts(),
                Kind::Consumer(consumer) => consumer.assert_all(),
            }
        }
        result
    }

    /// Makes everything durable, and releases the answers.
    pub fn flush(&mut self) {
        self.durable = self.log.len();
        self.replies.extend(self.held.drain(..).map(|(_, request, reply)| (request, reply)));
    }

    fn fresh_request(&mut self) -> RequestId {
        self.next += 1;
        self.parked.insert(RequestId(self.next));
        RequestId(self.next)
    }

    /// Sends a `JoinGroup`.
    pub fn send_join(&mut self, mut request: JoinRequest) -> RequestId {
        let id = self.fresh_request();
        request.fresh[8..].copy_from_slice(&id.0.to_be_bytes());
        self.run(|core, now, step| core.join(now, &request, id, step));
        id
    }

    /// Sends a `SyncGroup`.
    pub fn send_sync(&mut self, request: SyncRequest) -> RequestId {
        let id = self.fresh_request();
        self.run(|core, now, step| core.sync(now, &request, id, step));
        id
    }

    /// The answer to a `JoinGroup`, if it has come.
    pub fn joined(&mut self, id: RequestId) -> Option<JoinReply> {
        self.replies.remove(&id).map(|reply| match reply {
            Reply::Join(reply) => reply,
            other => panic!("{other:?} answers a JoinGroup"),
        })
    }

    /// The answer to a `SyncGroup`, if it has come.
    pub fn synced(&mut self, id: RequestId) -> Option<SyncReply> {
        self.replies.remove(&id).map(|reply| match reply {
            Reply::Sync(reply) => reply,
            other => panic!("{other:?} answers a SyncGroup"),
        })
    }

    /// Sends a `JoinGroup` that is answered at once.
    pub fn join_now(&mut self, request: JoinRequest) -> JoinReply {
        let id = self.send_join(request);
        self.joined(id).expect("answered at once")
    }

    /// Lets time pass, with a tick at each deadline.
    pub fn pass(&mut self, ms: i64) {
        let end = self.now + ms;
        while let Some(deadline) = self.core.next_deadline().filter(|at| at.0 <= end) {
            self.now = self.now.max(deadline.0);
            self.run(|core, now, step| core.tick(now, step));
        }
        self.now = end;
    }

    /// A dynamic member that has sent both of its first requests; the second is parked.
    pub fn enter(&mut self, request: JoinRequest) -> (MemberId, RequestId) {
        let member = self.join_now(request.clone()).member;
        let id = self.send_join(JoinRequest { member: member.clone(), ..request });
        (member, id)
    }

    /// Members that have all joined one generation; the first is its leader.
    pub fn gather(&mut self, requests: Vec<JoinRequest>) -> Vec<(MemberId, Joined)> {
        let mut ids = Vec::new();
        for request in requests {
            if request.instance.is_some() {
                ids.push(self.send_join(request));
            } else {
                ids.push(self.enter(request).1);
            }
        }
        self.pass(0);
        let mut joined: Vec<(MemberId, Joined)> = ids
            .into_iter()
            .map(|id| {
                let reply = self.joined(id).expect("the rebalance is over");
                (reply.member, reply.result.expect("it has joined"))
            })
            .collect();
        joined.sort_by_key(|(member, joined)| *member != joined.leader);
        joined
    }

    /// A stable group of these; the first is its leader. Each is assigned its own id.
    pub fn stable(&mut self, requests: Vec<JoinRequest>) -> Vec<(MemberId, Joined)> {
        let members = self.gather(requests);
        self.assign(&members);
        members
    }

    /// The leader (the first) assigns to each member its own id; all of them ask for it.
    pub fn assign(&mut self, members: &[(MemberId, Joined)]) {
        let mut ids = Vec::new();
        for (member, joined) in members.iter().rev() {
            let mut request = sync_request(member, joined.generation);
            if *member == joined.leader {
                let all = members.iter().map(|(id, _)| (id.clone(), own_assignment(id)));
                request.assignments = all.collect();
            }
            ids.push((member.clone(), self.send_sync(request)));
        }
        for (member, id) in ids {
            let reply = self.synced(id).expect("the leader has assigned");
            assert_eq!(reply.expect("synced").assignment, own_assignment(&member));
        }
    }

    /// A heartbeat.
    pub fn beat(
        &mut self,
        member: &MemberId,
        generation: i32,
    ) -> Result<(), crate::group::classic::sync::HeartbeatError> {
        self.core.heartbeat(Timestamp(self.now), &group(), member, None, generation)
    }

    /// Members leave.
    pub fn leave(&mut self, leaving: &[(&str, Option<&str>)]) -> Vec<Result<(), MemberError>> {
        let leaving: Vec<LeavingMember> = leaving
            .iter()
            .map(|(member, instance)| LeavingMember {
                member: MemberId::from(*member),
                instance: instance.map(InstanceId::from),
            })
            .collect();
        self.run(|core, now, step| core.leave(now, &group(), &leaving, step))
    }

    /// The group's position in a partition of topic `t`.
    pub fn position(&self, partition: i32) -> Option<i64> {
        let topics = [FetchTopic {
            name: Arc::from("t"),
            id: TopicId::ZERO,
            partitions: vec![PartitionIndex(partition)],
        }];
        let fetched = self.core.fetch_offsets(&group(), Some(&topics), false);
        let position = fetched[0].partitions[0].1.clone().expect("it need not be stable");
        position.map(|position| position.offset.0)
    }

    /// The process dies, and another one loads the log, as far as it was durable; requests
    /// without an answer die with it.
    pub fn crash(&mut self) {
        self.log.truncate(self.durable);
        self.held.clear();
        let topics = self.core.topics.clone();
        self.core = self.reloaded();
        self.core.set_topics(topics);
        self.parked.clear();
        self.replies.clear();
        self.run(|core, now, step| core.loaded(now, step));
    }

    /// What the log alone says.
    pub fn reloaded(&self) -> GroupCoordinator {
        let mut core = GroupCoordinator::new(self.settings.clone());
        for written in &self.log {
            match written {
                Written::Record(record, producer) => core.replay(record, *producer),
                Written::End(producer, committed) => {
                    core.replay_end_transaction(*producer, *committed);
                }
            }
        }
        core
    }

    /// Commits a position in a producer's transaction, as the driver does.
    pub fn commit_in_transaction(
        &mut self,
        producer: ProducerId,
        request: &CommitRequest,
    ) -> Result<(), crate::group::commit::CommitError> {
        let commit = self.core.commit_transactional(Timestamp(self.now), request)?;
        for record in commit.records {
            let record = written(&record);
            self.core.replay(&record, Some(producer));
            self.log.push(Written::Record(record, Some(producer)));
        }
        if !self.hold {
            self.flush();
        }
        Ok(())
    }

    /// Ends a producer's transaction, as the driver does.
    pub fn end_transaction(&mut self, producer: ProducerId, committed: bool) {
        self.core.replay_end_transaction(producer, committed);
        self.log.push(Written::End(producer, committed));
        if !self.hold {
            self.flush();
        }
    }
}

/// The record as the log has it.
fn written(record: &Record) -> Record {
    let encoded = codec::encode(record).expect("it can be written");
    let read = codec::decode(&encoded.key, encoded.value.as_deref()).expect("it can be read");
    assert_eq!(read.as_ref(), Some(record), "what is written is what is read");
    read.expect("just compared")
}

/// A member's own request for its assignment.
pub fn sync_request(member: &MemberId, generation: i32) -> SyncRequest {
    SyncRequest {
        group: group(),
        generation,
        member: member.clone(),
        instance: None,
        protocol_type: None,
        protocol: None,
        assignments: Vec::new(),
    }
}

/// What the leader of a test assigns to a member.
pub fn own_assignment(member: &MemberId) -> Bytes {
    Bytes::copy_from_slice(member.as_str().as_bytes())
}
