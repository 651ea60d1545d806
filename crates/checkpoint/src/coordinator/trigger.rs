//! When a checkpoint starts: the order of those that wait, and what holds them back.

use std::time::Duration;

use super::action::{AbortReason, Action, BarrierOptions, CheckpointKind, Refusal};
use super::event::{RequestId, TriggerRequest};
use super::machine::{Coordinator, FinalCheckpoint, InFlight, Lifecycle, Progress};
use super::requests::QueuedSavepoint;
use crate::pending::{CheckpointHead, PendingCheckpoint};

/// What starts next.
#[derive(Debug)]
enum Due {
    Savepoint(QueuedSavepoint),
    Final,
    Manual(RequestId),
    Periodic,
}

impl Due {
    fn kind(&self) -> CheckpointKind {
        match self {
            Self::Savepoint(_) => CheckpointKind::Savepoint,
            Self::Final => CheckpointKind::Final,
            Self::Manual(_) => CheckpointKind::Manual,
            Self::Periodic => CheckpointKind::Periodic,
        }
    }

    fn request(&self) -> Option<RequestId> {
        match self {
            Self::Savepoint(savepoint) => Some(savepoint.request),
            Self::Manual(request) => Some(*request),
            Self::Final | Self::Periodic => None,
        }
    }
}

impl<H> Coordinator<H> {
    pub(super) fn on_request(&mut self, request: TriggerRequest, out: &mut Vec<Action<H>>) {
        let refusal = match self.lifecycle {
            Lifecycle::Stopped { .. } => Some(Refusal::Stopped),
            Lifecycle::Failing => Some(Refusal::JobFailing),
            Lifecycle::Active => self.readiness().err(),
        };
        if let Some(why) = refusal {
            return self.refuse(request.request(), why, out);
        }
        self.queue.push(request);
        // A free place is taken first: the bound is on those that wait.
        self.trigger_due(out);
        self.trim_queue(out);
    }

    /// Refuses the requests that are too many.
    pub(super) fn trim_queue(&mut self, out: &mut Vec<Action<H>>) {
        let max = self.settings.get().queued_requests_max;
        while let Some(surplus) = self.queue.pop_surplus(max) {
            self.refuse(surplus, Refusal::QueueFull, out);
        }
    }

    /// Starts everything whose time has come and that has a place.
    pub(super) fn trigger_due(&mut self, out: &mut Vec<Action<H>>) {
        while let Some(due) = self.take_due() {
            if let Some(request) = due.request()
                && let Err(why) = self.readiness()
            {
                self.refuse(request, why, out);
            } else if self.storage_is_stalled() {
                self.refuse_stalled(&due, out);
            } else {
                self.begin(due, out);
            }
        }
    }

    /// When something starts next if no event but time comes; `None` if time starts nothing.
    pub(super) fn next_trigger_time(&self) -> Option<Duration> {
        if self.lifecycle != Lifecycle::Active || !self.has_place() {
            return None;
        }
        match self.final_checkpoint {
            FinalCheckpoint::Due { not_before } if self.subtasks.none_missing() => Some(not_before),
            FinalCheckpoint::NotDue => self.periodic_due_at(),
            _ => None,
        }
    }

    /// Restarts the period when all subtasks have come to run, ends it when one does not.
    pub(super) fn refresh_period(&mut self) {
        if self.subtasks.is_ready(self.settings.get().allow_finished_subtasks) {
            self.period_start.get_or_insert(self.clock.now);
        } else {
            self.period_start = None;
        }
    }

    /// Makes the final checkpoint due at the end of input, or takes that back.
    pub(super) fn refresh_final(&mut self) {
        let wanted = self.settings.get().final_checkpoint && self.subtasks.end_of_input();
        match (self.final_checkpoint, wanted) {
            (FinalCheckpoint::NotDue, true) => {
                self.final_checkpoint = FinalCheckpoint::Due { not_before: self.clock.now };
            }
            (FinalCheckpoint::Due { .. }, false) => {
                self.final_checkpoint = FinalCheckpoint::NotDue;
            }
            _ => {}
        }
    }

    /// The final checkpoint came to nothing: again after a pause, if it is still wanted.
    pub(super) fn retry_final(&mut self) {
        self.final_checkpoint = FinalCheckpoint::NotDue;
        self.refresh_final();
        if let FinalCheckpoint::Due { not_before } = &mut self.final_checkpoint {
            *not_before = self.clock.now.saturating_add(self.settings.final_retry_pause());
        }
    }

    /// Sends a fully acknowledged checkpoint to storage.
    pub(super) fn store_if_complete(
        &mut self,
        id: millpond_state::CheckpointId,
        out: &mut Vec<Action<H>>,
    ) {
        let Some(in_flight) = self.in_flight.get_mut(&id) else {
            return;
        };
        match std::mem::replace(&mut in_flight.progress, Progress::Storing) {
            Progress::Collecting(pending) if pending.is_complete() => {
                let took = self.clock.now.saturating_sub(in_flight.triggered_at);
                let head = in_flight.head.clone();
                let complete = pending.into_complete(head, self.subtasks.topology(), took);
                out.push(Action::StoreMetadata(Box::new(complete)));
            }
            unchanged => in_flight.progress = unchanged,
        }
    }

    fn take_due(&mut self) -> Option<Due> {
        if self.lifecycle != Lifecycle::Active || !self.has_place() {
            return None;
        }
        if let Some(savepoint) = self.queue.pop_savepoint() {
            return Some(Due::Savepoint(savepoint));
        }
        let now = self.clock.now;
        match self.final_checkpoint {
            FinalCheckpoint::Due { not_before } => {
                if not_before <= now && self.subtasks.none_missing() {
                    return Some(Due::Final);
                }
            }
            FinalCheckpoint::NotDue => {
                if self.queue.is_without_manual()
                    && self.periodic_due_at().is_some_and(|at| at <= now)
                {
                    return Some(Due::Periodic);
                }
            }
            // A later checkpoint must not subsume the final one.
            FinalCheckpoint::InFlight => return None,
            FinalCheckpoint::Completed => {}
        }
        self.queue.pop_manual().map(Due::Manual)
    }

    fn periodic_due_at(&self) -> Option<Duration> {
        let due = self.period_start?.saturating_add(self.settings.interval()?);
        let paused = self.last_end.map(|end| end.saturating_add(self.settings.min_pause()));
        Some(paused.map_or(due, |paused| paused.max(due)))
    }

    fn has_place(&self) -> bool {
        self.in_flight.len() < self.settings.effective_max_concurrent()
    }

    fn readiness(&self) -> Result<(), Refusal> {
        self.subtasks.readiness(self.settings.get().allow_finished_subtasks)
    }

    /// Whether storage owes so many answers that another checkpoint would only add to them.
    fn storage_is_stalled(&self) -> bool {
        self.abandoned.len() >= self.settings.effective_max_concurrent()
    }

    /// A request is refused; a checkpoint of our own gets a number and fails with it, so that a
    /// storage that never answers is noticed by whoever counts failures.
    fn refuse_stalled(&mut self, due: &Due, out: &mut Vec<Action<H>>) {
        if let Some(request) = due.request() {
            return self.refuse(request, Refusal::StorageStalled, out);
        }
        let in_flight = self.admit(due);
        self.end_aborted(in_flight, None, AbortReason::StorageStalled, out);
    }

    fn begin(&mut self, due: Due, out: &mut Vec<Action<H>>) {
        let in_flight = self.admit(&due);
        let id = in_flight.head.id;
        let options = BarrierOptions {
            mode: self.settings.get().mode,
            kind: in_flight.head.kind,
            target: in_flight.head.target.clone(),
        };
        self.in_flight.insert(id, in_flight);
        let to = self.subtasks.topology().barrier_entries(|at| self.subtasks.is_finished(at));
        out.push(Action::SendBarriers { checkpoint: id, attempt: self.attempt, to, options });
        self.store_if_complete(id, out);
    }

    /// Gives a checkpoint its number and starts its statistics.
    fn admit(&mut self, due: &Due) -> InFlight<H> {
        let id = self.next_id;
        self.next_id = id.next();
        let target = match due {
            Due::Savepoint(savepoint) => Some(savepoint.target.clone()),
            Due::Final | Due::Manual(_) | Due::Periodic => None,
        };
        match due {
            Due::Periodic => self.period_start = Some(self.clock.now),
            Due::Final => self.final_checkpoint = FinalCheckpoint::InFlight,
            Due::Savepoint(_) | Due::Manual(_) => {}
        }
        self.stats.triggered(id, due.kind(), self.clock);
        InFlight {
            head: CheckpointHead {
                id,
                attempt: self.attempt,
                kind: due.kind(),
                target,
                triggered_wall_ms: self.clock.wall_ms,
            },
            request: due.request(),
            triggered_at: self.clock.now,
            deadline: self.clock.now.saturating_add(self.settings.timeout()),
            bytes: 0,
            progress: Progress::Collecting(PendingCheckpoint::new(self.subtasks.finished())),
        }
    }
}
