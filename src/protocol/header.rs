//! What stands before a body: request headers 1 and 2, response headers 0 and 1.
//!
//! In:   a frame without its length prefix.
//! Out:  the header; the reader stands at the body.
//! Home: pure.
//!
//! Invariants
//!   H1  The client id has a 16-bit length in every version, also in the flexible one.
//!   H2  The answer to ApiVersions has header 0 whatever its version: a client that does not know the
//!       broker's versions yet must be able to read it.
//!
//! Source: KIP-482 and KIP-511; request header 0 was only ever used by ControlledShutdown 0.

use crate::protocol::api::ApiKey;
use crate::protocol::primitives::{DecodeError, EncodeError, RawTaggedField, Reader, Writer};

/// Bytes that every request begins with: key, version and correlation id.
pub const REQUEST_PREFIX_BYTES: usize = 8;

/// The header of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHeader {
    /// The key as it came, known or not.
    pub api_key: i16,
    /// The version as it came, served or not.
    pub api_version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// How the client calls itself.
    pub client_id: Option<String>,
    /// Tagged fields that are not known here, as they came.
    pub unknown_tagged_fields: Vec<RawTaggedField>,
}

impl RequestHeader {
    /// The API it asks for; `None` if there is none of that key.
    #[must_use]
    pub fn api(&self) -> Option<ApiKey> {
        ApiKey::from_key(self.api_key)
    }

    /// Reads the header that key and version call for: 2 in flexible versions, else 1.
    ///
    /// An unknown key is read with header 1, so that it can be named when it is refused.
    /// Errors: [`DecodeError`], the sender's doing.
    pub fn decode(reader: &mut Reader<'_>) -> Result<RequestHeader, DecodeError> {
        Self::read(reader, Self::has_tags)
    }

    fn read(
        reader: &mut Reader<'_>,
        has_tags: impl Fn(&Self) -> bool,
    ) -> Result<RequestHeader, DecodeError> {
        let api_key = reader.read_i16()?;
        let api_version = reader.read_i16()?;
        let correlation_id = reader.read_i32()?;
        let client_id = reader.read_nullable_string(false)?;
        let mut header =
            RequestHeader { api_key, api_version, correlation_id, client_id, ..Self::default() };
        if has_tags(&header) {
            header.unknown_tagged_fields = reader.read_tagged_fields(|_, _| Ok(false))?;
        }
        Ok(header)
    }

    /// Writes the header that key and version call for. Errors: a client id above 32,767 bytes.
    pub fn encode(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        self.write(writer, self.has_tags())
    }

    fn write(&self, writer: &mut Writer, has_tags: bool) -> Result<(), EncodeError> {
        writer.write_i16(self.api_key);
        writer.write_i16(self.api_version);
        writer.write_i32(self.correlation_id);
        writer.write_nullable_string(self.client_id.as_deref(), false)?;
        if has_tags {
            writer.write_tagged_fields(Vec::new(), &self.unknown_tagged_fields)?;
        }
        Ok(())
    }

    /// Whether key and version call for header 2.
    fn has_tags(&self) -> bool {
        self.api().is_some_and(|api| api.is_flexible(self.api_version))
    }
}

/// The header of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseHeader {
    /// That of the request.
    pub correlation_id: i32,
    /// Tagged fields that are not known here, as they came.
    pub unknown_tagged_fields: Vec<RawTaggedField>,
}

impl ResponseHeader {
    /// A header that answers the request of `correlation_id`.
    #[must_use]
    pub fn answering(correlation_id: i32) -> ResponseHeader {
        ResponseHeader { correlation_id, unknown_tagged_fields: Vec::new() }
    }

    /// Reads the header of a response to `api` in `version`. Errors: the sender's doing.
    pub fn decode(
        reader: &mut Reader<'_>,
        api: ApiKey,
        version: i16,
    ) -> Result<ResponseHeader, DecodeError> {
        let mut header = ResponseHeader::answering(reader.read_i32()?);
        if has_tags(api, version) {
            header.unknown_tagged_fields = reader.read_tagged_fields(|_, _| Ok(false))?;
        }
        Ok(header)
    }

    /// Writes the header of a response to `api` in `version`. Errors: our own mistake.
    pub fn encode(
        &self,
        writer: &mut Writer,
        api: ApiKey,
        version: i16,
    ) -> Result<(), EncodeError> {
        writer.write_i32(self.correlation_id);
        if has_tags(api, version) {
            writer.write_tagged_fields(Vec::new(), &self.unknown_tagged_fields)?;
        }
        Ok(())
    }
}

/// Whether the response header is version 1 (H2).
fn has_tags(api: ApiKey, version: i16) -> bool {
    api != ApiKey::ApiVersions && api.is_flexible(version)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::golden;

    fn round_trip(header: &RequestHeader) -> Vec<u8> {
        let mut writer = Writer::new();
        header.encode(&mut writer).unwrap();
        let bytes = writer.into_buffer();
        let mut reader = Reader::new(&bytes);
        assert_eq!(&RequestHeader::decode(&mut reader).unwrap(), header);
        assert_eq!(reader.remaining(), 0);
        bytes.to_vec()
    }

    #[test]
    fn the_client_id_is_never_compact() {
        let header = RequestHeader {
            api_key: ApiKey::Metadata.key(),
            api_version: 12,
            correlation_id: 7,
            client_id: Some("me".to_owned()),
            unknown_tagged_fields: Vec::new(),
        };
        assert_eq!(round_trip(&header), [0, 3, 0, 12, 0, 0, 0, 7, 0, 2, b'm', b'e', 0]);
        let classic = RequestHeader { api_version: 8, client_id: None, ..header };
        assert_eq!(round_trip(&classic), [0, 3, 0, 8, 0, 0, 0, 7, 0xff, 0xff]);
    }

    #[test]
    fn an_answer_to_api_versions_has_no_tags() {
        let bytes_of = |api, version| {
            let mut writer = Writer::new();
            ResponseHeader::answering(5).encode(&mut writer, api, version).unwrap();
            writer.into_buffer().to_vec()
        };
        assert_eq!(bytes_of(ApiKey::ApiVersions, 4), [0, 0, 0, 5]);
        assert_eq!(bytes_of(ApiKey::Metadata, 8), [0, 0, 0, 5]);
        assert_eq!(bytes_of(ApiKey::Metadata, 9), [0, 0, 0, 5, 0]);
    }

    #[test]
    fn an_unknown_key_can_be_read_and_named() {
        let header = RequestHeader { api_key: 999, api_version: 3, ..RequestHeader::default() };
        round_trip(&header);
        assert_eq!(header.api(), None);
    }

    #[test]
    fn golden_headers() {
        let mut count = 0;
        for line in golden::lines("vectors/headers.jsonl.gz") {
            let bytes = golden::unhex(golden::text(&line, "hex"));
            let mut reader = Reader::new(&bytes);
            if line["schema"] == "RequestHeader" {
                let tags = golden::version(&line) == 2;
                let header = RequestHeader::read(&mut reader, |_| tags).expect("a header");
                assert_eq!(header.api_key, line["json"]["requestApiKey"]);
                assert_eq!(header.api_version, line["json"]["requestApiVersion"]);
                assert_eq!(header.correlation_id, line["json"]["correlationId"]);
                assert_eq!(json!(header.client_id), line["json"]["clientId"]);
                let mut writer = Writer::new();
                header.write(&mut writer, tags).expect("a header");
                assert_eq!(writer.written(), bytes);
            } else {
                assert_eq!(reader.read_i32().expect("four bytes"), line["json"]["correlationId"]);
                if golden::version(&line) == 1 {
                    reader.skip_tagged_fields().expect("a tag section");
                }
            }
            assert_eq!(reader.remaining(), 0);
            count += 1;
        }
        assert!(count >= 8, "vacuous: {count} headers");
    }
}
