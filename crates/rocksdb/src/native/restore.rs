//! Which way the files of a handle take into an instance.

use std::collections::BTreeMap;

use millpond_state::{
    ErrorKind, FileSource, KeyGroupRange, KeyedBackend, Result, StateError, StoredFile,
};

use super::adopt::adopt;
use super::clip::clip;
use super::corrections::{self, CORRECTIONS};
use super::fetch::fetch;
use super::import::{Folder, Part, import};
use super::known::KnownFiles;
use super::manifest::Manifest;
use super::reput::StoredDatabase;
use super::sst::{CURRENT, SstFile, estimated_entries, is_manifest};
use crate::backend::RocksDbBackend;
use crate::folder::TemporaryFolder;
use crate::restore::Restored;
use crate::store::Store;

/// Adds the entries of `groups` in the files of `source`; returns about how many.
pub(crate) fn restore_files(
    backend: &mut RocksDbBackend,
    source: &dyn FileSource,
    groups: KeyGroupRange,
) -> Result<u64> {
    if !backend.opens_files_of(source.backend()) {
        return Err(foreign(source.backend()));
    }
    let manifest = Manifest::decode(source.manifest())?;
    let states = register_all(backend, &manifest)?;
    // Files are looked at, captured and imported without what is in the buffer.
    backend.tables.settle()?;
    let entries = restore_tables(backend, source, (&manifest, &states), groups)?;
    correct(backend, source, &states, groups)?;
    Ok(entries)
}

/// Adds what the files of the database hold.
fn restore_tables(
    backend: &mut RocksDbBackend,
    source: &dyn FileSource,
    (manifest, states): (&Manifest, &[Restored]),
    groups: KeyGroupRange,
) -> Result<u64> {
    let same_ids = states.iter().enumerate().all(|(index, (id, _))| id.index() == index);
    let own = backend.key_groups();
    let restored = &backend.native.restored;
    let untouched = restored.is_empty() && is_empty(&backend.tables.store)?;
    // What was written by others than restores may be of any key group.
    let is_known = untouched || !restored.is_empty();
    let is_disjoint = is_known && is_disjoint(restored, groups);
    backend.native.note_restored(groups);
    if same_ids && untouched && groups == own && source.key_groups() == own {
        let threads = backend.native.transfer_threads;
        let adopted = adopt(&backend.tables.store, source, manifest, threads)?;
        replace_store(backend, adopted);
        return Ok(estimated_entries(&manifest.files));
    }
    if same_ids && is_disjoint {
        return import_files(backend, source, manifest, groups);
    }
    put_entries(backend, source, manifest, groups)
}

/// Registers the states; their ids here, by those in the files.
fn register_all(backend: &mut RocksDbBackend, manifest: &Manifest) -> Result<Vec<Restored>> {
    let states = manifest.states.iter();
    states.map(|state| Ok((backend.register(state)?, state.kind().is_map()))).collect()
}

/// Takes back what the files hold and the snapshot does not.
fn correct(
    backend: &mut RocksDbBackend,
    source: &dyn FileSource,
    states: &[Restored],
    groups: KeyGroupRange,
) -> Result<()> {
    let Some(file) = by_name(source).get(CORRECTIONS).copied() else { return Ok(()) };
    let folder = TemporaryFolder::create(backend.tables.store.folder(), "fetched")?;
    fetch(source, &[file], folder.path(), 1)?;
    corrections::apply(backend, &folder.path().join(CORRECTIONS), states, groups)
}

fn is_disjoint(restored: &[KeyGroupRange], groups: KeyGroupRange) -> bool {
    restored.iter().all(|other| other.intersection(groups).is_none())
}

fn is_empty(store: &Store) -> Result<bool> {
    let mut entries = store.iterator(crate::tuning::scan_read_options())?;
    entries.seek_to_first();
    crate::store::check_ended(&entries)?;
    Ok(!entries.valid())
}

fn replace_store(backend: &mut RocksDbBackend, (store, known): (Store, KnownFiles)) {
    backend.tables.replace_store(store);
    backend.native.known = known;
}

/// Makes the files of `source` and what the instance holds one database.
fn import_files(
    backend: &mut RocksDbBackend,
    source: &dyn FileSource,
    manifest: &Manifest,
    groups: KeyGroupRange,
) -> Result<u64> {
    let own = backend.key_groups();
    let mut wanted = Vec::new();
    let mut is_clean = true;
    for file in &manifest.files {
        let spans = file.key_groups()?;
        if spans.intersection(groups).is_some() {
            wanted.push(file.clone());
            // Key groups that come from elsewhere, or that the caller does not want.
            is_clean &= spans.intersection(own).is_none_or(|seen| groups.contains_range(seen));
        }
    }
    if wanted.is_empty() {
        return Ok(0);
    }
    let threads = backend.native.transfer_threads;
    let added = if is_clean {
        fetch_part(&backend.tables.store, source, wanted, threads)?
    } else {
        match fetch_clipped(&backend.tables.store, source, manifest, (groups, threads))? {
            Some(part) => part,
            None => return put_entries(backend, source, manifest, groups),
        }
    };
    let entries = estimated_entries(&added.tables);
    let store = &backend.tables.store;
    let mut parts = vec![added];
    if !is_empty(store)? {
        parts.push(Part::of_store(store, &backend.native.known)?);
    }
    parts.retain(|part| !part.tables.is_empty());
    if !parts.is_empty() {
        let imported = import(&backend.tables.store, &parts)?;
        replace_store(backend, imported);
    }
    Ok(entries)
}

/// Fetches `tables`, as they are.
fn fetch_part(
    store: &Store,
    source: &dyn FileSource,
    tables: Vec<SstFile>,
    threads: usize,
) -> Result<Part> {
    let folder = TemporaryFolder::create(store.folder(), "fetched")?;
    let stored = by_name(source);
    let files: Result<Vec<&StoredFile>> =
        tables.iter().map(|table| named(&stored, &table.name)).collect();
    let files = files?;
    fetch(source, &files, folder.path(), threads)?;
    let identities = files.iter().map(|file| (file.name.clone(), file.identity.clone()));
    let identities = identities.collect();
    Ok(Part { folder: Folder::Fetched(folder), tables, identities })
}

/// Fetches the whole database and clips it to `groups`. `None` if files still reach beyond.
fn fetch_clipped(
    store: &Store,
    source: &dyn FileSource,
    manifest: &Manifest,
    (groups, threads): (KeyGroupRange, usize),
) -> Result<Option<Part>> {
    let (clipped, known) = adopt(store, source, manifest, threads)?;
    if !clip(&clipped, groups)? {
        return Ok(None);
    }
    Part::of_store(&clipped, &known).map(Some)
}

/// Puts entry by entry: for states whose ids differ, and for key groups that come twice.
fn put_entries(
    backend: &mut RocksDbBackend,
    source: &dyn FileSource,
    manifest: &Manifest,
    groups: KeyGroupRange,
) -> Result<u64> {
    let folder = TemporaryFolder::create(backend.tables.store.folder(), "fetched")?;
    let files = stored_database(source, manifest)?;
    fetch(source, &files, folder.path(), backend.native.transfer_threads)?;
    let database = StoredDatabase::open(folder.path(), manifest, backend.tables.store.options())?;
    let mut entries = database.entries(manifest, groups)?;
    crate::restore::restore(backend, &mut entries)
}

/// The files that make a database: those of the manifest, and what RocksDB needs to open them.
pub(super) fn stored_database<'s>(
    source: &'s dyn FileSource,
    manifest: &Manifest,
) -> Result<Vec<&'s StoredFile>> {
    let stored = by_name(source);
    let tables = manifest.files.iter().map(|table| named(&stored, &table.name));
    let mut files = tables.collect::<Result<Vec<&StoredFile>>>()?;
    files.push(named(&stored, CURRENT)?);
    let manifests = source.files().iter().filter(|file| is_manifest(&file.name));
    let before = files.len();
    files.extend(manifests);
    if files.len() == before { Err(missing("a MANIFEST")) } else { Ok(files) }
}

fn by_name(source: &dyn FileSource) -> BTreeMap<&str, &StoredFile> {
    source.files().iter().map(|file| (file.name.as_str(), file)).collect()
}

fn named<'s>(stored: &BTreeMap<&str, &'s StoredFile>, name: &str) -> Result<&'s StoredFile> {
    stored.get(name).copied().ok_or_else(|| missing(name))
}

#[cold]
fn missing(what: &str) -> StateError {
    let message = format!("the checkpoint lists no file {what} among those of the database");
    StateError::new(ErrorKind::Corrupt, message)
}

#[cold]
fn foreign(backend: &str) -> StateError {
    let message = format!("the RocksDB backend cannot open files of the state backend {backend:?}");
    StateError::new(ErrorKind::Incompatible, message)
}
