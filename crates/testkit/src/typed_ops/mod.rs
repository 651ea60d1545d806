//! Random sequences of typed operations over any backend, compared with plain ordered maps.
//!
//! Where [`ops`](crate::ops) compares bytes with the reference backend, this compares what users
//! see: values, lists, maps, reductions and aggregates in namespaces that merge, timers, state that
//! expires by either clock, sweeps, snapshots that are written out late, crashes, restores at
//! another parallelism, and codecs that change between runs, migrated at once or lazily. The oracle
//! shares no code with backends or typed states.
//!
//! ```
//! use millpond_testkit::model::ModelFactory;
//! use millpond_testkit::typed_ops;
//!
//! typed_ops::run_model_test(&ModelFactory, 7, 60)?;
//! let text = "at 1 0 put 5\nsnapshot 1\nfinish 1\nrestore 1 3 v2 lazy never\ncheck\n";
//! typed_ops::replay_text(&ModelFactory, text)?;
//! # Ok::<(), millpond_testkit::ops::Failure>(())
//! ```
//!
//! # Failures
//! As in [`ops`](crate::ops): a [`Failure`](crate::ops::Failure) with the text of the smallest
//! sequence that still fails.

mod answer;
mod generate;
mod op;
mod oracle;
mod run;
mod states;
mod system;
mod text;

pub use generate::generate;
pub use op::{Access, Expiring, Kind, Op, Place, Program};
pub use run::{replay, replay_text, run_model_test, run_model_test_of_cleaner};
pub use text::{parse, print};

/// What both clocks show at first. They are known: what is written while they are not is stamped by
/// whoever comes by next, which no oracle can foresee.
const PROCESSING_BEGINS_MS: i64 = 1_000_000;
const EVENT_BEGINS_MS: i64 = -500;

#[cfg(test)]
mod tests;
