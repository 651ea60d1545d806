//! Maps: all keys that start with the map's entry.
//!
//! Both operations expect the map's entry in `self.key`.

use std::sync::Arc;

use millpond_state::{MapVisitor, Result};
use rocksdb::DBRawIterator;

use crate::backend::RocksDbBackend;
use crate::batch::{Change, decided};
use crate::layout;
use crate::store::{Store, check_ended};
use crate::tuning::map_read_options;
use crate::writes::Writes;

/// User keys of a map that are deleted one by one. A range deletion costs the same for any number,
/// but every later read that meets it.
const DELETED_SINGLY_MAX: usize = 512;

impl RocksDbBackend {
    /// Deletes the map.
    pub(crate) fn delete_map(&mut self) -> Result<()> {
        let end = self.end_of_map();
        let mut writes = Writes::default();
        let mut keys = map_iterator(&self.store, &self.key, &end)?;
        while let Some(key) = keys.key() {
            if writes.len() == DELETED_SINGLY_MAX {
                writes.clear();
                writes.delete_range(&self.store, &self.key, &end)?;
                break;
            }
            writes.delete(&self.store, key)?;
            keys.next();
        }
        check_ended(&keys)?;
        writes.send(&self.store)
    }

    /// Visits the map and applies what the visitor decides.
    pub(crate) fn visit_map(&mut self, visit: &mut MapVisitor<'_>) -> Result<()> {
        let mut writes = Writes::default();
        let outcome = self.visit_map_into(visit, &mut writes);
        writes.send(&self.store)?;
        outcome
    }

    /// Leaves the last changes in `writes`, also on an error.
    fn visit_map_into(&mut self, visit: &mut MapVisitor<'_>, writes: &mut Writes) -> Result<()> {
        let end = self.end_of_map();
        let store = Arc::clone(&self.store);
        let mut entries = map_iterator(&store, &self.key, &end)?;
        while let Some((key, value)) = entries.item() {
            let user_key = key.get(self.key.len()..).unwrap_or_default();
            let walk = visit(user_key, &mut self.edit.begin(Some(value)))?;
            match decided(&self.edit)? {
                Change::None => {}
                Change::Put(value) => writes.put(&store, key, value)?,
                Change::Delete => writes.delete(&store, key)?,
            }
            writes.send_if_large(&store)?;
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
fn map_iterator<'s>(store: &'s Store, entry: &[u8], end: &[u8]) -> Result<DBRawIterator<'s>> {
    let mut iterator = store.iterator(map_read_options(end))?;
    iterator.seek(entry);
    Ok(iterator)
}
