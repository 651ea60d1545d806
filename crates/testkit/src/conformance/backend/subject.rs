//! The backend that is checked, and shorthands for talking to it.

use std::sync::Arc;

use millpond_state::codec::{CodecIdentity, HasCodec};
use millpond_state::{
    BackendContext, BackendFactory, CancelFlag, CheckpointId, EntryKey, KeyContext, KeyGroup,
    KeyGroupRange, KeyedBackend, MaxParallelism, NamespaceContext, Result, SnapshotRequest,
    SnapshotSummary, SnapshotTask, StateCodecs, StateDescriptor, StateKind,
};

use super::operator::{OperatorStatePath, PlannedPath};
use crate::entries::{CollectedSnapshot, CollectingSink};
use crate::violation::{Verdict, Violation};

/// Key groups of the job that behaviours play.
const MAX_PARALLELISM: u32 = 128;

/// What a backend does beyond what all must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// `SnapshotSummary::entries_changed` counts, to the entry, what changed since the last
    /// completed checkpoint.
    pub counts_changes: bool,
    /// `memory_bytes` follows the bytes stored: it grows by at least half of what is added, and
    /// deleting most of it gives room that is used again.
    pub reports_memory: bool,
    /// Expired state stays until a read, a sweep or a write removes it: nothing that the backend
    /// does by itself, such as a compaction, drops it before.
    pub keeps_expired: bool,
}

impl Capabilities {
    /// Everything.
    #[must_use]
    pub const fn all() -> Self {
        Self { counts_changes: true, reports_memory: true, keeps_expired: true }
    }

    /// The same without [`Self::counts_changes`].
    #[must_use]
    pub const fn without_counts_changes(mut self) -> Self {
        self.counts_changes = false;
        self
    }

    /// The same without [`Self::reports_memory`].
    #[must_use]
    pub const fn without_reports_memory(mut self) -> Self {
        self.reports_memory = false;
        self
    }

    /// The same without [`Self::keeps_expired`].
    #[must_use]
    pub const fn without_keeps_expired(mut self) -> Self {
        self.keeps_expired = false;
        self
    }
}

impl Default for Capabilities {
    fn default() -> Self {
        Self::all()
    }
}

/// A backend whose behaviours are checked: how to open it, and what it can do.
#[derive(Clone)]
pub struct BackendUnderTest {
    factory: Arc<dyn BackendFactory>,
    operator_state: Arc<dyn OperatorStatePath>,
    capabilities: Capabilities,
    max_parallelism: MaxParallelism,
}

impl core::fmt::Debug for BackendUnderTest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("BackendUnderTest")
            .field("backend", &self.factory.name())
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}

impl BackendUnderTest {
    /// Checks what `factory` opens, with all capabilities.
    ///
    /// # Errors
    /// Only if the number of key groups that the suite uses were invalid.
    pub fn new(factory: impl BackendFactory + 'static) -> Result<Self> {
        Ok(Self {
            factory: Arc::new(factory),
            operator_state: Arc::new(PlannedPath),
            capabilities: Capabilities::all(),
            max_parallelism: MaxParallelism::new(MAX_PARALLELISM)?,
        })
    }

    /// The same with other capabilities.
    #[must_use]
    pub const fn with_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// The same with another way of operator state through a checkpoint.
    #[must_use]
    pub fn with_operator_state(mut self, path: impl OperatorStatePath + 'static) -> Self {
        self.operator_state = Arc::new(path);
        self
    }

    /// The way of operator state through a checkpoint.
    pub(super) fn operator_state(&self) -> &dyn OperatorStatePath {
        &*self.operator_state
    }

    /// What the backend can do.
    #[must_use]
    pub const fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// The number of key groups that behaviours use.
    #[must_use]
    pub const fn max_parallelism(&self) -> MaxParallelism {
        self.max_parallelism
    }

    /// Opens an empty instance for all key groups.
    ///
    /// # Errors
    /// What the factory reports.
    pub fn open(&self) -> Result<Box<dyn KeyedBackend>> {
        self.open_range(self.max_parallelism.full_range())
    }

    /// Opens an empty instance for some key groups.
    ///
    /// # Errors
    /// What the factory reports.
    pub fn open_range(&self, groups: KeyGroupRange) -> Result<Box<dyn KeyedBackend>> {
        self.factory.open(&BackendContext::new("conformance", groups, self.max_parallelism))
    }

    /// Opens an empty instance for each subtask of `parallelism`.
    ///
    /// # Errors
    /// What the factory reports.
    pub fn open_all(&self, parallelism: u32) -> Result<Vec<Box<dyn KeyedBackend>>> {
        (0..parallelism)
            .map(|index| self.open_range(self.max_parallelism.range_of(index, parallelism)?))
            .collect()
    }

    /// Addresses `key` in its own key group and the empty namespace.
    #[must_use]
    pub fn at<'k>(&self, key: &'k [u8]) -> EntryKey<'k> {
        EntryKey::new(key, self.max_parallelism)
    }
}

/// Encodes a typed key for the job that behaviours play.
pub(super) fn key<K: HasCodec>(subject: &BackendUnderTest, key: &K) -> Result<KeyContext<K>> {
    KeyContext::new(key, subject.max_parallelism())
}

/// Encodes a typed namespace.
pub(super) fn namespace<N: HasCodec>(namespace: N) -> Result<NamespaceContext<N>> {
    NamespaceContext::new(&namespace)
}

/// Restores, into a new instance of all key groups, a snapshot of one.
pub(super) fn restored(
    subject: &BackendUnderTest,
    snapshot: &CollectedSnapshot,
) -> Result<Box<dyn KeyedBackend>> {
    let mut backend = subject.open()?;
    backend.restore(&mut snapshot.source(subject.max_parallelism().full_range()))?;
    Ok(backend)
}

/// What each instance of an operator gave to a snapshot, with the key groups it owned.
pub(super) type Parts = Vec<(KeyGroupRange, CollectedSnapshot)>;

/// Snapshots of all instances.
pub(super) fn take_parts(instances: &mut [Box<dyn KeyedBackend>]) -> Result<Parts> {
    instances
        .iter_mut()
        .map(|backend| Ok((backend.key_groups(), take_snapshot(&mut **backend)?)))
        .collect()
}

/// Hands each of new, empty instances its part of a snapshot.
pub(super) fn restore_parts(parts: &Parts, instances: &mut [Box<dyn KeyedBackend>]) -> Result<u64> {
    let mut entries = 0;
    for backend in instances {
        for (range, snapshot) in parts {
            if let Some(overlap) = range.intersection(backend.key_groups()) {
                entries += backend.restore(&mut snapshot.source(overlap))?;
            }
        }
    }
    Ok(entries)
}

/// The instance that owns a key group.
pub(super) fn owner(
    instances: &mut [Box<dyn KeyedBackend>],
    group: KeyGroup,
) -> Verdict<&mut dyn KeyedBackend> {
    match instances.iter_mut().find(|backend| backend.key_groups().contains(group)) {
        Some(backend) => Ok(&mut **backend),
        None => Err(Violation::new(format!("no instance owns key group {group}"))),
    }
}

/// Addresses `key` in a key group of the caller's choice.
pub(super) fn at_group(key: &[u8], group: u16) -> EntryKey<'_> {
    EntryKey::in_group(key, KeyGroup::new(group))
}

/// The key groups `first..=last`.
pub(super) fn groups(first: u16, last: u16) -> Result<KeyGroupRange> {
    KeyGroupRange::new(KeyGroup::new(first), KeyGroup::new(last))
}

/// Describes a state with opaque codecs.
pub(super) fn describe(name: &str, kind: StateKind) -> Result<StateDescriptor> {
    describe_with(name, kind, &opaque("value"))
}

/// Describes a state whose values have another codec.
pub(super) fn describe_with(
    name: &str,
    kind: StateKind,
    value: &CodecIdentity,
) -> Result<StateDescriptor> {
    let codecs = StateCodecs {
        key: opaque("key"),
        namespace: opaque("namespace"),
        user_key: (kind == StateKind::Map).then(|| opaque("user-key")),
        value: value.clone(),
    };
    StateDescriptor::new(name, kind, codecs)
}

/// A codec that says nothing about its bytes, so that a backend cannot lean on their form.
pub(super) fn opaque(part: &str) -> CodecIdentity {
    CodecIdentity::new(format!("testkit:{part}"), 1)
}

/// The synchronous part of a snapshot.
pub(super) fn begin_snapshot(
    backend: &mut dyn KeyedBackend,
    checkpoint: u64,
) -> Result<Box<dyn SnapshotTask>> {
    backend.snapshot(&SnapshotRequest::full(CheckpointId::new(checkpoint)))
}

/// The asynchronous part, into memory.
pub(super) fn finish_snapshot(
    task: Box<dyn SnapshotTask>,
) -> Result<(CollectedSnapshot, SnapshotSummary)> {
    let mut sink = CollectingSink::new();
    let summary = task.run(&mut sink, &CancelFlag::new())?;
    Ok((sink.into_snapshot(), summary))
}

/// Both parts of a snapshot.
pub(super) fn take_snapshot(backend: &mut dyn KeyedBackend) -> Result<CollectedSnapshot> {
    let task = begin_snapshot(backend, 1)?;
    Ok(finish_snapshot(task)?.0)
}

/// The user keys and values of a map, in the order of the visit.
pub(super) fn map_entries(
    backend: &mut dyn KeyedBackend,
    state: millpond_state::StateId,
    at: EntryKey<'_>,
) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut seen = Vec::new();
    backend.map_visit(state, at, &mut |user_key, edit| {
        seen.push((user_key.to_vec(), edit.current().unwrap_or_default().to_vec()));
        Ok(core::ops::ControlFlow::Continue(()))
    })?;
    Ok(seen)
}
