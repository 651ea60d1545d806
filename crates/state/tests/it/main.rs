//! Typed state over the reference backend: time to live, migrations, merging, rules of access.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod access_rules;
mod evolution;
mod failing;
mod merge;
mod migration;
mod migration_random;
mod support;
mod sweep;
mod ttl;
mod ttl_random;
