//! Snapshots on disk: the image at one index, with the Raft state that goes with it.
//!
//! In:   a snapshot to keep; at start, the directory.
//! Out:  the newest whole snapshot; older ones beyond the last two are removed.
//! Home: the control thread's blocking pool.
//!
//! A file `snapshot-<index, 20 digits>`, little-endian:
//! ```text
//!   0  8 bytes  MAGIC
//!   8  u32      CRC-32C of everything from byte 12 on
//!  12  u32      version
//!  16  u32      length of the meta part in bytes
//!  20           meta (rkyv), then the image (`crate::metadata::codec`)
//! ```
//!
//! Invariants
//!   S1  A file under its final name was synced whole before it got that name.
//!   S2  The log is purged only up to a snapshot that is durable (openraft's order).

// The control thread's blocking pool runs this, never a shard: std's file calls are its due.
#![allow(clippy::disallowed_methods)]

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rkyv::rancor::Failure;
use rkyv::{Archive, Deserialize, Serialize};

use crate::controller::log_file::FrameLogId;

/// Snapshots kept.
const SNAPSHOTS_KEPT: usize = 2;

const MAGIC: &[u8; 8] = b"YMSNAP\r\n";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 20;
const NAME_PREFIX: &str = "snapshot-";
const NEW_NAME: &str = "snapshot.new";

/// The Raft state at the snapshot. Frozen: a change is a new struct with the next `VERSION`.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFileMeta {
    /// Last entry in the image; `None` if it holds none.
    pub last: Option<FrameLogId>,
    /// Entry that set the voters; `None` if none did.
    pub membership_at: Option<FrameLogId>,
    /// The voters; two sets while one replaces the other.
    pub voters: Vec<Vec<u64>>,
    /// Raft ids of all members, voters or not.
    pub nodes: Vec<u64>,
    /// openraft's name of the snapshot.
    pub id: String,
}

/// A snapshot as it lies on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Its Raft state.
    pub meta: SnapshotFileMeta,
    /// The encoded image.
    pub image: Vec<u8>,
}

/// Writes `snapshot` to `directory`; durable on return.
///
/// Errors: the caller must stop for good; the snapshots that were there are untouched.
pub fn save(directory: &Path, snapshot: &SnapshotFile) -> io::Result<()> {
    let meta = rkyv::to_bytes::<Failure>(&snapshot.meta).expect("plain structs always serialize");
    let meta_bytes = u32::try_from(meta.len()).expect("a meta part is small");
    let mut tail = Vec::with_capacity(8 + meta.len() + snapshot.image.len());
    tail.extend_from_slice(&VERSION.to_le_bytes());
    tail.extend_from_slice(&meta_bytes.to_le_bytes());
    tail.extend_from_slice(&meta);
    tail.extend_from_slice(&snapshot.image);
    let new = directory.join(NEW_NAME);
    let mut file = File::create(&new)?;
    file.write_all(MAGIC)?;
    file.write_all(&crc32c::crc32c(&tail).to_le_bytes())?;
    file.write_all(&tail)?;
    file.sync_all()?;
    let index = snapshot.meta.last.map_or(0, |last| last.index);
    std::fs::rename(&new, directory.join(format!("{NAME_PREFIX}{index:020}")))?;
    File::open(directory)?.sync_all()?;
    let files = list(directory)?;
    for (_, path) in files.iter().rev().skip(SNAPSHOTS_KEPT) {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// The newest whole snapshot in `directory`; `None` if there is none.
///
/// One that is damaged is passed over: the caller sees whether the log still reaches back to
/// an older one. Errors: the operating system's.
pub fn load_newest(directory: &Path) -> io::Result<Option<SnapshotFile>> {
    for (_, path) in list(directory)?.iter().rev() {
        if let Some(snapshot) = parse(&std::fs::read(path)?) {
            return Ok(Some(snapshot));
        }
        tracing::error!(path = %path.display(), "a metadata snapshot is damaged, trying an older one");
    }
    Ok(None)
}

/// The snapshot that `bytes` hold, whole and undamaged.
fn parse(bytes: &[u8]) -> Option<SnapshotFile> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let word =
        |from: usize| u32::from_le_bytes(header[from..from + 4].try_into().expect("4 bytes"));
    let whole =
        header.starts_with(MAGIC) && word(8) == crc32c::crc32c(&bytes[12..]) && word(12) == VERSION;
    let meta_bytes = usize::try_from(word(16)).ok().filter(|&n| whole && n <= rest.len())?;
    let (meta, image) = rest.split_at(meta_bytes);
    let meta = rkyv::from_bytes::<SnapshotFileMeta, Failure>(meta).ok()?;
    Some(SnapshotFile { meta, image: image.to_vec() })
}

/// The snapshot files by index, ascending.
fn list(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let index = name.to_str().and_then(|name| name.strip_prefix(NAME_PREFIX));
        if let Some(index) = index.and_then(|text| text.parse().ok()) {
            files.push((index, entry.path()));
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(index: u64) -> SnapshotFile {
        let last = Some(FrameLogId { term: 2, node: 7, index });
        let membership_at = Some(FrameLogId { term: 0, node: 0, index: 0 });
        let (voters, nodes) = (vec![vec![7]], vec![7]);
        let id = format!("2-7-{index}");
        SnapshotFile {
            meta: SnapshotFileMeta { last, membership_at, voters, nodes, id },
            image: vec![9; 300],
        }
    }

    #[test]
    fn the_newest_is_loaded_and_two_are_kept() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(load_newest(place.path()).unwrap(), None);
        for index in [3, 9, 120] {
            save(place.path(), &snapshot(index)).unwrap();
            assert_eq!(load_newest(place.path()).unwrap(), Some(snapshot(index)));
        }
        let kept = list(place.path()).unwrap();
        assert_eq!(kept.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [9, 120]);
    }

    #[test]
    fn a_damaged_or_unfinished_one_is_passed_over() {
        let place = tempfile::tempdir().unwrap();
        save(place.path(), &snapshot(3)).unwrap();
        save(place.path(), &snapshot(9)).unwrap();
        std::fs::write(place.path().join(NEW_NAME), b"half").unwrap();
        let (_, newest) = list(place.path()).unwrap().pop().unwrap();
        let good = std::fs::read(&newest).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            assert_eq!(parse(&bad), None, "byte {at}");
            assert_eq!(parse(&good[..at]), None, "cut at {at}");
        }
        std::fs::write(&newest, &good[..good.len() / 2]).unwrap();
        assert_eq!(load_newest(place.path()).unwrap(), Some(snapshot(3)));
    }
}
