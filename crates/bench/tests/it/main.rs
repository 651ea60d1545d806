//! The benchmarks as a library, with tiny sizes, on every backend of the build.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests report by panics"
)]

mod job;
mod restore;
mod snapshot;
mod support;
