//! A store that shows other bytes in place of some objects, or none.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use millpond_storage::{
    Effect, ErrorKind, ObjectInfo, Result, StorageError, Store, StorePath, StoreReader, StoreWriter,
};

/// Wraps a store and shows objects that others cut, swapped, replaced or took away. The store
/// itself is not changed, so that one checkpoint serves for every damage.
///
/// ```
/// use std::sync::Arc;
/// use millpond_storage::{MemoryStore, Store, StoreExt, StorePath};
/// use millpond_testkit::double::ReplaceStore;
///
/// let (inner, path) = (MemoryStore::new(), StorePath::new("chk-1/metadata")?);
/// inner.put_if_absent(&path, b"whole")?;
/// let cut = ReplaceStore::new(Arc::new(inner)).replace(path.clone(), b"who".as_slice());
/// assert_eq!(cut.read_all(&path)?, b"who");
/// assert!(!cut.remove(path.clone()).exists(&path)?);
/// # Ok::<(), millpond_storage::StorageError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ReplaceStore {
    inner: Arc<dyn Store>,
    shown: BTreeMap<StorePath, Option<Arc<[u8]>>>,
}

impl ReplaceStore {
    /// Wraps `inner`; shows everything as it is.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, shown: BTreeMap::new() }
    }

    /// Shows `bytes` at `path`, whether there is an object or not.
    #[must_use]
    pub fn replace(mut self, path: StorePath, bytes: impl Into<Arc<[u8]>>) -> Self {
        self.shown.insert(path, Some(bytes.into()));
        self
    }

    /// Shows nothing at `path`.
    #[must_use]
    pub fn remove(mut self, path: StorePath) -> Self {
        self.shown.insert(path, None);
        self
    }
}

#[deny(clippy::missing_trait_methods)]
impl Store for ReplaceStore {
    fn create(&self, path: &StorePath) -> Result<Box<dyn StoreWriter>> {
        self.inner.create(path)
    }

    fn create_linked(&self, _: &StorePath, _: &Path) -> Option<Box<dyn StoreWriter>> {
        None
    }

    fn open(&self, path: &StorePath) -> Result<Box<dyn StoreReader>> {
        match self.shown.get(path) {
            None => self.inner.open(path),
            Some(Some(bytes)) => Ok(Box::new(ShownReader { bytes: Arc::clone(bytes) })),
            Some(None) => {
                let error =
                    StorageError::new(ErrorKind::NotFound, Effect::DidNotHappen, "taken away");
                Err(error.with_path(path).with_store(self.url()))
            }
        }
    }

    fn list(&self, prefix: Option<&StorePath>) -> Result<Vec<ObjectInfo>> {
        let mut listed = self.inner.list(prefix)?;
        listed.retain(|object| !self.shown.contains_key(&object.path));
        let below = |path: &StorePath| prefix.is_none_or(|prefix| path.below(prefix).is_some());
        for (path, bytes) in self.shown.iter().filter(|(path, _)| below(path)) {
            if let Some(bytes) = bytes {
                listed.push(ObjectInfo { path: path.clone(), len: bytes.len() as u64 });
            }
        }
        listed.sort();
        Ok(listed)
    }

    fn list_folders(&self, prefix: Option<&StorePath>) -> Result<Vec<StorePath>> {
        let mut folders = Vec::new();
        for object in self.list(prefix)? {
            let rest = match prefix {
                Some(prefix) => object.path.below(prefix),
                None => Some(object.path.as_str()),
            };
            let Some((folder, _)) = rest.and_then(|rest| rest.split_once('/')) else { continue };
            folders.push(match prefix {
                Some(prefix) => prefix.join(folder)?,
                None => StorePath::new(folder)?,
            });
        }
        folders.dedup();
        Ok(folders)
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
struct ShownReader {
    bytes: Arc<[u8]>,
}

#[deny(clippy::missing_trait_methods)]
impl StoreReader for ShownReader {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let from = usize::try_from(offset).ok();
        let range = from.and_then(|from| Some(from..from.checked_add(buffer.len())?));
        match range.and_then(|range| self.bytes.get(range)) {
            Some(bytes) => {
                buffer.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(StorageError::truncated(offset, buffer.len(), self.len())),
        }
    }

    fn local_file(&self) -> Option<&Path> {
        None
    }
}
