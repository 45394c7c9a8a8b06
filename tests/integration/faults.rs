//! What the world does to a broker: taken ports, folders that are not writable or not ours, limits,
//! a full disk, wrong settings. One line with the remedy and exit code 1, or a retriable refusal.
//!
//! In:   a command line under a fault.
//! Out:  exit code and text, or the answers a client gets.
//! Home: each test its own process and folder.
//!
//! Not here: hostile bytes (`hostile.rs`), crashes (`kill_loop.rs`).
#![allow(unsafe_code)] // limits and filters are set between fork and exec

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::broker::{Broker, Options, Refusal};
use crate::wire::{NOBODY, batch_of, is_retriable};

/// The start was refused with code 1 and says each of `words`, in one line that an operator sees.
fn assert_refused(refusal: &Refusal, words: &[&str]) {
    assert_eq!(refusal.code, Some(1), "{}", refusal.text);
    assert!(!refusal.text.contains("panicked"), "{}", refusal.text);
    let said = refusal.text.lines().any(|line| {
        let line = line.to_lowercase();
        words.iter().all(|word| line.contains(&word.to_lowercase()))
    });
    assert!(said, "no line says all of {words:?}:\n{}", refusal.text);
}

#[test]
fn a_port_in_use() {
    let held = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = held.local_addr().expect("it is bound").to_string();
    let options = Options { kafka: Some(address.clone()), ..Options::default() };
    assert_refused(&Broker::refused(options), &[&address, "in use"]);
}

#[test]
fn a_port_that_another_broker_serves() {
    let mut first = Broker::start();
    let options = Options { kafka: Some(first.kafka.clone()), ..Options::default() };
    assert_refused(&Broker::refused(options), &[&first.kafka, "in use"]);
    first.connect().api_versions();
    first.stop();
}

#[test]
fn a_folder_that_cannot_be_made() {
    // Nobody makes folders there, root included.
    let options = Options { data: Some(PathBuf::from("/sys/yeoul-data")), ..Options::default() };
    assert_refused(&Broker::refused(options), &["/sys/yeoul-data"]);
}

#[test]
fn a_folder_that_a_running_broker_holds() {
    let mut first = Broker::start();
    let options = Options { data: Some(first.data()), ..Options::default() };
    assert_refused(&Broker::refused(options), &["lock"]);
    first.connect().api_versions();
    first.stop();
}

#[test]
fn a_folder_that_is_not_ours() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("thesis.txt"), "do not lose").expect("a file");
    let data = folder.path().to_path_buf();
    let options = Options { data: Some(data.clone()), ..Options::default() };
    assert_refused(&Broker::refused(options), &[&data.to_string_lossy()]);
    let left: Vec<_> = std::fs::read_dir(&data).expect("a folder").flatten().collect();
    assert_eq!(left.len(), 1, "nothing was added: {left:?}");
}

#[test]
fn settings_that_are_unknown_or_out_of_range() {
    for (setting, words) in [
        ("num.partition=3", vec!["num.partition", "num.partitions"]),
        ("log.retention.m=1", vec!["log.retention.m", "log.retention.ms"]),
        ("auto.create.topic.enable=true", vec!["auto.create.topics.enable"]),
        ("num.partitions=many", vec!["num.partitions", "many"]),
        ("num.partitions=0", vec!["num.partitions"]),
    ] {
        assert_refused(&Broker::refused(Options::set(&[setting])), &words);
    }
}

/// Refuses io_uring_setup with EPERM, as container runtimes do by default.
fn refuse_io_uring(command: &mut Command) {
    const LOAD_NUMBER: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const JUMP_IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const ALLOW: u32 = 0x7FFF_0000;
    const ERRNO: u32 = 0x0005_0000;
    let number = u32::try_from(libc::SYS_io_uring_setup).expect("a system call");
    let refusal = ERRNO | u32::try_from(libc::EPERM).expect("an errno");
    let filter = [
        libc::sock_filter { code: LOAD_NUMBER, jt: 0, jf: 0, k: 0 },
        libc::sock_filter { code: JUMP_IF_EQUAL, jt: 0, jf: 1, k: number },
        libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: refusal },
        libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: ALLOW },
    ];
    let install = move || {
        let mut filter = filter;
        let length = u16::try_from(filter.len()).expect("four instructions");
        let program = libc::sock_fprog { len: length, filter: filter.as_mut_ptr() };
        // SAFETY: `program` points to `length` instructions that live until the calls return; the
        // kernel copies them.
        let done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
                    == 0
        };
        if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: between fork and exec only system calls are made; nothing is allocated.
    unsafe { command.pre_exec(install) };
}

#[test]
fn io_uring_refused() {
    let options = Options { prepare: Some(refuse_io_uring), ..Options::default() };
    assert_refused(&Broker::refused(options), &["io_uring"]);
}

/// A locked-memory limit of 64 KiB that not even root may pass.
fn little_locked_memory(command: &mut Command) {
    const CAP_IPC_LOCK: libc::c_ulong = 14;
    let limit = || {
        let limit = libc::rlimit { rlim_cur: 64 << 10, rlim_max: 64 << 10 };
        // SAFETY: `limit` lives until the call returns. Dropping the capability fails for a user
        // who does not have it, which is as good.
        let done = unsafe {
            libc::prctl(libc::PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0);
            libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit)
        };
        if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: between fork and exec only system calls are made; nothing is allocated.
    unsafe { command.pre_exec(limit) };
}

#[test]
fn locked_memory_of_64_kib() {
    let options = Options { prepare: Some(little_locked_memory), ..Options::default() };
    assert_refused(&Broker::refused(options), &["memlock"]);
}

/// A small file system of the test's own; unmounted and gone when dropped.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// `None` where this user may not mount.
    fn new(mebibytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let (image, at) = (folder.path().join("image"), folder.path().join("disk"));
        std::fs::create_dir(&at).expect("a folder");
        let file = std::fs::File::create(&image).expect("a file");
        file.set_len(u64::from(mebibytes) << 20).expect("room for it");
        let run = |program: &str, words: &[&Path]| {
            Command::new(program).args(words).output().is_ok_and(|done| done.status.success())
        };
        let made = run("mkfs.ext4", &[Path::new("-qF"), &image])
            && run("mount", &[Path::new("-oloop"), &image, &at]);
        made.then_some(Self { folder })
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("disk/data")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let at = self.folder.path().join("disk");
        let done = Command::new("umount").arg(&at).status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("could not unmount {}", at.display());
        }
    }
}

#[test]
fn a_full_disk_refuses_writes_and_serves_reads() {
    let Some(disk) = SmallDisk::new(96) else {
        println!("skipped: this user may not mount a file system of its own");
        return;
    };
    // Without the gate before it (`disk_space.rs`): the end of the disk itself.
    let no_gate = vec!["storage.disk.use.max.percent=100".to_owned()];
    let options = Options { data: Some(disk.data()), settings: no_gate, ..Options::default() };
    let mut broker = Broker::with(options);
    let mut connection = broker.connect();
    let settings = [("segment.bytes", "4194304"), ("retention.ms", "-1")];
    assert_eq!(connection.create_topic("ballast", 1, &settings), 0);
    assert_eq!(connection.create_topic("kept", 1, &settings), 0);
    let value = vec![5; 512 << 10];
    let mut kept = 0;
    let refusal = loop {
        // Until there is no more room; 96 MiB cannot take 400 of these.
        assert!(kept < 400, "the disk never fills");
        let topic = if kept % 2 == 0 { "kept" } else { "ballast" };
        match connection.produce(topic, 0, batch_of(std::slice::from_ref(&value), NOBODY)) {
            Ok(_) => kept += 1,
            Err(code) => break code,
        }
    };
    assert!(is_retriable(refusal), "a full disk is a retriable error, not {refusal}");
    broker.assert_alive();
    let end = connection.offset_of("kept", 0, -1);
    let found = connection.read_from("kept", 0, 0);
    assert_eq!(i64::try_from(found.len()).expect("small"), end, "reads go on");
    assert!(end >= kept / 2, "everything acknowledged is there");
    assert!(found.iter().all(|record| record.value.as_deref() == Some(&value[..])));
    assert_eq!(connection.delete_topic("ballast"), 0, "room can be made on a full disk");
    let mut accepted = false;
    for _ in 0..100 {
        let batch = batch_of(std::slice::from_ref(&value), NOBODY);
        match connection.produce("kept", 0, batch) {
            Ok(_) => {
                accepted = true;
                break;
            }
            Err(code) => assert!(is_retriable(code), "error {code}"),
        }
        std::thread::sleep(Duration::from_millis(100)); // a client's retry backoff
    }
    assert!(accepted, "with room again, writes are taken again");
    broker.kill();
    broker.restart();
    let found = broker.connect().read_from("kept", 0, 0);
    assert!(i64::try_from(found.len()).expect("small") > end, "and survive a SIGKILL");
    broker.stop();
}

#[test]
fn sigterm_under_load_is_quick_and_loses_nothing() {
    let mut broker = Broker::start();
    assert_eq!(broker.connect().create_topic("t", 1, &[]), 0);
    let acknowledged = std::sync::atomic::AtomicI64::new(0);
    let took = std::thread::scope(|scope| {
        let mut connection = broker.connect();
        let acknowledged = &acknowledged;
        scope.spawn(move || {
            let batch = batch_of(&[vec![1; 1000]], NOBODY);
            let request = crate::wire::produce_of("t", 0, batch);
            while let Ok(answer) = connection.try_ask(&request, 9) {
                match crate::wire::outcome_of(&answer) {
                    Ok(offset) => {
                        acknowledged.store(offset + 1, std::sync::atomic::Ordering::SeqCst);
                    }
                    Err(code) => assert!(is_retriable(code), "error {code}"),
                }
            }
        });
        // A consumer that waits at the end of an empty topic must not hold the end up.
        let mut waiting = broker.connect();
        let request = crate::wire::fetch_of("t", 0, i64::from(u32::MAX));
        waiting.send(&request, 12).expect("the broker reads");
        while acknowledged.load(std::sync::atomic::Ordering::SeqCst) < 100 {
            std::thread::yield_now();
        }
        broker.stop()
    });
    assert!(took < Duration::from_secs(5), "SIGTERM took {took:?}");
    broker.restart();
    let end = broker.connect().offset_of("t", 0, -1);
    let acknowledged = acknowledged.into_inner();
    assert!(end >= acknowledged, "{acknowledged} acknowledged, {end} there");
    broker.stop();
}

#[test]
fn what_a_killed_start_left_of_its_disk_probe_is_removed() {
    let mut broker = Broker::start();
    broker.kill();
    let [probe, foreign] =
        [".probe-1-1-0", "notes.txt"].map(|name| broker.data().join("log").join(name));
    for path in [&probe, &foreign] {
        std::fs::write(path, "left").expect("the data folder can be written");
    }
    broker.restart();
    assert!(!probe.exists(), "of an earlier run");
    assert!(foreign.exists(), "what is not ours stays");
    broker.stop();
}
