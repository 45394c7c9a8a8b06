//! Addresses: where the broker listens, and what it tells clients.
//!
//! In:   `NAME://HOST:PORT` lists of `listeners` and `advertised.listeners`, or `HOST:PORT`.
//! Out:  typed addresses; a wildcard is never told to a client.
//! Home: pure; nothing is looked up or bound here.

use std::fmt;

use super::error::ConfigError;

/// A host and a port; port 0 means "any free one" when listening.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// Name or address, without brackets; empty listens on every address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// One listener or its advertised address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name, in upper case (`PLAINTEXT`).
    pub name: String,
    /// Where.
    pub address: HostPort,
}

impl HostPort {
    /// Reads `HOST:PORT`, `[V6]:PORT` or `:PORT`; `None` if it is none of these.
    pub fn parse(text: &str) -> Option<HostPort> {
        let (host, port) = text.trim().rsplit_once(':')?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(inner) => inner,
            None if host.contains([':', '[', ']', '/', ' ']) => return None,
            None => host,
        };
        Some(HostPort { host: host.to_owned(), port: port.parse().ok()? })
    }

    /// Whether it names every address of the machine.
    pub fn is_wildcard(&self) -> bool {
        matches!(self.host.as_str(), "" | "0.0.0.0" | "::" | "0:0:0:0:0:0:0:0")
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.name, self.address)
    }
}

/// Reads a comma-separated list of `NAME://HOST:PORT` for the setting `setting_name`.
///
/// Errors: [`ConfigError::BadText`] for a bad item or a name that stands twice.
pub fn parse_listeners(
    setting_name: &'static str,
    text: &str,
) -> Result<Vec<Listener>, ConfigError> {
    let mut listeners: Vec<Listener> = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let refused = |expected| ConfigError::BadText {
            name: setting_name,
            value: item.to_owned(),
            expected,
        };
        let (name, address) = item.split_once("://").ok_or_else(|| refused("NAME://HOST:PORT"))?;
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if name.is_empty() || !name.chars().all(legal) {
            return Err(refused("a listener name of letters, digits, '_' and '-'"));
        }
        let address = HostPort::parse(address).ok_or_else(|| refused("NAME://HOST:PORT"))?;
        let name = name.to_ascii_uppercase();
        if listeners.iter().any(|listener| listener.name == name) {
            return Err(refused("each listener name once"));
        }
        listeners.push(Listener { name, address });
    }
    Ok(listeners)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_read() {
        let check = |text: &str, want: Option<(&str, u16)>| {
            let want = want.map(|(host, port)| HostPort { host: host.to_owned(), port });
            assert_eq!(HostPort::parse(text), want, "{text}");
        };
        check("localhost:9092", Some(("localhost", 9092)));
        check("127.0.0.1:0", Some(("127.0.0.1", 0)));
        check("[::1]:9092", Some(("::1", 9092)));
        check(":9092", Some(("", 9092)));
        check("localhost", None);
        check("localhost:", None);
        check("localhost:70000", None);
        check("::1:9092", None);
        check("a b:1", None);
    }

    #[test]
    fn lists_of_listeners_are_read_and_printed() {
        let text = "PLAINTEXT://127.0.0.1:9092,INSIDE://[::1]:0";
        let listeners = parse_listeners("listeners", text).unwrap();
        let printed: Vec<String> = listeners.iter().map(Listener::to_string).collect();
        assert_eq!(printed.join(","), text);
        assert_eq!(parse_listeners("listeners", "plaintext://:1").unwrap()[0].name, "PLAINTEXT");
    }

    #[test]
    fn bad_listeners_are_refused() {
        for text in ["127.0.0.1:9092", "A://x", "A B://x:1", "A://x:1,A://y:2", "://x:1"] {
            assert!(parse_listeners("listeners", text).is_err(), "{text}");
        }
    }
}
