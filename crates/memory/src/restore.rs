//! Adding the entries of a snapshot to a backend.
//!
//! Maps come as one entry for each user key, ascending: they are collected and added as a whole.
//! Restored entries belong to the current epoch: no completed checkpoint of this instance has them.

use std::sync::Arc;

use millpond_snapshot::incremental::parse_chain_file;
use millpond_snapshot::{ByteSource, ChainReader, SnapshotError, SnapshotErrorKind};
use millpond_state::{
    EntryKey, EntrySource, FileReader, FileSource, KeyGroup, KeyGroupRange, KeyedBackend, Result,
    SnapshotEntry, StateId, StoredFile, check_user_key_len, check_value_len,
};

use crate::backend::MemoryBackend;
use crate::chain::{Chain, ChainFile};
use crate::linear_table::Written;
use crate::map_chunks::MapChunks;
use crate::packed_map::{self, MapEntry};
use crate::probe::Probe;
use crate::segment_map::{MAP_INLINE_BYTES_MAX, WholeMap};
use crate::table::table_mut;

/// The map whose entries are arriving.
#[derive(Default)]
struct PendingMap {
    address: Option<(StateId, KeyGroup)>,
    key: Vec<u8>,
    namespace: Vec<u8>,
    /// The first entries, packed.
    packed: Vec<u8>,
    /// All entries, once they are too many to pack.
    chunks: MapChunks,
}

impl PendingMap {
    fn is_of(&self, state: StateId, entry: &SnapshotEntry<'_>) -> bool {
        self.address == Some((state, entry.group))
            && self.key == entry.key
            && self.namespace == entry.namespace
    }

    fn start(&mut self, state: StateId, entry: &SnapshotEntry<'_>) {
        self.address = Some((state, entry.group));
        self.key.clear();
        self.key.extend_from_slice(entry.key);
        self.namespace.clear();
        self.namespace.extend_from_slice(entry.namespace);
    }

    fn push(&mut self, entry: &MapEntry<'_>) {
        if self.chunks.is_empty() {
            if self.packed.len() + entry.bytes() <= MAP_INLINE_BYTES_MAX {
                entry.write(&mut self.packed);
                return;
            }
            packed_map::entries(&self.packed).for_each(|(_, entry)| self.chunks.push(&entry));
            self.packed.clear();
        }
        self.chunks.push(entry);
    }
}

/// Adds all entries of `source`; returns how many.
pub(crate) fn restore(backend: &mut MemoryBackend, source: &mut dyn EntrySource) -> Result<u64> {
    let states = register_all(backend, source)?;
    let mut pending = PendingMap::default();
    let mut count = 0;
    while let Some(entry) = source.next_entry()? {
        let Some((state, is_map)) = states.get(usize::from(entry.state)) else {
            return Err(unknown_state(&entry));
        };
        check_value_len(entry.value.len())?;
        let at = EntryKey::in_group(entry.key, entry.group).in_namespace(entry.namespace);
        at.check_lengths()?;
        if *is_map {
            check_user_key_len(entry.user_key.len())?;
            if !pending.is_of(*state, &entry) {
                backend.finish_map(&mut pending)?;
                pending.start(*state, &entry);
            }
            let (epoch, user_key, value) = (backend.env.epoch, entry.user_key, entry.value);
            backend.env.admit(pending.chunks.memory_bytes() + value.len())?;
            pending.push(&MapEntry { epoch, user_key, value });
        } else {
            backend.put_entry(*state, &at, entry.value)?;
        }
        count += 1;
    }
    backend.finish_map(&mut pending)?;
    Ok(count)
}

/// Adds the entries of `groups` in the files of `source`. If those are all of this instance, its
/// next snapshot may build on them.
pub(crate) fn restore_files(
    backend: &mut MemoryBackend,
    source: &mut dyn FileSource,
    groups: KeyGroupRange,
) -> Result<u64> {
    if !backend.opens_files_of(source.backend()) {
        return Err(foreign(source.backend()));
    }
    let mut files = Vec::new();
    for file in source.files() {
        files.push((file.name.as_str(), Opened(source.open(&file.name)?)));
    }
    let reader = ChainReader::open(files)?;
    let count = restore(backend, &mut reader.entries(groups))?;
    let own = backend.key_groups();
    let is_whole = backend.is_fresh && groups == own && source.key_groups() == own;
    backend.is_fresh = false;
    backend.chains.confirmed = None;
    if is_whole {
        let chain = chain_of(source, &reader, backend.env.epoch);
        backend.chains.confirmed = Some(Arc::new(chain));
        backend.end_epoch(true);
    }
    Ok(count)
}

fn chain_of(source: &dyn FileSource, reader: &ChainReader<Opened>, epoch: u32) -> Chain {
    let mut files: Vec<&StoredFile> = source.files().iter().collect();
    files.sort_by_key(|file| parse_chain_file(&file.name).map(|(position, _)| position));
    let files = files.into_iter().zip(reader.file_entries()).map(|(file, entries)| ChainFile {
        name: file.name.clone(),
        identity: file.identity.clone(),
        entries,
    });
    Chain { files: files.collect(), states: reader.states().to_vec(), epoch }
}

#[cold]
fn foreign(backend: &str) -> millpond_state::StateError {
    millpond_state::StateError::new(
        millpond_state::ErrorKind::Incompatible,
        format!("the memory backend cannot open files of the state backend {backend:?}"),
    )
}

/// A file of a source as the formats see it.
struct Opened(Box<dyn FileReader>);

impl ByteSource for Opened {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> millpond_snapshot::Result<()> {
        self.0.read_exact_at(offset, buffer).map_err(|error| match error.kind() {
            millpond_state::ErrorKind::Corrupt => {
                SnapshotError::new(SnapshotErrorKind::Corrupt, error.message())
            }
            _ => SnapshotError::io("cannot read", error),
        })
    }

    fn name(&self) -> &str {
        self.0.name()
    }
}

/// The ids that the source's state indexes stand for, and whether they are maps.
fn register_all(
    backend: &mut MemoryBackend,
    source: &dyn EntrySource,
) -> Result<Vec<(StateId, bool)>> {
    let states = source.states().iter();
    states.map(|state| Ok((backend.register_state(state)?, state.kind().is_map()))).collect()
}

impl MemoryBackend {
    /// Adds the map that was collected.
    fn finish_map(&mut self, pending: &mut PendingMap) -> Result<()> {
        let Some((state, group)) = pending.address.take() else { return Ok(()) };
        let at = EntryKey::in_group(&pending.key, group).in_namespace(&pending.namespace);
        let probe = Probe::new(&at);
        let table = table_mut(&mut self.tables, &self.registry, state, true)?;
        let group = table.group_mut(group, &mut self.env)?;
        let chunks = core::mem::take(&mut pending.chunks);
        let packed = core::mem::take(&mut pending.packed);
        group.write(&probe, &mut self.env, |segment, env| {
            if segment.find(&probe).is_some() {
                let packed = packed_map::entries(&packed).map(|(_, entry)| entry);
                for entry in packed.chain(chunks.entries()) {
                    segment.map_put(&probe, entry.user_key, entry.value, env)?;
                }
                return Ok(Written::Changed);
            }
            let whole = if chunks.is_empty() {
                WholeMap::Packed(&packed)
            } else {
                WholeMap::Chunks(chunks)
            };
            segment.insert_whole_map(&probe, whole, env).map(|()| Written::Added)
        })?;
        pending.packed = packed;
        pending.packed.clear();
        Ok(())
    }
}

#[cold]
fn unknown_state(entry: &SnapshotEntry<'_>) -> millpond_state::StateError {
    millpond_state::StateError::new(
        millpond_state::ErrorKind::Corrupt,
        format!(
            "an entry of key group {} belongs to state number {}, which the snapshot does not list",
            entry.group, entry.state
        ),
    )
}
