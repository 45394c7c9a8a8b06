//! Asking before something is changed for good.

use std::io::{self, IsTerminal, Write};

use super::exit::CliError;

/// Asks on a terminal; without one only `--yes` will do.
///
/// Errors: [`CliError::NeedsYes`] and [`CliError::Declined`].
pub fn confirm(question: &str) -> Result<(), CliError> {
    if !io::stdin().is_terminal() {
        return Err(CliError::NeedsYes);
    }
    let _ = write!(io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    match read {
        Ok(_) if matches!(answer.trim(), "y" | "Y" | "yes") => Ok(()),
        _ => Err(CliError::Declined),
    }
}
