//! The end of the process when the environment leaves no honest way on.
//!
//! In:   a reason, in words an operator can act on.
//! Out:  one line on standard error, exit code 1.
//! Not here: errors that a caller can answer; those are typed values.

/// Prints `reason` and ends the process with exit code 1.
///
/// Used where going on would break a promise (storage that failed after an acknowledgement,
/// a metadata log that cannot be written), never for bad input.
pub fn exit(reason: &str) -> ! {
    eprintln!("yeoul: fatal: {reason}");
    std::process::exit(1);
}
