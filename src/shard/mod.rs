//! Executors, mesh, placement, timers, the bridge to the control thread (tier T3).
