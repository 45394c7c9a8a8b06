//! Cluster metadata: commands become records, records become images (tier T2).
//!
//! Home: pure and synchronous; the control thread owns the one current image.
//!
//! A [`commands::Command`] is decided against the current [`image::MetadataImage`] and gives
//! [`record::Record`]s; the records are made durable as one entry of the metadata log, and only
//! then applied, giving the next image. [`delta::Delta`] says what differs between two images.
//! Start-up replays records through the same `apply` that normal service uses.

pub mod alter;
pub mod brokers;
pub mod codec;
pub mod commands;
pub mod create_topics;
pub mod delta;
pub mod features;
mod frozen;
pub mod image;
pub mod placement;
pub mod reassign;
pub mod record;

#[cfg(test)]
mod simulation;
