//! The command line, one file a command (tier T5).
//!
//! Standard output is data, standard error is words. Exit codes: 0 ok, 1 failed, 2 usage,
//! 3 partly failed, 5 damaged data, 130 interrupted.

pub mod admin_args;
pub mod args;
pub mod run;
pub mod serve;

pub mod consume;
pub mod group;
pub mod group_lag;
pub mod group_seek;
pub mod log;
pub mod produce;
pub mod start;
pub mod topic;
pub mod version;

pub mod host;
pub mod logging;
pub mod ready_file;
pub mod start_screen;

pub mod confirm;
pub mod exit;
pub mod output;
pub mod record_format;
