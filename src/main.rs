//! The `yeoul` binary: see `yeoul help`.

fn main() {}
