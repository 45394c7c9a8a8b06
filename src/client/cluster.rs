//! A cluster as a client sees it: brokers, topics, who leads what, and a connection to each.
//!
//! In:   addresses to begin with, a time limit.
//! Out:  answers from the right broker.
//!
//! Invariants
//!   L1  A connection that failed is dropped; the next use connects anew.
//!   L2  No wait passes the time limit of the call that waits.
#![allow(clippy::disallowed_methods)] // a client's thread may sleep and reads its own clock

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::error::ClientError;
use crate::config::listener::HostPort;
use crate::model::ids::TopicId;
use crate::protocol::api::ApiKey;
use crate::protocol::error::ErrorCode;
use crate::protocol::message::Request;
use crate::protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseTopic,
};

/// Pause between two attempts at the same thing.
pub const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// How a client begins.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Brokers to ask first, at least one.
    pub brokers: Vec<HostPort>,
    /// The name that brokers log.
    pub client_id: String,
    /// Longest wait for one answer, and for a broker to be found.
    pub timeout: Duration,
}

/// A partition and who holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its index.
    pub partition: i32,
    /// The leading broker; -1 if there is none.
    pub leader: i32,
    /// The leader's epoch; -1 if not known.
    pub leader_epoch: i32,
    /// Brokers with a replica, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Brokers with a replica in sync.
    pub isr: Vec<i32>,
}

/// A topic and its partitions, by index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its id; zero from an old broker.
    pub id: TopicId,
    /// Whether it belongs to the broker itself.
    pub is_internal: bool,
    /// Its partitions, ascending.
    pub partitions: Vec<Partition>,
}

/// A client of one cluster.
#[derive(Debug)]
pub struct Client {
    options: ClientOptions,
    brokers: BTreeMap<i32, HostPort>,
    controller_id: i32,
    connections: BTreeMap<HostPort, Connection>,
    topics: BTreeMap<String, Topic>,
}

impl Client {
    /// Finds a broker of the cluster and learns the others.
    ///
    /// Errors: [`ClientError::NoBroker`], which names those tried and the last error.
    pub fn connect(options: ClientOptions) -> Result<Client, ClientError> {
        assert!(!options.brokers.is_empty(), "a client begins with a broker");
        let mut client = Client {
            options,
            brokers: BTreeMap::new(),
            controller_id: -1,
            connections: BTreeMap::new(),
            topics: BTreeMap::new(),
        };
        client.metadata(Some(&[]), false)?;
        Ok(client)
    }

    /// Longest wait for one answer.
    pub fn timeout(&self) -> Duration {
        self.options.timeout
    }

    /// Brokers of the cluster, by id.
    pub fn brokers(&self) -> &BTreeMap<i32, HostPort> {
        &self.brokers
    }

    /// Every topic of the cluster, by name. Errors: [`ClientError`].
    pub fn list_topics(&mut self) -> Result<Vec<Topic>, ClientError> {
        let answer = self.metadata(None, false)?;
        let mut topics = Vec::new();
        for topic in answer.topics {
            if topic.error_code == 0 {
                topics.push(topic_of(topic));
            }
        }
        topics.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(topics)
    }

    /// The topic `name` with a leader for each partition, as known or freshly asked for.
    ///
    /// `create` lets the broker create it, if it is set to. Waits while it has no leaders yet.
    /// Errors: it does not exist, or there is no leader in time.
    pub fn topic(&mut self, name: &str, create: bool) -> Result<Topic, ClientError> {
        if let Some(topic) = self.topics.get(name) {
            return Ok(topic.clone());
        }
        let deadline = Instant::now() + self.options.timeout;
        loop {
            match self.ask_topic(name, create) {
                Ok(topic) => {
                    self.topics.insert(name.to_owned(), topic.clone());
                    return Ok(topic);
                }
                Err(error) => self.pause(error, deadline)?,
            }
        }
    }

    /// Forgets what is known about `name`, because a broker says it is out of date.
    pub fn forget_topic(&mut self, name: &str) {
        self.topics.remove(name);
    }

    /// Asks any broker. A connection that broke is tried once more anew, so `request` must be one
    /// that may arrive twice. Errors: [`ClientError`].
    pub fn ask_any<R: Request>(&mut self, request: &R) -> Result<R::Response, ClientError> {
        let broker = self.reach_any()?;
        match self.ask(&broker, request) {
            Err(ClientError::Broken { .. }) => {
                let broker = self.reach_any()?;
                self.ask(&broker, request)
            }
            answered => answered,
        }
    }

    /// Asks the broker that leads the cluster's metadata, or any if none is known.
    /// Errors: [`ClientError`].
    pub fn ask_controller<R: Request>(&mut self, request: &R) -> Result<R::Response, ClientError> {
        let broker = self.controller()?;
        self.ask(&broker, request)
    }

    /// The broker that leads the cluster's metadata, or any if none is known.
    /// Errors: [`ClientError`].
    pub fn controller(&mut self) -> Result<HostPort, ClientError> {
        match self.brokers.get(&self.controller_id) {
            Some(broker) => Ok(broker.clone()),
            None => self.reach_any(),
        }
    }

    /// Asks one broker. Errors: [`ClientError`]; its connection is then dropped (L1).
    pub fn ask<R: Request>(
        &mut self,
        broker: &HostPort,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        let answered = self.connection(broker)?.call(request);
        if answered.is_err() {
            self.drop_connection(broker);
        }
        answered
    }

    /// As [`Client::ask`], in a version that the broker serves. Errors: [`ClientError`].
    pub fn ask_at<R: Request>(
        &mut self,
        broker: &HostPort,
        request: &R,
        version: i16,
    ) -> Result<R::Response, ClientError> {
        let answered = self.connection(broker)?.call_at(request, version);
        if answered.is_err() {
            self.drop_connection(broker);
        }
        answered
    }

    /// The connection to `broker`, opened if there is none. Errors: it cannot be reached.
    pub fn connection(&mut self, broker: &HostPort) -> Result<&mut Connection, ClientError> {
        if !self.connections.contains_key(broker) {
            let opened = Connection::open(broker, &self.options.client_id, self.options.timeout)?;
            self.connections.insert(broker.clone(), opened);
        }
        Ok(self.connections.get_mut(broker).expect("it was there or has been inserted"))
    }

    /// Drops a connection that is of no more use.
    pub fn drop_connection(&mut self, broker: &HostPort) {
        self.connections.remove(broker);
    }

    /// The address of the broker that leads a partition.
    ///
    /// Errors: no such topic or partition, or no leader known.
    pub fn leader(&mut self, topic: &str, partition: i32) -> Result<HostPort, ClientError> {
        let known = self.topic(topic, false)?;
        let found = known.partitions.iter().find(|p| p.partition == partition);
        let Some(found) = found else {
            let partitions = known.partitions.len();
            return Err(ClientError::UnknownPartition { topic: known.name, partition, partitions });
        };
        let leader = self.brokers.get(&found.leader).cloned();
        leader.ok_or_else(|| ClientError::NoLeader { topic: topic.to_owned(), partition })
    }

    /// Waits a moment if `error` may pass and the deadline has not. Errors: `error` itself.
    pub fn pause(&mut self, error: ClientError, deadline: Instant) -> Result<(), ClientError> {
        if !error.is_retriable() || deadline <= Instant::now() + RETRY_PAUSE {
            return Err(error);
        }
        sleep(RETRY_PAUSE);
        Ok(())
    }

    fn ask_topic(&mut self, name: &str, create: bool) -> Result<Topic, ClientError> {
        let answer = self.metadata(Some(&[name]), create)?;
        let found = answer.topics.into_iter().find(|topic| topic.name.as_deref() == Some(name));
        let Some(found) = found else {
            return Err(ClientError::UnknownTopic { topic: name.to_owned() });
        };
        let unknown = ErrorCode::UnknownTopicOrPartition.code();
        if found.error_code == unknown && !create {
            return Err(ClientError::UnknownTopic { topic: name.to_owned() });
        }
        if found.error_code != 0 {
            return Err(ClientError::Refused {
                api: ApiKey::Metadata,
                subject: format!("topic '{name}'"),
                code: found.error_code,
                message: None,
            });
        }
        let topic = topic_of(found);
        match topic.partitions.iter().find(|partition| partition.leader < 0) {
            Some(orphan) => {
                let partition = orphan.partition;
                Err(ClientError::NoLeader { topic: topic.name, partition })
            }
            None => Ok(topic),
        }
    }

    fn metadata(
        &mut self,
        names: Option<&[&str]>,
        create: bool,
    ) -> Result<MetadataResponse, ClientError> {
        let wanted = |name: &&str| MetadataRequestTopic {
            name: Some((*name).to_owned()),
            ..MetadataRequestTopic::default()
        };
        let request = MetadataRequest {
            topics: names.map(|names| names.iter().map(wanted).collect()),
            allow_auto_topic_creation: create,
            ..MetadataRequest::default()
        };
        let answer = self.ask_any(&request)?;
        let address = |broker: &crate::protocol::messages::metadata::MetadataResponseBroker| {
            let port = u16::try_from(broker.port).ok()?;
            Some((broker.node_id, HostPort { host: broker.host.clone(), port }))
        };
        self.brokers = answer.brokers.iter().filter_map(address).collect();
        self.controller_id = answer.controller_id;
        Ok(answer)
    }

    /// A broker with an open connection: one of the cluster, or one to begin with.
    fn reach_any(&mut self) -> Result<HostPort, ClientError> {
        if let Some(broker) = self.connections.keys().next() {
            return Ok(broker.clone());
        }
        let deadline = Instant::now() + self.options.timeout;
        let mut tried: Vec<HostPort> = self.brokers.values().cloned().collect();
        for seed in &self.options.brokers {
            if !tried.contains(seed) {
                tried.push(seed.clone());
            }
        }
        loop {
            let mut last = None;
            for broker in &tried {
                match self.connection(broker) {
                    Ok(_) => return Ok(broker.clone()),
                    Err(error) => last = Some(Box::new(error)),
                }
            }
            if deadline <= Instant::now() + RETRY_PAUSE {
                return Err(ClientError::NoBroker { tried, waited: self.options.timeout, last });
            }
            sleep(RETRY_PAUSE);
        }
    }
}

fn topic_of(topic: MetadataResponseTopic) -> Topic {
    let mut partitions: Vec<Partition> = topic
        .partitions
        .into_iter()
        .map(|partition| Partition {
            partition: partition.partition_index,
            leader: partition.leader_id,
            leader_epoch: partition.leader_epoch,
            replicas: partition.replica_nodes,
            isr: partition.isr_nodes,
        })
        .collect();
    partitions.sort_by_key(|partition| partition.partition);
    Topic {
        name: topic.name.unwrap_or_default(),
        id: topic.topic_id,
        is_internal: topic.is_internal,
        partitions,
    }
}
