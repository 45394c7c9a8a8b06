//! Answers for people and for programs.
//!
//! In:   rows of typed values.
//! Out:  columns with a head (a list of nothing prints the head alone), or one JSON document.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;

use super::args::OutputFormat;
use super::exit::CliError;

/// One row of an answer.
pub trait Row: Serialize {
    /// Names of the columns, in upper case.
    const COLUMNS: &'static [&'static str];

    /// The row's cells, as many as columns.
    fn cells(&self) -> Vec<String>;
}

/// Prints `rows` in `format`.
///
/// Errors: [`CliError::Output`].
pub fn print_rows<R: Row>(
    out: &mut impl Write,
    format: OutputFormat,
    rows: &[R],
) -> Result<(), CliError> {
    match format {
        OutputFormat::Json => print_json(out, &rows),
        OutputFormat::Text => {
            let head = R::COLUMNS.iter().map(|name| (*name).to_owned()).collect();
            let lines: Vec<Vec<String>> =
                std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
            print_columns(out, &lines)
        }
    }
}

/// Prints one JSON document and a line end.
///
/// Errors: [`CliError::Output`].
pub fn print_json<T: Serialize>(out: &mut impl Write, value: &T) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value).expect("our rows have text keys");
    writeln!(out, "{text}")?;
    Ok(())
}

/// Prints lines of cells, each column as wide as its widest cell, two blanks between.
fn print_columns(out: &mut impl Write, lines: &[Vec<String>]) -> Result<(), CliError> {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for line in lines {
        let cells: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// A value, or `-`.
pub fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

/// Asks about each of `names`; those that are not answered do not keep the others from being told.
///
/// Returns the answers and the failures, in the order of the names.
pub fn each<T, E>(names: &[String], mut ask: impl FnMut(&str) -> Result<T, E>) -> (Vec<T>, Vec<E>) {
    let (mut answers, mut failures) = (Vec::new(), Vec::new());
    for name in names {
        match ask(name) {
            Ok(answer) => answers.push(answer),
            Err(error) => failures.push(error),
        }
    }
    (answers, failures)
}

/// Tells each failure on standard error, after what was printed.
///
/// Errors: [`CliError::Partly`] if there is one.
pub fn tell(
    out: &mut impl Write,
    failures: Vec<impl Display>,
    total: usize,
) -> Result<(), CliError> {
    if failures.is_empty() {
        return Ok(());
    }
    out.flush()?;
    for error in &failures {
        let _ = writeln!(io::stderr(), "yeoul: {error}");
    }
    Err(CliError::Partly { failed: failures.len(), total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Pair {
        name: &'static str,
        count: u32,
    }

    impl Row for Pair {
        const COLUMNS: &'static [&'static str] = &["NAME", "COUNT"];

        fn cells(&self) -> Vec<String> {
            vec![self.name.to_owned(), self.count.to_string()]
        }
    }

    fn print(format: OutputFormat, rows: &[Pair]) -> String {
        let mut out = Vec::new();
        print_rows(&mut out, format, rows).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_line_up_and_nothing_prints_the_head() {
        let rows = [Pair { name: "flights", count: 6 }, Pair { name: "x", count: 12 }];
        assert_eq!(print(OutputFormat::Text, &rows), "NAME     COUNT\nflights  6\nx        12\n");
        assert_eq!(print(OutputFormat::Text, &[]), "NAME  COUNT\n");
        assert_eq!(print(OutputFormat::Json, &[]), "[]\n");
        let json: serde_json::Value =
            serde_json::from_str(&print(OutputFormat::Json, &rows)).unwrap();
        assert_eq!(json[1]["count"], 12);
    }
}
