//! What a subtask is given to work with.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crossbeam_channel::{Receiver, Sender};
use millpond_checkpoint::driver::{CheckpointStorage, KeyedStateSource, SharedFiles};
use millpond_checkpoint::{CheckpointKind, CheckpointMode, DeclineReason};
use millpond_state::seam::Clock;
use millpond_state::{
    AttemptId, BackendContext, BackendFactory, CheckpointId, KeyGroupRange, MaxParallelism,
    OperatorState, OperatorStatePart, SnapshotRequest, SubtaskId,
};

use super::control::{Control, JobEvent};
use super::is_sink_list;
use super::runner::SubtaskState;
use super::snapshot::CancelBoard;
use crate::error::{JobError, JobErrorKind, Result};
use crate::threads::PoolHandle;

/// What a subtask starts from.
#[derive(Debug, Default)]
pub(crate) struct SubtaskRestore {
    /// The checkpoint; `None` for the beginning.
    pub(crate) checkpoint: Option<CheckpointId>,
    /// Snapshots of keyed state that overlap the subtask's key groups.
    pub(crate) keyed: Vec<KeyedStateSource>,
    /// What falls to this subtask of each operator state.
    pub(crate) operator_state: Vec<OperatorStatePart>,
    /// Whether the vertex had processed all its input at the checkpoint.
    pub(crate) at_end: bool,
}

/// Everything a subtask reaches outside itself.
#[derive(Clone)]
pub(crate) struct SubtaskEnv {
    pub(crate) id: SubtaskId,
    pub(crate) parallelism: u32,
    pub(crate) max_parallelism: MaxParallelism,
    pub(crate) attempt: AttemptId,
    pub(crate) mode: CheckpointMode,
    pub(crate) batch_records: usize,
    pub(crate) compression_level: i32,
    pub(crate) incremental: bool,
    pub(crate) control: Receiver<Control>,
    pub(crate) events: Sender<JobEvent>,
    pub(crate) pool: PoolHandle,
    pub(crate) cancels: Arc<CancelBoard>,
    pub(crate) storage: Arc<CheckpointStorage>,
    pub(crate) shared: Arc<SharedFiles>,
    pub(crate) backends: Arc<dyn BackendFactory>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Records this vertex has taken in or, for a source, read.
    pub(crate) records: Arc<AtomicU64>,
    /// Records left out because their window had closed.
    pub(crate) late_records: Arc<AtomicU64>,
}

impl SubtaskEnv {
    pub(crate) fn report(&self, event: JobEvent) {
        // Nobody listens any more only when the job is over.
        let _ = self.events.send(event);
    }

    pub(crate) fn decline(&self, checkpoint: CheckpointId, reason: DeclineReason) {
        let subtask = self.id.clone();
        self.report(JobEvent::Declined { checkpoint, subtask, reason });
    }

    /// What a snapshot of keyed state is asked for. Savepoints are canonical, so that they open in
    /// any backend.
    pub(crate) const fn snapshot_request(
        &self,
        checkpoint: CheckpointId,
        kind: CheckpointKind,
    ) -> SnapshotRequest {
        if self.incremental && !kind.is_savepoint() {
            SnapshotRequest::incremental(checkpoint)
        } else {
            SnapshotRequest::full(checkpoint)
        }
    }

    /// The subtask's operator state, with what `restore` has for it.
    pub(crate) fn open_operator_state(&self, restore: &SubtaskRestore) -> Result<OperatorState> {
        // What sinks had prepared was recovered for all subtasks at once; it is made anew.
        let own = restore.operator_state.iter().filter(|part| !is_sink_list(&part.name));
        OperatorState::restore(own.cloned()).map_err(|error| self.cannot_restore(error))
    }

    /// Opens this subtask's state with what `restore` has for it.
    pub(crate) fn open_state(&self, restore: &SubtaskRestore) -> Result<SubtaskState> {
        let key_groups = self.key_groups()?;
        let context = BackendContext::new(&self.id.vertex, key_groups, self.max_parallelism);
        let mut backend = self.backends.open(&context)?;
        for source in &restore.keyed {
            source.restore_into(backend.as_mut()).map_err(|error| {
                let damaged = error.kind() == millpond_checkpoint::ErrorKind::Corrupt;
                let error = self.cannot_restore(error);
                if damaged { error.damaged() } else { error }
            })?;
        }
        Ok(SubtaskState { backend, operator: self.open_operator_state(restore)? })
    }

    fn cannot_restore(&self, error: impl std::error::Error + Send + Sync + 'static) -> JobError {
        let message = format!("cannot restore {}", self.id);
        JobError::new(JobErrorKind::Restore, message).with_source(error)
    }

    pub(crate) fn key_groups(&self) -> Result<KeyGroupRange> {
        Ok(self.max_parallelism.range_of(self.id.index.get(), self.parallelism)?)
    }

    /// Ends a subtask whose neighbour has gone, as `error` says: because the job ends, or because
    /// it failed. What the job has said before it says stop still counts: a last commit may be
    /// among it, and whoever reads it late must not miss it.
    pub(crate) fn outlive_neighbour(
        &self,
        error: JobError,
        mut commit: impl FnMut(CheckpointId) -> Result<()>,
    ) -> Result<()> {
        self.report(JobEvent::Failed(error.context(&self.id)));
        loop {
            match self.control.recv() {
                Ok(Control::Completed { checkpoint, commit: true }) => commit(checkpoint)?,
                Ok(Control::Stop) | Err(_) => return Ok(()),
                Ok(_) => {}
            }
        }
    }

    /// Says that state is restored, then waits for the word to begin; `false` if the job ends
    /// before that.
    pub(crate) fn ready(&self) -> bool {
        self.report(JobEvent::Ready);
        loop {
            match self.control.recv() {
                Ok(Control::Start) => return true,
                Ok(Control::Stop) | Err(_) => return false,
                Ok(_) => {}
            }
        }
    }
}
