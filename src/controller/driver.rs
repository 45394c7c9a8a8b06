//! The controller: commands in, answers out, with the metadata quorum in between.
//!
//! In:   commands of this broker's handlers and start-up.
//! Out:  answers, each after its records are durable, applied and published to the shards.
//! Home: a task of the control thread's tokio runtime; handles may be cloned freely.
//!
//! Commands that come while an entry is being written wait and share the next one: decided one
//! after another, each against what the ones before it will have changed, and synced once.
//!
//! Invariants
//!   R1  Decisions are made by one task, against the newest image, one entry at a time.
//!   R2  An answer goes out only after the entry with its records is published (or it needs none).
//!
//! Not here: what commands mean (`crate::metadata::commands`), consensus (`raft.rs`).

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use crate::config::error::ConfigError;
use crate::controller::log_file::LogFile;
use crate::controller::publisher::Publisher;
use crate::controller::quorum::{ProposeError, Quorum, QuorumStatus, StatusProbe};
use crate::controller::raft::{QuorumStartError, RaftQuorum};
use crate::metadata::commands::{Answer, Command, CommandError, Rules, decide};
use crate::metadata::delta::Delta;
use crate::metadata::image::{ConfigMap, MetadataImage};
use crate::metadata::record::Record;

/// Commands that wait; whoever brings one more waits to hand it over.
pub const COMMANDS_QUEUED_MAX: usize = 1024;

/// No further command joins an entry that has this many records.
const ENTRY_RECORDS_FULL: usize = 10_000;

/// Checks a set of overridden settings.
pub type ConfigCheck = Box<dyn Fn(&ConfigMap) -> Result<(), ConfigError> + Send + Sync>;

/// What the broker's configuration says about commands.
pub struct ControllerRules {
    /// `num.partitions`, at least 1.
    pub num_partitions: i32,
    /// `default.replication.factor`, at least 1.
    pub default_replication_factor: i16,
    /// Whether a topic may have exactly these overrides.
    pub check_topic_configs: ConfigCheck,
    /// Whether a broker may have exactly these overrides.
    pub check_broker_configs: ConfigCheck,
    /// Whether a group may have exactly these overrides.
    pub check_group_configs: ConfigCheck,
}

impl ControllerRules {
    fn rules(&self) -> Rules<'_> {
        Rules {
            num_partitions: self.num_partitions,
            default_replication_factor: self.default_replication_factor,
            check_topic_configs: &*self.check_topic_configs,
            check_broker_configs: &*self.check_broker_configs,
            check_group_configs: &*self.check_group_configs,
        }
    }
}

/// What a controller starts from.
pub struct ControllerConfig {
    /// Where log and snapshots lie; created if missing. Within a locked data directory.
    pub directory: PathBuf,
    /// This voter's Raft id (`raft::raft_id`).
    pub raft_id: u64,
    /// The cluster's id as the data directory has it.
    pub cluster_id: String,
    /// Feature levels to finalize.
    pub features: BTreeMap<String, i16>,
    /// What the configuration says.
    pub rules: ControllerRules,
    /// Whether a missing log is refused: the data directory already holds partitions.
    pub log: ExpectedLog,
}

/// Whether there must be a metadata log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedLog {
    /// A missing one is made anew: the data directory is fresh.
    MayBeMissing,
    /// A missing one is refused: the data directory holds data that only a log can explain.
    MustExist,
}

/// Why the controller cannot start.
#[derive(Debug)]
pub enum StartError {
    /// The directory cannot be made.
    Directory {
        /// The directory.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// Partitions are there, the metadata log is not.
    LogMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Log, snapshots or Raft.
    Quorum(QuorumStartError),
    /// The log is of another cluster than the data directory's marker says.
    OtherCluster {
        /// The log's directory.
        path: PathBuf,
        /// Cluster id in the log.
        has: String,
        /// Cluster id in the marker.
        expected: String,
    },
    /// The cluster could not be formed.
    Form(ExecuteError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory { path, source } => {
                write!(f, "cannot create {}: {source}", path.display())
            }
            Self::LogMissing { path } => write!(
                f,
                "{} holds no metadata log, but the data directory holds partitions; restore it \
                 from a backup, or start with an empty data directory",
                path.display()
            ),
            Self::Quorum(error) => error.fmt(f),
            Self::OtherCluster { path, has, expected } => write!(
                f,
                "the metadata in {} is of cluster {has}, the data directory of {expected}",
                path.display()
            ),
            Self::Form(error) => write!(f, "the cluster could not be formed: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Why a command has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecuteError {
    /// It is refused as a whole; nothing changed.
    Refused(CommandError),
    /// The quorum did not take it.
    Propose(ProposeError),
    /// The controller has stopped; whether it was carried out is not known.
    Stopped,
}

impl fmt::Display for ExecuteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::Propose(error) => error.fmt(f),
            Self::Stopped => write!(f, "the controller has stopped"),
        }
    }
}

impl std::error::Error for ExecuteError {}

enum Request {
    Execute { command: Command, reply: oneshot::Sender<Result<Answer, ExecuteError>> },
    Stop { done: oneshot::Sender<()> },
}

/// A handle to the running controller; cheap to clone.
#[derive(Clone)]
pub struct Controller {
    requests: mpsc::Sender<Request>,
    publisher: Publisher,
    probe: StatusProbe,
}

impl Controller {
    /// Starts the controller on the current tokio runtime.
    ///
    /// Returns once this broker leads, all that was committed is applied, and the cluster is
    /// formed. On an empty directory that takes a handful of syncs, later none at all.
    ///
    /// Errors: [`StartError`], with the remedy in its text; nothing runs then.
    pub async fn start(config: ControllerConfig) -> Result<Controller, StartError> {
        let path = &config.directory;
        if config.log == ExpectedLog::MustExist && !LogFile::exists(path) {
            return Err(StartError::LogMissing { path: path.clone() });
        }
        #[allow(clippy::disallowed_methods)] // start-up, on the control thread
        std::fs::create_dir_all(path)
            .map_err(|source| StartError::Directory { path: path.clone(), source })?;
        let publisher = Publisher::start();
        let quorum = RaftQuorum::start(path, config.raft_id, publisher.clone())
            .await
            .map_err(StartError::Quorum)?;
        let controller = Controller::run(quorum, config.rules, publisher);
        let (cluster_id, features) = (config.cluster_id, config.features);
        let form = Command::FormCluster { cluster_id, features };
        let formed = controller.execute(form).await;
        match formed {
            Ok(_) => Ok(controller),
            Err(error) => {
                controller.stop().await;
                Err(match error {
                    ExecuteError::Refused(CommandError::ClusterIdMismatch { has, asked }) => {
                        let path = config.directory;
                        StartError::OtherCluster { path, has, expected: asked }
                    }
                    error => StartError::Form(error),
                })
            }
        }
    }

    /// Serves commands by a quorum that publishes through `publisher`.
    fn run(quorum: impl Quorum, rules: ControllerRules, publisher: Publisher) -> Controller {
        let (requests, received) = mpsc::channel(COMMANDS_QUEUED_MAX);
        let probe = quorum.probe();
        let driver = Driver { quorum, rules, publisher: publisher.clone() };
        tokio::spawn(driver.serve(received));
        Controller { requests, publisher, probe }
    }

    /// Carries out `command` and returns its answer once every shard has the image with it.
    ///
    /// Errors: [`ExecuteError`]; single topics that are refused are part of the answer.
    pub async fn execute(&self, command: Command) -> Result<Answer, ExecuteError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Execute { command, reply };
        self.requests.send(request).await.map_err(|_| ExecuteError::Stopped)?;
        answer.await.unwrap_or(Err(ExecuteError::Stopped))
    }

    /// How the quorum stands.
    pub fn quorum_status(&self) -> QuorumStatus {
        (self.probe)()
    }

    /// The newest published image.
    pub fn image(&self) -> Arc<MetadataImage> {
        self.publisher.image()
    }

    /// The newest published image, and word of each newer one. Images may be skipped.
    pub fn subscribe(&self) -> watch::Receiver<Arc<MetadataImage>> {
        self.publisher.subscribe()
    }

    /// Has `hook` called with the current image (everything in it as new), and then with each
    /// newer one and what it changed, in order; no answer goes out before its call is done.
    ///
    /// Returns when the first call is done. The hook must not wait for a command's answer.
    pub async fn publish_to<F, C>(&self, hook: F)
    where
        F: FnMut(Arc<MetadataImage>, Arc<Delta>) -> C + Send + 'static,
        C: Future<Output = ()> + Send + 'static,
    {
        self.publisher.set_hook(hook).await;
    }

    /// Stops the controller; commands that wait are answered with `Stopped`.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.requests.send(Request::Stop { done }).await.is_ok() {
            let _ = stopped.await;
        }
    }
}

type Reply = oneshot::Sender<Result<Answer, ExecuteError>>;

/// The task that decides.
struct Driver<Q> {
    quorum: Q,
    rules: ControllerRules,
    publisher: Publisher,
}

/// Commands decided together, for one entry.
struct Batch {
    /// What the image will be.
    image: MetadataImage,
    records: Vec<Record>,
    replies: Vec<(Reply, Result<Answer, ExecuteError>)>,
}

impl<Q: Quorum> Driver<Q> {
    async fn serve(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(first) = requests.recv().await {
            let mut batch = Batch {
                image: (*self.publisher.image()).clone(),
                records: Vec::new(),
                replies: Vec::new(),
            };
            let mut next = Some(first);
            let mut stop = None;
            while let Some(request) = next.take() {
                match request {
                    Request::Execute { command, reply } => self.decide(&command, reply, &mut batch),
                    Request::Stop { done } => {
                        stop = Some(done);
                        break;
                    }
                }
                if batch.records.len() < ENTRY_RECORDS_FULL {
                    next = requests.try_recv().ok();
                }
            }
            self.commit(batch).await;
            if let Some(done) = stop {
                self.quorum.stop().await;
                // Whoever asked may be gone.
                let _ = done.send(());
                return;
            }
        }
        self.quorum.stop().await;
    }

    fn decide(&self, command: &Command, reply: Reply, batch: &mut Batch) {
        match decide(&batch.image, &self.rules.rules(), command) {
            Ok(decision) => {
                for record in &decision.records {
                    batch.image.apply(record).expect("C1: a decision applies to its image");
                }
                batch.records.extend(decision.records);
                batch.replies.push((reply, Ok(decision.answer)));
            }
            Err(error) => batch.replies.push((reply, Err(ExecuteError::Refused(error)))),
        }
    }

    async fn commit(&mut self, batch: Batch) {
        let Batch { records, replies, .. } = batch;
        let committed = if records.is_empty() {
            Ok(())
        } else {
            self.quorum.propose(&records).await.map(|_| ())
        };
        for (reply, answer) in replies {
            // What was refused stays so; the rest shares the entry's fate.
            let answer = answer.and_then(|answer| match committed {
                Ok(()) => Ok(answer),
                Err(error) => Err(ExecuteError::Propose(error)),
            });
            // A caller that went away does not undo what it asked for.
            let _ = reply.send(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::data_directory::DataDirectory;
    use crate::controller::random_id::random_topic_id;
    use crate::metadata::brokers::{LastShutdown, RegisterBroker};
    use crate::metadata::commands::Mode;
    use crate::metadata::create_topics::NewTopic;
    use crate::metadata::record::Endpoint;
    use crate::model::ids::BrokerId;

    fn rules() -> ControllerRules {
        ControllerRules {
            num_partitions: 2,
            default_replication_factor: 1,
            check_topic_configs: Box::new(|_| Ok(())),
            check_broker_configs: Box::new(|_| Ok(())),
            check_group_configs: Box::new(|_| Ok(())),
        }
    }

    fn config(directory: &DataDirectory) -> ControllerConfig {
        ControllerConfig {
            directory: directory.metadata_path(),
            raft_id: directory.raft_id(),
            cluster_id: directory.cluster_id().to_owned(),
            features: BTreeMap::from([("metadata.version".to_owned(), 30)]),
            rules: rules(),
            log: directory.expected_log().unwrap(),
        }
    }

    fn register() -> Command {
        let endpoint = Endpoint { host: "localhost".into(), port: 9092 };
        Command::RegisterBroker(RegisterBroker {
            id: BrokerId(1),
            rack: None,
            endpoints: BTreeMap::from([("PLAINTEXT".to_owned(), endpoint)]),
            last_shutdown: LastShutdown::Clean,
        })
    }

    fn create(name: &str) -> Command {
        let topic = NewTopic {
            id: random_topic_id(),
            name: name.to_owned(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: Vec::new(),
            configs: ConfigMap::new(),
            valueless: Vec::new(),
        };
        Command::CreateTopics { topics: vec![topic], mode: Mode::Commit }
    }

    async fn start(path: &std::path::Path) -> (Controller, DataDirectory) {
        let directory = DataDirectory::open(path, 1).unwrap();
        (Controller::start(config(&directory)).await.unwrap(), directory)
    }

    #[tokio::test]
    async fn a_restart_restores_everything() {
        let place = tempfile::tempdir().unwrap();
        let (controller, directory) = start(place.path()).await;
        controller.execute(register()).await.unwrap();
        controller.execute(create("a")).await.unwrap();
        controller.execute(create("b")).await.unwrap();
        let before = controller.image();
        assert_eq!(before.cluster_id(), Some(directory.cluster_id()));
        assert_eq!(before.topics().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(before.partition_count(), 4);
        controller.stop().await;
        assert_eq!(controller.execute(create("c")).await, Err(ExecuteError::Stopped));
        drop(directory);

        let (controller, _directory) = start(place.path()).await;
        assert_eq!(controller.image(), before);
        controller.execute(create("c")).await.unwrap();
        assert_eq!(controller.image().topic_count(), 3);
        controller.stop().await;
    }

    #[tokio::test]
    async fn commands_that_come_together_share_an_entry() {
        let place = tempfile::tempdir().unwrap();
        let (controller, _directory) = start(place.path()).await;
        controller.execute(register()).await.unwrap();
        let before = controller.image().applied_index();
        let names: Vec<String> = (0..50).map(|i| format!("t{i}")).collect();
        let commands = names.iter().map(|name| {
            let controller = controller.clone();
            let command = create(name);
            tokio::spawn(async move { controller.execute(command).await })
        });
        for task in commands.collect::<Vec<_>>() {
            task.await.unwrap().unwrap();
        }
        let entries = controller.image().applied_index() - before;
        assert_eq!(controller.image().topic_count(), 50);
        assert!(entries <= 3, "{entries} entries for 50 commands");
        controller.stop().await;
    }

    #[tokio::test]
    async fn an_answer_comes_after_the_hook_has_carried_its_image() {
        let place = tempfile::tempdir().unwrap();
        let (controller, _directory) = start(place.path()).await;
        controller.execute(register()).await.unwrap();
        controller.execute(create("a")).await.unwrap();
        let (seen, mut calls) = mpsc::unbounded_channel();
        let hook = move |image: Arc<MetadataImage>, delta: Arc<Delta>| {
            let seen = seen.clone();
            async move {
                tokio::task::yield_now().await;
                seen.send((image.topic_count(), delta.created.len())).unwrap();
            }
        };
        controller.publish_to(hook).await;
        assert_eq!(calls.try_recv(), Ok((1, 1)));
        controller.execute(create("b")).await.unwrap();
        assert_eq!(calls.try_recv(), Ok((2, 1)), "R2");
        let refused = controller.execute(create("b")).await.unwrap();
        assert!(matches!(refused, Answer::TopicsCreated(results) if results[0].is_err()));
        assert!(calls.try_recv().is_err(), "nothing changed, nothing is published");
        controller.stop().await;
    }

    #[tokio::test]
    async fn partitions_without_metadata_log_and_another_cluster_are_refused() {
        let place = tempfile::tempdir().unwrap();
        let (controller, directory) = start(place.path()).await;
        controller.stop().await;
        let mut other = config(&directory);
        other.cluster_id = "another".into();
        let error = Controller::start(other).await.err().unwrap();
        assert!(matches!(&error, StartError::OtherCluster { .. }), "{error}");

        #[allow(clippy::disallowed_methods)] // a test
        std::fs::create_dir_all(place.path().join("flights-0")).unwrap();
        std::fs::remove_dir_all(directory.metadata_path()).unwrap();
        let error = Controller::start(config(&directory)).await.err().unwrap();
        assert!(matches!(&error, StartError::LogMissing { .. }), "{error}");
        assert!(!directory.metadata_path().exists());
    }

    /// A quorum that refuses: the driver says so, and nothing is published.
    struct Refusing;

    impl Quorum for Refusing {
        async fn propose(&mut self, _records: &[Record]) -> Result<u64, ProposeError> {
            Err(ProposeError::NotLeader { leader: Some(7) })
        }

        fn probe(&self) -> StatusProbe {
            Arc::new(QuorumStatus::default)
        }

        async fn stop(&mut self) {}
    }

    #[tokio::test]
    async fn what_the_quorum_refuses_is_answered_so() {
        let controller = Controller::run(Refusing, rules(), Publisher::start());
        let answer = controller.execute(register()).await;
        let want = ExecuteError::Propose(ProposeError::NotLeader { leader: Some(7) });
        assert_eq!(answer, Err(want));
        assert_eq!(controller.image().brokers().len(), 0);
        controller.stop().await;
        assert_eq!(controller.execute(register()).await, Err(ExecuteError::Stopped));
    }
}
