//! `yeoul version`: which program this is, and on what.

use std::io::Write;

use serde::Serialize;

use super::args::{OutputArgs, OutputFormat};
use super::exit::CliError;
use super::host::HostFacts;
use super::output::print_json;
use crate::config::process::BuildFacts;

#[derive(Serialize)]
struct Version {
    #[serde(flatten)]
    build: BuildFacts,
    kernel: String,
    machine: String,
}

/// Prints the program's facts to `out`.
///
/// Errors: [`CliError::Output`].
pub fn run(args: OutputArgs, out: &mut impl Write) -> Result<(), CliError> {
    let host = HostFacts::read();
    let build = BuildFacts::of_this_program();
    match args.format {
        OutputFormat::Json => {
            print_json(out, &Version { build, kernel: host.kernel, machine: host.machine })
        }
        OutputFormat::Text => {
            writeln!(out, "{}", build_line(&build))?;
            Ok(())
        }
    }
}

/// `yeoul 0.1.0 (a1b2c3d, release)`.
pub fn build_line(build: &BuildFacts) -> String {
    let commit = build.commit.map_or_else(String::new, |commit| format!("{commit}, "));
    format!("{} {} ({commit}{})", build.name, build.version, build.profile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_name_the_version() {
        for format in [OutputFormat::Text, OutputFormat::Json] {
            let mut out = Vec::new();
            run(OutputArgs { format }, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.contains(env!("CARGO_PKG_VERSION")), "{text}");
        }
    }
}
