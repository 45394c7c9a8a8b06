//! Settings: one table of keys, typed results for broker and topics (tier T1).
