//! A store that shows one bit of one object flipped.

use std::path::Path;
use std::sync::Arc;

use millpond_storage::{ObjectInfo, Result, Store, StorePath, StoreReader, StoreWriter};

/// Wraps a store and flips one bit of what is read from one object. The store itself is not
/// changed, so that one checkpoint serves for every bit.
#[derive(Clone, Debug)]
pub struct FlipStore {
    inner: Arc<dyn Store>,
    path: StorePath,
    bit: u64,
}

impl FlipStore {
    /// Flips bit `bit` (bit 0 is the least significant of the first byte) of the object at `path`.
    /// A bit past its end changes nothing.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, path: StorePath, bit: u64) -> Self {
        Self { inner, path, bit }
    }
}

#[deny(clippy::missing_trait_methods)]
impl Store for FlipStore {
    fn create(&self, path: &StorePath) -> Result<Box<dyn StoreWriter>> {
        self.inner.create(path)
    }

    fn create_linked(&self, _: &StorePath, _: &Path) -> Option<Box<dyn StoreWriter>> {
        None
    }

    fn open(&self, path: &StorePath) -> Result<Box<dyn StoreReader>> {
        let inner = self.inner.open(path)?;
        if *path != self.path {
            return Ok(inner);
        }
        Ok(Box::new(FlipReader { inner, bit: self.bit }))
    }

    fn list(&self, prefix: Option<&StorePath>) -> Result<Vec<ObjectInfo>> {
        self.inner.list(prefix)
    }

    fn list_folders(&self, prefix: Option<&StorePath>) -> Result<Vec<StorePath>> {
        self.inner.list_folders(prefix)
    }

    fn written_wall_ms(&self, path: &StorePath) -> Result<Option<u64>> {
        self.inner.written_wall_ms(path)
    }

    fn delete(&self, path: &StorePath) -> Result<()> {
        self.inner.delete(path)
    }

    fn url(&self) -> &str {
        self.inner.url()
    }
}

#[derive(Debug)]
struct FlipReader {
    inner: Box<dyn StoreReader>,
    bit: u64,
}

#[deny(clippy::missing_trait_methods)]
impl StoreReader for FlipReader {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.inner.read_exact_at(offset, buffer)?;
        let in_buffer = (self.bit / 8).checked_sub(offset).and_then(|at| usize::try_from(at).ok());
        if let Some(byte) = in_buffer.and_then(|at| buffer.get_mut(at)) {
            *byte ^= 1 << (self.bit % 8);
        }
        Ok(())
    }

    fn local_file(&self) -> Option<&Path> {
        None
    }
}
