//! Helpers over a store that fails now and then.

use millpond_storage::{
    Effect, ErrorKind, MemoryStore, ObjectInfo, Result, StorageError, Store, StoreExt, StorePath,
    StoreReader, StoreWriter,
};

use crate::path;

/// A store that cannot delete objects named `stuck-...`.
#[derive(Debug)]
struct StickyStore(MemoryStore);

impl Store for StickyStore {
    fn create(&self, path: &StorePath) -> Result<Box<dyn StoreWriter>> {
        self.0.create(path)
    }

    fn create_linked(&self, _: &StorePath, _: &std::path::Path) -> Option<Box<dyn StoreWriter>> {
        None
    }

    fn open(&self, path: &StorePath) -> Result<Box<dyn StoreReader>> {
        self.0.open(path)
    }

    fn list(&self, prefix: Option<&StorePath>) -> Result<Vec<ObjectInfo>> {
        self.0.list(prefix)
    }

    fn list_folders(&self, prefix: Option<&StorePath>) -> Result<Vec<StorePath>> {
        self.0.list_folders(prefix)
    }

    fn written_wall_ms(&self, path: &StorePath) -> Result<Option<u64>> {
        self.0.written_wall_ms(path)
    }

    fn delete(&self, path: &StorePath) -> Result<()> {
        if path.name().starts_with("stuck-") {
            let (kind, effect) = (ErrorKind::PermissionDenied, Effect::DidNotHappen);
            return Err(StorageError::new(kind, effect, "cannot delete").with_path(path));
        }
        self.0.delete(path)
    }

    fn url(&self) -> &str {
        self.0.url()
    }
}

#[test]
fn delete_prefix_tries_all_and_says_how_many_failed() {
    let store = StickyStore(MemoryStore::new());
    for name in ["a/gone-1", "a/stuck-1", "a/stuck-2", "a/zone-2"] {
        store.put_if_absent(&path(name), b"").unwrap();
    }
    let error = store.delete_prefix(&path("a")).unwrap_err();
    assert!(error.message().starts_with("2 of 4 deletions below a failed"), "{error}");
    assert_eq!((error.kind(), error.path()), (ErrorKind::PermissionDenied, Some("a/stuck-1")));
    let left: Vec<_> = store.list(None).unwrap().into_iter().map(|o| o.path).collect();
    assert_eq!(left, [path("a/stuck-1"), path("a/stuck-2")]);
}

#[test]
fn put_if_absent_publishes_once() {
    let store = MemoryStore::new();
    let info = store.put_if_absent(&path("a"), b"12345").unwrap();
    assert_eq!(info, ObjectInfo { path: path("a"), len: 5 });
    let again = store.put_if_absent(&path("a"), b"12345").unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
}
