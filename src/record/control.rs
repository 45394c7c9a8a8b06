//! Control records: the markers that end a transaction in a partition.
//!
//! In:   the key and value of a record in a control batch. Out: [`Control`], and back.
//! Home: pure.
//!
//! Key: version i16, type i16 (0 abort, 1 commit; others are Kafka's own metadata log's).
//! Value of a marker: version i16, coordinator epoch i32. Longer ones of later versions are
//! read as far as they are known.
//!
//! Source: KIP-98; Kafka's `ControlRecordType`, `EndTransactionMarker`; `protocol.md` P104.

use std::fmt;

use crate::record::batch::{Attributes, Batch, BatchInfo};

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its records are not to be seen.
    Abort,
    /// Its records count.
    Commit,
}

/// The marker that ends a producer's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndMarker {
    /// How it ended.
    pub outcome: Outcome,
    /// Epoch of the transaction coordinator that wrote it; fences older ones.
    pub coordinator_epoch: i32,
}

/// What a control record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// The end of a transaction.
    End(EndMarker),
    /// A type that means nothing in a topic's log (Kafka's Raft uses 2 to 6); skipped.
    Other {
        /// The type field.
        kind: i16,
    },
}

/// What is wrong with a control record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlError {
    /// No key, or one too short.
    BadKey,
    /// A version below 0.
    BadVersion {
        /// The version field.
        version: i16,
    },
    /// No value, or one too short.
    BadValue,
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadKey => write!(f, "control record with a short key"),
            Self::BadVersion { version } => write!(f, "control record of version {version}"),
            Self::BadValue => write!(f, "control record with a short value"),
        }
    }
}

impl std::error::Error for ControlError {}

impl Control {
    /// Reads a record of a control batch. Errors: [`ControlError`].
    pub fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Control, ControlError> {
        let (version, rest) = key.and_then(take_i16).ok_or(ControlError::BadKey)?;
        let (kind, _) = take_i16(rest).ok_or(ControlError::BadKey)?;
        if version < 0 {
            return Err(ControlError::BadVersion { version });
        }
        let outcome = match kind {
            0 => Outcome::Abort,
            1 => Outcome::Commit,
            _ => return Ok(Control::Other { kind }),
        };
        let (version, rest) = value.and_then(take_i16).ok_or(ControlError::BadValue)?;
        if version < 0 {
            return Err(ControlError::BadVersion { version });
        }
        let epoch = rest.first_chunk::<4>().ok_or(ControlError::BadValue)?;
        let coordinator_epoch = i32::from_be_bytes(*epoch);
        Ok(Control::End(EndMarker { outcome, coordinator_epoch }))
    }
}

impl EndMarker {
    /// The marker in the whole batch whose numbers are `info`: of one that is no control batch
    /// nothing else is looked at.
    pub fn of_batch_with(info: &BatchInfo, batch: &[u8]) -> Option<EndMarker> {
        if info.attributes.is_control() { EndMarker::of_batch(batch) } else { None }
    }

    /// The marker in a whole batch; `None` if it holds none.
    pub fn of_batch(batch: &[u8]) -> Option<EndMarker> {
        let batch = Batch::first(batch).ok()?;
        let attributes: Attributes = batch.header().attributes();
        if !attributes.is_control() {
            return None;
        }
        let record = batch.records().next()?.ok()?;
        match Control::decode(record.key, record.value) {
            Ok(Control::End(marker)) => Some(marker),
            Ok(Control::Other { .. }) | Err(_) => None,
        }
    }

    /// The record's key.
    pub fn key(&self) -> [u8; 4] {
        match self.outcome {
            Outcome::Abort => [0, 0, 0, 0],
            Outcome::Commit => [0, 0, 0, 1],
        }
    }

    /// The record's value.
    pub fn value(&self) -> [u8; 6] {
        let [a, b, c, d] = self.coordinator_epoch.to_be_bytes();
        [0, 0, a, b, c, d]
    }
}

fn take_i16(bytes: &[u8]) -> Option<(i16, &[u8])> {
    let (two, rest) = bytes.split_first_chunk::<2>()?;
    Some((i16::from_be_bytes(*two), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_survive_the_round_trip() {
        for outcome in [Outcome::Abort, Outcome::Commit] {
            for coordinator_epoch in [0, 7, i32::MAX, -1] {
                let marker = EndMarker { outcome, coordinator_epoch };
                let read = Control::decode(Some(&marker.key()), Some(&marker.value()));
                assert_eq!(read, Ok(Control::End(marker)));
            }
        }
    }

    #[test]
    fn a_marker_is_found_in_its_batch_and_nowhere_else() {
        use crate::model::ids::{ProducerEpoch, ProducerId};
        use crate::model::time::Timestamp;
        use crate::record::batch::Codec;
        use crate::record::builder::{BatchBuilder, NewRecord, end_marker};

        let marker = EndMarker { outcome: Outcome::Abort, coordinator_epoch: 7 };
        let batch = end_marker(ProducerId(1), ProducerEpoch(2), marker, Timestamp(5));
        assert_eq!(EndMarker::of_batch(&batch), Some(marker));
        assert_eq!(batch.len(), 78, "as Kafka's");
        for cut in 0..batch.len() {
            assert_eq!(EndMarker::of_batch(&batch[..cut]), None, "cut at {cut}");
        }
        let mut data = BatchBuilder::new(Codec::None).transactional();
        let (key, value) = (marker.key(), marker.value());
        let (timestamp, headers) = (Timestamp(5), &[][..]);
        let record = NewRecord { timestamp, key: Some(&key), value: Some(&value), headers };
        data.push(&record).unwrap();
        assert_eq!(EndMarker::of_batch(&data.build()), None, "a client's record says nothing");
    }

    #[test]
    fn other_types_are_named_and_damage_is_refused() {
        let check = |key: Option<&[u8]>, value: Option<&[u8]>, want| {
            assert_eq!(Control::decode(key, value), want, "{key:?} {value:?}");
        };
        check(Some(&[0, 0, 0, 2]), None, Ok(Control::Other { kind: 2 }));
        check(Some(&[0, 0, 255, 255]), None, Ok(Control::Other { kind: -1 }));
        check(None, None, Err(ControlError::BadKey));
        check(Some(&[0, 0, 0]), None, Err(ControlError::BadKey));
        check(Some(&[255, 255, 0, 1]), None, Err(ControlError::BadVersion { version: -1 }));
        check(Some(&[0, 0, 0, 1]), None, Err(ControlError::BadValue));
        check(Some(&[0, 0, 0, 1]), Some(&[0, 0, 0, 0, 0]), Err(ControlError::BadValue));
        check(
            Some(&[0, 0, 0, 0]),
            Some(&[255, 254, 0, 0, 0, 0]),
            Err(ControlError::BadVersion { version: -2 }),
        );
    }

    #[test]
    fn later_versions_are_read_as_far_as_known() {
        let read = Control::decode(Some(&[0, 1, 0, 1, 9]), Some(&[0, 1, 0, 0, 0, 5, 9, 9]));
        let marker = EndMarker { outcome: Outcome::Commit, coordinator_epoch: 5 };
        assert_eq!(read, Ok(Control::End(marker)));
    }
}
