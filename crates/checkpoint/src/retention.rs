//! Which completed checkpoints are kept: the newest N, ordered by number.
//!
//! Savepoints belong to the user: they are neither counted nor ever discarded here; only the newest
//! one is remembered, since it may be the newest thing to restore from. The newest checkpoint that
//! is not a savepoint is always kept, whatever savepoints came after it.
//!
//! Pure: the caller discards what is returned.

use std::collections::{BTreeMap, BTreeSet};

use millpond_state::CheckpointId;

use crate::completed::CompletedCheckpoint;
use crate::error::{CheckpointError, ErrorKind, Result};

/// Of so many of the newest savepoints the numbers are remembered, to tell a repeated message
/// about one from a message about an aborted checkpoint.
const SAVEPOINTS_REMEMBERED_MAX: usize = 4_096;

/// The retained checkpoints of a job.
#[derive(Clone, Debug)]
pub struct Retention {
    max: usize,
    checkpoints: BTreeMap<CheckpointId, CompletedCheckpoint>,
    newest_savepoint: Option<CompletedCheckpoint>,
    savepoints: BTreeSet<CheckpointId>,
}

impl Retention {
    /// Nothing yet; at most `retained_max` checkpoints, and always at least one.
    #[must_use]
    pub fn new(retained_max: u32) -> Self {
        Self {
            max: (retained_max as usize).max(1),
            checkpoints: BTreeMap::new(),
            newest_savepoint: None,
            savepoints: BTreeSet::new(),
        }
    }

    /// What a restarted job finds in its storage, in any order. Takes over all of them: the surplus
    /// is discarded when the next checkpoint completes, not before.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if two have the same number.
    pub fn restore(
        retained_max: u32,
        found: impl IntoIterator<Item = CompletedCheckpoint>,
    ) -> Result<Self> {
        let mut retention = Self::new(retained_max);
        for completed in found {
            let id = completed.id;
            let savepoint = completed.kind.is_savepoint();
            if savepoint {
                retention.remember_savepoint(completed);
            } else if retention.checkpoints.insert(id, completed).is_some() {
                return Err(CheckpointError::new(
                    ErrorKind::InvalidArgument,
                    format!("two retained checkpoints have the number {id}"),
                ));
            }
        }
        Ok(retention)
    }

    /// Adds a completed checkpoint and returns the numbers of those it pushed out, oldest first.
    pub fn add(&mut self, completed: CompletedCheckpoint) -> Vec<CheckpointId> {
        if completed.kind.is_savepoint() {
            self.remember_savepoint(completed);
            return Vec::new();
        }
        self.checkpoints.insert(completed.id, completed);
        self.take_surplus()
    }

    /// Changes how many are kept and returns the numbers of those that are too many, oldest first.
    pub fn set_max(&mut self, retained_max: u32) -> Vec<CheckpointId> {
        self.max = (retained_max as usize).max(1);
        self.take_surplus()
    }

    /// Gives all up, oldest first. Savepoints are not among them.
    pub fn take_all(&mut self) -> Vec<CheckpointId> {
        std::mem::take(&mut self.checkpoints).into_keys().collect()
    }

    /// The newest completed checkpoint, savepoints apart.
    #[must_use]
    pub fn latest_checkpoint(&self) -> Option<&CompletedCheckpoint> {
        self.checkpoints.last_key_value().map(|(_, completed)| completed)
    }

    /// The newest thing to restore from: a checkpoint or a savepoint.
    #[must_use]
    pub fn latest(&self) -> Option<&CompletedCheckpoint> {
        self.latest_checkpoint().into_iter().chain(&self.newest_savepoint).max_by_key(|it| it.id)
    }

    /// The retained checkpoints, oldest first, savepoints apart.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &CompletedCheckpoint> {
        self.checkpoints.values()
    }

    /// Whether `id` is a retained checkpoint or a completed savepoint: its files must stay.
    #[must_use]
    pub fn is_kept(&self, id: CheckpointId) -> bool {
        self.checkpoints.contains_key(&id) || self.savepoints.contains(&id)
    }

    fn remember_savepoint(&mut self, savepoint: CompletedCheckpoint) {
        self.savepoints.insert(savepoint.id);
        if self.savepoints.len() > SAVEPOINTS_REMEMBERED_MAX {
            self.savepoints.pop_first();
        }
        if self.newest_savepoint.as_ref().is_none_or(|newest| newest.id < savepoint.id) {
            self.newest_savepoint = Some(savepoint);
        }
    }

    fn take_surplus(&mut self) -> Vec<CheckpointId> {
        let mut surplus = Vec::new();
        while self.checkpoints.len() > self.max {
            surplus.extend(self.checkpoints.pop_first().map(|(id, _)| id));
        }
        surplus
    }
}
