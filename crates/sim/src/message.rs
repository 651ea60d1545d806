//! What coordinator and subtasks tell each other, and what travels between subtasks.

use std::rc::Rc;

use millpond_checkpoint::driver::SubtaskSnapshot;
use millpond_checkpoint::{CheckpointKind, CheckpointToStore, DeclineReason, StoreEffect};
use millpond_state::{CheckpointId, FilesTask, KeyGroupRange, OperatorStatePart, SnapshotTask};

use crate::output::{Row, TransactionId};

/// From a subtask or from storage to the coordinator.
pub(crate) enum Report {
    Acknowledged { checkpoint: CheckpointId, subtask: usize, payload: Box<SubtaskSnapshot> },
    Declined { checkpoint: CheckpointId, subtask: usize, reason: DeclineReason },
    AtEnd { subtask: usize },
    Stored(CheckpointId),
    StoreFailed(Box<CheckpointToStore<SubtaskSnapshot>>, StoreEffect, String),
    Fenced,
}

impl Report {
    /// A copy, of what may be sent twice.
    pub(crate) fn duplicate(&self) -> Option<Self> {
        Some(match self {
            Self::Acknowledged { checkpoint, subtask, payload } => Self::Acknowledged {
                checkpoint: *checkpoint,
                subtask: *subtask,
                payload: payload.clone(),
            },
            Self::Declined { checkpoint, subtask, reason } => Self::Declined {
                checkpoint: *checkpoint,
                subtask: *subtask,
                reason: reason.clone(),
            },
            Self::AtEnd { subtask } => Self::AtEnd { subtask: *subtask },
            Self::Stored(_) | Self::StoreFailed(..) | Self::Fenced => return None,
        })
    }
}

/// From the coordinator to a subtask.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Control {
    Trigger(CheckpointId, CheckpointKind),
    Completed { checkpoint: CheckpointId, commit: bool },
    Aborted(CheckpointId),
}

/// From a subtask to the next ones.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Element {
    /// A record of the input, or a row of output: only then there is a count.
    Row(Row),
    Barrier(CheckpointId, CheckpointKind),
    Cancelled(CheckpointId),
    EndOfInput,
}

/// What the synchronous part of a snapshot hands over.
pub(crate) struct Frozen {
    pub(crate) checkpoint: CheckpointId,
    pub(crate) keyed: Option<(KeyedTask, KeyGroupRange)>,
    pub(crate) operator_state: Vec<OperatorStatePart>,
    /// Output to be made durable: all that the operator state names.
    pub(crate) transactions: Vec<(TransactionId, Rc<[Row]>)>,
    pub(crate) at_end: bool,
}

pub(crate) enum KeyedTask {
    Canonical(Box<dyn SnapshotTask>),
    Files(Box<dyn FilesTask>),
}
