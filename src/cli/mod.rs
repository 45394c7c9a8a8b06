//! The command line, one file a command (tier T5).
