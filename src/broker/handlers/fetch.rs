//! Fetch (key 1), versions 4-18: records for consumers, by incremental sessions and long polls.
//!
//! In arrival order a request meets its session; what follows (read, wait, read again) runs by
//! itself. It is answered as soon as `min_bytes` are there, a partition is in error, or
//! `max_wait_ms` has passed.
//!
//! Source: KIP-227 (sessions), KIP-74 (limits), KIP-516 (topic ids), KIP-595 (diverging epochs),
//! KIP-951 (leader hints).

use std::rc::Rc;

use bytes::BytesMut;

use crate::config::broker::FetchPath;
use crate::io::slice::Slice;
use crate::metadata::image::MetadataImage;
use crate::model::ids::{BrokerId, PartitionIndex, TopicId, TopicPartition};
use crate::model::offset::{LeaderEpoch, Offset};
use crate::model::time::Micros;
use crate::net::service::{Admitted, CloseReason, Reply};
use crate::partition::leader::Isolation;
use crate::protocol::error::ErrorCode;
use crate::protocol::fetch::{
    AbortedTransaction, EpochEndOffset, FetchRequest, FetchResponse, FetchableTopicResponse,
    LeaderIdAndEpoch, NodeEndpoint, PartitionData, Piece,
};
use crate::protocol::primitives::Reader;
use crate::replica::request::{ReadAnswer, ReadItem, ReadRequest, ShardReply, ShardRequest};
use crate::shard::timers;
use crate::storage::reader::ReadPath;
use crate::storage::txn_index::AbortedTransaction as Aborted;

use super::super::connection::Connection;
use super::super::context::{Shard, locate};
use super::super::dispatch::{self, Head};
use super::super::errors::{read_code, session_code};
use super::super::fetch_session::{
    Answered, Plan, SessionKey, SessionRequest, Told, TopicKey, Wanted as SessionWanted,
};
use super::super::fetch_wait::{self, Wanted};
use super::super::hints::{self, Hint};
use super::super::scatter::Scatter;
use super::list_offsets::isolation;

/// First version that names topics by id.
const BY_ID_VERSION: i16 = 13;
/// First version with leader hints.
const HINT_VERSION: i16 = 16;

/// Meets the session now (its epochs need the order of arrival), reads and waits later.
pub fn admit(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    head: Head,
    body: &BytesMut,
) -> Admitted {
    let Ok(request) = FetchRequest::decode(&mut Reader::new(body), head.version) else {
        return dispatch::close();
    };
    let path = path(shard.config().fetch_path, connection);
    let begun = begin(shard, request, head.version, path);
    let (shard, connection) = (Rc::clone(shard), Rc::clone(connection));
    Admitted::ReplyAlone(Box::pin(async move {
        match begun {
            Ok(fetch) => {
                let (session_id, fetched) = run(&shard, fetch).await;
                reply(&shard, &connection, head, session_id, fetched)
            }
            Err(error) => {
                let error_code = error.code();
                send(&shard, head, FetchResponse { error_code, ..FetchResponse::default() }, true)
            }
        }
    }))
}

/// How older records go to this client. On loopback `sendfile` saves nothing (measured), and costs
/// page cache; through a network interface it saves a copy.
fn path(configured: FetchPath, connection: &Connection) -> ReadPath {
    match configured {
        FetchPath::Memory => ReadPath::Memory,
        FetchPath::Sendfile => ReadPath::Sendfile,
        FetchPath::Auto if connection.peer.ip().is_loopback() => ReadPath::Memory,
        FetchPath::Auto => ReadPath::Sendfile,
    }
}

fn reply(
    shard: &Shard,
    connection: &Connection,
    head: Head,
    session_id: i32,
    fetched: Vec<Fetched>,
) -> Reply {
    let image = shard.image();
    let failed = fetched.iter().any(|one| one.error != ErrorCode::None);
    let mut node_endpoints: Vec<NodeEndpoint> = Vec::new();
    let mut responses: Vec<FetchableTopicResponse<Slice>> = Vec::new();
    for mut one in fetched {
        let hint = match head.version >= HINT_VERSION {
            true => hints::leader(&image, one.partition, one.error),
            false => None,
        };
        if let Some(hint) = hint
            && node_endpoints.iter().all(|endpoint| endpoint.node_id != hint.leader.0)
        {
            node_endpoints.extend(endpoint(&image, hint.leader, &connection.listener));
        }
        let data = partition_data(&mut one, hint);
        let (topic, topic_id) = match one.key.topic {
            TopicKey::Name(name) => (name, TopicId::ZERO),
            TopicKey::Id(id) => (String::new(), id),
        };
        match responses.last_mut() {
            Some(last) if last.topic == topic && last.topic_id == topic_id => {
                last.partitions.push(data);
            }
            _ => responses.push(FetchableTopicResponse { topic, topic_id, partitions: vec![data] }),
        }
    }
    count_bytes(shard, &responses);
    let response =
        FetchResponse { session_id, responses, node_endpoints, ..FetchResponse::default() };
    send(shard, head, response, failed)
}

fn endpoint(image: &MetadataImage, broker: BrokerId, listener: &str) -> Option<NodeEndpoint> {
    let (address, rack) = hints::address(image, broker, listener)?;
    Some(NodeEndpoint {
        node_id: broker.0,
        host: address.host.clone(),
        port: i32::from(address.port),
        rack: rack.map(str::to_owned),
        ..NodeEndpoint::default()
    })
}

fn current_leader(hint: Hint) -> LeaderIdAndEpoch {
    LeaderIdAndEpoch {
        leader_id: hint.leader.0,
        leader_epoch: hint.epoch.0,
        ..LeaderIdAndEpoch::default()
    }
}

fn partition_data(one: &mut Fetched, hint: Option<Hint>) -> PartitionData<Slice> {
    let records = one.take_slices();
    let unknown =
        matches!(one.error, ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId);
    let mut data = PartitionData {
        partition_index: one.key.partition.0,
        error_code: one.error.code(),
        high_watermark: -1,
        // Null to who reads uncommitted records, and in error, but for an empty list where the
        // partition is not known: as Kafka has it.
        aborted_transactions: unknown.then(Vec::new),
        current_leader: hint.map(current_leader).unwrap_or_default(),
        records: Some(records),
        ..PartitionData::default()
    };
    if let Some(answer) = &one.answer {
        data.high_watermark = answer.high_watermark.0;
        data.last_stable_offset = answer.last_stable_offset.0;
        data.log_start_offset = answer.log_start.0;
        if let Some(aborted) = &answer.aborted {
            data.aborted_transactions = Some(aborted.iter().map(aborted_transaction).collect());
        }
        if let Some(diverging) = answer.diverging {
            data.diverging_epoch = EpochEndOffset {
                epoch: diverging.epoch.0,
                end_offset: diverging.end.0,
                ..EpochEndOffset::default()
            };
        }
    }
    data
}

fn aborted_transaction(aborted: &Aborted) -> AbortedTransaction {
    AbortedTransaction {
        producer_id: aborted.producer_id.0,
        first_offset: aborted.first_offset.0,
        ..AbortedTransaction::default()
    }
}

fn count_bytes(shard: &Shard, responses: &[FetchableTopicResponse<Slice>]) {
    let mut metrics = shard.metrics.borrow_mut();
    let partitions = responses.iter().flat_map(|topic| &topic.partitions);
    for slice in partitions.flat_map(|partition| partition.records.iter().flatten()) {
        match slice {
            Slice::Memory(bytes) => metrics.fetch.tail_bytes += bytes.len() as u64,
            Slice::File(file) => metrics.fetch.sendfile_bytes += file.length as u64,
        }
    }
}

fn send(shard: &Shard, head: Head, response: FetchResponse<Slice>, failed: bool) -> Reply {
    let mut pieces = Vec::new();
    match response.encode_frame(head.correlation_id, head.version, &mut pieces) {
        Ok(_) => {
            let slice = |piece| match piece {
                Piece::Bytes(bytes) => Slice::Memory(bytes),
                Piece::Records(slice) => slice,
            };
            dispatch::reply(shard, head, pieces.into_iter().map(slice).collect(), failed)
        }
        Err(error) => {
            tracing::error!(%error, "fetch answer cannot be encoded");
            Reply::Close(CloseReason::ResponseTooLarge)
        }
    }
}

/// A fetch that has met its session.
pub struct Fetch {
    plan: Plan,
    limits: Limits,
}

struct Limits {
    max_bytes: usize,
    min_bytes: usize,
    deadline: Micros,
    isolation: Isolation,
    path: ReadPath,
}

/// One partition's part of an answer.
pub struct Fetched {
    /// As the request names it.
    pub key: SessionKey,
    /// Where it is, if it is.
    pub partition: Option<TopicPartition>,
    /// Why there are no records; [`ErrorCode::None`] if there may be.
    pub error: ErrorCode,
    /// What its owner said; `None` when it was not asked.
    pub answer: Option<ReadAnswer>,
}

/// Meets the session. Errors: the top-level code to answer with, without partitions.
pub fn begin(
    shard: &Shard,
    request: FetchRequest,
    version: i16,
    path: ReadPath,
) -> Result<Fetch, ErrorCode> {
    let now = timers::now();
    let max_bytes = usize::try_from(request.max_bytes.max(0)).expect("not negative");
    let fetch_max = usize::try_from(shard.config().fetch_max_bytes).expect("an i32 at most");
    let max_bytes = max_bytes.min(fetch_max);
    let min_bytes = usize::try_from(request.min_bytes.max(0)).expect("not negative").min(max_bytes);
    let wait_us = u64::try_from(request.max_wait_ms.max(0)).expect("not negative") * 1000;
    let limits = Limits {
        max_bytes,
        min_bytes,
        deadline: Micros(now.0 + wait_us),
        isolation: isolation(request.isolation_level),
        path,
    };
    let plan = shard.sessions.borrow_mut().plan(now, session_request(request, version));
    plan.map(|plan| Fetch { plan, limits }).map_err(session_code)
}

fn session_request(request: FetchRequest, version: i16) -> SessionRequest {
    let by_id = version >= BY_ID_VERSION;
    let topic_key = |name: String, id| if by_id { TopicKey::Id(id) } else { TopicKey::Name(name) };
    let mut wanted = Vec::new();
    for topic in request.topics {
        let key = topic_key(topic.topic, topic.topic_id);
        wanted.extend(topic.partitions.into_iter().map(|partition| {
            let index = PartitionIndex(partition.partition);
            let wanted = SessionWanted {
                fetch_offset: Offset(partition.fetch_offset),
                max_bytes: usize::try_from(partition.partition_max_bytes.max(0))
                    .expect("not negative"),
                current_leader_epoch: LeaderEpoch(partition.current_leader_epoch),
                last_fetched_epoch: LeaderEpoch(partition.last_fetched_epoch),
            };
            (SessionKey { topic: key.clone(), partition: index }, wanted)
        }));
    }
    let mut forgotten = Vec::new();
    for topic in request.forgotten_topics_data {
        let key = topic_key(topic.topic, topic.topic_id);
        forgotten.extend(topic.partitions.into_iter().map(|partition| SessionKey {
            topic: key.clone(),
            partition: PartitionIndex(partition),
        }));
    }
    let (session_id, session_epoch) = (request.session_id, request.session_epoch);
    SessionRequest { session_id, session_epoch, by_id, wanted, forgotten }
}

/// Reads, waits as long as the request allows, and returns the session's id with what to answer.
pub async fn run(shard: &Rc<Shard>, fetch: Fetch) -> (i32, Vec<Fetched>) {
    let Fetch { plan, limits } = fetch;
    let mut fetched = loop {
        let image = shard.image();
        let fetched = read(shard, &image, &plan, &limits).await;
        if is_enough(&fetched, &limits) || timers::now() >= limits.deadline {
            break fetched;
        }
        let bytes: usize = fetched.iter().map(Fetched::bytes).sum();
        let items = fetched.iter().filter_map(|one| one.seen(limits.isolation)).collect();
        let wanted = Wanted {
            items,
            bytes: limits.min_bytes - bytes,
            isolation: limits.isolation,
            deadline: limits.deadline,
        };
        shard.metrics.borrow_mut().fetch.waited += 1;
        fetch_wait::wait(shard, wanted).await;
    };
    let answered: Vec<Answered> = fetched.iter().map(Fetched::answered).collect();
    let included = shard.sessions.borrow_mut().answer(&plan, &answered);
    let mut included = included.into_iter();
    fetched.retain(|_| included.next().expect("one answer a partition"));
    (plan.session_id, fetched)
}

fn is_enough(fetched: &[Fetched], limits: &Limits) -> bool {
    let bytes: usize = fetched.iter().map(Fetched::bytes).sum();
    let is_full = |one: &Fetched| one.answer.as_ref().is_some_and(|answer| answer.more);
    fetched.is_empty()
        || bytes >= limits.min_bytes
        || fetched.iter().any(|one| one.is_notable() || is_full(one))
}

async fn read(
    shard: &Rc<Shard>,
    image: &MetadataImage,
    plan: &Plan,
    limits: &Limits,
) -> Vec<Fetched> {
    let mut scatter = Scatter::new(shard);
    let mut fetched = Vec::with_capacity(plan.partitions.len());
    for (place, (key, wanted)) in plan.partitions.iter().enumerate() {
        let (partition, error) = match find(image, key) {
            Ok(partition) => (Some(partition), ErrorCode::None),
            Err(error) => (None, error),
        };
        if let Some(partition) = partition {
            scatter.add(partition, place, read_item(partition, wanted));
        }
        fetched.push(Fetched { key: key.clone(), partition, error, answer: None });
    }
    let Limits { max_bytes, isolation, path, .. } = *limits;
    let ask = |items| {
        ShardRequest::Read(ReadRequest { items, max_bytes, min_one: true, isolation, path })
    };
    let answers = scatter.gather(ask, |reply| match reply {
        ShardReply::Read(answers) => answers,
        other => panic!("a read was asked for, not {other:?}"),
    });
    for (place, answer) in answers.await {
        let one = &mut fetched[place];
        one.error = match &answer {
            Some(answer) => answer.result.as_ref().err().map_or(ErrorCode::None, |f| read_code(*f)),
            None => ErrorCode::NotLeaderOrFollower,
        };
        one.answer = answer;
    }
    limit(&mut fetched, max_bytes);
    fetched
}

fn read_item(partition: TopicPartition, wanted: &SessionWanted) -> ReadItem {
    ReadItem {
        partition,
        fetch_offset: wanted.fetch_offset,
        max_bytes: wanted.max_bytes,
        current_leader_epoch: wanted.current_leader_epoch,
        last_fetched_epoch: wanted.last_fetched_epoch,
    }
}

/// Each owner kept to the limit by itself; together they may have passed it. What follows the
/// partition that passes it goes empty, as if it had been read last.
fn limit(fetched: &mut [Fetched], max_bytes: usize) {
    let mut total = 0;
    for one in fetched {
        let bytes = one.bytes();
        if total > 0 && total + bytes > max_bytes {
            if let Some(answer) = &mut one.answer {
                answer.result = answer.result.as_ref().map(|_| Vec::new()).map_err(|error| *error);
                answer.bytes = 0;
                answer.more = true;
                answer.aborted = answer.aborted.as_ref().map(|_| Vec::new());
            }
        } else {
            total += bytes;
        }
    }
}

/// Where a partition of a session is. Errors: the code to answer with.
fn find(image: &MetadataImage, key: &SessionKey) -> Result<TopicPartition, ErrorCode> {
    let (topic, unknown) = match &key.topic {
        TopicKey::Name(name) => (image.topic_by_name(name), ErrorCode::UnknownTopicOrPartition),
        TopicKey::Id(id) => (image.topic_by_id(*id), ErrorCode::UnknownTopicId),
    };
    let topic = topic.ok_or(unknown)?;
    locate(topic, key.partition).ok_or(ErrorCode::UnknownTopicOrPartition)
}

impl Fetched {
    fn bytes(&self) -> usize {
        self.answer.as_ref().map_or(0, |answer| answer.bytes)
    }

    /// Whether it must not wait: an error, or a history that parts from ours.
    fn is_notable(&self) -> bool {
        let diverges = self.answer.as_ref().is_some_and(|answer| answer.diverging.is_some());
        self.error != ErrorCode::None || diverges
    }

    /// Up to where the reader has seen the partition.
    fn seen(&self, isolation: Isolation) -> Option<(TopicPartition, Offset)> {
        let answer = self.answer.as_ref()?;
        let end = match isolation {
            Isolation::ReadUncommitted => answer.high_watermark,
            Isolation::ReadCommitted => answer.last_stable_offset,
        };
        Some((self.partition?, end))
    }

    fn answered(&self) -> Answered {
        let answer = self.answer.as_ref();
        Answered {
            records: self.bytes() > 0,
            notable: answer.is_some_and(|answer| answer.diverging.is_some()),
            told: Told {
                high_watermark: answer.map_or(Offset::NONE, |answer| answer.high_watermark),
                log_start: answer.map_or(Offset::NONE, |answer| answer.log_start),
                error: self.error != ErrorCode::None,
            },
        }
    }

    /// The records, taken out.
    pub fn take_slices(&mut self) -> Vec<Slice> {
        match self.answer.as_mut().map(|answer| &mut answer.result) {
            Some(Ok(slices)) => std::mem::take(slices),
            _ => Vec::new(),
        }
    }
}
