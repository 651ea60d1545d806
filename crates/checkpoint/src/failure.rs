//! Counts failed checkpoints in a row and says when they are too many.
//!
//! Pure. A success resets the count; a failure of a checkpoint older than the last success says
//! nothing about now and is ignored; a checkpoint counts once, however often it is reported.

use std::collections::BTreeSet;

use millpond_state::CheckpointId;

/// Reports about one checkpoint come close together: of so many of the newest counted ones the
/// numbers are remembered. More than twice the most that can be in flight.
const REMEMBERED_MAX: usize = 256;

/// What a failure led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not counted: too old, or counted before.
    Ignored,
    /// Counted and tolerable.
    Tolerated {
        /// Failures in a row with this one.
        consecutive: u32,
    },
    /// More than tolerable.
    Exceeded {
        /// Failures in a row with this one.
        consecutive: u32,
    },
}

/// The count.
#[derive(Clone, Debug, Default)]
pub struct FailureCounter {
    tolerable: Option<u32>,
    consecutive: u32,
    counted: BTreeSet<CheckpointId>,
    last_success: Option<CheckpointId>,
}

impl FailureCounter {
    /// Endures `tolerable` failures in a row; any number if `None`.
    #[must_use]
    pub fn new(tolerable: Option<u32>) -> Self {
        Self { tolerable, ..Self::default() }
    }

    /// Changes how many are endured, from the next failure on.
    pub fn set_tolerable(&mut self, tolerable: Option<u32>) {
        self.tolerable = tolerable;
    }

    /// Failures in a row so far.
    #[must_use]
    pub fn consecutive(&self) -> u32 {
        self.consecutive
    }

    /// A checkpoint completed.
    pub fn record_success(&mut self, checkpoint: CheckpointId) {
        self.last_success = self.last_success.max(Some(checkpoint));
        self.consecutive = 0;
    }

    /// A checkpoint failed.
    pub fn record_failure(&mut self, checkpoint: CheckpointId) -> Verdict {
        if self.last_success.is_some_and(|success| checkpoint <= success)
            || !self.counted.insert(checkpoint)
        {
            return Verdict::Ignored;
        }
        if self.counted.len() > REMEMBERED_MAX {
            self.counted.pop_first();
        }
        self.consecutive = self.consecutive.saturating_add(1);
        let consecutive = self.consecutive;
        match self.tolerable {
            Some(tolerable) if consecutive > tolerable => Verdict::Exceeded { consecutive },
            _ => Verdict::Tolerated { consecutive },
        }
    }

    /// Starts from zero, as after a restart of the job.
    pub fn reset(&mut self) {
        self.consecutive = 0;
    }
}
