//! A known set of entries of all kinds, to be restored and checked by reading.

use millpond_state::{
    EntryKey, KeyGroup, KeyGroupRange, KeyedBackend, MaxParallelism, Result, StateId, StateKind,
};

use super::subject::{describe, map_entries};
use crate::violation::{Verdict, ensure_eq};

/// Entries that a snapshot has for each key of a population.
pub(super) const ENTRIES_PER_KEY: u64 = 6;

/// Which keys a population has, and which variant of their values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Population {
    pub(super) keys: u32,
    pub(super) variant: u8,
}

/// The states of a population.
struct States {
    value: StateId,
    list: StateId,
    map: StateId,
}

impl States {
    fn register(backend: &mut dyn KeyedBackend) -> Result<Self> {
        Ok(Self {
            value: backend.register(&describe("value", StateKind::Value)?)?,
            list: backend.register(&describe("list", StateKind::List)?)?,
            map: backend.register(&describe("map", StateKind::Map)?)?,
        })
    }
}

impl Population {
    pub(super) const fn new(keys: u32) -> Self {
        Self { keys, variant: 0 }
    }

    /// The same keys with other values of another length.
    pub(super) const fn changed(self) -> Self {
        Self { keys: self.keys, variant: self.variant + 1 }
    }

    /// Writes those keys that belong to the instance.
    pub(super) fn write(self, backend: &mut dyn KeyedBackend) -> Result<()> {
        let states = States::register(backend)?;
        let (range, max) = (backend.key_groups(), backend.max_parallelism());
        for key in (0..self.keys).map(u32::to_be_bytes) {
            let at = EntryKey::new(&key, max);
            if !range.contains(at.group()) {
                continue;
            }
            backend.put(states.value, at, &self.value_of(&key))?;
            backend.put(states.value, at.in_namespace(b"window"), &key)?;
            backend.put(states.list, at, &[])?;
            for element in 0..3 + self.variant {
                backend.append(states.list, at, &[element])?;
            }
            backend.delete(states.map, at)?;
            for user_key in 0..3 {
                backend.map_put(states.map, at, &[user_key], &[user_key, self.variant])?;
            }
        }
        Ok(())
    }

    /// Checks by reading that an instance holds exactly those keys that belong to it.
    pub(super) fn check(self, backend: &mut dyn KeyedBackend) -> Verdict {
        let states = States::register(backend)?;
        let (range, max) = (backend.key_groups(), backend.max_parallelism());
        for key in (0..self.keys).map(u32::to_be_bytes) {
            let at = EntryKey::new(&key, max);
            if range.contains(at.group()) {
                self.check_key(backend, &states, at)?;
            }
        }
        let own = self.keys_in(range, max);
        ensure_eq!(backend.entry_count(states.value)?, own * 2, "values in {range}");
        ensure_eq!(backend.entry_count(states.list)?, own, "lists in {range}");
        ensure_eq!(backend.entry_count(states.map)?, own, "maps in {range}");
        Ok(())
    }

    fn check_key(
        self,
        backend: &mut dyn KeyedBackend,
        states: &States,
        at: EntryKey<'_>,
    ) -> Verdict {
        let key = at.key();
        let value = self.value_of(key);
        ensure_eq!(backend.get(states.value, at)?, Some(value.as_slice()), "value of {key:?}");
        let windowed = backend.get(states.value, at.in_namespace(b"window"))?;
        ensure_eq!(windowed, Some(key), "value of {key:?} in its window");
        let list: Vec<u8> = (0..3 + self.variant).collect();
        ensure_eq!(backend.get(states.list, at)?, Some(list.as_slice()), "list of {key:?}");
        let map: Vec<_> = (0..3).map(|u| (vec![u], vec![u, self.variant])).collect();
        ensure_eq!(map_entries(backend, states.map, at)?, map, "map of {key:?}");
        Ok(())
    }

    /// How many of the keys belong to `range`.
    pub(super) fn keys_in(self, range: KeyGroupRange, max: MaxParallelism) -> u64 {
        let group = |key: u32| -> KeyGroup { EntryKey::new(&key.to_be_bytes(), max).group() };
        (0..self.keys).filter(|key| range.contains(group(*key))).count() as u64
    }

    fn value_of(self, key: &[u8]) -> Vec<u8> {
        key.iter().copied().chain([self.variant; 9].into_iter().take(self.variant.into())).collect()
    }
}
