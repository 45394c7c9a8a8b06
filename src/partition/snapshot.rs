//! The frame of this tier's own checkpoints: magic, version, body, CRC-32C.
//!
//! In:   bytes of a disk, trusted in nothing. Out: a body to be read field by field.
//!
//! Layout (big-endian): magic u32 · version u16 · body · CRC-32C u32 over all before it.

use std::fmt;

use crate::record::crc::crc32c;

const MAGIC_BYTES: usize = 4;
const VERSION_BYTES: usize = 2;
const CRC_BYTES: usize = 4;

/// Why a checkpoint cannot be used; it is derived data, to be built anew from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// Too short, or of another kind.
    NotOne,
    /// Written by a version of Yeoul that this one does not know.
    UnknownVersion {
        /// The version field.
        version: u16,
    },
    /// The checksum does not fit the bytes.
    BadCrc {
        /// In the bytes.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// The checksum fits, but the values break a rule of what they describe.
    BadValue,
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOne => write!(f, "not a checkpoint of this kind"),
            Self::UnknownVersion { version } => write!(f, "checkpoint of version {version}"),
            Self::BadCrc { stored, computed } => write!(
                f,
                "checkpoint is corrupt (stored crc = {stored}, computed crc = {computed})"
            ),
            Self::BadValue => write!(f, "checkpoint holds values that contradict one another"),
        }
    }
}

impl std::error::Error for SnapshotError {}

/// Writes one checkpoint.
pub struct SnapshotWriter(Vec<u8>);

impl SnapshotWriter {
    /// Begins a checkpoint of the kind that `magic` names.
    pub fn new(magic: u32, version: u16) -> SnapshotWriter {
        let mut bytes = magic.to_be_bytes().to_vec();
        bytes.extend_from_slice(&version.to_be_bytes());
        SnapshotWriter(bytes)
    }

    /// Appends bytes to the body.
    pub fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Appends a count; panics beyond 32 bits, which every list here is kept below.
    pub fn put_count(&mut self, count: usize) {
        let count = u32::try_from(count).expect("lists are bounded far below 2^32");
        self.put(&count.to_be_bytes());
    }

    /// The whole, with its checksum.
    pub fn finish(mut self) -> Vec<u8> {
        let crc = crc32c(&self.0);
        self.put(&crc.to_be_bytes());
        self.0
    }
}

/// Reads the body of one checkpoint whose checksum has been checked.
pub struct SnapshotReader<'a>(&'a [u8]);

impl<'a> SnapshotReader<'a> {
    /// Checks magic, version and checksum. Errors: [`SnapshotError`] but for `BadValue`.
    pub fn new(
        bytes: &'a [u8],
        magic: u32,
        version: u16,
    ) -> Result<SnapshotReader<'a>, SnapshotError> {
        match SnapshotReader::up_to(bytes, magic, version)? {
            (reader, found) if found == version => Ok(reader),
            (_, version) => Err(SnapshotError::UnknownVersion { version }),
        }
    }

    /// As [`SnapshotReader::new`], for a format of which all versions from 1 to `newest` are known;
    /// says which it is. Errors: as there.
    pub fn up_to(
        bytes: &'a [u8],
        magic: u32,
        newest: u16,
    ) -> Result<(SnapshotReader<'a>, u16), SnapshotError> {
        let (covered, crc) = bytes.split_last_chunk::<CRC_BYTES>().ok_or(SnapshotError::NotOne)?;
        let head = covered.get(..MAGIC_BYTES + VERSION_BYTES).ok_or(SnapshotError::NotOne)?;
        if head[..MAGIC_BYTES] != magic.to_be_bytes() {
            return Err(SnapshotError::NotOne);
        }
        let found = u16::from_be_bytes([head[4], head[5]]);
        if !(1..=newest).contains(&found) {
            return Err(SnapshotError::UnknownVersion { version: found });
        }
        let (stored, computed) = (u32::from_be_bytes(*crc), crc32c(covered));
        if stored != computed {
            return Err(SnapshotError::BadCrc { stored, computed });
        }
        Ok((SnapshotReader(&covered[MAGIC_BYTES + VERSION_BYTES..]), found))
    }

    /// The next `N` bytes. Errors: [`SnapshotError::BadValue`] at the end of the body.
    pub fn take<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(SnapshotError::BadValue)?;
        self.0 = rest;
        Ok(*taken)
    }

    /// The next 64-bit number.
    pub fn take_i64(&mut self) -> Result<i64, SnapshotError> {
        Ok(i64::from_be_bytes(self.take()?))
    }

    /// The next 32-bit number.
    pub fn take_i32(&mut self) -> Result<i32, SnapshotError> {
        Ok(i32::from_be_bytes(self.take()?))
    }

    /// A count of things that take at least `bytes_each` (above 0) of what is left.
    pub fn take_count(&mut self, bytes_each: usize) -> Result<usize, SnapshotError> {
        let count = usize::try_from(u32::from_be_bytes(self.take()?))
            .map_err(|_| SnapshotError::BadValue)?;
        if count > self.0.len() / bytes_each { Err(SnapshotError::BadValue) } else { Ok(count) }
    }

    /// Errors: [`SnapshotError::BadValue`] if anything is left.
    pub fn finish(self) -> Result<(), SnapshotError> {
        if self.0.is_empty() { Ok(()) } else { Err(SnapshotError::BadValue) }
    }
}
