//! One connection to one broker: versions agreed on first, then one request at a time, or several
//! before the first answer.
//!
//! In:   requests of `crate::protocol`.
//! Out:  their answers, in order.
//!
//! Invariants
//!   N1  A request goes out in the highest version that both sides know.
//!   N2  No length is trusted: an answer above [`ANSWER_BYTES_MAX`] ends the connection, and memory
//!       grows only as bytes arrive.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use bytes::Bytes;

use super::error::ClientError;
use crate::config::listener::HostPort;
use crate::protocol::api::ApiKey;
use crate::protocol::error::ErrorCode;
use crate::protocol::frame;
use crate::protocol::header::ResponseHeader;
use crate::protocol::message::{Message, Request};
use crate::protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use crate::protocol::primitives::{DecodeError, Reader};

/// Largest answer taken, in bytes.
pub const ANSWER_BYTES_MAX: i64 = 512 << 20;

/// A connection whose versions are agreed on.
#[derive(Debug)]
pub struct Connection {
    broker: HostPort,
    stream: TcpStream,
    client_id: String,
    timeout: Duration,
    versions: BTreeMap<i16, (i16, i16)>,
    next_correlation_id: i32,
}

/// A request that was sent and not answered yet.
#[derive(Clone, Copy, Debug)]
#[must_use = "its answer comes before that of any later request"]
pub struct Sent {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
}

impl Connection {
    /// Connects, and asks which versions the broker serves. No step takes longer than `timeout`.
    ///
    /// Errors: the broker cannot be reached, or does not speak Kafka's protocol.
    pub fn open(
        broker: &HostPort,
        client_id: &str,
        timeout: Duration,
    ) -> Result<Connection, ClientError> {
        let stream = connect(broker, timeout)?;
        let broken = |error| ClientError::Connect { broker: broker.clone(), error };
        stream.set_nodelay(true).map_err(broken)?;
        stream.set_read_timeout(Some(timeout)).map_err(broken)?;
        stream.set_write_timeout(Some(timeout)).map_err(broken)?;
        let mut connection = Connection {
            broker: broker.clone(),
            stream,
            client_id: client_id.to_owned(),
            timeout,
            versions: BTreeMap::new(),
            next_correlation_id: 0,
        };
        connection.negotiate()?;
        Ok(connection)
    }

    /// The broker at the other end.
    pub fn broker(&self) -> &HostPort {
        &self.broker
    }

    /// Sends `request` and waits for its answer. Errors: [`ClientError`].
    pub fn call<R: Request>(&mut self, request: &R) -> Result<R::Response, ClientError> {
        let sent = self.send(request)?;
        self.receive::<R::Response>(sent)
    }

    /// As [`Connection::call`], in a version that both sides know. Errors: [`ClientError`].
    pub fn call_at<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, ClientError> {
        let sent = self.send_at(request, version)?;
        self.receive::<R::Response>(sent)
    }

    /// Sends `request`; its answer is fetched with [`Connection::receive`], in order.
    ///
    /// Errors: it cannot be said in a version the broker serves, or the connection broke.
    pub fn send<M: Message>(&mut self, request: &M) -> Result<Sent, ClientError> {
        let version = self.version_of::<M>()?;
        self.send_at(request, version)
    }

    /// The version requests of `M` go out in (N1). Errors: [`ClientError::NotServed`].
    pub fn version_of<M: Message>(&self) -> Result<i16, ClientError> {
        let served = self.versions.get(&M::KEY.key());
        let version = served.and_then(|(first, last)| {
            let version = (*last).min(*M::VERSIONS.end());
            (*first.max(M::VERSIONS.start()) <= version).then_some(version)
        });
        version.ok_or(ClientError::NotServed { broker: self.broker.clone(), api: M::KEY })
    }

    /// Waits for the answer to `sent`, the oldest that is not answered.
    ///
    /// Errors: none came in time, or it is malformed; the connection is of no use afterwards.
    pub fn receive<M: Message>(&mut self, sent: Sent) -> Result<M, ClientError> {
        assert!(sent.api == M::KEY, "the answer is read as what was asked");
        let frame = self.read_answer(sent)?;
        let malformed = |error| self.malformed(sent.api, error);
        let mut reader = Reader::shared(&frame);
        let header = ResponseHeader::decode(&mut reader, sent.api, sent.version);
        if header.map_err(malformed)?.correlation_id != sent.correlation_id {
            return Err(ClientError::WrongAnswer { broker: self.broker.clone(), api: sent.api });
        }
        M::decode(&mut reader, sent.version).map_err(malformed)
    }

    fn send_at<M: Message>(&mut self, request: &M, version: i16) -> Result<Sent, ClientError> {
        let sent = Sent { api: M::KEY, version, correlation_id: self.next_correlation_id };
        self.next_correlation_id = self.next_correlation_id.wrapping_add(1);
        let frame = frame::request(sent.correlation_id, Some(&self.client_id), version, request)
            .map_err(|error| ClientError::Encode { api: M::KEY, error })?;
        self.stream.write_all(&frame).map_err(|error| self.broken(M::KEY, error))?;
        Ok(sent)
    }

    /// An older broker answers an ApiVersions request it does not know in version 0, so it is
    /// asked again in that one. Source: KIP-511.
    fn negotiate(&mut self) -> Result<(), ClientError> {
        let request = ApiVersionsRequest {
            client_software_name: env!("CARGO_PKG_NAME").to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..ApiVersionsRequest::default()
        };
        let newest = *<ApiVersionsRequest as Message>::VERSIONS.end();
        let sent = self.send_at(&request, newest)?;
        let frame = self.read_answer(sent)?;
        let refused = frame.get(4..6) == Some(&ErrorCode::UnsupportedVersion.code().to_be_bytes());
        let (frame, version) = if refused {
            let sent = self.send_at(&ApiVersionsRequest::default(), 0)?;
            (self.read_answer(sent)?, 0)
        } else {
            (frame, newest)
        };
        let answer = self.decode_versions(&frame, version)?;
        if answer.error_code != 0 {
            return Err(ClientError::Refused {
                api: ApiKey::ApiVersions,
                subject: self.broker.to_string(),
                code: answer.error_code,
                message: None,
            });
        }
        let row = |api: crate::protocol::messages::api_versions::ApiVersion| {
            (api.api_key, (api.min_version, api.max_version))
        };
        self.versions = answer.api_keys.into_iter().map(row).collect();
        Ok(())
    }

    fn decode_versions(
        &self,
        frame: &Bytes,
        version: i16,
    ) -> Result<ApiVersionsResponse, ClientError> {
        let malformed = |error| self.malformed(ApiKey::ApiVersions, error);
        let mut reader = Reader::shared(frame);
        ResponseHeader::decode(&mut reader, ApiKey::ApiVersions, version).map_err(malformed)?;
        ApiVersionsResponse::decode(&mut reader, version).map_err(malformed)
    }

    fn read_answer(&mut self, sent: Sent) -> Result<Bytes, ClientError> {
        let mut prefix = [0; 4];
        let read = self.stream.read_exact(&mut prefix);
        read.map_err(|error| self.broken(sent.api, error))?;
        let bytes = i64::from(i32::from_be_bytes(prefix));
        let length = u64::try_from(bytes).ok().filter(|_| bytes <= ANSWER_BYTES_MAX);
        let Some(length) = length else {
            return Err(ClientError::AnswerTooLarge { broker: self.broker.clone(), bytes });
        };
        let mut frame = Vec::new();
        let read = (&mut self.stream).take(length).read_to_end(&mut frame);
        read.map_err(|error| self.broken(sent.api, error))?;
        if u64::try_from(frame.len()).ok() != Some(length) {
            return Err(self.broken(sent.api, io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(Bytes::from(frame))
    }

    fn broken(&self, api: ApiKey, error: io::Error) -> ClientError {
        let broker = self.broker.clone();
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                ClientError::Timeout { broker, api, waited: self.timeout }
            }
            _ => ClientError::Broken { broker, api, error },
        }
    }

    fn malformed(&self, api: ApiKey, error: DecodeError) -> ClientError {
        ClientError::Malformed { broker: self.broker.clone(), api, error }
    }
}

/// Tries each address of the broker's name, the first that connects wins.
fn connect(broker: &HostPort, timeout: Duration) -> Result<TcpStream, ClientError> {
    let host = if broker.host.is_empty() { "127.0.0.1" } else { broker.host.as_str() };
    let addresses = (host, broker.port)
        .to_socket_addrs()
        .map_err(|error| ClientError::Resolve { broker: broker.clone(), error })?;
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(ClientError::Connect { broker: broker.clone(), error: last })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    use super::*;
    use crate::protocol::messages::api_versions::ApiVersion;
    use crate::protocol::messages::metadata::{MetadataRequest, MetadataResponse};

    /// A broker of one connection that reads a frame and writes what `script` says next.
    fn broker(script: Vec<Vec<u8>>) -> (HostPort, JoinHandle<Vec<Vec<u8>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut requests = Vec::new();
            for answer in script {
                let mut prefix = [0; 4];
                stream.read_exact(&mut prefix).unwrap();
                let length = usize::try_from(u32::from_be_bytes(prefix)).unwrap();
                let mut request = vec![0; length];
                stream.read_exact(&mut request).unwrap();
                requests.push(request);
                stream.write_all(&answer).unwrap();
            }
            requests
        });
        (HostPort { host: "127.0.0.1".to_owned(), port }, thread)
    }

    fn open(broker: &HostPort) -> Result<Connection, ClientError> {
        Connection::open(broker, "test", Duration::from_secs(10))
    }

    fn versions(correlation_id: i32, version: i16, metadata_max: i16) -> Vec<u8> {
        let answer = ApiVersionsResponse {
            api_keys: vec![ApiVersion {
                api_key: ApiKey::Metadata.key(),
                max_version: metadata_max,
                ..ApiVersion::default()
            }],
            ..ApiVersionsResponse::default()
        };
        frame::response(correlation_id, version, &answer).unwrap().to_vec()
    }

    #[test]
    fn the_highest_version_that_both_know_is_spoken() {
        let metadata = MetadataResponse { controller_id: 7, ..MetadataResponse::default() };
        let metadata = frame::response(1, 9, &metadata).unwrap().to_vec();
        let (address, thread) = broker(vec![versions(0, 4, 9), metadata]);
        let mut connection = open(&address).unwrap();
        let answer = connection.call(&MetadataRequest::default()).unwrap();
        assert_eq!(answer.controller_id, 7);
        let requests = thread.join().unwrap();
        assert_eq!(requests[0][..4], [0, 18, 0, 4]);
        assert_eq!(requests[1][..4], [0, 3, 0, 9], "N1");
    }

    #[test]
    fn an_older_broker_is_asked_again_in_version_0() {
        let code = ErrorCode::UnsupportedVersion.code();
        let refusal = ApiVersionsResponse { error_code: code, ..ApiVersionsResponse::default() };
        let refusal = frame::response(0, 0, &refusal).unwrap().to_vec();
        let (address, thread) = broker(vec![refusal, versions(1, 0, 5)]);
        let connection = open(&address).unwrap();
        assert_eq!(connection.version_of::<MetadataRequest>().unwrap(), 5);
        assert_eq!(thread.join().unwrap()[1][..4], [0, 18, 0, 0]);
        let missing = connection.version_of::<crate::protocol::fetch::FetchRequest>();
        assert!(matches!(missing, Err(ClientError::NotServed { .. })));
    }

    #[test]
    fn bad_answers_are_errors_and_never_trusted() {
        let check = |answer: Vec<u8>, want: fn(&ClientError) -> bool| {
            let (address, thread) = broker(vec![versions(0, 4, 9), answer]);
            let mut connection = open(&address).unwrap();
            let error = connection.call(&MetadataRequest::default()).unwrap_err();
            assert!(want(&error), "{error}");
            drop(thread.join().unwrap());
        };
        check(vec![], |e| matches!(e, ClientError::Broken { .. }));
        check(vec![0, 0, 0, 9, 1], |e| matches!(e, ClientError::Broken { .. }));
        check(b"HTTP/1.1 400".to_vec(), |e| matches!(e, ClientError::AnswerTooLarge { .. }));
        check(vec![0xff; 4], |e| matches!(e, ClientError::AnswerTooLarge { bytes: -1, .. }));
        check(vec![0, 0, 0, 4, 0, 0, 0, 1], |e| matches!(e, ClientError::Malformed { .. }));
        check(vec![0, 0, 0, 5, 0, 0, 0, 3, 0], |e| matches!(e, ClientError::WrongAnswer { .. }));
    }

    #[test]
    fn a_port_where_nobody_listens_is_named() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = HostPort { host: "127.0.0.1".to_owned(), port: free };
        let error = open(&address).unwrap_err();
        assert!(error.is_retriable());
        assert!(error.to_string().starts_with(&address.to_string()), "{error}");
    }
}
