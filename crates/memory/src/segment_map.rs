//! Maps in a segment.
//!
//! A small map is one packed value in the arena, so a key with three user keys costs what a value
//! costs; past [`MAP_INLINE_BYTES_MAX`] it becomes sorted chunks beside the arena.

use std::sync::Arc;

use millpond_state::Result;

use crate::env::Env;
use crate::map_chunks::{Chunk, MapChunks};
use crate::packed_map::{self, MapEntry};
use crate::probe::Probe;
use crate::segment::{Found, Payload, Segment, Stored};
use crate::side::SideObject;

/// Longest packed map in the arena.
pub(crate) const MAP_INLINE_BYTES_MAX: usize = 768;

/// Bytes beyond an entry's own that a write into a large map may take: a copied and a new chunk.
const CHUNK_GROWTH_BYTES: usize = 16 * 1_024;

impl Segment {
    /// The value of a user key.
    pub(crate) fn map_get(&self, probe: &Probe<'_>, user_key: &[u8]) -> Option<&[u8]> {
        let found = self.find(probe)?;
        match self.value(&found.layout) {
            Stored::Inline(packed) => {
                packed_map::find(packed, user_key).ok().map(|(_, entry)| entry.value)
            }
            Stored::Map(map) => map.get(user_key),
            Stored::Blob(_) => None,
        }
    }

    /// Sets the value of a user key. Returns whether the map is new.
    pub(crate) fn map_put(
        &mut self,
        probe: &Probe<'_>,
        user_key: &[u8],
        value: &[u8],
        env: &mut Env,
    ) -> Result<bool> {
        let entry = MapEntry { epoch: env.epoch, user_key, value };
        let Some(found) = self.find(probe) else {
            self.insert_map(probe, &entry, env)?;
            return Ok(true);
        };
        if !found.layout.is_side() {
            self.packed_put(&found, probe, &entry, env)?;
            return Ok(false);
        }
        env.admit(entry.bytes() + CHUNK_GROWTH_BYTES)?;
        self.update_side(&found.layout, env, |object| {
            if let SideObject::Map(map) = object {
                Arc::make_mut(map).put(&entry);
            }
        });
        Ok(false)
    }

    fn insert_map(&mut self, probe: &Probe<'_>, entry: &MapEntry<'_>, env: &mut Env) -> Result<()> {
        let mut packed = core::mem::take(&mut env.bytes);
        packed.clear();
        let outcome = if entry.bytes() <= MAP_INLINE_BYTES_MAX {
            entry.write(&mut packed);
            self.insert(probe, Payload::Inline { value: &packed, capacity: packed.len() }, env)
        } else {
            let mut map = MapChunks::new();
            map.push(entry);
            self.insert(probe, Payload::Side(SideObject::Map(Arc::new(map))), env)
        };
        env.bytes = packed;
        outcome
    }

    /// Adds a whole map that is not there yet, packed in ascending order.
    pub(crate) fn insert_whole_map(
        &mut self,
        probe: &Probe<'_>,
        map: WholeMap<'_>,
        env: &mut Env,
    ) -> Result<()> {
        match map {
            WholeMap::Packed(packed) => {
                self.insert(probe, Payload::Inline { value: packed, capacity: packed.len() }, env)
            }
            WholeMap::Chunks(chunks) => {
                env.admit(chunks.memory_bytes())?;
                self.insert(probe, Payload::Side(SideObject::Map(Arc::new(chunks))), env)
            }
        }
    }

    fn packed_put(
        &mut self,
        found: &Found,
        probe: &Probe<'_>,
        entry: &MapEntry<'_>,
        env: &mut Env,
    ) -> Result<()> {
        let packed = found.layout.value(&self.arena);
        let cut = match packed_map::find(packed, entry.user_key) {
            Ok((at, old)) if old.value.len() == entry.value.len() => {
                let value = old.value_range(at);
                let start = found.layout.value_range(&self.arena).start;
                packed_map::overwrite(self.arena.get_mut(start..), at, value, entry);
                self.touch(&found.layout, entry.epoch);
                return Ok(());
            }
            Ok((at, old)) => at..at + old.bytes(),
            Err(at) => at..at,
        };
        let mut bytes = core::mem::take(&mut env.bytes);
        packed_map::splice(packed, cut, Some(*entry), &mut bytes);
        let outcome = self.store_packed(found, probe, &bytes, env);
        env.bytes = bytes;
        outcome
    }

    /// Gives a map new packed contents; none deletes it. They become chunks if they are too long
    /// for the arena.
    pub(crate) fn store_packed(
        &mut self,
        found: &Found,
        probe: &Probe<'_>,
        packed: &[u8],
        env: &mut Env,
    ) -> Result<()> {
        if packed.is_empty() {
            self.remove(found, env);
            return Ok(());
        }
        if self.overwrite_in_place(&found.layout, packed, env.epoch) {
            return Ok(());
        }
        if packed.len() <= MAP_INLINE_BYTES_MAX {
            let capacity = (packed.len() + packed.len() / 4).min(MAP_INLINE_BYTES_MAX);
            return self.relocate(found, probe, Payload::Inline { value: packed, capacity }, env);
        }
        env.admit(2 * packed.len() + CHUNK_GROWTH_BYTES)?;
        let mut map = MapChunks::new();
        packed_map::entries(packed).for_each(|(_, entry)| map.push(&entry));
        self.relocate(found, probe, Payload::Side(SideObject::Map(Arc::new(map))), env)
    }

    /// Removes a user key. Returns whether that was the map's last one.
    pub(crate) fn map_remove(
        &mut self,
        probe: &Probe<'_>,
        user_key: &[u8],
        env: &mut Env,
    ) -> Result<bool> {
        let Some(found) = self.find(probe) else { return Ok(false) };
        if !found.layout.is_side() {
            let packed = found.layout.value(&self.arena);
            let Ok((at, old)) = packed_map::find(packed, user_key) else { return Ok(false) };
            let mut bytes = core::mem::take(&mut env.bytes);
            packed_map::splice(packed, at..at + old.bytes(), None, &mut bytes);
            let outcome = self.store_packed(&found, probe, &bytes, env);
            let emptied = bytes.is_empty();
            env.bytes = bytes;
            return outcome.map(|()| emptied);
        }
        let emptied = self.update_side(&found.layout, env, |object| match object {
            SideObject::Map(map) => {
                let map = Arc::make_mut(map);
                map.remove(user_key);
                map.is_empty()
            }
            SideObject::Blob(_) => false,
        });
        let emptied = emptied == Some(true);
        if emptied {
            self.remove(&found, env);
        }
        Ok(emptied)
    }

    /// Puts `rebuilt` into the place of chunk `at` of a large map. Returns the place after it, and
    /// whether the map is gone.
    pub(crate) fn replace_map_chunk(
        &mut self,
        probe: &Probe<'_>,
        at: usize,
        rebuilt: Chunk,
        env: &mut Env,
    ) -> (usize, bool) {
        let Some(found) = self.find(probe) else { return (at, false) };
        let replaced = self.update_side(&found.layout, env, |object| match object {
            SideObject::Map(map) => {
                let map = Arc::make_mut(map);
                (map.replace_chunk(at, rebuilt), map.is_empty())
            }
            SideObject::Blob(_) => (at, false),
        });
        let (next, emptied) = replaced.unwrap_or((at, false));
        if emptied {
            self.remove(&found, env);
        }
        (next, emptied)
    }
}

/// A whole map that is added at once.
#[derive(Debug)]
pub(crate) enum WholeMap<'a> {
    /// Packed, short enough for the arena.
    Packed(&'a [u8]),
    /// In chunks.
    Chunks(MapChunks),
}
