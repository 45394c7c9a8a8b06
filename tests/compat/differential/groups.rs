//! Classic groups: a member from joining to leaving, with everything that can be wrong on the way;
//! committed offsets, and the calls that describe, list and delete.

use bytes::Bytes;
use yeoul::model::ids::TopicId;
use yeoul::protocol::messages::delete_groups::*;
use yeoul::protocol::messages::describe_groups::*;
use yeoul::protocol::messages::find_coordinator::*;
use yeoul::protocol::messages::heartbeat::*;
use yeoul::protocol::messages::join_group::*;
use yeoul::protocol::messages::leave_group::*;
use yeoul::protocol::messages::list_groups::*;
use yeoul::protocol::messages::offset_commit::*;
use yeoul::protocol::messages::offset_delete::*;
use yeoul::protocol::messages::offset_fetch::*;
use yeoul::protocol::messages::sync_group::*;
use yeoul::protocol::records::consumer_protocol::ConsumerProtocolSubscription;
use yeoul::protocol::records::encode_value;
use yeoul::testing::prng::Prng;

use crate::duo::Duo;

/// A group, and the version of each call that this round uses.
struct Scene<'a> {
    duo: &'a mut Duo,
    group: String,
    topics: &'a [String],
    instance: Option<String>,
    generation: i32,
}

/// The `at`-th of the versions that `R` has, or the last.
fn version<R: yeoul::protocol::message::Request>(duo: &Duo, at: u64) -> Option<i16> {
    let versions = duo.versions::<R>();
    let at = usize::try_from(at).ok()?.min(versions.len().checked_sub(1)?);
    versions.get(at).copied()
}

/// As many lives of a group as the call with most versions needs, each in the next version.
pub fn play(duo: &mut Duo, prng: &mut Prng, round: u64, topics: &[String]) {
    if duo.versions::<JoinGroupRequest>().is_empty() {
        return;
    }
    coordinators(duo);
    for at in 0..11 {
        let instance = (at >= 7 && prng.chance(60)).then(|| format!("instance-{round}-{at}"));
        let group = format!("dg-{round}-{at}");
        let mut scene = Scene { duo, group, topics, instance, generation: 0 };
        scene.join_badly(at);
        scene.join(at);
        scene.member(at, "joined");
        scene.sync(at);
        scene.member(at, "stable");
        scene.offsets(at, "stable");
        scene.describe(at, "stable");
        scene.leave(at);
        scene.offsets(at, "left");
        scene.describe(at, "left");
        scene.delete(at);
        scene.describe(at, "deleted");
    }
}

fn coordinators(duo: &mut Duo) {
    for version in duo.versions::<FindCoordinatorRequest>() {
        for (key, key_type) in [("dg", 0), ("", 0), ("tx", 1), ("x", 2), ("x", 9), ("x", -1)] {
            if version < 1 && key_type != 0 {
                continue;
            }
            duo.ask(&format!("{key_type} {key:?}"), version, |_| FindCoordinatorRequest {
                key: if version < 4 { key.to_owned() } else { String::new() },
                key_type,
                coordinator_keys: if version < 4 {
                    Vec::new()
                } else {
                    vec![key.to_owned(), "dg-2".to_owned()]
                },
                ..Default::default()
            });
        }
    }
}

impl Scene<'_> {
    fn subscription(&self) -> Bytes {
        let subscription =
            ConsumerProtocolSubscription { topics: self.topics.to_vec(), ..Default::default() };
        encode_value(&subscription, 1).expect("short")
    }

    fn join_request(&self, version: i16, member_id: String) -> JoinGroupRequest {
        let protocol = JoinGroupRequestProtocol {
            name: "range".to_owned(),
            metadata: self.subscription(),
            ..Default::default()
        };
        JoinGroupRequest {
            group_id: self.group.clone(),
            session_timeout_ms: 30_000,
            rebalance_timeout_ms: if version >= 1 { 30_000 } else { -1 },
            member_id,
            group_instance_id: self.instance.clone().filter(|_| version >= 5),
            protocol_type: "consumer".to_owned(),
            protocols: vec![protocol],
            reason: if version >= 8 { Some("test".to_owned()) } else { None },
            ..Default::default()
        }
    }

    fn join_badly(&mut self, at: u64) {
        let Some(version) = version::<JoinGroupRequest>(self.duo, at) else { return };
        let good = self.join_request(version, String::new());
        let mut bad = vec![
            ("empty group", JoinGroupRequest { group_id: String::new(), ..good.clone() }),
            ("short session", JoinGroupRequest { session_timeout_ms: 10, ..good.clone() }),
            ("long session", JoinGroupRequest { session_timeout_ms: i32::MAX, ..good.clone() }),
            ("no protocols", JoinGroupRequest { protocols: Vec::new(), ..good.clone() }),
            ("no protocol type", JoinGroupRequest { protocol_type: String::new(), ..good.clone() }),
            ("unknown member", JoinGroupRequest { member_id: "nobody".to_owned(), ..good.clone() }),
        ];
        if version >= 5 {
            let empty = Some(String::new());
            bad.push((
                "empty instance",
                JoinGroupRequest { group_instance_id: empty, ..good.clone() },
            ));
        }
        for (step, request) in bad {
            self.duo.ask(step, version, |_| request.clone());
        }
    }

    /// Joins; a member that is first given its id joins again with it.
    fn join(&mut self, at: u64) {
        let Some(version) = version::<JoinGroupRequest>(self.duo, at) else { return };
        let label = format!("member of {}", self.group);
        let first = self.join_request(version, String::new());
        let Some(answers) = self.duo.ask("join", version, |_| first.clone()) else { return };
        let [ours, theirs] = &answers;
        for (side, answer) in [(&mut self.duo.yeoul, ours), (&mut self.duo.kafka, theirs)] {
            side.labels.insert(answer.member_id.clone(), label.clone());
        }
        self.generation = theirs.generation_id;
        if theirs.error_code != 79 || ours.error_code != 79 {
            return;
        }
        let again = self.join_request(version, String::new());
        let again = self.duo.ask("join with id", version, |side| JoinGroupRequest {
            member_id: side.value(&label),
            ..again.clone()
        });
        self.generation = again.map_or(0, |[_, theirs]| theirs.generation_id);
    }

    /// The ids and generations a member may name: its own, and those that are wrong.
    fn names(&self) -> [(&'static str, String, i32); 4] {
        let label = format!("member of {}", self.group);
        let generation = self.generation;
        [
            ("good", label.clone(), generation),
            ("old generation", label.clone(), generation - 1),
            ("next generation", label, generation + 1),
            ("unknown member", "nobody".to_owned(), generation),
        ]
    }

    fn sync(&mut self, at: u64) {
        let Some(version) = version::<SyncGroupRequest>(self.duo, at) else { return };
        let mut names = self.names().to_vec();
        names.reverse(); // the good one last: it ends the wait
        for (step, label, generation_id) in names {
            let group_id = self.group.clone();
            self.duo.ask(step, version, |side| SyncGroupRequest {
                group_id: group_id.clone(),
                generation_id,
                member_id: side.value(&label),
                protocol_type: if version >= 5 {
                    Some("consumer".to_owned())
                } else {
                    Some(String::new()).filter(|_| false)
                },
                protocol_name: if version >= 5 { Some("range".to_owned()) } else { None },
                assignments: vec![SyncGroupRequestAssignment {
                    member_id: side.value(&label),
                    assignment: Bytes::from_static(b"assigned"),
                    ..Default::default()
                }],
                ..Default::default()
            });
        }
    }

    fn member(&mut self, at: u64, state: &str) {
        let Some(version) = version::<HeartbeatRequest>(self.duo, at) else { return };
        for (step, label, generation_id) in self.names() {
            let group_id = self.group.clone();
            self.duo.ask(&format!("{state}: {step}"), version, |side| HeartbeatRequest {
                group_id: group_id.clone(),
                generation_id,
                member_id: side.value(&label),
                ..Default::default()
            });
        }
        for group_id in ["", "dg-none"] {
            self.duo.ask(&format!("group {group_id:?}"), version, |_| HeartbeatRequest {
                group_id: group_id.to_owned(),
                ..Default::default()
            });
        }
    }

    fn leave(&mut self, at: u64) {
        let Some(version) = version::<LeaveGroupRequest>(self.duo, at) else { return };
        let mut names = self.names().to_vec();
        names.reverse();
        for (step, label, _) in names {
            let group_id = self.group.clone();
            let by_instance = self.instance.clone().filter(|_| version >= 3);
            self.duo.ask(step, version, |side| LeaveGroupRequest {
                group_id: group_id.clone(),
                member_id: if version < 3 { side.value(&label) } else { String::new() },
                members: if version < 3 {
                    Vec::new()
                } else {
                    vec![MemberIdentity {
                        member_id: side.value(&label),
                        group_instance_id: by_instance.clone(),
                        reason: None,
                        ..Default::default()
                    }]
                },
                ..Default::default()
            });
        }
    }

    fn offsets(&mut self, at: u64, state: &str) {
        let topics = [self.topics[0].clone(), "dt-none".to_owned()];
        let group_id = self.group.clone();
        let mut names = self.names().to_vec();
        names.push(("no member", String::new(), -1));
        if let Some(version) = version::<OffsetCommitRequest>(self.duo, at) {
            for (step, label, generation) in names {
                self.duo.ask(&format!("{state}: {step}"), version, |side| OffsetCommitRequest {
                    group_id: group_id.clone(),
                    generation_id_or_member_epoch: generation,
                    member_id: if label.is_empty() { String::new() } else { side.value(&label) },
                    topics: topics
                        .iter()
                        .map(|name| OffsetCommitRequestTopic {
                            name: if version < 10 { name.clone() } else { String::new() },
                            topic_id: if version < 10 { TopicId::ZERO } else { side.id(name) },
                            partitions: [0, 1, 9].map(|index| commit(index, version)).to_vec(),
                            ..Default::default()
                        })
                        .collect(),
                    ..Default::default()
                });
            }
        }
        self.fetch_offsets(at, state, &topics);
    }

    fn fetch_offsets(&mut self, at: u64, state: &str, topics: &[String]) {
        let Some(version) = version::<OffsetFetchRequest>(self.duo, at) else { return };
        let group_id = self.group.clone();
        for all in [false, true] {
            if all && version < 2 {
                continue;
            }
            self.duo.ask(&format!("{state}: all {all}"), version, |side| {
                let old = topics.iter().map(|name| OffsetFetchRequestTopic {
                    name: name.clone(),
                    partition_indexes: vec![0, 1, 9],
                    ..Default::default()
                });
                let new = topics.iter().map(|name| OffsetFetchRequestTopics {
                    name: if version < 10 { name.clone() } else { String::new() },
                    topic_id: if version < 10 { TopicId::ZERO } else { side.id(name) },
                    partition_indexes: vec![0, 1, 9],
                    ..Default::default()
                });
                let group = OffsetFetchRequestGroup {
                    group_id: group_id.clone(),
                    topics: (!all).then(|| new.collect()),
                    ..Default::default()
                };
                let batched = version >= 8;
                OffsetFetchRequest {
                    group_id: if batched { String::new() } else { group_id.clone() },
                    topics: if batched { Some(Vec::new()) } else { (!all).then(|| old.collect()) },
                    groups: if batched { vec![group] } else { Vec::new() },
                    require_stable: version >= 7,
                    ..Default::default()
                }
            });
        }
    }

    fn describe(&mut self, at: u64, state: &str) {
        let group = self.group.clone();
        if let Some(version) = version::<DescribeGroupsRequest>(self.duo, at) {
            self.duo.ask(state, version, |_| DescribeGroupsRequest {
                groups: vec![group.clone(), "dg-none".to_owned(), String::new()],
                include_authorized_operations: version >= 3,
                ..Default::default()
            });
        }
        if let Some(version) = version::<ListGroupsRequest>(self.duo, at) {
            for (step, states, types) in [
                ("all", &[][..], &[][..]),
                ("stable", &["Stable"], &[]),
                ("odd", &["Bogus"], &["classic", "bogus"]),
            ] {
                let text =
                    |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
                self.duo.ask(&format!("{state}: {step}"), version, |_| ListGroupsRequest {
                    states_filter: if version >= 4 { text(states) } else { Vec::new() },
                    types_filter: if version >= 5 { text(types) } else { Vec::new() },
                    ..Default::default()
                });
            }
        }
    }

    fn delete(&mut self, at: u64) {
        let group_id = self.group.clone();
        if let Some(version) = version::<OffsetDeleteRequest>(self.duo, at) {
            for group_id in [group_id.clone(), "dg-none".to_owned()] {
                let name = self.topics[0].clone();
                self.duo.ask("offsets", version, |_| OffsetDeleteRequest {
                    group_id: group_id.clone(),
                    topics: vec![OffsetDeleteRequestTopic {
                        name: name.clone(),
                        partitions: [0, 9]
                            .map(|partition_index| OffsetDeleteRequestPartition {
                                partition_index,
                                ..Default::default()
                            })
                            .to_vec(),
                        ..Default::default()
                    }],
                    ..Default::default()
                });
            }
        }
        if let Some(version) = version::<DeleteGroupsRequest>(self.duo, at) {
            self.duo.ask("delete", version, |_| DeleteGroupsRequest {
                groups_names: vec![group_id.clone(), "dg-none".to_owned(), String::new()],
                ..Default::default()
            });
        }
    }
}

fn commit(partition_index: i32, version: i16) -> OffsetCommitRequestPartition {
    OffsetCommitRequestPartition {
        partition_index,
        committed_offset: 2,
        committed_leader_epoch: if version >= 6 { 0 } else { -1 },
        committed_metadata: Some("noted".to_owned()),
        ..Default::default()
    }
}
