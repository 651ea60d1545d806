//! Adding the entries of a snapshot to an instance.
//!
//! Entries come in canonical order, which is the order of keys as long as the source numbers its
//! states as this instance does: then they are written as SST files and taken over as they are,
//! past write buffers and compactions. From the first entry that is out of order on, they are
//! written like any others.

use std::path::PathBuf;

use millpond_state::{
    EntryKey, EntrySource, ErrorKind, KeyedBackend, Result, SnapshotEntry, StateError, StateId,
    check_user_key_len, check_value_len,
};
use rocksdb::SstFileWriter;

use crate::backend::RocksDbBackend;
use crate::error::rocksdb_error;
use crate::layout;
use crate::store::Store;
use crate::writes::Writes;

/// A state of the source: its id here, and whether it is a map.
pub(crate) type Restored = (StateId, bool);

/// Adds all entries of `source`; returns how many.
pub(crate) fn restore(backend: &mut RocksDbBackend, source: &mut dyn EntrySource) -> Result<u64> {
    let states = source.states().iter();
    let states: Result<Vec<Restored>> =
        states.map(|state| Ok((backend.register(state)?, state.kind().is_map()))).collect();
    let states = states?;
    let store = std::sync::Arc::clone(&backend.store);
    let mut loader = Loader::new(&store);
    let mut key = Vec::new();
    let mut count = 0;
    while let Some(entry) = source.next_entry()? {
        key.clear();
        push_key(backend, &states, &entry, &mut key)?;
        loader.add(&key, entry.value)?;
        count += 1;
    }
    loader.finish()?;
    Ok(count)
}

/// Checks an entry and encodes its key.
pub(crate) fn push_key(
    backend: &RocksDbBackend,
    states: &[Restored],
    entry: &SnapshotEntry<'_>,
    key: &mut Vec<u8>,
) -> Result<()> {
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
    if *is_map {
        key.extend_from_slice(entry.user_key);
    }
    Ok(())
}

/// Brings sorted entries into a store.
struct Loader<'s> {
    store: &'s Store,
    writer: Option<SstFileWriter<'s>>,
    /// Files that are written, the open one last.
    files: Vec<PathBuf>,
    last_key: Vec<u8>,
    /// Where entries go once the order was broken.
    writes: Option<Writes>,
}

impl<'s> Loader<'s> {
    const fn new(store: &'s Store) -> Self {
        Self { store, writer: None, files: Vec::new(), last_key: Vec::new(), writes: None }
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if let Some(writes) = &mut self.writes {
            writes.put(self.store, key, value)?;
            return writes.send_if_large(self.store);
        }
        if !self.last_key.is_empty() && key <= &self.last_key[..] {
            self.take_files_over()?;
            self.writes = Some(Writes::default());
            return self.add(key, value);
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        self.append(key, value)
    }

    /// Appends to the open file.
    fn append(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let path = self.store.folder().file(&format!("restored-{}.sst", self.files.len()));
                let writer = SstFileWriter::create(self.store.options());
                writer.open(&path).map_err(failed)?;
                self.files.push(path);
                self.writer.insert(writer)
            }
        };
        writer.put(key, value).map_err(failed)?;
        if writer.file_size() >= self.store.file_bytes() {
            self.close_file()?;
        }
        Ok(())
    }

    fn close_file(&mut self) -> Result<()> {
        match self.writer.take() {
            Some(mut writer) => writer.finish().map_err(failed),
            None => Ok(()),
        }
    }

    fn take_files_over(&mut self) -> Result<()> {
        self.close_file()?;
        let files = core::mem::take(&mut self.files);
        if files.is_empty() { Ok(()) } else { self.store.ingest(files) }
    }

    fn finish(mut self) -> Result<()> {
        self.take_files_over()?;
        self.writes.map_or(Ok(()), |mut writes| writes.send(self.store))
    }
}

fn failed(error: rocksdb::Error) -> StateError {
    rocksdb_error("write restored entries to a file", error)
}
