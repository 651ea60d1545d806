//! Owned entries, and writing and reading them.

use millpond_snapshot::{
    ByteSource, FullOptions, FullReader, FullSummary, FullWriter, SliceSource,
};
use millpond_state::{
    EntrySink, EntrySource, KeyGroup, KeyGroupRange, MAX_PARALLELISM_LIMIT, MaxParallelism,
    SnapshotEntry, StateDescriptor, StateError,
};

/// An entry that owns its bytes. Its order is the canonical one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) group: u16,
    pub(crate) state: u16,
    pub(crate) key: Vec<u8>,
    pub(crate) namespace: Vec<u8>,
    pub(crate) user_key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

impl Entry {
    pub(crate) fn view(&self) -> SnapshotEntry<'_> {
        SnapshotEntry {
            group: KeyGroup::new(self.group),
            state: self.state,
            key: &self.key,
            namespace: &self.namespace,
            user_key: &self.user_key,
            value: &self.value,
        }
    }

    pub(crate) fn of(entry: &SnapshotEntry<'_>) -> Self {
        Self {
            group: entry.group.get(),
            state: entry.state,
            key: entry.key.to_vec(),
            namespace: entry.namespace.to_vec(),
            user_key: entry.user_key.to_vec(),
            value: entry.value.to_vec(),
        }
    }
}

pub(crate) fn write(
    states: &[StateDescriptor],
    entries: &[Entry],
    options: FullOptions,
) -> (Vec<u8>, FullSummary) {
    let mut file = Vec::new();
    let mut writer = FullWriter::create(&mut file, options).unwrap();
    writer.begin(states).unwrap();
    for entry in entries {
        writer.entry(&entry.view()).unwrap();
    }
    let summary = writer.finish().unwrap();
    (file, summary)
}

pub(crate) fn all_groups() -> KeyGroupRange {
    MaxParallelism::new(MAX_PARALLELISM_LIMIT).unwrap().full_range()
}

pub(crate) fn range(first: u16, last: u16) -> KeyGroupRange {
    KeyGroupRange::new(KeyGroup::new(first), KeyGroup::new(last)).unwrap()
}

pub(crate) fn drain<R: ByteSource>(
    reader: &FullReader<R>,
    range: KeyGroupRange,
) -> Result<Vec<Entry>, StateError> {
    let mut source = reader.entries(range);
    let mut entries = Vec::new();
    while let Some(entry) = source.next_entry()? {
        entries.push(Entry::of(&entry));
    }
    Ok(entries)
}

/// Opens a file and reads all its entries.
pub(crate) fn read_all(bytes: &[u8]) -> Result<Vec<Entry>, StateError> {
    drain(&FullReader::open(SliceSource::new("test.full", bytes))?, all_groups())
}
