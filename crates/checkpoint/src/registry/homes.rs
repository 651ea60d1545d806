//! Claimed savepoints whose files lie in their own folders: each stays whole, metadata included,
//! while one of its files is in use.

use std::collections::{BTreeMap, BTreeSet};

use millpond_state::CheckpointId;

use super::file::Deletion;

#[derive(Clone, Debug, Default)]
struct Home {
    /// Objects in the folder that are in use.
    busy: BTreeSet<String>,
    /// Set once the savepoint itself is discarded: its folder.
    given_up: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Homes {
    homes: BTreeMap<CheckpointId, Home>,
}

impl Homes {
    pub(super) fn add(&mut self, home: CheckpointId, object: &str) {
        self.homes.entry(home).or_default().busy.insert(object.to_owned());
    }

    /// The savepoint is discarded. Says whether it is a home: its folder is then handed out when
    /// the last of its objects leaves.
    pub(super) fn give_up(&mut self, home: CheckpointId, folder: &str) -> bool {
        let Some(known) = self.homes.get_mut(&home) else { return false };
        known.given_up = Some(folder.to_owned());
        true
    }

    /// The savepoint is not ours any longer.
    pub(super) fn leave(&mut self, home: CheckpointId) {
        self.homes.remove(&home);
    }

    /// An object in the savepoint's folder is not in use any longer.
    pub(super) fn leave_object(&mut self, home: CheckpointId, object: &str) -> Option<Deletion> {
        let known = self.homes.get_mut(&home)?;
        known.busy.remove(object);
        let folder = if known.busy.is_empty() { known.given_up.take() } else { None }?;
        self.homes.remove(&home);
        Some(Deletion::Folder { checkpoint: home, folder })
    }
}
