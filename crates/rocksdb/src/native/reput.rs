//! The entries of a captured or fetched database as those of a snapshot, to be put one by one.

use std::path::Path;

use millpond_state::{
    EntrySource, KeyGroupRange, Result, SnapshotEntry, StateDescriptor, StateError,
};
use rocksdb::{DB, DBRawIterator, Options};

use super::capture::open_read_only;
use super::manifest::Manifest;
use crate::error::foreign_key;
use crate::layout;
use crate::store::check_ended;
use crate::tuning::range_read_options;

/// A database that is open for reading.
pub(super) struct StoredDatabase {
    db: DB,
}

impl StoredDatabase {
    /// Opens the files in `folder`.
    pub(super) fn open(folder: &Path, manifest: &Manifest, like: &Options) -> Result<Self> {
        Ok(Self { db: open_read_only(folder, like, &manifest.family)? })
    }

    /// Its entries of `groups`.
    pub(super) fn entries<'d>(
        &'d self,
        manifest: &'d Manifest,
        groups: KeyGroupRange,
    ) -> Result<StoredEntries<'d>> {
        let family = self.db.cf_handle(&manifest.family).ok_or_else(no_family)?;
        let mut items = self.db.raw_iterator_cf_opt(family, range_read_options(groups));
        items.seek_to_first();
        let (key, namespace) = (Vec::new(), Vec::new());
        Ok(StoredEntries { states: &manifest.states, items, is_first: true, key, namespace })
    }
}

#[cold]
fn no_family() -> StateError {
    StateError::new(millpond_state::ErrorKind::Corrupt, "the files have no such column family")
}

/// Entries in the order of keys.
pub(super) struct StoredEntries<'d> {
    states: &'d [StateDescriptor],
    items: DBRawIterator<'d>,
    is_first: bool,
    key: Vec<u8>,
    namespace: Vec<u8>,
}

impl EntrySource for StoredEntries<'_> {
    fn states(&self) -> &[StateDescriptor] {
        self.states
    }

    fn next_entry(&mut self) -> Result<Option<SnapshotEntry<'_>>> {
        if !core::mem::take(&mut self.is_first) && self.items.valid() {
            self.items.next();
        }
        let Some((key, value)) = self.items.item() else {
            check_ended(&self.items)?;
            return Ok(None);
        };
        let parts = layout::parts(key).ok_or_else(|| foreign_key(key))?;
        Ok(Some(SnapshotEntry {
            group: parts.group,
            state: parts.state.get(),
            key: parts.key.plain(&mut self.key),
            namespace: parts.namespace.plain(&mut self.namespace),
            user_key: parts.user_key,
            value,
        }))
    }
}
