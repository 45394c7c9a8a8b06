//! The ready file: how a script learns the ports and that the broker answers.
//!
//! In:   addresses and process id.
//! Out:  a JSON file that is either absent or whole.
#![allow(clippy::disallowed_methods)] // one small file, written by the main thread once

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Address of the first Kafka listener, HOST:PORT.
    pub kafka: String,
    /// Address of the admin endpoint; null when there is none.
    pub admin: Option<String>,
    /// Process id of the broker.
    pub pid: u32,
}

/// Writes `ready` to `path`: first beside it, then renamed, so that no reader sees half of it.
///
/// Errors: what the file system says.
pub fn write(path: &Path, ready: &Ready) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", ready.pid));
    let text = serde_json::to_string(ready).expect("plain fields") + "\n";
    fs::write(&beside, text)?;
    fs::rename(&beside, path)
}

/// Removes a ready file left by an earlier run, so that a script cannot take it for this one's.
///
/// Errors: what the file system says; absence is none.
pub fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ready.json");
        let ready = Ready { kafka: "127.0.0.1:1".to_owned(), admin: None, pid: std::process::id() };
        remove_stale(&path).unwrap();
        write(&path, &ready).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(serde_json::from_str::<Ready>(&text).unwrap(), ready);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        remove_stale(&path).unwrap();
        assert!(!path.exists());
    }
}
