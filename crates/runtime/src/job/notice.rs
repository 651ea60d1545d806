//! What a job tells about itself while it runs.

use std::time::Duration;

use millpond_checkpoint::driver::RestoredBytes;
use millpond_checkpoint::{AbortReason, CheckpointKind};
use millpond_state::CheckpointId;

use crate::error::JobError;
use crate::sink::RecoverySummary;

/// Something worth telling a person.
#[derive(Debug)]
#[non_exhaustive]
pub enum JobNotice<'a> {
    /// A checkpoint that was to be restored is damaged; an older one is tried.
    SkippedDamaged {
        /// Which.
        checkpoint: CheckpointId,
        /// What is wrong: file, offset, key group.
        reason: &'a str,
    },
    /// There is no checkpoint yet: the job starts at the beginning though told to restore.
    NothingToRestore,
    /// State was restored.
    Restored {
        /// From which checkpoint.
        checkpoint: CheckpointId,
        /// Name of the backend that had written it.
        written_by: &'a str,
        /// When it had been completed, in milliseconds since 1970: what came after is done again.
        completed_wall_ms: u64,
        /// Where its files were read.
        bytes: RestoredBytes,
    },
    /// A local copy of a checkpoint's file is damaged: the file is read from checkpoint storage.
    LocalCopyDamaged {
        /// The copy.
        file: &'a str,
        /// What is wrong with it.
        reason: &'a str,
    },
    /// Local copies cannot be written: checkpoints go on without. Said once.
    NoLocalCopies {
        /// Why.
        reason: &'a str,
    },
    /// An output was brought into the state of the restored checkpoint.
    OutputRecovered {
        /// Name of the sink.
        sink: &'a str,
        /// What was done.
        summary: RecoverySummary,
    },
    /// All subtasks run.
    Running,
    /// A checkpoint is complete.
    CheckpointCompleted {
        /// Which.
        checkpoint: CheckpointId,
        /// Why it was taken.
        kind: CheckpointKind,
        /// From its trigger to its completion.
        duration: Duration,
        /// Bytes of state written.
        bytes: u64,
    },
    /// A checkpoint came to nothing; the job goes on.
    CheckpointAborted {
        /// Which.
        checkpoint: CheckpointId,
        /// Why.
        reason: &'a AbortReason,
    },
    /// A file that is not needed any more could not be deleted; it stays as garbage.
    CleanupFailed {
        /// What was being cleaned up.
        checkpoint: CheckpointId,
        /// Why it failed.
        reason: &'a str,
    },
    /// A source has read all its input.
    EndOfInput,
    /// The job failed and starts again.
    Restarting {
        /// Why it failed.
        error: &'a JobError,
        /// The pause before.
        pause: Duration,
    },
}

/// Hears of what happens to a job. Called on the job's thread and on its snapshot threads: be
/// quick.
pub trait JobListener: Send + Sync {
    /// Takes a notice.
    fn on_notice(&self, notice: &JobNotice<'_>);
}

/// A listener that ignores everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct QuietListener;

impl JobListener for QuietListener {
    fn on_notice(&self, _notice: &JobNotice<'_>) {}
}
