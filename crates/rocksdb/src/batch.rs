//! Batched access: one multi-get and one write batch for a window of entries; with a buffer, one
//! multi-get of what that does not know.
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

    fn iter(&self) -> impl Iterator<Item = &[u8]> + Clone {
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
        let places = self.tables.get_many(keys.iter(), &mut self.values)?;
        for (out, place) in out.iter_mut().zip(places) {
            *out = place.map(|place| self.tables.value(&place, &self.values));
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
                writes.send(&mut self.tables)?;
                return Err(refused);
            }
            self.key.clear();
            layout::push_entry(&mut self.key, state, at);
            if self.tables.buffer.is_some() {
                self.tables.put(&self.key, 0, value)?;
                continue;
            }
            writes.put(&self.tables.store, &self.key, value)?;
            writes.send_if_large(&mut self.tables)?;
        }
        writes.send(&mut self.tables)
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
            let start = number * WINDOW;
            if self.tables.buffer.is_some() {
                self.update_buffered(state, start, window, change)?;
                continue;
            }
            let mut writes = Writes::default();
            let outcome = self.update_window(state, start, window, change, &mut writes);
            writes.send(&mut self.tables)?;
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
        forget(&mut self.values);
        let value = self.tables.get(&self.key, 0, &mut self.values)?;
        change(0, &mut self.edit.begin(value))?;
        match decided(&self.edit)? {
            Change::None => Ok(()),
            Change::Put(value) => self.tables.put(&self.key, 0, value),
            Change::Delete => self.tables.delete(&self.key, 0),
        }
    }

    /// The keys of a window up to the first that is refused.
    fn update_keys(&self, state: StateId, entries: &[EntryKey<'_>]) -> (Keys, Result<()>) {
        let mut keys = Keys::default();
        for at in entries {
            if let Err(refused) = self.check_write(at, &[]) {
                return (keys, Err(refused));
            }
            keys.push(state, at);
        }
        (keys, Ok(()))
    }

    /// Changes a window in the buffer. What the database has is read for all entries at once.
    fn update_buffered(
        &mut self,
        state: StateId,
        start: usize,
        entries: &[EntryKey<'_>],
        change: &mut BatchVisitor<'_>,
    ) -> Result<()> {
        let (keys, refused) = self.update_keys(state, entries);
        forget(&mut self.values);
        let places = self.tables.get_many(keys.iter(), &mut self.values)?;
        let freezes = self.tables.freezes();
        for (index, place) in places.iter().enumerate() {
            let key = keys.get(index);
            let value = self.tables.get_again(key, place.as_ref(), freezes, &mut self.values)?;
            change(start + index, &mut self.edit.begin(value))?;
            match decided(&self.edit)? {
                Change::None => {}
                Change::Put(value) => self.tables.put(key, 0, value)?,
                Change::Delete => self.tables.delete(key, 0)?,
            }
        }
        refused
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
        let (keys, refused) = self.update_keys(state, entries);
        let firsts = keys.first_occurrences();
        let repeats = firsts.iter().enumerate().any(|(index, first)| index != *first);
        let mut changes = Changes::new(if repeats { firsts.len() } else { 0 });
        let values = self.tables.store.get_many(keys.iter())?;
        for (index, (value, first)) in values.iter().zip(&firsts).enumerate() {
            let current = changes.current(*first, value.as_deref());
            change(start + index, &mut self.edit.begin(current))?;
            let change = decided(&self.edit)?;
            match change {
                Change::None => continue,
                Change::Put(value) => writes.put(&self.tables.store, keys.get(index), value)?,
                Change::Delete => writes.delete(&self.tables.store, keys.get(index))?,
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
