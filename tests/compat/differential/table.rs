//! The table of known differences: `differences.tsv`, a row each, with its reason.
//!
//! Columns: API, versions (`3`, `0-4` or `*`), step, path, Yeoul's value, Kafka's value, reason. In the
//! middle four `*` stands for any text.

use std::cell::Cell;
use std::ops::RangeInclusive;

/// One place where the two answered differently.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    pub api: String,
    pub step: String,
    pub path: String,
    pub yeoul: String,
    pub kafka: String,
    pub version: i16,
}

struct Row {
    api: String,
    versions: RangeInclusive<i16>,
    patterns: [String; 4],
    line: usize,
    used: Cell<bool>,
}

/// The rows.
pub struct Table(Vec<Row>);

impl Table {
    /// Reads the file's text. Errors: a row that is none.
    pub fn read(text: &str) -> Result<Table, String> {
        let rows =
            text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        rows.map(|(at, line)| row(at + 1, line)).collect::<Result<_, _>>().map(Table)
    }

    /// Whether a row explains `difference`.
    pub fn explains(&self, difference: &Difference) -> bool {
        let values = [&difference.step, &difference.path, &difference.yeoul, &difference.kafka];
        let mut rows = self.0.iter().filter(|row| {
            (row.api == "*" || row.api == difference.api)
                && row.versions.contains(&difference.version)
                && row.patterns.iter().zip(values).all(|(pattern, value)| matches(pattern, value))
        });
        let found = rows.next();
        if let Some(row) = found {
            row.used.set(true);
        }
        found.is_some()
    }

    /// Lines whose rows explained nothing.
    pub fn unused(&self) -> Vec<usize> {
        self.0.iter().filter(|row| !row.used.get()).map(|row| row.line).collect()
    }
}

fn row(line: usize, text: &str) -> Result<Row, String> {
    let columns: Vec<&str> = text.split('\t').collect();
    let [api, versions, step, path, yeoul, kafka, reason] = columns[..] else {
        return Err(format!("line {line}: {} columns, not 7", columns.len()));
    };
    if reason.trim().is_empty() {
        return Err(format!("line {line}: no reason"));
    }
    let number = |text: &str| text.parse().map_err(|_| format!("line {line}: no version: {text}"));
    let versions = match versions.split_once('-') {
        _ if versions == "*" => 0..=i16::MAX,
        Some((first, last)) => number(first)?..=number(last)?,
        None => number(versions)?..=number(versions)?,
    };
    let patterns = [step, path, yeoul, kafka].map(str::to_owned);
    Ok(Row { api: api.to_owned(), versions, patterns, line, used: Cell::new(false) })
}

/// Whether `text` is as `pattern`, in which `*` is any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(head) else { return false };
    if rest.is_empty() {
        return true;
    }
    let starts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    starts.into_iter().any(|at| matches(rest, &text[at..]))
}
