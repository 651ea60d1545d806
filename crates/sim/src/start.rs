//! How a process takes the job over: chooses a checkpoint, begins an attempt, restores, commits
//! what was prepared, and starts the coordinator.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use millpond_checkpoint::driver::{
    AttemptLog, AttemptStart, CheckpointHistory, CheckpointStorage, FoundCheckpoint,
    JobDescription, KeyedStateSource, VertexDescription, facts_of, operator_state_parts,
};
use millpond_checkpoint::plan::{
    CheckpointFact, JobVertex, RestoreOptions, RestorePlan, Selection, plan_restore,
};
use millpond_checkpoint::registry::RegistrySettings;
use millpond_checkpoint::{
    CheckpointError, CheckpointMode, Coordinator, CoordinatorSettings, CoordinatorStart, ErrorKind,
    Event as Told, Exchange, InputSpec, Moment, SubtaskState, Topology, VertexSpec,
};
use millpond_memory::{MemoryBackend, MemoryOptions};
use millpond_snapshot::CheckpointMetadata;
use millpond_state::{
    CheckpointId, KeyContext, KeyedBackend, MaxParallelism, OperatorStatePart, SubtaskId,
    ValueState,
};

use crate::attempt::{Attempt, Member};
use crate::breakage::Breakage;
use crate::check;
use crate::store::SimStore;
use crate::subtask::{
    POSITIONS, Role, Sink, Subtask, TRANSACTIONS, decode_position, decode_transaction,
};
use crate::world::{Event, World};

const VERTICES: [&str; 3] = ["source", "count", "sink"];

/// Key groups.
const MAX_PARALLELISM: u32 = 6;

/// How often a choice is made again because the history went on.
const CHOICES_MAX: u32 = 10;

/// A checkpoint to start from.
struct Chosen {
    found: FoundCheckpoint,
    metadata: CheckpointMetadata,
    plan: RestorePlan,
}

/// Why a process does not come to run.
enum Halt {
    /// It tries again later.
    Failed(String),
    /// There is nothing left to do.
    Ended,
}

impl From<CheckpointError> for Halt {
    fn from(error: CheckpointError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<millpond_state::StateError> for Halt {
    fn from(error: millpond_state::StateError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Attempt {
    /// A new process takes over.
    pub(crate) fn start(world: &Rc<World>) {
        let (process, slot) = world.add_process();
        world.note(40, [process as u64, 0, 0]);
        world.say(format_args!("p{process} starts"));
        let starter = Starter {
            world,
            process,
            storage: CheckpointStorage::new(Arc::new(SimStore::new(process))),
        };
        match starter.start() {
            Ok(attempt) if world.is_alive(process) => {
                let attempt = Rc::new(attempt);
                *slot.attempt.borrow_mut() = Some(Rc::clone(&attempt));
                attempt.run(world);
            }
            Ok(_) => world.ensure_progress(),
            Err(Halt::Failed(why)) => {
                world.say(format_args!("p{process} cannot start: {why}"));
                world.end_process(process);
                world.ensure_progress();
            }
            Err(Halt::Ended) => {
                world.end_process(process);
                check::ended(world);
            }
        }
    }

    fn run(&self, world: &Rc<World>) {
        for member in &self.members {
            let (subtask, state) = (member.id.clone(), SubtaskState::Running);
            self.tell(world, Told::SubtaskStateChanged { subtask, state });
        }
        for index in 0..self.members.len() {
            self.schedule_work(world, index);
        }
        if !self.is_able() {
            world.schedule(1_000, Event::Detect(self.process));
        }
    }
}

struct Starter<'w> {
    world: &'w Rc<World>,
    process: usize,
    storage: CheckpointStorage,
}

impl Starter<'_> {
    fn start(&self) -> Result<Attempt, Halt> {
        let (chosen, log) = self.begin()?;
        let number = log.id().get();
        self.world.say(format_args!(
            "p{} is attempt {number}, from {}",
            self.process,
            log.restored().map_or("the beginning".to_owned(), |id| format!("checkpoint {id}"))
        ));
        self.world.note(41, [number, log.restored().map_or(0, |id| id.get()), 0]);
        let everything = self.world.is_broken(Breakage::StartRemovesAll);
        let first = if everything { CheckpointId::new(u64::MAX) } else { log.first_checkpoint() };
        self.storage.remove_incomplete(first)?;
        let shared = log.open_shared_files(RegistrySettings::default())?;
        let max_parallelism = MaxParallelism::new(MAX_PARALLELISM)?;
        let widths = self.widths(number);
        let members = self.members(chosen.as_ref(), (number, max_parallelism), widths)?;
        self.recover_output(chosen.as_ref(), number)?;
        if chosen.is_some() {
            self.world.counts.borrow_mut().restores += 1;
        }
        let settings = self.settings().validate()?;
        let coordinator = Coordinator::new(CoordinatorStart {
            settings,
            topology: Topology::new(vertex_specs(widths))?,
            attempt: log.id(),
            first_checkpoint: log.first_checkpoint(),
            retained: shared.owned(&self.storage, &log)?,
            restored: log.restored(),
            at: Moment {
                now: std::time::Duration::from_micros(self.world.now_us()),
                wall_ms: self.world.now_us() / 1_000,
            },
        })?;
        Ok(Attempt {
            process: self.process,
            storage: self.storage.clone(),
            log,
            shared,
            job: describe_job(widths, max_parallelism),
            max_parallelism,
            members,
            coordinator: RefCell::new(coordinator),
            coordinator_alive: Cell::new(true),
            cancels: RefCell::default(),
            publishing: Cell::new(false),
            deleting: Cell::new(false),
            wake_us: Cell::new(u64::MAX),
            last_completed: Cell::new(None),
        })
    }

    fn settings(&self) -> CoordinatorSettings {
        let plan = &self.world.plan;
        CoordinatorSettings {
            interval_ms: Some(plan.interval_ms),
            timeout_ms: plan.timeout_ms,
            max_concurrent: plan.max_concurrent,
            retained_max: plan.retained_max,
            tolerable_consecutive_failures: Some(5),
            final_retry_pause_ms: 5,
            ..Default::default()
        }
    }

    /// Parallelism of the vertices.
    fn widths(&self, attempt: u64) -> [u32; 3] {
        let plan = &self.world.plan;
        let [even, odd] = plan.counters;
        [plan.sources, if attempt.is_multiple_of(2) { even } else { odd }, plan.sinks]
    }

    fn begin(&self) -> Result<(Option<Chosen>, AttemptLog), Halt> {
        for _ in 0..CHOICES_MAX {
            let history = self.storage.history()?;
            let chosen = match self.choose(&history)? {
                Ok(chosen) => chosen,
                // An attempt that goes on meanwhile may have deleted what is missed.
                Err(_) if !history.is_still(&self.storage.history()?) => continue,
                Err(refusal) => {
                    self.world.violate(format_args!("nothing can be restored: {refusal}"));
                    return Err(Halt::Failed(refusal));
                }
            };
            if let Some(chosen) = &chosen
                && chosen
                    .metadata
                    .vertices
                    .iter()
                    .all(|it| it.subtasks.iter().all(|it| it.finished))
            {
                self.recover_output(Some(chosen), u64::MAX)?;
                return Err(Halt::Ended);
            }
            let start = match &chosen {
                Some(chosen) => AttemptStart::Here(&chosen.metadata),
                None => AttemptStart::Beginning,
            };
            if let Some(log) = self.storage.begin_attempt(&history, start)? {
                let skipped = chosen.iter().flat_map(|chosen| &chosen.plan.skipped).next();
                if let Some(skipped) = skipped {
                    self.world.violate(format_args!("{} exists and is damaged", skipped.id));
                }
                return Ok((chosen, log));
            }
        }
        Err(Halt::Failed("the history goes on and on".to_owned()))
    }

    /// The newest whole checkpoint, or a refusal.
    fn choose(&self, history: &CheckpointHistory) -> Result<Result<Option<Chosen>, String>, Halt> {
        let mut facts = Vec::new();
        let mut whole = BTreeMap::new();
        let found = if self.world.is_broken(Breakage::BelievesListing) {
            self.storage.list()?
        } else {
            self.storage.list_existing(history)?
        };
        for mut found in found {
            let id = found.id;
            let metadata = std::mem::replace(&mut found.metadata, Err(taken()));
            let read = metadata.and_then(|it| found.folder.check_present(&it).map(|()| it));
            match read {
                Ok(metadata) => {
                    facts.push(CheckpointFact::Whole(facts_of(&metadata)));
                    whole.insert(id, (found, metadata));
                }
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => {
                    let reason = error.to_string();
                    self.world.say(format_args!("p{}: {id} is damaged: {reason}", self.process));
                    facts.push(CheckpointFact::Damaged { id, reason });
                }
                Err(error) => return Err(error.into()),
            }
        }
        if facts.is_empty() {
            return Ok(Ok(None));
        }
        let max_parallelism = MaxParallelism::new(MAX_PARALLELISM)?;
        let job = vertex_specs(self.widths(history.next_attempt().get()));
        let job: Vec<JobVertex> = job
            .into_iter()
            .map(|it| JobVertex { name: it.name, parallelism: it.parallelism, max_parallelism })
            .collect();
        let options = RestoreOptions { select: Selection::Latest, allow_dropped_state: false };
        Ok(match plan_restore(&facts, &job, options) {
            Ok(plan) => {
                let chosen = whole.remove(&plan.checkpoint);
                Ok(chosen.map(|(found, metadata)| Chosen { found, metadata, plan }))
            }
            Err(refusal) => Err(refusal.to_string()),
        })
    }

    fn members(
        &self,
        chosen: Option<&Chosen>,
        (attempt, max_parallelism): (u64, MaxParallelism),
        widths: [u32; 3],
    ) -> Result<Vec<Member>, Halt> {
        let mut members = Vec::new();
        let (mut before, mut counted) = (0, 0);
        for (vertex, (name, width)) in VERTICES.iter().zip(widths).enumerate() {
            let start = members.len() + width as usize;
            let after = widths.get(vertex + 1).copied().unwrap_or(0) as usize;
            for index in 0..width {
                let operator = operator_state(chosen, name, index)?;
                let role = match vertex {
                    0 => Role::Source(self.positions(chosen.is_some(), &operator, (index, width))),
                    1 => {
                        let range = max_parallelism.range_of(index, width)?;
                        let options = MemoryOptions::new();
                        let mut backend = MemoryBackend::create(range, max_parallelism, options)?;
                        for source in keyed_state(chosen, name, index) {
                            source.restore_into(&mut backend)?;
                        }
                        let counts = ValueState::register(&mut backend, "counts")?;
                        counted += self.count(&mut backend, &counts)?;
                        Role::Counter(Box::new(backend), counts)
                    }
                    _ => Role::Sink(Sink { attempt, index, ..Sink::default() }),
                };
                members.push(Member {
                    id: SubtaskId::new(*name, index),
                    alive: Cell::new(true),
                    subtask: RefCell::new(Subtask::new(role, before, self.world.breakage)),
                    next: start..start + after,
                    channel: index as usize,
                });
            }
            before = width as usize;
        }
        if let Some(chosen) = chosen {
            let read: u64 =
                check::positions(&chosen.metadata).iter().map(|it| u64::from(it.1)).sum();
            if read != counted {
                self.world.violate(format_args!(
                    "checkpoint {} is no consistent cut: {read} records read, {counted} counted",
                    chosen.metadata.checkpoint
                ));
            }
        }
        Ok(members)
    }

    /// How many records the state of a counter has.
    fn count(
        &self,
        backend: &mut MemoryBackend,
        counts: &ValueState<u64, u64>,
    ) -> Result<u64, Halt> {
        let mut sum = 0;
        for key in 0..self.world.plan.keys {
            let key = KeyContext::new(&key, backend.max_parallelism())?;
            if backend.key_groups().contains(key.group()) {
                sum += counts.get(backend, key.at())?.unwrap_or(0);
            }
        }
        Ok(sum)
    }

    /// What a source reads: as restored, or its share of the partitions.
    fn positions(
        &self,
        is_restored: bool,
        operator: &[OperatorStatePart],
        (index, width): (u32, u32),
    ) -> Vec<(u32, u32)> {
        if is_restored {
            let items = operator.iter().filter(|it| it.name == POSITIONS).flat_map(|it| &it.items);
            return items.filter_map(|item| decode_position(item)).collect();
        }
        let share = |partition: &u32| partition.checked_rem(width) == Some(index);
        (0..self.world.plan.partitions).filter(share).map(|partition| (partition, 0)).collect()
    }

    /// Commits what the checkpoint says was prepared, and gives up what earlier attempts prepared
    /// beside.
    fn recover_output(&self, chosen: Option<&Chosen>, attempt: u64) -> Result<(), Halt> {
        let mut output = self.world.output.borrow_mut();
        if !self.world.is_alive(self.process) {
            return Err(Halt::Failed("the process is dead".to_owned()));
        }
        let states = chosen.iter().flat_map(|it| &it.metadata.vertices);
        let states = states.flat_map(|it| &it.subtasks).flat_map(|it| &it.operator_state);
        for item in states.filter(|it| it.name == TRANSACTIONS).flat_map(|it| &it.items) {
            if let Some(id) = decode_transaction(item)
                && !self.world.is_broken(Breakage::RecoveryForgets)
            {
                self.world.check(output.commit(id));
            }
        }
        output.give_up_before(attempt);
        Ok(())
    }
}

fn operator_state(
    chosen: Option<&Chosen>,
    vertex: &str,
    index: u32,
) -> Result<Vec<OperatorStatePart>, Halt> {
    let Some(chosen) = chosen else { return Ok(Vec::new()) };
    let planned = chosen.plan.vertices.iter().find(|it| it.name == vertex);
    let planned = planned.and_then(|it| it.subtasks.get(index as usize));
    match (chosen.metadata.vertex(vertex), planned) {
        (Some(stored), Some(planned)) => Ok(operator_state_parts(stored, planned)?),
        _ => Ok(Vec::new()),
    }
}

fn keyed_state(chosen: Option<&Chosen>, vertex: &str, index: u32) -> Vec<KeyedStateSource> {
    let Some(chosen) = chosen else { return Vec::new() };
    let planned = chosen.plan.vertices.iter().find(|it| it.name == vertex);
    let planned = planned.and_then(|it| it.subtasks.get(index as usize));
    let (Some(stored), Some(planned)) = (chosen.metadata.vertex(vertex), planned) else {
        return Vec::new();
    };
    let source = |part: &millpond_checkpoint::plan::KeyedSource| {
        let old = stored.subtasks.get(part.from.get() as usize)?;
        Some(KeyedStateSource {
            folder: chosen.found.folder.clone(),
            handle: Arc::new(old.keyed_state.get(part.handle)?.clone()),
            key_groups: part.range,
        })
    };
    planned.keyed.iter().filter_map(source).collect()
}

fn vertex_specs(widths: [u32; 3]) -> Vec<VertexSpec> {
    let mut specs: Vec<VertexSpec> = Vec::new();
    for (name, parallelism) in VERTICES.iter().zip(widths) {
        let input = specs
            .last()
            .map(|before| InputSpec { vertex: before.name.clone(), exchange: Exchange::AllToAll });
        let inputs = input.into_iter().collect();
        specs.push(VertexSpec { name: (*name).to_owned(), parallelism, inputs });
    }
    specs
}

fn describe_job(widths: [u32; 3], max_parallelism: MaxParallelism) -> JobDescription {
    let vertices = VERTICES.iter().zip(widths);
    let vertices = vertices
        .map(|(name, parallelism)| VertexDescription { name: (*name).to_owned(), parallelism });
    JobDescription {
        name: "simulated".to_owned(),
        kind: "simulated".to_owned(),
        state_backend: "memory".to_owned(),
        mode: CheckpointMode::ExactlyOnce,
        max_parallelism,
        vertices: vertices.collect(),
    }
}

fn taken() -> CheckpointError {
    CheckpointError::new(ErrorKind::NotFound, "it was taken")
}
