//! The RocksDB backend against its contract, a model, its memory budget, and full disks.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests start threads and stop on errors"
)]

mod cluster;
mod conformance;
mod damage;
mod disk_full;
mod expiry;
mod folder_files;
mod lists;
mod memory;
mod model;
mod native;
mod rescale;
mod snapshots;
mod support;
