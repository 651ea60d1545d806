//! Adding the entries of a canonical snapshot to an instance.

use millpond_state::{
    EntryKey, EntrySource, ErrorKind, Result, SnapshotEntry, StateError, StateId,
    check_user_key_len, check_value_len,
};

use crate::backend::FsBackend;
use crate::node::NodeEntry;
use crate::tree;

/// Adds all entries of `source`; returns how many.
pub(crate) fn restore(backend: &mut FsBackend, source: &mut dyn EntrySource) -> Result<u64> {
    let states = source.states().iter();
    let states: Result<Vec<(StateId, bool)>> =
        states.map(|it| Ok((backend.register_state(it)?, it.kind().is_map()))).collect();
    let states = states?;
    let mut count = 0;
    while let Some(entry) = source.next_entry()? {
        let Some((state, is_map)) = states.get(usize::from(entry.state)) else {
            return Err(unknown_state(&entry));
        };
        add(backend, (*state, *is_map), &entry)?;
        count += 1;
    }
    Ok(count)
}

/// Adds one entry.
pub(crate) fn add(
    backend: &mut FsBackend,
    (state, is_map): (StateId, bool),
    entry: &SnapshotEntry<'_>,
) -> Result<()> {
    check_value_len(entry.value.len())?;
    let at = EntryKey::in_group(entry.key, entry.group).in_namespace(entry.namespace);
    at.check_lengths()?;
    let place = backend.address(state, is_map, &at)?;
    if !is_map {
        return backend.put_value(place, entry.value);
    }
    check_user_key_len(entry.user_key.len())?;
    let added = NodeEntry { key: entry.user_key, value: entry.value };
    let (is_new_map, is_new) = tree::put(&mut backend.store, &place.0, &added)?;
    backend.count(&place.0, i64::from(is_new), i64::from(is_new_map));
    Ok(())
}

#[cold]
fn unknown_state(entry: &SnapshotEntry<'_>) -> StateError {
    StateError::new(
        ErrorKind::Corrupt,
        format!(
            "an entry of key group {} belongs to state number {}, which the snapshot does not list",
            entry.group, entry.state
        ),
    )
}
