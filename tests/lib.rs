//! What tests across crates share: subtasks with state of every kind, and checkpoints of them made
//! and restored the way an engine does it, through the real files.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use millpond_checkpoint::driver::{
    CheckpointStorage, JobDescription, KeyedStateSource, SubtaskSnapshot, VertexDescription,
    WriteKeyedState, describe, facts_of,
};
use millpond_checkpoint::plan::{
    CheckpointFact, JobVertex, RestoreOptions, Selection, plan_restore,
};
use millpond_checkpoint::{
    CheckpointHead, CheckpointKind, CheckpointMode, CheckpointToStore, SubtaskMetrics, SubtaskPart,
};
use millpond_snapshot::CheckpointMetadata;
use millpond_state::{
    Aggregate, AggregatingState, AttemptId, BackendContext, BackendFactory, CancelFlag,
    CheckpointId, EntrySink, KeyContext, KeyedBackend, ListState, MapState, MaxParallelism,
    NamespaceContext, ReducingState, SnapshotEntry, SnapshotRequest, SnapshotSummary, SnapshotTask,
    StateDescriptor, StateError, StateOptions, StateTime, SubtaskId, TimeDomain, Timers, Ttl,
    ValueState,
};
use millpond_testkit::entries::{CollectingSink, LogicalState};

/// What can go wrong here.
pub type Fallible<T> = Result<T, Box<dyn Error>>;

/// The vertex whose subtasks the tests play.
pub const VERTEX: &str = "count";

/// The watermark that all clusters have seen.
const EVENT_TIME_MS: i64 = 1_700_000_000_000;

/// Sum and number of inputs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mean;

impl Aggregate for Mean {
    type Input = u64;
    type Accumulator = (u64, u64);
    type Output = u64;

    fn create(&self) -> (u64, u64) {
        (0, 0)
    }

    fn add(&self, accumulator: &mut (u64, u64), input: &u64) {
        accumulator.0 += input;
        accumulator.1 += 1;
    }

    fn merge(&self, accumulator: &mut (u64, u64), other: (u64, u64)) {
        accumulator.0 += other.0;
        accumulator.1 += other.1;
    }

    fn result(&self, accumulator: &(u64, u64)) -> u64 {
        accumulator.0.checked_div(accumulator.1).unwrap_or_default()
    }
}

/// All subtasks of one vertex.
pub struct Cluster {
    backends: Vec<Box<dyn KeyedBackend>>,
    max_parallelism: MaxParallelism,
    time: StateTime,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("parallelism", &self.parallelism()).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Empty subtasks.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn open(
        factory: &dyn BackendFactory,
        max_parallelism: MaxParallelism,
        parallelism: u32,
    ) -> Fallible<Self> {
        let open = |index| {
            let range = max_parallelism.range_of(index, parallelism)?;
            factory.open(&BackendContext::new(VERTEX, range, max_parallelism))
        };
        let backends = (0..parallelism).map(open).collect::<Result<_, _>>()?;
        let time = StateTime::new();
        time.advance_event_ms(EVENT_TIME_MS);
        Ok(Self { backends, max_parallelism, time })
    }

    /// Number of subtasks.
    #[must_use]
    pub fn parallelism(&self) -> u32 {
        u32::try_from(self.backends.len()).unwrap_or(u32::MAX)
    }

    fn owner<K>(&mut self, key: &KeyContext<K>) -> Fallible<&mut dyn KeyedBackend>
    where
        K: millpond_state::codec::HasCodec,
    {
        let index = self.max_parallelism.subtask_of(key.group(), self.parallelism());
        let backend = self.backends.get_mut(index as usize).ok_or("no subtask owns the key")?;
        Ok(backend.as_mut())
    }

    /// Writes state of every kind for `keys` keys. States have content for some keys only; some
    /// entries are written twice and some deleted.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn fill(&mut self, keys: u64) -> Fallible<()> {
        for key in 0..keys {
            let context = KeyContext::new(&key, self.max_parallelism)?;
            let backend = self.owner(&context)?;
            fill_plain(backend, &context, key)?;
            fill_windows(backend, &context, key)?;
        }
        for backend in &mut self.backends {
            fill_expiring(backend.as_mut(), &self.time, keys)?;
            fill_timers(backend.as_mut(), keys)?;
        }
        Ok(())
    }

    /// Takes all timers that are due at `now`: their times and keys, sorted.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn fire(&mut self, now: i64) -> Fallible<Vec<(i64, u64)>> {
        let mut fired = Vec::new();
        for backend in &mut self.backends {
            let mut timers = Timers::<u64>::register(backend.as_mut(), "reminders")?;
            while let Some(timer) = timers.poll(backend.as_mut(), now)? {
                fired.push((timer.time(), timer.key()?));
            }
        }
        fired.sort_unstable();
        Ok(fired)
    }

    /// All subtasks' state together, by the names of states.
    ///
    /// # Errors
    /// What a snapshot reports; if two subtasks have the same entry.
    pub fn contents(&mut self) -> Fallible<LogicalState> {
        let mut all = LogicalState::new();
        for backend in &mut self.backends {
            let mut sink = CollectingSink::new();
            let task = backend.snapshot(&SnapshotRequest::full(CheckpointId::new(u64::MAX)))?;
            task.run(&mut sink, &CancelFlag::new())?;
            for (place, value) in sink.into_snapshot().logical() {
                if all.insert(place, value).is_some() {
                    return Err("two subtasks have the same entry".into());
                }
            }
        }
        Ok(all)
    }

    /// The mean of one key's window, read through a typed state.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn mean(&mut self, key: u64, window: i64) -> Fallible<Option<u64>> {
        let context = KeyContext::new(&key, self.max_parallelism)?;
        let backend = self.owner(&context)?;
        let means = AggregatingState::<u64, Mean, i64>::register(backend, "means", Mean)?;
        let window = NamespaceContext::new(&window)?;
        Ok(means.get(backend, context.within(&window))?)
    }

    /// Takes checkpoint `id` of all subtasks and publishes it.
    ///
    /// # Errors
    /// What a snapshot or the store reports.
    pub fn checkpoint(
        &mut self,
        storage: &CheckpointStorage,
        id: u64,
        compression_level: i32,
    ) -> Fallible<CheckpointMetadata> {
        let (checkpoint, attempt) = (CheckpointId::new(id), AttemptId::new(1));
        let mut parts = Vec::new();
        for (index, backend) in (0..).zip(&mut self.backends) {
            let subtask = SubtaskId::new(VERTEX, index);
            let key_groups = backend.key_groups();
            let task = backend.snapshot(&SnapshotRequest::full(checkpoint))?;
            let write = WriteKeyedState {
                checkpoint,
                attempt,
                subtask: &subtask,
                key_groups,
                compression_level,
            };
            let keyed = storage.write_keyed_state(&write, task, &CancelFlag::new())?;
            let payload = SubtaskSnapshot { keyed: Some(keyed), ..Default::default() };
            let metrics = SubtaskMetrics::default();
            parts.push((subtask, SubtaskPart::Acknowledged { payload, metrics }));
        }
        let head = CheckpointHead {
            id: checkpoint,
            attempt,
            kind: CheckpointKind::Manual,
            target: None,
            triggered_wall_ms: 0,
        };
        let collected = CheckpointToStore { head, acknowledged_after_ms: 0, parts };
        let metadata = describe(&self.job(), &collected, 0)?;
        storage.publish(&metadata).map_err(|failed| failed.error)?;
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
            state_backend: "any".to_owned(),
            mode: CheckpointMode::ExactlyOnce,
            max_parallelism: self.max_parallelism,
            vertices: vec![VertexDescription { name: VERTEX.to_owned(), parallelism }],
        }
    }

    /// Subtasks with the state of the newest whole checkpoint.
    ///
    /// # Errors
    /// If there is none; what reading or the backend reports.
    pub fn restore(
        factory: &dyn BackendFactory,
        storage: &CheckpointStorage,
        max_parallelism: MaxParallelism,
        parallelism: u32,
    ) -> Fallible<Self> {
        let mut cluster = Self::open(factory, max_parallelism, parallelism)?;
        let found = storage.list()?;
        let facts: Vec<CheckpointFact> = found
            .iter()
            .map(|found| match &found.metadata {
                Ok(metadata) => CheckpointFact::Whole(facts_of(metadata)),
                Err(error) => CheckpointFact::Damaged { id: found.id, reason: error.to_string() },
            })
            .collect();
        let job = [JobVertex { name: VERTEX.to_owned(), parallelism, max_parallelism }];
        let options = RestoreOptions { select: Selection::Latest, allow_dropped_state: false };
        let plan = plan_restore(&facts, &job, options)?;
        let chosen = found.into_iter().find(|found| found.id == plan.checkpoint);
        let chosen = chosen.ok_or("the plan names a checkpoint that was not found")?;
        let metadata = chosen.metadata?;
        let old = metadata.vertex(VERTEX).ok_or("the vertex is missing")?;
        let vertex = plan.vertices.first().ok_or("the plan is empty")?;
        for (subtask, backend) in vertex.subtasks.iter().zip(&mut cluster.backends) {
            for part in &subtask.keyed {
                let from = old.subtasks.get(part.from.get() as usize);
                let handle = from.and_then(|from| from.keyed_state.get(part.handle));
                let handle = handle.ok_or("the plan names a missing handle")?.clone();
                let (folder, key_groups) = (chosen.folder.clone(), part.range);
                KeyedStateSource { folder, handle: Arc::new(handle), key_groups }
                    .restore_into(backend.as_mut())?;
            }
        }
        Ok(cluster)
    }
}

/// A value, a list and a map in the void namespace.
fn fill_plain(
    backend: &mut dyn KeyedBackend,
    context: &KeyContext<u64>,
    key: u64,
) -> Result<(), StateError> {
    let totals = ValueState::<u64, u64>::register(backend, "totals")?;
    totals.put(backend, context.at(), &key)?;
    totals.put(backend, context.at(), &(key * 3))?;
    let names = ValueState::<u64, String>::register(backend, "names")?;
    names.put(backend, context.at(), &"n".repeat((key % 40) as usize))?;
    if key.is_multiple_of(7) {
        names.delete(backend, context.at())?;
    }
    let visits = ListState::<u64, String>::register(backend, "visits")?;
    for visit in 0..key % 5 {
        visits.add(backend, context.at(), &format!("visit {visit}"))?;
    }
    let pages = MapState::<u64, String, i64>::register(backend, "pages")?;
    for page in 0..key % 4 {
        pages.put(backend, context.at(), &format!("page {page}"), &-(page as i64))?;
    }
    if key % 4 == 3 {
        pages.remove(backend, context.at(), &"page 1".to_owned())?;
    }
    Ok(())
}

/// Sums and means in windows.
fn fill_windows(
    backend: &mut dyn KeyedBackend,
    context: &KeyContext<u64>,
    key: u64,
) -> Result<(), StateError> {
    let sum = |a: u64, b: u64| a + b;
    let sums = ReducingState::<u64, u64, i64>::register(backend, "sums", sum)?;
    let means = AggregatingState::<u64, Mean, i64>::register(backend, "means", Mean)?;
    for window in -1..(key % 3) as i64 {
        let namespace = NamespaceContext::new(&(window * 3_600_000))?;
        for input in 0..3 {
            sums.add(backend, context.within(&namespace), key + input)?;
            means.add(backend, context.within(&namespace), &(key + input))?;
        }
    }
    Ok(())
}

/// A list for each key of the instance whose elements expire some day.
fn fill_expiring(
    backend: &mut dyn KeyedBackend,
    time: &StateTime,
    keys: u64,
) -> Result<(), StateError> {
    let ttl = Ttl::new(Duration::from_secs(3_600), TimeDomain::Event, time)?;
    let options = StateOptions::new().ttl(ttl);
    let recent = ListState::<u64, u64>::register_with(backend, "recent", options)?;
    for key in 0..keys {
        let context = KeyContext::new(&key, backend.max_parallelism())?;
        if backend.key_groups().contains(context.group()) {
            recent.add_all(backend, context.at(), &[key, key + 1])?;
        }
    }
    Ok(())
}

/// Two timers for each key of the instance.
fn fill_timers(backend: &mut dyn KeyedBackend, keys: u64) -> Result<(), StateError> {
    let mut timers = Timers::<u64>::register(backend, "reminders")?;
    for key in 0..keys {
        let context = KeyContext::new(&key, backend.max_parallelism())?;
        if backend.key_groups().contains(context.group()) {
            timers.add(backend, context.at(), (key % 10) as i64)?;
            timers.add(backend, context.at(), i64::MAX - key as i64)?;
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
