//! One execution attempt: restore, run, tear down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};
use millpond_checkpoint::Moment;
use millpond_checkpoint::driver::{
    AttemptLog, AttemptStart, CheckpointStorage, LocalCopies, SharedFiles,
};
use millpond_state::SubtaskId;

use super::coordinate::{CoordinatorLoop, LoopEnd};
use super::handle::Request;
use super::notice::JobNotice;
use super::restore::{Chosen, Origin};
use super::{JobEnvironment, JobOutcome, Totals};
use crate::error::{JobError, JobErrorKind, Result};
use crate::graph::{JobGraph, Vertex};
use crate::task::{CancelBoard, Control, JobEvent, SubtaskEnv, SubtaskRestore};
use crate::threads::{Pool, PoolHandle, catch, start};

/// How an attempt ended, other than by failing.
#[derive(Debug)]
pub(super) enum AttemptEnd {
    Ended(JobOutcome),
    /// The checkpoint to restore is damaged and marked so: choose another.
    Damaged,
}

/// What an attempt is made of.
pub(super) struct Attempt<'a> {
    pub(super) graph: &'a JobGraph,
    pub(super) environment: &'a JobEnvironment,
    pub(super) requests: &'a Receiver<Request>,
    pub(super) cancels: Arc<CancelBoard>,
}

/// How often the choice of a checkpoint is made again because another process changed the history.
const CHOICES_MAX: u32 = 10;

/// How an attempt begins.
enum Beginning {
    /// From this checkpoint; `None` for the beginning.
    Attempt(Option<Chosen>, Arc<AttemptLog>),
    /// There is nothing left to process: the storage is left as it is.
    Finished(Chosen),
}

/// The threads of an attempt, and the wires to them.
pub(super) struct Subtasks {
    pub(super) controls: BTreeMap<SubtaskId, Sender<Control>>,
    pub(super) events: Receiver<JobEvent>,
    /// Kept so that `events` never disconnects, and for the pool's own reports.
    pub(super) reports: Sender<JobEvent>,
    pub(super) pool: PoolHandle,
    pub(super) shared: Arc<SharedFiles>,
    pub(super) log: Arc<AttemptLog>,
    pub(super) copies: Option<Arc<LocalCopies>>,
    /// The job's storage as subtasks write to it.
    storage: Arc<CheckpointStorage>,
    threads: Vec<JoinHandle<()>>,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(
        graph: &'a JobGraph,
        environment: &'a JobEnvironment,
        requests: &'a Receiver<Request>,
    ) -> Self {
        Self { graph, environment, requests, cancels: Arc::default() }
    }

    pub(super) fn now(&self) -> Moment {
        let clock = &self.environment.clock;
        Moment { now: clock.monotonic(), wall_ms: clock.wall_ms() }
    }

    pub(super) fn notify(&self, notice: &JobNotice<'_>) {
        self.environment.listener.on_notice(notice);
    }

    pub(super) fn run(self, origin: &mut Origin, totals: &mut Totals) -> Result<AttemptEnd> {
        let storage = &self.environment.storage;
        let (chosen, log) = match self.begin(origin)? {
            Beginning::Attempt(chosen, log) => (chosen, log),
            Beginning::Finished(chosen) => {
                self.recover_sinks(Some(&chosen))?;
                totals.last_checkpoint = Some(chosen.metadata.checkpoint);
                return Ok(AttemptEnd::Ended(JobOutcome::AlreadyFinished));
            }
        };
        storage.remove_incomplete(log.first_checkpoint())?;
        let settings = self.graph.settings();
        let shared = Arc::new(log.open_shared_files(settings.shared_files)?);
        let pool = Pool::new("snapshot", settings.snapshot_threads)?;
        let wires = (&shared, &log, origin.copies.clone());
        let subtasks = self.start_subtasks(chosen.as_ref(), wires, pool.handle())?;
        let outcome = self.restore_and_coordinate(&subtasks, chosen.as_ref(), totals);
        let causes = self.tear_down(subtasks);
        drop(pool);
        match (outcome, causes) {
            (Ok(LoopEnd::Ended(outcome)), None) => Ok(AttemptEnd::Ended(outcome)),
            (Ok(LoopEnd::Ended(_)), Some(late)) => Err(late),
            (Err(error), late) => {
                let error = worse(error, late);
                match chosen.filter(|_| error.is_damaged()) {
                    Some(chosen) => {
                        let checkpoint = chosen.metadata.checkpoint;
                        if origin.mark_damaged(checkpoint, error.to_string()) {
                            Ok(AttemptEnd::Damaged)
                        } else {
                            Err(error)
                        }
                    }
                    None => Err(error),
                }
            }
        }
    }

    /// Chooses a checkpoint and takes over the storage with it, as one step.
    fn begin(&self, origin: &Origin) -> Result<Beginning> {
        let storage = &self.environment.storage;
        for _ in 0..CHOICES_MAX {
            let history = storage.history()?;
            let listener = self.environment.listener.as_ref();
            match origin.choose(self.graph, (storage, &history), listener) {
                // What it found missing may have been deleted by an attempt that went on meanwhile.
                Err(_) if !history.is_still(&storage.history()?) => {}
                Err(error) => return Err(error),
                Ok(Some(chosen)) if chosen.is_finished() => {
                    return Ok(Beginning::Finished(chosen));
                }
                Ok(chosen) => {
                    let start = match &chosen {
                        None => AttemptStart::Beginning,
                        Some(it) if storage.relative_folder(&it.folder).is_some() => {
                            AttemptStart::Here(&it.metadata)
                        }
                        Some(it) => AttemptStart::Elsewhere(&it.metadata),
                    };
                    if let Some(log) = storage.begin_attempt(&history, start)? {
                        return Ok(Beginning::Attempt(chosen, Arc::new(log)));
                    }
                }
            }
        }
        let message = format!("other processes keep on taking over {}", storage.url());
        Err(JobError::new(JobErrorKind::State, message))
    }

    fn restore_and_coordinate(
        &self,
        subtasks: &Subtasks,
        chosen: Option<&Chosen>,
        totals: &mut Totals,
    ) -> Result<LoopEnd> {
        self.wait_until_restored(subtasks)?;
        if let Some(copies) = &subtasks.copies {
            copies.keep_only(chosen.map(|chosen| (&chosen.folder, &chosen.metadata)));
        }
        if let Some(chosen) = chosen {
            if chosen.by_name {
                self.take_over(subtasks, chosen)?;
            }
            let checkpoint = chosen.metadata.checkpoint;
            let written_by = chosen.metadata.state_backend.as_str();
            let bytes = chosen.folder.restored_bytes();
            let completed_wall_ms = chosen.metadata.completed_at_ms;
            let notice = JobNotice::Restored { checkpoint, written_by, completed_wall_ms, bytes };
            self.notify(&notice);
        }
        self.recover_sinks(chosen)?;
        CoordinatorLoop::new(self, subtasks, chosen, totals)?.run()
    }

    /// Claims the checkpoint that was asked for by name, or leaves it alone, and gives up those
    /// after it: they belong to a history that is abandoned. Those that are not ours stay.
    fn take_over(&self, subtasks: &Subtasks, chosen: &Chosen) -> Result<()> {
        let (storage, shared) = (&self.environment.storage, &subtasks.shared);
        let metadata = &chosen.metadata;
        if let Some(folder) = storage.relative_folder(&chosen.folder) {
            let mode = self.graph.settings().restore_mode;
            storage.restore_shared_files(shared, (&folder, metadata), mode)?;
        }
        for id in subtasks.log.given_up() {
            shared.with(|registry| registry.discard(id));
            // What cannot be read is unknown to the registry.
            if shared.collect_deletions() {
                storage.execute_deletions(shared)?;
            }
            storage.discard(id)?;
        }
        Ok(())
    }

    /// Starts a thread for each subtask; each restores its state and waits.
    fn start_subtasks(
        &self,
        chosen: Option<&Chosen>,
        (shared, log, copies): (&Arc<SharedFiles>, &Arc<AttemptLog>, Option<Arc<LocalCopies>>),
        pool: PoolHandle,
    ) -> Result<Subtasks> {
        self.graph.reconnect();
        let (reports, events) = unbounded();
        let (controls, threads) = (BTreeMap::new(), Vec::new());
        let storage = self.environment.storage.as_ref().clone();
        let storage = storage
            .with_upload_threads(self.graph.settings().upload_threads)
            .with_local_copies(copies.clone());
        let (shared, log, storage) = (Arc::clone(shared), Arc::clone(log), Arc::new(storage));
        let mut subtasks =
            Subtasks { controls, events, reports, pool, shared, log, copies, storage, threads };
        let result = (|| {
            for vertex in self.graph.vertices() {
                for index in 0..vertex.parallelism {
                    let restore = match chosen {
                        Some(chosen) => chosen.subtask(&vertex.name, index)?,
                        None => SubtaskRestore::default(),
                    };
                    self.start_subtask(vertex, index, restore, &mut subtasks)?;
                }
            }
            Ok(())
        })();
        match result {
            Ok(()) => Ok(subtasks),
            Err(error) => {
                self.tear_down(subtasks);
                Err(error)
            }
        }
    }

    fn start_subtask(
        &self,
        vertex: &Vertex,
        index: u32,
        restore: SubtaskRestore,
        subtasks: &mut Subtasks,
    ) -> Result<()> {
        let settings = self.graph.settings();
        let id = SubtaskId::new(&vertex.name, index);
        let (control, receiver) = unbounded();
        let env = SubtaskEnv {
            id: id.clone(),
            parallelism: vertex.parallelism,
            max_parallelism: settings.max_parallelism,
            attempt: subtasks.log.id(),
            mode: settings.checkpoints.mode,
            batch_records: settings.batch_records,
            compression_level: settings.compression_level,
            incremental: settings.incremental,
            shared: Arc::clone(&subtasks.shared),
            control: receiver,
            events: subtasks.reports.clone(),
            pool: subtasks.pool.clone(),
            cancels: Arc::clone(&self.cancels),
            storage: Arc::clone(&subtasks.storage),
            backends: Arc::clone(&self.environment.backends),
            clock: Arc::clone(&self.environment.clock),
            records: Arc::clone(&vertex.records),
            late_records: Arc::clone(self.graph.late_records()),
        };
        let run = Arc::clone(&vertex.run);
        let events = subtasks.reports.clone();
        let subtask = id.clone();
        let thread = start(id.to_string(), move || {
            if let Err(error) = catch(|| run(env, restore)) {
                let _ = events.send(JobEvent::Failed(error.context(&subtask)));
            }
        })?;
        subtasks.controls.insert(id, control);
        subtasks.threads.push(thread);
        Ok(())
    }

    fn wait_until_restored(&self, subtasks: &Subtasks) -> Result<()> {
        let mut missing = subtasks.controls.len();
        while missing > 0 {
            match subtasks.events.recv() {
                Ok(JobEvent::Ready) => missing -= 1,
                Ok(JobEvent::Failed(error)) => return Err(error),
                Ok(_) => {}
                Err(_) => return Err(crate::channel::disconnected()),
            }
        }
        Ok(())
    }

    fn recover_sinks(&self, chosen: Option<&Chosen>) -> Result<()> {
        let restored = chosen.map(|chosen| chosen.metadata.checkpoint);
        for sink in self.graph.sinks() {
            let committables =
                chosen.map(|it| it.committables(&sink.vertex, &sink.name)).unwrap_or_default();
            let summary = sink.recovery.recover(restored, &committables)?;
            let notice = JobNotice::OutputRecovered { sink: &sink.name, summary };
            self.notify(&notice);
        }
        Ok(())
    }

    /// Ends all threads; returns a failure that was not reported before.
    fn tear_down(&self, subtasks: Subtasks) -> Option<JobError> {
        self.cancels.cancel_all();
        for control in subtasks.controls.values() {
            let _ = control.send(Control::Stop);
        }
        drop(subtasks.controls);
        for thread in subtasks.threads {
            // A panic was caught in the thread and reported as an event.
            let _ = thread.join();
        }
        let failures = subtasks.events.try_iter().filter_map(|event| match event {
            JobEvent::Failed(error) => Some(error),
            _ => None,
        });
        failures.fold(None, |worst, error| Some(worse(error, worst))).filter(is_cause)
    }
}

/// Whether an error is a cause, not only the news that a neighbour has ended.
fn is_cause(error: &JobError) -> bool {
    error.kind() != JobErrorKind::Cancelled
}

/// The error that says more.
fn worse(error: JobError, other: Option<JobError>) -> JobError {
    match other {
        Some(other) if !is_cause(&error) && is_cause(&other) => other,
        _ => error,
    }
}
