//! The records inside a batch, walked in place.
//!
//! In:   the uncompressed payload of a batch and the count its header claims.
//! Out:  [`Record`]s whose key, value and headers are slices of the payload; nothing is
//!       allocated, whatever the bytes say.
//! Home: pure.
//!
//! Layout of a record: length varint, of what follows it · attributes i8 · timestamp delta
//! varlong · offset delta varint · key length varint, key · value length varint, value ·
//! header count varint, headers (key length, key, value length, value). A length of -1 is
//! null, but for a header's key.
//!
//! Invariants
//!   R1  A record's parts fill its length exactly, the records fill the payload exactly.
//!   R2  The walk ends after the first error.
//!
//! Source: Kafka's `DefaultRecord.readFrom` and the message format, version 2.

use std::fmt;

use crate::record::varint::{take_i32, take_i64};

/// Fewest bytes of a record: length, attributes, both deltas, two lengths, header count.
pub const RECORD_BYTES_MIN: usize = 7;

/// One record; its offset and timestamp are relative to the batch's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Timestamp less the batch's base timestamp, in milliseconds.
    pub timestamp_delta: i64,
    /// Offset less the batch's base offset.
    pub offset_delta: i32,
    /// The key, if there is one.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone in a compacted topic.
    pub value: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: Headers<'a>,
}

/// What is wrong with the bytes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// A number that is cut or too long.
    BadVarint,
    /// A record's length that is negative or passes the payload's end.
    BadLength {
        /// The length.
        length: i32,
    },
    /// A part that passes the record's end, or has a length below -1.
    BadPart {
        /// The part's length.
        length: i32,
    },
    /// A header count that is negative, or more than the record has room for.
    BadHeaderCount {
        /// The count.
        count: i32,
    },
    /// A header without key.
    NullHeaderKey,
    /// Bytes after the last part of a record.
    TrailingBytes {
        /// How many.
        bytes: usize,
    },
    /// The payload ends before the count that the batch's header claims.
    TooFewRecords {
        /// What the header claims.
        claimed: i32,
        /// What there is.
        found: i32,
    },
    /// Bytes after the last record that the batch's header claims.
    RecordsLeft {
        /// What the header claims.
        claimed: i32,
    },
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadVarint => write!(f, "a number inside a record is cut or too long"),
            Self::BadLength { length } => write!(f, "a record claims {length} bytes"),
            Self::BadPart { length } => write!(f, "a part of a record claims {length} bytes"),
            Self::BadHeaderCount { count } => write!(f, "a record claims {count} headers"),
            Self::NullHeaderKey => write!(f, "a record header has no key"),
            Self::TrailingBytes { bytes } => {
                write!(f, "a record has {bytes} bytes after its last header")
            }
            Self::TooFewRecords { claimed, found } => {
                write!(f, "the batch claims {claimed} records and holds {found}")
            }
            Self::RecordsLeft { claimed } => {
                write!(f, "the batch claims {claimed} records and holds more bytes")
            }
        }
    }
}

impl std::error::Error for RecordError {}

/// Iterator over the records of a payload.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    claimed: i32,
    found: i32,
    failed: bool,
}

impl<'a> Records<'a> {
    /// A walk over `payload`, of which the batch's header claims `claimed` records.
    ///
    /// A negative claim is a walk over none: it fails unless the payload is empty.
    pub fn new(payload: &'a [u8], claimed: i32) -> Records<'a> {
        Records { rest: payload, claimed, found: 0, failed: false }
    }

    /// The bytes not walked yet: what a record takes is the difference.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    fn step(&mut self) -> Result<Record<'a>, RecordError> {
        if self.rest.is_empty() {
            return Err(RecordError::TooFewRecords { claimed: self.claimed, found: self.found });
        }
        let length = take_i32(&mut self.rest).ok_or(RecordError::BadVarint)?;
        let bytes = usize::try_from(length).map_err(|_| RecordError::BadLength { length })?;
        let (body, rest) =
            self.rest.split_at_checked(bytes).ok_or(RecordError::BadLength { length })?;
        self.rest = rest;
        parse_record(body)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        if self.found >= self.claimed {
            if self.rest.is_empty() {
                return None;
            }
            self.failed = true;
            return Some(Err(RecordError::RecordsLeft { claimed: self.claimed }));
        }
        let record = self.step();
        match record {
            Ok(_) => self.found += 1,
            Err(_) => self.failed = true,
        }
        Some(record)
    }
}

#[inline]
fn parse_record(body: &[u8]) -> Result<Record<'_>, RecordError> {
    // The attributes byte has no meaning yet; Kafka reads and ignores it, too.
    let (_attributes, mut rest) = body.split_first().ok_or(RecordError::BadVarint)?;
    let timestamp_delta = take_i64(&mut rest).ok_or(RecordError::BadVarint)?;
    let offset_delta = take_i32(&mut rest).ok_or(RecordError::BadVarint)?;
    let key = take_part(&mut rest)?;
    let value = take_part(&mut rest)?;
    let count = take_i32(&mut rest).ok_or(RecordError::BadVarint)?;
    let headers = Headers { rest, count };
    if count == 0 {
        if !rest.is_empty() {
            return Err(RecordError::TrailingBytes { bytes: rest.len() });
        }
    } else {
        headers.check()?;
    }
    Ok(Record { timestamp_delta, offset_delta, key, value, headers })
}

/// A length and as many bytes; -1 is null.
#[inline]
fn take_part<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordError> {
    let length = take_i32(rest).ok_or(RecordError::BadVarint)?;
    if length == -1 {
        return Ok(None);
    }
    let bytes = usize::try_from(length).map_err(|_| RecordError::BadPart { length })?;
    let (part, after) = rest.split_at_checked(bytes).ok_or(RecordError::BadPart { length })?;
    *rest = after;
    Ok(Some(part))
}

/// One header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// UTF-8 by convention; not checked, as Kafka does not.
    pub key: &'a [u8],
    /// The value, if there is one.
    pub value: Option<&'a [u8]>,
}

/// The headers of one record, already checked by the walk that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers<'a> {
    rest: &'a [u8],
    count: i32,
}

impl<'a> Headers<'a> {
    /// How many there are.
    pub fn count(&self) -> usize {
        usize::try_from(self.count).expect("checked when the record was read")
    }

    fn check(mut self) -> Result<(), RecordError> {
        // Two bytes are the least a header takes, so a count that lies is found out at once.
        let room = self.rest.len() / 2;
        match usize::try_from(self.count) {
            Ok(count) if count <= room => {}
            _ => return Err(RecordError::BadHeaderCount { count: self.count }),
        }
        for _ in 0..self.count {
            self.take_header()?;
        }
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(RecordError::TrailingBytes { bytes: self.rest.len() })
        }
    }

    fn take_header(&mut self) -> Result<Header<'a>, RecordError> {
        let key = take_part(&mut self.rest)?.ok_or(RecordError::NullHeaderKey)?;
        let value = take_part(&mut self.rest)?;
        Ok(Header { key, value })
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        if self.count == 0 {
            return None;
        }
        self.count -= 1;
        Some(self.take_header().expect("checked when the record was read"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Length 8: attributes, timestamp delta 0, offset delta 0, key "k", value "v", no header.
    const GOOD: [u8; 9] = [0x10, 0, 0, 0, 0x02, b'k', 0x02, b'v', 0];

    fn first(bytes: &[u8]) -> Result<Record<'_>, RecordError> {
        Records::new(bytes, 1).next().unwrap()
    }

    #[test]
    fn a_record_is_read_in_place() {
        let record = first(&GOOD).unwrap();
        assert_eq!((record.key, record.value), (Some(&b"k"[..]), Some(&b"v"[..])));
        assert_eq!((record.timestamp_delta, record.offset_delta), (0, 0));
        assert_eq!(record.headers.count(), 0);
        let null = first(&[0x0c, 0, 3, 5, 1, 1, 0]).unwrap();
        assert_eq!((null.key, null.value), (None, None));
        assert_eq!((null.timestamp_delta, null.offset_delta), (-2, -3));
    }

    #[test]
    fn headers_are_read_in_order_and_may_lack_a_value() {
        let bytes = [0x18, 0, 0, 0, 1, 1, 0x04, 0x02, b'a', 0x02, b'1', 0, 1];
        let headers: Vec<_> = first(&bytes).unwrap().headers.collect();
        let want = [Header { key: b"a", value: Some(b"1") }, Header { key: b"", value: None }];
        assert_eq!(headers, want);
    }

    #[test]
    fn every_length_is_checked() {
        let check = |bytes: &[u8], want: RecordError| {
            assert_eq!(first(bytes), Err(want), "{bytes:?}");
        };
        check(&[], RecordError::TooFewRecords { claimed: 1, found: 0 });
        check(&[0x80], RecordError::BadVarint);
        check(&[0x01, 0], RecordError::BadLength { length: -1 });
        check(&[0x02], RecordError::BadLength { length: 1 });
        check(&[0xfe, 0xff, 0xff, 0xff, 0x0f, 0], RecordError::BadLength { length: i32::MAX });
        check(&[0x00], RecordError::BadVarint);
        check(&[0x06, 0, 0, 0x80], RecordError::BadVarint);
        check(&[0x0a, 0, 0, 0, 0x04, b'k'], RecordError::BadPart { length: 2 });
        check(&[0x0a, 0, 0, 0, 0x03, b'k'], RecordError::BadPart { length: -2 });
        check(&[0x0c, 0, 0, 0, 1, 1, 1], RecordError::BadHeaderCount { count: -1 });
        check(&[0x0c, 0, 0, 0, 1, 1, 2], RecordError::BadHeaderCount { count: 1 });
        check(&[0x10, 0, 0, 0, 1, 1, 2, 1, 1], RecordError::NullHeaderKey);
        check(&[0x0e, 0, 0, 0, 1, 1, 0, 9], RecordError::TrailingBytes { bytes: 1 });
        check(&[0x12, 0, 0, 0, 1, 1, 2, 0, 1, 9], RecordError::TrailingBytes { bytes: 1 });
    }

    #[test]
    fn the_count_is_held_and_the_first_error_ends_the_walk() {
        let two = [GOOD, GOOD].concat();
        assert_eq!(Records::new(&two, 2).filter(Result::is_ok).count(), 2);
        let walk: Vec<_> = Records::new(&two, 1).collect();
        assert_eq!(walk.len(), 2);
        assert_eq!(walk[1], Err(RecordError::RecordsLeft { claimed: 1 }));
        let walk: Vec<_> = Records::new(&two, 3).collect();
        assert_eq!(walk.len(), 3);
        assert_eq!(walk[2], Err(RecordError::TooFewRecords { claimed: 3, found: 2 }));
        assert_eq!(Records::new(&[], 0).count(), 0);
        assert_eq!(Records::new(&[], -5).count(), 0);
        let left = RecordError::RecordsLeft { claimed: -5 };
        assert_eq!(Records::new(&GOOD, -5).next(), Some(Err(left)));
    }
}
