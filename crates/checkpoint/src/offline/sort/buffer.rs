//! Entries in memory, to be sorted.

use millpond_state::{KEY_BYTES_MAX, KeyGroup, SnapshotEntry, VALUE_BYTES_MAX};

use crate::error::Result;
use crate::offline::invalid;

/// Entries one after the other in one buffer, and for each its place.
#[derive(Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
}

#[derive(Clone, Copy)]
struct Slot {
    group: u16,
    state: u16,
    key: u16,
    namespace: u16,
    user_key: u16,
    value: u32,
    /// The first eight bytes of the key, zeros behind a shorter one: decides most comparisons.
    prefix: u64,
    /// Where the parts begin; grows in the order in which entries came.
    start: usize,
}

impl Buffer {
    pub(super) const fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Memory taken once `entry` is added.
    pub(super) fn bytes_with(&self, entry: &SnapshotEntry<'_>) -> usize {
        let more =
            entry.key.len() + entry.namespace.len() + entry.user_key.len() + entry.value.len();
        self.bytes.len() + more + (self.slots.len() + 1) * size_of::<Slot>()
    }

    pub(super) fn push(&mut self, entry: &SnapshotEntry<'_>) -> Result<()> {
        let key = |part: &[u8]| {
            u16::try_from(part.len()).map_err(|_| {
                let len = part.len();
                invalid(format!("a key of {len} bytes is longer than {KEY_BYTES_MAX}"))
            })
        };
        let value = entry.value.len();
        if value > VALUE_BYTES_MAX {
            return Err(invalid(format!("a value of {value} bytes is over {VALUE_BYTES_MAX}")));
        }
        let slot = Slot {
            group: entry.group.get(),
            state: entry.state,
            key: key(entry.key)?,
            namespace: key(entry.namespace)?,
            user_key: key(entry.user_key)?,
            value: value as u32,
            prefix: prefix(entry.key),
            start: self.bytes.len(),
        };
        for part in [entry.key, entry.namespace, entry.user_key, entry.value] {
            self.bytes.extend_from_slice(part);
        }
        self.slots.push(slot);
        Ok(())
    }

    /// Sorts into canonical order; entries of one address stay in the order in which they came.
    pub(super) fn sort(&mut self) {
        let bytes = &self.bytes;
        self.slots.sort_unstable_by(|a, b| {
            (a.group, a.state, a.prefix).cmp(&(b.group, b.state, b.prefix)).then_with(|| {
                let (left, right) = (a.entry(bytes), b.entry(bytes));
                (left.key, left.namespace, left.user_key, a.start).cmp(&(
                    right.key,
                    right.namespace,
                    right.user_key,
                    b.start,
                ))
            })
        });
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = SnapshotEntry<'_>> {
        self.slots.iter().map(|slot| slot.entry(&self.bytes))
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.slots.clear();
    }
}

impl Slot {
    fn entry<'b>(&self, bytes: &'b [u8]) -> SnapshotEntry<'b> {
        let rest = bytes.get(self.start..).unwrap_or_default();
        let (key, rest) = split(rest, usize::from(self.key));
        let (namespace, rest) = split(rest, usize::from(self.namespace));
        let (user_key, rest) = split(rest, usize::from(self.user_key));
        let (value, _) = split(rest, self.value as usize);
        let (group, state) = (KeyGroup::new(self.group), self.state);
        SnapshotEntry { group, state, key, namespace, user_key, value }
    }
}

fn split(bytes: &[u8], at: usize) -> (&[u8], &[u8]) {
    bytes.split_at_checked(at).unwrap_or((bytes, &[]))
}

fn prefix(key: &[u8]) -> u64 {
    let mut first = [0; 8];
    for (slot, byte) in first.iter_mut().zip(key) {
        *slot = *byte;
    }
    u64::from_be_bytes(first)
}
