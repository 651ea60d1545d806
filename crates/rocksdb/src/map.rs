//! Maps: all keys that start with the map's entry.
//!
//! Both operations expect the map's entry in `self.key`.

use std::sync::Arc;

use millpond_state::{MapVisitor, Result};
use rocksdb::{DBRawIterator, WriteBatch};

use crate::backend::RocksDbBackend;
use crate::batch::{Change, decided};
use crate::layout;
use crate::store::{Store, check_ended};
use crate::tuning::map_read_options;

/// User keys of a map that are deleted one by one. A range deletion costs the same for any number,
/// but every later read that meets it.
const DELETED_SINGLY_MAX: usize = 512;

/// A write batch of that size is written.
const BATCH_BYTES_MAX: usize = 1 << 20;

impl RocksDbBackend {
    /// Deletes the map.
    pub(crate) fn delete_map(&mut self) -> Result<()> {
        let end = self.end_of_map();
        let mut batch = WriteBatch::default();
        let mut keys = map_iterator(&self.store, &self.key, &end);
        while let Some(key) = keys.key() {
            if batch.len() == DELETED_SINGLY_MAX {
                batch.clear();
                batch.delete_range(&self.key[..], &end[..]);
                break;
            }
            batch.delete(key);
            keys.next();
        }
        check_ended(&keys)?;
        if batch.is_empty() { Ok(()) } else { self.store.write(&batch) }
    }

    /// Visits the map and applies what the visitor decides.
    pub(crate) fn visit_map(&mut self, visit: &mut MapVisitor<'_>) -> Result<()> {
        let mut batch = WriteBatch::default();
        let outcome = self.visit_map_into(visit, &mut batch);
        if !batch.is_empty() {
            self.store.write(&batch)?;
        }
        outcome
    }

    /// Leaves the last changes in `batch`, also on an error.
    fn visit_map_into(&mut self, visit: &mut MapVisitor<'_>, batch: &mut WriteBatch) -> Result<()> {
        let end = self.end_of_map();
        let store = Arc::clone(&self.store);
        let mut entries = map_iterator(&store, &self.key, &end);
        while let Some((key, value)) = entries.item() {
            let user_key = key.get(self.key.len()..).unwrap_or_default();
            let walk = visit(user_key, &mut self.edit.begin(Some(value)))?;
            match decided(&self.edit)? {
                Change::None => {}
                Change::Put(value) => batch.put(key, value),
                Change::Delete => batch.delete(key),
            }
            if batch.size_in_bytes() >= BATCH_BYTES_MAX {
                store.write(batch)?;
                batch.clear();
            }
            if walk.is_break() {
                return Ok(());
            }
            entries.next();
        }
        check_ended(&entries)
    }

    fn end_of_map(&self) -> Vec<u8> {
        let mut end = self.key.clone();
        layout::to_end_of_entry(&mut end);
        end
    }
}

/// An iterator at the first key of a map. It shows the map as it is now, whatever is written later.
fn map_iterator<'s>(store: &'s Store, entry: &[u8], end: &[u8]) -> DBRawIterator<'s> {
    let mut iterator = store.iterator(map_read_options(end));
    iterator.seek(entry);
    iterator
}
