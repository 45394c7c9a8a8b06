//! Groups of the consumer protocol (KIP-848): a member alone, from joining to leaving, and with all
//! that can be wrong in a heartbeat.

use yeoul::protocol::messages::consumer_group_describe::*;
use yeoul::protocol::messages::consumer_group_heartbeat::*;

use crate::duo::{Duo, Side};

/// First version in which the client makes its member's id, and expressions choose topics.
const CLIENT_ID_VERSION: i16 = 1;

/// One life of a group for each version of the heartbeat.
pub fn play(duo: &mut Duo, round: u64, topics: &[String]) {
    for version in duo.versions::<ConsumerGroupHeartbeatRequest>() {
        let group = format!("dk-{round}-{version}");
        let label = format!("consumer of {group}");
        let made = if version < CLIENT_ID_VERSION { String::new() } else { "own-id".to_owned() };
        let join = ConsumerGroupHeartbeatRequest {
            group_id: group.clone(),
            member_id: made,
            rebalance_timeout_ms: 30_000,
            subscribed_topic_names: Some(topics.to_vec()),
            topic_partitions: Some(Vec::new()),
            ..Default::default()
        };
        badly(duo, version, &join);
        describe(duo, &group, "nobody");
        let Some(answers) = duo.ask("join", version, |_| join.clone()) else { return };
        let epoch = answers[1].member_epoch;
        for (side, answer) in [&mut duo.yeoul, &mut duo.kafka].into_iter().zip(&answers) {
            let id = answer.member_id.clone().unwrap_or_default();
            side.labels.insert(id, label.clone());
        }
        let beat = |side: &Side, member_epoch: i32| ConsumerGroupHeartbeatRequest {
            group_id: group.clone(),
            member_id: side.value(&label),
            member_epoch,
            ..Default::default()
        };
        describe(duo, &group, "joined");
        for (step, member_epoch) in
            [("alive", epoch), ("an old epoch", epoch - 1), ("a later epoch", epoch + 5)]
        {
            duo.ask(step, version, |side| beat(side, member_epoch));
        }
        duo.ask("instance -2 of no instance", version, |side| beat(side, -2));
        duo.ask("leave", version, |side| beat(side, -1));
        duo.ask("left", version, |side| beat(side, epoch));
        describe(duo, &group, "left");
    }
}

fn badly(duo: &mut Duo, version: i16, join: &ConsumerGroupHeartbeatRequest) {
    let mut bad = vec![
        ("empty group", ConsumerGroupHeartbeatRequest { group_id: String::new(), ..join.clone() }),
        ("epoch -3", ConsumerGroupHeartbeatRequest { member_epoch: -3, ..join.clone() }),
        (
            "no group yet",
            ConsumerGroupHeartbeatRequest {
                member_id: "nobody".to_owned(),
                member_epoch: 5,
                ..join.clone()
            },
        ),
        ("no timeout", ConsumerGroupHeartbeatRequest { rebalance_timeout_ms: -1, ..join.clone() }),
        (
            "no topics",
            ConsumerGroupHeartbeatRequest { subscribed_topic_names: None, ..join.clone() },
        ),
        (
            "not without partitions",
            ConsumerGroupHeartbeatRequest { topic_partitions: None, ..join.clone() },
        ),
        (
            "no such assignor",
            ConsumerGroupHeartbeatRequest {
                server_assignor: Some("bogus".to_owned()),
                ..join.clone()
            },
        ),
        (
            "empty instance",
            ConsumerGroupHeartbeatRequest { instance_id: Some(String::new()), ..join.clone() },
        ),
    ];
    if version >= CLIENT_ID_VERSION {
        let regex = Some("(".to_owned());
        bad.push((
            "a broken expression",
            ConsumerGroupHeartbeatRequest { subscribed_topic_regex: regex, ..join.clone() },
        ));
        bad.push((
            "no member id",
            ConsumerGroupHeartbeatRequest { member_id: String::new(), ..join.clone() },
        ));
    }
    for (step, request) in bad {
        duo.ask(step, version, |_| request.clone());
    }
}

fn describe(duo: &mut Duo, group: &str, state: &str) {
    for version in duo.versions::<ConsumerGroupDescribeRequest>() {
        duo.ask(state, version, |_| ConsumerGroupDescribeRequest {
            group_ids: vec![group.to_owned(), "dk-none".to_owned(), "dg-0-2".to_owned()],
            include_authorized_operations: true,
            ..Default::default()
        });
    }
}
