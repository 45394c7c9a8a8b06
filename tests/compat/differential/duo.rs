//! Both brokers at once: the same request to each, their answers side by side.
//!
//! In:   a request, made for each side, since ids differ.
//! Out:  both answers; what differs is noted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use yeoul::model::ids::TopicId;
use yeoul::protocol::api::ApiKey;
use yeoul::protocol::frame;
use yeoul::protocol::header::ResponseHeader;
use yeoul::protocol::message::{Message, Request};
use yeoul::protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use yeoul::protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use yeoul::protocol::primitives::Reader;

use crate::leaves::leaves;
use crate::table::Difference;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// An exchange that takes longer is told of: someone waited for something.
const SLOW: Duration = Duration::from_secs(2);
/// Longest wait for a coordinator to be ready.
const COORDINATOR: Duration = Duration::from_secs(8);
/// Longest wait for what both do behind an answer, such as topics becoming visible.
const SETTLE: Duration = Duration::from_secs(30);

/// How an exchange ends without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// The connection was closed.
    Closed,
    /// Nothing came.
    Silence,
    /// Bytes that the codec refuses.
    Malformed,
}

/// One broker.
pub struct Side {
    pub name: &'static str,
    address: String,
    stream: Option<TcpStream>,
    /// Topic ids by name.
    pub ids: BTreeMap<String, TopicId>,
    /// Values that it chose, and what they stand for.
    pub labels: BTreeMap<String, String>,
    /// Versions it serves, by key.
    pub served: BTreeMap<i16, (i16, i16)>,
}

impl Side {
    fn new(name: &'static str, address: &str) -> Side {
        Side {
            name,
            address: address.to_owned(),
            stream: None,
            ids: BTreeMap::new(),
            labels: BTreeMap::new(),
            served: BTreeMap::new(),
        }
    }

    /// The id of topic `name`, or one that nobody has.
    pub fn id(&self, name: &str) -> TopicId {
        let unknown = TopicId([9; 16]);
        self.ids.get(name).copied().unwrap_or(unknown)
    }

    /// The value it chose for `label`, or one that is none.
    pub fn value(&self, label: &str) -> String {
        let found = self.labels.iter().find(|(_, is)| *is == label);
        found.map_or_else(|| "nobody".to_owned(), |(value, _)| value.clone())
    }

    /// Sends a frame and reads one, without its length.
    pub fn exchange(&mut self, bytes: &[u8], patience: Duration) -> Result<Bytes, NoAnswer> {
        let result = self.try_exchange(bytes, patience);
        if result.is_err() {
            self.stream = None;
        }
        result
    }

    fn try_exchange(&mut self, bytes: &[u8], patience: Duration) -> Result<Bytes, NoAnswer> {
        let failed = |error: std::io::Error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => NoAnswer::Silence,
            _ => NoAnswer::Closed,
        };
        if self.stream.is_none() {
            let stream = TcpStream::connect(&self.address).map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            self.stream = Some(stream);
        }
        let stream = self.stream.as_mut().expect("just connected");
        stream.set_read_timeout(Some(patience)).map_err(failed)?;
        stream.write_all(bytes).map_err(failed)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length).map_err(failed)?;
        let length =
            usize::try_from(i32::from_be_bytes(length)).map_err(|_| NoAnswer::Malformed)?;
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).map_err(failed)?;
        Ok(answer.into())
    }

    /// Asks this one alone.
    pub fn call<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, NoAnswer> {
        let bytes = frame::request(7, Some("differential"), version, request)
            .unwrap_or_else(|error| panic!("{:?} {version}: {error}", R::KEY));
        let answer = self.exchange(&bytes, PATIENCE)?;
        let mut reader = Reader::shared(&answer);
        let header = ResponseHeader::decode(&mut reader, R::KEY, version);
        header.map_err(|_| NoAnswer::Malformed)?;
        <R::Response as Message>::decode(&mut reader, version).map_err(|_| NoAnswer::Malformed)
    }

    /// What must differ, made the same; `None` for what is not compared.
    fn mask(&self, field: &str, value: &str) -> Option<String> {
        if let Some(label) = self.labels.get(value.trim_matches('"')) {
            return Some(format!("<{label}>"));
        }
        let (host, port) = self.address.rsplit_once(':').unwrap_or_default();
        Some(match field {
            "throttle_time_ms" | "documentation" => return None,
            "cluster_id" => "<cluster>".to_owned(),
            "host" if value.trim_matches('"') == host => "<its host>".to_owned(),
            "port" if value == port => "<its port>".to_owned(),
            "log_dir" => "<its folder>".to_owned(),
            "last_fetch_timestamp" | "last_caught_up_timestamp" | "transaction_start_time_ms"
                if value != "-1" =>
            {
                "<a time>".to_owned()
            }
            // Of markers, which brokers write; a client's batches have times of old.
            "last_timestamp" if is_now(value) => "<now>".to_owned(),
            "session_id" | "producer_id" | "log_append_time_ms" if !matches!(value, "0" | "-1") => {
                format!("<a {field}>")
            }
            "member_id" | "leader" if value != "\"\"" => "<a member>".to_owned(),
            "topic_id" if value == TopicId::ZERO.to_string() => "<zero id>".to_owned(),
            "topic_id" => match self.ids.iter().find(|(_, id)| id.to_string() == value) {
                Some((name, _)) => format!("<id of {name}>"),
                None if value == self.id("").to_string() => "<an id nobody has>".to_owned(),
                None => "<an id>".to_owned(),
            },
            _ => value.to_owned(),
        })
    }
}

/// Both, and what was seen.
pub struct Duo {
    pub yeoul: Side,
    pub kafka: Side,
    pub differences: BTreeSet<Difference>,
    /// What was asked of both, by key and version.
    pub asked: BTreeMap<(i16, i16), u64>,
    /// How long a coordinator may not be ready, by step.
    patience: BTreeMap<String, [Duration; 2]>,
}

impl Duo {
    /// Learns what each serves.
    pub fn new(yeoul: &str, kafka: &str) -> Duo {
        let sides = [Side::new("yeoul", yeoul), Side::new("kafka", kafka)];
        let [yeoul, kafka] = sides.map(|mut side| {
            let answer: ApiVersionsResponse =
                side.call(&ApiVersionsRequest::default(), 0).expect("it says what it serves");
            let row = |api: &yeoul::protocol::messages::api_versions::ApiVersion| {
                (api.api_key, (api.min_version, api.max_version))
            };
            side.served = answer.api_keys.iter().map(row).collect();
            side
        });
        Duo {
            yeoul,
            kafka,
            differences: BTreeSet::new(),
            asked: BTreeMap::new(),
            patience: BTreeMap::new(),
        }
    }

    /// The versions of `api` that Yeoul says it serves; the codec's alone.
    pub fn versions<R: Request>(&self) -> Vec<i16> {
        let (first, last) = self.yeoul.served.get(&R::KEY.key()).copied().unwrap_or((0, -1));
        R::VERSIONS.filter(|version| (first..=last).contains(version)).collect()
    }

    /// Asks both, unless Yeoul does not serve it; notes what differs.
    pub fn ask<R: Request>(
        &mut self,
        step: &str,
        version: i16,
        make: impl Fn(&Side) -> R,
    ) -> Option<[R::Response; 2]>
    where
        R::Response: Debug,
    {
        if !self.versions::<R>().contains(&version) {
            return None;
        }
        *self.asked.entry((R::KEY.key(), version)).or_default() += 1;
        let began = Instant::now();
        let request = make(&self.yeoul);
        let name = format!("{} {step}", R::KEY.name());
        let patience = self.patience.entry(name).or_insert([COORDINATOR; 2]);
        let ours = retried(&mut patience[0], || self.yeoul.call(&request, version));
        let request = make(&self.kafka);
        let theirs = retried(&mut patience[1], || self.kafka.call(&request, version));
        if began.elapsed() > SLOW {
            eprintln!("{} {version} ({step}): {} ms", R::KEY.name(), began.elapsed().as_millis());
        }
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => {
                self.compare(R::KEY.name(), step, version, &ours, &theirs);
                Some([ours, theirs])
            }
            (Err(ours), Err(theirs)) if ours == theirs => None,
            (ours, theirs) => {
                let how = |end: Option<NoAnswer>| {
                    end.map_or("answered".to_owned(), |end| format!("{end:?}"))
                };
                self.note(R::KEY.name(), step, version, "", &how(ours.err()), &how(theirs.err()));
                None
            }
        }
    }

    /// Notes each field in which the two differ.
    pub fn compare(
        &mut self,
        api: &str,
        step: &str,
        version: i16,
        ours: &impl Debug,
        theirs: &impl Debug,
    ) {
        let ours = leaves(ours, &|field, value| self.yeoul.mask(field, value));
        let theirs = leaves(theirs, &|field, value| self.kafka.mask(field, value));
        let paths: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        for path in paths {
            let [yeoul, kafka] =
                [&ours, &theirs].map(|side| side.get(path).map_or("<absent>", String::as_str));
            if yeoul == kafka {
                continue;
            }
            // An element that one side has not at all is one difference, not one for each field.
            let whole = [("<absent>", "<there>", &ours), ("<there>", "<absent>", &theirs)];
            let lacking = whole.iter().find_map(|(yeoul, kafka, side)| {
                element_without(path, side).map(|element| (element, *yeoul, *kafka))
            });
            let (path, yeoul, kafka) = lacking.unwrap_or((path, yeoul, kafka));
            self.note(api, step, version, path, yeoul, kafka);
        }
    }

    fn note(&mut self, api: &str, step: &str, version: i16, path: &str, yeoul: &str, kafka: &str) {
        let [api, step, path, yeoul, kafka] = [api, step, path, yeoul, kafka].map(str::to_owned);
        self.differences.insert(Difference { api, step, path, yeoul, kafka, version });
    }

    /// Sends the same bytes to both and compares whether there is an answer, and how there was none.
    pub fn ask_raw(&mut self, step: &str, bytes: &[u8]) {
        let patience = Duration::from_millis(1500);
        let [ours, theirs] = [&mut self.yeoul, &mut self.kafka].map(|side| {
            let answer = side.exchange(bytes, patience);
            side.stream = None;
            answer.map_or_else(|end| format!("{end:?}"), |_| "answered".to_owned())
        });
        if ours != theirs {
            self.note("bytes", step, 0, "", &ours, &theirs);
        }
    }

    /// Waits until both show these topics with leaders, and learns their ids; until they are gone, if `gone`.
    pub fn settle(&mut self, names: &[String], gone: bool) {
        let topics = names
            .iter()
            .map(|name| MetadataRequestTopic { name: Some(name.clone()), ..Default::default() });
        let request = MetadataRequest {
            topics: Some(topics.collect()),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        for side in [&mut self.yeoul, &mut self.kafka] {
            let began = Instant::now();
            loop {
                let answer = side.call(&request, 12).expect("Metadata is answered");
                let there =
                    |topic: &&yeoul::protocol::messages::metadata::MetadataResponseTopic| {
                        topic.error_code == 0
                            && topic.partitions.iter().all(|partition| partition.error_code == 0)
                    };
                let found: Vec<_> = answer.topics.iter().filter(there).collect();
                if found.len() == if gone { 0 } else { names.len() } {
                    for topic in found {
                        side.ids.insert(topic.name.clone().unwrap_or_default(), topic.topic_id);
                    }
                    break;
                }
                assert!(began.elapsed() < SETTLE, "{}: {names:?} do not settle", side.name);
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Whether it is a time within an hour of now, in milliseconds.
fn is_now(value: &str) -> bool {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now_ms = since.map_or(0, |since| since.as_millis());
    value.parse::<u128>().is_ok_and(|time| time.abs_diff(now_ms) < 3_600_000)
}

/// The outermost list element of `path` of which `side` has nothing.
fn element_without<'a>(path: &'a str, side: &BTreeMap<String, String>) -> Option<&'a str> {
    let mut ends = path.match_indices(']').map(|(at, _)| &path[..=at]);
    ends.find(|element| !side.keys().any(|path| path.starts_with(element)))
}

/// A coordinator that is being loaded or moved is asked again: how long that takes is each one's own.
/// Not for as long a second time: then it is its answer.
fn retried<T: Debug>(
    patience: &mut Duration,
    mut call: impl FnMut() -> Result<T, NoAnswer>,
) -> Result<T, NoAnswer> {
    let began = Instant::now();
    loop {
        let answer = call()?;
        let text = format!("{answer:?}");
        let again = ["error_code: 14,", "error_code: 15,", "error_code: 16,"];
        if !again.iter().any(|code| text.contains(code)) {
            return Ok(answer);
        }
        if began.elapsed() > *patience {
            *patience = Duration::ZERO;
            return Ok(answer);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The name of an API by its key.
pub fn name(key: i16) -> String {
    ApiKey::from_key(key).map_or_else(|| key.to_string(), |api| api.name().to_owned())
}
