//! Whole frames: length prefix, header and body in one buffer.
//!
//! In:   a header's parts and a body.
//! Out:  the bytes to send.
//! Home: pure.
//!
//! Not here: reading frames off a connection (`crate::net`); Fetch responses, which are made of pieces
//! (`crate::protocol::fetch`).

use bytes::Bytes;

use crate::protocol::header::{RequestHeader, ResponseHeader};
use crate::protocol::message::Message;
use crate::protocol::primitives::{EncodeError, Writer};

/// Bytes of the length before every frame.
pub const LENGTH_PREFIX_BYTES: usize = 4;

/// A request's whole frame. Errors: our own mistake, or a frame above 2^31 - 1 bytes.
pub fn request<M: Message>(
    correlation_id: i32,
    client_id: Option<&str>,
    version: i16,
    body: &M,
) -> Result<Bytes, EncodeError> {
    let mut writer = begin();
    let header = RequestHeader {
        api_key: M::KEY.key(),
        api_version: version,
        correlation_id,
        client_id: client_id.map(str::to_owned),
        unknown_tagged_fields: Vec::new(),
    };
    header.encode(&mut writer)?;
    body.encode(&mut writer, version)?;
    end(writer)
}

/// A response's whole frame. Errors: our own mistake, or a frame above 2^31 - 1 bytes.
pub fn response<M: Message>(
    correlation_id: i32,
    version: i16,
    body: &M,
) -> Result<Bytes, EncodeError> {
    let mut writer = begin();
    ResponseHeader::answering(correlation_id).encode(&mut writer, M::KEY, version)?;
    body.encode(&mut writer, version)?;
    end(writer)
}

/// A writer that has left room for the length.
pub(crate) fn begin() -> Writer {
    let mut writer = Writer::new();
    writer.write_i32(0);
    writer
}

/// Fills in the length.
fn end(mut writer: Writer) -> Result<Bytes, EncodeError> {
    let length = writer.written().len() - LENGTH_PREFIX_BYTES;
    let fits = i32::try_from(length).map_err(|_| EncodeError::TooLarge { length })?;
    writer.patch_i32(0, fits);
    Ok(writer.into_buffer().freeze())
}
