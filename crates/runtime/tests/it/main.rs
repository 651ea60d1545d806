//! Jobs from end to end on small inputs: what a user of the runtime relies on.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

mod broadcast;
mod checkpoints;
mod clock;
mod clock_jumps;
mod expiry;
mod failures;
mod fixture;
mod gated;
mod incremental;
mod local_recovery;
mod operator_state;
mod part_file_power_loss;
mod savepoints;
mod side_output;
mod stale;
mod subtasks;
mod timers;
mod window_model;
mod windows;
mod windows_by_hand;
