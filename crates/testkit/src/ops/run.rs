//! Runs sequences on a backend and on the model, side by side.

use core::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use millpond_state::{BackendFactory, Result, StateError};

use super::cluster::Cluster;
use super::generate::generate;
use super::op::Op;
use super::shrink::shrink;
use super::text::{parse, print};
use crate::model::ModelFactory;

/// How a backend and the model came apart.
pub struct Failure {
    step: usize,
    operation: String,
    message: String,
    minimal: Option<String>,
}

impl Failure {
    pub(crate) fn new(
        step: usize,
        operation: impl fmt::Display,
        message: impl Into<String>,
    ) -> Self {
        let operation = operation.to_string();
        Self { step, operation, message: message.into(), minimal: None }
    }

    /// The same with the text of a small sequence that fails.
    #[must_use]
    pub(crate) fn with_minimal(mut self, minimal: String) -> Self {
        self.minimal = Some(minimal);
        self
    }

    /// The text of the smallest failing sequence that was found, if one was looked for.
    #[must_use]
    pub fn minimal(&self) -> Option<&str> {
        self.minimal.as_deref()
    }

    /// What backend and model said.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operation {} ({:.200}): {}", self.step, self.operation, self.message)?;
        match &self.minimal {
            Some(minimal) => {
                write!(f, "\nsmallest failing sequence, to be saved as it is:\n{minimal}")
            }
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for Failure {}

/// Generates `op_count` operations from `seed` and compares the backend with the model on them.
///
/// # Errors
/// The first difference, with the smallest sequence that still shows one.
pub fn run_model_test(
    factory: &dyn BackendFactory,
    seed: u64,
    op_count: usize,
) -> core::result::Result<(), Failure> {
    let ops = generate(seed, op_count);
    let Err(first) = replay(factory, &ops) else {
        return Ok(());
    };
    let until_failure = ops.get(..=first.step).unwrap_or(&ops);
    let minimal = shrink(until_failure, &mut |ops| replay(factory, ops).is_err());
    let mut failure = replay(factory, &minimal).err().unwrap_or(first);
    failure.minimal = Some(format!("# seed {seed}\n{}", print(&minimal)));
    Err(failure)
}

/// Compares a backend with the model on a saved sequence.
///
/// # Errors
/// The first difference, or the first line that is no operation.
pub fn replay_text(factory: &dyn BackendFactory, text: &str) -> core::result::Result<(), Failure> {
    let ops = parse(text).map_err(|error| Failure::new(0, "parse", error.to_string()))?;
    replay(factory, &ops)
}

/// Compares a backend with the model on a sequence.
///
/// # Errors
/// The first difference; an error or panic of the backend is one.
pub fn replay(factory: &dyn BackendFactory, ops: &[Op]) -> core::result::Result<(), Failure> {
    let mut step = 0;
    // A backend that panicked is not used again: it is dropped with its cluster.
    let run = catch_unwind(AssertUnwindSafe(|| compare(factory, ops, &mut step)));
    run.unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        let operation = ops.get(step).map(ToString::to_string).unwrap_or_default();
        Err(Failure::new(step, operation, format!("the backend panicked: {text}")))
    })
}

fn compare(
    factory: &dyn BackendFactory,
    ops: &[Op],
    step: &mut usize,
) -> core::result::Result<(), Failure> {
    let on_open = |error: StateError| Failure::new(0, "open", error.to_string());
    let mut backend = Cluster::open(factory).map_err(on_open)?;
    let mut model = Cluster::open(&ModelFactory).map_err(on_open)?;
    for (index, op) in ops.iter().enumerate() {
        *step = index;
        let expected = rendered(model.apply(op));
        let found = rendered(backend.apply(op));
        if found != expected {
            return Err(Failure::new(index, op, first_difference(&found, &expected)));
        }
    }
    Ok(())
}

/// Runs a sequence on one backend and gives what each operation rendered: histories of any two
/// backends, or of one under different settings, must be equal.
///
/// # Errors
/// What the backend reports and should not.
pub fn history(factory: &dyn BackendFactory, ops: &[Op]) -> Result<Vec<String>> {
    let mut cluster = Cluster::open(factory)?;
    ops.iter().map(|op| cluster.apply(op)).collect()
}

fn rendered(result: Result<String>) -> String {
    result.unwrap_or_else(|error| format!("failed: {error}"))
}

fn first_difference(found: &str, expected: &str) -> String {
    let mut expected_lines = expected.lines();
    let mut found_lines = found.lines();
    loop {
        let (found, expected) = (found_lines.next(), expected_lines.next());
        if found != expected || found.is_none() {
            let shown = |line: Option<&str>| format!("{:.400}", line.unwrap_or("(nothing)"));
            return format!("the backend says {}, the model {}", shown(found), shown(expected));
        }
    }
}
