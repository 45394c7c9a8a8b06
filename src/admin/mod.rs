//! The admin endpoint on the control thread (tier T5).
