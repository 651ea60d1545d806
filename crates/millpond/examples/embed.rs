//! An engine of its own on Millpond's state: own threads, own channels, own barriers. Only the
//! state, memory, snapshot, storage and checkpoint parts are used, not the runtime.
//!
//! Two sources count up and send numbers to workers by key group; workers count each key. Half way
//! a checkpoint is taken, then the engine dies. It starts again from the checkpoint with another
//! number of workers, runs to its end, and every number was counted exactly once.
//!
//! ```text
//! coordinator (main thread)    events in, actions out
//!   | barriers      ^ acknowledgements
//! sources 0, 1 ----> workers 0..p     each worker aligns the barriers of both sources
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use millpond::checkpoint::driver::{
    CheckpointStorage, JobDescription, KeyedStateSource, SubtaskSnapshot, VertexDescription,
    WriteKeyedState, describe, facts_of, operator_state_parts,
};
use millpond::checkpoint::plan::{
    CheckpointFact, JobVertex, RestoreOptions, RestorePlan, Selection, plan_restore,
};
use millpond::checkpoint::{
    Action, CheckpointMode, CheckpointToStore, Coordinator, CoordinatorSettings, CoordinatorStart,
    Event, Exchange, InputSpec, Moment, RequestId, SubtaskMetrics, SubtaskState, Topology,
    TriggerRequest, VertexSpec,
};
use millpond::snapshot::CheckpointMetadata;
use millpond::state::OperatorState;
use millpond::state::seam::{Clock, SystemClock};
use millpond::{
    AttemptId, CancelFlag, CheckpointId, KeyContext, KeyedBackend, LocalStore, MaxParallelism,
    MemoryBackend, MemoryOptions, SnapshotRequest, SubtaskId, ValueState,
};

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

const SOURCES: u32 = 2;
const NUMBERS_PER_SOURCE: u64 = 20_000;
const KEYS: u64 = 100;

/// What sources send to workers, in band.
#[derive(Clone, Copy)]
enum Message {
    Number(u64),
    Barrier(CheckpointId),
}

/// What subtasks tell the coordinator.
enum Report {
    HalfWay,
    AtEnd(SubtaskId),
    Acknowledged(CheckpointId, SubtaskId, Box<SubtaskSnapshot>),
    Failed(String),
    Counts(BTreeMap<u64, u64>),
}

/// What the coordinator tells sources. Workers end when their sources are gone.
enum Order {
    Trigger(CheckpointId),
    Stop,
}

/// Where a subtask starts.
#[derive(Default)]
struct Restored {
    keyed: Vec<KeyedStateSource>,
    operator: OperatorState,
}

/// The parts that all threads share.
#[derive(Clone)]
struct Engine {
    storage: CheckpointStorage,
    max_parallelism: MaxParallelism,
    workers: u32,
    attempt: AttemptId,
}

fn main() -> Fallible<()> {
    let folder = tempfile::tempdir()?;
    let counts = crash_and_restore(folder.path())?;
    let total: u64 = counts.values().sum();
    assert_eq!(total, u64::from(SOURCES) * NUMBERS_PER_SOURCE);
    Ok(())
}

/// Runs with 2 workers until a checkpoint is complete, dies, and goes on with 3.
fn crash_and_restore(folder: &Path) -> Fallible<BTreeMap<u64, u64>> {
    let engine = |workers, attempt| -> Fallible<Engine> {
        let storage = CheckpointStorage::new(Arc::new(LocalStore::create(folder)?));
        let max_parallelism = MaxParallelism::new(64)?;
        Ok(Engine { storage, max_parallelism, workers, attempt: AttemptId::new(attempt) })
    };
    let first = engine(2, 1)?.run(true)?;
    assert_eq!(first, None, "the first attempt dies before its end");
    engine(3, 2)?.run(false)?.ok_or_else(|| "the second attempt did not end".into())
}

impl Engine {
    /// Runs one attempt from the newest checkpoint, if there is one. With `die` it ends as soon as
    /// a checkpoint is complete, and everything in memory is lost.
    fn run(&self, die: bool) -> Fallible<Option<BTreeMap<u64, u64>>> {
        let restored = self.plan()?;
        let (reports, inbox) = channel();
        let (mut to_workers, mut to_sources) = (Vec::new(), Vec::new());
        let mut threads = Vec::new();
        for index in 0..self.workers {
            let (sender, receiver) = sync_channel(256);
            to_workers.push(sender);
            let start = self.restored_subtask(restored.as_ref(), "worker", index)?;
            let (engine, reports) = (self.clone(), reports.clone());
            threads.push(thread::Builder::new().spawn(move || {
                let result = engine.work(index, start, &receiver, &reports);
                tell_failure(&reports, result);
            })?);
        }
        for index in 0..SOURCES {
            let (orders, receiver) = channel();
            to_sources.push(orders);
            let start = self.restored_subtask(restored.as_ref(), "source", index)?;
            let (engine, reports, workers) = (self.clone(), reports.clone(), to_workers.clone());
            threads.push(thread::Builder::new().spawn(move || {
                let result = engine.read(index, start.operator, &receiver, &workers, &reports);
                tell_failure(&reports, result);
            })?);
        }
        drop((to_workers, reports));
        let ended = self.coordinate(die, restored.as_ref(), &to_sources, &inbox)?;
        for orders in &to_sources {
            orders.send(Order::Stop)?;
        }
        let counts = collect_counts(&inbox)?;
        for thread in threads {
            thread.join().map_err(|_| "a thread panicked")?;
        }
        Ok(ended.then_some(counts))
    }

    /// A source: numbers from its offset on, to the worker that owns the number's key group.
    fn read(
        &self,
        index: u32,
        mut state: OperatorState,
        orders: &Receiver<Order>,
        workers: &[SyncSender<(u32, Message)>],
        reports: &Sender<Report>,
    ) -> Fallible<()> {
        let subtask = SubtaskId::new("source", index);
        let offsets = state.split_list::<u64>("offset")?;
        let mut offset = offsets.get(&state)?.pop().unwrap_or(0);
        let mut end_said = false;
        loop {
            let at_end = offset == NUMBERS_PER_SOURCE;
            // Said in every attempt: it may have been restored at its end.
            if at_end && !std::mem::replace(&mut end_said, true) {
                reports.send(Report::AtEnd(subtask.clone()))?;
            }
            let order = if at_end { orders.recv().ok() } else { orders.try_recv().ok() };
            match order {
                Some(Order::Stop) => return Ok(()),
                None if at_end => return Ok(()),
                Some(Order::Trigger(checkpoint)) => {
                    // The barrier goes between two records, on every channel; the offset is
                    // exactly what was sent before it.
                    for worker in workers {
                        worker.send((index, Message::Barrier(checkpoint)))?;
                    }
                    offsets.replace(&mut state, [&offset])?;
                    let operator_state = state.snapshot().run(&CancelFlag::new())?;
                    let snapshot = SubtaskSnapshot { operator_state, at_end, ..Default::default() };
                    let subtask = subtask.clone();
                    reports.send(Report::Acknowledged(checkpoint, subtask, Box::new(snapshot)))?;
                }
                None => {
                    let number = offset * u64::from(SOURCES) + u64::from(index);
                    let key = KeyContext::new(&(number % KEYS), self.max_parallelism)?;
                    let worker = self.max_parallelism.subtask_of(key.group(), self.workers);
                    let worker = workers.get(worker as usize).ok_or("no such worker")?;
                    worker.send((index, Message::Number(number)))?;
                    offset += 1;
                    if index == 0 && offset == NUMBERS_PER_SOURCE / 2 {
                        reports.send(Report::HalfWay)?;
                    }
                }
            }
        }
    }

    /// A worker: counts keys; at a barrier it holds back the channels that have it already.
    fn work(
        &self,
        index: u32,
        start: Restored,
        input: &Receiver<(u32, Message)>,
        reports: &Sender<Report>,
    ) -> Fallible<()> {
        let max = self.max_parallelism;
        let key_groups = max.range_of(index, self.workers)?;
        let mut backend = MemoryBackend::create(key_groups, max, MemoryOptions::new())?;
        for source in &start.keyed {
            source.restore_into(&mut backend)?;
        }
        let counts = ValueState::<u64, u64>::register(&mut backend, "counts")?;
        let mut arrived = vec![false; SOURCES as usize];
        let mut held: VecDeque<(u32, Message)> = VecDeque::new();
        let mut ready: VecDeque<(u32, Message)> = VecDeque::new();
        while let Some((channel, message)) = ready.pop_front().or_else(|| input.recv().ok()) {
            let at_barrier = arrived.get_mut(channel as usize).ok_or("no such channel")?;
            match message {
                _ if *at_barrier => held.push_back((channel, message)),
                Message::Number(number) => {
                    let key = KeyContext::new(&(number % KEYS), max)?;
                    let add_one = |count: Option<u64>| Some(count.unwrap_or(0) + 1);
                    counts.update(&mut backend, key.at(), add_one)?;
                }
                Message::Barrier(checkpoint) => {
                    *at_barrier = true;
                    if arrived.iter().all(|arrived| *arrived) {
                        self.snapshot(index, checkpoint, &mut backend, reports)?;
                        arrived.fill(false);
                        // What was held goes first, in its order.
                        held.append(&mut ready);
                        std::mem::swap(&mut held, &mut ready);
                    }
                }
            }
        }
        reports.send(Report::Counts(read_counts(&mut backend, &counts)?))?;
        Ok(())
    }

    /// Freezes the state here, in no time; another thread writes it while this one goes on.
    fn snapshot(
        &self,
        index: u32,
        checkpoint: CheckpointId,
        backend: &mut MemoryBackend,
        reports: &Sender<Report>,
    ) -> Fallible<()> {
        let task = backend.snapshot(&SnapshotRequest::full(checkpoint))?;
        let key_groups = backend.key_groups();
        let (engine, reports) = (self.clone(), reports.clone());
        thread::Builder::new().spawn(move || {
            let subtask = SubtaskId::new("worker", index);
            let write = WriteKeyedState {
                checkpoint,
                attempt: engine.attempt,
                subtask: &subtask,
                key_groups,
                compression_level: 1,
            };
            let report = match engine.storage.write_keyed_state(&write, task, &CancelFlag::new()) {
                Ok(keyed) => {
                    let snapshot = SubtaskSnapshot { keyed: Some(keyed), ..Default::default() };
                    Report::Acknowledged(checkpoint, subtask, Box::new(snapshot))
                }
                Err(error) => Report::Failed(error.to_string()),
            };
            // If the coordinator has gone, nobody waits for this checkpoint.
            let _ = reports.send(report);
        })?;
        Ok(())
    }

    /// Drives the coordinator's state machine. Says whether all input was processed.
    fn coordinate(
        &self,
        die: bool,
        restored: Option<&(CheckpointMetadata, RestorePlan)>,
        sources: &[Sender<Order>],
        inbox: &Receiver<Report>,
    ) -> Fallible<bool> {
        let clock = SystemClock::new();
        let moment = || Moment { now: clock.monotonic(), wall_ms: clock.wall_ms() };
        let mut coordinator = self.coordinator(restored, moment())?;
        let mut actions = Vec::new();
        for subtask in Topology::new(self.vertices())?.subtasks() {
            let event = Event::SubtaskStateChanged { subtask, state: SubtaskState::Running };
            coordinator.handle(moment(), event, &mut actions);
        }
        loop {
            let Some(event) = event_of(inbox.recv()?, die)? else { continue };
            coordinator.handle(moment(), event, &mut actions);
            while !actions.is_empty() {
                for action in std::mem::take(&mut actions) {
                    match action {
                        Action::SendBarriers { checkpoint, to, .. } => {
                            for subtask in to {
                                let source = sources.get(subtask.index.get() as usize);
                                source.ok_or("no such source")?.send(Order::Trigger(checkpoint))?;
                            }
                        }
                        Action::StoreMetadata(collected) => {
                            let stored = self.store(&collected, moment())?;
                            coordinator.handle(moment(), stored, &mut actions);
                        }
                        Action::NotifyComplete { .. } if die => return Ok(false),
                        Action::NotifyAborted { reason, .. } => {
                            return Err(reason.to_string().into());
                        }
                        Action::DiscardCompleted { checkpoint, .. } => {
                            self.storage.discard(checkpoint)?;
                        }
                        // What else there is concerns failures, which end this engine.
                        _ => {}
                    }
                }
            }
            if coordinator.final_checkpoint_completed() {
                return Ok(true);
            }
        }
    }

    /// Publishes the metadata: from then on the checkpoint exists.
    fn store(
        &self,
        collected: &CheckpointToStore<SubtaskSnapshot>,
        at: Moment,
    ) -> Fallible<Event<SubtaskSnapshot>> {
        let vertices = self
            .vertices()
            .into_iter()
            .map(|vertex| VertexDescription { name: vertex.name, parallelism: vertex.parallelism });
        let job = JobDescription {
            name: "embedded".to_owned(),
            kind: "example".to_owned(),
            state_backend: "memory".to_owned(),
            mode: CheckpointMode::ExactlyOnce,
            max_parallelism: self.max_parallelism,
            vertices: vertices.collect(),
        };
        let metadata = describe(&job, collected, at.wall_ms)?;
        self.storage.publish(&metadata).map_err(|failed| failed.error)?;
        Ok(Event::Stored { checkpoint: metadata.checkpoint })
    }

    fn coordinator(
        &self,
        restored: Option<&(CheckpointMetadata, RestorePlan)>,
        at: Moment,
    ) -> Fallible<Coordinator<SubtaskSnapshot>> {
        // Checkpoints on request, and one at the end of input. The first attempt dies before that.
        let settings = CoordinatorSettings { interval_ms: None, ..Default::default() };
        Ok(Coordinator::new(CoordinatorStart {
            settings: settings.validate()?,
            topology: Topology::new(self.vertices())?,
            attempt: self.attempt,
            first_checkpoint: self.storage.next_id()?,
            retained: Vec::new(),
            restored: restored.map(|(metadata, _)| metadata.checkpoint),
            at,
        })?)
    }

    fn vertices(&self) -> Vec<VertexSpec> {
        let input = InputSpec { vertex: "source".to_owned(), exchange: Exchange::AllToAll };
        vec![
            VertexSpec { name: "source".to_owned(), parallelism: SOURCES, inputs: Vec::new() },
            VertexSpec {
                name: "worker".to_owned(),
                parallelism: self.workers,
                inputs: vec![input],
            },
        ]
    }

    /// Chooses the newest whole checkpoint and plans who reads what; `None` if there is none yet.
    fn plan(&self) -> Fallible<Option<(CheckpointMetadata, RestorePlan)>> {
        let mut facts = Vec::new();
        let mut whole = BTreeMap::new();
        for found in self.storage.list()? {
            match found.metadata {
                Ok(metadata) => {
                    facts.push(CheckpointFact::Whole(facts_of(&metadata)));
                    whole.insert(found.id, metadata);
                }
                Err(error) => {
                    let reason = error.to_string();
                    facts.push(CheckpointFact::Damaged { id: found.id, reason });
                }
            }
        }
        if facts.is_empty() {
            return Ok(None);
        }
        let vertex = |vertex: VertexSpec| JobVertex {
            name: vertex.name,
            parallelism: vertex.parallelism,
            max_parallelism: self.max_parallelism,
        };
        let job: Vec<JobVertex> = self.vertices().into_iter().map(vertex).collect();
        let options = RestoreOptions { select: Selection::Latest, allow_dropped_state: false };
        let plan = plan_restore(&facts, &job, options)?;
        let metadata = whole.remove(&plan.checkpoint).ok_or("the chosen checkpoint has gone")?;
        Ok(Some((metadata, plan)))
    }

    /// Looks up what the plan gives one subtask.
    fn restored_subtask(
        &self,
        restored: Option<&(CheckpointMetadata, RestorePlan)>,
        vertex: &str,
        index: u32,
    ) -> Fallible<Restored> {
        let mut start = Restored::default();
        let Some((metadata, plan)) = restored else { return Ok(start) };
        let stored = metadata.vertex(vertex).ok_or("the checkpoint lacks a vertex")?;
        let planned = plan.vertices.iter().find(|planned| planned.name == vertex);
        let subtask = planned.and_then(|planned| planned.subtasks.get(index as usize));
        let subtask = subtask.ok_or("the plan lacks a subtask")?;
        let folder = self.storage.folder(metadata.checkpoint)?;
        for part in &subtask.keyed {
            let old = stored.subtasks.get(part.from.get() as usize);
            let handle = old.and_then(|old| old.keyed_state.get(part.handle));
            start.keyed.push(KeyedStateSource {
                folder: folder.clone(),
                handle: Arc::new(handle.ok_or("the plan names a missing handle")?.clone()),
                key_groups: part.range,
            });
        }
        start.operator = OperatorState::restore(operator_state_parts(stored, subtask)?)?;
        Ok(start)
    }
}

/// What the coordinator makes of a report.
fn event_of(report: Report, die: bool) -> Fallible<Option<Event<SubtaskSnapshot>>> {
    Ok(Some(match report {
        Report::HalfWay if die => {
            let request = RequestId::new(1);
            Event::TriggerRequested(TriggerRequest::Manual { request })
        }
        Report::HalfWay | Report::Counts(_) => return Ok(None),
        Report::AtEnd(subtask) => {
            Event::SubtaskStateChanged { subtask, state: SubtaskState::AtEnd }
        }
        Report::Acknowledged(checkpoint, subtask, payload) => {
            let (payload, metrics) = (*payload, SubtaskMetrics::default());
            Event::Acknowledged { checkpoint, subtask, payload, metrics }
        }
        Report::Failed(why) => return Err(why.into()),
    }))
}

/// A failure nobody is left to hear of needs no report: the channel is closed then.
fn tell_failure(reports: &Sender<Report>, result: Fallible<()>) {
    if let Err(error) = result {
        let _ = reports.send(Report::Failed(error.to_string()));
    }
}

fn read_counts(
    backend: &mut MemoryBackend,
    counts: &ValueState<u64, u64>,
) -> Fallible<BTreeMap<u64, u64>> {
    let mut found = BTreeMap::new();
    for key in 0..KEYS {
        let context = KeyContext::new(&key, backend.max_parallelism())?;
        if backend.key_groups().contains(context.group())
            && let Some(count) = counts.get(backend, context.at())?
        {
            found.insert(key, count);
        }
    }
    Ok(found)
}

/// Gathers what the workers counted; ends when all threads have.
fn collect_counts(inbox: &Receiver<Report>) -> Fallible<BTreeMap<u64, u64>> {
    let mut all = BTreeMap::new();
    for report in inbox {
        match report {
            Report::Counts(counts) => all.extend(counts),
            Report::Failed(why) => return Err(why.into()),
            _ => {}
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_counted_exactly_once_over_a_crash_and_a_rescale() -> Fallible<()> {
        let folder = tempfile::tempdir()?;
        let counts = crash_and_restore(folder.path())?;
        let each = u64::from(SOURCES) * NUMBERS_PER_SOURCE / KEYS;
        let expected: BTreeMap<u64, u64> = (0..KEYS).map(|key| (key, each)).collect();
        assert_eq!(counts, expected);
        Ok(())
    }
}
