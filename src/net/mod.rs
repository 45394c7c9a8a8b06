//! Listeners, connections, frames, responses (tier T3).
