//! The gate before appends on a disk that is nearly full, shut by its setting: no disk is filled.
//!
//! In:   the built binary, told that no use of its disk is little enough.
//! Out:  what is refused, retriably, and what goes on.
//! Home: the test's thread.
//!
//! Not here: a disk that is full indeed (`faults.rs`).

use crate::broker::{Broker, Options};
use crate::offsets::{TOPIC, commit, find_coordinator};
use crate::settings::{BROKER, SET, change, fine};
use crate::wire::{Connection, NOBODY, batch_of, is_retriable};

const SETTING: &str = "storage.disk.use.max.percent";
const KAFKA_STORAGE_ERROR: i16 = 56;

fn produce(client: &mut Connection) -> Result<i64, i16> {
    client.produce(TOPIC, 0, batch_of(&[vec![1; 100]], NOBODY))
}

fn set(client: &mut Connection, percent: &str) {
    assert_eq!(change(client, BROKER, "", &[(SETTING, SET, Some(percent))]), fine());
}

#[test]
fn a_shut_gate_refuses_clients_alone_and_opens_again() {
    let mut broker = Broker::start();
    let mut client = broker.connect();
    assert_eq!(client.create_topic(TOPIC, 1, &[]), 0);
    find_coordinator(&mut client, "readers");
    set(&mut client, "100");
    assert_eq!(produce(&mut client), Ok(0));
    let alert = ["storage_disk_free_space_alert "];
    assert_eq!(broker.metric(&alert), 0.0);

    set(&mut client, "0");
    assert_eq!(produce(&mut client), Err(KAFKA_STORAGE_ERROR));
    assert!(is_retriable(KAFKA_STORAGE_ERROR));
    assert!(broker.metric(&alert) >= 1.0);
    assert!(broker.log().contains("disk nearly full"), "{}", broker.log());
    assert_eq!(client.read_from(TOPIC, 0, 0).len(), 1, "reads go on");
    commit(&mut client, "readers", &[0], 1);
    assert_eq!(client.create_topic("another", 1, &[]), 0, "and metadata");

    broker.kill();
    broker.restart();
    let mut client = broker.connect();
    assert_eq!(produce(&mut client), Err(KAFKA_STORAGE_ERROR), "from the first request on");
    set(&mut client, "100");
    assert_eq!(produce(&mut client), Ok(1), "nothing was taken in meanwhile");
    assert!(broker.log().contains("produce is taken again"), "{}", broker.log());
    broker.stop();
}

#[test]
fn the_setting_of_the_start_acts_before_the_first_client() {
    let mut broker = Broker::with(Options::set(&[&format!("{SETTING}=0")]));
    let mut client = broker.connect();
    assert_eq!(client.create_topic(TOPIC, 1, &[]), 0);
    assert_eq!(produce(&mut client), Err(KAFKA_STORAGE_ERROR));
    broker.stop();
}
