//! What a real Kafka 4.3.1 wrote for its groups, read by our core.

use std::collections::BTreeMap;

use crate::group::admin::ConsumerDescription;
use crate::group::classic::state::State;
use crate::group::codec::{decode, encode};
use crate::group::coordinator::GroupCoordinator;
use crate::group::ids::GroupId;
use crate::group::settings::GroupSettings;
use crate::protocol::golden::{lines, text, unhex};

/// Keys and values of one partition of `__consumer_offsets`, in order.
type Log = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn recorded() -> BTreeMap<i64, Log> {
    let mut logs: BTreeMap<i64, Log> = BTreeMap::new();
    for line in lines("coordinator-records.jsonl.gz") {
        if text(&line, "topic") == "__consumer_offsets" {
            let partition = line["partition"].as_i64().expect("a partition");
            let value = line["valueHex"].as_str().map(unhex);
            logs.entry(partition).or_default().push((unhex(text(&line, "keyHex")), value));
        }
    }
    logs
}

#[test]
fn every_record_of_a_real_kafka_is_read_and_written_alike() {
    let mut count = 0;
    for (key, value) in recorded().into_values().flatten() {
        let record = decode(&key, value.as_deref()).expect("readable").expect("of use");
        let again = encode(&record).expect("writable");
        assert_eq!(again.key, key);
        // Kafka writes sets in any order, we in theirs: as many bytes, and the same record.
        assert_eq!(again.value.as_ref().map(|value| value.len()), value.map(|value| value.len()));
        assert_eq!(decode(&again.key, again.value.as_deref()), Ok(Some(record)));
        count += 1;
    }
    assert!(count > 40, "{count}");
}

#[test]
fn the_log_of_a_real_kafka_gives_the_state_that_it_had() {
    let mut core = GroupCoordinator::new(GroupSettings::default());
    for (key, value) in recorded().into_values().flatten() {
        let record = decode(&key, value.as_deref()).expect("readable").expect("of use");
        core.replay(&record, None);
    }
    let classic = |id: &str| core.describe_group(&GroupId::from(id));
    let consumer = |id: &str| core.describe_consumer_group(&GroupId::from(id));
    let empty = |group: Option<ConsumerDescription>| {
        group.map(|group| (group.state, group.epoch, group.target_epoch, group.members.len()))
    };
    assert_eq!(classic("classic-one"), None, "it was deleted");
    assert_eq!(classic("simple"), None, "it was deleted");
    assert_eq!(classic("classic-static").map(|group| group.state), Some(State::Empty));
    assert_eq!(empty(consumer("modern-one")), Some(("Empty", 5, 3, 0)));
    assert_eq!(empty(consumer("modern-regex")), Some(("Empty", 3, 2, 0)));
    for (group, topic) in [("classic-static", "cap-a"), ("modern-one", "cap-a")] {
        let fetched = core.fetch_offsets(&GroupId::from(group), None, false);
        assert_eq!((fetched.len(), &*fetched[0].name), (1, topic));
        let (_, position) = &fetched[0].partitions[0];
        assert_eq!(position.clone().expect("stable").map(|at| at.offset.0), Some(8));
    }
}
