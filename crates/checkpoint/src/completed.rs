//! A checkpoint that exists.

use millpond_state::CheckpointId;

use crate::coordinator::CheckpointKind;

/// A checkpoint whose metadata is published: it can be restored from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletedCheckpoint {
    /// Its number.
    pub id: CheckpointId,
    /// Why it was taken.
    pub kind: CheckpointKind,
    /// Milliseconds since the Unix epoch at its trigger.
    pub triggered_wall_ms: u64,
    /// Milliseconds since the Unix epoch at its completion.
    pub completed_wall_ms: u64,
    /// Bytes that subtasks reported to have written for it.
    pub bytes: u64,
}
