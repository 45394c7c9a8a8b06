//! Replicas of this shard: cores and logs introduced to each other (tier T4).
//!
//! Home: each shard has its own table; [`request`] is what crosses the mesh.

pub mod admin;
pub mod append;
pub mod cleaner;
pub mod disk_watch;
pub mod driver;
pub mod fetch;
pub mod housekeeping;
pub mod local;
pub mod markers;
pub mod offsets;
pub mod request;
pub mod scrubber;
pub mod serve;
pub mod table;
pub mod watch;

/// The disk that replicas live on.
pub type Disk = crate::io::real_directory::RealDirectory;
