//! A small load driver that speaks Kafka's protocol over plain sockets, for what no client library
//! measures: a fixed number of Produce requests in flight on one connection, and latency from a
//! record's intended send time to the moment a consumer holds it.
//!
//! In:   `driver create BOOTSTRAP TOPIC PARTITIONS [NAME=VALUE]...`
//!       `driver delete BOOTSTRAP TOPIC`
//!       `driver window BOOTSTRAP TOPIC PARTITIONS BATCH_BYTES IN_FLIGHT WARM_S MEASURE_S`
//!       `driver latency BOOTSTRAP TOPIC RECORD_BYTES PER_SECOND WARM_S MEASURE_S`
//! Out:  one line of JSON; exit code 1 and one line of text on any error the broker reports.
//! Home: a program of its own, standard library only (`rustc -O`), built by `bench.sh`.
//!
//! Invariants
//!   D1  The same bytes go to every broker: batches are built once, uncompressed, acks=all.
//!   D2  `latency` is open loop: a record's time runs from when it was due, not from when it left.
//!
//! Not here: the comparison itself (`bench.py`).

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const LIST_OFFSETS: i16 = 2;
const METADATA: i16 = 3;
const CREATE_TOPICS: i16 = 19;
const DELETE_TOPICS: i16 = 20;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["create", bootstrap, topic, partitions, settings @ ..] => {
            create(bootstrap, topic, partitions, settings)
        }
        ["delete", bootstrap, topic] => delete(bootstrap, topic),
        ["window", bootstrap, topic, rest @ ..] if rest.len() == 5 => {
            window(bootstrap, topic, rest)
        }
        ["latency", bootstrap, topic, rest @ ..] if rest.len() == 4 => {
            latency(bootstrap, topic, rest)
        }
        _ => Err("usage: see the head of driver.rs".into()),
    };
    if let Err(error) = outcome {
        eprintln!("driver: {error}");
        std::process::exit(1);
    }
}

// ---- bytes ----

/// A request being written: big-endian fields one after another.
struct Request(Vec<u8>);

impl Request {
    /// Begins a frame with header version 1.
    fn new(key: i16, version: i16) -> Self {
        let mut request = Self(vec![0; 4]);
        request.i16(key).i16(version).i32(0).string("bench");
        request
    }
    fn i8(&mut self, value: i8) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }
    fn i16(&mut self, value: i16) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }
    fn i32(&mut self, value: i32) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }
    fn i64(&mut self, value: i64) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }
    fn string(&mut self, value: &str) -> &mut Self {
        self.i16(i16::try_from(value.len()).expect("short names"));
        self.0.extend(value.as_bytes());
        self
    }
    fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.i32(i32::try_from(value.len()).expect("small batches"));
        self.0.extend(value);
        self
    }
    /// Fills in the length. The correlation id lies at byte 8.
    fn frame(&mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len() - 4).expect("small frames");
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        std::mem::take(&mut self.0)
    }
}

/// An answer being read.
struct Answer<'a>(&'a [u8]);

impl Answer<'_> {
    fn take<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or("a short answer")?;
        self.0 = rest;
        Ok(*head)
    }
    fn i16(&mut self) -> Outcome<i16> {
        Ok(i16::from_be_bytes(self.take()?))
    }
    fn i32(&mut self) -> Outcome<i32> {
        Ok(i32::from_be_bytes(self.take()?))
    }
    fn i64(&mut self) -> Outcome<i64> {
        Ok(i64::from_be_bytes(self.take()?))
    }
    fn skip(&mut self, count: usize) -> Outcome<()> {
        self.0 = self.0.get(count..).ok_or("a short answer")?;
        Ok(())
    }
    fn skip_string(&mut self) -> Outcome<()> {
        let length = self.i16()?;
        self.skip(usize::try_from(length).unwrap_or(0))
    }
}

fn connect(bootstrap: &str) -> Outcome<TcpStream> {
    let stream = TcpStream::connect(bootstrap)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    Ok(stream)
}

/// Reads one answer into `buffer`, without its length.
fn receive(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Outcome<()> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    buffer.resize(usize::try_from(u32::from_be_bytes(length))?, 0);
    stream.read_exact(buffer)?;
    Ok(())
}

fn ask(stream: &mut TcpStream, frame: &[u8]) -> Outcome<Vec<u8>> {
    stream.write_all(frame)?;
    let mut buffer = Vec::new();
    receive(stream, &mut buffer)?;
    Ok(buffer.split_off(4)) // without the correlation id
}

fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut crc = byte as u32;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 };
                bit += 1;
            }
            table[byte] = crc;
            byte += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, byte| (crc >> 8) ^ TABLE[usize::from((crc as u8) ^ byte)])
}

fn varint(into: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        into.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    into.push(rest as u8);
}

/// A record batch of `count` records without keys, of `size` bytes each. Returns where the last
/// value begins, too.
fn batch(count: i32, size: usize) -> (Vec<u8>, usize) {
    let mut records = Vec::new();
    let mut value_at = 0;
    for offset in 0..count {
        let mut record = vec![0];
        varint(&mut record, 0);
        varint(&mut record, i64::from(offset));
        varint(&mut record, -1);
        varint(&mut record, i64::try_from(size).expect("small"));
        let before = record.len();
        // Bytes that do not repeat, so that nothing on the way gains by their sameness.
        let mut state =
            0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(u64::from(offset.unsigned_abs()) + 1);
        record.extend((0..size).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        }));
        record.push(0); // no headers
        varint(&mut records, i64::try_from(record.len()).expect("small"));
        value_at = 61 + records.len() + before;
        records.extend(record);
    }
    let mut head = Request(Vec::new());
    head.i64(0).i32(i32::try_from(49 + records.len()).expect("small")).i32(-1).i8(2).i32(0);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970").as_millis();
    let now = i64::try_from(now).expect("fits");
    head.i16(0).i32(count - 1).i64(now).i64(now).i64(-1).i16(-1).i32(-1).i32(count);
    let mut whole = head.0;
    whole.extend(records);
    seal(&mut whole);
    (whole, value_at)
}

/// Writes the checksum of a batch.
fn seal(batch: &mut [u8]) {
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// A Produce request, version 7, acks=all, of one batch; and where the batch begins.
fn produce_frame(topic: &str, partition: i32, batch: &[u8]) -> (Vec<u8>, usize) {
    let mut request = Request::new(PRODUCE, 7);
    request.i16(-1).i16(-1).i32(30_000).i32(1).string(topic).i32(1).i32(partition).bytes(batch);
    let frame = request.frame();
    let at = frame.len() - batch.len();
    (frame, at)
}

/// The error code of the one partition in a Produce answer.
fn produce_error(answer: &[u8]) -> Outcome<()> {
    let mut answer = Answer(answer);
    answer.skip(4 + 4)?;
    answer.skip_string()?;
    answer.skip(4 + 4)?;
    match answer.i16()? {
        0 => Ok(()),
        code => Err(format!("Produce was refused with error {code}").into()),
    }
}

// ---- topics ----

fn create(bootstrap: &str, topic: &str, partitions: &str, settings: &[&str]) -> Outcome<()> {
    let mut stream = connect(bootstrap)?;
    let partitions: i32 = partitions.parse()?;
    let mut request = Request::new(CREATE_TOPICS, 2);
    request.i32(1).string(topic).i32(partitions).i16(1).i32(0);
    request.i32(i32::try_from(settings.len())?);
    for setting in settings {
        let (name, value) = setting.split_once('=').ok_or("a setting is NAME=VALUE")?;
        request.string(name).string(value);
    }
    let answer = ask(&mut stream, &request.i32(30_000).i8(0).frame())?;
    let mut answer = Answer(&answer);
    answer.skip(4 + 4)?;
    answer.skip_string()?;
    let code = answer.i16()?;
    if code != 0 {
        return Err(format!("CreateTopics was refused with error {code}").into());
    }
    let began = Instant::now();
    while !led(&mut stream, topic, partitions)? {
        if began.elapsed() > Duration::from_secs(30) {
            return Err("the new topic has no leaders after 30 s".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Does each partition of the topic have a leader?
fn led(stream: &mut TcpStream, topic: &str, partitions: i32) -> Outcome<bool> {
    let mut request = Request::new(METADATA, 1);
    let answer = ask(stream, &request.i32(1).string(topic).frame())?;
    let mut answer = Answer(&answer);
    for _ in 0..answer.i32()? {
        answer.skip(4)?;
        answer.skip_string()?;
        answer.skip(4)?;
        answer.skip_string()?;
    }
    answer.skip(4 + 4)?;
    if answer.i16()? != 0 {
        return Ok(false);
    }
    answer.skip_string()?;
    answer.skip(1)?;
    let count = answer.i32()?;
    Ok(count == partitions && serving(stream, topic, partitions)?)
}

/// Does the leader of each partition answer for it already? (ListOffsets, version 1.)
fn serving(stream: &mut TcpStream, topic: &str, partitions: i32) -> Outcome<bool> {
    let mut request = Request::new(LIST_OFFSETS, 1);
    request.i32(-1).i32(1).string(topic).i32(partitions);
    for partition in 0..partitions {
        request.i32(partition).i64(-1);
    }
    let answer = ask(stream, &request.frame())?;
    let mut answer = Answer(&answer);
    answer.skip(4)?;
    answer.skip_string()?;
    for _ in 0..answer.i32()? {
        answer.skip(4)?;
        if answer.i16()? != 0 {
            return Ok(false);
        }
        answer.skip(8 + 8)?;
    }
    Ok(true)
}

fn delete(bootstrap: &str, topic: &str) -> Outcome<()> {
    let mut request = Request::new(DELETE_TOPICS, 1);
    let answer = ask(&mut connect(bootstrap)?, &request.i32(1).string(topic).i32(30_000).frame())?;
    let mut answer = Answer(&answer);
    answer.skip(4 + 4)?;
    answer.skip_string()?;
    match answer.i16()? {
        0 => Ok(()),
        code => Err(format!("DeleteTopics was refused with error {code}").into()),
    }
}

// ---- measuring ----

/// Latencies in microseconds, sorted at the end.
struct Times(Vec<u32>);

impl Times {
    fn add(&mut self, time: Duration) {
        self.0.push(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }
    fn json(&mut self) -> String {
        self.0.sort_unstable();
        let at = |share: f64| {
            let index = (self.0.len() as f64 * share) as usize;
            f64::from(self.0.get(index.min(self.0.len().saturating_sub(1))).copied().unwrap_or(0))
                / 1e3
        };
        format!(
            "\"count\":{},\"p50_ms\":{:.3},\"p99_ms\":{:.3},\"p999_ms\":{:.3},\"max_ms\":{:.3}",
            self.0.len(),
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0)
        )
    }
}

fn window(bootstrap: &str, topic: &str, rest: &[&str]) -> Outcome<()> {
    let partitions: i32 = rest[0].parse()?;
    let batch_bytes: usize = rest[1].parse()?;
    let in_flight: usize = rest[2].parse()?;
    let (warm, measure): (f64, f64) = (rest[3].parse()?, rest[4].parse()?);
    let (warm, measure) = (Duration::from_secs_f64(warm), Duration::from_secs_f64(measure));
    let records = i32::try_from((batch_bytes / 1024).max(1))?;
    let (batch, _) = batch(records, batch_bytes / usize::try_from(records)? - 8);
    let frames: Vec<Vec<u8>> =
        (0..partitions).map(|partition| produce_frame(topic, partition, &batch).0).collect();
    let mut reader = connect(bootstrap)?;
    let mut writer = reader.try_clone()?;
    let began = Instant::now();
    let end = began + warm + measure;
    let mut times = Times(Vec::with_capacity(1 << 20));
    let mut buffer = Vec::new();
    let mut count = |sent: Instant, buffer: &[u8]| -> Outcome<()> {
        produce_error(buffer)?;
        let now = Instant::now();
        if now > began + warm && now <= end {
            times.add(now - sent);
        }
        Ok(())
    };
    if in_flight == 1 {
        for frame in frames.iter().cycle() {
            let sent = Instant::now();
            if sent > end {
                break;
            }
            writer.write_all(frame)?;
            receive(&mut reader, &mut buffer)?;
            count(sent, &buffer)?;
        }
    } else {
        // The requests not yet answered: one in the hand of the reader, the others in the channel.
        let (opened, waiting) = mpsc::sync_channel(in_flight - 1);
        let sender = std::thread::spawn(move || {
            for frame in frames.iter().cycle() {
                let now = Instant::now();
                if now > end || opened.send(now).is_err() || writer.write_all(frame).is_err() {
                    return;
                }
            }
        });
        let mut sent = waiting.recv()?;
        loop {
            receive(&mut reader, &mut buffer)?;
            count(sent, &buffer)?;
            match waiting.recv() {
                Ok(next) => sent = next,
                Err(_) => break,
            }
        }
        sender.join().map_err(|_| "the sender panicked")?;
    }
    let seconds = measure.as_secs_f64();
    let rate = times.0.len() as f64 / seconds;
    println!(
        "{{\"requests_per_s\":{rate:.1},\"mb_per_s\":{:.1},\"batch_bytes\":{},{}}}",
        rate * batch.len() as f64 / 1e6,
        batch.len(),
        times.json()
    );
    Ok(())
}

/// A Fetch request, version 4: partition 0 from `offset`, waiting for the first byte.
fn fetch_frame(topic: &str, offset: i64) -> Vec<u8> {
    let mut request = Request::new(FETCH, 4);
    request.i32(-1).i32(500).i32(1).i32(50 << 20).i8(0).i32(1).string(topic);
    request.i32(1).i32(0).i64(offset).i32(10 << 20).frame()
}

fn latency(bootstrap: &str, topic: &str, rest: &[&str]) -> Outcome<()> {
    let size: usize = rest[0].parse()?;
    let rate: f64 = rest[1].parse()?;
    let (warm, measure): (f64, f64) = (rest[2].parse()?, rest[3].parse()?);
    let (records, value_at) = batch(1, size);
    let (mut frame, batch_at) = produce_frame(topic, 0, &records);
    let total = (rate * (warm + measure)) as u64;
    let unmeasured = (rate * warm) as u64;
    let mut writer = connect(bootstrap)?;
    let mut answers = writer.try_clone()?;
    let began = Instant::now() + Duration::from_millis(200);
    let due = move |number: u64| began + Duration::from_secs_f64(number as f64 / rate);
    let sender = std::thread::spawn(move || -> Result<(), String> {
        for number in 0..total {
            std::thread::sleep(due(number).saturating_duration_since(Instant::now()));
            let batch = &mut frame[batch_at..];
            batch[value_at..value_at + 8].copy_from_slice(&number.to_be_bytes());
            seal(batch);
            writer.write_all(&frame).map_err(|error| error.to_string())?;
        }
        Ok(())
    });
    let acknowledged = std::thread::spawn(move || -> Result<Times, String> {
        let mut times = Times(Vec::new());
        let mut buffer = Vec::new();
        for number in 0..total {
            receive(&mut answers, &mut buffer).map_err(|error| error.to_string())?;
            produce_error(&buffer).map_err(|error| error.to_string())?;
            if number >= unmeasured {
                times.add(due(number).elapsed());
            }
        }
        Ok(times)
    });
    let mut times = read_all(bootstrap, topic, total, unmeasured, value_at, &due)?;
    sender.join().map_err(|_| "the sender panicked")??;
    let mut produced = acknowledged.join().map_err(|_| "the reader panicked")??;
    println!("{{\"produce\":{{{}}},\"end_to_end\":{{{}}}}}", produced.json(), times.json());
    Ok(())
}

/// Consumes the `total` records of `latency` and times each.
fn read_all(
    bootstrap: &str,
    topic: &str,
    total: u64,
    unmeasured: u64,
    value_at: usize,
    due: &dyn Fn(u64) -> Instant,
) -> Outcome<Times> {
    let mut stream = connect(bootstrap)?;
    let mut times = Times(Vec::new());
    let mut next = 0;
    while u64::try_from(next)? < total {
        let answer = ask(&mut stream, &fetch_frame(topic, next))?;
        let now = Instant::now();
        let mut answer = Answer(&answer);
        answer.skip(4 + 4)?;
        answer.skip_string()?;
        answer.skip(4 + 4)?;
        let code = answer.i16()?;
        if code != 0 {
            return Err(format!("Fetch was refused with error {code}").into());
        }
        answer.skip(8 + 8)?;
        let aborted = answer.i32()?;
        answer.skip(16 * usize::try_from(aborted.max(0))?)?;
        let _length = answer.i32()?;
        while answer.0.len() > 12 {
            let whole = answer.0;
            let base = answer.i64()?;
            let length = usize::try_from(answer.i32()?)?;
            if answer.0.len() < length {
                break; // an incomplete last batch
            }
            answer.skip(length)?;
            let number = whole.get(value_at..value_at + 8).ok_or("a short record")?;
            let number = u64::from_be_bytes(number.try_into()?);
            if base < next {
                continue;
            }
            if number >= unmeasured {
                times.add(now.saturating_duration_since(due(number)));
            }
            next = base + 1;
        }
    }
    Ok(times)
}
