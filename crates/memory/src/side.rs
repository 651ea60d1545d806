//! The side objects of one segment: values too large or too lively for its arena.
//!
//! # Invariants
//! - Each live number belongs to exactly one entry of the segment.
//! - `memory_bytes` is the sum over the objects and the slots that hold them.

use std::sync::Arc;

use crate::blob::Blob;
use crate::map_chunks::MapChunks;

/// A value outside the arena. Cloning shares its bytes.
#[derive(Clone, Debug)]
pub(crate) enum SideObject {
    /// A large value or list.
    Blob(Blob),
    /// A large map.
    Map(Arc<MapChunks>),
}

impl SideObject {
    fn memory_bytes(&self) -> usize {
        match self {
            Self::Blob(blob) => blob.memory_bytes(),
            Self::Map(map) => map.memory_bytes() + size_of::<MapChunks>() + 16,
        }
    }
}

/// Numbered side objects.
#[derive(Clone, Debug, Default)]
pub(crate) struct SideSlab {
    slots: Vec<Option<SideObject>>,
    free: Vec<u32>,
    object_bytes: usize,
}

impl SideSlab {
    /// Bytes of memory held.
    pub(crate) const fn memory_bytes(&self) -> usize {
        self.object_bytes
            + self.slots.capacity() * size_of::<Option<SideObject>>()
            + self.free.capacity() * 4
    }

    /// Bytes of memory held by the objects, which copies of the slab share.
    pub(crate) const fn object_bytes(&self) -> usize {
        self.object_bytes
    }

    /// The object with this number.
    #[inline]
    pub(crate) fn get(&self, number: u32) -> Option<&SideObject> {
        self.slots.get(number as usize)?.as_ref()
    }

    /// Adds an object and returns its number.
    pub(crate) fn insert(&mut self, object: SideObject) -> u32 {
        self.object_bytes += object.memory_bytes();
        if let Some(number) = self.free.pop() {
            if let Some(slot) = self.slots.get_mut(number as usize) {
                *slot = Some(object);
            }
            return number;
        }
        self.slots.push(Some(object));
        (self.slots.len() - 1) as u32
    }

    /// Removes an object.
    pub(crate) fn remove(&mut self, number: u32) {
        if let Some(object) = self.slots.get_mut(number as usize).and_then(Option::take) {
            self.object_bytes -= object.memory_bytes();
            self.free.push(number);
        }
    }

    /// Changes an object; `None` if there is none with this number.
    pub(crate) fn update<R>(
        &mut self,
        number: u32,
        change: impl FnOnce(&mut SideObject) -> R,
    ) -> Option<R> {
        let object = self.slots.get_mut(number as usize)?.as_mut()?;
        self.object_bytes -= object.memory_bytes();
        let result = change(object);
        self.object_bytes += object.memory_bytes();
        Some(result)
    }
}
