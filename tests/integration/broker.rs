//! A broker process for a test: started on a free port, killed, started again, stopped.
//!
//! In:   settings and, for faults, a change to the command before it runs.
//! Out:  its addresses, its memory, how it ended.
//! Home: the test's thread; the process is ended by its own pid when the value is dropped.
//!
//! Invariants
//!   B1  Ready is what the ready file says, never a guess by time.
//!   B2  A restart keeps folder and port.
//!   B3  Nothing is left: no process, no folder.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::wire::Connection;

/// Longest wait for a start or an end. Generous: the machine may be building at the same time.
const PATIENCE: Duration = Duration::from_secs(60);

/// How to start it.
#[derive(Clone, Default)]
pub struct Options {
    /// `--set` values, `name=value`.
    pub settings: Vec<String>,
    /// Further words of the command line.
    pub words: Vec<String>,
    /// How many shards; [`shards`] chooses when absent.
    pub shards: Option<u16>,
    /// The data folder; the test's own when absent.
    pub data: Option<PathBuf>,
    /// The Kafka address; any free port when absent.
    pub kafka: Option<String>,
    /// Changes the command last: limits, filters.
    pub prepare: Option<fn(&mut Command)>,
}

impl Options {
    /// These settings, all else by default.
    pub fn set(settings: &[&str]) -> Self {
        Self { settings: settings.iter().map(ToString::to_string).collect(), ..Self::default() }
    }
}

/// How many shards a test's broker has: what `YEOUL_TEST_SHARDS` says for all, or what the test
/// asks for, or 1, 2 or 5 by the name of the test, so that a plain run has all three.
fn shards(options: &Options) -> u16 {
    if let Ok(all) = std::env::var("YEOUL_TEST_SHARDS") {
        return all.parse().expect("YEOUL_TEST_SHARDS is a number");
    }
    let thread = std::thread::current();
    let sum: usize = thread.name().unwrap_or_default().bytes().map(usize::from).sum();
    options.shards.unwrap_or([1, 2, 5][sum % 3])
}

/// A running (or killed) broker.
pub struct Broker {
    folder: tempfile::TempDir,
    options: Options,
    shards: u16,
    child: Option<Child>,
    /// Where clients connect: `host:port`.
    pub kafka: String,
    /// Where the admin endpoint listens.
    pub admin: String,
    /// Its process.
    pub pid: u32,
}

/// What a start that was refused left.
#[derive(Debug)]
pub struct Refusal {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote, both streams.
    pub text: String,
}

impl Broker {
    /// Starts one with defaults and waits until it is ready.
    pub fn start() -> Self {
        Self::with(Options::default())
    }

    /// Starts one and waits until it is ready.
    pub fn with(options: Options) -> Self {
        let mut broker = Self::prepared(options);
        broker.restart();
        broker
    }

    /// Starts one that must refuse, and waits for its end.
    pub fn refused(options: Options) -> Refusal {
        let mut broker = Self::prepared(options);
        broker.spawn();
        let status = broker.wait_for_end();
        Refusal { code: status.code(), text: broker.log() }
    }

    fn prepared(options: Options) -> Self {
        let folder = tempfile::Builder::new().prefix("yeoul-test-").tempdir().expect("a folder");
        Self {
            folder,
            shards: shards(&options),
            options,
            child: None,
            kafka: String::new(),
            admin: String::new(),
            pid: 0,
        }
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.options.data.clone().unwrap_or_else(|| self.folder.path().join("data"))
    }

    fn ready_file(&self) -> PathBuf {
        self.folder.path().join("ready.json")
    }

    /// Everything it has written to its standard streams.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn spawn(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let _ = std::fs::remove_file(self.ready_file());
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .expect("a log file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_yeoul"));
        command.arg("start").arg("--data").arg(self.data());
        let kafka = self.options.kafka.as_deref().unwrap_or("127.0.0.1:0");
        command.args(["--kafka", kafka, "--admin", "127.0.0.1:0"]);
        command.arg("--ready-file").arg(self.ready_file());
        for setting in &self.options.settings {
            command.args(["--set", setting]);
        }
        command.args(&self.options.words).stdin(Stdio::null());
        command.args(["--shards", &self.shards.to_string()]);
        command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        if let Some(prepare) = self.options.prepare {
            prepare(&mut command);
        }
        self.child = Some(command.spawn().expect("the binary runs"));
    }

    /// Starts it (again): the same folder, the same port.
    pub fn restart(&mut self) {
        self.spawn();
        self.wait_until_ready();
        self.options.kafka = Some(self.kafka.clone());
    }

    /// Starts it and kills it again after `delay`, wherever its start has come to.
    pub fn kill_while_starting(&mut self, delay: Duration) {
        self.spawn();
        std::thread::sleep(delay); // the moment of the kill, drawn by the test
        self.kill();
    }

    fn wait_until_ready(&mut self) {
        let began = Instant::now();
        loop {
            if let Ok(text) = std::fs::read_to_string(self.ready_file())
                && let Ok(ready) = serde_json::from_str::<serde_json::Value>(&text)
            {
                let word = |name: &str| ready[name].as_str().expect("a string").to_owned();
                (self.kafka, self.admin) = (word("kafka"), word("admin"));
                let pid = ready["pid"].as_u64().expect("a number");
                self.pid = u32::try_from(pid).expect("a process id");
                let child = self.child.as_ref().expect("it was started");
                assert_eq!(self.pid, child.id(), "the ready file names another process");
                return;
            }
            let child = self.child.as_mut().expect("it was started");
            if let Some(status) = child.try_wait().expect("its state can be asked") {
                self.child = None;
                panic!("it ended with {status} while starting:\n{}", self.log());
            }
            assert!(began.elapsed() < PATIENCE, "it is not ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(1)); // the ready file is polled
        }
    }

    /// SIGKILL, and its end.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
        }
    }

    /// SIGTERM, and how long it took to end with code 0.
    pub fn stop(&mut self) -> Duration {
        let began = Instant::now();
        let pid = self.child.as_ref().expect("it runs").id();
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a process id"));
        rustix::process::kill_process(pid.expect("not zero"), rustix::process::Signal::TERM)
            .expect("it can be signalled");
        let status = self.wait_for_end();
        assert_eq!(status.code(), Some(0), "SIGTERM is graceful:\n{}", self.log());
        began.elapsed()
    }

    fn wait_for_end(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("its state can be asked") {
                return status;
            }
            if began.elapsed() > PATIENCE {
                child.kill().expect("it can be killed");
                child.wait().expect("it ends");
                panic!("it did not end by itself:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(1)); // the process is polled
        }
    }

    /// Fails unless the process is still there.
    pub fn assert_alive(&mut self) {
        let child = self.child.as_mut().expect("it runs");
        if let Some(status) = child.try_wait().expect("its state can be asked") {
            panic!("the broker ended with {status}:\n{}", self.log());
        }
    }

    /// A new client connection.
    pub fn connect(&self) -> Connection {
        Connection::open(&self.kafka)
    }

    /// The values of the metric lines in which all of `words` are, added up.
    pub fn metric(&self, words: &[&str]) -> f64 {
        let mut stream = TcpStream::connect(&self.admin).expect("the admin endpoint");
        let request = b"GET /public_metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request).expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("answered");
        let wanted = |line: &&str| words.iter().all(|word| line.contains(word));
        let values = text.lines().filter(wanted).filter_map(|line| line.rsplit(' ').next());
        let values: Vec<f64> = values.filter_map(|value| value.parse().ok()).collect();
        assert!(!values.is_empty(), "{words:?} are not among the metrics:\n{text}");
        values.iter().sum()
    }

    /// The most memory it ever held, bytes.
    pub fn memory_peak(&self) -> u64 {
        memory_of(self.pid, "VmHWM:")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            for line in tail.iter().rev() {
                eprintln!("broker: {line}");
            }
            eprintln!("it had {} shards", self.shards);
        }
        self.kill();
    }
}

fn memory_of(pid: u32, what: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = text.lines().find(|line| line.starts_with(what)).expect("Linux names it");
    let kib: u64 =
        line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number");
    kib * 1024
}

/// Is there no process left that works in `folder`?
pub fn nothing_runs_in(folder: &Path) -> bool {
    let entries = std::fs::read_dir("/proc").expect("a proc file system");
    !entries.flatten().any(|entry| {
        std::fs::read(entry.path().join("cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&*folder.to_string_lossy()))
    })
}

#[test]
fn starts_answers_and_stops() {
    let mut broker = Broker::start();
    let versions = broker.connect().api_versions();
    assert!(versions.iter().any(|(key, _, _)| *key == 0), "Produce is served: {versions:?}");
    let took = broker.stop();
    assert!(took < Duration::from_secs(5), "SIGTERM took {took:?}");
    assert!(nothing_runs_in(broker.folder.path()));
    let port = broker.kafka.clone();
    broker.restart();
    assert_eq!(broker.kafka, port, "a restart keeps its port");
    broker.connect().api_versions();
}
