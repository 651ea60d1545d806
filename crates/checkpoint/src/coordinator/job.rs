//! What happens to the job as a whole: its subtasks come and go, it restarts, its settings change,
//! it ends.

use millpond_state::{AttemptId, CheckpointId, SubtaskId};

use super::action::{AbortReason, Action, CheckpointKind, DiscardReason, Refusal};
use super::event::{DeclineReason, Shutdown};
use super::machine::{Coordinator, FinalCheckpoint, Lifecycle, Progress};
use super::settings::ValidSettings;
use super::subtasks::Subtasks;
use super::topology::{Ordinal, SubtaskState, Topology};
use crate::stats::RestoreStats;

impl<H> Coordinator<H> {
    pub(super) fn on_subtask_state(
        &mut self,
        subtask: SubtaskId,
        state: SubtaskState,
        out: &mut Vec<Action<H>>,
    ) {
        if matches!(self.lifecycle, Lifecycle::Stopped { .. }) {
            return;
        }
        let Some(at) = self.subtasks.ordinal(&subtask) else {
            return self.stats.unexpected();
        };
        self.subtasks.set(at, state);
        match state {
            SubtaskState::Failed => {
                self.abort_all(&AbortReason::SubtaskFailed(subtask), out);
                self.refuse_queued(Refusal::JobFailing, out);
            }
            SubtaskState::Finished => self.finish_in_flight(at, &subtask, out),
            SubtaskState::Starting | SubtaskState::Running | SubtaskState::AtEnd => {}
        }
        self.refresh_period();
        self.refresh_final();
    }

    /// A subtask ended: checkpoints that wait for it wait no longer.
    fn finish_in_flight(&mut self, at: Ordinal, subtask: &SubtaskId, out: &mut Vec<Action<H>>) {
        let ids: Vec<_> = self.in_flight.keys().copied().collect();
        for id in ids {
            let Some(in_flight) = self.in_flight.get_mut(&id) else {
                continue;
            };
            let Progress::Collecting(pending) = &mut in_flight.progress else {
                continue;
            };
            let allowed = self.settings.get().allow_finished_subtasks
                || in_flight.head.kind == CheckpointKind::Final;
            if allowed {
                if pending.finish(at) {
                    self.store_if_complete(id, out);
                }
            } else if pending.is_waiting_for(at) {
                let reason = DeclineReason::NotReady;
                let subtask = subtask.clone();
                self.abort(id, AbortReason::Declined { subtask, reason }, out);
            }
        }
    }

    pub(super) fn on_restarted(
        &mut self,
        attempt: AttemptId,
        topology: Topology,
        restored: Option<CheckpointId>,
        out: &mut Vec<Action<H>>,
    ) {
        if matches!(self.lifecycle, Lifecycle::Stopped { .. }) {
            return;
        }
        self.abort_all(&AbortReason::Restarted, out);
        self.refuse_queued(Refusal::JobFailing, out);
        self.lifecycle = Lifecycle::Active;
        self.attempt = attempt;
        self.subtasks = Subtasks::new(topology);
        self.stats.set_names(self.subtasks.names());
        self.failures.reset();
        self.period_start = None;
        self.last_end = None;
        self.final_checkpoint = FinalCheckpoint::NotDue;
        if let Some(id) = restored {
            self.adopt(id, out);
            self.next_id = self.next_id.max(id.next());
        }
        self.record_restore(restored);
    }

    pub(super) fn record_restore(&mut self, restored: Option<CheckpointId>) {
        if let Some(checkpoint) = restored {
            let (attempt, wall_ms) = (self.attempt, self.clock.wall_ms);
            self.stats.restored(RestoreStats { checkpoint, attempt, wall_ms });
        }
    }

    pub(super) fn on_settings(&mut self, settings: ValidSettings, out: &mut Vec<Action<H>>) {
        if matches!(self.lifecycle, Lifecycle::Stopped { .. }) {
            return;
        }
        self.settings = settings;
        let plain = self.settings.get();
        let retained_max = plain.retained_max;
        self.failures.set_tolerable(plain.tolerable_consecutive_failures);
        self.stats.set_history_max(plain.history_max);
        self.trim_queue(out);
        let surplus = self.retention.set_max(retained_max);
        self.discard_completed(surplus, DiscardReason::Subsumed, out);
        self.refresh_period();
        self.refresh_final();
    }

    pub(super) fn on_shutdown(&mut self, how: Shutdown, out: &mut Vec<Action<H>>) {
        if matches!(self.lifecycle, Lifecycle::Stopped { .. }) {
            return;
        }
        let plain = self.settings.get();
        let retained = match how {
            Shutdown::Suspended => true,
            Shutdown::Finished => plain.retain_on_finish,
            Shutdown::Cancelled => plain.retain_on_cancel,
            Shutdown::Failed => plain.retain_on_failure,
        };
        self.lifecycle = Lifecycle::Stopped { retained };
        self.abort_all(&AbortReason::Shutdown(how), out);
        self.refuse_queued(Refusal::Stopped, out);
        self.final_checkpoint = match self.final_checkpoint {
            FinalCheckpoint::Completed => FinalCheckpoint::Completed,
            _ => FinalCheckpoint::NotDue,
        };
        if !retained {
            let mut all = self.retention.take_all();
            all.extend(std::mem::take(&mut self.held).into_keys());
            self.discard_completed(all, DiscardReason::JobEnded, out);
        }
    }
}
