//! The simulator: the product holds, histories are reproducible, and mistakes are found.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests report by panicking"
)]

mod mistakes;
mod schedules;
mod shrinking;
