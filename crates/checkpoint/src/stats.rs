//! What happened to each checkpoint, for people: status, durations, sizes, the slow subtask.
//!
//! Pure and bounded: checkpoints in flight plus the last `history_max` that ended. Nothing is
//! decided by these values.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millpond_state::{AttemptId, CheckpointId, SubtaskId};

use crate::coordinator::topology::Ordinal;
use crate::coordinator::{AbortReason, CheckpointKind, Moment, Refusal, SubtaskMetrics};
use crate::millis;

/// How a checkpoint stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointStatus {
    /// Not ended.
    InProgress,
    /// It exists, or did until it was subsumed.
    Completed,
    /// Checkpointing itself failed.
    Failed(AbortReason),
    /// Given up because of something else: a later checkpoint, a failed subtask, the end.
    Aborted(AbortReason),
}

/// A subtask's part in the statistics of a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubtaskStats {
    /// Milliseconds from the trigger to the acknowledgement; `None` if there was none.
    pub acknowledged_after_ms: Option<u64>,
    /// Whether it acknowledged only after the checkpoint had ended.
    pub late: bool,
    /// What it measured itself.
    pub metrics: SubtaskMetrics,
}

/// Statistics of one checkpoint.
#[derive(Clone, Debug)]
pub struct CheckpointStats {
    /// Its number.
    pub id: CheckpointId,
    /// Why it was taken.
    pub kind: CheckpointKind,
    /// How it stands.
    pub status: CheckpointStatus,
    /// Milliseconds since the Unix epoch at its trigger.
    pub triggered_wall_ms: u64,
    /// Milliseconds from trigger to end; `None` while in progress.
    pub duration_ms: Option<u64>,
    /// Acknowledgements that came again after they had been counted.
    pub duplicate_acknowledgements: u64,
    /// Acknowledgements that came after the end.
    pub late_acknowledgements: u64,
    triggered_at: Duration,
    names: Arc<[SubtaskId]>,
    subtasks: Vec<SubtaskStats>,
}

impl CheckpointStats {
    /// Each subtask's part, in the topology's order.
    pub fn subtasks(&self) -> impl Iterator<Item = (&SubtaskId, &SubtaskStats)> {
        self.names.iter().zip(&self.subtasks)
    }

    /// Bytes that all subtasks in time reported.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.subtasks
            .iter()
            .filter(|part| !part.late)
            .fold(0, |sum, part| sum.saturating_add(part.metrics.bytes))
    }

    fn record(&mut self, at: Ordinal, now: Duration, metrics: SubtaskMetrics, late: bool) {
        let after = millis(now.saturating_sub(self.triggered_at));
        if let Some(part) = self.subtasks.get_mut(at.0) {
            *part = SubtaskStats { acknowledged_after_ms: Some(after), late, metrics };
        }
    }
}

/// Totals since the coordinator was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Checkpoints that got a number.
    pub triggered: u64,
    /// Checkpoints that ended [`CheckpointStatus::Completed`].
    pub completed: u64,
    /// Checkpoints that ended [`CheckpointStatus::Failed`].
    pub failed: u64,
    /// Checkpoints that ended [`CheckpointStatus::Aborted`].
    pub aborted: u64,
    /// Requests refused without getting a number.
    pub refused: u64,
    /// Acknowledgements repeated after they were counted.
    pub duplicate_acknowledgements: u64,
    /// Acknowledgements of checkpoints that had ended.
    pub late_acknowledgements: u64,
    /// Messages about subtasks or checkpoints this coordinator does not know, or that fit no
    /// state. Other than 0 deserves a look at the engine.
    pub unexpected: u64,
    /// Restores, the first one included.
    pub restored: u64,
}

/// A restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreStats {
    /// What was restored.
    pub checkpoint: CheckpointId,
    /// The attempt that began with it.
    pub attempt: AttemptId,
    /// Milliseconds since the Unix epoch.
    pub wall_ms: u64,
}

/// Statistics of a coordinator.
#[derive(Clone, Debug)]
pub struct Stats {
    history_max: usize,
    names: Arc<[SubtaskId]>,
    checkpoints: BTreeMap<CheckpointId, CheckpointStats>,
    in_progress: usize,
    totals: Totals,
    latest_restore: Option<RestoreStats>,
    latest_refusal: Option<Refusal>,
}

impl Stats {
    pub(crate) fn new(history_max: u32, names: Arc<[SubtaskId]>) -> Self {
        Self {
            history_max: history_max as usize,
            names,
            checkpoints: BTreeMap::new(),
            in_progress: 0,
            totals: Totals::default(),
            latest_restore: None,
            latest_refusal: None,
        }
    }

    /// Statistics of one checkpoint, if still kept.
    #[must_use]
    pub fn checkpoint(&self, id: CheckpointId) -> Option<&CheckpointStats> {
        self.checkpoints.get(&id)
    }

    /// All checkpoints still kept, oldest first.
    pub fn checkpoints(&self) -> impl DoubleEndedIterator<Item = &CheckpointStats> {
        self.checkpoints.values()
    }

    /// The job's subtasks as of now, in the topology's order.
    #[must_use]
    pub fn subtasks(&self) -> &[SubtaskId] {
        &self.names
    }

    /// Sums over the coordinator's life.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The last restore.
    #[must_use]
    pub fn latest_restore(&self) -> Option<RestoreStats> {
        self.latest_restore
    }

    /// Why the last refused request was refused.
    #[must_use]
    pub fn latest_refusal(&self) -> Option<&Refusal> {
        self.latest_refusal.as_ref()
    }

    pub(crate) fn set_history_max(&mut self, history_max: u32) {
        self.history_max = history_max as usize;
        self.trim();
    }

    pub(crate) fn set_names(&mut self, names: Arc<[SubtaskId]>) {
        self.names = names;
    }

    pub(crate) fn triggered(&mut self, id: CheckpointId, kind: CheckpointKind, at: Moment) {
        self.totals.triggered += 1;
        self.in_progress += 1;
        let stats = CheckpointStats {
            id,
            kind,
            status: CheckpointStatus::InProgress,
            triggered_wall_ms: at.wall_ms,
            duration_ms: None,
            duplicate_acknowledgements: 0,
            late_acknowledgements: 0,
            triggered_at: at.now,
            names: Arc::clone(&self.names),
            subtasks: vec![SubtaskStats::default(); self.names.len()],
        };
        self.checkpoints.insert(id, stats);
    }

    pub(crate) fn acknowledged(
        &mut self,
        id: CheckpointId,
        at: Ordinal,
        now: Duration,
        metrics: SubtaskMetrics,
    ) {
        if let Some(stats) = self.checkpoints.get_mut(&id) {
            stats.record(at, now, metrics, false);
        }
    }

    pub(crate) fn duplicate(&mut self, id: CheckpointId) {
        self.totals.duplicate_acknowledgements += 1;
        if let Some(stats) = self.checkpoints.get_mut(&id) {
            stats.duplicate_acknowledgements += 1;
        }
    }

    /// `at` is `None` if the job has other subtasks by now.
    pub(crate) fn late(
        &mut self,
        id: CheckpointId,
        at: Option<Ordinal>,
        now: Duration,
        metrics: SubtaskMetrics,
    ) {
        self.totals.late_acknowledgements += 1;
        let Some(stats) = self.checkpoints.get_mut(&id) else {
            return;
        };
        stats.late_acknowledgements += 1;
        // A restart may have changed the subtasks: an ordinal means something under its own names.
        if let Some(at) = at
            && Arc::ptr_eq(&stats.names, &self.names)
        {
            stats.record(at, now, metrics, true);
        }
    }

    pub(crate) fn completed(&mut self, id: CheckpointId, now: Duration) {
        self.totals.completed += 1;
        self.end(id, now, CheckpointStatus::Completed);
    }

    pub(crate) fn aborted(&mut self, id: CheckpointId, now: Duration, reason: AbortReason) {
        if reason.is_failure() {
            self.totals.failed += 1;
            self.end(id, now, CheckpointStatus::Failed(reason));
        } else {
            self.totals.aborted += 1;
            self.end(id, now, CheckpointStatus::Aborted(reason));
        }
    }

    pub(crate) fn refused(&mut self, why: &Refusal) {
        self.totals.refused += 1;
        self.latest_refusal = Some(why.clone());
    }

    pub(crate) fn unexpected(&mut self) {
        self.totals.unexpected += 1;
    }

    pub(crate) fn restored(&mut self, restore: RestoreStats) {
        self.totals.restored += 1;
        self.latest_restore = Some(restore);
    }

    fn end(&mut self, id: CheckpointId, now: Duration, status: CheckpointStatus) {
        if let Some(stats) = self.checkpoints.get_mut(&id) {
            stats.status = status;
            stats.duration_ms = Some(millis(now.saturating_sub(stats.triggered_at)));
            self.in_progress = self.in_progress.saturating_sub(1);
        }
        self.trim();
    }

    /// Forgets the oldest that ended beyond the bound. Those in progress stay.
    fn trim(&mut self) {
        while self.checkpoints.len() - self.in_progress > self.history_max {
            let oldest = self
                .checkpoints
                .values()
                .find(|stats| stats.status != CheckpointStatus::InProgress)
                .map(|stats| stats.id);
            let Some(oldest) = oldest else { return };
            self.checkpoints.remove(&oldest);
        }
    }
}
