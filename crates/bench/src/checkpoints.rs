//! Checkpoints of a backend without a job: snapshots into a store, by the steps that a runtime
//! takes, so that re-use of files and retention are those of a job.

use std::sync::Arc;
use std::time::Duration;

use millpond_checkpoint::driver::{
    CheckpointFolder, CheckpointStorage, JobDescription, KeyedPart, SharedFiles, SubtaskSnapshot,
    VertexDescription, WriteKeyedState, describe,
};
use millpond_checkpoint::registry::RegistrySettings;
use millpond_checkpoint::{
    CheckpointHead, CheckpointKind, CheckpointMode, CheckpointToStore, SubtaskMetrics, SubtaskPart,
};
use millpond_snapshot::metadata::KeyedStateHandle;
use millpond_state::seam::Clock;
use millpond_state::{
    AttemptId, CancelFlag, CheckpointId, FilesTask, KeyGroupRange, KeyedBackend, SnapshotRequest,
    SnapshotTask, SubtaskId,
};

use crate::backends::max_parallelism;
use crate::error::Result;
use crate::measure::timed;

/// The one vertex.
const VERTEX: &str = "bench";

/// zstd level of checkpoints, a job's default.
pub(crate) const COMPRESSION_LEVEL: i32 = 1;

/// Which form of snapshot is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Everything, in canonical order.
    Full,
    /// What storage does not have yet, in the backend's own files.
    Incremental,
}

impl Form {
    pub(crate) const ALL: [Self; 2] = [Self::Full, Self::Incremental];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Incremental => "incremental",
        }
    }
}

/// The asynchronous part of a snapshot.
pub(crate) enum Task {
    Canonical(Box<dyn SnapshotTask>),
    Files(Box<dyn FilesTask>),
}

/// A snapshot whose synchronous part is done.
pub(crate) struct Frozen {
    pub(crate) task: Task,
    pub(crate) sync: Duration,
    key_groups: KeyGroupRange,
}

/// A snapshot in storage.
pub(crate) struct Written {
    pub(crate) part: KeyedPart,
    pub(crate) took: Duration,
}

impl Written {
    /// Bytes of all files that it consists of.
    pub(crate) fn bytes_total(&self) -> u64 {
        match self.part.handle() {
            KeyedStateHandle::Incremental(handle) => {
                handle.logical_files.iter().map(|file| file.bytes).sum()
            }
            _ => self.part.bytes(),
        }
    }
}

/// The checkpoints of one job, of which the newest is kept.
pub(crate) struct Checkpoints {
    storage: CheckpointStorage,
    shared: SharedFiles,
    backend: &'static str,
    next: CheckpointId,
    newest: Option<CheckpointId>,
}

impl Checkpoints {
    pub(crate) fn open(storage: CheckpointStorage, backend: &'static str) -> Result<Self> {
        let shared = storage.open_shared_files(RegistrySettings::default())?;
        let next = storage.next_id()?;
        Ok(Self { storage, shared, backend, next, newest: None })
    }

    /// Begins a checkpoint.
    pub(crate) fn begin(&mut self) -> Result<CheckpointId> {
        let id = self.next;
        self.next = id.next();
        self.shared.with(|files| files.begin(id, CheckpointKind::Periodic))?;
        Ok(id)
    }

    /// The synchronous part for one instance; `None` if the backend has no such form.
    pub(crate) fn freeze(
        backend: &mut dyn KeyedBackend,
        (id, form): (CheckpointId, Form),
        clock: &dyn Clock,
    ) -> Result<Option<Frozen>> {
        let (sync, task) = timed(clock, || match form {
            Form::Full => {
                backend.snapshot(&SnapshotRequest::full(id)).map(|task| Some(Task::Canonical(task)))
            }
            Form::Incremental => {
                let task = backend.snapshot_files(&SnapshotRequest::incremental(id));
                task.map(|task| task.map(Task::Files))
            }
        })?;
        let key_groups = backend.key_groups();
        Ok(task.map(|task| Frozen { task, sync, key_groups }))
    }

    /// The asynchronous part for one instance, the subtask `index`.
    pub(crate) fn write(
        &self,
        (id, index): (CheckpointId, u32),
        frozen: Frozen,
        clock: &dyn Clock,
    ) -> Result<Written> {
        let subtask = SubtaskId::new(VERTEX, index);
        let write = WriteKeyedState {
            checkpoint: id,
            attempt: AttemptId::new(1),
            subtask: &subtask,
            key_groups: frozen.key_groups,
            compression_level: COMPRESSION_LEVEL,
        };
        let cancel = CancelFlag::new();
        let (took, part) = timed(clock, || match frozen.task {
            Task::Canonical(task) => self.storage.write_keyed_state(&write, task, &cancel),
            Task::Files(task) => {
                self.storage.write_files((&write, self.backend), task, &self.shared, &cancel)
            }
        })?;
        Ok(Written { part, took })
    }

    /// Publishes the checkpoint, tells the instances, and discards the one before.
    pub(crate) fn complete(
        &mut self,
        id: CheckpointId,
        parts: Vec<KeyedPart>,
        backends: &mut [Box<dyn KeyedBackend>],
    ) -> Result<CheckpointFolder> {
        let metadata = describe(&self.job(parts.len())?, &to_store(id, parts), 0)?;
        self.shared.with(|files| files.store(&metadata))?;
        self.storage.publish(&metadata).map_err(|failed| failed.error)?;
        self.shared.with(|files| files.complete(id))?;
        backends.iter_mut().for_each(|backend| backend.checkpoint_completed(id));
        if let Some(older) = self.newest.replace(id) {
            self.shared.with(|files| files.discard(older));
            if self.shared.collect_deletions() {
                self.storage.execute_deletions(&self.shared)?;
            }
        }
        Ok(self.storage.folder(id)?)
    }

    /// Takes a whole checkpoint, one instance after the other; `None` if the backend has no such
    /// form.
    pub(crate) fn take(
        &mut self,
        form: Form,
        backends: &mut [Box<dyn KeyedBackend>],
        clock: &dyn Clock,
    ) -> Result<Option<(CheckpointFolder, Vec<KeyedStateHandle>, u64)>> {
        let id = self.begin()?;
        let (mut parts, mut bytes) = (Vec::new(), 0);
        for (index, backend) in (0..).zip(backends.iter_mut()) {
            let Some(frozen) = Self::freeze(backend.as_mut(), (id, form), clock)? else {
                self.shared.with(|files| files.abort(id));
                return Ok(None);
            };
            let written = self.write((id, index), frozen, clock)?;
            bytes += written.bytes_total();
            parts.push(written.part);
        }
        let handles = parts.iter().map(|part| part.handle().clone()).collect();
        Ok(Some((self.complete(id, parts, backends)?, handles, bytes)))
    }

    fn job(&self, parallelism: usize) -> Result<JobDescription> {
        let parallelism = u32::try_from(parallelism).unwrap_or(u32::MAX);
        Ok(JobDescription {
            name: VERTEX.to_owned(),
            kind: VERTEX.to_owned(),
            state_backend: self.backend.to_owned(),
            mode: CheckpointMode::ExactlyOnce,
            max_parallelism: max_parallelism()?,
            vertices: vec![VertexDescription { name: VERTEX.to_owned(), parallelism }],
        })
    }
}

fn to_store(id: CheckpointId, parts: Vec<KeyedPart>) -> CheckpointToStore<SubtaskSnapshot> {
    let acknowledged = |(index, keyed): (u32, KeyedPart)| {
        let payload = SubtaskSnapshot { keyed: Some(keyed), ..SubtaskSnapshot::default() };
        let metrics = SubtaskMetrics::default();
        (SubtaskId::new(VERTEX, index), SubtaskPart::Acknowledged { payload, metrics })
    };
    CheckpointToStore {
        head: CheckpointHead {
            id,
            attempt: AttemptId::new(1),
            kind: CheckpointKind::Periodic,
            target: None,
            triggered_wall_ms: 0,
        },
        acknowledged_after_ms: 0,
        parts: (0..).zip(parts).map(acknowledged).collect(),
    }
}

/// The storage in a store.
pub(crate) fn storage(store: &Arc<dyn millpond_storage::Store>) -> CheckpointStorage {
    CheckpointStorage::new(Arc::clone(store))
}
