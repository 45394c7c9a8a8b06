//! One question to a broker's admin endpoint.
//!
//! In:   an address, a path, perhaps a JSON body.
//! Out:  status and body of the answer.
//!
//! Invariants
//!   H1  One connection a question; no step takes longer than the time limit.
//!   H2  At most [`ANSWER_BYTES_MAX`] bytes are taken.
//!
//! Source: RFC 9112, as much of it as our own admin endpoint speaks.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::config::listener::HostPort;

/// Largest answer taken, in bytes.
pub const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status, such as 200.
    pub status: u16,
    /// Names and values of the head's lines, as they came.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum HttpError {
    /// The endpoint cannot be reached, or the connection broke.
    Io {
        /// The endpoint.
        address: HostPort,
        /// What the system says.
        error: io::Error,
    },
    /// What came is no answer in HTTP/1.1 with a length.
    Malformed {
        /// The endpoint.
        address: HostPort,
    },
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { address, error } => write!(f, "admin endpoint {address}: {error}"),
            Self::Malformed { address } => {
                write!(f, "admin endpoint {address}: a malformed answer; is this an admin port?")
            }
        }
    }
}

impl std::error::Error for HttpError {}

/// Asks `GET path`, or `POST path` with a JSON body.
///
/// Errors: [`HttpError`]; every status is an answer.
pub fn ask(
    address: &HostPort,
    path: &str,
    body: Option<&str>,
    timeout: Duration,
) -> Result<Answer, HttpError> {
    let raw = exchange(address, path, body, timeout)
        .map_err(|error| HttpError::Io { address: address.clone(), error })?;
    parse(&raw).ok_or_else(|| HttpError::Malformed { address: address.clone() })
}

fn exchange(
    address: &HostPort,
    path: &str,
    body: Option<&str>,
    timeout: Duration,
) -> io::Result<Vec<u8>> {
    let mut stream = connect(address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let method = if body.is_some() { "POST" } else { "GET" };
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    if let Some(body) = body {
        let length = body.len();
        request.push_str("Content-Type: application/json\r\n");
        request.push_str(&format!("Content-Length: {length}\r\n"));
    }
    request.push_str("\r\n");
    request.push_str(body.unwrap_or_default());
    stream.write_all(request.as_bytes())?;
    let mut raw = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut raw).map_err(|error| match error.kind() {
        // What Linux says of a read that took too long.
        io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "no answer in time"),
        _ => error,
    })?;
    Ok(raw)
}

fn connect(address: &HostPort, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for found in (address.host.as_str(), address.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&found, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Reads a whole answer; the connection has been closed behind it.
fn parse(raw: &[u8]) -> Option<Answer> {
    let head_end = raw.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&raw[..head_end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.trim().to_owned()))
    };
    let headers = lines.filter_map(header).collect();
    let answer = Answer { status, headers, body: raw[head_end + 4..].to_vec() };
    let length: usize = answer.header("content-length")?.parse().ok()?;
    (length == answer.body.len()).then_some(answer)
}

impl Answer {
    /// The value of a line of the head, whose name is told in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// A text as one step of a path: all but letters, digits and `-._~` as `%XX`.
pub fn path_step(text: &str) -> String {
    let mut step = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                step.push(char::from(byte));
            }
            _ => step.push_str(&format!("%{byte:02X}")),
        }
    }
    step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_cut_ones_refused() {
        let whole = b"HTTP/1.1 404 Not Found\r\ncontent-LENGTH: 2\r\nx: y\r\n\r\n{}";
        let read = parse(whole).expect("it is whole");
        assert_eq!((read.status, &read.body[..]), (404, &b"{}"[..]));
        assert_eq!((read.header("X"), read.header("y")), (Some("y"), None));
        for cut in 0..whole.len() {
            assert_eq!(parse(&whole[..cut]), None, "{cut}");
        }
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n\r\n{}"), None, "no length");
        assert_eq!(parse(b"SSH-2.0-x\r\n\r\n"), None);
        assert_eq!(parse(b"HTTP/1.1 2\xff0 OK\r\n\r\n"), None);
    }

    #[test]
    fn names_become_one_step_of_a_path() {
        assert_eq!(path_step("my-group_1.a~"), "my-group_1.a~");
        assert_eq!(path_step("a/b c?%"), "a%2Fb%20c%3F%25");
        assert_eq!(path_step("여"), "%EC%97%AC");
    }
}
