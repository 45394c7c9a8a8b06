//! `yeoul group seek`: a group is moved while it runs.
//!
//! In:   where to, and in which topics and partitions.
//! Out:  a row a partition: from where to where, what is read again and what is skipped.
#![allow(clippy::disallowed_methods)] // reads the wall clock for times such as @-1h

use std::fmt;
use std::io::Write;
use std::str::FromStr;

use clap::Args;

use super::admin_args::AdminArgs;
use super::args::{OutputArgs, OutputFormat};
use super::confirm::confirm;
use super::consume::{OffsetError, parse_time};
use super::exit::CliError;
use super::output::{Row, or_dash, print_json, print_rows};
use crate::admin::groups::{MoveRow, SeekAnswer, SeekBody, To, TopicBody};
use crate::client::http::path_step;

/// Options of `yeoul group seek`.
#[derive(Clone, Debug, Args)]
pub struct SeekArgs {
    /// Name of the group.
    pub group: String,
    /// Where to: start, end, an offset, @TIME, or -N: so many records before where the group is.
    #[arg(long, allow_hyphen_values = true)]
    pub to: String,
    /// A topic, or partitions of it (TOPIC:0,1); may be repeated. By default every partition of
    /// the topics in which the group has a position.
    #[arg(short, long = "topic", value_name = "TOPIC[:LIST]")]
    pub topics: Vec<TopicPartitions>,
    /// Show what would be read again, and move nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
    /// Where the broker is moved from.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A topic, and which of its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPartitions {
    /// Its name.
    pub topic: String,
    /// The partitions; none: all.
    pub partitions: Option<Vec<i32>>,
}

impl FromStr for TopicPartitions {
    type Err = String;

    fn from_str(text: &str) -> Result<TopicPartitions, String> {
        let refused = || format!("'{text}': expected TOPIC, or TOPIC:0,1");
        let (topic, partitions) = match text.split_once(':') {
            None => (text, None),
            Some((topic, list)) => {
                let index = |text: &str| text.trim().parse::<i32>().ok().filter(|n| 0 <= *n);
                let list: Option<Vec<i32>> = list.split(',').map(index).collect();
                (topic, Some(list.ok_or_else(refused)?))
            }
        };
        match topic.is_empty() {
            true => Err(refused()),
            false => Ok(TopicPartitions { topic: topic.to_owned(), partitions }),
        }
    }
}

impl fmt::Display for TopicPartitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.topic)?;
        let Some(partitions) = &self.partitions else { return Ok(()) };
        let list: Vec<String> = partitions.iter().map(ToString::to_string).collect();
        write!(f, ":{}", list.join(","))
    }
}

impl Row for MoveRow {
    const COLUMNS: &'static [&'static str] =
        &["TOPIC", "PARTITION", "FROM", "TO", "END", "AGAIN", "SKIPPED"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.topic.clone(),
            self.partition.to_string(),
            or_dash(self.from),
            self.to.to_string(),
            self.end.to_string(),
            self.again.to_string(),
            self.skipped.to_string(),
        ]
    }
}

/// Moves a group, or shows what would move. Errors: [`CliError`]; nothing has moved.
pub fn run(args: &SeekArgs, out: &mut impl Write) -> Result<(), CliError> {
    let topic = |topic: &TopicPartitions| TopicBody {
        topic: topic.topic.clone(),
        partitions: topic.partitions.clone(),
    };
    let mut body = SeekBody {
        to: parse_to(&args.to, jiff::Timestamp::now())?,
        topics: (!args.topics.is_empty()).then(|| args.topics.iter().map(topic).collect()),
        dry_run: true,
    };
    let path = format!("/v1/groups/{}/seek", path_step(&args.group));
    if !args.dry_run && !args.yes {
        let plan: SeekAnswer = args.admin.post(&path, &body)?;
        let (again, skipped) = sums(&plan);
        let (count, members) = (plan.moves.len(), plan.members);
        confirm(&format!(
            "move {} in {count} partitions: {again} read again, {skipped} skipped, {members} \
             members rejoin?",
            args.group
        ))?;
    }
    body.dry_run = args.dry_run;
    let done: SeekAnswer = args.admin.post(&path, &body)?;
    match args.output.format {
        OutputFormat::Json => print_json(out, &done),
        OutputFormat::Text => print_rows(out, OutputFormat::Text, &done.moves),
    }
}

fn sums(plan: &SeekAnswer) -> (u64, u64) {
    let sum = |of: fn(&MoveRow) -> u64| plan.moves.iter().map(of).fold(0, u64::saturating_add);
    (sum(|row| row.again), sum(|row| row.skipped))
}

fn parse_to(text: &str, now: jiff::Timestamp) -> Result<To, CliError> {
    let is_count = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let count = |text: &str| text.parse::<i64>().ok().filter(|_| is_count(text));
    let to = match text {
        "start" | "beginning" | "earliest" => Some(To::Start),
        "end" | "latest" => Some(To::End),
        _ => match (text.strip_prefix('@'), text.strip_prefix('-')) {
            (Some(time), _) => parse_time(time, now).map(To::TimeMs),
            (None, Some(back)) => count(back).map(To::Back),
            (None, None) => count(text).map(To::Offset),
        },
    };
    to.ok_or_else(|| {
        CliError::Offset(OffsetError {
            option: "--to",
            text: text.to_owned(),
            counts: "N, -N (records back)",
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_consume_reads_them() {
        let now = jiff::Timestamp::from_millisecond(10_000_000).expect("a time");
        let check = |text: &str, expected: To| {
            assert_eq!(parse_to(text, now).expect(text), expected, "{text}");
        };
        check("start", To::Start);
        check("latest", To::End);
        check("70", To::Offset(70));
        check("-70", To::Back(70));
        check("@70", To::TimeMs(70));
        check("@-1h", To::TimeMs(10_000_000 - 3_600_000));
        for bad in ["", "middle", "--1", "+1", "-", "@", "@soon", "1.5"] {
            let error = parse_to(bad, now).expect_err(bad);
            assert!(error.to_string().starts_with(&format!("--to '{bad}': expected")), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
    }

    #[test]
    fn topics_are_read_with_their_partitions() {
        let read = |text: &str| text.parse::<TopicPartitions>();
        let some =
            |topic: &str, partitions| Ok(TopicPartitions { topic: topic.to_owned(), partitions });
        assert_eq!(read("t"), some("t", None));
        assert_eq!(read("t:0,2"), some("t", Some(vec![0, 2])));
        assert_eq!(read("t:0,2").map(|topic| topic.to_string()), Ok("t:0,2".to_owned()));
        for bad in ["", ":0", "t:", "t:a", "t:-1", "t:0,"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
