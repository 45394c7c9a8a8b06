//! The file of the metadata quorum: an append-only stream of checksummed frames.
//!
//! In:   frames to append; at start, the file's bytes.
//! Out:  frames on disk before the call returns; at start, what was written, or why it cannot be.
//! Home: the control thread's blocking pool; one writer.
//!
//! Everything the quorum must remember is a frame of this one stream: whose log it is, votes,
//! entries, truncations, purges. So one sync makes a write durable, and order is never in doubt.
//!
//! A frame, little-endian:
//! ```text
//!   0  u32  MAGIC
//!   4  u32  length of the payload in bytes
//!   8  u32  CRC-32C of bytes 4..8, 12..28 and of the payload
//!  12  u16  version of the payload's struct
//!  14  u16  0
//!  16  u32  the CRC of the frame before (0 for the first): a chain
//!  20  u64  position at which the write that carried this frame began
//!  28       payload (rkyv, validated before it is looked at)
//! ```
//! The file is preallocated; zeros to its end are its normal end.
//!
//! Invariants
//!   L1  A write is synced before the next begins, so only the last write can be torn.
//!   L2  A bad frame is cut off only if no later write exists; else it is damage, and we stop.
//!   L3  What was cut is zeroed and synced before anything is appended behind it.
//!   L4  A rewrite (after a purge) replaces the file whole, by rename.
//!
//! Not here: what the frames mean to Raft (`log_store.rs`).

// The control thread's blocking pool runs this, never a shard: std's file calls are its due.
#![allow(clippy::disallowed_methods)]

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rkyv::rancor::Failure;
use rkyv::{Archive, Deserialize, Serialize};

/// Largest payload of a frame; an entry is held below it by the driver.
pub const FRAME_PAYLOAD_BYTES_MAX: usize = 256 << 20;

/// The file grows by zeros of this many bytes, so that a sync need not commit a new length.
const ALLOCATION_BYTES: u64 = 256 << 10;

const MAGIC: u32 = u32::from_le_bytes(*b"YMLG");
const HEADER_BYTES: usize = 28;
const VERSION: u16 = 1;
const LOG_NAME: &str = "log";
const NEW_LOG_NAME: &str = "log.new";

/// One fact of the stream. Frozen: a change is a new enum with the next `VERSION`.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The first frame: which voter's log this is.
    Identity {
        /// The voter's Raft id.
        raft_id: u64,
    },
    /// The voter's term and vote.
    Vote {
        /// The term.
        term: u64,
        /// Raft id voted for.
        node: u64,
        /// Whether a quorum accepted it.
        committed: bool,
    },
    /// Entries up to this one are in a snapshot and gone from the log.
    Purged {
        /// The last of them.
        id: FrameLogId,
    },
    /// Entries from this index on are void.
    Truncated {
        /// First void index.
        from: u64,
    },
    /// An entry without content.
    Blank {
        /// Its id.
        id: FrameLogId,
    },
    /// An entry of metadata records (`crate::metadata::codec`).
    Records {
        /// Its id.
        id: FrameLogId,
        /// The encoded records.
        bytes: Vec<u8>,
    },
    /// An entry that sets the voters.
    Membership {
        /// Its id.
        id: FrameLogId,
        /// The voters; two sets while one replaces the other.
        voters: Vec<Vec<u64>>,
        /// Raft ids of all members, voters or not.
        nodes: Vec<u64>,
    },
}

/// Id of a Raft entry.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLogId {
    /// Term of the leader that wrote it.
    pub term: u64,
    /// Raft id of that leader.
    pub node: u64,
    /// Index in the log.
    pub index: u64,
}

/// Why the log cannot be opened.
#[derive(Debug)]
pub enum LogError {
    /// The operating system refused.
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Its error.
        source: io::Error,
    },
    /// A frame below a later write is damaged: acknowledged metadata may be lost.
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the bad frame starts.
        at: u64,
    },
    /// A frame of a version that this release does not know.
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// The version.
        version: u16,
    },
    /// The entries do not follow one another: our own mistake, or another's bytes.
    OutOfOrder {
        /// The file.
        path: PathBuf,
    },
    /// The log is of another voter.
    WrongIdentity {
        /// The file.
        path: PathBuf,
        /// Raft id in the file; `None` if it names none.
        has: Option<u64>,
        /// Raft id of this voter.
        expected: u64,
    },
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { action, path, source } => {
                write!(f, "cannot {action} {}: {source}", path.display())
            }
            Self::Damaged { path, at } => write!(
                f,
                "{} is damaged at byte {at}, before its last write: acknowledged metadata may be \
                 lost; restore the directory from a backup",
                path.display()
            ),
            Self::UnknownVersion { path, version } => write!(
                f,
                "{} was written by a newer release (version {version}); start that release",
                path.display()
            ),
            Self::OutOfOrder { path } => write!(
                f,
                "the entries in {} do not follow one another; restore the directory from a backup",
                path.display()
            ),
            Self::WrongIdentity { path, has: Some(has), expected } => write!(
                f,
                "{} belongs to voter {has:#x}, this is voter {expected:#x}; was it copied from \
                 another data directory?",
                path.display()
            ),
            Self::WrongIdentity { path, has: None, .. } => {
                write!(f, "{} is no metadata log", path.display())
            }
        }
    }
}

impl std::error::Error for LogError {}

/// An open log, at its end.
#[derive(Debug)]
pub struct LogFile {
    directory: PathBuf,
    file: File,
    /// Where the next frame goes.
    end: u64,
    /// Bytes of the file; zeros from `end` on.
    allocated: u64,
    /// CRC of the last frame.
    chain: u32,
    raft_id: u64,
}

impl LogFile {
    /// Whether `directory` holds a log.
    pub fn exists(directory: &Path) -> bool {
        directory.join(LOG_NAME).exists()
    }

    /// Makes an empty log of voter `raft_id` in `directory`, which exists. Durable on return.
    pub fn create(directory: &Path, raft_id: u64) -> Result<LogFile, LogError> {
        let write = |path: &Path| write_whole(path, raft_id, &[]);
        let path = directory.join(NEW_LOG_NAME);
        let written = write(&path).and_then(|written| {
            replace(directory)?;
            Ok(written)
        });
        let (file, end, allocated, chain) = written.map_err(|e| io_error("create", &path, e))?;
        Ok(LogFile { directory: directory.to_owned(), file, end, allocated, chain, raft_id })
    }

    /// Opens the log of voter `raft_id`; gives its frames but the identity, in order.
    ///
    /// Cuts a torn last write. Errors: [`LogError`]; the file is then untouched.
    pub fn open(directory: &Path, raft_id: u64) -> Result<(LogFile, Vec<Frame>), LogError> {
        let path = directory.join(LOG_NAME);
        let bytes = std::fs::read(&path).map_err(|e| io_error("read", &path, e))?;
        let mut scan = scan(&bytes).map_err(|error| match error {
            ScanError::Damaged { at } => LogError::Damaged { path: path.clone(), at: at as u64 },
            ScanError::UnknownVersion { version } => {
                LogError::UnknownVersion { path: path.clone(), version }
            }
        })?;
        match scan.frames.first() {
            Some(Frame::Identity { raft_id: has }) if *has == raft_id => {}
            Some(Frame::Identity { raft_id: has }) => {
                let has = Some(*has);
                return Err(LogError::WrongIdentity { path, has, expected: raft_id });
            }
            _ => return Err(LogError::WrongIdentity { path, has: None, expected: raft_id }),
        }
        scan.frames.remove(0);
        let mut options = OpenOptions::new();
        let file = options.write(true).open(&path).map_err(|e| io_error("open", &path, e))?;
        let allocated = bytes.len() as u64;
        if scan.torn {
            let zeros = vec![0; bytes.len() - scan.end];
            let cut = file.write_all_at(&zeros, scan.end as u64).and_then(|()| file.sync_data());
            cut.map_err(|e| io_error("cut the torn end of", &path, e))?;
        }
        let log = LogFile {
            directory: directory.to_owned(),
            file,
            end: scan.end as u64,
            allocated,
            chain: scan.chain,
            raft_id,
        };
        Ok((log, scan.frames))
    }

    /// Appends `frames` by one write and one sync; they are durable on return.
    ///
    /// Errors: the caller must stop for good; a sync that failed must never be tried again.
    pub fn append(&mut self, frames: &[Frame]) -> io::Result<()> {
        let mut chain = self.chain;
        let mut bytes = Vec::new();
        for frame in frames {
            chain = put_frame(&mut bytes, frame, chain, self.end);
        }
        let end = self.end + bytes.len() as u64;
        if end > self.allocated {
            self.allocated = allocate(&self.file, self.allocated, end);
        }
        self.file.write_all_at(&bytes, self.end)?;
        self.file.sync_data()?;
        self.end = end;
        self.chain = chain;
        Ok(())
    }

    /// Replaces the log by one that holds `frames` alone; durable on return (L4).
    ///
    /// Errors: the caller must stop for good.
    pub fn rewrite(&mut self, frames: &[Frame]) -> io::Result<()> {
        let path = self.directory.join(NEW_LOG_NAME);
        let (file, end, allocated, chain) = write_whole(&path, self.raft_id, frames)?;
        replace(&self.directory)?;
        (self.file, self.end, self.allocated, self.chain) = (file, end, allocated, chain);
        Ok(())
    }

    /// The refusal of a log whose frames contradict one another.
    pub fn out_of_order(&self) -> LogError {
        LogError::OutOfOrder { path: self.directory.join(LOG_NAME) }
    }
}

/// Writes and syncs a whole new file; gives it with its end, size and chain.
fn write_whole(path: &Path, raft_id: u64, frames: &[Frame]) -> io::Result<(File, u64, u64, u32)> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    let mut bytes = Vec::new();
    let mut chain = put_frame(&mut bytes, &Frame::Identity { raft_id }, 0, 0);
    for frame in frames {
        chain = put_frame(&mut bytes, frame, chain, 0);
    }
    let end = bytes.len() as u64;
    let allocated = allocate(&file, 0, end);
    file.write_all_at(&bytes, 0)?;
    file.sync_all()?;
    Ok((file, end, allocated, chain))
}

fn replace(directory: &Path) -> io::Result<()> {
    std::fs::rename(directory.join(NEW_LOG_NAME), directory.join(LOG_NAME))?;
    File::open(directory)?.sync_all()
}

/// Grows the file by zeros past `end`; gives its size. A file system that cannot preallocate,
/// or has no room, is found out by the write itself.
fn allocate(file: &File, allocated: u64, end: u64) -> u64 {
    let target = (end / ALLOCATION_BYTES + 1) * ALLOCATION_BYTES;
    let flags = rustix::fs::FallocateFlags::empty();
    match rustix::fs::fallocate(file, flags, allocated, target - allocated) {
        Ok(()) => target,
        Err(_) => end,
    }
}

/// Appends one frame to `bytes`; gives its CRC.
fn put_frame(bytes: &mut Vec<u8>, frame: &Frame, chain: u32, write_start: u64) -> u32 {
    let payload = rkyv::to_bytes::<Failure>(frame).expect("plain structs always serialize");
    assert!(payload.len() <= FRAME_PAYLOAD_BYTES_MAX, "the driver bounds an entry");
    let length = u32::try_from(payload.len()).expect("below the maximum");
    let mut header = [0; HEADER_BYTES];
    header[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    header[4..8].copy_from_slice(&length.to_le_bytes());
    header[12..14].copy_from_slice(&VERSION.to_le_bytes());
    header[16..20].copy_from_slice(&chain.to_le_bytes());
    header[20..28].copy_from_slice(&write_start.to_le_bytes());
    let crc = checksum(&header, &payload);
    header[8..12].copy_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(&payload);
    crc
}

fn checksum(header: &[u8; HEADER_BYTES], payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&header[4..8]);
    let crc = crc32c::crc32c_append(crc, &header[12..]);
    crc32c::crc32c_append(crc, payload)
}

/// What a scan of the file found.
struct Scan {
    frames: Vec<Frame>,
    end: usize,
    chain: u32,
    torn: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum ScanError {
    Damaged { at: usize },
    UnknownVersion { version: u16 },
}

fn scan(bytes: &[u8]) -> Result<Scan, ScanError> {
    let mut scan = Scan { frames: Vec::new(), end: 0, chain: 0, torn: false };
    loop {
        let at = scan.end;
        // Zeros to the end, or no more bytes: the normal end.
        if bytes[at..].iter().take(HEADER_BYTES).all(|&b| b == 0)
            && bytes[at..].iter().all(|&b| b == 0)
        {
            return Ok(scan);
        }
        let Some(raw) = raw_frame(bytes, at).filter(|raw| raw.chain == scan.chain) else {
            if later_write_exists(bytes, at) {
                return Err(ScanError::Damaged { at });
            }
            scan.torn = true;
            return Ok(scan);
        };
        if raw.version != VERSION {
            return Err(ScanError::UnknownVersion { version: raw.version });
        }
        // The checksum fits, so these are the bytes that were written: no torn write.
        let frame = rkyv::from_bytes::<Frame, Failure>(raw.payload)
            .map_err(|Failure| ScanError::Damaged { at })?;
        scan.frames.push(frame);
        scan.end = at + HEADER_BYTES + raw.payload.len();
        scan.chain = raw.crc;
    }
}

/// Whether a whole frame lies behind `at` whose write began behind `at` too (L2).
fn later_write_exists(bytes: &[u8], at: usize) -> bool {
    let magic = MAGIC.to_le_bytes();
    (at + 1..bytes.len()).filter(|&from| bytes[from..].starts_with(&magic)).any(|from| {
        raw_frame(bytes, from).is_some_and(|raw| {
            let began = usize::try_from(raw.write_start).unwrap_or(usize::MAX);
            at < began && began <= from
        })
    })
}

/// A frame whose own checksum fits.
struct RawFrame<'a> {
    crc: u32,
    version: u16,
    chain: u32,
    write_start: u64,
    payload: &'a [u8],
}

fn raw_frame(bytes: &[u8], at: usize) -> Option<RawFrame<'_>> {
    let (header, rest) = bytes.get(at..)?.split_first_chunk::<HEADER_BYTES>()?;
    let word =
        |from: usize| u32::from_le_bytes(header[from..from + 4].try_into().expect("4 bytes"));
    if word(0) != MAGIC {
        return None;
    }
    let length = usize::try_from(word(4)).ok().filter(|&n| n <= FRAME_PAYLOAD_BYTES_MAX)?;
    let payload = rest.get(..length)?;
    if checksum(header, payload) != word(8) {
        return None;
    }
    Some(RawFrame {
        crc: word(8),
        version: u16::from_le_bytes([header[12], header[13]]),
        chain: word(16),
        write_start: u64::from(word(20)) | u64::from(word(24)) << 32,
        payload,
    })
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> LogError {
    LogError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)] // positions in files of a few hundred bytes
mod tests {
    use super::*;
    use crate::testing::prng::Prng;
    use crate::testing::seeds::seeds;

    const RAFT_ID: u64 = 5 << 32 | 9;

    fn records(index: u64, bytes: usize) -> Frame {
        let id = FrameLogId { term: 1, node: RAFT_ID, index };
        Frame::Records { id, bytes: vec![0x5a; bytes] }
    }

    fn vote(term: u64) -> Frame {
        Frame::Vote { term, node: RAFT_ID, committed: true }
    }

    /// A log of three writes; gives its frames and where each write began.
    fn three_writes(directory: &Path) -> (Vec<Vec<Frame>>, Vec<u64>) {
        let writes =
            vec![vec![vote(1)], vec![records(1, 40), records(2, 3)], vec![records(3, 70), vote(2)]];
        let mut log = LogFile::create(directory, RAFT_ID).unwrap();
        let mut starts = Vec::new();
        for frames in &writes {
            starts.push(log.end);
            log.append(frames).unwrap();
        }
        starts.push(log.end);
        (writes, starts)
    }

    fn reopen(directory: &Path, bytes: &[u8]) -> Result<Vec<Frame>, LogError> {
        std::fs::write(directory.join(LOG_NAME), bytes).unwrap();
        LogFile::open(directory, RAFT_ID).map(|(_, frames)| frames)
    }

    #[test]
    fn what_was_appended_reads_back_and_more_can_follow() {
        let place = tempfile::tempdir().unwrap();
        let (writes, _) = three_writes(place.path());
        let (mut log, frames) = LogFile::open(place.path(), RAFT_ID).unwrap();
        assert_eq!(frames, writes.concat());
        log.append(&[records(4, 300_000)]).unwrap();
        log.append(&[records(5, 1)]).unwrap();
        let (_, frames) = LogFile::open(place.path(), RAFT_ID).unwrap();
        assert_eq!(frames[frames.len() - 2..], [records(4, 300_000), records(5, 1)]);
    }

    #[test]
    fn a_last_write_torn_at_any_byte_is_cut_and_the_log_goes_on() {
        let place = tempfile::tempdir().unwrap();
        let (writes, starts) = three_writes(place.path());
        let good = std::fs::read(place.path().join(LOG_NAME)).unwrap();
        let (start, end) = (starts[2] as usize, starts[3] as usize);
        let durable = writes[..2].concat();
        for cut in start..end {
            let mut torn = good.clone();
            torn[cut..].fill(0);
            let frames = reopen(place.path(), &torn).unwrap();
            let whole = frames.len() - durable.len();
            assert_eq!(frames[..durable.len()], durable, "cut at {cut}");
            assert_eq!(frames[durable.len()..], writes[2][..whole], "cut at {cut}");
            // Cut for good: the next write stands alone behind it, and recovery is stable.
            let (mut log, again) = LogFile::open(place.path(), RAFT_ID).unwrap();
            assert_eq!(again, frames);
            log.append(&[vote(7)]).unwrap();
            let (_, more) = LogFile::open(place.path(), RAFT_ID).unwrap();
            assert_eq!(more, [frames, vec![vote(7)]].concat(), "cut at {cut}");
            // The file may also end there, where nothing was preallocated.
            let frames = reopen(place.path(), &good[..cut]).unwrap();
            let whole = frames.len() - durable.len();
            assert_eq!(frames[..durable.len()], durable, "cut at {cut}");
            assert_eq!(frames[durable.len()..], writes[2][..whole], "cut at {cut}");
        }
    }

    /// Blocks of one write may reach the disk in any order: its later frames without its first.
    #[test]
    fn a_last_write_without_its_beginning_is_torn_and_not_damage() {
        let place = tempfile::tempdir().unwrap();
        let (writes, starts) = three_writes(place.path());
        let mut bytes = std::fs::read(place.path().join(LOG_NAME)).unwrap();
        let start = starts[2] as usize;
        bytes[start..start + 50].fill(0);
        assert_eq!(reopen(place.path(), &bytes).unwrap(), writes[..2].concat());
        let left = std::fs::read(place.path().join(LOG_NAME)).unwrap();
        assert!(left[start..].iter().all(|&b| b == 0), "L3");
    }

    #[test]
    fn damage_before_the_last_write_is_refused_and_the_file_untouched() {
        let place = tempfile::tempdir().unwrap();
        let (_, starts) = three_writes(place.path());
        let good = std::fs::read(place.path().join(LOG_NAME)).unwrap();
        for at in 0..starts[2] as usize {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            let error = reopen(place.path(), &bad).unwrap_err();
            assert!(matches!(error, LogError::Damaged { .. }), "byte {at}: {error}");
            assert!(std::fs::read(place.path().join(LOG_NAME)).unwrap() == bad, "byte {at}");
        }
    }

    #[test]
    fn another_voters_log_and_no_log_at_all_are_refused() {
        let place = tempfile::tempdir().unwrap();
        three_writes(place.path());
        let other = LogFile::open(place.path(), 77).unwrap_err();
        assert!(
            matches!(other, LogError::WrongIdentity { has: Some(RAFT_ID), expected: 77, .. }),
            "{other}"
        );
        for bytes in [&[][..], &[0; 4096], b"a text file, longer than any header of a frame"] {
            let error = reopen(place.path(), bytes).unwrap_err();
            assert!(matches!(error, LogError::WrongIdentity { has: None, .. }), "{error}");
        }
    }

    #[test]
    fn a_newer_version_is_named() {
        let place = tempfile::tempdir().unwrap();
        three_writes(place.path());
        let mut bytes = std::fs::read(place.path().join(LOG_NAME)).unwrap();
        bytes[12..14].copy_from_slice(&2u16.to_le_bytes());
        let header: [u8; HEADER_BYTES] = bytes[..HEADER_BYTES].try_into().unwrap();
        let length = u32::from_le_bytes(header[4..8].try_into().unwrap()) as usize;
        let crc = checksum(&header, &bytes[HEADER_BYTES..HEADER_BYTES + length]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        let error = reopen(place.path(), &bytes).unwrap_err();
        assert!(matches!(error, LogError::UnknownVersion { version: 2, .. }), "{error}");
    }

    #[test]
    fn a_rewrite_leaves_what_was_given_and_a_cut_off_one_leaves_the_old() {
        let place = tempfile::tempdir().unwrap();
        let (writes, _) = three_writes(place.path());
        std::fs::write(place.path().join(NEW_LOG_NAME), b"half a file").unwrap();
        let (mut log, frames) = LogFile::open(place.path(), RAFT_ID).unwrap();
        assert_eq!(frames, writes.concat());
        let purged = Frame::Purged { id: FrameLogId { term: 1, node: RAFT_ID, index: 3 } };
        log.rewrite(&[purged.clone(), vote(2)]).unwrap();
        log.append(&[records(4, 9)]).unwrap();
        let (_, frames) = LogFile::open(place.path(), RAFT_ID).unwrap();
        assert_eq!(frames, [purged, vote(2), records(4, 9)]);
    }

    /// Bytes of any kind behind a good beginning: frames or an error, never a panic.
    #[test]
    fn no_bytes_panic() {
        let place = tempfile::tempdir().unwrap();
        let (_, starts) = three_writes(place.path());
        let good = std::fs::read(place.path().join(LOG_NAME)).unwrap();
        for seed in seeds(500) {
            let mut prng = Prng::new(seed.0);
            let mut bad = good[..starts[3] as usize].to_vec();
            for _ in 0..=prng.index(8) {
                let at = prng.index(bad.len());
                bad[at] = prng.next_u64().to_le_bytes()[0];
            }
            bad.truncate(prng.index(bad.len()) + 1);
            if let Ok(scan) = scan(&bad) {
                assert!(scan.end <= bad.len());
            }
        }
    }
}
