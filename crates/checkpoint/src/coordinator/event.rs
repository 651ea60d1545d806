//! What the coordinator is told.

use std::time::Duration;

use millpond_state::{AttemptId, CheckpointId, SubtaskId};

use super::settings::ValidSettings;
use super::topology::{SubtaskState, Topology};
use crate::pending::CheckpointToStore;

/// The two clocks at the moment of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Monotonic time since a fixed point. Every decision is taken by it. Going back counts as
    /// standing still.
    pub now: Duration,
    /// Milliseconds since the Unix epoch: for people and metadata, never for a decision.
    pub wall_ms: u64,
}

/// A user's request, numbered by whoever answers the user; answered once with this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u64);

impl RequestId {
    /// Wraps a raw number.
    #[must_use]
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The raw number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// What a user asks for. Periodic checkpoints come from [`Event::Tick`] and the final one from the
/// sources' end; neither is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TriggerRequest {
    /// A checkpoint now: an ordinary one, subject to subsumption and retention.
    Manual {
        /// Number to answer under.
        request: RequestId,
    },
    /// A savepoint: a self-contained snapshot that belongs to the user.
    Savepoint {
        /// Number to answer under.
        request: RequestId,
        /// Where it shall be written; passed through to subtasks and storage untouched.
        target: String,
    },
}

impl TriggerRequest {
    /// The number to answer under.
    #[must_use]
    pub fn request(&self) -> RequestId {
        match self {
            Self::Manual { request } | Self::Savepoint { request, .. } => *request,
        }
    }
}

/// What a subtask measured while it took its snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubtaskMetrics {
    /// Time in which the subtask stood still for the snapshot, in milliseconds.
    pub sync_ms: u64,
    /// Time the snapshot took beside processing, in milliseconds.
    pub async_ms: u64,
    /// Time from the first to the last barrier of this checkpoint, in milliseconds.
    pub align_ms: u64,
    /// Bytes written for this checkpoint.
    pub bytes: u64,
}

/// Why a subtask takes no part in a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeclineReason {
    /// Not ready yet, or already ending. Does not count as a failure.
    NotReady,
    /// A newer barrier or a cancellation ended the alignment. Does not count as a failure.
    Cancelled,
    /// The synchronous or the asynchronous part failed, as the text says. Counts as a failure.
    Failed(String),
}

/// Whether a failed store may have taken effect all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreEffect {
    /// The metadata was certainly not published by this attempt.
    DidNotHappen,
    /// The metadata may have been published (an answer was lost).
    MayHaveHappened,
}

/// How a job ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Shutdown {
    /// This process stops, the job goes on elsewhere: discards no completed checkpoint.
    Suspended,
    /// All input processed.
    Finished,
    /// Stopped by the user.
    Cancelled,
    /// Failed for good.
    Failed,
}

/// What happened. `H` is what a subtask acknowledges with: handles to the files it wrote.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<H> {
    /// Time has passed.
    Tick,
    /// A user asks for a checkpoint or savepoint.
    TriggerRequested(TriggerRequest),
    /// A subtask's snapshot is durable.
    Acknowledged {
        /// The checkpoint it belongs to.
        checkpoint: CheckpointId,
        /// Who reports.
        subtask: SubtaskId,
        /// What it wrote.
        payload: H,
        /// What it measured.
        metrics: SubtaskMetrics,
    },
    /// A subtask will not acknowledge. It has removed what it wrote.
    Declined {
        /// The checkpoint it belongs to.
        checkpoint: CheckpointId,
        /// Who reports.
        subtask: SubtaskId,
        /// Why.
        reason: DeclineReason,
    },
    /// Metadata is published and durable: the answer to
    /// [`Action::StoreMetadata`](super::Action::StoreMetadata).
    Stored {
        /// The checkpoint that exists now.
        checkpoint: CheckpointId,
    },
    /// Metadata could not be published: the other answer to
    /// [`Action::StoreMetadata`](super::Action::StoreMetadata). Hands the payloads back.
    StoreFailed {
        /// What was to be stored.
        checkpoint: Box<CheckpointToStore<H>>,
        /// Whether it may exist nevertheless.
        effect: StoreEffect,
        /// What failed.
        reason: String,
    },
    /// Storage or the id counter failed while a trigger was carried out; no barrier was sent.
    TriggerFailed {
        /// The checkpoint whose barriers were to be sent.
        checkpoint: CheckpointId,
        /// What failed.
        reason: String,
    },
    /// A subtask came further.
    SubtaskStateChanged {
        /// Which.
        subtask: SubtaskId,
        /// Where it is now.
        state: SubtaskState,
    },
    /// The job starts again after a failure, perhaps at another parallelism. All subtasks are
    /// [`SubtaskState::Starting`] from here.
    Restarted {
        /// The new execution attempt.
        attempt: AttemptId,
        /// The job graph from now on.
        topology: Topology,
        /// The checkpoint it starts from; `None` for the beginning.
        restored: Option<CheckpointId>,
    },
    /// New settings hold from now on.
    SettingsChanged(ValidSettings),
    /// The coordinator ends.
    Shutdown(Shutdown),
}
