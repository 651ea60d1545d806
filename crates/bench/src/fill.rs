//! Value state of many keys, for what is measured on state as a whole.

use millpond_state::{KeyContext, KeyedBackend, ValueState};

use crate::error::Result;
use crate::rng::{Rng, key};

/// Value state in one or several instances, each with its own key groups.
pub(crate) struct Filled {
    state: ValueState<u64, Vec<u8>>,
    value: Vec<u8>,
    rng: Rng,
}

impl Filled {
    /// Registers the state with `backend`.
    pub(crate) fn register(
        backend: &mut dyn KeyedBackend,
        value_bytes: usize,
        seed: u64,
    ) -> Result<Self> {
        let state = ValueState::register(backend, "values")?;
        Ok(Self { state, value: vec![0; value_bytes], rng: Rng::new(seed) })
    }

    /// Puts a new value at the keys of these numbers that belong to the instance. Half of a value's
    /// bytes are random, so that it compresses about as that of a real job.
    pub(crate) fn put(
        &mut self,
        backend: &mut dyn KeyedBackend,
        numbers: impl Iterator<Item = u64>,
    ) -> Result<()> {
        let (max, groups) = (backend.max_parallelism(), backend.key_groups());
        for number in numbers {
            let at = KeyContext::new(&key(number), max)?;
            if groups.contains(at.group()) {
                self.next_value();
                self.state.put(backend, at.at(), &self.value)?;
            }
        }
        Ok(())
    }

    /// Puts a new value at one key, without making it random.
    #[inline]
    pub(crate) fn update(&mut self, backend: &mut dyn KeyedBackend, number: u64) -> Result<()> {
        let at = KeyContext::new(&key(number), backend.max_parallelism())?;
        if let Some(first) = self.value.first_mut() {
            *first = first.wrapping_add(1);
        }
        Ok(self.state.put(backend, at.at(), &self.value)?)
    }

    /// Reads the value of one key.
    #[inline]
    pub(crate) fn get(&mut self, backend: &mut dyn KeyedBackend, number: u64) -> Result<u64> {
        let at = KeyContext::new(&key(number), backend.max_parallelism())?;
        Ok(self.state.get(backend, at.at())?.map_or(0, |value| value.len() as u64))
    }

    /// Number of keys that the instance has.
    pub(crate) fn entry_count(&self, backend: &mut dyn KeyedBackend) -> Result<u64> {
        Ok(backend.entry_count(self.state.id())?)
    }

    fn next_value(&mut self) {
        let half = self.value.len().div_ceil(2);
        for chunk in self.value.get_mut(..half).unwrap_or_default().chunks_mut(8) {
            let bytes = self.rng.next_u64().to_le_bytes();
            chunk.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
        }
    }
}
