//! Checkpoints of a [`Cluster`] in storage, taken and restored as an engine does it.

use std::collections::BTreeMap;
use std::sync::Arc;

use millpond_checkpoint::driver::{
    AttemptLog, CheckpointFolder, CheckpointStorage, JobDescription, KeyedPart, KeyedStateSource,
    LocalCopies, RestoredBytes, SharedFiles, SubtaskSnapshot, VertexDescription, WriteKeyedState,
    describe, facts_of, operator_state_parts,
};
use millpond_checkpoint::plan::{
    CheckpointFact, JobVertex, RestoreOptions, RestorePlan, Selection, plan_restore,
};
use millpond_checkpoint::{
    CheckpointError, CheckpointHead, CheckpointKind, CheckpointMode, CheckpointToStore, ErrorKind,
    SubtaskMetrics, SubtaskPart,
};
use millpond_snapshot::CheckpointMetadata;
use millpond_state::{
    AttemptId, BackendFactory, CancelFlag, CheckpointId, EntrySink, KeyedBackend, MaxParallelism,
    OperatorStatePart, Redistribution, SnapshotEntry, SnapshotRequest, SnapshotSummary,
    SnapshotTask, StateDescriptor, StateError, SubtaskId,
};

use crate::{Cluster, Fallible, VERTEX};

/// How a checkpoint is taken.
#[derive(Clone, Copy)]
pub struct Taking<'a> {
    /// Where to.
    pub storage: &'a CheckpointStorage,
    /// Its number.
    pub id: u64,
    /// zstd level; 0 for no compression.
    pub compression_level: i32,
    /// The registry of an incremental checkpoint; `None` for a full one.
    pub shared: Option<&'a SharedFiles>,
    /// Whether each subtask has operator state too.
    pub operator_state: bool,
    /// The log of the attempt that takes it; `None` in a storage without one.
    pub log: Option<&'a AttemptLog>,
}

impl<'a> Taking<'a> {
    /// A full checkpoint without operator state.
    #[must_use]
    pub const fn full(storage: &'a CheckpointStorage, id: u64) -> Self {
        let (shared, log) = (None, None);
        Self { storage, id, compression_level: 1, shared, operator_state: false, log }
    }

    /// The same in the backend's native form.
    #[must_use]
    pub const fn incremental(mut self, shared: &'a SharedFiles) -> Self {
        self.shared = Some(shared);
        self
    }

    fn attempt(&self) -> AttemptId {
        self.log.map_or(AttemptId::new(1), AttemptLog::id)
    }
}

/// What a restore came to.
#[derive(Debug)]
pub struct Restored {
    /// The subtasks.
    pub cluster: Cluster,
    /// The checkpoint they started from.
    pub checkpoint: u64,
    /// Newer ones that were passed over, and why.
    pub skipped: BTreeMap<CheckpointId, String>,
}

impl Cluster {
    /// Takes full checkpoint `id` of all subtasks and publishes it.
    ///
    /// # Errors
    /// What a snapshot or the store reports.
    pub fn checkpoint(
        &mut self,
        storage: &CheckpointStorage,
        id: u64,
        compression_level: i32,
    ) -> Fallible<CheckpointMetadata> {
        self.take(&Taking { compression_level, ..Taking::full(storage, id) })
    }

    /// Takes a checkpoint of all subtasks and publishes it.
    ///
    /// # Errors
    /// What a snapshot, the store or the registry reports.
    pub fn take(&mut self, taking: &Taking<'_>) -> Fallible<CheckpointMetadata> {
        let id = CheckpointId::new(taking.id);
        if let Some(shared) = taking.shared {
            shared.with(|files| files.begin(id, CheckpointKind::Periodic))?;
        }
        let mut parts = Vec::new();
        for (index, backend) in (0..).zip(&mut self.backends) {
            let subtask = SubtaskId::new(VERTEX, index);
            let keyed = write_keyed(backend.as_mut(), &self.backend_name, &subtask, taking)?;
            let operator_state =
                if taking.operator_state { operator_state(index) } else { Vec::new() };
            let keyed = Some(keyed);
            let payload = SubtaskSnapshot { keyed, operator_state, ..Default::default() };
            let metrics = SubtaskMetrics::default();
            parts.push((subtask, SubtaskPart::Acknowledged { payload, metrics }));
        }
        let head = CheckpointHead {
            id,
            attempt: taking.attempt(),
            kind: CheckpointKind::Manual,
            target: None,
            triggered_wall_ms: 0,
        };
        let collected = CheckpointToStore { head, acknowledged_after_ms: 0, parts };
        let metadata = describe(&self.job(), &collected, 0)?;
        if let Some(shared) = taking.shared {
            shared.with(|files| files.store(&metadata))?;
        }
        let published = match taking.log {
            Some(log) => log.publish(&metadata),
            None => taking.storage.publish(&metadata),
        };
        published.map_err(|failed| failed.error)?;
        if let Some(shared) = taking.shared {
            shared.with(|files| files.complete(id))?;
        }
        for backend in &mut self.backends {
            backend.checkpoint_completed(id);
        }
        Ok(metadata)
    }

    /// Begins checkpoint `id` and cancels it after each subtask has written some entries. Gives how
    /// many subtasks said that they were cancelled.
    ///
    /// # Errors
    /// What a snapshot or the store reports besides.
    pub fn cancel_checkpoint(
        &mut self,
        storage: &CheckpointStorage,
        id: u64,
        entries_before: u64,
    ) -> Fallible<usize> {
        let (checkpoint, attempt) = (CheckpointId::new(id), AttemptId::new(1));
        let mut cancelled = 0;
        for (index, backend) in (0..).zip(&mut self.backends) {
            let cancel = CancelFlag::new();
            let task = backend.snapshot(&SnapshotRequest::full(checkpoint))?;
            let task = CancelAfter { task, cancel: cancel.clone(), entries_before };
            let write = WriteKeyedState {
                checkpoint,
                attempt,
                subtask: &SubtaskId::new(VERTEX, index),
                key_groups: backend.key_groups(),
                compression_level: 0,
            };
            if storage.write_keyed_state(&write, Box::new(task), &cancel).is_err() {
                cancelled += 1;
            }
        }
        Ok(cancelled)
    }

    fn job(&self) -> JobDescription {
        let parallelism = self.parallelism();
        JobDescription {
            name: "test".to_owned(),
            kind: "test".to_owned(),
            state_backend: self.backend_name.clone(),
            mode: CheckpointMode::ExactlyOnce,
            max_parallelism: self.max_parallelism,
            vertices: vec![VertexDescription { name: VERTEX.to_owned(), parallelism }],
        }
    }

    /// Subtasks with the state of the newest checkpoint whose metadata is whole.
    ///
    /// # Errors
    /// If there is none; what reading or the backend reports.
    pub fn restore(
        factory: &dyn BackendFactory,
        storage: &CheckpointStorage,
        max_parallelism: MaxParallelism,
        parallelism: u32,
    ) -> Fallible<Self> {
        let from = From { factory, storage, copies: None, max_parallelism, parallelism };
        let (_, restored) = restore_newest(&from, &BTreeMap::new())?;
        Ok(restored.map_err(|(_, error)| error)?.0)
    }

    /// The same, with files taken from `copies` where those are whole; and how much was.
    ///
    /// # Errors
    /// As [`Self::restore`].
    pub fn restore_with(
        factory: &dyn BackendFactory,
        (storage, copies): (&CheckpointStorage, &Arc<LocalCopies>),
        max_parallelism: MaxParallelism,
        parallelism: u32,
    ) -> Fallible<(Self, RestoredBytes)> {
        let copies = Some(Arc::clone(copies));
        let from = From { factory, storage, copies, max_parallelism, parallelism };
        let (_, restored) = restore_newest(&from, &BTreeMap::new())?;
        Ok(restored.map_err(|(_, error)| error)?)
    }

    /// The same; if it turns out to be damaged, with the state of the one before it, and so on.
    ///
    /// # Errors
    /// If none is whole; what the store or the backend reports besides damage.
    pub fn restore_whole(
        factory: &dyn BackendFactory,
        storage: &CheckpointStorage,
        max_parallelism: MaxParallelism,
        parallelism: u32,
    ) -> Fallible<Restored> {
        let mut damaged = BTreeMap::new();
        let from = From { factory, storage, copies: None, max_parallelism, parallelism };
        loop {
            let (plan, restored) = restore_newest(&from, &damaged)?;
            match restored {
                Ok((cluster, _)) => {
                    let skipped = plan.skipped.into_iter().map(|skip| (skip.id, skip.reason));
                    let (checkpoint, skipped) = (plan.checkpoint.get(), skipped.collect());
                    return Ok(Restored { cluster, checkpoint, skipped });
                }
                Err((id, error)) if error.kind() == ErrorKind::Corrupt => {
                    damaged.insert(id, error.to_string());
                }
                Err((_, error)) => return Err(error.into()),
            }
        }
    }
}

/// The keyed state of one subtask on its way to storage.
fn write_keyed(
    backend: &mut dyn KeyedBackend,
    name: &str,
    subtask: &SubtaskId,
    taking: &Taking<'_>,
) -> Fallible<KeyedPart> {
    let checkpoint = CheckpointId::new(taking.id);
    let write = WriteKeyedState {
        checkpoint,
        attempt: taking.attempt(),
        subtask,
        key_groups: backend.key_groups(),
        compression_level: taking.compression_level,
    };
    if let Some(shared) = taking.shared {
        let task = backend.snapshot_files(&SnapshotRequest::incremental(checkpoint))?;
        let task = task.ok_or("the backend has no native form")?;
        let written = taking.storage.write_files((&write, name), task, shared, &CancelFlag::new());
        return Ok(written?);
    }
    let task = backend.snapshot(&SnapshotRequest::full(checkpoint))?;
    Ok(taking.storage.write_keyed_state(&write, task, &CancelFlag::new())?)
}

/// Operator state of every sort.
fn operator_state(index: u32) -> Vec<OperatorStatePart> {
    let part = |name: &str, redistribution, items: &[&str]| OperatorStatePart {
        name: name.to_owned(),
        redistribution,
        codecs: None,
        items: items.iter().map(|item| format!("{item} of {index}").into_bytes()).collect(),
    };
    vec![
        part("positions", Redistribution::Split, &["first", "second"]),
        part("known", Redistribution::Union, &["all"]),
        part("rules", Redistribution::Broadcast, &["rule"]),
    ]
}

/// What is restored from where.
struct From<'a> {
    factory: &'a dyn BackendFactory,
    storage: &'a CheckpointStorage,
    copies: Option<Arc<LocalCopies>>,
    max_parallelism: MaxParallelism,
    parallelism: u32,
}

/// A restore, or which checkpoint could not be restored and why.
type Attempt = Result<(Cluster, RestoredBytes), (CheckpointId, CheckpointError)>;

/// Restores the newest checkpoint that is not known to be damaged.
fn restore_newest(
    from: &From<'_>,
    damaged: &BTreeMap<CheckpointId, String>,
) -> Fallible<(RestorePlan, Attempt)> {
    let (mut facts, mut whole) = (Vec::new(), BTreeMap::new());
    let From { factory, max_parallelism, parallelism, .. } = *from;
    for found in from.storage.list()? {
        let id = found.id;
        let read = found
            .metadata
            .and_then(|metadata| found.folder.check_present(&metadata).map(|()| metadata));
        facts.push(match (damaged.get(&id), read) {
            (Some(reason), _) => CheckpointFact::Damaged { id, reason: reason.clone() },
            (None, Ok(metadata)) => {
                let fact = CheckpointFact::Whole(facts_of(&metadata));
                whole.insert(id, (found.folder, metadata));
                fact
            }
            (None, Err(error)) if error.kind() == ErrorKind::Corrupt => {
                CheckpointFact::Damaged { id, reason: error.to_string() }
            }
            (None, Err(error)) => return Err(error.into()),
        });
    }
    let job = [JobVertex { name: VERTEX.to_owned(), parallelism, max_parallelism }];
    let options = RestoreOptions { select: Selection::Latest, allow_dropped_state: false };
    let plan = plan_restore(&facts, &job, options)?;
    let chosen = whole.remove(&plan.checkpoint);
    let (folder, metadata) = chosen.ok_or("the plan names a checkpoint that was not found")?;
    let folder = folder.for_restore(from.copies.clone());
    let mut cluster = Cluster::open(factory, max_parallelism, parallelism)?;
    let read = read_planned(&mut cluster, &plan, &folder, &metadata);
    let (id, bytes) = (plan.checkpoint, folder.restored_bytes());
    Ok((plan, read.map(|()| (cluster, bytes)).map_err(|error| (id, error))))
}

/// Reads what `plan` says into the subtasks.
fn read_planned(
    cluster: &mut Cluster,
    plan: &RestorePlan,
    folder: &CheckpointFolder,
    metadata: &CheckpointMetadata,
) -> Result<(), CheckpointError> {
    let missing = || CheckpointError::new(ErrorKind::InvalidArgument, "the plan does not fit");
    let old = metadata.vertex(VERTEX).ok_or_else(missing)?;
    let vertex = plan.vertices.first().ok_or_else(missing)?;
    for (subtask, backend) in vertex.subtasks.iter().zip(&mut cluster.backends) {
        operator_state_parts(old, subtask)?;
        for part in &subtask.keyed {
            let from = old.subtasks.get(part.from.get() as usize);
            let handle = from.and_then(|from| from.keyed_state.get(part.handle));
            let handle = Arc::new(handle.ok_or_else(missing)?.clone());
            let (folder, key_groups) = (folder.clone(), part.range);
            KeyedStateSource { folder, handle, key_groups }.restore_into(backend.as_mut())?;
        }
    }
    Ok(())
}

/// A snapshot's task that is cancelled once it has written some entries.
struct CancelAfter {
    task: Box<dyn SnapshotTask>,
    cancel: CancelFlag,
    entries_before: u64,
}

struct CancellingSink<'a> {
    sink: &'a mut dyn EntrySink,
    cancel: CancelFlag,
    entries_before: u64,
}

impl SnapshotTask for CancelAfter {
    fn run(
        self: Box<Self>,
        sink: &mut dyn EntrySink,
        cancel: &CancelFlag,
    ) -> Result<SnapshotSummary, StateError> {
        let entries_before = self.entries_before;
        if entries_before == 0 {
            self.cancel.cancel();
        }
        let mut sink = CancellingSink { sink, cancel: self.cancel, entries_before };
        self.task.run(&mut sink, cancel)
    }
}

impl EntrySink for CancellingSink<'_> {
    fn begin(&mut self, states: &[StateDescriptor]) -> Result<(), StateError> {
        self.sink.begin(states)
    }

    fn entry(&mut self, entry: &SnapshotEntry<'_>) -> Result<(), StateError> {
        self.entries_before = self.entries_before.saturating_sub(1);
        if self.entries_before == 0 {
            self.cancel.cancel();
        }
        self.sink.entry(entry)
    }
}
