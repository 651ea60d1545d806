//! What the coordinator wants done, in the order given.

use core::fmt;

use millpond_state::{AttemptId, CheckpointId, SubtaskId};

use super::event::{DeclineReason, RequestId, Shutdown};
use super::settings::CheckpointMode;
use super::topology::SubtaskState;
use crate::completed::CompletedCheckpoint;
use crate::pending::CheckpointToStore;

/// Why a checkpoint was taken, which decides its rights.
///
/// | kind | waits for minimum pause | subsumes and is subsumed | retained | failure counts |
/// |---|---|---|---|---|
/// | periodic | yes | yes | last N | yes |
/// | manual | no | yes | last N | yes |
/// | savepoint | no | no | by the user | no: the user hears of it |
/// | final | no | yes | last N | yes |
///
/// All count against the maximum of checkpoints in flight. Waiting for a free place, savepoints go
/// first, then the final checkpoint, then manual requests, each in the order of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CheckpointKind {
    /// By the interval.
    Periodic,
    /// By a user's request.
    Manual,
    /// By a user's request, and the user's to keep.
    Savepoint,
    /// At the end of all input, so that the last output is committed.
    Final,
}

impl CheckpointKind {
    /// Whether it is a savepoint: outside subsumption, retention and failure counting.
    #[must_use]
    pub const fn is_savepoint(self) -> bool {
        matches!(self, Self::Savepoint)
    }
}

impl fmt::Display for CheckpointKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Periodic => "periodic",
            Self::Manual => "manual",
            Self::Savepoint => "savepoint",
            Self::Final => "final",
        })
    }
}

/// What travels with a barrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarrierOptions {
    /// Exactly-once or at-least-once.
    pub mode: CheckpointMode,
    /// Why the checkpoint is taken.
    pub kind: CheckpointKind,
    /// Where a savepoint goes; `None` for the job's own checkpoint storage.
    pub target: Option<String>,
}

/// Where a checkpoint was when its time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Waiting for acknowledgements.
    Collecting,
    /// Fully acknowledged, metadata being published.
    Storing,
}

/// Why a checkpoint came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AbortReason {
    /// A subtask declined.
    Declined {
        /// Who.
        subtask: SubtaskId,
        /// Why.
        reason: DeclineReason,
    },
    /// The timeout passed.
    TimedOut(Phase),
    /// Metadata could not be published.
    StoreFailed(String),
    /// The trigger could not be carried out.
    TriggerFailed(String),
    /// Not even tried: storage still owes an answer for as many abandoned checkpoints as may be in
    /// flight.
    StorageStalled,
    /// A later checkpoint completed first.
    Subsumed {
        /// The later one.
        by: CheckpointId,
    },
    /// A subtask failed, so the job restarts from a completed checkpoint.
    SubtaskFailed(SubtaskId),
    /// The job was told to fail.
    JobFailing,
    /// The job started again.
    Restarted,
    /// The coordinator ended.
    Shutdown(Shutdown),
}

impl AbortReason {
    /// Whether it is a failure of checkpointing itself, which counts towards the tolerable ones,
    /// rather than a consequence of something else.
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        match self {
            Self::Declined { reason, .. } => matches!(reason, DeclineReason::Failed(_)),
            Self::TimedOut(_)
            | Self::StoreFailed(_)
            | Self::TriggerFailed(_)
            | Self::StorageStalled => true,
            Self::Subsumed { .. }
            | Self::SubtaskFailed(_)
            | Self::JobFailing
            | Self::Restarted
            | Self::Shutdown(_) => false,
        }
    }
}

impl fmt::Display for AbortReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declined { subtask, reason: DeclineReason::NotReady } => {
                write!(f, "{subtask} was not ready")
            }
            Self::Declined { subtask, reason: DeclineReason::Cancelled } => {
                write!(f, "{subtask} cancelled its alignment")
            }
            Self::Declined { subtask, reason: DeclineReason::Failed(why) } => {
                write!(f, "{subtask} could not take its snapshot: {why}")
            }
            Self::TimedOut(Phase::Collecting) => {
                f.write_str("timed out before every subtask acknowledged")
            }
            Self::TimedOut(Phase::Storing) => f.write_str("timed out while being stored"),
            Self::StoreFailed(why) => write!(f, "could not be stored: {why}"),
            Self::TriggerFailed(why) => write!(f, "could not be triggered: {why}"),
            Self::StorageStalled => {
                f.write_str("checkpoint storage has not answered for earlier checkpoints")
            }
            Self::Subsumed { by } => write!(f, "checkpoint {by} completed first"),
            Self::SubtaskFailed(subtask) => write!(f, "{subtask} failed"),
            Self::JobFailing => f.write_str("the job is failing"),
            Self::Restarted => f.write_str("the job restarted"),
            Self::Shutdown(how) => write!(f, "the coordinator ended ({how:?})"),
        }
    }
}

/// Why a request was not even tried.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// A subtask does not run.
    NotRunning {
        /// Which.
        subtask: SubtaskId,
        /// Where it is instead.
        state: SubtaskState,
    },
    /// Every subtask has finished: there is nothing left to snapshot.
    AllFinished,
    /// Too many requests wait already.
    QueueFull,
    /// Storage still owes answers for abandoned checkpoints.
    StorageStalled,
    /// The job is failing or restarting.
    JobFailing,
    /// The coordinator has ended.
    Stopped,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestResult {
    /// The checkpoint or savepoint exists.
    Completed(CheckpointId),
    /// It was begun and came to nothing.
    Aborted {
        /// Its number.
        checkpoint: CheckpointId,
        /// Why.
        reason: AbortReason,
    },
    /// It was not begun.
    Refused(Refusal),
}

/// Why files are left in place although this coordinator has no use for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LeaveReason {
    /// A repeated acknowledgement: it may name the very files of the one that was counted.
    Duplicate,
    /// It is unknown whether the checkpoint they belong to exists. It is discarded as a completed
    /// one is, once a later one is complete.
    InDoubt,
    /// Nothing is known about the checkpoint they belong to, and they may be part of one that
    /// another coordinator completed or that this one retains.
    Unexpected,
}

/// Why a completed checkpoint is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DiscardReason {
    /// Newer ones took its place under the retention setting.
    Subsumed,
    /// It had been aborted and was stored after that, or may have been.
    StoredTooLate,
    /// The job ended and the settings retain nothing.
    JobEnded,
}

/// Why the job must fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailJobReason {
    /// Failed checkpoints in a row, more than tolerable.
    pub consecutive_failures: u32,
    /// The last of them.
    pub checkpoint: CheckpointId,
    /// Why that one failed.
    pub cause: AbortReason,
}

/// What is to be done. Actions of one event are in order; carry them out in that order.
#[derive(Debug)]
#[non_exhaustive]
pub enum Action<H> {
    /// Start a checkpoint: reserve what must be reserved (folder, durable id), then have the named
    /// subtasks emit barriers. If reserving fails, send none and report
    /// [`Event::TriggerFailed`](super::Event::TriggerFailed).
    SendBarriers {
        /// The new checkpoint.
        checkpoint: CheckpointId,
        /// The execution attempt it belongs to.
        attempt: AttemptId,
        /// Where barriers enter: unfinished sources, and subtasks whose inputs have all finished.
        /// Empty when every subtask has finished.
        to: Vec<SubtaskId>,
        /// What travels along.
        options: BarrierOptions,
    },
    /// Publish metadata naming everything acknowledged, atomically and only if absent. Answer with
    /// exactly one of [`Event::Stored`](super::Event::Stored) and
    /// [`Event::StoreFailed`](super::Event::StoreFailed), even after an abort of it was announced.
    StoreMetadata(Box<CheckpointToStore<H>>),
    /// Tell every unfinished subtask and every listener that the checkpoint exists.
    NotifyComplete {
        /// What completed.
        completed: CompletedCheckpoint,
        /// Whether listeners may commit what they prepared up to and with this checkpoint. Not for
        /// savepoints: recovery may start before one, and would produce that output again. What
        /// was prepared for a savepoint is committed with the next checkpoint.
        commit: bool,
    },
    /// Tell every unfinished subtask and every listener that the checkpoint came to nothing.
    ///
    /// Listeners must not destroy prepared output because of it: until the next checkpoint
    /// completes, the aborted one may exist in storage (see the module head of
    /// [`machine`](super::machine)) and a restore may begin from it.
    NotifyAborted {
        /// What was aborted.
        checkpoint: CheckpointId,
        /// Why.
        reason: AbortReason,
        /// The newest completed checkpoint, savepoints apart.
        latest_completed: Option<CheckpointId>,
    },
    /// Remove what these payloads name **unless a retained or in-flight checkpoint shares it**: the
    /// payloads are whole, and the executor asks the shared-file registry about every shared file;
    /// exclusive files go in any case.
    DiscardPayloads {
        /// The checkpoint they were written for.
        checkpoint: CheckpointId,
        /// What to remove.
        payloads: Vec<H>,
    },
    /// Leave these payloads' files in place and forget them: a checkpoint that exists may name
    /// them. What no metadata names is found by garbage collection.
    LeavePayloads {
        /// The checkpoint they were written for.
        checkpoint: CheckpointId,
        /// What is left behind.
        payloads: Vec<H>,
        /// Why.
        reason: LeaveReason,
    },
    /// Give up a completed checkpoint: remove its metadata first, then release its files to the
    /// shared-file registry, which removes those that nothing else refers to.
    DiscardCompleted {
        /// Which.
        checkpoint: CheckpointId,
        /// Why.
        reason: DiscardReason,
    },
    /// Fail the job: too many checkpoints in a row failed. Said once until
    /// [`Event::Restarted`](super::Event::Restarted).
    FailJob(FailJobReason),
    /// Answer a request.
    RequestDone {
        /// Which.
        request: RequestId,
        /// How it ended.
        result: RequestResult,
    },
}
