//! The filesystem backend against its contract, a model, and its bounds.

#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests start threads and stop on errors"
)]

mod batch;
mod conformance;
mod disk_full;
mod golden;
mod limits;
mod model;
mod native;
mod seal;
mod support;
