//! The scrub of a running broker, and `yeoul log verify` over the same files: damage that no batch's
//! own checksum shows is named, and only what is damaged is kept from consumers.
//!
//! In:   the built binary; a bit flipped in a closed segment while it is down.
//! Out:  metric, log line, answers; exit codes of the command.
//! Home: the test's thread.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::broker::{Broker, Options};
use crate::settings::{BROKER, SET, change, fine};
use crate::wire::{NOBODY, batch_of};

const SEGMENT_BYTES: &str = "1048576";
/// Where in a batch the lowest byte of its leader epoch lies.
const EPOCH_AT: usize = 15;

fn verify(data: &Path) -> (Option<i32>, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_yeoul"))
        .args(["log", "verify"])
        .arg(data.join("log"))
        .output()
        .expect("the binary runs");
    (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
}

/// The first segment of the topic.
fn first_segment(data: &Path, topic: &str) -> PathBuf {
    let entries = std::fs::read_dir(data.join("log")).expect("a folder").flatten();
    let of_topic = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(topic))
    };
    let folder = entries.map(|entry| entry.path()).find(of_topic).expect("the partition's folder");
    folder.join("00000000000000000000.log")
}

#[test]
fn a_flipped_epoch_is_found_named_and_kept_from_consumers() {
    let settings = ["storage.scrub.interval.ms=100", "storage.scrub.max.bytes.per.second=0"];
    let mut broker = Broker::with(Options::set(&settings));
    let mut client = broker.connect();
    assert_eq!(client.create_topic("seen", 1, &[("segment.bytes", SEGMENT_BYTES)]), 0);
    let value = vec![3; 200 << 10];
    for offset in 0..12 {
        let batch = batch_of(std::slice::from_ref(&value), NOBODY);
        assert_eq!(client.produce("seen", 0, batch), Ok(offset));
    }
    broker.stop();
    let (code, said) = verify(&broker.data());
    assert_eq!(code, Some(0), "{said}");
    let path = first_segment(&broker.data(), "seen");
    let mut bytes = std::fs::read(&path).expect("a segment");
    // The last batch of the closed segment: none behind it shows that the epoch has risen.
    let batch = value.len();
    let last = bytes.len() / batch - 1;
    let start = bytes.len() / (last + 1) * last;
    bytes[start + EPOCH_AT] ^= 1;
    std::fs::write(&path, &bytes).expect("written");
    let (code, said) = verify(&broker.data());
    assert!(code == Some(5) && said.contains("checksum"), "{code:?} {said}");

    broker.restart();
    let rate = [("storage.scrub.max.bytes.per.second", SET, Some("1000000000"))];
    assert_eq!(change(&mut broker.connect(), BROKER, "", &rate), fine());
    let found = ["storage_scrub_damaged_ranges_total"];
    let began = Instant::now();
    while broker.metric(&found) == 0.0 {
        assert!(began.elapsed() < Duration::from_secs(60), "never found:\n{}", broker.log());
        std::thread::sleep(Duration::from_millis(20)); // the endpoint is polled
    }
    assert!(broker.log().contains("damaged records on the disk"), "{}", broker.log());
    assert!(broker.metric(&["storage_quarantined_ranges"]) >= 1.0);
    let mut client = broker.connect();
    let lost = i64::try_from(last).expect("small");
    for offset in 0..12 {
        let answer = client.fetch("seen", 0, offset);
        assert_eq!(answer.is_err(), offset == lost, "{offset}: {:?}", answer.map(|all| all.len()));
    }
    broker.stop();
}
