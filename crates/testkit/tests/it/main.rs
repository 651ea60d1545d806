//! The suite on the model, and proofs that it catches broken backends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "that is how tests report"
)]

mod broken;
mod broken_path;
mod broken_store;
mod document;
mod double;
mod model;
mod mutants;
