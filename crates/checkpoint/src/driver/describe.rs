//! Metadata from what the coordinator collected, and plain facts from metadata.

use millpond_snapshot::CheckpointMetadata;
use millpond_snapshot::metadata::{
    CheckpointKind as StoredKind, CheckpointMode as StoredMode, SubtaskMetadata, SubtaskStats,
    VertexMetadata,
};
use millpond_state::{MaxParallelism, OperatorStatePart, StateError};

use super::keyed_state::SubtaskSnapshot;
use crate::coordinator::{CheckpointKind, CheckpointMode, SubtaskMetrics};
use crate::error::{CheckpointError, ErrorKind, Result};
use crate::pending::{CheckpointToStore, SubtaskPart};
use crate::plan::{CheckpointFacts, OperatorStateFacts, SubtaskFacts, VertexFacts};

/// What metadata says of a job beside its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobDescription {
    /// The job's name.
    pub name: String,
    /// What sort of job it is.
    pub kind: String,
    /// The state backend's name.
    pub state_backend: String,
    /// What checkpoints guarantee.
    pub mode: CheckpointMode,
    /// Number of key groups.
    pub max_parallelism: MaxParallelism,
    /// The vertices, in the order of the topology.
    pub vertices: Vec<VertexDescription>,
}

/// A vertex of a [`JobDescription`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VertexDescription {
    /// Its stable name.
    pub name: String,
    /// Number of subtasks.
    pub parallelism: u32,
}

/// The metadata of a checkpoint that every subtask acknowledged. `completed_wall_ms` is the time
/// now.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] if subtasks disagree about the schema of a keyed state, or about
/// the redistribution or codecs of an operator state.
pub fn describe(
    job: &JobDescription,
    checkpoint: &CheckpointToStore<SubtaskSnapshot>,
    completed_wall_ms: u64,
) -> Result<CheckpointMetadata> {
    let head = &checkpoint.head;
    let mut vertices = Vec::with_capacity(job.vertices.len());
    for vertex in &job.vertices {
        vertices.push(describe_vertex(job, vertex, checkpoint)?);
    }
    Ok(CheckpointMetadata {
        job_name: job.name.clone(),
        job_kind: job.kind.clone(),
        attempt: head.attempt,
        checkpoint: head.id,
        kind: match head.kind {
            CheckpointKind::Savepoint => StoredKind::Savepoint,
            CheckpointKind::Final => StoredKind::Final,
            CheckpointKind::Periodic | CheckpointKind::Manual => StoredKind::Checkpoint,
        },
        triggered_at_ms: head.triggered_wall_ms,
        completed_at_ms: completed_wall_ms,
        duration_ms: checkpoint.acknowledged_after_ms,
        mode: match job.mode {
            CheckpointMode::ExactlyOnce => StoredMode::ExactlyOnce,
            CheckpointMode::AtLeastOnce => StoredMode::AtLeastOnce,
        },
        state_backend: job.state_backend.clone(),
        max_parallelism: job.max_parallelism,
        vertices,
    })
}

fn describe_vertex(
    job: &JobDescription,
    vertex: &VertexDescription,
    checkpoint: &CheckpointToStore<SubtaskSnapshot>,
) -> Result<VertexMetadata> {
    let mut described = VertexMetadata {
        name: vertex.name.clone(),
        parallelism: vertex.parallelism,
        max_parallelism: job.max_parallelism,
        finished: false,
        states: Vec::new(),
        subtasks: Vec::new(),
    };
    for (subtask, part) in checkpoint.parts.iter().filter(|(id, _)| id.vertex == vertex.name) {
        let mut metadata = SubtaskMetadata::new(subtask.index);
        match part {
            SubtaskPart::Finished => metadata.finished = true,
            SubtaskPart::Acknowledged { payload, metrics } => {
                describe_subtask(payload, *metrics, &mut metadata);
                for state in payload.keyed.iter().flat_map(|keyed| &keyed.states) {
                    described.add_state(state)?;
                }
            }
        }
        described.subtasks.push(metadata);
    }
    super::operator_state::check_same(&described).map_err(|what| {
        let message = format!("subtasks of vertex {:?} disagree: {what}", vertex.name);
        CheckpointError::new(ErrorKind::InvalidArgument, message)
    })?;
    described.finished =
        !described.subtasks.is_empty() && described.subtasks.iter().all(|it| it.finished);
    Ok(described)
}

fn describe_subtask(
    snapshot: &SubtaskSnapshot,
    metrics: SubtaskMetrics,
    metadata: &mut SubtaskMetadata,
) {
    metadata.finished = snapshot.at_end;
    metadata.operator_state.clone_from(&snapshot.operator_state);
    metadata.stats = SubtaskStats {
        sync_us: snapshot.sync_us,
        async_ms: metrics.async_ms,
        alignment_ms: metrics.align_ms,
        entries: 0,
        entries_changed: 0,
        bytes: metrics.bytes,
    };
    if let Some(keyed) = &snapshot.keyed {
        metadata.key_groups = Some(keyed.key_groups);
        metadata.keyed_state = vec![keyed.handle.clone()];
        metadata.stats.entries = keyed.entries;
        metadata.stats.entries_changed = keyed.entries_changed;
    }
}

/// The facts of a checkpoint that restore planning goes by.
#[must_use]
pub fn facts_of(metadata: &CheckpointMetadata) -> CheckpointFacts {
    CheckpointFacts {
        id: metadata.checkpoint,
        kind: match metadata.kind {
            StoredKind::Savepoint => CheckpointKind::Savepoint,
            StoredKind::Final => CheckpointKind::Final,
            _ => CheckpointKind::Periodic,
        },
        vertices: metadata.vertices.iter().map(vertex_facts).collect(),
    }
}

fn vertex_facts(vertex: &VertexMetadata) -> VertexFacts {
    VertexFacts {
        name: vertex.name.clone(),
        max_parallelism: vertex.max_parallelism,
        subtasks: vertex
            .subtasks
            .iter()
            .map(|subtask| SubtaskFacts {
                finished: false,
                keyed: subtask.keyed_state.iter().map(|handle| handle.key_groups()).collect(),
                operator: subtask.operator_state.iter().map(operator_facts).collect(),
            })
            .collect(),
    }
}

fn operator_facts(state: &OperatorStatePart) -> OperatorStateFacts {
    OperatorStateFacts {
        name: state.name.clone(),
        redistribution: state.redistribution,
        items: u32::try_from(state.items.len()).unwrap_or(u32::MAX),
    }
}

/// Sorts a state error by what the caller can do.
pub(super) fn state(error: StateError) -> CheckpointError {
    use millpond_state::ErrorKind as State;
    let kind = match error.kind() {
        State::Corrupt => ErrorKind::Corrupt,
        State::Incompatible => ErrorKind::Incompatible,
        State::InvalidArgument => ErrorKind::InvalidArgument,
        _ => ErrorKind::Storage,
    };
    CheckpointError::new(kind, error.to_string())
}
