//! Committed entries become the next image, and images become snapshots.
//!
//! In:   committed entries in order; at start, the newest snapshot.
//! Out:  each image to the publisher, awaited before openraft answers; snapshots on disk.
//! Home: openraft's state machine task on the control thread; files on its blocking pool.
//!
//! An entry that cannot be decoded or applied ends the process: its bytes passed the log's
//! checksum, so a newer release wrote them, or we did and are wrong. Going on would fork.

use std::fmt;
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::storage::RaftStateMachine;
use openraft::{
    EmptyNode, Entry, EntryPayload, LogId, OptionalSend, RaftSnapshotBuilder, Snapshot,
    SnapshotMeta, StorageError, StorageIOError, StoredMembership,
};

use crate::controller::publisher::Publisher;
use crate::controller::raft::{TypeConfig, frame_id, log_id, membership, membership_parts};
use crate::controller::snapshot_file::{self, SnapshotFile, SnapshotFileMeta};
use crate::fatal;
use crate::metadata::codec::{CodecError, decode_image, decode_records, encode_image};
use crate::metadata::image::MetadataImage;

/// Why the state cannot be restored from snapshots.
#[derive(Debug)]
pub enum RestoreError {
    /// The operating system refused.
    Io {
        /// The directory.
        path: PathBuf,
        /// Its error.
        source: io::Error,
    },
    /// A snapshot passed its checksum, yet its image cannot be read.
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: CodecError,
    },
    /// The log begins behind every whole snapshot: metadata is missing.
    Gap {
        /// The directory.
        path: PathBuf,
        /// Last entry that is in snapshots alone.
        purged: u64,
        /// Last entry of the newest whole snapshot, if there is one.
        snapshot: Option<u64>,
    },
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, source } => {
                write!(f, "cannot read the snapshots in {}: {source}", path.display())
            }
            Self::Unreadable { path, error } => {
                write!(f, "the metadata snapshot in {} cannot be read: {error}", path.display())
            }
            Self::Gap { path, purged, snapshot } => {
                let newest = snapshot.map_or("none is whole".to_owned(), |s| format!("entry {s}"));
                write!(
                    f,
                    "a metadata snapshot in {} is missing or damaged: the log needs one of entry \
                     {purged} or later ({newest}); restore the directory from a backup",
                    path.display()
                )
            }
        }
    }
}

impl std::error::Error for RestoreError {}

/// The image, and where in the log it stands.
#[derive(Clone, Debug)]
pub struct StateMachine {
    directory: PathBuf,
    image: Arc<MetadataImage>,
    last_applied: Option<LogId<u64>>,
    membership: StoredMembership<u64, EmptyNode>,
    publisher: Publisher,
}

impl StateMachine {
    /// The state of the newest whole snapshot in `directory`, which must reach `purged`.
    pub fn restore(
        directory: &Path,
        purged: Option<LogId<u64>>,
        publisher: Publisher,
    ) -> Result<StateMachine, RestoreError> {
        let path = directory.to_owned();
        let newest = match snapshot_file::load_newest(directory) {
            Ok(newest) => newest,
            Err(source) => return Err(RestoreError::Io { path, source }),
        };
        let snapshot = newest.as_ref().and_then(|found| found.meta.last).map(|last| last.index);
        if let Some(purged) = purged.map(|id| id.index)
            && snapshot.is_none_or(|index| index < purged)
        {
            return Err(RestoreError::Gap { path, purged, snapshot });
        }
        let mut machine = StateMachine {
            directory: directory.to_owned(),
            image: Arc::new(MetadataImage::empty()),
            last_applied: None,
            membership: StoredMembership::default(),
            publisher,
        };
        if let Some(found) = newest {
            let image = decode_image(&found.image);
            let image = image.map_err(|error| RestoreError::Unreadable { path, error })?;
            machine.image = Arc::new(image);
            machine.last_applied = found.meta.last.map(log_id);
            machine.membership = stored_membership(&found.meta);
        }
        Ok(machine)
    }

    /// Publishes the image as it is; returns once the hook has carried it.
    pub async fn publish(&self) {
        self.publisher.publish(self.image.clone()).await;
    }

    fn apply_records(&mut self, index: u64, bytes: &[u8]) {
        let records = decode_records(bytes).unwrap_or_else(|error| {
            fatal::exit(&format!("entry {index} of the metadata log cannot be read: {error}"))
        });
        match self.image.apply_entry(index, &records) {
            Ok(image) => self.image = Arc::new(image),
            Err(error) => fatal::exit(&format!(
                "entry {index} of the metadata log contradicts what came before it: {error}"
            )),
        }
    }

    fn file_meta(&self) -> SnapshotFileMeta {
        let (voters, nodes) = membership_parts(self.membership.membership());
        let last = self.last_applied.as_ref().map(frame_id);
        SnapshotFileMeta {
            last,
            membership_at: self.membership.log_id().as_ref().map(frame_id),
            voters,
            nodes,
            id: last.map_or_else(String::new, |id| format!("{}-{}-{}", id.term, id.node, id.index)),
        }
    }

    /// Saves the state as it is; a disk that fails ends the process.
    async fn save(&self) -> Snapshot<TypeConfig> {
        let (directory, image, meta) =
            (self.directory.clone(), self.image.clone(), self.file_meta());
        let saved = tokio::task::spawn_blocking(move || {
            let file = SnapshotFile { meta, image: encode_image(&image) };
            snapshot_file::save(&directory, &file).map(|()| file)
        });
        match saved.await {
            Ok(Ok(file)) => openraft_snapshot(file),
            Ok(Err(error)) => fatal::exit(&format!(
                "a metadata snapshot cannot be written ({error}): check the disk of the data \
                 directory; nothing acknowledged is lost"
            )),
            Err(error) => fatal::exit(&format!("the metadata snapshot's writer failed: {error}")),
        }
    }
}

fn stored_membership(meta: &SnapshotFileMeta) -> StoredMembership<u64, EmptyNode> {
    StoredMembership::new(meta.membership_at.map(log_id), membership(&meta.voters, &meta.nodes))
}

fn openraft_snapshot(file: SnapshotFile) -> Snapshot<TypeConfig> {
    let meta = SnapshotMeta {
        last_log_id: file.meta.last.map(log_id),
        last_membership: stored_membership(&file.meta),
        snapshot_id: file.meta.id,
    };
    Snapshot { meta, snapshot: Box::new(Cursor::new(file.image)) }
}

impl RaftSnapshotBuilder<TypeConfig> for StateMachine {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError<u64>> {
        Ok(self.save().await)
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    /// A copy of the state; images are shared, so it costs nothing and stands still.
    type SnapshotBuilder = StateMachine;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogId<u64>>, StoredMembership<u64, EmptyNode>), StorageError<u64>> {
        Ok((self.last_applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, StorageError<u64>>
    where
        I: IntoIterator<Item = Entry<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut applied = Vec::new();
        for entry in entries {
            match &entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(records) => {
                    self.apply_records(entry.log_id.index, &records.0);
                }
                EntryPayload::Membership(membership) => {
                    let at = Some(entry.log_id);
                    self.membership = StoredMembership::new(at, membership.clone());
                }
            }
            self.last_applied = Some(entry.log_id);
            applied.push(());
        }
        self.publish().await;
        Ok(applied)
    }

    async fn get_snapshot_builder(&mut self) -> StateMachine {
        self.clone()
    }

    async fn begin_receiving_snapshot(
        &mut self,
    ) -> Result<Box<Cursor<Vec<u8>>>, StorageError<u64>> {
        Ok(Box::new(Cursor::new(Vec::new())))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, EmptyNode>,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError<u64>> {
        let image = decode_image(snapshot.get_ref()).map_err(|error| {
            StorageIOError::read_snapshot(Some(meta.signature()), openraft::AnyError::new(&error))
        })?;
        self.image = Arc::new(image);
        self.last_applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.save().await;
        self.publish().await;
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<Snapshot<TypeConfig>>, StorageError<u64>> {
        let directory = self.directory.clone();
        let loaded = tokio::task::spawn_blocking(move || snapshot_file::load_newest(&directory));
        match loaded.await {
            Ok(Ok(found)) => Ok(found.map(openraft_snapshot)),
            Ok(Err(error)) => {
                Err(StorageIOError::read_snapshot(None, openraft::AnyError::new(&error)).into())
            }
            Err(error) => {
                Err(StorageIOError::read_snapshot(None, openraft::AnyError::new(&error)).into())
            }
        }
    }
}
