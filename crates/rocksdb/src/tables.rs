//! An instance's database with the buffer in front of it, if there is one.
//!
//! A key of a map's comes with the bytes of it that are the map's entry, all others with 0.

use std::sync::Arc;

use millpond_state::{Result, check_value_len};

use crate::buffer::{Buffer, Key, Place, push};
use crate::store::Store;

/// See the module.
pub(crate) struct Tables {
    // Fields drop in this order: what the buffer has under way ends first.
    pub(crate) buffer: Option<Box<Buffer>>,
    pub(crate) store: Arc<Store>,
}

fn key_of(key: &[u8], map_bytes: usize) -> Key<'_> {
    if map_bytes == 0 { Key::new(key) } else { Key::in_map(key, map_bytes) }
}

impl Tables {
    /// The value of a key; `read` holds it if the buffer does not.
    #[inline]
    pub(crate) fn get<'a>(
        &'a mut self,
        key: &[u8],
        map_bytes: usize,
        read: &'a mut Vec<u8>,
    ) -> Result<Option<&'a [u8]>> {
        let Some(buffer) = &mut self.buffer else {
            let Some(value) = self.store.get(key)? else { return Ok(None) };
            check_value_len(value.len())?;
            read.extend_from_slice(&value);
            return Ok(Some(read));
        };
        let place = buffer.get(&key_of(key, map_bytes), &self.store, read)?;
        Ok(place.map(|place| buffer.value(&place, read)))
    }

    /// Sets the value of a key.
    #[inline]
    pub(crate) fn put(&mut self, key: &[u8], map_bytes: usize, value: &[u8]) -> Result<()> {
        match &mut self.buffer {
            Some(buffer) => buffer.put(&key_of(key, map_bytes), value),
            None => self.store.put(key, value),
        }
    }

    /// Deletes a key.
    pub(crate) fn delete(&mut self, key: &[u8], map_bytes: usize) -> Result<()> {
        match &mut self.buffer {
            Some(buffer) => buffer.delete(&key_of(key, map_bytes)),
            None => self.store.delete(key),
        }
    }

    /// Appends to the value of a key.
    pub(crate) fn append(&mut self, key: &[u8], bytes: &[u8]) -> Result<()> {
        match &mut self.buffer {
            Some(buffer) => buffer.append(&key_of(key, 0), bytes),
            None => self.store.merge(key, bytes),
        }
    }

    /// Where the values of many keys are, in their order; `read` holds those that the buffer does
    /// not.
    pub(crate) fn get_many<'k>(
        &mut self,
        keys: impl Iterator<Item = &'k [u8]> + Clone,
        read: &mut Vec<u8>,
    ) -> Result<Vec<Option<Place>>> {
        let Some(buffer) = &mut self.buffer else {
            let found = self.store.get_many(keys)?.into_iter();
            return Ok(found.map(|value| value.map(|value| push(read, &value))).collect());
        };
        buffer.catch_up();
        let hashed: Vec<Key<'_>> = keys.clone().map(Key::new).collect();
        hashed.iter().for_each(|key| buffer.prefetch_index(key));
        hashed.iter().for_each(|key| buffer.prefetch(key));
        let known: Vec<_> = hashed.iter().map(|key| buffer.get_known(key)).collect();
        let unknown = keys.clone().zip(&known).filter(|(_, known)| known.is_none());
        let unknown: Vec<&[u8]> = unknown.map(|(key, _)| key).collect();
        let mut below = self.store.get_many(unknown.iter().copied())?.into_iter();
        let mut places = Vec::with_capacity(known.len());
        for (key, known) in hashed.iter().zip(known) {
            places.push(match known {
                Some(place) => {
                    place.iter().for_each(|place| buffer.keep_frozen(key, place));
                    place
                }
                None => {
                    let value = below.next().flatten();
                    buffer.get_read(key, value.as_deref(), read)?
                }
            });
        }
        Ok(places)
    }

    /// How many times the buffer was frozen.
    pub(crate) fn freezes(&self) -> u64 {
        self.buffer.as_ref().map_or(0, |buffer| buffer.freezes())
    }

    /// The present value of a key that was at `place` when that many freezes had been.
    pub(crate) fn get_again<'a>(
        &'a mut self,
        key: &[u8],
        place: Option<&Place>,
        freezes: u64,
        read: &'a mut Vec<u8>,
    ) -> Result<Option<&'a [u8]>> {
        if let Some(buffer) = &self.buffer
            && buffer.freezes() == freezes
            && let known = buffer.get_known(&Key::new(key))
            && (known.is_some() || matches!(place, None | Some(Place::Read(_))))
        {
            let place = known.unwrap_or_else(|| place.cloned());
            let Some(buffer) = &self.buffer else { return Ok(None) };
            return Ok(place.map(|place| buffer.value(&place, read)));
        }
        self.get(key, 0, read)
    }

    /// The value at a place that [`Self::get_many`] returned.
    pub(crate) fn value<'a>(&'a self, place: &Place, read: &'a [u8]) -> &'a [u8] {
        match (&self.buffer, place) {
            (Some(buffer), place) => buffer.value(place, read),
            (None, Place::Read(range)) => read.get(range.clone()).unwrap_or_default(),
            (None, _) => &[],
        }
    }

    /// Has everything that was written land in the database.
    pub(crate) fn settle(&mut self) -> Result<()> {
        self.buffer.as_mut().map_or(Ok(()), |buffer| buffer.drain())
    }

    /// Takes note that the database was written to directly. Nothing may be in the buffer.
    pub(crate) fn look_anew(&mut self) {
        if let Some(buffer) = &mut self.buffer {
            buffer.look_anew();
        }
    }

    /// Goes on with another database, and nothing over it. Everything must have landed.
    pub(crate) fn replace_store(&mut self, store: Store) {
        let store = Arc::new(store);
        if let Some(buffer) = &mut self.buffer {
            **buffer = buffer.new_over(&store);
        }
        self.store = store;
    }

    /// Bytes of memory, but for the block cache.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let buffered = self.buffer.as_ref().map_or(0, |buffer| buffer.bytes());
        self.store.memory_bytes() + buffered as u64
    }
}
