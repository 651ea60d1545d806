//! The filesystem backend against its contract, a model, and its bounds.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests start threads and stop on errors"
)]

mod conformance;
mod model;
mod support;
