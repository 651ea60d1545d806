//! Walks over state that expires and nobody reads, a little at a time.

use core::ops::ControlFlow;

use super::clean::Cleaning;
use super::clean_entry;
use crate::backend::KeyedBackend;
use crate::entry::EntryKey;
use crate::error::Result;
use crate::id::StateId;
use crate::key_group::{KeyGroup, KeyGroupRange};

/// What one step of a [`Sweeper`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SweepStep {
    /// Entries looked at; each user key of a map counts.
    pub examined: u64,
    /// Entries removed. A list of which some elements expired is rewritten and not counted.
    pub removed: u64,
    /// Whether every state has been walked over since the last round, or there is nothing to sweep.
    pub round_ended: bool,
}

/// Removes expired entries of all states of one backend instance that have a time to live, over
/// and over. Call [`Self::step`] now and then, for instance once per batch of records.
///
/// A step looks at as many entries as the state's [`Ttl`](super::Ttl) says, and finishes the map it
/// has begun. A step that comes to another key group first notes the addresses of that group's
/// entries, without their values: they are what the sweeper holds in memory. Whatever is added or
/// deleted between steps, a round ends; what is added to the key group under way waits for the
/// next round.
#[derive(Debug, Default)]
pub struct Sweeper {
    /// Index of the state under way.
    state: usize,
    /// The key group to go to next; `None` to begin with the first.
    next_group: Option<KeyGroup>,
    /// The key group under way.
    addresses: Addresses,
}

impl Sweeper {
    /// A sweeper that begins with the first state.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Does a bounded amount of work.
    ///
    /// # Errors
    /// As [`KeyedBackend::visit_entries`], [`KeyedBackend::delete`] and [`KeyedBackend::put`]. The
    /// next step goes on after the entry that failed.
    pub fn step<B: KeyedBackend + ?Sized>(&mut self, backend: &mut B) -> Result<SweepStep> {
        let mut step = SweepStep::default();
        let Some((cleaning, entries_max)) = self.find_state(backend) else {
            *self = Self::new();
            step.round_ended = true;
            return Ok(step);
        };
        let mut work = 0;
        while work < u64::from(entries_max) {
            let Some(at) = self.addresses.next() else {
                work += 1;
                if !self.enter_next_group(backend, cleaning.id)? {
                    break;
                }
                continue;
            };
            let cleaned = clean_entry(backend, &cleaning, at)?;
            work += cleaned.examined.max(1);
            step.examined += cleaned.examined;
            step.removed += cleaned.removed;
        }
        step.round_ended = self.next_group.is_none() && self.find_state(backend).is_none();
        if step.round_ended {
            *self = Self::new();
        }
        Ok(step)
    }

    /// The state under way or, if it needs no sweeping, the first after it that does.
    fn find_state<B: KeyedBackend + ?Sized>(&mut self, backend: &B) -> Option<(Cleaning, u32)> {
        while let Some(descriptor) = backend.states().get(self.state) {
            let entries_max = descriptor.ttl().map_or(0, |ttl| ttl.sweep_entries());
            if entries_max > 0 {
                let id = StateId::new(self.state as u16);
                return Some((Cleaning::of(id, descriptor)?, entries_max));
            }
            self.end_state();
        }
        None
    }

    fn end_state(&mut self) {
        self.state += 1;
        self.next_group = None;
        self.addresses.clear();
    }

    /// Notes the addresses of the next key group; `false` at the end of the state.
    fn enter_next_group<B: KeyedBackend + ?Sized>(
        &mut self,
        backend: &mut B,
        state: StateId,
    ) -> Result<bool> {
        let range = backend.key_groups();
        let group = self.next_group.unwrap_or(range.first());
        if group > range.last() {
            self.end_state();
            return Ok(false);
        }
        self.next_group = Some(KeyGroup::new(group.get().saturating_add(1)));
        crate::migration::ensure_migrated(backend, state, group)?;
        self.addresses.clear();
        self.addresses.group = Some(group);
        let addresses = &mut self.addresses;
        backend.visit_entries(
            state,
            KeyGroupRange::new(group, group)?,
            None,
            &mut |_, key, namespace| {
                addresses.push(key, namespace);
                Ok(ControlFlow::Continue(()))
            },
        )?;
        Ok(true)
    }
}

/// The addresses of one key group, one after the other, and how far they are done.
#[derive(Debug, Default)]
struct Addresses {
    group: Option<KeyGroup>,
    bytes: Vec<u8>,
    /// Lengths of key and namespace.
    lengths: Vec<(u32, u32)>,
    /// How many are done, and where the next begins.
    done: usize,
    at: usize,
}

impl Addresses {
    fn clear(&mut self) {
        self.bytes.clear();
        self.lengths.clear();
        (self.done, self.at) = (0, 0);
    }

    fn push(&mut self, key: &[u8], namespace: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(namespace);
        self.lengths.push((key.len() as u32, namespace.len() as u32));
    }

    fn next(&mut self) -> Option<EntryKey<'_>> {
        let (key, namespace) = *self.lengths.get(self.done)?;
        let key_end = self.at + key as usize;
        let end = key_end + namespace as usize;
        let entry = EntryKey::in_group(self.bytes.get(self.at..key_end)?, self.group?);
        let namespace = self.bytes.get(key_end..end)?;
        self.done += 1;
        self.at = end;
        Some(entry.in_namespace(namespace))
    }
}
