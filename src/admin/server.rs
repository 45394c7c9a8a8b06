//! The admin listener: bound before the broker says it is ready, served until shutdown.
//!
//! In:   an address, routes.
//! Out:  answers over HTTP/1.1; the address that was bound.
//! Home: the control thread's tokio runtime.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;

use axum::Router;
use tokio::net::TcpListener;

use crate::config::listener::HostPort;

/// Why the admin endpoint is not there.
#[derive(Debug)]
pub enum AdminError {
    /// Somebody else listens there.
    InUse {
        /// The address.
        address: HostPort,
    },
    /// The address cannot be listened on.
    Bind {
        /// The address.
        address: HostPort,
        /// What the system says.
        error: io::Error,
    },
    /// The listener failed while it served.
    Serve(io::Error),
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { address } => write!(
                f,
                "admin address {address} is in use: stop what listens there, or start with \
                 --admin {}:0",
                address.host
            ),
            Self::Bind { address, error } => {
                write!(f, "cannot listen on admin address {address}: {error}")
            }
            Self::Serve(error) => write!(f, "the admin endpoint failed: {error}"),
        }
    }
}

impl std::error::Error for AdminError {}

/// A bound admin listener.
#[derive(Debug)]
pub struct AdminListener {
    listener: TcpListener,
    address: SocketAddr,
}

impl AdminListener {
    /// Binds `address`; port 0 takes any free one.
    ///
    /// Errors: [`AdminError::InUse`] and [`AdminError::Bind`].
    pub async fn bind(address: &HostPort) -> Result<AdminListener, AdminError> {
        let refused = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => AdminError::InUse { address: address.clone() },
            _ => AdminError::Bind { address: address.clone(), error },
        };
        let host = if address.host.is_empty() { "0.0.0.0" } else { address.host.as_str() };
        let listener = TcpListener::bind((host, address.port)).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(AdminListener { listener, address })
    }

    /// The address that was bound, with its real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until `shutdown` ends.
    ///
    /// Errors: [`AdminError::Serve`].
    pub async fn serve(
        self,
        router: Router,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), AdminError> {
        let served = axum::serve(self.listener, router).with_graceful_shutdown(shutdown);
        served.await.map_err(AdminError::Serve)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::admin::routes::router;
    use crate::admin::source::{AdminSource, Gathered, Health, Readiness};
    use crate::broker::group_orders::{SeekOrder, SeekRefused, SeekTo};
    use crate::broker::lag_sampler::{GroupLag, LagError};
    use crate::coordinator::call::Unavailable;
    use crate::group::seek::{Moved, SeekError, Sought};
    use crate::metrics::group_lag::{Followed, PartitionLag};
    use crate::metrics::shard::ShardMetrics;
    use crate::model::ids::PartitionIndex;
    use crate::model::offset::Offset;

    struct Fake {
        ready: bool,
        answers: bool,
    }

    impl AdminSource for Fake {
        fn api_name(_: i16) -> &'static str {
            "any"
        }

        async fn ping(&self) {
            if !self.answers {
                std::future::pending::<()>().await;
            }
        }

        async fn readiness(&self) -> Readiness {
            let reasons = if self.ready { vec![] } else { vec!["recovering".to_owned()] };
            Readiness { ready: self.ready, reasons }
        }

        async fn health(&self) -> Health {
            Health { healthy: true, node_id: 7, ..Health::default() }
        }

        async fn metrics(&self) -> Gathered {
            Gathered { shards: vec![ShardMetrics::new(3)], ..Gathered::default() }
        }

        async fn group_lags(&self) -> Vec<PartitionLag> {
            vec![lag("a/b")]
        }

        async fn group_lag(&self, group: &str) -> Result<GroupLag, LagError> {
            match group {
                "a/b" => Ok(GroupLag { partitions: vec![Followed::new(lag(group))], left_out: 0 }),
                "wide" => Ok(GroupLag { partitions: Vec::new(), left_out: 3 }),
                "away" => Err(LagError::Unavailable(Unavailable::NotHere)),
                "loads" => Err(LagError::Unavailable(Unavailable::Loading)),
                _ => Err(LagError::NoGroup),
            }
        }

        async fn seek_group(&self, order: SeekOrder) -> Result<Sought, SeekRefused> {
            match (order.group.as_str(), order.to) {
                ("a/b", SeekTo::Offset(to)) => {
                    let (topic, partition) = ("t".into(), PartitionIndex(0));
                    let from = Some(Offset(9));
                    let moves = vec![Moved { topic, partition, from, to, end: Offset(9) }];
                    Ok(Sought { members: 2, moves })
                }
                ("a/b", _) => Err(SeekRefused::NoPositions),
                ("wide", _) => {
                    let many = SeekError::TooMany { partitions: 9_000, max: 8_000 };
                    Err(SeekRefused::Core(many))
                }
                _ => Err(SeekRefused::UnknownTopic("t".to_owned())),
            }
        }
    }

    fn lag(group: &str) -> PartitionLag {
        PartitionLag {
            group: group.into(),
            has_members: true,
            topic: "t".into(),
            partition: 0,
            position: 5,
            end: 9,
            seconds: Some(1.5),
        }
    }

    /// `what`: a path; or a path, a blank, and the body of a POST, with headers before it if a
    /// line end says so.
    async fn ask(address: SocketAddr, what: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let close = "HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
        let request = match what.split_once(' ') {
            None => format!("GET {what} {close}\r\n"),
            Some((path, rest)) => {
                let (headers, body) = rest.rsplit_once("\r\n").unwrap_or(("X: y", rest));
                let length = body.len();
                format!("POST {path} {close}{headers}\r\nContent-Length: {length}\r\n\r\n{body}")
            }
        };
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    fn check(fake: Fake, questions: &[(&str, &str, &str)]) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let any = HostPort { host: "127.0.0.1".to_owned(), port: 0 };
            let listener = AdminListener::bind(&any).await.unwrap();
            let address = listener.address();
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            let served = tokio::spawn(listener.serve(router(Arc::new(fake)), async {
                stopped.await.ok();
            }));
            for (path, status, body) in questions {
                let answer = ask(address, path).await;
                assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
                assert!(answer.contains(body), "{path}: {answer}");
            }
            stop.send(()).unwrap();
            served.await.unwrap().unwrap();
        });
    }

    #[test]
    fn a_ready_broker_answers_every_path() {
        let questions = [
            ("/v1/live", "200", r#"{"live":true}"#),
            ("/v1/ready", "200", r#""ready":true"#),
            ("/v1/status/ready", "200", r#""ready":true"#),
            ("/v1/health", "200", r#""node_id":7"#),
            ("/v1/version", "200", r#""name":"yeoul""#),
            ("/public_metrics", "200", "yeoul_rpc_active_connections 0"),
            ("/metrics", "200", "yeoul_rpc_active_connections{shard=\"3\"} 0"),
            ("/nothing", "404", "no such path"),
        ];
        check(Fake { ready: true, answers: true }, &questions);
    }

    #[test]
    fn groups_are_told_of_and_moved() {
        const JSON: &str = "Content-Type: application/json\r\n";
        let to_7 = format!(r#"/v1/groups/a%2Fb/seek {JSON}{{"to":{{"offset":7}}}}"#);
        let moved = r#""members":2,"moves":[{"topic":"t","partition":0,"from":9,"to":7,"end":9"#;
        let of_page = format!("/v1/groups/a%2Fb/seek Origin: http://x\r\n{JSON}{{}}");
        let start = format!(r#"/v1/groups/a%2Fb/seek {JSON}{{"to":"start"}}"#);
        let of_other = format!(r#"/v1/groups/b/seek {JSON}{{"to":"start"}}"#);
        let of_wide = format!(r#"/v1/groups/wide/seek {JSON}{{"to":"start"}}"#);
        let malformed = format!(r#"/v1/groups/a%2Fb/seek {JSON}{{"to":"#);
        let questions = [
            ("/v1/groups/lag", "200", r#"[{"group":"a/b","topic":"t","partition":0"#),
            ("/v1/groups/a%2Fb/lag", "200", r#""lag":4,"lag_seconds":1.5"#),
            ("/v1/groups/b/lag", "404", "group 'b' does not exist"),
            ("/v1/groups/loads/lag", "503", "is loading"),
            ("/v1/groups/away/lag", "503", "is not on this broker now"),
            ("/v1/groups/wide/lag", "200", "yeoul-left-out: 3"),
            (&of_wide, "409", "takes about 8000; move it topic by topic"),
            (&to_7, "200", moved),
            (&of_page, "403", "pages of the web"),
            (&start, "409", "group 'a/b' has no position: name the topics"),
            (&of_other, "404", "topic 't' does not exist"),
            (&malformed, "400", "error"),
            (r#"/v1/groups/a%2Fb/seek {"to":"start"}"#, "415", "error"),
            ("/v1/groups/a%2Fb/seek", "405", ""),
        ];
        check(Fake { ready: true, answers: true }, &questions);
    }

    #[test]
    fn a_broker_that_is_not_ready_or_hangs_says_503() {
        let questions = [
            ("/v1/ready", "503", r#""reasons":["recovering"]"#),
            ("/v1/live", "503", "a shard did not answer in time"),
        ];
        check(Fake { ready: false, answers: false }, &questions);
    }

    #[test]
    fn an_address_in_use_is_named_with_the_remedy() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let address = HostPort { host: "127.0.0.1".to_owned(), port };
        let error = runtime.block_on(AdminListener::bind(&address)).unwrap_err();
        let want = format!("admin address 127.0.0.1:{port} is in use");
        assert!(error.to_string().starts_with(&want), "{error}");
    }
}
