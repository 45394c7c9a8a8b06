//! `yeoul produce`: records from standard input to a topic.
//!
//! In:   standard input, split by the format.
//! Out:  one line a record with its place, once it is acknowledged.
#![allow(clippy::disallowed_methods)] // stamps records with the wall clock, on the main thread

use std::io::{BufReader, Read, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};

use super::args::ClientArgs;
use super::exit::CliError;
use super::record_format::{InputRecord, RecordFormat, iso_time};
use super::start_screen::bytes;
use super::topic::pair;
use crate::client::cluster::Client;
use crate::client::producer::{Acknowledged, Acks, OutgoingRecord, Producer, ProducerOptions};
use crate::record::batch::Codec;

/// Bytes of standard input read at once.
const INPUT_BYTES: usize = 256 << 10;
/// Bytes of records of a partition that are sent together.
const BATCH_BYTES: usize = 256 << 10;

/// Options of `yeoul produce`.
#[derive(Clone, Debug, Args)]
pub struct ProduceArgs {
    /// Name of the topic.
    pub topic: String,
    /// How a record is written in the input: %k key, %v value, %p partition, %T milliseconds.
    #[arg(short, long, default_value = "%v\\n")]
    pub format: String,
    /// Key of every record.
    #[arg(short, long)]
    pub key: Option<String>,
    /// Partition of every record; by default chosen by key as Kafka's Java client does.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Option<i32>,
    /// Header of every record; may be repeated.
    #[arg(short = 'H', long, value_name = "KEY=VALUE")]
    pub header: Vec<String>,
    /// Who must have a record before it counts as written.
    #[arg(long, value_enum, default_value_t, ignore_case = true)]
    pub acks: AcksArg,
    /// How batches are packed.
    #[arg(short = 'z', long, value_enum, default_value_t)]
    pub compression: CodecArg,
    /// Do not print a line for each record.
    #[arg(short, long)]
    pub quiet: bool,
    /// How long a batch is sent again before it is given up, in seconds.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub delivery_timeout: u64,
    /// Where the brokers are.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Words for [`Acks`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum AcksArg {
    /// Nobody.
    #[value(name = "0", alias = "none")]
    Zero,
    /// The leader.
    #[value(name = "1", alias = "leader")]
    One,
    /// Every replica in sync; the producer is then idempotent.
    #[default]
    #[value(name = "all", alias = "-1")]
    All,
}

/// Words for [`Codec`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CodecArg {
    /// Not at all.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl CodecArg {
    fn codec(self) -> Codec {
        match self {
            Self::None => Codec::None,
            Self::Gzip => Codec::Gzip,
            Self::Snappy => Codec::Snappy,
            Self::Lz4 => Codec::Lz4,
            Self::Zstd => Codec::Zstd,
        }
    }
}

impl ProduceArgs {
    fn producer(&self) -> Producer {
        Producer::new(ProducerOptions {
            acks: match self.acks {
                AcksArg::Zero => Acks::None,
                AcksArg::One => Acks::Leader,
                AcksArg::All => Acks::All,
            },
            codec: self.compression.codec(),
            idempotent: self.acks == AcksArg::All,
            batch_bytes: BATCH_BYTES,
            delivery_timeout: Duration::from_secs(self.delivery_timeout),
        })
    }
}

/// Writes every record of `input`.
///
/// Errors: [`CliError`]; what was printed before is written.
pub fn run(args: &ProduceArgs, input: impl Read, out: &mut impl Write) -> Result<(), CliError> {
    let format = RecordFormat::parse_input(&args.format)?;
    let headers: Result<Vec<(String, String)>, CliError> =
        args.header.iter().map(|text| pair(text)).collect();
    let headers = headers?;
    let headers: Vec<(&str, Option<&[u8]>)> =
        headers.iter().map(|(name, value)| (name.as_str(), Some(value.as_bytes()))).collect();
    let mut client = args.client.connect()?;
    client.topic(&args.topic, true)?;
    let mut input = BufReader::with_capacity(INPUT_BYTES, input);
    let mut job = Job { args, producer: args.producer(), client: &mut client, out };
    let mut number = 1;
    while let Some(record) = format.read(&mut input, number)? {
        job.send(&record, &headers)?;
        number += 1;
        // What comes next may take its time: what is here goes out.
        if input.buffer().is_empty() {
            job.flush()?;
        }
    }
    job.flush()
}

struct Job<'a, W> {
    args: &'a ProduceArgs,
    producer: Producer,
    client: &'a mut Client,
    out: &'a mut W,
}

impl<W: Write> Job<'_, W> {
    fn send(
        &mut self,
        record: &InputRecord,
        headers: &[(&str, Option<&[u8]>)],
    ) -> Result<(), CliError> {
        let outgoing = OutgoingRecord {
            topic: &self.args.topic,
            partition: record.partition.or(self.args.partition),
            timestamp_ms: record.timestamp_ms.unwrap_or_else(now_ms),
            key: record.key.as_deref().or(self.args.key.as_deref().map(str::as_bytes)),
            value: record.value.as_deref(),
            headers,
        };
        let done = self.producer.send(self.client, &outgoing)?;
        self.print(&done)
    }

    fn flush(&mut self) -> Result<(), CliError> {
        let done = self.producer.flush(self.client)?;
        self.print(&done)?;
        self.out.flush()?;
        Ok(())
    }

    fn print(&mut self, done: &[Acknowledged]) -> Result<(), CliError> {
        if self.args.quiet {
            return Ok(());
        }
        for batch in done {
            print_batch(self.out, batch)?;
        }
        Ok(())
    }
}

/// `hello/2 @0  2026-11-22T08:10:02.114Z  2 B` for each record.
fn print_batch(out: &mut impl Write, batch: &Acknowledged) -> Result<(), CliError> {
    for (record, place) in batch.records.iter().zip(0_i64..) {
        let time = iso_time(batch.log_append_time_ms.unwrap_or(record.timestamp_ms));
        let size = bytes(u64::try_from(record.value_bytes).unwrap_or(u64::MAX));
        let (topic, partition) = (&batch.topic, batch.partition);
        if batch.base_offset < 0 {
            writeln!(out, "{topic}/{partition} @?  {time}  {size}")?;
        } else {
            let offset = batch.base_offset + place;
            writeln!(out, "{topic}/{partition} @{offset}  {time}  {size}")?;
        }
    }
    Ok(())
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::producer::RecordMark;

    #[test]
    fn each_record_prints_its_place() {
        let mark = RecordMark { timestamp_ms: 1_795_334_402_114, value_bytes: 2 };
        let mut batch = Acknowledged {
            topic: "hello".to_owned(),
            partition: 2,
            base_offset: 7,
            log_append_time_ms: None,
            records: vec![mark, mark],
        };
        let mut out = Vec::new();
        print_batch(&mut out, &batch).unwrap();
        batch.base_offset = -1;
        batch.records.truncate(1);
        print_batch(&mut out, &batch).unwrap();
        let want = "hello/2 @7  2026-11-22T08:00:02.114Z  2 B\n\
                    hello/2 @8  2026-11-22T08:00:02.114Z  2 B\n\
                    hello/2 @?  2026-11-22T08:00:02.114Z  2 B\n";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }
}
