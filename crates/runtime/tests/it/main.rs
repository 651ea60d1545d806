//! Jobs from end to end on small inputs: what a user of the runtime relies on.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

mod checkpoints;
mod failures;
mod fixture;
mod windows;
