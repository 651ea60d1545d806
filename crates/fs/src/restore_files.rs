//! Opening the segments of a native snapshot: files are fetched, several at once, and the index is
//! made from their hints. No record is read.
//!
//! # Invariants
//! - The bytes of each file are those of its identity: compared as they are fetched, or before they
//!   were put where they are copied from.
//! - Files are kept for the next snapshot only if they are all of this instance's state.
//!
//! # Failures
//! A file that is missing, damaged or another is [`ErrorKind::Corrupt`] and is named.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use millpond_state::{
    ErrorKind, FileReader, FileSource, KeyGroup, KeyGroupRange, Result, StateError, StateId,
    StoredFile,
};

use crate::backend::FsBackend;
use crate::error::again;
use crate::manifest::{Manifest, segment_name};
use crate::map::NewFile;
use crate::record::Record;
use crate::segment::Segment;
use crate::view::{Newest, Segments};
use millpond_state_folder::InstanceFolder;

/// Bytes of a file that are fetched at once.
const FETCH_BYTES: usize = 1 << 20;

/// Adds the entries of `groups` in the files of `source`; returns how many.
pub(crate) fn restore_files(
    backend: &mut FsBackend,
    source: &mut dyn FileSource,
    groups: KeyGroupRange,
) -> Result<u64> {
    use millpond_state::KeyedBackend;

    if !backend.opens_files_of(source.backend()) {
        return Err(foreign(source.backend()));
    }
    let own = backend.key_groups();
    if !own.contains_range(groups) {
        return Err(crate::error::foreign_group(groups.first(), own));
    }
    let manifest = Manifest::decode(source.manifest())?;
    let is_whole = backend.is_fresh && groups == own && source.key_groups() == own;
    backend.is_fresh = false;
    let wanted = Wanted::of(&manifest, groups);
    let fetched = fetch(source, &wanted, &backend.store.log.folder, backend.restore_threads)?;
    if is_whole {
        fetched.iter().for_each(|(segment, file)| segment.set_identity(file.identity.clone()));
    }
    let groups_of = wanted.0.iter().map(|(_, groups)| *groups);
    let segments: Vec<_> = fetched.into_iter().map(|(segment, _)| segment).zip(groups_of).collect();
    let segments = Segments(segments);
    let ids = manifest.states.iter().map(|state| backend.register_state(state));
    let ids = ids.collect::<Result<Vec<StateId>>>()?;
    let Some(groups) = groups.intersection(manifest.groups) else { return Ok(0) };
    let is_same_order = ids.iter().enumerate().all(|(number, id)| id.index() == number);
    if is_same_order {
        index(backend, &segments, groups)?;
    } else {
        rewrite(backend, &segments, &ids, groups)?;
    }
    let mut restored = 0;
    for group in groups.iter() {
        let of = |range: KeyGroupRange| group.index() - range.first().index();
        let count = manifest.group_entries.get(of(manifest.groups)).copied().unwrap_or(0);
        if let Some(entries) = backend.group_entries.get_mut(of(own)) {
            *entries += count;
        }
        restored += count;
    }
    Ok(restored)
}

/// The segments that have to be fetched: name and key groups that count.
struct Wanted(Vec<(String, KeyGroupRange)>);

impl Wanted {
    fn of(manifest: &Manifest, groups: KeyGroupRange) -> Self {
        let segments = manifest.segments.iter().enumerate();
        let wanted = segments
            .filter_map(|(position, of)| Some((segment_name(position), of.intersection(groups)?)));
        Self(wanted.collect())
    }
}

/// A file to be fetched, and where it goes.
struct Fetch {
    reader: Box<dyn FileReader>,
    file: StoredFile,
    to: NewFile,
    name: String,
}

/// Fetches files, several at once; in their order.
fn fetch(
    source: &dyn FileSource,
    wanted: &Wanted,
    folder: &InstanceFolder,
    threads: usize,
) -> Result<Vec<(Arc<Segment>, StoredFile)>> {
    let mut pending = Vec::with_capacity(wanted.0.len());
    for (position, (name, _)) in wanted.0.iter().enumerate() {
        let file = source.files().iter().find(|file| file.name == *name);
        let file = file.ok_or_else(|| missing(name))?.clone();
        let path = folder.unused("fetched");
        let create = |path| {
            NewFile::create(path).map_err(|error| StateError::from_io("create a file", error))
        };
        let name = format!("{name} ({})", file.identity.place());
        let (reader, to) = (source.open(&file.name)?, create(path)?);
        pending.push((position, Fetch { reader, file, to, name }));
    }
    let count = pending.len();
    pending.reverse();
    let pending = Mutex::new(pending);
    let done = Mutex::new(Vec::with_capacity(count));
    let work = || {
        loop {
            let next = pending.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some((position, fetch)) = next else { return };
            let fetched = fetch.run();
            if fetched.is_err() {
                pending.lock().unwrap_or_else(PoisonError::into_inner).clear();
            }
            done.lock().unwrap_or_else(PoisonError::into_inner).push((position, fetched));
        }
    };
    std::thread::scope(|scope| {
        (1..threads.min(count)).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(position, _)| *position);
    let failed = done.iter().find_map(|(_, fetched)| fetched.as_ref().err().map(again));
    match failed {
        Some(error) => Err(error),
        None => done.into_iter().map(|(_, fetched)| fetched).collect(),
    }
}

impl Fetch {
    fn run(self) -> Result<(Arc<Segment>, StoredFile)> {
        let Self { reader, file, mut to, name } = self;
        match reader.local_path() {
            Some(path) => copy_local(path, &mut to, &name)?,
            None => copy(&*reader, &file, &mut to, &name)?,
        }
        let mapping =
            to.map().map_err(|error| StateError::from_io(format_args!("map {name}"), error))?;
        if mapping.bytes().len() as u64 != file.identity.bytes() {
            return Err(other_file(&name));
        }
        Ok((Arc::new(Segment::open(mapping, name)?), file))
    }
}

/// Copies a file whose checksum was compared.
fn copy_local(path: &Path, to: &mut NewFile, name: &str) -> Result<()> {
    let failed =
        |error| StateError::from_io(format_args!("copy {} as {name}", path.display()), error);
    let mut from = std::fs::File::open(path).map_err(failed)?;
    to.copy_from(&mut from).map_err(failed)
}

/// Streams a file, and compares its checksum.
fn copy(reader: &dyn FileReader, file: &StoredFile, to: &mut NewFile, name: &str) -> Result<()> {
    let mut checksum = crc32fast::Hasher::new();
    let mut buffer = vec![0; FETCH_BYTES];
    let (mut at, end) = (0, reader.len());
    if end != file.identity.bytes() {
        return Err(other_file(name));
    }
    while at < end {
        let count = usize::try_from(end - at).unwrap_or(FETCH_BYTES).min(FETCH_BYTES);
        let bytes = buffer.get_mut(..count).unwrap_or_default();
        reader.read_exact_at(at, bytes)?;
        checksum.update(bytes);
        to.write_all(bytes)
            .map_err(|error| StateError::from_io(format_args!("write {name}"), error))?;
        at += count as u64;
    }
    if checksum.finalize() == file.identity.crc32() { Ok(()) } else { Err(other_file(name)) }
}

/// Leads the index to the newest records of `groups`. Another thread merges the hints of a key
/// group while those of the one before are added.
fn index(backend: &mut FsBackend, segments: &Segments, groups: KeyGroupRange) -> Result<()> {
    let mut slots = Vec::with_capacity(segments.0.len());
    for (segment, groups) in &segments.0 {
        slots.push(backend.store.log.adopt(Arc::clone(segment), *groups)?);
    }
    if backend.restore_threads == 1 {
        let mut all = groups.iter();
        return all.try_for_each(|group| {
            index_group(backend, (segments, &slots), group, &segments.newest(group)?)
        });
    }
    let (send, receive) = crossbeam_channel::bounded(GROUPS_AHEAD);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // Nobody receives any more once an error was met.
            let _ = groups.iter().try_for_each(|group| send.send((group, segments.newest(group))));
        });
        let mut merged = receive.into_iter();
        merged.try_for_each(|(group, newest)| {
            index_group(backend, (segments, &slots), group, &newest?)
        })
    })
}

fn index_group(
    backend: &mut FsBackend,
    (segments, slots): (&Segments, &[u32]),
    group: KeyGroup,
    newest: &[Newest],
) -> Result<()> {
    backend.store.admit(newest.len() as u64 / RECORDS_OF_PAGE)?;
    let mut live = vec![0; slots.len()];
    for one in newest {
        let position = one.segment as usize;
        let Some(slot) = slots.get(position) else { continue };
        let tag = backend.store.index.tag(group, one.hint.hash);
        let location = backend.store.log.locations.join(*slot, one.hint.offset());
        backend.store.index.insert(tag, location);
        if let Some(live) = live.get_mut(position) {
            *live += 1;
        }
        let facts = backend.facts.get_mut(usize::from(one.hint.state()));
        let facts = facts.ok_or_else(unknown_state)?;
        facts.has_parts |= one.hint.is_part() && !facts.is_map;
        facts.entries += u64::from(!one.hint.is_part());
    }
    count_live(backend, segments, slots, (group, &live));
    Ok(())
}

/// Key groups whose hints are merged before they are added, at most.
const GROUPS_AHEAD: usize = 2;

/// Fewest records that a page of the index has room for.
const RECORDS_OF_PAGE: u64 = 512;

/// Counts what is live, in bytes of the key group's mean record; tombstones are among what is not.
fn count_live(
    backend: &mut FsBackend,
    segments: &Segments,
    slots: &[u32],
    (group, live): (KeyGroup, &[u64]),
) {
    for ((slot, live), (segment, _)) in slots.iter().zip(live).zip(&segments.0) {
        if let Some(statistics) = segment.layout().group(group) {
            let hints = u64::from(statistics.hints);
            let bytes = statistics.bytes / hints.max(1) * live;
            backend.store.log.add_restored(*slot, (*live, bytes));
            let others = statistics.bytes.saturating_sub(bytes);
            if *live < hints {
                backend.store.log.add_tombstone(*slot, others);
            }
        }
    }
}

/// Writes the entries of segments anew whose states have other numbers here.
fn rewrite(
    backend: &mut FsBackend,
    segments: &Segments,
    ids: &[StateId],
    groups: KeyGroupRange,
) -> Result<()> {
    for group in groups.iter() {
        let mut newest = segments.newest(group)?;
        // Parts of lists have to come in order.
        let mut records = Vec::with_capacity(newest.len());
        for one in newest.drain(..) {
            let Some((segment, _)) = segments.0.get(one.segment as usize) else { continue };
            records.push(segment.record(one.hint.offset())?);
        }
        records.sort_unstable_by_key(|record| record.address().chunk());
        for record in &records {
            let id = ids.get(usize::from(record.state())).ok_or_else(unknown_state)?;
            rewrite_record(backend, *id, record)?;
        }
    }
    Ok(())
}

fn rewrite_record(backend: &mut FsBackend, state: StateId, record: &Record<'_>) -> Result<()> {
    let old = record.address();
    let at = millpond_state::EntryKey::in_group(old.key(), old.group());
    let is_map = backend.registry.get(state)?.kind().is_map();
    let (address, _) = backend.address(state, is_map, &at.in_namespace(old.namespace()))?;
    backend.store.add(&address.part(old.chunk()), record.value)?;
    let facts = backend.facts.get_mut(state.index()).ok_or_else(unknown_state)?;
    facts.has_parts |= old.chunk() != 0 && !is_map;
    facts.entries += u64::from(old.chunk() == 0);
    Ok(())
}

#[cold]
fn foreign(backend: &str) -> StateError {
    let message = format!("the fs backend cannot open files of the state backend {backend:?}");
    StateError::new(ErrorKind::Incompatible, message)
}

#[cold]
fn missing(name: &str) -> StateError {
    StateError::new(ErrorKind::Corrupt, format!("the snapshot has no file called {name}"))
}

#[cold]
fn other_file(name: &str) -> StateError {
    let message = format!("{name} is not the file that the checkpoint wrote: damaged, or swapped");
    StateError::new(ErrorKind::Corrupt, message)
}

#[cold]
fn unknown_state() -> StateError {
    StateError::new(ErrorKind::Corrupt, "a record is of a state that the manifest does not list")
}
