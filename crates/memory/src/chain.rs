//! The files of incremental checkpoints: a base and deltas, see
//! [`incremental`](millpond_snapshot::incremental).
//!
//! Invariant: a snapshot builds on the chain of the last confirmed checkpoint only. What
//! checkpoints in between wrote is not used: whether they exist is not known.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millpond_state::{CheckpointId, FileIdentity, StateDescriptor};

/// A file of a chain.
#[derive(Clone, Debug)]
pub(crate) struct ChainFile {
    pub(crate) name: String,
    pub(crate) identity: FileIdentity,
    /// Its entries, deletions included.
    pub(crate) entries: u64,
}

/// The files of one checkpoint.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    /// The base, then the deltas.
    pub(crate) files: Vec<ChainFile>,
    /// The states of the newest file.
    pub(crate) states: Vec<StateDescriptor>,
    /// The epoch that the snapshot ended.
    pub(crate) epoch: u32,
}

impl Chain {
    /// Entries of the base, and of the deltas together.
    pub(crate) fn base_and_delta_entries(&self) -> (u64, u64) {
        let mut entries = self.files.iter().map(|file| file.entries);
        (entries.next().unwrap_or(0), entries.fold(0, u64::saturating_add))
    }
}

/// Where tasks leave the chains that they wrote, until their checkpoints are decided.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written(Arc<Mutex<Vec<(CheckpointId, Chain)>>>);

impl Written {
    fn lock(&self) -> MutexGuard<'_, Vec<(CheckpointId, Chain)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the chain of `checkpoint`.
    pub(crate) fn leave(&self, checkpoint: CheckpointId, chain: Chain) {
        self.lock().push((checkpoint, chain));
    }
}

/// The chains of a backend instance.
#[derive(Debug, Default)]
pub(crate) struct Chains {
    pub(crate) written: Written,
    /// Of the last completed checkpoint that was incremental, or of the one restored from.
    pub(crate) confirmed: Option<Arc<Chain>>,
}

impl Chains {
    /// `checkpoint` is complete. Returns the epoch up to which changes are in the confirmed chain,
    /// if that is a new one.
    pub(crate) fn completed(&mut self, checkpoint: CheckpointId) -> Option<u32> {
        let mut written = self.written.lock();
        let position = written.iter().position(|(id, _)| *id == checkpoint)?;
        let (_, chain) = written.swap_remove(position);
        written.retain(|(id, _)| *id > checkpoint);
        drop(written);
        let epoch = chain.epoch;
        if self.confirmed.as_ref().is_some_and(|confirmed| confirmed.epoch >= epoch) {
            return None;
        }
        self.confirmed = Some(Arc::new(chain));
        Some(epoch)
    }

    /// `checkpoint` will never complete.
    pub(crate) fn aborted(&mut self, checkpoint: CheckpointId) {
        self.written.lock().retain(|(id, _)| *id != checkpoint);
    }
}
