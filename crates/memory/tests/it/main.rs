//! The memory backend against its contract, a model, and its bounds.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests start threads and stop on errors"
)]

mod allocation;
mod bounds;
mod conformance;
mod expiry;
mod incremental;
mod large;
mod model;
mod sizes;
mod snapshots;
mod support;
