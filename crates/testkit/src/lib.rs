//! Conformance suites, models and fault doubles for Millpond state backends and
//! stores.
//!
//! Whoever writes a backend runs the whole suite on it with one line in a test file:
//!
//! ```
//! # use millpond_testkit::model::ModelFactory as MyFactory;
//! millpond_testkit::backend_conformance!(MyFactory);
//! ```
//!
//! `docs/writing-a-backend.md` of the repository goes through it all, with a backend over another
//! embedded store as the example: capabilities, random operations, native snapshots, stores that
//! fail, disks that lose power.
//!
//! - [`conformance::backend`]: one public function for each behaviour of the byte-level contract
//! - [`conformance::storage`]: the same for the contract of stores
//! - [`double`]: stores that fail or lie on purpose
//! - [`model`]: an ordered map as a backend; the oracle of random tests
//! - [`native`]: native snapshots seen as canonical ones, and files in memory
//! - [`ops`]: random operations that print, parse, replay and shrink
//! - [`typed_ops`]: the same for typed states, timers, time to live and migration, against plain
//!   ordered maps
//! - [`entries`]: sinks and sources of snapshot entries in memory
//!
//! # Invariants
//! Nothing here reads a clock or the system's randomness: equal seeds give equal runs. Behaviours
//! never panic; they report a [`Violation`] that names the place of the check.

pub mod conformance;
pub mod double;
pub mod entries;
pub mod model;
pub mod native;
pub mod ops;
mod rng;
pub mod typed_ops;
mod violation;

pub use rng::SplitMix64;
pub use violation::{Verdict, Violation};

/// The guide of `docs/writing-a-backend.md`, whose code is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/writing-a-backend.md")]
pub mod writing_a_backend {}
