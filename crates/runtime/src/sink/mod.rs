//! Sinks: where results go, exactly once.
//!
//! A [`Sink`] takes part in checkpoints by two-phase commit:
//! 1. **pre-commit**, at the barrier: what was written so far is closed and made durable under a
//!    name that consumers do not look at. What it takes to commit it (a *committable*) goes into
//!    the snapshot.
//! 2. **commit**, once the checkpoint is complete: the output is made visible. A commit may be
//!    repeated: after a crash it is not known whether it happened.
//!
//! On a restore [`SinkRecovery::recover`] commits again what the checkpoint says was pre-committed,
//! removes what belongs to no checkpoint, and hides what was committed after the checkpoint, since
//! it will be produced again. Output prepared for an aborted checkpoint is kept and goes with the
//! next one: the aborted one may turn out to exist.

mod committable;
mod part_file;

pub use committable::Committable;
pub use part_file::{PartFileFormat, PartFileSink, PartFiles};

use millpond_state::{AttemptId, CheckpointId};

use crate::error::Result;

/// The asynchronous part of a pre-commit: makes output durable and returns the committables of
/// everything that is not known to be committed, that of earlier checkpoints included.
pub type PreCommit = Box<dyn FnOnce() -> Result<Vec<Vec<u8>>> + Send>;

/// One subtask's part of an output. Used by one thread.
pub trait Sink<T>: Send {
    /// Takes a record. It must not become visible before a commit.
    ///
    /// # Errors
    /// What the output reports; the job then fails, and restarts if it may.
    fn write(&mut self, record: &T) -> Result<()>;

    /// Closes what was written since the last call, as part of `checkpoint`. Quick: what takes time
    /// (syncing to disk) belongs into the returned part, which runs on another thread.
    ///
    /// # Errors
    /// As [`Self::write`].
    fn pre_commit(&mut self, checkpoint: CheckpointId) -> Result<PreCommit>;

    /// Makes visible what was pre-committed for `checkpoint` and those before.
    ///
    /// # Errors
    /// As [`Self::write`].
    fn commit(&mut self, checkpoint: CheckpointId) -> Result<()>;
}

/// What a recovery did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecoverySummary {
    /// Outputs that the crash had left uncommitted and that were committed now.
    pub committed: u64,
    /// Leftovers of no checkpoint that were removed.
    pub aborted: u64,
    /// Outputs committed after the restored checkpoint that were hidden.
    pub hidden: u64,
}

/// Brings an output into the state that a checkpoint says it has. Runs alone, before any subtask
/// writes.
pub trait SinkRecovery: Send + Sync {
    /// Recovers to `restored` (`None`: the beginning), of which `committables` are all that its
    /// subtasks had pre-committed.
    ///
    /// # Errors
    /// What the output reports, also if a pre-committed output has gone; the job does not start.
    fn recover(
        &self,
        restored: Option<CheckpointId>,
        committables: &[Vec<u8>],
    ) -> Result<RecoverySummary>;
}

/// Makes the sinks of a vertex's subtasks, anew in every execution attempt.
pub trait SinkFactory<T>: SinkRecovery {
    /// The sink of subtask `subtask`.
    ///
    /// # Errors
    /// What the output reports; the job does not start.
    fn open(&self, attempt: AttemptId, subtask: u32) -> Result<Box<dyn Sink<T>>>;
}
