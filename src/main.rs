//! The `yeoul` binary: see `yeoul help`.

use std::process::ExitCode;

use yeoul::cli::run::{StartCall, run};

fn main() -> ExitCode {
    run(start_broker)
}

/// Where the command line hands over to the broker.
fn start_broker(call: StartCall) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    Err(format!("no broker in this build to start with {:?}", call.options.config.data_dir).into())
}
