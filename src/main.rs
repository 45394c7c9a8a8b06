//! The `yeoul` binary: see `yeoul help`.

use std::process::ExitCode;

use yeoul::cli::run::run;
use yeoul::cli::serve::start_broker;

fn main() -> ExitCode {
    run(start_broker)
}
