//! Files, directories, aligned memory and slices of answers (tier T3).
//!
//! `File` and `Directory` are small traits: `storage` is written against them, the broker gives
//! it the real disk, tests give it a simulated one (`crate::testing::disk`).

pub mod directory;
pub mod file;
pub mod real_directory;
pub mod real_file;
pub mod sendfile;
pub mod slice;
