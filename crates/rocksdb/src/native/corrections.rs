//! What files hold and the snapshot must not: values that had expired at its instant or have no
//! stamp yet, and values of codecs that are being migrated.
//!
//! Files are taken as they are, so what the registry's filter leaves out and converts goes into a
//! delta beside them. It is found by a walk over the states concerned, and over no others; a
//! snapshot without anything to correct has no such file.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use millpond_snapshot::{
    ByteSink, ByteSource, ChangeKind, Compression, DeltaReader, DeltaWriter, FullOptions,
    SnapshotError,
};
use millpond_state::{
    CancelFlag, ErrorKind, FileSink, FileTransfer, KeyGroup, KeyGroupRange, Result, SnapshotEntry,
    SnapshotFilter, StateDescriptor, StateError, StateId, StateRegistry,
};
use rocksdb::{DB, DBRawIterator};

use crate::backend::RocksDbBackend;
use crate::error::foreign_key;
use crate::layout;
use crate::restore::{Restored, push_key};
use crate::store::check_ended;
use crate::tuning::range_read_options;
use crate::writes::Writes;

/// What the file of corrections is called.
pub(super) const CORRECTIONS: &str = "corrections.delta";

/// Entries looked at between two looks at the cancel flag.
const CANCEL_CHECK_ENTRIES: u64 = 256;

/// What the registry leaves out and converts, as of the instant of a snapshot.
pub(super) struct Frozen {
    filter: SnapshotFilter,
    /// The states that it does anything to, ascending.
    states: Vec<StateId>,
}

impl Frozen {
    /// As of now; `None` if all states are taken as they are.
    pub(super) fn of(registry: &StateRegistry) -> Option<Self> {
        let touched = |state: &StateDescriptor| state.expiry().is_some() || state.is_migrating();
        let states = registry.descriptors().iter().enumerate();
        let states: Vec<_> = states.filter(|(_, state)| touched(state)).collect();
        let states: Vec<StateId> =
            states.into_iter().map(|(index, _)| StateId::new(index as u16)).collect();
        (!states.is_empty()).then(|| Self { filter: registry.freeze_filter(), states })
    }
}

/// Where corrections are looked for.
pub(super) struct Captured<'c> {
    pub(super) db: &'c DB,
    pub(super) family: &'c str,
    pub(super) groups: KeyGroupRange,
    pub(super) states: &'c [StateDescriptor],
}

/// Adds the corrections, if there are any, to `files`; returns how many.
pub(super) fn add(
    captured: &Captured<'_>,
    frozen: Frozen,
    files: &mut dyn FileTransfer,
    cancel: &CancelFlag,
) -> Result<u64> {
    let mut corrections = Corrections::new(captured, frozen, cancel)?;
    if !corrections.advance()? {
        return Ok(0);
    }
    let compression = match files.compression_level() {
        0 => Compression::None,
        level => Compression::Zstd { level },
    };
    let mut written = 0;
    files.add(CORRECTIONS, &mut |sink| {
        let options = FullOptions { compression, ..FullOptions::default() };
        let mut writer = DeltaWriter::create(Sink(sink), options)?;
        writer.begin(captured.states)?;
        while corrections.write(&mut writer)? {
            written += 1;
        }
        writer.finish()?;
        Ok(())
    })?;
    Ok(written)
}

/// A file of a transfer as the formats see it.
struct Sink<'s>(&'s mut dyn FileSink);

impl ByteSink for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> millpond_snapshot::Result<()> {
        self.0.write(bytes).map_err(|error| SnapshotError::io("cannot write", error))
    }
}

/// Walks over the entries that need a correction.
struct Corrections<'c> {
    items: DBRawIterator<'c>,
    frozen: Frozen,
    cancel: &'c CancelFlag,
    examined: u64,
    /// The present correction: the key, and the value it shall have, if any.
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    is_at_one: bool,
    unescaped: (Vec<u8>, Vec<u8>),
}

impl<'c> Corrections<'c> {
    fn new(captured: &Captured<'c>, frozen: Frozen, cancel: &'c CancelFlag) -> Result<Self> {
        let family = captured.db.cf_handle(captured.family).ok_or_else(|| {
            StateError::new(ErrorKind::Corrupt, "the captured files have no such column family")
        })?;
        let options = range_read_options(captured.groups);
        let mut items = captured.db.raw_iterator_cf_opt(family, options);
        items.seek_to_first();
        let (key, value, unescaped) = Default::default();
        Ok(Self { items, frozen, cancel, examined: 0, key, value, is_at_one: false, unescaped })
    }

    /// Moves to the next correction; `false` if there is none.
    fn advance(&mut self) -> Result<bool> {
        self.is_at_one = false;
        while !self.is_at_one {
            if self.examined.is_multiple_of(CANCEL_CHECK_ENTRIES) {
                self.cancel.check()?;
            }
            self.examined += 1;
            let Some((key, value)) = self.items.item() else {
                check_ended(&self.items)?;
                return Ok(false);
            };
            let parts = layout::parts(key).ok_or_else(|| foreign_key(key))?;
            if self.frozen.states.binary_search(&parts.state).is_err() {
                let next = next_scope(&self.frozen.states, parts.group, parts.state);
                let Some(next) = next else { return Ok(false) };
                self.items.seek(next);
                continue;
            }
            let entry = entry_of(&parts, value, &mut self.unescaped);
            let kept = self.frozen.filter.apply(&entry)?;
            if kept != Some(value) {
                self.is_at_one = true;
                self.value = kept.map(<[u8]>::to_vec);
                self.key.clear();
                self.key.extend_from_slice(key);
            }
            self.items.next();
        }
        Ok(true)
    }

    /// Writes the present correction and moves to the next; `false` if there was none.
    fn write<W: ByteSink>(&mut self, writer: &mut DeltaWriter<W>) -> Result<bool> {
        if !self.is_at_one {
            return Ok(false);
        }
        let parts = layout::parts(&self.key).ok_or_else(|| foreign_key(&self.key))?;
        let value = self.value.as_deref();
        let change = if value.is_some() { ChangeKind::Put } else { ChangeKind::Deleted };
        writer.change(&entry_of(&parts, value.unwrap_or_default(), &mut self.unescaped), change)?;
        self.advance()?;
        Ok(true)
    }
}

fn entry_of<'e>(
    parts: &layout::Parts<'e>,
    value: &'e [u8],
    (key, namespace): &'e mut (Vec<u8>, Vec<u8>),
) -> SnapshotEntry<'e> {
    SnapshotEntry {
        group: parts.group,
        state: parts.state.get(),
        key: parts.key.plain(key),
        namespace: parts.namespace.plain(namespace),
        user_key: parts.user_key,
        value,
    }
}

/// Where the next entries of `states` may be, seen from an entry of another state.
fn next_scope(
    states: &[StateId],
    group: KeyGroup,
    state: StateId,
) -> Option<[u8; layout::SCOPE_BYTES]> {
    let first = *states.first()?;
    match states.iter().find(|wanted| **wanted > state) {
        Some(next) => Some(layout::scope(group, *next)),
        None => Some(layout::scope(KeyGroup::new(group.get().checked_add(1)?), first)),
    }
}

/// Makes the corrections in the file at `path` that are of `groups`.
pub(super) fn apply(
    backend: &mut RocksDbBackend,
    path: &Path,
    states: &[Restored],
    groups: KeyGroupRange,
) -> Result<()> {
    let reader = DeltaReader::open(LocalSource::open(path)?)?;
    let mut changes = reader.changes(groups);
    let (mut writes, mut key) = (Writes::default(), Vec::new());
    while let Some((entry, change)) = changes.next_change()? {
        key.clear();
        let map_bytes = push_key(backend, states, &entry, &mut key)?;
        let tables = &mut backend.tables;
        let is_buffered = tables.buffer.is_some();
        match change {
            ChangeKind::Put if is_buffered => tables.put(&key, map_bytes, entry.value)?,
            ChangeKind::Put => writes.put(&tables.store, &key, entry.value)?,
            ChangeKind::Deleted if is_buffered => tables.delete(&key, map_bytes)?,
            ChangeKind::Deleted => writes.delete(&tables.store, &key)?,
            ChangeKind::MapDeleted => {
                let message = format!("{CORRECTIONS} deletes a whole map, which none does");
                return Err(StateError::new(ErrorKind::Corrupt, message));
            }
        }
        writes.send_if_large(&mut backend.tables)?;
    }
    writes.send(&mut backend.tables)
}

/// A file that was fetched.
struct LocalSource {
    file: File,
    bytes: u64,
    name: String,
}

impl LocalSource {
    fn open(path: &Path) -> Result<Self> {
        let on_error = |error| StateError::from_io(format_args!("open {}", path.display()), error);
        let file = File::open(path).map_err(on_error)?;
        let bytes = file.metadata().map_err(on_error)?.len();
        Ok(Self { file, bytes, name: path.display().to_string() })
    }
}

impl ByteSource for LocalSource {
    fn len(&self) -> u64 {
        self.bytes
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> millpond_snapshot::Result<()> {
        let read = self.file.read_exact_at(buffer, offset);
        read.map_err(|error| SnapshotError::io("cannot read", error))
    }

    fn name(&self) -> &str {
        &self.name
    }
}
