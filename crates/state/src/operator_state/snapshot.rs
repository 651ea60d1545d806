//! Operator state on its way out.

use super::part::OperatorStatePart;
use super::slot::Slot;
use crate::error::Result;
use crate::snapshot_api::CancelFlag;

/// All operator state of a subtask as it was when the snapshot was taken: the asynchronous part of
/// a snapshot, to be run on any thread. Dropped, it releases what it holds.
#[derive(Debug)]
#[must_use = "a snapshot does nothing until it is run"]
pub struct OperatorStateSnapshot {
    slots: Vec<Slot>,
}

impl OperatorStateSnapshot {
    pub(super) const fn new(slots: Vec<Slot>) -> Self {
        Self { slots }
    }

    /// The states as bytes, in order of registration or restore: those declared and those only
    /// restored.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) between two states once `cancel` is
    /// set.
    pub fn run(self, cancel: &CancelFlag) -> Result<Vec<OperatorStatePart>> {
        let mut parts = Vec::with_capacity(self.slots.len());
        for slot in self.slots {
            cancel.check()?;
            parts.extend(slot.into_part());
        }
        Ok(parts)
    }
}
