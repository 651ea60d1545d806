//! What the tests share: states, an instance, sinks and sources in memory.

use millpond_memory::{MemoryBackend, MemoryOptions};
use millpond_state::codec::CodecIdentity;
use millpond_state::{
    CancelFlag, CheckpointId, EntryKey, EntrySink, EntrySource, KeyGroup, KeyGroupRange,
    KeyedBackend, MaxParallelism, Result, SnapshotEntry, SnapshotRequest, SnapshotSummary,
    SnapshotTask, StateCodecs, StateDescriptor, StateKind,
};

/// One snapshot entry with its bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owned {
    pub(crate) group: u16,
    pub(crate) state: u16,
    pub(crate) key: Vec<u8>,
    pub(crate) namespace: Vec<u8>,
    pub(crate) user_key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// A snapshot in memory; sink and source.
#[derive(Clone, Debug, Default)]
pub(crate) struct Collected {
    pub(crate) states: Vec<StateDescriptor>,
    pub(crate) entries: Vec<Owned>,
    next: usize,
}

impl Collected {
    /// The entries of these key groups.
    pub(crate) fn restricted(&self, groups: KeyGroupRange) -> Self {
        let inside = |entry: &&Owned| groups.contains(KeyGroup::new(entry.group));
        Self {
            states: self.states.clone(),
            entries: self.entries.iter().filter(inside).cloned().collect(),
            next: 0,
        }
    }
}

impl EntrySink for Collected {
    fn begin(&mut self, states: &[StateDescriptor]) -> Result<()> {
        self.states = states.to_vec();
        Ok(())
    }

    fn entry(&mut self, entry: &SnapshotEntry<'_>) -> Result<()> {
        self.entries.push(Owned {
            group: entry.group.get(),
            state: entry.state,
            key: entry.key.to_vec(),
            namespace: entry.namespace.to_vec(),
            user_key: entry.user_key.to_vec(),
            value: entry.value.to_vec(),
        });
        Ok(())
    }
}

impl EntrySource for Collected {
    fn states(&self) -> &[StateDescriptor] {
        &self.states
    }

    fn next_entry(&mut self) -> Result<Option<SnapshotEntry<'_>>> {
        let entry = self.entries.get(self.next);
        self.next += 1;
        Ok(entry.map(|entry| SnapshotEntry {
            group: KeyGroup::new(entry.group),
            state: entry.state,
            key: &entry.key,
            namespace: &entry.namespace,
            user_key: &entry.user_key,
            value: &entry.value,
        }))
    }
}

/// A state of this name and kind, of byte codecs.
pub(crate) fn descriptor(name: &str, kind: StateKind) -> StateDescriptor {
    let bytes = || CodecIdentity::new("bytes", 1);
    let codecs = StateCodecs {
        key: bytes(),
        namespace: bytes(),
        user_key: (kind == StateKind::Map).then(bytes),
        value: bytes(),
    };
    StateDescriptor::new(name, kind, codecs).unwrap()
}

/// An instance that owns `groups` of 16.
pub(crate) fn backend_of(groups: KeyGroupRange) -> MemoryBackend {
    MemoryBackend::create(groups, max(), MemoryOptions::new()).unwrap()
}

/// An instance that owns all of 16 groups.
pub(crate) fn backend() -> MemoryBackend {
    backend_of(max().full_range())
}

pub(crate) fn max() -> MaxParallelism {
    MaxParallelism::new(16).unwrap()
}

/// The address of a key in the empty namespace.
pub(crate) fn at(key: &[u8]) -> EntryKey<'_> {
    EntryKey::new(key, max())
}

/// Takes a snapshot.
pub(crate) fn snapshot(backend: &mut dyn KeyedBackend, id: u64) -> Box<dyn SnapshotTask> {
    backend.snapshot(&SnapshotRequest::full(CheckpointId::new(id))).unwrap()
}

/// Writes a snapshot.
pub(crate) fn run(task: Box<dyn SnapshotTask>) -> (Collected, SnapshotSummary) {
    let mut collected = Collected::default();
    let summary = task.run(&mut collected, &CancelFlag::new()).unwrap();
    assert_eq!(summary.entries, collected.entries.len() as u64);
    assert!(collected.entries.is_sorted(), "canonical order");
    (collected, summary)
}
