//! The messages of each API, one file an API, in the words of Kafka's schemas.
//!
//! Produce and Fetch, the hot paths, are in `crate::protocol::produce` and `crate::protocol::fetch`.
//! Ids that are 128 bits wide are topic ids; error codes are plain numbers here, since a peer may send
//! one that is not in our table: compare with `ErrorCode::code`.

pub mod api_versions;
pub mod create_topics;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_topic_partitions;
pub mod find_coordinator;
pub mod init_producer_id;
pub mod list_offsets;
pub mod metadata;
pub mod offset_for_leader_epoch;
