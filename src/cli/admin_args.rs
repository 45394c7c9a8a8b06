//! Options of commands that ask a broker's admin endpoint, and the asking.
//!
//! In:   a path, perhaps a body.
//! Out:  the answer as a typed value; a refusal in the broker's own words.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::exit::CliError;
use crate::admin::groups::{LEFT_OUT, Refusal};
use crate::client::http::{Answer, HttpError, ask};
use crate::config::listener::HostPort;

/// Options of commands that ask the admin endpoint.
#[derive(Clone, Debug, Args)]
pub struct AdminArgs {
    /// The broker's admin endpoint, HOST:PORT.
    #[arg(short, long, env = "YEOUL_ADMIN", default_value = "127.0.0.1:9644")]
    pub admin: String,
    /// Longest wait for an answer, in seconds.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
}

impl AdminArgs {
    /// Asks for a path. Errors: [`CliError`].
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        let (address, answer) = self.ask(path, None)?;
        read(&address, &answer)
    }

    /// Asks for a path whose answer may leave something out: how much, if it does.
    /// Errors: [`CliError`].
    pub fn get_most<T: DeserializeOwned>(&self, path: &str) -> Result<(T, Option<u64>), CliError> {
        let (address, answer) = self.ask(path, None)?;
        let left_out = answer.header(LEFT_OUT).and_then(|count| count.parse().ok());
        Ok((read(&address, &answer)?, left_out))
    }

    /// Sends a body to a path. Errors: [`CliError`].
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CliError> {
        let body = serde_json::to_string(body).expect("our bodies have text keys");
        let (address, answer) = self.ask(path, Some(&body))?;
        read(&address, &answer)
    }

    fn ask(&self, path: &str, body: Option<&str>) -> Result<(HostPort, Answer), CliError> {
        let text = || self.admin.clone();
        let address = HostPort::parse(&self.admin);
        let address = address.ok_or_else(|| CliError::BadAdmin { text: text() })?;
        let answer = ask(&address, path, body, Duration::from_secs(self.timeout))?;
        Ok((address, answer))
    }
}

fn read<T: DeserializeOwned>(address: &HostPort, answer: &Answer) -> Result<T, CliError> {
    let malformed = || CliError::Admin(HttpError::Malformed { address: address.clone() });
    if answer.status == 200 {
        return serde_json::from_slice(&answer.body).map_err(|_| malformed());
    }
    let refusal: Refusal = serde_json::from_slice(&answer.body).map_err(|_| malformed())?;
    Err(CliError::AdminRefused { words: refusal.error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_brokers_words() {
        let address = HostPort { host: "h".to_owned(), port: 1 };
        let check = |status, body: &str, expected: &str| {
            let body = body.as_bytes().to_vec();
            let answer = Answer { status, headers: Vec::new(), body };
            let told = match read::<Vec<u32>>(&address, &answer) {
                Ok(value) => format!("{value:?}"),
                Err(error) => error.to_string(),
            };
            assert!(told.starts_with(expected), "{told}");
        };
        check(200, "[1]", "[1]");
        check(200, "{}", "admin endpoint h:1: a malformed answer");
        check(404, r#"{"error":"group 'g' does not exist"}"#, "group 'g' does not exist");
        check(500, "oops", "admin endpoint h:1: a malformed answer");
    }
}
