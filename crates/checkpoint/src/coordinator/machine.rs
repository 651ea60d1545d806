//! The coordinator as a state machine: (state, event) to actions, nothing else.
//!
//! # Invariants
//! - Numbers of checkpoints strictly increase, over attempts too.
//! - A checkpoint is complete only after every subtask acknowledged or had finished **and** its
//!   metadata was stored. Each acknowledgement counts once.
//! - Listeners hear of each checkpoint at most once that it completed, or at most once that it was
//!   aborted, never both; exactly one of the two once the coordinator has ended. Completions other
//!   than savepoints are told in increasing order, and what a completion subsumes is told aborted
//!   before it, oldest first. Any other abort is told at once: subtasks wait for it.
//! - At most `max_concurrent` checkpoints are in flight, and as many abandoned ones (aborted while
//!   being stored) may still wait for storage to answer.
//! - Each payload leaves the machine once: to storage, discarded, or left in place with a reason.
//! - After [`Event::Shutdown`] only belated files are disposed of and requests refused.
//!
//! # States of a checkpoint
//! `Unknown` has no record: never triggered, or ended and settled. `Abandoned` was aborted while
//! being stored, and storage owes the answer. `Held` was aborted too, and exists or may exist.
//! `Retained` is completed and known to be kept, or a completed savepoint.
//!
//! | event | Unknown | Collecting | Storing | Abandoned | Held | Retained |
//! |---|---|---|---|---|---|---|
//! | trigger | SendBarriers, to Collecting (to Storing if all finished) | - | - | - | - | - |
//! | acknowledged, last one missing | DiscardPayloads (1) | StoreMetadata, to Storing | - | - | - | - |
//! | acknowledged, others missing | DiscardPayloads (1) | counted | - | - | - | - |
//! | acknowledged again | DiscardPayloads (1) | LeavePayloads | LeavePayloads | LeavePayloads | LeavePayloads | LeavePayloads |
//! | acknowledged by an unknown subtask | DiscardPayloads (1) | DiscardPayloads | DiscardPayloads | DiscardPayloads | DiscardPayloads | LeavePayloads |
//! | declined | ignored | abort | ignored (2) | ignored | ignored | ignored |
//! | trigger failed | ignored | abort | abort, to Abandoned | ignored | ignored | ignored |
//! | stored | ignored (3) | ignored (3) | complete | to Held (4) | ignored | ignored |
//! | store failed | LeavePayloads (3) | LeavePayloads (3) | abort, DiscardPayloads | DiscardPayloads | LeavePayloads (3) | LeavePayloads |
//! | store failed, may have happened | LeavePayloads (3) | LeavePayloads (3) | abort, LeavePayloads, to Held | LeavePayloads, to Held (4) | LeavePayloads (3) | LeavePayloads |
//! | time is up | - | abort | abort, to Abandoned | - | - | - |
//! | a later checkpoint completes | - | abort (5) | abort (5), to Abandoned | - | DiscardCompleted (8) | discarded when one too many |
//! | a subtask finishes | - | counted without payload; StoreMetadata if last (6) | - | - | - | - |
//! | a subtask fails, job restarts | - | abort | abort, to Abandoned | - (7) | - (7) | - |
//! | shutdown | - | abort | abort, to Abandoned | - | DiscardCompleted unless retained | DiscardCompleted unless retained |
//!
//! *Abort* is NotifyAborted, DiscardPayloads if payloads are here, RequestDone if it was asked
//! for, and FailJob if it is one failure too many. *Complete* is NotifyAborted of the subsumed,
//! NotifyComplete, DiscardCompleted of the surplus, RequestDone.
//!
//! 1. Numbers below the first one given out are another coordinator's: LeavePayloads. So it is for
//!    a checkpoint that existed and was discarded: it is deleted metadata first, and may be there
//!    still.
//! 2. Everything is acknowledged, hence durable: a decline can only be a stale message.
//! 3. The executor's mistake, counted in the statistics; nothing is deleted on such ground.
//! 4. After a shutdown that retains nothing: DiscardCompleted.
//! 5. Savepoints neither subsume nor are subsumed.
//! 6. If finished subtasks are not allowed: abort.
//! 7. The checkpoint the job restarts from evidently exists: to Retained.
//! 8. Not before: another process that takes over may have begun from it.
//!
//! # States of the coordinator
//! | event | Active | Failing | Stopped |
//! |---|---|---|---|
//! | tick | timeouts, due triggers | nothing | nothing |
//! | trigger requested | queued, or refused | refused | refused |
//! | too many failures | FailJob, abort all, to Failing | - | - |
//! | subtask state changed | recorded; may start the final checkpoint | recorded | ignored |
//! | restarted | abort all, new subtasks | new subtasks, to Active | ignored |
//! | settings changed | hold from now on | hold from now on | ignored |
//! | shutdown | abort all, to Stopped | to Stopped | ignored |
//!
//! # What may have happened after an abort
//! A checkpoint aborted while it is being stored may exist in storage, now or a little later. A
//! restore then finds it whole and newest and may begin from it, which is correct: all its state is
//! durable. It follows that listeners must keep prepared output of an aborted checkpoint until a
//! later one completes, and that nothing of it is deleted before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millpond_state::{AttemptId, CheckpointId, SubtaskId};

use super::action::{AbortReason, Action, LeaveReason, Refusal, RequestResult};
use super::event::{DeclineReason, Event, Moment, RequestId, StoreEffect, SubtaskMetrics};
use super::requests::RequestQueue;
use super::settings::ValidSettings;
use super::subtasks::Subtasks;
use super::topology::{Ordinal, Topology};
use crate::completed::CompletedCheckpoint;
use crate::error::{CheckpointError, ErrorKind, Result};
use crate::failure::FailureCounter;
use crate::pending::{CheckpointHead, CheckpointToStore, PendingCheckpoint, Taken};
use crate::retention::Retention;
use crate::stats::Stats;

/// What a coordinator starts from.
#[derive(Debug)]
pub struct CoordinatorStart {
    /// When and how to take checkpoints.
    pub settings: ValidSettings,
    /// The job graph.
    pub topology: Topology,
    /// The execution attempt that begins.
    pub attempt: AttemptId,
    /// The number of the first checkpoint: above every number used before, completed or not.
    pub first_checkpoint: CheckpointId,
    /// Completed checkpoints found in storage that this job owns, in any order.
    pub retained: Vec<CompletedCheckpoint>,
    /// What the job starts from; `None` for the beginning.
    pub restored: Option<CheckpointId>,
    /// Now.
    pub at: Moment,
}

/// A checkpoint in flight.
#[derive(Debug)]
pub(super) struct InFlight<H> {
    pub(super) head: CheckpointHead,
    pub(super) request: Option<RequestId>,
    pub(super) triggered_at: Duration,
    pub(super) deadline: Duration,
    pub(super) bytes: u64,
    pub(super) progress: Progress<H>,
}

#[derive(Debug)]
pub(super) enum Progress<H> {
    Collecting(PendingCheckpoint<H>),
    Storing,
}

/// A checkpoint aborted while storage was at it.
#[derive(Debug)]
pub(super) struct Abandoned {
    pub(super) head: CheckpointHead,
    pub(super) bytes: u64,
}

/// Where the coordinator is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifecycle {
    Active,
    Failing,
    Stopped { retained: bool },
}

/// Where the final checkpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FinalCheckpoint {
    NotDue,
    Due { not_before: Duration },
    InFlight,
    Completed,
}

/// The checkpoint coordinator. Not shared between threads: one owner feeds it events.
#[derive(Debug)]
pub struct Coordinator<H> {
    pub(super) settings: ValidSettings,
    pub(super) subtasks: Subtasks,
    pub(super) attempt: AttemptId,
    pub(super) clock: Moment,
    pub(super) lifecycle: Lifecycle,
    pub(super) first_id: CheckpointId,
    pub(super) next_id: CheckpointId,
    pub(super) in_flight: BTreeMap<CheckpointId, InFlight<H>>,
    pub(super) abandoned: BTreeMap<CheckpointId, Abandoned>,
    /// Aborted checkpoints that exist or may exist: discarded once a later one is complete.
    pub(super) held: BTreeMap<CheckpointId, Abandoned>,
    /// The newest of those that existed and were handed over to be deleted.
    pub(super) discarded: BTreeSet<CheckpointId>,
    pub(super) queue: RequestQueue,
    /// When the running period began: the last periodic trigger, or when all subtasks ran. `None`
    /// while one of them does not.
    pub(super) period_start: Option<Duration>,
    pub(super) last_end: Option<Duration>,
    pub(super) final_checkpoint: FinalCheckpoint,
    pub(super) retention: Retention,
    pub(super) failures: FailureCounter,
    pub(super) stats: Stats,
}

impl<H> Coordinator<H> {
    /// A coordinator whose subtasks are all starting.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if two retained checkpoints have the same number, or one has
    /// a number not below `first_checkpoint`.
    pub fn new(start: CoordinatorStart) -> Result<Self> {
        let newest = start.retained.iter().map(|completed| completed.id).chain(start.restored);
        if let Some(newest) = newest.max().filter(|newest| *newest >= start.first_checkpoint) {
            return Err(CheckpointError::new(
                ErrorKind::InvalidArgument,
                format!(
                    "checkpoint {newest} exists, so the first new one must have a higher number \
                     than {}",
                    start.first_checkpoint
                ),
            ));
        }
        let plain = start.settings.get();
        let subtasks = Subtasks::new(start.topology);
        let mut coordinator = Self {
            retention: Retention::restore(plain.retained_max, start.retained)?,
            failures: FailureCounter::new(plain.tolerable_consecutive_failures),
            stats: Stats::new(plain.history_max, subtasks.names()),
            settings: start.settings,
            subtasks,
            attempt: start.attempt,
            clock: start.at,
            lifecycle: Lifecycle::Active,
            first_id: start.first_checkpoint,
            next_id: start.first_checkpoint,
            in_flight: BTreeMap::new(),
            abandoned: BTreeMap::new(),
            held: BTreeMap::new(),
            discarded: BTreeSet::new(),
            queue: RequestQueue::default(),
            period_start: None,
            last_end: None,
            final_checkpoint: FinalCheckpoint::NotDue,
        };
        coordinator.record_restore(start.restored);
        Ok(coordinator)
    }

    /// Takes one event and appends what is to be done to `out`. Timeouts that passed before it are
    /// dealt with first, triggers that became due last.
    pub fn handle(&mut self, at: Moment, event: Event<H>, out: &mut Vec<Action<H>>) {
        self.clock = Moment { now: self.clock.now.max(at.now), wall_ms: at.wall_ms };
        self.expire(out);
        match event {
            Event::Tick => {}
            Event::TriggerRequested(request) => self.on_request(request, out),
            Event::Acknowledged { checkpoint, subtask, payload, metrics } => {
                self.on_acknowledged(checkpoint, &subtask, (payload, metrics), out);
            }
            Event::Declined { checkpoint, subtask, reason } => {
                self.on_declined(checkpoint, subtask, reason, out);
            }
            Event::Stored { checkpoint } => self.on_stored(checkpoint, out),
            Event::StoreFailed { checkpoint, effect, reason } => {
                self.on_store_failed(*checkpoint, effect, reason, out);
            }
            Event::TriggerFailed { checkpoint, reason } => {
                if !self.abort(checkpoint, AbortReason::TriggerFailed(reason), out) {
                    self.stats.unexpected();
                }
            }
            Event::SubtaskStateChanged { subtask, state } => {
                self.on_subtask_state(subtask, state, out);
            }
            Event::Restarted { attempt, topology, restored } => {
                self.on_restarted(attempt, topology, restored, out);
            }
            Event::SettingsChanged(settings) => self.on_settings(settings, out),
            Event::Shutdown(how) => self.on_shutdown(how, out),
        }
        self.trigger_due(out);
    }

    /// When [`Event::Tick`] is needed next, on the monotonic clock; `None` if only another event
    /// can change anything. Ask after each [`Self::handle`]. Ticks at other times do no harm.
    #[must_use]
    pub fn next_wake(&self) -> Option<Duration> {
        let timeout = self.in_flight.values().map(|it| it.deadline).min();
        timeout.into_iter().chain(self.next_trigger_time()).min()
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &ValidSettings {
        &self.settings
    }

    /// The completed checkpoints that are retained.
    #[must_use]
    pub fn retention(&self) -> &Retention {
        &self.retention
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Numbers of the checkpoints in flight, oldest first.
    pub fn in_flight(&self) -> impl Iterator<Item = CheckpointId> + '_ {
        self.in_flight.keys().copied()
    }

    /// Number of requests that wait.
    #[must_use]
    pub fn queued_requests(&self) -> usize {
        self.queue.len()
    }

    /// Failed checkpoints in a row so far.
    #[must_use]
    pub fn consecutive_failures(&self) -> u32 {
        self.failures.consecutive()
    }

    /// Whether the final checkpoint of this attempt is complete: subtasks that wait for it may end.
    #[must_use]
    pub fn final_checkpoint_completed(&self) -> bool {
        self.final_checkpoint == FinalCheckpoint::Completed
    }

    fn on_acknowledged(
        &mut self,
        id: CheckpointId,
        subtask: &SubtaskId,
        (payload, metrics): (H, SubtaskMetrics),
        out: &mut Vec<Action<H>>,
    ) {
        let at = self.subtasks.ordinal(subtask);
        let now = self.clock.now;
        let Some(in_flight) = self.in_flight.get_mut(&id) else {
            return self.on_acknowledged_after_end(id, at, (payload, metrics), out);
        };
        let Some(at) = at else {
            self.stats.unexpected();
            return out.push(discard(id, vec![payload]));
        };
        let taken = match &mut in_flight.progress {
            Progress::Collecting(pending) => pending.acknowledge(at, payload, metrics),
            Progress::Storing => Taken::Duplicate(payload),
        };
        match taken {
            Taken::Duplicate(payload) => {
                self.stats.duplicate(id);
                out.push(leave(id, vec![payload], LeaveReason::Duplicate));
            }
            Taken::Counted | Taken::Last => {
                in_flight.bytes = in_flight.bytes.saturating_add(metrics.bytes);
                self.stats.acknowledged(id, at, now, metrics);
                self.store_if_complete(id, out);
            }
        }
    }

    /// An acknowledgement for a checkpoint that is not in flight.
    fn on_acknowledged_after_end(
        &mut self,
        id: CheckpointId,
        at: Option<Ordinal>,
        (payload, metrics): (H, SubtaskMetrics),
        out: &mut Vec<Action<H>>,
    ) {
        let payloads = vec![payload];
        let may_exist = self.abandoned.contains_key(&id) || self.held.contains_key(&id);
        let existed = self.retention.is_kept(id) || self.discarded.contains(&id);
        if existed || (may_exist && at.is_some()) {
            self.stats.duplicate(id);
            out.push(leave(id, payloads, LeaveReason::Duplicate));
        } else if id < self.first_id {
            self.stats.unexpected();
            out.push(leave(id, payloads, LeaveReason::Unexpected));
        } else {
            if id < self.next_id {
                self.stats.late(id, at, self.clock.now, metrics);
            } else {
                self.stats.unexpected();
            }
            out.push(discard(id, payloads));
        }
    }

    fn on_declined(
        &mut self,
        id: CheckpointId,
        subtask: SubtaskId,
        reason: DeclineReason,
        out: &mut Vec<Action<H>>,
    ) {
        if self.subtasks.ordinal(&subtask).is_none() {
            return self.stats.unexpected();
        }
        let collecting = |it: &InFlight<H>| matches!(it.progress, Progress::Collecting(_));
        if self.in_flight.get(&id).is_some_and(collecting) {
            self.abort(id, AbortReason::Declined { subtask, reason }, out);
        }
    }

    fn on_stored(&mut self, id: CheckpointId, out: &mut Vec<Action<H>>) {
        let storing = |it: &InFlight<H>| matches!(it.progress, Progress::Storing);
        if self.in_flight.get(&id).is_some_and(storing) {
            self.complete(id, out);
        } else if let Some(abandoned) = self.abandoned.remove(&id) {
            self.hold(abandoned, out);
        } else if !self.retention.is_kept(id) {
            self.stats.unexpected();
        }
    }

    fn on_store_failed(
        &mut self,
        stored: CheckpointToStore<H>,
        effect: StoreEffect,
        reason: String,
        out: &mut Vec<Action<H>>,
    ) {
        let id = stored.head.id;
        let payloads = stored.into_payloads();
        let storing = |it: &InFlight<H>| matches!(it.progress, Progress::Storing);
        if self.in_flight.get(&id).is_some_and(storing) {
            if let Some(in_flight) = self.in_flight.remove(&id) {
                let record = Abandoned { head: in_flight.head.clone(), bytes: in_flight.bytes };
                let returned = Some((payloads, effect));
                self.end_aborted(in_flight, returned, AbortReason::StoreFailed(reason), out);
                if effect == StoreEffect::MayHaveHappened {
                    self.hold(record, out);
                }
            }
        } else if let Some(abandoned) = self.abandoned.remove(&id) {
            out.push(return_payloads(id, payloads, effect));
            if effect == StoreEffect::MayHaveHappened {
                self.hold(abandoned, out);
            }
        } else {
            // Fail closed: these may be the files of a checkpoint that is retained.
            if !self.retention.is_kept(id) {
                self.stats.unexpected();
            }
            out.push(leave(id, payloads, LeaveReason::Unexpected));
        }
    }

    /// Answers a request that is not tried.
    pub(super) fn refuse(&mut self, request: RequestId, why: Refusal, out: &mut Vec<Action<H>>) {
        self.stats.refused(&why);
        out.push(Action::RequestDone { request, result: RequestResult::Refused(why) });
    }

    /// Answers all requests that wait.
    pub(super) fn refuse_queued(&mut self, why: Refusal, out: &mut Vec<Action<H>>) {
        for request in self.queue.take_all() {
            self.refuse(request, why.clone(), out);
        }
    }
}

/// Disposes of payloads that no metadata of ours names.
pub(super) fn discard<H>(checkpoint: CheckpointId, payloads: Vec<H>) -> Action<H> {
    Action::DiscardPayloads { checkpoint, payloads }
}

/// What becomes of payloads that storage gave back.
pub(super) fn return_payloads<H>(
    checkpoint: CheckpointId,
    payloads: Vec<H>,
    effect: StoreEffect,
) -> Action<H> {
    match effect {
        StoreEffect::DidNotHappen => discard(checkpoint, payloads),
        StoreEffect::MayHaveHappened => leave(checkpoint, payloads, LeaveReason::InDoubt),
    }
}

fn leave<H>(checkpoint: CheckpointId, payloads: Vec<H>, reason: LeaveReason) -> Action<H> {
    Action::LeavePayloads { checkpoint, payloads, reason }
}
