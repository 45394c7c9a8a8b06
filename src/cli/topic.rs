//! `yeoul topic create|list|describe|delete`.

use std::io::Write;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::args::{ClientArgs, OutputArgs, OutputFormat};
use super::confirm::confirm;
use super::exit::CliError;
use super::output::{Row, each, or_dash, print_json, print_rows, tell};
use crate::client::admin::{
    NewTopic, TOPIC_RESOURCE, create_topics, delete_topics, describe_configs,
};
use crate::client::cluster::{Client, Partition, Topic};
use crate::client::error::ClientError;
use crate::client::offsets::{OffsetSpec, list_offsets};

/// What to do with topics.
#[derive(Clone, Debug, Subcommand)]
pub enum TopicCommand {
    /// Make topics.
    Create(CreateArgs),
    /// List topics.
    List(ListArgs),
    /// Show partitions and settings of topics.
    Describe(DescribeArgs),
    /// Delete topics and their records.
    Delete(DeleteArgs),
}

/// Options of `yeoul topic create`.
#[derive(Clone, Debug, Args)]
pub struct CreateArgs {
    /// Names.
    #[arg(required = true, value_name = "TOPIC")]
    pub topics: Vec<String>,
    /// Partitions of each; by default what the broker is set to.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub partitions: Option<i32>,
    /// Replicas of each partition; by default what the broker is set to.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
    pub replicas: Option<i16>,
    /// One setting of the topics (retention.ms=60000); may be repeated.
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub config: Vec<String>,
    /// Check everything and make nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Where the brokers are.
    #[command(flatten)]
    pub client: ClientArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `yeoul topic list`.
#[derive(Clone, Debug, Args)]
pub struct ListArgs {
    /// Show the broker's own topics too.
    #[arg(short, long)]
    pub internal: bool,
    /// Where the brokers are.
    #[command(flatten)]
    pub client: ClientArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `yeoul topic describe`.
#[derive(Clone, Debug, Args)]
pub struct DescribeArgs {
    /// Names.
    #[arg(required = true, value_name = "TOPIC")]
    pub topics: Vec<String>,
    /// Show settings instead of partitions.
    #[arg(short, long)]
    pub configs: bool,
    /// Where the brokers are.
    #[command(flatten)]
    pub client: ClientArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `yeoul topic delete`.
#[derive(Clone, Debug, Args)]
pub struct DeleteArgs {
    /// Names.
    #[arg(required = true, value_name = "TOPIC")]
    pub topics: Vec<String>,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
    /// Where the brokers are.
    #[command(flatten)]
    pub client: ClientArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Serialize)]
struct DoneRow {
    topic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitions: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replicas: Option<i16>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Row for DoneRow {
    const COLUMNS: &'static [&'static str] = &["TOPIC", "PARTITIONS", "REPLICAS", "STATUS"];

    fn cells(&self) -> Vec<String> {
        let (partitions, replicas) = (or_dash(self.partitions), or_dash(self.replicas));
        vec![self.topic.clone(), partitions, replicas, self.status.to_owned()]
    }
}

#[derive(Serialize)]
struct ListRow {
    topic: String,
    partitions: usize,
    replicas: usize,
    internal: bool,
}

impl Row for ListRow {
    const COLUMNS: &'static [&'static str] = &["TOPIC", "PARTITIONS", "REPLICAS"];

    fn cells(&self) -> Vec<String> {
        vec![self.topic.clone(), self.partitions.to_string(), self.replicas.to_string()]
    }
}

#[derive(Serialize)]
struct PartitionRow {
    #[serde(skip)]
    topic: String,
    partition: i32,
    leader: i32,
    leader_epoch: i32,
    replicas: Vec<i32>,
    isr: Vec<i32>,
    log_start_offset: Option<i64>,
    high_watermark: Option<i64>,
}

impl Row for PartitionRow {
    const COLUMNS: &'static [&'static str] =
        &["TOPIC", "PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "START", "END"];

    fn cells(&self) -> Vec<String> {
        let ids = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
        vec![
            self.topic.clone(),
            self.partition.to_string(),
            self.leader.to_string(),
            self.leader_epoch.to_string(),
            ids(&self.replicas),
            ids(&self.isr),
            or_dash(self.log_start_offset),
            or_dash(self.high_watermark),
        ]
    }
}

#[derive(Serialize)]
struct ConfigRow {
    #[serde(skip)]
    topic: String,
    name: String,
    value: Option<String>,
    source: &'static str,
}

impl Row for ConfigRow {
    const COLUMNS: &'static [&'static str] = &["TOPIC", "SETTING", "VALUE", "SET BY"];

    fn cells(&self) -> Vec<String> {
        let value = self.value.clone().unwrap_or_else(|| "null".to_owned());
        vec![self.topic.clone(), self.name.clone(), value, self.source.to_owned()]
    }
}

#[derive(Serialize)]
struct Description {
    topic: String,
    id: String,
    internal: bool,
    partitions: Vec<PartitionRow>,
    configs: Vec<ConfigRow>,
}

/// Does what `command` says, printing to `out`.
///
/// Errors: [`CliError`]; of several topics some may have failed.
pub fn run(command: TopicCommand, out: &mut impl Write) -> Result<(), CliError> {
    match command {
        TopicCommand::Create(args) => create(&args, out),
        TopicCommand::List(args) => list(&args, out),
        TopicCommand::Describe(args) => describe(&args, out),
        TopicCommand::Delete(args) => delete(&args, out),
    }
}

fn create(args: &CreateArgs, out: &mut impl Write) -> Result<(), CliError> {
    let configs: Result<Vec<(String, String)>, CliError> =
        args.config.iter().map(|text| pair(text)).collect();
    let configs = configs?;
    let topic = |name: &String| NewTopic {
        name: name.clone(),
        partitions: args.partitions.unwrap_or(-1),
        replication_factor: args.replicas.unwrap_or(-1),
        configs: configs.clone(),
    };
    let topics: Vec<NewTopic> = args.topics.iter().map(topic).collect();
    let mut client = args.client.connect()?;
    let results = create_topics(&mut client, &topics, args.dry_run)?;
    let status = if args.dry_run { "would be created" } else { "created" };
    let row = |(name, result): (&String, &Result<_, ClientError>)| match result {
        Ok(crate::client::admin::CreatedTopic { partitions, replication_factor, .. }) => DoneRow {
            topic: name.clone(),
            partitions: Some(*partitions).filter(|count| 0 < *count),
            replicas: Some(*replication_factor).filter(|count| 0 < *count),
            status,
            error: None,
        },
        Err(error) => failed_row(name, error),
    };
    let rows: Vec<DoneRow> = args.topics.iter().zip(&results).map(row).collect();
    report(out, args.output.format, &rows, results.into_iter().filter_map(Result::err))
}

fn list(args: &ListArgs, out: &mut impl Write) -> Result<(), CliError> {
    let mut client = args.client.connect()?;
    let row = |topic: Topic| ListRow {
        replicas: topic.partitions.iter().map(|p| p.replicas.len()).max().unwrap_or(0),
        partitions: topic.partitions.len(),
        internal: topic.is_internal,
        topic: topic.name,
    };
    let topics = client.list_topics()?.into_iter();
    let rows: Vec<ListRow> =
        topics.filter(|topic| args.internal || !topic.is_internal).map(row).collect();
    print_rows(out, args.output.format, &rows)
}

fn describe(args: &DescribeArgs, out: &mut impl Write) -> Result<(), CliError> {
    let mut client = args.client.connect()?;
    let (described, failures) = each(&args.topics, |name| describe_one(&mut client, name));
    match args.output.format {
        OutputFormat::Json => print_json(out, &described)?,
        OutputFormat::Text if args.configs => {
            let rows: Vec<ConfigRow> = described.into_iter().flat_map(|d| d.configs).collect();
            print_rows(out, OutputFormat::Text, &rows)?;
        }
        OutputFormat::Text => {
            let rows: Vec<PartitionRow> =
                described.into_iter().flat_map(|d| d.partitions).collect();
            print_rows(out, OutputFormat::Text, &rows)?;
        }
    }
    tell(out, failures, args.topics.len())
}

fn describe_one(client: &mut Client, name: &str) -> Result<Description, ClientError> {
    let topic = client.topic(name, false)?;
    let indexes: Vec<i32> = topic.partitions.iter().map(|p| p.partition).collect();
    let starts = list_offsets(client, name, &indexes, OffsetSpec::Start)?;
    let ends = list_offsets(client, name, &indexes, OffsetSpec::End)?;
    let row = |partition: &Partition| PartitionRow {
        topic: name.to_owned(),
        partition: partition.partition,
        leader: partition.leader,
        leader_epoch: partition.leader_epoch,
        replicas: partition.replicas.clone(),
        isr: partition.isr.clone(),
        log_start_offset: starts.get(&partition.partition).copied().flatten(),
        high_watermark: ends.get(&partition.partition).copied().flatten(),
    };
    let configs = describe_configs(client, TOPIC_RESOURCE, name)?;
    Ok(Description {
        topic: name.to_owned(),
        id: topic.id.to_string(),
        internal: topic.is_internal,
        partitions: topic.partitions.iter().map(row).collect(),
        configs: configs
            .into_iter()
            .map(|config| ConfigRow {
                topic: name.to_owned(),
                name: config.name,
                value: config.value,
                source: source_name(config.source),
            })
            .collect(),
    })
}

/// Who set a value, by DescribeConfigs' number. Source: KIP-226.
fn source_name(source: i8) -> &'static str {
    match source {
        1 => "topic",
        2 | 4 => "broker",
        3 => "cluster",
        5 => "default",
        _ => "unknown",
    }
}

fn delete(args: &DeleteArgs, out: &mut impl Write) -> Result<(), CliError> {
    if !args.yes {
        confirm(&format!("delete {} with all records?", args.topics.join(", ")))?;
    }
    let mut client = args.client.connect()?;
    let results = delete_topics(&mut client, &args.topics)?;
    let row = |(name, result): (&String, &Result<(), ClientError>)| match result {
        Ok(()) => DoneRow {
            topic: name.clone(),
            partitions: None,
            replicas: None,
            status: "deleted",
            error: None,
        },
        Err(error) => failed_row(name, error),
    };
    let rows: Vec<DoneRow> = args.topics.iter().zip(&results).map(row).collect();
    report(out, args.output.format, &rows, results.into_iter().filter_map(Result::err))
}

fn failed_row(name: &str, error: &ClientError) -> DoneRow {
    DoneRow {
        topic: name.to_owned(),
        partitions: None,
        replicas: None,
        status: "failed",
        error: Some(error.to_string()),
    }
}

fn report(
    out: &mut impl Write,
    format: OutputFormat,
    rows: &[DoneRow],
    failures: impl Iterator<Item = ClientError>,
) -> Result<(), CliError> {
    let failures: Vec<ClientError> = failures.collect();
    print_rows(out, format, rows)?;
    tell(out, failures, rows.len())
}

/// Splits `KEY=VALUE`. Errors: no `=` in it.
pub fn pair(text: &str) -> Result<(String, String), CliError> {
    let split = text.split_once('=');
    let (key, value) = split.ok_or_else(|| CliError::NotAPair { text: text.to_owned() })?;
    Ok((key.trim().to_owned(), value.to_owned()))
}
