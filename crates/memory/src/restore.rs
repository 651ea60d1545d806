//! Adding the entries of a snapshot to a backend.
//!
//! Maps come as one entry for each user key, ascending: they are collected and added as a whole.
//! Restored entries belong to the current epoch: no completed checkpoint of this instance has them.

use millpond_state::{
    EntryKey, EntrySource, KeyGroup, Result, SnapshotEntry, StateId, check_user_key_len,
    check_value_len,
};

use crate::backend::MemoryBackend;
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
