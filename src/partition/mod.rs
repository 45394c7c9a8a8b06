//! One replica's rules: append, watermarks, epochs, producers (tier T2).
