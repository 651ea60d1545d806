//! Integration tests of the formats.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests report by panicking"
)]

mod bit_flips;
mod delta;
mod full;
mod golden;
mod golden_delta;
mod golden_input;
mod golden_kinds;
mod incremental;
mod lies;
mod metadata;
mod random;
mod seal;
mod support;
