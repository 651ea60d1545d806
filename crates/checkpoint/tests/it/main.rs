//! Behaviours of the coordinator and the plans. `C-n` in comments refers to the numbered
//! coordinator behaviours this crate promises.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests report by panicking"
)]

mod acknowledge;
mod end_of_input;
mod engine;
mod failure;
mod files;
mod gc;
mod limits;
mod local_files;
mod log;
mod native_files;
mod notify;
mod offline;
mod offline_rekey;
mod offline_support;
mod operator_state;
mod random;
mod rescale;
mod restore;
mod retention;
mod settings;
mod shared_files;
mod shared_random;
mod shared_storage;
mod shared_world;
mod shutdown;
mod statistics;
mod subsume;
mod timeout;
mod topology;
mod trigger;
