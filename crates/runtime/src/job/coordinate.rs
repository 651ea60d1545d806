//! The loop around the checkpoint coordinator: feeds it events, carries out its actions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::select;
use millpond_checkpoint::driver::{
    JobDescription, LocalCopies, PublishError, VertexDescription, describe,
};
use millpond_checkpoint::registry::SharedFileRegistry;
use millpond_checkpoint::{
    AbortReason, Action, CheckpointToStore, CompletedCheckpoint, Coordinator, CoordinatorStart,
    DiscardReason, ErrorKind, Event, Moment, Refusal, RequestId, RequestResult, Shutdown,
    StoreEffect, SubtaskState, Topology, TriggerRequest,
};
use millpond_state::{CheckpointId, SubtaskId};

use super::attempt::{Attempt, Subtasks};
use super::handle::{Request, Savepoint, SavepointAnswer};
use super::notice::JobNotice;
use super::restore::Chosen;
use super::{JobOutcome, Totals};
use crate::channel::Barrier;
use crate::error::{JobError, JobErrorKind, Result};
use crate::task::{Control, JobEvent, SubtaskPayload};

/// Longest wait for events when the coordinator asks for none.
const IDLE_WAIT: Duration = Duration::from_secs(3_600);

/// Runs the coordinator of one attempt on the job's thread.
pub(super) struct CoordinatorLoop<'a> {
    attempt: &'a Attempt<'a>,
    subtasks: &'a Subtasks,
    totals: &'a mut Totals,
    coordinator: Coordinator<SubtaskPayload>,
    job: Arc<JobDescription>,
    /// Requests for a checkpoint or savepoint so far.
    requests: u64,
    /// Who waits for a savepoint.
    waiting: BTreeMap<RequestId, SavepointAnswer>,
    /// The newest savepoint of this attempt.
    savepoint: Option<CompletedCheckpoint>,
    /// Sources that were told to stop before they had read everything.
    paused: BTreeSet<SubtaskId>,
    failure: Option<JobError>,
}

impl<'a> CoordinatorLoop<'a> {
    pub(super) fn new(
        attempt: &'a Attempt<'a>,
        subtasks: &'a Subtasks,
        chosen: Option<&Chosen>,
        totals: &'a mut Totals,
    ) -> Result<Self> {
        let restored = chosen.map(|chosen| chosen.metadata.checkpoint);
        let after_restored = restored.map_or(CheckpointId::new(1), CheckpointId::next);
        // Without savepoints, and without what was not claimed or is of an abandoned history.
        let owned = subtasks.shared.owned(&attempt.environment.storage, &subtasks.log)?;
        let coordinator = Coordinator::new(CoordinatorStart {
            settings: attempt.graph.settings().checkpoints.clone().validate()?,
            topology: Topology::new(attempt.graph.vertex_specs())?,
            attempt: subtasks.log.id(),
            first_checkpoint: subtasks.log.first_checkpoint().max(after_restored),
            retained: owned,
            restored,
            at: Moment::default(),
        })?;
        Ok(Self {
            attempt,
            subtasks,
            totals,
            coordinator,
            job: Arc::new(describe_job(attempt)),
            requests: 0,
            waiting: BTreeMap::new(),
            savepoint: None,
            paused: BTreeSet::new(),
            failure: None,
        })
    }

    /// Runs the job until all is processed and committed, or something fails.
    pub(super) fn run(mut self) -> Result<LoopEnd> {
        for (subtask, control) in &self.subtasks.controls {
            let _ = control.send(Control::Start);
            let event = Event::SubtaskStateChanged {
                subtask: subtask.clone(),
                state: SubtaskState::Running,
            };
            let at = self.attempt.now();
            let mut actions = Vec::new();
            self.coordinator.handle(at, event, &mut actions);
            debug_assert!(actions.is_empty(), "no checkpoint begins before all subtasks run");
        }
        self.attempt.notify(&JobNotice::Running);
        if self.totals.stopping {
            self.broadcast(Control::Pause);
        }
        while self.failure.is_none() && !self.coordinator.final_checkpoint_completed() {
            self.step();
        }
        match self.failure.take() {
            Some(error) => {
                self.handle(Event::Shutdown(Shutdown::Suspended));
                Err(error)
            }
            None => {
                self.handle(Event::Shutdown(Shutdown::Finished));
                let stopped = !self.paused.is_empty();
                let outcome = if stopped { JobOutcome::Stopped } else { JobOutcome::Finished };
                Ok(LoopEnd::Ended(outcome))
            }
        }
    }

    /// Waits for the next event and handles it.
    fn step(&mut self) {
        let now = self.attempt.now().now;
        let wait = self.coordinator.next_wake().map_or(IDLE_WAIT, |at| at.saturating_sub(now));
        select! {
            recv(self.subtasks.events) -> event => match event {
                Ok(event) => self.on_event(event),
                Err(_) => self.fail(crate::channel::disconnected()),
            },
            recv(self.attempt.requests) -> request => match request {
                Ok(request) => self.on_request(request),
                // The job itself holds a sender, so this cannot be; time goes on all the same.
                Err(_) => self.handle(Event::Tick),
            },
            default(wait) => self.handle(Event::Tick),
        }
    }

    fn on_event(&mut self, event: JobEvent) {
        match event {
            JobEvent::Ready => {}
            JobEvent::AtEnd { subtask, paused } => {
                if paused {
                    self.paused.insert(subtask.clone());
                } else {
                    self.attempt.notify(&JobNotice::EndOfInput);
                }
                self.handle(Event::SubtaskStateChanged { subtask, state: SubtaskState::AtEnd });
            }
            JobEvent::Acknowledged { checkpoint, subtask, payload, metrics } => {
                let payload = *payload;
                self.handle(Event::Acknowledged { checkpoint, subtask, payload, metrics });
            }
            JobEvent::Declined { checkpoint, subtask, reason } => {
                self.handle(Event::Declined { checkpoint, subtask, reason });
            }
            JobEvent::Failed(error) => self.fail(error),
            JobEvent::Stored(checkpoint) => {
                if let Err(error) = self.subtasks.shared.with(|files| files.complete(checkpoint)) {
                    self.fail(error.into());
                }
                self.handle(Event::Stored { checkpoint });
            }
            JobEvent::StoreFailed { checkpoint, effect, reason } => {
                let id = checkpoint.head.id;
                self.subtasks.shared.with(|files| files.store_failed(id, effect));
                self.handle(Event::StoreFailed { checkpoint, effect, reason });
            }
        }
    }

    fn on_request(&mut self, request: Request) {
        match request {
            Request::Stop => {
                self.totals.stopping = true;
                self.broadcast(Control::Pause);
            }
            Request::ClockMoved => {
                self.broadcast(Control::ClockMoved);
                self.handle(Event::Tick);
            }
            Request::Checkpoint => {
                let request = self.next_request();
                self.handle(Event::TriggerRequested(TriggerRequest::Manual { request }));
            }
            Request::Savepoint { stop, answer } => {
                if stop {
                    // Before the barrier, so that the savepoint has all that was read.
                    self.totals.stopping = true;
                    self.broadcast(Control::Pause);
                }
                let request = self.next_request();
                self.waiting.insert(request, answer);
                let target = self.attempt.environment.storage.url().to_owned();
                let savepoint = TriggerRequest::Savepoint { request, target };
                self.handle(Event::TriggerRequested(savepoint));
            }
        }
    }

    fn next_request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId::new(self.requests)
    }

    /// Tells whoever waits for a savepoint how it ended. Checkpoints are answered by notices.
    fn answer(&mut self, request: RequestId, result: &RequestResult) {
        let Some(answer) = self.waiting.remove(&request) else { return };
        let answered = match (result, &self.savepoint) {
            (RequestResult::Completed(id), Some(savepoint)) if savepoint.id == *id => {
                let folder = self.attempt.environment.storage.folder(*id);
                folder.map_err(JobError::from).map(|folder| {
                    let (checkpoint, bytes) = (*id, savepoint.bytes);
                    Savepoint { checkpoint, url: folder.url(), bytes }
                })
            }
            _ => Err(no_savepoint(result)),
        };
        // Whoever asked may have gone.
        let _ = answer.send(answered);
    }

    fn fail(&mut self, error: JobError) {
        self.failure.get_or_insert(error);
    }

    fn handle(&mut self, event: Event<SubtaskPayload>) {
        let mut actions = Vec::new();
        self.coordinator.handle(self.attempt.now(), event, &mut actions);
        for action in actions {
            self.execute(action);
        }
        self.delete_unused();
    }

    /// Deletes, on a pool thread, what the registry of shared files says nothing refers to.
    fn delete_unused(&self) {
        let shared = Arc::clone(&self.subtasks.shared);
        if shared.collect_deletions() {
            let newest = self.totals.last_checkpoint.unwrap_or(CheckpointId::new(0));
            self.clean_up(newest, move |storage| storage.execute_deletions(&shared));
        }
    }

    fn execute(&mut self, action: Action<SubtaskPayload>) {
        match action {
            Action::SendBarriers { checkpoint, to, options, .. } => {
                let begin = |files: &mut SharedFileRegistry| files.begin(checkpoint, options.kind);
                if let Err(error) = self.subtasks.shared.with(begin) {
                    return self.fail(error.into());
                }
                if let Some(copies) = &self.subtasks.copies
                    && !options.kind.is_savepoint()
                {
                    copies.begin(checkpoint);
                }
                let barrier = Barrier { checkpoint, kind: options.kind };
                for control in to.iter().filter_map(|id| self.subtasks.controls.get(id)) {
                    let _ = control.send(Control::Trigger(barrier));
                }
            }
            Action::StoreMetadata(checkpoint) => self.store(checkpoint),
            Action::NotifyComplete { completed, commit } => self.complete(&completed, commit),
            Action::NotifyAborted { checkpoint, reason, .. } => {
                self.totals.aborted += 1;
                self.attempt.cancels.cancel(checkpoint);
                self.subtasks.shared.with(|files| files.abort(checkpoint));
                self.tell_copies(move |copies| copies.abort(checkpoint));
                self.broadcast(Control::Aborted(checkpoint));
                let reason = &reason;
                self.attempt.notify(&JobNotice::CheckpointAborted { checkpoint, reason });
            }
            Action::DiscardPayloads { checkpoint, payloads } => {
                self.clean_up(checkpoint, move |storage| {
                    storage.discard_snapshots(checkpoint, &payloads)
                });
            }
            Action::DiscardCompleted { checkpoint, reason } => {
                self.discard_completed(checkpoint, reason);
            }
            Action::FailJob(reason) => {
                let message = format!(
                    "{} checkpoints in a row failed, the last one, {}, since it {}",
                    reason.consecutive_failures, reason.checkpoint, reason.cause
                );
                self.fail(JobError::new(JobErrorKind::State, message));
            }
            Action::RequestDone { request, result } => self.answer(request, &result),
            // Their files stay for whoever may need them.
            Action::LeavePayloads { .. } => {}
            // Actions that later versions add concern features that this runtime does not use.
            _ => {}
        }
    }

    /// Hands a checkpoint over to be deleted. The newest ones are given up first, so that no
    /// process that takes over begins from them; if one has, they stay.
    fn discard_completed(&mut self, checkpoint: CheckpointId, reason: DiscardReason) {
        let log = &self.subtasks.log;
        if reason == DiscardReason::JobEnded
            && let Err(error) = log.give_up(&[checkpoint])
        {
            let reason = &error.to_string();
            return self.attempt.notify(&JobNotice::CleanupFailed { checkpoint, reason });
        }
        log.forget(checkpoint);
        self.subtasks.shared.with(|files| files.discard(checkpoint));
    }

    fn complete(&mut self, completed: &CompletedCheckpoint, commit: bool) {
        let checkpoint = completed.id;
        if completed.kind.is_savepoint() {
            self.savepoint = Some(completed.clone());
        }
        self.totals.completed += 1;
        self.totals.last_checkpoint = Some(checkpoint);
        self.attempt.cancels.forget(checkpoint);
        self.tell_copies(move |copies| copies.complete(checkpoint));
        self.broadcast(Control::Completed { checkpoint, commit });
        let took_ms = completed.completed_wall_ms.saturating_sub(completed.triggered_wall_ms);
        self.attempt.notify(&JobNotice::CheckpointCompleted {
            checkpoint,
            kind: completed.kind,
            duration: Duration::from_millis(took_ms),
            bytes: completed.bytes,
        });
    }

    /// Publishes metadata on a pool thread: storage may stall, timeouts must go on.
    fn store(&mut self, checkpoint: Box<CheckpointToStore<SubtaskPayload>>) {
        let environment = self.attempt.environment.clone();
        let (job, reports) = (Arc::clone(&self.job), self.subtasks.reports.clone());
        let (shared, log) = (Arc::clone(&self.subtasks.shared), Arc::clone(&self.subtasks.log));
        let work = Box::new(move || {
            let id = checkpoint.head.id;
            let published = describe(&job, &checkpoint, environment.clock.wall_ms())
                .and_then(|metadata| {
                    shared.with(|files| files.store(&metadata))?;
                    Ok(metadata)
                })
                .map_err(|error| PublishError { effect: StoreEffect::DidNotHappen, error })
                .and_then(|metadata| log.publish(&metadata));
            let fenced = |failed: &PublishError| failed.error.kind() == ErrorKind::Fenced;
            let is_fenced = published.as_ref().is_err_and(fenced);
            let _ = reports.send(match published {
                Ok(()) => JobEvent::Stored(id),
                Err(PublishError { effect, error }) => {
                    let reason = error.to_string();
                    JobEvent::StoreFailed { checkpoint, effect, reason }
                }
            });
            if is_fenced {
                let _ = reports.send(JobEvent::Failed(JobError::superseded()));
            }
        });
        if self.subtasks.pool.submit(work).is_err() {
            self.fail(crate::channel::disconnected());
        }
    }

    /// Deletes on a pool thread; a failure leaves garbage, which is reported.
    fn clean_up(
        &self,
        checkpoint: CheckpointId,
        delete: impl FnOnce(
            &millpond_checkpoint::driver::CheckpointStorage,
        ) -> Result<(), millpond_checkpoint::CheckpointError>
        + Send
        + 'static,
    ) {
        let environment = self.attempt.environment.clone();
        let work = Box::new(move || {
            if let Err(error) = delete(&environment.storage) {
                let reason = &error.to_string();
                let notice = JobNotice::CleanupFailed { checkpoint, reason };
                environment.listener.on_notice(&notice);
            }
        });
        // A pool that has ended leaves the files to the next start, which removes them.
        let _ = self.subtasks.pool.submit(work);
    }

    /// Tells the local copies, on a pool thread, how a checkpoint ended: what is of no use any more
    /// goes.
    fn tell_copies(&self, tell: impl FnOnce(&LocalCopies) + Send + 'static) {
        if let Some(copies) = self.subtasks.copies.clone() {
            // A pool that has ended leaves them to the next start.
            let _ = self.subtasks.pool.submit(Box::new(move || tell(&copies)));
        }
    }

    fn broadcast(&self, control: Control) {
        for sender in self.subtasks.controls.values() {
            // A subtask that has ended reports why by itself.
            let _ = sender.send(control);
        }
    }
}

/// Why there is no savepoint.
#[cold]
fn no_savepoint(result: &RequestResult) -> JobError {
    let why = match result {
        RequestResult::Aborted { reason: AbortReason::Shutdown(_), .. }
        | RequestResult::Refused(Refusal::Stopped | Refusal::AllFinished) => {
            return super::handle::job_over();
        }
        RequestResult::Aborted { reason, .. } => reason.to_string(),
        RequestResult::Refused(Refusal::NotRunning { subtask, .. }) => {
            format!("{subtask} is not running yet")
        }
        RequestResult::Refused(Refusal::QueueFull) => "too many others are waiting".to_owned(),
        RequestResult::Refused(Refusal::StorageStalled) => {
            "checkpoint storage has not answered for earlier checkpoints".to_owned()
        }
        RequestResult::Refused(Refusal::JobFailing) => "the job is failing".to_owned(),
        other => format!("{other:?}"),
    };
    JobError::new(JobErrorKind::State, format!("there is no savepoint: {why}"))
}

/// How the loop ended, other than by a failure.
#[derive(Clone, Copy, Debug)]
pub(super) enum LoopEnd {
    Ended(JobOutcome),
}

fn describe_job(attempt: &Attempt<'_>) -> JobDescription {
    let settings = attempt.graph.settings();
    let vertex = |vertex: &crate::graph::Vertex| VertexDescription {
        name: vertex.name.clone(),
        parallelism: vertex.parallelism,
    };
    JobDescription {
        name: settings.name.clone(),
        kind: settings.kind.clone(),
        state_backend: attempt.environment.backends.name().to_owned(),
        mode: settings.checkpoints.mode,
        max_parallelism: settings.max_parallelism,
        vertices: attempt.graph.vertices().iter().map(vertex).collect(),
    }
}
