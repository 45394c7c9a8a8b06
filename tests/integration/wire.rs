//! A small blocking Kafka client for tests, over the codec of the `kafka-protocol` crate: another
//! hand than the one that wrote the broker's codec.
//!
//! In:   request values of that crate, or raw bytes.
//! Out:  response values, error codes, or that the connection was closed.
//! Home: the test's thread.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, CreateTopicsRequest, DeleteTopicsRequest, FetchRequest,
    InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest, ProduceResponse,
    RequestHeader, ResponseHeader, TopicName, create_topics_request, fetch_request,
    list_offsets_request, metadata_request, produce_request,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, Record, RecordBatchDecoder, RecordBatchEncoder,
    RecordEncodeOptions, TimestampType,
};

/// Longest wait for an answer. Generous: the machine may be building at the same time.
const PATIENCE: Duration = Duration::from_secs(30);

/// How an exchange ended when it did not end with an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// The broker closed the connection.
    Closed,
    /// Nothing came in time.
    Silence,
}

/// One connection.
pub struct Connection {
    stream: TcpStream,
    correlation_id: i32,
}

/// A topic's name as the codec wants it.
pub fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// The whole frame of a request, with its length.
pub fn frame_of<R: Request>(request: &R, version: i16, correlation_id: i32) -> Vec<u8> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_static_str("test")));
    let mut body = BytesMut::new();
    header.encode(&mut body, R::header_version(version)).expect("the header encodes");
    request.encode(&mut body, version).expect("the request encodes");
    framed(&body)
}

/// `body` behind its length.
pub fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(body.len()).expect("a small body").to_be_bytes().to_vec();
    frame.extend_from_slice(body);
    frame
}

impl Connection {
    /// Connects to `host:port`.
    pub fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the broker accepts");
        stream.set_nodelay(true).expect("a socket option");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket option");
        Self { stream, correlation_id: 0 }
    }

    /// Waits no longer than this for an answer.
    pub fn set_patience(&self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).expect("a socket option");
    }

    /// Sends bytes as they are. Errors: `Closed` when the broker has hung up.
    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<(), NoAnswer> {
        self.stream.write_all(bytes).map_err(|_| NoAnswer::Closed)
    }

    /// Says that nothing more will be sent.
    pub fn end_of_sending(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The next frame, without its length.
    pub fn receive_raw(&mut self) -> Result<Bytes, NoAnswer> {
        let mut length = [0; 4];
        self.read(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).expect("64-bit");
        assert!(length < 256 << 20, "the broker answers with {length} bytes");
        let mut body = vec![0; length];
        self.read(&mut body)?;
        Ok(body.into())
    }

    fn read(&mut self, into: &mut [u8]) -> Result<(), NoAnswer> {
        self.stream.read_exact(into).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => NoAnswer::Silence,
            _ => NoAnswer::Closed,
        })
    }

    /// Sends a request without waiting; returns its correlation id.
    pub fn send<R: Request>(&mut self, request: &R, version: i16) -> Result<i32, NoAnswer> {
        self.correlation_id += 1;
        self.send_raw(&frame_of(request, version, self.correlation_id))?;
        Ok(self.correlation_id)
    }

    /// The answer to the request of type `R` that was sent first of those not answered yet.
    pub fn receive<R: Request>(
        &mut self,
        version: i16,
        correlation_id: i32,
    ) -> Result<R::Response, NoAnswer> {
        let mut body = self.receive_raw()?;
        let header_version = R::Response::header_version(version);
        let header =
            ResponseHeader::decode(&mut body, header_version).expect("a header in every answer");
        assert_eq!(header.correlation_id, correlation_id, "answers come in order");
        let response = R::Response::decode(&mut body, version).expect("the answer decodes");
        assert!(body.is_empty(), "{} bytes behind the answer", body.len());
        Ok(response)
    }

    /// One request and its answer, which must come.
    pub fn ask<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.try_ask(request, version).expect("the broker answers")
    }

    /// One request and its answer, if one comes.
    pub fn try_ask<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, NoAnswer> {
        let correlation_id = self.send(request, version)?;
        self.receive::<R>(version, correlation_id)
    }

    /// Every API served: key, least and most version.
    pub fn api_versions(&mut self) -> Vec<(i16, i16, i16)> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("yeoul-test"))
            .with_client_software_version(StrBytes::from_static_str("1"));
        let answer = self.ask(&request, 3);
        assert_eq!(answer.error_code, 0);
        answer.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect()
    }

    /// Creates a topic of one replica; returns the error code.
    pub fn create_topic(&mut self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> i16 {
        let configs = settings.iter().map(|(name, value)| {
            create_topics_request::CreatableTopicConfig::default()
                .with_name(StrBytes::from_string((*name).to_owned()))
                .with_value(Some(StrBytes::from_string((*value).to_owned())))
        });
        let topic = create_topics_request::CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs.collect());
        let request =
            CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        let code = self.ask(&request, 5).topics[0].error_code;
        // As with Kafka, leaders may take a moment to take up their partitions.
        for partition in 0..if code == 0 { partitions } else { 0 } {
            let began = Instant::now();
            while let Err(code) = self.try_offset_of(name, partition, -1) {
                assert!(is_retriable(code), "ListOffsets of {name}-{partition}: error {code}");
                assert!(began.elapsed() < PATIENCE, "{name}-{partition} has no leader");
                std::thread::sleep(Duration::from_millis(1)); // a client's backoff
            }
        }
        code
    }

    /// Deletes a topic; returns the error code.
    pub fn delete_topic(&mut self, name: &str) -> i16 {
        let request = DeleteTopicsRequest::default()
            .with_topic_names(vec![topic_name(name)])
            .with_timeout_ms(30_000);
        self.ask(&request, 5).responses[0].error_code
    }

    /// The names of all topics.
    pub fn topics(&mut self) -> Vec<String> {
        let answer = self.ask(&MetadataRequest::default().with_topics(None), 9);
        answer
            .topics
            .iter()
            .filter_map(|topic| topic.name.as_ref())
            .map(|n| n.to_string())
            .collect()
    }

    /// The error code of one topic in Metadata (without creating it).
    pub fn topic_error(&mut self, name: &str) -> i16 {
        let topic =
            metadata_request::MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![topic]))
            .with_allow_auto_topic_creation(false);
        self.ask(&request, 9).topics[0].error_code
    }

    /// A fresh producer id.
    pub fn producer_id(&mut self) -> i64 {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(60_000);
        loop {
            let answer = self.ask(&request, 4);
            if answer.error_code == 0 {
                return answer.producer_id.0;
            }
            assert!(is_retriable(answer.error_code), "InitProducerId: error {}", answer.error_code);
            std::thread::sleep(Duration::from_millis(10)); // a client's backoff
        }
    }

    /// A partition's end (-1) or start (-2) offset.
    pub fn offset_of(&mut self, topic: &str, partition: i32, which: i64) -> i64 {
        self.try_offset_of(topic, partition, which)
            .unwrap_or_else(|code| panic!("ListOffsets of {topic}-{partition}: error {code}"))
    }

    fn try_offset_of(&mut self, topic: &str, partition: i32, which: i64) -> Result<i64, i16> {
        let asked = list_offsets_request::ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_timestamp(which);
        let asked = list_offsets_request::ListOffsetsTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(vec![asked]);
        let request =
            ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![asked]);
        let answer = self.ask(&request, 6);
        let found = &answer.topics[0].partitions[0];
        if found.error_code == 0 { Ok(found.offset) } else { Err(found.error_code) }
    }

    /// Records of a partition from `offset` on, at least one batch when there is one.
    /// Errors: the Kafka error code.
    pub fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> Result<Vec<Record>, i16> {
        let request = fetch_of(topic, partition, offset);
        let answer = self.ask(&request, 12);
        let found = &answer.responses[0].partitions[0];
        if found.error_code != 0 {
            return Err(found.error_code);
        }
        let mut records = found.records.clone().unwrap_or_default();
        let sets = RecordBatchDecoder::decode_all(&mut records).expect("the records decode");
        let records = sets.into_iter().flat_map(|set| set.records);
        Ok(records.filter(|record| record.offset >= offset).collect())
    }

    /// Every record of a partition from `offset` to its end.
    pub fn read_from(&mut self, topic: &str, partition: i32, offset: i64) -> Vec<Record> {
        let end = self.offset_of(topic, partition, -1);
        let mut found: Vec<Record> = Vec::new();
        let mut next = offset;
        while next < end {
            let records = self.fetch(topic, partition, next).expect("Fetch");
            next = records.last().expect("records before the end").offset + 1;
            found.extend(records);
        }
        found
    }

    /// Produces one batch with acks=all. Errors: the Kafka error code.
    pub fn produce(&mut self, topic: &str, partition: i32, batch: Bytes) -> Result<i64, i16> {
        let answer = self.ask(&produce_of(topic, partition, batch), 9);
        outcome_of(&answer)
    }
}

/// A Fetch of one partition that waits at most half a second.
pub fn fetch_of(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    let asked = fetch_request::FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20);
    let asked = fetch_request::FetchTopic::default()
        .with_topic(topic_name(topic))
        .with_partitions(vec![asked]);
    FetchRequest::default()
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(8 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![asked])
}

/// A Produce of one batch with acks=all.
pub fn produce_of(topic: &str, partition: i32, batch: Bytes) -> ProduceRequest {
    let data = produce_request::PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(batch));
    let data = produce_request::TopicProduceData::default()
        .with_name(topic_name(topic))
        .with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![data])
}

/// The offset or the error code of a Produce of one batch.
pub fn outcome_of(answer: &ProduceResponse) -> Result<i64, i16> {
    let found = &answer.responses[0].partition_responses[0];
    if found.error_code == 0 { Ok(found.base_offset) } else { Err(found.error_code) }
}

/// May a client try again after this error code?
pub fn is_retriable(code: i16) -> bool {
    ResponseError::try_from_code(code).is_some_and(|error| error.is_retriable())
}

/// Who writes a batch: an idempotent producer, and where its sequence is.
#[derive(Clone, Copy)]
pub struct Producer {
    /// From InitProducerId; -1 for none.
    pub id: i64,
    /// The sequence of the batch's first record.
    pub sequence: i32,
}

/// No idempotence.
pub const NOBODY: Producer = Producer { id: -1, sequence: -1 };

/// A batch of these values, uncompressed.
pub fn batch_of(values: &[Vec<u8>], producer: Producer) -> Bytes {
    let records: Vec<Record> = (0_i32..)
        .zip(values)
        .map(|(index, value)| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
            producer_id: producer.id,
            producer_epoch: if producer.id < 0 { -1 } else { 0 },
            timestamp_type: TimestampType::Creation,
            offset: i64::from(index),
            sequence: producer.sequence.wrapping_add(if producer.id < 0 { 0 } else { index }),
            timestamp: 1_700_000_000_000,
            key: None,
            value: Some(Bytes::copy_from_slice(value)),
            headers: Default::default(),
        })
        .collect();
    let mut batch = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    // Without a producer all sequences are -1, which the encoder would take for several batches.
    if producer.id < 0 {
        let mut flat = records;
        for record in &mut flat {
            record.sequence = i32::try_from(record.offset).expect("small") - 1;
        }
        RecordBatchEncoder::encode(&mut batch, &flat, &options).expect("the batch encodes");
    } else {
        RecordBatchEncoder::encode(&mut batch, &records, &options).expect("the batch encodes");
    }
    batch.freeze()
}

/// A batch's header with `payload` for its records, under attributes `codec`; checksum right.
pub fn batch_around(payload: &[u8], codec: i16, count: i32) -> Bytes {
    let mut batch = Vec::with_capacity(61 + payload.len());
    batch.extend(0_i64.to_be_bytes());
    batch.extend(i32::try_from(49 + payload.len()).expect("small").to_be_bytes());
    batch.extend((-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend([0; 4]);
    batch.extend(codec.to_be_bytes());
    batch.extend((count - 1).to_be_bytes());
    batch.extend(1_700_000_000_000_i64.to_be_bytes());
    batch.extend(1_700_000_000_000_i64.to_be_bytes());
    batch.extend((-1_i64).to_be_bytes());
    batch.extend((-1_i16).to_be_bytes());
    batch.extend((-1_i32).to_be_bytes());
    batch.extend(count.to_be_bytes());
    batch.extend(payload);
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch.into()
}

/// The name of an API for a message.
pub fn api_name(key: i16) -> String {
    ApiKey::try_from(key).map_or_else(|()| format!("API {key}"), |key| format!("{key:?}"))
}
