//! Random operation sequences over any backend, compared with the model.
//!
//! A sequence prints as text, one operation a line, and parses again: a failing run is shrunk,
//! saved and replayed for good. The same operations run on the backend and on the model, at the
//! same parallelism; everything either says is rendered as text and must be equal.
//!
//! ```
//! use millpond_testkit::model::ModelFactory;
//! use millpond_testkit::ops;
//!
//! ops::run_model_test(&ModelFactory, 7, 200)?;
//! ops::replay_text(&ModelFactory, "put value k1 n0 v5x3\nsnapshot 1\nfinish 1\nrestore 1 3\n")?;
//! # Ok::<(), millpond_testkit::ops::Failure>(())
//! ```
//!
//! # Failures
//! A [`Failure`] names the operation and what backend and model said, and holds the text of the
//! smallest sequence that still fails. A panic of the backend is a failure too.

mod cluster;
mod generate;
mod op;
mod run;
mod shrink;
mod text;

pub use generate::generate;
pub use op::{Action, Address, Op, Payload, StateChoice};
pub use run::{Failure, history, replay, replay_text, run_model_test};
pub use shrink::shrink;
pub(crate) use text::parse_lines;
pub use text::{ParseOpError, parse, print};

#[cfg(test)]
mod tests;
