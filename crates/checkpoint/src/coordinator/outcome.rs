//! How a checkpoint ends: complete, aborted, or together with the coordinator.

use millpond_state::CheckpointId;

use super::action::{
    AbortReason, Action, CheckpointKind, DiscardReason, FailJobReason, Phase, Refusal,
    RequestResult,
};
use super::event::StoreEffect;
use super::machine::{
    Abandoned, Coordinator, FinalCheckpoint, InFlight, Lifecycle, Progress, return_payloads,
};
use crate::completed::CompletedCheckpoint;
use crate::failure::Verdict;
use crate::pending::CheckpointHead;

/// So many of the newest discarded checkpoints are remembered, to tell a repeated acknowledgement
/// of one, whose deletion may be under way, from a late one of an aborted checkpoint.
const DISCARDED_REMEMBERED_MAX: usize = 4_096;

impl<H> Coordinator<H> {
    /// Aborts every checkpoint whose time is up.
    pub(super) fn expire(&mut self, out: &mut Vec<Action<H>>) {
        let now = self.clock.now;
        let expired: Vec<_> = self
            .in_flight
            .iter()
            .filter(|(_, it)| it.deadline <= now)
            .map(|(id, it)| match it.progress {
                Progress::Collecting(_) => (*id, Phase::Collecting),
                Progress::Storing => (*id, Phase::Storing),
            })
            .collect();
        for (id, phase) in expired {
            self.abort(id, AbortReason::TimedOut(phase), out);
        }
    }

    /// Metadata is durable: the checkpoint exists.
    pub(super) fn complete(&mut self, id: CheckpointId, out: &mut Vec<Action<H>>) {
        let Some(in_flight) = self.in_flight.remove(&id) else {
            return;
        };
        let kind = in_flight.head.kind;
        if !kind.is_savepoint() {
            self.subsume_before(id, out);
            self.failures.record_success(id);
        }
        if kind == CheckpointKind::Final {
            self.final_checkpoint = FinalCheckpoint::Completed;
        }
        self.last_end = Some(self.clock.now);
        self.stats.completed(id, self.clock.now);
        let completed = self.completed(&in_flight.head, in_flight.bytes);
        let surplus = self.retention.add(completed.clone());
        out.push(Action::NotifyComplete { completed, commit: !kind.is_savepoint() });
        if !kind.is_savepoint() {
            self.discard_held_before(id, out);
        }
        self.discard_completed(surplus, DiscardReason::Subsumed, out);
        if let Some(request) = in_flight.request {
            out.push(Action::RequestDone { request, result: RequestResult::Completed(id) });
        }
    }

    /// Aborts a checkpoint in flight. Says whether there was one.
    pub(super) fn abort(
        &mut self,
        id: CheckpointId,
        reason: AbortReason,
        out: &mut Vec<Action<H>>,
    ) -> bool {
        let Some(in_flight) = self.in_flight.remove(&id) else {
            return false;
        };
        self.end_aborted(in_flight, None, reason, out);
        true
    }

    /// Aborts all checkpoints in flight, oldest first.
    pub(super) fn abort_all(&mut self, reason: &AbortReason, out: &mut Vec<Action<H>>) {
        while let Some((_, in_flight)) = self.in_flight.pop_first() {
            self.end_aborted(in_flight, None, reason.clone(), out);
        }
    }

    /// Ends a checkpoint taken out of those in flight. `returned` are payloads that storage gave
    /// back.
    pub(super) fn end_aborted(
        &mut self,
        in_flight: InFlight<H>,
        returned: Option<(Vec<H>, StoreEffect)>,
        reason: AbortReason,
        out: &mut Vec<Action<H>>,
    ) {
        let InFlight { head, request, bytes, progress, .. } = in_flight;
        let (id, kind) = (head.id, head.kind);
        let latest_completed = self.retention.latest_checkpoint().map(|it| it.id);
        out.push(Action::NotifyAborted {
            checkpoint: id,
            reason: reason.clone(),
            latest_completed,
        });
        let (payloads, effect) = match (progress, returned) {
            (_, Some(returned)) => returned,
            (Progress::Collecting(pending), None) => {
                (pending.into_payloads(), StoreEffect::DidNotHappen)
            }
            (Progress::Storing, None) => {
                self.abandoned.insert(id, Abandoned { head, bytes });
                (Vec::new(), StoreEffect::DidNotHappen)
            }
        };
        if !payloads.is_empty() {
            out.push(return_payloads(id, payloads, effect));
        }
        if let Some(request) = request {
            let result = RequestResult::Aborted { checkpoint: id, reason: reason.clone() };
            out.push(Action::RequestDone { request, result });
        }
        self.last_end = Some(self.clock.now);
        self.stats.aborted(id, self.clock.now, reason.clone());
        if kind == CheckpointKind::Final {
            self.retry_final();
        }
        if reason.is_failure() && !kind.is_savepoint() {
            self.count_failure(id, reason, out);
        }
    }

    /// An aborted checkpoint exists, or may exist. A process that takes over may have begun from it
    /// unless a later one is complete: only then it may go.
    pub(super) fn hold(&mut self, aborted: Abandoned, out: &mut Vec<Action<H>>) {
        let id = aborted.head.id;
        let subsumed = self.retention.latest_checkpoint().is_some_and(|latest| latest.id > id);
        match self.lifecycle {
            // It is for a successor to decide on.
            Lifecycle::Stopped { retained: true } => {}
            Lifecycle::Stopped { retained: false } => {
                self.discard_completed(vec![id], DiscardReason::JobEnded, out);
            }
            _ if subsumed => self.discard_completed(vec![id], DiscardReason::StoredTooLate, out),
            _ => {
                self.held.insert(id, aborted);
            }
        }
    }

    /// Discards the aborted checkpoints before `id`, which is complete.
    fn discard_held_before(&mut self, id: CheckpointId, out: &mut Vec<Action<H>>) {
        let later = self.held.split_off(&id);
        let earlier = std::mem::replace(&mut self.held, later);
        let earlier = earlier.into_keys().collect();
        self.discard_completed(earlier, DiscardReason::StoredTooLate, out);
    }

    /// The job starts from `id`, so it exists; if it was abandoned, it must not be discarded when
    /// storage gives its answer.
    pub(super) fn adopt(&mut self, id: CheckpointId, out: &mut Vec<Action<H>>) {
        if let Some(abandoned) = self.abandoned.remove(&id).or_else(|| self.held.remove(&id)) {
            let completed = self.completed(&abandoned.head, abandoned.bytes);
            let surplus = self.retention.add(completed);
            self.discard_completed(surplus, DiscardReason::Subsumed, out);
        }
    }

    pub(super) fn discard_completed(
        &mut self,
        ids: Vec<CheckpointId>,
        reason: DiscardReason,
        out: &mut Vec<Action<H>>,
    ) {
        self.discarded.extend(&ids);
        while self.discarded.len() > DISCARDED_REMEMBERED_MAX {
            self.discarded.pop_first();
        }
        out.extend(
            ids.into_iter().map(|checkpoint| Action::DiscardCompleted { checkpoint, reason }),
        );
    }

    /// Aborts older checkpoints in flight because `by` completed.
    fn subsume_before(&mut self, by: CheckpointId, out: &mut Vec<Action<H>>) {
        let older: Vec<_> = self
            .in_flight
            .range(..by)
            .filter(|(_, it)| !it.head.kind.is_savepoint())
            .map(|(id, _)| *id)
            .collect();
        for id in older {
            self.abort(id, AbortReason::Subsumed { by }, out);
        }
    }

    fn count_failure(&mut self, id: CheckpointId, cause: AbortReason, out: &mut Vec<Action<H>>) {
        if self.lifecycle != Lifecycle::Active {
            return;
        }
        if let Verdict::Exceeded { consecutive } = self.failures.record_failure(id) {
            self.lifecycle = Lifecycle::Failing;
            let reason = FailJobReason { consecutive_failures: consecutive, checkpoint: id, cause };
            out.push(Action::FailJob(reason));
            self.abort_all(&AbortReason::JobFailing, out);
            self.refuse_queued(Refusal::JobFailing, out);
        }
    }

    fn completed(&self, head: &CheckpointHead, bytes: u64) -> CompletedCheckpoint {
        CompletedCheckpoint {
            id: head.id,
            kind: head.kind,
            triggered_wall_ms: head.triggered_wall_ms,
            completed_wall_ms: self.clock.wall_ms,
            bytes,
        }
    }
}
