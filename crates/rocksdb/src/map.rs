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
        if let Some(buffer) = &mut self.tables.buffer {
            return buffer.delete_map(&self.key);
        }
        let end = self.end_of_map();
        let mut writes = Writes::default();
        let store = Arc::clone(&self.tables.store);
        let mut keys = map_iterator(&store, &self.key, &end)?;
        while let Some(key) = keys.key() {
            if writes.len() == DELETED_SINGLY_MAX {
                writes.clear();
                writes.delete_range(&store, &self.key, &end)?;
                break;
            }
            writes.delete(&store, key)?;
            keys.next();
        }
        check_ended(&keys)?;
        writes.send(&mut self.tables)
    }

    /// Visits the map and applies what the visitor decides.
    pub(crate) fn visit_map(&mut self, visit: &mut MapVisitor<'_>) -> Result<()> {
        let mut writes = Writes::of_map(self.key.len());
        let buffer = self.tables.buffer.as_mut();
        if buffer.is_some_and(|buffer| !buffer.has_nothing_of(&self.key)) {
            return self.visit_buffered_map(visit, &mut writes);
        }
        let outcome = self.visit_map_into(visit, &mut writes);
        writes.send(&mut self.tables)?;
        outcome
    }

    /// As [`Self::visit_map`], of a map that the buffer knows something of.
    fn visit_buffered_map(
        &mut self,
        visit: &mut MapVisitor<'_>,
        writes: &mut Writes,
    ) -> Result<()> {
        let mut after = None;
        loop {
            let outcome = self.visit_some(after, visit, writes);
            writes.send(&mut self.tables)?;
            after = outcome?;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Visits the map in the buffer and below, behind the user key `after`, until the changes are
    /// many: to be sent before the walk goes on behind the returned user key.
    fn visit_some(
        &mut self,
        after: Option<Vec<u8>>,
        visit: &mut MapVisitor<'_>,
        writes: &mut Writes,
    ) -> Result<Option<Vec<u8>>> {
        let Some(buffer) = &mut self.tables.buffer else { return Ok(None) };
        let mut entries = buffer.walk_map(&self.key, after.as_deref())?;
        while entries.advance()? {
            let (key, value) = entries.entry();
            let user_key = key.get(self.key.len()..).unwrap_or_default();
            let walk = visit(user_key, &mut self.edit.begin(Some(value)))?;
            note(decided(&self.edit)?, &self.tables.store, key, writes)?;
            if walk.is_break() {
                return Ok(None);
            }
            if writes.is_large() {
                return Ok(Some(user_key.to_vec()));
            }
        }
        Ok(None)
    }

    /// Leaves the last changes in `writes`, also on an error.
    fn visit_map_into(&mut self, visit: &mut MapVisitor<'_>, writes: &mut Writes) -> Result<()> {
        let end = self.end_of_map();
        let store = Arc::clone(&self.tables.store);
        let mut entries = map_iterator(&store, &self.key, &end)?;
        while let Some((key, value)) = entries.item() {
            let user_key = key.get(self.key.len()..).unwrap_or_default();
            let walk = visit(user_key, &mut self.edit.begin(Some(value)))?;
            note(decided(&self.edit)?, &store, key, writes)?;
            writes.send_if_large(&mut self.tables)?;
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

fn note(change: Change<'_>, store: &Store, key: &[u8], writes: &mut Writes) -> Result<()> {
    match change {
        Change::None => Ok(()),
        Change::Put(value) => writes.put(store, key, value),
        Change::Delete => writes.delete(store, key),
    }
}

/// An iterator at the first key of a map. It shows the map as it is now, whatever is written later.
fn map_iterator<'s>(store: &'s Store, entry: &[u8], end: &[u8]) -> Result<DBRawIterator<'s>> {
    let mut iterator = store.iterator(map_read_options(end))?;
    iterator.seek(entry);
    Ok(iterator)
}
