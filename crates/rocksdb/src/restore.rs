//! Adding the entries of a snapshot to an instance.
//!
//! Entries come in canonical order, which is the order of keys as long as the source numbers its
//! states as this instance does: then they are written as SST files and taken over as they are,
//! past write buffers and compactions. From the first entry that is out of order on, they are
//! written like any others.

use std::sync::Arc;

use millpond_state::{
    EntryKey, EntrySource, ErrorKind, KeyedBackend, Result, SnapshotEntry, StateError, StateId,
    check_user_key_len, check_value_len,
};

use crate::backend::RocksDbBackend;
use crate::layout;
use crate::sorted_files::SortedFiles;
use crate::store::Store;
use crate::tables::Tables;
use crate::writes::Writes;

/// A state of the source: its id here, and whether it is a map.
pub(crate) type Restored = (StateId, bool);

/// Adds all entries of `source`; returns how many.
pub(crate) fn restore(backend: &mut RocksDbBackend, source: &mut dyn EntrySource) -> Result<u64> {
    let states = source.states().iter();
    let states: Result<Vec<Restored>> =
        states.map(|state| Ok((backend.register(state)?, state.kind().is_map()))).collect();
    let states = states?;
    backend.tables.settle()?;
    let store = Arc::clone(&backend.tables.store);
    let mut loader = Loader::new(&store);
    let mut key = Vec::new();
    let mut count = 0;
    while let Some(entry) = source.next_entry()? {
        key.clear();
        let map_bytes = push_key(backend, &states, &entry, &mut key)?;
        loader.add(&mut backend.tables, &key, map_bytes, entry.value)?;
        count += 1;
    }
    loader.finish(&mut backend.tables)?;
    Ok(count)
}

/// Checks an entry and encodes its key. Tells how many bytes of it are the map's, if it is of one.
pub(crate) fn push_key(
    backend: &RocksDbBackend,
    states: &[Restored],
    entry: &SnapshotEntry<'_>,
    key: &mut Vec<u8>,
) -> Result<usize> {
    let Some((state, is_map)) = states.get(usize::from(entry.state)) else {
        return Err(StateError::new(
            ErrorKind::Corrupt,
            format!(
                "an entry of key group {} belongs to state number {}, which the snapshot does not \
                 list",
                entry.group, entry.state
            ),
        ));
    };
    backend.check_group(entry.group)?;
    let at = EntryKey::in_group(entry.key, entry.group).in_namespace(entry.namespace);
    at.check_lengths()?;
    check_user_key_len(entry.user_key.len())?;
    check_value_len(entry.value.len())?;
    layout::push_entry(key, *state, &at);
    let map_bytes = if *is_map { key.len() } else { 0 };
    if *is_map {
        key.extend_from_slice(entry.user_key);
    }
    Ok(map_bytes)
}

/// Brings entries into an instance: sorted ones as files, others as writes.
struct Loader<'s> {
    files: Option<SortedFiles<'s>>,
    last_key: Vec<u8>,
    /// Where entries go once the order was broken.
    writes: Writes,
}

impl<'s> Loader<'s> {
    fn new(store: &'s Store) -> Self {
        let files = SortedFiles::new(store, "restored");
        Self { files: Some(files), last_key: Vec::new(), writes: Writes::default() }
    }

    fn add(
        &mut self,
        tables: &mut Tables,
        key: &[u8],
        map_bytes: usize,
        value: &[u8],
    ) -> Result<()> {
        if self.last_key.is_empty() || key > &self.last_key[..] {
            if let Some(files) = &mut self.files {
                self.last_key.clear();
                self.last_key.extend_from_slice(key);
                return files.put(key, value);
            }
        } else {
            self.take_files_over(tables)?;
        }
        if tables.buffer.is_some() {
            return tables.put(key, map_bytes, value);
        }
        self.writes.put(&tables.store, key, value)?;
        self.writes.send_if_large(tables)
    }

    fn take_files_over(&mut self, tables: &mut Tables) -> Result<()> {
        let Some(files) = self.files.take() else { return Ok(()) };
        files.take_over()?;
        tables.look_anew();
        Ok(())
    }

    fn finish(mut self, tables: &mut Tables) -> Result<()> {
        self.take_files_over(tables)?;
        self.writes.send(tables)
    }
}
