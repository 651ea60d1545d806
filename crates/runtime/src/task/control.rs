//! What the job tells its subtasks, and what they tell the job.

use millpond_checkpoint::{CheckpointToStore, DeclineReason, StoreEffect, SubtaskMetrics};
use millpond_state::{CheckpointId, SubtaskId};

use super::snapshot::SubtaskPayload;
use crate::channel::Barrier;
use crate::error::JobError;

/// To a subtask, beside its data.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Control {
    /// All subtasks are restored: begin.
    Start,
    /// To sources: emit a barrier.
    Trigger(Barrier),
    /// To sources: read no more input, stay for the last checkpoint.
    Pause,
    /// A checkpoint is complete; whether to commit what was prepared up to it.
    Completed { checkpoint: CheckpointId, commit: bool },
    /// A checkpoint came to nothing.
    Aborted(CheckpointId),
    /// The clock may have been moved by hand: look at it again.
    ClockMoved,
    /// The job is over: return.
    Stop,
}

/// To the job's coordinator thread.
#[derive(Debug)]
pub(crate) enum JobEvent {
    /// State is restored, the subtask waits for [`Control::Start`].
    Ready,
    /// A source has read all its input, or was paused and has stopped reading.
    AtEnd {
        subtask: SubtaskId,
        /// Whether it was told to stop before it had read everything.
        paused: bool,
    },
    /// A snapshot is durable.
    Acknowledged {
        checkpoint: CheckpointId,
        subtask: SubtaskId,
        payload: Box<SubtaskPayload>,
        metrics: SubtaskMetrics,
    },
    /// A subtask gave a checkpoint up.
    Declined { checkpoint: CheckpointId, subtask: SubtaskId, reason: DeclineReason },
    /// A subtask failed.
    Failed(JobError),
    /// A checkpoint's metadata is published.
    Stored(CheckpointId),
    /// A checkpoint's metadata could not be published.
    StoreFailed {
        checkpoint: Box<CheckpointToStore<SubtaskPayload>>,
        effect: StoreEffect,
        reason: String,
    },
}
