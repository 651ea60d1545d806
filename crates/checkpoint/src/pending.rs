//! A checkpoint under way, and the complete one that goes to storage. Two types: the first
//! collects, the second is made from it once nothing is missing, and never changes.
//!
//! Invariant: each subtask's acknowledgement is taken at most once; a payload that is not taken is
//! handed back to the caller.

use std::time::Duration;

use millpond_state::{AttemptId, CheckpointId, SubtaskId};

use crate::coordinator::topology::{Ordinal, Topology};
use crate::coordinator::{CheckpointKind, SubtaskMetrics};

/// What every checkpoint has from its trigger on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointHead {
    /// Its number.
    pub id: CheckpointId,
    /// The execution attempt that takes it.
    pub attempt: AttemptId,
    /// Why it is taken.
    pub kind: CheckpointKind,
    /// Where a savepoint goes.
    pub target: Option<String>,
    /// Milliseconds since the Unix epoch at its trigger.
    pub triggered_wall_ms: u64,
}

/// A subtask's part of a complete checkpoint.
#[derive(Debug)]
pub enum SubtaskPart<H> {
    /// It took its snapshot.
    Acknowledged {
        /// What it wrote.
        payload: H,
        /// What it measured.
        metrics: SubtaskMetrics,
    },
    /// It had finished: it counts as acknowledged and has no state.
    Finished,
}

/// A checkpoint that every subtask acknowledged: what metadata is made from.
#[derive(Debug)]
pub struct CheckpointToStore<H> {
    /// Number, kind and origin.
    pub head: CheckpointHead,
    /// Milliseconds from the trigger to the last acknowledgement.
    pub acknowledged_after_ms: u64,
    /// One part for each subtask, in the topology's order.
    pub parts: Vec<(SubtaskId, SubtaskPart<H>)>,
}

impl<H> CheckpointToStore<H> {
    /// The payloads alone, to discard them.
    #[must_use]
    pub fn into_payloads(self) -> Vec<H> {
        self.parts
            .into_iter()
            .filter_map(|(_, part)| match part {
                SubtaskPart::Acknowledged { payload, .. } => Some(payload),
                SubtaskPart::Finished => None,
            })
            .collect()
    }
}

#[derive(Debug)]
enum Slot<H> {
    Waiting,
    Filled(SubtaskPart<H>),
}

/// What an acknowledgement led to.
#[derive(Debug)]
pub(crate) enum Taken<H> {
    /// It was counted and others are missing.
    Counted,
    /// It was the last one.
    Last,
    /// Not counted: here it is back.
    Duplicate(H),
}

/// A checkpoint that waits for acknowledgements.
#[derive(Debug)]
pub(crate) struct PendingCheckpoint<H> {
    slots: Vec<Slot<H>>,
    waiting: usize,
}

impl<H> PendingCheckpoint<H> {
    /// Starts to wait for all of `subtasks` but those finished already.
    pub(crate) fn new(finished: impl IntoIterator<Item = bool>) -> Self {
        let slots: Vec<_> = finished
            .into_iter()
            .map(|done| if done { Slot::Filled(SubtaskPart::Finished) } else { Slot::Waiting })
            .collect();
        let waiting = slots.iter().filter(|slot| matches!(slot, Slot::Waiting)).count();
        Self { slots, waiting }
    }

    /// Whether nothing is missing.
    pub(crate) fn is_complete(&self) -> bool {
        self.waiting == 0
    }

    /// Takes an acknowledgement. One from a subtask that was counted as finished replaces that:
    /// the two messages came in the wrong order, and a payload says more.
    pub(crate) fn acknowledge(
        &mut self,
        at: Ordinal,
        payload: H,
        metrics: SubtaskMetrics,
    ) -> Taken<H> {
        let Some(slot) = self.slots.get_mut(at.0) else {
            return Taken::Duplicate(payload);
        };
        match slot {
            Slot::Filled(SubtaskPart::Acknowledged { .. }) => return Taken::Duplicate(payload),
            Slot::Filled(SubtaskPart::Finished) => {}
            Slot::Waiting => self.waiting = self.waiting.saturating_sub(1),
        }
        *slot = Slot::Filled(SubtaskPart::Acknowledged { payload, metrics });
        if self.waiting == 0 { Taken::Last } else { Taken::Counted }
    }

    /// Counts a subtask that finished without acknowledging: all it ever sent came before the
    /// barrier it did not send. Says whether it was the last one missing.
    pub(crate) fn finish(&mut self, at: Ordinal) -> bool {
        match self.slots.get_mut(at.0) {
            Some(slot @ Slot::Waiting) => {
                *slot = Slot::Filled(SubtaskPart::Finished);
                self.waiting = self.waiting.saturating_sub(1);
                self.waiting == 0
            }
            _ => false,
        }
    }

    pub(crate) fn is_waiting_for(&self, at: Ordinal) -> bool {
        matches!(self.slots.get(at.0), Some(Slot::Waiting))
    }

    /// The payloads so far, to discard them.
    pub(crate) fn into_payloads(self) -> Vec<H> {
        self.slots
            .into_iter()
            .filter_map(|slot| match slot {
                Slot::Filled(SubtaskPart::Acknowledged { payload, .. }) => Some(payload),
                Slot::Filled(SubtaskPart::Finished) | Slot::Waiting => None,
            })
            .collect()
    }

    /// The complete checkpoint. Call when [`Self::is_complete`]; a slot still waiting would count
    /// as finished, which the caller's check rules out.
    pub(crate) fn into_complete(
        self,
        head: CheckpointHead,
        topology: &Topology,
        took: Duration,
    ) -> CheckpointToStore<H> {
        debug_assert!(self.is_complete(), "an incomplete checkpoint is never stored");
        debug_assert_eq!(self.slots.len(), topology.subtask_count(), "one slot a subtask");
        let parts = topology
            .subtasks()
            .zip(self.slots)
            .map(|(subtask, slot)| match slot {
                Slot::Filled(part) => (subtask, part),
                Slot::Waiting => (subtask, SubtaskPart::Finished),
            })
            .collect();
        CheckpointToStore { head, acknowledged_after_ms: crate::millis(took), parts }
    }
}
