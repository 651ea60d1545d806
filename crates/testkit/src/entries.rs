//! Snapshot entries in memory: a sink that keeps them and checks their order, and a source that
//! hands them out again.
//!
//! # Failures
//! [`CollectingSink`] refuses entries that break the canonical order, entries before `begin` and a
//! second `begin` with [`ErrorKind::InvalidArgument`].

use std::collections::BTreeMap;

use millpond_state::{
    EntrySink, EntrySource, ErrorKind, KeyGroup, KeyGroupRange, Result, SnapshotEntry,
    StateDescriptor, StateError,
};

/// A [`SnapshotEntry`] that owns its bytes. Its order is the canonical order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnedEntry {
    /// The key group of the key.
    pub group: KeyGroup,
    /// Index of the entry's state in the snapshot's descriptors.
    pub state: u16,
    /// Encoded key.
    pub key: Vec<u8>,
    /// Encoded namespace.
    pub namespace: Vec<u8>,
    /// Encoded user key; empty for all but map states.
    pub user_key: Vec<u8>,
    /// Encoded value.
    pub value: Vec<u8>,
}

impl OwnedEntry {
    /// Copies a borrowed entry.
    #[must_use]
    pub fn from_borrowed(entry: &SnapshotEntry<'_>) -> Self {
        Self {
            group: entry.group,
            state: entry.state,
            key: entry.key.to_vec(),
            namespace: entry.namespace.to_vec(),
            user_key: entry.user_key.to_vec(),
            value: entry.value.to_vec(),
        }
    }

    /// The entry as a borrowed view.
    #[must_use]
    pub fn as_borrowed(&self) -> SnapshotEntry<'_> {
        SnapshotEntry {
            group: self.group,
            state: self.state,
            key: &self.key,
            namespace: &self.namespace,
            user_key: &self.user_key,
            value: &self.value,
        }
    }

    /// Whether `next` may follow this entry: it addresses a later place.
    fn precedes(&self, next: &SnapshotEntry<'_>) -> bool {
        let place = |e: &SnapshotEntry<'_>| (e.group, e.state);
        let bytes =
            |e: &SnapshotEntry<'_>| (e.key.to_vec(), e.namespace.to_vec(), e.user_key.to_vec());
        let own = self.as_borrowed();
        (place(&own), bytes(&own)) < (place(next), bytes(next))
    }
}

/// Where an entry lives, with its state by name: comparable between snapshots whose states have
/// different indexes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogicalKey {
    /// The state's name.
    pub state: String,
    /// The key group of the key.
    pub group: KeyGroup,
    /// Encoded key.
    pub key: Vec<u8>,
    /// Encoded namespace.
    pub namespace: Vec<u8>,
    /// Encoded user key; empty for all but map states.
    pub user_key: Vec<u8>,
}

/// What a snapshot says, whatever order its states were registered in.
pub type LogicalState = BTreeMap<LogicalKey, Vec<u8>>;

/// A snapshot in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CollectedSnapshot {
    /// The descriptors that entries refer to by index.
    pub states: Vec<StateDescriptor>,
    /// The entries, in canonical order.
    pub entries: Vec<OwnedEntry>,
}

impl CollectedSnapshot {
    /// A source of the entries whose key groups are in `groups`.
    #[must_use]
    pub fn source(&self, groups: KeyGroupRange) -> VecSource<'_> {
        VecSource { states: &self.states, entries: self.entries.iter(), groups }
    }

    /// The entries by state name. Entries of a state without descriptor are left out.
    #[must_use]
    pub fn logical(&self) -> LogicalState {
        let named = |entry: &OwnedEntry| {
            let state = self.states.get(usize::from(entry.state))?.name().to_owned();
            let entry = entry.clone();
            let place = LogicalKey {
                state,
                group: entry.group,
                key: entry.key,
                namespace: entry.namespace,
                user_key: entry.user_key,
            };
            Some((place, entry.value))
        };
        self.entries.iter().filter_map(named).collect()
    }
}

/// Keeps all entries of one snapshot; refuses them out of canonical order.
#[derive(Debug, Default)]
pub struct CollectingSink {
    begun: bool,
    snapshot: CollectedSnapshot,
}

impl CollectingSink {
    /// An empty sink.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What was taken so far.
    #[must_use]
    pub fn into_snapshot(self) -> CollectedSnapshot {
        self.snapshot
    }

    /// Whether the snapshot was begun.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.begun
    }

    fn check(&self, entry: &SnapshotEntry<'_>) -> Result<()> {
        let problem = if !self.begun {
            "comes before the snapshot has begun"
        } else if usize::from(entry.state) >= self.snapshot.states.len() {
            "refers to a state that has no descriptor"
        } else if self.snapshot.entries.last().is_some_and(|last| !last.precedes(entry)) {
            "is not in canonical order, or comes twice"
        } else {
            return Ok(());
        };
        let place = format!("entry {} {entry:?}", self.snapshot.entries.len());
        Err(invalid(format!("{place:.300} {problem}")))
    }
}

impl EntrySink for CollectingSink {
    fn begin(&mut self, states: &[StateDescriptor]) -> Result<()> {
        if self.begun {
            return Err(invalid("the snapshot was begun twice"));
        }
        self.begun = true;
        self.snapshot.states = states.to_vec();
        Ok(())
    }

    fn entry(&mut self, entry: &SnapshotEntry<'_>) -> Result<()> {
        self.check(entry)?;
        self.snapshot.entries.push(OwnedEntry::from_borrowed(entry));
        Ok(())
    }
}

/// Hands out the entries of a [`CollectedSnapshot`] whose key groups are in a range.
#[derive(Clone, Debug)]
pub struct VecSource<'a> {
    states: &'a [StateDescriptor],
    entries: core::slice::Iter<'a, OwnedEntry>,
    groups: KeyGroupRange,
}

impl EntrySource for VecSource<'_> {
    fn states(&self) -> &[StateDescriptor] {
        self.states
    }

    fn next_entry(&mut self) -> Result<Option<SnapshotEntry<'_>>> {
        let groups = self.groups;
        let entry = self.entries.find(|entry| groups.contains(entry.group));
        Ok(entry.map(OwnedEntry::as_borrowed))
    }
}

fn invalid(message: impl Into<String>) -> StateError {
    StateError::new(ErrorKind::InvalidArgument, message)
}
