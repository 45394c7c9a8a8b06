//! Tests of the real process: the built binary, its files, its sockets.
//!
//! In:   the binary `yeoul`, started on a folder of the test's own and on free ports.
//! Out:  what a client or an operator would see.
//! Home: each test its own process and folder; nothing is left behind.
//!
//! Not here: foreign clients (`scripts/demo.sh`), simulations (the modules' own tests).
#![allow(clippy::disallowed_methods)] // tests read files and clocks as they like

mod admin;
mod broker;
mod compaction;
mod disk_space;
mod exactly_once;
mod faults;
mod fetch_paths;
mod groups;
mod hostile;
mod kill_loop;
mod offsets;
mod read_committed;
mod scrub;
mod settings;
mod transactions;
mod wire;
