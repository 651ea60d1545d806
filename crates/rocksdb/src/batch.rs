//! Batched access: one multi-get and one write batch for a window of entries.
//!
//! # Invariants
//! - Entries behave as if processed one by one: when the same entry occurs again in a window, it
//!   sees what became of it before.
//! - When an entry of a batch is refused, those before it are applied.

use core::ops::Range;

use crate::backend::{RocksDbBackend, forget};
use crate::layout;
use crate::writes::Writes;
use millpond_state::{
    BatchVisitor, Decision, EditBuffer, EntryKey, Result, StateId, check_value_len,
};

/// Entries of a batch that are read and written together.
const WINDOW: usize = 128;

/// Encoded keys, one behind the other.
#[derive(Default)]
struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Keys {
    fn push(&mut self, state: StateId, at: &EntryKey<'_>) {
        layout::push_entry(&mut self.bytes, state, at);
        self.ends.push(self.bytes.len());
    }

    fn get(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied();
        let range = start.unwrap_or(0)..self.ends.get(index).copied().unwrap_or(0);
        self.bytes.get(range).unwrap_or_default()
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len()).map(|index| self.get(index))
    }

    /// For each key the index of its first occurrence.
    fn first_occurrences(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.ends.len()).collect();
        order.sort_by(|a, b| self.get(*a).cmp(self.get(*b)));
        let mut firsts: Vec<usize> = (0..self.ends.len()).collect();
        for (before, after) in order.iter().zip(order.iter().skip(1)) {
            if self.get(*before) == self.get(*after) {
                let first = firsts.get(*before).copied().unwrap_or(*before);
                if let Some(place) = firsts.get_mut(*after) {
                    *place = first;
                }
            }
        }
        firsts
    }
}

/// What became of entries that occur more than once in a window.
#[derive(Default)]
struct Changes {
    bytes: Vec<u8>,
    /// By index of the first occurrence; `None` inside for a removed entry.
    of: Vec<Option<Option<Range<usize>>>>,
}

impl Changes {
    fn new(entries: usize) -> Self {
        Self { bytes: Vec::new(), of: vec![None; entries] }
    }

    /// The present value of an entry that was read as `read`.
    fn current<'a>(&'a self, first: usize, read: Option<&'a [u8]>) -> Option<&'a [u8]> {
        match self.of.get(first) {
            Some(Some(Some(range))) => self.bytes.get(range.clone()),
            Some(Some(None)) => None,
            _ => read,
        }
    }

    fn note(&mut self, first: usize, value: Option<&[u8]>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(value.unwrap_or_default());
        if let Some(change) = self.of.get_mut(first) {
            *change = Some(value.map(|_| start..self.bytes.len()));
        }
    }
}

impl RocksDbBackend {
    /// [`KeyedBackend::get_many`](millpond_state::KeyedBackend::get_many) of a plain state.
    pub(crate) fn read_batch<'a>(
        &'a mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        out: &mut [Option<&'a [u8]>],
    ) -> Result<()> {
        let mut keys = Keys::default();
        for at in entries {
            self.check_group(at.group())?;
            keys.push(state, at);
        }
        forget(&mut self.values);
        let mut ranges: Vec<Option<Range<usize>>> = Vec::with_capacity(entries.len());
        for value in self.store.get_many(keys.iter())? {
            let start = self.values.len();
            self.values.extend_from_slice(value.as_deref().unwrap_or_default());
            ranges.push(value.map(|_| start..self.values.len()));
        }
        for (out, range) in out.iter_mut().zip(ranges) {
            *out = range.and_then(|range| self.values.get(range));
        }
        Ok(())
    }

    /// [`KeyedBackend::put_many`](millpond_state::KeyedBackend::put_many) of a plain state.
    pub(crate) fn write_batch(
        &mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        values: &[&[u8]],
    ) -> Result<()> {
        let mut writes = Writes::default();
        for (at, value) in entries.iter().zip(values) {
            if let Err(refused) = self.check_write(at, value) {
                writes.send(&self.store)?;
                return Err(refused);
            }
            self.key.clear();
            layout::push_entry(&mut self.key, state, at);
            writes.put(&self.store, &self.key, value)?;
            writes.send_if_large(&self.store)?;
        }
        writes.send(&self.store)
    }

    fn check_write(&self, at: &EntryKey<'_>, value: &[u8]) -> Result<()> {
        self.check_group(at.group())?;
        at.check_lengths()?;
        check_value_len(value.len())
    }

    /// [`KeyedBackend::update_many`](millpond_state::KeyedBackend::update_many) of a plain state.
    pub(crate) fn update_batch(
        &mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        change: &mut BatchVisitor<'_>,
    ) -> Result<()> {
        if let [at] = entries {
            return self.update_one(state, at, change);
        }
        for (number, window) in entries.chunks(WINDOW).enumerate() {
            let mut writes = Writes::default();
            let start = number * WINDOW;
            let outcome = self.update_window(state, start, window, change, &mut writes);
            writes.send(&self.store)?;
            outcome?;
        }
        Ok(())
    }

    fn update_one(
        &mut self,
        state: StateId,
        at: &EntryKey<'_>,
        change: &mut BatchVisitor<'_>,
    ) -> Result<()> {
        self.check_write(at, &[])?;
        self.key.clear();
        layout::push_entry(&mut self.key, state, at);
        let value = self.store.get(&self.key)?;
        change(0, &mut self.edit.begin(value.as_deref()))?;
        match decided(&self.edit)? {
            Change::None => Ok(()),
            Change::Put(value) => self.store.put(&self.key, value),
            Change::Delete => self.store.delete(&self.key),
        }
    }

    /// Puts the changes of a window into `writes`, on an error those before it.
    fn update_window(
        &mut self,
        state: StateId,
        start: usize,
        entries: &[EntryKey<'_>],
        change: &mut BatchVisitor<'_>,
        writes: &mut Writes,
    ) -> Result<()> {
        let mut keys = Keys::default();
        let mut refused = Ok(());
        for at in entries {
            refused = self.check_write(at, &[]);
            if refused.is_err() {
                break;
            }
            keys.push(state, at);
        }
        let firsts = keys.first_occurrences();
        let repeats = firsts.iter().enumerate().any(|(index, first)| index != *first);
        let mut changes = Changes::new(if repeats { firsts.len() } else { 0 });
        let values = self.store.get_many(keys.iter())?;
        for (index, (value, first)) in values.iter().zip(&firsts).enumerate() {
            let current = changes.current(*first, value.as_deref());
            change(start + index, &mut self.edit.begin(current))?;
            let change = decided(&self.edit)?;
            match change {
                Change::None => continue,
                Change::Put(value) => writes.put(&self.store, keys.get(index), value)?,
                Change::Delete => writes.delete(&self.store, keys.get(index))?,
            }
            if repeats {
                changes.note(*first, change.value());
            }
        }
        refused
    }
}

/// What a visitor decided, checked.
pub(crate) enum Change<'e> {
    None,
    Put(&'e [u8]),
    Delete,
}

impl<'e> Change<'e> {
    fn value(&self) -> Option<&'e [u8]> {
        match self {
            Self::Put(value) => Some(value),
            Self::None | Self::Delete => None,
        }
    }
}

/// What a finished edit comes to.
pub(crate) fn decided(edit: &EditBuffer) -> Result<Change<'_>> {
    Ok(match edit.decision() {
        Decision::Keep => Change::None,
        Decision::Replace => {
            check_value_len(edit.bytes().len())?;
            Change::Put(edit.bytes())
        }
        Decision::Remove => Change::Delete,
    })
}
