//! Records of `__consumer_offsets` as the driver meets them.
//!
//! In:   the core's records; keys and values from a log.
//! Out:  the same the other way round. What is not understood is skipped, as Kafka skips it.
//! Home: pure.
//!
//! Not here: the bytes (`crate::group::codec`).

use bytes::Bytes;

use crate::group::codec;
use crate::group::record::Record;

/// Key and value of a record; no value: a tombstone.
pub(super) fn encode(record: &Record) -> (Bytes, Option<Bytes>) {
    let encoded = codec::encode(record).expect("the core bounds its records");
    (encoded.key, encoded.value)
}

/// The record of a key and a value; `None`: of a type or version that is not understood.
pub(super) fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Option<Record> {
    codec::decode(key?, value).ok().flatten()
}
