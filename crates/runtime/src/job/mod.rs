//! Running a job: execution attempts, one after the other, each from the newest checkpoint.

mod attempt;
mod coordinate;
mod handle;
mod local;
mod notice;
mod restore;

pub use handle::{JobHandle, PendingSavepoint, Savepoint};
pub use notice::{JobListener, JobNotice, QuietListener};

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use millpond_checkpoint::driver::{CheckpointFolder, CheckpointStorage};
use millpond_state::seam::Clock;
use millpond_state::{BackendFactory, CheckpointId};

use crate::error::{JobError, JobErrorKind, Result};
use crate::graph::JobGraph;
use crate::restart::{RestartDecision, RestartPolicy};
use attempt::{Attempt, AttemptEnd};
use handle::Request;

/// Where a job starts.
#[derive(Clone, Debug, Default)]
pub enum StartFrom {
    /// At the beginning of its input, with empty state.
    #[default]
    Beginning,
    /// At the newest whole checkpoint in its storage; at the beginning if there is none at all.
    Latest,
    /// At this checkpoint or savepoint. Newer checkpoints in the job's own storage are discarded:
    /// the job's history goes on from here.
    Folder(CheckpointFolder),
}

/// What a job works with beside its graph.
#[derive(Clone)]
pub struct JobEnvironment {
    /// Where its checkpoints are.
    pub storage: Arc<CheckpointStorage>,
    /// The state backend.
    pub backends: Arc<dyn BackendFactory>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Who hears of what happens.
    pub listener: Arc<dyn JobListener>,
}

impl std::fmt::Debug for JobEnvironment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobEnvironment")
            .field("storage", &self.storage)
            .field("backend", &self.backends.name())
            .finish_non_exhaustive()
    }
}

/// How a job ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobOutcome {
    /// All input was processed and all output committed.
    Finished,
    /// That was so already when the job was restored: only commits were repeated.
    AlreadyFinished,
    /// It was told to stop; a last checkpoint holds everything processed so far.
    Stopped,
}

/// What a job did in this run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobReport {
    /// How it ended.
    pub outcome: JobOutcome,
    /// The newest completed checkpoint.
    pub last_checkpoint: Option<CheckpointId>,
    /// Checkpoints completed.
    pub checkpoints_completed: u64,
    /// Checkpoints that came to nothing.
    pub checkpoints_aborted: u64,
    /// How often the job was started again after a failure.
    pub restarts: u32,
    /// Records left out because their window had closed before they came.
    pub late_records: u64,
}

/// A job, ready to run once.
#[derive(Debug)]
pub struct Job {
    graph: JobGraph,
    environment: JobEnvironment,
    handle: JobHandle,
    requests: Receiver<Request>,
}

/// Counts over all attempts of a run.
#[derive(Debug, Default)]
struct Totals {
    completed: u64,
    aborted: u64,
    last_checkpoint: Option<CheckpointId>,
    stopping: bool,
}

impl Job {
    /// Prepares `graph` to run in `environment`.
    ///
    /// # Errors
    /// [`JobErrorKind::InvalidArgument`] if graph or settings make no sense.
    pub fn new(graph: JobGraph, environment: JobEnvironment) -> Result<Self> {
        graph.check()?;
        let (handle, requests) = JobHandle::new(&graph);
        Ok(Self { graph, environment, handle, requests })
    }

    /// A handle to watch and steer the job from other threads.
    #[must_use]
    pub fn handle(&self) -> JobHandle {
        self.handle.clone()
    }

    /// Runs the job to its end, on this thread and the ones it starts. Only one job at a time may
    /// use a checkpoint storage and an output: hold a lock on them.
    ///
    /// # Errors
    /// Why the job could not start, or the failure after which it was not restarted. What was
    /// committed stays committed; restore from the newest checkpoint.
    pub fn run(self, start: StartFrom) -> Result<JobReport> {
        let settings = self.graph.settings().clone();
        let clock = Arc::clone(&self.environment.clock);
        let mut policy = RestartPolicy::new(settings.restart.clone());
        let mut totals = Totals::default();
        let copies = local::open_copies(&settings, &self.environment);
        let mut origin = restore::Origin::new(start, copies);
        loop {
            let started = clock.monotonic();
            let attempt = Attempt::new(&self.graph, &self.environment, &self.requests);
            let error = match attempt.run(&mut origin, &mut totals) {
                Ok(AttemptEnd::Ended(outcome)) => return Ok(self.report(outcome, &policy, &totals)),
                Ok(AttemptEnd::Damaged) => continue,
                Err(error) => error,
            };
            if !error.is_retryable() || totals.stopping {
                return Err(error);
            }
            let now = clock.monotonic();
            match policy.on_failure(now, now.saturating_sub(started)) {
                RestartDecision::GiveUp => return Err(error),
                RestartDecision::After(pause) => {
                    let notice = JobNotice::Restarting { error: &error, pause };
                    self.environment.listener.on_notice(&notice);
                    self.wait_unless_stopped(pause, &error)?;
                }
            }
            origin.restart(totals.last_checkpoint.is_some());
        }
    }

    /// Waits for a restart's pause; a request to stop ends the job with the failure.
    fn wait_unless_stopped(&self, pause: Duration, cause: &JobError) -> Result<()> {
        let clock = &self.environment.clock;
        let end = clock.monotonic().saturating_add(pause);
        loop {
            let left = end.saturating_sub(clock.monotonic());
            match self.requests.recv_timeout(left) {
                Ok(Request::Stop) => {
                    return Err(JobError::new(
                        JobErrorKind::Cancelled,
                        format!("stopped while waiting to restart after: {cause}"),
                    ));
                }
                Ok(Request::Savepoint { answer, .. }) => {
                    let message = "the job is restarting after a failure: try again";
                    // Whoever asked may have gone.
                    let _ = answer.send(Err(JobError::new(JobErrorKind::State, message)));
                }
                Ok(Request::Checkpoint | Request::ClockMoved) => {}
                Err(_) => return Ok(()),
            }
        }
    }

    fn report(&self, outcome: JobOutcome, policy: &RestartPolicy, totals: &Totals) -> JobReport {
        JobReport {
            outcome,
            last_checkpoint: totals.last_checkpoint,
            checkpoints_completed: totals.completed,
            checkpoints_aborted: totals.aborted,
            restarts: policy.restarts(),
            late_records: self.handle.late_records(),
        }
    }
}
