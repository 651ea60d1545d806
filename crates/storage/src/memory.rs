//! A store in memory: for tests, and for jobs whose checkpoints need not outlive the process.
//!
//! Keeps the whole [`Store`] contract but durability: contents live as long as the last handle.

use core::ops::Bound;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Effect, ErrorKind, Result, StorageError};
use crate::path::StorePath;
use crate::store::{ObjectInfo, Store, StoreReader, StoreWriter};

const URL: &str = "memory://";

type Objects = BTreeMap<StorePath, Arc<[u8]>>;

/// Objects in memory. Clones are handles to the same contents; a new one is empty and shared with
/// nobody.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    objects: Arc<Mutex<Objects>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Objects> {
        // Each change is one call on the map, so a panic elsewhere leaves it whole.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn create(&self, path: &StorePath) -> Result<Box<dyn StoreWriter>> {
        check_free(&self.lock(), path)?;
        Ok(Box::new(MemoryWriter { store: self.clone(), path: path.clone(), bytes: Vec::new() }))
    }

    fn create_linked(&self, _: &StorePath, _: &Path) -> Option<Box<dyn StoreWriter>> {
        None
    }

    fn open(&self, path: &StorePath) -> Result<Box<dyn StoreReader>> {
        match self.lock().get(path) {
            Some(bytes) => {
                Ok(Box::new(MemoryReader { path: path.clone(), bytes: Arc::clone(bytes) }))
            }
            None => Err(error(ErrorKind::NotFound, "no such object", path)),
        }
    }

    fn list(&self, prefix: Option<&StorePath>) -> Result<Vec<ObjectInfo>> {
        let objects = self.lock();
        let info = |(path, bytes): (&StorePath, &Arc<[u8]>)| ObjectInfo {
            path: path.clone(),
            len: bytes.len() as u64,
        };
        Ok(below(&objects, prefix).map(info).collect())
    }

    fn list_folders(&self, prefix: Option<&StorePath>) -> Result<Vec<StorePath>> {
        let objects = self.lock();
        let depth = prefix.map_or(0, |prefix| prefix.segments().count());
        let folder = |path: &StorePath| path.parent()?.with_ancestors().nth(depth);
        let mut folders: Vec<_> =
            below(&objects, prefix).filter_map(|(path, _)| folder(path)).collect();
        folders.sort();
        folders.dedup();
        Ok(folders)
    }

    fn written_wall_ms(&self, _: &StorePath) -> Result<Option<u64>> {
        Ok(None)
    }

    fn delete(&self, path: &StorePath) -> Result<()> {
        self.lock().remove(path);
        Ok(())
    }

    fn url(&self) -> &str {
        URL
    }
}

/// The objects below folder `prefix`, in order.
fn below<'a>(
    objects: &'a Objects,
    prefix: Option<&StorePath>,
) -> impl Iterator<Item = (&'a StorePath, &'a Arc<[u8]>)> {
    let start = prefix.map_or_else(String::new, |prefix| format!("{prefix}/"));
    // Paths below one folder are neighbours in byte order.
    objects
        .range::<str, _>((Bound::Included(start.as_str()), Bound::Unbounded))
        .take_while(move |(path, _)| path.as_str().starts_with(&start))
}

fn check_free(objects: &Objects, path: &StorePath) -> Result<()> {
    let taken = path.with_ancestors().any(|name| objects.contains_key(&name))
        || below(objects, Some(path)).next().is_some();
    if taken {
        return Err(error(ErrorKind::AlreadyExists, "the name is taken", path));
    }
    Ok(())
}

fn error(kind: ErrorKind, message: impl Into<String>, path: &StorePath) -> StorageError {
    StorageError::new(kind, Effect::DidNotHappen, message).with_path(path).with_store(URL)
}

#[derive(Debug)]
struct MemoryWriter {
    store: MemoryStore,
    path: StorePath,
    bytes: Vec<u8>,
}

impl StoreWriter for MemoryWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<ObjectInfo> {
        let Self { store, path, bytes } = *self;
        let mut objects = store.lock();
        check_free(&objects, &path)?;
        let info = ObjectInfo { path: path.clone(), len: bytes.len() as u64 };
        objects.insert(path, bytes.into());
        Ok(info)
    }

    fn abort(self: Box<Self>) {}
}

#[derive(Debug)]
struct MemoryReader {
    path: StorePath,
    bytes: Arc<[u8]>,
}

impl StoreReader for MemoryReader {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let found = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.bytes.get(offset..offset.checked_add(buffer.len())?));
        match found {
            Some(found) => {
                buffer.copy_from_slice(found);
                Ok(())
            }
            None => Err(StorageError::truncated(offset, buffer.len(), self.len())
                .with_path(&self.path)
                .with_store(URL)),
        }
    }

    fn local_file(&self) -> Option<&Path> {
        None
    }
}
