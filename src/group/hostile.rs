//! Logs that nobody should have written: whatever they say, a core that loads them serves on.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::group::assignor::Assignment;
use crate::group::classic::member::Protocol;
use crate::group::consumer::group::{GroupEpoch, TargetEpoch};
use crate::group::consumer::member::{
    ClassicMember, CurrentAssignment, Held, MemberMetadata, MemberState,
};
use crate::group::consumer_tests::{Cluster, beat, first, later};
use crate::group::fixtures::{Bench, Written, group, newcomer, simple_commit, sync_request};
use crate::group::ids::{GroupId, InstanceId, MemberId};
use crate::group::offsets::CommittedOffset;
use crate::group::record::{self, ConsumerRecord, GroupMetadata, OffsetKey, Record};
use crate::group::subscription::{assignment, subscription};
use crate::model::ids::{PartitionIndex, ProducerId, TopicId};
use crate::model::offset::{LeaderEpoch, Offset};
use crate::model::time::Timestamp;
use crate::testing::prng::Prng;
use crate::testing::seeds::seeds;

fn member(prng: &mut Prng) -> MemberId {
    MemberId::from(["a", "b", "c"][prng.index(3)])
}

fn number(prng: &mut Prng) -> i32 {
    i32::try_from(prng.below(6)).unwrap() - 2
}

fn instance(prng: &mut Prng) -> Option<InstanceId> {
    prng.chance(40).then(|| InstanceId::from(["i", "j"][prng.index(2)]))
}

fn bytes(prng: &mut Prng) -> Bytes {
    match prng.below(4) {
        0 => Bytes::from(prng.bytes(6)),
        1 => assignment(1, &vec![("t".into(), vec![0, 1])]),
        _ => subscription(1, &["t", "u"]),
    }
}

fn held(prng: &mut Prng) -> Held {
    let of = |prng: &mut Prng| (PartitionIndex(number(prng)), number(prng));
    let partitions: BTreeMap<_, _> = (0..prng.below(4)).map(|_| of(prng)).collect();
    Held::from([(TopicId([u8::try_from(prng.below(3)).unwrap(); 16]), partitions)])
}

fn offset(prng: &mut Prng) -> Record {
    let value = CommittedOffset {
        offset: Offset(i64::from(number(prng))),
        leader_epoch: LeaderEpoch(number(prng)),
        metadata: "".into(),
        commit_timestamp: Timestamp(i64::from(number(prng))),
        expire_timestamp: Timestamp(i64::from(number(prng))),
        topic_id: TopicId::ZERO,
    };
    let key =
        OffsetKey { group: group(), topic: "t".into(), partition: PartitionIndex(number(prng)) };
    Record::OffsetCommit { key, value: prng.chance(70).then_some(value) }
}

fn classic(prng: &mut Prng) -> Record {
    let one = |prng: &mut Prng| record::MemberMetadata {
        id: member(prng),
        instance: instance(prng),
        client_id: "c".into(),
        client_host: "h".into(),
        rebalance_timeout_ms: number(prng),
        session_timeout_ms: number(prng) * 1_000,
        subscription: bytes(prng),
        assignment: bytes(prng),
    };
    let value = GroupMetadata {
        protocol_type: prng.chance(80).then(|| "consumer".into()),
        generation: number(prng),
        protocol: prng.chance(70).then(|| "range".into()),
        leader: prng.chance(70).then(|| member(prng)),
        state_timestamp: Timestamp(i64::from(number(prng))),
        members: (0..prng.below(4)).map(|_| one(prng)).collect(),
    };
    Record::GroupMetadata { group: group(), value: prng.chance(80).then_some(value) }
}

fn metadata(prng: &mut Prng) -> MemberMetadata {
    let protocol = |prng: &mut Prng| Protocol {
        name: ["range", "sticky"][prng.index(2)].into(),
        metadata: bytes(prng),
    };
    let classic = ClassicMember {
        session_timeout_ms: number(prng) * 1_000,
        protocols: (0..prng.below(3)).map(|_| protocol(prng)).collect(),
    };
    MemberMetadata {
        instance: instance(prng),
        rack: None,
        client_id: "c".into(),
        client_host: "h".into(),
        topics: BTreeSet::from(["t".into()]),
        regex: prng.chance(30).then(|| ["(", ".*"][prng.index(2)].into()),
        rebalance_timeout_ms: number(prng) * 1_000,
        assignor: prng.chance(30).then(|| ["range", "nothing"][prng.index(2)].into()),
        classic: prng.chance(60).then_some(classic),
    }
}

fn consumer(prng: &mut Prng) -> Record {
    let kept = prng.chance(75);
    let record = match prng.below(6) {
        0 => {
            let value = GroupEpoch { epoch: number(prng), metadata_hash: 0 };
            ConsumerRecord::Epoch(kept.then_some(value))
        }
        1 => {
            let value = TargetEpoch { epoch: number(prng), timestamp: Timestamp(0) };
            ConsumerRecord::TargetEpoch(kept.then_some(value))
        }
        2 => ConsumerRecord::Member { member: member(prng), value: kept.then(|| metadata(prng)) },
        3 => {
            let partitions = held(prng);
            let value: Assignment = crate::group::consumer::member::without_epochs(&partitions);
            ConsumerRecord::Target { member: member(prng), value: kept.then_some(value) }
        }
        4 => {
            let states = [
                MemberState::Stable,
                MemberState::UnrevokedPartitions,
                MemberState::UnreleasedPartitions,
            ];
            let value = CurrentAssignment {
                epoch: number(prng),
                previous_epoch: number(prng),
                state: states[prng.index(3)],
                assigned: held(prng),
                revoking: held(prng),
            };
            ConsumerRecord::Current { member: member(prng), value: kept.then_some(value) }
        }
        _ => ConsumerRecord::Regex { regex: "(".into(), value: kept.then(Default::default) },
    };
    Record::Consumer { group: group(), record }
}

/// One request or a while of waiting; whatever the answer is.
fn poke(bench: &mut Bench, cluster: &Cluster, prng: &mut Prng) {
    let who = member(prng);
    let epoch = number(prng);
    match prng.below(8) {
        0 => drop(beat(bench, cluster, &first(who.as_str(), &["t"]))),
        1 => drop(beat(bench, cluster, &later(who.as_str(), epoch))),
        2 => {
            let mut request = newcomer("n");
            request.member = if prng.chance(50) { who } else { MemberId::none() };
            request.instance = instance(prng);
            bench.send_join(request);
        }
        3 => drop(bench.send_sync(sync_request(&who, epoch))),
        4 => drop(bench.beat(&who, epoch)),
        5 => drop(bench.leave(&[(who.as_str(), None), ("", Some("i"))])),
        6 => {
            let mut request = simple_commit(0, 1);
            (request.member, request.generation) = (who, epoch);
            drop(bench.run(|core, now, step| core.commit_offsets(now, &request, step)));
        }
        _ => bench.pass(i64::try_from(prng.below(700_000)).unwrap()),
    }
}

#[test]
fn a_core_serves_on_whatever_its_log_says() {
    let mut groups = 0;
    for seed in seeds(400) {
        let mut prng = Prng::new(seed.0);
        let cluster = Cluster::of(&[("t", 3), ("u", 2)]);
        let mut bench = Bench::new();
        bench.lenient = true;
        for _ in 0..prng.below(25) {
            let record = match prng.below(10) {
                0..2 => offset(&mut prng),
                2..5 => classic(&mut prng),
                _ => consumer(&mut prng),
            };
            let producer = prng.chance(10).then_some(ProducerId(1));
            bench.log.push(Written::Record(record, producer));
            if prng.chance(5) {
                bench.log.push(Written::End(ProducerId(1), prng.chance(50)));
            }
        }
        bench.flush();
        bench.core.set_topics(std::sync::Arc::new(cluster.clone()));
        bench.crash();
        groups += bench.core.group_count();
        for _ in 0..30 {
            poke(&mut bench, &cluster, &mut prng);
            let _ = bench.core.describe_group(&group());
            let _ = bench.core.describe_consumer_group(&GroupId::from("g"));
        }
        bench.crash();
    }
    assert!(groups > 100, "vacuous: {groups}");
}
