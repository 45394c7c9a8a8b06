//! The metadata quorum and its publisher (tier T4).
