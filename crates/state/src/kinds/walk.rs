//! Walks over all keys of a state.

use core::ops::ControlFlow;

use crate::backend::KeyedBackend;
use crate::codec::{Codec, CodecIdentity, DefaultCodec, HasCodec};
use crate::entry::EntryKey;
use crate::error::{ErrorKind, Result, StateError};
use crate::id::StateId;
use crate::key_group::{KeyGroup, KeyGroupRange};
use crate::migration::ensure_migrated;
use crate::place::At;
use crate::ttl::{clean_entry, clean_for_walk};

/// Calls `visit` with key and namespace of every entry of `state`, key groups ascending. The
/// backend cannot be changed meanwhile; see [`apply_to_all`] for that. Entries that reads do not
/// see because they have expired are left out, and removed; the addresses of one key group are then
/// held in memory.
///
/// # Errors
/// As [`KeyedBackend::visit_entries`], and what the codecs report.
pub fn for_each_entry<K: HasCodec, N: HasCodec, B: KeyedBackend + ?Sized>(
    backend: &mut B,
    state: StateId,
    visit: impl FnMut(K, N) -> ControlFlow<()>,
) -> Result<()> {
    if clean_for_walk(backend, state).is_some() {
        return for_each_live(backend, state, visit);
    }
    let mut visit = visit;
    let groups = backend.key_groups();
    backend.visit_entries(state, groups, None, &mut |_, key, namespace| {
        let key = DefaultCodec::<K>::default().decode_all(key)?;
        let namespace = DefaultCodec::<N>::default().decode_all(namespace)?;
        Ok(visit(key, namespace))
    })
}

/// Calls `apply` with the address of every entry that `state` has when the walk reaches its key
/// group, and with the backend, which `apply` may change as it likes. Entries it adds to a key
/// group not reached yet are visited, others not; an entry deleted meanwhile is visited all the
/// same. Entries that reads do not see because they have expired are left out, and removed. Holds
/// the addresses of one key group at a time.
///
/// # Errors
/// As [`KeyedBackend::visit_entries`], and what `apply` returns.
pub fn apply_to_all<K: HasCodec, N: HasCodec, B: KeyedBackend + ?Sized>(
    backend: &mut B,
    state: StateId,
    mut apply: impl FnMut(&mut B, At<'_, K, N>) -> Result<()>,
) -> Result<()> {
    let mut entries: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for group in backend.key_groups().iter() {
        collect(backend, state, group, &mut entries)?;
        let cleaning = clean_for_walk(backend, state);
        for (key, namespace) in &entries {
            let entry = EntryKey::in_group(key, group).in_namespace(namespace);
            if let Some(cleaning) = &cleaning
                && !clean_entry(backend, cleaning, entry)?.live
            {
                continue;
            }
            apply(backend, At::from_entry(entry))?;
        }
    }
    Ok(())
}

/// [`for_each_entry`] for a state that expires.
fn for_each_live<K: HasCodec, N: HasCodec, B: KeyedBackend + ?Sized>(
    backend: &mut B,
    state: StateId,
    mut visit: impl FnMut(K, N) -> ControlFlow<()>,
) -> Result<()> {
    let mut entries = Vec::new();
    for group in backend.key_groups().iter() {
        collect(backend, state, group, &mut entries)?;
        let Some(cleaning) = clean_for_walk(backend, state) else { return Ok(()) };
        for (key, namespace) in &entries {
            let entry = EntryKey::in_group(key, group).in_namespace(namespace);
            if !clean_entry(backend, &cleaning, entry)?.live {
                continue;
            }
            let key = DefaultCodec::<K>::default().decode_all(key)?;
            let namespace = DefaultCodec::<N>::default().decode_all(namespace)?;
            if visit(key, namespace).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Collects key and namespace of each entry of a key group, once that is migrated.
fn collect<B: KeyedBackend + ?Sized>(
    backend: &mut B,
    state: StateId,
    group: KeyGroup,
    entries: &mut Vec<(Vec<u8>, Vec<u8>)>,
) -> Result<()> {
    entries.clear();
    ensure_migrated(backend, state, group)?;
    let range = KeyGroupRange::new(group, group)?;
    backend.visit_entries(state, range, None, &mut |_, key, namespace| {
        entries.push((key.to_vec(), namespace.to_vec()));
        Ok(ControlFlow::Continue(()))
    })
}

#[cold]
pub(super) fn empty_element(codec: &CodecIdentity) -> StateError {
    StateError::new(
        ErrorKind::InvalidArgument,
        format!("an element that encodes to no bytes (codec {codec}) cannot be kept in a list"),
    )
}
