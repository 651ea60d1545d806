//! Records that do not parse: what they are, and what becomes of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millpond_runtime::{Collector, JobError, JobErrorKind, Result};

use super::defect::Defect;
use super::input::Line;
use crate::args::OnBadRecord;

/// A record that does not parse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadRecord {
    /// Number of its line.
    pub(crate) line: u64,
    /// The column that is wrong.
    pub(crate) column: &'static str,
    /// What is wrong with it.
    pub(crate) reason: String,
    /// The line.
    pub(crate) row: Vec<u8>,
}

/// What parsing a line comes to.
#[derive(Clone, Debug)]
pub(crate) enum Parsed<T> {
    Good(T),
    Bad(BadRecord),
}

impl<T: Clone> Parsed<T> {
    /// The record, if it parsed.
    pub(crate) fn good(&self) -> Option<T> {
        match self {
            Self::Good(record) => Some(record.clone()),
            Self::Bad(_) => None,
        }
    }

    /// The record, if it did not parse.
    pub(crate) fn bad(&self) -> Option<BadRecord> {
        match self {
            Self::Good(_) => None,
            Self::Bad(record) => Some(record.clone()),
        }
    }
}

/// What to do with records that do not parse. Shared by the subtasks of the parser.
#[derive(Clone, Debug)]
pub(crate) struct BadRecords {
    policy: OnBadRecord,
    input: String,
    count: Arc<AtomicU64>,
}

impl BadRecords {
    /// Treats the bad records of the input called `input` as `policy` says.
    pub(crate) fn new(policy: OnBadRecord, input: String) -> Self {
        Self { policy, input, count: Arc::default() }
    }

    /// Bad records met in this run; those replayed after a failure count again.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Does what the policy says with a line that has a defect.
    ///
    /// # Errors
    /// [`JobErrorKind::Input`] if the policy is to fail.
    pub(crate) fn handle<T>(
        &self,
        line: &Line,
        defect: Defect,
        out: &mut dyn Collector<Parsed<T>>,
    ) -> Result<()> {
        let Defect { column, reason } = defect;
        if self.policy == OnBadRecord::Fail {
            let message = format!(
                "{}, line {}, column {column}: {reason}; correct it, or run with --on-bad-record \
                 skip or dead-letter FILE",
                self.input, line.number
            );
            return Err(JobError::new(JobErrorKind::Input, message).permanent());
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        match self.policy {
            OnBadRecord::DeadLetter(_) => {
                let row = line.text.to_vec();
                out.emit(&Parsed::Bad(BadRecord { line: line.number, column, reason, row }))
            }
            _ => Ok(()),
        }
    }
}
