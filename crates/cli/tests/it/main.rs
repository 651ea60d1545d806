//! The built command, as a user meets it.
#![allow(clippy::disallowed_methods, reason = "tests wait for processes with a deadline")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests report by panics"
)]
#![allow(clippy::indexing_slicing, reason = "tests report by panics")]

mod bad_input;
mod bench;
mod checkpoint;
mod checkpoint_change;
mod demo;
mod full_disk;
mod kill;
mod nexmark;
mod refusals;
mod run;
mod savepoint;
mod signal;
mod sim;
mod state_backend;
mod storage_gone;
mod support;
mod wordcount;
