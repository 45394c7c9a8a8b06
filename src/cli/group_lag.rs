//! `yeoul group lag`: how far groups are behind, as the broker measures it.
//!
//! In:   names of groups, or none for all.
//! Out:  a row a partition: records, seconds, and the last hour as a line of blocks.

use std::io::{self, Write};

use clap::Args;

use super::admin_args::AdminArgs;
use super::args::OutputArgs;
use super::exit::CliError;
use super::output::{Row, each, or_dash, print_rows, tell};
use crate::admin::groups::{LagPoint, LagRow};
use crate::client::http::path_step;

/// Options of `yeoul group lag`.
#[derive(Clone, Debug, Args)]
pub struct LagArgs {
    /// Names; by default all groups, without their last hour.
    #[arg(value_name = "GROUP")]
    pub groups: Vec<String>,
    /// Where the broker tells of itself.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Blocks of the last hour's line: five minutes each.
const BLOCKS: usize = 12;
/// From nothing to the most of the hour.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const BLOCK_MS: i64 = 3_600_000 / BLOCKS as i64;

impl Row for LagRow {
    const COLUMNS: &'static [&'static str] =
        &["GROUP", "TOPIC", "PARTITION", "POSITION", "END", "LAG", "SECONDS", "LAST HOUR"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.group.clone(),
            self.topic.clone(),
            self.partition.to_string(),
            self.position.to_string(),
            self.end.to_string(),
            self.lag.to_string(),
            or_dash(self.lag_seconds.map(|seconds| format!("{seconds:.1}"))),
            line(&self.history),
        ]
    }
}

/// Prints lags. Errors: [`CliError`]; some groups may not have been told of.
pub fn run(args: &LagArgs, out: &mut impl Write) -> Result<(), CliError> {
    if args.groups.is_empty() {
        let rows: Vec<LagRow> = args.admin.get("/v1/groups/lag")?;
        return print_rows(out, args.output.format, &rows);
    }
    let mut notes = Vec::new();
    let (answers, failures) = each(&args.groups, |group| -> Result<Vec<LagRow>, CliError> {
        let path = format!("/v1/groups/{}/lag", path_step(group));
        let (rows, left_out) = args.admin.get_most(&path)?;
        notes.extend(left_out.map(|count| {
            format!("group '{group}': {count} partitions that are the least behind are not shown")
        }));
        Ok(rows)
    });
    print_rows(out, args.output.format, &answers.concat())?;
    out.flush()?;
    for note in notes {
        let _ = writeln!(io::stderr(), "yeoul: {note}");
    }
    tell(out, failures, args.groups.len())
}

/// The most of each five minutes as a block, against the most of all; a blank where there is no
/// point, and nothing without history.
fn line(history: &[LagPoint]) -> String {
    let Some(last) = history.last() else { return "-".to_owned() };
    let mut blocks: [Option<u64>; BLOCKS] = [None; BLOCKS];
    for point in history {
        let age = usize::try_from((last.at_ms - point.at_ms) / BLOCK_MS).unwrap_or(0);
        if let Some(block) = BLOCKS.checked_sub(age + 1).and_then(|at| blocks.get_mut(at)) {
            *block = Some(block.map_or(point.lag, |most| most.max(point.lag)));
        }
    }
    let most = blocks.iter().flatten().max().copied().unwrap_or(0).max(1);
    let level = |lag: u64| {
        // 0 is the lowest level alone, the most the highest.
        let steps = (LEVELS.len() - 1) as u64;
        let level = u128::from(lag) * u128::from(steps);
        usize::try_from(level.div_ceil(u128::from(most))).expect("below the number of levels")
    };
    blocks.iter().map(|block| block.map_or(' ', |lag| LEVELS[level(lag)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(minute: i64, lag: u64) -> LagPoint {
        LagPoint { at_ms: 1_000_000 + minute * 60_000, lag, lag_seconds: None }
    }

    #[test]
    fn the_last_hour_is_a_line_of_blocks() {
        assert_eq!(line(&[]), "-");
        assert_eq!(line(&[point(0, 0)]), "           ▁");
        assert_eq!(line(&[point(0, 7), point(30, 1), point(58, 0), point(59, 3)]), "█     ▂    ▄");
        let all: Vec<LagPoint> = (0..60).map(|minute| point(minute, u64::MAX)).collect();
        assert_eq!(line(&all), "█".repeat(BLOCKS));
    }
}
