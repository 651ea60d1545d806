//! A copy of an entry.

use core::cmp::Ordering;

use millpond_state::{KeyGroup, SnapshotEntry};

/// An entry in buffers of its own, which are re-used.
#[derive(Clone, Debug)]
pub(super) struct OwnedEntry {
    group: KeyGroup,
    state: u16,
    key: Vec<u8>,
    namespace: Vec<u8>,
    user_key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

impl OwnedEntry {
    pub(super) const fn new() -> Self {
        Self {
            group: KeyGroup::new(0),
            state: 0,
            key: Vec::new(),
            namespace: Vec::new(),
            user_key: Vec::new(),
            value: Vec::new(),
        }
    }

    pub(super) fn set(&mut self, entry: &SnapshotEntry<'_>) {
        (self.group, self.state) = (entry.group, entry.state);
        for (slot, part) in [
            (&mut self.key, entry.key),
            (&mut self.namespace, entry.namespace),
            (&mut self.user_key, entry.user_key),
            (&mut self.value, entry.value),
        ] {
            slot.clear();
            slot.extend_from_slice(part);
        }
    }

    pub(super) fn as_entry(&self) -> SnapshotEntry<'_> {
        SnapshotEntry {
            group: self.group,
            state: self.state,
            key: &self.key,
            namespace: &self.namespace,
            user_key: &self.user_key,
            value: &self.value,
        }
    }

    /// In canonical order.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        (self.group, self.state)
            .cmp(&(other.group, other.state))
            .then_with(|| self.key.cmp(&other.key))
            .then_with(|| self.namespace.cmp(&other.namespace))
            .then_with(|| self.user_key.cmp(&other.user_key))
    }
}
