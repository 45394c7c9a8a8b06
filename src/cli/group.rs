//! `yeoul group list|describe|delete|delete-offsets`, over the Kafka protocol.
//!
//! Not here: `lag` and `seek`, which ask the admin endpoint (`group_lag.rs`, `group_seek.rs`).

use std::collections::BTreeMap;
use std::io::Write;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::args::{ClientArgs, OutputArgs, OutputFormat};
use super::confirm::confirm;
use super::exit::CliError;
use super::group_lag::{self, LagArgs};
use super::group_seek::{self, SeekArgs, TopicPartitions};
use super::output::{Row, each, or_dash, print_json, print_rows, tell};
use crate::client::cluster::Client;
use crate::client::error::ClientError;
use crate::client::groups::{
    Group, GroupMember, ListedGroup, MemberAssignment, delete_group, delete_offsets,
    describe_group, list_groups, positions,
};
use crate::client::offsets::{OffsetSpec, list_offsets};
use crate::group::subscription::{CONSUMER_PROTOCOL_TYPE, parse_assignment};

/// What to do with groups.
#[derive(Clone, Debug, Subcommand)]
pub enum GroupCommand {
    /// List groups.
    List(ListArgs),
    /// Show members of groups, and how far they have read.
    Describe(DescribeArgs),
    /// Show how far groups are behind, in records and seconds, now and in the last hour.
    Lag(LagArgs),
    /// Move a group, while it runs, to other positions.
    Seek(SeekArgs),
    /// Delete groups without members, and their positions.
    Delete(DeleteArgs),
    /// Delete positions of a group in topics that no member reads.
    DeleteOffsets(DeleteOffsetsArgs),
}

/// Options of `yeoul group list`.
#[derive(Clone, Debug, Args)]
pub struct ListArgs {
    /// Show only groups in these states (Stable,Empty), separated by commas.
    #[arg(short, long, value_name = "STATE", value_delimiter = ',')]
    pub states: Vec<String>,
    /// Where the brokers are.
    #[command(flatten)]
    pub client: ClientArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `yeoul group describe`.
#[derive(Clone, Debug, Args)]
pub struct DescribeArgs {
    /// Names.
    #[arg(required = true, value_name = "GROUP")]
    pub groups: Vec<String>,
    /// Show members instead of partitions.
    #[arg(short, long)]
    pub members: bool,
    /// Where the brokers are.
    #[command(flatten)]
    pub client: ClientArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `yeoul group delete`.
#[derive(Clone, Debug, Args)]
pub struct DeleteArgs {
    /// Names.
    #[arg(required = true, value_name = "GROUP")]
    pub groups: Vec<String>,
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

/// Options of `yeoul group delete-offsets`.
#[derive(Clone, Debug, Args)]
pub struct DeleteOffsetsArgs {
    /// Name of the group.
    pub group: String,
    /// A topic, or partitions of it (TOPIC:0,1); may be repeated.
    #[arg(short, long = "topic", required = true, value_name = "TOPIC[:LIST]")]
    pub topics: Vec<TopicPartitions>,
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
struct ListRow {
    group: String,
    kind: String,
    protocol_type: String,
    state: String,
}

impl Row for ListRow {
    const COLUMNS: &'static [&'static str] = &["GROUP", "KIND", "PROTOCOL", "STATE"];

    fn cells(&self) -> Vec<String> {
        let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        vec![self.group.clone(), dash(&self.kind), dash(&self.protocol_type), dash(&self.state)]
    }
}

/// A partition that a group has a position in, or a member.
#[derive(Serialize)]
struct PartitionRow {
    #[serde(skip)]
    group: String,
    topic: String,
    partition: i32,
    position: Option<i64>,
    end: Option<i64>,
    lag: Option<i64>,
    member: Option<String>,
    client_id: Option<String>,
    host: Option<String>,
}

impl Row for PartitionRow {
    const COLUMNS: &'static [&'static str] =
        &["GROUP", "TOPIC", "PARTITION", "POSITION", "END", "LAG", "MEMBER", "CLIENT", "HOST"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.group.clone(),
            self.topic.clone(),
            self.partition.to_string(),
            or_dash(self.position),
            or_dash(self.end),
            or_dash(self.lag),
            or_dash(self.member.as_ref()),
            or_dash(self.client_id.as_ref()),
            or_dash(self.host.as_ref()),
        ]
    }
}

#[derive(Serialize)]
struct MemberRow {
    #[serde(skip)]
    group: String,
    member: String,
    instance: Option<String>,
    client_id: String,
    host: String,
    partitions: usize,
}

impl Row for MemberRow {
    const COLUMNS: &'static [&'static str] =
        &["GROUP", "MEMBER", "INSTANCE", "CLIENT", "HOST", "PARTITIONS"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.group.clone(),
            self.member.clone(),
            or_dash(self.instance.as_ref()),
            self.client_id.clone(),
            self.host.clone(),
            self.partitions.to_string(),
        ]
    }
}

#[derive(Serialize)]
struct Description {
    group: String,
    kind: &'static str,
    state: String,
    protocol_type: String,
    assignor: String,
    epoch: Option<i32>,
    coordinator: String,
    members: Vec<MemberRow>,
    partitions: Vec<PartitionRow>,
}

#[derive(Serialize)]
struct DoneRow {
    group: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Row for DoneRow {
    const COLUMNS: &'static [&'static str] = &["GROUP", "TOPIC", "PARTITION", "STATUS"];

    fn cells(&self) -> Vec<String> {
        let (topic, partition) = (or_dash(self.topic.as_ref()), or_dash(self.partition));
        vec![self.group.clone(), topic, partition, self.status.to_owned()]
    }
}

/// Does what `command` says, printing to `out`.
///
/// Errors: [`CliError`]; of several groups some may have failed.
pub fn run(command: GroupCommand, out: &mut impl Write) -> Result<(), CliError> {
    match command {
        GroupCommand::List(args) => list(&args, out),
        GroupCommand::Describe(args) => describe(&args, out),
        GroupCommand::Lag(args) => group_lag::run(&args, out),
        GroupCommand::Seek(args) => group_seek::run(&args, out),
        GroupCommand::Delete(args) => delete(&args, out),
        GroupCommand::DeleteOffsets(args) => delete_positions(&args, out),
    }
}

fn list(args: &ListArgs, out: &mut impl Write) -> Result<(), CliError> {
    let mut client = args.client.connect()?;
    let wanted = |group: &ListedGroup| {
        let mut states = args.states.iter();
        args.states.is_empty() || states.any(|state| state.eq_ignore_ascii_case(&group.state))
    };
    let row = |group: ListedGroup| ListRow {
        group: group.group,
        kind: group.kind,
        protocol_type: group.protocol_type,
        state: group.state,
    };
    let groups = list_groups(&mut client)?.into_iter();
    let rows: Vec<ListRow> = groups.filter(wanted).map(row).collect();
    print_rows(out, args.output.format, &rows)
}

fn describe(args: &DescribeArgs, out: &mut impl Write) -> Result<(), CliError> {
    let mut client = args.client.connect()?;
    let (described, failures) = each(&args.groups, |name| describe_one(&mut client, name));
    match args.output.format {
        OutputFormat::Json => print_json(out, &described)?,
        OutputFormat::Text if args.members => {
            let rows: Vec<MemberRow> = described.into_iter().flat_map(|d| d.members).collect();
            print_rows(out, OutputFormat::Text, &rows)?;
        }
        OutputFormat::Text => {
            let rows: Vec<PartitionRow> =
                described.into_iter().flat_map(|d| d.partitions).collect();
            print_rows(out, OutputFormat::Text, &rows)?;
        }
    }
    tell(out, failures, args.groups.len())
}

fn describe_one(client: &mut Client, name: &str) -> Result<Description, ClientError> {
    let group = describe_group(client, name)?;
    let positions = positions(client, name)?;
    let mut rows: BTreeMap<(String, i32), PartitionRow> = BTreeMap::new();
    for ((topic, partition), position) in positions {
        let mut row = empty_row(name, &topic, partition);
        row.position = Some(position);
        rows.insert((topic, partition), row);
    }
    let mut members = Vec::with_capacity(group.members.len());
    for member in &group.members {
        let assigned = assigned(&group, member);
        let count = assigned.iter().map(|(_, partitions)| partitions.len()).sum();
        members.push(member_row(name, member, count));
        for (topic, partition) in assigned.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |partition| (topic, *partition))
        }) {
            let row = rows.entry((topic.clone(), partition));
            let row = row.or_insert_with(|| empty_row(name, topic, partition));
            row.member = Some(member.id.clone());
            row.client_id = Some(member.client_id.clone());
            row.host = Some(member.host.clone());
        }
    }
    add_ends(client, &mut rows)?;
    Ok(Description {
        kind: group.kind,
        state: group.state,
        protocol_type: group.protocol_type,
        assignor: group.assignor,
        epoch: group.epoch,
        coordinator: group.coordinator.to_string(),
        members,
        partitions: rows.into_values().collect(),
        group: group.group,
    })
}

/// What a member of `group` has; nothing of members whose protocol is their own.
fn assigned(group: &Group, member: &GroupMember) -> Vec<(String, Vec<i32>)> {
    match &member.assignment {
        MemberAssignment::Partitions(partitions) => partitions.clone(),
        MemberAssignment::Opaque(bytes) if group.protocol_type == CONSUMER_PROTOCOL_TYPE => {
            let parsed = parse_assignment(bytes).unwrap_or_default();
            let named = parsed.partitions.into_iter();
            named.map(|(topic, partitions)| (topic.into_string(), partitions)).collect()
        }
        MemberAssignment::Opaque(_) => Vec::new(),
    }
}

/// Sets ends and lags. A topic that is gone has none.
fn add_ends(
    client: &mut Client,
    rows: &mut BTreeMap<(String, i32), PartitionRow>,
) -> Result<(), ClientError> {
    let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in rows.keys() {
        topics.entry(topic.clone()).or_default().push(*partition);
    }
    for (topic, partitions) in topics {
        let ends = match list_offsets(client, &topic, &partitions, OffsetSpec::End) {
            Err(ClientError::UnknownTopic { .. } | ClientError::UnknownPartition { .. }) => {
                continue;
            }
            ends => ends?,
        };
        for (partition, end) in ends {
            let Some(row) = rows.get_mut(&(topic.clone(), partition)) else { continue };
            row.end = end;
            row.lag = row.position.zip(end).map(|(position, end)| (end - position).max(0));
        }
    }
    Ok(())
}

fn empty_row(group: &str, topic: &str, partition: i32) -> PartitionRow {
    PartitionRow {
        group: group.to_owned(),
        topic: topic.to_owned(),
        partition,
        position: None,
        end: None,
        lag: None,
        member: None,
        client_id: None,
        host: None,
    }
}

fn member_row(group: &str, member: &GroupMember, partitions: usize) -> MemberRow {
    MemberRow {
        group: group.to_owned(),
        member: member.id.clone(),
        instance: member.instance.clone(),
        client_id: member.client_id.clone(),
        host: member.host.clone(),
        partitions,
    }
}

/// What was done, row by row, and why some of it was not.
#[derive(Default)]
struct Report {
    rows: Vec<DoneRow>,
    failures: Vec<String>,
}

impl Report {
    /// Notes what came of deleting a group, or its position in a topic's partition.
    fn note(&mut self, group: &str, at: Option<(&str, Option<i32>)>, done: Result<(), String>) {
        let error = done.err();
        self.rows.push(DoneRow {
            group: group.to_owned(),
            topic: at.map(|(topic, _)| topic.to_owned()),
            partition: at.and_then(|(_, partition)| partition),
            status: if error.is_none() { "deleted" } else { "failed" },
            error: error.clone(),
        });
        self.failures.extend(error);
    }

    fn print(self, format: OutputFormat, out: &mut impl Write) -> Result<(), CliError> {
        print_rows(out, format, &self.rows)?;
        tell(out, self.failures, self.rows.len())
    }
}

fn delete(args: &DeleteArgs, out: &mut impl Write) -> Result<(), CliError> {
    if !args.yes {
        confirm(&format!("delete {} with all positions?", args.groups.join(", ")))?;
    }
    let mut client = args.client.connect()?;
    let mut report = Report::default();
    for group in &args.groups {
        let deleted = delete_group(&mut client, group);
        report.note(group, None, deleted.map_err(|error| error.to_string()));
    }
    report.print(args.output.format, out)
}

fn delete_positions(args: &DeleteOffsetsArgs, out: &mut impl Write) -> Result<(), CliError> {
    if !args.yes {
        let topics: Vec<String> = args.topics.iter().map(ToString::to_string).collect();
        confirm(&format!("delete positions of {} in {}?", args.group, topics.join(", ")))?;
    }
    let mut client = args.client.connect()?;
    describe_group(&mut client, &args.group)?; // a group that is not there has no positions either
    let mut report = Report::default();
    for wanted in &args.topics {
        delete_in_topic(&mut client, &args.group, wanted, &mut report)?;
    }
    report.print(args.output.format, out)
}

/// Deletes the positions that there are. One that was named and is not there is a failure: the
/// coordinator takes it for deleted, and whoever mistyped it would not hear of it.
fn delete_in_topic(
    client: &mut Client,
    group: &str,
    wanted: &TopicPartitions,
    report: &mut Report,
) -> Result<(), ClientError> {
    let topic = wanted.topic.as_str();
    let known: Vec<i32> = positions(client, group)?
        .into_keys()
        .filter(|(name, _)| name == topic)
        .map(|(_, partition)| partition)
        .collect();
    let (there, missing): (Vec<i32>, Vec<i32>) = match &wanted.partitions {
        Some(partitions) => partitions.iter().partition(|partition| known.contains(partition)),
        None => (known, Vec::new()),
    };
    if there.is_empty() && missing.is_empty() {
        let words = format!("group '{group}' has no position in topic '{topic}'");
        report.note(group, Some((topic, None)), Err(words));
        return Ok(());
    }
    for partition in missing {
        let words = format!("group '{group}' has no position in {topic}/{partition}");
        report.note(group, Some((topic, Some(partition))), Err(words));
    }
    if there.is_empty() {
        return Ok(());
    }
    let deleted = delete_offsets(client, group, topic, &there)?;
    for (partition, result) in there.into_iter().zip(deleted) {
        let result = result.map_err(|error| error.to_string());
        report.note(group, Some((topic, Some(partition))), result);
    }
    Ok(())
}
