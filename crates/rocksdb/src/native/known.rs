//! The files of one database that storage has.
//!
//! Shared with the tasks of snapshots, which leave here what they added. Whether storage still has
//! a file, and whether it may be re-used, only the transfer of the present snapshot knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millpond_state::FileIdentity;

/// Identities by the name of the file in its database. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownFiles(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// Several snapshots under way may each have added the same file, and any of them may come to
    /// nothing: newest last.
    files: BTreeMap<String, Vec<FileIdentity>>,
    /// Captures that were taken.
    captures: u64,
    /// The number of the newest capture whose files were noted.
    newest: u64,
}

impl KnownFiles {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The identities of the file called `name`, the likeliest to be re-usable first.
    pub(crate) fn of(&self, name: &str) -> Vec<FileIdentity> {
        let known = self.lock().files.get(name).cloned().unwrap_or_default();
        known.into_iter().rev().collect()
    }

    /// Storage has the file called `name`.
    pub(crate) fn note(&self, name: &str, identity: FileIdentity) {
        let mut inner = self.lock();
        let known = inner.files.entry(name.to_owned()).or_default();
        known.retain(|other| *other != identity);
        known.push(identity);
    }

    /// A number for a capture that is taken now.
    pub(crate) fn next_capture(&self) -> u64 {
        let mut inner = self.lock();
        inner.captures += 1;
        inner.captures
    }

    /// Capture number `capture` has `names`: files that the newest capture lacks do not come back.
    pub(crate) fn retain(&self, capture: u64, names: &BTreeSet<&str>) {
        let mut inner = self.lock();
        if capture >= inner.newest {
            inner.newest = capture;
            inner.files.retain(|name, _| names.contains(name.as_str()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(place: &str) -> FileIdentity {
        FileIdentity::new(place, 1, 2)
    }

    #[test]
    fn the_newest_identity_of_a_file_comes_first() {
        let known = KnownFiles::default();
        known.note("1.sst", identity("a"));
        known.note("1.sst", identity("b"));
        known.note("1.sst", identity("a"));
        assert_eq!(known.of("1.sst"), [identity("a"), identity("b")]);
        assert!(known.of("2.sst").is_empty());
    }

    #[test]
    fn what_the_newest_capture_lacks_is_forgotten_whichever_task_ends_last() {
        let known = KnownFiles::default();
        for name in ["1.sst", "2.sst", "3.sst"] {
            known.note(name, identity(name));
        }
        known.retain(7, &BTreeSet::from(["2.sst", "3.sst"]));
        known.retain(6, &BTreeSet::from(["1.sst"]));
        assert!(known.of("1.sst").is_empty());
        assert_eq!(known.of("2.sst").len() + known.of("3.sst").len(), 2);
    }
}
