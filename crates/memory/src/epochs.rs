//! Which changes are safe in a completed checkpoint.
//!
//! Each snapshot ends an epoch: writes after it are stamped with the next. Once the checkpoint of a
//! snapshot is complete, changes up to that snapshot's epoch are confirmed.

use millpond_state::CheckpointId;

/// The epochs of snapshots whose checkpoints are not decided, and the newest confirmed one.
#[derive(Debug, Default)]
pub(crate) struct Epochs {
    pending: Vec<(CheckpointId, u32)>,
    confirmed: u32,
}

/// Undecided checkpoints that are remembered; what is older never gets confirmed, which only makes
/// more entries count as changed.
const PENDING_MAX: usize = 1_024;

impl Epochs {
    /// The newest confirmed epoch; 0 if there is none.
    pub(crate) const fn confirmed(&self) -> u32 {
        self.confirmed
    }

    /// Notes that the snapshot for `checkpoint` ended `epoch`.
    pub(crate) fn ended(&mut self, checkpoint: CheckpointId, epoch: u32) {
        if self.pending.len() >= PENDING_MAX {
            self.pending.remove(0);
        }
        self.pending.push((checkpoint, epoch));
    }

    /// Notes that `checkpoint` is complete; older ones are subsumed.
    pub(crate) fn completed(&mut self, checkpoint: CheckpointId) {
        if let Some((_, epoch)) = self.pending.iter().rev().find(|(id, _)| *id == checkpoint) {
            self.confirmed = self.confirmed.max(*epoch);
            let confirmed = self.confirmed;
            self.pending.retain(|(_, epoch)| *epoch > confirmed);
        }
    }

    /// Notes that `checkpoint` will never complete.
    pub(crate) fn aborted(&mut self, checkpoint: CheckpointId) {
        self.pending.retain(|(id, _)| *id != checkpoint);
    }
}
