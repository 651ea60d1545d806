//! Batched access: overlaps the cache misses of the entries of a batch.
//!
//! An access misses the cache at the line of the index and at the record, one after the other. A
//! batch is worked on in windows: hash all and ask for their lines, then ask for the fronts of the
//! records that these lead to, then for the rest of long ones, then finish one by one in order.

use millpond_state::{BatchVisitor, Decision, EntryKey, Result, StateId, check_value_len};

use crate::backend::{FsBackend, StateFacts, forget};
use crate::index::Tag;
use crate::list;
use crate::record::Address;
use crate::store::{Guess, Hit};

/// Entries of a window.
const WINDOW: usize = 32;

impl FsBackend {
    /// Has what a window of entries lies in fetched, and guesses where that is. Entries of foreign
    /// key groups are no error here: the last pass meets them in order.
    #[inline(always)]
    fn prefetch(&self, state: StateId, window: &[EntryKey<'_>]) -> [Guess; WINDOW] {
        let mut tags = [Tag::default(); WINDOW];
        for (at, tag) in window.iter().zip(&mut tags) {
            *tag = self.store.tag(&Address::new(state, at));
            self.store.prefetch_index(*tag);
        }
        let mut guesses = [Guess::default(); WINDOW];
        for ((at, tag), guess) in window.iter().zip(&tags).zip(&mut guesses) {
            *guess = self.store.prefetch_record(*tag, Address::new(state, at).head_bytes());
        }
        for (at, guess) in window.iter().zip(&guesses) {
            self.store.prefetch_value(*guess, Address::new(state, at).head_bytes());
        }
        guesses
    }

    /// Reads entries that are one record each.
    pub(crate) fn read_batch<'a>(
        &'a self,
        state: StateId,
        entries: &[EntryKey<'_>],
        out: &mut [Option<&'a [u8]>],
    ) -> Result<()> {
        for (window, out) in entries.chunks(WINDOW).zip(out.chunks_mut(WINDOW)) {
            let guesses = self.prefetch(state, window);
            for ((at, guess), out) in window.iter().zip(guesses).zip(out) {
                self.check_group(at.group())?;
                *out = self.store.get_guessed(&Address::new(state, at), guess)?;
            }
        }
        Ok(())
    }

    /// The value of an entry that may be in parts.
    #[inline(never)]
    pub(crate) fn get_parts(&mut self, address: &Address<'_>) -> Result<Option<&[u8]>> {
        if self.store.find(&address.part(1))?.is_none() {
            return self.store.get(address);
        }
        forget(&mut self.values);
        let is_there = list::read(&self.store, address, &mut self.values)?;
        Ok(is_there.then_some(&self.values))
    }

    /// Reads entries that may be in parts.
    pub(crate) fn get_many_parts<'a>(
        &'a mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        out: &mut [Option<&'a [u8]>],
    ) -> Result<()> {
        forget(&mut self.values);
        let mut ranges = Vec::with_capacity(entries.len());
        for at in entries {
            self.check_group(at.group())?;
            let start = self.values.len();
            let address = Address::new(state, at);
            let is_there = list::read(&self.store, &address, &mut self.values)?;
            ranges.push(is_there.then_some(start..self.values.len()));
        }
        for (out, range) in out.iter_mut().zip(ranges) {
            *out = range.and_then(|range| self.values.get(range));
        }
        Ok(())
    }

    /// Writes entries of a plain state.
    pub(crate) fn write_batch(
        &mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        values: &[&[u8]],
    ) -> Result<()> {
        for (window, values) in entries.chunks(WINDOW).zip(values.chunks(WINDOW)) {
            let guesses = self.prefetch(state, window);
            for ((at, value), guess) in window.iter().zip(values).zip(guesses) {
                at.check_lengths()?;
                check_value_len(value.len())?;
                let place = self.address(state, false, at)?;
                if place.1.has_parts {
                    self.put_value(place, value)?;
                    continue;
                }
                let found = self.store.find_guessed(&place.0, guess)?;
                if self.store.put_found(found, &place.0, value)? {
                    self.count(&place.0, 1, 1);
                }
            }
        }
        Ok(())
    }

    /// Reads, modifies and writes entries of a plain state.
    pub(crate) fn update_batch(
        &mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        change: &mut BatchVisitor<'_>,
    ) -> Result<()> {
        if let [at] = entries {
            return self.update_single(state, at, change);
        }
        let mut index = 0;
        for window in entries.chunks(WINDOW) {
            let guesses = self.prefetch(state, window);
            for (at, guess) in window.iter().zip(guesses) {
                let (address, facts) = self.address(state, false, at)?;
                if facts.has_parts {
                    self.update_parts((address, facts), at, (index, change))?;
                } else {
                    let found = self.store.find_guessed(&address, guess)?;
                    self.update_one((&address, found), at, (index, change))?;
                }
                index += 1;
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn update_single(
        &mut self,
        state: StateId,
        at: &EntryKey<'_>,
        change: &mut BatchVisitor<'_>,
    ) -> Result<()> {
        let (address, facts) = self.address(state, false, at)?;
        if facts.has_parts {
            return self.update_parts((address, facts), at, (0, change));
        }
        let found = self.store.find(&address)?;
        self.update_one((&address, found), at, (0, change))
    }

    #[inline(always)]
    fn update_one(
        &mut self,
        (address, found): (&Address<'_>, Option<Hit>),
        at: &EntryKey<'_>,
        (index, change): (usize, &mut BatchVisitor<'_>),
    ) -> Result<()> {
        let current = found.as_ref().map(|hit| self.store.value(hit));
        change(index, &mut self.edit.begin(current))?;
        match (self.edit.decision(), found) {
            (Decision::Keep, _) | (Decision::Remove, None) => Ok(()),
            (Decision::Replace, found) => self.store_edit(address, at, found),
            (Decision::Remove, Some(hit)) => {
                self.store.delete_found(&hit, address)?;
                self.count(address, -1, -1);
                Ok(())
            }
        }
    }

    #[inline(always)]
    fn store_edit(
        &mut self,
        address: &Address<'_>,
        at: &EntryKey<'_>,
        found: Option<Hit>,
    ) -> Result<()> {
        let value = self.edit.bytes();
        check_value_len(value.len())?;
        if let Some(hit) = found {
            return self.store.replace(&hit, address, value);
        }
        at.check_lengths()?;
        self.store.add(address, value)?;
        self.count(address, 1, 1);
        Ok(())
    }

    #[inline(never)]
    fn update_parts(
        &mut self,
        place: (Address<'_>, StateFacts),
        at: &EntryKey<'_>,
        (index, change): (usize, &mut BatchVisitor<'_>),
    ) -> Result<()> {
        forget(&mut self.values);
        let is_there = list::read(&self.store, &place.0, &mut self.values)?;
        change(index, &mut self.edit.begin(is_there.then_some(&self.values)))?;
        match self.edit.decision() {
            Decision::Keep => Ok(()),
            Decision::Remove => self.delete_value(place),
            Decision::Replace => {
                check_value_len(self.edit.bytes().len())?;
                at.check_lengths()?;
                let edit = core::mem::take(&mut self.edit);
                let outcome = self.put_value(place, edit.bytes());
                self.edit = edit;
                outcome
            }
        }
    }
}
