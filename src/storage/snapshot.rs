//! Snapshots of the partition core's state: opaque to storage, checked by its own CRC.
//!
//! In:   a blob and the offset before which it holds all.
//! Out:  the newest one that is whole and not past the log's end.
//! Home: one shard.
//!
//! Invariants
//!   Z1  A snapshot past the log's end is removed, durably, before the log takes appends: later
//!       the log could reach its offset by another way.
//!
//! Layout of `%020d.snapshot`, little-endian: magic u32 · CRC-32C u32 of what follows · offset
//! i64 · blob.

use bytes::Bytes;

use crate::io::directory::Directory;
use crate::io::file::IoError;
use crate::model::offset::Offset;
use crate::record::crc::crc32c;
use crate::storage::log::{Log, LogError};
use crate::storage::names;

const MAGIC: u32 = 0x4e53_4e59;
const HEAD_BYTES: usize = 16;
/// Snapshots kept: the newest, and one to fall back to.
const SNAPSHOTS_MAX: usize = 2;

impl<D: Directory> Log<D> {
    /// Keeps `blob` as the state before `offset`; waits until all before it is durable.
    ///
    /// Errors: [`LogError`]; without space the log goes on, and a restart replays more.
    pub async fn write_snapshot(&self, offset: Offset, blob: &[u8]) -> Result<(), LogError> {
        let inner = &self.inner;
        self.wait_durable(offset).await?;
        let held = inner.maintenance.enter().await;
        if offset > self.log_end() {
            return Ok(()); // truncated meanwhile (Z1)
        }
        let (name, content) = (names::snapshot(offset), encode(offset, blob));
        let stored = inner.directory.write_small(&name, &content).await;
        stored.map_err(|error| inner.fail(error))?;
        let old = {
            let mut state = inner.state.borrow_mut();
            state.snapshots.retain(|known| *known != offset);
            state.snapshots.push(offset);
            state.snapshots.sort_unstable();
            let surplus = state.snapshots.len().saturating_sub(SNAPSHOTS_MAX);
            state.snapshots.drain(..surplus).collect::<Vec<_>>()
        };
        for offset in old {
            remove(&inner.directory, offset).await.map_err(|error| inner.fail(error))?;
        }
        drop(held);
        Ok(())
    }
}

/// Removes the file of a snapshot, if it is there.
pub(super) async fn remove<D: Directory>(directory: &D, offset: Offset) -> Result<(), IoError> {
    match directory.remove(&names::snapshot(offset)).await {
        Ok(()) | Err(IoError::NotFound) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The blob of a snapshot, if it is whole.
pub(super) async fn load<D: Directory>(
    directory: &D,
    offset: Offset,
) -> Result<Option<Bytes>, IoError> {
    match directory.read_small(&names::snapshot(offset)).await {
        Ok(content) => Ok(decode(offset, &content)),
        Err(IoError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

fn encode(offset: Offset, blob: &[u8]) -> Vec<u8> {
    let mut out = vec![0; HEAD_BYTES];
    out[8..16].copy_from_slice(&offset.0.to_le_bytes());
    out.extend_from_slice(blob);
    let crc = crc32c(&out[8..]);
    out[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    out
}

fn decode(offset: Offset, content: &Bytes) -> Option<Bytes> {
    let field = |at: usize| content.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let body = content.get(8..)?;
    let named = content.get(8..HEAD_BYTES)? == offset.0.to_le_bytes();
    let whole = field(0)? == MAGIC && field(4)? == crc32c(body) && named;
    whole.then(|| content.slice(HEAD_BYTES..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_survives_and_a_flipped_byte_is_noticed() {
        let content = encode(Offset(7), b"state");
        let check = |bytes: &[u8], offset| decode(Offset(offset), &Bytes::copy_from_slice(bytes));
        assert_eq!(check(&content, 7), Some(Bytes::from_static(b"state")));
        assert_eq!(check(&content, 8), None);
        for at in 0..content.len() {
            let mut bad = content.clone();
            bad[at] ^= 1;
            assert_eq!(check(&bad, 7), None, "byte {at}");
            assert_eq!(check(&content[..at], 7), None, "cut at {at}");
        }
    }
}
