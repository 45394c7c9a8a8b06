//! The data directory: a marker that makes it ours, a lock that keeps it ours while we run.
//!
//! In:   a path, `node.id`.
//! Out:  an open, locked [`DataDirectory`], or a refusal whose text names the remedy.
//! Home: start-up, before any shard runs; the lock lives as long as the value.
//!
//! The marker is `yeoul.json`: format version, `cluster.id`, `node.id`, `directory.id`. A
//! directory without it is taken only if it is empty, so that an unmounted disk or somebody
//! else's directory is never mistaken for a fresh broker. The lock is `flock` on `yeoul.lock`,
//! which the kernel releases however the process ends; the pid in it is for people.
//!
//! Invariants
//!   M1  Nothing is written to a directory that is refused.
//!   M2  The marker appears whole or not at all: synced under another name, then renamed.
//!   M3  The mark of an orderly end is there only from the end of a run whose logs were all closed
//!       until the next run registers: a run that was killed leaves none.

// Start-up, before any shard runs: std's file calls are its due.
#![allow(clippy::disallowed_methods)]

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::controller::driver::ExpectedLog;
use crate::controller::raft::raft_id;
use crate::controller::random_id::{id_text, parse_id, random_id};
use crate::metadata::brokers::LastShutdown;

/// Version of the layout of a data directory.
const FORMAT: u32 = 1;

const MARKER_NAME: &str = "yeoul.json";
const NEW_MARKER_NAME: &str = "yeoul.json.new";
const LOCK_NAME: &str = "yeoul.lock";
const METADATA_NAME: &str = "metadata";
/// An empty file: the last run ended in order (M3).
const CLEAN_NAME: &str = "yeoul.clean";

/// A marker is far smaller; a larger file is not one.
const MARKER_BYTES_MAX: u64 = 4096;

/// An open data directory; locked until dropped.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    cluster_id: String,
    directory_id: [u8; 16],
    node_id: i32,
    /// Held for its lock.
    _lock: File,
}

/// The marker's fields, as they stand in the file.
#[derive(Serialize, Deserialize)]
struct Marker {
    format: u32,
    #[serde(rename = "cluster.id")]
    cluster_id: String,
    #[serde(rename = "node.id")]
    node_id: i32,
    #[serde(rename = "directory.id")]
    directory_id: String,
}

/// The first field alone: it decides whether the others can be understood.
#[derive(Deserialize)]
struct MarkerFormat {
    format: u32,
}

/// Why a data directory is refused. The text names the remedy.
#[derive(Debug)]
pub enum DirectoryError {
    /// It holds files, but no marker.
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// One of the files.
        found: String,
    },
    /// Its marker names another broker.
    OtherNode {
        /// The directory.
        path: PathBuf,
        /// `node.id` of the marker.
        has: i32,
        /// `node.id` of the configuration.
        configured: i32,
    },
    /// A newer release laid it out.
    UnknownFormat {
        /// The directory.
        path: PathBuf,
        /// The format version of the marker.
        format: u32,
    },
    /// The marker cannot be understood.
    BadMarker {
        /// The marker.
        path: PathBuf,
    },
    /// A running broker has it.
    Locked {
        /// The directory.
        path: PathBuf,
        /// The broker's pid, if the lock file tells it.
        pid: Option<u32>,
    },
    /// The path is no directory.
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// This process may not write there.
    NotWritable {
        /// The directory or file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The operating system refused otherwise.
    Io {
        /// What was attempted.
        action: &'static str,
        /// The directory or file.
        path: PathBuf,
        /// Its error.
        source: io::Error,
    },
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurs { path, found } => write!(
                f,
                "{} is not a Yeoul data directory (it holds {found:?} but no {MARKER_NAME}); \
                 give --data an empty or new directory, or check that its disk is mounted",
                path.display()
            ),
            Self::OtherNode { path, has, configured } => write!(
                f,
                "{} belongs to node.id {has}, but node.id is {configured}; set node.id={has} or \
                 give --data another directory",
                path.display()
            ),
            Self::UnknownFormat { path, format } => write!(
                f,
                "{} has format {format}, this release knows format {FORMAT}; start the release \
                 that wrote it",
                path.display()
            ),
            Self::BadMarker { path } => {
                write!(f, "{} is damaged; restore it from a backup", path.display())
            }
            Self::Locked { path, pid: Some(pid) } => write!(
                f,
                "{} is locked by a running broker (pid {pid}); stop it, or give --data another \
                 directory",
                path.display()
            ),
            Self::Locked { path, pid: None } => write!(
                f,
                "{} is locked by a running broker; stop it, or give --data another directory",
                path.display()
            ),
            Self::NotADirectory { path } => {
                write!(f, "{} is not a directory; give --data a directory", path.display())
            }
            Self::NotWritable { path, source } => write!(
                f,
                "cannot write to {} ({source}); make it writable for this user, or give --data \
                 another directory",
                path.display()
            ),
            Self::Io { action, path, source } => {
                write!(f, "cannot {action} {}: {source}", path.display())
            }
        }
    }
}

impl std::error::Error for DirectoryError {}

impl DataDirectory {
    /// Opens and locks the data directory of broker `node_id`; makes a fresh one of a directory
    /// that is missing or empty.
    ///
    /// Errors: [`DirectoryError`].
    pub fn open(path: &Path, node_id: i32) -> Result<DataDirectory, DirectoryError> {
        std::fs::create_dir_all(path).map_err(|e| classify("create", path, e))?;
        // Looked at before anything is written (M1), and again once locked: another broker
        // may have made it its own in between.
        check_ours(path)?;
        let lock = lock(path)?;
        let marker = match read_marker(path)? {
            Some(marker) => marker,
            None => create_marker(path, node_id)?,
        };
        if marker.node_id != node_id {
            let path = path.to_owned();
            return Err(DirectoryError::OtherNode {
                path,
                has: marker.node_id,
                configured: node_id,
            });
        }
        let directory_id = parse_id(&marker.directory_id)
            .filter(|_| parse_id(&marker.cluster_id).is_some())
            .ok_or_else(|| DirectoryError::BadMarker { path: path.join(MARKER_NAME) })?;
        write_pid(&lock).map_err(|e| classify("write", &path.join(LOCK_NAME), e))?;
        Ok(DataDirectory {
            path: path.to_owned(),
            cluster_id: marker.cluster_id,
            directory_id,
            node_id,
            _lock: lock,
        })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The cluster's id, 22 characters.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// This directory's own id; a wiped disk gets another.
    pub fn directory_id(&self) -> [u8; 16] {
        self.directory_id
    }

    /// Where the metadata quorum keeps its log and snapshots.
    pub fn metadata_path(&self) -> PathBuf {
        self.path.join(METADATA_NAME)
    }

    /// This voter's Raft id: another disk is another voter.
    pub fn raft_id(&self) -> u64 {
        let [a, b, c, d, ..] = self.directory_id;
        raft_id(self.node_id, u32::from_be_bytes([a, b, c, d]))
    }

    /// How the last run ended, by the mark it left; takes the mark away, durably (M3). A directory
    /// that no run has ended in has none.
    ///
    /// Errors: [`DirectoryError`], if the mark cannot be removed.
    pub fn take_last_shutdown(&self) -> Result<LastShutdown, DirectoryError> {
        let mark = self.path.join(CLEAN_NAME);
        match std::fs::remove_file(&mark) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(LastShutdown::Unclean),
            Err(error) => return Err(classify("remove", &mark, error)),
        }
        self.sync().map_err(|e| classify("sync", &self.path, e))?;
        Ok(LastShutdown::Clean)
    }

    /// Marks that this run has ended in order: every log is closed (M3).
    ///
    /// Errors: [`DirectoryError`]; the next start then takes this end for a crash.
    pub fn mark_clean_shutdown(&self) -> Result<(), DirectoryError> {
        let mark = self.path.join(CLEAN_NAME);
        let write = || -> io::Result<()> {
            File::create(&mark)?.sync_all()?;
            self.sync()
        };
        write().map_err(|e| classify("write", &mark, e))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// Whether the metadata log must exist: something besides our own files is here.
    ///
    /// Errors: [`DirectoryError`], if the directory cannot be listed.
    pub fn expected_log(&self) -> Result<ExpectedLog, DirectoryError> {
        Ok(match first_other(&self.path)? {
            Some(_) => ExpectedLog::MustExist,
            None => ExpectedLog::MayBeMissing,
        })
    }
}

/// A name in the directory that is not one of our own files.
fn first_other(path: &Path) -> Result<Option<String>, DirectoryError> {
    const OWN: [&str; 6] =
        [MARKER_NAME, NEW_MARKER_NAME, LOCK_NAME, METADATA_NAME, CLEAN_NAME, "lost+found"];
    let mut others = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|e| classify("list", path, e))? {
        let name = entry.map_err(|e| classify("list", path, e))?.file_name();
        if !OWN.iter().any(|own| name == *own) {
            others.push(name.to_string_lossy().into_owned());
        }
    }
    Ok(others.into_iter().min())
}

/// Whether the directory has a marker, or is empty but for what a start that was cut off leaves.
fn check_ours(path: &Path) -> Result<(), DirectoryError> {
    if path.join(MARKER_NAME).exists() {
        return Ok(());
    }
    let metadata = path.join(METADATA_NAME).exists().then(|| METADATA_NAME.to_owned());
    match first_other(path)?.or(metadata) {
        Some(found) => Err(DirectoryError::NotOurs { path: path.to_owned(), found }),
        None => Ok(()),
    }
}

fn lock(path: &Path) -> Result<File, DirectoryError> {
    let lock_path = path.join(LOCK_NAME);
    let mut options = OpenOptions::new();
    let lock = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock_path)
        .map_err(|e| classify("open", &lock_path, e))?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let pid = match (&lock).take(32).read_to_string(&mut text) {
                Ok(_) => text.trim().parse().ok(),
                Err(_) => None,
            };
            Err(DirectoryError::Locked { path: path.to_owned(), pid })
        }
        Err(error) => Err(classify("lock", &lock_path, error.into())),
    }
}

fn write_pid(lock: &File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0)
}

/// The marker, if there is one.
fn read_marker(path: &Path) -> Result<Option<Marker>, DirectoryError> {
    let marker_path = path.join(MARKER_NAME);
    let file = match File::open(&marker_path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(classify("open", &marker_path, error)),
    };
    let mut bytes = Vec::new();
    let read = file.take(MARKER_BYTES_MAX).read_to_end(&mut bytes);
    read.map_err(|e| classify("read", &marker_path, e))?;
    // The format first: a newer one may have other fields.
    match serde_json::from_slice::<MarkerFormat>(&bytes) {
        Ok(MarkerFormat { format: FORMAT }) => {}
        Ok(MarkerFormat { format }) => {
            return Err(DirectoryError::UnknownFormat { path: path.to_owned(), format });
        }
        Err(_) => return Err(DirectoryError::BadMarker { path: marker_path }),
    }
    match serde_json::from_slice::<Marker>(&bytes) {
        Ok(marker) => Ok(Some(marker)),
        Err(_) => Err(DirectoryError::BadMarker { path: marker_path }),
    }
}

fn create_marker(path: &Path, node_id: i32) -> Result<Marker, DirectoryError> {
    let marker = Marker {
        format: FORMAT,
        cluster_id: id_text(random_id()),
        node_id,
        directory_id: id_text(random_id()),
    };
    let mut text = serde_json::to_vec_pretty(&marker).expect("plain fields always serialize");
    text.push(b'\n');
    let new = path.join(NEW_MARKER_NAME);
    let write = || -> io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&new, path.join(MARKER_NAME))?;
        File::open(path)?.sync_all()
    };
    write().map_err(|e| classify("write", &new, e))?;
    Ok(marker)
}

/// The refusal that an error of the operating system means.
fn classify(action: &'static str, path: &Path, source: io::Error) -> DirectoryError {
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            DirectoryError::NotWritable { path, source }
        }
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            DirectoryError::NotADirectory { path }
        }
        _ => DirectoryError::Io { action, path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_directory_gets_ids_and_keeps_them() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("new").join("data");
        let first = DataDirectory::open(&path, 3).unwrap();
        let (cluster_id, directory_id) = (first.cluster_id().to_owned(), first.directory_id());
        assert_eq!(cluster_id.len(), 22);
        assert_eq!(first.raft_id() >> 32, 3);
        assert_eq!(first.expected_log().unwrap(), ExpectedLog::MayBeMissing);
        drop(first);
        std::fs::create_dir(path.join("topic-0")).unwrap();
        let again = DataDirectory::open(&path, 3).unwrap();
        assert_eq!((again.cluster_id(), again.directory_id()), (&*cluster_id, directory_id));
        assert_eq!(again.expected_log().unwrap(), ExpectedLog::MustExist);
    }

    /// M3: the mark tells of one end, once.
    #[test]
    fn the_mark_of_an_orderly_end_is_taken_once() {
        let place = tempfile::tempdir().unwrap();
        let run = || DataDirectory::open(place.path(), 1).unwrap();
        assert_eq!(run().take_last_shutdown().unwrap(), LastShutdown::Unclean);
        run().mark_clean_shutdown().unwrap();
        assert_eq!(run().expected_log().unwrap(), ExpectedLog::MayBeMissing);
        assert_eq!(run().take_last_shutdown().unwrap(), LastShutdown::Clean);
        assert_eq!(run().take_last_shutdown().unwrap(), LastShutdown::Unclean);
    }

    #[test]
    fn two_opens_conflict_and_the_refusal_names_the_pid() {
        let place = tempfile::tempdir().unwrap();
        let held = DataDirectory::open(place.path(), 1).unwrap();
        let error = DataDirectory::open(place.path(), 1).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("locked by a running broker"), "{text}");
        assert!(text.contains(&format!("pid {}", std::process::id())), "{text}");
        drop(held);
        DataDirectory::open(place.path(), 1).unwrap();
    }

    #[test]
    fn a_directory_that_is_not_ours_is_refused_untouched() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("photo.jpg"), b"x").unwrap();
        let error = DataDirectory::open(place.path(), 1).unwrap_err();
        assert!(matches!(&error, DirectoryError::NotOurs { found, .. } if found == "photo.jpg"));
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1, "M1");
    }

    #[test]
    fn metadata_without_marker_is_refused() {
        let place = tempfile::tempdir().unwrap();
        drop(DataDirectory::open(place.path(), 1).unwrap());
        std::fs::create_dir(place.path().join(METADATA_NAME)).unwrap();
        std::fs::remove_file(place.path().join(MARKER_NAME)).unwrap();
        let error = DataDirectory::open(place.path(), 1).unwrap_err();
        assert!(matches!(error, DirectoryError::NotOurs { .. }), "{error}");
    }

    #[test]
    fn what_a_cut_off_first_start_leaves_is_still_fresh() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("lost+found")).unwrap();
        std::fs::write(place.path().join(LOCK_NAME), b"").unwrap();
        std::fs::write(place.path().join(NEW_MARKER_NAME), b"{\"form").unwrap();
        DataDirectory::open(place.path(), 1).unwrap();
    }

    #[test]
    fn a_marker_of_another_broker_format_or_kind_is_refused() {
        let place = tempfile::tempdir().unwrap();
        drop(DataDirectory::open(place.path(), 1).unwrap());
        let error = DataDirectory::open(place.path(), 2).unwrap_err();
        assert!(matches!(error, DirectoryError::OtherNode { has: 1, configured: 2, .. }));
        let marker = place.path().join(MARKER_NAME);
        let refusal = |text: &str| {
            std::fs::write(&marker, text).unwrap();
            DataDirectory::open(place.path(), 1).unwrap_err()
        };
        let newer = refusal("{\"format\": 2, \"anything\": []}");
        assert!(matches!(newer, DirectoryError::UnknownFormat { format: 2, .. }), "{newer}");
        let bad = [
            "",
            "{}",
            "not json",
            "{\"format\": 1}",
            "{\"format\":1,\"cluster.id\":\"x\",\"node.id\":1,\"directory.id\":\"y\"}",
        ];
        for text in bad {
            let error = refusal(text);
            assert!(matches!(error, DirectoryError::BadMarker { .. }), "{text}: {error}");
        }
    }

    #[test]
    fn a_path_that_cannot_be_a_directory_is_refused_with_its_remedy() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        std::fs::write(&file, b"x").unwrap();
        for path in [file.clone(), file.join("below")] {
            let error = DataDirectory::open(&path, 1).unwrap_err();
            assert!(matches!(error, DirectoryError::NotADirectory { .. }), "{error}");
        }
        // Whoever runs the tests may write everywhere, so the error itself is handed in.
        for kind in [ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem] {
            let error = classify("create", &file, kind.into());
            assert!(matches!(error, DirectoryError::NotWritable { .. }));
            assert!(error.to_string().contains("give --data another directory"), "{error}");
        }
    }
}
