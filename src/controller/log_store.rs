//! openraft's log on our file: entries in memory, every change a durable frame first.
//!
//! In:   openraft's calls; at start, the frames of the file.
//! Out:  durability before each acknowledgement; a failed write or sync ends the process.
//! Home: the control thread; file work on its blocking pool, one call at a time.
//!
//! Invariants
//!   G1  Entries are gapless: from the one after the purged one to the last.
//!   G2  Memory is behind the file, never ahead: nothing is readable that is not durable.
//!
//! The entries since the last snapshot stay in memory; the driver bounds them by asking for
//! snapshots (`raft.rs`).

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::{Arc, RwLock};

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{
    Entry, EntryPayload, LogId, LogState, OptionalSend, RaftLogReader, StorageError, Vote,
};

use crate::controller::log_file::{Frame, LogError, LogFile};
use crate::controller::raft::{
    EntryRecords, TypeConfig, frame_id, log_id, membership, membership_parts,
};
use crate::fatal;

/// Entries by index; written by the store, read by the tasks that replicate.
type Entries = Arc<RwLock<BTreeMap<u64, Entry<TypeConfig>>>>;

/// The log of this voter.
#[derive(Debug)]
pub struct LogStore {
    /// `None` only while a call has it on the blocking pool.
    file: Option<LogFile>,
    entries: Entries,
    vote: Option<Vote<u64>>,
    purged: Option<LogId<u64>>,
}

/// A reader of the entries.
#[derive(Clone, Debug)]
pub struct LogReader {
    entries: Entries,
}

impl LogStore {
    /// Opens the log of voter `raft_id` in `directory`, or makes an empty one.
    ///
    /// Errors: [`LogError`]; nothing was changed.
    pub fn open(directory: &Path, raft_id: u64) -> Result<LogStore, LogError> {
        let (file, frames) = if LogFile::exists(directory) {
            LogFile::open(directory, raft_id)?
        } else {
            (LogFile::create(directory, raft_id)?, Vec::new())
        };
        let mut entries = BTreeMap::new();
        let (mut vote, mut purged) = (None, None);
        for frame in frames {
            match frame {
                Frame::Identity { .. } => return Err(file.out_of_order()),
                Frame::Vote { term, node, committed } => {
                    let mut read = Vote::new(term, node);
                    read.committed = committed;
                    vote = Some(read);
                }
                Frame::Purged { id } => {
                    purged = Some(log_id(id));
                    entries = entries.split_off(&(id.index + 1));
                }
                Frame::Truncated { from } => drop(entries.split_off(&from)),
                Frame::Blank { id } => put(&mut entries, log_id(id), EntryPayload::Blank),
                Frame::Records { id, bytes } => {
                    put(&mut entries, log_id(id), EntryPayload::Normal(EntryRecords(bytes)));
                }
                Frame::Membership { id, voters, nodes } => {
                    let membership = membership(&voters, &nodes);
                    put(&mut entries, log_id(id), EntryPayload::Membership(membership));
                }
            }
        }
        let first = purged.map_or(0, |id| id.index + 1);
        if !entries.keys().copied().eq((first..).take(entries.len())) {
            return Err(file.out_of_order());
        }
        Ok(LogStore { file: Some(file), entries: Arc::new(RwLock::new(entries)), vote, purged })
    }

    /// The last entry that only a snapshot holds.
    pub fn purged(&self) -> Option<LogId<u64>> {
        self.purged
    }

    /// Entries in the log.
    pub fn entry_count(&self) -> usize {
        self.entries.read().expect("no holder panics").len()
    }

    /// Does file work on the blocking pool; ends the process if it fails (a sync is never
    /// tried again).
    async fn on_file<F>(&mut self, work: F)
    where
        F: FnOnce(&mut LogFile) -> io::Result<()> + Send + 'static,
    {
        let mut file = self.file.take().expect("openraft makes one call at a time");
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&mut file);
            (file, result)
        });
        match done.await {
            Ok((file, Ok(()))) => self.file = Some(file),
            Ok((_, Err(error))) => fatal::exit(&format!(
                "the metadata log cannot be written ({error}): check the disk of the data \
                 directory; nothing acknowledged is lost"
            )),
            Err(error) => fatal::exit(&format!("the metadata log's writer failed: {error}")),
        }
    }
}

fn put(
    entries: &mut BTreeMap<u64, Entry<TypeConfig>>,
    log_id: LogId<u64>,
    payload: EntryPayload<TypeConfig>,
) {
    entries.insert(log_id.index, Entry { log_id, payload });
}

fn entry_frame(entry: &Entry<TypeConfig>) -> Frame {
    let id = frame_id(&entry.log_id);
    match &entry.payload {
        EntryPayload::Blank => Frame::Blank { id },
        EntryPayload::Normal(EntryRecords(bytes)) => Frame::Records { id, bytes: bytes.clone() },
        EntryPayload::Membership(membership) => {
            let (voters, nodes) = membership_parts(membership);
            Frame::Membership { id, voters, nodes }
        }
    }
}

fn vote_frame(vote: &Vote<u64>) -> Frame {
    Frame::Vote {
        term: vote.leader_id.term,
        node: vote.leader_id.node_id,
        committed: vote.committed,
    }
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + fmt::Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry<TypeConfig>>, StorageError<u64>> {
        let entries = self.entries.read().expect("no holder panics");
        Ok(entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + fmt::Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry<TypeConfig>>, StorageError<u64>> {
        let entries = self.entries.read().expect("no holder panics");
        Ok(entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError<u64>> {
        let entries = self.entries.read().expect("no holder panics");
        let last = entries.last_key_value().map(|(_, entry)| entry.log_id);
        Ok(LogState { last_purged_log_id: self.purged, last_log_id: last.or(self.purged) })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        LogReader { entries: self.entries.clone() }
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), StorageError<u64>> {
        let frame = vote_frame(vote);
        self.on_file(move |file| file.append(&[frame])).await;
        self.vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, StorageError<u64>> {
        Ok(self.vote)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<TypeConfig>,
    ) -> Result<(), StorageError<u64>>
    where
        I: IntoIterator<Item = Entry<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let appended: Vec<Entry<TypeConfig>> = entries.into_iter().collect();
        let frames: Vec<Frame> = appended.iter().map(entry_frame).collect();
        self.on_file(move |file| file.append(&frames)).await;
        let mut entries = self.entries.write().expect("no holder panics");
        entries.extend(appended.into_iter().map(|entry| (entry.log_id.index, entry)));
        drop(entries);
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId<u64>) -> Result<(), StorageError<u64>> {
        let from = log_id.index;
        self.on_file(move |file| file.append(&[Frame::Truncated { from }])).await;
        let _void = self.entries.write().expect("no holder panics").split_off(&from);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId<u64>) -> Result<(), StorageError<u64>> {
        let mut frames = vec![Frame::Purged { id: frame_id(&log_id) }];
        frames.extend(self.vote.as_ref().map(vote_frame));
        let kept = {
            let entries = self.entries.read().expect("no holder panics");
            let kept = entries.range(log_id.index + 1..).map(|(_, entry)| entry.clone());
            kept.collect::<Vec<_>>()
        };
        frames.extend(kept.iter().map(entry_frame));
        self.on_file(move |file| file.rewrite(&frames)).await;
        let kept = kept.into_iter().map(|entry| (entry.log_id.index, entry)).collect();
        *self.entries.write().expect("no holder panics") = kept;
        self.purged = Some(log_id);
        Ok(())
    }
}
