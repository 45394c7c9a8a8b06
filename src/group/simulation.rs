//! Seeded runs of a group: members join, leave, die and return, commit, and the coordinator
//! crashes, losing what was not durable; held against what the clients were told.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::group::classic::join::{JoinError, JoinRequest};
use crate::group::classic::state::State;
use crate::group::classic::sync::{HeartbeatError, LeavingMember, SyncError, SyncRequest};
use crate::group::commit::{CommitError, CommitRequest};
use crate::group::fixtures::{
    Bench, group, newcomer, simple_commit, static_newcomer, sync_request, with_protocols,
};
use crate::group::ids::{InstanceId, MemberId, RequestId};
use crate::group::settings::GroupSettings;
use crate::model::ids::ProducerId;
use crate::testing::prng::Prng;
use crate::testing::seeds::seeds;

const CLIENTS: usize = 6;
const PARTITIONS: i32 = 3;

/// What a client does next.
#[derive(Clone, Debug, PartialEq)]
enum Doing {
    /// It is not running; its member, if any, falls silent.
    Nothing,
    /// It has to join.
    Joining,
    /// Its `JoinGroup` is on its way.
    AwaitsJoin(RequestId),
    /// It has joined, and is to ask for its assignment; if it leads, it knows the members.
    Syncing { leads: Option<Vec<MemberId>> },
    /// Its `SyncGroup` is on its way.
    AwaitsSync(RequestId),
    /// It consumes.
    Working,
}

#[derive(Clone, Debug)]
struct Client {
    request: JoinRequest,
    member: MemberId,
    generation: i32,
    doing: Doing,
}

#[derive(Default)]
struct Counts {
    assigned: u64,
    rebalances: u64,
    replaced: u64,
    expired: u64,
    crashes: u64,
    lost_records: u64,
    commits: u64,
    transactions: u64,
}

struct World {
    bench: Bench,
    clients: Vec<Client>,
    /// Number of the assigning `SyncGroup` whose bytes a generation's members were given.
    assigned_by: BTreeMap<i32, u64>,
    /// Given to a member in a generation.
    given: BTreeMap<(i32, MemberId), Bytes>,
    assignments: u64,
    next_offset: i64,
    /// Acknowledged positions, and those whose acknowledgement waits for the log.
    acked: BTreeMap<i32, i64>,
    unacked: Vec<(i32, i64)>,
    /// A producer's open transaction, as far as it was acknowledged.
    open: Vec<(i32, i64)>,
    counts: Counts,
}

fn client(number: usize, prng: &mut Prng) -> Client {
    let name = format!("c{number}");
    let request = if number.is_multiple_of(3) { static_newcomer(&name) } else { newcomer(&name) };
    let preferred: &[(&str, &[u8])] = match prng.below(3) {
        0 => &[("range", b"r"), ("sticky", b"s")],
        1 => &[("sticky", b"s"), ("range", b"r")],
        _ => &[("range", b"r")],
    };
    let request = JoinRequest {
        supports_skip_assignment: prng.chance(50),
        requires_known_member_id: prng.chance(80),
        rebalance_timeout_ms: 5_000 + i32::try_from(prng.below(20_000)).unwrap(),
        ..with_protocols(request, preferred)
    };
    Client { request, member: MemberId::none(), generation: -1, doing: Doing::Nothing }
}

impl World {
    fn new(prng: &mut Prng) -> World {
        let mut bench = Bench::with(GroupSettings {
            initial_rebalance_delay_ms: i32::try_from(prng.below(2) * 3_000).unwrap(),
            group_size_max: 4 + prng.index(4),
            ..GroupSettings::default()
        });
        bench.hold = true;
        World {
            bench,
            clients: (0..CLIENTS).map(|number| client(number, prng)).collect(),
            assigned_by: BTreeMap::new(),
            given: BTreeMap::new(),
            assignments: 0,
            next_offset: 0,
            acked: BTreeMap::new(),
            unacked: Vec::new(),
            open: Vec::new(),
            counts: Counts::default(),
        }
    }

    fn step(&mut self, prng: &mut Prng) {
        let at = prng.index(CLIENTS);
        match prng.below(100) {
            0..50 => self.act(at, prng),
            50..70 => self.bench.pass(i64::try_from(prng.below(2_500)).unwrap()),
            70..80 => self.flush(),
            80..84 => self.commit_without_membership(prng),
            84..87 => self.transaction(prng),
            87..89 => self.bench.pass(i64::try_from(prng.below(30_000)).unwrap()),
            89..92 => self.clients[at].doing = Doing::Nothing, // it dies
            92..95 => self.leave(at),
            95..98 => self.restart(at, prng),
            _ => self.crash(),
        }
        self.take_answers();
        self.check_acknowledged();
        if prng.chance(20) {
            self.check_recorded();
        }
    }

    fn flush(&mut self) {
        self.bench.flush();
        for (partition, offset) in self.unacked.drain(..) {
            self.acked.insert(partition, offset);
        }
    }

    fn act(&mut self, at: usize, prng: &mut Prng) {
        let client = self.clients[at].clone();
        match client.doing {
            Doing::Nothing if prng.chance(30) => self.clients[at].doing = Doing::Joining,
            Doing::Joining => {
                let request = JoinRequest { member: client.member, ..client.request };
                self.clients[at].doing = Doing::AwaitsJoin(self.bench.send_join(request));
            }
            Doing::AwaitsJoin(_) if prng.chance(10) => {
                let request = JoinRequest { member: client.member, ..client.request };
                self.clients[at].doing = Doing::AwaitsJoin(self.bench.send_join(request));
            }
            Doing::Syncing { leads } => self.sync(at, leads),
            Doing::Working if prng.chance(50) => self.beat(at),
            Doing::Working => self.commit(at, prng),
            Doing::Nothing | Doing::AwaitsJoin(_) | Doing::AwaitsSync(_) => {}
        }
    }

    fn sync(&mut self, at: usize, leads: Option<Vec<MemberId>>) {
        let client = &self.clients[at];
        let mut request = SyncRequest {
            instance: client.request.instance.clone(),
            ..sync_request(&client.member, client.generation)
        };
        if let Some(members) = leads {
            self.assignments += 1;
            let bytes = |member: &MemberId| Bytes::from(format!("{}:{member}", self.assignments));
            request.assignments =
                members.iter().map(|member| (member.clone(), bytes(member))).collect();
        }
        self.clients[at].doing = Doing::AwaitsSync(self.bench.send_sync(request));
    }

    fn beat(&mut self, at: usize) {
        let client = &self.clients[at];
        match self.bench.beat(&client.member, client.generation) {
            Ok(()) => {}
            Err(HeartbeatError::RebalanceInProgress | HeartbeatError::IllegalGeneration) => {
                self.clients[at].doing = Doing::Joining;
            }
            Err(HeartbeatError::UnknownMember | HeartbeatError::FencedInstance) => {
                self.start_over(at);
            }
            Err(HeartbeatError::InvalidGroupId) => panic!("the group has a name"),
        }
    }

    fn start_over(&mut self, at: usize) {
        self.counts.expired += 1;
        self.clients[at].member = MemberId::none();
        self.clients[at].doing = Doing::Joining;
    }

    fn commit(&mut self, at: usize, prng: &mut Prng) {
        let (partition, offset) = self.position(prng);
        let client = &self.clients[at];
        let request = CommitRequest {
            member: client.member.clone(),
            instance: client.request.instance.clone(),
            generation: client.generation,
            ..simple_commit(partition, offset)
        };
        match self.bench.run(|core, now, step| core.commit_offsets(now, &request, step)) {
            Ok(_) => self.unacked.push((partition, offset)),
            Err(CommitError::RebalanceInProgress | CommitError::IllegalGeneration) => {
                self.clients[at].doing = Doing::Joining;
            }
            Err(CommitError::UnknownMember | CommitError::FencedInstance) => self.start_over(at),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn position(&mut self, prng: &mut Prng) -> (i32, i64) {
        self.next_offset += 1;
        let partition = i32::try_from(prng.below(PARTITIONS.unsigned_abs().into())).unwrap();
        (partition, self.next_offset)
    }

    fn commit_without_membership(&mut self, prng: &mut Prng) {
        let (partition, offset) = self.position(prng);
        let request = simple_commit(partition, offset);
        let done = self.bench.run(|core, now, step| core.commit_offsets(now, &request, step));
        let state = self.bench.core.describe_group(&group()).expect("there").state;
        assert_eq!(done.is_ok(), state == State::Empty);
        if done.is_ok() {
            self.unacked.push((partition, offset));
            self.counts.commits += 1;
        }
    }

    /// One producer adds to its transaction, or ends it. Its records count once durable.
    fn transaction(&mut self, prng: &mut Prng) {
        let producer = ProducerId(1);
        if prng.chance(60) {
            let (partition, offset) = self.position(prng);
            self.bench
                .commit_in_transaction(producer, &simple_commit(partition, offset))
                .expect("old clients' transactions need no membership");
            self.open.push((partition, offset));
            self.flush();
        } else {
            let committed = prng.chance(50);
            self.bench.end_transaction(producer, committed);
            self.flush();
            for (partition, offset) in std::mem::take(&mut self.open) {
                let acked = self.acked.entry(partition).or_insert(offset);
                if committed && *acked < offset {
                    *acked = offset;
                }
                if !committed && *acked == offset {
                    self.acked.remove(&partition);
                }
                self.counts.transactions += 1;
            }
        }
    }

    fn leave(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if client.member.as_str().is_empty() {
            return;
        }
        let leaving = [LeavingMember {
            member: client.member.clone(),
            instance: client.request.instance.clone(),
        }];
        client.member = MemberId::none();
        client.doing = Doing::Nothing;
        self.bench.run(|core, now, step| core.leave(now, &group(), &leaving, step));
    }

    /// The process is started anew: it knows its instance id, and nothing else.
    fn restart(&mut self, at: usize, prng: &mut Prng) {
        let number = at;
        let instance = self.clients[at].request.instance.clone();
        self.clients[at] = client(number, prng);
        assert_eq!(self.clients[at].request.instance, instance);
        self.clients[at].doing = Doing::Joining;
        self.counts.replaced += u64::from(instance.is_some());
    }

    fn crash(&mut self) {
        self.counts.lost_records += (self.bench.log.len() - self.bench.durable) as u64;
        self.counts.crashes += 1;
        self.unacked.clear();
        self.take_answers();
        self.bench.crash();
        for client in &mut self.clients {
            match client.doing {
                Doing::AwaitsJoin(_) => client.doing = Doing::Joining,
                Doing::AwaitsSync(_) => client.doing = Doing::Syncing { leads: None },
                _ => {}
            }
        }
    }

    fn take_answers(&mut self) {
        for at in 0..CLIENTS {
            match self.clients[at].doing.clone() {
                Doing::AwaitsJoin(id) => self.take_join(at, id),
                Doing::AwaitsSync(id) => self.take_sync(at, id),
                _ => {}
            }
        }
        // What is left answers requests that their clients have given up.
        self.bench.replies.clear();
    }

    fn take_join(&mut self, at: usize, id: RequestId) {
        let Some(reply) = self.bench.joined(id) else { return };
        let client = &mut self.clients[at];
        match reply.result {
            Ok(joined) => {
                self.counts.rebalances += 1;
                client.member = reply.member.clone();
                client.generation = joined.generation;
                let leads = joined.leader == reply.member && !joined.skip_assignment;
                let members = joined.members.into_iter().map(|member| member.id).collect();
                client.doing = Doing::Syncing { leads: leads.then_some(members) };
            }
            Err(JoinError::MemberIdRequired) => {
                client.member = reply.member;
                client.doing = Doing::Joining;
            }
            Err(JoinError::UnknownMember | JoinError::FencedInstance) => self.start_over(at),
            Err(JoinError::GroupFull) => {
                client.member = MemberId::none();
                client.doing = Doing::Nothing;
            }
            Err(JoinError::InconsistentProtocol) => client.doing = Doing::Nothing,
            Err(other) => panic!("{other:?}"),
        }
    }

    fn take_sync(&mut self, at: usize, id: RequestId) {
        let Some(reply) = self.bench.synced(id) else { return };
        let client = &mut self.clients[at];
        match reply {
            Ok(synced) => {
                client.doing = Doing::Working;
                let (generation, member) = (client.generation, client.member.clone());
                self.counts.assigned += 1;
                let by = assignment_number(&synced.assignment);
                let first = *self.assigned_by.entry(generation).or_insert(by);
                assert_eq!(first, by, "generation {generation} was assigned twice");
                let given = self.given.entry((generation, member));
                let given = given.or_insert_with(|| synced.assignment.clone());
                assert_eq!(*given, synced.assignment, "a member's assignment changed");
            }
            Err(SyncError::RebalanceInProgress | SyncError::IllegalGeneration) => {
                client.doing = Doing::Joining;
            }
            Err(SyncError::UnknownMember | SyncError::FencedInstance) => self.start_over(at),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn check_acknowledged(&self) {
        for (partition, acked) in &self.acked {
            let position = self.bench.position(*partition);
            assert!(position >= Some(*acked), "{partition}: {position:?} < acknowledged {acked}");
        }
    }

    fn check_recorded(&self) {
        let Some(live) = self.bench.core.describe_group(&group()) else { return };
        if live.state == State::Stable {
            let mut numbers = live.members.iter().map(|m| assignment_number(&m.assignment));
            let first = numbers.next().expect("Stable has members");
            assert!(numbers.all(|number| number == first), "members of different assignments");
        }
        if matches!(live.state, State::Stable | State::Empty) {
            let mut loaded = self.bench.reloaded().describe_group(&group()).expect("recorded");
            for member in &mut loaded.members {
                let found = live.members.iter().find(|other| other.id == member.id);
                let found = found.expect("only members are recorded");
                assert_eq!(found.assignment, member.assignment);
                member.metadata.clone_from(&found.metadata);
            }
            assert_eq!(loaded, live, "what is recorded is what is");
        }
    }
}

/// Which assigning request an assignment is of; "<number>:<member>".
fn assignment_number(assignment: &Bytes) -> u64 {
    let text = std::str::from_utf8(assignment).expect("a test's assignment");
    text.split(':').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Whoever comes, goes and dies: a generation is assigned once, acknowledged positions stay,
/// and every request is answered.
#[test]
fn a_group_keeps_its_promises_through_crashes() {
    let mut total = Counts::default();
    for seed in seeds(60) {
        let mut prng = Prng::new(seed.0);
        let mut world = World::new(&mut prng);
        // So that the group is never without positions, and lives as long as the run.
        let first = simple_commit(PARTITIONS, 0);
        let done = world.bench.run(|core, now, step| core.commit_offsets(now, &first, step));
        assert!(done.is_ok());
        world.flush();
        for _ in 0..400 {
            world.step(&mut prng);
        }
        world.flush();
        world.bench.pass(3_600_000);
        world.flush();
        assert!(world.bench.parked.is_empty(), "lost: {:?}", world.bench.parked);
        let end = world.bench.core.describe_group(&group()).expect("it has positions");
        assert_eq!(end.state, State::Empty, "everybody fell silent");
        total.assigned += world.counts.assigned;
        total.rebalances += world.counts.rebalances;
        total.replaced += world.counts.replaced;
        total.expired += world.counts.expired;
        total.crashes += world.counts.crashes;
        total.lost_records += world.counts.lost_records;
        total.commits += world.counts.commits;
        total.transactions += world.counts.transactions;
    }
    if std::env::var("YEOUL_SEED").is_ok() {
        return;
    }
    for (name, count) in [
        ("assigned", total.assigned),
        ("rebalances", total.rebalances),
        ("static members replaced", total.replaced),
        ("members expired or fenced", total.expired),
        ("crashes", total.crashes),
        ("records lost", total.lost_records),
        ("commits", total.commits),
        ("transactional positions", total.transactions),
    ] {
        assert!(count > 50, "vacuous: {name} {count}");
    }
}

#[test]
fn an_instance_is_one_member_whatever_happens() {
    for seed in seeds(50) {
        let mut prng = Prng::new(seed.0);
        let mut bench = Bench::new();
        let mut newest = BTreeMap::new();
        for _ in 0..60 {
            let name = format!("s{}", prng.below(3));
            let id = bench.send_join(static_newcomer(&name));
            bench.pass(i64::try_from(prng.below(8_000)).unwrap());
            if let Some(reply) = bench.joined(id)
                && let Ok(joined) = reply.result
            {
                newest.insert(name, (reply.member, joined.generation));
            }
            if prng.chance(10) {
                bench.crash();
                newest.clear();
            }
            for (name, (member, generation)) in &newest {
                let instance = InstanceId::from(name.as_str());
                let ghost = MemberId::from(format!("{name}-ghost").as_str());
                let now = crate::model::time::Timestamp(bench.now);
                let alive = |member: &MemberId, bench: &mut Bench| {
                    bench.core.heartbeat(now, &group(), member, Some(&instance), *generation)
                };
                let fenced = alive(&ghost, &mut bench);
                assert!(
                    matches!(
                        fenced,
                        Err(HeartbeatError::FencedInstance | HeartbeatError::UnknownMember)
                    ),
                    "{fenced:?}"
                );
                let _ = alive(member, &mut bench);
            }
            let described = bench.core.describe_group(&group()).expect("somebody joined");
            let mut instances: Vec<_> =
                described.members.iter().filter_map(|member| member.instance.clone()).collect();
            let count = instances.len();
            instances.sort();
            instances.dedup();
            assert_eq!(instances.len(), count, "two members of one instance");
        }
    }
}
