//! `yeoul consume`: records of a topic to standard output.
//!
//! In:   topic, partitions, where to begin and to end.
//! Out:  one text a record, in order within each partition.
#![allow(clippy::disallowed_methods)] // reads the wall clock for times such as @-1h

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::args::ClientArgs;
use super::exit::CliError;
use super::record_format::{RecordFormat, RecordView};
use crate::client::cluster::Client;
use crate::client::consumer::{Consumer, FetchOptions, FetchedRecord};
use crate::client::error::ClientError;
use crate::client::offsets::{OffsetSpec, list_offsets};

/// Options of `yeoul consume`.
#[derive(Clone, Debug, Args)]
pub struct ConsumeArgs {
    /// Name of the topic.
    pub topic: String,
    /// Where to begin: start, end, N, -N (the last N of each partition), +N, or @TIME.
    #[arg(short, long, default_value = "start", allow_hyphen_values = true)]
    pub offset: String,
    /// Stop after so many records; by default never.
    #[arg(short, long, value_name = "N")]
    pub num: Option<u64>,
    /// Partitions to read, separated by commas; by default all.
    #[arg(short, long, value_name = "LIST", value_delimiter = ',')]
    pub partitions: Vec<i32>,
    /// How to print a record: 'json', or words as in '%k=%v @%p/%o\n'.
    #[arg(short, long, default_value = "%v\\n")]
    pub format: String,
    /// Stop where the partitions end now.
    #[arg(long, value_enum)]
    pub until: Option<Until>,
    /// Where the brokers are.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Where to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Until {
    /// At the end of each partition as it is when the command begins.
    End,
}

/// Where to begin in each partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    Start,
    End,
    At(i64),
    AfterStart(i64),
    BeforeEnd(i64),
    Time(i64),
}

/// A place in a topic that says nothing known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetError {
    /// The option.
    pub option: &'static str,
    /// The counts that it takes.
    pub counts: &'static str,
    /// As written.
    pub text: String,
}

impl fmt::Display for OffsetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} '{}': expected start, end, {}, or @ and a time: milliseconds, \
             2026-11-22T08:00:00Z, 2026-11-22 or -1h",
            self.option, self.text, self.counts
        )
    }
}

impl std::error::Error for OffsetError {}

/// A record as `-f json` prints it, one object a line; bytes that are no UTF-8 stand in the
/// `_base64` names instead.
#[derive(Serialize)]
struct JsonRecord<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    leader_epoch: i32,
    #[serde(flatten)]
    key: KeyText,
    #[serde(flatten)]
    value: ValueText,
    headers: Vec<JsonHeader>,
}

#[derive(Serialize)]
struct KeyText {
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
}

#[derive(Serialize)]
struct ValueText {
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

#[derive(Serialize)]
struct JsonHeader {
    #[serde(flatten)]
    key: KeyText,
    #[serde(flatten)]
    value: ValueText,
}

enum Printer {
    Json,
    Words(RecordFormat),
}

/// Prints records until the limit, the end, or for ever.
///
/// Errors: [`CliError`].
pub fn run(args: &ConsumeArgs, out: &mut impl Write) -> Result<(), CliError> {
    let begin = parse_begin(&args.offset, jiff::Timestamp::now())?;
    let printer = match args.format.as_str() {
        "json" => Printer::Json,
        words => Printer::Words(RecordFormat::parse(words)?),
    };
    let mut client = args.client.connect()?;
    let partitions = partitions(&mut client, args)?;
    let ends = list_offsets(&mut client, &args.topic, &partitions, OffsetSpec::End)?;
    let ends: BTreeMap<i32, i64> =
        ends.into_iter().map(|(partition, end)| (partition, end.unwrap_or(0))).collect();
    let positions = positions(&mut client, &args.topic, begin, &ends)?;
    let mut consumer = Consumer::new(&args.topic, positions, FetchOptions::default());
    let mut left = args.num.unwrap_or(u64::MAX);
    while 0 < left {
        if args.until == Some(Until::End) && drop_finished(&mut consumer, &ends) {
            break;
        }
        let records = consumer.poll(&mut client)?;
        for record in &records {
            let end = ends.get(&record.partition).copied().unwrap_or(0);
            if args.until == Some(Until::End) && end <= record.offset {
                continue;
            }
            printer.print(out, &args.topic, record)?;
            left -= 1;
            if left == 0 {
                break;
            }
        }
        out.flush()?;
    }
    Ok(())
}

/// Stops reading partitions that are read up to their end; whether none is left.
fn drop_finished(consumer: &mut Consumer, ends: &BTreeMap<i32, i64>) -> bool {
    let at_end = |(partition, position): (&i32, &i64)| {
        let end = ends.get(partition).copied().unwrap_or(0);
        (end <= *position).then_some(*partition)
    };
    let finished: Vec<i32> = consumer.positions().iter().filter_map(at_end).collect();
    finished.into_iter().for_each(|partition| consumer.drop_partition(partition));
    consumer.positions().is_empty()
}

fn partitions(client: &mut Client, args: &ConsumeArgs) -> Result<Vec<i32>, ClientError> {
    let topic = client.topic(&args.topic, false)?;
    let known: Vec<i32> = topic.partitions.iter().map(|p| p.partition).collect();
    if args.partitions.is_empty() {
        return Ok(known);
    }
    match args.partitions.iter().find(|partition| !known.contains(partition)) {
        Some(stray) => Err(ClientError::UnknownPartition {
            topic: topic.name,
            partition: *stray,
            partitions: known.len(),
        }),
        None => Ok(args.partitions.clone()),
    }
}

fn positions(
    client: &mut Client,
    topic: &str,
    begin: Begin,
    ends: &BTreeMap<i32, i64>,
) -> Result<BTreeMap<i32, i64>, ClientError> {
    let partitions: Vec<i32> = ends.keys().copied().collect();
    if let Begin::At(offset) = begin {
        return Ok(partitions.into_iter().map(|partition| (partition, offset)).collect());
    }
    if begin == Begin::End {
        return Ok(ends.clone());
    }
    let spec = match begin {
        Begin::Time(timestamp_ms) => OffsetSpec::AtTime(timestamp_ms),
        _ => OffsetSpec::Start,
    };
    let found = list_offsets(client, topic, &partitions, spec)?;
    let position = |(partition, end): (&i32, &i64)| {
        let first = found.get(partition).copied().flatten();
        let position = match begin {
            Begin::AfterStart(count) => first.unwrap_or(0).saturating_add(count).min(*end),
            Begin::BeforeEnd(count) => end.saturating_sub(count).max(first.unwrap_or(0)),
            // No record is that late: begin with the next one.
            Begin::Time(_) => first.unwrap_or(*end),
            Begin::Start | Begin::End | Begin::At(_) => first.unwrap_or(0),
        };
        (*partition, position)
    };
    Ok(ends.iter().map(position).collect())
}

fn parse_begin(text: &str, now: jiff::Timestamp) -> Result<Begin, OffsetError> {
    let (option, counts) = ("--offset", "N, -N, +N");
    let refused = || OffsetError { option, counts, text: text.to_owned() };
    let count = |text: &str| text.parse::<i64>().ok().filter(|n| 0 <= *n).ok_or_else(refused);
    match text {
        "start" | "beginning" | "earliest" => return Ok(Begin::Start),
        "end" | "latest" => return Ok(Begin::End),
        _ => {}
    }
    if let Some(time) = text.strip_prefix('@') {
        return parse_time(time, now).map(Begin::Time).ok_or_else(refused);
    }
    if let Some(digits) = text.strip_prefix('-') {
        return count(digits).map(Begin::BeforeEnd);
    }
    if let Some(digits) = text.strip_prefix('+') {
        return count(digits).map(Begin::AfterStart);
    }
    count(text).map(Begin::At)
}

/// Milliseconds since 1970 of digits, a date, a time in UTC or with an offset, or a span from now.
pub fn parse_time(text: &str, now: jiff::Timestamp) -> Option<i64> {
    if let Ok(timestamp_ms) = text.parse::<u64>() {
        return i64::try_from(timestamp_ms).ok();
    }
    if text.starts_with('-') {
        let span: jiff::SignedDuration = text.parse().ok()?;
        return now.checked_add(span).ok().map(|time| time.as_millisecond());
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(time.as_millisecond());
    }
    let time: jiff::civil::DateTime = text.parse().ok()?;
    let zoned = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_millisecond())
}

impl Printer {
    fn print(
        &self,
        out: &mut impl Write,
        topic: &str,
        record: &FetchedRecord,
    ) -> Result<(), CliError> {
        match self {
            Self::Words(format) => {
                let headers: Vec<(&[u8], Option<&[u8]>)> =
                    record.headers.iter().map(|(k, v)| (k.as_ref(), v.as_deref())).collect();
                let view = RecordView {
                    topic,
                    partition: record.partition,
                    offset: record.offset,
                    timestamp_ms: record.timestamp_ms,
                    leader_epoch: record.leader_epoch,
                    key: record.key.as_deref(),
                    value: record.value.as_deref(),
                    headers: &headers,
                };
                format.print(out, &view)?;
            }
            Self::Json => {
                let header = |(key, value): &(bytes::Bytes, Option<bytes::Bytes>)| JsonHeader {
                    key: key_text(Some(key)),
                    value: value_text(value.as_deref()),
                };
                let json = JsonRecord {
                    topic,
                    partition: record.partition,
                    offset: record.offset,
                    timestamp_ms: record.timestamp_ms,
                    leader_epoch: record.leader_epoch,
                    key: key_text(record.key.as_deref()),
                    value: value_text(record.value.as_deref()),
                    headers: record.headers.iter().map(header).collect(),
                };
                let text = serde_json::to_string(&json).expect("plain fields");
                writeln!(out, "{text}")?;
            }
        }
        Ok(())
    }
}

fn key_text(bytes: Option<&[u8]>) -> KeyText {
    let (key, key_base64) = text_of(bytes);
    KeyText { key, key_base64 }
}

fn value_text(bytes: Option<&[u8]>) -> ValueText {
    let (value, value_base64) = text_of(bytes);
    ValueText { value, value_base64 }
}

fn text_of(bytes: Option<&[u8]>) -> (Option<String>, Option<String>) {
    match bytes.map(std::str::from_utf8) {
        None => (None, None),
        Some(Ok(text)) => (Some(text.to_owned()), None),
        Some(Err(_)) => (None, bytes.map(|bytes| STANDARD.encode(bytes))),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn offsets_are_read() {
        let now = jiff::Timestamp::from_millisecond(1_795_334_400_000).unwrap();
        let check = |text: &str, want: Option<Begin>| {
            assert_eq!(parse_begin(text, now).ok(), want, "{text}");
        };
        check("start", Some(Begin::Start));
        check("beginning", Some(Begin::Start));
        check("end", Some(Begin::End));
        check("42", Some(Begin::At(42)));
        check("-3", Some(Begin::BeforeEnd(3)));
        check("+3", Some(Begin::AfterStart(3)));
        check("@1795334400000", Some(Begin::Time(1_795_334_400_000)));
        check("@2026-11-22T08:00:00Z", Some(Begin::Time(1_795_334_400_000)));
        check("@2026-11-22T08:00", Some(Begin::Time(1_795_334_400_000)));
        check("@2026-11-22", Some(Begin::Time(1_795_305_600_000)));
        check("@-1h", Some(Begin::Time(1_795_330_800_000)));
        for text in ["", "x", "--3", "-", "@", "@soon", "1.5", "+-1"] {
            check(text, None);
        }
    }

    #[test]
    fn json_keeps_bytes_that_are_no_text() {
        let record = FetchedRecord {
            partition: 1,
            offset: 9,
            timestamp_ms: 5,
            leader_epoch: 0,
            key: None,
            value: Some(Bytes::from_static(&[0xff])),
            headers: vec![(Bytes::from_static(b"h"), Some(Bytes::from_static(b"v")))],
        };
        let mut out = Vec::new();
        Printer::Json.print(&mut out, "t", &record).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json["value_base64"], "/w==");
        assert_eq!(json["value"], serde_json::Value::Null);
        assert_eq!(json["key"], serde_json::Value::Null);
        assert_eq!(json["headers"][0]["key"], "h");
        assert_eq!(json["headers"][0]["value"], "v");
        assert_eq!(json["offset"], 9);
    }
}
